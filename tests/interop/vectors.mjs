// crates/seal/vectors, computed anew with what docs/PROTOCOL.md says.
import assert from 'node:assert';
import crypto from 'node:crypto';
import fs from 'node:fs';
import * as Signal from '@signalapp/libsignal-client';
import { handOver, nonce, openFile, release, scanAad, scanKey, sealFile, stream, verdict } from './files.mjs';
import { context, pad, sealCopy, sealSigningInput, signingInput, unpad } from './sealing.mjs';
import {
  aeadSeal,
  ascii,
  b64,
  cat,
  hkdf,
  hmac,
  i64be,
  id,
  list,
  lp,
  micros,
  rawId,
  sha256,
  time,
  u32be,
  u64be,
  u8,
  unb64,
} from './encoding.mjs';
import { curveKey, ed25519, keyId, readManifest, readRootStatement, verify } from './keys.mjs';

const read = (name) => JSON.parse(fs.readFileSync(new URL(`../../crates/seal/vectors/${name}.json`, import.meta.url)));
const same = (bytes, expected, what) => assert.equal(b64(bytes), expected, what);

function identity(v) {
  const key = curveKey(unb64(v.public_key));
  const secret = Signal.PrivateKey.deserialize(unb64(v.private_key_clamped));
  same(secret.getPublicKey().serialize(), v.public_key, 'public key');
  assert(verify(key, unb64(v.message), unb64(v.signature)), 'signature');
  for (const bad of v.public_keys_to_refuse) assert.throws(() => curveKey(unb64(bad)), /refused/, bad);
}

function rootStatement(v) {
  const root = unb64(v.root_public_key);
  same(sha256(root), v.fingerprint, 'pin');
  for (const s of v.statements) {
    const bytes = cat(
      ascii('sigilo/v1/root-statement'),
      id(s.tenant),
      lp(ascii(s.purpose)),
      u32be(s.epoch),
      time(s.not_before),
      time(s.not_after),
      lp(unb64(s.public_key)),
    );
    same(bytes, s.statement, 'statement');
    assert(crypto.verify(null, bytes, ed25519(root), unb64(s.signature)), 'signature');
    same(readRootStatement(bytes).keyId, s.key_id, 'key id');
  }
}

function manifest(v) {
  same(keyId(unb64(v.history_public_key)), v.history_key_id, 'history key id');
  for (const m of v.manifests) {
    const devices = m.devices.map((d) => cat(u8(d.device), u32be(d.registration_id), i64be(micros(d.added_at))));
    const bytes = cat(
      ascii('sigilo/v1/manifest'),
      id(v.tenant),
      id(v.user),
      u32be(m.version),
      lp(unb64(m.previous)),
      lp(unb64(v.history_public_key)),
      list(devices),
    );
    same(bytes, m.statement, 'statement');
    assert(verify(curveKey(unb64(v.identity_key)), bytes, unb64(m.signature)), 'signature');
    assert.equal(readManifest(bytes).version, m.version);
  }
}

function keyCheck(v) {
  const bytes = cat(
    unb64(v.identity_key),
    u64be(v.signed_pre_key_id),
    unb64(v.signed_pre_key),
    u64be(v.last_resort_id),
    unb64(v.last_resort_key),
  );
  same(sha256(bytes), v.digest, 'digest');
}

function message(v) {
  for (const m of v.messages) {
    const c = m.context;
    const a = context(c.tenant, { ...c, message_type: c.kind, deliver: c.when_open ? 'when_open' : 'now' });
    same(a, m.A, 'A');
    const [ck, padded] = [unb64(m.CK), pad(ascii(m.content))];
    same(padded, m.padded, 'padding');
    assert.equal(unpad(padded).toString(), m.content);
    const body = aeadSeal(hkdf(ck, cat(ascii('sigilo/v1/body'), sha256(a))), padded, a);
    same(body, m.body, 'body');
    const commitment = hmac(hkdf(ck, ascii('sigilo/v1/commit')), cat(sha256(a), sha256(body)));
    same(commitment, m.C, 'C');
    const wrapped = aeadSeal(hkdf(unb64(v.RK), cat(ascii('sigilo/v1/wrap'), commitment)), ck, commitment);
    same(wrapped, m.W, 'W');
    same(signingInput(a, commitment, wrapped), m.signing_input, 'what S signs');
    assert(verify(curveKey(unb64(v.identity_key)), unb64(m.signing_input), unb64(m.S)), 'S');
    same(cat(u8(1), ck, commitment), m.envelope, 'envelope');
  }
}

async function recordSeal(v) {
  const aad = cat(id(v.tenant), id(v.conversation), id(v.seal_id), id(v.sender), u8(v.device));
  same(aad, v.aad, 'aad');
  const copies = [];
  for (const expected of v.copies) {
    const copy = await sealCopy(unb64(v.RK), aad, unb64(expected.key_id), unb64(expected.public_key));
    assert.deepEqual([copy.enc, copy.ciphertext], [expected.enc, expected.ct], 'a copy, recomputed');
    copies.push(copy);
  }
  const members = v.members.map((m) => ({
    user_id: m.user,
    identity_key: m.identity_key,
    history_key_id: m.history_key_id,
  }));
  assert.deepEqual(
    members,
    [...members].sort((a, b) => Buffer.compare(rawId(a.user_id), rawId(b.user_id))),
    'members in order',
  );
  const bytes = sealSigningInput(aad, { created_at: v.created_at, members, copies });
  same(bytes, v.signing_input, 'what the seal signs');
  assert(verify(curveKey(unb64(v.identity_key)), bytes, unb64(v.signature)), 'signature');
}

function receipt(v) {
  const [c, s, w] = [v.C, v.S, v.W].map(unb64);
  same(hmac(unb64(v.audit_salt), unb64(v.audit_entry)), v.audit_leaf, 'audit leaf');
  const bytes = cat(
    ascii('sigilo/v1/receipt'),
    id(v.tenant),
    id(v.conversation),
    u64be(v.conversation_seq),
    id(v.message_id),
    lp(c),
    lp(sha256(s)),
    lp(sha256(w)),
    time(v.received_at),
    lp(unb64(v.audit_leaf)),
    list(v.policies.map((p) => lp(ascii(p)))),
    lp(unb64(v.policy_set_hash)),
  );
  same(bytes, v.statement, 'statement');
  assert(crypto.verify(null, bytes, ed25519(unb64(v.receipt_public_key)), unb64(v.signature)), 'signature');
}

function file(v) {
  const fk = unb64(v.FK);
  for (const f of v.files) {
    const plain = Buffer.from(Uint8Array.from({ length: f.length }, (_, i) => i % 251));
    const { key, prefix, commitment } = stream(fk, unb64(f.salt));
    same(cat(key, prefix, commitment), b64(cat(unb64(f.key), unb64(f.prefix), unb64(f.commitment))), 'the stream');
    const blob = sealFile(fk, unb64(f.salt), plain);
    if (f.blob) same(blob, f.blob, 'blob');
    same(sha256(blob), f.blob_sha256, 'SHA-256 of the blob');
    assert.equal(blob.length, f.blob_length);
    let at = 64;
    for (const [number, segment] of f.segments.entries()) {
      same(nonce(prefix, number, number + 1 === f.segments.length), segment.nonce, 'nonce');
      at += segment.length;
      same(blob.subarray(at - 16, at), segment.tag, 'tag');
    }
    assert(openFile(fk, blob).equals(plain), 'the file');
    assert.throws(() => openFile(sha256(fk), blob), /another key/);
    assert.throws(() => openFile(fk, blob.subarray(0, -1)));
    assert.throws(() => openFile(fk, cat(blob, u8(0))));
  }
}

async function scan(v) {
  const bytes = scanKey(v);
  same(bytes, v.statement, 'statement');
  same(keyId(bytes), v.key_id, 'key id');
  assert(crypto.verify(null, bytes, ed25519(unb64(v.scanner_public_key)), unb64(v.signature)), 'signature');
  same(scanAad(v), v.aad, 'aad');
  const handed = await handOver(unb64(v.FK), scanAad(v), unb64(v.scan_public_key), unb64(v.random));
  same(handed.enc, v.enc, 'encapsulation');
  same(handed.ct, v.ct, 'ciphertext');
}

function verdicts(v) {
  for (const one of v.verdicts) {
    const bytes = verdict(v.file, one);
    same(bytes, one.statement, 'statement');
    same(sha256(bytes), one.sha256, 'its name');
    assert(crypto.verify(null, bytes, ed25519(unb64(v.scanner_public_key)), unb64(one.signature)), 'signature');
  }
}

function releases(v) {
  for (const one of v.statements) {
    const bytes = release(v.file, sha256(unb64(v.verdict)), one);
    same(bytes, one.statement, 'statement');
    assert(verify(curveKey(unb64(one.identity_key)), bytes, unb64(one.signature)), 'signature');
  }
}

/** Every vector; throws at the first that differs. */
export async function vectors() {
  const all = {
    identity,
    root_statement: rootStatement,
    manifest,
    key_check: keyCheck,
    message,
    record_seal: recordSeal,
    receipt,
    file,
    scan,
    verdict: verdicts,
    release: releases,
  };
  for (const [name, check] of Object.entries(all)) await check(read(name));
  return { vectors: Object.keys(all) };
}
