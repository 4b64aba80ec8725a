//! What has expired is not shown, and is not on the device any more.

use std::time::Duration;

use sigilo_seal::Content;

use super::*;
use crate::{
    message::ShownMessage,
    testing::{NOW, World},
};

const MINUTE: u64 = 60;

async fn last(world: &World, at_maria: bool) -> ShownMessage {
    let party = if at_maria { &world.maria } else { &world.ana };
    party.engine.history(world.conversation, None, 1).await.unwrap().pop().unwrap()
}

async fn kept(world: &World, at_maria: bool, key: &MessageKey) -> StoredMessage {
    let party = if at_maria { &world.maria } else { &world.ana };
    party.engine.profile.get(&key.bytes()).await.unwrap().unwrap()
}

#[tokio::test]
async fn an_expired_message_is_hidden_when_it_is_read_and_then_gone() {
    let mut world = World::new().await;
    let event = world.write_expiring(true, "por un minuto", MINUTE).await;
    let key = MessageKey::of(&event.message);
    world.maria.engine.receive(event).await.unwrap();
    for at_maria in [true, false] {
        let shown = last(&world, at_maria).await;
        assert_eq!((shown.text(), shown.expired), (Some("por un minuto"), false));
        assert_eq!(shown.expires_at, Some(NOW + Duration::from_secs(MINUTE)));
    }
    world.advance(Duration::from_secs(MINUTE) - Duration::from_micros(1));
    assert!(!last(&world, true).await.expired, "the last instant");
    world.advance(Duration::from_micros(1));
    for at_maria in [true, false] {
        let shown = last(&world, at_maria).await;
        assert_eq!((shown.text(), shown.expired), (None, true));
        assert!(shown.is_verified() && shown.commitment.is_some(), "that there was one stays");
        let kept = kept(&world, at_maria, &key).await;
        assert!(kept.content.is_none() && kept.message.body.is_empty(), "it is erased, not hidden");
    }
    let receipt = world.maria.engine.check_receipt(last(&world, true).await.message_id.unwrap()).await;
    assert_eq!(receipt.unwrap(), crate::ReceiptVerdict::Verified, "what proves it is still there");
}

#[tokio::test]
async fn what_has_expired_goes_also_when_nobody_reads_it() {
    let mut world = World::new().await;
    let short = world.write_expiring(true, "por un minuto", MINUTE).await;
    let long = world.write_expiring(true, "por una hora", 60 * MINUTE).await;
    let lasting = world.write(true, "para siempre").await;
    let keys = [&short, &long, &lasting].map(|event| MessageKey::of(&event.message));
    for event in [&short, &long, &lasting] {
        world.maria.engine.receive(event.clone()).await.unwrap();
    }
    let mut events = world.maria.engine.listeners.add();
    world.advance(Duration::from_secs(MINUTE));
    world.maria.engine.upkeep().await.unwrap();
    assert!(
        matches!(events.try_next(), Some(ClientEvent::Expired { message, .. }) if message == short.message.id)
    );
    assert!(events.try_next().is_none(), "the others have time");
    let mut contents = Vec::new();
    for key in &keys {
        contents.push(kept(&world, true, key).await.content.is_some());
    }
    assert_eq!(contents, [false, true, true]);
    // Nothing of it is left in the journal either.
    let journal = world.maria.path.with_extension("profile-wal");
    assert_eq!(std::fs::metadata(&journal).unwrap().len(), 0, "{}", journal.display());
    world.advance(Duration::from_secs(24 * 3600));
    world.maria.engine.upkeep().await.unwrap();
    assert!(
        matches!(events.try_next(), Some(ClientEvent::Expired { message, .. }) if message == long.message.id)
    );
    world.maria.engine.upkeep().await.unwrap();
    assert!(events.try_next().is_none(), "said once");
    let content = kept(&world, true, &keys[2]).await.content.unwrap();
    assert_eq!(Content::parse("text", &content.0).unwrap(), Content::text("para siempre"));
}

#[tokio::test]
async fn what_comes_after_its_time_is_never_written_down() {
    let mut world = World::new().await;
    let live = world.write_expiring(true, "por un minuto", MINUTE).await;
    let archived = world.write_expiring(true, "también", MINUTE).await;
    world.advance(Duration::from_secs(2 * MINUTE));
    world.maria.engine.receive(live.clone()).await.unwrap();
    world.maria.engine.receive_archived(archived.message.clone()).await.unwrap();
    for event in [&live, &archived] {
        let kept = kept(&world, true, &MessageKey::of(&event.message)).await;
        assert!(kept.content.is_none() && kept.message.body.is_empty());
        assert_eq!(kept.verification, crate::Verification::Verified);
    }
    // The history gives it again, and it stays gone.
    world.maria.engine.receive_archived(live.message).await.unwrap();
    assert!(last(&world, true).await.expired);
    assert_eq!(world.maria.texts(world.conversation).await, ["-", "-"]);
}

#[tokio::test]
async fn the_senders_word_counts_and_not_the_servers() {
    let mut world = World::new().await;
    let mut event = world.write_expiring(true, "por un minuto", MINUTE).await;
    let mut lasting = world.write(true, "para siempre").await;
    // The server names other ends.
    event.message.expires_at = Some(NOW + Duration::from_secs(365 * 24 * 3600));
    lasting.message.expires_at = Some(NOW);
    world.maria.engine.receive(event).await.unwrap();
    world.maria.engine.receive(lasting).await.unwrap();
    world.advance(Duration::from_secs(MINUTE));
    assert_eq!(world.maria.texts(world.conversation).await, ["-", "para siempre"]);
}
