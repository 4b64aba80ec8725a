//! Messages that disappear for participants and stay in the record.

use std::time::Duration;

use serde_json::Value;
use sigilo::fetch_all;

use super::{Pair, connect, messages, next_of};
use crate::support::{TestServer, both_engines};

/// How many messages are stored, and how many wait in queues.
async fn kept(server: &TestServer) -> (i64, i64) {
    let sql = "SELECT (SELECT COUNT(*) FROM messages), (SELECT COUNT(*) FROM device_events WHERE message_id IS NOT NULL)";
    let mut tx = server.app.db.read("test").await.unwrap();
    fetch_all!(&mut tx, (i64, i64), sql).unwrap()[0]
}

fn numbers(messages: &[Value]) -> Vec<i64> {
    messages.iter().map(|message| message["conversation_seq"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn an_expired_message_is_gone_for_participants_and_stays_in_the_record() {
    both_engines(async |server| {
        let pair = Pair::create(server, "expiry").await;
        pair.send(server, "stays").await;
        let brief = pair.ana.message(server, pair.conversation, "goes", &[&pair.maria], |message| {
            message.expires_in_s = Some(60);
        });
        let brief = pair.post(server, &brief).await;
        let one = format!("/api/chat/messages/{}/", brief.message_id);
        let details = format!("/api/chat/conversations/{}/", pair.conversation);
        let last = async |who: &str| {
            let details = server.get(&details, Some(who)).await.expect(200);
            details["last_message"]["conversation_seq"].as_i64().unwrap()
        };
        server.clock.advance(Duration::from_secs(59));
        assert_eq!(numbers(&pair.history(server).await), [2, 1], "the last moments");
        assert_eq!(last(&pair.maria.token).await, 2);
        server.get(&one, Some(&pair.maria.token)).await.expect(200);

        server.clock.advance(Duration::from_secs(1));
        assert_eq!(numbers(&pair.history(server).await), [1]);
        for who in [&pair.ana, &pair.maria] {
            server.get(&one, Some(&who.token)).await.expect_error(404, "not_found");
            assert_eq!(last(&who.token).await, 1);
        }
        let events = server.get("/api/chat/events/", Some(&pair.maria.token)).await.expect(200);
        assert_eq!(messages(events["results"].as_array().unwrap()).len(), 1);
        assert_eq!(kept(server).await, (2, 2), "nobody has connected since");
        let (backlog, mut maria) = connect(server, &pair.maria).await;
        assert_eq!(messages(&backlog).len(), 1);
        assert_eq!(kept(server).await, (2, 1), "its envelope is gone, the record is not");
        pair.send(server, "more").await;
        let next = next_of(&mut maria, "new_message").await;
        assert_eq!(next["data"]["conversation_seq"], 3, "what comes after it comes");
    })
    .await;
}
