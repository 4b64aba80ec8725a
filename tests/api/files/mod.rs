//! Files: taken once, kept unreadable, given to those who may have them.

mod at_rest;
mod clamd;
mod consent;
mod content;
mod pieces;
mod quarantine;
mod remote;
mod room;
mod scanning;
mod scans;
mod upload;

use std::io::Read as _;

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use serde_json::Value;
use sigilo::execute;
use sigilo_seal::{FileKey, file::io::SealReader};
use sigilo_wire::{
    ConversationId, FileId, Role, UploadId,
    vault::{DocumentType, Handling, NewFile, StoredFile},
};

use crate::support::{
    TestServer,
    clinic::Clinic,
    device::{Device, relate},
    http::Answer,
};

const UPLOAD: &str = "/api/chat/upload-file/";

/// A patient and the doctor who treats her, with a conversation.
struct Pair {
    clinic: Clinic,
    ana: Device,
    maria: Device,
    conversation: ConversationId,
}

impl Pair {
    async fn create(server: &TestServer) -> Self {
        let clinic = Clinic::create(server, "vault").await;
        let ana = Device::create(server, &clinic, Role::Patient, "ana@vault.example").await;
        let maria = Device::create(server, &clinic, Role::Doctor, "maria@vault.example").await;
        relate(server, &ana, &maria).await;
        let conversation = ana.start(server, &maria).await;
        Self { clinic, ana, maria, conversation }
    }
}

/// An encrypted file.
struct Blob {
    bytes: Vec<u8>,
    new: NewFile,
}

impl Blob {
    /// A file of so many bytes for this conversation, made of a seed.
    fn new(conversation: ConversationId, seed: u64, length: usize) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut plain = vec![0; length];
        rng.fill_bytes(&mut plain);
        let key = FileKey::generate(&mut rng);
        let mut reader = SealReader::new(plain.as_slice(), &key, u64::MAX, &mut rng);
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        let summary = reader.finish().unwrap();
        let mut id = [0; 16];
        rng.fill_bytes(&mut id);
        let new = NewFile {
            upload_id: UploadId::from_bytes(id),
            conversation_id: conversation,
            mime_type: "application/pdf".to_owned(),
            length: summary.sealed_len,
            sha256: summary.blob_sha256.into(),
            document_type: DocumentType::LabResult,
            related_appointment: None,
            thumbnail_of: None,
            handling: Handling::default(),
            scan_key: None,
        };
        Self { bytes, new }
    }

    /// Uploads it in one request.
    async fn upload(&self, server: &TestServer, token: &str) -> Answer {
        upload(server, token, &self.new, &self.bytes).await
    }

    /// Uploads it and gives the file.
    async fn stored(&self, server: &TestServer, token: &str) -> StoredFile {
        serde_json::from_value(self.upload(server, token).await.expect(201)).unwrap()
    }
}

/// Uploads these bytes as that file.
async fn upload(server: &TestServer, token: &str, new: &NewFile, bytes: &[u8]) -> Answer {
    let request = server.client.post(format!("{}{UPLOAD}", server.url)).bearer_auth(token);
    let request =
        request.header("content-type", "multipart/form-data; boundary=border").body(form(new, bytes));
    Answer::of(request.send().await.unwrap()).await
}

fn form(new: &NewFile, bytes: &[u8]) -> Vec<u8> {
    let part = |name: &str| format!("--border\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
    let upload = format!("{}{}\r\n", part("upload"), serde_json::to_string(new).unwrap());
    [upload.as_bytes(), part("file").as_bytes(), bytes, b"\r\n--border--\r\n"].concat()
}

/// What a scan would say: the scanner has tests of its own.
async fn scanned(server: &TestServer, file: FileId, scan: &str) {
    let mut tx = server.app.db.begin("test").await.unwrap();
    execute!(&mut tx, "UPDATE files SET scan = $2 WHERE file_id = $1", file, scan).unwrap();
    tx.commit().await.unwrap();
}

/// What a person is shown of a file.
async fn shown(server: &TestServer, token: &str, file: FileId) -> Answer {
    server.get(&format!("/api/chat/files/{file}/"), Some(token)).await
}

/// The acts on files in the audit log, in order.
async fn acts(server: &TestServer) -> Vec<(String, String, Value)> {
    const ACTS: &str = "SELECT act, outcome, canonical FROM audit_entries
        WHERE act IN ('upload_file', 'download_file', 'answer_consent', 'read_file') ORDER BY seq";
    let mut tx = server.app.db.read("test").await.unwrap();
    let rows: Vec<(String, String, Vec<u8>)> =
        sigilo::fetch_all!(&mut tx, (String, String, Vec<u8>), ACTS).unwrap();
    rows.into_iter()
        .map(|(act, outcome, entry)| (act, outcome, serde_json::from_slice(&entry).unwrap()))
        .collect()
}

/// How many rows a table has.
async fn count(server: &TestServer, sql: &'static str) -> i64 {
    let mut tx = server.app.db.read("test").await.unwrap();
    sigilo::fetch_one!(&mut tx, (i64,), sql).unwrap().0
}

/// Every file below a folder of the server's data.
fn below(server: &TestServer, folder: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![server.app.config.storage.data.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}
