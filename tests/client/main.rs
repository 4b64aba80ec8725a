//! The client SDK against a real server: two devices of two people who trust each other and not the server.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

#[path = "../support/mod.rs"]
mod support;

mod account;
mod activation;
mod care_team;
mod chat;
mod cheating;
mod crash;
mod devices;
mod emergency;
mod exchange;
mod files;
mod groups;
mod lifecycle;
mod limits;
mod lost_answers;
mod new_identity;
mod people;
mod presence;
mod recovery;
mod restore;
mod seals;
mod talking;
mod when_open;
