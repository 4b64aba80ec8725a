//! What a receiver refuses, and why; what it does when messages come twice, late, or not at all.

use sigilo_seal::{ContentKey, IdentitySecret};
use sigilo_wire::{
    Base64, ClientMessageId, DeviceNumber, SealId, UserId,
    event::NewMessageEvent,
    message::{Deliver, EnvelopeType, MessageKind, Priority},
};

use crate::{
    message::{
        ChainVerdict, NotAuthenticReason as Reason, ReceiptVerdict, SealVerdict, ShownMessage, Verification,
    },
    profile::records::{Contact, MessageKey, SealReport, SeenSeal, StoredMessage, seen_seal_key},
    receive::Way,
    seals::check::Keys,
    testing::{NOW, World},
};

async fn received(world: &World, event: &NewMessageEvent) -> ShownMessage {
    world.maria.engine.receive(event.clone()).await.unwrap();
    let key = MessageKey::of(&event.message).bytes();
    let stored: StoredMessage = world.maria.engine.profile.get(&key).await.unwrap().unwrap();
    world.maria.engine.shown(stored).unwrap()
}

#[tokio::test]
async fn a_conversation_in_both_directions_is_verified() {
    let mut world = World::new().await;
    let first = world.write(true, "Buenos días, doctora").await;
    assert_eq!(first.envelope.as_ref().unwrap().r#type, EnvelopeType::PreKeyMessage);
    let shown = received(&world, &first).await;
    assert_eq!(shown.text(), Some("Buenos días, doctora"));
    assert_eq!(shown.verification, Verification::Verified);
    assert_eq!(shown.seal, SealVerdict::Good);
    assert_eq!(shown.receipt, ReceiptVerdict::Verified);
    assert_eq!(shown.chain, ChainVerdict::Continuous);
    let answer = world.write(false, "Buenos días, Ana").await;
    world.ana.engine.receive(answer).await.unwrap();
    let third = world.write(true, "Gracias").await;
    assert_eq!(third.envelope.as_ref().unwrap().r#type, EnvelopeType::Message);
    assert_eq!(received(&world, &third).await.chain, ChainVerdict::Continuous);
    let all = ["Buenos días, doctora", "Buenos días, Ana", "Gracias"];
    assert_eq!(world.maria.texts(world.conversation).await, all);
    assert_eq!(world.ana.texts(world.conversation).await, all);
}

#[tokio::test]
async fn a_message_that_comes_twice_is_shown_once() {
    let mut world = World::new().await;
    let event = world.write(true, "una vez").await;
    let mut events = world.maria.engine.listeners.add();
    received(&world, &event).await;
    received(&world, &event).await;
    assert!(matches!(events.try_next(), Some(crate::ClientEvent::Message(_))));
    assert!(events.try_next().is_none());
    assert_eq!(world.maria.texts(world.conversation).await.len(), 1);
}

/// A change on the way, and what it makes the receiver say.
type Tampering = (&'static str, fn(&mut NewMessageEvent), fn(&Reason) -> bool);

fn is_signature(reason: &Reason) -> bool {
    *reason == Reason::Signature
}

const TAMPERED: &[Tampering] = &[
    (
        "client_message_id",
        |e| e.message.client_message_id = ClientMessageId::from_bytes([1; 16]),
        is_signature,
    ),
    ("sent_at", |e| e.message.sent_at = NOW + std::time::Duration::from_micros(1), is_signature),
    ("kind", |e| e.message.message_type = MessageKind::Edit, is_signature),
    ("priority", |e| e.message.priority = Priority::Urgent, is_signature),
    ("device_seq", |e| e.message.device_seq = 2, is_signature),
    ("prev", |e| e.message.prev_commitment = Some([1; 32].into()), is_signature),
    ("seen", |e| e.message.seen_commitment = Some([1; 32].into()), is_signature),
    ("target", |e| e.message.target_commitment = Some([1; 32].into()), is_signature),
    ("reply_to", |e| e.message.reply_to_commitment = Some([1; 32].into()), is_signature),
    ("urgent", |e| e.message.urgent = true, is_signature),
    ("deliver", |e| e.message.deliver = Deliver::WhenOpen, is_signature),
    ("expires_in_s", |e| e.message.expires_in_s = 1, is_signature),
    ("commitment", |e| e.message.commitment.0[0] ^= 1, is_signature),
    ("signature", |e| e.message.signature.0[0] ^= 1, is_signature),
    ("wrapped_key", |e| e.message.wrapped_key.0[0] ^= 1, is_signature),
    ("body", |e| e.message.body.0[0] ^= 1, |r| *r == Reason::Commitment),
    ("envelope", |e| e.envelope.as_mut().unwrap().content.0[40] ^= 1, |r| matches!(r, Reason::Envelope(_))),
    (
        "envelope's type",
        |e| e.envelope.as_mut().unwrap().r#type = EnvelopeType::Message,
        |r| matches!(r, Reason::Envelope(_)),
    ),
    (
        "envelope cut",
        |e| e.envelope.as_mut().unwrap().content = Base64(vec![]),
        |r| matches!(r, Reason::Envelope(_)),
    ),
];

#[tokio::test]
async fn each_change_on_the_way_is_shown_with_its_reason() {
    for (what, tamper, expected) in TAMPERED {
        let mut world = World::new().await;
        let mut event = world.write(true, "la dosis es 5 mg").await;
        tamper(&mut event);
        let shown = received(&world, &event).await;
        match &shown.verification {
            Verification::NotAuthentic(reason) => assert!(expected(reason), "{what}: {reason:?}"),
            other => panic!("{what}: {other:?}"),
        }
        assert!(shown.content.is_none(), "{what}");
        // It is kept, and the next one still opens.
        let next = world.write(true, "sigue").await;
        let shown = received(&world, &next).await;
        let lost_session = matches!(*what, "envelope's type");
        assert!(shown.is_verified() || lost_session, "{what}: {:?}", shown.verification);
        assert_eq!(world.maria.texts(world.conversation).await.len(), 2, "{what}");
    }
}

#[tokio::test]
async fn a_wrapped_key_of_another_content_key_is_refused() {
    let mut world = World::new().await;
    let mut event = world.write(true, "para la paciente").await;
    let own: crate::profile::records::OwnSeal =
        world.ana.engine.profile.get(world.conversation.as_bytes()).await.unwrap().unwrap();
    let archive = sigilo_seal::ArchiveKey::from_bytes(own.archive_key.key().unwrap());
    // A cheating sender: the archive gets another key, and the signature is the sender's own.
    let other = ContentKey::from_bytes([3; 32]);
    let commitment = event.message.commitment.into();
    let wrapped = sigilo_seal::message::wrap_key(&archive, &commitment, &other);
    let context = sigilo_seal::Context::of_message(world.clinic.tenant, &event.message);
    let signature = sigilo_seal::message::sign_message(
        &world.ana.identity,
        &context.digest(),
        &commitment,
        &sigilo_seal::sha256(&wrapped),
        &mut crate::testing::rng(1),
    );
    event.message.wrapped_key = wrapped.into();
    event.message.signature = signature.into();
    let shown = received(&world, &event).await;
    assert_eq!(shown.verification, Verification::NotAuthentic(Reason::WrappedKey));
}

#[tokio::test]
async fn a_message_without_a_good_seal_is_refused() {
    let mut world = World::new().await;
    let event = world.write(true, "hola").await;
    let (user, device) = (event.message.sender.user_id, event.message.sender.device_id);
    let key = seen_seal_key(world.conversation, event.message.seal_id, user, device);
    let mut seen: SeenSeal = world.maria.engine.profile.get(&key).await.unwrap().unwrap();
    seen.archive_key = None;
    seen.verdict = SealVerdict::Bad("a copy is bad".into());
    world.maria.engine.profile.put(&seen).await.unwrap();
    let shown = received(&world, &event).await;
    assert_eq!(shown.verification, Verification::NotAuthentic(Reason::Seal("a copy is bad".into())));
}

#[tokio::test]
async fn an_unreachable_seal_leaves_the_message_for_later() {
    let mut world = World::new().await;
    let mut event = world.write(true, "hola").await;
    event.message.seal_id = SealId::from_bytes([9; 16]);
    let error = world.maria.engine.receive(event).await.unwrap_err();
    // Without tokens the fetch cannot even begin; in no case is the message taken for shown.
    assert!(matches!(error, crate::Error::LoggedOut | crate::Error::Offline(_)), "{error}");
    assert!(world.maria.texts(world.conversation).await.is_empty());
}

#[tokio::test]
async fn a_bad_receipt_is_flagged_and_the_message_still_shown() {
    let mut world = World::new().await;
    let mut event = world.write(true, "hola").await;
    event.message.conversation_seq += 1;
    let shown = received(&world, &event).await;
    assert!(shown.is_verified());
    assert!(matches!(shown.receipt, ReceiptVerdict::Invalid(_)), "{:?}", shown.receipt);
}

#[tokio::test]
async fn a_missing_message_shows_as_a_gap() {
    let mut world = World::new().await;
    let first = world.write(true, "uno").await;
    let dropped = world.write(true, "dos").await;
    let third = world.write(true, "tres").await;
    let fourth = world.write(true, "cuatro").await;
    received(&world, &first).await;
    assert_eq!(received(&world, &third).await.chain, ChainVerdict::Gap(1));
    assert_eq!(received(&world, &fourth).await.chain, ChainVerdict::Continuous);
    // It comes late: libsignal still has its key, and the chain says that it is an older one.
    let late = received(&world, &dropped).await;
    assert!(late.is_verified());
    assert_eq!(late.chain, ChainVerdict::Continuous);
}

#[tokio::test]
async fn a_new_identity_is_shown_unconfirmed_and_stops_sending() {
    let mut world = World::new().await;
    let event = world.write(true, "hola").await;
    // For María, Ana was somebody else until now.
    let mut contact: Contact =
        world.maria.engine.profile.get(world.ana.user.as_bytes()).await.unwrap().unwrap();
    contact.identity = world.maria.identity.public();
    world.maria.engine.profile.put(&contact).await.unwrap();
    let mut events = world.maria.engine.listeners.add();
    let shown = received(&world, &event).await;
    assert_eq!(shown.verification, Verification::UnconfirmedIdentity);
    assert!(
        matches!(events.try_next(), Some(crate::ClientEvent::IdentityChanged { user }) if user == world.ana.user)
    );
    let stopped = world.maria.engine.recipient(world.ana.user).await.unwrap_err();
    assert!(matches!(stopped, crate::Error::IdentityChanged { .. }), "{stopped}");
    // A key that comes while the two compare another one's number is not confirmed by it.
    let shown = world.maria.engine.safety_number(world.ana.user).await.unwrap();
    let before: Contact = world.maria.engine.profile.get(world.ana.user.as_bytes()).await.unwrap().unwrap();
    let another = Some(IdentitySecret::from_bytes([9; 32]).public());
    world.maria.engine.profile.put(&Contact { pending: another, ..before.clone() }).await.unwrap();
    let refused = world.maria.engine.confirm_identity(world.ana.user, &shown).await.unwrap_err();
    assert!(matches!(refused, crate::Error::IdentityChanged { .. }), "{refused}");
    world.maria.engine.profile.put(&before).await.unwrap();
    let number = world.maria.engine.safety_number(world.ana.user).await.unwrap();
    world.maria.engine.confirm_identity(world.ana.user, &number).await.unwrap();
    let confirmed: Contact =
        world.maria.engine.profile.get(world.ana.user.as_bytes()).await.unwrap().unwrap();
    assert_eq!(confirmed.identity, world.ana.identity.public());
    assert!(confirmed.verified && confirmed.pending.is_none());
}

/// For María, Ana has another identity now, and she has confirmed it.
async fn ana_has_another_identity(world: &World) {
    let maria = &world.maria.engine;
    let mut ana: Contact = maria.profile.get(world.ana.user.as_bytes()).await.unwrap().unwrap();
    ana.pending = Some(IdentitySecret::from_bytes([8; 32]).public());
    maria.profile.put(&ana).await.unwrap();
    let number = maria.safety_number(world.ana.user).await.unwrap();
    maria.confirm_identity(world.ana.user, &number).await.unwrap();
}

#[tokio::test]
async fn history_under_an_identity_that_was_replaced_is_read_and_marked() {
    let mut world = World::new().await;
    let event = world.write(true, "con la de antes").await;
    let late = world.write(true, "en camino todavía").await;
    let mut changed = world.write(true, "cambiado").await.message;
    ana_has_another_identity(&world).await;
    let maria = &world.maria.engine;
    maria.receive_archived(event.message.clone()).await.unwrap();
    let shown = maria.history(world.conversation, None, 10).await.unwrap().remove(0);
    assert_eq!(shown.verification, Verification::EarlierIdentity);
    assert_eq!(shown.text(), Some("con la de antes"));
    assert!(shown.is_verified() && shown.chain == ChainVerdict::Continuous);
    // One that comes late with its envelope does not make the old identity a new one to confirm.
    assert_eq!(received(&world, &late).await.verification, Verification::EarlierIdentity);
    let ana: Contact = maria.profile.get(world.ana.user.as_bytes()).await.unwrap().unwrap();
    assert_eq!(ana.pending, None);
    // A changed one is as false as ever.
    changed.sent_at = NOW + std::time::Duration::from_micros(1);
    maria.receive_archived(changed).await.unwrap();
    let shown = maria.history(world.conversation, None, 1).await.unwrap().remove(0);
    assert_eq!(shown.verification, Verification::NotAuthentic(Reason::Signature));
}

#[tokio::test]
async fn what_comes_long_after_its_identity_was_replaced_is_refused() {
    let mut world = World::new().await;
    ana_has_another_identity(&world).await;
    let mut events = Vec::new();
    // Whoever found the lost device writes with it, and the server takes part.
    for hours in [23, 25] {
        let mut message = world.write(true, "con el teléfono perdido").await.message;
        message.received_at = NOW + std::time::Duration::from_secs(hours * 3600);
        events.push(message);
    }
    let maria = &world.maria.engine;
    for message in events {
        maria.receive_archived(message).await.unwrap();
    }
    let shown = maria.history(world.conversation, None, 10).await.unwrap();
    assert_eq!(shown[0].verification, Verification::EarlierIdentity, "a clock may be wrong");
    assert_eq!(shown[1].verification, Verification::NotAuthentic(Reason::EndedIdentity));
    assert!(shown[1].content.is_none());
}

#[tokio::test]
async fn an_identity_never_known_shows_nothing_and_accuses_nobody() {
    // The identity is from before this device knew Ana, or the server made it up.
    let mut world = World::new().await;
    let event = world.write(true, "de quién sabe quién").await;
    let maria = &world.maria.engine;
    let mut ana: Contact = maria.profile.get(world.ana.user.as_bytes()).await.unwrap().unwrap();
    ana.identity = IdentitySecret::from_bytes([8; 32]).public();
    let step = maria.profile.step();
    step.put(&ana).unwrap();
    let key = seen_seal_key(world.conversation, event.message.seal_id, world.ana.user, DeviceNumber::FIRST);
    step.delete::<SeenSeal>(&key);
    step.commit().await.unwrap();
    let seal = world.seal_again(&world.ana).await;
    let by = (world.ana.user, DeviceNumber::FIRST);
    let seen = maria.take_seal(&seal, by, Keys::Known, Way::History).await.unwrap();
    assert!(matches!(seen.verdict, SealVerdict::Unchecked(_)), "{:?}", seen.verdict);
    assert!(seen.archive_key.is_none(), "it is not opened");
    maria.receive_archived(event.message.clone()).await.unwrap();
    let shown = maria.history(world.conversation, None, 1).await.unwrap().remove(0);
    assert!(shown.is_unreadable() && !shown.is_verified(), "{:?}", shown.verification);
    assert!(shown.content.is_none());
    assert!(maria.profile.all::<SealReport>(b"").await.unwrap().is_empty());
    assert!(maria.timeline(world.conversation).await.unwrap().is_empty(), "nobody is accused");
    // A seal of a known maker does not make the key in its list one of the maker's.
    let opened = SeenSeal { archive_key: world.archive_key_of(&world.ana).await, ..seen };
    maria.profile.put(&opened).await.unwrap();
    let again = world.write(true, "otra").await;
    world.maria.engine.receive_archived(again.message).await.unwrap();
    let shown = world.maria.engine.history(world.conversation, None, 1).await.unwrap().remove(0);
    assert_eq!(shown.verification, Verification::NotAuthentic(Reason::UnknownIdentity));
    assert!(shown.content.is_none());
}

#[tokio::test]
async fn a_message_of_somebody_else_does_not_pass_for_its_sender() {
    let mut world = World::new().await;
    let mut event = world.write(true, "hola").await;
    // The server puts another name on it; there is no session with that person.
    event.message.sender.user_id = UserId::from_bytes([77; 16]);
    let outcome = world.maria.engine.receive(event).await;
    assert!(outcome.is_err(), "a stranger's keys must be fetched first");
    assert!(world.maria.texts(world.conversation).await.is_empty());
}

#[tokio::test]
async fn history_opens_through_the_record_seal() {
    let mut world = World::new().await;
    let first = world.write(true, "uno").await;
    let second = world.write(true, "dos").await;
    world.maria.engine.receive_archived(first.message.clone()).await.unwrap();
    world.maria.engine.receive_archived(second.message.clone()).await.unwrap();
    assert_eq!(world.maria.texts(world.conversation).await, ["uno", "dos"]);
    let history = world.maria.engine.history(world.conversation, None, 10).await.unwrap();
    assert!(history.iter().all(|message| message.is_verified() && message.chain == ChainVerdict::Continuous));
    // The live copies come after: nothing doubles.
    received(&world, &first).await;
    assert_eq!(world.maria.texts(world.conversation).await.len(), 2);
}

#[tokio::test]
async fn marks_are_kept_delivery_also_when_they_come_early() {
    let mut world = World::new().await;
    let event = world.write(true, "hola").await;
    let (ana, maria) = (&world.ana.engine, world.maria.user);
    ana.mark_delivered(event.message.id, maria, NOW).await.unwrap();
    let shown = ana.history(world.conversation, None, 1).await.unwrap().remove(0);
    assert_eq!(shown.delivered_to, [maria]);
    assert_eq!(shown.status, sigilo_wire::message::DeliveryStatus::Delivered);
    // Who has read it has it; one mark stands for all before it.
    let mark = sigilo_wire::event::MessageRead {
        conversation_id: world.conversation,
        user_id: maria,
        up_to: event.message.conversation_seq,
        read_at: NOW,
    };
    ana.mark_read(mark).await.unwrap();
    ana.mark_read(mark).await.unwrap();
    let shown = ana.history(world.conversation, None, 1).await.unwrap().remove(0);
    assert_eq!(shown.status, sigilo_wire::message::DeliveryStatus::Read);
    // A mark for a message whose acceptance is not known yet waits for it.
    let item = world.ana.prepared(world.conversation, "otra", 99).await;
    let sealed = item.sealed.clone().unwrap();
    let accepted =
        crate::testing::accepted(&world.clinic, world.conversation, world.ana.user, &sealed.request, 2);
    ana.mark_delivered(accepted.message_id, maria, NOW).await.unwrap();
    let shown = ana.finish(&item, &sealed, &accepted).await.unwrap();
    assert_eq!(shown.delivered_to, [maria]);
}

#[tokio::test]
async fn another_message_under_a_known_name_is_told_once_and_the_first_stays() {
    let mut world = World::new().await;
    let event = world.write(true, "la primera").await;
    received(&world, &event).await;
    let mut other = event.clone();
    other.message.body.0[0] ^= 1;
    let mut events = world.maria.engine.listeners.add();
    received(&world, &other).await;
    world.maria.engine.receive_archived(other.message).await.unwrap();
    let told = |event: Option<crate::ClientEvent>| match event {
        Some(crate::ClientEvent::Timeline { note, .. }) => Some(note),
        _ => None,
    };
    let (user, conversation_seq) = (world.ana.user, event.message.conversation_seq);
    let note = crate::TimelineNote::Contradicted { user, conversation_seq };
    assert_eq!(told(events.try_next()), Some(note));
    assert!(events.try_next().is_none());
    let shown = world.maria.engine.history(world.conversation, None, 10).await.unwrap();
    assert_eq!(shown.len(), 1);
    assert!(shown[0].contradicted && shown[0].text() == Some("la primera"));
}

#[tokio::test]
async fn a_true_message_takes_the_place_of_a_false_one() {
    let mut world = World::new().await;
    let event = world.write(true, "de verdad").await;
    let mut garbled = event.clone();
    garbled.message.signature.0[0] ^= 1;
    assert_eq!(received(&world, &garbled).await.verification, Verification::NotAuthentic(Reason::Signature));
    // Its envelope was used up; the history opens without.
    world.maria.engine.receive_archived(event.message.clone()).await.unwrap();
    let shown = world.maria.engine.history(world.conversation, None, 10).await.unwrap().remove(0);
    assert!(shown.is_verified() && !shown.contradicted);
    assert_eq!(world.maria.texts(world.conversation).await, ["de verdad"]);
}

#[tokio::test]
async fn a_message_left_out_of_the_history_is_missing_until_it_comes() {
    let mut world = World::new().await;
    let mut events = Vec::new();
    for text in ["uno", "dos", "tres"] {
        events.push(world.write(true, text).await);
    }
    for event in [&events[0], &events[2]] {
        world.maria.engine.receive_archived(event.message.clone()).await.unwrap();
    }
    let chains = async || {
        let history = world.maria.engine.history(world.conversation, None, 10).await.unwrap();
        history.into_iter().map(|message| message.chain).collect::<Vec<_>>()
    };
    assert_eq!(chains().await, [ChainVerdict::Continuous, ChainVerdict::Gap(1)]);
    world.maria.engine.receive_archived(events[1].message.clone()).await.unwrap();
    assert_eq!(
        chains().await,
        [ChainVerdict::Continuous, ChainVerdict::Continuous, ChainVerdict::Continuous]
    );
}
