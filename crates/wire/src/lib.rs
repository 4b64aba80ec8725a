//! Ids, times, requests, answers and events shared by Sigilo's server, clients and tools.
//!
//! Nothing here performs input or output. Requests refuse unknown fields; answers tolerate them, so that an
//! older client keeps working with a newer server.

pub mod account;
pub mod anomaly;
pub mod block;
pub mod break_glass;
pub mod bytes;
pub mod care;
pub mod conflict;
pub mod conversation;
pub mod emergency;
pub mod error;
pub mod event;
pub mod fold;
pub mod hours;
pub mod id;
pub mod keys;
pub mod link;
pub mod mark;
pub mod message;
pub mod mfa;
pub mod networks;
pub mod oidc;
pub mod people;
pub mod phi;
pub mod policy;
pub mod presence;
pub mod role;
pub mod seal;
pub mod time;
pub mod vault;

pub use bytes::{Base64, Base64Array};
pub use error::{ErrorBody, ErrorCode};
pub use id::*;
pub use role::Role;
pub use time::Timestamp;
