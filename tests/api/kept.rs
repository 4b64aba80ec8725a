//! What the server keeps in memory between messages lets nothing pass that the database would refuse.

use std::time::Duration;

use serde_json::json;
use sigilo::{conversations, execute};
use sigilo_wire::{ConversationId, Role, message::SendMessage};

use crate::{
    groups::Team,
    support::{
        TestServer, both_engines,
        clinic::Clinic,
        device::{Device, relate},
        socket::Socket,
    },
};

/// A patient and a doctor after a first message: all that can be kept is kept.
struct Warm {
    ana: Device,
    maria: Device,
    conversation: ConversationId,
}

impl Warm {
    async fn create(server: &TestServer, care_for: Option<Duration>) -> Self {
        let clinic = Clinic::create(server, "warm").await;
        let ana = Device::create(server, &clinic, Role::Patient, "ana@example.org").await;
        let maria = Device::create(server, &clinic, Role::Doctor, "maria@example.org").await;
        let relationship = relate(server, &ana, &maria).await;
        let ends = care_for.map(|time| server.app.clock.now() + time);
        let mut tx = server.app.db.begin("test").await.unwrap();
        let sql = "UPDATE relationships SET expires_at = $2 WHERE relationship_id = $1";
        execute!(&mut tx, sql, relationship, ends).unwrap();
        tx.commit().await.unwrap();
        let conversation = ana.start(server, &maria).await;
        ana.publish_seal(server, &clinic, conversation, &[&maria]).await;
        let warm = Self { ana, maria, conversation };
        let first = warm.text(server, "first");
        warm.ana.post(server, conversation, &first).await.expect(201);
        warm
    }

    fn text(&self, server: &TestServer, text: &str) -> SendMessage {
        self.ana.text(server, self.conversation, text, &[&self.maria])
    }
}

#[tokio::test]
async fn a_removed_device_gets_no_message_after_its_removal() {
    both_engines(async |server| {
        let warm = Warm::create(server, None).await;
        let removed = format!("/api/devices/{}/", warm.maria.device);
        server.delete(&removed, Some(&warm.maria.token)).await.expect(204);
        let message = warm.text(server, "second");
        let answer = warm.ana.post(server, warm.conversation, &message).await;
        let details = answer.expect_error(409, "device_mismatch");
        assert_eq!(details["extra"], json!([{"user_id": warm.maria.user, "device_id": 1}]));
    })
    .await;
}

#[tokio::test]
async fn care_that_ends_by_itself_ends_messages_at_its_instant() {
    both_engines(async |server| {
        let warm = Warm::create(server, Some(Duration::from_secs(3600))).await;
        server.clock.advance(Duration::from_secs(600));
        let message = warm.text(server, "in time");
        warm.ana.post(server, warm.conversation, &message).await.expect(201);
        // Tokens live 15 minutes; what is decided on here is the relationship.
        server.clock.advance(Duration::from_secs(3000));
        let tokens = json!({"refresh_token": warm.ana.refresh_token});
        let renewed = server.post("/api/auth/refresh/", None, &tokens).await.expect(200);
        let path = format!("/api/chat/conversations/{}/messages/", warm.conversation);
        let late = json!(warm.text(server, "too late"));
        let answer = server.post(&path, renewed["access_token"].as_str(), &late).await;
        assert_eq!(answer.expect_error(403, "message_not_allowed")["reason"], "no_medical_relationship");
    })
    .await;
}

#[tokio::test]
async fn messages_show_the_name_their_sender_has_now() {
    both_engines(async |server| {
        let warm = Warm::create(server, None).await;
        let mut socket = Socket::open(server, &warm.maria).await;
        while socket.next().await["type"] != "queue_empty" {}
        let me = json!({"full_name": "Ana Belén López"});
        server.put("/api/me/", Some(&warm.ana.token), &me).await.expect(200);
        let message = warm.text(server, "second");
        warm.ana.post(server, warm.conversation, &message).await.expect(201);
        let frame = socket.expect("new_message").await;
        assert_eq!(frame["data"]["sender"]["full_name"], "Ana Belén López");
        // As it stands in the history.
        let path = format!("/api/chat/messages/{}/", frame["data"]["id"].as_str().unwrap());
        let mut stored = server.get(&path, Some(&warm.maria.token)).await.expect(200);
        let mut pushed = frame["data"].clone();
        pushed.as_object_mut().unwrap().remove("envelope");
        // How far it has come is told apart.
        stored["delivery_status"] = pushed["delivery_status"].clone();
        assert_eq!(pushed, stored, "a message handed on at once is the stored one");
    })
    .await;
}

#[tokio::test]
async fn who_hides_their_typing_is_not_told_of_from_then_on() {
    both_engines(async |server| {
        let warm = Warm::create(server, None).await;
        let mut ana = Socket::open(server, &warm.ana).await;
        while ana.next().await["type"] != "queue_empty" {}
        let mut maria = Socket::open(server, &warm.maria).await;
        while maria.next().await["type"] != "queue_empty" {}
        let typing = json!({"type": "typing", "request_id": "t", "conversation_id": warm.conversation, "data": {"typing": true}});
        ana.send(&typing).await;
        ana.expect("result").await;
        maria.expect("typing_indicator").await;
        let me = json!({"privacy": {"show_typing": false}});
        server.put("/api/me/", Some(&warm.maria.token), &me).await.expect(200);
        server.clock.advance(Duration::from_secs(10));
        ana.send(&typing).await;
        ana.expect("result").await;
        let message = warm.text(server, "second");
        warm.ana.post(server, warm.conversation, &message).await.expect(201);
        maria.expect("new_message").await;
    })
    .await;
}

#[tokio::test]
async fn a_new_identity_signs_from_the_moment_it_is_there() {
    both_engines(async |server| {
        let mut warm = Warm::create(server, None).await;
        let old = warm.text(server, "signed by the old key");
        warm.ana.identity = sigilo_seal::IdentitySecret::from_bytes([7; 32]);
        let mut tx = server.app.db.begin("test").await.unwrap();
        let sql = "UPDATE users SET identity_key = $2 WHERE user_id = $1";
        let key = warm.ana.identity.public().to_bytes();
        execute!(&mut tx, sql, warm.ana.user, key.as_slice()).unwrap();
        conversations::facts_changed_of(&mut tx, warm.ana.user).await.unwrap();
        tx.commit().await.unwrap();
        // What is kept would refuse the new key before the writer could see that it is of the past, and let
        // the old one through to it.
        let new = warm.text(server, "signed by the new key");
        let answer = warm.ana.post(server, warm.conversation, &new).await;
        answer.expect_error(409, "chain_gap");
        warm.ana.post(server, warm.conversation, &old).await.expect_error(422, "invalid_signature");
    })
    .await;
}

#[tokio::test]
async fn who_joins_or_leaves_does_so_for_the_next_message() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        let Team { clinic, ana, maria, jorge, .. } = &team;
        let id = team.started(server, "group", maria, &[ana]).await;
        team.say(server, id, ana, &[maria]).await;
        let people = format!("/api/chat/conversations/{id}/participants/");
        let who = |device: &Device| json!([{"user_id": device.user, "device_id": 1}]);
        let refused = async |to: &[&Device], code: &str| {
            let text = ana.text(server, id, "refused", to);
            let details = ana.post(server, id, &text).await.expect_error(409, code);
            // The chain goes on from the last accepted message.
            ana.rewind(id, &text);
            details
        };

        server.post(&people, Some(&maria.token), &json!({"user_ids": [jorge.user]})).await.expect(200);
        refused(&[maria], "seal_stale").await;
        ana.publish_seal(server, clinic, id, &[maria, jorge]).await;
        assert_eq!(refused(&[maria], "device_mismatch").await["missing"], who(jorge));
        team.say(server, id, ana, &[maria, jorge]).await;
        team.say(server, id, jorge, &[ana, maria]).await;

        let late = jorge.text(server, id, "too late", &[ana, maria]);
        server.delete(&format!("{people}{}/", jorge.user), Some(&maria.token)).await.expect(204);
        jorge.post(server, id, &late).await.expect_error(404, "not_found");
        refused(&[maria, jorge], "seal_stale").await;
        ana.publish_seal(server, clinic, id, &[maria]).await;
        assert_eq!(refused(&[maria, jorge], "device_mismatch").await["extra"], who(jorge));
        let text = ana.text(server, id, "among us", &[maria]);
        ana.post(server, id, &text).await.expect(201);
    })
    .await;
}

#[tokio::test]
async fn a_closed_conversation_takes_no_message_after_its_closing() {
    both_engines(async |server| {
        let warm = Warm::create(server, None).await;
        let path = format!("/api/chat/conversations/{}/", warm.conversation);
        server.put(&path, Some(&warm.maria.token), &json!({"status": "closed"})).await.expect(200);
        let message = warm.text(server, "too late");
        let answer = warm.ana.post(server, warm.conversation, &message).await;
        answer.expect_error(403, "conversation_closed");
    })
    .await;
}
