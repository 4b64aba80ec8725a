//! Documents that others open only when the patient agrees.

use serde_json::{Value, json};
use sigilo_wire::{FileId, Role};

use super::{Blob, Pair, acts, scanned, shown};
use crate::support::{
    TestServer, both_engines,
    device::{Device, relate},
    http::Answer,
};

async fn answer(server: &TestServer, token: &str, file: FileId, allowed: bool) -> Answer {
    let path = format!("/api/chat/files/{file}/consent/");
    server.post(&path, Some(token), &json!({"allowed": allowed})).await
}

#[tokio::test]
async fn others_open_it_while_the_patient_agrees() {
    both_engines(async |server| {
        let pair = Pair::create(server).await;
        let jorge = Device::create(server, &pair.clinic, Role::Doctor, "jorge@vault.example").await;
        relate(server, &pair.ana, &jorge).await;
        let body = json!({"type": "group", "participants": [pair.ana.user, jorge.user]});
        let team = server.post("/api/chat/conversations/", Some(&pair.maria.token), &body).await.expect(201);
        let team = serde_json::from_value(team["id"].clone()).unwrap();
        let mut blob = Blob::new(team, 1, 1000);
        blob.new.handling.requires_patient_consent = true;
        let file = blob.stored(server, &pair.maria.token).await.file_id;
        scanned(server, file, "clean").await;
        let content = format!("/api/chat/files/{file}/content/");

        let closed = async || {
            let denied = shown(server, &jorge.token, file).await;
            assert_eq!(denied.body["policies"], json!(["consent-before-reading"]));
            assert_eq!(denied.expect_error(403, "forbidden")["reason"], "patient_consent_missing");
            server.get(&content, Some(&jorge.token)).await.expect_error(403, "forbidden");
        };
        closed().await;
        for token in [&pair.maria.token, &pair.ana.token] {
            let seen = shown(server, token, file).await.expect(200);
            assert_eq!(seen["patient_consents"], Value::Null);
            assert!(seen["content_url"].is_string());
        }
        for token in [&pair.maria.token, &jorge.token] {
            answer(server, token, file, true).await.expect_error(403, "forbidden");
        }
        let agreed = answer(server, &pair.ana.token, file, true).await.expect(200);
        assert_eq!(agreed["patient_consents"], json!(true));
        answer(server, &pair.ana.token, file, true).await.expect(200);
        let url = shown(server, &jorge.token, file).await.expect(200)["content_url"].clone();
        assert_eq!(server.get(url.as_str().unwrap(), None).await.status, 200);
        // Taken back, an address that is still good opens nothing.
        answer(server, &pair.ana.token, file, false).await.expect(200);
        closed().await;
        server.get(url.as_str().unwrap(), None).await.expect_error(403, "forbidden");

        let answers: Vec<_> = acts(server)
            .await
            .into_iter()
            .filter(|(act, outcome, _)| act == "answer_consent" && outcome == "allowed")
            .map(|(.., entry)| entry["objects"]["allowed"].clone())
            .collect();
        assert_eq!(answers, ["true", "false"]);
    })
    .await;
}

#[tokio::test]
async fn only_a_file_that_needs_it_is_answered_for() {
    both_engines(async |server| {
        let pair = Pair::create(server).await;
        let file = Blob::new(pair.conversation, 2, 1000).stored(server, &pair.maria.token).await.file_id;
        answer(server, &pair.ana.token, file, true).await.expect_error(400, "invalid_field");
        let stranger = Device::create(server, &pair.clinic, Role::Patient, "eva@vault.example").await;
        answer(server, &stranger.token, file, true).await.expect_error(404, "not_found");
        let nothing = FileId::from_bytes([1; 16]);
        answer(server, &pair.ana.token, nothing, true).await.expect_error(404, "not_found");
    })
    .await;
}
