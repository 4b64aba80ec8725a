//! `[policy]`

use std::path::PathBuf;

use serde::Deserialize;

/// The clinic's own rules.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// A folder of `*.cedar` files: one named as a rule of the program takes its place, others are added.
    pub dir: Option<PathBuf>,
}
