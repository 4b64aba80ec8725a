//! Two stories of one device: the second one shows, whichever way and in whichever order they come.

use std::time::Duration;

use sigilo_wire::{conversation::Conversation, event::NewMessageEvent};

use crate::{
    event::TimelineNote,
    message::ChainVerdict::{self, Continuous, Forked, Gap},
    profile::records::{Chain, MessageKey, StoredMessage, chain_key},
    testing::{NOW, World},
};
use sigilo_wire::DeviceNumber;

/// Ana's device forgets what it sent after `last`, and goes on from there.
async fn rewind(world: &World, last: &NewMessageEvent) {
    let chain = Chain {
        conversation: world.conversation,
        user: world.ana.user,
        device: DeviceNumber::FIRST,
        device_seq: last.message.device_seq,
        commitment: last.message.commitment.into(),
    };
    world.ana.engine.profile.put(&chain).await.unwrap();
}

/// "uno", "dos" and "tres"; then "DOS" and "TRES" after the same "uno".
async fn two_stories(world: &mut World) -> [NewMessageEvent; 5] {
    let one = world.write(true, "uno").await;
    let two = world.write(true, "dos").await;
    let three = world.write(true, "tres").await;
    rewind(world, &one).await;
    let other_two = world.write(true, "DOS").await;
    let other_three = world.write(true, "TRES").await;
    assert_eq!(two.message.device_seq, other_two.message.device_seq);
    assert_eq!(two.message.prev_commitment, other_two.message.prev_commitment);
    [one, two, three, other_two, other_three]
}

async fn live(world: &World, event: &NewMessageEvent) -> ChainVerdict {
    world.maria.engine.receive(event.clone()).await.unwrap();
    stored(world, event).await
}

async fn archived(world: &World, event: &NewMessageEvent) -> ChainVerdict {
    world.maria.engine.receive_archived(event.message.clone()).await.unwrap();
    stored(world, event).await
}

async fn stored(world: &World, event: &NewMessageEvent) -> ChainVerdict {
    let key = MessageKey::of(&event.message).bytes();
    let stored: StoredMessage = world.maria.engine.profile.get(&key).await.unwrap().unwrap();
    assert!(stored.content.is_some(), "it is authentic and shown all the same");
    stored.chain
}

#[tokio::test]
async fn a_second_message_after_the_same_one_shows_as_forked() {
    let mut world = World::new().await;
    let [one, two, three, other_two, other_three] = two_stories(&mut world).await;
    assert_eq!(live(&world, &one).await, Continuous);
    assert_eq!(live(&world, &two).await, Continuous);
    assert_eq!(live(&world, &other_two).await, Forked);
    // What follows the second story is a part of it; what follows the first one is not.
    assert_eq!(live(&world, &other_three).await, Forked);
    assert_eq!(live(&world, &three).await, Continuous);
    assert_eq!(stored(&world, &two).await, Continuous, "the one shown first stays");
    let chain = chain_key(world.conversation, world.ana.user, DeviceNumber::FIRST);
    let chain: Chain = world.maria.engine.profile.get(&chain).await.unwrap().unwrap();
    assert_eq!(chain.commitment, three.message.commitment.into());
}

#[tokio::test]
async fn the_story_seen_first_stays_also_through_the_history() {
    let mut world = World::new().await;
    let [one, two, three, other_two, other_three] = two_stories(&mut world).await;
    assert_eq!(archived(&world, &one).await, Continuous);
    assert_eq!(archived(&world, &two).await, Continuous);
    assert_eq!(archived(&world, &other_two).await, Forked);
    assert_eq!(live(&world, &three).await, Continuous);
    assert_eq!(archived(&world, &other_three).await, Forked);
    // The other way round: seen live, and told otherwise by the history.
    let mut world = World::new().await;
    let [one, two, three, other_two, _] = two_stories(&mut world).await;
    assert_eq!(live(&world, &one).await, Continuous);
    assert_eq!(live(&world, &other_two).await, Continuous);
    assert_eq!(archived(&world, &two).await, Forked);
    assert_eq!(archived(&world, &three).await, Forked);
}

#[tokio::test]
async fn what_a_message_says_of_the_one_before_counts_also_when_that_one_comes_late() {
    let mut world = World::new().await;
    let [one, two, three, other_two, _] = two_stories(&mut world).await;
    assert_eq!(live(&world, &one).await, Continuous);
    assert_eq!(live(&world, &three).await, Gap(1));
    assert_eq!(live(&world, &other_two).await, Forked, "\"tres\" names another one before it");
    assert_eq!(archived(&world, &two).await, Continuous);
}

#[tokio::test]
async fn the_first_message_may_come_late_but_not_twice() {
    let mut world = World::new().await;
    let one = world.write(true, "uno").await;
    let two = world.write(true, "dos").await;
    let chain = chain_key(world.conversation, world.ana.user, DeviceNumber::FIRST);
    let step = world.ana.engine.profile.step();
    step.delete::<Chain>(&chain);
    step.commit().await.unwrap();
    let other_one = world.write(true, "UNO").await;
    assert_eq!((other_one.message.device_seq, other_one.message.prev_commitment), (1, None));
    assert_eq!(live(&world, &two).await, ChainVerdict::JoinedAt(2));
    assert_eq!(archived(&world, &other_one).await, Forked);
    assert_eq!(archived(&world, &one).await, Continuous);
}

#[tokio::test]
async fn nothing_is_missing_before_the_first_message_however_late_it_comes() {
    let mut world = World::new().await;
    let one = world.write(true, "uno").await;
    let two = world.write(true, "dos").await;
    assert_eq!(live(&world, &two).await, ChainVerdict::JoinedAt(2));
    assert_eq!(live(&world, &one).await, Continuous);
    assert_eq!(stored(&world, &two).await, Continuous);
}

/// The conversation, which María left and came back to half a minute ago.
async fn with_maria_back(world: &World) -> Conversation {
    let record = world.maria.engine.conversation(world.conversation).await.unwrap();
    let mut conversation = record.conversation;
    for participant in conversation.participants.iter_mut().filter(|p| p.user_id == world.maria.user) {
        participant.joined_at = NOW + Duration::from_secs(30);
    }
    conversation
}

#[tokio::test]
async fn what_was_said_while_the_reader_was_away_is_no_gap() {
    for heard_first in [true, false] {
        let mut world = World::new().await;
        let one = world.write(true, "uno").await;
        let _two = world.write(true, "dos").await;
        let mut three = world.write(true, "tres").await;
        three.message.received_at = NOW + Duration::from_secs(60);
        let conversation = with_maria_back(&world).await;
        assert_eq!(live(&world, &one).await, Continuous);
        if heard_first {
            world.maria.engine.adopt_conversation(conversation).await.unwrap();
            assert_eq!(live(&world, &three).await, ChainVerdict::JoinedAt(3));
        } else {
            assert_eq!(live(&world, &three).await, Gap(1));
            world.maria.engine.adopt_conversation(conversation).await.unwrap();
            assert_eq!(stored(&world, &three).await, ChainVerdict::JoinedAt(3));
        }
    }
}

#[tokio::test]
async fn a_time_of_joining_that_moves_hides_no_gap_unseen() {
    let mut world = World::new().await;
    let (me, minute) = (world.maria.user, Duration::from_secs(60));
    let one = world.write(true, "uno").await;
    world.write(true, "dos").await;
    world.advance(minute);
    let three = world.write(true, "tres").await;
    assert_eq!(live(&world, &one).await, Continuous);
    assert_eq!(live(&world, &three).await, Gap(1));
    // By the server's word, she was away meanwhile.
    let maria = &world.maria.engine;
    let mut conversation: Conversation = maria.conversation(world.conversation).await.unwrap().conversation;
    for participant in &mut conversation.participants {
        if participant.user_id == me {
            participant.joined_at = three.message.received_at + minute;
        }
    }
    for _ in 0..2 {
        maria.adopt_conversation(conversation.clone()).await.unwrap();
        let lines = maria.timeline(world.conversation).await.unwrap();
        let notes: Vec<_> = lines.into_iter().map(|line| line.note).collect();
        assert_eq!(notes, [TimelineNote::Left(me), TimelineNote::Joined(me)]);
    }
}
