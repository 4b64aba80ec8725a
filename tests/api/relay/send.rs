//! What is accepted, once and in order, and what is refused.

use std::time::Duration;

use serde_json::{Value, json};
use sigilo_seal::{Ed25519Public, KeyPurpose, Origin, Receipt, RootStatement};
use sigilo_wire::{Base64Array, Role};

use super::{Pair, connect, next_of, revoke};
use crate::support::{
    both_engines,
    clinic::Clinic,
    device::{Device, relate},
    socket::Socket,
};

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
            ("sent_at", far.clone(), 422, "invalid_message"),
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
            if field == "sent_at" {
                // A device tells from it whether to seal the message anew or to mend its clock.
                let reason = json!(if wrong["sent_at"] == far { "too_far_ahead" } else { "too_old" });
                assert_eq!((&details["reason"], &frame["data"]["details"]["reason"]), (&reason, &reason));
            } else {
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
async fn new_rules_count_from_the_next_message_on() {
    both_engines(async |server| {
        let pair = Pair::create(server, "rules").await;
        let (_, mut socket) = connect(server, &pair.ana).await;
        pair.send(server, "before").await;
        let rules = tempfile::tempdir().unwrap();
        std::fs::write(
            rules.path().join("quiet.cedar"),
            "forbid (principal is User, action == Action::\"send_message\", resource is Conversation);",
        )
        .unwrap();
        let programs = server.app.policy.reload(None).unwrap().rules;
        assert_eq!(server.app.policy.reload(Some(rules.path())).unwrap().rules, programs + 1);
        let message = pair.text(server, "now");
        socket.send(&json!({"type": "send_message", "request_id": "1", "conversation_id": pair.conversation, "data": message})).await;
        let refused = next_of(&mut socket, "error").await;
        assert_eq!(refused["data"]["error"], "message_not_allowed", "{refused}");
        assert_eq!(refused["data"]["policies"], json!(["quiet"]));

        std::fs::write(rules.path().join("quiet.cedar"), "forbid (").unwrap();
        assert!(server.app.policy.reload(Some(rules.path())).is_err());
        pair.ana.post(server, pair.conversation, &message).await.expect_error(403, "message_not_allowed");
        server.app.policy.reload(None).unwrap();
        pair.post(server, &message).await;
        assert_eq!(pair.history(server).await.len(), 2);
    })
    .await;
}
