//! Suspending somebody by a command, beside a server that runs.

use std::{path::Path, time::Duration};

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Message, client::IntoClientRequest as _},
};

use crate::{Served, sigilo, text};

/// Runs a command with `--json`; its exit status and document.
pub fn ask(folder: &Path, arguments: &[&str]) -> (i32, Value) {
    let output = sigilo(folder, arguments).arg("--json").output().unwrap();
    let answer = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| Value::String(text(&output.stderr).to_owned()));
    (output.status.code().unwrap(), answer)
}

/// Runs a command that must succeed; its document.
fn done(folder: &Path, arguments: &[&str]) -> Value {
    let (status, answer) = ask(folder, arguments);
    assert_eq!(status, 0, "{arguments:?}: {answer}");
    answer
}

/// Makes a folder's clinic.
pub fn clinic(folder: &Path) {
    let who = [
        "--name",
        "Clínica Ejemplo",
        "--slug",
        "ejemplo",
        "--time-zone",
        "America/Mexico_City",
        "--hours",
        "00:00-24:00",
    ];
    done(folder, &[&["admin", "clinic", "create", "--out", "request.json"], &who[..]].concat());
    done(folder, &["records", "init", "--request", "request.json", "--out", "safe"]);
    done(
        folder,
        &["admin", "clinic", "install-keys", "--clinic", "ejemplo", "--file", "safe/clinic-keys.json"],
    );
}

/// Lets its staff work without a second factor.
pub fn without_second_factor(folder: &Path) {
    done(folder, &["admin", "clinic", "set", "--clinic", "ejemplo", "--second-factor", "optional"]);
}

/// Invites María to it.
pub fn invite(folder: &Path, more: &[&str]) -> Value {
    let who = ["--role", "doctor", "--name", "Dra. María Martínez", "--email", "maria@clinic.example"];
    let how = ["admin", "user", "invite", "--clinic", "ejemplo", "--root-card", "safe/root-card.txt"];
    done(folder, &[&how[..], &who[..], more].concat())
}

#[tokio::test]
async fn a_suspension_by_command_closes_the_sockets_of_a_running_server() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    clinic(here);
    without_second_factor(here);
    let code = invite(here, &[])["code"].as_str().unwrap().to_owned();
    let server = Served::start(here, &[]);
    // Whichever test is first installs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::new();
    let post = async |path: &str, body: Value| {
        let url = format!("http://{}{path}", server.address);
        client.post(url).json(&body).send().await.unwrap().json::<Value>().await.unwrap()
    };
    let device = json!({"kind": "messaging", "name": "phone"});
    let password = "correct horse battery";
    let body = json!({"clinic": "ejemplo", "code": code, "password": password, "device": device});
    let tokens = post("/api/auth/activate/", body).await;
    let user = tokens["user_id"].as_str().unwrap();
    let mut request = format!("ws://{}/ws/chat/", server.address).into_client_request().unwrap();
    let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
    request.headers_mut().insert("authorization", bearer.parse().unwrap());
    let (mut socket, _) = connect_async(request).await.unwrap();

    let change = |how: &str, user: &str| ask(here, &["admin", "user", how, "--clinic", "ejemplo", user]);
    let (status, suspended) = change("suspend", user);
    assert_eq!((status, &suspended["status"]), (0, &"suspended".into()), "{suspended}");
    assert_eq!((&suspended["changed"], &suspended["devices"]), (&true.into(), &1.into()));
    let closed = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(Some(frame)))) => return u16::from(frame.code),
                other => assert!(matches!(other, Some(Ok(_))), "closed without a code: {other:?}"),
            }
        }
    };
    let code = tokio::time::timeout(Duration::from_secs(10), closed).await.expect("the socket closes");
    assert_eq!(code, 4401);
    let login = json!({"clinic": "ejemplo", "email": "maria@clinic.example", "password": password});
    assert_eq!(post("/api/auth/login/", login.clone()).await["error"], "device_revoked");

    let (status, people) = ask(here, &["admin", "user", "list", "--clinic", "ejemplo"]);
    assert_eq!((status, &people["results"][0]["status"]), (0, &"suspended".into()), "{people}");
    assert_eq!(change("suspend", user).1["changed"], false);
    assert_eq!(change("resume", user).1["status"], "active");
    assert_eq!(post("/api/auth/login/", login).await["user_id"], user);

    let (status, unknown) = change("suspend", "0198f6a2-5c11-7e2a-9d3f-3b1c5a7e9f10");
    assert_eq!((status, &unknown["error"]), (1, &"not_found".into()), "{unknown}");
    assert_eq!(change("suspend", "maria@clinic.example").0, 2, "not an id");
    let (_, log) = {
        server.signal(rustix::process::Signal::TERM);
        server.end()
    };
    assert!(!log.contains("panicked"), "{log}");
}
