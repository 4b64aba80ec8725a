//! Messages on their way out survive crashes, wait offline, and are refused when they make no sense.

use std::time::Duration;

use sigilo_seal::{Content, ContentBody, content::Reaction};

use super::{MAX_TEXT_CHARS, SendOptions, SendState};
use crate::{
    Client, Error, OpenOptions, Unlock,
    profile::records::{ClinicRecord, OutboxItem, Session, session_key},
    testing::{KEY, NOW, World, environment},
};
use sigilo_wire::{
    DeviceNumber, ErrorCode, MessageId,
    conflict::{ChainState, ClaimProblem},
    event::{HeldRefused, ResealNeeded},
    message::{DeliveryStatus, Held},
};

#[tokio::test]
async fn content_that_makes_no_sense_is_refused_before_it_is_kept() {
    let world = World::new().await;
    let engine = &world.ana.engine;
    let reaction = Content::new(ContentBody::Reaction(Reaction { emoji: "x".into(), remove: false }));
    for content in [Content::text(" "), Content::text("x".repeat(MAX_TEXT_CHARS + 1)), reaction] {
        let sent = engine.send(world.conversation, content, SendOptions::default()).await;
        assert!(matches!(sent, Err(Error::Content(_))), "{sent:?}");
    }
    assert!(engine.waiting(world.conversation).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_message_waits_without_a_connection_and_survives_the_end_of_the_program() {
    let world = World::new().await;
    let conversation = world.conversation;
    let path = world.ana.path.clone();
    let sent =
        world.ana.engine.send(conversation, Content::text("uno"), SendOptions::default()).await.unwrap();
    assert!(matches!(sent.state, SendState::Queued { .. }), "{sent:?}");
    let crate::testing::Party { engine, .. } = world.ana;
    let profile = std::rc::Rc::clone(&engine.profile);
    drop(engine);
    profile.close().await.unwrap();

    let client =
        Client::open(&path, Unlock::Key(KEY), OpenOptions { environment: environment(99) }).await.unwrap();
    let second = client.send_text(conversation, "dos").await.unwrap();
    assert!(matches!(second.state, SendState::Queued { .. }), "{second:?}");
    let history = client.history(conversation, 10).await.unwrap();
    let texts: Vec<_> = history.iter().filter_map(|message| message.text()).collect();
    assert_eq!(texts, ["uno", "dos"]);
    assert!(history.iter().all(|message| message.message_id.is_none() && message.mine));
    client.discard(second.client_message_id).await.unwrap();
    assert_eq!(client.history(conversation, 10).await.unwrap().len(), 1);
    client.clone().shutdown().await.unwrap();
    assert!(matches!(client.me().await, Err(Error::Closed)));
}

#[tokio::test]
async fn envelopes_and_the_sessions_they_advanced_are_kept_together() {
    let world = World::new().await;
    let ana = &world.ana;
    let session = session_key(world.maria.user, DeviceNumber::FIRST);
    let before: Session = ana.engine.profile.get(&session).await.unwrap().unwrap();
    let item = ana.prepared(world.conversation, "hola", 1).await;
    let kept: OutboxItem =
        ana.engine.profile.get(item.draft.client_message_id.as_bytes()).await.unwrap().unwrap();
    let sealed = kept.sealed.unwrap();
    assert!(sealed.enveloped);
    assert_eq!(sealed.request.envelopes.len(), 1);
    let after: Session = ana.engine.profile.get(&session).await.unwrap().unwrap();
    assert_ne!(before.record, after.record);
}

#[tokio::test]
async fn preparing_again_changes_nothing_and_new_envelopes_keep_the_rest() {
    let world = World::new().await;
    let ana = &world.ana;
    let mut item = ana.prepared(world.conversation, "hola", 1).await;
    let first = item.sealed.clone().unwrap();
    ana.engine.prepare(&mut item).await.unwrap();
    let again = item.sealed.clone().unwrap();
    assert_eq!(first.request.envelopes[0].content, again.request.envelopes[0].content);
    // A repair of the devices: context, body, key and commitment stay, the envelope is another.
    item.sealed.as_mut().unwrap().enveloped = false;
    ana.engine.prepare(&mut item).await.unwrap();
    let repaired = item.sealed.clone().unwrap();
    assert_eq!(first.request.commitment, repaired.request.commitment);
    assert_eq!(first.request.body, repaired.request.body);
    assert_eq!(first.content_key, repaired.content_key);
    assert_ne!(first.request.envelopes[0].content, repaired.request.envelopes[0].content);
    // A repair of the seal or the chain: another key, so another commitment.
    item.sealed = None;
    ana.engine.prepare(&mut item).await.unwrap();
    let sealed_anew = item.sealed.clone().unwrap();
    assert_ne!(first.content_key, sealed_anew.content_key);
    assert_ne!(first.request.commitment, sealed_anew.request.commitment);
}

#[tokio::test]
async fn the_lost_answer_to_a_send_comes_by_the_event_too() {
    let world = World::new().await;
    let ana = &world.ana;
    let item = ana.prepared(world.conversation, "hola", 1).await;
    let sealed = item.sealed.clone().unwrap();
    let accepted = crate::testing::accepted(&world.clinic, world.conversation, ana.user, &sealed.request, 1);
    let account = ana.engine.account().unwrap();
    let sender = sigilo_wire::message::Sender {
        user_id: ana.user,
        device_id: account.device,
        full_name: account.full_name.clone(),
        user_type: account.role,
    };
    let message = super::post::own_message(&item, &sealed.request, &accepted, sender);
    let event = sigilo_wire::event::NewMessageEvent { message, envelope: None };
    ana.engine.receive(event.clone()).await.unwrap();
    assert!(ana.engine.waiting(world.conversation).await.unwrap().is_empty());
    ana.engine.receive(event).await.unwrap();
    assert_eq!(ana.texts(world.conversation).await, ["hola"]);
}

/// The server's refusal of a message because of its time.
fn refused(reason: ClaimProblem) -> Error {
    let details = serde_json::json!({"field": "sent_at", "reason": reason, "server_time": NOW});
    refusal(422, ErrorCode::InvalidMessage, details)
}

fn refusal(status: u16, error: ErrorCode, details: serde_json::Value) -> Error {
    let body = sigilo_wire::ErrorBody {
        error,
        message: String::new(),
        details,
        decision: None,
        policies: Vec::new(),
        request_id: sigilo_wire::RequestId::from_bytes([1; 16]),
    };
    Error::Server { status, body: Box::new(body), retry_after: None, request_sha256: [0; 32] }
}

/// Ana's message that the server holds.
async fn held(world: &World, text: &str, position: i64) -> OutboxItem {
    let mut item = world.ana.prepared(world.conversation, text, position).await;
    let position = u8::try_from(position).unwrap();
    let answer = Held {
        message_id: MessageId::from_bytes([position; 16]),
        delivery_status: DeliveryStatus::Held,
        held_at: NOW,
        release_at: NOW + Duration::from_secs(3600),
    };
    world.ana.engine.keep_held(&mut item, &answer).await.unwrap();
    item
}

#[tokio::test]
async fn what_was_taken_back_is_never_sent_again_though_the_answer_was_lost() {
    let world = World::new().await;
    let ana = &world.ana.engine;
    for way in 0..3 {
        let item = held(&world, "me arrepentí", way + 1).await;
        let (id, message_id) = (item.draft.client_message_id, item.held.unwrap().message_id);
        // It cannot be asked here: whether it has taken it back is not known.
        let lost = ana.discard(id).await;
        assert!(matches!(lost, Err(Error::LoggedOut)), "{lost:?}");
        let kept = ana.waiting(world.conversation).await.unwrap();
        assert!(kept.iter().all(|item| item.discarding), "known also after a crash");
        match way {
            0 => {
                let details = serde_json::json!({});
                let error = ErrorCode::ChainGap;
                ana.take_back(ResealNeeded { message_id, client_message_id: id, error, details })
                    .await
                    .unwrap();
            }
            1 => {
                let (error, details) = (ErrorCode::MessageNotAllowed, serde_json::json!({}));
                let policies = Vec::new();
                ana.held_refused(HeldRefused { message_id, client_message_id: id, error, details, policies })
                    .await
                    .unwrap();
            }
            _ => {
                // By the server's word it holds nothing any more: what became of it is asked, nothing is sent.
                ana.unhold_after(world.conversation, 0).await.unwrap();
                let flushed = ana.flush().await.unwrap();
                assert!(flushed.results.is_empty());
                assert_eq!(ana.waiting(world.conversation).await.unwrap().len(), 1, "until it is known");
                continue;
            }
        }
        assert!(ana.waiting(world.conversation).await.unwrap().is_empty(), "way {way}");
    }
}

#[tokio::test]
async fn what_the_server_holds_no_more_is_nothing_to_continue() {
    let world = World::new().await;
    let ana = &world.ana.engine;
    let first = held(&world, "uno", 1).await.sealed.unwrap().request;
    let second = held(&world, "dos", 2).await;
    let mut third = world.ana.prepared(world.conversation, "tres", 3).await;
    assert_eq!(third.sealed.as_ref().unwrap().request.device_seq, 3);
    let state = ChainState { device_seq: 1, commitment: Some(first.commitment) };
    let gap = refusal(409, ErrorCode::ChainGap, serde_json::to_value(state).unwrap());
    ana.repair(&mut third, gap).await.unwrap();
    ana.prepare(&mut third).await.unwrap();
    let request = third.sealed.unwrap().request;
    assert_eq!((request.device_seq, request.prev_commitment), (2, Some(first.commitment)));
    let kept: OutboxItem = ana.profile.get(second.draft.client_message_id.as_bytes()).await.unwrap().unwrap();
    assert!(kept.held.is_none());
}

#[tokio::test]
async fn a_message_the_server_finds_too_old_is_sealed_anew() {
    let world = World::new().await;
    let ana = &world.ana.engine;
    let mut item = world.ana.prepared(world.conversation, "hola", 1).await;
    let first = item.sealed.clone().unwrap().request;
    world.advance(Duration::from_secs(8 * 24 * 3600));
    ana.prepare(&mut item).await.unwrap();
    assert_eq!(
        item.sealed.clone().unwrap().request.commitment,
        first.commitment,
        "only at the server's word"
    );
    ana.repair(&mut item, refused(ClaimProblem::TooOld)).await.unwrap();
    let kept: OutboxItem = ana.profile.get(item.draft.client_message_id.as_bytes()).await.unwrap().unwrap();
    assert!(kept.sealed.is_none(), "a crash here loses nothing: the draft is sealed anew");
    let mut clinic: ClinicRecord = ana.profile.get(b"").await.unwrap().unwrap();
    clinic.fetched_at = ana.env.now();
    ana.profile.put(&clinic).await.unwrap();
    ana.prepare(&mut item).await.unwrap();
    let second = item.sealed.clone().unwrap().request;
    assert_eq!(second.client_message_id, first.client_message_id);
    assert_eq!(second.sent_at, ana.env.now());
    assert_ne!(second.commitment, first.commitment, "another key");
}

#[tokio::test]
async fn no_other_word_on_its_time_seals_a_message_anew() {
    let world = World::new().await;
    let ana = &world.ana.engine;
    let mut item = world.ana.prepared(world.conversation, "hola", 1).await;
    // Young, whatever the server says: its clock or this one is wrong, and another seal would not help.
    assert!(ana.repair(&mut item, refused(ClaimProblem::TooOld)).await.is_err());
    world.advance(Duration::from_secs(8 * 24 * 3600));
    assert!(ana.repair(&mut item, refused(ClaimProblem::TooFarAhead)).await.is_err());
    let mut other_field = refused(ClaimProblem::TooOld);
    if let Error::Server { body, .. } = &mut other_field {
        body.details["field"] = "body".into();
    }
    assert!(ana.repair(&mut item, other_field).await.is_err());
    assert!(item.sealed.is_some());
}
