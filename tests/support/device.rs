//! A messaging device that speaks the API by hand: real keys, seals and signatures, but no
//! libsignal sessions (the server cannot look into envelopes).

use std::{collections::HashMap, sync::Mutex};

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng as _};
use serde_json::{Value, json};
use sigilo::execute;
use sigilo_seal::{
    ArchiveKey, Commitment, Content, ContentKey, Context, IdentitySecret, KeyPurpose, Manifest,
    ManifestDevice, Member, Origin, Recipient, RecordSeal, RootStatement, SealHeader, SignedManifest,
    XWingSecret, message::seal_message,
};
use sigilo_wire::{
    Base64, Base64Array, ClientMessageId, ConversationId, DeviceId, DeviceNumber, RelationshipId, Role,
    SealId, TenantId, Timestamp, UserId,
    account::Tokens,
    keys::UserManifest,
    message::{EnvelopeType, MessageKind, RecipientEnvelope, SendMessage},
    seal::NewSeal,
};

use super::{
    TestServer,
    clinic::{Clinic, Person},
    http::Answer,
};

/// Somebody's messaging device.
pub struct Device {
    pub clinic: TenantId,
    pub user: UserId,
    pub device: DeviceId,
    pub number: DeviceNumber,
    pub token: String,
    pub refresh_token: String,
    pub identity: IdentitySecret,
    pub history: XWingSecret,
    pub registration_id: u32,
    chains: Mutex<HashMap<ConversationId, Chain>>,
    rng: Mutex<ChaCha20Rng>,
}

/// Where a device is in a conversation.
struct Chain {
    seal: SealId,
    archive: ArchiveKey,
    device_seq: u64,
    last: Option<Commitment>,
}

/// Random bytes.
pub fn random<const N: usize>(rng: &mut impl Rng) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// The root's statement of the records key.
pub fn records_statement(clinic: &Clinic) -> RootStatement {
    let statements = &clinic.ceremony.clinic_keys.statements;
    statements
        .iter()
        .map(|signed| RootStatement::decode(&signed.statement).unwrap())
        .find(|statement| statement.purpose == KeyPurpose::Records)
        .unwrap()
}

/// Makes a patient and a clinician related, as an imported appointment does.
pub async fn relate(server: &TestServer, patient: &Device, clinician: &Device) -> RelationshipId {
    let id = RelationshipId::new(server.app.clock.now(), sigilo::rng::bytes(&*server.app.entropy));
    let mut tx = server.app.db.begin("test").await.unwrap();
    execute!(
        &mut tx,
        "INSERT INTO relationships (relationship_id, tenant_id, kind, patient_id, clinician_id, source, created_at)
         VALUES ($1, $2, 'care', $3, $4, 'appointment', $5)",
        id,
        patient.clinic,
        patient.user,
        clinician.user,
        server.app.clock.now()
    )
    .unwrap();
    tx.commit().await.unwrap();
    id
}

impl Device {
    /// Somebody with an account and one messaging device whose keys are published. The keys come from the
    /// address, so that a failure can be repeated.
    pub async fn create(server: &TestServer, clinic: &Clinic, role: Role, email: &str) -> Self {
        let person = clinic.person(server, role, email).await;
        Self::of(server, clinic, &person).await
    }

    /// The messaging device of somebody who has an account: its keys are published.
    pub async fn of(server: &TestServer, clinic: &Clinic, person: &Person) -> Self {
        let seed = person.email.bytes().fold(7u64, |seed, byte| seed.wrapping_mul(31) ^ u64::from(byte));
        let device = Self::new(clinic.id, &person.tokens, &mut ChaCha20Rng::seed_from_u64(seed));
        device.publish_keys(server).await;
        device
    }

    fn new(clinic: TenantId, tokens: &Tokens, rng: &mut ChaCha20Rng) -> Self {
        Self {
            clinic,
            user: tokens.user_id,
            device: tokens.device.id,
            number: tokens.device.device_id.unwrap_or(DeviceNumber::FIRST),
            token: tokens.access_token.clone(),
            refresh_token: tokens.refresh_token.clone(),
            identity: IdentitySecret::generate(rng),
            history: XWingSecret::generate(rng),
            registration_id: 1 + rng.next_u32() % 16_380,
            chains: Mutex::default(),
            rng: Mutex::new(ChaCha20Rng::from_seed(random(rng))),
        }
    }

    /// Publishes identity, prekeys and manifest.
    pub async fn publish_keys(&self, server: &TestServer) {
        let identity = json!({"identity_key": Base64Array(self.identity.public().to_bytes())});
        server.put("/api/keys/identity/", Some(&self.token), &identity).await.expect_success();
        server.put("/api/keys/", Some(&self.token), &self.keys(5)).await.expect_success();
        let manifest = self.manifest(1, None, server);
        server.put("/api/devices/manifest/", Some(&self.token), &manifest).await.expect_success();
    }

    /// The body of PUT /api/keys/ with this many one-time keys of each kind.
    pub fn keys(&self, one_time: u32) -> Value {
        let mut rng = self.rng.lock().unwrap();
        let mut public = || {
            let key = Base64Array(IdentitySecret::generate(&mut *rng).public().to_bytes());
            (key, Base64Array(self.identity.sign(&key.0, &mut *rng)))
        };
        let (signed, signature) = public();
        let one_time_keys: Vec<Value> =
            (1..=one_time).map(|id| json!({"key_id": id, "public_key": public().0})).collect();
        let mut kyber = |id: u32| {
            let key = [vec![0x08], random::<1568>(&mut *rng).to_vec()].concat();
            let signature = Base64Array(self.identity.sign(&key, &mut *rng));
            json!({"key_id": id, "public_key": Base64(key), "signature": signature})
        };
        json!({
            "registration_id": self.registration_id,
            "signed_pre_key": {"key_id": 1, "public_key": signed, "signature": signature},
            "last_resort_kyber_pre_key": kyber(1_000),
            "pre_keys": one_time_keys,
            "kyber_pre_keys": (1..=one_time).map(&mut kyber).collect::<Vec<_>>(),
        })
    }

    /// The body of PUT /api/devices/manifest/ naming this device alone.
    pub fn manifest(&self, version: u32, previous: Option<[u8; 32]>, server: &TestServer) -> Value {
        let manifest = Manifest {
            tenant: self.clinic,
            user: self.user,
            version,
            previous,
            history_public_key: self.history.public(),
            devices: vec![ManifestDevice {
                device: self.number,
                registration_id: self.registration_id,
                added_at: server.app.clock.now(),
            }],
        };
        self.sign(&manifest)
    }

    /// The body of PUT /api/devices/manifest/ for this manifest.
    pub fn sign(&self, manifest: &Manifest) -> Value {
        let signed = manifest.sign(&self.identity, &mut *self.rng.lock().unwrap());
        json!({"statement": Base64(signed.statement), "signature": Base64Array(signed.signature)})
    }

    /// The user's manifest in force, as this device's identity signed it.
    pub async fn current_manifest(&self, server: &TestServer) -> Manifest {
        let path = format!("/api/keys/{}/manifest/", self.user);
        let answer = server.get(&path, Some(&self.token)).await.expect(200);
        let published: UserManifest = serde_json::from_value(answer).unwrap();
        let signature = published.manifest.signature.0;
        let signed = SignedManifest { statement: published.manifest.statement.0, signature };
        signed.verify(&self.identity.public(), self.clinic, self.user).unwrap()
    }

    /// A further device of the same user, from the tokens it was given: same identity and history key.
    pub fn sibling(&self, tokens: &Tokens, registration_id: u32) -> Self {
        let rng = ChaCha20Rng::seed_from_u64(u64::from(registration_id));
        let mut sibling = Self::new(self.clinic, tokens, &mut rng.clone());
        sibling.identity = self.identity.clone();
        sibling.history = self.history.clone();
        sibling.registration_id = registration_id;
        sibling
    }

    /// Starts a direct conversation.
    pub async fn start(&self, server: &TestServer, with: &Self) -> ConversationId {
        let body = json!({"type": "direct", "participants": [with.user]});
        let answer = server.post("/api/chat/conversations/", Some(&self.token), &body).await;
        serde_json::from_value(answer.expect_success()["id"].clone()).unwrap()
    }

    /// Makes a record seal for the records key and these members (the sender is added).
    pub fn seal(
        &self,
        server: &TestServer,
        clinic: &Clinic,
        conversation: ConversationId,
        others: &[&Self],
    ) -> NewSeal {
        let mut rng = self.rng.lock().unwrap();
        let archive = ArchiveKey::generate(&mut *rng);
        let header = SealHeader {
            tenant: self.clinic,
            conversation,
            seal_id: SealId::new(server.app.clock.now(), random(&mut *rng)),
            sender: self.user,
            device: self.number,
        };
        let people: Vec<&Self> = others.iter().copied().chain([self]).collect();
        let members = people
            .iter()
            .map(|person| Member {
                user: person.user,
                identity_key: person.identity.public(),
                history_key_id: person.history.public().history_key_id(),
            })
            .collect();
        let recipients: Vec<Recipient> =
            std::iter::once(Recipient::records(&records_statement(clinic)).unwrap())
                .chain(people.iter().map(|person| Recipient::history(person.history.public())))
                .collect();
        let seal = RecordSeal::create(
            &archive,
            header,
            server.app.clock.now(),
            members,
            &recipients,
            &self.identity,
            &mut *rng,
        )
        .unwrap();
        let mut chains = self.chains.lock().unwrap();
        let (device_seq, last) =
            chains.get(&conversation).map_or((0, None), |chain| (chain.device_seq, chain.last));
        chains.insert(conversation, Chain { seal: seal.header.seal_id, archive, device_seq, last });
        seal.to_new()
    }

    /// Publishes a seal for these members.
    pub async fn publish_seal(
        &self,
        server: &TestServer,
        clinic: &Clinic,
        conversation: ConversationId,
        others: &[&Self],
    ) {
        let seal = self.seal(server, clinic, conversation, others);
        let path = format!("/api/chat/conversations/{conversation}/seals/");
        server.post(&path, Some(&self.token), &json!(seal)).await.expect_success();
    }

    /// The next text message of this device to these devices, sealed and signed.
    pub fn text(
        &self,
        server: &TestServer,
        conversation: ConversationId,
        text: &str,
        to: &[&Self],
    ) -> SendMessage {
        self.message(server, conversation, text, to, |_| {})
    }

    /// As [`Device::text`], with the request changed before it is sealed.
    pub fn message(
        &self,
        server: &TestServer,
        conversation: ConversationId,
        text: &str,
        to: &[&Self],
        change: impl FnOnce(&mut SendMessage),
    ) -> SendMessage {
        self.message_at(server.app.clock.now(), conversation, text, to, change)
    }

    /// As [`Device::message`], by the device's own clock.
    pub fn message_at(
        &self,
        now: Timestamp,
        conversation: ConversationId,
        text: &str,
        to: &[&Self],
        change: impl FnOnce(&mut SendMessage),
    ) -> SendMessage {
        let mut rng = self.rng.lock().unwrap();
        let mut chains = self.chains.lock().unwrap();
        let chain = chains.get_mut(&conversation).expect("publish a seal first");
        let envelope = |person: &&Self| RecipientEnvelope {
            user_id: person.user,
            device_id: person.number,
            registration_id: person.registration_id,
            r#type: EnvelopeType::Message,
            content: Base64(random::<190>(&mut *rng).to_vec()),
        };
        let envelopes = to.iter().map(envelope).collect();
        let mut request = SendMessage {
            client_message_id: ClientMessageId::new(now, random(&mut *rng)),
            message_type: MessageKind::Text,
            priority: Default::default(),
            sent_at: now,
            device_seq: chain.device_seq + 1,
            prev_commitment: chain.last.map(Into::into),
            seen_commitment: None,
            body: Base64::default(),
            commitment: Base64Array([0; 32]),
            signature: Base64Array([0; 64]),
            seal_id: chain.seal,
            wrapped_key: Base64Array([0; 48]),
            target_commitment: None,
            reply_to_commitment: None,
            attachments: Vec::new(),
            urgent: false,
            deliver: Default::default(),
            expires_in_s: None,
            envelopes,
        };
        change(&mut request);
        let origin = Origin { tenant: self.clinic, conversation, sender: self.user, device: self.number };
        let context = Context::of_send(&origin, &request);
        let key = ContentKey::generate(&mut *rng);
        let content = Content::text(text);
        let (sealed, _) = seal_message(&key, context, &content, &chain.archive, &self.identity, &mut *rng);
        request.body = Base64(sealed.body);
        request.commitment = sealed.commitment.into();
        request.signature = Base64Array(sealed.signature);
        request.wrapped_key = Base64Array(sealed.wrapped_key);
        chain.device_seq = request.device_seq;
        chain.last = Some(sealed.commitment);
        request
    }

    /// Goes back to before a message that was refused.
    pub fn rewind(&self, conversation: ConversationId, refused: &SendMessage) {
        let mut chains = self.chains.lock().unwrap();
        let chain = chains.get_mut(&conversation).unwrap();
        chain.device_seq = refused.device_seq - 1;
        chain.last = refused.prev_commitment.map(Into::into);
    }

    /// Posts a message.
    pub async fn post(
        &self,
        server: &TestServer,
        conversation: ConversationId,
        message: &SendMessage,
    ) -> Answer {
        let path = format!("/api/chat/conversations/{conversation}/messages/");
        server.post(&path, Some(&self.token), &json!(message)).await
    }
}
