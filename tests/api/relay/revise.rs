//! Edits and deletions: messages about messages, at those messages' address.

use reqwest::Method;
use serde_json::{Value, json};
use sigilo_wire::{
    MessageId,
    message::{CommitmentBytes, MessageKind, SendMessage},
};

use super::{Pair, connect, next_of};
use crate::support::{TestServer, both_engines, device::Device, http::Answer};

impl Pair {
    fn about(
        &self,
        server: &TestServer,
        (who, other): (&Device, &Device),
        kind: MessageKind,
        target: CommitmentBytes,
    ) -> SendMessage {
        who.message(server, self.conversation, "better", &[other], |message| {
            message.message_type = kind;
            message.target_commitment = Some(target);
        })
    }

    /// The list's messages by number, as its query asks.
    async fn listed(&self, server: &TestServer, query: &str) -> Vec<Value> {
        let path = format!(
            "/api/chat/conversations/{}/messages/?ordering=conversation_seq&{query}",
            self.conversation
        );
        let page = server.get(&path, Some(&self.maria.token)).await.expect(200);
        page["results"].as_array().unwrap().clone()
    }
}

async fn revise(
    server: &TestServer,
    who: &Device,
    method: Method,
    target: MessageId,
    message: &SendMessage,
) -> Answer {
    let path = format!("/api/chat/messages/{target}/");
    server.request(method, &path, Some(&who.token), Some(&json!(message))).await
}

fn numbers(messages: &[Value]) -> Vec<i64> {
    messages.iter().map(|message| message["conversation_seq"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn an_edit_and_a_deletion_show_on_what_they_are_about() {
    both_engines(async |server| {
        let pair = Pair::create(server, "revise").await;
        let (_, mut maria) = connect(server, &pair.maria).await;
        let sides = (&pair.ana, &pair.maria);
        let first = pair.text(server, "one");
        let target = pair.post(server, &first).await.message_id;
        next_of(&mut maria, "new_message").await;

        let edit = pair.about(server, sides, MessageKind::Edit, first.commitment);
        let edited = revise(server, &pair.ana, Method::PUT, target, &edit).await.expect(200);
        assert_eq!(revise(server, &pair.ana, Method::PUT, target, &edit).await.expect(200), edited, "once");
        let frame = next_of(&mut maria, "message_edited").await;
        assert_eq!(frame["data"]["id"], edited["message_id"]);
        assert_eq!(frame["data"]["message_type"], "edit");
        assert_eq!(frame["data"]["body"], json!(edit.body));
        assert_eq!(frame["data"]["envelope"]["content"], json!(edit.envelopes[0].content));
        let shown = pair.listed(server, "").await;
        assert_eq!(numbers(&shown), [1, 2], "both are messages");
        let noted = json!([{"message_id": edited["message_id"], "commitment": edit.commitment,
            "edited_at": edited["received_at"]}]);
        assert_eq!((&shown[0]["edited_by"], &shown[0]["deleted_at"]), (&noted, &Value::Null));
        assert_eq!(shown[0]["body"], json!(first.body), "the first text stays");
        assert_eq!(shown[1]["edited_by"], json!([]));

        let delete = pair.about(server, sides, MessageKind::Delete, first.commitment);
        let deleted = revise(server, &pair.ana, Method::DELETE, target, &delete).await.expect(200);
        let frame = next_of(&mut maria, "message_deleted").await;
        assert_eq!(frame["data"]["target_commitment"], json!(first.commitment));
        assert_eq!(numbers(&pair.listed(server, "").await), [2, 3], "hidden unless asked for");
        assert_eq!(numbers(&pair.listed(server, "include_deleted=false").await), [2, 3]);
        let all = pair.listed(server, "include_deleted=true").await;
        assert_eq!(numbers(&all), [1, 2, 3]);
        assert_eq!(all[0]["deleted_at"], deleted["received_at"]);
        let path = format!("/api/chat/messages/{target}/");
        let one = server.get(&path, Some(&pair.maria.token)).await.expect(200);
        assert_eq!((&one["deleted_at"], &one["edited_by"]), (&deleted["received_at"], &noted));
        let counts = server.get("/api/chat/unread-count/", Some(&pair.maria.token)).await.expect(200);
        assert_eq!(counts["total"], 0, "what was deleted need not be read");
        assert_eq!(pair.listed(server, "has_attachments=true").await, Vec::<Value>::new());
        assert_eq!(numbers(&pair.listed(server, "has_attachments=false").await), [2, 3]);
    })
    .await;
}

#[tokio::test]
async fn what_does_not_fit_its_address_or_is_not_ones_own_is_refused() {
    both_engines(async |server| {
        let pair = Pair::create(server, "unfit").await;
        pair.maria.publish_seal(server, &pair.clinic, pair.conversation, &[&pair.ana]).await;
        let (first, second) = (pair.text(server, "one"), pair.text(server, "two"));
        let target = pair.post(server, &first).await.message_id;
        pair.post(server, &second).await;
        let sides = (&pair.ana, &pair.maria);
        let edit = pair.about(server, sides, MessageKind::Edit, first.commitment);
        let other = pair.about(server, sides, MessageKind::Edit, second.commitment);
        let theirs = pair.about(server, (&pair.maria, &pair.ana), MessageKind::Edit, first.commitment);
        for (who, method, message, field) in [
            (&pair.ana, Method::DELETE, &edit, "message_type"),
            (&pair.ana, Method::PUT, &second, "message_type"),
            (&pair.ana, Method::PUT, &other, "target_commitment"),
            (&pair.maria, Method::PUT, &theirs, "target_commitment"),
        ] {
            let answer = revise(server, who, method, target, message).await;
            assert_eq!(answer.expect_error(422, "invalid_message")["field"], field);
        }
        let nowhere = MessageId::from_bytes([9; 16]);
        revise(server, &pair.ana, Method::PUT, nowhere, &edit).await.expect_error(404, "not_found");
        let shown = pair.listed(server, "include_deleted=true").await;
        assert_eq!(numbers(&shown), [1, 2], "nothing was stored");
    })
    .await;
}
