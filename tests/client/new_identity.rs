//! A person whose devices are lost: what contacts see, and what they do not send.

use serde_json::json;
use sigilo_client::{
    ActivateOptions, Client, ClientEvent, NewConversation, SealVerdict, SendState, TimelineNote, Verification,
};
use sigilo_wire::{Base64Array, Role, event::ResetStage};

use crate::{
    devices::linked,
    people::{Device, World, check, key},
    seals::reports,
    support::{both_engines, clinic::PASSWORD},
};

/// Two people of the clinic give `of` a new identity; the invitation.
async fn invitation(world: &World<'_>, of: &Device) -> String {
    let (server, clinic) = (world.server, &world.clinic);
    let admin = clinic.person(server, Role::Admin, "admin@example.org").await;
    let compliance = clinic.person(server, Role::Compliance, "compliance@example.org").await;
    let path = format!("/api/admin/users/{}/identity-reset/", of.user);
    let asked = server.post(&path, admin.token(), &json!({})).await.expect(201);
    let path = format!("/api/admin/identity-resets/{}/approve/", asked["reset_id"].as_str().unwrap());
    let card = &clinic.ceremony.card;
    let root = json!({"root": Base64Array(card.root.0)});
    let made = server.post(&path, compliance.token(), &root).await.expect(200);
    sigilo::people::Invitation {
        user_id: of.user,
        clinic_id: clinic.id,
        code: made["code"].as_str().unwrap().to_owned(),
        expires_at: server.app.clock.now(),
        root: card.root,
    }
    .uri(&server.url)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_to_a_new_identity_before_it_is_confirmed() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let (mut lost, mut maria) = (world.ana().await, world.maria().await);
        let conversation =
            lost.client.start_conversation(maria.user, NewConversation::default()).await.unwrap().id;
        lost.connected().await;
        maria.connected().await;
        lost.client.send_text(conversation, "con el viejo").await.unwrap();
        assert_eq!(maria.next_text().await, "con el viejo");
        let before = maria.client.safety_number(lost.user).await.unwrap();
        let number = maria.client.safety_number(lost.user).await.unwrap();
        maria.client.confirm_identity(lost.user, &number).await.unwrap();

        let text = invitation(&world, &lost).await;
        // The devices that are said to be lost are told, at both steps.
        for wanted in [ResetStage::Asked, ResetStage::Approved] {
            lost.wait("word of the reset", |event| match event {
                ClientEvent::IdentityReset { stage, .. } if *stage == wanted => Some(()),
                _ => None,
            })
            .await;
        }
        let path = world.folder.path().join("found.profile");
        let options = ActivateOptions { environment: world.environment(), ..ActivateOptions::new(PASSWORD) };
        let client = Client::activate(&path, key(), text.parse().unwrap(), options).await.unwrap();
        let mut ana = Device::of(client, path).await;
        assert_eq!((ana.user, ana.client.me().await.unwrap().device.get()), (lost.user, 2));
        lost.wait("end", |event| matches!(event, ClientEvent::LoggedOut).then_some(())).await;

        maria
            .wait("change", |event| match event {
                ClientEvent::IdentityChanged { user } if *user == ana.user => Some(()),
                _ => None,
            })
            .await;
        let sent = maria.client.send_text(conversation, "¿es usted?").await.unwrap();
        assert!(matches!(sent.state, SendState::Queued { .. }), "{sent:?}");
        let posted = "SELECT COUNT(*) FROM messages";
        let mut tx = server.app.db.read("test").await.unwrap();
        let (stored,) = sigilo::fetch_one!(&mut tx, (i64,), posted).unwrap();
        drop(tx);
        assert_eq!(stored, 1, "nothing was sent to the new identity");
        // What comes from it is shown as unconfirmed.
        ana.connected().await;
        ana.client.send_text(conversation, "soy yo, con otro teléfono").await.unwrap();
        let message = maria
            .wait("message", |event| match event {
                ClientEvent::Message(message) => Some(message.clone()),
                _ => None,
            })
            .await;
        assert_eq!(message.verification, Verification::UnconfirmedIdentity, "{message:?}");

        let number = maria.client.safety_number(ana.user).await.unwrap();
        assert!(number.changed && !number.verified && number.digits != before.digits);
        assert_eq!(number.digits, ana.client.safety_number(maria.user).await.unwrap().digits);
        let number = maria.client.safety_number(ana.user).await.unwrap();
        maria.client.confirm_identity(ana.user, &number).await.unwrap();
        assert_eq!(ana.next_text().await, "¿es usted?");
        let sent = ana.client.send_text(conversation, "sí").await.unwrap();
        check(sent.accepted().expect("accepted at once"));
        assert_eq!(maria.next_text().await, "sí");
        // What was sealed to the lost history key stays closed: nobody seals it anew. It is not called false.
        ana.client.fetch_history(conversation, 10).await.unwrap();
        let history = ana.client.history(conversation, 10).await.unwrap();
        let old = history.iter().find(|m| m.conversation_seq == Some(1)).unwrap();
        assert_eq!(old.text(), None);
        assert!(old.is_unreadable(), "{:?}", old.verification);
        assert!(matches!(old.seal, SealVerdict::Unchecked(_)), "{:?}", old.seal);

        // María's next device is told which identity Ana had then, and reads what she wrote under it.
        let mut tablet = linked(&world, &maria, "tablet").await;
        tablet.client.fetch_history(conversation, 10).await.unwrap();
        let history = tablet.client.history(conversation, 10).await.unwrap();
        let verified: Vec<_> = history.iter().map(|m| (m.text().unwrap(), &m.verification)).collect();
        let (before, since) = (&Verification::EarlierIdentity, &Verification::Verified);
        let expected = [
            ("con el viejo", before),
            ("soy yo, con otro teléfono", since),
            ("¿es usted?", since),
            ("sí", since),
        ];
        assert_eq!(verified, expected);
        assert!(history.iter().all(|m| !matches!(m.seal, SealVerdict::Bad(_))), "{history:#?}");
        tablet.connected().await;
        // Nobody was accused, on no device.
        for device in [&ana, &maria, &tablet] {
            device.client.sync_offline().await.unwrap();
            let timeline = device.client.timeline(conversation).await.unwrap();
            let accused = timeline.iter().any(|(_, note)| matches!(note, TimelineNote::SealInvalid { .. }));
            assert!(!accused, "{timeline:#?}");
        }
        assert!(reports(server).await.is_empty());
        for device in [ana, maria, tablet, lost] {
            device.end().await;
        }
    })
    .await;
}
