//! The clinic's rules, asked before somebody acts.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    Base64Array, ConversationId, DeviceId, ErrorCode, Timestamp, UserId, account::DeviceKind,
    conversation::ConversationType, message::words, seal::KeyIdBytes,
};

words! {
    /// What a rule does that decides.
    PolicyEffect {
        /// It permits the act.
        Permit = "permit",
        /// It forbids the act, whatever permits it.
        Forbid = "forbid",
        /// No rule permits the act.
        Default = "default",
    }
}

/// What the server signed of an act that a rule refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Decision {
    /// Who asked.
    pub actor_id: UserId,
    /// On which device.
    pub device_id: DeviceId,
    /// The act, as the rules name it.
    pub action: String,
    /// What was asked: a hash over method, path and body.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub request_sha256: Base64Array<32>,
    /// What came of it: `denied`.
    pub outcome: String,
    /// The policies that decided.
    pub policies: Vec<String>,
    /// SHA-256 of the rules in force.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub policy_set: Base64Array<32>,
    /// When.
    pub decided_at: Timestamp,
    /// The leaf of the audit entry of the refusal.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub audit_leaf: Base64Array<32>,
    /// The id of the receipt key's root statement.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub key_id: KeyIdBytes,
    /// Ed25519 by the clinic's receipt key.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub signature: Base64Array<64>,
}

/// POST /api/policy/explain/
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ExplainPolicy {
    /// Who would act: whoever asks, when absent. Anybody else only for clinic staff.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_id: Option<UserId>,
    /// The act, as the rules name it, such as `send_message`.
    pub action: String,
    /// The conversation, for an act inside one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<ConversationId>,
    /// Whom it is done to: the others of a conversation to start, who joins or is taken out, whose keys, whom to block.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub user_ids: Vec<UserId>,
    /// The type of a conversation to start: `direct` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#type: Option<ConversationType>,
    /// On which kind of device: when absent, the asking one for oneself, one with keys for anybody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceKind>,
    /// When: now when absent, at most a year from now. Hours and the last days of relationships are those of then,
    /// everything else is as it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

impl ExplainPolicy {
    /// About this act, by whoever asks, now; nothing is named yet.
    #[must_use]
    pub fn of(action: &str) -> Self {
        Self {
            actor_id: None,
            action: action.to_owned(),
            conversation_id: None,
            user_ids: Vec::new(),
            r#type: None,
            device: None,
            at: None,
        }
    }
}

/// A rule that decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeterminingPolicy {
    /// Its id.
    pub id: String,
    /// What it does.
    pub effect: PolicyEffect,
}

/// What the rules would say, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Explanation {
    /// Who would act.
    pub actor_id: UserId,
    /// The act.
    pub action: String,
    /// When.
    pub at: Timestamp,
    /// Whether it would be allowed.
    pub allowed: bool,
    /// The rules that decide, the first reason first.
    pub policies: Vec<DeterminingPolicy>,
    /// SHA-256 of the rules in force.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub policy_set: Base64Array<32>,
    /// The code the act would be answered with; absent when it is allowed, as are the next four.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorCode>,
    /// Why, as a stable word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What that means, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What the person can do, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
    /// When the conversation opens, where its hours decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_open_at: Option<Timestamp>,
    /// What the rules knew, by name: all of it for clinic staff; about oneself, what one may see.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub facts: Map<String, Value>,
}
