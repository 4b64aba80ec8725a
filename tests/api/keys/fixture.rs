//! A clinic with people, and devices that make real keys.

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sigilo::{Actor, App, Ctx, auth, execute, rng};
use sigilo_seal::{
    IdentitySecret, KyberPublicKey, Manifest, ManifestDevice, PreKeyPublic, XWingSecret, key_check,
};
use sigilo_wire::{
    Base64, Base64Array, ConversationId, DeviceId, DeviceNumber, InvitationId, RelationshipId, RequestId,
    Role, TenantId, Timestamp, UserId,
    account::{Activate, DeviceKind, Login, NewDevice, Tokens},
    keys::{KyberPreKey, PreKey, PutKeys, SignedManifest, SignedPreKey},
};

use crate::support::{TestServer, http::Answer};

const PASSWORD: &str = "correct horse battery staple";

/// A clinic on a server.
pub struct Clinic<'a> {
    pub server: &'a TestServer,
    pub id: TenantId,
}

/// Somebody's device, with the secrets a client would keep.
pub struct Device {
    pub tenant: TenantId,
    pub user: UserId,
    pub id: DeviceId,
    pub number: DeviceNumber,
    pub token: String,
    pub email: String,
    pub registration_id: u32,
    pub identity: IdentitySecret,
    pub history: XWingSecret,
    pub rng: ChaCha20Rng,
}

fn id<T>(app: &App, make: fn(Timestamp, [u8; 10]) -> T) -> T {
    make(app.clock.now(), rng::bytes(&*app.entropy))
}

fn anonymous(app: &App) -> Ctx {
    Ctx {
        tenant: TenantId::from_bytes([0; 16]),
        actor: Actor::Anonymous,
        request: id(app, RequestId::new),
        now: app.clock.now(),
        address: None,
    }
}

impl<'a> Clinic<'a> {
    pub async fn new(server: &'a TestServer) -> Self {
        let app = &server.app;
        let (tenant, now) = (id(app, TenantId::new), app.clock.now());
        let mut tx = app.db.begin("test_clinic").await.unwrap();
        execute!(
            &mut tx,
            "INSERT INTO tenants (tenant_id, slug, name, time_zone, hours, emergency_number, settings, created_at)
             VALUES ($1, $2, 'Clínica Demo', 'America/Mexico_City', '{}', '911', '{}', $3)",
            tenant,
            tenant.to_string(),
            now
        )
        .unwrap();
        execute!(
            &mut tx,
            "INSERT INTO tenant_sequences (tenant_id, outbox_seq, audit_seq) VALUES ($1, 0, 0)",
            tenant
        )
        .unwrap();
        tx.commit().await.unwrap();
        Self { server, id: tenant }
    }

    /// Invites somebody and activates their first device.
    pub async fn person(&self, role: Role) -> Device {
        let app = &self.server.app;
        let (user, now) = (id(app, UserId::new), app.clock.now());
        let email = format!("{user}@clinic.example");
        let code = user.to_string();
        let mut tx = app.db.begin("test_person").await.unwrap();
        execute!(
            &mut tx,
            "INSERT INTO users (user_id, tenant_id, role, status, full_name_enc, email_index, created_at)
             VALUES ($1, $2, $3, 'invited', $4, $5, $6)",
            user,
            self.id,
            role.as_str(),
            vec![0u8],
            app.crypter.email_index(self.id.as_bytes(), &email),
            now
        )
        .unwrap();
        execute!(
            &mut tx,
            "INSERT INTO invitations (invitation_id, tenant_id, user_id, code_hash, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6)",
            id(app, InvitationId::new),
            self.id,
            user,
            Sha256::digest(code.as_bytes()).to_vec(),
            now,
            now + std::time::Duration::from_secs(60)
        )
        .unwrap();
        tx.commit().await.unwrap();
        let device = NewDevice { kind: DeviceKind::Messaging, name: "phone".to_owned(), device_id: None };
        let request = Activate { clinic: self.id.to_string(), code, password: PASSWORD.to_owned(), device };
        let tokens = auth::activate(app, &anonymous(app), &request).await.unwrap();
        Device::of(tokens, email, None)
    }

    /// A person with everything published: identity, `one_time` keys of each kind, manifest.
    pub async fn published(&self, role: Role, one_time: u32) -> Device {
        let mut device = self.person(role).await;
        device.publish(self.server, one_time).await;
        device
    }

    /// Another messaging device of the same person, linked: it holds their identity and history key.
    pub async fn second_device(&self, first: &Device) -> Device {
        let tokens = self.log_in(first, DeviceKind::Messaging).await;
        Device::of(tokens, first.email.clone(), Some(first))
    }

    /// The token of a session of the same person.
    pub async fn session(&self, of: &Device) -> String {
        self.log_in(of, DeviceKind::Session).await.access_token
    }

    async fn log_in(&self, who: &Device, kind: DeviceKind) -> Tokens {
        let app = &self.server.app;
        let request = Login {
            clinic: self.id.to_string(),
            email: who.email.clone(),
            password: PASSWORD.to_owned(),
            device: Some(NewDevice { kind, name: "second".to_owned(), device_id: None }),
        };
        auth::login(app, &anonymous(app), &request).await.unwrap()
    }

    /// An appointment's worth of relationship.
    pub async fn care(&self, patient: &Device, clinician: &Device) {
        let app = &self.server.app;
        let mut tx = app.db.begin("test_care").await.unwrap();
        execute!(
            &mut tx,
            "INSERT INTO relationships (relationship_id, tenant_id, kind, patient_id, clinician_id, source, created_at)
             VALUES ($1, $2, 'care', $3, $4, 'test', $5)",
            id(app, RelationshipId::new),
            self.id,
            patient.user,
            clinician.user,
            app.clock.now()
        )
        .unwrap();
        tx.commit().await.unwrap();
    }

    /// An active conversation of these people.
    pub async fn conversation(&self, people: &[&Device]) -> ConversationId {
        let app = &self.server.app;
        let (conversation, now) = (id(app, ConversationId::new), app.clock.now());
        let mut tx = app.db.begin("test_conversation").await.unwrap();
        execute!(
            &mut tx,
            "INSERT INTO conversations (conversation_id, tenant_id, type, status, created_by, priority, settings,
             created_at, updated_at) VALUES ($1, $2, 'direct', 'active', $3, 'normal', '{}', $4, $4)",
            conversation,
            self.id,
            people[0].user,
            now
        )
        .unwrap();
        for person in people {
            execute!(
                &mut tx,
                "INSERT INTO participants (conversation_id, user_id, tenant_id, role, status, can_leave, archived,
                 notifications_enabled, joined_at) VALUES ($1, $2, $3, 'member', 'active', TRUE, FALSE, TRUE, $4)",
                conversation,
                person.user,
                self.id,
                now
            )
            .unwrap();
        }
        tx.commit().await.unwrap();
        conversation
    }
}

impl Device {
    fn of(tokens: Tokens, email: String, first: Option<&Self>) -> Self {
        // Distinct keys for every device, the same in every run of a device with this id.
        let mut seed = [0; 32];
        seed[..16].copy_from_slice(tokens.device.id.as_bytes());
        let mut rng = ChaCha20Rng::from_seed(seed);
        let registration_id = 1 + rng.next_u32() % 16_380;
        let fresh = (IdentitySecret::generate(&mut rng), XWingSecret::generate(&mut rng));
        let (identity, history) = first
            .map_or(fresh, |first| (first.identity.clone(), XWingSecret::from_seed(*first.history.seed())));
        Self {
            tenant: tokens.clinic_id,
            user: tokens.user_id,
            id: tokens.device.id,
            number: tokens.device.device_id.unwrap(),
            token: tokens.access_token,
            email,
            registration_id,
            identity,
            history,
            rng,
        }
    }

    pub async fn get(&self, server: &TestServer, path: &str) -> Answer {
        server.get(path, Some(&self.token)).await
    }

    pub async fn put(&self, server: &TestServer, path: &str, body: impl serde::Serialize) -> Answer {
        server.put(path, Some(&self.token), &json!(body)).await
    }

    pub async fn post(&self, server: &TestServer, path: &str, body: impl serde::Serialize) -> Answer {
        server.post(path, Some(&self.token), &json!(body)).await
    }

    /// The types of the events waiting for this device about keys and people, with their data.
    pub async fn events(&self, server: &TestServer) -> Vec<(String, Value)> {
        let list = self.get(server, "/api/chat/events/").await.expect(200);
        let events = list["results"].as_array().unwrap().iter();
        events.map(|event| (event["type"].as_str().unwrap().to_owned(), event["data"].clone())).collect()
    }

    /// Publishes identity, keys and the first manifest.
    pub async fn publish(&mut self, server: &TestServer, one_time: u32) {
        self.put(server, "/api/keys/identity/", self.identity_body()).await.expect(200);
        let keys = self.keys(one_time);
        self.put(server, "/api/keys/", keys).await.expect(200);
        let manifest = self.manifest(None, &[self.entry()]);
        let signed = self.sign(&manifest);
        self.put(server, "/api/devices/manifest/", signed).await.expect(200);
    }

    pub fn identity_body(&self) -> Value {
        json!({"identity_key": Base64Array(self.identity.public().to_bytes())})
    }

    /// A fresh point of the prime-order group.
    pub fn point(&mut self) -> [u8; 33] {
        IdentitySecret::generate(&mut self.rng).public().to_bytes()
    }

    pub fn pre_key(&mut self, key_id: u32) -> PreKey {
        PreKey { key_id, public_key: Base64Array(self.point()) }
    }

    pub fn signed_pre_key(&mut self, key_id: u32) -> SignedPreKey {
        let public_key = self.point();
        let signature = Base64Array(self.identity.sign(&public_key, &mut self.rng));
        SignedPreKey { key_id, public_key: Base64Array(public_key), signature }
    }

    /// Random bytes in a Kyber key's form: the server opens no Kyber keys.
    pub fn kyber(&mut self, key_id: u32) -> KyberPreKey {
        let mut public_key = [8; 1_569];
        self.rng.fill_bytes(&mut public_key[1..]);
        let signature = Base64Array(self.identity.sign(&public_key, &mut self.rng));
        KyberPreKey { key_id, public_key: Base64Array(public_key), signature }
    }

    /// A publication with one-time keys 1.. and 1001.. .
    pub fn keys(&mut self, one_time: u32) -> PutKeys {
        PutKeys {
            registration_id: self.registration_id,
            signed_pre_key: Some(self.signed_pre_key(1)),
            last_resort_kyber_pre_key: Some(self.kyber(2_000)),
            pre_keys: (1..=one_time).map(|id| self.pre_key(id)).collect(),
            kyber_pre_keys: (1_001..=1_000 + one_time).map(|id| self.kyber(id)).collect(),
        }
    }

    /// The digest of `POST /api/keys/check/` for what was published.
    pub fn digest(&self, keys: &PutKeys) -> Base64Array<32> {
        let (signed, last) =
            (keys.signed_pre_key.as_ref().unwrap(), keys.last_resort_kyber_pre_key.as_ref().unwrap());
        Base64Array(key_check::digest(
            &self.identity.public(),
            signed.key_id,
            &PreKeyPublic::parse(signed.public_key.as_slice()).unwrap(),
            last.key_id,
            &KyberPublicKey::parse(last.public_key.as_slice()).unwrap(),
        ))
    }

    /// This device in a manifest.
    pub fn entry(&self) -> ManifestDevice {
        ManifestDevice {
            device: self.number,
            registration_id: self.registration_id,
            added_at: Timestamp::from_micros(1_700_000_000_000_000),
        }
    }

    /// The manifest of these devices that follows `previous`.
    pub fn manifest(&self, previous: Option<&Manifest>, devices: &[ManifestDevice]) -> Manifest {
        Manifest {
            tenant: self.tenant,
            user: self.user,
            version: previous.map_or(1, |previous| previous.version + 1),
            previous: previous.map(Manifest::digest),
            history_public_key: self.history.public(),
            devices: devices.to_vec(),
        }
    }

    pub fn sign(&mut self, manifest: &Manifest) -> SignedManifest {
        let signed = manifest.sign(&self.identity, &mut self.rng);
        SignedManifest { statement: Base64(signed.statement), signature: Base64Array(signed.signature) }
    }
}

/// The device with a fresh access token, after the clock has moved past the last one's.
pub async fn renewed(server: &TestServer, device: Device) -> Device {
    let app = &server.app;
    let request = Login {
        clinic: device.tenant.to_string(),
        email: device.email.clone(),
        password: PASSWORD.to_owned(),
        device: Some(NewDevice {
            kind: DeviceKind::Messaging,
            name: "phone".to_owned(),
            device_id: Some(device.id),
        }),
    };
    let tokens = auth::login(app, &anonymous(app), &request).await.unwrap();
    assert_eq!(tokens.device.id, device.id);
    Device { token: tokens.access_token, ..device }
}
