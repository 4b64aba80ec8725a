//! Cheats with who takes part.

use serde_json::{Value, json};
use sigilo_wire::UserId;

use super::Stage;
use crate::support::{Engine, TestServer};

/// Changes the list of participants in every answer that has one.
fn participants(change: impl Fn(&mut Vec<Value>) + Send + 'static) -> impl FnMut(&str, &mut Value) {
    fn each(value: &mut Value, change: &impl Fn(&mut Vec<Value>)) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value.as_array_mut() {
                        Some(list) if name == "participants" => change(list),
                        _ => each(value, change),
                    }
                }
            }
            Value::Array(list) => list.iter_mut().for_each(|value| each(value, change)),
            _ => {}
        }
    }
    move |path, body| {
        if path.starts_with("/api/chat/conversations/") {
            each(body, &change);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_participant_left_out_or_added_is_shown_before_anything_is_sent() {
    let server = TestServer::start(Engine::Sqlite).await;
    let mut stage = Stage::set(&server).await;
    let (ana, conversation) = (stage.ana.user, stage.conversation);
    let changed = json!({
        "type": "conversation_updated", "data": {}, "conversation_id": conversation,
        "timestamp": "2026-11-24T00:00:00.000000Z",
    });
    stage.proxy.answers(participants(move |list| list.retain(|one| one["user_id"] != json!(ana))));
    stage.invents(changed.clone());
    stage.says("¿me oye?").await;
    stage.chat.shows("Ana López has left").await;

    let stranger = UserId::from_bytes([0x42; 16]);
    stage.proxy.answers(participants(move |list| {
        let mut ghost = list[0].clone();
        ghost["user_id"] = json!(stranger);
        ghost["full_name"] = json!("Nadie");
        list.push(ghost);
    }));
    stage.invents(changed);
    stage.says("¿y ahora?").await;
    stage.chat.shows("Ana López takes part").await;
    stage.chat.shows("Nadie takes part").await;
    // Keys that nobody made are not sent to.
    let sends = stage.proxy.passed("/messages/").len();
    stage.chat.types("para todos").await;
    stage.chat.shows("! ").await;
    assert_eq!(stage.proxy.passed("/messages/").len(), sends);
    stage.end().await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_participant_never_shown_stands_in_the_others_seals() {
    let server = TestServer::start(Engine::Sqlite).await;
    let mut stage = Stage::set(&server).await;
    let ana = stage.ana.user;
    stage.proxy.answers(participants(move |list| list.retain(|one| one["user_id"] != json!(ana))));
    let conversation = stage.another().await;
    stage.says_in(conversation, "somos dos").await;
    stage.chat.shows("a record seal of Ana López is not valid: its members are others").await;
    stage.chat.shows("somos dos").await;
    stage.chat.shows("its record seal is bad: its members are others").await;
    stage.end().await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_under_another_time_of_joining_is_shown_as_an_absence() {
    let server = TestServer::start(Engine::Sqlite).await;
    let mut stage = Stage::set(&server).await;
    let (maria, conversation) = (stage.maria, stage.conversation);
    // The first message is dropped; before the second one, the conversation is said to be another.
    let mut seen = 0;
    stage.proxy.frames(move |frame| {
        seen += usize::from(frame["type"] == "new_message");
        let changed = json!({
            "type": "conversation_updated", "data": {}, "conversation_id": conversation,
            "timestamp": "2026-11-24T00:00:00.000000Z",
        });
        match (frame["type"] == "new_message", seen) {
            (true, 1) => Vec::new(),
            (true, 2) => vec![changed, frame],
            _ => vec![frame],
        }
    });
    stage.says("no tome la segunda").await;
    let joined_at = json!(server.app.clock.now());
    stage.proxy.answers(participants(move |list| {
        for one in list.iter_mut().filter(|one| one["user_id"] == json!(maria)) {
            one["joined_at"] = joined_at.clone();
        }
    }));
    stage.says("gracias").await;
    stage.chat.shows("you have left").await;
    stage.chat.shows("you take part").await;
    stage.chat.shows("gracias").await;
    stage.end().await;
    server.finish().await;
}
