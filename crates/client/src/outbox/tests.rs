//! Messages on their way out survive crashes, wait offline, and are refused when they make no sense.

use std::time::Duration;

use sigilo_seal::{Content, ContentBody, content::Reaction};

use super::{MAX_TEXT_CHARS, SendOptions, SendState};
use crate::{
    Client, Error, OpenOptions, Unlock,
    profile::records::{ClinicRecord, OutboxItem, Session, session_key},
    testing::{KEY, NOW, World, environment},
};
use sigilo_wire::{DeviceNumber, ErrorCode, conflict::ClaimProblem};

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
    let body = sigilo_wire::ErrorBody {
        error: ErrorCode::InvalidMessage,
        message: String::new(),
        details: serde_json::json!({"field": "sent_at", "reason": reason, "server_time": NOW}),
        policies: Vec::new(),
        request_id: sigilo_wire::RequestId::from_bytes([1; 16]),
    };
    Error::Server { status: 422, body: Box::new(body), retry_after: None }
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
