//! Messages that wait on the server for the clinic to open, as two people's devices see them.

use std::time::Duration;

use sigilo::{execute, fetch_one};
use sigilo_client::{
    Client, ClientEvent, Error, MayNow, NewConversation, OpenOptions, SendOptions, SendState, ShownMessage,
};
use sigilo_seal::Content;
use sigilo_wire::{
    ClientMessageId, ConversationId, ErrorCode, Role,
    message::{Deliver, DeliveryStatus},
};

use crate::{
    chat::chat,
    crash::{activate, open as open_profile},
    devices::linked,
    people::{CLINICIAN, Device, PATIENT, World, check, key},
    support::{Engine, TestServer, both_engines, hours::open, socket::eventually},
};

/// Ana and María in a conversation of a clinic that opens in four minutes.
async fn evening(world: &World<'_>) -> (Device, Device, ConversationId) {
    let (mut ana, mut maria) = (world.ana().await, world.maria().await);
    let id = ana.client.start_conversation(maria.user, NewConversation::default()).await.unwrap().id;
    ana.connected().await;
    maria.connected().await;
    ana.client.send_text(id, "buenas tardes").await.unwrap();
    assert_eq!(maria.next_text().await, "buenas tardes");
    open(world.server, world.clinic.id, None, &[(4, 90)]).await;
    (ana, maria, id)
}

fn morning(server: &TestServer) {
    server.clock.advance(Duration::from_secs(5 * 60));
}

/// Has a text held.
async fn hold(client: &Client, conversation: ConversationId, text: &str) -> ClientMessageId {
    let options = SendOptions { deliver: Deliver::WhenOpen, ..SendOptions::default() };
    let sent = client.send(conversation, Content::text(text), options).await.unwrap();
    assert!(matches!(sent.state, SendState::Held { .. }), "{sent:?}");
    sent.client_message_id
}

async fn accepted(device: &mut Device) -> ShownMessage {
    let message = device
        .wait("acceptance", |event| match event {
            ClientEvent::Accepted(message) => Some(message.clone()),
            _ => None,
        })
        .await;
    check(&message);
    *message
}

async fn waiting(server: &TestServer) -> i64 {
    let mut tx = server.app.db.read("test").await.unwrap();
    fetch_one!(&mut tx, (i64,), "SELECT COUNT(*) FROM held_messages").unwrap().0
}

fn texts(history: &[ShownMessage]) -> Vec<&str> {
    history.iter().filter_map(ShownMessage::text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn held_messages_arrive_at_the_opening_in_order_and_good_in_every_check() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let (mut ana, mut maria, id) = evening(&world).await;
        let MayNow { permissions, time_zone, emergency_number } = ana.client.may_now(id).await.unwrap();
        assert!(!permissions.send.allowed && permissions.send.next_open_at.is_some());
        // The profile's word on the clinic is as old as its last look at it.
        assert!(!time_zone.is_empty() && emergency_number == "911");
        // Refused for the hour, and then held after all, under the same name.
        let refused = ana.client.send_text(id, "uno").await.unwrap_err();
        assert_eq!(refused.code(), Some(ErrorCode::OutsideChatHours), "{refused:?}");
        let name = ana
            .wait("refusal", |event| match event {
                ClientEvent::Refused { client_message_id, .. } => Some(*client_message_id),
                _ => None,
            })
            .await;
        let sent = ana.client.deliver_when_open(name).await.unwrap();
        assert!(matches!(sent.state, SendState::Held { .. }), "{sent:?}");
        hold(&ana.client, id, "dos").await;
        let third = hold(&ana.client, id, "tres").await;
        let history = ana.client.history(id, 10).await.unwrap();
        assert_eq!(texts(&history), ["buenas tardes", "uno", "dos", "tres"]);
        assert_eq!(history[3].status, DeliveryStatus::Held);
        assert!(history[3].scheduled_for.is_some());
        // Taken back; and one more, behind what is left.
        ana.client.discard(third).await.unwrap();
        hold(&ana.client, id, "cuatro").await;
        assert_eq!(waiting(server).await, 3);
        morning(server);
        for text in ["uno", "dos", "cuatro"] {
            assert_eq!(maria.next_text().await, text);
            assert_eq!(accepted(&mut ana).await.text(), Some(text));
        }
        // The chain goes on.
        ana.client.send_text(id, "cinco").await.unwrap();
        assert_eq!(maria.next_text().await, "cinco");
        let history = ana.client.history(id, 10).await.unwrap();
        assert_eq!(texts(&history), ["buenas tardes", "uno", "dos", "cuatro", "cinco"]);
        history.iter().for_each(check);
        ana.end().await;
        maria.end().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_back_is_repaired_and_sent_by_itself() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let (mut ana, mut maria, id) = evening(&world).await;
        hold(&ana.client, id, "uno").await;
        let second = hold(&ana.client, id, "dos").await;
        hold(&ana.client, id, "tres").await;
        // What is behind one that is taken back names it: sealed anew, it is held again.
        ana.client.discard(second).await.unwrap();
        let mut held = 0;
        while held < 4 {
            held += ana.wait("holds", |event| matches!(event, ClientEvent::Held { .. }).then_some(1)).await;
        }
        let commitment = ana.client.history(id, 10).await.unwrap()[1].commitment;
        // A device that none of them was sealed for.
        let mut tablet = linked(&world, &maria, "tablet").await;
        // What was before the link.
        tablet.client.fetch_history(id, 10).await.unwrap();
        tablet.connected().await;
        morning(server);
        for text in ["uno", "tres"] {
            assert_eq!(maria.next_text().await, text);
            assert_eq!(tablet.next_text().await, text);
        }
        eventually("the release", async || (waiting(server).await == 0).then_some(())).await;
        let history = ana.client.history(id, 10).await.unwrap();
        assert_eq!(texts(&history), ["buenas tardes", "uno", "tres"]);
        history.iter().for_each(check);
        // Other envelopes, the same message: key and commitment stayed.
        assert_eq!(history[1].commitment, commitment);
        for device in [ana, maria, tablet] {
            device.end().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_message_that_the_rules_refuse_is_told_to_its_author() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let (mut ana, maria, id) = evening(&world).await;
        let name = hold(&ana.client, id, "uno").await;
        // Ana's program ends; the server goes on without it.
        let mut tx = server.app.db.begin("test").await.unwrap();
        execute!(
            &mut tx,
            "UPDATE relationships SET revoked_at = $1 WHERE revoked_at IS NULL",
            server.app.clock.now()
        )
        .unwrap();
        sigilo::conversations::facts_changed_of(&mut tx, ana.user).await.unwrap();
        tx.commit().await.unwrap();
        morning(server);
        let body = ana
            .wait("refusal", |event| match event {
                ClientEvent::Refused { client_message_id, body, .. } if *client_message_id == name => {
                    body.clone()
                }
                _ => None,
            })
            .await;
        assert_eq!(
            (body.error, body.policies.as_slice()),
            (ErrorCode::MessageNotAllowed, ["medical-relationship".to_owned()].as_slice())
        );
        let history = ana.client.history(id, 10).await.unwrap();
        assert_eq!(history[1].status, DeliveryStatus::Failed);
        // The user forgets it.
        ana.client.discard(name).await.unwrap();
        assert!(matches!(ana.client.discard(name).await, Err(Error::Unknown(_))));
        ana.end().await;
        maria.end().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_device_may_be_off_at_the_opening() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let (ana, mut maria, id) = evening(&world).await;
        hold(&ana.client, id, "uno").await;
        let saved = ana.end().await;
        morning(server);
        assert_eq!(maria.next_text().await, "uno");
        let options = OpenOptions { environment: world.environment() };
        let client = Client::open(&saved, key(), options).await.unwrap();
        let mut ana = Device::of(client, saved).await;
        assert_eq!(texts(&ana.client.history(id, 10).await.unwrap()), ["buenas tardes", "uno"]);
        ana.connected().await;
        eventually("the receipt", async || {
            let history = ana.client.history(id, 10).await.unwrap();
            (history[1].status != DeliveryStatus::Held).then_some(())
        })
        .await;
        ana.client.history(id, 10).await.unwrap().iter().for_each(check);
        ana.client.send_text(id, "dos").await.unwrap();
        assert_eq!(maria.next_text().await, "dos");
        ana.end().await;
        maria.end().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chat_says_when_the_clinic_opens_and_offers_to_wait() {
    let server = TestServer::start(Engine::Sqlite).await;
    let world = World::new(&server).await;
    let ana = activate(&world, Role::Patient, "ana", (PATIENT, "MRN-1001")).await;
    let maria = activate(&world, Role::Doctor, "maria", (CLINICIAN, "LIC-2001")).await;
    let (patient, doctor) = (open_profile(&ana).await, open_profile(&maria).await);
    let user = doctor.me().await.unwrap().user;
    let id = patient.start_conversation(user, NewConversation::default()).await.unwrap().id;
    patient.shutdown().await.unwrap();
    open(&server, world.clinic.id, None, &[(30, 90)]).await;
    let said = chat(&ana, &[], "/open 1\nhola\n/when-open\n/when-open adiós\n/unschedule 2\n/quit\n").await;
    let closed = said.matches("closed until ").count();
    assert!(closed >= 2, "on opening it, and of the message: {said}");
    assert!(said.contains("/when-open has it delivered then. In an emergency call 911."), "{said}");
    // Once each at least: what is sent again when the socket comes is answered again.
    assert!(said.matches("held by the server until the clinic opens").count() >= 2, "{said}");
    assert_eq!(waiting(&server).await, 1);
    let patient = open_profile(&ana).await;
    assert_eq!(texts(&patient.history(id, 10).await.unwrap()), ["hola"]);
    patient.shutdown().await.unwrap();
    doctor.shutdown().await.unwrap();
    drop(world);
    server.finish().await;
}
