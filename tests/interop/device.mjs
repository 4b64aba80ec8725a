// A Sigilo device in JavaScript, written from docs/PROTOCOL.md and docs/API.md alone, on Signal's official client,
// node's own cryptography and @hpke. Everything a receiver must check throws when it does not hold, and is noted
// in `checks` when it does. Numbers are sections of the protocol.
import crypto from 'node:crypto';
import * as Signal from '@signalapp/libsignal-client';
import WebSocket from 'ws';
import { Account } from './account.mjs';
import {
  aeadOpen,
  aeadSeal,
  ascii,
  b64,
  cat,
  demand,
  hkdf,
  hmac,
  id,
  list,
  lp,
  micros,
  now,
  rawId,
  sha256,
  time,
  u64be,
  u8,
  unb64,
} from './encoding.mjs';
import { curveKey, ed25519, keyId, kyberKey, readManifest, verify } from './keys.mjs';
import { buffer, context, pad, SEAL_INFO, sealCopy, sealSigningInput, signingInput, suite, unpad } from './sealing.mjs';

const DEADLINE_MS = 20_000;

export class Device extends Account {
  people = new Map();
  seals = new Map();
  seen = new Set();
  chains = new Map();
  own = new Map();

  // Section 4
  async person(user) {
    const answer = await this.call('GET', `/api/keys/${user}/manifest/`);
    const identity = curveKey(unb64(answer.identity_key));
    const known = this.people.get(user);
    this.check(!known || b64(known.identity.serialize()) === answer.identity_key, 'identities stay what they were');
    const statement = unb64(answer.manifest.statement);
    this.check(verify(identity, statement, unb64(answer.manifest.signature)), 'manifests are signed by their identity');
    const manifest = readManifest(statement);
    this.check(
      manifest.tenant.equals(rawId(this.tenant)) && manifest.user.equals(rawId(user)),
      "manifests are their user's",
    );
    demand(!known || manifest.version >= known.manifest.version, 'an older manifest');
    const person = { user, identity, manifest, historyId: keyId(manifest.history) };
    this.people.set(user, person);
    return person;
  }

  async openSessions(person) {
    const missing = [];
    for (const { device } of person.manifest.devices) {
      const own = person.user === this.user && device === this.device;
      if (!own && !(await this.stores.sessions.getSession(Signal.ProtocolAddress.new(person.user, device))))
        missing.push(device);
    }
    if (missing.length === 0) return;
    const answer = await this.call('GET', `/api/keys/${person.user}/*/`);
    for (const bundle of answer.devices.filter((b) => missing.includes(b.device_id))) {
      const named = person.manifest.devices.find((d) => d.device === bundle.device_id);
      this.check(named.registrationId === bundle.registration_id, 'bundles agree with the manifest');
      const { signed_pre_key: signed, kyber_pre_key: kyber, pre_key: once } = bundle;
      for (const key of [signed, kyber]) {
        this.check(
          verify(person.identity, unb64(key.public_key), unb64(key.signature)),
          'prekeys are signed by their identity',
        );
      }
      const offered = Signal.PreKeyBundle.new(
        bundle.registration_id,
        bundle.device_id,
        once?.key_id ?? null,
        once ? curveKey(unb64(once.public_key)) : null,
        signed.key_id,
        curveKey(unb64(signed.public_key)),
        unb64(signed.signature),
        person.identity,
        kyber.key_id,
        kyberKey(unb64(kyber.public_key)),
        unb64(kyber.signature),
      );
      const address = Signal.ProtocolAddress.new(person.user, bundle.device_id);
      await Signal.processPreKeyBundle(offered, address, this.address, this.stores.sessions, this.stores.identities);
    }
  }

  async start(user) {
    const conversation = await this.call('POST', '/api/chat/conversations/', { type: 'direct', participants: [user] });
    return { conversation_id: conversation.id };
  }

  // Section 5
  sealAad(conversation, sealId, sender, device) {
    return cat(id(this.tenant), id(conversation), id(sealId), id(sender), u8(device));
  }

  async makeSeal(conversation, people) {
    const archive = crypto.randomBytes(32);
    const sealId = crypto.randomUUID();
    const aad = this.sealAad(conversation, sealId, this.user, this.device);
    const sorted = [...people].sort((a, b) => Buffer.compare(rawId(a.user), rawId(b.user)));
    const seal = {
      seal_id: sealId,
      created_at: now(),
      members: sorted.map((p) => ({
        user_id: p.user,
        identity_key: b64(p.identity.serialize()),
        history_key_id: b64(p.historyId),
      })),
      copies: [await sealCopy(archive, aad, this.records.keyId, this.records.key)],
    };
    for (const person of sorted)
      seal.copies.push(await sealCopy(archive, aad, person.historyId, person.manifest.history));
    seal.signature = b64(this.identity.sign(sealSigningInput(aad, seal)));
    await this.call('POST', `/api/chat/conversations/${conversation}/seals/`, seal);
    this.own.set(conversation, { sealId, archive });
    return { sealId, archive };
  }

  /** The archive key of somebody's seal, after every copy was recomputed. */
  async openSeal(message) {
    if (this.seals.has(message.seal_id)) return this.seals.get(message.seal_id);
    const { results } = await this.call(
      'GET',
      `/api/chat/conversations/${message.conversation_id}/seals/?page_size=100`,
    );
    const found = results.find((s) => s.seal.seal_id === message.seal_id);
    demand(found, 'the seal is not there');
    this.check(
      found.sender_id === message.sender.user_id && found.device_id === message.sender.device_id,
      "the seal is the sender's",
    );
    const { seal } = found;
    const aad = this.sealAad(message.conversation_id, seal.seal_id, found.sender_id, found.device_id);
    const maker = await this.person(found.sender_id);
    this.check(
      verify(maker.identity, sealSigningInput(aad, seal), unb64(seal.signature)),
      'the seal is signed by its maker',
    );
    const ownId = b64(keyId(this.historyPublic));
    const copy = seal.copies.find((c) => c.key_id === ownId);
    this.check(copy, 'the seal has a copy for this user');
    const recipient = await suite.createRecipientContext({
      recipientKey: await suite.kem.deserializePrivateKey(buffer(this.historySeed)),
      enc: buffer(unb64(copy.enc)),
      info: buffer(SEAL_INFO),
    });
    const archive = Buffer.from(await recipient.open(buffer(unb64(copy.ciphertext)), buffer(aad)));
    const expected = [await sealCopy(archive, aad, this.records.keyId, this.records.key)];
    for (const member of seal.members) {
      const person = await this.person(member.user_id);
      const known =
        b64(person.identity.serialize()) === member.identity_key && b64(person.historyId) === member.history_key_id;
      this.check(known, "the seal's members are known by these keys");
      expected.push(await sealCopy(archive, aad, person.historyId, person.manifest.history));
    }
    const sorted = (copies) => JSON.stringify([...copies].map((c) => [c.key_id, c.enc, c.ciphertext]).sort());
    this.check(
      sorted(seal.copies) === sorted(expected),
      "every copy of the seal is good, the officers' too, and there is no other",
    );
    const conversation = await this.call('GET', `/api/chat/conversations/${message.conversation_id}/`);
    const people = (all) => JSON.stringify(all.map((one) => one.user_id).sort());
    this.check(
      people(seal.members) === people(conversation.participants),
      'the seal is for the people of the conversation',
    );
    this.seals.set(message.seal_id, archive);
    return archive;
  }

  // Section 7
  async send(conversation, text) {
    const { participants } = await this.call('GET', `/api/chat/conversations/${conversation}/`);
    const people = await Promise.all(participants.map((p) => this.person(p.user_id)));
    for (const person of people) await this.openSessions(person);
    const { sealId, archive } = this.own.get(conversation) ?? (await this.makeSeal(conversation, people));
    const chain = this.chains.get(conversation) ?? { device_seq: 0 };
    const message = {
      client_message_id: crypto.randomUUID(),
      message_type: 'text',
      priority: 'normal',
      sent_at: now(),
      device_seq: chain.device_seq + 1,
      ...(chain.commitment ? { prev_commitment: chain.commitment } : {}),
      ...(chain.seen ? { seen_commitment: chain.seen } : {}),
      seal_id: sealId,
    };
    const a = context(this.tenant, { ...message, conversation, sender: this.user, device: this.device });
    const ck = crypto.randomBytes(32);
    const body = aeadSeal(
      hkdf(ck, cat(ascii('sigilo/v1/body'), sha256(a))),
      pad(ascii(JSON.stringify({ v: 1, text }))),
      a,
    );
    const c = hmac(hkdf(ck, ascii('sigilo/v1/commit')), cat(sha256(a), sha256(body)));
    const w = aeadSeal(hkdf(archive, cat(ascii('sigilo/v1/wrap'), c)), ck, c);
    const s = Buffer.from(this.identity.sign(signingInput(a, c, w)));
    const plaintext = cat(u8(1), ck, c);
    const envelopes = [];
    for (const person of people) {
      for (const { device, registrationId } of person.manifest.devices) {
        if (person.user === this.user && device === this.device) continue;
        const address = Signal.ProtocolAddress.new(person.user, device);
        const sealed = await Signal.signalEncrypt(
          plaintext,
          address,
          this.address,
          this.stores.sessions,
          this.stores.identities,
        );
        const content = b64(sealed.serialize());
        envelopes.push({
          user_id: person.user,
          device_id: device,
          registration_id: registrationId,
          type: sealed.type(),
          content,
        });
      }
    }
    const request = {
      ...message,
      body: b64(body),
      commitment: b64(c),
      signature: b64(s),
      wrapped_key: b64(w),
      envelopes,
    };
    const accepted = await this.call('POST', `/api/chat/conversations/${conversation}/messages/`, request);
    const again = await this.call('POST', `/api/chat/conversations/${conversation}/messages/`, request);
    this.check(JSON.stringify(again) === JSON.stringify(accepted), 'a message sent twice gets the first answer');
    this.checkReceipt(conversation, accepted.message_id, accepted, { c, s, w });
    this.chains.set(conversation, { ...chain, device_seq: message.device_seq, commitment: b64(c) });
    return { message_id: accepted.message_id };
  }

  // Section 9
  checkReceipt(conversation, messageId, { conversation_seq, received_at, receipt }, { c, s, w }) {
    const statement = cat(
      ascii('sigilo/v1/receipt'),
      id(this.tenant),
      id(conversation),
      u64be(conversation_seq),
      id(messageId),
      lp(c),
      lp(sha256(s)),
      lp(sha256(w)),
      time(received_at),
      lp(unb64(receipt.audit_leaf)),
      list(receipt.policies.map((p) => lp(ascii(p)))),
      lp(unb64(receipt.policy_set)),
    );
    const key = this.clinicKey('receipt', micros(received_at), unb64(receipt.key_id));
    this.check(
      crypto.verify(null, statement, ed25519(key.key), unb64(receipt.signature)),
      "the receipt is signed by the clinic's receipt key",
    );
  }

  // Section 8
  async open(message, envelope) {
    const { user_id: user, device_id: device } = message.sender;
    const person = this.people.get(user) ?? (await this.person(user));
    const address = Signal.ProtocolAddress.new(user, device);
    const content = unb64(envelope.content);
    const { sessions, identities, preKeys, signed, kyber } = this.stores;
    const plaintext = Buffer.from(
      envelope.type === 3
        ? await Signal.signalDecryptPreKey(
            Signal.PreKeySignalMessage.deserialize(content),
            address,
            this.address,
            sessions,
            identities,
            preKeys,
            signed,
            kyber,
          )
        : await Signal.signalDecrypt(
            Signal.SignalMessage.deserialize(content),
            address,
            this.address,
            sessions,
            identities,
          ),
    );
    this.check(
      (await identities.getIdentity(address)).equals(person.identity),
      'the session is with the known identity',
    );
    this.check(plaintext.length === 65 && plaintext[0] === 1, 'the envelope holds a message key');
    const [ck, named] = [plaintext.subarray(1, 33), plaintext.subarray(33)];
    const [c, s, w, body] = [message.commitment, message.signature, message.wrapped_key, message.body].map(unb64);
    const a = context(this.tenant, { ...message, conversation: message.conversation_id, sender: user, device });
    this.check(
      verify(person.identity, signingInput(a, c, w), s),
      'S: the sender signed context, commitment and wrapped key',
    );
    const expected = hmac(hkdf(ck, ascii('sigilo/v1/commit')), cat(sha256(a), sha256(body)));
    this.check(named.equals(c) && expected.equals(c), 'C: the commitment binds key, context and body');
    const json = unpad(aeadOpen(hkdf(ck, cat(ascii('sigilo/v1/body'), sha256(a))), body, a));
    const archive = await this.openSeal(message);
    const archived = aeadOpen(hkdf(archive, cat(ascii('sigilo/v1/wrap'), c)), w, c);
    this.check(archived.equals(ck), 'W: the archive holds the same key');
    const name = [user, device, message.client_message_id].join();
    demand(!this.seen.has(name), 'a message that was shown before');
    this.seen.add(name);
    const chainName = [message.conversation_id, user, device].join();
    const chain = this.chains.get(chainName) ?? {
      device_seq: message.device_seq - 1,
      commitment: message.prev_commitment,
    };
    const follows =
      chain.device_seq + 1 === message.device_seq && (chain.commitment ?? null) === message.prev_commitment;
    this.check(follows, "the device's chain has no gap");
    this.chains.set(chainName, { device_seq: message.device_seq, commitment: message.commitment });
    this.checkReceipt(message.conversation_id, message.id, message, { c, s, w });
    const own = this.chains.get(message.conversation_id) ?? { device_seq: 0 };
    this.chains.set(message.conversation_id, { ...own, seen: message.commitment });
    return JSON.parse(json).text;
  }

  /** Connects, takes in and acknowledges what comes, and leaves after `wanted` messages and the end of the backlog. */
  receive(wanted) {
    const texts = [];
    const delivered = [];
    let caughtUp = false;
    return new Promise((resolve, reject) => {
      const url = `${this.server.replace(/^http/, 'ws')}/ws/chat/`;
      const socket = new WebSocket(url, { headers: { authorization: `Bearer ${this.token}` } });
      const late = setTimeout(() => fail(new Error(`only ${texts.length} of ${wanted} messages came`)), DEADLINE_MS);
      let work = Promise.resolve();
      const fail = (error) => {
        clearTimeout(late);
        reject(error);
        socket.terminate();
      };
      const take = async (frame) => {
        demand(frame.type !== 'error', JSON.stringify(frame.data));
        if (frame.type === 'new_message') texts.push(await this.open(frame.data, frame.data.envelope));
        if (frame.type === 'message_delivered') delivered.push(frame.data.message_id);
        if (frame.type === 'queue_empty') caughtUp = true;
        // After the message is kept, not before: an acknowledged event is gone.
        if (frame.event_id) socket.send(JSON.stringify({ type: 'ack', event_ids: [frame.event_id] }));
        if (caughtUp && texts.length >= wanted) socket.close();
      };
      socket.on('message', (text) => {
        work = work.then(() => take(JSON.parse(text))).catch(fail);
      });
      socket.on('error', fail);
      socket.on('close', () =>
        work.then(() => {
          clearTimeout(late);
          resolve({ texts, delivered });
        }),
      );
    });
  }

  // Section 10
  async history(conversation) {
    const { results } = await this.call(
      'GET',
      `/api/chat/conversations/${conversation}/messages/?ordering=conversation_seq&page_size=100`,
    );
    const texts = [];
    for (const message of results) {
      // A device's own messages are read through its own seals.
      const archive = await this.openSeal(message);
      const person = await this.person(message.sender.user_id);
      const [c, s, w, body] = [message.commitment, message.signature, message.wrapped_key, message.body].map(unb64);
      const { user_id: sender, device_id: device } = message.sender;
      const a = context(this.tenant, { ...message, conversation: message.conversation_id, sender, device });
      this.check(verify(person.identity, signingInput(a, c, w), s), 'history: S');
      const ck = aeadOpen(hkdf(archive, cat(ascii('sigilo/v1/wrap'), c)), w, c);
      this.check(hmac(hkdf(ck, ascii('sigilo/v1/commit')), cat(sha256(a), sha256(body))).equals(c), 'history: C');
      texts.push(JSON.parse(unpad(aeadOpen(hkdf(ck, cat(ascii('sigilo/v1/body'), sha256(a))), body, a))).text);
    }
    return { texts };
  }

  // Section 11
  async safetyNumber(user) {
    const person = await this.person(user);
    const number = Signal.Fingerprint.new(
      5200,
      2,
      rawId(this.user),
      this.identity.getPublicKey(),
      rawId(user),
      person.identity,
    );
    return { digits: number.displayableFingerprint().toString() };
  }
}
