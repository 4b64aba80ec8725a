//! The answer to a send is lost, or the line is down for a week: what was accepted is not sent twice, and what was
//! not is sent later.

use std::time::Duration;

use sigilo_client::{NewConversation, SendState, ShownMessage};
use sigilo_wire::{ConversationId, message::SendMessage};

use crate::{
    people::{Device, World, check},
    support::{
        both_engines,
        proxy::{Passed, Proxy},
    },
};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The messages among what went through.
fn messages(passed: &[Passed]) -> Vec<(u16, SendMessage)> {
    let parse = |request: &Passed| Some((request.status, serde_json::from_slice(&request.body).ok()?));
    passed.iter().filter_map(parse).collect()
}

/// The message written last, accepted or not.
async fn newest(device: &Device, conversation: ConversationId) -> ShownMessage {
    device.client.history(conversation, 1).await.unwrap().pop().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_waited_too_long_is_sealed_anew_and_sent() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let proxy = Proxy::start(server).await;
        let (ana, mut maria) = (world.ana_through(&proxy).await, world.maria().await);
        let conversation =
            ana.client.start_conversation(maria.user, NewConversation::default()).await.unwrap().id;
        ana.client.send_text(conversation, "antes").await.unwrap();
        proxy.down();
        let waiting = ana.client.send_text(conversation, "de la semana pasada").await.unwrap();
        assert!(matches!(waiting.state, SendState::Queued { .. }), "{waiting:?}");
        let sealed = newest(&ana, conversation).await;
        assert!(sealed.commitment.is_some(), "it was sealed before the line was cut");
        server.clock.advance(DAY * 8);
        proxy.up();
        ana.client.sync_offline().await.unwrap();

        let sent = newest(&ana, conversation).await;
        assert!(sent.message_id.is_some(), "{sent:?}");
        check(&sent);
        assert_eq!(sent.client_message_id, waiting.client_message_id);
        assert_ne!(sent.commitment, sealed.commitment, "another key, another commitment");
        assert!(!sent.clocks_differ(), "it claims the time it was sent at");
        // First as it was, because it might have been there; then, once, as it is.
        let tried = messages(&proxy.passed("/messages/"));
        let tried: Vec<_> = tried
            .iter()
            .filter(|(status, message)| *status > 0 && message.client_message_id == sent.client_message_id)
            .map(|(status, message)| (*status, Some(message.commitment.into())))
            .collect();
        assert_eq!(tried, [(422, sealed.commitment), (201, sent.commitment)]);
        maria.client.sync_offline().await.unwrap();
        assert_eq!(maria.next_text().await, "antes");
        assert_eq!(maria.next_text().await, "de la semana pasada");
        ana.end().await;
        maria.end().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_message_that_was_accepted_is_not_sealed_anew() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let proxy = Proxy::start(server).await;
        let (ana, mut maria) = (world.ana_through(&proxy).await, world.maria().await);
        let conversation =
            ana.client.start_conversation(maria.user, NewConversation::default()).await.unwrap().id;
        ana.client.send_text(conversation, "antes").await.unwrap();
        proxy.lose("/messages/");
        let waiting = ana.client.send_text(conversation, "una sola vez").await.unwrap();
        assert!(matches!(waiting.state, SendState::Queued { .. }), "{waiting:?}");
        let sealed = newest(&ana, conversation).await;
        server.clock.advance(DAY * 8);
        proxy.up();
        ana.client.sync_offline().await.unwrap();
        let sent = newest(&ana, conversation).await;
        assert!(sent.message_id.is_some(), "{sent:?}");
        assert_eq!(sent.commitment, sealed.commitment);
        assert!(messages(&proxy.passed("/messages/")).iter().all(|(status, _)| *status < 300));
        maria.client.sync_offline().await.unwrap();
        assert_eq!(maria.client.history(conversation, 10).await.unwrap().len(), 2);
        assert_eq!(maria.next_text().await, "antes");
        assert_eq!(maria.next_text().await, "una sola vez");
        ana.end().await;
        maria.end().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_of_a_profile_finds_that_its_draft_was_sent() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let proxy = Proxy::start(server).await;
        let (ana, maria) = (world.ana_through(&proxy).await, world.maria().await);
        let conversation =
            ana.client.start_conversation(maria.user, NewConversation::default()).await.unwrap().id;
        proxy.down();
        ana.client.send_text(conversation, "una sola vez").await.unwrap();
        let draft = newest(&ana, conversation).await;
        assert!(draft.commitment.is_none(), "María's keys are not known: it is not sealed");
        let path = ana.end().await;
        let backup = path.with_extension("backup");
        std::fs::copy(&path, &backup).unwrap();
        proxy.up();
        let ana = Device::again(path).await;
        ana.client.sync_offline().await.unwrap();
        let first = newest(&ana, conversation).await;
        assert!(first.message_id.is_some(), "{first:?}");
        let path = ana.end().await;
        std::fs::copy(&backup, &path).unwrap();

        let ana = Device::again(path).await;
        ana.client.sync_offline().await.unwrap();
        let history = ana.client.history(conversation, 10).await.unwrap();
        let found: Vec<_> = history.iter().map(|m| (m.message_id, m.text())).collect();
        assert_eq!(found, [(first.message_id, Some("una sola vez"))], "it does not wait any more");
        check(&history[0]);
        assert_eq!(maria.client.fetch_history(conversation, 10).await.unwrap(), 1);
        let next = ana.client.send_text(conversation, "la siguiente").await.unwrap();
        assert!(next.accepted().is_some(), "{next:?}");
        ana.end().await;
        maria.end().await;
    })
    .await;
}
