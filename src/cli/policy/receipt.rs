//! `sigilo policy verify-receipt`: what the server signed when it took a message or refused an act, checked without a
//! server.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sigilo_seal::{
    Decision as Statement, Ed25519Public, KeyId, KeyPurpose, Receipt, RootFingerprint, RootStatement,
    SignedRootStatement, root::KeyNeed,
};
use sigilo_wire::{ErrorCode, Timestamp, message::Message, policy::Decision};

use crate::{
    Error, Result,
    audit::hex,
    cli::{
        Outcome,
        output::{Answer, finish},
    },
    people::{ClinicKeys, RootCard},
};

/// The largest file read, in bytes: a message is far smaller.
const MAX_FILE: u64 = 1024 * 1024;

/// `sigilo policy verify-receipt`
#[derive(Debug, Args)]
pub struct VerifyReceipt {
    /// A message as the API gives it, or {"message": ..., "receipt": ...} with a receipt kept apart; or the answer of a
    /// refusal, with its "decision".
    file: PathBuf,
    /// clinic-keys.json of 'sigilo records init'. Compare the root it names with the root card.
    #[arg(long, value_name = "FILE")]
    clinic_keys: PathBuf,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
}

impl VerifyReceipt {
    pub(super) fn run(&self) -> Result<Outcome> {
        finish(self.json, self.answer())
    }

    fn answer(&self) -> Result<Answer> {
        let keys: ClinicKeys = read("clinic-keys", &self.clinic_keys)?;
        if keys.format != ClinicKeys::FORMAT {
            return Err(Error::field("clinic-keys", format!("its format is not {}", ClinicKeys::FORMAT)));
        }
        let content: Value = read("file", &self.file)?;
        if let Some(decision) = refusal(&content)? {
            return refused_act(&keys, &decision);
        }
        let message = message(content)?;
        let statement = verify(&keys, &message)?;
        let root = RootFingerprint::of(&keys.root_public_key);
        let card = RootCard { clinic: keys.clinic_id, root };
        let Message { id, conversation_id, conversation_seq, received_at, receipt, .. } = &message;
        let policies = receipt.policies.join(", ");
        Ok(Answer {
            json: json!({
                "verified": true, "message_id": id, "conversation_id": conversation_id,
                "conversation_seq": conversation_seq, "received_at": received_at, "policies": receipt.policies,
                "policy_set": hex(receipt.policy_set.as_slice()), "key_id": receipt.key_id,
                "key_epoch": statement.epoch, "root_groups": card.groups(),
            }),
            text: format!(
                "The server took message {id}\n  as number {conversation_seq} of conversation {conversation_id}\n  \
                 at {received_at}, allowed by {policies}\n  of the rules {}.\n\nIt signed this, with the sender's \
                 commitment, signature and wrapped key, under a key of this root.\nCompare it with the root card:\n\n    {}",
                hex(receipt.policy_set.as_slice()),
                card.groups()
            ),
        })
    }
}

/// The receipt key's statement, when the clinic's root stands behind it and the key behind the receipt.
fn verify(keys: &ClinicKeys, message: &Message) -> Result<RootStatement> {
    let (statement, key) = receipt_key(keys, message.receipt.key_id.0, message.received_at)?;
    if Receipt::of_message(keys.clinic_id, message).verify(&key, &message.receipt.signature.0) {
        return Ok(statement);
    }
    let problem = "the clinic's receipt key did not sign this message, place and time";
    Err(refused(ErrorCode::InvalidSignature, problem))
}

/// The receipt key of this id, when the clinic's root stands behind it and it was good at this time, not today.
fn receipt_key(keys: &ClinicKeys, id: [u8; 16], at: Timestamp) -> Result<(RootStatement, Ed25519Public)> {
    let named = KeyId::from(id);
    let signed: Vec<SignedRootStatement> = keys.statements.iter().map(Into::into).collect();
    let signed = signed.iter().find(|signed| signed.key_id() == named).ok_or_else(|| {
        refused(ErrorCode::InvalidKey, "the receipt names a key these clinic keys do not have")
    })?;
    let need = KeyNeed { tenant: keys.clinic_id, purpose: KeyPurpose::Receipt, now: at, least_epoch: 0 };
    let statement =
        signed.verify(&keys.root_public_key, &need).map_err(|error| refused(ErrorCode::InvalidKey, error))?;
    let key = statement.ed25519_key().map_err(|error| refused(ErrorCode::InvalidKey, error))?;
    Ok((statement, key))
}

/// What the server said that it refused, when it did.
fn refused_act(keys: &ClinicKeys, decision: &Decision) -> Result<Answer> {
    let (statement, key) = receipt_key(keys, decision.key_id.0, decision.decided_at)?;
    if !Statement::of_answer(keys.clinic_id, decision).verify(&key, &decision.signature.0) {
        let problem = "the clinic's receipt key did not sign this refusal";
        return Err(refused(ErrorCode::InvalidSignature, problem));
    }
    let root = RootFingerprint::of(&keys.root_public_key);
    let card = RootCard { clinic: keys.clinic_id, root };
    let Decision { actor_id, device_id, action, outcome, policies, decided_at, .. } = decision;
    let (request, rules) = (hex(decision.request_sha256.as_slice()), hex(decision.policy_set.as_slice()));
    Ok(Answer {
        json: json!({
            "verified": true, "actor_id": actor_id, "device_id": device_id, "action": action, "outcome": outcome,
            "policies": policies, "policy_set": rules, "request_sha256": request, "decided_at": decided_at,
            "audit_leaf": hex(decision.audit_leaf.as_slice()), "key_id": decision.key_id,
            "key_epoch": statement.epoch, "root_groups": card.groups(),
        }),
        text: format!(
            "The server {outcome} {action} to {actor_id}\n  on device {device_id}\n  at {decided_at}, by {}\n  of the rules \
             {rules},\n  in answer to the request {request}.\n\nIt signed this under a key of this root. Compare it with \
             the root card:\n\n    {}",
            policies.join(", "),
            card.groups()
        ),
    })
}

/// The refusal of a file: the answer it came with, or itself.
fn refusal(content: &Value) -> Result<Option<Decision>> {
    let decision = match content.get("decision") {
        Some(decision) => decision,
        None if content.get("request_sha256").is_some() => content,
        None => return Ok(None),
    };
    let decision = serde_json::from_value(decision.clone());
    decision.map(Some).map_err(|error| Error::field("file", format!("not a refusal: {error}")))
}

fn refused(code: ErrorCode, problem: impl std::fmt::Display) -> Error {
    Error::invalid(code, json!({"problem": problem.to_string()}))
}

/// The message of the file, with the receipt that stands beside it, if one does.
fn message(content: Value) -> Result<Message> {
    let content = match (content.get("message"), content.get("receipt")) {
        (Some(Value::Object(message)), Some(receipt)) => {
            let mut message = message.clone();
            message.insert("receipt".to_owned(), receipt.clone());
            Value::Object(message)
        }
        _ => content,
    };
    serde_json::from_value(content).map_err(|error| Error::field("file", format!("not a message: {error}")))
}

/// Reads a JSON file of at most [`MAX_FILE`].
fn read<T: DeserializeOwned>(field: &str, path: &Path) -> Result<T> {
    let wrong = |error: &dyn std::fmt::Display| Error::field(field, format!("{}: {error}", path.display()));
    if std::fs::metadata(path).map_err(|error| wrong(&error))?.len() > MAX_FILE {
        return Err(wrong(&"larger than 1 MiB"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
    serde_json::from_str(&text).map_err(|error| wrong(&error))
}
