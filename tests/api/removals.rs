//! A device is removed: what the devices that stay get, and what the removed one does not.

use serde_json::{Value, json};
use sigilo_seal::{Manifest, XWingSecret};
use sigilo_wire::{Base64, Role};

use crate::support::{
    TestServer, both_engines,
    clinic::{Clinic, PASSWORD},
    device::{Device, relate},
    link::Newcomer,
    socket::Socket,
};

/// Ana's devices, the first and two that joined it, and her doctor's; the two people have a conversation.
struct Three {
    ana: Device,
    tablet: Device,
    old: Device,
    maria: Device,
}

impl Three {
    async fn create(server: &TestServer) -> Self {
        let clinic = Clinic::create(server, "centro").await;
        let ana = Device::create(server, &clinic, Role::Patient, "ana@example.org").await;
        let maria = Device::create(server, &clinic, Role::Doctor, "maria@example.org").await;
        relate(server, &ana, &maria).await;
        ana.start(server, &maria).await;
        let tablet = Newcomer::new(2).join(server, &ana).await;
        let old = Newcomer::new(3).join(server, &ana).await;
        Self { ana, tablet, old, maria }
    }
}

#[tokio::test]
async fn a_new_history_key_rides_to_the_devices_that_stay_and_to_nobody_else() {
    both_engines(async |server| {
        let Three { ana, maria, tablet, old } = Three::create(server).await;
        let mut sockets = Vec::new();
        for device in [&tablet, &maria] {
            let mut socket = Socket::open(server, device).await;
            while socket.next().await["type"] != "queue_empty" {}
            sockets.push(socket);
        }
        let envelope = |device: &Device| {
            json!({"user_id": device.user, "device_id": device.number, "registration_id": device.registration_id,
                   "type": 2, "content": Base64(vec![7; 60])})
        };
        let current = ana.current_manifest(server).await;
        let mut next = current.follow();
        let put = async |manifest: &Manifest, envelopes: &[Value]| {
            let mut body = ana.sign(manifest);
            body["history_key_envelopes"] = json!(envelopes);
            server.put("/api/devices/manifest/", Some(&ana.token), &body).await
        };
        // The same history key: there is nothing to send.
        put(&next, &[envelope(&tablet)]).await.expect_error(400, "invalid_field");
        server.delete(&format!("/api/devices/{}/", old.device), Some(&ana.token)).await.expect(204);
        next.devices.retain(|named| named.device != old.number);
        put(&next, &[]).await.expect_error(422, "invalid_manifest");
        next.history_public_key = XWingSecret::from_seed([77; 32]).public();
        for wrong in [envelope(&old), envelope(&ana), envelope(&maria)] {
            put(&next, &[wrong]).await.expect_error(400, "invalid_field");
        }
        put(&next, &[envelope(&tablet), envelope(&tablet)]).await.expect_error(400, "invalid_field");
        put(&next, &[envelope(&tablet)]).await.expect(200);
        assert_eq!(sockets[0].expect("device_removed").await["data"], json!({"device_id": 3}));
        let told = sockets[0].expect("manifest_changed").await["data"].clone();
        let sealed = json!({"type": 2, "content": Base64(vec![7; 60])});
        assert_eq!(told["history_key"], json!({"device_id": 1, "envelope": sealed}));
        let told = sockets[1].expect("manifest_changed").await["data"].clone();
        assert_eq!(told, json!({"user_id": ana.user, "version": 4}), "a contact gets no key");
    })
    .await;
}

#[tokio::test]
async fn after_a_removal_nobody_sends_under_the_seals_that_the_device_reads() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "centro").await;
        let mut ana = Device::create(server, &clinic, Role::Patient, "ana@example.org").await;
        let maria = Device::create(server, &clinic, Role::Doctor, "maria@example.org").await;
        relate(server, &ana, &maria).await;
        let conversation = ana.start(server, &maria).await;
        let old = Newcomer::new(2).join(server, &ana).await;
        maria.publish_seal(server, &clinic, conversation, &[&ana]).await;
        let text = maria.text(server, conversation, "to both", &[&ana, &old]);
        maria.post(server, conversation, &text).await.expect(201);
        server.delete(&format!("/api/devices/{}/", old.device), Some(&ana.token)).await.expect(204);
        let events = server.get("/api/chat/events/", Some(&old.token)).await;
        assert_eq!(events.status, 401, "its tokens have ended: {}", events.body);

        let mut next = ana.current_manifest(server).await.follow();
        next.devices.retain(|named| named.device != old.number);
        ana.history = XWingSecret::from_seed([78; 32]);
        next.history_public_key = ana.history.public();
        server.put("/api/devices/manifest/", Some(&ana.token), &ana.sign(&next)).await.expect(200);
        let text = maria.text(server, conversation, "under the old seal", &[&ana]);
        let details = maria.post(server, conversation, &text).await.expect_error(409, "seal_stale");
        let new_key = ana.history.public().history_key_id().to_string();
        assert!(details["expected_key_ids"].as_array().unwrap().contains(&json!(new_key)), "{details}");
        maria.rewind(conversation, &text);
        maria.publish_seal(server, &clinic, conversation, &[&ana]).await;
        let text = maria.text(server, conversation, "under the new seal", &[&ana]);
        maria.post(server, conversation, &text).await.expect(201);
    })
    .await;
}

#[tokio::test]
async fn the_devices_that_stay_are_told_whoever_removes_one() {
    both_engines(async |server| {
        let Three { ana, maria, tablet, old } = Three::create(server).await;
        let login = json!({"clinic": "centro", "email": "ana@example.org", "password": PASSWORD,
                           "device": {"kind": "session", "name": "browser"}});
        let session = server.post("/api/auth/login/", None, &login).await.expect(200);
        let told = async |device: &Device| {
            let events = server.get("/api/chat/events/", Some(&device.token)).await.expect(200);
            let events = events["results"].as_array().unwrap().clone();
            let removals = events.into_iter().filter(|event| event["type"] == "device_removed");
            removals.map(|event| event["data"].clone()).collect::<Vec<_>>()
        };
        // A session asks; nobody else hears of it.
        let path = format!("/api/devices/{}/", old.device);
        server.delete(&path, session["access_token"].as_str()).await.expect(204);
        for (device, expected) in [(&ana, 1), (&tablet, 1), (&maria, 0)] {
            assert_eq!(told(device).await, vec![json!({"device_id": 3}); expected]);
        }
        // The end of a session changes no manifest.
        let path = format!("/api/devices/{}/", session["device"]["id"].as_str().unwrap());
        server.delete(&path, Some(&ana.token)).await.expect(204);
        assert_eq!(told(&tablet).await.len(), 1);
        // A device removes itself, with a proof of its own.
        server
            .post("/api/auth/mfa/verify/", Some(&tablet.token), &json!({"password": PASSWORD}))
            .await
            .expect_success();
        server.delete(&format!("/api/devices/{}/", tablet.device), Some(&tablet.token)).await.expect(204);
        assert_eq!(told(&ana).await, [json!({"device_id": 3}), json!({"device_id": 2})]);
    })
    .await;
}
