//! Device manifests: which devices a user has, and the history key that later seals are made for.
//!
//! ```text
//! statement       "sigilo/v1/manifest" || lp(tenant) || lp(user) || u32be(version) || lp(SHA-256(previous))
//!                 || lp(history_public_key) || list(u8 device || u32be registration_id || i64be added_at)
//! previous        the statement of version - 1; lp("") in version 1
//! signature       XEdDSA by the user's identity key over the statement
//! history key id  first 16 bytes of SHA-256(history_public_key)
//! ```
//! Devices stand in ascending order of their numbers, each once, so that one set of devices has one manifest.

use sigilo_wire::{DeviceNumber, TenantId, Timestamp, UserId};

use rand_core::CryptoRng;

use crate::{
    bytes::KeyId,
    encode::{DecodeError, Reader, Writer},
    identity::{IdentityPublicKey, IdentitySecret, KeyError},
    primitives::sha256,
    xwing::XWingPublic,
};

const LABEL: &str = "sigilo/v1/manifest";

/// One messaging device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManifestDevice {
    /// Its number, given by the server, never reused.
    pub device: DeviceNumber,
    /// libsignal's registration id.
    pub registration_id: u32,
    /// When it was added.
    pub added_at: Timestamp,
}

/// A user's devices and history key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The clinic.
    pub tenant: TenantId,
    /// Whose devices.
    pub user: UserId,
    /// From 1, rising by one.
    pub version: u32,
    /// SHA-256 of the previous version's statement; absent in version 1.
    pub previous: Option<[u8; 32]>,
    /// To whom record seals are made for this user.
    pub history_public_key: XWingPublic,
    /// In ascending order of their numbers.
    pub devices: Vec<ManifestDevice>,
}

/// Why a manifest is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The user's identity did not sign it.
    #[error("the user's identity key did not sign this manifest")]
    Signature,
    /// It is not a well-formed manifest.
    #[error("not a manifest: {0}")]
    Malformed(#[from] DecodeError),
    /// Its history key is not a valid key.
    #[error("the manifest's history key is not valid: {0}")]
    Key(#[from] KeyError),
    /// It is another clinic's, or another user's.
    #[error("the manifest is another user's")]
    Owner,
    /// Not the version that follows.
    #[error("version {actual} does not follow; {expected} would")]
    Version {
        /// The previous version + 1.
        expected: u64,
        /// What the manifest says.
        actual: u32,
    },
    /// It follows another previous version.
    #[error("the manifest does not continue from the previous one")]
    Chain,
    /// A device left, but the history key it knows stays: it could read what comes after it.
    #[error("a device was removed without a new history key")]
    HistoryKeyKept,
    /// A device number names another device than before.
    #[error("device {0} is not the device it was")]
    DeviceReused(DeviceNumber),
}

impl Manifest {
    /// The bytes that are signed and hashed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::statement(LABEL);
        writer.lp(self.tenant.as_bytes()).lp(self.user.as_bytes()).u32be(self.version);
        writer.lp_optional(self.previous.as_ref().map(<[u8; 32]>::as_slice));
        writer.lp(self.history_public_key.as_bytes());
        writer.list(&self.devices, |w, d| {
            w.u8(d.device.get()).u32be(d.registration_id).time(d.added_at);
        });
        writer.finish()
    }

    /// Reads the bytes of a manifest, without any signature.
    ///
    /// # Errors
    /// [`ManifestError::Malformed`] for anything [`Self::encode`] would not write, [`ManifestError::Key`].
    pub fn decode(statement: &[u8]) -> Result<Self, ManifestError> {
        let mut reader = Reader::statement(statement, LABEL)?;
        let tenant = TenantId::from_bytes(reader.lp_array("tenant")?);
        let user = UserId::from_bytes(reader.lp_array("user")?);
        let version = reader.u32be()?;
        let previous = reader.lp_optional_array("previous")?;
        let history_public_key = reader.lp()?;
        let devices = reader.list(|r| {
            let device = DeviceNumber::new(r.u8()?).ok_or(DecodeError::Value("device"))?;
            Ok(ManifestDevice { device, registration_id: r.u32be()?, added_at: r.time()? })
        })?;
        reader.finish()?;
        if version == 0 || (version == 1) != previous.is_none() {
            return Err(DecodeError::Value("previous").into());
        }
        if !devices.is_sorted_by(|a, b| a.device < b.device) {
            return Err(DecodeError::Value("devices").into());
        }
        let history_public_key = XWingPublic::parse(history_public_key)?;
        Ok(Self { tenant, user, version, previous, history_public_key, devices })
    }

    /// The name of the history key in record seals.
    #[must_use]
    pub fn history_key_id(&self) -> KeyId {
        self.history_public_key.history_key_id()
    }

    /// SHA-256 of the statement: `previous` of the next version.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        sha256(&self.encode())
    }

    /// The manifest of the next version: the same devices and the same history key, until they are changed.
    #[must_use]
    pub fn follow(&self) -> Self {
        Self { version: self.version.saturating_add(1), previous: Some(self.digest()), ..self.clone() }
    }

    /// Signs the manifest with the user's identity.
    #[must_use]
    pub fn sign<R: CryptoRng + ?Sized>(&self, identity: &IdentitySecret, rng: &mut R) -> SignedManifest {
        let statement = self.encode();
        let signature = identity.sign(&statement, rng);
        SignedManifest { statement, signature }
    }

    /// Whether this manifest may follow `previous`, which was accepted before.
    ///
    /// # Errors
    /// [`ManifestError::Owner`], [`ManifestError::Version`], [`ManifestError::Chain`],
    /// [`ManifestError::DeviceReused`], [`ManifestError::HistoryKeyKept`].
    pub fn verify_successor(&self, previous: &Self) -> Result<(), ManifestError> {
        if (self.tenant, self.user) != (previous.tenant, previous.user) {
            return Err(ManifestError::Owner);
        }
        let expected = u64::from(previous.version) + 1;
        if u64::from(self.version) != expected {
            return Err(ManifestError::Version { expected, actual: self.version });
        }
        if self.previous != Some(previous.digest()) {
            return Err(ManifestError::Chain);
        }
        let mut removed = false;
        for before in &previous.devices {
            match self.devices.iter().find(|now| now.device == before.device) {
                Some(now) if now != before => return Err(ManifestError::DeviceReused(now.device)),
                Some(_) => {}
                None => removed = true,
            }
        }
        if removed && self.history_public_key == previous.history_public_key {
            return Err(ManifestError::HistoryKeyKept);
        }
        Ok(())
    }

    /// Whether the manifest names this device.
    #[must_use]
    pub fn device(&self, device: DeviceNumber) -> Option<&ManifestDevice> {
        self.devices.iter().find(|d| d.device == device)
    }
}

/// A manifest as it is stored and sent: its bytes and the identity's signature over them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedManifest {
    /// The statement's bytes.
    pub statement: Vec<u8>,
    /// XEdDSA, by the user's identity key.
    pub signature: [u8; 64],
}

impl SignedManifest {
    /// The manifest, if the identity signed it for this user of this clinic. Says nothing about the chain:
    /// see [`Manifest::verify_successor`].
    ///
    /// # Errors
    /// [`ManifestError::Signature`], [`ManifestError::Malformed`], [`ManifestError::Key`],
    /// [`ManifestError::Owner`].
    pub fn verify(
        &self,
        identity: &IdentityPublicKey,
        tenant: TenantId,
        user: UserId,
    ) -> Result<Manifest, ManifestError> {
        if !identity.verify(&self.statement, &self.signature) {
            return Err(ManifestError::Signature);
        }
        let manifest = Manifest::decode(&self.statement)?;
        if (manifest.tenant, manifest.user) != (tenant, user) {
            return Err(ManifestError::Owner);
        }
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{testing::test_rng, xwing::XWingSecret};

    const TENANT: TenantId = TenantId::from_bytes([1; 16]);
    const USER: UserId = UserId::from_bytes([2; 16]);

    fn device(number: u8) -> ManifestDevice {
        ManifestDevice {
            device: DeviceNumber::new(number).unwrap(),
            registration_id: 1_000 + u32::from(number),
            added_at: Timestamp::from_micros(i64::from(number)),
        }
    }

    fn first(devices: &[u8]) -> Manifest {
        Manifest {
            tenant: TENANT,
            user: USER,
            version: 1,
            previous: None,
            history_public_key: XWingSecret::from_seed([3; 32]).public(),
            devices: devices.iter().copied().map(device).collect(),
        }
    }

    fn next(previous: &Manifest, devices: &[u8]) -> Manifest {
        Manifest { version: previous.version + 1, previous: Some(previous.digest()), ..first(devices) }
    }

    #[test]
    fn a_signed_manifest_is_read_back() {
        let mut rng = test_rng(20);
        let identity = IdentitySecret::generate(&mut rng);
        let manifest = next(&first(&[1]), &[1, 5, 127]);
        let signed = manifest.sign(&identity, &mut rng);
        assert_eq!(signed.verify(&identity.public(), TENANT, USER).unwrap(), manifest);
        let other = UserId::from_bytes([9; 16]);
        assert_eq!(signed.verify(&identity.public(), TENANT, other), Err(ManifestError::Owner));
        let clinic = TenantId::from_bytes([9; 16]);
        assert_eq!(signed.verify(&identity.public(), clinic, USER), Err(ManifestError::Owner));
        let stranger = IdentitySecret::generate(&mut rng).public();
        assert_eq!(signed.verify(&stranger, TENANT, USER), Err(ManifestError::Signature));
        for byte in (0..signed.statement.len()).step_by(7) {
            let mut flipped = signed.clone();
            flipped.statement[byte] ^= 1;
            assert_eq!(flipped.verify(&identity.public(), TENANT, USER), Err(ManifestError::Signature));
        }
    }

    #[test]
    fn only_the_next_version_of_the_same_chain_follows() {
        let before = first(&[1, 2]);
        assert_eq!(next(&before, &[1, 2, 3]).verify_successor(&before), Ok(()));
        let mut skipped = next(&before, &[1, 2]);
        skipped.version = 3;
        assert_eq!(skipped.verify_successor(&before), Err(ManifestError::Version { expected: 2, actual: 3 }));
        let mut forked = next(&before, &[1, 2]);
        forked.previous = Some([0; 32]);
        assert_eq!(forked.verify_successor(&before), Err(ManifestError::Chain));
        let mut foreign = next(&before, &[1, 2]);
        foreign.user = UserId::from_bytes([9; 16]);
        assert_eq!(foreign.verify_successor(&before), Err(ManifestError::Owner));
        assert!(before.verify_successor(&before).is_err());
    }

    #[test]
    fn removing_a_device_takes_a_new_history_key() {
        let before = first(&[1, 2]);
        let mut without = next(&before, &[1]);
        assert_eq!(without.verify_successor(&before), Err(ManifestError::HistoryKeyKept));
        without.history_public_key = XWingSecret::from_seed([4; 32]).public();
        assert_eq!(without.verify_successor(&before), Ok(()));
        let mut replaced = next(&before, &[1, 2]);
        replaced.devices[1].registration_id += 1;
        assert_eq!(
            replaced.verify_successor(&before),
            Err(ManifestError::DeviceReused(DeviceNumber::new(2).unwrap()))
        );
    }

    #[test]
    fn manifests_that_are_not_canonical_are_refused() {
        let refusal = |change: fn(&mut Manifest)| {
            let mut manifest = first(&[1, 2]);
            change(&mut manifest);
            Manifest::decode(&manifest.encode()).unwrap_err()
        };
        let devices = ManifestError::Malformed(DecodeError::Value("devices"));
        let previous = ManifestError::Malformed(DecodeError::Value("previous"));
        assert_eq!(refusal(|m| m.devices.reverse()), devices);
        assert_eq!(refusal(|m| m.devices[1] = m.devices[0]), devices);
        assert_eq!(refusal(|m| m.version = 0), previous);
        assert_eq!(refusal(|m| m.version = 2), previous);
        assert_eq!(refusal(|m| m.previous = Some([0; 32])), previous);
        let mut bytes = first(&[1]).encode();
        bytes.push(0);
        assert_eq!(Manifest::decode(&bytes), Err(ManifestError::Malformed(DecodeError::Trailing)));
        let mut bytes = first(&[1]).encode();
        let at = bytes.len() - 13;
        bytes[at] = 128;
        assert_eq!(Manifest::decode(&bytes), Err(ManifestError::Malformed(DecodeError::Value("device"))));
    }
}
