//! The emergency channel: who is on call, who is told when, and who sees nothing.

use std::time::Duration;

use rand_core::SeedableRng as _;
use serde_json::{Value, json};
use sigilo::{Ctx, emergency, execute, fetch_all, people};
use sigilo_seal::{IdentitySecret, identity_change};
use sigilo_wire::{Base64Array, ConversationId, Role, UserId};

use crate::support::{
    TestServer, both_engines,
    clinic::Clinic,
    device::{Device, relate},
    http::Answer,
    server::Node,
    socket::eventually,
};

const OPEN: &str = "/api/chat/emergency/";
const ON_CALL: &str = "/api/admin/on-call/";

/// A patient nobody treats, a clinician of each of three tiers, one who is not on call, and the staff.
struct Night {
    clinic: Clinic,
    ana: Device,
    maria: Device,
    jorge: Device,
    eva: Device,
    luis: Device,
    staff: Device,
}

impl Night {
    async fn create(server: &TestServer) -> Self {
        let clinic = Clinic::create(server, "night").await;
        let person = async |role, name: &str| {
            Device::create(server, &clinic, role, &format!("{name}@night.example")).await
        };
        let (ana, maria) = (person(Role::Patient, "ana").await, person(Role::Doctor, "maria").await);
        let (jorge, eva) = (person(Role::Doctor, "jorge").await, person(Role::Doctor, "eva").await);
        let (luis, staff) = (person(Role::Doctor, "luis").await, person(Role::Admin, "staff").await);
        let night = Self { clinic, ana, maria, jorge, eva, luis, staff };
        for (who, tier) in [(&night.maria, 1), (&night.jorge, 2), (&night.eva, 4)] {
            night.on_call(server, who, tier).await.expect(201);
        }
        night
    }

    async fn on_call(&self, server: &TestServer, who: &Device, tier: u32) -> Answer {
        server.post(ON_CALL, Some(&self.staff.token), &json!({"user_id": who.user, "tier": tier})).await
    }

    /// Each tier has a minute: access tokens live fifteen.
    async fn hurry(&self, server: &TestServer) {
        let minute = json!({"escalate_after_s": 60});
        server.put(ON_CALL, Some(&self.staff.token), &minute).await.expect(204);
    }

    /// Ana calls, and writes a message to everybody on call.
    async fn call(&self, server: &TestServer) -> ConversationId {
        let opened = open(server, &self.ana).await.expect(201);
        let id = serde_json::from_value(opened["emergency"]["conversation_id"].clone()).unwrap();
        self.ana.publish_seal(server, &self.clinic, id, &self.everyone()).await;
        let text = self.ana.text(server, id, "help", &self.everyone());
        self.ana.post(server, id, &text).await.expect(201);
        id
    }

    fn everyone(&self) -> [&Device; 3] {
        [&self.maria, &self.jorge, &self.eva]
    }
}

async fn open(server: &TestServer, who: &Device) -> Answer {
    server.post(OPEN, Some(&who.token), &json!({"category": "symptoms", "urgency": "immediate"})).await
}

async fn step(server: &TestServer, who: &Device, id: ConversationId, step: &str, body: Value) -> Answer {
    server.post(&format!("{OPEN}{id}/{step}/"), Some(&who.token), &body).await
}

async fn state(server: &TestServer, who: &Device, id: ConversationId) -> Value {
    server.get(&format!("{OPEN}{id}/"), Some(&who.token)).await.expect(200)
}

/// The events that wait for a device.
async fn events(server: &TestServer, who: &Device) -> Vec<Value> {
    let answer = server.get("/api/chat/events/", Some(&who.token)).await.expect(200);
    answer["results"].as_array().unwrap().clone()
}

fn types(events: &[Value]) -> Vec<&str> {
    // How many one-time keys are left is another matter.
    events.iter().map(|event| event["type"].as_str().unwrap()).filter(|word| *word != "keys_low").collect()
}

/// That nothing of a conversation is there for somebody, on any path.
async fn sees_nothing(server: &TestServer, who: &Device, night: &Night, id: ConversationId) {
    let token = Some(who.token.as_str());
    for path in ["", "messages/", "seals/"] {
        let path = format!("/api/chat/conversations/{id}/{path}");
        server.get(&path, token).await.expect_error(404, "not_found");
    }
    let list = server.get("/api/chat/conversations/?include_archived=true", token).await.expect(200);
    assert_eq!(list["results"], json!([]));
    let found = server.get("/api/chat/search/", token).await.expect(200);
    assert_eq!(found["results"], json!([]));
    let unread = server.get("/api/chat/unread-count/", token).await.expect(200);
    assert!(!unread.to_string().contains(&id.to_string()), "{unread}");
    server.get(&format!("{OPEN}{id}/"), token).await.expect_error(404, "not_found");
    for (path, body) in
        [("ack", json!({})), ("escalate", json!({})), ("close", json!({"outcome": "advised"}))]
    {
        step(server, who, id, path, body).await.expect_error(404, "not_found");
    }
    server
        .put(&format!("/api/chat/conversations/{id}/"), token, &json!({"status": "closed"}))
        .await
        .expect_error(404, "not_found");
    let keys = server.get(&format!("/api/keys/{}/manifest/", night.ana.user), token).await;
    keys.expect_error(403, "forbidden");
    assert!(events(server, who).await.iter().all(|event| event["conversation_id"] != json!(id)), "an event");
}

/// The acts of the audit log about an emergency, in order.
async fn acts(server: &TestServer, id: ConversationId) -> Vec<String> {
    let mut tx = server.app.db.read("test").await.unwrap();
    let rows: Vec<(String, Vec<u8>)> =
        fetch_all!(&mut tx, (String, Vec<u8>), "SELECT act, canonical FROM audit_entries ORDER BY seq")
            .unwrap();
    let about = |canonical: &[u8]| String::from_utf8_lossy(canonical).contains(&id.to_string());
    let acts = rows.into_iter().filter(|(act, canonical)| act.contains("emergency") && about(canonical));
    acts.map(|(act, _)| act).collect()
}

#[tokio::test]
async fn staff_keep_the_roster() {
    both_engines(async |server| {
        let night = Night::create(server).await;
        let Night { ana, maria, jorge, eva, luis, staff, .. } = &night;
        for who in [ana, maria] {
            server.get(ON_CALL, Some(&who.token)).await.expect_error(403, "forbidden");
            let shift = json!({"user_id": maria.user, "tier": 1});
            server.post(ON_CALL, Some(&who.token), &shift).await.expect_error(403, "forbidden");
        }
        for (user, tier) in [(ana.user, 1), (maria.user, 0), (maria.user, 6)] {
            let shift = json!({"user_id": user, "tier": tier});
            server.post(ON_CALL, Some(&staff.token), &shift).await.expect_error(400, "invalid_field");
        }
        let shift = json!({"user_id": UserId::from_bytes([9; 16]), "tier": 1});
        server.post(ON_CALL, Some(&staff.token), &shift).await.expect_error(404, "not_found");
        let now = server.app.clock.now();
        let hour = Duration::from_secs(3600);
        let past = json!({"user_id": luis.user, "tier": 1, "from": now - hour, "until": now});
        server.post(ON_CALL, Some(&staff.token), &past).await.expect_error(400, "invalid_field");
        let later = json!({"user_id": luis.user, "tier": 1, "from": now + hour, "until": now + hour + hour});
        let later = server.post(ON_CALL, Some(&staff.token), &later).await.expect(201);
        let roster = server.get(ON_CALL, Some(&staff.token)).await.expect(200);
        assert_eq!(roster["shifts"].as_array().unwrap().len(), 4);
        assert_eq!(roster["escalate_after_s"], 300);
        // Tier 4 is the third that is called.
        let expected: Vec<Value> = [(maria, 1), (jorge, 2), (eva, 3)]
            .iter()
            .map(|(who, tier)| json!({"user_id": who.user, "tier": tier}))
            .collect();
        assert_eq!(roster["on_call_now"], json!(expected));
        let path = format!("{ON_CALL}{}/", later["shift_id"].as_str().unwrap());
        server.delete(&path, Some(&maria.token)).await.expect_error(403, "forbidden");
        server.delete(&path, Some(&staff.token)).await.expect(204);
        server.delete(&path, Some(&staff.token)).await.expect_error(404, "not_found");
        let set = |seconds: u32| json!({"escalate_after_s": seconds});
        server.put(ON_CALL, Some(&staff.token), &set(59)).await.expect_error(400, "invalid_field");
        server.put(ON_CALL, Some(&staff.token), &set(60)).await.expect(204);
        let roster = server.get(ON_CALL, Some(&staff.token)).await.expect(200);
        assert_eq!(roster["escalate_after_s"], 60);
    })
    .await;
}

#[tokio::test]
async fn a_tier_sees_nothing_before_it_is_called_and_everything_after() {
    both_engines(async |server| {
        let night = Night::create(server).await;
        let Night { ana, maria, jorge, eva, luis, staff, .. } = &night;
        let opened = open(server, ana).await.expect(201);
        assert_eq!(opened["emergency_number"], "911");
        assert_eq!(opened["emergency"]["tiers"], 3);
        let id: ConversationId =
            serde_json::from_value(opened["emergency"]["conversation_id"].clone()).unwrap();
        let people = opened["conversation"]["participants"].as_array().unwrap();
        let waiting: Vec<&Value> =
            people.iter().filter(|p| p["waiting"] == true).map(|p| &p["user_id"]).collect();
        assert!(people.len() == 4 && waiting.len() == 2 && !waiting.contains(&&json!(maria.user)));
        // A seal or envelopes for those called alone are refused.
        let seal = ana.seal(server, &night.clinic, id, &[maria]);
        let seals = format!("/api/chat/conversations/{id}/seals/");
        server.post(&seals, Some(&ana.token), &json!(seal)).await.expect_error(409, "seal_stale");
        for who in [maria, jorge, eva] {
            server.get(&format!("/api/keys/{}/*/", who.user), Some(&ana.token)).await.expect(200);
        }
        server
            .get(&format!("/api/keys/{}/*/", luis.user), Some(&ana.token))
            .await
            .expect_error(403, "forbidden");
        ana.publish_seal(server, &night.clinic, id, &night.everyone()).await;
        let short = ana.text(server, id, "help", &[maria]);
        ana.post(server, id, &short).await.expect_error(409, "device_mismatch");
        ana.rewind(id, &short);
        let text = ana.text(server, id, "help", &night.everyone());
        let sent = ana.post(server, id, &text).await.expect(201);
        // The first tier writes to all tiers, too.
        maria.publish_seal(server, &night.clinic, id, &[ana, jorge, eva]).await;
        let answer = maria.text(server, id, "I am here", &[ana, jorge, eva]);
        maria.post(server, id, &answer).await.expect(201);

        for who in [jorge, eva, luis, staff] {
            sees_nothing(server, who, &night, id).await;
        }
        assert_eq!(
            types(&events(server, maria).await),
            ["conversation_updated", "emergency_opened", "new_message"]
        );
        // The staff is told, and no more.
        let told = events(server, staff).await;
        assert_eq!(types(&told), ["emergency_opened"]);
        assert_eq!(told[0]["data"]["category"], "symptoms");
        assert!(told[0].get("conversation_id").is_none() && told[0].get("sender_id").is_none());
        let listed = server.get("/api/admin/emergencies/", Some(&staff.token)).await.expect(200);
        assert_eq!(listed["results"][0]["conversation_id"], json!(id));

        step(server, ana, id, "escalate", json!({})).await.expect_error(403, "forbidden");
        let escalated = step(server, maria, id, "escalate", json!({"from_tier": 1})).await.expect(200);
        assert_eq!((&escalated["tier"], &escalated["state"]), (&json!(2), &json!("open")));
        let news = events(server, jorge).await;
        assert_eq!(
            types(&news),
            ["conversation_updated", "new_message", "new_message", "emergency_escalated"]
        );
        let for_jorge = text.envelopes.iter().find(|envelope| envelope.user_id == jorge.user).unwrap();
        let first = news.iter().find(|event| event["type"] == "new_message").unwrap();
        assert_eq!(first["data"]["envelope"]["content"], json!(for_jorge.content));
        assert_eq!(first["data"]["id"], sent["message_id"]);
        let path = format!("/api/chat/conversations/{id}/messages/");
        let history = server.get(&path, Some(&jorge.token)).await.expect(200);
        assert_eq!(history["results"].as_array().unwrap().len(), 2);
        let seals = server.get(&seals, Some(&jorge.token)).await.expect(200);
        assert_eq!(seals["results"].as_array().unwrap().len(), 2);
        sees_nothing(server, eva, &night, id).await;
        sees_nothing(server, staff, &night, id).await;
        // What is said now reaches the called at once, under the same seal.
        let more = ana.text(server, id, "still here", &night.everyone());
        ana.post(server, id, &more).await.expect(201);
        assert_eq!(types(&events(server, jorge).await).last(), Some(&"new_message"));
        sees_nothing(server, eva, &night, id).await;

        step(server, jorge, id, "ack", json!({})).await.expect(200);
        let closed = json!({"status": "closed"});
        let plain = server.put(&format!("/api/chat/conversations/{id}/"), Some(&jorge.token), &closed).await;
        plain.expect_error(403, "forbidden");
        let done = step(server, jorge, id, "close", json!({"outcome": "advised"})).await.expect(200);
        assert_eq!((&done["state"], &done["outcome"]), (&json!("closed"), &json!("advised")));
        step(server, maria, id, "escalate", json!({})).await.expect_error(409, "already_settled");
        step(server, maria, id, "ack", json!({})).await.expect_error(409, "already_settled");
        let late = ana.text(server, id, "late", &night.everyone());
        ana.post(server, id, &late).await.expect_error(403, "conversation_closed");
        sees_nothing(server, eva, &night, id).await;
        assert_eq!(
            acts(server, id).await,
            // Second, what the patient was refused.
            [
                "open_emergency",
                "handle_emergency",
                "escalate_emergency",
                "acknowledge_emergency",
                "close_emergency"
            ]
        );
    })
    .await;
}

/// Looks for what is due on both servers at once; gives how many tiers they called.
async fn look_twice(server: &TestServer, beside: &Node) -> usize {
    let now = server.app.clock.now();
    let (here, there) =
        tokio::join!(emergency::escalate_due(&server.app, now), emergency::escalate_due(&beside.app, now));
    here.unwrap() + there.unwrap()
}

#[tokio::test]
async fn who_is_suspended_leaves_no_emergency_to_nobody() {
    both_engines(async |server| {
        let night = Night::create(server).await;
        let Night { ana, maria, jorge, eva, .. } = &night;
        let id = night.call(server).await;
        step(server, maria, id, "ack", json!({})).await.expect(200);
        suspend(server, &night, maria).await;
        // Due at once, by the server's own look, at the latest a second later.
        eventually("the second tier is called", async || {
            (state(server, ana, id).await["tier"] == 2).then_some(())
        })
        .await;
        let now = state(server, jorge, id).await;
        assert_eq!((&now["state"], &now["acknowledged_by"]), (&json!("open"), &Value::Null), "{now}");
        let more = ana.text(server, id, "is anybody there", &night.everyone());
        let answer = ana.post(server, id, &more).await;
        assert!([201, 409].contains(&answer.status), "sealed and sent to whoever is left: {}", answer.body);
        // Another who was called and does not look after it: nothing is due for that.
        step(server, jorge, id, "escalate", json!({})).await.expect(200);
        step(server, jorge, id, "ack", json!({})).await.expect(200);
        suspend(server, &night, eva).await;
        assert_eq!(state(server, jorge, id).await["state"], "acknowledged");
    })
    .await;
}

#[tokio::test]
async fn who_is_between_two_identities_is_not_waited_for() {
    both_engines(async |server| {
        let night = Night::create(server).await;
        let mut tx = server.app.db.begin("test").await.unwrap();
        execute!(
            &mut tx,
            "UPDATE users SET identity_seq = identity_seq + 1 WHERE user_id = $1",
            night.jorge.user
        )
        .unwrap();
        tx.commit().await.unwrap();
        let roster = server.get(ON_CALL, Some(&night.staff.token)).await.expect(200);
        assert_eq!(roster["unreachable_now"], json!([night.jorge.user]));
        let opened = open(server, &night.ana).await.expect(201);
        assert_eq!(opened["emergency"]["tiers"], 2);
        let id = serde_json::from_value(opened["emergency"]["conversation_id"].clone()).unwrap();
        let reached = [&night.maria, &night.eva];
        night.ana.publish_seal(server, &night.clinic, id, &reached).await;
        let text = night.ana.text(server, id, "help", &reached);
        night.ana.post(server, id, &text).await.expect(201);
    })
    .await;
}

async fn suspend(server: &TestServer, night: &Night, who: &Device) {
    let ctx = Ctx::operator(&server.app, night.clinic.id);
    let grant = people::authorize_manage_people(&server.app, &ctx).unwrap();
    people::suspend_user(&server.app, &ctx, grant, who.user).await.unwrap();
}

#[tokio::test]
async fn tiers_are_called_one_after_the_other_by_two_servers_and_once_each() {
    both_engines(async |server| {
        let night = Night::create(server).await;
        night.hurry(server).await;
        let id = night.call(server).await;
        let beside = server.beside().await;
        look_twice(server, &beside).await;
        assert_eq!(state(server, &night.ana, id).await["tier"], 1);
        for tier in [2, 3] {
            // Half a minute to spare: the clock goes on while the test runs.
            server.clock.advance(Duration::from_secs(30));
            look_twice(server, &beside).await;
            assert_eq!(state(server, &night.ana, id).await["tier"], tier - 1);
            server.clock.advance(Duration::from_secs(30));
            for _ in 0..3 {
                look_twice(server, &beside).await;
            }
            assert_eq!(state(server, &night.ana, id).await["tier"], tier);
        }
        let envelopes = |events: &[Value]| types(events).iter().filter(|t| **t == "new_message").count();
        assert_eq!(envelopes(&events(server, &night.jorge).await), 1);
        assert_eq!(envelopes(&events(server, &night.eva).await), 1);
        // Nobody is left: the staff is told.
        server.clock.advance(Duration::from_secs(60));
        for _ in 0..3 {
            look_twice(server, &beside).await;
        }
        let told = events(server, &night.staff).await;
        assert_eq!(types(&told), ["emergency_opened", "emergency_escalated"]);
        assert_eq!(told[1]["data"]["exhausted"], true);
        let expected = ["open_emergency", "escalate_emergency", "escalate_emergency", "exhaust_emergency"];
        assert_eq!(acts(server, id).await, expected);
        beside.stop().await;
    })
    .await;
}

#[tokio::test]
async fn whoever_acknowledges_ends_the_escalation() {
    both_engines(async |server| {
        let night = Night::create(server).await;
        let id = night.call(server).await;
        let first = step(server, &night.maria, id, "ack", json!({})).await.expect(200);
        assert_eq!(first["acknowledged_by"], json!(night.maria.user));
        server.clock.advance(Duration::from_secs(600));
        assert_eq!(emergency::escalate_due(&server.app, server.app.clock.now()).await.unwrap(), 0);
        assert_eq!(state(server, &night.ana, id).await["tier"], 1);
        // More hands, by hand; twice from the same tier is one call.
        let from = json!({"from_tier": 1});
        let (one, other) = tokio::join!(
            step(server, &night.maria, id, "escalate", from.clone()),
            step(server, &night.maria, id, "escalate", from.clone())
        );
        assert_eq!((&one.expect(200)["tier"], &other.expect(200)["tier"]), (&json!(2), &json!(2)));
        // Acknowledging again changes nothing.
        let again = step(server, &night.jorge, id, "ack", json!({})).await.expect(200);
        assert_eq!(again["acknowledged_by"], json!(night.maria.user));
        step(server, &night.jorge, id, "escalate", json!({})).await.expect(200);
        step(server, &night.jorge, id, "escalate", json!({})).await.expect_error(409, "already_settled");
    })
    .await;
}

#[tokio::test]
async fn acknowledging_and_closing_race_with_the_escalation() {
    both_engines(async |server| {
        let night = Night::create(server).await;
        night.hurry(server).await;
        let beside = server.beside().await;
        for end in ["ack", "close"] {
            let id = night.call(server).await;
            server.clock.advance(Duration::from_secs(60));
            let body = if end == "ack" { json!({}) } else { json!({"outcome": "no_emergency"}) };
            let (ended, _) =
                tokio::join!(step(server, &night.maria, id, end, body), look_twice(server, &beside));
            ended.expect(200);
            // Whichever was first: what holds is whole, and stays.
            let held = state(server, &night.ana, id).await;
            server.clock.advance(Duration::from_secs(60));
            look_twice(server, &beside).await;
            assert_eq!(state(server, &night.ana, id).await, held);
            let called = held["tier"] == 2;
            let path = format!("/api/chat/conversations/{id}/messages/");
            let jorge = server.get(&path, Some(&night.jorge.token)).await;
            assert_eq!(jorge.status == 200, called, "{held}");
        }
        beside.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_message_on_its_way_while_a_tier_is_called_reaches_it_once() {
    both_engines(async |server| {
        let night = Night::create(server).await;
        let id = night.call(server).await;
        let ctx_now = server.app.clock.now() + Duration::from_secs(300);
        let text = night.ana.text(server, id, "now", &night.everyone());
        let (sent, called) =
            tokio::join!(night.ana.post(server, id, &text), emergency::escalate_due(&server.app, ctx_now));
        sent.expect(201);
        assert_eq!(called.unwrap(), 1);
        let news = events(server, &night.jorge).await;
        assert_eq!(types(&news).iter().filter(|t| **t == "new_message").count(), 2);
        let eva = events(server, &night.eva).await;
        assert!(types(&eva).is_empty(), "{eva:?}");
    })
    .await;
}

#[tokio::test]
async fn with_nobody_on_call_it_says_so_and_the_staff_hears_of_it() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "empty").await;
        let ana = Device::create(server, &clinic, Role::Patient, "ana@empty.example").await;
        let staff = Device::create(server, &clinic, Role::Admin, "staff@empty.example").await;
        // A clinician without keys cannot be sealed to, and must not stand in the way.
        let bare = clinic.person(server, Role::Doctor, "bare@empty.example").await;
        let shift = json!({"user_id": bare.tokens.user_id, "tier": 1});
        server.post(ON_CALL, Some(&staff.token), &shift).await.expect(201);
        let roster = server.get(ON_CALL, Some(&staff.token)).await.expect(200);
        assert_eq!(roster["unreachable_now"], json!([bare.tokens.user_id]));
        let opened = open(server, &ana).await.expect(201);
        assert_eq!((&opened["emergency"]["tiers"], &opened["emergency_number"]), (&json!(0), &json!("911")));
        let told = events(server, &staff).await;
        assert_eq!(
            (types(&told).as_slice(), &told[0]["data"]["exhausted"]),
            (["emergency_opened"].as_slice(), &json!(true))
        );
    })
    .await;
}

#[tokio::test]
async fn only_patients_open_and_the_fourth_is_flagged() {
    both_engines(async |server| {
        let night = Night::create(server).await;
        for who in [&night.maria, &night.staff] {
            open(server, who).await.expect_error(403, "forbidden");
        }
        let wrong = json!({"category": "feels bad", "urgency": "immediate"});
        server.post(OPEN, Some(&night.ana.token), &wrong).await.expect_error(400, "invalid_field");
        let direct = json!({"type": "emergency", "participants": [night.maria.user]});
        let answer = server.post("/api/chat/conversations/", Some(&night.ana.token), &direct).await;
        assert_eq!(answer.expect_error(403, "conversation_not_allowed")["reason"], "emergency_channel");
        let once = async || {
            let request = server.client.post(format!("{}{OPEN}", server.url));
            let request = request.bearer_auth(&night.ana.token).header("idempotency-key", "night-1");
            let body = json!({"category": "injury", "urgency": "urgent"});
            Answer::of(request.json(&body).send().await.unwrap()).await.expect(201)
        };
        let (first, again) = tokio::join!(once(), once());
        assert_eq!(first["emergency"], again["emergency"]);
        open(server, &night.ana).await.expect(201);
        open(server, &night.ana).await.expect(201);
        let path = "/api/admin/emergencies/?flagged=true";
        let none = server.get(path, Some(&night.staff.token)).await.expect(200);
        assert_eq!(none["results"], json!([]));
        let fourth = open(server, &night.ana).await.expect(201);
        assert_eq!(fourth["emergency"]["flagged"], false, "the patient is not told");
        let flagged = server.get(path, Some(&night.staff.token)).await.expect(200);
        assert_eq!(flagged["results"].as_array().unwrap().len(), 1);
        assert_eq!(flagged["results"][0]["conversation_id"], fourth["emergency"]["conversation_id"]);
        server.get(path, Some(&night.maria.token)).await.expect_error(403, "forbidden");
    })
    .await;
}

#[tokio::test]
async fn a_new_key_of_a_tier_that_waits_makes_the_seal_stale() {
    both_engines(async |server| {
        let night = Night::create(server).await;
        let id = night.call(server).await;
        // The same care as between two who talk: a revoked relationship does not stop an emergency.
        let relationship = relate(server, &night.ana, &night.maria).await;
        let ctx = Ctx::operator(&server.app, night.clinic.id);
        let grant = sigilo::relationships::authorize_manage_relationships(&server.app, &ctx).unwrap();
        sigilo::relationships::revoke(&server.app, &ctx, grant, relationship).await.unwrap();
        let text = night.ana.text(server, id, "still", &night.everyone());
        night.ana.post(server, id, &text).await.expect(201);
        // A withheld clinician's device is removed: the next message is not for it.
        let ctx = Ctx::operator(&server.app, night.clinic.id);
        let grant = sigilo::people::authorize_manage_people(&server.app, &ctx).unwrap();
        sigilo::people::suspend_user(&server.app, &ctx, grant, night.jorge.user).await.unwrap();
        let text = night.ana.text(server, id, "who is left", &night.everyone());
        night.ana.post(server, id, &text).await.expect_error(409, "device_mismatch");
        night.ana.rewind(id, &text);
        let text = night.ana.text(server, id, "who is left", &[&night.maria, &night.eva]);
        night.ana.post(server, id, &text).await.expect(201);
        // Suspended, the tier is called and gets nothing.
        server.clock.advance(Duration::from_secs(300));
        emergency::escalate_due(&server.app, server.app.clock.now()).await.unwrap();
        // Nobody is left of it: the next one is due at once.
        eventually("the third tier", async || {
            emergency::escalate_due(&server.app, server.app.clock.now()).await.unwrap();
            (state(server, &night.ana, id).await["tier"] == 3).then_some(())
        })
        .await;
        let mut tx = server.app.db.read("test").await.unwrap();
        let queued: Vec<(i64,)> = fetch_all!(
            &mut tx,
            (i64,),
            "SELECT event_seq FROM device_events WHERE device_id = $1 AND conversation_id = $2",
            night.jorge.device,
            id
        )
        .unwrap();
        assert!(queued.is_empty());
    })
    .await;
}

/// Somebody takes another identity, as after a loss; nothing can be sealed for them until they have signed a manifest.
async fn change_identity(server: &TestServer, who: &Device) {
    let new = IdentitySecret::from_bytes([9; 32]).public();
    let statement = identity_change::statement(who.clinic, who.user, &new);
    let signature = who.identity.sign(&statement, &mut rand_chacha::ChaCha20Rng::from_seed([7; 32]));
    let body = json!({
        "identity_key": Base64Array(new.to_bytes()), "signature_by_previous": Base64Array(signature),
    });
    server.put("/api/keys/identity/", Some(&who.token), &body).await.expect(200);
}

#[tokio::test]
async fn who_changes_identity_holds_up_nobody_who_calls_for_help() {
    both_engines(async |server| {
        let night = Night::create(server).await;
        let Night { ana, maria, jorge, eva, .. } = &night;
        let id = night.call(server).await;
        step(server, maria, id, "ack", json!({})).await.expect(200);
        // One of a tier that waits: nobody waits for them, and they never hear of it.
        change_identity(server, jorge).await;
        assert!(types(&events(server, ana).await).contains(&"conversation_updated"));
        ana.publish_seal(server, &night.clinic, id, &[maria, eva]).await;
        let text = ana.text(server, id, "it is worse", &[maria, eva]);
        ana.post(server, id, &text).await.expect(201);
        sees_nothing(server, jorge, &night, id).await;
        // The one who looks after it: everybody is told, and the next tier is called at once.
        change_identity(server, maria).await;
        let told = events(server, ana).await;
        let left = told.iter().find(|event| event["type"] == "participant_changed").unwrap();
        assert_eq!(left["data"]["left"], json!([maria.user]));
        eventually("the next tier", async || {
            emergency::escalate_due(&server.app, server.app.clock.now()).await.unwrap();
            (state(server, ana, id).await["tier"] == 3).then_some(())
        })
        .await;
        ana.publish_seal(server, &night.clinic, id, &[eva]).await;
        let text = ana.text(server, id, "is anybody there?", &[eva]);
        ana.post(server, id, &text).await.expect(201);
        let got = events(server, eva).await;
        assert_eq!(types(&got).iter().filter(|word| **word == "new_message").count(), 3);
        let entries = acts(server, id).await;
        assert_eq!(entries.iter().filter(|act| *act == "leave_emergency").count(), 2, "{entries:?}");
    })
    .await;
}

#[tokio::test]
async fn the_list_of_emergencies_goes_on_and_refusals_are_noted() {
    both_engines(async |server| {
        let night = Night::create(server).await;
        let mut opened = Vec::new();
        for _ in 0..5 {
            opened.push(open(server, &night.ana).await.expect(201)["emergency"]["conversation_id"].clone());
        }
        opened.reverse();
        let path = "/api/admin/emergencies/?page_size=2";
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = server.get(&format!("{path}{cursor}"), Some(&night.staff.token)).await.expect(200);
            let results = page["results"].as_array().unwrap();
            seen.extend(results.iter().map(|one| one["conversation_id"].clone()));
            let Some(next) = page["next_cursor"].as_str() else { break };
            assert_eq!((results.len(), &page["has_more"]), (2, &json!(true)));
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, opened);
        let second = server.get(&format!("{path}&page=2"), Some(&night.staff.token)).await.expect(200);
        assert_eq!(second["results"][0]["conversation_id"], opened[2]);
        let wrong = format!("{path}&cursor={}", night.ana.user);
        server.get(&wrong, Some(&night.staff.token)).await.expect_error(400, "invalid_field");

        for refused in [ON_CALL, "/api/admin/emergencies/", "/api/admin/hours/"] {
            server.get(refused, Some(&night.maria.token)).await.expect_error(403, "forbidden");
        }
        let mut tx = server.app.db.read("test").await.unwrap();
        let sql = "SELECT act FROM audit_entries WHERE outcome = 'denied' AND actor_id = $1 ORDER BY seq";
        let acts: Vec<(String,)> = fetch_all!(&mut tx, (String,), sql, night.maria.user).unwrap();
        assert_eq!(acts.len(), 3, "{acts:?}");
    })
    .await;
}
