//! Linking a device: the ordinary course, and everybody who is not meant to get anything from it.

use std::time::Duration;

use serde_json::json;
use sigilo_seal::{LinkPackage, Manifest, ManifestDevice, link::LinkedAccount, xwing::Sealed};
use sigilo_wire::{DeviceNumber, Role, account::Tokens, link::LinkState};

use crate::support::{
    TestServer, both_engines,
    clinic::{Clinic, PASSWORD},
    device::{Device, relate},
    link::Newcomer,
    socket::Socket,
};

const OWN: &str = "/api/devices/link/";

/// A patient and a doctor in a conversation.
struct Pair {
    clinic: Clinic,
    ana: Device,
    maria: Device,
}

impl Pair {
    async fn create(server: &TestServer) -> Self {
        let clinic = Clinic::create(server, "centro").await;
        let ana = Device::create(server, &clinic, Role::Patient, "ana@example.org").await;
        let maria = Device::create(server, &clinic, Role::Doctor, "maria@example.org").await;
        relate(server, &ana, &maria).await;
        ana.start(server, &maria).await;
        Self { clinic, ana, maria }
    }
}

/// A link that is open and has its key, and the manifest that would name the new device.
async fn open(server: &TestServer, ana: &Device, new: &Newcomer) -> Manifest {
    new.begin(server, ana).await.expect(201);
    new.offer_key(server).await.expect(204);
    new.named(server, &ana.current_manifest(server).await, 2)
}

#[tokio::test]
async fn a_new_device_gets_what_was_sealed_to_it_and_everybody_is_told() {
    both_engines(async |server| {
        let Pair { clinic, ana, maria } = Pair::create(server).await;
        let mut doctor = Socket::open(server, &maria).await;
        while doctor.next().await["type"] != "queue_empty" {}
        let new = Newcomer::new(9);
        // The link is there once Ana opens it, and not before.
        new.offer_key(server).await.expect_error(404, "not_found");
        server.get(&new.path(""), None).await.expect_error(404, "not_found");
        let opened = new.begin(server, &ana).await.expect(201);
        assert_eq!((&opened["next_device_id"], opened.get("public_key")), (&json!(2), None));
        new.offer_key(server).await.expect(204);
        let opened = server.get(OWN, Some(&ana.token)).await.expect(200);
        let key = sigilo_wire::Base64(new.key.public().as_bytes().to_vec());
        assert_eq!(opened["public_key"], json!(key));

        let manifest = new.named(server, &ana.current_manifest(server).await, 2);
        let approval = new.approval(&ana, &manifest, 2);
        new.claim(server).await.expect_error(401, "invalid_link");
        server.post(&new.path("approve/"), Some(&ana.token), &approval).await.expect(200);
        let told = doctor.expect("manifest_changed").await;
        assert_eq!(told["data"], json!({"user_id": ana.user, "version": 2}));

        let state = server.get(&new.path(""), None).await.expect(200);
        let package = serde_json::from_value::<LinkState>(state).unwrap().package.unwrap();
        let account = LinkedAccount {
            tenant: package.clinic_id,
            user: package.user_id,
            manifest_version: package.manifest_version,
        };
        let sealed = Sealed { enc: package.enc.0, ct: package.ct.0 };
        let (opened, named) = LinkPackage::open(&sealed, &new.offer, &new.key, &account).unwrap();
        assert_eq!((opened.user, named), (ana.user, manifest));
        let tokens: Tokens = serde_json::from_value(new.claim(server).await.expect(200)).unwrap();
        assert_eq!(tokens.device.device_id, DeviceNumber::new(2));
        assert_eq!(tokens.device.name, "tablet");

        // Without keys, nothing is for it yet; with keys it is like any other.
        let conversation = maria.start(server, &ana).await;
        maria.publish_seal(server, &clinic, conversation, &[&ana]).await;
        let text = maria.text(server, conversation, "before its keys", &[&ana]);
        maria.post(server, conversation, &text).await.expect(201);
        let tablet = ana.sibling(&tokens, new.offer.registration_id);
        server.put("/api/keys/", Some(&tablet.token), &tablet.keys(5)).await.expect(200);
        let text = maria.text(server, conversation, "to one only", &[&ana]);
        let details = maria.post(server, conversation, &text).await.expect_error(409, "device_mismatch");
        assert_eq!(details["missing"], json!([{"user_id": ana.user, "device_id": 2}]));
        maria.rewind(conversation, &text);
        let text = maria.text(server, conversation, "to both", &[&ana, &tablet]);
        maria.post(server, conversation, &text).await.expect(201);
        let devices = server.get("/api/devices/", Some(&tablet.token)).await.expect(200);
        assert_eq!(devices["results"].as_array().unwrap().len(), 2);
        // The proof of who is typing was given on the old device.
        let other = Newcomer::new(10);
        other.begin(server, &tablet).await.expect_error(403, "step_up_required");
    })
    .await;
}

#[tokio::test]
async fn lost_answers_are_made_up_for() {
    both_engines(async |server| {
        let Pair { ana, .. } = Pair::create(server).await;
        let new = Newcomer::new(9);
        let manifest = open(server, &ana, &new).await;
        new.offer_key(server).await.expect(204);
        let again = new.begin(server, &ana).await.expect(201);
        assert!(again["public_key"].is_string(), "the same link, with its key: {again}");
        let approval = new.approval(&ana, &manifest, 2);
        for _ in 0..2 {
            server.post(&new.path("approve/"), Some(&ana.token), &approval).await.expect(200);
        }
        let first = new.claim(server).await.expect(200);
        let second: Tokens = serde_json::from_value(new.claim(server).await.expect(200)).unwrap();
        let ended = server.get("/api/me/", first["access_token"].as_str()).await;
        assert_eq!(ended.status, 401, "the first answer's tokens have ended: {}", ended.body);
        let tablet = ana.sibling(&second, new.offer.registration_id);
        server.put("/api/keys/", Some(&tablet.token), &tablet.keys(2)).await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn a_link_is_used_once_and_ends_by_itself() {
    both_engines(async |server| {
        let Pair { ana, .. } = Pair::create(server).await;
        let new = Newcomer::new(9);
        let tablet = new.join(server, &ana).await;
        // A replay by somebody who has seen everything.
        new.claim(server).await.expect_error(401, "invalid_link");
        let me = server.get("/api/me/", Some(&tablet.token)).await;
        assert_eq!(me.status, 200, "the device's own tokens go on: {}", me.body);
        let manifest = new.named(server, &ana.current_manifest(server).await, 3);
        let approval = new.approval(&ana, &manifest, 3);
        server
            .post(&new.path("approve/"), Some(&ana.token), &approval)
            .await
            .expect_error(409, "already_exists");

        let late = Newcomer::new(10);
        let manifest = open(server, &ana, &late).await;
        let approval = late.approval(&ana, &manifest, 3);
        server.clock.advance(Duration::from_mins(10));
        server.get(&late.path(""), None).await.expect_error(404, "not_found");
        server.get(OWN, Some(&ana.token)).await.expect_error(404, "not_found");
        late.offer_key(server).await.expect_error(404, "not_found");
        let answer = server.post(&late.path("approve/"), Some(&ana.token), &approval).await;
        answer.expect_error(404, "not_found");
        late.claim(server).await.expect_error(401, "invalid_link");
        // Nor is one opened without a fresh proof.
        late.begin(server, &ana).await.expect_error(403, "step_up_required");
        let proof = json!({"password": PASSWORD});
        server.post("/api/auth/mfa/verify/", Some(&ana.token), &proof).await.expect(200);
        late.begin(server, &ana).await.expect(201);
        // One link at a time.
        let other = Newcomer::new(11);
        other.begin(server, &ana).await.expect(201);
        server.get(&late.path(""), None).await.expect_error(404, "not_found");
    })
    .await;
}

#[tokio::test]
async fn nobody_else_can_use_a_link() {
    both_engines(async |server| {
        let Pair { clinic, ana, maria } = Pair::create(server).await;
        let new = Newcomer::new(9);
        let manifest = open(server, &ana, &new).await;
        // Another key: somebody who has seen the link is too late.
        let swapped = json!({"public_key": sigilo_wire::Base64(maria.history.public().as_bytes().to_vec())});
        server.put(&new.path("key/"), None, &swapped).await.expect_error(409, "already_exists");
        let short = json!({"public_key": sigilo_wire::Base64(vec![1; 1_215])});
        server.put(&new.path("key/"), None, &short).await.expect_error(422, "invalid_key");
        // Another person.
        new.begin(server, &maria).await.expect_error(409, "already_exists");
        let theirs = new.named(server, &maria.current_manifest(server).await, 2);
        let approval = new.approval(&maria, &theirs, 2);
        let answer = server.post(&new.path("approve/"), Some(&maria.token), &approval).await;
        answer.expect_error(404, "not_found");
        // A session of the same person, without keys.
        let session = clinic.login(server, "ana@example.org", PASSWORD, json!(null)).await.expect(200);
        let session = session["access_token"].as_str();
        let begin = json!({"link_id": new.offer.link_id});
        server.post(OWN, session, &begin).await.expect_error(403, "forbidden");
        let approval = new.approval(&ana, &manifest, 2);
        server.post(&new.path("approve/"), session, &approval).await.expect_error(403, "forbidden");
        // Another device of the same person than the one that opened it.
        server.post(&new.path("approve/"), Some(&ana.token), &approval).await.expect(200);
        let wrong = Newcomer { claim: [0; 32], ..Newcomer::new(9) };
        wrong.claim(server).await.expect_error(401, "invalid_link");
        let tokens: Tokens = serde_json::from_value(new.claim(server).await.expect(200)).unwrap();
        let tablet = ana.sibling(&tokens, new.offer.registration_id);
        server.put("/api/keys/", Some(&tablet.token), &tablet.keys(2)).await.expect(200);
        let third = Newcomer::new(10);
        open(server, &ana, &third).await;
        let manifest = third.named(server, &ana.current_manifest(server).await, 3);
        let approval = third.approval(&tablet, &manifest, 3);
        let answer = server.post(&third.path("approve/"), Some(&tablet.token), &approval).await;
        answer.expect_error(404, "not_found");
        server.get(OWN, Some(&tablet.token)).await.expect_error(404, "not_found");
    })
    .await;
}

#[tokio::test]
async fn a_manifest_that_names_others_than_the_new_device_links_nothing() {
    both_engines(async |server| {
        let Pair { ana, .. } = Pair::create(server).await;
        let new = Newcomer::new(9);
        let begin = new.begin(server, &ana).await;
        begin.expect(201);
        let good = new.named(server, &ana.current_manifest(server).await, 2);
        let approve = async |manifest: &Manifest, number: u8| {
            let approval = new.approval(&ana, manifest, number);
            server.post(&new.path("approve/"), Some(&ana.token), &approval).await
        };
        approve(&good, 2).await.expect_error(409, "keys_missing");
        new.offer_key(server).await.expect(204);
        let mut ghost = good.clone();
        ghost.devices.push(ManifestDevice {
            device: DeviceNumber::new(3).unwrap(),
            registration_id: 5,
            added_at: server.app.clock.now(),
        });
        let details = approve(&ghost, 2).await.expect_error(422, "invalid_manifest");
        assert_eq!(details["extra"], json!([{"user_id": ana.user, "device_id": 3}]));
        let mut without_old = good.clone();
        without_old.devices.remove(0);
        approve(&without_old, 2).await.expect_error(422, "invalid_manifest");
        // An old version, one that skips, and the one in force.
        let current = ana.current_manifest(server).await;
        let replayed = Manifest { version: 1, previous: None, ..good.clone() };
        approve(&replayed, 2).await.expect_error(409, "manifest_conflict");
        let skipped = Manifest { version: 3, ..good.clone() };
        approve(&skipped, 2).await.expect_error(409, "manifest_conflict");
        let mut in_force = new.approval(&ana, &good, 2);
        in_force["manifest"] = ana.sign(&current);
        let answer = server.post(&new.path("approve/"), Some(&ana.token), &in_force).await;
        answer.expect_error(422, "invalid_manifest");
        // Another number than the next.
        let third = new.named(server, &current, 3);
        approve(&third, 3).await.expect_error(409, "manifest_conflict");
        // Nothing of this has used up a number.
        approve(&good, 2).await.expect(200);
        let devices = server.get("/api/devices/", Some(&ana.token)).await.expect(200);
        assert_eq!(devices["results"].as_array().unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn there_is_no_seventh_messaging_device_and_no_fourth_session() {
    both_engines(async |server| {
        let Pair { clinic, ana, .. } = Pair::create(server).await;
        let waiting = Newcomer::new(50);
        for number in 2..=6 {
            Newcomer::new(number).join(server, &ana).await;
        }
        let details = waiting.begin(server, &ana).await.expect_error(409, "device_limit");
        assert_eq!(details, json!({"kind": "messaging", "limit": 6}));
        for _ in 0..3 {
            clinic.login(server, "ana@example.org", PASSWORD, json!(null)).await.expect(200);
        }
        let fourth = clinic.login(server, "ana@example.org", PASSWORD, json!(null)).await;
        assert_eq!(fourth.expect_error(409, "device_limit"), json!({"kind": "session", "limit": 3}));
    })
    .await;
}
