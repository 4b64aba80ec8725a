//! What the log says, and what it does not.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use rustix::process::Signal;

use crate::Served;

#[test]
fn the_log_has_request_ids_and_no_personal_data() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Served::start(folder.path(), &[("SIGILO__LOG__FILTER", "debug")]);
    let id = "0197f6a2-0000-7000-8000-00000000abcd";
    let planted = ["planted-email", "planted-password", "planted-token", "planted-query", "planted-path"];
    let body = format!(
        r#"{{"clinic": "c", "email": "{}@x.example", "password": "{}-long-enough", "nme": 1}}"#,
        planted[0], planted[1]
    );
    let mut stream = TcpStream::connect(server.address).unwrap();
    write!(
        stream,
        "POST /api/auth/login/?token={} HTTP/1.1\r\nhost: x\r\nx-request-id: {id}\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}\
         GET /api/keys/{}/ HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        planted[3],
        planted[2],
        body.len(),
        planted[4],
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("unknown_field") && answer.contains(id), "{answer}");

    let answered = server.until("answered");
    assert_eq!(answered["span"]["request_id"], id);
    assert_eq!(answered["span"]["route"], "/api/auth/login/");
    assert_eq!(answered["status"], 400);
    server.signal(Signal::TERM);
    let (_, log) = server.end();
    for secret in planted {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
}
