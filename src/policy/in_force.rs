//! The rules a server runs on, and how others take their place.

use std::{
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use super::{Decide, Grant, Looked, Policy};
use crate::{Ctx, Result};

/// The rules in force. A decision is made on one whole set; what was decided before a change stands.
#[derive(Debug)]
pub struct InForce {
    current: RwLock<Arc<Policy>>,
}

/// What reading the rules again changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// How many rules there are now.
    pub rules: usize,
    /// [`Policy::set_hash`] of the rules before.
    pub before: [u8; 32],
    /// [`Policy::set_hash`] of the rules now.
    pub after: [u8; 32],
}

impl InForce {
    /// These rules.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self { current: RwLock::new(Arc::new(policy)) }
    }

    /// Decides as [`Policy::decide`], on the rules of this moment.
    ///
    /// # Errors
    /// As [`Policy::decide`].
    pub fn decide<A: Decide>(&self, ctx: &Ctx, facts: &A::Facts) -> Result<Grant<A>> {
        self.current().decide(ctx, facts)
    }

    /// Looks as [`Policy::look`], on the rules of this moment.
    ///
    /// # Errors
    /// As [`Policy::look`].
    pub fn look<A: Decide>(&self, ctx: &Ctx, facts: &A::Facts) -> Result<Looked> {
        self.current().look::<A>(ctx, facts)
    }

    /// [`Policy::set_hash`] of the rules of this moment.
    #[must_use]
    pub fn set_hash(&self) -> [u8; 32] {
        self.current().set_hash()
    }

    /// Loads the rules again, with those of a folder as it is now. Every decision is made on the old set or the new
    /// one, whole.
    ///
    /// # Errors
    /// As [`Policy::load`]; then the old rules stay.
    pub fn reload(&self, dir: Option<&Path>) -> Result<Reloaded> {
        let policy = Arc::new(Policy::load(dir)?);
        let (rules, after) = (policy.count(), policy.set_hash());
        let before = {
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, policy).set_hash()
        };
        Ok(Reloaded { rules, before, after })
    }

    fn current(&self) -> Arc<Policy> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}
