//! Messages made ready before anything is measured: sealed, signed, chained, and written out as frames.

use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, SeedableRng as _};
use sigilo_seal::{Commitment, Content, ContentKey, Context, Origin, message};
use sigilo_wire::{
    Base64, Base64Array, ClientMessageId, TenantId, Timestamp,
    message::{Deliver, EnvelopeType, MessageKind, Priority, RecipientEnvelope, SendMessage},
};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::provision::Pair;
use crate::{Error, Result};

/// The length of an envelope: libsignal's message of 65 bytes in an open session, in bytes.
const ENVELOPE: usize = 200;
/// What is said. It is padded to 160 bytes, as most chat messages are.
const TEXT: &str = "Buenos días, doctora. ¿Puedo tomar la segunda dosis con el desayuno?";

/// A message as a WebSocket frame, which holds it as an HTTP request's body.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    text: Utf8Bytes,
    data: usize,
}

impl Frame {
    /// The frame. Its `request_id` is the message's `device_seq`.
    pub(super) fn websocket(&self) -> Utf8Bytes {
        self.text.clone()
    }

    /// The body of the request that sends the same message.
    pub(super) fn http(&self) -> String {
        let data = self.text.as_str().get(self.data..self.text.len() - 1);
        data.unwrap_or_default().to_owned()
    }

    /// Its length in bytes.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }
}

/// The sender's messages from the first on, each following the one before.
pub(super) fn chain(
    tenant: TenantId,
    pair: &Pair,
    count: usize,
    now: Timestamp,
    seed: [u8; 32],
) -> Result<Vec<Frame>> {
    let mut rng = ChaCha20Rng::from_seed(seed);
    let mut previous = None;
    let mut frames = Vec::with_capacity(count);
    for device_seq in (1..).take(count) {
        let message = sign(tenant, pair, device_seq, previous, now, &mut rng);
        previous = Some(Commitment(message.commitment.0));
        frames.push(frame(pair, &message)?);
    }
    Ok(frames)
}

fn sign(
    tenant: TenantId,
    pair: &Pair,
    device_seq: u64,
    previous: Option<Commitment>,
    now: Timestamp,
    rng: &mut (impl CryptoRng + ?Sized),
) -> SendMessage {
    let mut envelope = vec![0; ENVELOPE];
    rng.fill_bytes(&mut envelope);
    let mut name = [0; 10];
    rng.fill_bytes(&mut name);
    let mut send = SendMessage {
        // As written one after the other: ids of the pairs interleave, as those of real devices do.
        client_message_id: ClientMessageId::new(now + Duration::from_millis(device_seq), name),
        message_type: MessageKind::Text,
        priority: Priority::Normal,
        sent_at: now,
        device_seq,
        prev_commitment: previous.map(|commitment| Base64Array(commitment.0)),
        seen_commitment: None,
        body: Base64(Vec::new()),
        commitment: Base64Array([0; 32]),
        signature: Base64Array([0; 64]),
        seal_id: pair.seal,
        wrapped_key: Base64Array([0; 48]),
        target_commitment: None,
        reply_to_commitment: None,
        attachments: Vec::new(),
        urgent: false,
        deliver: Deliver::Now,
        expires_in_s: None,
        envelopes: vec![RecipientEnvelope {
            user_id: pair.receiver.user,
            device_id: pair.receiver.number,
            registration_id: pair.receiver.registration_id,
            r#type: EnvelopeType::Message,
            content: Base64(envelope),
        }],
    };
    let (sender, device) = (pair.sender.user, pair.sender.number);
    let origin = Origin { tenant, conversation: pair.conversation, sender, device };
    let context = Context::of_send(&origin, &send);
    let content = Content::text(TEXT);
    let key = ContentKey::generate(rng);
    let (sealed, _) =
        message::seal_message(&key, context, &content, &pair.archive, &pair.sender.identity, rng);
    send.body = Base64(sealed.body);
    send.commitment = Base64Array(sealed.commitment.0);
    send.signature = Base64Array(sealed.signature);
    send.wrapped_key = Base64Array(sealed.wrapped_key);
    send
}

fn frame(pair: &Pair, message: &SendMessage) -> Result<Frame> {
    let head = format!(
        r#"{{"type":"send_message","request_id":"{}","conversation_id":"{}","data":"#,
        message.device_seq, pair.conversation
    );
    let data = serde_json::to_string(message).map_err(Error::internal)?;
    Ok(Frame { data: head.len(), text: format!("{head}{data}}}").into() })
}
