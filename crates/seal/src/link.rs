//! Linking a new device: what its QR code carries, the code both screens show, and the package in which an old device
//! hands the account over.
//!
//! ```text
//! offer    link id (16 random bytes), SHA-256(ephemeral X-Wing public key), secret (32 random bytes), registration id
//! code     u64be(HKDF(secret, "sigilo/v1/link-code" || lp(link id) || lp(SHA-256(key)) || u32be(registration id), 8))
//!          mod 10^15, as 15 digits
//! package  "sigilo/v1/link-package" || lp(tenant) || lp(user) || u8(device) || lp(claim) || lp(identity private key)
//!          || lp(root fingerprint) || lp(checkpoint)
//!          || list(lp(history seed) || i64be(created_at))          newest first
//!          || lp(manifest statement) || lp(manifest signature)
//!          || list(lp(purpose) || u32be(epoch))                    highest seen of the clinic's keys
//!          || list(lp(user) || lp(identity key) || u8(verified))   identities the user's devices hold to
//!          || list(lp(user) || lp(identity key) || i64be(until))   those they held to before; left out when there are none
//! sealed   HPKE PSK mode to the ephemeral key (X-Wing, HKDF-SHA256, AES-256-GCM), psk = secret, psk_id = link id,
//!          info "sigilo/v1/link", aad = lp(tenant) || lp(user) || u32be(manifest version)
//! ```
//!
//! The secret travels from screen to camera only: whoever relays the ephemeral key or the package, and whoever only
//! saw the package's key, can neither read nor make a package. The code depends on everything in the offer, so that
//! an offer put in the place of another shows another code; 15 digits are more than can be tried while one waits.

use rand_core::CryptoRng;
use sigilo_wire::{DeviceNumber, LinkId, TenantId, Timestamp, UserId};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::{
    encode::{DecodeError, Reader, Writer},
    identity::{IdentityPublicKey, IdentitySecret, KeyError},
    manifest::{Manifest, ManifestError, SignedManifest},
    primitives::{hkdf, sha256},
    root::{KeyPurpose, RootFingerprint},
    secret::{LinkClaim, LinkSecret, opaque_debug},
    xwing::{OpeningFailed, PreShared, RANDOMNESS_LENGTH, Sealed, SealingFailed, XWingPublic, XWingSecret},
};

const LABEL: &str = "sigilo/v1/link-package";
const INFO: &[u8] = b"sigilo/v1/link";
/// The short code has 15 digits.
const CODES: u64 = 1_000_000_000_000_000;

/// What a new device shows to the camera of an old one.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkOffer {
    /// Where both meet on the server.
    pub link_id: LinkId,
    /// SHA-256 of the key the package is to be sealed to.
    pub key_sha256: [u8; 32],
    /// libsignal's registration id of the new device.
    pub registration_id: u32,
    /// What the server never sees.
    pub secret: LinkSecret,
}

opaque_debug!(LinkOffer);

impl LinkOffer {
    /// The code both screens show, for the user to compare: three groups of five digits.
    #[must_use]
    pub fn code(&self) -> String {
        let mut info = Writer::statement("sigilo/v1/link-code");
        info.lp(self.link_id.as_bytes()).lp(&self.key_sha256).u32be(self.registration_id);
        let number = u64::from_be_bytes(*hkdf::<8>(self.secret.as_bytes(), &[info.as_bytes()])) % CODES;
        let (high, low) = (number / 100_000, number % 100_000);
        format!("{:05} {:05} {low:05}", high / 100_000, high % 100_000)
    }

    /// Whether this is the key the offer was made for.
    #[must_use]
    pub fn admits(&self, key: &XWingPublic) -> bool {
        sha256(key.as_bytes()).ct_eq(&self.key_sha256).into()
    }

    const fn shared(&self) -> PreShared<'_> {
        PreShared { secret: self.secret.as_bytes(), id: self.link_id.as_bytes() }
    }
}

/// Somebody's identity key, as the user's devices hold to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkedContact {
    /// Whose.
    pub user: UserId,
    /// The key.
    pub identity: IdentityPublicKey,
    /// Whether the user compared it.
    pub verified: bool,
}

/// An identity key that somebody had before the one the user's devices hold to now: it signed what is older.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkedEarlier {
    /// Whose.
    pub user: UserId,
    /// The key.
    pub identity: IdentityPublicKey,
    /// When the user's devices began to hold to another one.
    pub until: Timestamp,
}

/// Everything a new device needs to be one of the user's.
#[derive(Clone)]
pub struct LinkPackage {
    /// The clinic.
    pub tenant: TenantId,
    /// The user.
    pub user: UserId,
    /// The number of the new device.
    pub device: DeviceNumber,
    /// For what the server gives the device its tokens.
    pub claim: LinkClaim,
    /// The user's identity key.
    pub identity: IdentitySecret,
    /// The pinned root of the clinic.
    pub root: RootFingerprint,
    /// The old device's checkpoint of the key transparency log; empty while there is none.
    pub checkpoint: Vec<u8>,
    /// Every history key the user ever had and since when, newest first.
    pub history: Vec<(XWingSecret, Timestamp)>,
    /// The manifest that names the new device.
    pub manifest: SignedManifest,
    /// The highest epoch seen of the clinic's keys of each purpose.
    pub epochs: Vec<(KeyPurpose, u32)>,
    /// Identities the user's devices hold to.
    pub contacts: Vec<LinkedContact>,
    /// Identities they held to before.
    pub earlier: Vec<LinkedEarlier>,
}

opaque_debug!(LinkPackage);

/// Why a package cannot be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkSealError {
    /// The server shows another key than the new device does.
    #[error("the key on the server is not the new device's")]
    KeySwapped,
    /// The key cannot be encapsulated to.
    #[error(transparent)]
    Sealing(#[from] SealingFailed),
}

/// Why a package is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// It was not sealed to this device, or by nobody who saw its code.
    #[error(transparent)]
    Opening(#[from] OpeningFailed),
    /// It is not a package.
    #[error("not a package: {0}")]
    Malformed(#[from] DecodeError),
    /// A key in it is none.
    #[error("a key in the package is not valid: {0}")]
    Key(#[from] KeyError),
    /// Its manifest does not verify.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// It was made for another account than it was sealed for.
    #[error("the package is another account's")]
    Owner,
    /// Its manifest does not name this device.
    #[error("the manifest does not name this device")]
    NotNamed,
    /// Its newest history key is not the manifest's.
    #[error("the newest history key is not the manifest's")]
    HistoryKey,
}

/// Whom a package is for, as the server says and the seal proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkedAccount {
    /// The clinic.
    pub tenant: TenantId,
    /// The user.
    pub user: UserId,
    /// The version of the manifest that names the new device.
    pub manifest_version: u32,
}

impl LinkedAccount {
    fn aad(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.lp(self.tenant.as_bytes()).lp(self.user.as_bytes()).u32be(self.manifest_version);
        writer.finish()
    }
}

impl LinkPackage {
    /// The bytes that are sealed.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut writer = Writer::statement(LABEL);
        writer.lp(self.tenant.as_bytes()).lp(self.user.as_bytes()).u8(self.device.get());
        writer.lp(self.claim.as_bytes()).lp(self.identity.to_bytes().as_slice()).lp(self.root.as_bytes());
        writer.lp(&self.checkpoint);
        writer.list(&self.history, |w, (key, created_at)| {
            w.lp(key.seed().as_slice()).time(*created_at);
        });
        writer.lp(&self.manifest.statement).lp(&self.manifest.signature);
        writer.list(&self.epochs, |w, (purpose, epoch)| {
            w.lp(purpose.as_str().as_bytes()).u32be(*epoch);
        });
        writer.list(&self.contacts, |w, contact| {
            w.lp(contact.user.as_bytes()).lp(contact.identity.as_bytes()).u8(contact.verified.into());
        });
        if !self.earlier.is_empty() {
            writer.list(&self.earlier, |w, earlier| {
                w.lp(earlier.user.as_bytes()).lp(earlier.identity.as_bytes()).time(earlier.until);
            });
        }
        Zeroizing::new(writer.finish())
    }

    /// Reads the bytes of a package, and checks nothing but their form.
    ///
    /// # Errors
    /// [`LinkError::Malformed`] for anything [`Self::encode`] would not write, [`LinkError::Key`].
    pub fn decode(bytes: &[u8]) -> Result<Self, LinkError> {
        let mut reader = Reader::statement(bytes, LABEL)?;
        let tenant = TenantId::from_bytes(reader.lp_array("tenant")?);
        let user = UserId::from_bytes(reader.lp_array("user")?);
        let device = DeviceNumber::new(reader.u8()?).ok_or(DecodeError::Value("device"))?;
        let claim = LinkClaim::from_bytes(reader.lp_array("claim")?);
        let identity = read_identity(reader.lp_array("identity")?)?;
        let root = RootFingerprint(reader.lp_array("root")?);
        let checkpoint = reader.lp()?.to_vec();
        let history = reader.list(|r| Ok((XWingSecret::from_seed(r.lp_array("history")?), r.time()?)))?;
        let statement = reader.lp()?.to_vec();
        let signature = reader.lp_array("signature")?;
        let epochs = reader.list(|r| Ok((r.text("purpose")?.parse()?, r.u32be()?)))?;
        let contacts = reader.list(|r| {
            let user = UserId::from_bytes(r.lp_array("contact")?);
            let identity = IdentityPublicKey::parse(r.lp()?).map_err(|_| DecodeError::Value("contact"))?;
            let verified = match r.u8()? {
                0 => false,
                1 => true,
                _ => return Err(DecodeError::Value("verified")),
            };
            Ok(LinkedContact { user, identity, verified })
        })?;
        let earlier = read_earlier(&mut reader)?;
        reader.finish()?;
        let manifest = SignedManifest { statement, signature };
        Ok(Self {
            tenant,
            user,
            device,
            claim,
            identity,
            root,
            checkpoint,
            history,
            manifest,
            epochs,
            contacts,
            earlier,
        })
    }

    /// Seals the package to the device that made the offer, by the key the server relayed. `manifest_version` is
    /// that of the manifest in the package.
    ///
    /// # Errors
    /// [`LinkSealError::KeySwapped`] when the key is not the offer's: nothing is sealed then.
    pub fn seal<R: CryptoRng + ?Sized>(
        &self,
        offer: &LinkOffer,
        key: &XWingPublic,
        manifest_version: u32,
        rng: &mut R,
    ) -> Result<Sealed, LinkSealError> {
        if !offer.admits(key) {
            return Err(LinkSealError::KeySwapped);
        }
        let mut randomness = Zeroizing::new([0; RANDOMNESS_LENGTH]);
        rng.fill_bytes(randomness.as_mut_slice());
        let aad = LinkedAccount { tenant: self.tenant, user: self.user, manifest_version }.aad();
        Ok(key.seal_psk_with(&randomness, offer.shared(), INFO, &aad, &self.encode())?)
    }

    /// Opens the package that was sealed to this offer's key for `account`, and checks that it is whole: one account
    /// throughout, its manifest signed by its identity and naming this device, its newest history key the manifest's.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open(
        sealed: &Sealed,
        offer: &LinkOffer,
        key: &XWingSecret,
        account: &LinkedAccount,
    ) -> Result<(Self, Manifest), LinkError> {
        let package = Self::decode(&key.open_psk(sealed, offer.shared(), INFO, &account.aad())?)?;
        if (package.tenant, package.user) != (account.tenant, account.user) {
            return Err(LinkError::Owner);
        }
        let identity = package.identity.public();
        let manifest = package.manifest.verify(&identity, package.tenant, package.user)?;
        if manifest.version != account.manifest_version {
            let expected = u64::from(account.manifest_version);
            return Err(ManifestError::Version { expected, actual: manifest.version }.into());
        }
        let named = manifest.device(package.device);
        if named.is_none_or(|named| named.registration_id != offer.registration_id) {
            return Err(LinkError::NotNamed);
        }
        match package.history.first() {
            Some((newest, _)) if newest.public() == manifest.history_public_key => Ok((package, manifest)),
            _ => Err(LinkError::HistoryKey),
        }
    }
}

/// Only the form that [`IdentitySecret::to_bytes`] gives: one key has one encoding.
fn read_identity(bytes: [u8; 32]) -> Result<IdentitySecret, DecodeError> {
    let identity = IdentitySecret::from_bytes(bytes);
    let same: bool = identity.to_bytes().ct_eq(&bytes).into();
    if same { Ok(identity) } else { Err(DecodeError::Value("identity")) }
}

/// The last list, which is not there when it would be empty: one package has one encoding.
fn read_earlier(reader: &mut Reader<'_>) -> Result<Vec<LinkedEarlier>, DecodeError> {
    if reader.is_empty() {
        return Ok(Vec::new());
    }
    let earlier = reader.list(|r| {
        let user = UserId::from_bytes(r.lp_array("earlier identity")?);
        let identity =
            IdentityPublicKey::parse(r.lp()?).map_err(|_| DecodeError::Value("earlier identity"))?;
        Ok(LinkedEarlier { user, identity, until: r.time()? })
    })?;
    if earlier.is_empty() { Err(DecodeError::Value("earlier identities")) } else { Ok(earlier) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{manifest::ManifestDevice, testing::test_rng};

    const TENANT: TenantId = TenantId::from_bytes([1; 16]);
    const USER: UserId = UserId::from_bytes([2; 16]);
    const AT: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);
    const ACCOUNT: LinkedAccount = LinkedAccount { tenant: TENANT, user: USER, manifest_version: 2 };

    fn key() -> XWingSecret {
        XWingSecret::from_seed([3; 32])
    }

    fn offer() -> LinkOffer {
        LinkOffer {
            link_id: LinkId::from_bytes([4; 16]),
            key_sha256: sha256(key().public().as_bytes()),
            registration_id: 77,
            secret: LinkSecret::from_bytes([5; 32]),
        }
    }

    fn second() -> DeviceNumber {
        DeviceNumber::new(2).unwrap()
    }

    fn manifest(version: u32) -> Manifest {
        let device = |device, registration_id| ManifestDevice { device, registration_id, added_at: AT };
        Manifest {
            tenant: TENANT,
            user: USER,
            version,
            previous: Some([6; 32]),
            history_public_key: XWingSecret::from_seed([7; 32]).public(),
            devices: vec![device(DeviceNumber::FIRST, 11), device(second(), 77)],
        }
    }

    fn package_with(manifest: &Manifest) -> LinkPackage {
        let identity = IdentitySecret::from_bytes([8; 32]);
        LinkPackage {
            tenant: TENANT,
            user: USER,
            device: second(),
            claim: LinkClaim::from_bytes([9; 32]),
            manifest: manifest.sign(&identity, &mut test_rng(40)),
            root: RootFingerprint([10; 32]),
            checkpoint: Vec::new(),
            history: vec![(XWingSecret::from_seed([7; 32]), AT), (XWingSecret::from_seed([11; 32]), AT)],
            epochs: vec![(KeyPurpose::Records, 3)],
            contacts: vec![LinkedContact {
                user: UserId::from_bytes([12; 16]),
                identity: IdentitySecret::from_bytes([13; 32]).public(),
                verified: true,
            }],
            earlier: Vec::new(),
            identity,
        }
    }

    fn package() -> LinkPackage {
        package_with(&manifest(2))
    }

    fn sealed(package: &LinkPackage) -> Sealed {
        package.seal(&offer(), &key().public(), 2, &mut test_rng(41)).unwrap()
    }

    fn refusal(sealed: &Sealed, offer: &LinkOffer, account: &LinkedAccount) -> LinkError {
        LinkPackage::open(sealed, offer, &key(), account).unwrap_err()
    }

    #[test]
    fn a_package_is_read_by_the_device_that_made_the_offer() {
        let package = package();
        let (read, manifest) = LinkPackage::open(&sealed(&package), &offer(), &key(), &ACCOUNT).unwrap();
        assert_eq!(read.encode(), package.encode());
        assert_eq!(manifest, self::manifest(2));
        assert_eq!(format!("{read:?} {:?}", offer()), "LinkPackage LinkOffer");
    }

    #[test]
    fn nothing_is_sealed_to_another_key_than_the_offers() {
        let swapped = XWingSecret::from_seed([99; 32]).public();
        let sealed = package().seal(&offer(), &swapped, 2, &mut test_rng(42));
        assert_eq!(sealed, Err(LinkSealError::KeySwapped));
    }

    #[test]
    fn another_secret_link_key_or_account_opens_nothing() {
        let sealed = sealed(&package());
        let opening = LinkError::Opening(OpeningFailed);
        let wrong = LinkOffer { secret: LinkSecret::from_bytes([50; 32]), ..offer() };
        assert_eq!(refusal(&sealed, &wrong, &ACCOUNT), opening);
        let wrong = LinkOffer { link_id: LinkId::from_bytes([50; 16]), ..offer() };
        assert_eq!(refusal(&sealed, &wrong, &ACCOUNT), opening);
        for account in [
            LinkedAccount { tenant: TenantId::from_bytes([50; 16]), ..ACCOUNT },
            LinkedAccount { user: UserId::from_bytes([50; 16]), ..ACCOUNT },
            LinkedAccount { manifest_version: 3, ..ACCOUNT },
        ] {
            assert_eq!(refusal(&sealed, &offer(), &account), opening);
        }
        let other = XWingSecret::from_seed([99; 32]);
        assert_eq!(LinkPackage::open(&sealed, &offer(), &other, &ACCOUNT).unwrap_err(), opening);
        // Base mode, as somebody would seal who only saw the key on the server.
        let aad = ACCOUNT.aad();
        let made_up = key().public().seal_fresh(&mut test_rng(43), INFO, &aad, &package().encode()).unwrap();
        assert_eq!(refusal(&made_up, &offer(), &ACCOUNT), opening);
    }

    #[test]
    fn a_package_that_is_not_whole_is_refused() {
        let refused = |package: &LinkPackage| refusal(&sealed(package), &offer(), &ACCOUNT);
        let old = manifest(1);
        let old = Manifest { previous: None, ..old };
        let version = ManifestError::Version { expected: 2, actual: 1 };
        assert_eq!(refused(&package_with(&old)), LinkError::Manifest(version));
        let mut without = manifest(2);
        without.devices.pop();
        assert_eq!(refused(&package_with(&without)), LinkError::NotNamed);
        let mut another = manifest(2);
        another.devices[1].registration_id = 78;
        assert_eq!(refused(&package_with(&another)), LinkError::NotNamed);
        let mut package = package();
        package.history.reverse();
        assert_eq!(refused(&package), LinkError::HistoryKey);
        package.history.clear();
        assert_eq!(refused(&package), LinkError::HistoryKey);
        let mut package = self::package();
        package.identity = IdentitySecret::from_bytes([60; 32]);
        assert_eq!(refused(&package), LinkError::Manifest(ManifestError::Signature));
        let of_another = LinkPackage { user: UserId::from_bytes([60; 16]), ..self::package() };
        let aad = ACCOUNT.aad();
        let sealed = key()
            .public()
            .seal_psk_with(&[1; 64], offer().shared(), INFO, &aad, &of_another.encode())
            .unwrap();
        assert_eq!(refusal(&sealed, &offer(), &ACCOUNT), LinkError::Owner);
    }

    #[test]
    fn packages_that_are_not_canonical_are_refused() {
        let bytes = package().encode();
        assert!(LinkPackage::decode(&bytes[..bytes.len() - 1]).is_err());
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert!(LinkPackage::decode(&longer).is_err());
        let mut flag = bytes.to_vec();
        *flag.last_mut().unwrap() = 2;
        assert_eq!(
            LinkPackage::decode(&flag).unwrap_err(),
            LinkError::Malformed(DecodeError::Value("verified"))
        );
        // The lowest bits of a Curve25519 private key are always 0.
        let at = LABEL.len() + 2 * 20 + 1 + 36 + 4;
        let mut clamp = bytes.to_vec();
        clamp[at] |= 1;
        assert_eq!(
            LinkPackage::decode(&clamp).unwrap_err(),
            LinkError::Malformed(DecodeError::Value("identity"))
        );
    }

    #[test]
    fn earlier_identities_come_along_and_stand_there_only_when_there_are_some() {
        let earlier = |byte: u8, at: i64| LinkedEarlier {
            user: UserId::from_bytes([12; 16]),
            identity: IdentitySecret::from_bytes([byte; 32]).public(),
            until: Timestamp::from_micros(at),
        };
        let with = LinkPackage { earlier: vec![earlier(14, 5), earlier(15, -1)], ..package() };
        let (read, _) = LinkPackage::open(&sealed(&with), &offer(), &key(), &ACCOUNT).unwrap();
        assert_eq!(read.earlier, with.earlier);
        let (bytes, without) = (with.encode(), package().encode());
        assert_eq!(bytes[..without.len()], without[..]);
        let refused = |bytes: &[u8]| LinkPackage::decode(bytes).unwrap_err();
        let malformed = LinkError::Malformed;
        // A list of none, a list that is cut, a key that is none, and more behind it.
        let none = [&without[..], &[0, 0]].concat();
        assert_eq!(refused(&none), malformed(DecodeError::Value("earlier identities")));
        assert_eq!(refused(&bytes[..bytes.len() - 1]), malformed(DecodeError::Truncated));
        assert_eq!(refused(&bytes[..without.len() + 1]), malformed(DecodeError::Truncated));
        let mut low = bytes.to_vec();
        let at = without.len() + 2 + 20 + 4 + 1;
        low[at..at + 32].fill(0);
        assert_eq!(refused(&low), malformed(DecodeError::Value("earlier identity")));
        assert_eq!(refused(&[&bytes[..], &[0]].concat()), malformed(DecodeError::Trailing));
    }

    #[test]
    fn the_code_depends_on_everything_in_the_offer() {
        let code = offer().code();
        assert_eq!(code.len(), 17);
        assert!(code.bytes().enumerate().all(|(at, byte)| match at {
            5 | 11 => byte == b' ',
            _ => byte.is_ascii_digit(),
        }));
        for other in [
            LinkOffer { link_id: LinkId::from_bytes([50; 16]), ..offer() },
            LinkOffer { key_sha256: [50; 32], ..offer() },
            LinkOffer { registration_id: 78, ..offer() },
            LinkOffer { secret: LinkSecret::from_bytes([50; 32]), ..offer() },
        ] {
            assert_ne!(other.code(), code);
        }
    }
}
