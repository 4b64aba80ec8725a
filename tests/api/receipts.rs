//! Receipts checked by `sigilo policy verify-receipt`, without the server.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};
use sigilo_wire::Role;

use crate::support::{
    both_engines,
    clinic::{Clinic, ceremony},
    device::{Device, relate},
};

/// Runs the command on a message and the clinic's keys; its exit status and document.
fn verify(folder: &Path, message: &Value, keys: &Value) -> (i32, Value) {
    fs::write(folder.join("message.json"), message.to_string()).unwrap();
    fs::write(folder.join("clinic-keys.json"), keys.to_string()).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_sigilo"))
        .args(["policy", "verify-receipt", "message.json", "--clinic-keys", "clinic-keys.json", "--json"])
        .current_dir(folder)
        .env_clear()
        .output()
        .unwrap();
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap())
}

#[tokio::test]
async fn a_receipt_is_verified_without_the_server_and_any_change_is_refused() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let ana = Device::create(server, &clinic, Role::Patient, "ana@clinic.example").await;
        let maria = Device::create(server, &clinic, Role::Doctor, "maria@clinic.example").await;
        relate(server, &ana, &maria).await;
        let conversation = ana.start(server, &maria).await;
        ana.publish_seal(server, &clinic, conversation, &[&maria]).await;
        let text = ana.text(server, conversation, "hello", &[&maria]);
        let accepted = ana.post(server, conversation, &text).await.expect(201);
        let path = format!("/api/chat/messages/{}/", accepted["message_id"].as_str().unwrap());
        let message = server.get(&path, Some(&maria.token)).await.expect(200);

        let folder = tempfile::tempdir().unwrap();
        let keys = json!(clinic.ceremony.clinic_keys);
        let ask = |message: &Value, keys: &Value| verify(folder.path(), message, keys);
        let (status, answer) = ask(&message, &keys);
        assert_eq!((status, &answer["verified"]), (0, &json!(true)), "{answer}");
        assert_eq!(answer["policies"], json!(["members-send"]));
        assert_eq!(answer["root_groups"], json!(clinic.ceremony.card.groups()));

        // The receipt the sender kept, beside a message whose own was lost.
        let mut bare = message.clone();
        bare.as_object_mut().unwrap().remove("receipt");
        let apart = json!({"message": bare, "receipt": accepted["receipt"]});
        assert_eq!(ask(&apart, &keys).0, 0);
        assert_eq!(ask(&bare, &keys).0, 2, "no receipt at all");

        for (field, value) in [
            ("conversation_seq", json!(2)),
            ("received_at", json!("2026-11-02T10:00:00.000000Z")),
            ("conversation_id", message["id"].clone()),
            ("commitment", message["receipt"]["audit_leaf"].clone()),
        ] {
            let mut altered = message.clone();
            altered[field] = value;
            let (status, answer) = ask(&altered, &keys);
            assert_eq!(status, 1, "{field}: {answer}");
        }
        let mut altered = message.clone();
        altered["receipt"]["policies"] = json!(["members-read"]);
        assert_eq!(ask(&altered, &keys).1["error"], "invalid_signature");

        // Another clinic's keys; the root of another; a file of another kind.
        let others = json!(ceremony(&Clinic::request(server, "otra").await, 2).clinic_keys);
        assert_eq!(ask(&message, &others).1["error"], "invalid_key");
        let mut mixed = keys.clone();
        mixed["root_public_key"] = others["root_public_key"].clone();
        let (status, answer) = ask(&message, &mixed);
        assert_eq!((status, &answer["error"]), (1, &json!("invalid_key")), "{answer}");
        assert_eq!(ask(&message, &json!({"format": "x"})).0, 2);
    })
    .await;
}
