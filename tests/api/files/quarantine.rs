//! Files that were found infected: who sees them, calls a finding false, destroys one.

use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use serde_json::{Value, json};
use sigilo::{Ctx, execute, scanner::Desk as _, vault::quarantine};
use sigilo_seal::{ReleaseStatement, ScanResult, SignedVerdict, Verdict};
use sigilo_wire::{Base64, Base64Array, FileId, UserId};

use super::scanning::{House, given, infected, news, noted, told, with_a_test_worker};
use crate::support::{TestServer, device::Device, http::Answer, socket::eventually};

const QUARANTINE: &str = "/api/moderation/quarantine/";

/// A device's signed word that a verdict is false.
fn word(server: &TestServer, verdict: &SignedVerdict, signer: UserId, device: &Device) -> Value {
    let verdict = Verdict::decode(&verdict.statement).unwrap();
    let statement = ReleaseStatement::new(&verdict, signer, server.app.clock.now());
    let signed = statement.sign(&device.identity, &mut ChaCha20Rng::seed_from_u64(3));
    json!({"statement": Base64(signed.statement), "signature": Base64Array(signed.signature)})
}

async fn release(server: &TestServer, by: &Device, file: FileId, word: &Value) -> Answer {
    server.post(&format!("{QUARANTINE}{file}/release/"), Some(&by.token), word).await
}

async fn listed(server: &TestServer, by: &Device) -> Vec<Value> {
    let answer = server.get(QUARANTINE, Some(&by.token)).await.expect(200);
    answer["results"].as_array().unwrap().clone()
}

#[tokio::test]
async fn two_moderators_release_a_file_and_one_does_not() {
    with_a_test_worker(async |server| {
        let house = House::create(server).await;
        let (_, stored, verdict) = house.found(server, 1, infected()).await;
        let file = stored.file_id;
        let [mo, eva, luz] = &house.moderators;
        assert_eq!(told(server, mo).await, news(&[("file_scanned", "infected")]));
        let own = |who: &Device| word(server, &verdict, who.user, who);

        let one = release(server, mo, file, &own(mo)).await.expect(200);
        assert_eq!((&one["status"], one["releases"].as_array().unwrap().len()), (&json!("quarantined"), 1));
        assert_eq!(told(server, &house.pair.maria).await, news(&[("file_scanned", "infected")]));
        assert_eq!(given(server, &house.pair.maria, file).await, 409);
        release(server, mo, file, &own(mo)).await.expect_error(409, "already_settled");
        // Another's statement, and another's name under one's own key.
        release(server, eva, file, &own(mo)).await.expect_error(400, "invalid_field");
        release(server, eva, file, &word(server, &verdict, eva.user, luz))
            .await
            .expect_error(422, "invalid_signature");
        for who in [&house.staff, &house.pair.ana, &house.pair.maria] {
            release(server, who, file, &own(who)).await.expect_error(403, "forbidden");
        }
        assert_eq!(listed(server, eva).await[0]["status"], "quarantined");

        let two = release(server, eva, file, &own(eva)).await.expect(200);
        assert_eq!((&two["status"], two["releases"].as_array().unwrap().len()), (&json!("active"), 2));
        assert_eq!(given(server, &house.pair.maria, file).await, 200);
        let heard = news(&[("file_scanned", "infected"), ("file_scanned", "infected")]);
        assert_eq!(told(server, &house.pair.maria).await, heard);
        release(server, luz, file, &own(luz)).await.expect_error(409, "already_settled");
        assert_eq!(
            noted(server, "release_file").await.iter().filter(|(outcome, _)| outcome == "allowed").count(),
            2
        );
    })
    .await;
}

#[tokio::test]
async fn a_newer_verdict_makes_every_release_void() {
    with_a_test_worker(async |server| {
        let house = House::create(server).await;
        let (keyed, stored, verdict) = house.found(server, 1, infected()).await;
        let file = stored.file_id;
        let [mo, eva, _] = &house.moderators;
        for who in [mo, eva] {
            release(server, who, file, &word(server, &verdict, who.user, who)).await.expect(200);
        }
        assert_eq!(listed(server, mo).await[0]["status"], "active");
        house.found_again(server, file, &keyed, infected()).await;
        assert_eq!(given(server, &house.pair.maria, file).await, 409);
        let shown = &listed(server, mo).await[0];
        assert_eq!((&shown["status"], shown.get("releases")), (&json!("quarantined"), None));
        assert_eq!(told(server, &house.pair.ana).await.last().unwrap().0, "file_recalled");
        let late = word(server, &verdict, mo.user, mo);
        release(server, mo, file, &late).await.expect_error(409, "already_settled");
        // What is clean, or refused by a rule, needs none.
        house.found_again(server, file, &keyed, ScanResult::Clean).await;
        release(server, mo, file, &late).await.expect_error(409, "already_settled");
        assert_eq!(listed(server, mo).await, Vec::<Value>::new());
    })
    .await;
}

#[tokio::test]
async fn nobody_releases_what_they_uploaded_nor_without_a_fresh_proof() {
    with_a_test_worker(async |server| {
        let house = House::create(server).await;
        let (_, stored, verdict) = house.found(server, 1, infected()).await;
        let (file, ana) = (stored.file_id, &house.pair.ana);
        let mut tx = server.app.db.begin("test").await.unwrap();
        execute!(&mut tx, "UPDATE users SET role = 'moderator' WHERE user_id = $1", ana.user).unwrap();
        tx.commit().await.unwrap();
        let sees = async || (server.get(QUARANTINE, Some(&ana.token)).await.status == 200).then_some(());
        eventually("ana is a moderator", sees).await;
        release(server, ana, file, &word(server, &verdict, ana.user, ana))
            .await
            .expect_error(403, "forbidden");
        let [mo, eva, _] = &house.moderators;
        let said = word(server, &verdict, mo.user, mo);
        server.clock.advance(Duration::from_mins(11));
        release(server, mo, file, &said).await.expect_error(403, "step_up_required");
        let path = format!("{QUARANTINE}{file}/");
        server.delete(&path, Some(&eva.token)).await.expect_error(403, "step_up_required");
        assert_eq!(listed(server, mo).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn one_who_is_no_moderator_any_more_releases_nothing() {
    with_a_test_worker(async |server| {
        let house = House::create(server).await;
        let (_, stored, verdict) = house.found(server, 1, infected()).await;
        let file = stored.file_id;
        let [mo, eva, luz] = &house.moderators;
        release(server, mo, file, &word(server, &verdict, mo.user, mo)).await.expect(200);
        let mut tx = server.app.db.begin("test").await.unwrap();
        execute!(&mut tx, "UPDATE users SET role = 'doctor' WHERE user_id = $1", mo.user).unwrap();
        tx.commit().await.unwrap();
        let one = release(server, eva, file, &word(server, &verdict, eva.user, eva)).await.expect(200);
        assert_eq!(one["status"], "quarantined", "the word of before fell away");
        let two = release(server, luz, file, &word(server, &verdict, luz.user, luz)).await.expect(200);
        assert_eq!(two["status"], "active");
    })
    .await;
}

#[tokio::test]
async fn what_is_infected_is_seen_by_moderators_and_destroyed_for_good() {
    with_a_test_worker(async |server| {
        let house = House::create(server).await;
        let (_, first, _) = house.found(server, 1, infected()).await;
        let (keyed, second, verdict) = house.found(server, 2, infected()).await;
        let (_, clean, _) = house.found(server, 3, ScanResult::Clean).await;
        let mo = &house.moderators[0];
        let page = server.get(&format!("{QUARANTINE}?page_size=1"), Some(&mo.token)).await.expect(200);
        assert_eq!(
            (&page["results"][0]["file_id"], &page["has_more"]),
            (&json!(first.file_id), &json!(true))
        );
        let next = format!("{QUARANTINE}?page_size=1&cursor={}", page["next_cursor"].as_str().unwrap());
        let page = server.get(&next, Some(&mo.token)).await.expect(200);
        assert_eq!(
            (&page["results"][0]["file_id"], &page["has_more"]),
            (&json!(second.file_id), &json!(false))
        );
        assert!(page["results"][0].get("content_url").is_none());
        for who in [&house.staff, &house.pair.ana, &house.pair.maria] {
            server.get(QUARANTINE, Some(&who.token)).await.expect_error(403, "forbidden");
            let path = format!("{QUARANTINE}{}/", first.file_id);
            server.delete(&path, Some(&who.token)).await.expect_error(403, "forbidden");
        }
        let path = |file: FileId| format!("{QUARANTINE}{file}/");
        server.delete(&path(clean.file_id), Some(&mo.token)).await.expect_error(409, "file_not_available");
        server.delete(&path(first.file_id), Some(&mo.token)).await.expect(204);
        server.delete(&path(first.file_id), Some(&mo.token)).await.expect(204);
        assert_eq!(noted(server, "destroy_file").await.len(), 1);
        assert_eq!(
            told(server, &house.pair.maria).await.last().unwrap(),
            &news(&[("file_recalled", "infected")])[0]
        );
        let left = super::below(server, "objects");
        assert!(
            left.iter().all(|path| !path.display().to_string().contains(&first.file_id.to_string())),
            "{left:?}"
        );
        assert!(left.iter().any(|path| path.display().to_string().contains(&second.file_id.to_string())));

        // The operator does it from the command line.
        let ctx = Ctx::operator(&server.app, house.pair.clinic.id);
        let grant = quarantine::authorize_manage(&server.app, &ctx).await.unwrap();
        quarantine::destroy(&server.app, &ctx, &grant, second.file_id).await.unwrap();
        assert_eq!(listed(server, mo).await, Vec::<Value>::new());
        release(server, mo, second.file_id, &word(server, &verdict, mo.user, mo))
            .await
            .expect_error(409, "file_not_available");
        let sealed = json!(house.seal(server, &keyed).await);
        let rescan = format!("/api/chat/files/{}/rescan/", second.file_id);
        server
            .post(&rescan, Some(&house.pair.ana.token), &sealed)
            .await
            .expect_error(409, "file_not_available");
        assert!(house.worker.desk.next().await.unwrap().is_none());
    })
    .await;
}
