//! From which networks the people of a clinic may come.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Role;

/// GET and PUT /api/admin/networks/
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AllowedNetworks {
    /// By role: ranges in CIDR notation, such as `10.20.0.0/16` or `2001:db8::/32`, or single addresses; at most 64. A role
    /// that is not named may come from anywhere.
    #[cfg_attr(feature = "openapi", schema(value_type = std::collections::HashMap<String, Vec<String>>))]
    pub networks: BTreeMap<Role, Vec<String>>,
}
