//! Messages that wait for the opening: held, released once, given back, taken back.

use std::time::Duration;

use serde_json::{Value, json};
use sigilo::{execute, fetch_one, relay::held};
use sigilo_wire::message::{Accepted, Deliver, SendMessage};

use super::{Pair, connect, messages, next_of, revoke};
use crate::support::{Engine, TestServer, both_engines, hours::open, socket::eventually};

const MINUTE: Duration = Duration::from_secs(60);
/// The clinic opens in so many minutes.
const OPENS: i64 = 4;

/// A pair whose clinic is closed for [`OPENS`] minutes.
async fn closed(server: &TestServer) -> Pair {
    let pair = Pair::create(server, "held").await;
    open(server, pair.clinic.id, None, &[(OPENS, 90)]).await;
    pair
}

impl Pair {
    fn for_the_opening(&self, server: &TestServer, text: &str) -> SendMessage {
        let when_open = |request: &mut SendMessage| request.deliver = Deliver::WhenOpen;
        self.ana.message(server, self.conversation, text, &[&self.maria], when_open)
    }

    /// A message that is held: its request and the answer.
    async fn hold(&self, server: &TestServer, text: &str) -> (SendMessage, Value) {
        let message = self.for_the_opening(server, text);
        let answer = self.ana.post(server, self.conversation, &message).await.expect(202);
        assert_eq!(answer["delivery_status"], "held");
        assert!(answer.get("conversation_seq").is_none());
        (message, answer)
    }

    async fn cancel(&self, server: &TestServer, held: &Value) -> u16 {
        let path = format!("/api/chat/messages/{}/hold/", held["message_id"].as_str().unwrap());
        server.delete(&path, Some(&self.ana.token)).await.status
    }

    /// The commitments of the history, oldest first.
    async fn stored(&self, server: &TestServer) -> Vec<Value> {
        let mut found: Vec<Value> =
            self.history(server).await.into_iter().map(|message| message["commitment"].clone()).collect();
        found.reverse();
        found
    }
}

fn names(messages: &[&SendMessage]) -> Vec<Value> {
    messages.iter().map(|message| json!(message.commitment)).collect()
}

async fn count(server: &TestServer, sql: &'static str) -> i64 {
    let mut tx = server.app.db.read("test").await.unwrap();
    let (count,): (i64,) = fetch_one!(&mut tx, (i64,), sql).unwrap();
    count
}

async fn change(server: &TestServer, sql: &'static str) {
    let mut tx = server.app.db.begin("test").await.unwrap();
    execute!(&mut tx, sql).unwrap();
    tx.commit().await.unwrap();
}

/// No server looks at what is held until the test says so.
async fn look_away(server: &TestServer) {
    change(server, "UPDATE held_messages SET look_at = look_at + 3600000000000").await;
}

async fn look(server: &TestServer) -> sigilo::Result<usize> {
    change(server, "UPDATE held_messages SET look_at = 0").await;
    held::release_due(&server.app).await
}

async fn waiting(server: &TestServer) -> i64 {
    count(server, "SELECT COUNT(*) FROM held_messages").await
}

#[tokio::test]
async fn a_held_message_goes_out_at_the_opening_with_its_number_and_receipt() {
    both_engines(async |server| {
        let pair = closed(server).await;
        let (_, mut ana) = connect(server, &pair.ana).await;
        let (_, mut maria) = connect(server, &pair.maria).await;
        let (first, held) = pair.hold(server, "first").await;
        let (second, _) = pair.hold(server, "second").await;
        // What is not for the opening is refused, held messages or not.
        let now = pair.text(server, "now");
        pair.ana.post(server, pair.conversation, &now).await.expect_error(400, "outside_chat_hours");
        pair.ana.rewind(pair.conversation, &now);
        // The same message gets the same answer, another one under its name none; also on the socket.
        assert_eq!(pair.ana.post(server, pair.conversation, &first).await.expect(202), held);
        let mut other = second.clone();
        other.client_message_id = first.client_message_id;
        pair.ana.post(server, pair.conversation, &other).await.expect_error(422, "invalid_signature");
        let frame = json!({"type": "send_message", "request_id": "1", "conversation_id": pair.conversation, "data": first});
        ana.send(&frame).await;
        assert_eq!(next_of(&mut ana, "result").await["data"], held);
        // Nobody sees it.
        assert!(pair.stored(server).await.is_empty());
        server.get(&format!("/api/chat/messages/{}/", held["message_id"].as_str().unwrap()), Some(&pair.maria.token))
            .await
            .expect_error(404, "not_found");
        assert_eq!(held::release_due(&server.app).await.unwrap(), 0);

        server.clock.advance(5 * MINUTE);
        for (seq, message) in [(1, &first), (2, &second)] {
            let theirs = next_of(&mut maria, "new_message").await;
            assert_eq!(theirs["data"]["commitment"], json!(message.commitment));
            assert_eq!(theirs["data"]["conversation_seq"], seq);
            assert!(theirs["data"]["envelope"].is_object());
            // The device that wrote it gets its receipt so, without an envelope.
            let own = next_of(&mut ana, "new_message").await;
            assert_eq!(own["data"]["commitment"], json!(message.commitment));
            assert!(own["data"].get("envelope").is_none());
            assert_eq!(own["data"]["receipt"], theirs["data"]["receipt"]);
            assert_eq!(own["data"]["receipt"]["policies"], json!(["members-send"]));
        }
        assert_eq!(pair.stored(server).await, names(&[&first, &second]));
        assert_eq!(waiting(server).await, 0);
        // From now on it is what it is, and the chain goes on.
        let again = pair.ana.post(server, pair.conversation, &first).await.expect(201);
        assert_eq!((&again["message_id"], &again["conversation_seq"]), (&held["message_id"], &json!(1)));
        pair.send(server, "third").await;
        assert_eq!(pair.cancel(server, &held).await, 404);
        let entries = "SELECT COUNT(*) FROM audit_entries WHERE act = 'hold_message' AND outcome = 'allowed'";
        assert_eq!(count(server, entries).await, 2);
    })
    .await;
}

#[tokio::test]
async fn what_is_sent_in_the_moment_of_the_opening_comes_after_what_was_held() {
    both_engines(async |server| {
        let pair = closed(server).await;
        let (first, _) = pair.hold(server, "first").await;
        let second = pair.text(server, "second");
        server.clock.advance(5 * MINUTE);
        // Whether or not the server has looked: the chain finds what it continues.
        pair.post(server, &second).await;
        assert_eq!(pair.stored(server).await, names(&[&first, &second]));
    })
    .await;
}

#[tokio::test]
async fn its_author_takes_it_back_and_what_was_written_after_it_comes_back() {
    both_engines(async |server| {
        let pair = closed(server).await;
        let (_, mut ana) = connect(server, &pair.ana).await;
        let (first, _) = pair.hold(server, "first").await;
        let (second, held) = pair.hold(server, "second").await;
        let (third, _) = pair.hold(server, "third").await;
        // Nobody else does.
        let path = format!("/api/chat/messages/{}/hold/", held["message_id"].as_str().unwrap());
        server.delete(&path, Some(&pair.maria.token)).await.expect_error(404, "not_found");
        assert_eq!(pair.cancel(server, &held).await, 204);
        assert_eq!(pair.cancel(server, &held).await, 404);
        for (act, outcome) in [("cancel_held_message", "allowed"), ("release_message", "failed")] {
            let sql = "SELECT COUNT(*) FROM audit_entries WHERE act = $1 AND outcome = $2";
            let mut tx = server.app.db.read("test").await.unwrap();
            let (entries,): (i64,) = fetch_one!(&mut tx, (i64,), sql, act, outcome).unwrap();
            assert_eq!(entries, 1, "{act}");
        }
        let back = next_of(&mut ana, "reseal_needed").await;
        assert_eq!(back["data"]["client_message_id"], json!(third.client_message_id));
        assert_eq!(back["data"]["error"], "chain_gap");
        // Sealed anew behind the first one, it is held again.
        let answer = pair.ana.post(server, pair.conversation, &third).await;
        assert_eq!(answer.expect_error(409, "chain_gap")["device_seq"], 1);
        pair.ana.rewind(pair.conversation, &second);
        let (anew, _) = pair.hold(server, "third").await;
        server.clock.advance(5 * MINUTE);
        eventually("the release", async || (waiting(server).await == 0).then_some(())).await;
        assert_eq!(pair.stored(server).await, names(&[&first, &anew]));
    })
    .await;
}

#[tokio::test]
async fn the_rules_are_asked_again_at_the_opening() {
    both_engines(async |server| {
        let pair = closed(server).await;
        let (_, mut ana) = connect(server, &pair.ana).await;
        let (first, held) = pair.hold(server, "first").await;
        pair.hold(server, "second").await;
        revoke(server, &pair.clinic, pair.relationship).await;
        // Who may not write may not have it held either, and hears the true reason.
        let late = pair.for_the_opening(server, "third");
        let refused = pair.ana.post(server, pair.conversation, &late).await;
        assert_eq!(refused.expect_error(403, "message_not_allowed")["reason"], "no_medical_relationship");
        server.clock.advance(5 * MINUTE);
        let refused = next_of(&mut ana, "message_held_refused").await;
        assert_eq!(refused["data"]["message_id"], held["message_id"]);
        assert_eq!(refused["data"]["client_message_id"], json!(first.client_message_id));
        assert_eq!(refused["data"]["error"], "message_not_allowed");
        assert_eq!(refused["data"]["policies"], json!(["medical-relationship"]));
        next_of(&mut ana, "message_held_refused").await;
        assert!(pair.stored(server).await.is_empty());
        assert_eq!(waiting(server).await, 0);
        let entries =
            "SELECT COUNT(*) FROM audit_entries WHERE act = 'release_message' AND outcome = 'denied'";
        assert_eq!(count(server, entries).await, 2);
    })
    .await;
}

#[tokio::test]
async fn what_was_sealed_for_other_devices_comes_back_to_be_sealed_anew() {
    both_engines(async |server| {
        let pair = closed(server).await;
        let (_, mut ana) = connect(server, &pair.ana).await;
        let (first, _) = pair.hold(server, "first").await;
        let (second, _) = pair.hold(server, "second").await;
        let removed = format!("/api/devices/{}/", pair.maria.device);
        server.delete(&removed, Some(&pair.maria.token)).await.expect(204);
        server.clock.advance(5 * MINUTE);
        let back = next_of(&mut ana, "reseal_needed").await;
        assert_eq!(back["data"]["client_message_id"], json!(first.client_message_id));
        assert_eq!(back["data"]["error"], "device_mismatch");
        assert_eq!(back["data"]["details"]["extra"], json!([{"user_id": pair.maria.user, "device_id": 1}]));
        // Behind it: its own envelopes may be right.
        let back = next_of(&mut ana, "reseal_needed").await;
        assert_eq!(back["data"]["client_message_id"], json!(second.client_message_id));
        assert_eq!(back["data"]["error"], "chain_gap");
        // The same messages with other envelopes: nothing else has changed.
        let mut stored = Vec::new();
        for mut message in [first, second] {
            message.envelopes.clear();
            stored.push(json!(message.commitment));
            let accepted: Accepted =
                serde_json::from_value(pair.ana.post(server, pair.conversation, &message).await.expect(201))
                    .unwrap();
            assert_eq!(accepted.conversation_seq, i64::try_from(stored.len()).unwrap());
        }
        assert_eq!(waiting(server).await, 0);
    })
    .await;
}

#[tokio::test]
async fn an_opening_that_is_put_off_or_forward_is_kept() {
    both_engines(async |server| {
        let pair = closed(server).await;
        let (first, _) = pair.hold(server, "first").await;
        open(server, pair.clinic.id, None, &[(8, 90)]).await;
        server.clock.advance(5 * MINUTE);
        assert_eq!(held::release_due(&server.app).await.unwrap(), 0);
        assert_eq!(waiting(server).await, 1);
        open(server, pair.clinic.id, None, &[(-1, 90)]).await;
        eventually("the release", async || (waiting(server).await == 0).then_some(())).await;
        assert_eq!(pair.stored(server).await, names(&[&first]));
        // While it is open there is nothing to wait for.
        let message = pair.for_the_opening(server, "open");
        pair.post(server, &message).await;
        // With no opening in sight nothing is held.
        open(server, pair.clinic.id, None, &[]).await;
        let never = pair.for_the_opening(server, "never");
        pair.ana.post(server, pair.conversation, &never).await.expect_error(400, "outside_chat_hours");
    })
    .await;
}

#[tokio::test]
async fn held_messages_survive_a_restart() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let server = TestServer::start(engine).await;
        let pair = closed(&server).await;
        let (first, _) = pair.hold(&server, "first").await;
        let server = server.restart().await;
        assert_eq!(waiting(&server).await, 1);
        server.clock.advance(5 * MINUTE);
        let (backlog, mut maria) = connect(&server, &pair.maria).await;
        if messages(&backlog).is_empty() {
            next_of(&mut maria, "new_message").await;
        }
        assert_eq!(pair.stored(&server).await, names(&[&first]));
        server.finish().await;
    }
}

#[tokio::test]
async fn of_several_servers_that_look_each_message_is_released_once() {
    both_engines(async |server| {
        let pair = closed(server).await;
        let mut texts = Vec::new();
        for n in 0..8 {
            texts.push(pair.hold(server, &format!("number {n}")).await.0);
        }
        let nodes = [server.beside().await, server.beside().await];
        server.clock.advance(5 * MINUTE);
        let looks = (0..9).map(|n| {
            held::release_due(match n % 3 {
                0 => &server.app,
                1 => &nodes[0].app,
                _ => &nodes[1].app,
            })
        });
        for look in futures_util::future::join_all(looks).await {
            look.unwrap();
        }
        eventually("the release", async || (waiting(server).await == 0).then_some(())).await;
        assert_eq!(pair.stored(server).await, names(&texts.iter().collect::<Vec<_>>()));
        for device in [pair.maria.device, pair.ana.device] {
            let mut tx = server.app.db.read("test").await.unwrap();
            let sql = "SELECT COUNT(*) FROM device_events WHERE device_id = $1 AND type = 'new_message'";
            let (events,): (i64,) = fetch_one!(&mut tx, (i64,), sql, device).unwrap();
            assert_eq!(events, 8, "one event a message and device");
        }
        for node in nodes {
            node.stop().await;
        }
    })
    .await;
}

#[tokio::test]
async fn of_a_release_and_its_author_taking_it_back_one_wins() {
    both_engines(async |server| {
        let pair = closed(server).await;
        let mut kept = Vec::new();
        for round in 0..6 {
            // Closed again for a while.
            open(server, pair.clinic.id, None, &[(30, 90)]).await;
            let (message, held) = pair.hold(server, &format!("round {round}")).await;
            open(server, pair.clinic.id, None, &[(-30, 90)]).await;
            let (released, cancelled) =
                tokio::join!(held::release_due(&server.app), pair.cancel(server, &held));
            released.unwrap();
            eventually("the end", async || (waiting(server).await == 0).then_some(())).await;
            if cancelled == 204 {
                pair.ana.rewind(pair.conversation, &message);
            } else {
                assert_eq!(cancelled, 404);
                kept.push(json!(message.commitment));
            }
            assert_eq!(pair.stored(server).await, kept, "round {round}");
        }
    })
    .await;
}

#[tokio::test]
async fn of_a_release_and_a_revocation_what_is_revoked_stays_out() {
    both_engines(async |server| {
        let pair = closed(server).await;
        let (_, mut ana) = connect(server, &pair.ana).await;
        pair.hold(server, "first").await;
        let look = async {
            open(server, pair.clinic.id, None, &[(-30, 90)]).await;
            held::release_due(&server.app).await
        };
        let (released, ()) = tokio::join!(look, revoke(server, &pair.clinic, pair.relationship));
        released.unwrap();
        let there = pair.stored(server).await.len();
        eventually("the end", async || (waiting(server).await == 0).then_some(())).await;
        assert_eq!(pair.stored(server).await.len(), there, "nothing passes after the revocation");
        if there == 0 {
            next_of(&mut ana, "message_held_refused").await;
        }
        let next = pair.for_the_opening(server, "never");
        pair.ana.post(server, pair.conversation, &next).await.expect_error(403, "message_not_allowed");
    })
    .await;
}

#[tokio::test]
async fn what_was_sent_again_before_a_look_waits_no_more() {
    both_engines(async |server| {
        let pair = closed(server).await;
        let (first, held) = pair.hold(server, "first").await;
        look_away(server).await;
        server.clock.advance(5 * MINUTE);
        // Its device has not heard of the opening, and asks again.
        pair.post(server, &first).await;
        let second = pair.text(server, "second");
        pair.post(server, &second).await;
        // Stored is stored: there is nothing to take back.
        assert_eq!(pair.cancel(server, &held).await, 404);
        // It holds up nothing that is held later.
        open(server, pair.clinic.id, None, &[(4, 90)]).await;
        look_away(server).await;
        let (third, _) = pair.hold(server, "third").await;
        server.clock.advance(5 * MINUTE);
        eventually("the release", async || {
            look(server).await.unwrap();
            (waiting(server).await == 0).then_some(())
        })
        .await;
        assert_eq!(pair.stored(server).await, names(&[&first, &second, &third]));
    })
    .await;
}

#[tokio::test]
async fn what_is_stored_already_is_not_refused_afterwards() {
    both_engines(async |server| {
        let pair = closed(server).await;
        let (first, _) = pair.hold(server, "first").await;
        pair.hold(server, "second").await;
        look_away(server).await;
        server.clock.advance(5 * MINUTE);
        pair.post(server, &first).await;
        revoke(server, &pair.clinic, pair.relationship).await;
        look(server).await.unwrap();
        eventually("the end", async || (waiting(server).await == 0).then_some(())).await;
        let told = "SELECT COUNT(*) FROM device_events WHERE type = 'message_held_refused'";
        assert_eq!(count(server, told).await, 1, "of the second one only");
        assert_eq!(pair.stored(server).await, names(&[&first]));
    })
    .await;
}

#[tokio::test]
async fn one_that_cannot_be_read_keeps_nobody_waiting() {
    both_engines(async |server| {
        let pair = closed(server).await;
        pair.maria.publish_seal(server, &pair.clinic, pair.conversation, &[&pair.ana]).await;
        pair.hold(server, "unreadable").await;
        change(server, "UPDATE held_messages SET request = commitment").await;
        let when_open = |request: &mut SendMessage| request.deliver = Deliver::WhenOpen;
        let hers = pair.maria.message(server, pair.conversation, "hers", &[&pair.ana], when_open);
        pair.maria.post(server, pair.conversation, &hers).await.expect(202);
        look_away(server).await;
        server.clock.advance(5 * MINUTE);
        let look_at = server.app.clock.now().micros();
        assert!(look(server).await.is_err(), "what went wrong is said");
        assert_eq!(pair.stored(server).await, names(&[&hers]));
        assert_eq!(waiting(server).await, 1);
        // It is looked at again, but not at once: others have the next looks.
        let mut tx = server.app.db.read("test").await.unwrap();
        let sql = "SELECT look_at FROM held_messages";
        let (next,): (i64,) = fetch_one!(&mut tx, (i64,), sql).unwrap();
        drop(tx);
        assert!(next > look_at + 20_000_000, "in {} seconds", (next - look_at) / 1_000_000);
        assert_eq!(held::release_due(&server.app).await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn of_a_look_and_a_change_of_the_hours_the_new_hours_count() {
    both_engines(async |server| {
        let pair = closed(server).await;
        for round in 0..6 {
            open(server, pair.clinic.id, None, &[(30, 90)]).await;
            pair.hold(server, &format!("round {round}")).await;
            let (looked, ()) = tokio::join!(look(server), open(server, pair.clinic.id, None, &[(-30, 90)]));
            looked.unwrap();
            eventually("the release", async || (waiting(server).await == 0).then_some(())).await;
        }
        assert_eq!(pair.stored(server).await.len(), 6);
    })
    .await;
}

#[tokio::test]
async fn a_device_holds_so_many_bytes() {
    both_engines(async |server| {
        let pair = closed(server).await;
        pair.hold(server, "first").await;
        look_away(server).await;
        let mut tx = server.app.db.begin("test").await.unwrap();
        let large = vec![0_u8; held::MAX_HELD_BYTES - 100];
        execute!(&mut tx, "UPDATE held_messages SET request = $1", large).unwrap();
        tx.commit().await.unwrap();
        let second = pair.for_the_opening(server, "second");
        let refused = pair.ana.post(server, pair.conversation, &second).await;
        let body = refused.expect_error(429, "rate_limited");
        assert_eq!(body["limit_bytes"], held::MAX_HELD_BYTES);
        assert_eq!(waiting(server).await, 1);
    })
    .await;
}

#[tokio::test]
async fn without_an_opening_in_sight_it_goes_back_in_the_end() {
    both_engines(async |server| {
        let pair = closed(server).await;
        pair.hold(server, "first").await;
        open(server, pair.clinic.id, None, &[]).await;
        let told = "SELECT COUNT(*) FROM device_events WHERE type = 'message_held_refused'
            AND data LIKE '%outside_chat_hours%'";
        for _ in 0..2 {
            server.clock.advance(24 * 60 * MINUTE);
            look(server).await.unwrap();
            assert_eq!((waiting(server).await, count(server, told).await), (1, 0));
        }
        server.clock.advance(25 * 60 * MINUTE);
        look(server).await.unwrap();
        eventually("the end", async || (waiting(server).await == 0).then_some(())).await;
        assert_eq!(count(server, told).await, 1);
    })
    .await;
}
