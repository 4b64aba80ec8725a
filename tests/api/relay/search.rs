//! Messages found by what the server sees of them, over all conversations.

use std::time::Duration;

use serde_json::{Value, json};
use sigilo_wire::{
    MessageId, Role,
    message::{MessageKind, Priority, SendMessage},
};

use super::Pair;
use crate::support::{
    TestServer, both_engines,
    clinic::PASSWORD,
    device::{Device, relate},
};

async fn find(server: &TestServer, who: &Device, query: &str) -> Value {
    server.get(&format!("/api/chat/search/?{query}"), Some(&who.token)).await.expect(200)
}

fn ids(page: &Value) -> Vec<MessageId> {
    let results = page["results"].as_array().unwrap();
    results.iter().map(|message| serde_json::from_value(message["id"].clone()).unwrap()).collect()
}

#[tokio::test]
async fn messages_are_found_by_people_dates_kinds_and_priority() {
    both_engines(async |server| {
        let pair = Pair::create(server, "search").await;
        let luis = Device::create(server, &pair.clinic, Role::Patient, "luis@example.org").await;
        relate(server, &luis, &pair.maria).await;
        let other = luis.start(server, &pair.maria).await;
        luis.publish_seal(server, &pair.clinic, other, &[&pair.maria]).await;
        let mut sent = Vec::new();
        let mut times = Vec::new();
        let mut send = async |who: &Device, change: fn(&mut SendMessage)| {
            server.clock.advance(Duration::from_secs(10));
            let conversation = if who.user == luis.user { other } else { pair.conversation };
            let message = who.message(server, conversation, "x", &[&pair.maria], change);
            let accepted = who.post(server, conversation, &message).await.expect(201);
            sent.push(serde_json::from_value::<MessageId>(accepted["message_id"].clone()).unwrap());
            times.push(accepted["received_at"].as_str().unwrap().to_owned());
        };
        send(&pair.ana, |_| {}).await;
        send(&luis, |message| message.priority = Priority::Urgent).await;
        send(&pair.ana, |message| message.message_type = MessageKind::Location).await;
        send(&luis, |message| message.expires_in_s = Some(1)).await;
        send(&luis, |_| {}).await;
        let newest =
            |places: &[usize]| -> Vec<MessageId> { places.iter().map(|place| sent[*place]).collect() };

        let maria = &pair.maria;
        assert_eq!(ids(&find(server, maria, "").await), newest(&[4, 2, 1, 0]), "but for the expired one");
        assert_eq!(ids(&find(server, &pair.ana, "").await), newest(&[2, 0]), "only one's own conversations");
        let with = format!("with_user={}", luis.user);
        assert_eq!(ids(&find(server, maria, &with).await), newest(&[4, 1]));
        assert_eq!(ids(&find(server, &pair.ana, &with).await), newest(&[]));
        assert_eq!(ids(&find(server, maria, "priority=urgent").await), newest(&[1]));
        assert_eq!(ids(&find(server, maria, "message_type=location").await), newest(&[2]));
        let by = |who: &Device| format!("sender={}", who.user);
        assert_eq!(ids(&find(server, maria, &by(&luis)).await), newest(&[4, 1]));
        assert_eq!(ids(&find(server, maria, &by(maria)).await), newest(&[]));
        assert_eq!(ids(&find(server, maria, "page=2&page_size=3").await), newest(&[0]));
        let between = format!("from={}&to={}", times[1], times[2]);
        assert_eq!(ids(&find(server, maria, &between).await), newest(&[1]));
        assert_eq!(ids(&find(server, maria, "has_attachments=true").await), newest(&[]));
        assert_eq!(ids(&find(server, maria, "has_attachments=false&page_size=1").await), newest(&[4]));
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = find(server, maria, &format!("page_size=3{cursor}")).await;
            seen.extend(ids(&page));
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, newest(&[4, 2, 1, 0]));

        for field in ["q", "query", "search", "text", "has_medical_terms"] {
            let answer = server.get(&format!("/api/chat/search/?{field}=x"), Some(&maria.token)).await;
            assert_eq!(answer.expect_error(400, "encrypted_field")["field"], field);
        }
        for query in ["page_size=0", "page_size=101", "cursor=x", "priority=high_time"] {
            let answer = server.get(&format!("/api/chat/search/?{query}"), Some(&maria.token)).await;
            answer.expect_error(400, "invalid_field");
        }
        let session = pair.clinic.login(server, "maria@example.org", PASSWORD, json!(null)).await.expect(200);
        let answer = server.get("/api/chat/search/", session["access_token"].as_str()).await;
        answer.expect_error(403, "forbidden");
    })
    .await;
}
