//! What is shown on a message after it was edited, deleted or reacted to, in whatever order that came.

use sigilo_seal::{ContentBody, content};
use sigilo_wire::{
    event::NewMessageEvent,
    message::{Message, MessageKind},
};

use crate::{
    ClientEvent, SendOptions, ShownMessage,
    message::{ChainVerdict, Verification},
    profile::records::{MessageKey, StoredMessage},
    testing::World,
};

fn edit(text: &str) -> ContentBody {
    ContentBody::Edit(content::Edit { text: text.to_owned() })
}

fn reaction(emoji: &str, remove: bool) -> ContentBody {
    ContentBody::Reaction(content::Reaction { emoji: emoji.to_owned(), remove })
}

/// María's view of the conversation.
async fn history(world: &World) -> Vec<ShownMessage> {
    world.maria.engine.history(world.conversation, None, 100).await.unwrap()
}

async fn receive(world: &World, events: &[&NewMessageEvent]) {
    for event in events {
        world.maria.engine.receive((*event).clone()).await.unwrap();
    }
}

/// As the server's history gives them: newest first, without envelopes.
async fn restore(world: &World, events: &[&NewMessageEvent]) {
    let messages: Vec<Message> = events.iter().map(|event| event.message.clone()).collect();
    world.maria.engine.receive_page(messages).await.unwrap();
}

#[tokio::test]
async fn an_edit_shows_the_new_text_and_keeps_the_old_one() {
    let mut world = World::new().await;
    let said = world.write(true, "la dosis es 5 mg").await;
    let first = world.write_about(true, edit("la dosis es 10 mg"), &said).await;
    let second = world.write_about(true, edit("la dosis es 15 mg"), &said).await;
    let mut events = world.maria.engine.listeners.add();
    receive(&world, &[&said, &first, &second]).await;
    let shown = history(&world).await;
    assert_eq!(shown.len(), 1, "edits have no lines of their own");
    assert_eq!(shown[0].text(), Some("la dosis es 15 mg"));
    let versions: Vec<&str> = shown[0].versions.iter().map(|version| version.text.as_str()).collect();
    assert_eq!(versions, ["la dosis es 5 mg", "la dosis es 10 mg"]);
    assert!(shown[0].edited_at.is_some());
    // Listeners get the edit, and the message as it is now.
    let mut revised = Vec::new();
    while let Some(event) = events.try_next() {
        if let ClientEvent::Revised(message) = event {
            revised.push(message.text().unwrap().to_owned());
        }
    }
    assert_eq!(revised, ["la dosis es 10 mg", "la dosis es 15 mg"]);
    // Its author sees the same.
    let own = world.ana.engine.history(world.conversation, None, 100).await.unwrap();
    assert_eq!(own.iter().map(|message| message.text()).collect::<Vec<_>>(), [Some("la dosis es 15 mg")]);
    let at = world.maria.engine.message_at(world.conversation, 2).await.unwrap();
    assert_eq!(at.target_seq, Some(1), "an edit is still found by its place");
}

#[tokio::test]
async fn only_the_author_edits_and_deletes() {
    let mut world = World::new().await;
    let said = world.write(true, "me duele la cabeza").await;
    receive(&world, &[&said]).await;
    // María's own client sends what the server would refuse.
    let forged = world.write_about(false, edit("no me duele nada"), &said).await;
    let deleted = world.write_about(false, ContentBody::Delete, &said).await;
    for party in [&world.maria, &world.ana] {
        if party.user == world.ana.user {
            for event in [&forged, &deleted] {
                party.engine.receive(event.clone()).await.unwrap();
            }
        }
        let shown = party.engine.history(world.conversation, None, 100).await.unwrap();
        assert_eq!(shown.len(), 3, "what does not count is a line of its own");
        assert_eq!(shown[0].text(), Some("me duele la cabeza"));
        assert!(shown[0].deleted_at.is_none() && shown[0].edited_at.is_none());
    }
}

#[tokio::test]
async fn a_deleted_message_leaves_nothing_on_the_device() {
    for deleted_first in [false, true] {
        let mut world = World::new().await;
        let said = world.write(true, "esto no debí escribirlo nunca").await;
        let changed = world.write_about(true, edit("esto tampoco"), &said).await;
        let liked = world.write_about(false, reaction("👍", false), &said).await;
        world.ana.engine.receive(liked).await.unwrap();
        let deleted = world.write_about(true, ContentBody::Delete, &said).await;
        if deleted_first {
            // The history comes newest first: the delete before what it deletes.
            restore(&world, &[&deleted]).await;
            assert_eq!(history(&world).await.len(), 2, "with its target unknown, it is shown");
            restore(&world, &[&changed, &said]).await;
        } else {
            receive(&world, &[&said, &changed, &deleted]).await;
        }
        let shown = history(&world).await;
        assert_eq!(shown.len(), 1, "{deleted_first}");
        assert!(shown[0].content.is_none() && shown[0].deleted_at.is_some(), "{deleted_first}");
        assert!(shown[0].versions.is_empty() && shown[0].reactions.is_empty(), "{deleted_first}");
        for party in [&world.maria, &world.ana] {
            let key = MessageKey::of(&said.message).bytes();
            let stored: StoredMessage = party.engine.profile.get(&key).await.unwrap().unwrap();
            assert!(stored.content.is_none() && stored.message.body.is_empty(), "{deleted_first}");
            let key = MessageKey::of(&changed.message).bytes();
            let stored: StoredMessage = party.engine.profile.get(&key).await.unwrap().unwrap();
            assert!(stored.content.is_none() && stored.message.body.is_empty(), "{deleted_first}: the edit");
        }
    }
}

#[tokio::test]
async fn reactions_are_counted_and_taken_back() {
    let mut world = World::new().await;
    let said = world.write(true, "gracias").await;
    receive(&world, &[&said]).await;
    for (from_ana, emoji, remove) in [
        (true, "👍", false),
        (false, "👍", false),
        (false, "🙏", false),
        (false, "👍", true),
        (false, "👍", true),
    ] {
        let event = world.write_about(from_ana, reaction(emoji, remove), &said).await;
        if from_ana {
            receive(&world, &[&event]).await;
        }
    }
    let shown = history(&world).await;
    assert_eq!(shown.len(), 1);
    let given: Vec<(&str, &[sigilo_wire::UserId])> =
        shown[0].reactions.iter().map(|given| (given.emoji.as_str(), given.users.as_slice())).collect();
    assert_eq!(given, [("👍", [world.ana.user].as_slice()), ("🙏", [world.maria.user].as_slice())]);
}

#[tokio::test]
async fn what_does_not_verify_changes_nothing() {
    let mut world = World::new().await;
    let said = world.write(true, "la dosis es 5 mg").await;
    let mut changed = world.write_about(true, edit("la dosis es 50 mg"), &said).await;
    changed.message.signature.0[0] ^= 1;
    receive(&world, &[&said, &changed]).await;
    let shown = history(&world).await;
    assert_eq!(shown[0].text(), Some("la dosis es 5 mg"));
    assert!(matches!(shown[1].verification, Verification::NotAuthentic(_)), "it is shown by itself");
}

#[tokio::test]
async fn a_history_read_from_its_end_has_no_gaps() {
    let mut world = World::new().await;
    let mut said = Vec::new();
    for number in 0..6 {
        said.push(world.write(true, &format!("mensaje {number}")).await);
    }
    restore(&world, &[&said[5], &said[4]]).await;
    assert_eq!(history(&world).await[0].chain, ChainVerdict::JoinedAt(5), "what is before is not known yet");
    restore(&world, &[&said[3], &said[2]]).await;
    restore(&world, &[&said[1], &said[0]]).await;
    let shown = history(&world).await;
    assert_eq!(shown.len(), 6);
    for message in &shown {
        assert!(message.is_verified());
        assert_eq!(message.chain, ChainVerdict::Continuous, "{:?}", message.conversation_seq);
    }
    // A message that came live after a gap, and then what was missing.
    let mut world = World::new().await;
    let (first, second, third) =
        (world.write(true, "uno").await, world.write(true, "dos").await, world.write(true, "tres").await);
    receive(&world, &[&first, &third]).await;
    assert_eq!(history(&world).await[1].chain, ChainVerdict::Gap(1));
    restore(&world, &[&third, &second]).await;
    assert!(history(&world).await.iter().all(|message| message.chain == ChainVerdict::Continuous));
}

#[tokio::test]
async fn the_texts_of_a_message_disappear_with_it() {
    for edited_late in [false, true] {
        let mut world = World::new().await;
        let said = world.write_expiring(true, "solo por hoy", 60).await;
        receive(&world, &[&said]).await;
        let options = SendOptions { target: Some(said.message.commitment.into()), ..SendOptions::default() };
        let inherited = world.ana.engine.expiry_of_edit(MessageKind::Edit, &options).await.unwrap();
        assert_eq!(inherited, 60, "what this client sends goes by itself");
        let changed = world.write_about(true, edit("solo por un rato"), &said).await;
        let expire = async |world: &World| {
            world.advance(std::time::Duration::from_secs(61));
            world.maria.engine.upkeep().await.unwrap();
        };
        if edited_late {
            expire(&world).await;
            receive(&world, &[&changed]).await;
        } else {
            receive(&world, &[&changed]).await;
            expire(&world).await;
        }
        let key = MessageKey::of(&changed.message).bytes();
        let stored: StoredMessage = world.maria.engine.profile.get(&key).await.unwrap().unwrap();
        assert!(stored.content.is_none() && stored.message.body.is_empty(), "{edited_late}");
        let shown = history(&world).await;
        assert!(shown.len() == 1 && shown[0].expired && shown[0].text().is_none(), "{edited_late}");
    }
}

#[tokio::test]
async fn a_title_goes_with_the_message_that_gave_it() {
    let mut world = World::new().await;
    let title = content::Profile { title: "Guardia".into(), ..content::Profile::default() };
    let named = world.write_titled(true, title).await;
    receive(&world, &[&named]).await;
    assert_eq!(world.maria.engine.descriptions().await.unwrap().len(), 1);
    let delete = world.write_about(true, ContentBody::Delete, &named).await;
    receive(&world, &[&delete]).await;
    assert!(world.maria.engine.descriptions().await.unwrap().is_empty());
}
