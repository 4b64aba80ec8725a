//! Clinics, the keys that make them trustworthy, and their people.
//!
//! A clinic comes to be in four steps: [`create_clinic`] makes its row and the server's keys; the offline
//! ceremony ([`certify`]) makes root, records and moderation keys and signs statements for all;
//! [`install_keys`] verifies and stores them; [`invite`] then invites people, with the root's fingerprint taken
//! from the root card, never from the server.

mod ceremony;
mod certified;
mod clinic;
pub mod identity_resets;
mod install_keys;
mod invite;
mod key_files;
mod me;
mod networks;
mod person;
mod root_card;
mod settings;
pub(crate) mod store;
mod suspend;
mod users;

pub use ceremony::{Ceremony, PrivateKeys, certify};
pub use certified::KeyInForce;
pub(crate) use certified::{certified_scanners, key_in_force};
pub use clinic::{NewClinic, authorize_manage_clinic, clinic_id, create_clinic, get_clinic};
pub use install_keys::{Installed, install_keys};
pub use invite::{Invitation, Invitee, authorize_manage_people, invite};
pub use key_files::{CertificationRequest, ClinicKeys, ServerKey};
pub use me::{get_me, update_me};
pub(crate) use networks::Ranges;
pub use networks::{Networks, authorize_manage_networks, networks, set_networks};
pub(crate) use person::person;
pub use root_card::RootCard;
pub use settings::{RateLimits, SecondFactorRule, rate_limits, set_rate_limits, set_second_factor};
pub(crate) use settings::{Settings, change_settings, settings};
pub(crate) use suspend::suspend_within;
pub use suspend::{StatusChange, resume_user, suspend_user};
pub use users::{UserSummary, list_users};

use std::time::Duration;

use sigilo_wire::UserId;

use crate::{Error, Result, storage::crypter::Place};

/// How long an invitation is good.
pub const INVITATION_LIFE: Duration = Duration::from_hours(72);

/// The place of a column of a user's row.
fn user_place<'a>(user: &'a UserId, column: &'a str) -> Place<'a> {
    Place { table: "users", row: user.as_bytes(), column }
}

/// Refuses names that are empty, over-long or cannot be shown.
fn check_name(field: &str, name: &str) -> Result<()> {
    let length = name.trim().chars().count();
    if (1..=200).contains(&length) && !name.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(Error::field(field, "1 to 200 printable characters"))
    }
}

/// Refuses what is not an IANA time zone.
fn check_time_zone(zone: &str) -> Result<()> {
    match zone.parse::<chrono_tz::Tz>() {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::field("time_zone", "an IANA time zone such as America/Mexico_City")),
    }
}
