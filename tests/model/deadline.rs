//! How soon a revocation and a block are felt: by a socket that was open before, on another server of the same
//! databases, with messages on their way.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sigilo_wire::{ConversationId, Role, message::SendMessage};

use crate::{
    acts::revoke_pair,
    sends::answered,
    support::{
        TestServer, both_engines,
        clinic::Clinic,
        device::{Device, relate},
        http::Answer,
        socket::Socket,
    },
};

/// From the answer of the change to the first message that is refused for it.
const AT_MOST: Duration = Duration::from_secs(1);
/// How many messages are on their way at any moment.
const UNDER_WAY: usize = 8;
/// How many were accepted before something changes.
const WARM: usize = 16;

/// A patient who never stops writing to her doctor.
struct Writer<'a> {
    server: &'a TestServer,
    from: &'a Device,
    to: &'a Device,
    conversation: ConversationId,
    socket: Socket,
    sent: Vec<SendMessage>,
}

impl Writer<'_> {
    async fn send(&mut self) {
        let text = self.from.text(self.server, self.conversation, "still here", &[self.to]);
        let frame = json!({"type": "send_message", "request_id": self.sent.len().to_string(),
            "conversation_id": self.conversation, "data": text});
        self.socket.send(&frame).await;
        self.sent.push(text);
    }

    /// The next answer: which message, and what was said.
    async fn answer(&mut self) -> (usize, Value) {
        let frame = answered(&mut self.socket).await.expect("the socket stays open");
        (frame["request_id"].as_str().unwrap().parse().unwrap(), frame)
    }
}

async fn stored(server: &TestServer, who: &Device, conversation: ConversationId) -> i64 {
    let path = format!("/api/chat/conversations/{conversation}/");
    server.get(&path, Some(&who.token)).await.expect(200)["total_messages"].as_i64().unwrap()
}

/// Has the patient write by a socket of one server while the other changes something; gives how long it took from its
/// answer until a message was refused.
async fn felt_after(server: &TestServer, slug: &str, reason: &str) -> Duration {
    let clinic = Clinic::create(server, slug).await;
    let ana = Device::create(server, &clinic, Role::Patient, &format!("ana@{slug}.example")).await;
    let maria = Device::create(server, &clinic, Role::Doctor, &format!("maria@{slug}.example")).await;
    relate(server, &ana, &maria).await;
    let conversation = ana.start(server, &maria).await;
    ana.publish_seal(server, &clinic, conversation, &[&maria]).await;
    let node = server.beside().await;
    let url = format!("{}/ws/chat/", node.url.replacen("http", "ws", 1));
    let socket = Socket::open_url(&url, Some(&ana.token)).await.unwrap();
    let mut writer = Writer { server, from: &ana, to: &maria, conversation, socket, sent: Vec::new() };
    for _ in 0..UNDER_WAY {
        writer.send().await;
    }
    let change = async {
        // When the messages are well under way.
        while stored(server, &maria, conversation).await < WARM as i64 {
            tokio::task::yield_now().await;
        }
        match reason {
            "blocked_between" => {
                let block = json!({"user_id": ana.user});
                let request = server.client.post(format!("{}/api/chat/block-user/", server.url));
                let answer = request.bearer_auth(&maria.token).json(&block).send().await.unwrap();
                Answer::of(answer).await.expect(201);
            }
            _ => {
                let ctx = sigilo::Ctx::operator(&server.app, clinic.id);
                revoke_pair(server, ctx, (ana.user, maria.user)).await;
            }
        }
        let answered_at = Instant::now();
        (answered_at, stored(server, &maria, conversation).await)
    };
    let write = async {
        let mut accepted = 0;
        loop {
            let (_, frame) = writer.answer().await;
            if frame["type"] == "result" {
                accepted += 1;
                writer.send().await;
                continue;
            }
            // Or the store was busy for a moment: then those behind it have a gap, too.
            assert_eq!(frame["data"]["details"]["reason"], reason, "{frame}");
            return (Instant::now(), accepted, writer);
        }
    };
    let ((answered_at, at_answer), (felt_at, mut accepted, mut writer)) = tokio::join!(change, write);
    // What was on its way is refused, or was stored before.
    while let Ok((_, frame)) = tokio::time::timeout(AT_MOST, writer.answer()).await {
        accepted += usize::from(frame["type"] == "result");
        if frame["request_id"].as_str().unwrap().parse::<usize>().unwrap() + 1 == writer.sent.len() {
            break;
        }
    }
    let after = stored(server, &maria, conversation).await;
    assert_eq!(after, at_answer, "stored after the answer");
    assert_eq!(after, accepted as i64, "each that was accepted, and no other");
    node.stop().await;
    felt_at.saturating_duration_since(answered_at)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_and_a_block_are_felt_within_a_second() {
    both_engines(async |server| {
        for (slug, what, reason) in
            [("revoked", "revocation", "no_medical_relationship"), ("blocked", "block", "blocked_between")]
        {
            let felt = felt_after(server, slug, reason).await;
            println!("{what}: felt {felt:?} after its answer");
            assert!(felt < AT_MOST, "a {what} took {felt:?}");
        }
    })
    .await;
}
