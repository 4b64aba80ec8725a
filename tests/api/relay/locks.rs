//! Acts that write to the same rows at once wait for each other, and never in a circle: PostgreSQL would end one of them.

use serde_json::json;
use sigilo::fetch_one;
use sigilo_wire::Role;

use super::{Pair, connect, next_of};
use crate::support::{
    Engine, TestServer,
    device::{Device, relate},
};

/// How often each act is done beside the others.
const ROUNDS: usize = 25;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn acts_beside_each_other_and_the_relay_wait_in_no_circle() {
    let server = TestServer::start(Engine::Postgres).await;
    let pair = Pair::create(&server, "circles").await;
    let maria = &pair.maria;
    let second = async |role, email| Device::create(&server, &pair.clinic, role, email).await;
    let (berta, luis) =
        (second(Role::Patient, "b@x.example").await, second(Role::Doctor, "l@x.example").await);
    let staff = second(Role::Admin, "staff@x.example").await;
    relate(&server, &berta, maria).await;
    let other = berta.start(&server, maria).await;
    for (who, tier) in [(maria, 1), (&luis, 2)] {
        let shift = json!({"user_id": who.user, "tier": tier});
        server.post("/api/admin/on-call/", Some(&staff.token), &shift).await.expect(201);
    }

    // Messages for maria, delivered to her socket: the relay's writer.
    let sends = async {
        let (_, mut socket) = connect(&server, maria).await;
        for n in 0..ROUNDS {
            let sent = pair.send(&server, &format!("number {n}")).await;
            let seen = next_of(&mut socket, "new_message").await;
            assert_eq!(seen["data"]["id"], json!(sent.message_id));
            socket.ack(&[&seen]).await;
        }
    };
    let path = |conversation, act: &str| format!("/api/chat/conversations/{conversation}/{act}");
    // Events, then an audit entry.
    let reads = async {
        for _ in 0..ROUNDS {
            server.post(&path(pair.conversation, "read/"), Some(&maria.token), &json!({})).await.expect(200);
        }
    };
    // Events for the same devices, a fact, an entry.
    let blocks = async {
        for _ in 0..ROUNDS {
            let block = json!({"user_id": luis.user});
            server.post("/api/chat/block-user/", Some(&berta.token), &block).await.expect_success();
            let unblock = format!("/api/chat/block-user/{}/", luis.user);
            server.delete(&unblock, Some(&berta.token)).await.expect_success();
        }
    };
    let settings = async {
        for n in 0..ROUNDS {
            let change = json!({"settings": {"notifications_enabled": n % 2 == 0}});
            server.put(&path(other, ""), Some(&maria.token), &change).await.expect(200);
        }
    };
    // Several rounds of events in one act.
    let emergencies = async {
        for _ in 0..ROUNDS / 3 {
            let wanted = json!({"category": "symptoms", "urgency": "immediate"});
            let opened = server.post("/api/chat/emergency/", Some(&berta.token), &wanted).await.expect(201);
            let id = opened["emergency"]["conversation_id"].as_str().unwrap().to_owned();
            for (step, body) in
                [("ack", json!({})), ("escalate", json!({})), ("close", json!({"outcome": "advised"}))]
            {
                let step = format!("/api/chat/emergency/{id}/{step}/");
                server.post(&step, Some(&maria.token), &body).await.expect(200);
            }
        }
    };
    tokio::join!(sends, reads, blocks, settings, emergencies);

    // What was tried again by itself counts as well. Each connection says what it has seen when it ends.
    let (database, _) = server.halt().await;
    let server = TestServer::open(database).await;
    assert_eq!(circles(&server).await, 0, "transactions that waited in a circle");
    server.finish().await;
}

async fn circles(server: &TestServer) -> i64 {
    let mut tx = server.app.db.read("test").await.unwrap();
    let sql = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    let (deadlocks,): (i64,) = fetch_one!(&mut tx, (i64,), sql).unwrap();
    deadlocks
}
