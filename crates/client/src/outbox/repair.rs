//! After a refusal that can be repaired: fetch again, check again, send again.
//!
//! A refusal is a hint. What is sent to whom is decided by what this device fetched and verified, never by the
//! answer's details.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use sigilo_seal::Commitment;
use sigilo_wire::{
    ErrorBody, ErrorCode, UserId,
    conflict::{ChainState, ClaimProblem, DeviceMismatch},
};

use super::{build::OLDEST_CLAIM, post::REPAIR_HISTORY};
use crate::{
    Error, Result,
    contacts::{DeviceHints, not_in_manifest},
    engine::Engine,
    profile::records::{Chain, Contact, MessageName, OutboxItem, OwnSeal, StoredMessage, chain_key},
};

/// A message is repaired this often before the server is taken to be at odds with itself.
const MAX_REPAIRS: u8 = 6;

impl Engine {
    /// Makes the message sendable again, or gives the error back.
    pub(super) async fn repair(&self, item: &mut OutboxItem, error: Error) -> Result<()> {
        let Error::Server { body, .. } = &error else { return Err(error) };
        let (code, details) = (body.error, body.details.clone());
        let repairable = match code {
            ErrorCode::DeviceMismatch
            | ErrorCode::SealStale
            | ErrorCode::SealUnknown
            | ErrorCode::ChainGap
            | ErrorCode::DeviceKeysExpired => true,
            ErrorCode::InvalidMessage => is_too_old(body) && self.waited_too_long(item),
            _ => false,
        };
        if !repairable {
            return Err(error);
        }
        item.repairs = item.repairs.saturating_add(1);
        if item.repairs > MAX_REPAIRS {
            item.repairs = 0;
            let ghost =
                if code == ErrorCode::DeviceMismatch { self.ghost(parse(details)?).await? } else { None };
            return Err(ghost.unwrap_or_else(|| Error::Unrepairable(error.to_string())));
        }
        match code {
            ErrorCode::DeviceMismatch => self.repair_devices(item, parse(details)?).await?,
            ErrorCode::SealStale => self.repair_stale_seal(item).await?,
            ErrorCode::SealUnknown => self.repair_unknown_seal(item).await?,
            ErrorCode::ChainGap => self.repair_chain(item, parse(details)?).await?,
            // The time is part of the context: sealed anew, with another key, under the present time. The server
            // looks for a stored message before it looks at the clock, so this one is not there yet.
            ErrorCode::InvalidMessage => item.sealed = None,
            _ => self.rotate_keys().await?,
        }
        self.profile.put(item).await
    }

    /// Whether the message was sealed so long ago that a new seal gives it the present time.
    fn waited_too_long(&self, item: &OutboxItem) -> bool {
        let now = self.env.now();
        item.sealed.as_ref().is_some_and(|sealed| now.since(sealed.request.sent_at) > OLDEST_CLAIM)
    }

    /// The context stays: body, commitment and key do, too. Only envelopes are made anew.
    async fn repair_devices(&self, item: &mut OutboxItem, mismatch: DeviceMismatch) -> Result<()> {
        let mut hints = BTreeMap::<UserId, DeviceHints>::new();
        for device in &mismatch.missing {
            hints.entry(device.user_id).or_default().missing.insert(device.device_id);
        }
        for device in &mismatch.extra {
            hints.entry(device.user_id).or_default().expired.insert(device.device_id);
        }
        for device in &mismatch.stale {
            hints.entry(device.user_id).or_default().renew.insert(device.device_id);
        }
        // Only members shown to the user, only devices of their manifests.
        for user in self.refresh_conversation(item.draft.conversation).await?.shown_members {
            if let Some(hints) = hints.get(&user) {
                let contact = self.refresh_manifest(user).await?;
                self.open_sessions(contact, hints).await?;
            }
        }
        if let Some(sealed) = &mut item.sealed {
            sealed.enveloped = false;
        }
        Ok(())
    }

    /// What is wrong with a demand for envelopes that was met as far as manifests allow: it names a device that its
    /// user has not signed for.
    async fn ghost(&self, mismatch: DeviceMismatch) -> Result<Option<Error>> {
        for demanded in mismatch.missing {
            let user = demanded.user_id;
            let contact: Option<Contact> = self.profile.get(user.as_bytes()).await?;
            let known = contact.into_iter().flat_map(|contact| contact.devices);
            if !known.into_iter().any(|device| device.device == demanded.device_id) {
                return Ok(Some(Error::contact(user, not_in_manifest(demanded.device_id))));
            }
        }
        Ok(None)
    }

    /// The seal is part of the context: the message is sealed anew, with another key.
    async fn repair_stale_seal(&self, item: &mut OutboxItem) -> Result<()> {
        let conversation = item.draft.conversation;
        self.refresh_clinic().await?;
        for user in self.refresh_conversation(conversation).await?.shown_members {
            self.refresh_manifest(user).await?;
        }
        self.drop_own_seal(conversation).await?;
        item.sealed = None;
        Ok(())
    }

    /// The seal is published again when this device still uses it; otherwise the message is sealed anew.
    async fn repair_unknown_seal(&self, item: &mut OutboxItem) -> Result<()> {
        let named = item.sealed.as_ref().map(|sealed| sealed.request.seal_id);
        let own: Option<OwnSeal> = self.profile.get(item.draft.conversation.as_bytes()).await?;
        match own {
            Some(own) if Some(own.seal.seal_id) == named => {
                self.api.post_seal(own.conversation, &own.seal).await?;
            }
            _ => item.sealed = None,
        }
        Ok(())
    }

    /// Continues from what the server has, if that is a message this device made.
    async fn repair_chain(&self, item: &mut OutboxItem, server: ChainState) -> Result<()> {
        let account = self.account()?;
        let conversation = item.draft.conversation;
        // Before anything is compared: what it does not hold any more is nothing to continue.
        self.unhold_after(conversation, server.device_seq).await?;
        let key = chain_key(conversation, account.user, account.device);
        let own: Option<Chain> = self.profile.get(&key).await?;
        let own_state = own.as_ref().map_or((0, None), |own| (own.device_seq, Some(own.commitment)));
        let server_state = (server.device_seq, server.commitment.map(Commitment::from));
        if server_state.1.map(|commitment| (server_state.0, commitment)) == self.tail(conversation).await? {
            // Behind what it holds.
            item.sealed = None;
            return Ok(());
        }
        if server_state.0 < own_state.0 {
            return Err(conflict("it has lost messages it accepted"));
        }
        if server_state != own_state {
            let commitment = server_state.1.ok_or_else(|| conflict("it names no message"))?;
            let known = match self.own_message(commitment).await? {
                Some(known) => Some(known),
                None => {
                    self.fetch_history(conversation, REPAIR_HISTORY).await?;
                    self.own_message(commitment).await?
                }
            };
            let known = known.ok_or_else(|| conflict("it names a message this device did not send"))?;
            let message = &known.message;
            let sender = (message.sender.user_id, message.sender.device_id);
            if (sender, message.device_seq) != ((account.user, account.device), server.device_seq) {
                return Err(conflict("it names another message"));
            }
            let (user, device) = sender;
            self.profile
                .put(&Chain { conversation, user, device, device_seq: server.device_seq, commitment })
                .await?;
        }
        item.sealed = None;
        Ok(())
    }

    /// A verified message of the history by its commitment.
    async fn own_message(&self, commitment: Commitment) -> Result<Option<StoredMessage>> {
        let Some(name) = self.profile.get::<MessageName>(commitment.as_bytes()).await? else {
            return Ok(None);
        };
        let stored: Option<StoredMessage> = self.profile.get(&name.message.bytes()).await?;
        Ok(stored.filter(|stored| stored.verification == crate::message::Verification::Verified))
    }
}

/// Whether the server takes the message's claim of its time for too old.
fn is_too_old(body: &ErrorBody) -> bool {
    let details = &body.details;
    details["field"] == "sent_at" && details["reason"] == ClaimProblem::TooOld.as_str()
}

fn conflict(problem: &str) -> Error {
    Error::ChainConflict(problem.into())
}

fn parse<T: DeserializeOwned>(details: serde_json::Value) -> Result<T> {
    serde_json::from_value(details).map_err(|error| Error::Answer(error.to_string()))
}
