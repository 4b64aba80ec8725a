//! What waits for a device, until it is acknowledged.

use std::time::Duration;

use serde_json::json;
use sigilo::relay::deliver;
use sigilo_wire::message::MessageKind;

use super::{Pair, connect, messages, next_of};
use crate::support::{Engine, TestServer, both_engines, both_engines_with, socket::eventually};

#[tokio::test]
async fn a_message_reaches_the_other_device_and_its_acknowledgement_the_sender() {
    both_engines(async |server| {
        let pair = Pair::create(server, "reach").await;
        let (_, mut maria) = connect(server, &pair.maria).await;
        let (_, mut ana) = connect(server, &pair.ana).await;
        let sent = pair.text(server, "hello");
        let accepted = pair.post(server, &sent).await;
        assert_eq!(accepted.conversation_seq, 1);

        let frame = next_of(&mut maria, "new_message").await;
        let data = &frame["data"];
        assert_eq!(data["id"], json!(accepted.message_id));
        assert_eq!(data["body"], json!(sent.body));
        assert_eq!(data["wrapped_key"], json!(sent.wrapped_key));
        assert_eq!(data["envelope"]["content"], json!(sent.envelopes[0].content));
        assert_eq!(data["sender"]["full_name"], "Ana López");
        assert_eq!(data["receipt"], json!(accepted.receipt));
        assert_eq!(frame["conversation_id"], json!(pair.conversation));

        maria.ack(&[&frame]).await;
        let delivered = next_of(&mut ana, "message_delivered").await;
        assert_eq!(delivered["data"]["message_id"], json!(accepted.message_id));
        assert_eq!(delivered["data"]["user_id"], json!(pair.maria.user));
        assert_eq!(pair.history(server).await[0]["delivery_status"], "delivered");
    })
    .await;
}

#[tokio::test]
async fn what_waits_comes_in_order_once_and_is_gone_when_acknowledged() {
    both_engines(async |server| {
        let pair = Pair::create(server, "backlog").await;
        for number in 0..20 {
            pair.send(server, &format!("message {number}")).await;
        }
        let (backlog, socket) = connect(server, &pair.maria).await;
        let seqs: Vec<i64> =
            messages(&backlog).iter().map(|m| m["data"]["conversation_seq"].as_i64().unwrap()).collect();
        assert_eq!(seqs, (1..=20).collect::<Vec<_>>());
        socket.cut();

        // Not acknowledged: all of it comes again, under the same event ids.
        let (again, mut socket) = connect(server, &pair.maria).await;
        assert_eq!(
            again.iter().map(|f| &f["event_id"]).collect::<Vec<_>>(),
            backlog.iter().map(|f| &f["event_id"]).collect::<Vec<_>>()
        );
        let read = server.get("/api/chat/events/?page_size=100", Some(&pair.maria.token)).await.expect(200);
        assert_eq!(
            read["results"].as_array().unwrap().len(),
            again.len(),
            "reading by HTTP acknowledges nothing"
        );

        let (first, rest) = again.split_at(10);
        socket.ack(&first.iter().collect::<Vec<_>>()).await;
        eventually("the acknowledged events go", async || {
            let left =
                server.get("/api/chat/events/?page_size=100", Some(&pair.maria.token)).await.expect(200);
            (left["results"].as_array().unwrap().len() == rest.len()).then_some(())
        })
        .await;
        socket.cut();
        let (left, _) = connect(server, &pair.maria).await;
        assert_eq!(
            left.iter().map(|f| &f["event_id"]).collect::<Vec<_>>(),
            rest.iter().map(|f| &f["event_id"]).collect::<Vec<_>>()
        );
    })
    .await;
}

#[tokio::test]
async fn no_more_than_the_window_is_in_flight_and_acknowledging_moves_it() {
    both_engines_with(
        |config| config.relay.in_flight = 4,
        async |server| {
            let pair = Pair::create(server, "window").await;
            // Start from an empty queue.
            let (backlog, mut socket) = connect(server, &pair.maria).await;
            socket.ack(&backlog.iter().collect::<Vec<_>>()).await;
            let mut seen = Vec::new();
            for number in 0..10 {
                pair.send(server, &format!("{number}")).await;
            }
            for _ in 0..4 {
                seen.push(next_of(&mut socket, "new_message").await);
            }
            // The server answers a bad frame next: nothing beyond the window came in between.
            socket.send(&json!({"type": "nonsense"})).await;
            assert_eq!(socket.next().await["type"], "error");
            socket.ack(&seen.iter().collect::<Vec<_>>()).await;
            while seen.len() < 10 {
                let frame = next_of(&mut socket, "new_message").await;
                socket.ack(&[&frame]).await;
                seen.push(frame);
            }
            let seqs: Vec<i64> =
                seen.iter().map(|m| m["data"]["conversation_seq"].as_i64().unwrap()).collect();
            assert_eq!(seqs, (1..=10).collect::<Vec<_>>());
        },
    )
    .await;
}

#[tokio::test]
async fn accepted_messages_survive_a_restart_and_pages_go_through_all_of_them() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        println!("on {engine:?}");
        let server = TestServer::start(engine).await;
        let pair = Pair::create(&server, "restart").await;
        for number in 0..7 {
            pair.send(&server, &format!("{number}")).await;
        }
        let (_, mut socket) = connect(&server, &pair.maria).await;
        let restarting = tokio::spawn(server.restart());
        assert_eq!(socket.closed().await, 1012);
        let server = restarting.await.unwrap();
        let mut seqs = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/api/chat/conversations/{}/messages/?page_size=3{cursor}", pair.conversation);
            let page = server.get(&path, Some(&pair.ana.token)).await.expect(200);
            seqs.extend(
                page["results"].as_array().unwrap().iter().map(|m| m["conversation_seq"].as_i64().unwrap()),
            );
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seqs, (1..=7).rev().collect::<Vec<_>>());
        let (backlog, _) = connect(&server, &pair.maria).await;
        assert_eq!(messages(&backlog).len(), 7);
        let one = pair
            .ana
            .message(&server, pair.conversation, "x", &[&pair.maria], |m| m.message_type = MessageKind::Text);
        pair.post(&server, &one).await;
        server.finish().await;
    }
}

#[tokio::test]
async fn a_device_that_only_polls_hears_that_its_queue_was_shortened_and_a_lost_one_keeps_nothing() {
    both_engines(async |server| {
        let pair = Pair::create(server, "polls").await;
        pair.send(server, "uno").await;
        pair.send(server, "dos").await;
        let poll = async || {
            let answer = server.get("/api/chat/events/", Some(&pair.maria.token)).await.expect(200);
            let results = answer["results"].as_array().unwrap().clone();
            results.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let before = poll().await;
        assert_eq!(before.iter().filter(|kind| *kind == "new_message").count(), 2, "{before:?}");
        let shorten = async |days: u64| {
            let now = server.app.clock.now() + Duration::from_secs(days * 24 * 3600);
            deliver::shorten_all(&server.app, now).await.unwrap()
        };
        assert_eq!(shorten(29).await, 0);
        assert!(shorten(31).await >= 1, "hers at least");
        assert_eq!(poll().await, ["queue_truncated"]);
    })
    .await;
}
