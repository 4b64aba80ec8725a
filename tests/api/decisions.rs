//! Refusals by the rules carry what the clinic's server signed of them; the client, and anybody with the clinic's keys,
//! can tell a false one.

use std::{fs, process::Command};

use serde_json::{Value, json};
use sigilo::fetch_all;
use sigilo_seal::{
    Decision as Statement, Ed25519Public, KeyPurpose, RootStatement,
    decision::{FRAME, request_hash},
};
use sigilo_wire::policy::Decision;

use crate::{
    groups::Team,
    support::{
        TestServer, both_engines,
        clinic::{Clinic, PASSWORD},
        hours::open,
        http::Answer,
        socket::Socket,
    },
};

const CONVERSATIONS: &str = "/api/chat/conversations/";

fn receipt_key(clinic: &Clinic) -> Ed25519Public {
    let statements = clinic.ceremony.clinic_keys.statements.iter();
    let mut statements = statements.map(|signed| RootStatement::decode(&signed.statement).unwrap());
    statements.rfind(|s| s.purpose == KeyPurpose::Receipt).unwrap().ed25519_key().unwrap()
}

/// The refusal of an answer, verified, which must answer this request.
#[track_caller]
fn verified(clinic: &Clinic, body: &Value, asked: [u8; 32]) -> Decision {
    let decision: Decision = serde_json::from_value(body["decision"].clone()).unwrap();
    assert_eq!(decision.request_sha256.0, asked, "{body}");
    assert_eq!(json!(decision.policies), body["policies"]);
    let statement = Statement::of_answer(clinic.id, &decision);
    assert!(statement.verify(&receipt_key(clinic), &decision.signature.0), "{body}");
    assert_eq!(decision.outcome, "denied");
    decision
}

fn sent(method: &str, path: &str, body: &Value) -> [u8; 32] {
    request_hash(method, path, &serde_json::to_vec(body).unwrap())
}

/// The acts refused so far, with their leaves, in order.
async fn entries(server: &TestServer) -> Vec<(String, Vec<u8>)> {
    let mut tx = server.app.db.read("test").await.unwrap();
    const DENIED: &str = "SELECT act, leaf FROM audit_entries WHERE outcome = 'denied' ORDER BY seq";
    fetch_all!(&mut tx, (String, Vec<u8>), DENIED).unwrap()
}

#[tokio::test]
async fn every_refusal_by_a_rule_is_signed_and_names_its_request_and_its_entry() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        let Team { ana, eva, maria, clinic, .. } = &team;
        let session = clinic.login(server, "ana@team.example", PASSWORD, Value::Null).await.expect(200);
        let session = session["access_token"].as_str();
        let start = json!({"type": "consultation", "participants": [ana.user]});
        let glass = json!({"patient_id": ana.user, "reason": "on_call_cover", "text": "covers tonight"});
        let hours = json!({"time_zone": "UTC"});
        let search = "/api/chat/search/?with_user=0198c0de-0000-7000-8000-000000000000";
        let mut seen = Vec::new();
        // With an entry of the act's own, and with one that is written for the answer.
        let token = Some(eva.token.as_str());
        for (act, method, path, token, body) in [
            ("start_conversation", "POST", CONVERSATIONS, token, Some(&start)),
            ("open_break_glass", "POST", "/api/chat/break-glass/", Some(maria.token.as_str()), Some(&glass)),
            ("manage_hours", "PUT", "/api/admin/hours/", token, Some(&hours)),
            ("manage_on_call", "GET", "/api/admin/on-call/", token, None),
            ("search_messages", "GET", search, session, None),
        ] {
            let answer = match (method, body) {
                ("POST", Some(body)) => server.post(path, token, body).await,
                ("PUT", Some(body)) => server.put(path, token, body).await,
                _ => server.get(path, token).await,
            };
            assert_eq!(answer.status, 403, "{act}");
            let bytes = body.map(|body| serde_json::to_vec(body).unwrap()).unwrap_or_default();
            let decision = verified(clinic, &answer.body, request_hash(method, path, &bytes));
            assert_eq!(decision.action, act);
            seen.push((act.to_owned(), decision.audit_leaf.0.to_vec()));
        }
        assert_eq!(entries(server).await, seen, "one entry each");

        // Without the final slash the request is the same; in another language, too.
        let request = server.client.post(format!("{}/api/chat/conversations?", server.url));
        let request = request.bearer_auth(&eva.token).header("accept-language", "es").json(&start);
        let answer = Answer::of(request.send().await.unwrap()).await;
        verified(clinic, &answer.body, sent("POST", "/api/chat/conversations/?", &start));

        // No rule refused these.
        for answer in [
            server.get(&format!("{CONVERSATIONS}{}/", ana.user), token).await,
            server.post(CONVERSATIONS, token, &json!({"type": "direct", "participants": []})).await,
            server.get("/api/me/", None).await,
        ] {
            assert!(answer.status >= 400 && answer.body.get("decision").is_none(), "{}", answer.body);
        }
    })
    .await;
}

#[tokio::test]
async fn a_message_refused_for_the_hour_is_signed_on_both_ways() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        let Team { ana, maria, clinic, .. } = &team;
        let id = team.started(server, "direct", maria, &[ana]).await;
        ana.publish_seal(server, clinic, id, &[maria]).await;
        open(server, clinic.id, None, &[(-120, -60)]).await;
        let text = json!(ana.text(server, id, "closed", &[maria]));
        let path = format!("{CONVERSATIONS}{id}/messages/");
        let answer = server.post(&path, Some(&ana.token), &text).await;
        assert_eq!((answer.status, &answer.body["error"]), (400, &json!("outside_chat_hours")));
        let over_http = verified(clinic, &answer.body, sent("POST", &path, &text));
        assert_eq!((over_http.actor_id, over_http.device_id), (ana.user, ana.device));
        assert_eq!(over_http.action, "send_message");

        let mut socket = Socket::open(server, ana).await;
        while socket.next().await["type"] != "queue_empty" {}
        let frame = json!({"type": "send_message", "request_id": "1", "conversation_id": id, "data": text});
        socket.send(&frame).await;
        let refused = socket.expect("error").await;
        verified(clinic, &refused["data"], request_hash(FRAME, "", frame.to_string().as_bytes()));
        // Typing is no act: nothing is kept of it, and nothing signed.
        let before = entries(server).await.len();
        let typing =
            json!({"type": "typing", "request_id": "2", "conversation_id": id, "data": {"typing": true}});
        socket.send(&typing).await;
        let refused = socket.expect("error").await;
        assert!(refused["data"].get("decision").is_none(), "{refused}");
        assert_eq!(entries(server).await.len(), before);
    })
    .await;
}

#[tokio::test]
async fn a_refusal_is_verified_without_the_server_and_any_change_is_refused() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        let start = json!({"type": "consultation", "participants": [team.ana.user]});
        let body = server.post(CONVERSATIONS, Some(&team.eva.token), &start).await.body;
        let folder = tempfile::tempdir().unwrap();
        let keys = json!(team.clinic.ceremony.clinic_keys);
        fs::write(folder.path().join("keys.json"), keys.to_string()).unwrap();
        let ask = |answer: &Value| {
            fs::write(folder.path().join("refusal.json"), answer.to_string()).unwrap();
            let output = Command::new(env!("CARGO_BIN_EXE_sigilo"))
                .args(["policy", "verify-receipt", "refusal.json", "--clinic-keys", "keys.json", "--json"])
                .current_dir(folder.path())
                .env_clear()
                .output()
                .unwrap();
            let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
            (output.status.code().unwrap(), answer)
        };
        for file in [&body, &body["decision"]] {
            let (status, answer) = ask(file);
            assert_eq!((status, &answer["verified"]), (0, &json!(true)), "{answer}");
            assert_eq!(
                (&answer["action"], &answer["policies"]),
                (&json!("start_conversation"), &body["policies"])
            );
        }
        for (field, value) in [
            ("actor_id", json!(team.ana.user)),
            ("device_id", json!(team.ana.device)),
            ("action", json!("send_message")),
            ("outcome", json!("allowed")),
            ("policies", json!(["blocks"])),
            ("request_sha256", body["decision"]["audit_leaf"].clone()),
            ("policy_set", body["decision"]["audit_leaf"].clone()),
            ("audit_leaf", body["decision"]["policy_set"].clone()),
        ] {
            let mut altered = body.clone();
            altered["decision"][field] = value;
            let (status, answer) = ask(&altered);
            assert_eq!((status, &answer["error"]), (1, &json!("invalid_signature")), "{field}: {answer}");
        }
    })
    .await;
}
