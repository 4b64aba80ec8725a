//! Blocks: who wants no messages from whom.

use serde::{Deserialize, Serialize};

use crate::{Role, Timestamp, UserId};

/// POST /api/chat/block-user/
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct BlockUser {
    /// Whom.
    pub user_id: UserId,
    /// Why, for the clinic's staff: at most 200 characters without identifiers and diagnoses. The other person never
    /// sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A block, as the person who made it sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Block {
    /// Whom.
    pub user_id: UserId,
    /// Their name.
    pub full_name: String,
    /// Their role.
    pub role: Role,
    /// Why, if that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when.
    pub created_at: Timestamp,
}

/// GET /api/chat/block-user/
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BlockList {
    /// In order of ids.
    pub results: Vec<Block>,
    /// For the next page.
    pub next_cursor: Option<String>,
    /// Whether there are more.
    pub has_more: bool,
}
