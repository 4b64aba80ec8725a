//! Schemathesis against a real server: what the `OpenAPI` document promises, asked with requests it generates.
//!
//! Not part of `cargo test`: `cargo xtask schemathesis` brings the program and runs this. Each role has its turn
//! on each engine; people, conversations and messages are there, so that requests find something.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

#[path = "../support/mod.rs"]
mod support;

use std::{path::PathBuf, process::Stdio};

use sigilo::config::ScannerMode;
use sigilo_wire::{Role, account::DeviceKind};

use support::{
    Engine, TestServer,
    clinic::Clinic,
    device::{Device, relate},
    socket::eventually,
};

/// What is checked of every answer. Whether a request that the schema allows is *accepted* is left out: rules,
/// signatures and states decide that, and a schema cannot say so.
const CHECKS: &str =
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

/// Every kind of caller: those with content, and those who manage.
const ROLES: [Role; 4] = [Role::Patient, Role::Doctor, Role::Admin, Role::Compliance];

#[tokio::test(flavor = "multi_thread")]
async fn the_document_tells_the_truth() {
    let program = PathBuf::from(std::env::var_os("SIGILO_SCHEMATHESIS").expect("cargo xtask schemathesis"));
    let clamd = std::env::var("SIGILO_TEST_CLAMD").expect("cargo xtask schemathesis");
    let seconds: u64 = number("SIGILO_SCHEMATHESIS_SECONDS").expect("seconds, above 0");
    let seed: u64 = number("SIGILO_SCHEMATHESIS_SEED").unwrap_or(1);
    let turn = seconds.div_ceil(2 * ROLES.len() as u64);
    let mut refuted = Vec::new();
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let server = TestServer::start_with(engine, &|config| {
            config.scanner.mode = ScannerMode::InProcess;
            config.scanner.clamd = Some(clamd.clone());
        })
        .await;
        let clinic = Clinic::create(&server, "clinica").await;
        for role in ROLES {
            let token = caller(&server, &clinic, role).await;
            // Until then there is none, and the answer is 503.
            eventually("the worker's scan key", async || {
                let answer = server.get("/api/chat/vault/scan-key/", Some(&token)).await;
                (answer.status != 503).then_some(())
            })
            .await;
            println!("{engine:?}, {role:?}, {turn} s, seed {seed}");
            let status = tokio::process::Command::new(&program)
                .current_dir(env!("CARGO_TARGET_TMPDIR"))
                .env(
                    "SCHEMATHESIS_HOOKS",
                    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schemathesis/media_types.py"),
                )
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .arg("run")
                .arg(format!("{}/api/openapi.json", server.url))
                .args(["--header", &format!("Authorization: Bearer {token}")])
                .args(["--checks", CHECKS, "--continue-on-failure", "--warnings", "off", "--no-color"])
                .args(["--max-time", &turn.to_string(), "--seed", &seed.to_string()])
                // They would end the caller's own session, and every later answer would be 401.
                .args(["--exclude-path", "/api/devices/{device_id}/", "--exclude-path", "/api/auth/logout/"])
                .stdin(Stdio::null())
                .status()
                .await
                .unwrap();
            // Had it ended, all that was asked was how a stranger is refused.
            server.get("/api/me/", Some(&token)).await.expect(200);
            if !status.success() {
                refuted.push(format!("{engine:?}, {role:?}: {status}"));
            }
        }
        server.finish().await;
    }
    assert!(refuted.is_empty(), "the server or its document is wrong: {refuted:#?}");
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok().filter(|number| *number > 0)
}

/// Somebody of this role, who has a conversation with a message in it when the role may have one.
async fn caller(server: &TestServer, clinic: &Clinic, role: Role) -> String {
    let email = |who: &str| format!("{who}-{role:?}@clinica.example").to_lowercase();
    if !matches!(role, Role::Patient | Role::Doctor) {
        let invitation = clinic.invite(server, role, &email("caller")).await;
        let answer = clinic.activate(server, &invitation.code, DeviceKind::Session).await;
        return answer.expect(200)["access_token"].as_str().unwrap().to_owned();
    }
    let other = if role == Role::Patient { Role::Doctor } else { Role::Patient };
    let caller = Device::create(server, clinic, role, &email("caller")).await;
    let other = Device::create(server, clinic, other, &email("other")).await;
    let (patient, doctor) = if role == Role::Patient { (&caller, &other) } else { (&other, &caller) };
    relate(server, patient, doctor).await;
    let conversation = caller.start(server, &other).await;
    caller.publish_seal(server, clinic, conversation, &[&other]).await;
    let message = caller.text(server, conversation, "Buenos días", &[&other]);
    caller.post(server, conversation, &message).await.expect(201);
    caller.token
}
