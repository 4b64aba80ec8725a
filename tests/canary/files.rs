//! A file goes through the server: neither what it says, nor its name, nor its key is anywhere there.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use sigilo::cli::demo::hunt::Hunt;
use sigilo_client::{ClientEvent, NewAttachment, SendOptions};
use sigilo_wire::ConversationId;

use super::{DEADLINE, Person, hunt_for, say};

const NAME: &str = "resultado de Ana del laboratorio.pdf";
const SAID: &str = "Este es el resultado de la glucosa de esta mañana";
/// Stands in the file, again and again.
const LINE: &str = "Glucosa en ayunas 182 mg/dL, hemoglobina glucosilada 8.1 por ciento";

/// A file that was sent.
pub(super) struct SentFile {
    words: Hunt,
    key: Vec<u8>,
    blob_sha256: [u8; 32],
}

/// Ana sends a file long enough to go in pieces.
pub(super) async fn send(
    ana: &mut Person,
    maria: &mut Person,
    conversation: ConversationId,
    folder: &Path,
) -> SentFile {
    let content: String = (0..30_000).map(|number| format!("{LINE} ({number})\n")).collect();
    let path = folder.join(NAME);
    fs::write(&path, format!("%PDF-1.4\n{content}")).unwrap();
    let file = NewAttachment { text: Some(SAID.to_owned()), ..NewAttachment::new(path) };
    let sending = ana.client.send_file(conversation, file, SendOptions::default(), |_| {});
    let sent = tokio::time::timeout(DEADLINE, sending).await.unwrap().unwrap();
    let message = sent.accepted().expect("accepted at once");
    let named = &message.content.as_ref().unwrap().files()[0];
    maria
        .wait("file", |event| {
            matches!(event, ClientEvent::Message(shown) if shown.is_verified() && shown.text() == Some(SAID))
        })
        .await;
    SentFile {
        words: hunt_for([NAME, SAID, LINE].map(str::to_owned)),
        key: named.key.as_bytes().to_vec(),
        blob_sha256: named.sha256.0,
    }
}

impl SentFile {
    /// Hunts for the words of the file, its name, what was said of it, and its key.
    pub(super) fn nowhere_in(&self, folder: &Path, what: &str) {
        let found = self.words.folder(folder).unwrap();
        assert!(found.hits.is_empty(), "{what}: {:#?}", found.hits);
        let spellings = [self.key.clone(), hex(&self.key).into_bytes(), base64(&self.key).into_bytes()];
        let key = aho_corasick::AhoCorasick::new(spellings).unwrap();
        let mut bytes = 0;
        for file in files_below(folder) {
            let content = fs::read(&file).unwrap();
            bytes += content.len();
            assert!(!key.is_match(&content), "{what}: the file's key is in {}", file.display());
        }
        say(&format!("{what}: {bytes} bytes searched for a file's words and key"));
    }

    /// The control: the file did come there, sealed once more, so that not even the blob lies there as it came.
    pub(super) fn lies_sealed_in(&self, data: &Path) {
        let mut kept = 0;
        for file in files_below(data) {
            let content = fs::read(&file).unwrap();
            assert!(<[u8; 32]>::from(Sha256::digest(&content)) != self.blob_sha256, "{}", file.display());
            kept = kept.max(content.len());
        }
        assert!(kept > 30_000 * LINE.len(), "the file is not there: the largest has {kept} bytes");
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else if path.is_file() {
            files.push(path);
        }
    }
    files
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn base64(bytes: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
    STANDARD_NO_PAD.encode(bytes)
}
