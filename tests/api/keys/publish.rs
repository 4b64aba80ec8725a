//! PUT, GET /api/keys/ and the check.

use std::time::Duration;

use serde_json::{Value, json};
use sigilo_wire::{Role, keys::PutKeys};

use super::Clinic;
use crate::support::both_engines;

const DAY: Duration = Duration::from_secs(86_400);

fn counts(pre: u32, kyber: u32, age: u32) -> Value {
    json!({"pre_key_count": pre, "kyber_pre_key_count": kyber, "signed_pre_key_age_days": age})
}

#[tokio::test]
async fn a_list_replaces_its_set_and_an_absent_one_leaves_it() {
    both_engines(async |server| {
        let clinic = Clinic::new(server).await;
        let mut ana = clinic.person(Role::Patient).await;
        let nothing = json!({"pre_key_count": 0, "kyber_pre_key_count": 0, "signed_pre_key_age_days": null});
        assert_eq!(ana.get(server, "/api/keys/").await.expect(200), nothing);
        ana.put(server, "/api/keys/identity/", ana.identity_body()).await.expect(200);
        let keys = ana.keys(100);
        assert_eq!(ana.put(server, "/api/keys/", keys).await.expect(200), counts(100, 100, 0));

        let some = PutKeys {
            registration_id: ana.registration_id,
            pre_keys: (7..10).map(|id| ana.pre_key(id)).collect(),
            ..PutKeys::default()
        };
        assert_eq!(ana.put(server, "/api/keys/", some).await.expect(200), counts(3, 100, 0));
        let some = PutKeys {
            registration_id: ana.registration_id,
            kyber_pre_keys: vec![ana.kyber(5)],
            ..PutKeys::default()
        };
        assert_eq!(ana.put(server, "/api/keys/", some).await.expect(200), counts(3, 1, 0));
        let none = json!({"registration_id": ana.registration_id, "pre_keys": []});
        assert_eq!(ana.put(server, "/api/keys/", none).await.expect(200), counts(3, 1, 0));
        assert_eq!(ana.get(server, "/api/keys/").await.expect(200), counts(3, 1, 0));
    })
    .await;
}

#[tokio::test]
async fn the_first_publication_needs_the_identity_and_both_lasting_keys() {
    both_engines(async |server| {
        let clinic = Clinic::new(server).await;
        let mut ana = clinic.person(Role::Patient).await;
        let keys = ana.keys(1);
        let details = ana.put(server, "/api/keys/", &keys).await.expect_error(409, "keys_missing");
        assert_eq!(details["missing"], "identity_key");
        ana.put(server, "/api/keys/identity/", ana.identity_body()).await.expect(200);
        for field in ["signed_pre_key", "last_resort_kyber_pre_key"] {
            let mut without = json!(keys);
            without.as_object_mut().unwrap().remove(field);
            let details = ana.put(server, "/api/keys/", without).await.expect_error(400, "invalid_field");
            assert_eq!(details["field"], field);
        }
        let empty = ana.get(server, "/api/keys/").await.expect(200);
        assert_eq!(empty["pre_key_count"], 0, "a refused publication writes nothing");
        ana.put(server, "/api/keys/", keys).await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn a_refused_publication_changes_nothing() {
    both_engines(async |server| {
        let clinic = Clinic::new(server).await;
        let mut ana = clinic.person(Role::Patient).await;
        ana.put(server, "/api/keys/identity/", ana.identity_body()).await.expect(200);
        let good = ana.keys(4);
        ana.put(server, "/api/keys/", &good).await.expect(200);
        let digest = json!({"digest": ana.digest(&good)});

        let mut bad_signature = ana.keys(9);
        bad_signature.kyber_pre_keys[8].signature.0[0] ^= 1;
        let details =
            ana.put(server, "/api/keys/", &bad_signature).await.expect_error(422, "invalid_signature");
        assert_eq!((&details["key"], &details["key_id"]), (&json!("kyber_pre_key"), &json!(1_009)));

        let mut zero = ana.keys(9);
        zero.pre_keys[3].public_key.0[1..].fill(0);
        let details = ana.put(server, "/api/keys/", &zero).await.expect_error(422, "invalid_key");
        assert_eq!((&details["key"], &details["key_id"]), (&json!("pre_key"), &json!(4)));

        let mut twice = ana.keys(9);
        twice.pre_keys[3].key_id = 1;
        ana.put(server, "/api/keys/", &twice).await.expect_error(400, "invalid_field");

        // A device looks Kyber keys up by id alone.
        let mut collision = ana.keys(9);
        collision.kyber_pre_keys[0].key_id = 2_000;
        let details = ana.put(server, "/api/keys/", &collision).await.expect_error(400, "invalid_field");
        assert_eq!(details["field"], "kyber_pre_keys");

        let mut long = json!(ana.keys(1));
        long["pre_keys"][0]["public_key"] = json!("BQ==");
        let details = ana.put(server, "/api/keys/", long).await.expect_error(400, "invalid_field");
        assert_eq!(details["field"], "pre_keys[0].public_key");
        let mut unknown = json!(ana.keys(1));
        unknown["signed_pre_key"]["created_at"] = json!(0);
        let details = ana.put(server, "/api/keys/", unknown).await.expect_error(400, "unknown_field");
        assert_eq!(details["field"], "signed_pre_key.created_at");

        assert_eq!(ana.get(server, "/api/keys/").await.expect(200), counts(4, 4, 0));
        ana.post(server, "/api/keys/check/", digest).await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn publishing_the_same_key_again_does_not_make_it_younger() {
    both_engines(async |server| {
        let clinic = Clinic::new(server).await;
        let mut ana = clinic.person(Role::Patient).await;
        ana.put(server, "/api/keys/identity/", ana.identity_body()).await.expect(200);
        let keys = ana.keys(2);
        ana.put(server, "/api/keys/", &keys).await.expect(200);
        server.clock.advance(DAY * 3);
        let mut ana = super::fixture::renewed(server, ana).await;
        assert_eq!(ana.put(server, "/api/keys/", &keys).await.expect(200), counts(2, 2, 3));
        let fresh = PutKeys {
            registration_id: ana.registration_id,
            signed_pre_key: Some(ana.signed_pre_key(2)),
            ..PutKeys::default()
        };
        assert_eq!(ana.put(server, "/api/keys/", fresh).await.expect(200), counts(2, 2, 0));
    })
    .await;
}

#[tokio::test]
async fn the_check_notices_any_other_key() {
    both_engines(async |server| {
        let clinic = Clinic::new(server).await;
        let mut ana = clinic.person(Role::Patient).await;
        let check = async |ana: &super::Device, keys: &PutKeys| {
            ana.post(server, "/api/keys/check/", json!({"digest": ana.digest(keys)})).await
        };
        let keys = ana.keys(2);
        let details = check(&ana, &keys).await.expect_error(409, "keys_differ");
        assert_eq!(details["published"], false);
        ana.put(server, "/api/keys/identity/", ana.identity_body()).await.expect(200);
        ana.put(server, "/api/keys/", &keys).await.expect(200);
        assert_eq!(check(&ana, &keys).await.expect(200), counts(2, 2, 0));
        let mut other = keys.clone();
        other.signed_pre_key.as_mut().unwrap().key_id += 1;
        assert_eq!(check(&ana, &other).await.expect_error(409, "keys_differ")["published"], true);
        let other = PutKeys { last_resort_kyber_pre_key: Some(ana.kyber(2_000)), ..keys };
        check(&ana, &other).await.expect_error(409, "keys_differ");
    })
    .await;
}

#[tokio::test]
async fn a_device_in_a_manifest_keeps_its_registration_id() {
    both_engines(async |server| {
        let clinic = Clinic::new(server).await;
        let mut ana = clinic.published(Role::Patient, 1).await;
        ana.registration_id = ana.registration_id % 16_380 + 1;
        let keys = ana.keys(1);
        let details = ana.put(server, "/api/keys/", keys).await.expect_error(400, "invalid_field");
        assert_eq!(details["field"], "registration_id");
    })
    .await;
}

#[tokio::test]
async fn sessions_and_strangers_publish_nothing() {
    both_engines(async |server| {
        let clinic = Clinic::new(server).await;
        let mut ana = clinic.person(Role::Patient).await;
        let keys = json!(ana.keys(1));
        let session = clinic.session(&ana).await;
        let manifest = ana.manifest(None, &[ana.entry()]);
        let manifest = json!(ana.sign(&manifest));
        let digest = json!({"digest": sigilo_wire::Base64Array([0; 32])});
        for (method, path, body) in [
            (reqwest::Method::PUT, "/api/keys/identity/", Some(ana.identity_body())),
            (reqwest::Method::PUT, "/api/keys/", Some(keys)),
            (reqwest::Method::GET, "/api/keys/", None),
            (reqwest::Method::POST, "/api/keys/check/", Some(digest)),
            (reqwest::Method::PUT, "/api/devices/manifest/", Some(manifest)),
        ] {
            let denied = server.request(method.clone(), path, Some(&session), body.as_ref()).await;
            assert_eq!(denied.body["policies"], json!(["session-device"]), "{path}: {}", denied.body);
            assert_eq!(denied.expect_error(403, "forbidden")["reason"], "session_device", "{path}");
            let unknown = server.request(method, path, None, body.as_ref()).await;
            unknown.expect_error(401, "unauthenticated");
        }
    })
    .await;
}
