//! Ends and new beginnings: programs that stop, profiles that are old, invitations with another root.

use sigilo_client::{ActivateOptions, Client, Error, NewConversation, Verification};
use sigilo_wire::Role;

use crate::{
    people::{Device, World, check, key},
    support::{both_engines, clinic::PASSWORD},
};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_while_a_device_was_away_comes_once() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let (mut ana, maria) = (world.ana().await, world.maria().await);
        let conversation =
            ana.client.start_conversation(maria.user, NewConversation::default()).await.unwrap().id;
        let maria = maria.end().await;
        ana.connected().await;
        for number in 0..5 {
            let sent = ana.client.send_text(conversation, format!("mensaje {number}")).await.unwrap();
            check(sent.accepted().expect("accepted at once"));
        }
        let mut maria = Device::again(maria).await;
        maria.client.connect().await.unwrap();
        for number in 0..5 {
            assert_eq!(maria.next_text().await, format!("mensaje {number}"));
        }
        let maria = maria.end().await;
        let mut maria = Device::again(maria).await;
        maria.connected().await;
        assert_eq!(maria.client.history(conversation, 100).await.unwrap().len(), 5);
        // The session goes on over the restart.
        maria.client.send_text(conversation, "leído").await.unwrap();
        assert_eq!(ana.next_text().await, "leído");
        ana.end().await;
        maria.end().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_of_a_profile_catches_up_with_its_own_chain() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let (ana, maria) = (world.ana().await, world.maria().await);
        let conversation =
            ana.client.start_conversation(maria.user, NewConversation::default()).await.unwrap().id;
        ana.client.send_text(conversation, "uno").await.unwrap();
        let path = ana.end().await;
        let backup = path.with_extension("backup");
        std::fs::copy(&path, &backup).unwrap();
        let ana = Device::again(path).await;
        ana.client.send_text(conversation, "dos").await.unwrap();
        let path = ana.end().await;
        std::fs::copy(&backup, &path).unwrap();
        let ana = Device::again(path).await;
        assert_eq!(ana.client.history(conversation, 10).await.unwrap().len(), 1);
        let sent = ana.client.send_text(conversation, "tres").await.unwrap();
        assert!(sent.accepted().is_some(), "{sent:?}");
        // The server refused a gap; the device found its own message in the history and went on after it.
        let history = ana.client.history(conversation, 10).await.unwrap();
        let texts: Vec<_> = history.iter().filter_map(|message| message.text()).collect();
        assert_eq!(texts, ["uno", "dos", "tres"]);
        ana.end().await;
        maria.end().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_opens_through_the_record_seals() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let (ana, maria) = (world.ana().await, world.maria().await);
        let conversation =
            ana.client.start_conversation(maria.user, NewConversation::default()).await.unwrap().id;
        for number in 0..3 {
            ana.client.send_text(conversation, format!("mensaje {number}")).await.unwrap();
        }
        assert_eq!(maria.client.fetch_history(conversation, 100).await.unwrap(), 3);
        let history = maria.client.history(conversation, 100).await.unwrap();
        assert_eq!(history.len(), 3);
        for message in &history {
            check(message);
        }
        assert_eq!(history[2].text(), Some("mensaje 2"));
        // The envelopes come later and double nothing.
        maria.client.sync_offline().await.unwrap();
        let history = maria.client.history(conversation, 100).await.unwrap();
        assert!(history.iter().all(|message| message.verification == Verification::Verified));
        assert_eq!(history.len(), 3);
        ana.end().await;
        maria.end().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_with_another_root_makes_no_keys() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let identifier = ("https://clinica-demo.example/fhir/mrn", "MRN-1001");
        let text = world.invitation(Role::Patient, "ana", identifier).await;
        let mut invitation: sigilo_client::Invitation = text.parse().unwrap();
        invitation.root.0[0] ^= 1;
        let path = world.folder.path().join("ana.profile");
        let activation = Client::activate(&path, key(), invitation, ActivateOptions::new(PASSWORD)).await;
        assert!(matches!(activation, Err(Error::ClinicKeys(_))), "{activation:?}");
        let opened = Client::open(&path, key(), sigilo_client::OpenOptions::default()).await;
        assert!(matches!(opened, Err(Error::NotActivated)), "{opened:?}");
        // The account has a device, and no identity of it is anywhere.
        let maria = world.maria().await;
        let contacts = maria.client.contacts().await.unwrap();
        let ana = contacts.iter().find(|contact| contact.name.contains("Ana")).expect("her patient");
        let missing = maria.client.safety_number(ana.user_id).await;
        assert!(matches!(missing, Err(Error::KeysMissing { .. })), "{missing:?}");
        maria.end().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_is_good_once() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let identifier = ("https://clinica-demo.example/fhir/mrn", "MRN-1001");
        let text = world.invitation(Role::Patient, "ana", identifier).await;
        let activate = async |name: &str| {
            let path = world.folder.path().join(name);
            Client::activate(&path, key(), text.parse().unwrap(), ActivateOptions::new(PASSWORD)).await
        };
        let first = activate("first").await.unwrap();
        assert_eq!(first.me().await.unwrap().full_name, "Ana López");
        let second = activate("second").await.unwrap_err();
        assert_eq!(second.code(), Some(sigilo_wire::ErrorCode::InvalidInvitation));
        first.shutdown().await.unwrap();
        assert!(matches!(activate("first").await, Err(Error::AlreadyActivated)));
    })
    .await;
}
