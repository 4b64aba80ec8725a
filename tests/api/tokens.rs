//! Access tokens, refresh tokens, tickets, and the keys behind them.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sigilo::auth;
use sigilo_seal::Ed25519Public;
use sigilo_wire::{RequestId, Role};

use crate::support::{
    TestServer, both_engines,
    clinic::{Clinic, PASSWORD},
};

const ANA: &str = "ana@clinic.example";

async fn refresh(server: &TestServer, token: &Value) -> crate::support::http::Answer {
    server.post("/api/auth/refresh/", None, &json!({"refresh_token": token})).await
}

fn part(token: &str, index: usize) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(token.split('.').nth(index).unwrap()).unwrap()
}

#[tokio::test]
async fn anybody_can_verify_an_access_token_by_the_published_keys() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let ana = clinic.person(server, Role::Patient, ANA).await;
        let token = &ana.tokens.access_token;
        let header: Value = serde_json::from_slice(&part(token, 0)).unwrap();
        assert_eq!(header["alg"], "EdDSA");
        let keys = server.get("/.well-known/jwks.json", None).await.expect(200);
        let key = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"]).unwrap();
        assert_eq!(
            (&key["kty"], &key["crv"], &key["use"]),
            (&json!("OKP"), &json!("Ed25519"), &json!("sig"))
        );
        let public = URL_SAFE_NO_PAD.decode(key["x"].as_str().unwrap()).unwrap();
        let (signed, _) = token.rsplit_once('.').unwrap();
        let signature = <[u8; 64]>::try_from(part(token, 2)).unwrap();
        assert!(Ed25519Public::parse(&public).unwrap().verify(signed.as_bytes(), &signature));
        let claims: Value = serde_json::from_slice(&part(token, 1)).unwrap();
        assert_eq!(claims["iss"], "sigilo");
        assert_eq!(claims["sub"], json!(ana.tokens.user_id));
        assert_eq!(claims["tid"], json!(clinic.id));
        assert_eq!(claims["did"], json!(ana.tokens.device.id));
        assert_eq!(claims["knd"], "messaging");
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 900);
    })
    .await;
}

#[tokio::test]
async fn forged_and_altered_tokens_are_refused() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let ana = clinic.person(server, Role::Patient, ANA).await;
        let token = &ana.tokens.access_token;
        let (head, rest) = token.split_once('.').unwrap();
        let (claims, signature) = rest.split_once('.').unwrap();
        let with = |change: &dyn Fn(&mut Value), index: usize| {
            let mut value: Value = serde_json::from_slice(&part(token, index)).unwrap();
            change(&mut value);
            URL_SAFE_NO_PAD.encode(value.to_string())
        };
        let mut flipped = part(token, 2);
        flipped[10] ^= 1;
        for wrong in [
            String::new(),
            "x".to_owned(),
            format!("{head}.{claims}"),
            format!("{head}.{claims}."),
            format!("{head}.{claims}.{}", URL_SAFE_NO_PAD.encode(flipped)),
            format!("{head}.{}.{signature}", with(&|claims| claims["exp"] = json!(9_999_999_999i64), 1)),
            format!("{}.{claims}.", with(&|header| header["alg"] = json!("none"), 0)),
            format!("{}.{claims}.{signature}", with(&|header| header["alg"] = json!("HS256"), 0)),
            format!("{}.{claims}.{signature}", with(&|header| header["kid"] = json!("other"), 0)),
            "x".repeat(5_000),
        ] {
            server.get("/api/me/", Some(&wrong)).await.expect_error(401, "unauthenticated");
        }
        server.get("/api/me/", None).await.expect_error(401, "unauthenticated");
        server.get("/api/me/", ana.token()).await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn an_access_token_lasts_15_minutes_and_survives_a_restart() {
    for engine in [crate::support::Engine::Sqlite, crate::support::Engine::Postgres] {
        let server = TestServer::start(engine).await;
        let clinic = Clinic::create(&server, "ejemplo").await;
        let ana = clinic.person(&server, Role::Patient, ANA).await;
        server.clock.advance(Duration::from_secs(14 * 60));
        let server = server.restart().await;
        server.get("/api/me/", ana.token()).await.expect(200);
        server.clock.advance(Duration::from_secs(61));
        server.get("/api/me/", ana.token()).await.expect_error(401, "token_expired");
        let fresh = refresh(&server, &json!(ana.tokens.refresh_token)).await.expect(200);
        server.get("/api/me/", fresh["access_token"].as_str()).await.expect(200);
        server.finish().await;
    }
}

#[tokio::test]
async fn a_refresh_token_used_after_its_successor_ends_the_family() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let ana = clinic.person(server, Role::Patient, ANA).await;
        let first = json!(ana.tokens.refresh_token);
        let second = refresh(server, &first).await.expect(200);
        assert_eq!(second["device"]["id"], json!(ana.tokens.device.id));
        let third = refresh(server, &second["refresh_token"]).await.expect(200);
        server.get("/api/me/", third["access_token"].as_str()).await.expect(200);
        refresh(server, &first).await.expect_error(401, "token_reused");
        // Everything of the device is over: the thief's tokens and the owner's.
        for token in [&ana.tokens.access_token, third["access_token"].as_str().unwrap()] {
            server.get("/api/me/", Some(token)).await.expect_error(401, "device_revoked");
        }
        refresh(server, &third["refresh_token"]).await.expect_error(401, "device_revoked");
        refresh(server, &first).await.expect_error(401, "device_revoked");
        // The owner logs in again on the same device.
        let device = json!({"kind": "messaging", "device_id": ana.tokens.device.id});
        let back = clinic.login(server, ANA, PASSWORD, device).await.expect(200);
        server.get("/api/me/", back["access_token"].as_str()).await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn a_refresh_whose_answer_was_lost_is_repeated_and_a_thief_who_does_so_is_found_out() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let ana = clinic.person(server, Role::Patient, ANA).await;
        let first = json!(ana.tokens.refresh_token);
        // Twice the answer does not arrive; hours go by before the third.
        refresh(server, &first).await.expect(200);
        let lost = refresh(server, &first).await.expect(200);
        server.clock.advance(Duration::from_hours(5));
        let arrived = refresh(server, &first).await.expect(200);
        let arrived = refresh(server, &arrived["refresh_token"]).await.expect(200);
        server.get("/api/me/", arrived["access_token"].as_str()).await.expect(200);

        // A thief repeats the newest refresh before the owner has used its answer: served, but the owner's next one
        // shows that there are two.
        let owner = refresh(server, &arrived["refresh_token"]).await.expect(200);
        let thief = refresh(server, &arrived["refresh_token"]).await.expect(200);
        refresh(server, &owner["refresh_token"]).await.expect_error(401, "token_reused");
        server.get("/api/me/", thief["access_token"].as_str()).await.expect_error(401, "device_revoked");
        refresh(server, &thief["refresh_token"]).await.expect_error(401, "device_revoked");
        refresh(server, &lost["refresh_token"]).await.expect_error(401, "device_revoked");
    })
    .await;
}

#[tokio::test]
async fn of_many_who_refresh_with_one_token_only_the_last_keeps_what_it_got() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let ana = clinic.person(server, Role::Patient, ANA).await;
        let token = json!(ana.tokens.refresh_token);
        let answers = futures_util::future::join_all((0..16).map(|_| refresh(server, &token))).await;
        let got: Vec<Value> =
            answers.into_iter().map(|answer| answer.expect(200)["refresh_token"].clone()).collect();
        let live = {
            let mut tx = server.app.db.read("test").await.unwrap();
            let sql = "SELECT COUNT(*) FROM refresh_tokens WHERE device_id = $1 AND used_at IS NULL";
            sigilo::fetch_one!(&mut tx, (i64,), sql, ana.tokens.device.id).unwrap().0
        };
        assert_eq!(live, 1, "one token, whatever the number of callers");
        // Whoever uses one of the others shows that they are several.
        let mut ended = 0;
        for token in &got {
            if refresh(server, token).await.status == 401 {
                ended += 1;
            }
        }
        assert!(ended >= got.len() - 1, "{ended} of {}", got.len());
    })
    .await;
}

#[tokio::test]
async fn idle_sessions_end_after_half_an_hour_and_devices_after_30_days() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let phone = clinic.person(server, Role::Patient, ANA).await;
        let session = clinic.login(server, ANA, PASSWORD, Value::Null).await.expect(200);
        server.clock.advance(Duration::from_mins(29));
        let session = refresh(server, &session["refresh_token"]).await.expect(200);
        server.clock.advance(Duration::from_mins(30));
        refresh(server, &session["refresh_token"]).await.expect_error(401, "unauthenticated");
        server.clock.advance(Duration::from_hours(29 * 24));
        let fresh = refresh(server, &json!(phone.tokens.refresh_token)).await.expect(200);
        server.clock.advance(Duration::from_hours(30 * 24));
        refresh(server, &fresh["refresh_token"]).await.expect_error(401, "unauthenticated");
    })
    .await;
}

#[tokio::test]
async fn a_logout_ends_the_tokens_and_may_be_repeated() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        clinic.person(server, Role::Patient, ANA).await;
        let session = clinic.login(server, ANA, PASSWORD, Value::Null).await.expect(200);
        let body = json!({"refresh_token": session["refresh_token"]});
        server.post("/api/auth/logout/", None, &body).await.expect(204);
        server.post("/api/auth/logout/", None, &body).await.expect(204);
        server.get("/api/me/", session["access_token"].as_str()).await.expect_error(401, "device_revoked");
        refresh(server, &session["refresh_token"]).await.expect_error(401, "device_revoked");
        let unknown = json!({"refresh_token": "nobody's"});
        server.post("/api/auth/logout/", None, &unknown).await.expect_error(401, "unauthenticated");
        refresh(server, &json!("nobody's")).await.expect_error(401, "unauthenticated");
    })
    .await;
}

#[tokio::test]
async fn a_ticket_is_taken_once_within_30_seconds() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let ana = clinic.person(server, Role::Patient, ANA).await;
        let request = RequestId::from_bytes([1; 16]);
        let issue = async || {
            let ticket = server.post("/api/auth/ws-ticket/", ana.token(), &json!({})).await.expect(200);
            assert_eq!(ticket["expires_in"], 30);
            ticket["ticket"].as_str().unwrap().to_owned()
        };
        let ticket = issue().await;
        let session = auth::take_ws_ticket(&server.app, &ticket, request, None).await.unwrap();
        assert_eq!(session.ctx.caller().unwrap().device_id, ana.tokens.device.id);
        let again = auth::take_ws_ticket(&server.app, &ticket, request, None).await.unwrap_err();
        assert_eq!(again.code().as_str(), "unauthenticated");

        let late = issue().await;
        server.clock.advance(Duration::from_secs(30));
        assert!(auth::take_ws_ticket(&server.app, &late, request, None).await.is_err());

        let logged_out = issue().await;
        let body = json!({"refresh_token": ana.tokens.refresh_token});
        server.post("/api/auth/logout/", None, &body).await.expect(204);
        assert!(auth::take_ws_ticket(&server.app, &logged_out, request, None).await.is_err());
    })
    .await;
}
