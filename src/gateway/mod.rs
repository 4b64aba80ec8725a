//! The ways in. A gateway parses, calls one capability function, and renders; no rule and no SQL lives here.

pub mod http;
pub mod language;
pub mod messages;
pub mod render;
pub mod ws;
