//! PUT /api/devices/manifest/ and GET /api/keys/{user_id}/manifest/

use serde_json::json;
use sigilo::execute;
use sigilo_seal::{IdentitySecret, Manifest, XWingSecret};
use sigilo_wire::{Base64Array, DeviceNumber, Role, Timestamp};

use super::{Clinic, Device};
use crate::support::{TestServer, both_engines, http::Answer};

async fn put(server: &TestServer, device: &mut Device, manifest: &Manifest) -> Answer {
    let signed = device.sign(manifest);
    device.put(server, "/api/devices/manifest/", signed).await
}

#[tokio::test]
async fn versions_follow_each_other() {
    both_engines(async |server| {
        let clinic = Clinic::new(server).await;
        let mut ana = clinic.published(Role::Patient, 1).await;
        let first = ana.manifest(None, &[ana.entry()]);
        let own = format!("/api/keys/{}/manifest/", ana.user);
        let stored = ana.get(server, &own).await.expect(200);
        // The same statement, signed again: nothing to do, and what is stored stays.
        put(server, &mut ana, &first).await.expect(200);
        assert_eq!(ana.get(server, &own).await.expect(200), stored);

        let other_first =
            Manifest { history_public_key: XWingSecret::from_seed([1; 32]).public(), ..first.clone() };
        let second = ana.manifest(Some(&first), &[ana.entry()]);
        let third = ana.manifest(Some(&second), &[ana.entry()]);
        let fork = ana.manifest(Some(&other_first), &[ana.entry()]);
        for wrong in [&other_first, &third, &fork] {
            let details = put(server, &mut ana, wrong).await.expect_error(409, "manifest_conflict");
            assert_eq!(details, json!({"current_version": 1, "current_sha256": Base64Array(first.digest())}));
        }
        put(server, &mut ana, &second).await.expect(200);
        put(server, &mut ana, &third).await.expect(200);
        let details = put(server, &mut ana, &second).await.expect_error(409, "manifest_conflict");
        assert_eq!(details, json!({"current_version": 3, "current_sha256": Base64Array(third.digest())}));
    })
    .await;
}

#[tokio::test]
async fn of_two_successors_at_once_one_is_taken() {
    both_engines(async |server| {
        let clinic = Clinic::new(server).await;
        let mut ana = clinic.published(Role::Patient, 1).await;
        let first = ana.manifest(None, &[ana.entry()]);
        let successors: Vec<_> = (0..8u8)
            .map(|n| {
                let mut next = ana.manifest(Some(&first), &[ana.entry()]);
                next.history_public_key = XWingSecret::from_seed([n; 32]).public();
                ana.sign(&next)
            })
            .collect();
        let puts = successors.iter().map(|signed| ana.put(server, "/api/devices/manifest/", signed));
        let answers = futures_util::future::join_all(puts).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
        for refused in answers.into_iter().filter(|answer| answer.status != 200) {
            refused.expect_error(409, "manifest_conflict");
        }
    })
    .await;
}

#[tokio::test]
async fn only_the_users_identity_signs_and_only_for_the_user() {
    both_engines(async |server| {
        let clinic = Clinic::new(server).await;
        let mut ana = clinic.person(Role::Patient).await;
        let manifest = ana.manifest(None, &[ana.entry()]);
        put(server, &mut ana, &manifest).await.expect_error(409, "keys_missing");
        let mut ana = clinic.published(Role::Patient, 1).await;
        let first = ana.manifest(None, &[ana.entry()]);
        let next = ana.manifest(Some(&first), &[ana.entry()]);

        let own = std::mem::replace(&mut ana.identity, IdentitySecret::from_bytes([5; 32]));
        let details = put(server, &mut ana, &next).await.expect_error(422, "invalid_signature");
        assert_eq!(details["key"], "manifest");
        ana.identity = own;
        let elsewhere = Manifest { user: sigilo_wire::UserId::from_bytes([3; 16]), ..next.clone() };
        put(server, &mut ana, &elsewhere).await.expect_error(422, "invalid_manifest");
        let elsewhere = Manifest { tenant: sigilo_wire::TenantId::from_bytes([3; 16]), ..next.clone() };
        put(server, &mut ana, &elsewhere).await.expect_error(422, "invalid_manifest");

        let mut trailing = next.encode();
        trailing.push(0);
        let signature = sigilo_wire::Base64Array(ana.identity.sign(&trailing, &mut ana.rng));
        let body = json!({"statement": sigilo_wire::Base64(trailing), "signature": signature});
        ana.put(server, "/api/devices/manifest/", body).await.expect_error(422, "invalid_manifest");
        let unknown = json!({"statement": "", "signature": signature, "version": 2});
        ana.put(server, "/api/devices/manifest/", unknown).await.expect_error(400, "unknown_field");
    })
    .await;
}

#[tokio::test]
async fn a_manifest_names_exactly_the_devices_with_keys() {
    both_engines(async |server| {
        let clinic = Clinic::new(server).await;
        let mut phone = clinic.published(Role::Patient, 1).await;
        let mut tablet = clinic.second_device(&phone).await;
        let first = phone.manifest(None, &[phone.entry()]);
        let both = phone.manifest(Some(&first), &[phone.entry(), tablet.entry()]);
        let tablet_ref = json!([{"user_id": phone.user, "device_id": tablet.number}]);
        let phone_ref = json!([{"user_id": phone.user, "device_id": phone.number}]);

        let details = put(server, &mut phone, &both).await.expect_error(422, "invalid_manifest");
        assert_eq!(details["extra"], tablet_ref, "it has published no keys");
        let keys = tablet.keys(1);
        tablet.put(server, "/api/keys/", keys).await.expect(200);
        let alone = phone.manifest(Some(&first), &[phone.entry()]);
        let details = put(server, &mut phone, &alone).await.expect_error(422, "invalid_manifest");
        assert_eq!(details["missing"], tablet_ref);
        let mut stale = both.clone();
        stale.devices[1].registration_id += 1;
        let details = put(server, &mut phone, &stale).await.expect_error(422, "invalid_manifest");
        assert_eq!(details["stale"], tablet_ref);
        let mut changed = both.clone();
        changed.devices[0].registration_id += 1;
        put(server, &mut phone, &changed).await.expect_error(422, "invalid_manifest");
        let mut replaced = both.clone();
        replaced.devices[0].device = DeviceNumber::new(100).unwrap();
        replaced.devices.reverse();
        replaced.history_public_key = XWingSecret::from_seed([8; 32]).public();
        let details = put(server, &mut phone, &replaced).await.expect_error(422, "invalid_manifest");
        assert_eq!(details["missing"], phone_ref);
        let mut early = both.clone();
        early.devices[1].added_at =
            Timestamp::from_micros(server.app.clock.now().micros() + 3 * 60 * 1_000_000);
        let details = put(server, &mut phone, &early).await.expect_error(422, "invalid_manifest");
        assert_eq!(details["device_id"], json!(tablet.number));

        put(server, &mut tablet, &both).await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn a_removed_device_takes_a_new_history_key_that_was_never_used() {
    both_engines(async |server| {
        let clinic = Clinic::new(server).await;
        let mut phone = clinic.published(Role::Patient, 1).await;
        let mut tablet = clinic.second_device(&phone).await;
        let keys = tablet.keys(1);
        tablet.put(server, "/api/keys/", keys).await.expect(200);
        let first = phone.manifest(None, &[phone.entry()]);
        let mut both = phone.manifest(Some(&first), &[phone.entry(), tablet.entry()]);
        both.history_public_key = XWingSecret::from_seed([8; 32]).public();
        put(server, &mut phone, &both).await.expect(200);

        revoke(server, &tablet).await;
        let mut alone = phone.manifest(Some(&both), &[phone.entry()]);
        alone.history_public_key = both.history_public_key.clone();
        put(server, &mut phone, &alone).await.expect_error(422, "invalid_manifest");
        alone.history_public_key = first.history_public_key.clone();
        put(server, &mut phone, &alone).await.expect_error(422, "invalid_manifest");
        alone.history_public_key = XWingSecret::from_seed([9; 32]).public();
        put(server, &mut phone, &alone).await.expect(200);
    })
    .await;
}

/// As the removal of a device does.
async fn revoke(server: &TestServer, device: &Device) {
    let mut tx = server.app.db.begin("test_revoke").await.unwrap();
    execute!(
        &mut tx,
        "UPDATE devices SET revoked_at = $2, token_family = NULL WHERE device_id = $1",
        device.id,
        server.app.clock.now()
    )
    .unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_new_manifest_is_told_and_makes_sends_decide_again() {
    both_engines(async |server| {
        let clinic = Clinic::new(server).await;
        let mut phone = clinic.published(Role::Patient, 1).await;
        let mut tablet = clinic.second_device(&phone).await;
        let luis = clinic.published(Role::Doctor, 1).await;
        let bystander = clinic.published(Role::Doctor, 1).await;
        clinic.care(&phone, &luis).await;
        let conversation = clinic.conversation(&phone, &luis).await;
        let keys = tablet.keys(1);
        tablet.put(server, "/api/keys/", keys).await.expect(200);
        let first = phone.manifest(None, &[phone.entry()]);
        let both = phone.manifest(Some(&first), &[phone.entry(), tablet.entry()]);
        let version = async || {
            let mut tx = server.app.db.read("test_facts").await.unwrap();
            let sql = "SELECT facts_version FROM conversations WHERE conversation_id = $1";
            sigilo::fetch_one!(&mut tx, (i64,), sql, conversation).unwrap().0
        };
        let before = version().await;
        put(server, &mut phone, &both).await.expect(200);
        assert_eq!(version().await, before + 1);

        let told = ("manifest_changed".to_owned(), json!({"user_id": phone.user, "version": 2}));
        assert_eq!(luis.events(server).await, std::slice::from_ref(&told));
        assert_eq!(tablet.events(server).await, [told]);
        assert_eq!(phone.events(server).await, []);
        assert_eq!(bystander.events(server).await, []);

        // The same again: nobody is told twice.
        put(server, &mut phone, &both).await.expect(200);
        assert_eq!(luis.events(server).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn looking_at_a_manifest_takes_no_keys() {
    both_engines(async |server| {
        let clinic = Clinic::new(server).await;
        let luis = clinic.published(Role::Doctor, 3).await;
        let ana = clinic.published(Role::Patient, 1).await;
        clinic.care(&ana, &luis).await;
        let path = format!("/api/keys/{}/manifest/", luis.user);
        let seen = ana.get(server, &path).await.expect(200);
        let bundles = ana.get(server, &format!("/api/keys/{}/*/", luis.user)).await.expect(200);
        for field in ["user_id", "identity_key", "manifest"] {
            assert_eq!(seen[field], bundles[field]);
        }
        ana.get(server, &path).await.expect(200);
        let counts = luis.get(server, "/api/keys/").await.expect(200);
        assert_eq!(counts["pre_key_count"], 2);
        server.get(&path, None).await.expect_error(401, "unauthenticated");
    })
    .await;
}
