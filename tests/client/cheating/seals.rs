//! Cheats with record seals.

use serde_json::json;

use super::{Cheat, Stage, flip};
use crate::support::{Engine, TestServer};

const UNSIGNED: &str = "a record seal of Ana López is not valid: its maker did not sign it";

/// A change of a seal, and what is said of it. The first copy is the officers'.
const CHANGED: &[Cheat] = &[
    (|seal| flip(&mut seal["copies"][0]["ciphertext"]), UNSIGNED),
    (|seal| flip(&mut seal["copies"][0]["enc"]), UNSIGNED),
    (|seal| flip(&mut seal["copies"][1]["ciphertext"]), UNSIGNED),
    (|seal| flip(&mut seal["copies"][2]["ciphertext"]), UNSIGNED),
    (|seal| drop(seal["copies"].as_array_mut().unwrap().remove(0)), UNSIGNED),
    (|seal| drop(seal["members"].as_array_mut().unwrap().remove(0)), UNSIGNED),
    (|seal| flip(&mut seal["members"][0]["identity_key"]), "a record seal of Ana López is not valid"),
    (|seal| seal["created_at"] = json!("2026-01-01T00:00:00.000000Z"), UNSIGNED),
    (|seal| flip(&mut seal["signature"]), UNSIGNED),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_seal_is_shown_with_the_messages_under_it() {
    let server = TestServer::start(Engine::Sqlite).await;
    let mut stage = Stage::set(&server).await;
    for (change, shown) in CHANGED {
        // Each seal is judged once: another conversation has another one.
        let conversation = stage.another().await;
        stage.proxy.answers(move |path, body| {
            if path.contains("/seals/") {
                for listed in body["results"].as_array_mut().into_iter().flatten() {
                    change(&mut listed["seal"]);
                }
            }
        });
        stage.says_in(conversation, "bajo un sello").await;
        stage.chat.shows(shown).await;
        stage.chat.shows("NOT AUTHENTIC: its record seal is not valid").await;
    }
    assert_eq!(stage.chat.count("bajo un sello"), 0);
    stage.end().await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withheld_or_foreign_seal_is_shown() {
    let server = TestServer::start(Engine::Sqlite).await;
    let mut stage = Stage::set(&server).await;
    let conversation = stage.another().await;
    stage.proxy.answers(|path, body| {
        if path.contains("/seals/") {
            body["results"] = json!([]);
        }
    });
    stage.says_in(conversation, "sin sello").await;
    stage.chat.shows("NOT AUTHENTIC: its record seal is not valid: the server does not have it").await;

    let maria = stage.maria;
    stage.proxy.answers(move |path, body| {
        if path.contains("/seals/") {
            body["results"][0]["sender_id"] = json!(maria);
        }
    });
    stage.says_in(conversation, "con el sello de otra").await;
    stage.chat.shows("NOT AUTHENTIC: its record seal is not valid: it is another device's").await;
    stage.end().await;
    server.finish().await;
}
