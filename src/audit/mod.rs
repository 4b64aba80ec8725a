//! The audit log's entries: who did what to whom, allowed by which policies, written in the transaction of the
//! act itself. No content, no names.
//!
//! An entry is stored as its canonical bytes, a 32-byte salt under a data key, and the leaf
//! `HMAC-SHA256(salt, canonical)`. Only leaves enter the log's tree, so an entry can be forgotten (its salt's
//! data key destroyed) while every proof stays valid.

pub(crate) mod store;

use std::collections::BTreeMap;

use serde::Serialize;
use sigilo_seal::receipt::audit_leaf;
use sigilo_wire::{AuditEntryId, DataKeyId, DeviceId, RequestId, Role, TenantId, Timestamp, UserId};

use crate::{
    Actor, Ctx, Result,
    policy::Basis,
    rng,
    rng::Entropy,
    storage::{Tx, keystore::DataKey, script::Script},
};

/// What came of an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done.
    Allowed,
    /// A rule refused it.
    Denied,
    /// It failed for another reason, such as a wrong password.
    Failed,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

/// What happened, before it is an entry.
#[derive(Clone, Debug)]
pub struct Act<'a> {
    /// The act's name, such as `send_message` or `login`.
    pub name: &'a str,
    /// What came of it.
    pub outcome: Outcome,
    /// The patient it concerns.
    pub patient: Option<UserId>,
    /// The objects, by kind: ids and hashes only.
    pub objects: BTreeMap<&'static str, String>,
    /// The policies that decided, if a policy did.
    pub basis: Option<&'a Basis>,
}

impl<'a> Act<'a> {
    /// An act that was done.
    #[must_use]
    pub fn done(name: &'a str) -> Self {
        Self { name, outcome: Outcome::Allowed, patient: None, objects: BTreeMap::new(), basis: None }
    }

    /// An act that failed.
    #[must_use]
    pub fn failed(name: &'a str) -> Self {
        Self { outcome: Outcome::Failed, ..Self::done(name) }
    }

    /// An act a rule refused.
    #[must_use]
    pub fn denied(name: &'a str) -> Self {
        Self { outcome: Outcome::Denied, ..Self::done(name) }
    }

    /// With an object: its kind and its id or hash.
    #[must_use]
    pub fn object(mut self, kind: &'static str, id: impl ToString) -> Self {
        self.objects.insert(kind, id.to_string());
        self
    }

    /// With the patient it concerns.
    #[must_use]
    pub const fn patient(mut self, patient: Option<UserId>) -> Self {
        self.patient = patient;
        self
    }

    /// With the person it concerns, when they are a patient.
    #[must_use]
    pub fn about(self, role: Role, user: UserId) -> Self {
        self.patient((role == Role::Patient).then_some(user))
    }

    /// With the policies that allowed it.
    #[must_use]
    pub const fn by(mut self, basis: &'a Basis) -> Self {
        self.basis = Some(basis);
        self
    }
}

/// The canonical form: JSON with the keys in this order, no spaces, absent values left out. Its bytes are what
/// the leaf commits to and what reports show.
#[derive(Serialize)]
struct Canonical<'a> {
    v: u8,
    tenant: TenantId,
    at: i64,
    act: &'a str,
    outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<UserId>,
    actor_kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<DeviceId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patient: Option<UserId>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    objects: &'a BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    policies: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_set: Option<String>,
    request: RequestId,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
}

/// An entry ready to be written: everything but its place in the clinic's sequence.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub(crate) entry_id: AuditEntryId,
    pub(crate) tenant: TenantId,
    pub(crate) patient: Option<UserId>,
    pub(crate) actor: Option<UserId>,
    pub(crate) act: String,
    pub(crate) outcome: &'static str,
    pub(crate) at: Timestamp,
    pub(crate) data_key: DataKeyId,
    pub(crate) salt: Vec<u8>,
    pub(crate) canonical: Vec<u8>,
    /// The leaf.
    pub leaf: [u8; 32],
}

/// Makes the entry of an act. `key` is the data key of the conversation the act belongs to, otherwise of the
/// clinic.
///
/// # Errors
/// Only when the entry is too large for the cipher.
pub fn prepare(
    ctx: &Ctx,
    act: &Act<'_>,
    key: &DataKey,
    address: Option<String>,
    entropy: &dyn Entropy,
) -> Result<Prepared> {
    let (actor, device, actor_kind) = match &ctx.actor {
        Actor::User(caller) => (Some(caller.user_id), Some(caller.device_id), "user"),
        Actor::Operator => (None, None, "operator"),
        Actor::Anonymous => (None, None, "anonymous"),
    };
    let canonical = serde_json::to_vec(&Canonical {
        v: 1,
        tenant: ctx.tenant,
        at: ctx.now.micros(),
        act: act.name,
        outcome: act.outcome,
        actor,
        actor_kind,
        device,
        patient: act.patient,
        objects: &act.objects,
        policies: act.basis.map_or(&[], |basis| &basis.policies),
        policy_set: act.basis.map(|basis| hex(&basis.policy_set)),
        request: ctx.request,
        address,
    })
    .map_err(crate::Error::internal)?;
    let entry_id = AuditEntryId::new(ctx.now, rng::bytes(entropy));
    let salt = rng::secret::<32>(entropy);
    Ok(Prepared {
        entry_id,
        tenant: ctx.tenant,
        patient: act.patient,
        actor,
        act: act.name.to_owned(),
        outcome: act.outcome.as_str(),
        at: ctx.now,
        data_key: key.id,
        leaf: audit_leaf(&salt, &canonical),
        salt: key.seal("audit_salt", entry_id.as_bytes(), salt.as_slice(), entropy)?,
        canonical,
    })
}

/// Has the commit of the caller's transaction write prepared entries of one clinic.
pub fn write(tx: &mut Tx, tenant: TenantId, entries: Vec<Prepared>) {
    tx.last().entries(tenant, entries);
}

/// Adds prepared entries with their numbers to what is about to be written.
///
/// # Errors
/// Only for values no database takes.
pub(crate) fn add(script: &mut Script, entries: &[(i64, &Prepared)]) -> Result<()> {
    store::add(script, entries)
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
