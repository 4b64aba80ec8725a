//! Tokens that end on another node.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sigilo::{auth, fetch_all};
use sigilo_wire::{RequestId, Role};
use tokio_tungstenite::tungstenite;

use crate::support::{
    TestServer, both_engines,
    clinic::{Clinic, PASSWORD},
    http::Answer,
    server::Node,
    socket::Socket,
};

const ANA: &str = "ana@clinic.example";
/// How soon another node must notice: it looks every second.
const SOON: Duration = Duration::from_secs(4);

async fn open(server: &TestServer, token: Option<&str>) -> Socket {
    let mut socket = Socket::open_path(server, "/ws/chat/", token).await.unwrap();
    socket.expect("queue_empty").await;
    socket
}

/// Waits until the server has closed a socket because its tokens ended.
async fn closes_soon(mut socket: Socket) {
    let begun = Instant::now();
    assert_eq!(socket.closed().await, 4401);
    assert!(begun.elapsed() < SOON, "took {:?}", begun.elapsed());
}

async fn post_to(server: &TestServer, node: &Node, path: &str, body: &Value) -> Answer {
    Answer::of(server.client.post(format!("{}{path}", node.url)).json(body).send().await.unwrap()).await
}

async fn log_out_at(server: &TestServer, node: &Node, refresh_token: &Value) {
    let body = json!({"refresh_token": refresh_token});
    post_to(server, node, "/api/auth/logout/", &body).await.expect(204);
}

#[tokio::test]
async fn sockets_close_when_their_tokens_end_on_another_node() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let phone = clinic.person(server, Role::Patient, ANA).await;
        let session = clinic.login(server, ANA, PASSWORD, Value::Null).await.expect(200);
        let again = json!({"kind": "messaging", "device_id": phone.tokens.device.id});
        let node = server.beside().await;

        // Logged out.
        let socket = open(server, phone.token()).await;
        log_out_at(server, &node, &json!(phone.tokens.refresh_token)).await;
        closes_soon(socket).await;

        // A refresh token in two hands.
        let back = clinic.login(server, ANA, PASSWORD, again.clone()).await.expect(200);
        let socket = open(server, back["access_token"].as_str()).await;
        let refresh = json!({"refresh_token": back["refresh_token"]});
        let next = post_to(server, &node, "/api/auth/refresh/", &refresh).await.expect(200);
        let next = json!({"refresh_token": next["refresh_token"]});
        post_to(server, &node, "/api/auth/refresh/", &next).await.expect(200);
        post_to(server, &node, "/api/auth/refresh/", &refresh).await.expect_error(401, "token_reused");
        closes_soon(socket).await;

        // Removed from another device.
        let back = clinic.login(server, ANA, PASSWORD, again).await.expect(200);
        let socket = open(server, back["access_token"].as_str()).await;
        let path = format!("{}/api/devices/{}/", node.url, phone.tokens.device.id);
        let delete = server.client.delete(path).bearer_auth(session["access_token"].as_str().unwrap());
        Answer::of(delete.send().await.unwrap()).await.expect(204);
        closes_soon(socket).await;
        node.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_login_on_another_node_closes_the_sockets_before_it_and_not_those_after() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let phone = clinic.person(server, Role::Patient, ANA).await;
        let tablet = json!({"kind": "messaging", "name": "tablet"});
        let tablet = clinic.login(server, ANA, PASSWORD, tablet).await.expect(200);
        let node = server.beside().await;
        let old = open(server, phone.token()).await;
        let later = open(server, tablet["access_token"].as_str()).await;

        let login = json!({
            "clinic": "ejemplo", "email": ANA, "password": PASSWORD,
            "device": {"kind": "messaging", "device_id": phone.tokens.device.id},
        });
        let back = post_to(server, &node, "/api/auth/login/", &login).await.expect(200);
        closes_soon(old).await;
        let mut new = open(server, back["access_token"].as_str()).await;
        // Ended after the login: what closes this has seen the login, too.
        log_out_at(server, &node, &tablet["refresh_token"]).await;
        closes_soon(later).await;
        new.send(&json!({"type": "auth", "request_id": "1", "token": back["access_token"]})).await;
        new.expect("result").await;
        node.stop().await;
    })
    .await;
}

#[tokio::test]
async fn no_socket_opens_between_the_check_of_a_token_and_its_end() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let phone = clinic.person(server, Role::Patient, ANA).await;
        let node = server.beside().await;
        let again = json!({"kind": "messaging", "device_id": phone.tokens.device.id});
        let mut tokens = json!({
            "access_token": phone.tokens.access_token, "refresh_token": phone.tokens.refresh_token,
        });
        // Several times: the server may by chance have looked in between.
        for _ in 0..3 {
            let token = tokens["access_token"].as_str();
            let request = RequestId::from_bytes([1; 16]);
            // Now this server remembers the device for a second.
            let session =
                auth::authenticate_session(&server.app, token.unwrap(), request, None).await.unwrap();
            auth::still_stands(&server.app, &session).await.unwrap();
            log_out_at(server, &node, &tokens["refresh_token"]).await;
            let gone = auth::still_stands(&server.app, &session).await.unwrap_err();
            assert_eq!(gone.code().as_str(), "device_revoked");
            let refused = Socket::open_path(server, "/ws/chat/", token).await;
            let Err(tungstenite::Error::Http(answer)) = refused else {
                panic!("a socket opened with ended tokens")
            };
            assert_eq!(answer.status(), 401);
            tokens = clinic.login(server, ANA, PASSWORD, again.clone()).await.expect(200);
        }
        node.stop().await;
    })
    .await;
}

#[tokio::test]
async fn tokens_of_a_login_on_another_node_are_good_at_once() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let phone = clinic.person(server, Role::Patient, ANA).await;
        let node = server.beside().await;
        let login = json!({
            "clinic": "ejemplo", "email": ANA, "password": PASSWORD,
            "device": {"kind": "messaging", "device_id": phone.tokens.device.id},
        });
        let mut token = json!(phone.tokens.access_token);
        // Several times: the server may by chance have looked in between.
        for _ in 0..3 {
            // Now this server remembers the device for a second.
            server.get("/api/me/", token.as_str()).await.expect(200);
            let back = post_to(server, &node, "/api/auth/login/", &login).await.expect(200);
            server.get("/api/me/", back["access_token"].as_str()).await.expect(200);
            server.get("/api/me/", token.as_str()).await.expect_error(401, "device_revoked");
            token = back["access_token"].clone();
        }
        node.stop().await;
    })
    .await;
}

#[tokio::test]
async fn what_is_told_to_other_nodes_is_forgotten_after_an_hour() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        clinic.person(server, Role::Patient, ANA).await;
        let log_in_and_out = async || {
            let session = clinic.login(server, ANA, PASSWORD, Value::Null).await.expect(200);
            let body = json!({"refresh_token": session["refresh_token"]});
            server.post("/api/auth/logout/", None, &body).await.expect(204);
        };
        let kept = async || {
            let mut tx = server.app.db.read("test").await.unwrap();
            let rows: Vec<(i64,)> =
                fetch_all!(&mut tx, (i64,), "SELECT seq FROM standing_changes ORDER BY seq").unwrap();
            rows.into_iter().map(|(seq,)| seq).collect::<Vec<_>>()
        };
        log_in_and_out().await;
        log_in_and_out().await;
        assert_eq!(kept().await, [1, 2]);
        server.clock.advance(Duration::from_secs(3_601));
        log_in_and_out().await;
        assert_eq!(kept().await, [3]);
    })
    .await;
}
