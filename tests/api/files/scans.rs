//! The queue of files that wait for their scan, and what verdicts change.

use std::{collections::BTreeSet, time::Duration};

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use serde_json::json;
use sigilo::scanner::{Desk as _, Outcome};
use sigilo_seal::{Ed25519Secret, Refusal, ScanKey, ScanResult};
use sigilo_wire::{FileId, vault::ScannerStatement};
use tokio::io::AsyncReadExt as _;

use super::scanning::{
    House, SCAN_KEY, Worker, given, infected, news, noted, state, told, verdict, with_a_test_worker,
};
use crate::support::{TestServer, http::Answer};

async fn hand_over(server: &TestServer, token: &str, file: FileId, body: &serde_json::Value) -> Answer {
    server.post(&format!("/api/chat/files/{file}/scan-key/"), Some(token), body).await
}

async fn rescan(server: &TestServer, token: &str, file: FileId, body: &serde_json::Value) -> Answer {
    server.post(&format!("/api/chat/files/{file}/rescan/"), Some(token), body).await
}

#[tokio::test]
async fn a_worker_gets_the_file_with_its_key_and_its_verdict_reaches_everybody() {
    with_a_test_worker(async |server| {
        let house = House::create(server).await;
        let (keyed, stored) = house.uploaded(server, 1).await;
        let job = house.worker.next().await;
        assert_eq!((job.file.file_id, job.upload_id), (stored.file_id, stored.upload_id));
        assert_eq!((job.length, &*job.mime_type), (stored.length, "application/pdf"));
        assert_eq!(house.worker.take(&job).as_bytes(), keyed.key.as_bytes());
        let mut blob = Vec::new();
        house.worker.desk.blob(&job).await.unwrap().read_to_end(&mut blob).await.unwrap();
        assert_eq!(blob, keyed.blob.bytes);
        assert_eq!(state(server, stored.file_id).await, ("pending".to_owned(), false));
        assert_eq!(given(server, &house.pair.maria, stored.file_id).await, 409, "not before its verdict");

        let said = house.worker.says(&job, ScanResult::Clean, server.app.clock.now());
        house.worker.desk.done(&job, Outcome::Verdict(said.clone())).await.unwrap();
        assert_eq!(state(server, stored.file_id).await, ("clean".to_owned(), false));
        assert_eq!(given(server, &house.pair.maria, stored.file_id).await, 200);
        for who in [&house.pair.ana, &house.pair.maria] {
            assert_eq!(told(server, who).await, news(&[("file_scanned", "clean")]));
        }
        for who in [&house.moderators[0], &house.staff] {
            assert_eq!(told(server, who).await, [], "a clean file is nobody else's business");
        }
        let entries = noted(server, "scan_file").await;
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].1["objects"]["result"], "clean");
        assert_eq!(entries[0].1["patient"], json!(house.pair.ana.user));
        // Said twice, it changes nothing.
        house.worker.desk.done(&job, Outcome::Verdict(said)).await.unwrap();
        assert_eq!(noted(server, "scan_file").await.len(), 1);
        assert!(house.worker.desk.next().await.unwrap().is_none(), "nothing waits");
    })
    .await;
}

#[tokio::test]
async fn no_verdict_counts_that_the_clinics_scanner_did_not_sign_for_this_file() {
    with_a_test_worker(async |server| {
        let house = House::create(server).await;
        let (_, stored) = house.uploaded(server, 1).await;
        let (_, other) = house.uploaded(server, 2).await;
        let (job, next) = (house.worker.next().await, house.worker.next().await);
        let now = server.app.clock.now();
        let foreign = Ed25519Secret::generate(&mut ChaCha20Rng::seed_from_u64(5));
        let clean = verdict(&job, ScanResult::Clean, now);
        let mut bytes = clean.clone();
        bytes.file.blob_sha256[0] ^= 1;
        let mut broken = clean.sign(&house.worker.signer).unwrap();
        broken.signature[0] ^= 1;
        let lies = [
            clean.sign(&foreign).unwrap(),
            broken,
            house.worker.says(&next, ScanResult::Clean, now),
            bytes.sign(&house.worker.signer).unwrap(),
            house.worker.says(&job, ScanResult::Clean, now + Duration::from_hours(1)),
        ];
        for (n, lie) in lies.into_iter().enumerate() {
            let refused = house.worker.desk.done(&job, Outcome::Verdict(lie)).await.unwrap_err();
            assert_eq!(refused.code().as_str(), "invalid_signature", "{n}");
        }
        for file in [stored.file_id, other.file_id] {
            assert_eq!(state(server, file).await, ("pending".to_owned(), false));
        }
        assert_eq!(told(server, &house.pair.maria).await, []);
        // The job is still the worker's to do.
        let said = house.worker.says(&job, ScanResult::Clean, now);
        house.worker.desk.done(&job, Outcome::Verdict(said)).await.unwrap();
        assert_eq!(state(server, stored.file_id).await.0, "clean");
    })
    .await;
}

#[tokio::test]
async fn the_newest_verdict_counts_and_a_bad_one_after_a_clean_one_is_a_recall() {
    with_a_test_worker(async |server| {
        let house = House::create(server).await;
        let (keyed, stored, _) = house.found(server, 1, ScanResult::Clean).await;
        let file = stored.file_id;
        house.found_again(server, file, &keyed, infected()).await;
        assert_eq!(state(server, file).await.0, "infected");
        assert_eq!(given(server, &house.pair.maria, file).await, 409);
        let recalled = news(&[("file_scanned", "clean"), ("file_recalled", "infected")]);
        for who in [&house.pair.ana, &house.pair.maria] {
            assert_eq!(told(server, who).await, recalled);
        }
        for who in [&house.moderators[0], &house.staff] {
            assert_eq!(told(server, who).await, news(&[("file_recalled", "infected")]));
        }
        // An older word, come late, and one of the same instant that is not worse.
        let sealed = house.seal(server, &keyed).await;
        rescan(server, &house.pair.ana.token, file, &json!(sealed)).await.expect(204);
        let job = house.worker.next().await;
        let before = server.app.clock.now() - Duration::from_mins(5);
        let older = house.worker.says(&job, ScanResult::Clean, before);
        house.worker.desk.done(&job, Outcome::Verdict(older)).await.unwrap();
        assert_eq!(state(server, file).await.0, "infected");
        assert_eq!(told(server, &house.pair.ana).await, recalled);
        // A newer one that finds nothing gives it out again.
        house.found_again(server, file, &keyed, ScanResult::Clean).await;
        assert_eq!(state(server, file).await.0, "clean");
        let asked = noted(server, "rescan_file").await;
        assert_eq!(asked.len(), 3);
        assert_eq!(asked[0].1["actor"], json!(house.pair.maria.user));
    })
    .await;
}

#[tokio::test]
async fn what_is_refused_is_told_to_those_who_take_part_alone() {
    with_a_test_worker(async |server| {
        let house = House::create(server).await;
        let (_, stored, _) = house.found(server, 1, ScanResult::Refused(Refusal::Type)).await;
        assert_eq!(state(server, stored.file_id).await.0, "refused");
        assert_eq!(told(server, &house.pair.maria).await, news(&[("file_scanned", "refused")]));
        assert_eq!(told(server, &house.moderators[0]).await, []);
    })
    .await;
}

#[tokio::test]
async fn a_lost_key_is_asked_for_of_the_uploader_and_handed_over_by_nobody_else() {
    with_a_test_worker(async |server| {
        let house = House::create(server).await;
        let (keyed, stored) = house.uploaded(server, 1).await;
        let (file, ana, maria) = (stored.file_id, &house.pair.ana, &house.pair.maria);
        let first = house.worker.next().await;
        house.worker.desk.done(&first, Outcome::KeyLost).await.unwrap();
        assert_eq!(state(server, file).await, ("pending".to_owned(), true));
        assert_eq!(told(server, ana).await, news(&[("rescan_key_needed", "pending")]));
        assert_eq!(told(server, maria).await, []);
        assert!(house.worker.desk.next().await.unwrap().is_none(), "it waits for its key");

        let sealed = json!(house.seal(server, &keyed).await);
        hand_over(server, &maria.token, file, &sealed).await.expect_error(403, "forbidden");
        hand_over(server, &house.staff.token, file, &sealed).await.expect_error(404, "not_found");
        let mut unknown = sealed.clone();
        unknown["key_id"] = json!("AAAAAAAAAAAAAAAAAAAAAA==");
        hand_over(server, &ana.token, file, &unknown).await.expect_error(400, "invalid_field");
        let mut short = sealed.clone();
        short["encapsulation"] = json!("AAAA");
        hand_over(server, &ana.token, file, &short).await.expect_error(400, "invalid_field");
        rescan(server, &maria.token, file, &sealed).await.expect_error(409, "file_not_available");
        assert_eq!(state(server, file).await, ("pending".to_owned(), true));

        hand_over(server, &ana.token, file, &sealed).await.expect(204);
        assert_eq!(state(server, file).await, ("pending".to_owned(), false));
        let job = house.worker.next().await;
        // What was said of the key of before is past.
        house.worker.desk.done(&first, Outcome::KeyLost).await.unwrap();
        assert_eq!(state(server, file).await, ("pending".to_owned(), false));
        // A wrong one is asked for again, and no verdict.
        house.worker.desk.done(&job, Outcome::WrongKey).await.unwrap();
        assert_eq!(state(server, file).await, ("pending".to_owned(), true));
        hand_over(server, &ana.token, file, &sealed).await.expect(204);
        let job = house.worker.next().await;
        let said = house.worker.says(&job, ScanResult::Clean, server.app.clock.now());
        house.worker.desk.done(&job, Outcome::Verdict(said)).await.unwrap();
        hand_over(server, &ana.token, file, &sealed).await.expect_error(409, "already_settled");
        let reasons: Vec<_> = noted(server, "scan_file")
            .await
            .iter()
            .map(|(_, entry)| entry["objects"]["reason"].clone())
            .collect();
        assert_eq!(reasons, [json!("key_lost"), json!("wrong_key"), json!(null)]);

        // Whoever asked for another scan is asked for the key themselves.
        rescan(server, &maria.token, file, &sealed).await.expect(204);
        let job = house.worker.next().await;
        house.worker.desk.done(&job, Outcome::KeyLost).await.unwrap();
        assert_eq!(state(server, file).await, ("clean".to_owned(), false));
        assert_eq!(
            told(server, maria).await,
            news(&[("file_scanned", "clean"), ("rescan_key_needed", "clean")])
        );
    })
    .await;
}

#[tokio::test]
async fn a_job_is_one_workers_until_its_lease_ends() {
    with_a_test_worker(async |server| {
        let house = House::create(server).await;
        let mut files = BTreeSet::new();
        for seed in 1..=6 {
            files.insert(house.uploaded(server, seed).await.1.file_id);
        }
        let desk = &house.worker.desk;
        let taken =
            tokio::join!(desk.next(), desk.next(), desk.next(), desk.next(), desk.next(), desk.next());
        let (a, b, c, d, e, f) = taken;
        let taken: BTreeSet<FileId> =
            [a, b, c, d, e, f].into_iter().map(|job| job.unwrap().unwrap().file.file_id).collect();
        assert_eq!(taken, files, "each once");
        assert!(desk.next().await.unwrap().is_none());
        server.clock.advance(Duration::from_mins(16));
        let again = house.worker.next().await;
        assert!(files.contains(&again.file.file_id), "nothing is lost with a worker that says nothing");
    })
    .await;
}

#[tokio::test]
async fn a_file_is_left_to_the_worker_that_has_its_key_while_that_lives() {
    with_a_test_worker(async |server| {
        let house = House::create(server).await;
        let (_, stored) = house.uploaded(server, 1).await;
        let other = Worker::start(server, &house.pair.clinic, 2).await;
        assert!(other.desk.next().await.unwrap().is_none(), "it opens for the first one alone");
        let job = house.worker.next().await;
        assert_eq!(job.file.file_id, stored.file_id);
        // The first one is heard of no more, lease or not.
        server.clock.advance(Duration::from_mins(4));
        let orphan = other.next().await;
        assert_eq!(orphan.file.file_id, stored.file_id);
        other.desk.done(&orphan, Outcome::KeyLost).await.unwrap();
        assert_eq!(state(server, stored.file_id).await, ("pending".to_owned(), true));
    })
    .await;
}

#[tokio::test]
async fn a_file_waits_while_the_engine_is_away_and_is_tried_later_and_later() {
    with_a_test_worker(async |server| {
        let house = House::create(server).await;
        let (_, stored) = house.uploaded(server, 1).await;
        let file = stored.file_id;
        for wait in [5, 10, 20] {
            let job = house.worker.next().await;
            house.worker.desk.done(&job, Outcome::Unavailable).await.unwrap();
            assert_eq!(state(server, file).await, ("unavailable".to_owned(), false));
            server.clock.advance(Duration::from_secs(wait + 60));
        }
        let job = house.worker.next().await;
        let said = house.worker.says(&job, ScanResult::Clean, server.app.clock.now());
        house.worker.desk.done(&job, Outcome::Verdict(said)).await.unwrap();
        assert_eq!(state(server, file).await.0, "clean");
        assert_eq!(told(server, &house.pair.ana).await, news(&[("file_scanned", "clean")]));
    })
    .await;
}

#[tokio::test]
async fn only_a_scan_key_of_the_clinics_scanner_is_given_out_and_only_while_its_worker_lives() {
    with_a_test_worker(async |server| {
        let house = House::create(server).await;
        let (clinic, ana) = (&house.pair.clinic, Some(&*house.pair.ana.token));
        let newest = async || -> ScanKey {
            let answer = server.get(SCAN_KEY, ana).await.expect(200);
            let statement: ScannerStatement = serde_json::from_value(answer).unwrap();
            ScanKey::decode(&statement.statement.0).unwrap()
        };
        let first = newest().await;
        let foreign = Ed25519Secret::generate(&mut ChaCha20Rng::seed_from_u64(5));
        let key = house.worker.key(server, clinic);
        let refused = house.worker.desk.publish(key.sign(&foreign), &key).await.unwrap_err();
        assert_eq!(refused.code().as_str(), "invalid_signature");
        let long = ScanKey { not_after: key.not_before + Duration::from_hours(3), ..key.clone() };
        assert!(house.worker.desk.publish(long.sign(&house.worker.signer), &long).await.is_err());
        assert_eq!(newest().await, first);
        house.worker.desk.publish(key.sign(&house.worker.signer), &key).await.unwrap();
        assert_eq!(newest().await, key, "the newest");

        let ready = server.get("/ready", None).await.expect(200);
        assert_eq!(
            ready["scanner"],
            json!({"status": "ok", "engine": "Test 1", "database": "", "official_database": false})
        );
        server.clock.advance(Duration::from_mins(4));
        let away = server.get(SCAN_KEY, ana).await;
        assert!(away.header("retry-after").is_some());
        away.expect_error(503, "unavailable");
        // The server serves all the same, and says so.
        let ready = server.get("/ready", None).await.expect(200);
        assert_eq!((&ready["status"], &ready["scanner"]), (&json!("ready"), &json!({"status": "away"})));
        assert!(house.worker.desk.next().await.unwrap().is_none());
        assert_eq!(newest().await, key, "it is back");
        house.worker.desk.engine(None).await.unwrap();
        let ready = server.get("/ready", None).await.expect(200);
        assert_eq!(ready["scanner"]["status"], "away", "an engine that does not answer is no engine");
    })
    .await;
}

#[tokio::test]
async fn one_participant_does_not_crowd_out_the_rescan_of_another() {
    with_a_test_worker(async |server| {
        let house = House::create(server).await;
        let (keyed, stored, _) = house.found(server, 1, ScanResult::Clean).await;
        let sealed = json!(house.seal(server, &keyed).await);
        rescan(server, &house.pair.maria.token, stored.file_id, &sealed).await.expect(204);
        let mut wrong = sealed.clone();
        wrong["ciphertext"] = json!(sigilo_wire::Base64(vec![7; 48]));
        rescan(server, &house.pair.ana.token, stored.file_id, &wrong).await.expect(204);
        let job = house.worker.next().await;
        assert_eq!(house.worker.take(&job).as_bytes(), keyed.key.as_bytes(), "the first one's stands");
        rescan(server, &house.moderators[0].token, stored.file_id, &sealed)
            .await
            .expect_error(404, "not_found");
    })
    .await;
}

#[tokio::test]
async fn what_was_uploaded_while_the_scanner_was_away_is_asked_for_when_it_is_back() {
    with_a_test_worker(async |server| {
        let house = House::create(server).await;
        server.clock.advance(Duration::from_mins(4));
        let ana = &house.pair.ana;
        server.get(SCAN_KEY, Some(&ana.token)).await.expect_error(503, "unavailable");
        let keyed = house.file(1);
        let stored = keyed.blob.stored(server, &ana.token).await;
        assert!(stored.rescan_key_needed);
        assert_eq!(told(server, ana).await, []);
        let worker = Worker::start(server, &house.pair.clinic, 2).await;
        assert_eq!(told(server, ana).await, news(&[("rescan_key_needed", "pending")]));
        let sealed = json!(house.seal(server, &keyed).await);
        hand_over(server, &ana.token, stored.file_id, &sealed).await.expect(204);
        let job = worker.next().await;
        assert_eq!(worker.take(&job).as_bytes(), keyed.key.as_bytes());
        // The next key of the same worker is no return.
        let key = worker.key(server, &house.pair.clinic);
        worker.desk.publish(key.sign(&worker.signer), &key).await.unwrap();
        assert_eq!(told(server, ana).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_says_goodbye_is_waited_for_by_nobody() {
    with_a_test_worker(async |server| {
        let house = House::create(server).await;
        let (_, stored) = house.uploaded(server, 1).await;
        let other = Worker::start(server, &house.pair.clinic, 2).await;
        assert!(other.desk.next().await.unwrap().is_none());
        house.worker.desk.gone().await.unwrap();
        assert_eq!(other.next().await.file.file_id, stored.file_id);
    })
    .await;
}
