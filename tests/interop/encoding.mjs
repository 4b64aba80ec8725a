// docs/PROTOCOL.md, section 1: how every hashed and signed thing is written, and the primitives.
import crypto from 'node:crypto';

export const b64 = (bytes) => Buffer.from(bytes).toString('base64');
export const unb64 = (text) => Buffer.from(text, 'base64');
export const ascii = (text) => Buffer.from(text, 'utf8');
export const u8 = (n) => Buffer.from([n]);
export const u16be = (n) => {
  const b = Buffer.alloc(2);
  b.writeUInt16BE(n);
  return b;
};
export const u32be = (n) => {
  const b = Buffer.alloc(4);
  b.writeUInt32BE(n);
  return b;
};
export const u64be = (n) => {
  const b = Buffer.alloc(8);
  b.writeBigUInt64BE(BigInt(n));
  return b;
};
export const i64be = (n) => {
  const b = Buffer.alloc(8);
  b.writeBigInt64BE(BigInt(n));
  return b;
};
export const cat = (...parts) => Buffer.concat(parts);
export const lp = (bytes) => cat(u32be(bytes.length), bytes);
export const list = (items) => cat(u16be(items.length), ...items);
export const id = (uuid) => lp(rawId(uuid));
export const rawId = (uuid) => Buffer.from(uuid.replaceAll('-', ''), 'hex');
export const optional = (text) => lp(text ? unb64(text) : Buffer.alloc(0));
export const time = (rfc3339) => i64be(micros(rfc3339));
export const micros = (rfc3339) => {
  const [, seconds, fraction] = /^(.*)\.(\d{6})Z$/.exec(rfc3339);
  return BigInt(Date.parse(`${seconds}Z`)) * 1000n + BigInt(fraction);
};
export const now = () => new Date().toISOString().replace('Z', '000Z');
export const sha256 = (bytes) => crypto.createHash('sha256').update(bytes).digest();
export const hkdf = (key, info, length = 32) =>
  Buffer.from(crypto.hkdfSync('sha256', key, Buffer.alloc(0), info, length));
export const hmac = (key, bytes) => crypto.createHmac('sha256', key).update(bytes).digest();
export const ZERO_NONCE = Buffer.alloc(12);
export const aeadSeal = (key, plaintext, aad) => {
  const cipher = crypto.createCipheriv('aes-256-gcm', key, ZERO_NONCE).setAAD(aad);
  return cat(cipher.update(plaintext), cipher.final(), cipher.getAuthTag());
};
export const aeadOpen = (key, sealed, aad) => {
  const cipher = crypto.createDecipheriv('aes-256-gcm', key, ZERO_NONCE).setAAD(aad);
  cipher.setAuthTag(sealed.subarray(-16));
  return cat(cipher.update(sealed.subarray(0, -16)), cipher.final());
};
export function demand(condition, what) {
  if (!condition) throw new Error(`refused: ${what}`);
}
