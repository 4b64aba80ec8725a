//! What participants change about a conversation: put away, muted, closed, left; and what they may do in it.

use serde_json::{Value, json};
use sigilo::fetch_all;
use sigilo_wire::{ConversationId, UserId};

use crate::{
    groups::Team,
    support::{TestServer, both_engines, device::Device, http::Answer},
};

const PATH: &str = "/api/chat/conversations/";

fn path(id: ConversationId) -> String {
    format!("{PATH}{id}/")
}

async fn put(server: &TestServer, id: ConversationId, who: &Device, body: Value) -> Answer {
    server.put(&path(id), Some(&who.token), &body).await
}

/// The ids of the conversations a query gives somebody.
async fn listed(server: &TestServer, who: &Device, query: &str) -> Vec<Value> {
    let list = server.get(&format!("{PATH}?{query}"), Some(&who.token)).await.expect(200);
    list["results"].as_array().unwrap().iter().map(|entry| entry["id"].clone()).collect()
}

/// The changes of conversations a device has been told.
async fn told(server: &TestServer, device: &Device) -> Vec<Value> {
    let events = server.get("/api/chat/events/", Some(&device.token)).await.expect(200);
    let events = events["results"].as_array().unwrap().iter();
    events.filter(|e| e["type"] == "conversation_updated").map(|e| e["data"]["change"].clone()).collect()
}

#[tokio::test]
async fn everyone_puts_conversations_away_for_themselves() {
    both_engines(async |server| {
        let Team { ana, maria, .. } = &Team::create(server).await;
        let id = ana.start(server, maria).await;
        let shown =
            put(server, id, ana, json!({"settings": {"notifications_enabled": false}})).await.expect(200);
        assert_eq!(shown["settings"], json!({"notifications_enabled": false, "archived": false}));
        let shown = put(server, id, ana, json!({"settings": {"archived": true}})).await.expect(200);
        assert_eq!(shown["settings"], json!({"notifications_enabled": false, "archived": true}));
        assert!(listed(server, ana, "").await.is_empty());
        assert_eq!(listed(server, ana, "include_archived=true").await, [json!(id)]);
        assert_eq!(listed(server, maria, "").await, [json!(id)], "hers is where it was");
        let hers = server.get(&path(id), Some(&maria.token)).await.expect(200);
        assert_eq!(hers["settings"], json!({"notifications_enabled": true, "archived": false}));
        assert_eq!(told(server, maria).await, ["created"], "and she is not told");
        put(server, id, ana, json!({"settings": {"archived": false}})).await.expect(200);
        assert_eq!(listed(server, ana, "").await, [json!(id)]);
        // To delete a conversation of two is to put it away.
        server.delete(&path(id), Some(&ana.token)).await.expect(204);
        assert!(listed(server, ana, "").await.is_empty());
        let shown = server.get(&path(id), Some(&ana.token)).await.expect(200);
        assert_eq!(shown["participants"].as_array().unwrap().len(), 2);
        for body in [json!({"settings": {"colour": "red"}}), json!({"title": "Presión"})] {
            put(server, id, ana, body).await.expect_error(400, "unknown_field");
        }
        put(server, id, ana, json!({})).await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn a_clinician_closes_a_conversation_for_good() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        let Team { ana, maria, jorge, staff, .. } = &team;
        let id = maria.start(server, ana).await;
        team.say(server, id, ana, &[maria]).await;
        let closed = json!({"status": "closed"});
        put(server, id, ana, closed.clone()).await.expect_error(403, "forbidden");
        put(server, id, jorge, closed.clone()).await.expect_error(404, "not_found");
        let administrative = team.started(server, "administrative", staff, &[ana]).await;
        put(server, administrative, staff, closed.clone()).await.expect_error(403, "forbidden");

        let shown = put(server, id, maria, closed.clone()).await.expect(200);
        assert_eq!(shown["status"], "closed");
        assert!(shown["closed_at"].is_string());
        // Again: nothing changes.
        let again = put(server, id, maria, closed).await.expect(200);
        assert_eq!((&again["closed_at"], &again["updated_at"]), (&shown["closed_at"], &shown["updated_at"]));
        assert_eq!(told(server, ana).await, ["created", "created", "closed"]);
        let late = ana.text(server, id, "too late", &[maria]);
        ana.post(server, id, &late).await.expect_error(403, "conversation_closed");
        let list = server.get(&format!("{}messages/", path(id)), Some(&ana.token)).await.expect(200);
        assert_eq!(list["results"].as_array().unwrap().len(), 1, "it stays readable");
        let details = put(server, id, maria, json!({"status": "active"})).await;
        assert_eq!(details.expect_error(400, "invalid_field")["field"], "status");
        // The pair goes on in another one.
        let next = ana.start(server, maria).await;
        assert_ne!(next, id);
        team.say(server, next, ana, &[maria]).await;
        let mut tx = server.app.db.read("test").await.unwrap();
        let sql =
            "SELECT outcome, patient_id FROM audit_entries WHERE act = 'close_conversation' ORDER BY seq";
        let entries = fetch_all!(&mut tx, (String, Option<UserId>), sql).unwrap();
        let outcomes: Vec<&str> = entries.iter().map(|(outcome, _)| outcome.as_str()).collect();
        assert_eq!(outcomes, ["denied", "denied", "allowed"]);
        assert!(entries.iter().all(|(_, patient)| *patient == Some(ana.user)));
    })
    .await;
}

#[tokio::test]
async fn nobody_joins_a_closed_group_and_everybody_but_its_starter_may_leave_it() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        let Team { ana, maria, jorge, eva, .. } = &team;
        let id = team.started(server, "group", maria, &[ana, jorge]).await;
        put(server, id, jorge, json!({"status": "closed"})).await.expect(200);
        let people = format!("{}participants/", path(id));
        let answer = server.post(&people, Some(&maria.token), &json!({"user_ids": [eva.user]})).await;
        answer.expect_error(403, "conversation_closed");
        server.delete(&path(id), Some(&ana.token)).await.expect(204);
        server.delete(&path(id), Some(&ana.token)).await.expect_error(404, "not_found");
        server.get(&path(id), Some(&ana.token)).await.expect_error(404, "not_found");
        server.delete(&path(id), Some(&maria.token)).await.expect_error(403, "forbidden");
        let shown = server.get(&path(id), Some(&maria.token)).await.expect(200);
        assert_eq!(shown["participants"].as_array().unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn details_say_what_the_caller_may_do() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        let Team { ana, maria, jorge, .. } = &team;
        let id = team.started(server, "group", maria, &[ana, jorge]).await;
        let permissions = async |who: &Device| {
            let details = server.get(&path(id), Some(&who.token)).await.expect(200);
            let permissions = details["permissions"].as_object().unwrap().clone();
            let allowed = |(name, permission): (&String, &Value)| {
                permission["allowed"].as_bool().unwrap().then(|| name.clone())
            };
            let mut names: Vec<String> = permissions.iter().filter_map(allowed).collect();
            names.sort();
            (names, permissions)
        };
        let (hers, all) = permissions(ana).await;
        assert_eq!(hers, ["block", "delete", "edit", "leave", "send", "upload"]);
        let close = json!({"allowed": false, "reason": "not_permitted", "policies": ["default-deny"],
                           "next_open_at": null});
        assert_eq!(all["close"], close);
        let send =
            json!({"allowed": true, "reason": null, "policies": ["members-send"], "next_open_at": null});
        assert_eq!(all["send"], send);
        assert_eq!(
            permissions(maria).await.0,
            ["add_participant", "block", "close", "delete", "edit", "remove_participant", "send", "upload"]
        );
        assert_eq!(
            permissions(jorge).await.0,
            [
                "add_participant",
                "block",
                "close",
                "delete",
                "edit",
                "leave",
                "remove_participant",
                "send",
                "upload"
            ]
        );
        put(server, id, maria, json!({"status": "closed"})).await.expect(200);
        let (hers, all) = permissions(maria).await;
        assert_eq!(hers, ["block", "close", "remove_participant"]);
        assert_eq!(all["send"]["reason"], "conversation_closed");
        // Lists do not say it.
        let list = server.get(PATH, Some(&maria.token)).await.expect(200);
        assert!(list["results"][0].get("permissions").is_none());
    })
    .await;
}

#[tokio::test]
async fn lists_are_filtered_by_who_takes_part_and_by_appointment() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        let Team { ana, maria, jorge, staff, .. } = &team;
        let with_ana = maria.start(server, ana).await;
        let with_jorge = maria.start(server, jorge).await;
        let with_staff = team.started(server, "administrative", staff, &[maria]).await;
        for (role, expected) in [("patient", with_ana), ("doctor", with_jorge), ("admin", with_staff)] {
            assert_eq!(listed(server, maria, &format!("participant_type={role}")).await, [json!(expected)]);
        }
        assert!(listed(server, maria, "participant_type=service").await.is_empty());
        let appointment = appointment(server, ana, maria).await;
        let body = json!({"type": "consultation", "participants": [ana.user],
                          "metadata": {"related_appointment_id": appointment}});
        let made = server.post(PATH, Some(&maria.token), &body).await.expect(201);
        let filter = format!("related_appointment={appointment}");
        for who in [ana, maria] {
            assert_eq!(listed(server, who, &filter).await, [made["id"].clone()]);
        }
        assert!(listed(server, jorge, &filter).await.is_empty(), "it is not his");
        assert!(listed(server, maria, &format!("related_appointment={}", ana.user)).await.is_empty());
        for query in ["participant_type=nurse", "include_archived=perhaps", "related_appointment=1"] {
            let answer = server.get(&format!("{PATH}?{query}"), Some(&maria.token)).await;
            answer.expect_error(400, "invalid_field");
        }
    })
    .await;
}

/// An appointment between two people.
async fn appointment(
    server: &TestServer,
    patient: &Device,
    clinician: &Device,
) -> sigilo_wire::AppointmentId {
    let id =
        sigilo_wire::AppointmentId::new(server.app.clock.now(), sigilo::rng::bytes(&*server.app.entropy));
    let sql = "INSERT INTO appointments (appointment_id, tenant_id, system, value, patient_id, clinician_id, status,
        imported_at) VALUES ($1, $2, 'urn:test', 'A-1', $3, $4, 'booked', $5)";
    let mut tx = server.app.db.begin("test").await.unwrap();
    let now = server.app.clock.now();
    sigilo::execute!(&mut tx, sql, id, patient.clinic, patient.user, clinician.user, now).unwrap();
    tx.commit().await.unwrap();
    id
}
