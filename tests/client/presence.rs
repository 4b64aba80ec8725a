//! Two clients notice each other.

use sigilo_client::{ClientEvent, NewConversation};
use sigilo_wire::presence::{PresenceStatus, PrivacyChange};

use crate::{
    people::{Device, World},
    support::both_engines,
};

async fn status(device: &mut Device) -> PresenceStatus {
    device
        .wait("status", |event| match event {
            ClientEvent::Status { status, .. } => Some(*status),
            _ => None,
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_see_each_other_come_type_and_go() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let (mut ana, mut maria) = (world.ana().await, world.maria().await);
        let conversation =
            ana.client.start_conversation(maria.user, NewConversation::default()).await.unwrap().id;
        // Said before there is a connection, and shown once there is.
        ana.client.set_status(PresenceStatus::Busy).await.unwrap();
        assert!(ana.client.set_status(PresenceStatus::Offline).await.is_err());
        ana.connected().await;
        maria.connected().await;
        maria.client.set_status(PresenceStatus::Online).await.unwrap();
        assert_eq!(status(&mut maria).await, PresenceStatus::Busy);
        assert_eq!(status(&mut ana).await, PresenceStatus::Online);
        let contact = ana.client.contacts().await.unwrap();
        let contact = contact.iter().find(|contact| contact.user_id == maria.user).unwrap();
        assert_eq!(contact.presence.unwrap().status, Some(PresenceStatus::Online));

        for _ in 0..50 {
            maria.client.typing(conversation, true).await.unwrap();
        }
        maria.client.send_text(conversation, "Buenos días").await.unwrap();
        let mut told = 0;
        ana.wait("message", |event| match event {
            ClientEvent::Typing { conversation: id, user, typing: true } => {
                assert_eq!((*id, *user), (conversation, maria.user));
                told += 1;
                None
            }
            ClientEvent::Message(_) => Some(()),
            _ => None,
        })
        .await;
        assert_eq!(told, 1);

        let hidden = PrivacyChange { show_presence: Some(false), ..PrivacyChange::default() };
        let privacy = maria.client.set_privacy(hidden).await.unwrap();
        assert!(!privacy.show_presence && privacy.show_typing);
        assert_eq!(maria.client.privacy().await.unwrap(), privacy);
        assert_eq!(status(&mut ana).await, PresenceStatus::Offline);
        ana.end().await;
        maria.end().await;
    })
    .await;
}
