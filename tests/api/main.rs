//! The API as clients meet it: real servers on both engines, over HTTP and WebSocket.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

#[path = "../support/mod.rs"]
mod support;

mod accounts;
mod activation;
mod anomalies;
mod audit;
mod bad_input;
mod blocks;
mod break_glass;
mod care;
mod clinic;
mod conversation_changes;
mod conversations;
mod coverage;
mod decisions;
mod emergency;
mod explain;
mod files;
mod groups;
mod hours;
mod identity_resets;
mod kept;
mod keys;
mod limits;
mod links;
mod mfa;
mod networks;
mod oidc;
mod openapi;
mod operation;
mod participants;
mod passwords;
mod places;
mod rates;
mod receipts;
mod relationships;
mod relay;
mod removals;
mod seal_reports;
mod seals;
mod second_factor;
mod standing;
mod suspension;
mod tokens;
