// docs/PROTOCOL.md, sections 5 and 6: what is computed of messages and record seals, without any network.
import { Aes256Gcm, CipherSuite, HkdfSha256 } from '@hpke/core';
import { XWing } from '@hpke/hybridkem-x-wing';
import { ascii, b64, cat, demand, hkdf, id, list, lp, optional, sha256, time, u64be, u8, unb64 } from './encoding.mjs';

export const SEAL_INFO = ascii('sigilo/v1/seal');
export const suite = new CipherSuite({ kem: new XWing(), kdf: new HkdfSha256(), aead: new Aes256Gcm() });
export const buffer = (bytes) => new Uint8Array(bytes).buffer;

/** One copy of a seal: `ekm` is the encapsulation randomness, so anybody who knows the archive key makes the same. */
export async function sealCopy(archive, aad, recipientId, publicKey) {
  const eseed = hkdf(archive, cat(ascii('sigilo/v1/eseed'), aad, lp(recipientId)), 64);
  const recipientPublicKey = await suite.kem.deserializePublicKey(buffer(publicKey));
  const sender = await suite.createSenderContext({ recipientPublicKey, info: buffer(SEAL_INFO), ekm: buffer(eseed) });
  const ciphertext = await sender.seal(buffer(archive), buffer(aad));
  return { key_id: b64(recipientId), enc: b64(sender.enc), ciphertext: b64(ciphertext) };
}

/** What the signature of a seal signs. */
export function sealSigningInput(aad, seal) {
  const members = seal.members.map((m) => cat(id(m.user_id), lp(unb64(m.identity_key)), lp(unb64(m.history_key_id))));
  const copies = seal.copies.map((c) => cat(lp(unb64(c.key_id)), lp(unb64(c.enc)), lp(unb64(c.ciphertext))));
  return cat(ascii('sigilo/v1/record-seal'), sha256(cat(aad, time(seal.created_at), list(members), list(copies))));
}

/** A: built by both sides from the message's fields, never sent. */
export function context(tenant, m) {
  return cat(
    ascii('sigilo/v1/context'),
    id(tenant),
    id(m.conversation),
    id(m.client_message_id),
    id(m.sender),
    u8(m.device),
    time(m.sent_at),
    lp(ascii(m.message_type)),
    id(m.seal_id),
    u64be(m.device_seq),
    optional(m.prev_commitment),
    optional(m.seen_commitment),
    optional(m.target_commitment),
    optional(m.reply_to_commitment),
    lp(ascii(m.priority)),
    u8((m.urgent ? 1 : 0) + (m.deliver === 'when_open' ? 2 : 0)),
    u64be(m.expires_in_s ?? 0),
    list((m.attachments ?? []).map((a) => cat(id(a.file_id), lp(unb64(a.sha256))))),
  );
}

export function pad(content) {
  const padded = Buffer.alloc((Math.floor(content.length / 160) + 1) * 160);
  content.copy(padded);
  padded[content.length] = 0x80;
  return padded;
}

export function unpad(padded) {
  let end = padded.length - 1;
  while (end > 0 && padded[end] === 0) end -= 1;
  demand(
    padded[end] === 0x80 && padded.length === (Math.floor(end / 160) + 1) * 160,
    "padding that is not the protocol's",
  );
  return padded.subarray(0, end);
}

/** What S signs. */
export function signingInput(a, c, w) {
  return cat(ascii('sigilo/v1/message'), sha256(a), c, sha256(w));
}
