//! Conversations: who takes part, who may start one, and the record seals that keep them readable.
//!
//! The server knows who talks to whom, of which type, about which appointment; titles and everything said are
//! messages, which it cannot read. A pair has one direct conversation. What a decision on a send depends on
//! (members, their accounts, care relationships, blocks) has a version, `facts_version`: whoever changes such a fact
//! calls [`facts_changed_between`] or [`facts_changed_of`] in the same transaction, and the relay's writer
//! refuses grants made on an older version. Members who join or leave move the version themselves.

mod authorize;
mod company;
mod contacts;
mod create;
mod details;
mod files;
mod list;
mod look;
mod notify;
mod participants;
mod report_seal;
mod scans;
mod seals;
mod snapshot;
pub(crate) mod store;
mod update;

pub(crate) use authorize::start_facts;
pub(crate) use authorize::{audit_denied_send, authorize_hold, snapshot};
pub use authorize::{
    authorize_handle, authorize_read, authorize_read_seals, authorize_report_seal, authorize_seal,
    authorize_send, authorize_start,
};
pub use company::authorize_typing;
pub(crate) use company::{Companion, company};
pub use contacts::{ContactFilter, contacts};
pub use create::{Created, create};
pub use details::get;
pub(crate) use details::shown;
pub(crate) use files::{
    FileFacts, authorize_consent, authorize_read_file, authorize_upload, file_changed, hold,
    patient_of_appointment,
};
pub use list::{ConversationFilter, list};
pub(crate) use look::{look_file, look_in, look_join, look_leave, look_seals, look_start};
pub(crate) use notify::{conversation_updated, participant_changed, settings_changed};
pub use notify::{facts_changed_between, facts_changed_in_clinic, facts_changed_of, facts_changed_of_many};
pub use participants::{add_participants, remove_participant};
pub use report_seal::report_seal;
pub(crate) use scans::{OfFile, authorize_of_file, look_of_file, patient_of};
pub use seals::{list_seals, publish_seal};
pub(crate) use snapshot::Device;
#[cfg(test)]
pub(crate) use snapshot::Member;
pub use snapshot::{Snapshot, Snapshots};
pub(crate) use store::lock_people;
pub use update::{leave_or_archive, update_conversation};

/// The most people in a conversation.
pub const MAX_PARTICIPANTS: usize = 50;
/// The most characters of a consultation type.
pub const MAX_CONSULTATION_TYPE: usize = 40;

use sigilo_wire::Timestamp;
use uuid::Uuid;

use crate::{Error, Result, paging};

/// A place in a list ordered by time: `<microseconds>-<id>`. Opaque to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The time of the last entry given.
    pub at: Timestamp,
    /// Its id.
    pub id: Uuid,
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.at.micros(), self.id.simple())
    }
}

impl std::str::FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let (at, id) = text.split_once('-')?;
            Some(Self { at: Timestamp::from_micros(at.parse().ok()?), id: Uuid::try_parse(id).ok()? })
        };
        parse().ok_or_else(paging::not_a_cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_what_was_given_or_refused() {
        let cursor = Cursor { at: Timestamp::from_micros(17), id: Uuid::from_bytes([7; 16]) };
        assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        for wrong in ["", "-", "17", "17-x", "x-07070707070707070707070707070707"] {
            assert!(wrong.parse::<Cursor>().is_err(), "{wrong}");
        }
    }
}
