//! A group in which people come and go: each client shows it, and seals for those who are there.

use serde_json::json;
use sigilo_client::{ClientEvent, TimelineNote, Verification};
use sigilo_wire::{ConversationId, UserId};

use crate::{
    people::{Device, World},
    support::{both_engines, clinic::PASSWORD},
};

const PATH: &str = "/api/chat/conversations/";

async fn note(device: &mut Device, wanted: TimelineNote) {
    let found = |event: &ClientEvent| match event {
        ClientEvent::Timeline { note, .. } if *note == wanted => Some(()),
        _ => None,
    };
    device.wait("note", found).await;
}

/// The text of the next message; that its sender's chain began before the reader joined is no fault.
async fn next(device: &mut Device) -> String {
    let message = device
        .wait("message", |event| match event {
            ClientEvent::Message(message) => Some(message.clone()),
            _ => None,
        })
        .await;
    assert_eq!(message.verification, Verification::Verified, "{message:?}");
    message.text().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_written_to_by_those_who_are_in_it() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let mut maria = world.maria().await;
        let (mut eva, mut rosa) = (world.colleague("eva").await, world.colleague("rosa").await);
        // Members are changed at the clinic's console.
        let session =
            world.clinic.login(server, "maria@example.org", PASSWORD, json!(null)).await.expect(200);
        let console = session["access_token"].as_str();
        let group = json!({"type": "group", "participants": [eva.user]});
        let made = server.post(PATH, console, &group).await.expect(201);
        let id: ConversationId = serde_json::from_value(made["id"].clone()).unwrap();
        let people = format!("{PATH}{id}/participants/");
        let gone: UserId = rosa.user;
        let add = json!({"user_ids": [gone]});
        for device in [&mut maria, &mut eva, &mut rosa] {
            device.connected().await;
        }
        maria.client.send_text(id, "one").await.unwrap();
        assert_eq!(next(&mut eva).await, "one");

        server.post(&people, console, &add).await.expect(200);
        for device in [&mut maria, &mut eva] {
            note(device, TimelineNote::Joined(gone)).await;
        }
        maria.client.send_text(id, "two").await.unwrap();
        for device in [&mut eva, &mut rosa] {
            assert_eq!(next(device).await, "two");
        }
        rosa.client.send_text(id, "three").await.unwrap();
        for device in [&mut maria, &mut eva] {
            assert_eq!(next(device).await, "three");
        }
        let known: Vec<String> = rosa
            .client
            .history(id, 100)
            .await
            .unwrap()
            .iter()
            .map(|message| message.text().unwrap().to_owned())
            .collect();
        assert_eq!(known.len(), 2, "{known:?}");

        server.delete(&format!("{people}{gone}/"), console).await.expect(204);
        for device in [&mut maria, &mut eva, &mut rosa] {
            note(device, TimelineNote::Left(gone)).await;
        }
        eva.client.send_text(id, "four").await.unwrap();
        assert_eq!(next(&mut maria).await, "four");
        let refused = rosa.client.send_text(id, "late").await;
        assert!(!matches!(&refused, Ok(sent) if sent.accepted().is_some()), "{refused:?}");
        for device in [maria, eva, rosa] {
            device.end().await;
        }
    })
    .await;
}
