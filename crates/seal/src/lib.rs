//! Message sealing, commitments, record seals and signed statements of the Sigilo protocol.
//!
//! One implementation for the client, the server's checks, the tests and the offline tools. Nothing here
//! performs input or output: time and randomness are arguments, bytes go in and come out.
//!
//! Reading order: [`encode`] (how every statement is written), [`identity`] and [`root`] (who signs),
//! [`manifest`] (a user's devices), [`link`] (how a device joins them), [`context`] and [`message`] (one message),
//! [`record_seal`] (how the clinic reads it in seven years), [`receipt`] (what the server promises), [`decision`] (what it says
//! of what it refused), [`file`](mod@file) (a file of the vault), [`scan`], [`verdict`] and [`release`] (who looks into it, and
//! what is said of it).
//!
//! # What it does not protect from
//! A device that is broken into gives away its keys and what it has shown. A participant may copy what they
//! read. Forward secrecy ends where the duty to keep records begins: whoever holds the records key, or a
//! participant's history key, opens every seal made for it. Secrets are wiped when dropped, but copies that
//! the compiler or the operating system made are out of reach.

mod primitives;

pub mod bytes;
pub mod content;
pub mod context;
pub mod decision;
pub mod ed25519;
pub mod encode;
pub mod file;
pub mod fuzz;
pub mod history_key;
pub mod identity;
pub mod identity_change;
pub mod key_check;
pub mod link;
pub mod manifest;
pub mod message;
pub mod padding;
pub mod receipt;
pub mod record_seal;
pub mod release;
pub mod rng09;
pub mod root;
pub mod scan;
pub mod secret;
pub mod value;
pub mod verdict;
pub mod wire;
pub mod xwing;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod vectors;

pub use bytes::{Commitment, FileCommitment, KeyId};
pub use content::{Content, ContentBody};
pub use context::{Attachment, Context};
pub use decision::Decision;
pub use ed25519::{Ed25519Public, Ed25519Secret};
pub use encode::DecodeError;
pub use file::{FileError, FileHead, FileLayout, FileOpener, FileSealer, RangeOpener};
pub use history_key::HistoryKeyEnvelope;
pub use identity::{IdentityPublicKey, IdentitySecret, KeyError, KyberPublicKey, PreKeyPublic};
pub use link::{LinkOffer, LinkPackage, LinkedContact, LinkedEarlier};
pub use manifest::{Manifest, ManifestDevice, SignedManifest};
pub use message::{Envelope, NotAuthentic, SealedMessage, SessionPeer};
pub use primitives::sha256;
pub use receipt::Receipt;
pub use record_seal::{Member, Recipient, RecordSeal, SealHeader, SealedCopy};
pub use release::{Release, ReleaseNeed, ReleaseStatement, SignedReleaseStatement};
pub use rng09::Rng09;
pub use root::{KeyPurpose, RootFingerprint, RootStatement, SignedRootStatement};
pub use scan::{HandOver, ScanKey, ScanSubject, SignedScanKey};
pub use secret::{ArchiveKey, ContentKey, FileKey, LinkClaim, LinkSecret};
pub use verdict::{Refusal, ScanResult, SignedVerdict, VaultFile, Verdict};
pub use wire::Origin;
pub use xwing::{XWingPublic, XWingSecret};
