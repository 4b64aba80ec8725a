//! GET /api/keys/{user_id}/{device_id or *}/: who gets bundles, and that no one-time key leaves twice.

use std::{collections::HashSet, time::Duration};

use futures_util::{StreamExt as _, stream};
use serde_json::json;
use sigilo::storage::dialect::take_one_time_pre_key;
use sigilo_seal::IdentityPublicKey;
use sigilo_wire::{Role, keys::KeyBundles};

use super::{Clinic, Device, fixture::renewed};
use crate::support::{TestServer, both_engines};

const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3_600);

fn all_of(device: &Device) -> String {
    format!("/api/keys/{}/*/", device.user)
}

async fn bundles(server: &TestServer, by: &Device, of: &Device) -> KeyBundles {
    serde_json::from_value(by.get(server, &all_of(of)).await.expect(200)).unwrap()
}

/// What two people need to reach each other's keys, with `one_time` keys for the first.
async fn pair(clinic: &Clinic<'_>, one_time: u32) -> (Device, Device) {
    let luis = clinic.published(Role::Doctor, one_time).await;
    let ana = clinic.published(Role::Patient, 1).await;
    clinic.care(&ana, &luis).await;
    (luis, ana)
}

#[tokio::test]
async fn sixty_four_callers_at_once_never_get_the_same_one_time_key() {
    both_engines(async |server| {
        let clinic = Clinic::new(server).await;
        let (mut luis, ana) = pair(&clinic, 1).await;
        let mut keys = luis.keys(60);
        // Fewer of one kind, so that both run out at another moment.
        keys.kyber_pre_keys.truncate(40);
        luis.put(server, "/api/keys/", &keys).await.expect(200);
        let last_resort = keys.last_resort_kyber_pre_key.clone().unwrap();

        let callers = (0..64).map(|_| bundles(server, &ana, &luis));
        let given: Vec<KeyBundles> = stream::iter(callers).buffer_unordered(64).collect().await;

        let devices: Vec<_> = given.iter().map(|bundles| &bundles.devices[0]).collect();
        let ec: Vec<u32> = devices.iter().filter_map(|d| d.pre_key.as_ref()).map(|key| key.key_id).collect();
        assert_eq!(ec.len(), 60);
        assert_eq!(ec.iter().collect::<HashSet<_>>().len(), 60, "each EC key leaves once");
        let one_time = devices.iter().filter(|device| !device.kyber_is_last_resort);
        let kyber: Vec<u32> = one_time.map(|device| device.kyber_pre_key.key_id).collect();
        assert_eq!(kyber.len(), 40);
        assert_eq!(kyber.iter().collect::<HashSet<_>>().len(), 40, "each Kyber key leaves once");
        for device in devices.iter().filter(|device| device.kyber_is_last_resort) {
            assert_eq!(device.kyber_pre_key, last_resort);
        }
        let counts = luis.get(server, "/api/keys/").await.expect(200);
        assert_eq!((&counts["pre_key_count"], &counts["kyber_pre_key_count"]), (&json!(0), &json!(0)));
    })
    .await;
}

#[tokio::test]
async fn a_publication_that_is_repeated_gives_nothing_out_twice() {
    both_engines(async |server| {
        let clinic = Clinic::new(server).await;
        let (mut luis, ana) = pair(&clinic, 1).await;
        let (first, second) = (luis.keys(6), luis.keys(6));
        let mut given = HashSet::new();
        // The answers to the first two publications are lost; so is their order.
        for keys in [&first, &second, &first, &second] {
            luis.put(server, "/api/keys/", keys).await.expect(200);
            for _ in 0..2 {
                let bundle = bundles(server, &ana, &luis).await.devices.remove(0);
                let pre_key = bundle.pre_key.expect("there are some left").public_key.0;
                assert!(given.insert(pre_key.to_vec()), "an EC key is given out twice");
                assert!(!bundle.kyber_is_last_resort);
                let kyber = bundle.kyber_pre_key.public_key.0;
                assert!(given.insert(kyber.to_vec()), "a Kyber key is given out twice");
            }
        }
        let counts = luis.get(server, "/api/keys/").await.expect(200);
        assert_eq!((&counts["pre_key_count"], &counts["kyber_pre_key_count"]), (&json!(2), &json!(2)));
    })
    .await;
}

#[tokio::test]
async fn callers_who_hang_up_never_make_a_key_leave_twice() {
    both_engines(async |server| {
        let clinic = Clinic::new(server).await;
        let (luis, ana) = pair(&clinic, 64).await;
        let seed = 0x5eed_u64;
        println!("seed {seed}");
        let patience = |n: u64| Duration::from_micros((seed.wrapping_mul(n + 1) * 7_919) % 40_000);
        let impatient =
            (0..64).map(async |n| tokio::time::timeout(patience(n), bundles(server, &ana, &luis)).await.ok());
        let answered: Vec<_> = stream::iter(impatient).buffer_unordered(16).collect().await;
        let mut seen = HashSet::new();
        let mut note = |given: &KeyBundles| {
            let device = &given.devices[0];
            for id in device.pre_key.iter().map(|key| key.key_id) {
                assert!(seen.insert(id), "EC key {id} left twice");
            }
            if !device.kyber_is_last_resort {
                assert!(seen.insert(device.kyber_pre_key.key_id), "a Kyber key left twice");
            }
        };
        answered.iter().flatten().for_each(&mut note);
        // Whatever is left comes out, each once.
        loop {
            let given = bundles(server, &ana, &luis).await;
            note(&given);
            if given.devices[0].kyber_is_last_resort && given.devices[0].pre_key.is_none() {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_key_taken_in_a_transaction_that_fails_stays() {
    both_engines(async |server| {
        let clinic = Clinic::new(server).await;
        let (luis, ana) = pair(&clinic, 1).await;
        let mut tx = server.app.db.begin("test_take").await.unwrap();
        assert!(take_one_time_pre_key(&mut tx, luis.id, "ec").await.unwrap().is_some());
        assert!(take_one_time_pre_key(&mut tx, luis.id, "ec").await.unwrap().is_none());
        drop(tx);
        let given = bundles(server, &ana, &luis).await;
        assert_eq!(given.devices[0].pre_key.as_ref().unwrap().key_id, 1);
        assert!(bundles(server, &ana, &luis).await.devices[0].pre_key.is_none());
    })
    .await;
}

#[tokio::test]
async fn bundles_survive_a_restart_and_what_was_given_stays_given() {
    for engine in [crate::support::Engine::Sqlite, crate::support::Engine::Postgres] {
        let server = TestServer::start(engine).await;
        let clinic = Clinic::new(&server).await;
        let (luis, ana) = pair(&clinic, 2).await;
        let first = bundles(&server, &ana, &luis).await;
        let server = server.restart().await;
        let second = bundles(&server, &ana, &luis).await;
        assert_ne!(first.devices[0].pre_key, second.devices[0].pre_key);
        assert_ne!(first.devices[0].kyber_pre_key, second.devices[0].kyber_pre_key);
        assert_eq!(first.manifest, second.manifest);
        server.finish().await;
    }
}

#[tokio::test]
async fn a_bundle_is_what_the_device_published_under_its_manifest() {
    both_engines(async |server| {
        let clinic = Clinic::new(server).await;
        let (mut luis, ana) = pair(&clinic, 0).await;
        let keys = luis.keys(3);
        luis.put(server, "/api/keys/", &keys).await.expect(200);
        let given = bundles(server, &ana, &luis).await;
        assert_eq!(given.user_id, luis.user);
        assert_eq!(given.identity_key.0, luis.identity.public().to_bytes());
        let identity = IdentityPublicKey::parse(given.identity_key.as_slice()).unwrap();
        let signed = sigilo_seal::SignedManifest {
            statement: given.manifest.statement.0.clone(),
            signature: given.manifest.signature.0,
        };
        let manifest = signed.verify(&identity, luis.tenant, luis.user).unwrap();
        let device = &given.devices[0];
        assert_eq!(
            manifest.device(device.device_id).map(|named| named.registration_id),
            Some(device.registration_id)
        );
        assert_eq!(device.signed_pre_key, keys.signed_pre_key.clone().unwrap());
        assert!(keys.pre_keys.contains(device.pre_key.as_ref().unwrap()));
        assert!(keys.kyber_pre_keys.contains(&device.kyber_pre_key));
        let one = format!("/api/keys/{}/{}/", luis.user, luis.number);
        let one: KeyBundles = serde_json::from_value(ana.get(server, &one).await.expect(200)).unwrap();
        assert_eq!(one.devices.len(), 1);
        assert_ne!(one.devices[0].pre_key, device.pre_key);
    })
    .await;
}

#[tokio::test]
async fn keys_are_for_people_one_talks_to_or_may_start_to_talk_to() {
    both_engines(async |server| {
        let clinic = Clinic::new(server).await;
        let (luis, ana) = pair(&clinic, 9).await;
        let rosa = clinic.published(Role::Doctor, 9).await;
        let eva = clinic.published(Role::Patient, 9).await;
        bundles(server, &luis, &ana).await;
        bundles(server, &luis, &rosa).await;
        let denied = ana.get(server, &all_of(&rosa)).await;
        assert_eq!(denied.body["policies"], json!(["medical-relationship"]), "{}", denied.body);
        assert_eq!(denied.expect_error(403, "forbidden")["reason"], "no_medical_relationship");
        ana.get(server, &format!("/api/keys/{}/manifest/", rosa.user)).await.expect_error(403, "forbidden");
        ana.get(server, &all_of(&eva)).await.expect_error(403, "forbidden");
        rosa.get(server, &all_of(&ana)).await.expect_error(403, "forbidden");
        let counts = rosa.get(server, "/api/keys/").await.expect(200);
        assert_eq!(counts["pre_key_count"], 8, "a denied caller takes nothing");

        let session = clinic.session(&luis).await;
        let denied = server.get(&all_of(&ana), Some(&session)).await;
        assert_eq!(denied.expect_error(403, "forbidden")["reason"], "session_device");
        server.get(&all_of(&ana), None).await.expect_error(401, "unauthenticated");

        let elsewhere = Clinic::new(server).await;
        let far = elsewhere.published(Role::Doctor, 1).await;
        for path in [all_of(&far), format!("/api/keys/{}/manifest/", far.user)] {
            luis.get(server, &path).await.expect_error(404, "not_found");
        }
        let nobody = sigilo_wire::UserId::from_bytes([7; 16]);
        luis.get(server, &format!("/api/keys/{nobody}/*/")).await.expect_error(404, "not_found");
        for which in ["0", "128", "x", "**"] {
            let path = format!("/api/keys/{}/{which}/", ana.user);
            luis.get(server, &path).await.expect_error(400, "invalid_field");
        }
        luis.get(server, &format!("/api/keys/{}/9/", ana.user)).await.expect_error(404, "not_found");
    })
    .await;
}

#[tokio::test]
async fn nothing_is_given_before_all_is_published() {
    both_engines(async |server| {
        let clinic = Clinic::new(server).await;
        let luis = clinic.published(Role::Doctor, 1).await;
        let mut ana = clinic.person(Role::Patient).await;
        clinic.care(&ana, &luis).await;
        let missing = async || {
            let manifest = luis.get(server, &format!("/api/keys/{}/manifest/", ana.user)).await;
            let details = manifest.expect_error(409, "keys_missing");
            let bundles = luis.get(server, &all_of(&ana)).await.expect_error(409, "keys_missing");
            assert_eq!(bundles, details);
            details["missing"].clone()
        };
        assert_eq!(missing().await, "identity_key");
        ana.put(server, "/api/keys/identity/", ana.identity_body()).await.expect(200);
        assert_eq!(missing().await, "manifest");
        ana.publish(server, 1).await;
        assert_eq!(bundles(server, &luis, &ana).await.devices.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_device_reaches_its_users_other_devices_but_not_itself() {
    both_engines(async |server| {
        let clinic = Clinic::new(server).await;
        let mut phone = clinic.published(Role::Doctor, 3).await;
        let mut tablet = clinic.second_device(&phone).await;
        let keys = tablet.keys(3);
        tablet.put(server, "/api/keys/", keys).await.expect(200);
        assert_eq!(bundles(server, &phone, &tablet).await.devices.len(), 0, "not in the manifest yet");
        let first = phone.manifest(None, &[phone.entry()]);
        let second = phone.manifest(Some(&first), &[phone.entry(), tablet.entry()]);
        let second = phone.sign(&second);
        phone.put(server, "/api/devices/manifest/", second).await.expect(200);
        let given = bundles(server, &phone, &tablet).await;
        assert_eq!(given.devices.iter().map(|d| d.device_id).collect::<Vec<_>>(), [tablet.number]);
        let given = bundles(server, &tablet, &phone).await;
        assert_eq!(given.devices.iter().map(|d| d.device_id).collect::<Vec<_>>(), [phone.number]);
        let own = format!("/api/keys/{}/{}/", phone.user, phone.number);
        phone.get(server, &own).await.expect_error(400, "invalid_field");
    })
    .await;
}

#[tokio::test]
async fn a_device_that_runs_low_hears_it_once_an_hour() {
    both_engines(async |server| {
        let clinic = Clinic::new(server).await;
        let (mut luis, ana) = pair(&clinic, 21).await;
        bundles(server, &ana, &luis).await;
        assert_eq!(luis.events(server).await, [], "20 are enough");
        bundles(server, &ana, &luis).await;
        bundles(server, &ana, &luis).await;
        let low = ("keys_low".to_owned(), json!({"pre_key_count": 19, "kyber_pre_key_count": 19}));
        assert_eq!(luis.events(server).await, std::slice::from_ref(&low));

        server.clock.advance(HOUR);
        let ana = renewed(server, ana).await;
        luis = renewed(server, luis).await;
        bundles(server, &ana, &luis).await;
        let lower = ("keys_low".to_owned(), json!({"pre_key_count": 17, "kyber_pre_key_count": 17}));
        assert_eq!(luis.events(server).await, [low, lower]);
    })
    .await;
}

#[tokio::test]
async fn an_old_signed_prekey_is_reminded_of_daily_and_expires() {
    both_engines(async |server| {
        let clinic = Clinic::new(server).await;
        let (luis, ana) = pair(&clinic, 30).await;
        let published = server.app.clock.now();
        server.clock.advance(DAY * 31);
        let (luis, ana) = (renewed(server, luis).await, renewed(server, ana).await);
        bundles(server, &ana, &luis).await;
        bundles(server, &ana, &luis).await;
        let due = luis.events(server).await;
        assert_eq!(due.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>(), ["rotation_due"]);
        let at: sigilo_wire::Timestamp =
            serde_json::from_value(due[0].1["signed_pre_key_at"].clone()).unwrap();
        assert!(at <= published && published.since(at) < HOUR, "{at}");

        // Nobody has to ask for the keys: the reminder finds both devices, each at most once a day.
        let remind = async || sigilo::keys::remind_of_rotation(&server.app, server.app.clock.now()).await;
        assert_eq!(remind().await.unwrap(), 1, "Ana's, who has not been told");
        assert_eq!(remind().await.unwrap(), 0);
        server.clock.advance(DAY);
        assert_eq!(remind().await.unwrap(), 2);

        server.clock.advance(DAY * 14);
        let (luis, ana) = (renewed(server, luis).await, renewed(server, ana).await);
        assert_eq!(bundles(server, &ana, &luis).await.devices.len(), 0, "after 45 days");
        let one = ana.get(server, &format!("/api/keys/{}/{}/", luis.user, luis.number)).await;
        assert_eq!(one.expect_error(409, "keys_missing")["missing"], "fresh_signed_pre_key");
        let counts = luis.get(server, "/api/keys/").await.expect(200);
        assert_eq!((&counts["signed_pre_key_age_days"], &counts["pre_key_count"]), (&json!(46), &json!(28)));
    })
    .await;
}
