//! A device that has the keys and not the messages: an older copy of a profile, as a newly linked device would be.

use std::path::PathBuf;

use sigilo_client::{
    ChainVerdict, Error, NewConversation, ReceiptVerdict, RestoreProgress, SealVerdict, SendOptions,
    ShownMessage, Verification,
};
use sigilo_seal::{Content, ContentBody, content};
use sigilo_wire::{ConversationId, conversation::ConversationType, message::DeliveryStatus};

use crate::{
    people::{Device, World, check},
    support::{both_engines, proxy::Proxy},
};

/// The server gives 50 messages a page.
const PAGE: u64 = 50;

/// Ends the device and keeps a copy of what it is now: keys, and no messages yet.
async fn copied(device: Device) -> (Device, PathBuf) {
    let path = device.end().await;
    let copy = path.with_extension("copy");
    std::fs::copy(&path, &copy).unwrap();
    (Device::again(path).await, copy)
}

async fn about(device: &Device, conversation: ConversationId, target: &ShownMessage, body: ContentBody) {
    let options = SendOptions { target: target.commitment, ..SendOptions::default() };
    let sent = device.client.send(conversation, Content::new(body), options).await.unwrap();
    assert!(sent.accepted().is_some());
}

async fn say(device: &Device, conversation: ConversationId, text: &str) -> ShownMessage {
    let sent = device.client.send_text(conversation, text).await.unwrap();
    sent.accepted().expect("accepted at once").clone()
}

async fn texts(device: &Device, conversation: ConversationId) -> Vec<String> {
    let history = device.client.history(conversation, 1_000).await.unwrap();
    history.iter().map(|message| message.text().unwrap_or("-").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_without_messages_reads_them_all_and_shows_what_became_of_them() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let (ana, copy) = copied(world.ana().await).await;
        let maria = world.maria().await;
        let direct = ana.client.start_conversation(maria.user, NewConversation::default()).await.unwrap().id;
        let mut said = Vec::new();
        for number in 0..7 {
            let (from, text) = (if number % 2 == 0 { &ana } else { &maria }, format!("mensaje {number}"));
            said.push(say(from, direct, &text).await);
            maria.client.sync_offline().await.unwrap();
            ana.client.sync_offline().await.unwrap();
        }
        about(&ana, direct, &said[0], ContentBody::Edit(content::Edit { text: "corregido".into() })).await;
        about(&maria, direct, &said[1], ContentBody::Delete).await;
        let liked = content::Reaction { emoji: "👍".into(), remove: false };
        about(&maria, direct, &said[2], ContentBody::Reaction(liked)).await;
        maria.client.mark_read(direct, None).await.unwrap();
        ana.client.sync_offline().await.unwrap();
        let before = texts(&ana, direct).await;
        assert_eq!(before[..3], ["corregido", "-", "mensaje 2"]);
        assert_eq!(before.len(), 7);
        let ana = Device::again({
            ana.end().await;
            copy
        })
        .await;

        assert!(texts(&ana, direct).await.is_empty());
        let mut told = Vec::new();
        let done = ana.client.restore(|progress| told.push(*progress)).await.unwrap();
        assert_eq!(told.first().map(|first| (first.messages_done, first.messages)), Some((0, 10)));
        assert_eq!(told.last(), Some(&done));
        let all = RestoreProgress {
            conversations_done: 1,
            conversations: 1,
            messages_done: 10,
            messages: 10,
            new: 10,
        };
        assert_eq!(done, all);
        assert_eq!(texts(&ana, direct).await, before, "as on the device that had them live");
        let history = ana.client.history(direct, 100).await.unwrap();
        for message in &history {
            check(message);
        }
        assert_eq!(history[0].versions[0].text, "mensaje 0");
        assert!(history[1].deleted_at.is_some());
        assert_eq!(history[2].reactions[0].users, [maria.user]);
        assert_eq!(history[6].status, DeliveryStatus::Read);
        assert_eq!(history[6].read_by[0].user_id, maria.user);

        // Nothing is new, nothing is read; what comes later is.
        let again = ana.client.restore(|_| {}).await.unwrap();
        assert_eq!((again.is_done(), again.messages, again.new), (true, 0, 0));
        say(&maria, direct, "y otra cosa").await;
        let again = ana.client.restore(|_| {}).await.unwrap();
        assert_eq!((again.messages, again.new), (1, 1));
        assert_eq!(texts(&ana, direct).await.last().map(String::as_str), Some("y otra cosa"));
        // The device goes on after its own last message.
        say(&ana, direct, "sigo aquí").await;
        ana.end().await;
        maria.end().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_that_was_cut_goes_on_where_it_stopped() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let proxy = Proxy::start(server).await;
        let (ana, copy) = copied(world.ana_through(&proxy).await).await;
        let maria = world.maria().await;
        let id = ana.client.start_conversation(maria.user, NewConversation::default()).await.unwrap().id;
        let total = 2 * PAGE + 10;
        for number in 0..total {
            say(&maria, id, &format!("mensaje {number}")).await;
        }
        ana.end().await;

        let ana = Device::again(copy.clone()).await;
        // The second page does not come back.
        let cut = ana
            .client
            .restore(|progress| {
                if progress.messages_done > 0 {
                    proxy.lose("/messages/");
                }
            })
            .await;
        assert!(matches!(&cut, Err(error) if error.is_transient()), "{cut:?}");
        assert!(ana.client.restore_due().await.unwrap());
        ana.end().await;
        let asked = proxy.passed("/messages/").len();

        proxy.up();
        let ana = Device::again(copy).await;
        assert!(ana.client.restore_due().await.unwrap(), "also after the program ended");
        let mut told = Vec::new();
        let done = ana.client.restore(|progress| told.push(progress.messages_done)).await.unwrap();
        assert_eq!(told, [PAGE, 2 * PAGE, total], "the first page is not read again");
        assert_eq!((done.messages, done.new), (total, total));
        assert_eq!(proxy.passed("/messages/").len() - asked, 2);
        assert!(!ana.client.restore_due().await.unwrap());
        let history = ana.client.history(id, 1_000).await.unwrap();
        assert_eq!(u64::try_from(history.len()).unwrap(), total);
        for message in &history {
            assert_eq!(message.verification, Verification::Verified);
            assert_eq!(message.chain, ChainVerdict::Continuous, "{:?}", message.conversation_seq);
        }
        let older = ana.client.history_before(id, 11, 5).await.unwrap();
        let numbers: Vec<_> = older.iter().filter_map(|message| message.conversation_seq).collect();
        assert_eq!(numbers, [6, 7, 8, 9, 10]);
        ana.end().await;
        maria.end().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seals_for_people_who_have_left_open_and_accuse_nobody() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let maria = world.maria().await;
        let (eva, copy) = copied(world.colleague("eva").await).await;
        let rosa = world.colleague("rosa").await;
        let new = NewConversation { r#type: ConversationType::Group, ..NewConversation::default() };
        let group = maria.client.start_group(vec![eva.user, rosa.user], new).await.unwrap().id;
        say(&maria, group, "las tres").await;
        say(&rosa, group, "yo también").await;
        maria.client.remove_participant(group, rosa.user).await.unwrap();
        say(&maria, group, "ya somos dos").await;
        eva.end().await;

        let eva = Device::again(copy).await;
        eva.client.restore(|_| {}).await.unwrap();
        let history = eva.client.history(group, 100).await.unwrap();
        assert_eq!(history.len(), 3);
        for message in history.iter().filter(|message| message.sender == maria.user) {
            assert_eq!(message.verification, Verification::Verified, "{message:?}");
            assert_eq!(message.receipt, ReceiptVerdict::Verified);
            assert_eq!(message.chain, ChainVerdict::Continuous);
            assert!(!matches!(message.seal, SealVerdict::Bad(_)), "{:?}", message.seal);
        }
        assert_eq!(history[2].seal, SealVerdict::Good, "{:?}", history[2].seal);
        assert!(matches!(history[0].seal, SealVerdict::Unchecked(_)), "{:?}", history[0].seal);
        let notes = eva.client.timeline(group).await.unwrap();
        assert!(notes.is_empty(), "{notes:?}");
        for device in [maria, eva, rosa] {
            device.end().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_connection_nothing_is_lost() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let proxy = Proxy::start(server).await;
        let ana = world.ana_through(&proxy).await;
        proxy.down();
        let offline = ana.client.restore(|_| {}).await;
        assert!(matches!(&offline, Err(Error::Server { .. } | Error::Offline(_))), "{offline:?}");
        proxy.up();
        assert!(ana.client.restore(|_| {}).await.unwrap().is_done());
        ana.end().await;
    })
    .await;
}
