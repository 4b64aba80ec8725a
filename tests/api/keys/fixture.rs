//! A clinic with people, and devices that make real keys.

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use sigilo::{audit::hex, execute, rng};
use sigilo_seal::{
    IdentitySecret, KyberPublicKey, Manifest, ManifestDevice, PreKeyPublic, XWingSecret, key_check,
};
use sigilo_wire::{
    Base64, Base64Array, ConversationId, DeviceId, DeviceNumber, RelationshipId, Role, TenantId, Timestamp,
    UserId,
    account::{DeviceKind, Tokens},
    keys::{KyberPreKey, PreKey, PutKeys, SignedManifest, SignedPreKey},
};

use crate::support::{TestServer, clinic, http::Answer};

/// A clinic on a server.
pub struct Clinic<'a> {
    pub server: &'a TestServer,
    pub id: TenantId,
    clinic: clinic::Clinic,
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

impl<'a> Clinic<'a> {
    pub async fn new(server: &'a TestServer) -> Self {
        let slug = format!("clinic-{}", hex(&rng::bytes::<8>(&*server.app.entropy)));
        let clinic = clinic::Clinic::create(server, &slug).await;
        Self { server, id: clinic.id, clinic }
    }

    /// Invites somebody and activates their first device.
    pub async fn person(&self, role: Role) -> Device {
        let email = format!("{}@clinic.example", hex(&rng::bytes::<8>(&*self.server.app.entropy)));
        let person = self.clinic.person(self.server, role, &email).await;
        Device::of(person.tokens, email, None)
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
        let device = json!({"kind": kind, "name": "second"});
        log_in(self.server, who, device).await
    }

    /// An appointment's worth of relationship.
    pub async fn care(&self, patient: &Device, clinician: &Device) {
        let app = &self.server.app;
        let mut tx = app.db.begin("test_care").await.unwrap();
        execute!(
            &mut tx,
            "INSERT INTO relationships (relationship_id, tenant_id, kind, patient_id, clinician_id, source, created_at)
             VALUES ($1, $2, 'care', $3, $4, 'appointment', $5)",
            RelationshipId::new(app.clock.now(), rng::bytes(&*app.entropy)),
            self.id,
            patient.user,
            clinician.user,
            app.clock.now()
        )
        .unwrap();
        tx.commit().await.unwrap();
    }

    /// The direct conversation of two people who may talk.
    pub async fn conversation(&self, of: &Device, with: &Device) -> ConversationId {
        let body = json!({"type": "direct", "participants": [with.user]});
        let created = of.post(self.server, "/api/chat/conversations/", body).await.expect(201);
        created["id"].as_str().unwrap().parse().unwrap()
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

    /// The types and data of the events about keys that wait for this device.
    pub async fn events(&self, server: &TestServer) -> Vec<(String, Value)> {
        let list = self.get(server, "/api/chat/events/").await.expect(200);
        let events = list["results"].as_array().unwrap().iter();
        let events = events.filter(|event| event["type"] != "conversation_updated");
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
    let again = json!({"kind": DeviceKind::Messaging, "name": "phone", "device_id": device.id});
    let tokens = log_in(server, &device, again).await;
    assert_eq!(tokens.device.id, device.id);
    Device { token: tokens.access_token, ..device }
}

async fn log_in(server: &TestServer, who: &Device, device: Value) -> Tokens {
    let body = json!({
        "clinic": who.tenant, "email": who.email, "password": clinic::PASSWORD, "device": device,
    });
    serde_json::from_value(server.post("/api/auth/login/", None, &body).await.expect(200)).unwrap()
}
