//! The server's own worker, and a real engine that knows the test file of antivirus makers.

use std::io::Read as _;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use serde_json::json;
use sigilo::config::ScannerMode;
use sigilo_seal::{FileKey, ScanKey, file::io::SealReader};
use sigilo_wire::{ConversationId, vault::ScannerStatement};

use super::{
    Blob, Pair,
    scanning::{Keyed, SCAN_KEY, given, state},
};
use crate::support::{both_engines_with, socket::eventually};

/// The test file of antivirus makers, in two pieces: whole, it would be found in here.
const EICAR: [&str; 2] = ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-", "ANTIVIRUS-TEST-FILE!$H+H*"];

/// A file that says this.
fn file(conversation: ConversationId, seed: u64, plain: &[u8]) -> Keyed {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let key = FileKey::generate(&mut rng);
    let mut reader = SealReader::new(plain, &key, u64::MAX, &mut rng);
    let mut blob = Blob::new(conversation, seed, 1);
    blob.bytes.clear();
    reader.read_to_end(&mut blob.bytes).unwrap();
    let summary = reader.finish().unwrap();
    blob.new.length = summary.sealed_len;
    blob.new.sha256 = summary.blob_sha256.into();
    Keyed { blob, key }
}

#[tokio::test]
async fn what_the_engine_finds_is_never_given_out_and_what_it_does_not_is() {
    let clamd = std::env::var("SIGILO_TEST_CLAMD").expect("run it by cargo xtask pg -- cargo test");
    let settings = |config: &mut sigilo::config::Config| {
        config.scanner.mode = ScannerMode::InProcess;
        config.scanner.clamd = Some(clamd.clone());
    };
    both_engines_with(settings, async |server| {
        let pair = Pair::create(server).await;
        let key = eventually("the worker's scan key", async || {
            let answer = server.get(SCAN_KEY, Some(&pair.ana.token)).await;
            (answer.status == 200).then_some(answer.body)
        })
        .await;
        let key: ScannerStatement = serde_json::from_value(key).unwrap();
        let key = ScanKey::decode(&key.statement.0).unwrap();
        let pdf = |inside: &str| format!("%PDF-1.4\n{inside}\n%%EOF\n").into_bytes();
        let files = [
            (pdf("nothing"), "clean", 200),
            (pdf(&EICAR.concat()), "infected", 409),
            (b"MZ, and no document".to_vec(), "refused", 409),
        ];
        for (seed, (plain, found, status)) in (1..).zip(files) {
            let mut keyed = file(pair.conversation, seed, &plain);
            keyed.blob.new.scan_key = Some(keyed.sealed_to(&pair.clinic, &key));
            let stored = keyed.blob.stored(server, &pair.ana.token).await;
            let settled =
                async || Some(state(server, stored.file_id).await.0).filter(|scan| scan != "pending");
            assert_eq!(eventually("its verdict", settled).await, found);
            assert_eq!(given(server, &pair.maria, stored.file_id).await, status, "{found}");
        }
        let ready = server.get("/ready", None).await.expect(200);
        let scanner = &ready["scanner"];
        assert_eq!((&scanner["status"], &scanner["official_database"]), (&json!("ok"), &json!(false)));
    })
    .await;
}
