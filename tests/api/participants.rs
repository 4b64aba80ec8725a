//! Who joins a conversation after its start, who leaves it, and what each of them reads.

use serde_json::{Value, json};
use sigilo::{execute, fetch_all};
use sigilo_wire::{ConversationId, Role, UserId};

use crate::{
    groups::Team,
    support::{
        TestServer, both_engines,
        device::{Device, relate},
        http::Answer,
    },
};

fn path(id: ConversationId, below: &str) -> String {
    format!("/api/chat/conversations/{id}/{below}")
}

async fn add(server: &TestServer, id: ConversationId, who: &Device, people: &[&Device]) -> Answer {
    let users: Vec<UserId> = people.iter().map(|device| device.user).collect();
    server.post(&path(id, "participants/"), Some(&who.token), &json!({"user_ids": users})).await
}

async fn remove(server: &TestServer, id: ConversationId, who: &Device, person: &Device) -> Answer {
    server.delete(&path(id, &format!("participants/{}/", person.user)), Some(&who.token)).await
}

/// The changes of participants a device has been told, oldest first.
async fn told(server: &TestServer, device: &Device) -> Vec<(Value, Value)> {
    let events = server.get("/api/chat/events/", Some(&device.token)).await.expect(200);
    let changes = events["results"].as_array().unwrap().iter();
    changes
        .filter(|event| event["type"] == "participant_changed")
        .map(|event| (event["data"]["joined"].clone(), event["data"]["left"].clone()))
        .collect()
}

async fn messages(server: &TestServer, id: ConversationId, who: &Device) -> Vec<Value> {
    let list = server.get(&path(id, "messages/?ordering=timestamp"), Some(&who.token)).await.expect(200);
    list["results"].as_array().unwrap().clone()
}

#[tokio::test]
async fn who_joins_reads_from_then_on_and_who_leaves_nothing_more() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        let Team { ana, maria, jorge, eva, .. } = &team;
        let id = team.started(server, "group", maria, &[ana]).await;
        team.say(server, id, maria, &[ana]).await;

        let shown = add(server, id, maria, &[jorge]).await.expect(200);
        assert_eq!(shown["participants"].as_array().unwrap().len(), 3);
        // Again, and with one who is there: nothing changes, nobody is told.
        assert_eq!(
            add(server, id, maria, &[jorge, ana]).await.expect(200)["updated_at"],
            shown["updated_at"]
        );
        for device in [ana, jorge] {
            assert_eq!(told(server, device).await, [(json!([jorge.user]), json!([]))]);
        }
        assert!(told(server, maria).await.is_empty(), "the device that did it knows");
        assert!(messages(server, id, jorge).await.is_empty(), "what was said before is not his");
        let details = server.get(&path(id, ""), Some(&jorge.token)).await.expect(200);
        assert!(details.get("last_message").is_none(), "{details}");
        let before = messages(server, id, ana).await[0]["id"].as_str().unwrap().to_owned();
        let one = format!("/api/chat/messages/{before}/");
        server.get(&one, Some(&jorge.token)).await.expect_error(404, "not_found");
        server.get(&one, Some(&ana.token)).await.expect(200);

        team.say(server, id, ana, &[maria, jorge]).await;
        assert_eq!(messages(server, id, jorge).await.len(), 1);
        assert_eq!(messages(server, id, ana).await.len(), 2);

        remove(server, id, maria, jorge).await.expect(204);
        remove(server, id, maria, jorge).await.expect(204);
        remove(server, id, maria, eva).await.expect_error(404, "not_found");
        let gone = (json!([]), json!([jorge.user]));
        assert_eq!(told(server, jorge).await.last(), Some(&gone), "who has left is told");
        assert_eq!(told(server, ana).await.last(), Some(&gone));
        for below in ["", "messages/"] {
            server.get(&path(id, below), Some(&jorge.token)).await.expect_error(404, "not_found");
        }
        // What was said before may still be on its way to a device of his: it counts with its seal.
        let seals = async |who: &Device| server.get(&path(id, "seals/"), Some(&who.token)).await;
        let his = seals(jorge).await.expect(200);
        let his = his["results"].as_array().unwrap().clone();
        assert!(!his.is_empty());
        for seal in &his {
            let members = seal["seal"]["members"].as_array().unwrap();
            assert!(members.iter().any(|member| member["user_id"] == json!(jorge.user)), "{seal}");
        }
        seals(eva).await.expect_error(404, "not_found");
        let list = server.get("/api/chat/conversations/", Some(&jorge.token)).await.expect(200);
        assert_eq!(list["results"], json!([]));
        let late = jorge.seal(server, &team.clinic, id, &[ana, maria]);
        let answer = server.post(&path(id, "seals/"), Some(&jorge.token), &json!(late)).await;
        answer.expect_error(404, "not_found");
        team.say(server, id, ana, &[maria]).await;
        assert_eq!(seals(jorge).await.expect(200)["results"].as_array().unwrap().len(), his.len());

        // Back again: what was said in between stays unread.
        add(server, id, maria, &[jorge]).await.expect(200);
        assert!(messages(server, id, jorge).await.is_empty());
        team.say(server, id, maria, &[ana, jorge]).await;
        assert_eq!(messages(server, id, jorge).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn the_rules_are_asked_about_everyone_together() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        let Team { ana, maria, jorge, eva, staff, .. } = &team;
        let id = team.started(server, "group", maria, &[ana, jorge]).await;
        let luis = Device::create(server, &team.clinic, Role::Patient, "luis@team.example").await;
        relate(server, &luis, maria).await;
        relate(server, &luis, jorge).await;
        for (who, person, reason) in [
            (maria, eva, "no_medical_relationship"),
            (maria, &luis, "patients_apart"),
            (maria, staff, "admin_administrative_only"),
            (ana, eva, "no_medical_relationship"),
        ] {
            let details = add(server, id, who, &[person]).await.expect_error(403, "forbidden");
            assert_eq!(details["reason"], reason);
        }
        // One who may not join keeps out the others of the request.
        relate(server, ana, eva).await;
        add(server, id, maria, &[eva, staff]).await.expect_error(403, "forbidden");
        let shown = server.get(&path(id, ""), Some(&ana.token)).await.expect(200);
        assert_eq!(shown["participants"].as_array().unwrap().len(), 3);
        // The patient takes part, no more.
        assert_eq!(add(server, id, ana, &[eva]).await.body["policies"], json!(["default-deny"]));
        assert_eq!(remove(server, id, ana, jorge).await.body["policies"], json!(["default-deny"]));
        add(server, id, maria, &[eva]).await.expect(200);

        add(server, id, staff, &[staff]).await.expect_error(404, "not_found");
        remove(server, id, staff, ana).await.expect_error(404, "not_found");
        let direct = maria.start(server, ana).await;
        add(server, direct, maria, &[jorge]).await.expect_error(403, "forbidden");
        remove(server, direct, maria, ana).await.expect_error(403, "forbidden");
        remove(server, id, maria, maria).await.expect_error(400, "invalid_field");
        add(server, id, maria, &[]).await.expect_error(400, "invalid_field");
        let unknown = json!({"user_ids": [UserId::from_bytes([7; 16])]});
        let answer = server.post(&path(id, "participants/"), Some(&maria.token), &unknown).await;
        answer.expect_error(404, "not_found");
        let body = json!({"user_ids": [jorge.user], "role": "moderator"});
        let answer = server.post(&path(id, "participants/"), Some(&maria.token), &body).await;
        assert_eq!(answer.expect_error(400, "unknown_field")["field"], "role");
    })
    .await;
}

#[tokio::test]
async fn staff_bring_people_into_administrative_conversations() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        let Team { ana, maria, eva, staff, .. } = &team;
        let id = team.started(server, "administrative", staff, &[eva]).await;
        // Eva does not treat Ana.
        let details = add(server, id, staff, &[ana]).await.expect_error(403, "forbidden");
        assert_eq!(details["reason"], "no_medical_relationship");
        add(server, id, eva, &[maria]).await.expect(200);
        remove(server, id, staff, eva).await.expect(204);
        assert_eq!(add(server, id, maria, &[ana]).await.body["policies"], json!(["default-deny"]));
        add(server, id, staff, &[ana]).await.expect(200);
        team.say(server, id, ana, &[maria, staff]).await;
    })
    .await;
}

#[tokio::test]
async fn a_conversation_never_has_more_than_fifty_people() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        let id = team.started(server, "group", &team.maria, &[&team.jorge]).await;
        // Colleagues with accounts; nothing is said here, so they need no devices.
        let mut colleagues = Vec::new();
        let mut tx = server.app.db.begin("test").await.unwrap();
        for n in 0..49u8 {
            let user = UserId::from_bytes([n + 100; 16]);
            let sql = "INSERT INTO users (user_id, tenant_id, role, status, full_name_enc, created_at)
                SELECT $1, tenant_id, role, status, full_name_enc, created_at FROM users WHERE user_id = $2";
            execute!(&mut tx, sql, user, team.eva.user).unwrap();
            colleagues.push(user);
        }
        tx.commit().await.unwrap();
        let answer = server
            .post(&path(id, "participants/"), Some(&team.maria.token), &json!({"user_ids": colleagues}))
            .await;
        let details = answer.expect_error(400, "invalid_field");
        assert_eq!(details["field"], "user_ids");
        assert!(details["problem"].as_str().unwrap().contains("50"), "{details}");
    })
    .await;
}

#[tokio::test]
async fn joining_and_leaving_are_in_the_audit_log_and_the_outbox() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        let Team { ana, maria, jorge, eva, .. } = &team;
        let id = team.started(server, "group", maria, &[jorge]).await;
        add(server, id, maria, &[ana]).await.expect(200);
        add(server, id, maria, &[eva]).await.expect_error(403, "forbidden");
        remove(server, id, jorge, ana).await.expect(204);
        let mut tx = server.app.db.read("test").await.unwrap();
        let sql = "SELECT act, outcome, patient_id FROM audit_entries
            WHERE act IN ('add_participant', 'remove_participant') ORDER BY seq";
        let entries = fetch_all!(&mut tx, (String, String, Option<UserId>), sql).unwrap();
        let entry = |act: &str, outcome: &str| (act.to_owned(), outcome.to_owned(), Some(ana.user));
        let expected = [
            entry("add_participant", "allowed"),
            entry("add_participant", "denied"),
            entry("remove_participant", "allowed"),
        ];
        assert_eq!(entries, expected);
        let sql = "SELECT data FROM outbox WHERE topic = 'conversation.participants' ORDER BY seq";
        let facts = fetch_all!(&mut tx, (String,), sql).unwrap();
        let facts: Vec<Value> = facts.iter().map(|(data,)| serde_json::from_str(data).unwrap()).collect();
        let fact = |joined: &[UserId], left: &[UserId]| {
            json!({"conversation_id": id, "joined": joined, "left": left})
        };
        assert_eq!(facts, [fact(&[ana.user], &[]), fact(&[], &[ana.user])]);
    })
    .await;
}

#[tokio::test]
async fn many_at_once_each_join_or_leave_once() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        let Team { maria, jorge, eva, staff, .. } = &team;
        let id = team.started(server, "group", maria, &[jorge]).await;
        let people = [eva, staff];
        let tries = (0..6).flat_map(|_| people.map(|person| add(server, id, maria, vec![person].leak())));
        let answers = futures_util::future::join_all(tries).await;
        // Whoever lost too many races is asked to come again; nobody is half in.
        assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 503)), "{answers:?}");
        for person in people {
            add(server, id, maria, &[person]).await.expect(200);
        }
        assert_eq!(told(server, jorge).await.len(), 2);
        let answers = futures_util::future::join_all((0..6).map(|_| remove(server, id, maria, eva))).await;
        assert!(answers.iter().all(|answer| matches!(answer.status, 204 | 503)), "{answers:?}");
        remove(server, id, maria, eva).await.expect(204);
        assert_eq!(told(server, jorge).await.len(), 3);
    })
    .await;
}

#[tokio::test]
async fn who_answers_for_a_team_cannot_leave_it() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        let Team { ana, maria, jorge, .. } = &team;
        let id = team.started(server, "group", maria, &[ana, jorge]).await;
        let shown = server.get(&path(id, ""), Some(&ana.token)).await.expect(200);
        for person in shown["participants"].as_array().unwrap() {
            assert_eq!(person["can_leave"], person["user_id"] != json!(maria.user));
        }
        server.delete(&path(id, ""), Some(&ana.token)).await.expect(204);
        server.delete(&path(id, ""), Some(&maria.token)).await.expect_error(403, "forbidden");
        server.get(&path(id, ""), Some(&ana.token)).await.expect_error(404, "not_found");
        assert_eq!(told(server, jorge).await, [(json!([]), json!([ana.user]))]);
    })
    .await;
}
