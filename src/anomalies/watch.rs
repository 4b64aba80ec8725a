//! The tallies.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use moka::sync::Cache;
use sigilo_wire::{
    DeviceId, TenantId, Timestamp, UserId,
    anomaly::{AnomalyAction, AnomalyKind, AnomalyRule},
};

use super::{raise, usual};
use crate::{App, Ctx, Result, people, storage::Db};

/// How old a clinic's rules may be: a change made elsewhere shows after this.
const FRESH: Duration = Duration::from_secs(10);
/// Clinics whose rules are kept.
const CLINICS: u64 = 10_000;
/// Tallies that are kept. Whose is dropped begins anew.
const TALLIES: u64 = 100_000;
/// How long until an anomaly is written to again.
const PAUSE: Duration = Duration::from_mins(1);

/// A clinic's own rules.
type Rules = BTreeMap<AnomalyKind, AnomalyRule>;

/// What this server counts of whom.
#[derive(Debug)]
pub struct Watch {
    rules: Cache<TenantId, (Timestamp, Arc<Rules>)>,
    tallies: Cache<(UserId, AnomalyKind), Arc<Mutex<Tally>>>,
}

impl Default for Watch {
    fn default() -> Self {
        Self { rules: Cache::new(CLINICS), tallies: Cache::new(TALLIES) }
    }
}

impl Watch {
    /// Reads a clinic's rules again the next time, after the commit that changed them.
    pub(super) fn forget(&self, tenant: TenantId) {
        self.rules.invalidate(&tenant);
    }

    async fn rule(&self, db: &Db, ctx: &Ctx, kind: AnomalyKind) -> Result<AnomalyRule> {
        if let Some((at, rules)) = self.rules.get(&ctx.tenant)
            && ctx.now.since(at) < FRESH
        {
            return Ok(rules.get(&kind).copied().unwrap_or(usual(kind)));
        }
        let mut tx = db.read("anomaly_rules").await?;
        let rules = people::settings(&mut tx, ctx.tenant).await?.anomalies;
        drop(tx);
        let rule = rules.get(&kind).copied().unwrap_or(usual(kind));
        self.rules.insert(ctx.tenant, (ctx.now, Arc::new(rules)));
        Ok(rule)
    }

    /// Counts one more; gives how many are to be written, if any.
    fn count(&self, user: UserId, kind: AnomalyKind, rule: AnomalyRule, now: Timestamp) -> Option<u32> {
        let tally = self.tallies.get_with((user, kind), Arc::default);
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.count(rule, now)
    }
}

/// How often somebody has done something since when.
#[derive(Debug, Default)]
struct Tally {
    hits: u32,
    since: Option<Timestamp>,
    written_at: Option<Timestamp>,
}

impl Tally {
    fn count(&mut self, rule: AnomalyRule, now: Timestamp) -> Option<u32> {
        let within = Duration::from_secs(u64::from(rule.within_s));
        // A clock that was set back begins anew as well.
        if self.since.is_none_or(|since| now < since || now.since(since) >= within) {
            (self.hits, self.since) = (0, Some(now));
        }
        self.hits = self.hits.saturating_add(1);
        let pausing = self.written_at.is_some_and(|at| now >= at && now.since(at) < PAUSE);
        if self.hits < rule.count || pausing {
            return None;
        }
        let hits = self.hits;
        *self = Self { hits: 0, since: None, written_at: Some(now) };
        Some(hits)
    }
}

/// Notes that somebody, on this device, did what would be out of the ordinary if it were done more often. What was asked is
/// answered whatever comes of it.
pub(crate) async fn notice(app: &App, ctx: &Ctx, kind: AnomalyKind, user: UserId, device: Option<DeviceId>) {
    let counted = async {
        let rule = app.anomalies.rule(&app.db, ctx, kind).await?;
        if rule.action == AnomalyAction::Off {
            return Ok(());
        }
        match app.anomalies.count(user, kind, rule, ctx.now) {
            Some(hits) => {
                raise::raise(app, ctx, rule.action, raise::Found { kind, user, device, hits }).await
            }
            None => Ok(()),
        }
    };
    let counted: Result<()> = counted.await;
    if let Err(error) = counted {
        tracing::warn!(%error, %kind, "what is out of the ordinary was not noted");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);
    const RULE: AnomalyRule = AnomalyRule { action: AnomalyAction::Flag, count: 3, within_s: 600 };

    fn at(second: u64) -> Timestamp {
        NOW + Duration::from_secs(second)
    }

    #[test]
    fn enough_in_a_time_is_told_and_then_at_most_once_a_minute() {
        let mut tally = Tally::default();
        assert_eq!([1, 2, 3].map(|second| tally.count(RULE, at(second))), [None, None, Some(3)]);
        // More of it gathers, and is told together.
        assert_eq!([4, 5, 6, 7, 62].map(|second| tally.count(RULE, at(second))), [None; 5]);
        assert_eq!(tally.count(RULE, at(63)), Some(6));
    }

    #[test]
    fn what_is_spread_over_a_longer_time_is_ordinary() {
        let mut tally = Tally::default();
        for second in (0..10_000).step_by(301) {
            assert_eq!(tally.count(RULE, at(second)), None, "{second}");
        }
    }

    #[test]
    fn a_clock_that_is_set_back_begins_anew() {
        let mut tally = Tally::default();
        for second in [5_000, 5_001, 10, 11] {
            assert_eq!(tally.count(RULE, at(second)), None);
        }
        assert_eq!(tally.count(RULE, at(12)), Some(3));
        assert_eq!([1, 2, 3].map(|second| tally.count(RULE, at(second))), [None, None, Some(3)]);
    }
}
