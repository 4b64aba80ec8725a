//! The way of messages: accepted once, delivered in order, acknowledged for good, on HTTP and WebSocket alike.

use std::time::Duration;

use serde_json::{Value, json};
use sigilo::relationships;
use sigilo_seal::{Ed25519Public, KeyPurpose, Origin, Receipt, RootStatement};
use sigilo_wire::{
    Base64Array, ConversationId, RelationshipId, Role,
    message::{Accepted, MessageKind, SendMessage},
};

use crate::support::{
    TestServer, both_engines, both_engines_with,
    clinic::Clinic,
    device::{Device, relate},
    socket::{Socket, eventually},
};

/// A patient and a doctor with an open conversation and a seal of the patient's.
struct Pair {
    clinic: Clinic,
    ana: Device,
    maria: Device,
    conversation: ConversationId,
    relationship: RelationshipId,
}

impl Pair {
    async fn create(server: &TestServer, slug: &str) -> Self {
        let clinic = Clinic::create(server, slug).await;
        let ana = Device::create(server, &clinic, Role::Patient, "ana@example.org").await;
        let maria = Device::create(server, &clinic, Role::Doctor, "maria@example.org").await;
        let relationship = relate(server, &ana, &maria).await;
        let conversation = ana.start(server, &maria).await;
        ana.publish_seal(server, &clinic, conversation, &[&maria]).await;
        Self { clinic, ana, maria, conversation, relationship }
    }

    fn text(&self, server: &TestServer, text: &str) -> SendMessage {
        self.ana.text(server, self.conversation, text, &[&self.maria])
    }

    async fn send(&self, server: &TestServer, text: &str) -> Accepted {
        let message = self.text(server, text);
        self.post(server, &message).await
    }

    async fn post(&self, server: &TestServer, message: &SendMessage) -> Accepted {
        serde_json::from_value(self.ana.post(server, self.conversation, message).await.expect(201)).unwrap()
    }

    async fn history(&self, server: &TestServer) -> Vec<Value> {
        let path = format!("/api/chat/conversations/{}/messages/?page_size=100", self.conversation);
        server.get(&path, Some(&self.maria.token)).await.expect(200)["results"].as_array().unwrap().clone()
    }
}

/// A socket whose backlog has been read: the frames and the socket.
async fn connect(server: &TestServer, device: &Device) -> (Vec<Value>, Socket) {
    let mut socket = Socket::open(server, device).await;
    let mut backlog = Vec::new();
    loop {
        let frame = socket.next().await;
        if frame["type"] == "queue_empty" {
            return (backlog, socket);
        }
        backlog.push(frame);
    }
}

/// Only the messages among frames.
fn messages(frames: &[Value]) -> Vec<&Value> {
    frames.iter().filter(|frame| frame["type"] == "new_message").collect()
}

/// The next frame of a type, past notices of other types.
async fn next_of(socket: &mut Socket, r#type: &str) -> Value {
    loop {
        let frame = socket.next().await;
        if frame["type"] == r#type {
            return frame;
        }
    }
}

#[tokio::test]
async fn a_message_reaches_the_other_device_and_its_acknowledgement_the_sender() {
    both_engines(async |server| {
        let pair = Pair::create(server, "reach").await;
        let (_, mut maria) = connect(server, &pair.maria).await;
        let (_, mut ana) = connect(server, &pair.ana).await;
        let sent = pair.text(server, "hello");
        let accepted = pair.post(server, &sent).await;
        assert_eq!(accepted.conversation_seq, 1);

        let frame = next_of(&mut maria, "new_message").await;
        let data = &frame["data"];
        assert_eq!(data["id"], json!(accepted.message_id));
        assert_eq!(data["body"], json!(sent.body));
        assert_eq!(data["wrapped_key"], json!(sent.wrapped_key));
        assert_eq!(data["envelope"]["content"], json!(sent.envelopes[0].content));
        assert_eq!(data["sender"]["full_name"], "Ana López");
        assert_eq!(data["receipt"], json!(accepted.receipt));
        assert_eq!(frame["conversation_id"], json!(pair.conversation));

        maria.ack(&[&frame]).await;
        let delivered = next_of(&mut ana, "message_delivered").await;
        assert_eq!(delivered["data"]["message_id"], json!(accepted.message_id));
        assert_eq!(delivered["data"]["user_id"], json!(pair.maria.user));
        assert_eq!(pair.history(server).await[0]["delivery_status"], "delivered");
    })
    .await;
}

#[tokio::test]
async fn what_waits_comes_in_order_once_and_is_gone_when_acknowledged() {
    both_engines(async |server| {
        let pair = Pair::create(server, "backlog").await;
        for number in 0..20 {
            pair.send(server, &format!("message {number}")).await;
        }
        let (backlog, socket) = connect(server, &pair.maria).await;
        let seqs: Vec<i64> =
            messages(&backlog).iter().map(|m| m["data"]["conversation_seq"].as_i64().unwrap()).collect();
        assert_eq!(seqs, (1..=20).collect::<Vec<_>>());
        socket.cut();

        // Not acknowledged: all of it comes again, under the same event ids.
        let (again, mut socket) = connect(server, &pair.maria).await;
        assert_eq!(
            again.iter().map(|f| &f["event_id"]).collect::<Vec<_>>(),
            backlog.iter().map(|f| &f["event_id"]).collect::<Vec<_>>()
        );
        let read = server.get("/api/chat/events/?page_size=100", Some(&pair.maria.token)).await.expect(200);
        assert_eq!(
            read["results"].as_array().unwrap().len(),
            again.len(),
            "reading by HTTP acknowledges nothing"
        );

        let (first, rest) = again.split_at(10);
        socket.ack(&first.iter().collect::<Vec<_>>()).await;
        eventually("the acknowledged events go", async || {
            let left =
                server.get("/api/chat/events/?page_size=100", Some(&pair.maria.token)).await.expect(200);
            (left["results"].as_array().unwrap().len() == rest.len()).then_some(())
        })
        .await;
        socket.cut();
        let (left, _) = connect(server, &pair.maria).await;
        assert_eq!(
            left.iter().map(|f| &f["event_id"]).collect::<Vec<_>>(),
            rest.iter().map(|f| &f["event_id"]).collect::<Vec<_>>()
        );
    })
    .await;
}

#[tokio::test]
async fn the_same_message_again_gets_the_first_answer_on_both_ways_in() {
    both_engines(async |server| {
        let pair = Pair::create(server, "again").await;
        let message = pair.text(server, "once");
        let first = pair.post(server, &message).await;
        let mut other_envelopes = message.clone();
        other_envelopes.envelopes[0].content = vec![9; 100].into();
        assert_eq!(pair.post(server, &other_envelopes).await, first, "envelopes are not compared");

        let (_, mut ana) = connect(server, &pair.ana).await;
        ana.send(&json!({"type": "send_message", "request_id": "1", "conversation_id": pair.conversation, "data": message})).await;
        let result = next_of(&mut ana, "result").await;
        assert_eq!(result["request_id"], "1");
        assert_eq!(result["data"], json!(first));
        assert_eq!(pair.history(server).await.len(), 1);

        let mut other = pair.text(server, "another under its name");
        other.client_message_id = message.client_message_id;
        pair.ana.post(server, pair.conversation, &other).await.expect_error(409, "idempotency_conflict");

        // What was accepted stays accepted: the rules and the clock are not asked again.
        revoke(server, &pair.clinic, pair.relationship).await;
        server.clock.advance(Duration::from_secs(10 * 60));
        assert_eq!(pair.post(server, &message).await, first);
    })
    .await;
}

#[tokio::test]
async fn many_frames_of_one_socket_keep_their_order() {
    both_engines(async |server| {
        let pair = Pair::create(server, "order").await;
        let (_, mut ana) = connect(server, &pair.ana).await;
        for number in 0..100 {
            let message = pair.text(server, &format!("{number}"));
            ana.send(&json!({"type": "send_message", "request_id": number.to_string(), "conversation_id": pair.conversation, "data": message})).await;
        }
        let mut seqs = std::collections::BTreeMap::new();
        while seqs.len() < 100 {
            let frame = next_of(&mut ana, "result").await;
            let number: i64 = frame["request_id"].as_str().unwrap().parse().unwrap();
            seqs.insert(number, frame["data"]["conversation_seq"].as_i64().unwrap());
        }
        assert_eq!(seqs.into_values().collect::<Vec<_>>(), (1..=100).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test]
async fn a_receipt_verifies_under_the_clinics_root_and_covers_the_message() {
    both_engines(async |server| {
        let pair = Pair::create(server, "receipt").await;
        let message = pair.text(server, "kept");
        let accepted = pair.post(server, &message).await;
        let clinic = server.get("/api/clinic/", Some(&pair.ana.token)).await.expect(200);
        let key = clinic["root_statements"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| {
                RootStatement::decode(
                    &serde_json::from_value::<sigilo_wire::Base64>(s["statement"].clone()).unwrap(),
                )
                .unwrap()
            })
            .find(|s| s.purpose == KeyPurpose::Receipt)
            .unwrap();
        assert_eq!(Base64Array(key.key_id().0), accepted.receipt.key_id);
        let key: Ed25519Public = key.ed25519_key().unwrap();
        let origin = Origin {
            tenant: pair.clinic.id,
            conversation: pair.conversation,
            sender: pair.ana.user,
            device: pair.ana.number,
        };
        let statement = Receipt::of_accepted(&origin, &message, &accepted);
        assert!(statement.verify(&key, &accepted.receipt.signature.0));
        let mut other = accepted.clone();
        other.conversation_seq += 1;
        assert!(!Receipt::of_accepted(&origin, &message, &other).verify(&key, &accepted.receipt.signature.0));
        assert!(
            accepted.receipt.policies.iter().any(|policy| policy == "members-send"),
            "{:?}",
            accepted.receipt.policies
        );
    })
    .await;
}

#[tokio::test]
async fn malformed_messages_are_refused_the_same_way_on_both_ways_in() {
    both_engines(async |server| {
        let pair = Pair::create(server, "malformed").await;
        let (_, mut socket) = connect(server, &pair.ana).await;
        let good = json!(pair.text(server, "good"));
        let far = json!(server.app.clock.now() + Duration::from_secs(600));
        let changes: Vec<(&str, Value, u16, &str)> = vec![
            ("body", json!("AAAA"), 422, "invalid_message"),
            ("body", json!("not base64"), 400, "invalid_field"),
            ("wrapped_key", json!("AAAA"), 400, "invalid_field"),
            ("signature", json!(Base64Array([0u8; 64])), 422, "invalid_signature"),
            ("commitment", json!(Base64Array([0u8; 32])), 422, "invalid_signature"),
            ("device_seq", json!(0), 422, "invalid_message"),
            ("device_seq", json!(-1), 400, "invalid_field"),
            ("sent_at", far, 422, "invalid_message"),
            ("sent_at", json!("2020-01-01T00:00:00Z"), 422, "invalid_message"),
            ("message_type", json!("system"), 400, "invalid_field"),
            ("message_type", json!("edit"), 422, "invalid_message"),
            ("colour", json!("red"), 400, "unknown_field"),
            ("attachments", json!([{"file_id": pair.conversation, "sha256": Base64Array([0u8; 32])}]), 422, "invalid_message"),
            ("envelopes", json!([]), 409, "device_mismatch"),
        ];
        for (field, value, status, code) in changes {
            let mut wrong = good.clone();
            wrong[field] = value;
            let path = format!("/api/chat/conversations/{}/messages/", pair.conversation);
            let details = server.post(&path, Some(&pair.ana.token), &wrong).await.expect_error(status, code);
            socket.send(&json!({"type": "send_message", "request_id": field, "conversation_id": pair.conversation, "data": wrong})).await;
            let frame = next_of(&mut socket, "error").await;
            assert_eq!((frame["request_id"].as_str(), frame["data"]["error"].as_str()), (Some(field), Some(code)), "{frame}");
            if field != "sent_at" {
                // Over the socket the place begins with the frame's own `data`.
                let place = |details: &Value| details["field"].as_str().map(|f| f.trim_start_matches("data.").to_owned());
                assert_eq!(place(&frame["data"]["details"]), place(&details), "{field}");
            }
        }
        assert!(pair.history(server).await.is_empty(), "nothing is half-written");
    })
    .await;
}

#[tokio::test]
async fn a_message_that_does_not_fit_says_how_to_mend_it() {
    both_engines(async |server| {
        let pair = Pair::create(server, "mend").await;
        let first = pair.text(server, "one");
        let second = pair.text(server, "two");
        let details = pair.ana.post(server, pair.conversation, &second).await.expect_error(409, "chain_gap");
        assert_eq!(details["device_seq"], 0);
        pair.post(server, &first).await;
        pair.post(server, &second).await;

        let ana = &pair.ana;
        let path = format!("/api/chat/conversations/{}/", pair.conversation);
        let before = server.get(&path, Some(&ana.token)).await.expect(200)["updated_at"].clone();
        let to_nobody = ana.text(server, pair.conversation, "three", &[]);
        let details =
            ana.post(server, pair.conversation, &to_nobody).await.expect_error(409, "device_mismatch");
        assert_eq!(details["missing"], json!([{"user_id": pair.maria.user, "device_id": pair.maria.number}]));

        let after = server.get(&path, Some(&ana.token)).await.expect(200)["updated_at"].clone();
        assert_eq!(after, before, "a refused message changes nothing");
    })
    .await;
}

#[tokio::test]
async fn a_stranger_and_another_clinic_find_nothing() {
    both_engines(async |server| {
        let pair = Pair::create(server, "ours").await;
        let accepted = pair.send(server, "private").await;
        let elsewhere = Clinic::create(server, "theirs").await;
        let foreign = Device::create(server, &elsewhere, Role::Doctor, "otto@example.org").await;
        let stranger = Device::create(server, &pair.clinic, Role::Doctor, "sara@example.org").await;
        for person in [&foreign, &stranger] {
            let token = Some(person.token.as_str());
            for path in [
                format!("/api/chat/conversations/{}/messages/", pair.conversation),
                format!("/api/chat/messages/{}/", accepted.message_id),
            ] {
                server.get(&path, token).await.expect_error(404, "not_found");
            }
            let message = pair.text(server, "forged");
            person.post(server, pair.conversation, &message).await.expect_error(404, "not_found");
            let path = format!("/ws/chat/{}/", pair.conversation);
            assert!(Socket::open_path(server, &path, token).await.is_err());
        }
        assert_eq!(pair.history(server).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_newer_socket_replaces_the_older_and_a_revoked_device_is_cut_off() {
    both_engines(async |server| {
        let pair = Pair::create(server, "sockets").await;
        let (_, mut older) = connect(server, &pair.maria).await;
        let (_, mut newer) = connect(server, &pair.maria).await;
        assert_eq!(older.closed().await, 4409);
        server
            .delete(&format!("/api/devices/{}/", pair.maria.device), Some(&pair.maria.token))
            .await
            .expect_success();
        assert_eq!(newer.closed().await, 4401);
        assert!(Socket::open_path(server, "/ws/chat/", Some(&pair.maria.token)).await.is_err());
        assert!(Socket::open_path(server, "/ws/chat/", None).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn a_ticket_opens_one_socket_and_a_token_is_renewed_in_place() {
    both_engines(async |server| {
        let pair = Pair::create(server, "ticket").await;
        let ticket =
            server.post("/api/auth/ws-ticket/", Some(&pair.ana.token), &json!({})).await.expect_success();
        let path = format!("/ws/chat/?token={}", ticket["ticket"].as_str().unwrap());
        let mut socket = Socket::open_path(server, &path, None).await.unwrap();
        next_of(&mut socket, "queue_empty").await;
        assert!(Socket::open_path(server, &path, None).await.is_err(), "a ticket is good once");

        socket.send(&json!({"type": "auth", "request_id": "a", "token": pair.maria.token})).await;
        let refused = next_of(&mut socket, "error").await;
        assert_eq!(refused["data"]["error"], "unauthenticated", "another device's token");
        socket.send(&json!({"type": "auth", "request_id": "b", "token": pair.ana.token})).await;
        assert_eq!(next_of(&mut socket, "result").await["request_id"], "b");

        server.clock.advance(Duration::from_secs(14 * 60 + 30));
        next_of(&mut socket, "session_expiring").await;
        server.clock.advance(Duration::from_secs(60));
        assert_eq!(socket.closed().await, 4401);
    })
    .await;
}

#[tokio::test]
async fn no_more_than_the_window_is_in_flight_and_acknowledging_moves_it() {
    both_engines_with(
        |config| config.relay.in_flight = 4,
        async |server| {
            let pair = Pair::create(server, "window").await;
            // Start from an empty queue.
            let (backlog, mut socket) = connect(server, &pair.maria).await;
            socket.ack(&backlog.iter().collect::<Vec<_>>()).await;
            let mut seen = Vec::new();
            for number in 0..10 {
                pair.send(server, &format!("{number}")).await;
            }
            for _ in 0..4 {
                seen.push(next_of(&mut socket, "new_message").await);
            }
            // The server answers a bad frame next: nothing beyond the window came in between.
            socket.send(&json!({"type": "nonsense"})).await;
            assert_eq!(socket.next().await["type"], "error");
            socket.ack(&seen.iter().collect::<Vec<_>>()).await;
            while seen.len() < 10 {
                let frame = next_of(&mut socket, "new_message").await;
                socket.ack(&[&frame]).await;
                seen.push(frame);
            }
            let seqs: Vec<i64> =
                seen.iter().map(|m| m["data"]["conversation_seq"].as_i64().unwrap()).collect();
            assert_eq!(seqs, (1..=10).collect::<Vec<_>>());
        },
    )
    .await;
}

#[tokio::test]
async fn a_frame_too_large_is_said_to_be_and_an_unknown_one_too() {
    both_engines(async |server| {
        let pair = Pair::create(server, "frames").await;
        let (_, mut socket) = connect(server, &pair.ana).await;
        for (text, code) in [
            ("{", "invalid_json"),
            (r#"{"type":"dance"}"#, "unknown_frame"),
            (r#"{"type":"ack","event_ids":["x"]}"#, "invalid_field"),
        ] {
            socket.send_text(text).await;
            assert_eq!(next_of(&mut socket, "error").await["data"]["error"], code);
        }
        let huge = format!(r#"{{"type":"ack","event_ids":["{}"]}}"#, "x".repeat(5 * 1024 * 1024));
        let answer = socket.send_too_large(&huge).await;
        assert_eq!(answer["data"]["error"], "body_too_large", "{answer}");
    })
    .await;
}

#[tokio::test]
async fn revoking_a_relationship_stops_the_next_message_even_on_an_open_socket() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "revoked").await;
        let ana = Device::create(server, &clinic, Role::Patient, "ana@example.org").await;
        let maria = Device::create(server, &clinic, Role::Doctor, "maria@example.org").await;
        let relationship = relate(server, &ana, &maria).await;
        let conversation = ana.start(server, &maria).await;
        ana.publish_seal(server, &clinic, conversation, &[&maria]).await;
        let (_, mut socket) = connect(server, &ana).await;
        let first = ana.text(server, conversation, "before", &[&maria]);
        ana.post(server, conversation, &first).await.expect(201);
        revoke(server, &clinic, relationship).await;
        let after = ana.text(server, conversation, "after", &[&maria]);
        socket.send(&json!({"type": "send_message", "request_id": "1", "conversation_id": conversation, "data": after})).await;
        let refused = next_of(&mut socket, "error").await;
        assert_eq!(refused["data"]["error"], "message_not_allowed", "{refused}");
        assert!(!refused["data"]["policies"].as_array().unwrap().is_empty());
        let path = format!("/api/chat/conversations/{conversation}/messages/");
        let history = server.get(&path, Some(&ana.token)).await.expect(200);
        assert_eq!(history["results"].as_array().unwrap().len(), 1, "history stays readable");
    })
    .await;
}

#[tokio::test]
async fn accepted_messages_survive_a_restart_and_pages_go_through_all_of_them() {
    for engine in [crate::support::Engine::Sqlite, crate::support::Engine::Postgres] {
        println!("on {engine:?}");
        let server = TestServer::start(engine).await;
        let pair = Pair::create(&server, "restart").await;
        for number in 0..7 {
            pair.send(&server, &format!("{number}")).await;
        }
        let (_, mut socket) = connect(&server, &pair.maria).await;
        let restarting = tokio::spawn(server.restart());
        assert_eq!(socket.closed().await, 1012);
        let server = restarting.await.unwrap();
        let mut seqs = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/api/chat/conversations/{}/messages/?page_size=3{cursor}", pair.conversation);
            let page = server.get(&path, Some(&pair.ana.token)).await.expect(200);
            seqs.extend(
                page["results"].as_array().unwrap().iter().map(|m| m["conversation_seq"].as_i64().unwrap()),
            );
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seqs, (1..=7).rev().collect::<Vec<_>>());
        let (backlog, _) = connect(&server, &pair.maria).await;
        assert_eq!(messages(&backlog).len(), 7);
        let one = pair
            .ana
            .message(&server, pair.conversation, "x", &[&pair.maria], |m| m.message_type = MessageKind::Text);
        pair.post(&server, &one).await;
        server.finish().await;
    }
}

async fn revoke(server: &TestServer, clinic: &Clinic, id: RelationshipId) {
    let ctx = sigilo::Ctx::operator(&server.app, clinic.id);
    let grant = relationships::authorize_manage_relationships(&server.app, &ctx).unwrap();
    relationships::revoke(&server.app, &ctx, grant, id).await.unwrap();
}
