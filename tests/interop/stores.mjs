// libsignal's stores, in memory.
import * as Signal from '@signalapp/libsignal-client';
import { b64, unb64 } from './encoding.mjs';

export const place = (address) => `${address.name()}.${address.deviceId()}`;
export class Sessions extends Signal.SessionStore {
  map = new Map();
  async saveSession(address, record) {
    this.map.set(place(address), record.serialize());
  }
  async getSession(address) {
    const found = this.map.get(place(address));
    return found ? Signal.SessionRecord.deserialize(found) : null;
  }
  async getExistingSessions(addresses) {
    return Promise.all(addresses.map((a) => this.getSession(a)));
  }
}
export class Identities extends Signal.IdentityKeyStore {
  map = new Map();
  constructor(own, registrationId) {
    super();
    this.own = own;
    this.registrationId = registrationId;
  }
  async getIdentityKey() {
    return this.own;
  }
  async getLocalRegistrationId() {
    return this.registrationId;
  }
  async saveIdentity(address, key) {
    const before = this.map.get(address.name());
    this.map.set(address.name(), b64(key.serialize()));
    return before && before !== b64(key.serialize())
      ? Signal.IdentityChange.ReplacedExisting
      : Signal.IdentityChange.NewOrUnchanged;
  }
  async isTrustedIdentity(address, key) {
    const known = this.map.get(address.name());
    return !known || known === b64(key.serialize());
  }
  async getIdentity(address) {
    const known = this.map.get(address.name());
    return known ? Signal.PublicKey.deserialize(unb64(known)) : null;
  }
}
export class PreKeys extends Signal.PreKeyStore {
  map = new Map();
  async savePreKey(key, record) {
    this.map.set(key, record);
  }
  async getPreKey(key) {
    return this.map.get(key) ?? Promise.reject(new Error(`no prekey ${key}`));
  }
  async removePreKey(key) {
    this.map.delete(key);
  }
}
export class SignedPreKeys extends Signal.SignedPreKeyStore {
  map = new Map();
  async saveSignedPreKey(key, record) {
    this.map.set(key, record);
  }
  async getSignedPreKey(key) {
    return this.map.get(key);
  }
}
export class KyberPreKeys extends Signal.KyberPreKeyStore {
  map = new Map();
  async saveKyberPreKey(key, record) {
    this.map.set(key, record);
  }
  async getKyberPreKey(key) {
    return this.map.get(key) ?? Promise.reject(new Error(`no Kyber prekey ${key}`));
  }
  /** One-time keys are used once; the last-resort key stays. */
  async markKyberPreKeyUsed(key) {
    if (key !== this.lastResort) this.map.delete(key);
  }
}
