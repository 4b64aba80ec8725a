//! What the writer remembers from one batch to the next, so that it need not read it again: nothing that could
//! be of the past without being seen to be.

use std::{collections::HashMap, sync::Arc};

use moka::sync::Cache;
use sigilo_wire::{ConversationId, DeviceId, SealId};

use super::plan::{Chain, SealState, State};

/// How many devices' chains, and how many seals, are remembered.
const CAPACITY: u64 = 200_000;

/// A conversation's chains.
type Chains = HashMap<DeviceId, Chain>;

/// Seals, which never change, and chains, which move with their conversation's `last_seq`: another node that
/// accepts a message moves that too, and what is remembered here for another one is not used.
#[derive(Debug)]
pub struct Memory {
    seals: Cache<SealId, Arc<SealState>>,
    chains: Cache<ConversationId, (i64, Arc<Chains>)>,
}

impl Default for Memory {
    fn default() -> Self {
        let weigh = |_: &ConversationId, kept: &(i64, Arc<Chains>)| {
            u32::try_from(1 + kept.1.len()).unwrap_or(u32::MAX)
        };
        Self {
            seals: Cache::new(CAPACITY),
            chains: Cache::builder().max_capacity(CAPACITY).weigher(weigh).build(),
        }
    }
}

impl Memory {
    /// The chains of a conversation whose newest message has this number.
    pub(super) fn chains(&self, conversation: ConversationId, last_seq: i64) -> Option<Arc<Chains>> {
        self.chains.get(&conversation).filter(|kept| kept.0 == last_seq).map(|kept| kept.1)
    }

    /// Remembers the chains of a batch, once it is committed.
    pub(super) fn keep_chains(&self, state: State) {
        for (id, chains) in state.chains {
            if let Some(locked) = state.conversations.get(&id) {
                self.chains.insert(id, (locked.last_seq, Arc::new(chains)));
            }
        }
    }

    /// A seal.
    pub(super) fn seal(&self, id: SealId) -> Option<Arc<SealState>> {
        self.seals.get(&id)
    }

    /// Remembers a seal.
    pub(super) fn keep_seal(&self, id: SealId, seal: Arc<SealState>) {
        self.seals.insert(id, seal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::plan::Locked;
    use sigilo_wire::TenantId;

    #[test]
    fn chains_are_remembered_for_their_last_number_only() {
        let (memory, id) = (Memory::default(), ConversationId::from_bytes([1; 16]));
        let chain = Chain { device_seq: 3, commitment: Some([7; 32]) };
        let device = DeviceId::from_bytes([2; 16]);
        let locked = Locked { tenant: TenantId::from_bytes([3; 16]), last_seq: 9, facts_version: 1 };
        memory.keep_chains(State {
            conversations: HashMap::from([(id, locked)]),
            chains: HashMap::from([(id, HashMap::from([(device, chain.clone())]))]),
            ..State::default()
        });
        assert_eq!(memory.chains(id, 9).unwrap().get(&device), Some(&chain));
        assert!(memory.chains(id, 10).is_none(), "another node has accepted one meanwhile");
        assert!(memory.chains(id, 8).is_none());
    }
}
