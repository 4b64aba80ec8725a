//! What the clients keep on disk says nothing without the passphrase: not what was said, by whom, under which title,
//! nor what was searched for.

use std::path::Path;

use sigilo_client::{Client, Error, OpenOptions, SearchQuery};
use sigilo_seal::content::Profile;
use sigilo_wire::ConversationId;

use super::{CLINIC, Line, Person, finds_in, hunt_for, none};

/// Of both profiles.
pub(super) const PASSPHRASE: &str = "the passphrase of both profiles";

const PATIENT: &str = "Ana López Hernández";
const TITLE: &str = "Seguimiento de la presión de Ana López Hernández";
const DESCRIPTION: &str = "Ajuste de la medicación después de la cita";
const LABEL: &str = "hipertensión arterial";
/// As an index writes a word: folded.
const TERM: &str = "hipertension";

/// Gives the conversation a title, and searches: each client has an index then.
pub(super) async fn call_and_search(people: &[&Person], conversation: ConversationId, lines: &[Line]) {
    let profile = Profile {
        title: TITLE.to_owned(),
        description: DESCRIPTION.to_owned(),
        tags: vec![LABEL.to_owned()],
        ..Profile::default()
    };
    people[0].client.describe(conversation, profile.clone()).await.unwrap();
    people[1].client.sync_offline().await.unwrap();
    for person in people {
        assert!(person.client.descriptions().await.unwrap()[&conversation] == profile);
        for line in [&lines[0], &lines[lines.len() - 1]] {
            let text = line.text.clone();
            let found = person.client.search(SearchQuery { text, ..SearchQuery::default() }).await.unwrap();
            assert!(!found.hits.is_empty() && found.complete, "{}", line.text);
        }
    }
}

/// Hunts for all of it in everything that lies in the profiles' folder.
pub(super) fn nothing_in(profiles: &Path, lines: &[Line], what: &str) {
    let secret = ["Dra. María Martínez", PATIENT, CLINIC, TITLE, DESCRIPTION, LABEL, PASSPHRASE]
        .into_iter()
        .chain(["password of ana", "password of maria", "ana@canario.example", "maria@canario.example"])
        .chain([TERM])
        .map(str::to_owned)
        .chain(words_of(lines));
    let hunt = hunt_for(lines.iter().map(|line| line.text.clone()).chain(secret));
    // What is there on purpose is found: in the profile itself, and in a file beside it.
    let profile = profiles.join("ana.profile");
    assert!(finds_in(&profile, "row_by_owner"), "the hunt does not see the profile");
    let marker = profiles.join("marker");
    std::fs::write(&marker, format!("before {TITLE} after")).unwrap();
    assert!(!hunt.folder(profiles).unwrap().hits.is_empty(), "the hunt does not see a file of the folder");
    std::fs::remove_file(marker).unwrap();
    none(&hunt.folder(profiles).unwrap(), what);
}

/// Long words of the lines, as an index would write them.
fn words_of(lines: &[Line]) -> Vec<String> {
    let words = lines.iter().flat_map(|line| line.text.split(|char: char| !char.is_alphanumeric()));
    let mut words: Vec<String> = words.filter(|word| word.len() >= 12).map(str::to_lowercase).collect();
    words.sort();
    words.dedup();
    words
}

/// The control of the hunt: everything it looked for is in there.
pub(super) async fn opens_with_its_passphrase_only(
    profiles: &Path,
    conversation: ConversationId,
    lines: usize,
) {
    let path = profiles.join("ana.profile");
    let wrong = Client::open(&path, "another passphrase", OpenOptions::default()).await;
    assert!(matches!(wrong, Err(Error::WrongPassphrase)), "{wrong:?}");
    let client = Client::open(&path, PASSPHRASE, OpenOptions::default()).await.unwrap();
    // The lines, the title and the file.
    assert_eq!(client.history(conversation, 10_000).await.unwrap().len(), lines + 2);
    client.shutdown().await.unwrap();
}
