// docs/PROTOCOL.md, section 2: which keys and signatures are taken, and the statements about keys.
import crypto from 'node:crypto';
import * as Signal from '@signalapp/libsignal-client';
import { ascii, cat, demand, sha256 } from './encoding.mjs';

export const ed25519 = (raw) =>
  crypto.createPublicKey({
    format: 'der',
    type: 'spki',
    key: cat(Buffer.from('302a300506032b6570032100', 'hex'), raw),
  });
export const P = 2n ** 255n - 19n;
export const ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;
export const littleEndian = (bytes) => BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`);
export const power = (base, exponent) => {
  let result = 1n;
  for (let b = base % P, e = exponent; e > 0n; e >>= 1n, b = (b * b) % P) if (e & 1n) result = (result * b) % P;
  return result;
};

/** The z coordinate of n times the point u, by the Montgomery ladder: 0 for the neutral element. */
export function ladderZ(u, n) {
  let [x2, z2, x3, z3] = [1n, 0n, u, 1n];
  const mod = (a) => ((a % P) + P) % P;
  for (let t = 254n; t >= 0n; t -= 1n) {
    const bit = (n >> t) & 1n;
    if (bit) [x2, z2, x3, z3] = [x3, z3, x2, z2];
    const [a, b, c, d] = [mod(x2 + z2), mod(x2 - z2), mod(x3 + z3), mod(x3 - z3)];
    const [aa, bb, da, cb] = [mod(a * a), mod(b * b), mod(d * a), mod(c * b)];
    const e = mod(aa - bb);
    [x3, z3] = [mod((da + cb) ** 2n), mod(u * mod(da - cb) ** 2n)];
    [x2, z2] = [mod(aa * bb), mod(e * (aa + 121665n * e))];
    if (bit) [x2, z2, x3, z3] = [x3, z3, x2, z2];
  }
  return z2;
}

/** Exactly 33 bytes of type 5; canonical, on the curve, of prime order. */
export function curveKey(bytes) {
  demand(bytes.length === 33 && bytes[0] === 5, 'a key of another length or type');
  const u = littleEndian(bytes.subarray(1));
  demand(u < P && u > 1n, 'a key that is not canonical, or of low order');
  const right = (((u * u + 486662n * u + 1n) % P) * u) % P;
  demand(power(right, (P - 1n) / 2n) === 1n, 'a key that is not on the curve');
  demand(ladderZ(u, ORDER) === 0n, 'a key of another order');
  return Signal.PublicKey.deserialize(bytes);
}

export function kyberKey(bytes) {
  demand(bytes.length === 1569 && bytes[0] === 8, 'a Kyber key of another length or type');
  return Signal.KEMPublicKey.deserialize(bytes);
}

export function verify(identity, message, signature) {
  const scalar = Buffer.from(signature.subarray(32));
  scalar[31] &= 0x7f;
  return signature.length === 64 && littleEndian(scalar) < ORDER && identity.verify(message, signature);
}

export const keyId = (bytes) => sha256(bytes).subarray(0, 16);

/** Reads what lp, u8 ... wrote; `end` refuses trailing bytes. */
export class Reader {
  constructor(bytes, label) {
    demand(bytes.subarray(0, label.length).equals(ascii(label)), `bytes that do not begin with ${label}`);
    this.rest = bytes.subarray(label.length);
  }
  raw(length) {
    demand(this.rest.length >= length, 'bytes that end early');
    const taken = this.rest.subarray(0, length);
    this.rest = this.rest.subarray(length);
    return taken;
  }
  u8() {
    return this.raw(1)[0];
  }
  u16() {
    return this.raw(2).readUInt16BE();
  }
  u32() {
    return this.raw(4).readUInt32BE();
  }
  i64() {
    return this.raw(8).readBigInt64BE();
  }
  lp() {
    return this.raw(this.u32());
  }
  end() {
    demand(this.rest.length === 0, 'trailing bytes');
  }
}

export function readRootStatement(bytes) {
  const r = new Reader(bytes, 'sigilo/v1/root-statement');
  const statement = {
    tenant: r.lp(),
    purpose: r.lp().toString(),
    epoch: r.u32(),
    notBefore: r.i64(),
    notAfter: r.i64(),
    key: r.lp(),
  };
  r.end();
  const length = ['records', 'moderation'].includes(statement.purpose) ? 1216 : 32;
  demand(statement.key.length === length && statement.notBefore < statement.notAfter, 'a malformed root statement');
  return { ...statement, keyId: keyId(bytes) };
}

export function readManifest(bytes) {
  const r = new Reader(bytes, 'sigilo/v1/manifest');
  const manifest = { tenant: r.lp(), user: r.lp(), version: r.u32(), previous: r.lp(), history: r.lp(), devices: [] };
  for (let count = r.u16(); count > 0; count -= 1) {
    manifest.devices.push({ device: r.u8(), registrationId: r.u32(), addedAt: r.i64() });
  }
  r.end();
  const ascending = manifest.devices.every(
    (d, i, all) => d.device >= 1 && d.device <= 127 && (i === 0 || all[i - 1].device < d.device),
  );
  demand(ascending && manifest.history.length === 1216, 'a malformed manifest');
  demand(
    manifest.version >= 1 && (manifest.version === 1) === (manifest.previous.length === 0),
    'a manifest without its chain',
  );
  return manifest;
}
