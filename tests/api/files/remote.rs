//! The object store behind the S3 API: a real server of it, run by node. What holds for a folder holds for it.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use sigilo::config::{Config, write_private};
use sigilo_wire::FileId;

use super::{Blob, Pair, count, scanned, upload};
use crate::support::{TestServer, both_engines_with, http::Answer};

/// The store's process, and what it keeps.
struct Store {
    process: Child,
    address: String,
    folder: tempfile::TempDir,
}

impl Drop for Store {
    fn drop(&mut self) {
        // It ends with its input anyway.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Store {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (process, address) = run(folder.path(), &[]);
        let options = format!(
            "aws_access_key_id = 'S3RVER'\naws_secret_access_key = 'S3RVER'\naws_region = 'us-east-1'\n\
             aws_endpoint = '{address}'\nallow_http = 'true'\n"
        );
        write_private(&folder.path().join("options"), options.as_bytes()).unwrap();
        Self { process, address, folder }
    }

    fn stop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again where it was.
    fn go_on(&mut self) {
        let (_, port) = self.address.rsplit_once(':').unwrap();
        let (process, address) = run(self.folder.path(), &[port]);
        assert_eq!(address, self.address);
        self.process = process;
    }

    fn configure(&self, config: &mut Config) {
        config.vault.object_store_url = Some("s3://vault/clinics/files".to_owned());
        config.vault.object_store_options_file = Some(self.folder.path().join("options"));
    }

    /// What it keeps of objects: their files' names.
    fn objects(&self) -> Vec<String> {
        let (mut found, mut folders) = (Vec::new(), vec![self.folder.path().join("vault")]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.to_str().unwrap().ends_with("_object") {
                    found.push(path.to_str().unwrap().to_owned());
                }
            }
        }
        found
    }
}

/// The program, and the address it prints.
fn run(folder: &Path, port: &[&str]) -> (Child, String) {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/s3");
    assert!(program.join("node_modules").is_dir(), "run 'npm ci' in tests/s3, or 'cargo xtask test'");
    let mut process = Command::new("node")
        .arg("server.mjs")
        .arg(folder)
        .args(port)
        .current_dir(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut address = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut address).unwrap();
    (process, address.trim().to_owned())
}

async fn get(server: &TestServer, token: &str, file: FileId, range: &str) -> Vec<u8> {
    let url = format!("{}/api/chat/files/{file}/content/", server.url);
    let answer = server.client.get(url).bearer_auth(token).header("range", range).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 206);
    answer.bytes().await.unwrap().to_vec()
}

#[tokio::test]
async fn files_are_kept_by_a_server_of_the_s3_api() {
    let store = Store::start();
    both_engines_with(
        |config| store.configure(config),
        async |server| {
            let before = store.objects().len();
            let pair = Pair::create(server).await;
            assert_eq!(server.get("/ready", None).await.expect(200)["dependencies"]["object_store"], "ok");
            // One that goes over at once, and one in two parts.
            for (seed, length) in [(1, 100_000), (2, 9 * 1024 * 1024)] {
                let blob = Blob::new(pair.conversation, seed, length);
                let file = blob.stored(server, &pair.ana.token).await.file_id;
                scanned(server, file, "clean").await;
                assert!(get(server, &pair.maria.token, file, "bytes=0-").await == blob.bytes);
                let middle = blob.bytes.len() / 2;
                let range = format!("bytes={middle}-{}", middle + 99_999);
                let end = blob.bytes.len().min(middle + 100_000);
                assert!(get(server, &pair.maria.token, file, &range).await == blob.bytes[middle..end]);
            }
            assert_eq!(store.objects().len(), before + 2);
            assert!(store.objects().iter().all(|name| name.contains("/clinics/files/")));
            // What was not announced leaves nothing, and what is destroyed goes.
            let blob = Blob::new(pair.conversation, 3, 6 * 1024 * 1024);
            let mut altered = blob.bytes.clone();
            altered[1000] ^= 1;
            let refused = upload(server, &pair.ana.token, &blob.new, &altered).await;
            refused.expect_error(409, "checksum_mismatch");
            assert_eq!(store.objects().len(), before + 2);
            let mut tx = server.app.db.begin("test").await.unwrap();
            let now = server.app.clock.now();
            sigilo::execute!(&mut tx, "UPDATE files SET destroyed_at = $1", now).unwrap();
            tx.commit().await.unwrap();
            sigilo::vault::sweep(&server.app).await.unwrap();
            assert_eq!(store.objects().len(), before);
        },
    )
    .await;
}

#[tokio::test]
async fn a_store_that_is_away_delays_files_and_loses_none() {
    let store = std::cell::RefCell::new(Store::start());
    both_engines_with(
        |config| store.borrow().configure(config),
        async |server| {
            let pair = Pair::create(server).await;
            let blob = Blob::new(pair.conversation, 4, 100_000);
            store.borrow_mut().stop();
            blob.upload(server, &pair.ana.token).await.expect_error(503, "unavailable");
            let ready: Answer = server.get("/ready", None).await;
            let ready = ready.expect(503);
            assert_eq!(ready["dependencies"]["object_store"], "unavailable");
            assert_eq!(ready["dependencies"]["database"], "ok");
            assert_eq!(count(server, "SELECT COUNT(*) FROM files").await, 0);
            store.borrow_mut().go_on();
            let file = blob.stored(server, &pair.ana.token).await.file_id;
            scanned(server, file, "clean").await;
            assert!(get(server, &pair.maria.token, file, "bytes=0-").await == blob.bytes);
        },
    )
    .await;
}
