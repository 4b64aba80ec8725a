//! Linking by hand: what a new device shows, and what an old one makes of it.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use serde_json::{Value, json};
use sigilo_seal::{
    LinkClaim, LinkOffer, LinkPackage, LinkSecret, Manifest, ManifestDevice, RootFingerprint, SignedManifest,
    XWingSecret, sha256,
};
use sigilo_wire::{Base64, Base64Array, DeviceNumber, LinkId, account::Tokens};

use super::{TestServer, device::Device, http::Answer};

/// A device without an account.
pub struct Newcomer {
    pub key: XWingSecret,
    pub offer: LinkOffer,
    pub claim: [u8; 32],
}

impl Newcomer {
    /// One of many.
    pub fn new(number: u8) -> Self {
        let key = XWingSecret::from_seed([number; 32]);
        let offer = LinkOffer {
            link_id: LinkId::from_bytes([number; 16]),
            key_sha256: sha256(key.public().as_bytes()),
            registration_id: 1_000 + u32::from(number),
            secret: LinkSecret::from_bytes([number ^ 0xff; 32]),
        };
        Self { key, offer, claim: [number.wrapping_add(100); 32] }
    }

    /// Its path below the link.
    pub fn path(&self, below: &str) -> String {
        format!("/api/devices/link/{}/{below}", self.offer.link_id)
    }

    /// The old device opens the link.
    pub async fn begin(&self, server: &TestServer, old: &Device) -> Answer {
        server.post("/api/devices/link/", Some(&old.token), &json!({"link_id": self.offer.link_id})).await
    }

    /// It leaves its key.
    pub async fn offer_key(&self, server: &TestServer) -> Answer {
        let key = Base64(self.key.public().as_bytes().to_vec());
        server.put(&self.path("key/"), None, &json!({"public_key": key})).await
    }

    /// The manifest that follows `current` with this device as `number`.
    pub fn named(&self, server: &TestServer, current: &Manifest, number: u8) -> Manifest {
        let mut devices = current.devices.clone();
        devices.push(ManifestDevice {
            device: DeviceNumber::new(number).unwrap(),
            registration_id: self.offer.registration_id,
            added_at: server.app.clock.now(),
        });
        Manifest {
            version: current.version + 1,
            previous: Some(current.digest()),
            devices,
            ..current.clone()
        }
    }

    /// The body of the approval by `old`, with this manifest and this number.
    pub fn approval(&self, old: &Device, manifest: &Manifest, number: u8) -> Value {
        let signed = old.sign(manifest);
        let device = DeviceNumber::new(number).unwrap();
        let wire: sigilo_wire::keys::SignedManifest = serde_json::from_value(signed.clone()).unwrap();
        let package = LinkPackage {
            tenant: old.clinic,
            user: old.user,
            device,
            claim: LinkClaim::from_bytes(self.claim),
            identity: old.identity.clone(),
            root: RootFingerprint([1; 32]),
            checkpoint: Vec::new(),
            history: vec![(old.history.clone(), sigilo_wire::Timestamp::from_micros(1))],
            manifest: SignedManifest { statement: wire.statement.0, signature: wire.signature.0 },
            epochs: Vec::new(),
            contacts: Vec::new(),
            earlier: Vec::new(),
        };
        let mut rng = ChaCha20Rng::seed_from_u64(u64::from(number));
        let sealed = package.seal(&self.offer, &self.key.public(), manifest.version, &mut rng).unwrap();
        json!({
            "device_id": number, "claim_sha256": Base64Array(sha256(&self.claim)),
            "enc": Base64(sealed.enc), "ct": Base64(sealed.ct), "manifest": signed,
        })
    }

    /// It asks for its tokens.
    pub async fn claim(&self, server: &TestServer) -> Answer {
        let body = json!({"claim": Base64Array(self.claim), "name": "tablet"});
        server.post(&self.path("claim/"), None, &body).await
    }

    /// All of it: a further device of the user of `old`, with its keys published.
    pub async fn join(&self, server: &TestServer, old: &Device) -> Device {
        let open = self.begin(server, old).await.expect(201);
        self.offer_key(server).await.expect(204);
        let number = u8::try_from(open["next_device_id"].as_u64().unwrap()).unwrap();
        let manifest = self.named(server, &old.current_manifest(server).await, number);
        let approval = self.approval(old, &manifest, number);
        server.post(&self.path("approve/"), Some(&old.token), &approval).await.expect(200);
        let tokens: Tokens = serde_json::from_value(self.claim(server).await.expect(200)).unwrap();
        let device = old.sibling(&tokens, self.offer.registration_id);
        server.put("/api/keys/", Some(&device.token), &device.keys(5)).await.expect_success();
        device
    }
}
