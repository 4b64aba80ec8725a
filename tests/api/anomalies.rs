//! What is out of the ordinary, what is done about it, and its review.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sigilo::{Ctx, anomalies, config::Config, fetch_all, people};
use sigilo_wire::{
    Role, UserId,
    anomaly::{AnomalyAction, AnomalyKind, AnomalyRule, AnomalySettings},
};
use tokio::io::AsyncWriteExt as _;

use crate::support::{
    TestServer, both_engines, both_engines_with,
    clinic::{Clinic, PASSWORD},
    device::{Device, relate},
    http::Answer,
    socket::{Socket, eventually},
};

const ANOMALIES: &str = "/api/admin/anomalies/";
const SETTINGS: &str = "/api/admin/anomalies/settings/";
const CONVERSATIONS: &str = "/api/chat/conversations/";
/// What only admins may see, and what only compliance officers may.
const FOR_ADMINS: &str = "/api/admin/networks/";
const FOR_COMPLIANCE: &str = "/api/compliance/break-glass/";

/// A clinic with a patient, her doctor, an admin and a compliance officer.
struct House {
    clinic: Clinic,
    ana: Device,
    maria: Device,
    staff: Device,
    comp: Device,
}

impl House {
    async fn create(server: &TestServer, slug: &str) -> Self {
        let clinic = Clinic::create(server, slug).await;
        let person = async |role, name: &str| {
            Device::create(server, &clinic, role, &format!("{name}@{slug}.example")).await
        };
        let ana = person(Role::Patient, "ana").await;
        let maria = person(Role::Doctor, "maria").await;
        let staff = person(Role::Admin, "staff").await;
        let comp = person(Role::Compliance, "comp").await;
        relate(server, &ana, &maria).await;
        Self { clinic, ana, maria, staff, comp }
    }

    /// Sets one rule, as the operator would.
    async fn rule(&self, server: &TestServer, kind: AnomalyKind, action: AnomalyAction, count: u32) {
        let ctx = Ctx::operator(&server.app, self.clinic.id);
        let grant = people::authorize_manage_people(&server.app, &ctx).unwrap();
        let rules = [(kind, AnomalyRule { action, count, within_s: 600 })].into();
        anomalies::change_settings(&server.app, &ctx, grant, AnomalySettings { rules }).await.unwrap();
    }

    async fn listed(&self, server: &TestServer, query: &str) -> Vec<Value> {
        let answer = server.get(&format!("{ANOMALIES}{query}"), Some(&self.staff.token)).await.expect(200);
        answer["results"].as_array().unwrap().clone()
    }

    async fn review(&self, server: &TestServer, by: &Device, anomaly: &Value, outcome: &str) -> Answer {
        let path = format!("{ANOMALIES}{}/review/", anomaly["anomaly_id"].as_str().unwrap());
        server.post(&path, Some(&by.token), &json!({"outcome": outcome})).await
    }
}

/// Has somebody refused so many times.
async fn denied(server: &TestServer, who: &Device, path: &str, times: usize) {
    for _ in 0..times {
        server.get(path, Some(&who.token)).await.expect_error(403, "forbidden");
    }
}

/// How often a device was told that something was raised.
async fn told(server: &TestServer, who: &Device) -> usize {
    let waiting = server.get("/api/chat/events/", Some(&who.token)).await.expect(200);
    waiting["results"].as_array().unwrap().iter().filter(|event| event["type"] == "anomaly_raised").count()
}

/// Past the minute in which more of the same gathers.
fn later(server: &TestServer) {
    server.clock.advance(Duration::from_secs(61));
}

async fn status_of(server: &TestServer, user: UserId) -> String {
    let mut tx = server.app.db.read("test").await.unwrap();
    let sql = "SELECT status FROM users WHERE user_id = $1";
    fetch_all!(&mut tx, (String,), sql, user).unwrap()[0].0.clone()
}

#[tokio::test]
async fn repeated_denials_are_one_anomaly_that_counts_on() {
    both_engines(async |server| {
        let house = House::create(server, "ejemplo").await;
        let House { ana, maria, staff, comp, .. } = &house;
        house.rule(server, AnomalyKind::RepeatedDenials, AnomalyAction::Flag, 3).await;
        denied(server, maria, FOR_ADMINS, 2).await;
        denied(server, ana, FOR_ADMINS, 2).await;
        assert_eq!(house.listed(server, "").await, Vec::<Value>::new());
        denied(server, maria, FOR_ADMINS, 1).await;
        let raised = house.listed(server, "").await;
        assert_eq!(raised.len(), 1, "{raised:?}");
        let anomaly = &raised[0];
        assert_eq!((&anomaly["kind"], &anomaly["hits"]), (&json!("repeated_denials"), &json!(3)));
        assert_eq!((&anomaly["user_id"], &anomaly["device"]), (&json!(maria.user), &json!(maria.device)));
        assert_eq!((&anomaly["action"], anomaly.get("reviewed_at")), (&json!("flag"), None));
        let of = [maria, ana, staff, comp];
        let mut heard = Vec::new();
        for who in of {
            heard.push(told(server, who).await);
        }
        assert_eq!(heard, [0, 0, 1, 1], "staff and compliance are told, and nobody else");
        // More of it is the same one, written at most once a minute, and told once.
        denied(server, maria, FOR_ADMINS, 3).await;
        assert_eq!(house.listed(server, "").await[0]["hits"], 3);
        later(server);
        denied(server, maria, FOR_ADMINS, 1).await;
        let raised = house.listed(server, "").await;
        assert_eq!((raised.len(), &raised[0]["hits"]), (1, &json!(7)));
        assert_eq!(raised[0]["anomaly_id"], anomaly["anomaly_id"]);
        assert_eq!(told(server, staff).await, 1);
        // Nothing was done to her, and each writing is in the audit log.
        server.get("/api/me/", Some(&maria.token)).await.expect(200);
        let mut tx = server.app.db.read("test").await.unwrap();
        let sql = "SELECT act, canonical FROM audit_entries WHERE act = 'raise_anomaly' ORDER BY seq";
        let entries = fetch_all!(&mut tx, (String, Vec<u8>), sql).unwrap();
        assert_eq!(entries.len(), 2);
        let last = String::from_utf8_lossy(&entries[1].1).into_owned();
        assert!(last.contains(r#""hits":"7""#) && last.contains(r#""actor_kind":"operator""#), "{last}");
    })
    .await;
}

#[tokio::test]
async fn the_wrong_hour_is_no_repeated_denial() {
    both_engines(async |server| {
        let house = House::create(server, "ejemplo").await;
        let House { clinic, ana, maria, .. } = &house;
        house.rule(server, AnomalyKind::RepeatedDenials, AnomalyAction::Suspend, 2).await;
        let conversation = ana.start(server, maria).await;
        ana.publish_seal(server, clinic, conversation, &[maria]).await;
        let closed = json!({"weekly": {}});
        server.put("/api/admin/hours/", Some(&house.staff.token), &closed).await.expect_success();
        for n in 0..4 {
            let message = ana.text(server, conversation, &format!("{n}"), &[maria]);
            ana.post(server, conversation, &message).await.expect_error(400, "outside_chat_hours");
        }
        assert_eq!(house.listed(server, "").await, Vec::<Value>::new());
        server.get("/api/me/", Some(&ana.token)).await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn many_conversations_started_at_once_are_noticed() {
    both_engines(async |server| {
        let house = House::create(server, "ejemplo").await;
        let House { ana, maria, .. } = &house;
        house.rule(server, AnomalyKind::ManyConversations, AnomalyAction::Flag, 3).await;
        // What is there already is not started.
        for _ in 0..4 {
            maria.start(server, ana).await;
        }
        let start = async || {
            let body = json!({"type": "consultation", "participants": [ana.user]});
            server.post(CONVERSATIONS, Some(&maria.token), &body).await.expect(201);
        };
        start().await;
        assert_eq!(house.listed(server, "").await, Vec::<Value>::new());
        start().await;
        let raised = house.listed(server, "?kind=many_conversations&status=open").await;
        assert_eq!((raised.len(), &raised[0]["hits"]), (1, &json!(3)));
        assert_eq!(house.listed(server, "?kind=repeated_denials").await, Vec::<Value>::new());
    })
    .await;
}

#[tokio::test]
async fn asking_for_more_keys_than_there_are_is_noticed() {
    let few = |config: &mut Config| config.limits.prekey_fetches_per_device = 1;
    both_engines_with(few, async |server| {
        let house = House::create(server, "ejemplo").await;
        let House { ana, maria, .. } = &house;
        house.rule(server, AnomalyKind::PrekeyDraining, AnomalyAction::Flag, 2).await;
        let path = format!("/api/keys/{}/*/", maria.user);
        let fetch = async || server.get(&path, Some(&ana.token)).await;
        fetch().await.expect(200);
        fetch().await.expect_error(429, "rate_limited");
        assert_eq!(house.listed(server, "").await, Vec::<Value>::new());
        fetch().await.expect_error(429, "rate_limited");
        let raised = house.listed(server, "").await;
        assert_eq!((raised.len(), &raised[0]["kind"]), (1, &json!("prekey_draining")));
        assert_eq!(raised[0]["user_id"], json!(ana.user), "who asks, not whose keys they are");
    })
    .await;
}

#[tokio::test]
async fn guesses_and_new_places_are_flagged_and_cost_the_owner_nothing() {
    let few = |config: &mut Config| {
        config.limits.logins_per_account_and_address = 3;
        config.server.behind_proxy = true;
    };
    both_engines_with(few, async |server| {
        let house = House::create(server, "ejemplo").await;
        let House { ana, staff, .. } = &house;
        let log_in = async |address: &str, password: &str| {
            let body = json!({"clinic": "ejemplo", "email": "ana@ejemplo.example", "password": password});
            let request = server.client.post(format!("{}/api/auth/login/", server.url));
            let request = request.header("x-forwarded-for", address);
            Answer::of(request.json(&body).send().await.unwrap()).await
        };
        for _ in 0..3 {
            log_in("203.0.113.1", "wrong horse battery").await.expect_error(401, "invalid_credentials");
        }
        assert_eq!(house.listed(server, "").await, Vec::<Value>::new());
        for _ in 0..5 {
            log_in("203.0.113.1", "wrong horse battery").await.expect_error(429, "rate_limited");
        }
        let raised = eventually("guessing is raised", async || {
            Some(house.listed(server, "").await).filter(|raised| !raised.is_empty())
        })
        .await;
        assert_eq!(raised.len(), 1, "{raised:?}");
        assert_eq!((&raised[0]["kind"], &raised[0]["hits"]), (&json!("password_guessing"), &json!(1)));
        assert_eq!((&raised[0]["user_id"], raised[0].get("device")), (&json!(ana.user), None));
        log_in("192.0.2.7", PASSWORD).await.expect(200);
        let raised = house.listed(server, "?kind=new_place").await;
        assert_eq!((raised.len(), &raised[0]["action"]), (1, &json!("flag")));
        server.get("/api/me/", Some(&ana.token)).await.expect(200);
        assert_eq!(told(server, staff).await, 2);
        // No clinic can have it otherwise.
        for kind in ["password_guessing", "new_place"] {
            for action in ["slow", "suspend"] {
                let rules = json!({"rules": {kind: {"action": action, "count": 1, "within_s": 60}}});
                let refused = server.put(SETTINGS, Some(&staff.token), &rules).await;
                assert_eq!(refused.expect_error(400, "invalid_field")["field"], "rules");
            }
        }
    })
    .await;
}

/// How many requests somebody gets through before they are refused, and the limit the refusal names.
async fn passes(server: &TestServer, url: &str, token: &str) -> (u64, u64) {
    let mut passed = 0;
    loop {
        let request = server.client.get(format!("{url}/api/clinic/")).bearer_auth(token);
        let answer = Answer::of(request.send().await.unwrap()).await;
        if answer.status == 429 {
            return (passed, answer.body["details"]["limit"].as_u64().unwrap());
        }
        answer.expect(200);
        passed += 1;
    }
}

#[tokio::test]
async fn who_is_slowed_down_has_a_tenth_for_an_hour_and_emergencies_pass() {
    let limits = |config: &mut Config| config.limits.requests_per_minute = 60;
    both_engines_with(limits, async |server| {
        let house = House::create(server, "ejemplo").await;
        let House { clinic, ana, maria, staff, .. } = &house;
        let shift = json!({"user_id": maria.user, "tier": 1});
        server.post("/api/admin/on-call/", Some(&staff.token), &shift).await.expect(201);
        house.rule(server, AnomalyKind::RepeatedDenials, AnomalyAction::Slow, 3).await;
        denied(server, ana, FOR_ADMINS, 3).await;
        let raised = house.listed(server, "").await;
        assert_eq!(raised[0]["action"], "slow");
        let (passed, limit) = passes(server, &server.url, &ana.token).await;
        assert!(limit == 6 && passed <= 8, "{passed} of {limit}");
        // Others are as they were; a server that has just begun knows of it, too.
        assert_eq!(passes(server, &server.url, &maria.token).await.1, 60);
        let node = server.beside().await;
        assert_eq!(passes(server, &node.url, &ana.token).await.1, 6);
        node.stop().await;

        let call = json!({"category": "symptoms", "urgency": "immediate"});
        let opened = server.post("/api/chat/emergency/", Some(&ana.token), &call).await.expect(201);
        let id = serde_json::from_value(opened["emergency"]["conversation_id"].clone()).unwrap();
        ana.publish_seal(server, clinic, id, &[maria]).await;
        for n in 0..9 {
            let message = ana.text(server, id, &format!("{n}"), &[maria]);
            ana.post(server, id, &message).await.expect(201);
            server.get("/api/me/", Some(&ana.token)).await.expect(200);
        }
        server.clock.advance(Duration::from_secs(61));
        let path = format!("/api/chat/emergency/{id}/");
        server.post(&format!("{path}ack/"), Some(&maria.token), &json!({})).await.expect(200);
        let outcome = json!({"outcome": "advised"});
        server.post(&format!("{path}close/"), Some(&maria.token), &outcome).await.expect_success();
        assert_eq!(passes(server, &server.url, &ana.token).await.1, 6);

        server.clock.advance(Duration::from_secs(3600));
        let refresh = json!({"refresh_token": ana.refresh_token});
        let fresh = server.post("/api/auth/refresh/", None, &refresh).await.expect(200);
        assert_eq!(passes(server, &server.url, fresh["access_token"].as_str().unwrap()).await.1, 60);
    })
    .await;
}

#[tokio::test]
async fn a_review_ends_lower_limits() {
    let limits = |config: &mut Config| config.limits.requests_per_minute = 60;
    both_engines_with(limits, async |server| {
        let house = House::create(server, "ejemplo").await;
        let House { ana, comp, .. } = &house;
        house.rule(server, AnomalyKind::RepeatedDenials, AnomalyAction::Slow, 3).await;
        denied(server, ana, FOR_ADMINS, 3).await;
        assert_eq!(passes(server, &server.url, &ana.token).await.1, 6);
        let anomaly = house.listed(server, "").await.remove(0);
        house.review(server, comp, &anomaly, "harmless").await.expect(200);
        assert_eq!(passes(server, &server.url, &ana.token).await.1, 60);
    })
    .await;
}

#[tokio::test]
async fn who_is_suspended_is_out_at_once_but_never_the_last_admin() {
    both_engines(async |server| {
        let house = House::create(server, "ejemplo").await;
        let House { clinic, maria, staff, .. } = &house;
        house.rule(server, AnomalyKind::RepeatedDenials, AnomalyAction::Suspend, 3).await;
        let mut socket = Socket::open(server, maria).await;
        socket.expect("queue_empty").await;
        let node = server.beside().await;
        let url = format!("{}/ws/chat/", node.url.replacen("http", "ws", 1));
        let mut elsewhere = Socket::open_url(&url, Some(&maria.token)).await.unwrap();
        elsewhere.expect("queue_empty").await;
        denied(server, maria, FOR_ADMINS, 2).await;
        server.get("/api/me/", Some(&maria.token)).await.expect(200);
        denied(server, maria, FOR_ADMINS, 1).await;
        let begun = Instant::now();
        assert_eq!((socket.closed().await, elsewhere.closed().await), (4401, 4401));
        assert!(begun.elapsed() < Duration::from_secs(4), "took {:?}", begun.elapsed());
        server.get("/api/me/", Some(&maria.token)).await.expect_error(401, "device_revoked");
        node.stop().await;
        assert_eq!(status_of(server, maria.user).await, "suspended");
        assert_eq!(house.listed(server, "").await[0]["action"], "suspend");
        let mut tx = server.app.db.read("test").await.unwrap();
        let sql = "SELECT act, canonical FROM audit_entries WHERE act = 'suspend_user'";
        let entries = fetch_all!(&mut tx, (String, Vec<u8>), sql).unwrap();
        drop(tx);
        assert!(String::from_utf8_lossy(&entries[0].1).contains(r#""reason":"anomaly""#));

        // A patient keeps the way to an emergency.
        denied(server, &house.ana, FOR_ADMINS, 3).await;
        assert_eq!(house.listed(server, "").await[0]["action"], "slow");
        assert_eq!(status_of(server, house.ana.user).await, "active");

        // The last admin is told of, and stays.
        denied(server, staff, FOR_COMPLIANCE, 3).await;
        assert_eq!(status_of(server, staff.user).await, "active");
        let raised = house.listed(server, "").await;
        assert_eq!((&raised[0]["user_id"], &raised[0]["action"]), (&json!(staff.user), &json!("flag")));
        assert_eq!(told(server, staff).await, 2, "of the doctor and the patient, and not of themselves");
        // With another one they are not the last.
        Device::create(server, clinic, Role::Admin, "second@ejemplo.example").await;
        later(server);
        denied(server, staff, FOR_COMPLIANCE, 3).await;
        assert_eq!(status_of(server, staff.user).await, "suspended");
    })
    .await;
}

#[tokio::test]
async fn a_review_closes_it_and_the_next_is_another_one() {
    both_engines(async |server| {
        let house = House::create(server, "ejemplo").await;
        let House { maria, staff, comp, .. } = &house;
        house.rule(server, AnomalyKind::RepeatedDenials, AnomalyAction::Flag, 3).await;
        denied(server, maria, FOR_ADMINS, 3).await;
        let anomaly = house.listed(server, "").await.remove(0);
        let path = format!("{ANOMALIES}{}/review/", anomaly["anomaly_id"].as_str().unwrap());
        let with_note = |note: &str| json!({"outcome": "misuse", "note": note});
        let told_all = with_note("write to ana@example.org");
        server.post(&path, Some(&comp.token), &told_all).await.expect_error(422, "phi_detected");
        server.post(&path, Some(&comp.token), &with_note(" ")).await.expect_error(400, "invalid_field");
        let found = with_note("tried the office's pages");
        let closed = server.post(&path, Some(&comp.token), &found).await.expect(200);
        assert_eq!(closed["reviewed_by"], json!(comp.user));
        assert_eq!((&closed["outcome"], &closed["note"]), (&found["outcome"], &found["note"]));
        house.review(server, staff, &anomaly, "misuse").await.expect(200);
        let other = house.review(server, staff, &anomaly, "harmless").await;
        assert_eq!(other.expect_error(409, "already_settled")["outcome"], "misuse");
        assert_eq!(house.listed(server, "?status=open").await, Vec::<Value>::new());
        assert_eq!(house.listed(server, "?status=reviewed").await, std::slice::from_ref(&closed));

        later(server);
        denied(server, maria, FOR_ADMINS, 3).await;
        let open = house.listed(server, "?status=open").await;
        assert_eq!((open.len(), &open[0]["hits"]), (1, &json!(3)));
        assert_ne!(open[0]["anomaly_id"], anomaly["anomaly_id"]);
        let page = server.get(&format!("{ANOMALIES}?page_size=1"), Some(&comp.token)).await.expect(200);
        assert_eq!((&page["results"], &page["has_more"]), (&json!(open), &json!(true)));
        let rest = format!("?cursor={}", page["next_cursor"].as_str().unwrap());
        assert_eq!(house.listed(server, &rest).await, [closed]);
        // What is closed without a fresh proof of who it is, is not.
        server.clock.advance(Duration::from_mins(11));
        house.review(server, staff, &open[0], "harmless").await.expect_error(403, "step_up_required");
    })
    .await;
}

#[tokio::test]
async fn anomalies_are_for_the_clinics_own_staff_and_nobody_closes_their_own() {
    both_engines(async |server| {
        let house = House::create(server, "ejemplo").await;
        let other = House::create(server, "otra").await;
        let House { ana, maria, staff, comp, .. } = &house;
        house.rule(server, AnomalyKind::RepeatedDenials, AnomalyAction::Flag, 3).await;
        denied(server, staff, FOR_COMPLIANCE, 3).await;
        let anomaly = house.listed(server, "").await.remove(0);
        for who in [ana, maria] {
            server.get(ANOMALIES, Some(&who.token)).await.expect_error(403, "forbidden");
            server.get(SETTINGS, Some(&who.token)).await.expect_error(403, "forbidden");
            house.review(server, who, &anomaly, "harmless").await.expect_error(403, "forbidden");
        }
        assert_eq!(other.listed(server, "").await, Vec::<Value>::new());
        house.review(server, &other.staff, &anomaly, "harmless").await.expect_error(404, "not_found");
        assert_eq!(told(server, &other.staff).await, 0);
        let own = house.review(server, staff, &anomaly, "harmless").await;
        own.expect_error(403, "forbidden");
        house.review(server, comp, &anomaly, "harmless").await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn a_clinic_says_from_when_on_something_is_out_of_the_ordinary() {
    both_engines(async |server| {
        let house = House::create(server, "ejemplo").await;
        let House { maria, staff, comp, .. } = &house;
        let token = Some(staff.token.as_str());
        let usual = server.get(SETTINGS, token).await.expect(200);
        for kind in AnomalyKind::ALL {
            assert_eq!(usual["rules"][kind.as_str()]["action"], "flag", "{usual}");
        }
        server.get(SETTINGS, Some(&comp.token)).await.expect_error(403, "forbidden");
        let wanted = |action: &str, count: u32, within_s: u32| {
            json!({"rules": {"repeated_denials": {"action": action, "count": count, "within_s": within_s}}})
        };
        for wrong in [wanted("flag", 0, 60), wanted("flag", 10_001, 60), wanted("flag", 1, 59), wanted("flag", 1, 86_401)] {
            assert_eq!(server.put(SETTINGS, token, &wrong).await.expect_error(400, "invalid_field")["field"], "rules");
        }
        server.put(SETTINGS, token, &wanted("off", 1, 60)).await.expect(204);
        denied(server, maria, FOR_ADMINS, 3).await;
        assert_eq!(house.listed(server, "").await, Vec::<Value>::new());
        server.put(SETTINGS, token, &wanted("flag", 2, 120)).await.expect(204);
        let set = server.get(SETTINGS, token).await.expect(200);
        assert_eq!(set["rules"]["repeated_denials"], wanted("flag", 2, 120)["rules"]["repeated_denials"]);
        assert_eq!(set["rules"]["new_place"], usual["rules"]["new_place"]);
        denied(server, maria, FOR_ADMINS, 1).await;
        server.clock.advance(Duration::from_secs(121));
        denied(server, maria, FOR_ADMINS, 1).await;
        assert_eq!(house.listed(server, "").await, Vec::<Value>::new(), "too long apart");
        denied(server, maria, FOR_ADMINS, 1).await;
        assert_eq!(house.listed(server, "").await.len(), 1);
        server.clock.advance(Duration::from_mins(9));
        server.put(SETTINGS, token, &json!({"rules": {}})).await.expect_error(403, "step_up_required");
    })
    .await;
}

#[tokio::test]
async fn where_suspensions_are_left_to_people_it_is_a_flag() {
    both_engines(async |server| {
        let house = House::create(server, "ejemplo").await;
        house.rule(server, AnomalyKind::RepeatedDenials, AnomalyAction::Suspend, 3).await;
        let rules = tempfile::tempdir().unwrap();
        let rule = "forbid (principal is Operator, action == Action::\"manage_people\", resource is Clinic);";
        std::fs::write(rules.path().join("people-suspend.cedar"), rule).unwrap();
        server.app.policy.reload(Some(rules.path())).unwrap();
        denied(server, &house.maria, FOR_ADMINS, 3).await;
        assert_eq!(house.listed(server, "").await[0]["action"], "flag");
        assert_eq!(status_of(server, house.maria.user).await, "active");
    })
    .await;
}

/// Whoever hangs up at the moment it is noticed is found all the same.
#[tokio::test]
async fn hanging_up_hides_nothing() {
    both_engines(async |server| {
        let house = House::create(server, "ejemplo").await;
        house.rule(server, AnomalyKind::RepeatedDenials, AnomalyAction::Flag, 3).await;
        denied(server, &house.maria, FOR_ADMINS, 2).await;
        let address = server.url.strip_prefix("http://").unwrap();
        let mut line = tokio::net::TcpStream::connect(address).await.unwrap();
        let token = &house.maria.token;
        let request =
            format!("GET {FOR_ADMINS} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n");
        line.write_all(request.as_bytes()).await.unwrap();
        drop(line);
        let raised = eventually("the anomaly", async || house.listed(server, "").await.pop()).await;
        assert_eq!(raised["kind"], "repeated_denials");
    })
    .await;
}
