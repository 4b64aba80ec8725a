//! What is read, what is unread, and who hears of it.

use std::time::Duration;

use serde_json::{Value, json};
use sigilo::fetch_all;
use sigilo_wire::{UserId, message::MessageKind};

use super::{Pair, connect, next_of};
use crate::support::{TestServer, both_engines, clinic::PASSWORD, device::Device};

impl Pair {
    /// Somebody reads the conversation up to a message, or all of it.
    async fn read(&self, server: &TestServer, who: &Device, up_to: Option<i64>) -> Value {
        let body = up_to.map_or(json!({}), |up_to| json!({"up_to": up_to}));
        let path = format!("/api/chat/conversations/{}/read/", self.conversation);
        server.post(&path, Some(&who.token), &body).await.expect(200)
    }

    async fn unread(&self, server: &TestServer, who: &Device) -> i64 {
        let counts = server.get("/api/chat/unread-count/", Some(&who.token)).await.expect(200);
        let path = format!("/api/chat/conversations/{}/", self.conversation);
        let details = server.get(&path, Some(&who.token)).await.expect(200);
        let total = counts["total"].as_i64().unwrap();
        assert_eq!(details["unread_count"], total, "the only conversation");
        let each = match total {
            0 => json!([]),
            _ => json!([{"conversation_id": self.conversation, "unread_count": total}]),
        };
        assert_eq!(counts["conversations"], each);
        for wanted in [true, false] {
            let path = format!("/api/chat/conversations/?has_unread={wanted}");
            let found = server.get(&path, Some(&who.token)).await.expect(200);
            let expected = usize::from((total > 0) == wanted);
            assert_eq!(found["results"].as_array().unwrap().len(), expected, "has_unread={wanted}");
        }
        total
    }
}

#[tokio::test]
async fn only_messages_of_others_that_say_something_count_as_unread() {
    both_engines(async |server| {
        let pair = Pair::create(server, "unread").await;
        let first = pair.text(server, "one");
        pair.post(server, &first).await;
        pair.send(server, "two").await;
        assert_eq!(pair.unread(server, &pair.maria).await, 2);
        for kind in [MessageKind::Reaction, MessageKind::Edit, MessageKind::Delete, MessageKind::Profile] {
            let about = pair.ana.message(server, pair.conversation, "x", &[&pair.maria], |message| {
                message.message_type = kind;
                message.target_commitment = kind.needs_target().then_some(first.commitment);
            });
            pair.post(server, &about).await;
        }
        let brief = pair.ana.message(server, pair.conversation, "brief", &[&pair.maria], |message| {
            message.expires_in_s = Some(60);
        });
        pair.post(server, &brief).await;
        assert_eq!(pair.unread(server, &pair.ana).await, 0, "one's own messages are read");
        let before = pair.unread(server, &pair.maria).await;
        server.clock.advance(Duration::from_secs(60));
        assert_eq!(pair.unread(server, &pair.maria).await, before - 1, "what has expired is not unread");

        let read = pair.read(server, &pair.maria, Some(1)).await;
        assert_eq!(read["unread_count"], pair.unread(server, &pair.maria).await);
        let read = pair.read(server, &pair.maria, None).await;
        assert_eq!((&read["up_to"], &read["unread_count"]), (&json!(7), &json!(0)));
        assert_eq!(pair.unread(server, &pair.maria).await, 0);
    })
    .await;
}

#[tokio::test]
async fn reading_moves_forward_and_its_senders_hear_of_it_once() {
    both_engines(async |server| {
        let pair = Pair::create(server, "marks").await;
        let (_, mut ana) = connect(server, &pair.ana).await;
        for number in 0..3 {
            pair.send(server, &format!("{number}")).await;
        }
        assert_eq!(pair.read(server, &pair.maria, Some(2)).await["up_to"], 2);
        let mark = next_of(&mut ana, "message_read").await;
        let first_read = mark["data"]["read_at"].clone();
        let data = json!({"conversation_id": pair.conversation, "user_id": pair.maria.user, "up_to": 2,
            "read_at": first_read});
        assert_eq!(mark["data"], data);
        assert_eq!(mark["sender_id"], json!(pair.maria.user));
        assert!(mark["event_id"].is_string());

        server.clock.advance(Duration::from_secs(5));
        // Back, and again: nothing moves.
        assert_eq!(pair.read(server, &pair.maria, Some(1)).await["up_to"], 2);
        assert_eq!(pair.read(server, &pair.maria, Some(2)).await["up_to"], 2);
        let third = pair.history(server).await[0]["id"].as_str().unwrap().to_owned();
        let path = format!("/api/chat/messages/{third}/read/");
        let read = server.post(&path, Some(&pair.maria.token), &json!({})).await.expect(200);
        assert_eq!(read, json!({"conversation_id": pair.conversation, "up_to": 3, "unread_count": 0}));
        let mark = next_of(&mut ana, "message_read").await;
        assert_eq!(mark["data"]["up_to"], 3, "nothing was told in between");
        let second_read = mark["data"]["read_at"].clone();
        assert_ne!(first_read, second_read);

        let shown: Vec<Value> = pair.history(server).await;
        let expected = [&second_read, &first_read, &first_read];
        for (message, read_at) in shown.iter().zip(expected) {
            assert_eq!(message["read_by"], json!([{"user_id": pair.maria.user, "read_at": read_at}]));
            assert_eq!(message["delivery_status"], "read");
        }
        // Her own reading tells nobody that she has read her own messages.
        pair.read(server, &pair.ana, None).await;
        pair.send(server, "another").await;
        let newest = &pair.history(server).await[0];
        assert_eq!((&newest["read_by"], &newest["delivery_status"]), (&json!([]), &json!("sent")));
        let path = format!("/api/chat/conversations/{}/", pair.conversation);
        let details = server.get(&path, Some(&pair.ana.token)).await.expect(200);
        assert_eq!(details["last_message"]["delivery_status"], "sent");

        let mut tx = server.app.db.read("test").await.unwrap();
        let acts: Vec<(Option<UserId>,)> = fetch_all!(
            &mut tx,
            (Option<UserId>,),
            "SELECT patient_id FROM audit_entries WHERE act = 'mark_read'"
        )
        .unwrap();
        assert_eq!(acts, vec![(Some(pair.ana.user),); 3], "each move has its entry");
    })
    .await;
}

#[tokio::test]
async fn a_socket_marks_as_read_too_and_nonsense_is_refused() {
    both_engines(async |server| {
        let pair = Pair::create(server, "frame").await;
        pair.send(server, "one").await;
        pair.send(server, "two").await;
        let (_, mut maria) = connect(server, &pair.maria).await;
        let frame = |id: &str, data: Value| {
            json!({"type": "read", "request_id": id, "conversation_id": pair.conversation, "data": data})
        };
        maria.send(&frame("1", json!({"up_to": 1}))).await;
        let result = next_of(&mut maria, "result").await;
        assert_eq!(result["request_id"], "1");
        let expected = json!({"conversation_id": pair.conversation, "up_to": 1, "unread_count": 1});
        assert_eq!(result["data"], expected);
        for (id, up_to) in [("2", 0), ("3", 3), ("4", -1)] {
            maria.send(&frame(id, json!({"up_to": up_to}))).await;
            let error = next_of(&mut maria, "error").await;
            assert_eq!((&error["request_id"], &error["data"]["error"]), (&json!(id), &json!("invalid_field")));
        }
        maria.send(&json!({"type": "read", "request_id": "5", "data": {}})).await;
        assert_eq!(next_of(&mut maria, "error").await["data"]["details"]["field"], "conversation_id");

        let path = format!("/api/chat/conversations/{}/read/", pair.conversation);
        let beyond = server.post(&path, Some(&pair.maria.token), &json!({"up_to": 3})).await;
        assert_eq!(beyond.expect_error(400, "invalid_field")["field"], "up_to");
        let session = pair.clinic.login(server, "maria@example.org", PASSWORD, json!(null)).await.expect(200);
        let session = session["access_token"].as_str();
        server.post(&path, session, &json!({})).await.expect_error(403, "forbidden");
        let counts = server.get("/api/chat/unread-count/", session).await.expect(200);
        assert_eq!(counts["total"], 1, "a session counts, and reads nothing");
    })
    .await;
}
