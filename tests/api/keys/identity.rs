//! PUT /api/keys/identity/

use serde_json::{Value, json};
use sigilo_seal::{IdentitySecret, identity_change};
use sigilo_wire::{Base64Array, Role};

use super::{Clinic, Device};
use crate::support::both_engines;

/// A new identity, with the old one's signature of the change.
fn change(device: &mut Device, new: &IdentitySecret) -> Value {
    let statement = identity_change::statement(device.tenant, device.user, &new.public());
    let signature = device.identity.sign(&statement, &mut device.rng);
    json!({
        "identity_key": Base64Array(new.public().to_bytes()),
        "signature_by_previous": Base64Array(signature),
    })
}

#[tokio::test]
async fn the_first_identity_is_taken_and_may_be_repeated() {
    both_engines(async |server| {
        let clinic = Clinic::new(server).await;
        let mut ana = clinic.person(Role::Patient).await;
        let premature = change(&mut ana, &IdentitySecret::from_bytes([9; 32]));
        let details = ana.put(server, "/api/keys/identity/", premature).await;
        assert_eq!(details.expect_error(400, "invalid_field")["field"], "signature_by_previous");
        for _ in 0..2 {
            let answer = ana.put(server, "/api/keys/identity/", ana.identity_body()).await.expect(200);
            let key = Base64Array(ana.identity.public().to_bytes());
            assert_eq!(answer, json!({"user_id": ana.user, "identity_key": key, "identity_seq": 1}));
        }
    })
    .await;
}

#[tokio::test]
async fn keys_that_would_prove_nothing_are_refused() {
    both_engines(async |server| {
        let clinic = Clinic::new(server).await;
        let ana = clinic.person(Role::Patient).await;
        let mut zero = [0; 33];
        zero[0] = 5;
        let mut one = zero;
        one[1] = 1;
        let mut not_canonical = [0xff; 33];
        (not_canonical[0], not_canonical[1], not_canonical[32]) = (5, 0xed + 9, 0x7f);
        let mut type_6 = ana.identity.public().to_bytes();
        type_6[0] = 6;
        let mut high_bit = ana.identity.public().to_bytes();
        high_bit[32] |= 0x80;
        for bad in [zero, one, not_canonical, type_6, high_bit] {
            let body = json!({"identity_key": Base64Array(bad)});
            let details = ana.put(server, "/api/keys/identity/", body).await.expect_error(422, "invalid_key");
            assert_eq!(details["key"], "identity_key");
        }
        let good = ana.identity.public().to_bytes();
        let trailing = json!({"identity_key": sigilo_wire::Base64([good.as_slice(), &[0]].concat())});
        for bad in [trailing, json!({"identity_key": "BQ"}), json!({"identity_key": 5}), json!({})] {
            let details =
                ana.put(server, "/api/keys/identity/", bad).await.expect_error(400, "invalid_field");
            assert_eq!(details["field"], "identity_key");
        }
        ana.put(server, "/api/keys/identity/", ana.identity_body()).await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn a_change_needs_the_old_identitys_signature() {
    both_engines(async |server| {
        let clinic = Clinic::new(server).await;
        let mut ana = clinic.published(Role::Patient, 2).await;
        let new = IdentitySecret::generate(&mut ana.rng);
        let unsigned = json!({"identity_key": Base64Array(new.public().to_bytes())});
        let details =
            ana.put(server, "/api/keys/identity/", unsigned).await.expect_error(409, "identity_exists");
        assert_eq!(details["identity_key"], json!(Base64Array(ana.identity.public().to_bytes())));

        let mut for_another_key = change(&mut ana, &IdentitySecret::from_bytes([9; 32]));
        for_another_key["identity_key"] = json!(Base64Array(new.public().to_bytes()));
        let mut by_itself = change(&mut ana, &new);
        let statement = identity_change::statement(ana.tenant, ana.user, &new.public());
        by_itself["signature_by_previous"] = json!(Base64Array(new.sign(&statement, &mut ana.rng)));
        for bad in [for_another_key, by_itself] {
            let refused = ana.put(server, "/api/keys/identity/", bad).await;
            assert_eq!(refused.expect_error(422, "invalid_signature")["key"], "signature_by_previous");
        }
        let counts = ana.get(server, "/api/keys/").await.expect(200);
        assert_eq!(counts["pre_key_count"], 2, "a refused change leaves everything");
    })
    .await;
}

#[tokio::test]
async fn a_change_voids_what_the_old_key_signed_and_is_told() {
    both_engines(async |server| {
        let clinic = Clinic::new(server).await;
        let mut ana = clinic.published(Role::Patient, 2).await;
        let mut tablet = clinic.second_device(&ana).await;
        let luis = clinic.published(Role::Doctor, 1).await;
        let bystander = clinic.published(Role::Doctor, 1).await;
        clinic.care(&ana, &luis).await;
        clinic.conversation(&ana, &luis).await;
        let new = IdentitySecret::generate(&mut ana.rng);
        let old = ana.identity.clone();
        let signed_change = change(&mut ana, &new);
        let answer = ana.put(server, "/api/keys/identity/", &signed_change).await.expect(200);
        assert_eq!(answer["identity_seq"], 2);
        ana.put(server, "/api/keys/identity/", &signed_change).await.expect(200);

        let told = ("identity_changed".to_owned(), json!({"user_id": ana.user, "identity_seq": 2}));
        assert_eq!(luis.events(server).await, std::slice::from_ref(&told));
        assert_eq!(tablet.events(server).await, [told]);
        assert_eq!(ana.events(server).await, []);
        assert_eq!(bystander.events(server).await, []);

        let manifest_of_ana = format!("/api/keys/{}/manifest/", ana.user);
        luis.get(server, &manifest_of_ana).await.expect_error(409, "keys_missing");
        let counts = ana.get(server, "/api/keys/").await.expect(200);
        assert_eq!((&counts["pre_key_count"], &counts["signed_pre_key_age_days"]), (&json!(0), &Value::Null));
        let by_old = tablet.keys(1);
        tablet.put(server, "/api/keys/", by_old).await.expect_error(422, "invalid_signature");

        // The chain of manifests goes on under the new key.
        let first = ana.manifest(None, &[ana.entry()]);
        ana.identity = new;
        let keys = ana.keys(1);
        ana.put(server, "/api/keys/", keys).await.expect(200);
        let again = ana.sign(&first);
        ana.put(server, "/api/devices/manifest/", again).await.expect_error(409, "manifest_conflict");
        let second = ana.manifest(Some(&first), &[ana.entry()]);
        let second = ana.sign(&second);
        ana.put(server, "/api/devices/manifest/", second).await.expect(200);
        let seen = luis.get(server, &manifest_of_ana).await.expect(200);
        assert_eq!(seen["identity_key"], json!(Base64Array(ana.identity.public().to_bytes())));

        // A key that ended never comes back, or old signatures could be replayed.
        let back = change(&mut ana, &old);
        let details = ana.put(server, "/api/keys/identity/", back).await.expect_error(422, "invalid_key");
        assert_eq!(details["key"], "identity_key");
    })
    .await;
}
