//! Groups from the SDK: people come and go, titles, answers, reactions, what is passed on, what is put away.

use std::collections::BTreeMap;

use sigilo_client::{
    ChainVerdict, ClientEvent, Error, NewConversation, SealVerdict, SendOptions, ShownMessage, TimelineNote,
    Verification,
};
use sigilo_seal::{Content, ContentBody, content};
use sigilo_wire::{
    ConversationId, ErrorCode,
    conversation::{ConversationSettingsChange, ConversationStatus, ConversationType},
    message::Priority,
};

use crate::{
    people::{Device, World, check},
    support::both_engines,
};

fn group() -> NewConversation {
    NewConversation { r#type: ConversationType::Group, ..NewConversation::default() }
}

async fn send(device: &Device, to: ConversationId, content: Content, options: SendOptions) -> ShownMessage {
    let sent = device.client.send(to, content, options).await.unwrap();
    sent.accepted().expect("accepted at once").clone()
}

async fn texts(device: &Device, conversation: ConversationId) -> Vec<String> {
    device.client.sync_offline().await.unwrap();
    let history = device.client.history(conversation, 100).await.unwrap();
    assert!(history.iter().all(|message| message.verification == Verification::Verified), "{history:?}");
    history.iter().filter_map(|message| message.text().map(str::to_owned)).collect()
}

fn titled(title: &str) -> content::Profile {
    content::Profile { title: title.to_owned(), ..content::Profile::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_care_team_is_made_and_changed_from_the_client() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let (maria, eva, rosa) =
            (world.maria().await, world.colleague("eva").await, world.colleague("rosa").await);
        let team = maria.client.start_group(vec![eva.user], group()).await.unwrap();
        assert_eq!(team.r#type, ConversationType::Group);
        let team = team.id;
        maria.client.send_text(team, "solo dos").await.unwrap();
        let now = maria.client.add_participants(team, vec![rosa.user]).await.unwrap();
        assert_eq!(now.participants.len(), 3);
        maria.client.send_text(team, "ya somos tres").await.unwrap();
        assert_eq!(texts(&eva, team).await, ["solo dos", "ya somos tres"]);
        assert_eq!(texts(&rosa, team).await, ["ya somos tres"], "what was before stays closed to her");
        // Clinicians in it are its moderators.
        eva.client.remove_participant(team, rosa.user).await.unwrap();
        maria.client.send_text(team, "otra vez dos").await.unwrap();
        assert_eq!(texts(&eva, team).await.last().map(String::as_str), Some("otra vez dos"));
        assert_eq!(texts(&rosa, team).await, ["ya somos tres"]);
        eva.client.leave(team).await.unwrap();
        assert!(eva.client.conversations().await.unwrap().is_empty());
        let answers_for_it = maria.client.leave(team).await;
        assert!(answers_for_it.is_err(), "whoever started it cannot leave it");

        let administrative =
            NewConversation { r#type: ConversationType::Administrative, ..NewConversation::default() };
        let office = maria.client.start_group(vec![eva.user, rosa.user], administrative).await.unwrap();
        assert_eq!(office.r#type, ConversationType::Administrative);
        for device in [maria, eva, rosa] {
            device.end().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_accused_over_who_came_and_left_while_a_device_was_away() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let (maria, eva, rosa) =
            (world.maria().await, world.colleague("eva").await, world.colleague("rosa").await);
        let team = maria.client.start_group(vec![eva.user], group()).await.unwrap().id;
        maria.client.send_text(team, "solo dos").await.unwrap();
        assert_eq!(texts(&eva, team).await, ["solo dos"]);
        // Eva is away: all she ever sees of Rosa is what the queue says.
        maria.client.add_participants(team, vec![rosa.user]).await.unwrap();
        maria.client.send_text(team, "ya somos tres").await.unwrap();
        maria.client.remove_participant(team, rosa.user).await.unwrap();
        maria.client.send_text(team, "otra vez dos").await.unwrap();
        assert_eq!(texts(&eva, team).await, ["solo dos", "ya somos tres", "otra vez dos"]);
        for message in eva.client.history(team, 10).await.unwrap() {
            check(&message);
        }
        let notes: Vec<_> =
            eva.client.timeline(team).await.unwrap().into_iter().map(|(_, note)| note).collect();
        assert_eq!(notes, [TimelineNote::Joined(rosa.user), TimelineNote::Left(rosa.user)]);
        for device in [maria, eva, rosa] {
            device.end().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_before_somebody_left_opens_on_a_device_that_was_away() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let (maria, eva, rosa) =
            (world.maria().await, world.colleague("eva").await, world.colleague("rosa").await);
        let team = maria.client.start_group(vec![eva.user, rosa.user], group()).await.unwrap().id;
        maria.client.send_text(team, "somos tres").await.unwrap();
        maria.client.remove_participant(team, eva.user).await.unwrap();
        maria.client.send_text(team, "somos dos").await.unwrap();
        assert_eq!(texts(&eva, team).await, ["somos tres"]);
        maria.client.add_participants(team, vec![eva.user]).await.unwrap();
        maria.client.send_text(team, "otra vez tres").await.unwrap();
        assert_eq!(texts(&eva, team).await, ["somos tres", "otra vez tres"]);
        let history = eva.client.history(team, 10).await.unwrap();
        assert_eq!(history[1].chain, ChainVerdict::JoinedAt(3), "what was said meanwhile was not for her");
        assert!(history.iter().all(|message| !matches!(message.seal, SealVerdict::Bad(_))), "{history:?}");
        for device in [maria, eva, rosa] {
            device.end().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_title_counts_and_the_server_cannot_read_it() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let (maria, eva) = (world.maria().await, world.colleague("eva").await);
        let team = maria.client.start_group(vec![eva.user], group()).await.unwrap().id;
        assert!(maria.client.descriptions().await.unwrap().is_empty());
        maria.client.describe(team, titled("Guardia")).await.unwrap();
        eva.client.sync_offline().await.unwrap();
        let mut second = titled("Guardia de noche");
        second.tags = vec!["urgencias".into()];
        eva.client.describe(team, second.clone()).await.unwrap();
        maria.client.sync_offline().await.unwrap();
        for device in [&maria, &eva] {
            let known = device.client.descriptions().await.unwrap();
            assert!(known == BTreeMap::from([(team, second.clone())]));
        }
        // Read again, in another order, it is the same.
        maria.client.fetch_history(team, 100).await.unwrap();
        assert!(maria.client.descriptions().await.unwrap()[&team] == second);
        let unread = eva.client.conversations().await.unwrap()[0].unread_count;
        assert_eq!(unread, 0, "a title is nothing to read");
        for device in [maria, eva] {
            device.end().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_answered_reacted_to_and_passed_on() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let (ana, mut maria, eva) = (world.ana().await, world.maria().await, world.colleague("eva").await);
        let direct = ana.client.start_conversation(maria.user, NewConversation::default()).await.unwrap().id;
        let team = maria.client.start_group(vec![eva.user], group()).await.unwrap().id;
        let urgent = SendOptions { priority: Priority::Urgent, urgent: true, ..SendOptions::default() };
        let said = send(&ana, direct, Content::text("me mareo"), urgent).await;
        maria.connected().await;
        let got = maria.client.message_at(direct, 1).await.unwrap();
        check(&got);
        assert!(got.urgent && got.priority == Priority::Urgent);
        let reply = SendOptions { reply_to: got.commitment, ..SendOptions::default() };
        send(&maria, direct, Content::text("siéntese"), reply).await;
        let liked = ContentBody::Reaction(content::Reaction { emoji: "🙏".into(), remove: false });
        let about = SendOptions { target: got.commitment, ..SendOptions::default() };
        send(&maria, direct, Content::new(liked), about).await;
        ana.client.sync_offline().await.unwrap();
        let history = ana.client.history(direct, 10).await.unwrap();
        assert_eq!(history[1].reply_to_seq, Some(1));
        assert_eq!(history[0].reactions[0].users, [maria.user]);

        let sent = maria.client.forward(&got, team).await.unwrap();
        let passed_on = sent.accepted().unwrap();
        assert!(passed_on.content.as_ref().unwrap().forwarded);
        assert_eq!(texts(&eva, team).await, ["me mareo"]);
        let shown = eva.client.history(team, 1).await.unwrap().remove(0);
        assert!(shown.content.as_ref().unwrap().forwarded);
        assert_eq!(shown.sender, maria.user, "whoever passes it on answers for it");
        let fleeting = SendOptions { expires_in_s: 600, ..SendOptions::default() };
        let fleeting = send(&maria, direct, Content::text("efímero"), fleeting).await;
        let liked = maria.client.message_at(direct, 3).await.unwrap();
        for refused in [&fleeting, &liked] {
            let forwarded = maria.client.forward(refused, team).await;
            assert!(matches!(forwarded, Err(Error::Content(_))), "{forwarded:?}");
        }

        ana.client.mark_read(direct, None).await.unwrap();
        let read = maria
            .wait("read mark", |event| match event {
                ClientEvent::Read { user, up_to, .. } => Some((*user, *up_to)),
                _ => None,
            })
            .await;
        assert_eq!(read, (ana.user, 4));
        let own = maria.client.message_at(direct, 2).await.unwrap();
        assert_eq!(own.read_by.iter().map(|mark| mark.user_id).collect::<Vec<_>>(), [ana.user]);
        drop(said);
        for device in [ana, maria, eva] {
            device.end().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conversations_are_muted_put_away_and_closed() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let (ana, maria) = (world.ana().await, world.maria().await);
        let direct = ana.client.start_conversation(maria.user, NewConversation::default()).await.unwrap().id;
        let change = ConversationSettingsChange { notifications_enabled: Some(false), archived: None };
        assert!(!ana.client.arrange(direct, change).await.unwrap().settings.notifications_enabled);
        let change = ConversationSettingsChange { notifications_enabled: None, archived: Some(true) };
        let settings = ana.client.arrange(direct, change).await.unwrap().settings;
        assert!(settings.archived && !settings.notifications_enabled, "what was not named stays");
        assert!(ana.client.conversations().await.unwrap().is_empty());
        assert_eq!(ana.client.all_conversations().await.unwrap().len(), 1);
        assert_eq!(maria.client.conversations().await.unwrap().len(), 1, "everyone has their own");
        assert!(ana.client.close_conversation(direct).await.is_err(), "closing is for clinicians");
        let closed = maria.client.close_conversation(direct).await.unwrap();
        assert_eq!(closed.status, ConversationStatus::Closed);
        let late = ana.client.send_text(direct, "una cosa más").await;
        assert!(late.is_err_and(|error| error.code() == Some(ErrorCode::ConversationClosed)));
        for device in [ana, maria] {
            device.end().await;
        }
    })
    .await;
}
