//! How much the people of a clinic may do in a time, and what is never held up.

use std::{num::NonZeroU32, time::Duration};

use serde_json::{Value, json};
use sigilo::{
    Ctx,
    config::Config,
    fetch_all,
    people::{self, RateLimits},
};
use sigilo_wire::{ConversationId, Role, account::DeviceKind};

use crate::support::{
    TestServer, both_engines_with,
    clinic::{Clinic, PASSWORD},
    device::{Device, relate},
    http::Answer,
    socket::Socket,
};

/// The limits of people as they are where nobody has set others.
fn as_shipped(config: &mut Config) {
    let shipped = sigilo::config::Limits::default();
    config.limits.messages_per_minute = shipped.messages_per_minute;
    config.limits.clinician_messages_per_minute = shipped.clinician_messages_per_minute;
    config.limits.requests_per_minute = shipped.requests_per_minute;
    config.limits.files_per_hour = shipped.files_per_hour;
    config.limits.prekey_fetches_per_minute = shipped.prekey_fetches_per_minute;
    config.limits.prekey_fetches_per_device = shipped.prekey_fetches_per_device;
}

/// A patient and the doctor who treats her, with a conversation.
struct Pair {
    clinic: Clinic,
    ana: Device,
    maria: Device,
    conversation: ConversationId,
}

impl Pair {
    async fn create(server: &TestServer) -> Self {
        let clinic = Clinic::create(server, "ejemplo").await;
        let ana = Device::create(server, &clinic, Role::Patient, "ana@ejemplo.example").await;
        let maria = Device::create(server, &clinic, Role::Doctor, "maria@ejemplo.example").await;
        relate(server, &ana, &maria).await;
        let conversation = ana.start(server, &maria).await;
        ana.publish_seal(server, &clinic, conversation, &[&maria]).await;
        Self { clinic, ana, maria, conversation }
    }

    fn text(&self, server: &TestServer, text: &str) -> sigilo_wire::message::SendMessage {
        self.ana.text(server, self.conversation, text, &[&self.maria])
    }
}

async fn keys(server: &TestServer, by: &str, of: &Device) -> Answer {
    server.get(&format!("/api/keys/{}/*/", of.user), Some(by)).await
}

/// Asks until it is refused.
async fn exhaust(server: &TestServer, path: &str, token: Option<&str>) -> Answer {
    let mut answer = server.get(path, token).await;
    for _ in 0..200 {
        if answer.status == 429 {
            break;
        }
        answer = server.get(path, token).await;
    }
    assert_eq!(answer.status, 429, "{path} is never refused");
    answer
}

async fn counts(server: &TestServer, of: &Device) -> Value {
    server.get("/api/keys/", Some(&of.token)).await.expect(200)["pre_key_count"].clone()
}

#[test]
fn what_nobody_has_set_is_as_the_rules_say() {
    let shipped = sigilo::config::Limits::default();
    assert_eq!((shipped.messages_per_minute, shipped.clinician_messages_per_minute), (20, 60));
    assert_eq!((shipped.requests_per_minute, shipped.prekey_fetches_per_minute), (100, 60));
    assert_eq!((shipped.prekey_fetches_per_device, shipped.logins_per_account_and_address), (6, 5));
}

/// Two messages, and one more each half minute: no machine is so slow that a test sees the next.
fn two_messages(config: &mut Config) {
    as_shipped(config);
    config.limits.messages_per_minute = 2;
}

#[tokio::test]
async fn messages_beyond_the_limit_wait_and_none_is_lost() {
    both_engines_with(two_messages, async |server| {
        let pair = Pair::create(server).await;
        let Pair { ana, conversation, .. } = &pair;
        let mut sent = Vec::new();
        for n in 0..2 {
            let message = pair.text(server, &format!("{n}"));
            sent.push((ana.post(server, *conversation, &message).await.expect(201), message));
        }
        let one_more = pair.text(server, "more");
        let refused = ana.post(server, *conversation, &one_more).await;
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=30).contains(&wait), "{wait}");
        let details = refused.expect_error(429, "rate_limited");
        assert_eq!((&details["limit"], &details["remaining"]), (&json!(2), &json!(0)));

        // On a socket it is the same count and the same body.
        let mut socket = Socket::open(server, ana).await;
        socket.expect("queue_empty").await;
        let frame = |message: &sigilo_wire::message::SendMessage| {
            json!({"type": "send_message", "request_id": "1", "conversation_id": conversation, "data": message})
        };
        socket.send(&frame(&one_more)).await;
        let error = socket.expect("error").await;
        assert_eq!(error["data"]["error"], "rate_limited");
        assert_eq!(error["data"]["details"]["limit"], 2);
        assert!(error["data"]["details"]["retry_after_s"].as_u64().is_some_and(|s| (1..=30).contains(&s)));

        // What is stored is answered as before, on both ways in.
        let (first, message) = &sent[1];
        let again = ana.post(server, *conversation, message).await.expect(201);
        assert_eq!(again["message_id"], first["message_id"]);
        socket.send(&frame(message)).await;
        assert_eq!(socket.expect("result").await["data"]["message_id"], first["message_id"]);

        server.clock.advance(Duration::from_secs(31));
        ana.post(server, *conversation, &one_more).await.expect(201);
    })
    .await;
}

#[tokio::test]
async fn clinicians_write_more_and_a_clinic_sets_its_own_numbers() {
    both_engines_with(as_shipped, async |server| {
        let pair = Pair::create(server).await;
        let Pair { clinic, ana, maria, conversation } = &pair;
        maria.publish_seal(server, clinic, *conversation, &[ana]).await;
        let ctx = Ctx::operator(&server.app, clinic.id);
        let grant = people::authorize_manage_clinic(&server.app, &ctx).unwrap();
        let limits = RateLimits {
            messages_per_minute: NonZeroU32::new(2),
            clinician_messages_per_minute: NonZeroU32::new(4),
            ..RateLimits::default()
        };
        people::set_rate_limits(&server.app, &ctx, grant, limits).await.unwrap();
        for (who, to, allowed) in [(ana, maria, 2), (maria, ana, 4)] {
            for n in 0..allowed {
                let message = who.text(server, *conversation, &format!("{n}"), &[to]);
                who.post(server, *conversation, &message).await.expect(201);
            }
            let message = who.text(server, *conversation, "more", &[to]);
            let details = who.post(server, *conversation, &message).await.expect_error(429, "rate_limited");
            assert_eq!(details["limit"], allowed);
        }
        const SETTINGS: &str = "SELECT act, canonical FROM audit_entries WHERE act = 'change_settings'";
        let mut tx = server.app.db.read("test").await.unwrap();
        let entries = fetch_all!(&mut tx, (String, Vec<u8>), SETTINGS).unwrap();
        assert!(String::from_utf8_lossy(&entries[0].1).contains("clinician_messages_per_minute"));
    })
    .await;
}

#[tokio::test]
async fn messages_that_a_rule_refuses_count_and_do_not_fill_the_audit_log() {
    both_engines_with(two_messages, async |server| {
        let pair = Pair::create(server).await;
        let Pair { ana, maria, conversation, .. } = &pair;
        let block = json!({"user_id": ana.user});
        server.post("/api/chat/block-user/", Some(&maria.token), &block).await.expect_success();
        let message = pair.text(server, "hello?");
        for _ in 0..2 {
            ana.post(server, *conversation, &message).await.expect_error(403, "message_not_allowed");
        }
        for _ in 0..5 {
            ana.post(server, *conversation, &message).await.expect_error(429, "rate_limited");
        }
        const DENIED: &str =
            "SELECT act, outcome FROM audit_entries WHERE act = 'send_message' AND outcome = 'denied'";
        let mut tx = server.app.db.read("test").await.unwrap();
        assert_eq!(fetch_all!(&mut tx, (String, String), DENIED).unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_device_that_asks_too_much_still_gets_its_events_and_its_socket() {
    let settings = |config: &mut Config| {
        as_shipped(config);
        config.limits.requests_per_minute = 30;
    };
    both_engines_with(settings, async |server| {
        let pair = Pair::create(server).await;
        let Pair { clinic, ana, maria, conversation } = &pair;
        let token = Some(maria.token.as_str());
        let message = pair.text(server, "Buenos días");
        ana.post(server, *conversation, &message).await.expect(201);
        let refused = exhaust(server, "/api/me/", token).await;
        assert!(["1", "2"].contains(&refused.header("retry-after").unwrap()), "{refused:?}");
        assert_eq!(refused.expect_error(429, "rate_limited")["limit"], 30);
        for path in ["/api/clinic/", "/api/chat/conversations/", "/api/chat/unread-count/"] {
            exhaust(server, path, token).await;
        }

        let events = server.get("/api/chat/events/", token).await.expect(200);
        assert!(events["results"].as_array().unwrap().iter().any(|event| event["type"] == "new_message"));
        let ticket = server.post("/api/auth/ws-ticket/", token, &json!({})).await.expect(200);
        let url = format!("/ws/chat/?token={}", ticket["ticket"].as_str().unwrap());
        let mut socket = Socket::open_path(server, &url, None).await.unwrap();
        let mut waited = Vec::new();
        while waited.last().is_none_or(|frame: &Value| frame["type"] != "queue_empty") {
            waited.push(socket.next().await);
        }
        waited.pop();
        assert!(waited.iter().any(|frame| frame["type"] == "new_message"), "{waited:?}");
        socket.ack(&waited.iter().collect::<Vec<_>>()).await;
        let read = json!({"type": "read", "request_id": "r", "conversation_id": conversation, "data": {}});
        let mut limited = false;
        for _ in 0..200 {
            socket.send(&read).await;
            limited = socket.next().await["data"]["error"] == "rate_limited";
            if limited {
                break;
            }
        }
        assert!(limited, "frames that mark as read have no limit");
        let refresh = json!({"refresh_token": maria.refresh_token});
        server.post("/api/auth/refresh/", None, &refresh).await.expect(200);
        // Others are not concerned, nor is another device of hers.
        server.get("/api/me/", Some(&ana.token)).await.expect(200);
        let session = clinic.login(server, "maria@ejemplo.example", PASSWORD, Value::Null).await.expect(200);
        server.get("/api/me/", session["access_token"].as_str()).await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn a_person_gets_few_bundles_of_a_device_whatever_they_ask_from() {
    both_engines_with(as_shipped, async |server| {
        let pair = Pair::create(server).await;
        let Pair { clinic, ana, maria, .. } = &pair;
        let luis = Device::create(server, clinic, Role::Doctor, "luis@ejemplo.example").await;
        relate(server, ana, &luis).await;
        for _ in 0..6 {
            keys(server, &ana.token, maria).await.expect(200);
        }
        let left = counts(server, maria).await;
        let refused = keys(server, &ana.token, maria).await;
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((500..=600).contains(&wait), "{wait}");
        assert_eq!(refused.expect_error(429, "rate_limited")["limit"], 6);
        let session = clinic.login(server, "ana@ejemplo.example", PASSWORD, Value::Null).await.expect(200);
        let session = session["access_token"].as_str().unwrap();
        let answer = keys(server, session, maria).await;
        assert!([403, 429].contains(&answer.status), "{answer:?}");
        assert_eq!(counts(server, maria).await, left, "a refused request takes no key");
        keys(server, &ana.token, &luis).await.expect(200);
        keys(server, &luis.token, ana).await.expect(200);
        server.clock.advance(Duration::from_secs(601));
        keys(server, &ana.token, maria).await.expect(200);
        keys(server, &ana.token, maria).await.expect_error(429, "rate_limited");
    })
    .await;
}

#[tokio::test]
async fn keys_that_cannot_be_counted_are_not_given_out_and_messages_go_on() {
    let settings = |config: &mut Config| {
        as_shipped(config);
        config.limits.buckets = 1;
    };
    both_engines_with(settings, async |server| {
        let pair = Pair::create(server).await;
        let Pair { clinic, ana, maria, conversation } = &pair;
        let luis = Device::create(server, clinic, Role::Doctor, "luis@ejemplo.example").await;
        relate(server, ana, &luis).await;
        keys(server, &ana.token, maria).await.expect(200);
        let left = counts(server, &luis).await;
        let away = keys(server, &ana.token, &luis).await;
        assert!(away.header("retry-after").is_some());
        away.expect_error(503, "unavailable");
        keys(server, &luis.token, ana).await.expect_error(503, "unavailable");
        assert_eq!(counts(server, &luis).await, left);
        // Nobody is counted beyond the first, and everybody writes.
        let message = pair.text(server, "Buenos días");
        ana.post(server, *conversation, &message).await.expect(201);
        maria.publish_seal(server, clinic, *conversation, &[ana]).await;
        let message = maria.text(server, *conversation, "Buenos días", &[ana]);
        maria.post(server, *conversation, &message).await.expect(201);
        assert!(server.metrics().await.contains("sigilo_limits_uncounted_total{kind=\"prekey_device\"}"));
    })
    .await;
}

#[tokio::test]
async fn an_emergency_knows_no_limit() {
    let settings = |config: &mut Config| {
        as_shipped(config);
        config.limits.messages_per_minute = 1;
        config.limits.requests_per_minute = 30;
    };
    both_engines_with(settings, async |server| {
        let pair = Pair::create(server).await;
        let Pair { clinic, ana, maria, conversation } = &pair;
        let eva = Device::create(server, clinic, Role::Doctor, "eva@ejemplo.example").await;
        let invitation = clinic.invite(server, Role::Admin, "staff@ejemplo.example").await;
        let staff = clinic.activate(server, &invitation.code, DeviceKind::Session).await.expect(200);
        let staff = staff["access_token"].as_str();
        for (who, tier) in [(maria, 1), (&eva, 2)] {
            let shift = json!({"user_id": who.user, "tier": tier});
            server.post("/api/admin/on-call/", staff, &shift).await.expect(201);
        }
        // She has used up everything.
        let message = pair.text(server, "one");
        ana.post(server, *conversation, &message).await.expect(201);
        let waiting = pair.text(server, "more");
        ana.post(server, *conversation, &waiting).await.expect_error(429, "rate_limited");
        let token = Some(ana.token.as_str());
        for _ in 0..6 {
            keys(server, &ana.token, maria).await.expect(200);
        }
        keys(server, &ana.token, maria).await.expect_error(429, "rate_limited");
        exhaust(server, "/api/me/", token).await;

        let call = json!({"category": "symptoms", "urgency": "immediate"});
        let opened = server.post("/api/chat/emergency/", token, &call).await.expect(201);
        let id: ConversationId =
            serde_json::from_value(opened["emergency"]["conversation_id"].clone()).unwrap();
        for _ in 0..9 {
            keys(server, &ana.token, maria).await.expect(200);
            keys(server, &ana.token, &eva).await.expect(200);
            server.get(&format!("/api/chat/conversations/{id}/"), token).await.expect(200);
        }
        ana.publish_seal(server, clinic, id, &[maria, &eva]).await;
        for n in 0..9 {
            let message = ana.text(server, id, &format!("{n}"), &[maria, &eva]);
            ana.post(server, id, &message).await.expect(201);
        }
        let ack = format!("/api/chat/emergency/{id}/ack/");
        exhaust(server, "/api/chat/contacts/", Some(&eva.token)).await;
        server.post(&ack, Some(&eva.token), &json!({})).await.expect_error(404, "not_found");
        server.post(&ack, Some(&maria.token), &json!({})).await.expect(200);
    })
    .await;
}
