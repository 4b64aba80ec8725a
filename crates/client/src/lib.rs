//! The client of a Sigilo server: libsignal sessions, sealed messages, an encrypted profile, REST and WebSocket.
//!
//! A [`Client`] is one device of one person. It keeps everything it must not forget in a [profile file], talks to
//! one server, and checks everything the server says that can be checked: keys under the pinned root, manifests
//! and messages under identity keys, record seals copy by copy, receipts under the clinic's receipt key. What
//! fails a check is shown with the reason, never dropped.
//!
//! ```no_run
//! use sigilo_client::{ActivateOptions, Client, ClientEvent};
//!
//! # async fn example() -> sigilo_client::Result<()> {
//! let invitation = "sigilo://activate?v=1&server=...&clinic=...&code=...&root=...".parse()?;
//! let options = ActivateOptions::new("a password for the account");
//! let client = Client::activate("ana.profile", "a passphrase for the profile", invitation, options).await?;
//!
//! let mut events = client.events().await?;
//! client.connect().await?;
//! let doctor = &client.contacts().await?[0];
//! let conversation = client.start_conversation(doctor.user_id, Default::default()).await?;
//! client.send_text(conversation.id, "Buenos días, doctora.").await?;
//! while let Some(event) = events.next().await {
//!     if let ClientEvent::Message(message) = event {
//!         println!("{}: {}", message.sender_name, message.text().unwrap_or("(not text)"));
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What it does not protect from
//! Somebody who has the unlocked device. A server that was there first: whoever never compares safety numbers
//! trusts the first identity key they are shown, and whoever does not compare the root card trusts the
//! invitation's bearer.
//!
//! [profile file]: Unlock

mod account;
mod activate;
mod api;
mod blocks;
mod chain;
mod client;
mod clinic;
mod comings;
mod contacts;
mod conversations;
mod devices;
mod emergency;
mod engine;
mod env;
mod error;
mod event;
mod expiry;
mod filters;
mod finding;
mod history;
mod invitation;
mod link;
mod marks;
mod membership;
mod message;
mod opening;
mod outbox;
mod presence;
mod profile;
mod receive;
mod refusal;
#[cfg(test)]
mod refusal_tests;
mod restore;
mod revisions;
mod rules;
mod safety;
mod sealer;
mod seals;
mod search;
mod sessions;
mod socket;
#[cfg(test)]
mod testing;
mod titles;
mod uri;
mod vault;

pub use account::Proof;
pub use activate::SecondFactorSetup;
pub use api::ServerUrl;
pub use client::{ActivateOptions, Client, Me, NewConversation, OpenOptions};
pub use env::Environment;
pub use error::{Error, Result};
pub use event::{ClientEvent, Events, TimelineNote};
pub use filters::{Finding, SpamSign, review};
pub use finding::{ContactFilter, ConversationFilter, FoundMessage, MetadataSearch};
pub use invitation::Invitation;
pub use link::{LinkOptions, LinkText, Linking};
pub use message::{
    ChainVerdict, NotAuthenticReason, Reactions, ReceiptVerdict, SealVerdict, ShownMessage, Verification,
    Version,
};
pub use opening::MayNow;
pub use outbox::{MAX_SCHEDULE, MAX_TEXT_CHARS, SendOptions, SendState, Sent};
pub use profile::Unlock;
pub use refusal::DecisionVerdict;
pub use restore::RestoreProgress;
pub use safety::{SafetyNumber, safety_number};
pub use sealer::{Sealer, Unsealed};
pub use search::{SearchHit, SearchQuery, SearchResults};
pub use vault::{FileDetails, NewAttachment, Released, SavedFile, SharedFile, TransferProgress};
