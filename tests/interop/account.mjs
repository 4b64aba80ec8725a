// docs/PROTOCOL.md, section 3: from an invitation to a device others can write to. Numbers are sections.
import crypto from 'node:crypto';
import * as Signal from '@signalapp/libsignal-client';
import {
  ascii,
  b64,
  cat,
  demand,
  id,
  list,
  lp,
  micros,
  now,
  rawId,
  sha256,
  time,
  u32be,
  u64be,
  u8,
  unb64,
} from './encoding.mjs';
import { ed25519, readRootStatement } from './keys.mjs';
import { suite } from './sealing.mjs';
import { Identities, KyberPreKeys, PreKeys, Sessions, SignedPreKeys } from './stores.mjs';

const ONE_TIME_KEYS = 20;

export class Account {
  checks = [];

  /** Notes a check that held; anything else throws. */
  check(condition, what) {
    demand(condition, what);
    if (!this.checks.includes(what)) this.checks.push(what);
  }

  async call(method, path, body, token = this.token) {
    const headers = {
      ...(token ? { authorization: `Bearer ${token}` } : {}),
      ...(body ? { 'content-type': 'application/json' } : {}),
    };
    const answer = await fetch(`${this.server}${path}`, { method, headers, body: body && JSON.stringify(body) });
    const text = await answer.text();
    const json = text ? JSON.parse(text) : null;
    if (!answer.ok)
      throw Object.assign(new Error(`${method} ${path}: ${answer.status} ${text}`), {
        status: answer.status,
        body: json,
      });
    return json;
  }

  // Section 3
  async activate(invitation, password) {
    const url = new URL(invitation);
    demand(
      url.protocol === 'sigilo:' && url.host === 'activate' && url.searchParams.get('v') === '1',
      'not an invitation',
    );
    const pin = Buffer.from(url.searchParams.get('root'), 'base64url');
    this.server = url.searchParams.get('server').replace(/\/$/, '');
    const tokens = await this.call('POST', '/api/auth/activate/', {
      clinic: url.searchParams.get('clinic'),
      code: url.searchParams.get('code'),
      password,
      device: { kind: 'messaging', name: 'interop' },
    });
    [this.token, this.tenant, this.user, this.device] = [
      tokens.access_token,
      tokens.clinic_id,
      tokens.user_id,
      tokens.device.device_id,
    ];
    this.address = Signal.ProtocolAddress.new(this.user, this.device);
    await this.readClinic(pin);
    await this.publishKeys();
    return { user_id: this.user, device_id: this.device };
  }

  async readClinic(pin) {
    const clinic = await this.call('GET', '/api/clinic/');
    const root = unb64(clinic.root_public_key);
    this.check(sha256(root).equals(pin), 'the root key is the one the invitation pins');
    this.clinicKeys = clinic.root_statements.map(({ statement, signature }) => {
      this.check(
        crypto.verify(null, unb64(statement), ed25519(root), unb64(signature)),
        'the root signed every statement',
      );
      const read = readRootStatement(unb64(statement));
      this.check(read.tenant.equals(rawId(this.tenant)), 'every statement is for this clinic');
      return read;
    });
    this.records = this.clinicKey('records', micros(now()));
    this.clinicKey('receipt', micros(now()));
  }

  clinicKey(purpose, at, wanted) {
    const good = this.clinicKeys.filter(
      (k) => k.purpose === purpose && k.notBefore <= at && at < k.notAfter && (!wanted || k.keyId.equals(wanted)),
    );
    demand(good.length > 0, `no ${purpose} key in force`);
    return good.reduce((a, b) => (b.epoch > a.epoch ? b : a));
  }

  async publishKeys() {
    this.identity = Signal.PrivateKey.generate();
    const identityKey = Buffer.from(this.identity.getPublicKey().serialize());
    this.registrationId = 1 + crypto.randomInt(16380);
    this.historySeed = crypto.randomBytes(32);
    const pair = await suite.kem.generateKeyPairDerand(new Uint8Array(this.historySeed));
    this.historyPublic = Buffer.from(await suite.kem.serializePublicKey(pair.publicKey));
    this.stores = {
      sessions: new Sessions(),
      identities: new Identities(this.identity, this.registrationId),
      preKeys: new PreKeys(),
      signed: new SignedPreKeys(),
      kyber: new KyberPreKeys(),
    };
    let next = 1;
    const sign = (bytes) => Buffer.from(this.identity.sign(bytes));
    const kyber = async () => {
      const [key_id, keys] = [next++, Signal.KEMKeyPair.generate()];
      const public_key = Buffer.from(keys.getPublicKey().serialize());
      const signature = sign(public_key);
      await this.stores.kyber.saveKyberPreKey(
        key_id,
        Signal.KyberPreKeyRecord.new(key_id, Date.now(), keys, signature),
      );
      return { key_id, public_key: b64(public_key), signature: b64(signature) };
    };
    const signedSecret = Signal.PrivateKey.generate();
    const signedPublic = Buffer.from(signedSecret.getPublicKey().serialize());
    const signed = { key_id: next++, public_key: b64(signedPublic), signature: b64(sign(signedPublic)) };
    await this.stores.signed.saveSignedPreKey(
      signed.key_id,
      Signal.SignedPreKeyRecord.new(
        signed.key_id,
        Date.now(),
        signedSecret.getPublicKey(),
        signedSecret,
        unb64(signed.signature),
      ),
    );
    const lastResort = await kyber();
    this.stores.kyber.lastResort = lastResort.key_id;
    const preKeys = [];
    const kyberPreKeys = [];
    for (let i = 0; i < ONE_TIME_KEYS; i += 1) {
      const [key_id, secret] = [next++, Signal.PrivateKey.generate()];
      await this.stores.preKeys.savePreKey(key_id, Signal.PreKeyRecord.new(key_id, secret.getPublicKey(), secret));
      preKeys.push({ key_id, public_key: b64(secret.getPublicKey().serialize()) });
      kyberPreKeys.push(await kyber());
    }
    await this.call('PUT', '/api/keys/identity/', { identity_key: b64(identityKey) });
    const counts = await this.call('PUT', '/api/keys/', {
      registration_id: this.registrationId,
      signed_pre_key: signed,
      last_resort_kyber_pre_key: lastResort,
      pre_keys: preKeys,
      kyber_pre_keys: kyberPreKeys,
    });
    this.check(
      counts.pre_key_count === ONE_TIME_KEYS && counts.kyber_pre_key_count === ONE_TIME_KEYS,
      'the server counts the published keys',
    );
    const statement = cat(
      ascii('sigilo/v1/manifest'),
      id(this.tenant),
      id(this.user),
      u32be(1),
      lp(Buffer.alloc(0)),
      lp(this.historyPublic),
      list([cat(u8(this.device), u32be(this.registrationId), time(now()))]),
    );
    await this.call('PUT', '/api/devices/manifest/', { statement: b64(statement), signature: b64(sign(statement)) });
    const digest = sha256(
      cat(identityKey, u64be(signed.key_id), signedPublic, u64be(lastResort.key_id), unb64(lastResort.public_key)),
    );
    await this.call('POST', '/api/keys/check/', { digest: b64(digest) });
    this.check(true, 'the server holds the keys that were published');
  }
}
