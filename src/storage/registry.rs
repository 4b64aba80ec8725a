//! Every statement of the program, for the test that prepares each on each engine.

use crate::{
    anomalies, audit, auth, blocks, break_glass, cli, conversations, emergency, hours, idempotency, keys,
    marks, mfa, outbox, people, presence, relationships, relay, storage, vault,
};

/// Names and texts of one store file.
type Statements = &'static [(&'static str, &'static str)];

/// Statements of the main database.
#[must_use]
pub fn main() -> Vec<(&'static str, &'static str)> {
    let stores: &[Statements] = &[
        anomalies::store::ALL,
        audit::store::ALL,
        auth::store::ALL,
        auth::link::store::ALL,
        auth::oidc::store::ALL,
        auth::places::store::ALL,
        blocks::store::ALL,
        break_glass::store::ALL,
        cli::demo::store::ALL,
        cli::bench::store::ALL,
        conversations::store::ALL,
        conversations::store::company::ALL,
        conversations::store::members::ALL,
        conversations::store::ties::ALL,
        emergency::store::ALL,
        hours::store::ALL,
        idempotency::store::ALL,
        keys::store::ALL,
        marks::store::ALL,
        mfa::store::ALL,
        outbox::store::ALL,
        relationships::store::ALL,
        relationships::store::care_teams::ALL,
        people::store::ALL,
        presence::store::ALL,
        people::identity_resets::store::ALL,
        relay::store::ALL,
        relay::held::store::ALL,
        relay::store::files::ALL,
        relay::store::read::ALL,
        vault::store::ALL,
        vault::quarantine::store::ALL,
        vault::scan::store::ALL,
        storage::dialect::ALL,
        storage::sequences::ALL,
    ];
    stores.concat()
}

/// Statements of the key store.
#[must_use]
pub fn keystore() -> Vec<(&'static str, &'static str)> {
    storage::keystore::ALL.to_vec()
}
