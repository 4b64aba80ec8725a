//! The API as clients meet it: real servers on both engines, over HTTP and WebSocket.

#[path = "../support/mod.rs"]
mod support;

mod operation;
