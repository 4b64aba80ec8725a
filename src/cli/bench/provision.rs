//! A clinic for the load: its keys, its pairs of patient and doctor, their conversations and record seals.
//! Everything through the server's own functions, on its databases, before it starts.

use std::num::NonZeroU32;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use sigilo_seal::{
    ArchiveKey, IdentitySecret, Manifest, ManifestDevice, Member, Recipient, RecordSeal, RootStatement,
    SealHeader, XWingSecret, root::KeyNeed,
};
use sigilo_wire::{
    Base64Array, ConversationId, DeviceId, DeviceNumber, Role, SealId, TenantId, UserId,
    account::{Activate, DeviceKind, NewDevice},
    conversation::{ConversationType, CreateConversation},
    keys::{KyberPreKey, PutIdentity, PutKeys, PutManifest, SignedPreKey},
};

use super::progress::Progress;
use crate::{
    Actor, App, Ctx, Error, Result, auth, conversations, hours, keys,
    people::{self, Invitee, NewClinic, RateLimits, RootCard},
    relationships, rng,
};

/// The clinic and everyone the load needs.
pub(super) struct Provisioned {
    /// The clinic.
    pub(super) tenant: TenantId,
    /// Who talks to whom.
    pub(super) pairs: Vec<Pair>,
    /// Sockets to hold open: a token and the conversation to open it for.
    pub(super) idle: Vec<(String, ConversationId)>,
}

/// A patient who writes and a doctor who reads.
pub(super) struct Pair {
    /// The patient.
    pub(super) sender: Person,
    /// The doctor.
    pub(super) receiver: Person,
    /// Their direct conversation.
    pub(super) conversation: ConversationId,
    /// The sender's record seal.
    pub(super) seal: SealId,
    /// Its key.
    pub(super) archive: ArchiveKey,
}

/// Somebody with one messaging device.
pub(super) struct Person {
    /// The account.
    pub(super) user: UserId,
    /// The device.
    pub(super) device: DeviceId,
    /// The device's number.
    pub(super) number: DeviceNumber,
    /// The device's registration id.
    pub(super) registration_id: u32,
    /// What they sign with.
    pub(super) identity: IdentitySecret,
    /// An access token of the device.
    pub(super) token: String,
    history: XWingSecret,
    ctx: Ctx,
}

impl Person {
    /// The context of what they do now.
    pub(super) fn ctx(&self, app: &App) -> Ctx {
        Ctx { now: app.clock.now(), ..self.ctx.clone() }
    }
}

/// The clinic's public keys, as a client knows them.
struct Clinic {
    ctx: Ctx,
    card: RootCard,
    records: RootStatement,
}

/// How many people are made at once: hashing a password keeps one core busy.
const AT_ONCE: usize = 4;
/// How many appointments are imported in one transaction.
const IMPORTED_AT_ONCE: usize = 500;

/// Makes a clinic with `pairs` pairs, and conversations for `idle` further sockets.
pub(super) async fn provision(
    app: &App,
    pairs: usize,
    idle: usize,
    progress: &Progress,
) -> Result<Provisioned> {
    let clinic = &make_clinic(app).await?;
    import_appointments(app, &clinic.ctx, pairs).await?;
    let step = &progress.step("accounts, keys and conversations", pairs + idle.div_ceil(2));
    let pairs: Vec<Pair> = stream::iter(0..pairs)
        .map(|number| async move {
            let pair = make_pair(app, clinic, number).await?;
            step.inc(1);
            Ok::<_, Error>(pair)
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let mut sockets = Vec::with_capacity(idle);
    for number in 0..idle.div_ceil(2) {
        let pair = pairs.get(number % pairs.len()).ok_or_else(|| Error::internal("there are no pairs"))?;
        let conversation = start(app, pair, ConversationType::Consultation).await?;
        sockets.extend([&pair.sender, &pair.receiver].map(|person| (person.token.clone(), conversation)));
        step.inc(1);
    }
    sockets.truncate(idle);
    step.finish_and_clear();
    Ok(Provisioned { tenant: clinic.ctx.tenant, pairs, idle: sockets })
}

async fn make_clinic(app: &App) -> Result<Clinic> {
    let tenant = TenantId::new(app.clock.now(), rng::bytes(&*app.entropy));
    let ctx = Ctx::operator(app, tenant);
    let new = NewClinic {
        name: "Clínica Carga".to_owned(),
        slug: "carga".to_owned(),
        time_zone: "America/Mexico_City".to_owned(),
        hours: hours::every_day("00:00-24:00").map_err(Error::internal)?,
        emergency_number: "911".to_owned(),
        second_factor: people::SecondFactorRule::Optional,
    };
    let grant = people::authorize_manage_clinic(app, &ctx)?;
    let request = people::create_clinic(app, &ctx, grant, &new).await?;
    let grant = people::authorize_manage_clinic(app, &ctx)?;
    people::set_rate_limits(app, &ctx, grant, unhurried()).await?;
    let made =
        people::certify(&request, ctx.now, &mut rng::EntropyRng(&*app.entropy)).map_err(Error::internal)?;
    let grant = people::authorize_manage_clinic(app, &ctx)?;
    people::install_keys(app, &ctx, grant, &made.clinic_keys).await?;
    let root = &made.clinic_keys.root_public_key;
    let purpose = sigilo_seal::KeyPurpose::Records;
    let need = KeyNeed { tenant, purpose, now: ctx.now, least_epoch: 1 };
    let records = made
        .clinic_keys
        .statements
        .iter()
        .find_map(|signed| sigilo_seal::SignedRootStatement::from(signed).verify(root, &need).ok())
        .ok_or_else(|| Error::internal("the ceremony made no records key"))?;
    Ok(Clinic { ctx, card: made.card, records })
}

/// Limits that no device of the load meets.
fn unhurried() -> RateLimits {
    let many = Some(NonZeroU32::MAX);
    RateLimits {
        messages_per_minute: many,
        clinician_messages_per_minute: many,
        requests_per_minute: many,
        files_per_hour: many,
        prekey_fetches_per_minute: many,
        prekey_fetches_per_device: many,
    }
}

/// One appointment a pair: why its patient may write to its doctor. Invitations attach to these people.
async fn import_appointments(app: &App, ctx: &Ctx, pairs: usize) -> Result<()> {
    let header = "appointment_id,status,patient_id,patient_name,clinician_id,clinician_name\n";
    let rows = (0..pairs).map(|n| format!("{n},booked,{n},patient {n},{n},doctor {n}\n"));
    let table: String = std::iter::once(header.to_owned()).chain(rows).collect();
    import(app, ctx, &table, pairs).await
}

/// Puts these patients into the care of these doctors, by their numbers. Their identifiers are `patient-N` and `doctor-N`.
pub(super) async fn import_crowd(
    app: &App,
    tenant: TenantId,
    pairs: &[(usize, usize)],
    progress: &Progress,
) -> Result<()> {
    let ctx = Ctx::operator(app, tenant);
    let step = progress.step("appointments", pairs.len());
    for (batch, part) in pairs.chunks(IMPORTED_AT_ONCE).enumerate() {
        let mut table =
            "appointment_id,status,patient_id,patient_name,clinician_id,clinician_name\n".to_owned();
        for (row, (patient, doctor)) in part.iter().enumerate() {
            let id = batch * IMPORTED_AT_ONCE + row;
            table.push_str(&format!(
                "crowd-{id},booked,patient-{patient},patient {patient},doctor-{doctor},doctor {doctor}\n"
            ));
        }
        import(app, &ctx, &table, part.len()).await?;
        step.inc(part.len() as u64);
    }
    step.finish_and_clear();
    Ok(())
}

async fn import(app: &App, ctx: &Ctx, table: &str, pairs: usize) -> Result<()> {
    let grant = relationships::authorize_manage_relationships(app, ctx)?;
    let report = relationships::import(app, ctx, grant, relationships::read_csv(table)?).await?;
    if report.relationships_made == pairs {
        Ok(())
    } else {
        Err(Error::internal(format!("the appointments were not taken: {:?}", report.refused)))
    }
}

async fn make_pair(app: &App, clinic: &Clinic, number: usize) -> Result<Pair> {
    let sender = make_person(app, clinic, Role::Patient, number).await?;
    let receiver = make_person(app, clinic, Role::Doctor, number).await?;
    let mut pair = Pair {
        sender,
        receiver,
        conversation: ConversationId::from_bytes([0; 16]),
        seal: SealId::new(clinic.ctx.now, rng::bytes(&*app.entropy)),
        archive: ArchiveKey::generate(&mut rng::EntropyRng(&*app.entropy)),
    };
    pair.conversation = start(app, &pair, ConversationType::Direct).await?;
    seal(app, clinic, &pair).await?;
    Ok(pair)
}

/// Invites, activates and publishes keys, as an app does for its user.
async fn make_person(app: &App, clinic: &Clinic, role: Role, number: usize) -> Result<Person> {
    let name = format!("{role} {number}");
    let system = if role == Role::Patient { "urn:sigilo:patient" } else { "urn:sigilo:clinician" };
    let invitee = Invitee {
        role,
        name: None,
        email: format!("{role}-{number}@carga.example"),
        identifier: Some((system.to_owned(), number.to_string())),
    };
    let operator = Ctx { now: app.clock.now(), ..clinic.ctx.clone() };
    let grant = people::authorize_manage_people(app, &operator)?;
    let invitation = people::invite(app, &operator, grant, &invitee, &clinic.card).await?;
    let request = Activate {
        clinic: clinic.ctx.tenant.to_string(),
        code: invitation.code,
        password: "carga carga carga carga".to_owned(),
        device: NewDevice { kind: DeviceKind::Messaging, name, device_id: None },
    };
    let anonymous = Ctx { actor: Actor::Anonymous, now: app.clock.now(), ..clinic.ctx.clone() };
    let tokens = auth::activate(app, &anonymous, &request, None).await?;
    let ctx = auth::authenticate(app, &tokens.access_token, operator.request, None).await?;
    let number =
        tokens.device.device_id.ok_or_else(|| Error::internal("a messaging device has no number"))?;
    let mut rng = ChaCha20Rng::from_seed(rng::bytes(&*app.entropy));
    let person = Person {
        user: tokens.user_id,
        device: tokens.device.id,
        number,
        registration_id: 1 + rng.next_u32() % keys::MAX_REGISTRATION_ID,
        identity: IdentitySecret::generate(&mut rng),
        token: tokens.access_token,
        history: XWingSecret::generate(&mut rng),
        ctx,
    };
    publish(app, &person, &mut rng).await?;
    Ok(person)
}

async fn publish(app: &App, person: &Person, rng: &mut ChaCha20Rng) -> Result<()> {
    let ctx = &Ctx { now: app.clock.now(), ..person.ctx.clone() };
    let identity = PutIdentity {
        identity_key: Base64Array(person.identity.public().to_bytes()),
        signature_by_previous: None,
    };
    let grant = keys::authorize_own(app, ctx).await?;
    keys::put_identity(app, ctx, grant, identity).await?;

    let signed = IdentitySecret::generate(rng).public().to_bytes();
    // Nobody opens a session with it: its type and length are all the server can check but its signature.
    let mut kyber = [0; 1_569];
    rng.fill_bytes(&mut kyber);
    kyber[0] = 8;
    let request = PutKeys {
        registration_id: person.registration_id,
        signed_pre_key: Some(SignedPreKey {
            key_id: 1,
            public_key: Base64Array(signed),
            signature: Base64Array(person.identity.sign(&signed, rng)),
        }),
        last_resort_kyber_pre_key: Some(KyberPreKey {
            key_id: 1,
            public_key: Base64Array(kyber),
            signature: Base64Array(person.identity.sign(&kyber, rng)),
        }),
        ..PutKeys::default()
    };
    let grant = keys::authorize_own(app, ctx).await?;
    keys::publish(app, ctx, grant, request).await?;

    let device =
        ManifestDevice { device: person.number, registration_id: person.registration_id, added_at: ctx.now };
    let manifest = Manifest {
        tenant: ctx.tenant,
        user: person.user,
        version: 1,
        previous: None,
        history_public_key: person.history.public(),
        devices: vec![device],
    };
    let grant = keys::authorize_own(app, ctx).await?;
    let manifest = PutManifest::of((&manifest.sign(&person.identity, rng)).into());
    keys::put_manifest(app, ctx, grant, manifest).await?;
    Ok(())
}

/// The pair's patient starts a conversation.
async fn start(app: &App, pair: &Pair, r#type: ConversationType) -> Result<ConversationId> {
    let ctx = &Ctx { now: app.clock.now(), ..pair.sender.ctx.clone() };
    let wanted = CreateConversation::of(r#type, vec![pair.receiver.user]);
    let grant = conversations::authorize_start(app, ctx, &wanted).await?;
    Ok(conversations::create(app, ctx, grant, &wanted, None).await?.into_conversation().id)
}

/// The pair's patient publishes a record seal for the officers and both of them.
async fn seal(app: &App, clinic: &Clinic, pair: &Pair) -> Result<()> {
    let ctx = &Ctx { now: app.clock.now(), ..pair.sender.ctx.clone() };
    let header = SealHeader {
        tenant: ctx.tenant,
        conversation: pair.conversation,
        seal_id: pair.seal,
        sender: pair.sender.user,
        device: pair.sender.number,
    };
    let both = [&pair.sender, &pair.receiver];
    let members = both.map(|person| Member {
        user: person.user,
        identity_key: person.identity.public(),
        history_key_id: person.history.public().history_key_id(),
    });
    let mut recipients = vec![Recipient::records(&clinic.records).map_err(Error::internal)?];
    recipients.extend(both.map(|person| Recipient::history(person.history.public())));
    let mut rng = rng::EntropyRng(&*app.entropy);
    let identity = &pair.sender.identity;
    let made =
        RecordSeal::create(&pair.archive, header, ctx.now, members.to_vec(), &recipients, identity, &mut rng)
            .map_err(Error::internal)?;
    let grant = conversations::authorize_seal(app, ctx, pair.conversation).await?;
    conversations::publish_seal(app, ctx, grant, &made.to_new()).await?;
    Ok(())
}
