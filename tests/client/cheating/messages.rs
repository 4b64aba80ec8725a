//! Cheats with messages on their way.

use serde_json::{Value, json};
use sigilo_client::SendOptions;
use sigilo_seal::{Content, ContentBody, content::Reaction};
use sigilo_wire::{Base64Array, ClientMessageId, UserId};

use super::{Cheat, Stage, flip, next_message, next_two, swap};
use crate::support::{Engine, TestServer};

const SIGNATURE: &str = "NOT AUTHENTIC: the sender did not sign it";
const RECEIPT: &str = "the receipt is not valid";
const MISSING: &str = "1 messages of this device are missing before it";

/// A change, and what is shown in the place of the text.
const REFUSED: &[Cheat] = &[
    (|m| flip(&mut m["body"]), "NOT AUTHENTIC: its commitment does not match its key and content"),
    (|m| flip(&mut m["wrapped_key"]), SIGNATURE),
    (|m| flip(&mut m["commitment"]), SIGNATURE),
    (|m| flip(&mut m["signature"]), SIGNATURE),
    (|m| m["client_message_id"] = json!(ClientMessageId::from_bytes([1; 16])), SIGNATURE),
    (|m| m["sent_at"] = json!("2026-01-01T00:00:00.000000Z"), SIGNATURE),
    (|m| m["message_type"] = json!("location"), SIGNATURE),
    (|m| m["priority"] = json!("urgent"), SIGNATURE),
    (|m| m["urgent"] = json!(true), SIGNATURE),
    (|m| m["deliver"] = json!("when_open"), SIGNATURE),
    (|m| m["expires_in_s"] = json!(1), SIGNATURE),
    (|m| m["device_seq"] = json!(77), SIGNATURE),
    (|m| m["prev_commitment"] = Value::Null, SIGNATURE),
    (|m| m["seen_commitment"] = Value::Null, SIGNATURE),
    (|m| m["target_commitment"] = json!(Base64Array([1; 32])), SIGNATURE),
    (|m| m["reply_to_commitment"] = json!(Base64Array([1; 32])), SIGNATURE),
    (|m| m["seal_id"] = json!("0198c0de-0000-7000-8000-000000000000"), "the server does not have it"),
    (|m| flip(&mut m["envelope"]["content"]), "its key does not open in the session"),
    (|m| m["sender"]["user_id"] = json!(UserId::from_bytes([9; 16])), "its key does not open in the session"),
    (|m| m["sender"]["device_id"] = json!(2), "its key does not open in the session"),
];

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_changed_is_shown_and_the_true_message_can_be_had() {
    let server = TestServer::start(Engine::Sqlite).await;
    let mut stage = Stage::set(&server).await;
    for (number, (change, shown)) in REFUSED.iter().enumerate() {
        stage.proxy.frames(next_message(change));
        stage.says(&format!("la dosis {number} es de 5 mg")).await;
        stage.chat.shows(shown).await;
    }
    let maria = stage.maria;
    stage.proxy.frames(next_message(move |message| message["sender"]["user_id"] = json!(maria)));
    stage.says("como si fuera suya").await;
    stage.chat.shows("NOT AUTHENTIC").await;
    assert_eq!(stage.chat.count("la dosis"), 0, "nothing that failed was shown as said");
    assert_eq!(stage.chat.count("como si fuera suya"), 0);

    // Once the server is honest, what is true comes by the history.
    stage.is_at_ease("ya está").await;
    stage.chat.types("/restore").await;
    stage.chat.shows("the history is here").await;
    stage.chat.types("/history 100").await;
    for number in 0..REFUSED.len() {
        stage.chat.shows(&format!("la dosis {number} es de 5 mg")).await;
    }
    stage.chat.shows("como si fuera suya").await;
    stage.end().await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_moved_to_another_conversation_or_target_is_shown() {
    let server = TestServer::start(Engine::Sqlite).await;
    let mut stage = Stage::set(&server).await;
    let other = stage.another().await;
    stage.says_in(other, "sobre otra cosa").await;
    stage.chat.shows("sobre otra cosa").await;
    stage.proxy.frames(move |mut frame| {
        if frame["type"] == "new_message" {
            frame["conversation_id"] = json!(other);
            frame["data"]["conversation_id"] = json!(other);
        }
        vec![frame]
    });
    stage.says("suspenda el tratamiento").await;
    stage.chat.shows("NOT AUTHENTIC").await;
    assert_eq!(stage.chat.count("suspenda el tratamiento"), 0);

    // A consent for one thing does not become one for another.
    stage.is_at_ease("primera").await;
    stage.is_at_ease("segunda").await;
    let history = stage.ana.client.history(stage.conversation, 2).await.unwrap();
    let [first, second] = [0, 1].map(|place: usize| history[place].commitment.unwrap());
    stage.proxy.frames(next_message(move |message| {
        message["target_commitment"] = json!(Base64Array(*second.as_bytes()));
    }));
    let body = ContentBody::Reaction(Reaction { emoji: "👍".to_owned(), remove: false });
    let options = SendOptions { target: Some(first), ..Default::default() };
    stage.ana.client.send(stage.conversation, Content::new(body), options).await.unwrap();
    stage.chat.shows(SIGNATURE).await;
    stage.end().await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_message_shows_as_missing() {
    let server = TestServer::start(Engine::Sqlite).await;
    let mut stage = Stage::set(&server).await;
    let drop_next = || {
        let mut dropped = false;
        move |frame: Value| {
            let drop = !dropped && frame["type"] == "new_message";
            dropped |= drop;
            if drop { Vec::new() } else { vec![frame] }
        }
    };
    stage.proxy.frames(drop_next());
    stage.says("no tome la segunda").await;
    stage.says("gracias").await;
    stage.chat.shows("gracias").await;
    stage.chat.shows(MISSING).await;

    // The first of a conversation, which follows nothing.
    let other = stage.another().await;
    stage.proxy.frames(drop_next());
    stage.says_in(other, "lo primero").await;
    stage.says_in(other, "lo segundo").await;
    stage.chat.shows("lo segundo").await;
    stage.chat.shows("the first 1 messages of this device are not here").await;

    // In the history, too.
    stage.proxy.frames(|frame| if frame["type"] == "new_message" { Vec::new() } else { vec![frame] });
    for text in ["uno", "dos", "tres"] {
        stage.says(text).await;
    }
    let kept = stage.ana.client.history(stage.conversation, 3).await.unwrap();
    let withheld = json!(kept[1].message_id);
    stage.proxy.answers(move |path, body| {
        if path.contains("/messages/") {
            body["results"].as_array_mut().unwrap().retain(|message| message["id"] != withheld);
        }
    });
    stage.chat.types("/restore").await;
    stage.chat.shows("the history is here").await;
    stage.chat.types("/history 3").await;
    stage.chat.shows("Ana López: tres").await;
    stage.chat.shows(MISSING).await;
    stage.end().await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_out_of_order_show_as_missing_or_late() {
    let server = TestServer::start(Engine::Sqlite).await;
    let mut stage = Stage::set(&server).await;
    stage.proxy.frames(next_two(|first, second| vec![second, first]));
    stage.says("primero esto").await;
    stage.says("y luego esto").await;
    stage.chat.shows("y luego esto").await;
    stage.chat.shows(MISSING).await;
    stage.chat.shows("primero esto").await;

    let other = stage.another().await;
    let mut held = Vec::new();
    stage.proxy.frames(move |frame| {
        if frame["type"] != "new_message" || held.len() == 3 {
            return vec![frame];
        }
        held.push(frame);
        if held.len() < 3 { Vec::new() } else { held.iter().rev().cloned().collect() }
    });
    for text in ["al principio", "después", "al final"] {
        stage.says_in(other, text).await;
    }
    stage.chat.shows("al final").await;
    stage.chat.shows("the first 2 messages of this device are not here").await;
    stage.chat.shows("después").await;
    stage.chat.shows("it is older than one shown before").await;
    // Nothing is missing before the first one, and by now nothing before the others.
    stage.chat.shows("al principio").await;

    // Numbers that were exchanged are not those of the receipts.
    stage.proxy.frames(next_two(|mut first, mut second| {
        swap(&mut first, &mut second, "conversation_seq");
        vec![first, second]
    }));
    stage.says("tres").await;
    stage.says("cuatro").await;
    for text in ["tres", "cuatro"] {
        stage.chat.shows(text).await;
        stage.chat.shows(RECEIPT).await;
    }
    stage.end().await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_told_twice_is_shown_once_and_another_under_its_name_is_told() {
    let server = TestServer::start(Engine::Sqlite).await;
    let mut stage = Stage::set(&server).await;
    let twice = |change: fn(&mut Value)| {
        move |frame: Value| {
            let mut frames = vec![frame.clone()];
            if frame["type"] == "new_message" {
                let mut again = frame;
                again["event_id"] = json!("00000000ffffffff");
                change(&mut again["data"]);
                frames.push(again);
            }
            frames
        }
    };
    stage.proxy.frames(twice(|_| {}));
    stage.says("una sola vez").await;
    stage.proxy.frames(twice(|message| flip(&mut message["body"])));
    stage.says("la de verdad").await;
    stage.chat.shows("the server shows another message under the name of #").await;
    assert_eq!(stage.chat.count("una sola vez"), 1);
    assert_eq!(stage.chat.count("la de verdad"), 1);
    stage.proxy.honest();
    stage.chat.types("/history 1").await;
    stage.chat.shows("la de verdad").await;
    stage.chat.shows("the server has shown another message under its name since").await;

    // The false one first does not hide the true one.
    stage.proxy.frames(|frame| {
        let mut frames = vec![frame.clone()];
        if frame["type"] == "new_message" {
            flip(&mut frames[0]["data"]["signature"]);
            frames.push(frame);
        }
        frames
    });
    stage.says("detrás de una falsa").await;
    stage.chat.shows(SIGNATURE).await;
    stage.proxy.honest();
    stage.chat.types("/restore").await;
    stage.chat.shows("the history is here").await;
    stage.chat.types("/history 1").await;
    stage.chat.shows("detrás de una falsa").await;
    stage.end().await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn envelopes_bodies_and_receipts_exchanged_between_messages_are_shown() {
    let server = TestServer::start(Engine::Sqlite).await;
    let mut stage = Stage::set(&server).await;
    for (field, shown) in [
        ("envelope", "its commitment does not match its key and content"),
        ("body", "its commitment does not match its key and content"),
        ("wrapped_key", "the sender did not sign it"),
        ("receipt", RECEIPT),
    ] {
        stage.proxy.frames(next_two(move |mut first, mut second| {
            swap(&mut first, &mut second, field);
            vec![first, second]
        }));
        stage.says("sí").await;
        stage.says("no").await;
        stage.chat.shows(shown).await;
        stage.chat.shows(shown).await;
    }
    stage.end().await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_receipt_is_shown_to_reader_and_sender() {
    let server = TestServer::start(Engine::Sqlite).await;
    let mut stage = Stage::set(&server).await;
    let changes: [fn(&mut Value); 6] = [
        |m| flip(&mut m["receipt"]["signature"]),
        |m| flip(&mut m["receipt"]["audit_leaf"]),
        |m| m["receipt"]["policies"] = json!([]),
        |m| flip(&mut m["receipt"]["policy_set"]),
        |m| m["received_at"] = json!("2026-01-01T00:00:00.000000Z"),
        |m| m["conversation_seq"] = json!(99),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        stage.proxy.frames(next_message(change));
        stage.says(&format!("mensaje {number}")).await;
        stage.chat.shows(&format!("mensaje {number}")).await;
        stage.chat.shows(RECEIPT).await;
        stage.proxy.frames(move |mut frame| {
            if frame["type"] == "result" {
                change(&mut frame["data"]);
            }
            vec![frame]
        });
        stage.chat.types(&format!("respuesta {number}")).await;
        stage.chat.shows(&format!("you: respuesta {number}")).await;
        stage.chat.shows(RECEIPT).await;
    }
    stage.proxy.frames(next_message(|message| drop(message.as_object_mut().unwrap().remove("receipt"))));
    stage.says("sin recibo").await;
    stage.chat.shows("! the server's answer makes no sense").await;
    stage.end().await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_forgets_what_it_accepted_is_told_so() {
    let server = TestServer::start(Engine::Sqlite).await;
    let mut stage = Stage::set(&server).await;
    stage.proxy.frames(|mut frame| {
        if frame["type"] == "result" {
            frame["type"] = json!("error");
            frame["data"] = refusal("chain_gap", &json!({"device_seq": 0}));
        }
        vec![frame]
    });
    stage.chat.types("¿sigue ahí?").await;
    stage.chat.shows("it has lost messages it accepted").await;
    stage.end().await;
    server.finish().await;
}

/// The body of a refusal.
pub(super) fn refusal(code: &str, details: &Value) -> Value {
    json!({
        "error": code, "message": "no", "details": details,
        "request_id": "0198c0de-0000-7000-8000-000000000000",
    })
}
