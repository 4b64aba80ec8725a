//! What must be true when it is over.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;
use sigilo::fetch_all;
use sigilo_seal::{Receipt, RootStatement};
use sigilo_wire::{TenantId, message::Message};

use crate::{
    load::{Cast, Done, Pair, Promise},
    support::TestServer,
};

const ENTRIES: &str = "SELECT seq, leaf FROM audit_entries WHERE tenant_id = $1 ORDER BY seq";
const FACTS: &str = "SELECT seq, topic FROM outbox WHERE tenant_id = $1 ORDER BY seq";

/// Compares what the devices were promised and have read with what a server on the same databases has.
pub async fn check(server: &TestServer, cast: &Cast, done: &Done) {
    let mut leaves = BTreeSet::new();
    for (pair, promises) in &done.written {
        let stored = history(server, pair).await;
        honoured(cast, pair, promises, &stored);
        in_order(done, pair, &stored);
        leaves.extend(promises.iter().map(|(_, accepted)| accepted.receipt.audit_leaf.0.to_vec()));
    }
    let given: BTreeSet<&String> = done.keys.iter().collect();
    assert_eq!(given.len(), done.keys.len(), "a one-time key was given out twice");
    audited(server, cast.clinic.id, &leaves).await;
}

/// Everything the server has of a conversation, oldest first.
async fn history(server: &TestServer, pair: &Pair) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut cursor = String::new();
    loop {
        let path =
            format!("/api/chat/conversations/{}/messages/?include_deleted=true{cursor}", pair.conversation);
        let page = server.get(&path, Some(&pair.patient.token)).await.expect(200);
        let results: Vec<Message> = serde_json::from_value(page["results"].clone()).unwrap();
        messages.extend(results);
        match &page["next_cursor"] {
            Value::String(next) => cursor = format!("&cursor={next}"),
            _ => break,
        }
    }
    messages.reverse();
    messages
}

/// Every promise is kept: the message is there, as it was sent, at the place that was said, and the clinic's key
/// signed it. Nothing else is there.
fn honoured(cast: &Cast, pair: &Pair, promises: &[Promise], stored: &[Message]) {
    let of: HashMap<_, _> = stored.iter().map(|message| (message.client_message_id, message)).collect();
    assert_eq!(of.len(), stored.len(), "a message is there twice");
    assert_eq!(stored.len(), promises.len(), "what was sent until it was accepted, and nothing else");
    for (sent, accepted) in promises {
        let message = of.get(&sent.client_message_id).unwrap_or_else(|| panic!("lost: {accepted:?}"));
        let kept = (message.id, message.conversation_seq, message.received_at, &message.receipt);
        let said = (accepted.message_id, accepted.conversation_seq, accepted.received_at, &accepted.receipt);
        assert_eq!(kept, said, "the receipt that was handed out is the one that is kept");
        let as_sent = (&sent.body, sent.commitment, sent.signature, sent.wrapped_key);
        assert_eq!((&message.body, message.commitment, message.signature, message.wrapped_key), as_sent);
        let statements = &cast.clinic.ceremony.clinic_keys.statements;
        let key = statements
            .iter()
            .map(|signed| RootStatement::decode(&signed.statement).unwrap())
            .find(|statement| statement.key_id() == accepted.receipt.key_id.into())
            .unwrap();
        let receipt = Receipt::of_message(pair.patient.clinic, message);
        assert!(receipt.verify(&key.ed25519_key().unwrap(), &message.receipt.signature), "{accepted:?}");
    }
}

/// Chains and places have no gaps, and the doctor got all of it, each message once, in order.
fn in_order(done: &Done, pair: &Pair, stored: &[Message]) {
    let mut before: Option<&Message> = None;
    for (number, message) in (1..).zip(stored) {
        assert_eq!((message.device_seq, message.conversation_seq), (number, i64::try_from(number).unwrap()));
        assert_eq!(message.prev_commitment, before.map(|before| before.commitment));
        before = Some(message);
    }
    let read = done.read.iter().find_map(|read| read.get(&pair.conversation));
    let places: Vec<_> =
        stored.iter().map(|message| (message.conversation_seq, message.client_message_id)).collect();
    assert_eq!(read.map_or(&[][..], Vec::as_slice), places, "each message came once, in order");
}

/// Every act has its entry, every entry its number; facts for others, too.
async fn audited(server: &TestServer, clinic: TenantId, leaves: &BTreeSet<Vec<u8>>) {
    let mut tx = server.app.db.read("test").await.unwrap();
    let entries: Vec<(i64, Vec<u8>)> = fetch_all!(&mut tx, (i64, Vec<u8>), ENTRIES, clinic).unwrap();
    let facts: Vec<(i64, String)> = fetch_all!(&mut tx, (i64, String), FACTS, clinic).unwrap();
    for (name, numbers) in [
        ("audit entries", entries.iter().map(|(seq, _)| *seq).collect::<Vec<_>>()),
        ("facts", facts.iter().map(|(seq, _)| *seq).collect()),
    ] {
        let first = numbers.first().copied().unwrap_or(0);
        assert!(numbers.iter().zip(first..).all(|(seq, expected)| *seq == expected), "{name} have a gap");
    }
    let written: BTreeSet<Vec<u8>> = entries.into_iter().map(|(_, leaf)| leaf).collect();
    assert!(leaves.is_subset(&written), "a receipt names an audit entry that is not there");
    let accepted = facts.iter().filter(|(_, topic)| topic == "message.accepted").count();
    assert_eq!(accepted, leaves.len(), "one fact a message");
}
