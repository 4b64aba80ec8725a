//! SIGTERM drains.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::Served;

/// A login whose body is yet to come, so that the request is under way.
const HEAD: &str = "POST /api/auth/login/ HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";

#[test]
fn a_stopping_server_answers_what_is_under_way_and_refuses_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let server = Served::start(folder.path(), &[]);
    let body = r#"{"clinic": "nowhere", "email": "ana@clinic.example", "password": "a long password"}"#;
    let mut under_way = TcpStream::connect(server.address).unwrap();
    write!(under_way, "{HEAD}content-length: {}\r\n\r\n{}", body.len(), &body[..10]).unwrap();
    // Answered on another connection: the server is at work, and has met the first one before.
    let mut probe = TcpStream::connect(server.address).unwrap();
    write!(probe, "GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    probe.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    server.signal(Signal::TERM);
    let begun = Instant::now();
    while TcpStream::connect(server.address).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(5), "still takes connections");
        std::thread::yield_now();
    }
    under_way.write_all(&body.as_bytes()[10..]).unwrap();
    let mut answer = String::new();
    under_way.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "the request under way was answered: {answer}");
    assert!(answer.contains("invalid_credentials"), "{answer}");

    let (status, log) = server.end();
    assert_eq!(status, Some(0), "{log}");
    assert!(begun.elapsed() < Duration::from_secs(10), "took {:?}", begun.elapsed());
    assert!(log.contains("stopped"), "{log}");
}

#[test]
fn a_client_that_never_finishes_does_not_keep_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let server = Served::start(folder.path(), &[("SIGILO__LIMITS__DRAIN_S", "1")]);
    let mut stuck = TcpStream::connect(server.address).unwrap();
    write!(stuck, "{HEAD}content-length: 100\r\n\r\n{{").unwrap();
    server.signal(Signal::TERM);
    let begun = Instant::now();
    let (status, log) = server.end();
    assert_eq!(status, Some(0), "{log}");
    assert!(begun.elapsed() < Duration::from_secs(5), "took {:?}", begun.elapsed());
}

#[test]
fn a_hangup_reads_new_policies_and_keeps_the_old_when_they_are_not_valid() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules");
    std::fs::create_dir(&rules).unwrap();
    let mut server = Served::start(folder.path(), &[("SIGILO__POLICY__DIR", "rules")]);
    server.signal(Signal::HUP);
    let unchanged = server.until("read the policies again");
    let before = unchanged["rules"].as_u64().unwrap();
    assert_eq!(unchanged["before"], unchanged["after"], "{unchanged}");
    let rule = "forbid (principal is User, action == Action::\"send_message\", resource is Conversation);";
    std::fs::write(rules.join("quiet.cedar"), rule).unwrap();
    server.signal(Signal::HUP);
    let changed = server.until("read the policies again");
    assert_eq!(changed["rules"].as_u64(), Some(before + 1));
    assert_eq!(changed["before"], unchanged["after"], "{changed}");
    assert_ne!(changed["before"], changed["after"], "{changed}");
    std::fs::write(rules.join("quiet.cedar"), "forbid (").unwrap();
    server.signal(Signal::HUP);
    let kept = server.until("kept the old policies");
    assert!(kept["error"].as_str().unwrap().contains("quiet.cedar:1"), "{kept}");
}
