// docs/PROTOCOL.md, section 17: files of the vault, the hand-over to the scan, verdicts and releases.
import crypto from 'node:crypto';
import { ascii, cat, demand, id, lp, time, u32be, u8, unb64 } from './encoding.mjs';
import { buffer, suite } from './sealing.mjs';

const SEGMENT = 65536;
const TAG = 16;

/** What a blob's key, its nonces and its commitment are. */
export function stream(fk, salt) {
  const derived = Buffer.from(crypto.hkdfSync('sha256', fk, salt, ascii('sigilo/v1/file'), 71));
  return { key: derived.subarray(0, 32), prefix: derived.subarray(32, 39), commitment: derived.subarray(39) };
}

export const nonce = (prefix, number, last) => cat(prefix, u32be(number), u8(last ? 1 : 0));

export function sealFile(fk, salt, file) {
  const { key, prefix, commitment } = stream(fk, salt);
  const blob = [salt, commitment];
  const count = Math.max(1, Math.ceil(file.length / SEGMENT));
  for (let number = 0; number < count; number += 1) {
    const cipher = crypto.createCipheriv('aes-256-gcm', key, nonce(prefix, number, number + 1 === count));
    const segment = file.subarray(number * SEGMENT, (number + 1) * SEGMENT);
    blob.push(cipher.update(segment), cipher.final(), cipher.getAuthTag());
  }
  return cat(...blob);
}

export function openFile(fk, blob) {
  demand(blob.length >= 64 + TAG, 'a blob without a segment');
  const { key, prefix, commitment } = stream(fk, blob.subarray(0, 32));
  demand(crypto.timingSafeEqual(commitment, blob.subarray(32, 64)), 'a blob that is bound to another key');
  const file = [];
  for (let [number, at] = [0, 64]; at < blob.length; number += 1, at += SEGMENT + TAG) {
    const segment = blob.subarray(at, at + SEGMENT + TAG);
    const last = at + SEGMENT + TAG >= blob.length;
    demand(segment.length > TAG || (number === 0 && segment.length === TAG), 'a segment that cannot stand here');
    const decipher = crypto.createDecipheriv('aes-256-gcm', key, nonce(prefix, number, last));
    decipher.setAuthTag(segment.subarray(-TAG));
    file.push(decipher.update(segment.subarray(0, -TAG)), decipher.final());
  }
  return cat(...file);
}

export const scanKey = (k) =>
  cat(ascii('sigilo/v1/scan-key'), id(k.tenant), time(k.not_before), time(k.not_after), lp(unb64(k.scan_public_key)));

export const scanAad = (s) => cat(id(s.tenant), id(s.upload_id), lp(unb64(s.blob_sha256)), lp(unb64(s.commitment)));

/** What is handed over, with the encapsulation randomness given. */
export async function handOver(fk, aad, publicKey, ekm) {
  const recipientPublicKey = await suite.kem.deserializePublicKey(buffer(publicKey));
  const info = buffer(ascii('sigilo/v1/scan'));
  const sender = await suite.createSenderContext({ recipientPublicKey, info, ekm: buffer(ekm) });
  return { ct: Buffer.from(await sender.seal(buffer(fk), buffer(aad))), enc: Buffer.from(sender.enc) };
}

const vaultFile = (f) => cat(id(f.tenant), id(f.file_id), lp(unb64(f.blob_sha256)), lp(unb64(f.commitment)));

export const verdict = (file, v) =>
  cat(
    ascii('sigilo/v1/verdict'),
    vaultFile(file),
    lp(ascii(v.engine)),
    lp(ascii(v.database)),
    time(v.scanned_at),
    lp(ascii(v.result)),
    lp(ascii(v.detail)),
  );

export const release = (file, verdictSha256, s) =>
  cat(ascii('sigilo/v1/release'), vaultFile(file), lp(verdictSha256), id(s.signer), time(s.signed_at));
