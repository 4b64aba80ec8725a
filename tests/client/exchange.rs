//! The ordinary course of things, and who is refused.

use std::time::Duration;

use sigilo::clock::Clock as _;
use sigilo_client::{
    ClientEvent, Error, NewConversation, OpenOptions, ReceiptVerdict, SendOptions, SendState,
};
use sigilo_seal::Content;
use sigilo_wire::{ErrorCode, message::DeliveryStatus};

use crate::{
    people::{World, check},
    support::both_engines,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_patient_and_a_doctor_write_to_each_other() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let (mut ana, mut maria) = (world.ana().await, world.maria().await);
        let contacts = ana.client.contacts().await.unwrap();
        let doctor = contacts.iter().find(|contact| contact.user_id == maria.user).expect("her doctor");
        assert!(!doctor.why.is_empty());
        let conversation =
            ana.client.start_conversation(maria.user, NewConversation::default()).await.unwrap().id;
        maria.connected().await;
        ana.connected().await;

        let sent = ana.client.send_text(conversation, "Buenos días, doctora").await.unwrap();
        check(sent.accepted().expect("accepted at once"));
        assert_eq!(maria.next_text().await, "Buenos días, doctora");
        let message = sent.accepted().unwrap().message_id.unwrap();
        let delivered_to = ana
            .wait("delivery mark", |event| match event {
                ClientEvent::Delivered { message: id, user, .. } if *id == message => Some(*user),
                _ => None,
            })
            .await;
        assert_eq!(delivered_to, maria.user);
        assert_eq!(ana.client.receipt(message).await.unwrap(), ReceiptVerdict::Verified);

        for number in 0..20 {
            let text = format!("respuesta {number}");
            let (from, to) = if number % 3 == 0 { (&mut ana, &mut maria) } else { (&mut maria, &mut ana) };
            let sent = from.client.send_text(conversation, text.clone()).await.unwrap();
            check(sent.accepted().expect("accepted at once"));
            assert_eq!(to.next_text().await, text);
        }
        let at_ana = ana.client.history(conversation, 100).await.unwrap();
        let at_maria = maria.client.history(conversation, 100).await.unwrap();
        let texts = |history: &[sigilo_client::ShownMessage]| -> Vec<String> {
            history.iter().map(|message| message.text().unwrap().to_owned()).collect()
        };
        assert_eq!(texts(&at_ana), texts(&at_maria));
        assert_eq!(at_ana.len(), 21);
        assert_eq!(at_ana[0].status, DeliveryStatus::Delivered);

        let numbers = (
            ana.client.safety_number(maria.user).await.unwrap(),
            maria.client.safety_number(ana.user).await.unwrap(),
        );
        assert_eq!(numbers.0.digits, numbers.1.digits);
        assert!(numbers.0.matches(&numbers.1.scannable).unwrap());
        ana.end().await;
        maria.end().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patient_without_an_appointment_is_refused_and_told_why() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let (luis, maria) = (world.luis().await, world.maria().await);
        assert!(luis.client.contacts().await.unwrap().iter().all(|contact| contact.user_id != maria.user));
        let refused =
            luis.client.start_conversation(maria.user, NewConversation::default()).await.unwrap_err();
        assert_eq!(refused.code(), Some(ErrorCode::ConversationNotAllowed));
        let Error::Server { body, .. } = refused else { panic!("{refused}") };
        assert_eq!(body.details["reason"], "no_medical_relationship");
        luis.end().await;
        maria.end().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_without_a_socket_reads_its_events_and_shows_each_once() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let mut maria = world.maria().await;
        let ana = world.ana().await;
        let conversation =
            ana.client.start_conversation(maria.user, NewConversation::default()).await.unwrap().id;
        ana.client.send_text(conversation, "sin socket").await.unwrap();
        // Without any socket: read by HTTP, then again by the socket, and shown once.
        assert!(maria.client.sync_offline().await.unwrap() >= 1);
        assert_eq!(maria.next_text().await, "sin socket");
        maria.connected().await;
        assert_eq!(maria.client.history(conversation, 10).await.unwrap().len(), 1);
        ana.end().await;
        maria.end().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduled_message_goes_out_at_its_time_behind_what_was_sent_meanwhile() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let (mut ana, mut maria) = (world.ana().await, world.maria().await);
        let conversation =
            ana.client.start_conversation(maria.user, NewConversation::default()).await.unwrap().id;
        let later = async |client: &sigilo_client::Client, text: &str, minutes: u64| {
            let at = server.clock.now() + Duration::from_secs(60 * minutes);
            let options = SendOptions { scheduled_for: Some(at), ..SendOptions::default() };
            let sent = client.send(conversation, Content::text(text), options).await.unwrap();
            assert!(matches!(sent.state, SendState::Scheduled { at: when } if when == at), "{sent:?}");
            (sent.client_message_id, at)
        };
        let (_, at) = later(&ana.client, "en ayunas, por favor", 10).await;
        let (cancelled, _) = later(&ana.client, "se cancela", 5).await;
        let too_far = SendOptions {
            scheduled_for: Some(server.clock.now() + Duration::from_secs(31 * 24 * 3600)),
            ..SendOptions::default()
        };
        let refused = ana.client.send(conversation, Content::text("x"), too_far).await;
        assert!(matches!(refused, Err(Error::Content(_))), "{refused:?}");
        maria.connected().await;
        ana.connected().await;
        ana.client.send_text(conversation, "ahora").await.unwrap();
        assert_eq!(maria.next_text().await, "ahora");
        ana.client.discard(cancelled).await.unwrap();
        assert_eq!(ana.client.history(conversation, 10).await.unwrap().len(), 2);
        // The server has not heard of it.
        let count = async || {
            let row = sigilo::fetch_one!(
                &mut server.app.db.read("test").await.unwrap(),
                (i64,),
                "SELECT COUNT(*) FROM messages"
            );
            row.unwrap().0
        };
        assert_eq!(count().await, 1);

        // It survives the end of the program, and goes out once its time has come.
        let saved = ana.end().await;
        server.clock.advance(Duration::from_secs(11 * 60));
        let options = OpenOptions { environment: world.environment() };
        let again = sigilo_client::Client::open(&saved, crate::people::key(), options).await.unwrap();
        assert_eq!(maria.next_text().await, "en ayunas, por favor");
        let history = again.history(conversation, 10).await.unwrap();
        let texts: Vec<_> = history.iter().filter_map(sigilo_client::ShownMessage::text).collect();
        assert_eq!(texts, ["ahora", "en ayunas, por favor"]);
        assert_eq!(history[1].sent_at, at, "its claim is its time, not that of its writing");
        assert_eq!(count().await, 2);
        again.shutdown().await.unwrap();
        maria.end().await;
    })
    .await;
}
