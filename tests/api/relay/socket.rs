//! Who may hold a socket, for how long, and what they may say on it.

use std::time::Duration;

use serde_json::json;

use super::{Pair, connect, messages, next_of};
use crate::support::{both_engines, both_engines_with, socket::Socket};

#[tokio::test]
async fn a_newer_socket_replaces_the_older_and_a_revoked_device_is_cut_off() {
    both_engines(async |server| {
        let pair = Pair::create(server, "sockets").await;
        let (_, mut older) = connect(server, &pair.maria).await;
        let (_, mut newer) = connect(server, &pair.maria).await;
        assert_eq!(older.closed().await, 4409);
        server
            .delete(&format!("/api/devices/{}/", pair.maria.device), Some(&pair.maria.token))
            .await
            .expect_success();
        assert_eq!(newer.closed().await, 4401);
        assert!(Socket::open_path(server, "/ws/chat/", Some(&pair.maria.token)).await.is_err());
        assert!(Socket::open_path(server, "/ws/chat/", None).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn a_ticket_opens_one_socket_and_a_token_is_renewed_in_place() {
    both_engines(async |server| {
        let pair = Pair::create(server, "ticket").await;
        let ticket =
            server.post("/api/auth/ws-ticket/", Some(&pair.ana.token), &json!({})).await.expect_success();
        let path = format!("/ws/chat/?token={}", ticket["ticket"].as_str().unwrap());
        let mut socket = Socket::open_path(server, &path, None).await.unwrap();
        next_of(&mut socket, "queue_empty").await;
        assert!(Socket::open_path(server, &path, None).await.is_err(), "a ticket is good once");

        socket.send(&json!({"type": "auth", "request_id": "a", "token": pair.maria.token})).await;
        let refused = next_of(&mut socket, "error").await;
        assert_eq!(refused["data"]["error"], "unauthenticated", "another device's token");
        socket.send(&json!({"type": "auth", "request_id": "b", "token": pair.ana.token})).await;
        assert_eq!(next_of(&mut socket, "result").await["request_id"], "b");

        server.clock.advance(Duration::from_secs(14 * 60 + 30));
        next_of(&mut socket, "session_expiring").await;
        server.clock.advance(Duration::from_secs(60));
        assert_eq!(socket.closed().await, 4401);
    })
    .await;
}

#[tokio::test]
async fn a_frame_too_large_is_said_to_be_and_an_unknown_one_too() {
    both_engines(async |server| {
        let pair = Pair::create(server, "frames").await;
        let (_, mut socket) = connect(server, &pair.ana).await;
        for (text, code) in [
            ("{", "invalid_json"),
            (r#"{"type":"dance"}"#, "unknown_frame"),
            (r#"{"type":"ack","event_ids":["x"]}"#, "invalid_field"),
        ] {
            socket.send_text(text).await;
            assert_eq!(next_of(&mut socket, "error").await["data"]["error"], code);
        }
        let huge = format!(r#"{{"type":"ack","event_ids":["{}"]}}"#, "x".repeat(5 * 1024 * 1024));
        let answer = socket.send_too_large(&huge).await;
        assert_eq!(answer["data"]["error"], "body_too_large", "{answer}");
    })
    .await;
}

#[tokio::test]
async fn a_slow_reader_gets_nothing_more_once_its_device_is_revoked() {
    both_engines_with(
        // So long that only the revocation ends the socket.
        |config| config.relay.slow_s = 3_600,
        async |server| {
            let pair = Pair::create(server, "slow-revoked").await;
            let (_, mut maria) = connect(server, &pair.maria).await;
            // More than the kernel keeps for a reader who is not there: the server rests in the middle of them.
            let long = "x".repeat(47_000);
            let sent = 200;
            for _ in 0..sent {
                pair.send(server, &long).await;
            }
            let path = format!("/api/devices/{}/", pair.maria.device);
            server.delete(&path, Some(&pair.maria.token)).await.expect_success();
            // She reads on: what the kernel had taken, and no more.
            let (read, code) = maria.frames_until_closed().await;
            println!("{read} of {sent} had left before");
            assert_eq!(code, 4401);
            assert!(read < sent, "the rest of the queue followed the revocation");
        },
    )
    .await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_and_loses_nothing() {
    both_engines_with(
        |config| config.relay.slow_s = 1,
        async |server| {
            let pair = Pair::create(server, "slow").await;
            let (_, mut maria) = connect(server, &pair.maria).await;
            let sockets = server.app.hub.connections();
            // More than the kernel keeps for a reader who is not there.
            let long = "x".repeat(47_000);
            let mut sent = 0;
            while server.app.hub.connections() == sockets {
                assert!(sent < 200, "a socket that nobody reads stays open");
                pair.send(server, &long).await;
                sent += 1;
            }
            assert_eq!(maria.closed().await, 4408);
            let (backlog, _socket) = connect(server, &pair.maria).await;
            assert_eq!(messages(&backlog).len(), sent);
        },
    )
    .await;
}
