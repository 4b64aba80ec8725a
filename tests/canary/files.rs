//! A file goes through the server, whose scanner has looked into it: neither what it says, nor its name, nor its key is
//! anywhere there afterwards, nor in the folder of the clamd that looked.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use sigilo::cli::demo::hunt::Hunt;
use sigilo_client::{ClientEvent, NewAttachment, SendOptions};
use sigilo_wire::{ConversationId, vault::ScanStatus};

use super::{Core, DEADLINE, MARKER, Person, hunt_for, say};

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

/// The socket of the clamd that looks into it.
pub(super) fn clamd() -> PathBuf {
    std::env::var_os("SIGILO_TEST_CLAMD").expect("run it by cargo xtask pg -- cargo test").into()
}

/// Ana sends a file long enough to go in pieces, and María hears that it is clean.
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
    let file = named.file_id;
    maria
        .wait("verdict", |event| {
            matches!(event, ClientEvent::FileChanged { changed, .. }
                if changed.file_id == file && changed.virus_scan == ScanStatus::Clean)
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
        let key = aho_corasick::AhoCorasick::new(self.spellings_of_key()).unwrap();
        let mut bytes = 0;
        for file in files_below(folder) {
            let content = fs::read(&file).unwrap();
            bytes += content.len();
            assert!(!key.is_match(&content), "{what}: the file's key is in {}", file.display());
        }
        say(&format!("{what}: {bytes} bytes searched for a file's words and key"));
    }

    /// Hunts for them in the memory of the process that scanned the file, and in clamd's folder.
    pub(super) fn nowhere_where_it_was_scanned(&self, core: &Core) {
        let found = core.search(&self.words);
        assert!(found.hits.is_empty(), "{}: {:#?}", core.is(), found.hits);
        say(&format!("{}: {} bytes searched for a file's words", core.is(), found.bytes));
        if let Core::Dump { file, .. } = core {
            let dump = fs::File::open(file).unwrap();
            let mut sought = self.spellings_of_key().to_vec();
            sought.push(MARKER.as_bytes().to_vec());
            let sought = aho_corasick::AhoCorasick::new(sought).unwrap();
            let found = sought.stream_find_iter(std::io::BufReader::with_capacity(1 << 20, dump));
            let found: Vec<usize> = found.map(|found| found.unwrap().pattern().as_usize()).collect();
            assert!(found.contains(&3), "{}: the hunt does not see the server's memory", core.is());
            assert!(found.iter().all(|which| *which == 3), "{}: the file's key", core.is());
            say(&format!("{}: searched for a file's key", core.is()));
        }
        let socket = clamd();
        // Where the daemon is somebody else's, so is its folder.
        if socket.parent().is_some_and(|folder| folder.join("clamd.conf").is_file()) {
            self.nowhere_in(socket.parent().unwrap(), "clamd's folder");
        }
    }

    fn spellings_of_key(&self) -> [Vec<u8>; 3] {
        [self.key.clone(), hex(&self.key).into_bytes(), base64(&self.key).into_bytes()]
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
