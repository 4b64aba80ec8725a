//! The key server.

mod fetch;
mod fixture;
mod identity;
mod manifest;
mod publish;

pub use fixture::{Clinic, Device};
