//! What a transaction writes last: device events, facts of the outbox and audit entries.
//!
//! Their places and numbers are given out while rows are locked that everybody writes to: a device's, and the clinic's.
//! Whoever locked one of them and went on to lock others would sooner or later wait for somebody who waits for them. So
//! they are gathered while the transaction does its work, and written by its commit: all places in one go, in the order of
//! the devices' ids, then all numbers. The relay's writer does the same. Before them a transaction locks people, then
//! conversations, then rows of devices.

use std::collections::BTreeMap;

use sigilo_wire::{TenantId, Timestamp};

use super::{
    Tx,
    script::Script,
    sequences::{self, Sequences},
};
use crate::{
    Error, Result,
    audit::{self, Prepared},
    outbox::{self, DeviceEvent, Fact},
};

/// What waits for the end of a transaction.
#[derive(Debug, Default)]
pub struct Last {
    events: Vec<DeviceEvent>,
    facts: BTreeMap<TenantId, Vec<Fact>>,
    entries: BTreeMap<TenantId, Vec<Prepared>>,
    /// The latest instant that was named with any of it.
    now: Option<Timestamp>,
}

impl Last {
    /// Events for devices, each device's in the order given.
    pub(crate) fn events(&mut self, events: Vec<DeviceEvent>, now: Timestamp) {
        self.events.extend(events);
        self.now = self.now.max(Some(now));
    }

    /// Facts of a clinic, in order.
    pub(crate) fn facts(&mut self, tenant: TenantId, facts: Vec<Fact>, now: Timestamp) {
        self.facts.entry(tenant).or_default().extend(facts);
        self.now = self.now.max(Some(now));
    }

    /// Audit entries of a clinic, in order.
    pub(crate) fn entries(&mut self, tenant: TenantId, entries: Vec<Prepared>) {
        self.entries.entry(tenant).or_default().extend(entries);
    }

    fn is_empty(&self) -> bool {
        self.events.is_empty() && self.facts.is_empty() && self.entries.is_empty()
    }

    /// Writes it all.
    pub(super) async fn write(self, tx: &mut Tx) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let Self { events, facts, entries, now } = self;
        let mut needs: BTreeMap<TenantId, Sequences> = BTreeMap::new();
        for (tenant, facts) in &facts {
            needs.entry(*tenant).or_default().outbox = count(facts.len())?;
        }
        for (tenant, entries) in &entries {
            needs.entry(*tenant).or_default().audit = count(entries.len())?;
        }
        let needs: Vec<_> = needs.into_iter().collect();
        let reserved = sequences::reserve(tx, &needs, &outbox::needed_places(&events)).await?;
        let places = outbox::places(&events, &reserved)?;
        let (mut numbered_facts, mut numbered_entries) = (Vec::new(), Vec::new());
        for (tenant, first) in &reserved.numbers {
            let of_clinic = (first.outbox..).zip(facts.get(tenant).into_iter().flatten());
            numbered_facts.extend(of_clinic.map(|(seq, fact)| (*tenant, seq, fact)));
            numbered_entries.extend((first.audit..).zip(entries.get(tenant).into_iter().flatten()));
        }
        let mut script = Script::new(tx, events.len() + numbered_facts.len() + numbered_entries.len());
        // Entries bring their own.
        let now = now.unwrap_or(Timestamp::from_micros(0));
        outbox::add_events(&mut script, &events, &places, now)?;
        outbox::add_facts(&mut script, &numbered_facts, now)?;
        audit::add(&mut script, &numbered_entries)?;
        script.run(tx).await.map(drop)
    }
}

fn count(length: usize) -> Result<i64> {
    i64::try_from(length).map_err(Error::internal)
}
