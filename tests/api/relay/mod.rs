//! The way of messages: accepted once, delivered in order, acknowledged for good, on HTTP and WebSocket alike.

mod attachments;
mod deliver;
mod expiry;
mod held;
mod locks;
mod marks;
mod presence;
mod revise;
mod search;
mod send;
mod socket;

use serde_json::Value;
use sigilo::relationships;
use sigilo_wire::{
    ConversationId, RelationshipId, Role,
    message::{Accepted, SendMessage},
};

use crate::support::{
    TestServer,
    clinic::Clinic,
    device::{Device, relate},
    socket::Socket,
};

/// A patient and a doctor with an open conversation and a seal of the patient's.
struct Pair {
    clinic: Clinic,
    ana: Device,
    maria: Device,
    conversation: ConversationId,
    relationship: RelationshipId,
}

impl Pair {
    async fn create(server: &TestServer, slug: &str) -> Self {
        let clinic = Clinic::create(server, slug).await;
        let ana = Device::create(server, &clinic, Role::Patient, "ana@example.org").await;
        let maria = Device::create(server, &clinic, Role::Doctor, "maria@example.org").await;
        let relationship = relate(server, &ana, &maria).await;
        let conversation = ana.start(server, &maria).await;
        ana.publish_seal(server, &clinic, conversation, &[&maria]).await;
        Self { clinic, ana, maria, conversation, relationship }
    }

    fn text(&self, server: &TestServer, text: &str) -> SendMessage {
        self.ana.text(server, self.conversation, text, &[&self.maria])
    }

    async fn send(&self, server: &TestServer, text: &str) -> Accepted {
        let message = self.text(server, text);
        self.post(server, &message).await
    }

    async fn post(&self, server: &TestServer, message: &SendMessage) -> Accepted {
        serde_json::from_value(self.ana.post(server, self.conversation, message).await.expect(201)).unwrap()
    }

    async fn history(&self, server: &TestServer) -> Vec<Value> {
        let path = format!("/api/chat/conversations/{}/messages/?page_size=100", self.conversation);
        server.get(&path, Some(&self.maria.token)).await.expect(200)["results"].as_array().unwrap().clone()
    }
}

/// A socket whose backlog has been read: the frames and the socket.
async fn connect(server: &TestServer, device: &Device) -> (Vec<Value>, Socket) {
    let mut socket = Socket::open(server, device).await;
    let mut backlog = Vec::new();
    loop {
        let frame = socket.next().await;
        if frame["type"] == "queue_empty" {
            return (backlog, socket);
        }
        backlog.push(frame);
    }
}

/// Only the messages among frames.
fn messages(frames: &[Value]) -> Vec<&Value> {
    frames.iter().filter(|frame| frame["type"] == "new_message").collect()
}

/// The next frame of a type, past notices of other types.
async fn next_of(socket: &mut Socket, r#type: &str) -> Value {
    loop {
        let frame = socket.next().await;
        if frame["type"] == r#type {
            return frame;
        }
    }
}

async fn revoke(server: &TestServer, clinic: &Clinic, id: RelationshipId) {
    let ctx = sigilo::Ctx::operator(&server.app, clinic.id);
    let grant = relationships::authorize_manage_relationships(&server.app, &ctx).unwrap();
    relationships::revoke(&server.app, &ctx, grant, id).await.unwrap();
}
