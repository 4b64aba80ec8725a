//! A clinic without a network for the unit tests: a patient and a doctor on two devices, each with a profile of
//! their own, and a server that is a function.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use sigilo_seal::{
    Commitment, Content, ContentBody, Ed25519Secret, IdentitySecret, KeyPurpose, Manifest, ManifestDevice,
    Origin, Receipt, Recipient, RootStatement, XWingSecret,
    content::{FileRef, Files},
};
use sigilo_wire::{
    Base64Array, ConversationId, DeviceId, DeviceNumber, MessageId, Role, TenantId, Timestamp, UserId,
    conversation::{
        Conversation, ConversationMetadata, ConversationStatus, ConversationType, Participant,
        ParticipantRole,
    },
    event::{Envelope, NewMessageEvent},
    keys::{DeviceBundle, PutKeys, SignedManifest, SignedRootStatement},
    message::{self, Sender},
    seal::Seal,
};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::{
    Environment, Unlock,
    api::Api,
    engine::Engine,
    env::Env,
    outbox::{Draft, post::own_message},
    profile::{
        Profile, history_keys,
        records::{
            Account, ClinicKey, ClinicRecord, Contact, ContactDevice, ContactHistoryKey, ConversationRecord,
            Home, ONLY, OutboxItem, OwnIdentity, OwnSeal, SecretBytes, Stage,
        },
    },
    receive::Way,
    seals::check::Keys,
    sessions,
};

/// When every test begins.
pub(crate) const NOW: Timestamp = Timestamp::from_micros(1_795_305_600_000_000);
pub(crate) const KEY: [u8; 32] = [9; 32];
/// Few, because making them takes most of a test's time.
pub(crate) const ONE_TIME_KEYS: u32 = 4;

pub(crate) fn environment(seed: u8) -> Environment {
    Environment::new(|| NOW, ChaCha20Rng::from_seed([seed; 32]))
}

/// How far a test has gone on from [`NOW`], in microseconds.
type Clock = Arc<AtomicI64>;

fn environment_at(seed: u8, clock: &Clock) -> Environment {
    let clock = Arc::clone(clock);
    let now = move || Timestamp::from_micros(NOW.micros() + clock.load(Ordering::SeqCst));
    Environment::new(now, ChaCha20Rng::from_seed([seed; 32]))
}

pub(crate) fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

/// A profile in a folder that goes away with the test.
pub(crate) async fn profile(folder: &TempDir, name: &str, seed: u8) -> Rc<Profile> {
    let env = Rc::new(Env::new(environment(seed)));
    let path = folder.path().join(name);
    Rc::new(Profile::create_or_open(&path, &Unlock::Key(KEY), env).await.unwrap())
}

pub(crate) struct Clinic {
    pub(crate) tenant: TenantId,
    pub(crate) root: Ed25519Secret,
    pub(crate) receipt: Ed25519Secret,
    pub(crate) records: XWingSecret,
    pub(crate) scanner: Ed25519Secret,
}

impl Clinic {
    pub(crate) fn new() -> Self {
        let mut rng = rng(1);
        Self {
            tenant: TenantId::from_bytes([1; 16]),
            root: Ed25519Secret::generate(&mut rng),
            receipt: Ed25519Secret::generate(&mut rng),
            records: XWingSecret::generate(&mut rng),
            scanner: Ed25519Secret::generate(&mut rng),
        }
    }

    pub(crate) fn statement(&self, purpose: KeyPurpose, epoch: u32, public_key: Vec<u8>) -> RootStatement {
        let day = std::time::Duration::from_secs(24 * 3600);
        let (not_before, not_after) = (NOW - day, NOW + day * 365);
        RootStatement { tenant: self.tenant, purpose, epoch, not_before, not_after, public_key }
    }

    pub(crate) fn receipt_statement(&self) -> RootStatement {
        self.statement(KeyPurpose::Receipt, 1, self.receipt.public().to_bytes().to_vec())
    }

    pub(crate) fn scanner_statement(&self) -> RootStatement {
        self.statement(KeyPurpose::Scanner, 1, self.scanner.public().to_bytes().to_vec())
    }

    pub(crate) fn records_statement(&self) -> RootStatement {
        self.statement(KeyPurpose::Records, 1, self.records.public().as_bytes().to_vec())
    }
}

/// One device of one person.
pub(crate) struct Party {
    pub(crate) engine: Engine,
    pub(crate) user: UserId,
    pub(crate) identity: IdentitySecret,
    pub(crate) contact: Contact,
    pub(crate) bundle: DeviceBundle,
    pub(crate) path: PathBuf,
}

pub(crate) struct World {
    pub(crate) clinic: Clinic,
    pub(crate) ana: Party,
    pub(crate) maria: Party,
    pub(crate) conversation: ConversationId,
    clock: Clock,
    sequence: i64,
    /// Goes away with the world.
    _folder: TempDir,
}

const DEVICE: DeviceNumber = DeviceNumber::FIRST;

impl World {
    /// Ana López, patient, and Dra. María Martínez; they have met and have a conversation.
    pub(crate) async fn new() -> Self {
        let clinic = Clinic::new();
        let clock = Clock::default();
        let folder = tempfile::tempdir().unwrap();
        let ana = Party::new(&clinic, &folder, &clock, ("Ana López", Role::Patient), 2).await;
        let maria = Party::new(&clinic, &folder, &clock, ("Dra. María Martínez", Role::Doctor), 3).await;
        let conversation = ConversationId::from_bytes([7; 16]);
        ana.meet(&maria).await;
        maria.meet(&ana).await;
        for party in [&ana, &maria] {
            let record = conversation_record(conversation, &[&ana, &maria]);
            party.engine.profile.put(&record).await.unwrap();
        }
        let world = Self { clinic, ana, maria, conversation, clock, sequence: 0, _folder: folder };
        world.seal(&world.ana, &world.maria).await;
        world.seal(&world.maria, &world.ana).await;
        world
    }

    /// Time goes on for everybody.
    pub(crate) fn advance(&self, by: Duration) {
        self.clock.fetch_add(i64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }

    /// `from` opens a record seal, `to` takes it.
    pub(crate) async fn seal(&self, from: &Party, to: &Party) -> Seal {
        let record = from.engine.conversation(self.conversation).await.unwrap();
        let view = from.engine.member_view(&record).await.unwrap();
        let mut recipients = view.recipients;
        recipients.insert(0, Recipient::records(&self.clinic.records_statement()).unwrap());
        let mut own = from
            .engine
            .make_seal(self.conversation, view.members, &recipients, &from.identity)
            .await
            .unwrap();
        own.published = true;
        from.engine.profile.put(&own).await.unwrap();
        let seal = self.seal_again(from).await;
        to.engine.take_seal(&seal, (from.user, DEVICE), Keys::Known, Way::Live).await.unwrap();
        seal
    }

    /// The seal that `from` sends under, as the server gives it.
    pub(crate) async fn seal_again(&self, from: &Party) -> Seal {
        let own: OwnSeal = from.engine.profile.get(self.conversation.as_bytes()).await.unwrap().unwrap();
        Seal {
            conversation_id: self.conversation,
            sender_id: from.user,
            device_id: DEVICE,
            seal: own.seal,
            received_at: NOW,
        }
    }

    /// Its key.
    pub(crate) async fn archive_key_of(&self, from: &Party) -> Option<SecretBytes> {
        let own: OwnSeal = from.engine.profile.get(self.conversation.as_bytes()).await.unwrap().unwrap();
        Some(own.archive_key)
    }

    /// `from` writes, `prepare` is all that happens on the device; the server gives it a place and a receipt.
    pub(crate) async fn write(&mut self, from_ana: bool, text: &str) -> NewMessageEvent {
        self.write_expiring(from_ana, text, 0).await
    }

    /// As [`World::write`], for so many seconds.
    pub(crate) async fn write_expiring(
        &mut self,
        from_ana: bool,
        text: &str,
        expires_in_s: u64,
    ) -> NewMessageEvent {
        self.write_content(from_ana, Content::text(text), None, expires_in_s).await
    }

    /// An edit, delete or reaction.
    pub(crate) async fn write_about(
        &mut self,
        from_ana: bool,
        body: ContentBody,
        target: &NewMessageEvent,
    ) -> NewMessageEvent {
        let target = Some(target.message.commitment.into());
        self.write_content(from_ana, Content::new(body), target, 0).await
    }

    /// A title.
    pub(crate) async fn write_titled(
        &mut self,
        from_ana: bool,
        profile: sigilo_seal::content::Profile,
    ) -> NewMessageEvent {
        self.write_content(from_ana, Content::new(ContentBody::Profile(profile)), None, 0).await
    }

    /// A message with files, which its sender's device has not uploaded.
    pub(crate) async fn write_files(&mut self, from_ana: bool, files: Vec<FileRef>) -> NewMessageEvent {
        let files = ContentBody::File(Files { text: None, files });
        self.write_content(from_ana, Content::new(files), None, 0).await
    }

    async fn write_content(
        &mut self,
        from_ana: bool,
        content: Content,
        target: Option<Commitment>,
        expires_in_s: u64,
    ) -> NewMessageEvent {
        let from = if from_ana { &self.ana } else { &self.maria };
        let position = self.sequence;
        let item = from.prepared_content(self.conversation, content, target, position, expires_in_s).await;
        self.sequence += 1;
        let sealed = item.sealed.clone().unwrap();
        let accepted = accepted(&self.clinic, self.conversation, from.user, &sealed.request, self.sequence);
        from.engine.finish(&item, &sealed, &accepted).await.unwrap();
        let account = from.engine.account().unwrap();
        let sender = Sender {
            user_id: from.user,
            device_id: DEVICE,
            full_name: account.full_name.clone(),
            user_type: account.role,
        };
        let message = own_message(&item, &sealed.request, &accepted, sender);
        let envelope = sealed.request.envelopes.first().unwrap();
        let envelope = Envelope { r#type: envelope.r#type, content: envelope.content.clone() };
        NewMessageEvent { message, envelope: Some(envelope) }
    }
}

/// The server's answer to a send.
pub(crate) fn accepted(
    clinic: &Clinic,
    conversation: ConversationId,
    sender: UserId,
    request: &message::SendMessage,
    sequence: i64,
) -> message::Accepted {
    let mut message_id = [8; 16];
    message_id[8..].copy_from_slice(&sequence.to_be_bytes());
    let mut accepted = message::Accepted {
        message_id: MessageId::from_bytes(message_id),
        conversation_seq: sequence,
        received_at: NOW,
        receipt: message::Receipt {
            audit_leaf: Base64Array([5; 32]),
            policies: vec!["relationship".into()],
            policy_set: Base64Array([6; 32]),
            key_id: clinic.receipt_statement().key_id().into(),
            signature: Base64Array([0; 64]),
        },
    };
    let origin = Origin { tenant: clinic.tenant, conversation, sender, device: DEVICE };
    let receipt = Receipt::of_accepted(&origin, request, &accepted);
    accepted.receipt.signature = receipt.sign(&clinic.receipt).into();
    accepted
}

impl Party {
    async fn new(
        clinic: &Clinic,
        folder: &TempDir,
        clock: &Clock,
        (name, role): (&str, Role),
        seed: u8,
    ) -> Self {
        let path = folder.path().join(format!("{seed}.profile"));
        let profile = profile(folder, &format!("{seed}.profile"), seed).await;
        let env = Rc::new(Env::new(environment_at(seed + 100, clock)));
        let user = UserId::from_bytes([seed; 16]);
        let identity = IdentitySecret::generate(&mut rng(seed));
        let history = XWingSecret::generate(&mut rng(seed + 50));
        let account = Account {
            tenant: clinic.tenant,
            user,
            device: DEVICE,
            device_id: DeviceId::from_bytes([seed; 16]),
            full_name: name.into(),
            role,
        };
        let registration_id = u32::from(seed);
        let manifest = Manifest {
            tenant: clinic.tenant,
            user,
            version: 1,
            previous: None,
            history_public_key: history.public(),
            devices: vec![ManifestDevice { device: DEVICE, registration_id, added_at: NOW }],
        };
        let manifest = SignedManifest::from(&manifest.sign(&identity, &mut rng(seed)));
        let mut contact = Contact::first_seen(user, identity.public(), NOW);
        contact.take_manifest(&manifest, clinic.tenant).unwrap();
        contact.name = Some(name.into());
        contact.devices = vec![ContactDevice { device: DEVICE, registration_id, fresh: true }];
        contact.refresh_due = false;
        let step = profile.step();
        let key_id = history_keys::keep(&step, &history, NOW).unwrap();
        let mut own = OwnIdentity {
            secret: SecretBytes(identity.to_bytes().to_vec()),
            registration_id,
            next_pre_key_id: 1,
            signed_pre_key_id: 0,
            last_resort_kyber_id: 0,
            history_key_id: key_id,
        };
        let keys = sessions::make_first(&step, &mut own, ONE_TIME_KEYS, &env).unwrap();
        step.put(&ContactHistoryKey { user, key_id, public_key: history.public() }).unwrap();
        step.put(&account).unwrap();
        step.put(&contact).unwrap();
        put_clinic(&step, clinic);
        step.commit().await.unwrap();
        // Nobody listens on port 1: whatever would need the network fails.
        let api = Api::new("http://127.0.0.1:1".parse().unwrap(), Rc::clone(&profile), Rc::clone(&env));
        let api = Rc::new(api.await.unwrap());
        let (events, _) = mpsc::unbounded_channel();
        let engine = Engine::new(env, profile, api, events).await.unwrap();
        Self { engine, user, identity, contact, bundle: bundle(keys), path }
    }

    /// Learns the other's keys and opens a session.
    pub(crate) async fn meet(&self, other: &Self) {
        let step = self.engine.profile.step();
        step.put(&other.contact).unwrap();
        let history_key = other.contact.history_key.clone().unwrap();
        step.put(&ContactHistoryKey {
            user: other.user,
            key_id: history_key.history_key_id(),
            public_key: history_key,
        })
        .unwrap();
        let identity = other.identity.public();
        sessions::open(&step, other.user, &identity, &other.bundle, &self.engine.env).await.unwrap();
        step.commit().await.unwrap();
    }

    /// A message sealed and encrypted, in the outbox.
    pub(crate) async fn prepared(
        &self,
        conversation: ConversationId,
        text: &str,
        position: i64,
    ) -> OutboxItem {
        self.prepared_content(conversation, Content::text(text), None, position, 0).await
    }

    async fn prepared_content(
        &self,
        conversation: ConversationId,
        content: Content,
        target: Option<Commitment>,
        position: i64,
        expires_in_s: u64,
    ) -> OutboxItem {
        let draft = Draft {
            client_message_id: sigilo_wire::ClientMessageId::new(
                self.engine.env.now(),
                self.engine.env.bytes(),
            ),
            conversation,
            kind: content.kind().parse().unwrap(),
            priority: message::Priority::Normal,
            content: SecretBytes(content.to_json().to_vec()),
            target,
            reply_to: None,
            urgent: false,
            deliver: message::Deliver::Now,
            expires_in_s,
            created_at: self.engine.env.now(),
            scheduled_for: None,
        };
        let mut item = OutboxItem {
            draft,
            position,
            sealed: None,
            repairs: 0,
            attempts: 0,
            refused: false,
            problem: None,
            held: None,
            discarding: false,
        };
        self.engine.profile.put(&item).await.unwrap();
        self.engine.prepare(&mut item).await.unwrap();
        item
    }

    pub(crate) async fn texts(&self, conversation: ConversationId) -> Vec<String> {
        let history = self.engine.history(conversation, None, 100).await.unwrap();
        history.iter().map(|message| message.text().unwrap_or("-").to_owned()).collect()
    }
}

fn put_clinic(step: &crate::profile::Step, clinic: &Clinic) {
    let mut statements = BTreeMap::new();
    for statement in [clinic.receipt_statement(), clinic.records_statement(), clinic.scanner_statement()] {
        let signed = SignedRootStatement::from(&statement.sign(&clinic.root));
        step.put(&ClinicKey { key_id: statement.key_id(), statement: signed.clone() }).unwrap();
        statements.insert(statement.purpose, signed);
    }
    let epochs = statements.keys().map(|purpose| (*purpose, 1)).collect();
    step.put(&ClinicRecord {
        name: "Clínica Centro".into(),
        time_zone: "America/Mexico_City".into(),
        emergency_number: "911".into(),
        root_public_key: Base64Array(clinic.root.public().to_bytes()),
        statements,
        epochs,
        fetched_at: NOW,
    })
    .unwrap();
    step.put(&Home {
        server: "http://127.0.0.1:1".parse().unwrap(),
        clinic: "centro".into(),
        root: Base64Array(sigilo_seal::RootFingerprint::of(&clinic.root.public()).0),
        stage: Stage::Active,
        link: None,
        attempt: None,
    })
    .unwrap();
    assert!(ONLY.is_empty());
}

fn bundle(keys: PutKeys) -> DeviceBundle {
    DeviceBundle {
        device_id: DEVICE,
        registration_id: keys.registration_id,
        signed_pre_key: keys.signed_pre_key.unwrap(),
        kyber_pre_key: keys.kyber_pre_keys.into_iter().next().unwrap(),
        pre_key: keys.pre_keys.into_iter().next(),
        kyber_is_last_resort: false,
    }
}

fn conversation_record(id: ConversationId, parties: &[&Party]) -> ConversationRecord {
    let participants: Vec<Participant> = parties
        .iter()
        .map(|party| {
            let account = party.engine.account().unwrap();
            Participant {
                user_id: party.user,
                user_type: account.role,
                full_name: account.full_name.clone(),
                role: ParticipantRole::Participant,
                joined_at: NOW,
                can_leave: true,
                waiting: false,
                presence: None,
            }
        })
        .collect();
    let shown_members = participants.iter().map(|participant| participant.user_id).collect();
    let conversation = Conversation {
        id,
        r#type: ConversationType::Direct,
        status: ConversationStatus::Active,
        metadata: ConversationMetadata::default(),
        participants,
        created_by: parties[0].user,
        created_at: NOW,
        updated_at: NOW,
        closed_at: None,
        total_messages: 0,
        settings: Default::default(),
        permissions: None,
        unread_count: 0,
        last_message: None,
    };
    ConversationRecord { conversation, shown_members, refresh_due: false, known_since: None }
}
