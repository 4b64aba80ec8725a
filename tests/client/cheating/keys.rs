//! Cheats with keys and devices.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use rand_core::UnwrapErr;
use serde_json::{Value, json};
use sigilo_client::NewConversation;
use sigilo_seal::{IdentitySecret, Manifest, ManifestDevice};
use sigilo_wire::{Base64, Base64Array, DeviceNumber, Role, UserId, keys::UserManifest};

use super::{Chat, Cheat, Stage, messages::refusal};
use crate::{
    crash::{activate_at, open},
    people::{CLINICIAN, PATIENT, World},
    support::{Engine, TestServer, cast::join, device::Device, proxy::Proxy},
};

/// The server's word that somebody has a new manifest.
fn manifest_changed(user: UserId) -> Value {
    let data = json!({"user_id": user, "version": 2});
    json!({"type": "manifest_changed", "data": data, "timestamp": "2026-11-24T00:00:00.000000Z"})
}

/// Changes the answers that hold somebody's keys: manifests or bundles.
fn keys_of(user: UserId, change: impl Fn(&mut Value) + Send + 'static) -> impl FnMut(&str, &mut Value) {
    move |path, body| {
        if path.starts_with(&format!("/api/keys/{user}/")) && body["identity_key"].is_string() {
            change(body);
        }
    }
}

/// A device that its user has not signed for.
fn with_a_ghost(body: &mut Value) {
    let statement: Base64 = serde_json::from_value(body["manifest"]["statement"].take()).unwrap();
    let mut manifest = Manifest::decode(&statement.0).unwrap();
    let added_at = manifest.devices[0].added_at;
    let ghost = ManifestDevice { device: DeviceNumber::new(9).unwrap(), registration_id: 9, added_at };
    manifest.devices.push(ghost);
    body["manifest"]["statement"] = json!(Base64(manifest.encode()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ghost_device_is_shown_and_gets_nothing() {
    let server = TestServer::start(Engine::Sqlite).await;
    let mut stage = Stage::set(&server).await;
    let (ana, maria) = (stage.ana.user, stage.maria);
    let unsigned = format!("! the keys of {ana} do not verify: ");
    stage.proxy.answers(keys_of(ana, with_a_ghost));
    stage.invents(manifest_changed(ana));
    stage.says("¿hola?").await;
    stage.chat.shows(&unsigned).await;
    stage.chat.types("a todos los aparatos").await;
    stage.chat.shows(&unsigned).await;
    stage.is_at_ease("sigo aquí").await;
    stage.chat.types("ahora sí").await;
    stage.chat.shows("you: ahora sí").await;

    // Her own manifest with somebody else's device in it.
    stage.proxy.answers(keys_of(maria, with_a_ghost));
    stage.invents(manifest_changed(maria));
    stage.says("¿qué tal?").await;
    stage.chat.shows(&format!("! the keys of {maria} do not verify: ")).await;

    // A refusal that asks for it.
    stage.is_at_ease("otra vez aquí").await;
    stage.proxy.frames(move |mut frame| {
        if frame["type"] == "result" {
            let ghost = json!({"user_id": ana, "device_id": 9});
            frame["type"] = json!("error");
            frame["data"] =
                refusal("device_mismatch", &json!({"missing": [ghost], "extra": [], "stale": []}));
        }
        vec![frame]
    });
    stage.chat.types("y al aparato nueve").await;
    stage.chat.shows("the server names device 9, which is not in their manifest").await;
    stage.end().await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bundles_of_a_ghost_or_of_somebody_else_open_no_session() {
    let server = TestServer::start(Engine::Sqlite).await;
    let mut stage = Stage::quiet(&server).await;
    let ana = stage.ana.user;
    let changes: [Cheat; 4] = [
        (
            |body| {
                let mut ghost = body["devices"][0].clone();
                ghost["device_id"] = json!(9);
                body["devices"].as_array_mut().unwrap().push(ghost);
            },
            "the server names device 9, which is not in their manifest",
        ),
        (|body| body["devices"][0]["registration_id"] = json!(77), "which is not in their manifest"),
        (
            |body| {
                let stranger = IdentitySecret::from_bytes([5; 32]).public().to_bytes();
                body["devices"][0]["signed_pre_key"]["public_key"] = json!(Base64Array(stranger));
            },
            "a prekey is not signed by the identity key",
        ),
        (with_a_ghost, "do not verify"),
    ];
    for (change, shown) in changes {
        stage.proxy.answers(keys_of(ana, move |body| {
            if body["devices"].is_array() {
                change(body);
            }
        }));
        stage.chat.types("la primera palabra").await;
        // As what became of the message, and as the answer to who typed it.
        stage.chat.shows(shown).await;
        stage.chat.shows(shown).await;
    }
    assert!(stage.proxy.passed("/messages/").is_empty(), "nothing was sent");
    stage.proxy.honest();
    stage.chat.types("ahora de verdad").await;
    stage.chat.shows("you: ahora de verdad").await;
    stage.end().await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_identity_is_shown_and_gets_nothing() {
    let server = TestServer::start(Engine::Sqlite).await;
    let mut stage = Stage::set(&server).await;
    let (ana, maria) = (stage.ana.user, stage.maria);
    let other = |body: &mut Value| {
        let identity = IdentitySecret::from_bytes([5; 32]).public().to_bytes();
        body["identity_key"] = json!(Base64Array(identity));
    };
    stage.proxy.answers(keys_of(maria, other));
    stage.invents(manifest_changed(maria));
    stage.says("¿hola?").await;
    stage.chat.shows("the server shows another identity key for this account").await;

    stage.proxy.answers(keys_of(ana, other));
    stage.invents(manifest_changed(ana));
    stage.says("soy yo").await;
    stage.chat.shows("! The identity key of Ana López has changed. Nothing is sent to them").await;
    stage.chat.types("¿de verdad?").await;
    stage.chat.shows("… waits: the identity key of").await;
    stage.end().await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_manifest_is_refused_and_shown() {
    let server = TestServer::start(Engine::Sqlite).await;
    let world = World::new(&server).await;
    let proxy = Proxy::start(&server).await;
    let identifier = Some((PATIENT.to_owned(), "MRN-1001".to_owned()));
    let person = join(&server, &world.clinic, Role::Patient, "ana@example.org", identifier).await;
    let ana = Device::of(&server, &world.clinic, &person).await;
    let profile = activate_at(&world, &proxy.url, Role::Doctor, "maria", (CLINICIAN, "LIC-2001")).await;
    let client = open(&profile).await;
    client.start_conversation(ana.user, NewConversation::default()).await.unwrap();
    client.shutdown().await.unwrap();
    let path = format!("/api/keys/{}/manifest/", ana.user);
    let first = server.get(&path, Some(&ana.token)).await.expect(200);
    let known: UserManifest = serde_json::from_value(first.clone()).unwrap();
    let manifest = Manifest::decode(&known.manifest.statement).unwrap();

    let mut chat = Chat::start(&profile);
    chat.shows("connected").await;
    chat.types("/verify Ana").await;
    chat.shows("Safety number").await;
    let second = Manifest { version: 2, previous: Some(manifest.digest()), ..manifest };
    let signed = second.sign(&ana.identity, &mut UnwrapErr(getrandom::SysRng));
    let body = json!({"statement": Base64(signed.statement), "signature": Base64Array(signed.signature)});
    // Once the chat has seen the second manifest, the first one is a lie.
    let seen = Arc::new(AtomicBool::new(false));
    proxy.answers({
        let (seen, path, first) = (Arc::clone(&seen), path.clone(), first.clone());
        move |asked, body| {
            if asked == path && *body != first {
                seen.store(true, Ordering::SeqCst);
            }
        }
    });
    server.put("/api/devices/manifest/", Some(&ana.token), &body).await.expect_success();
    let end = tokio::time::Instant::now() + crate::people::DEADLINE;
    while !seen.load(Ordering::SeqCst) {
        assert!(tokio::time::Instant::now() < end, "the chat fetches the second manifest");
        tokio::task::yield_now().await;
    }
    proxy.answers(move |asked, body| {
        if asked == path {
            *body = first.clone();
        }
    });
    chat.types("/open 1").await;
    chat.shows("───").await;
    proxy.frames({
        let mut event = Some(manifest_changed(ana.user));
        move |frame| event.take().into_iter().chain([frame]).collect()
    });
    // Any frame will do to carry it.
    chat.types("hola").await;
    chat.shows("manifest 1 is older than 2").await;
    chat.quit().await;
    drop(world);
    server.finish().await;
}
