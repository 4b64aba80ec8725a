//! Asking the rules before acting: the answer is the act's own, and says no more than the person may know.

use std::time::Duration;

use serde_json::{Value, json};
use sigilo::fetch_all;
use sigilo_wire::{Role, Timestamp};

use crate::{
    groups::Team,
    support::{TestServer, both_engines, clinic::Clinic, device::Device, hours::open, http::Answer},
};

const PATH: &str = "/api/policy/explain/";
const CONVERSATIONS: &str = "/api/chat/conversations/";
const MINUTE: Duration = Duration::from_secs(60);

async fn ask(server: &TestServer, who: &Device, question: &Value) -> Answer {
    server.post(PATH, Some(&who.token), question).await
}

async fn answered(server: &TestServer, who: &Device, question: &Value) -> Value {
    ask(server, who, question).await.expect(200)
}

fn later(server: &TestServer, by: Duration) -> Timestamp {
    server.app.clock.now() + by
}

#[tokio::test]
async fn the_answer_is_the_one_the_act_gets_and_nothing_is_done() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        let Team { ana, maria, eva, .. } = &team;
        let id = team.started(server, "direct", maria, &[ana]).await;
        let send = json!({"action": "send_message", "conversation_id": id});
        let yes = answered(server, ana, &send).await;
        assert_eq!((&yes["allowed"], &yes["actor_id"]), (&json!(true), &json!(ana.user)));
        assert_eq!(yes["policies"], json!([{"id": "members-send", "effect": "permit"}]));
        assert!(yes.get("error").is_none() && yes.get("message").is_none(), "{yes}");
        for (fact, value) in
            [("open", json!(true)), ("people.related", json!(true)), ("role", json!("patient"))]
        {
            assert_eq!(yes["facts"][fact], value, "{yes}");
        }

        let start = json!({"action": "start_conversation", "user_ids": [ana.user], "type": "consultation"});
        let no = answered(server, eva, &start).await;
        let wanted = json!({"type": "consultation", "participants": [ana.user]});
        let refused = server.post(CONVERSATIONS, Some(&eva.token), &wanted).await;
        let body = refused.body.clone();
        let details = refused.expect_error(403, "conversation_not_allowed");
        assert_eq!((&no["allowed"], &no["error"]), (&json!(false), &body["error"]));
        assert_eq!((&no["reason"], &no["message"]), (&details["reason"], &body["message"]));
        assert_eq!(no["suggestion"], details["suggestion"]);
        assert_eq!(no["policies"], json!([{"id": "medical-relationship", "effect": "forbid"}]));
        let nobody = answered(server, ana, &json!({"action": "manage_people"})).await;
        assert_eq!(nobody["policies"], json!([{"id": "default-deny", "effect": "default"}]));
        // In the reader's language.
        let request = server.client.post(format!("{}{PATH}", server.url)).bearer_auth(&eva.token);
        let spanish = Answer::of(request.header("accept-language", "es").json(&start).send().await.unwrap());
        let spanish = spanish.await.expect(200);
        assert_ne!(spanish["message"], no["message"]);
        assert!(spanish["suggestion"].as_str().unwrap().contains("cita"), "{spanish}");

        // The questions are in the audit log; no conversation came of them.
        let mut tx = server.app.db.read("test").await.unwrap();
        const ASKED: &str =
            "SELECT act FROM audit_entries WHERE act IN ('explain_decisions', 'start_conversation')
            AND outcome = 'allowed'";
        let acts = fetch_all!(&mut tx, (String,), ASKED).unwrap();
        let count = |name: &str| acts.iter().filter(|(act,)| act == name).count();
        assert_eq!((count("explain_decisions"), count("start_conversation")), (4, 1));
    })
    .await;
}

#[tokio::test]
async fn hours_and_last_days_are_those_of_the_instant_asked_about() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        let Team { ana, maria, eva, clinic, .. } = &team;
        let id = team.started(server, "direct", maria, &[ana]).await;
        open(server, clinic.id, None, &[(-120, -60), (10, 60)]).await;
        let send = |at: Option<Timestamp>| json!({"action": "send_message", "conversation_id": id, "at": at});
        let closed = answered(server, ana, &send(None)).await;
        assert_eq!(closed["error"], "outside_chat_hours");
        let opens: Timestamp = serde_json::from_value(closed["next_open_at"].clone()).unwrap();
        for (at, allowed) in [(opens, true), (opens + 5 * MINUTE, true), (opens + 90 * MINUTE, false)] {
            let then = answered(server, ana, &send(Some(at))).await;
            assert_eq!((&then["allowed"], &then["at"]), (&json!(allowed), &json!(at)), "{then}");
        }
        let after = answered(server, ana, &send(Some(opens + 90 * MINUTE))).await;
        let next: Timestamp = serde_json::from_value(after["next_open_at"].clone()).unwrap();
        assert!(next > opens + 90 * MINUTE, "the opening after that instant: {next}");

        // Break-glass makes a relationship with an end.
        let glass = json!({"patient_id": ana.user, "reason": "on_call_cover", "text": "covers tonight"});
        let glass = server.post("/api/chat/break-glass/", Some(&eva.token), &glass).await.expect(201);
        let ends: Timestamp = serde_json::from_value(glass["expires_at"].clone()).unwrap();
        let start = |at: Timestamp| json!({"action": "start_conversation", "user_ids": [ana.user], "at": at});
        assert_eq!(answered(server, eva, &start(ends - MINUTE)).await["allowed"], true);
        let ended = answered(server, eva, &start(ends)).await;
        assert_eq!(ended["reason"], "no_medical_relationship");
        assert_eq!(ended["facts"]["people.related"], false);
        let again = |at: Timestamp| json!({"action": "open_break_glass", "user_ids": [ana.user], "at": at});
        assert_eq!(answered(server, eva, &again(ends - MINUTE)).await["allowed"], false);
        assert_eq!(answered(server, eva, &again(ends)).await["allowed"], true);
    })
    .await;
}

#[tokio::test]
async fn one_learns_of_oneself_and_staff_of_their_clinic() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        let Team { ana, maria, eva, staff, .. } = &team;
        let id = team.started(server, "direct", maria, &[ana]).await;
        let body = json!({"user_id": ana.user});
        server.post("/api/chat/block-user/", Some(&maria.token), &body).await.expect(201);

        let send = json!({"action": "send_message", "conversation_id": id});
        let own = answered(server, ana, &send).await;
        assert_eq!(own["reason"], "blocked_between");
        // Neither who is blocked, nor who is suspended, nor who else there is.
        let names: Vec<&String> = own["facts"].as_object().unwrap().keys().collect();
        assert!(names.iter().all(|name| !name.contains("block") && !name.contains("reach")), "{names:?}");
        assert!(names.iter().all(|name| !name.starts_with("target") && *name != "active"), "{names:?}");
        let of_ana =
            json!({"actor_id": ana.user, "action": "send_message", "conversation_id": id, "device": "session"});
        let seen = answered(server, staff, &of_ana).await;
        assert_eq!(seen["actor_id"], json!(ana.user));
        assert_eq!(seen["facts"]["people.blocked"], true);
        assert_eq!(seen["facts"]["device"], "session");
        assert_eq!(seen["policies"][0]["id"], "session-device");

        // Nobody else asks about others.
        for who in [ana, maria, eva] {
            let about = if who.user == ana.user { maria } else { ana };
            let question = json!({"actor_id": about.user, "action": "list_contacts"});
            ask(server, who, &question).await.expect_error(403, "forbidden");
        }
        // A conversation one is not in does not exist, whoever asks.
        ask(server, eva, &send).await.expect_error(404, "not_found");
        let of_eva = json!({"actor_id": eva.user, "action": "send_message", "conversation_id": id});
        ask(server, staff, &of_eva).await.expect_error(404, "not_found");
        let keys = json!({"action": "fetch_keys", "user_ids": ["0198c0de-0000-7000-8000-000000000000"]});
        ask(server, eva, &keys).await.expect_error(404, "not_found");
        let elsewhere = Clinic::create(server, "elsewhere").await;
        let far = Device::create(server, &elsewhere, Role::Admin, "far@elsewhere.example").await;
        ask(server, &far, &of_ana).await.expect_error(404, "not_found");

        // Somebody suspended may do nothing.
        let ctx = sigilo::Ctx::operator(&server.app, team.clinic.id);
        let grant = sigilo::people::authorize_manage_people(&server.app, &ctx).unwrap();
        sigilo::people::suspend_user(&server.app, &ctx, grant, maria.user).await.unwrap();
        for question in [
            json!({"actor_id": maria.user, "action": "send_message", "conversation_id": id}),
            json!({"actor_id": maria.user, "action": "fetch_keys", "user_ids": [eva.user]}),
            json!({"actor_id": maria.user, "action": "list_contacts"}),
        ] {
            let suspended = answered(server, staff, &question).await;
            assert_eq!(suspended["reason"], "account_suspended", "{question}");
            assert_eq!(suspended["facts"]["active"], false);
        }
    })
    .await;
}

#[tokio::test]
async fn every_act_can_be_asked_about() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        let Team { ana, maria, jorge, eva, staff, .. } = &team;
        let id = team.started(server, "group", maria, &[ana]).await;
        let inside = |action: &str| json!({"action": action, "conversation_id": id});
        let whom = |action: &str, user| json!({"action": action, "user_ids": [user]});
        let within =
            |action: &str, user| json!({"action": action, "conversation_id": id, "user_ids": [user]});
        for (who, question, allowed) in [
            (maria, inside("read_conversation"), true),
            (ana, inside("read_seals"), true),
            (ana, inside("publish_seal"), true),
            (ana, inside("report_seal"), true),
            (ana, inside("arrange_conversation"), true),
            (ana, inside("close_conversation"), false),
            (maria, inside("close_conversation"), true),
            (ana, inside("handle_emergency"), false),
            (maria, inside("leave_conversation"), false),
            (maria, within("add_participant", jorge.user), true),
            (maria, within("add_participant", eva.user), false),
            (ana, within("add_participant", jorge.user), false),
            (maria, within("remove_participant", ana.user), true),
            (ana, within("remove_participant", maria.user), false),
            (eva, whom("fetch_keys", ana.user), false),
            (jorge, whom("fetch_keys", ana.user), true),
            (ana, whom("fetch_keys", ana.user), true),
            (ana, whom("block_user", maria.user), true),
            (ana, whom("block_user", staff.user), false),
            (staff, whom("reset_identity", ana.user), true),
            (maria, whom("reset_identity", ana.user), false),
            (eva, whom("open_break_glass", ana.user), true),
            (maria, whom("open_break_glass", ana.user), false),
            (staff, whom("explain_decisions", ana.user), true),
            (ana, whom("explain_decisions", maria.user), false),
            (ana, json!({"action": "open_emergency"}), true),
            (maria, json!({"action": "open_emergency"}), false),
            (staff, json!({"action": "manage_hours"}), true),
            (maria, json!({"action": "review_break_glass"}), false),
            (ana, json!({"action": "search_messages"}), true),
            (ana, json!({"action": "search_messages", "device": "session"}), false),
        ] {
            let said = answered(server, who, &question).await;
            assert_eq!(said["allowed"], json!(allowed), "{question} {said}");
        }
        let hour = Duration::from_secs(3600);
        let past = later(server, Duration::ZERO) - hour;
        for (question, field) in [
            (json!({"action": "fly"}), "action"),
            (json!({"action": "use_tokens"}), "action"),
            (json!({"action": "send_message"}), "conversation_id"),
            (json!({"action": "list_contacts", "conversation_id": id}), "conversation_id"),
            (within("send_message", ana.user), "user_ids"),
            (json!({"action": "fetch_keys"}), "user_ids"),
            (json!({"action": "start_conversation"}), "user_ids"),
            (json!({"action": "fetch_keys", "user_ids": [ana.user], "type": "group"}), "type"),
            (within("add_participant", ana.user), "user_ids"),
            (json!({"action": "list_contacts", "at": past}), "at"),
            (json!({"action": "list_contacts", "at": later(server, 400 * 24 * hour)}), "at"),
        ] {
            let details = ask(server, maria, &question).await.expect_error(400, "invalid_field");
            assert_eq!(details["field"], field, "{question}");
        }
    })
    .await;
}
