//! Participants who say that a record seal is not as it must be.

use serde_json::{Value, json};
use sigilo::fetch_all;
use sigilo_wire::{ConversationId, Role, SealId, UserId};

use crate::support::{
    TestServer, both_engines,
    clinic::{Clinic, PASSWORD},
    device::{Device, relate},
    http::Answer,
};

/// A patient with a sealed conversation.
struct Scene {
    clinic: Clinic,
    ana: Device,
    maria: Device,
    conversation: ConversationId,
    seal: SealId,
}

impl Scene {
    async fn create(server: &TestServer) -> Self {
        let clinic = Clinic::create(server, "demo").await;
        let ana = Device::create(server, &clinic, Role::Patient, "ana@demo.example").await;
        let maria = Device::create(server, &clinic, Role::Doctor, "maria@demo.example").await;
        relate(server, &ana, &maria).await;
        let conversation = ana.start(server, &maria).await;
        let seal = maria.seal(server, &clinic, conversation, &[&ana]);
        let path = format!("/api/chat/conversations/{conversation}/seals/");
        server.post(&path, Some(&maria.token), &json!(seal)).await.expect(201);
        Self { clinic, ana, maria, conversation, seal: seal.seal_id }
    }

    async fn report(&self, server: &TestServer, token: &str, problem: &str) -> Answer {
        let path = format!("/api/chat/conversations/{}/seals/{}/invalid/", self.conversation, self.seal);
        server.post(&path, Some(token), &json!({"problem": problem})).await
    }
}

/// The acts on seals in the audit log: name, outcome, patient, the entry.
async fn acts(server: &TestServer) -> Vec<(String, String, Option<UserId>, Value)> {
    const ACTS: &str = "SELECT act, outcome, patient_id, canonical FROM audit_entries
        WHERE act IN ('publish_seal', 'report_seal') ORDER BY seq";
    let mut tx = server.app.db.read("test").await.unwrap();
    let rows: Vec<(String, String, Option<UserId>, Vec<u8>)> =
        fetch_all!(&mut tx, (String, String, Option<UserId>, Vec<u8>), ACTS).unwrap();
    rows.into_iter()
        .map(|(act, outcome, patient, entry)| {
            (act, outcome, patient, serde_json::from_slice(&entry).unwrap())
        })
        .collect()
}

async fn facts(server: &TestServer) -> Vec<Value> {
    const FACTS: &str = "SELECT data FROM outbox WHERE topic = 'seal.reported' ORDER BY seq";
    let mut tx = server.app.db.read("test").await.unwrap();
    let rows: Vec<(String,)> = fetch_all!(&mut tx, (String,), FACTS).unwrap();
    rows.into_iter().map(|(data,)| serde_json::from_str(&data).unwrap()).collect()
}

#[tokio::test]
async fn a_report_is_noted_once_a_person_with_the_patient_concerned() {
    both_engines(async |server| {
        let scene = Scene::create(server).await;
        scene.report(server, &scene.ana.token, "bad_copy").await.expect(204);
        // Again, and with another word: the first stands.
        scene.report(server, &scene.ana.token, "bad_copy").await.expect(204);
        scene.report(server, &scene.ana.token, "missing_copy").await.expect(204);
        scene.report(server, &scene.maria.token, "unopenable").await.expect(204);

        let acts = acts(server).await;
        let seen: Vec<_> = acts.iter().map(|(act, outcome, ..)| (act.as_str(), outcome.as_str())).collect();
        let (sealed, reported) = (("publish_seal", "allowed"), ("report_seal", "allowed"));
        assert_eq!(seen, [sealed, reported, reported]);
        for (act, _, patient, entry) in &acts {
            assert_eq!(*patient, Some(scene.ana.user), "{act}");
            assert_eq!(entry["patient"], json!(scene.ana.user), "{act}");
        }
        let objects = json!({"conversation": scene.conversation, "seal": scene.seal, "problem": "bad_copy"});
        assert_eq!((&acts[1].3["objects"], &acts[1].3["policies"]), (&objects, &json!(["members-report"])));
        assert_eq!(acts[2].3["actor"], json!(scene.maria.user));

        let facts = facts(server).await;
        assert_eq!(facts.len(), 2);
        let expected = json!({
            "conversation_id": scene.conversation, "seal_id": scene.seal, "sender_id": scene.maria.user,
            "reporter_id": scene.ana.user, "problem": "bad_copy",
        });
        assert_eq!(facts[0], expected);
    })
    .await;
}

#[tokio::test]
async fn only_members_report_and_only_seals_of_their_conversation() {
    both_engines(async |server| {
        let mut scene = Scene::create(server).await;
        let stranger = Device::create(server, &scene.clinic, Role::Doctor, "jorge@demo.example").await;
        scene.report(server, &stranger.token, "bad_copy").await.expect_error(404, "not_found");
        let session = scene.clinic.login(server, "ana@demo.example", PASSWORD, json!(null)).await.expect(200);
        let session = session["access_token"].as_str().unwrap();
        let denied = scene.report(server, session, "bad_copy").await;
        assert_eq!(denied.body["policies"], json!(["session-device"]));
        assert_eq!(denied.expect_error(403, "forbidden")["reason"], "session_device");
        scene.report(server, &scene.ana.token, "ugly").await.expect_error(400, "invalid_field");

        // A seal of another conversation of hers, and one nobody has published.
        let body = json!({"type": "consultation", "participants": [scene.maria.user]});
        let other = server.post("/api/chat/conversations/", Some(&scene.ana.token), &body).await.expect(201);
        let conversation =
            std::mem::replace(&mut scene.conversation, serde_json::from_value(other["id"].clone()).unwrap());
        scene.report(server, &scene.ana.token, "bad_copy").await.expect_error(404, "not_found");
        scene.conversation = conversation;
        scene.seal = SealId::from_bytes([7; 16]);
        scene.report(server, &scene.ana.token, "bad_copy").await.expect_error(404, "not_found");

        assert!(facts(server).await.is_empty());
        let acts = acts(server).await;
        let reports: Vec<_> = acts.iter().filter(|(act, ..)| act == "report_seal").collect();
        assert_eq!(reports.len(), 1, "{acts:?}");
        assert_eq!((reports[0].1.as_str(), reports[0].2), ("denied", Some(scene.ana.user)));
    })
    .await;
}
