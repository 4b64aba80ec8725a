//! An activation whose answer was lost, made again with its idempotency key.

use serde_json::{Value, json};
use sigilo::{Ctx, people};
use sigilo_wire::{Role, UserId};

use crate::support::{
    TestServer, both_engines,
    clinic::{Clinic, PASSWORD},
    http::Answer,
};

const ANA: &str = "ana@clinic.example";
const KEY: &str = "0198f6a2-5c11-7e2a-9d3f-3b1c5a7e9f10";
const PATH: &str = "/api/auth/activate/";

/// An invitation's code, and the request to activate it on a phone.
async fn invited(server: &TestServer, clinic: &Clinic) -> Value {
    let invitation = clinic.invite(server, Role::Patient, ANA).await;
    json!({
        "clinic": clinic.id, "code": invitation.code, "password": PASSWORD,
        "device": {"kind": "messaging", "name": "phone"},
    })
}

async fn activate(server: &TestServer, key: &str, body: &Value) -> Answer {
    server.post_with_key(PATH, None, key, body).await
}

fn token(tokens: &Value) -> Option<&str> {
    tokens["access_token"].as_str()
}

#[tokio::test]
async fn the_same_request_gets_fresh_tokens_of_the_same_device() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let body = invited(server, &clinic).await;
        let first = activate(server, KEY, &body).await.expect(200);
        let again = activate(server, KEY, &body).await.expect(200);
        assert_eq!(again["user_id"], first["user_id"]);
        assert_eq!(again["device"], first["device"]);
        let devices = server.get("/api/devices/", token(&again)).await.expect(200);
        assert_eq!(devices["results"].as_array().unwrap().len(), 1, "{devices}");
        // One family a device: what the lost answer held is of no use to whoever finds it.
        server.get("/api/me/", token(&first)).await.expect_error(401, "device_revoked");
        let refresh = json!({"refresh_token": first["refresh_token"]});
        server.post("/api/auth/refresh/", None, &refresh).await.expect_error(401, "device_revoked");
    })
    .await;
}

#[tokio::test]
async fn the_same_request_many_times_at_once_makes_one_device() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let body = invited(server, &clinic).await;
        let answers = futures_util::future::join_all((0..6).map(|_| activate(server, KEY, &body))).await;
        let first = answers[0].body["device"]["id"].clone();
        for answer in answers {
            assert_eq!(answer.expect(200)["device"]["id"], first);
        }
        // Whoever asked last has the tokens that count.
        let last = activate(server, KEY, &body).await.expect(200);
        let devices = server.get("/api/devices/", token(&last)).await.expect(200);
        assert_eq!(devices["results"].as_array().unwrap().len(), 1, "{devices}");
    })
    .await;
}

#[tokio::test]
async fn a_used_code_is_of_no_use_without_its_key() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let body = invited(server, &clinic).await;
        let first = activate(server, KEY, &body).await.expect(200);
        server.post(PATH, None, &body).await.expect_error(401, "invalid_invitation");
        activate(server, "another key", &body).await.expect_error(400, "invalid_field");
        activate(server, "another-key", &body).await.expect_error(401, "invalid_invitation");
        // A code used without a key has none.
        let mut other = body.clone();
        other["code"] = json!(clinic.invite(server, Role::Doctor, "maria@clinic.example").await.code);
        server.post(PATH, None, &other).await.expect(200);
        activate(server, KEY, &other).await.expect_error(401, "invalid_invitation");
        server.get("/api/me/", token(&first)).await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn another_request_with_the_key_is_refused() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let body = invited(server, &clinic).await;
        let first = activate(server, KEY, &body).await.expect(200);
        let changed = |change: &dyn Fn(&mut Value)| {
            let mut other = body.clone();
            change(&mut other);
            other
        };
        for other in [
            changed(&|body| body["password"] = json!("correct horse batterz")),
            changed(&|body| body["device"]["name"] = json!("tablet")),
            changed(&|body| body["device"]["kind"] = json!("session")),
            changed(&|body| body["clinic"] = json!("ejemplo")),
        ] {
            activate(server, KEY, &other).await.expect_error(409, "idempotency_conflict");
        }
        // The key is the invited person's: a conversation cannot be made with it either.
        let start = json!({"type": "direct", "participants": [UserId::from_bytes([7; 16])]});
        let other = server.post_with_key("/api/chat/conversations/", token(&first), KEY, &start).await;
        assert_ne!(other.status, 201, "{}", other.body);
        server.get("/api/me/", token(&first)).await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn a_key_is_remembered_for_a_day_and_ends_with_its_device() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let body = invited(server, &clinic).await;
        activate(server, KEY, &body).await.expect(200);
        server.clock.advance(std::time::Duration::from_hours(23));
        let tokens = activate(server, KEY, &body).await.expect(200);

        let user = serde_json::from_value(tokens["user_id"].clone()).unwrap();
        let ctx = Ctx::operator(&server.app, clinic.id);
        let grant = people::authorize_manage_people(&server.app, &ctx).unwrap();
        people::suspend_user(&server.app, &ctx, grant.clone(), user).await.unwrap();
        activate(server, KEY, &body).await.expect_error(401, "device_revoked");
        people::resume_user(&server.app, &ctx, grant, user).await.unwrap();
        let tokens = activate(server, KEY, &body).await.expect(200);

        let device = format!("/api/devices/{}/", tokens["device"]["id"].as_str().unwrap());
        server.delete(&device, token(&tokens)).await.expect(204);
        activate(server, KEY, &body).await.expect_error(401, "device_revoked");
        server.clock.advance(std::time::Duration::from_hours(1));
        activate(server, KEY, &body).await.expect_error(401, "invalid_invitation");
    })
    .await;
}
