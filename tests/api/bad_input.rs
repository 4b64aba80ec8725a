//! Bad input gets a clear error in the API's shape, the same on both engines, and leaves nothing half-written.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::Mutex,
};

use reqwest::Method;
use serde_json::{Value, json};
use sigilo::{fetch_one, storage::dialect};
use sigilo_wire::Role;

use crate::support::{TestServer, both_engines, clinic::Clinic, http::Answer};

const LOGIN: &str = "/api/auth/login/";

/// A request as text, its status and code, and the place the details name.
type Case = (Method, &'static str, &'static str, u16, &'static str, Value);

fn cases() -> Vec<Case> {
    let login = |body, status, code, place| (Method::POST, LOGIN, body, status, code, place);
    let identity = |body, place| (Method::PUT, "/api/keys/identity/", body, 400, "invalid_field", place);
    let keys = |body, code, place| (Method::PUT, "/api/keys/", body, 400, code, place);
    vec![
        login("", 400, "invalid_json", Value::Null),
        login("{", 400, "invalid_json", Value::Null),
        login(r#"{"clinic": "c", "email": "e", "password": "p"}}"#, 400, "invalid_json", Value::Null),
        login("\u{0}", 400, "invalid_json", Value::Null),
        login(r#"{"clinic": "a\u0000", "email": "e", "password": "p"}"#, 400, "invalid_field", json!("body")),
        (Method::GET, "/api/chat/contacts/?q=%00", "", 400, "invalid_field", json!("query")),
        (Method::DELETE, "/api/devices/%00/", "", 400, "invalid_field", json!("path")),
        login(r#"["c", "e", "p"]"#, 400, "invalid_field", json!("body")),
        login("null", 400, "invalid_field", json!("body")),
        login("{}", 400, "invalid_field", json!("clinic")),
        login(r#"{"clinic": 7}"#, 400, "invalid_field", json!("clinic")),
        login(
            r#"{"clinic": "c", "email": "e", "password": "p", "remember": true}"#,
            400,
            "unknown_field",
            json!("remember"),
        ),
        login(
            r#"{"clinic": "c", "email": "e", "password": "p", "device": {"kind": "fax"}}"#,
            400,
            "invalid_field",
            json!("device.kind"),
        ),
        login(
            r#"{"clinic": "c", "email": "e", "password": "p", "device": {"kind": "session", "x": 1}}"#,
            400,
            "unknown_field",
            json!("device.x"),
        ),
        identity(r#"{"identity_key": "not base64"}"#, json!("identity_key")),
        identity(r#"{"identity_key": "AAEC"}"#, json!("identity_key")),
        identity(r#"{"identity_key": "__ECAw=="}"#, json!("identity_key")),
        keys(r#"{"registration_id": "one"}"#, "invalid_field", json!("registration_id")),
        keys(
            r#"{"registration_id": 1, "pre_keys": [{"key_id": -1, "public_key": "AA=="}]}"#,
            "invalid_field",
            json!("pre_keys[0].key_id"),
        ),
        keys(r#"{"registration_id": 1, "pre_keys": [{"id": 1}]}"#, "unknown_field", json!("pre_keys[0].id")),
        (Method::GET, "/api/keys/seven/*/", "", 400, "invalid_field", json!("path")),
        (Method::GET, "/api/chat/conversations/?x=1", "", 400, "unknown_field", json!("query.x")),
        (Method::GET, "/api/chat/conversations/seven/", "", 400, "invalid_field", json!("path")),
        (Method::PATCH, LOGIN, "", 405, "method_not_allowed", Value::Null),
        (Method::GET, "/api/nowhere/", "", 404, "not_found", Value::Null),
    ]
}

/// How many rows each table has.
async fn rows(server: &TestServer) -> BTreeMap<String, i64> {
    let mut rows = BTreeMap::new();
    let mut tx = server.app.db.read("test").await.unwrap();
    for (table, _) in dialect::tables(&server.app.db).await.unwrap() {
        let count = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
        let (count,) = fetch_one!(&mut tx, (i64,), count).unwrap();
        rows.insert(table, count);
    }
    rows
}

#[tokio::test]
async fn bad_input_is_refused_with_what_is_wrong_where() {
    let answers = Mutex::new(Vec::new());
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let ana = clinic.person(server, Role::Patient, "ana@clinic.example").await;
        let before = rows(server).await;
        let mut refusals = Vec::new();
        for (method, path, body, status, code, place) in cases() {
            let request = server
                .client
                .request(method, format!("{}{path}", server.url))
                .bearer_auth(&ana.tokens.access_token)
                .header("content-type", "application/json")
                .body(body);
            let answer = Answer::of(request.send().await.unwrap()).await;
            let shown = format!("{path} {body}: {}", answer.body);
            assert_eq!((answer.status, &answer.body["error"]), (status, &json!(code)), "{shown}");
            assert_eq!(answer.body["details"].get("field").unwrap_or(&Value::Null), &place, "{shown}");
            refusals.push((answer.status, answer.body["details"].clone()));
        }
        assert_eq!(rows(server).await, before, "something was written");
        answers.lock().unwrap().push(refusals);
    })
    .await;
    let answers = answers.into_inner().unwrap();
    assert_eq!(answers[0], answers[1], "the engines answer differently");
}

#[tokio::test]
async fn bodies_must_say_that_they_are_json() {
    both_engines(async |server| {
        for content_type in ["text/plain", "application/x-www-form-urlencoded", ""] {
            let request = server
                .client
                .post(format!("{}{LOGIN}", server.url))
                .header("content-type", content_type)
                .body("{}");
            let answer = Answer::of(request.send().await.unwrap()).await;
            answer.expect_error(415, "unsupported_media_type");
        }
    })
    .await;
}

/// Sends the beginning of a request and gives what is answered before its end.
fn begin(server: &TestServer, head: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    // The server may answer and close while this is being written.
    let _ = stream.write_all(body);
    let mut answer = [0; 4096];
    let length = stream.read(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_too_large_are_refused_before_they_are_read() {
    both_engines(async |server| {
        let limit = server.app.config.limits.request_bytes;
        let head = format!("POST {LOGIN} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n");
        // Announced, and not a byte of it sent.
        let announced = begin(server, &format!("{head}content-length: {}\r\n\r\n", limit + 1), b"");
        // Not announced, in chunks, and without an end.
        let chunk = format!("{:x}\r\n{}\r\n", limit + 1, " ".repeat(limit + 1));
        let endless = begin(server, &format!("{head}transfer-encoding: chunked\r\n\r\n"), chunk.as_bytes());
        for answer in [announced, endless] {
            assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
            assert!(answer.contains("body_too_large"), "{answer}");
        }
    })
    .await;
}
