//! The keys that sign access tokens (RFC 7519, EdDSA of RFC 8037), and what others need to verify them.
//!
//! Private halves are under column encryption. Every key that is not retired verifies; the newest signs. A
//! token that names an unknown key makes this node look once a second whether another node has made one.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, EncodingKey, Header, Validation,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{ErrorKind, new_error},
    signature::{Error as SignatureError, Signer, Verifier},
};
use serde::{Deserialize, Serialize};
use sigilo_seal::{Ed25519Public, Ed25519Secret};
use sigilo_wire::{DeviceId, ErrorCode, TenantId, Timestamp, TokenFamilyId, UserId, account::DeviceKind};
use utoipa::ToSchema;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{ACCESS_TOKEN_LIFE, store};
use crate::{
    Error, Result, rng,
    rng::Entropy,
    storage::{
        Db,
        crypter::{Crypter, Place},
    },
};

/// Who issues the tokens, in their `iss` claim.
const ISSUER: &str = "sigilo";
/// How often an unknown key may send this node to the database.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What an access token says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Claims {
    /// Always `sigilo`.
    pub(super) iss: String,
    /// The account.
    pub(super) sub: UserId,
    /// The clinic.
    pub(super) tid: TenantId,
    /// The device.
    pub(super) did: DeviceId,
    /// The kind of device.
    pub(super) knd: DeviceKind,
    /// The family of refresh tokens it was issued with.
    pub(super) fam: TokenFamilyId,
    /// When it was issued, in seconds since the Unix epoch.
    pub(super) iat: i64,
    /// From when it is not good any more, in seconds since the Unix epoch.
    pub(super) exp: i64,
    /// A random name of this token.
    pub(super) jti: String,
}

/// Whom a token is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bearer {
    pub(super) tenant: TenantId,
    pub(super) user: UserId,
    pub(super) device: DeviceId,
    pub(super) kind: DeviceKind,
    pub(super) family: TokenFamilyId,
}

/// Signs and verifies access tokens.
pub struct TokenKeys {
    keys: RwLock<Arc<Keys>>,
}

struct Keys {
    signing: (String, EncodingKey),
    verifying: HashMap<String, (DecodingKey, [u8; 32])>,
    loaded_at: Timestamp,
}

/// The answer of GET /.well-known/jwks.json (RFC 7517).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Jwks {
    /// The keys that verify access tokens.
    pub keys: Vec<Jwk>,
}

/// One public key as a JSON Web Key (RFC 8037).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Jwk {
    /// Always `OKP`.
    pub kty: String,
    /// Always `Ed25519`.
    pub crv: String,
    /// Always `EdDSA`.
    pub alg: String,
    /// Always `sig`.
    pub r#use: String,
    /// The key's name in token headers.
    pub kid: String,
    /// The public key, base64url.
    pub x: String,
}

impl std::fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKeys")
    }
}

impl TokenKeys {
    /// Loads the keys; makes the first one.
    ///
    /// # Errors
    /// When the database is away or a key does not decrypt.
    pub async fn open(db: &Db, crypter: &Crypter, entropy: &dyn Entropy, now: Timestamp) -> Result<Self> {
        // Another part of this process may have been first: there is only this provider.
        let _ = CryptoProvider::install_default(&PROVIDER);
        if let Some(keys) = load(db, crypter, now).await? {
            return Ok(Self { keys: RwLock::new(Arc::new(keys)) });
        }
        create(db, crypter, entropy, now).await?;
        let keys = load(db, crypter, now).await?.ok_or_else(|| Error::internal("no token key"))?;
        Ok(Self { keys: RwLock::new(Arc::new(keys)) })
    }

    /// A new access token, good for [`ACCESS_TOKEN_LIFE`].
    pub(super) fn issue(&self, bearer: Bearer, now: Timestamp, entropy: &dyn Entropy) -> Result<String> {
        let keys = self.current();
        let (kid, key) = &keys.signing;
        let claims = Claims {
            iss: ISSUER.to_owned(),
            sub: bearer.user,
            tid: bearer.tenant,
            did: bearer.device,
            knd: bearer.kind,
            fam: bearer.family,
            iat: now.seconds(),
            exp: (now + ACCESS_TOKEN_LIFE).seconds(),
            jti: URL_SAFE_NO_PAD.encode(rng::bytes::<16>(entropy)),
        };
        let header = Header { kid: Some(kid.clone()), ..Header::new(Algorithm::EdDSA) };
        jsonwebtoken::encode(&header, &claims, key).map_err(Error::internal)
    }

    /// What a token says, if one of our keys signed it and it has not expired.
    pub(super) async fn verify(
        &self,
        db: &Db,
        crypter: &Crypter,
        token: &str,
        now: Timestamp,
    ) -> Result<Claims> {
        let unauthenticated = || Error::Unauthenticated(ErrorCode::Unauthenticated);
        let header = jsonwebtoken::decode_header(token).map_err(|_| unauthenticated())?;
        let kid = header.kid.ok_or_else(unauthenticated)?;
        let mut keys = self.current();
        if !keys.verifying.contains_key(&kid) && now.since(keys.loaded_at) >= LOOK_AGAIN_AFTER {
            keys = self.reload(db, crypter, now).await?;
        }
        let (key, _) = keys.verifying.get(&kid).ok_or_else(unauthenticated)?;
        let claims =
            jsonwebtoken::decode::<Claims>(token, key, &validation()).map_err(|_| unauthenticated())?.claims;
        if now.seconds() >= claims.exp {
            return Err(Error::Unauthenticated(ErrorCode::TokenExpired));
        }
        Ok(claims)
    }

    /// The public keys, for those who verify tokens themselves.
    #[must_use]
    pub fn jwks(&self) -> Jwks {
        let keys = self.current();
        let mut published: Vec<Jwk> = keys
            .verifying
            .iter()
            .map(|(kid, (_, public))| Jwk {
                kty: "OKP".to_owned(),
                crv: "Ed25519".to_owned(),
                alg: "EdDSA".to_owned(),
                r#use: "sig".to_owned(),
                kid: kid.clone(),
                x: URL_SAFE_NO_PAD.encode(public),
            })
            .collect();
        published.sort_by(|a, b| a.kid.cmp(&b.kid));
        Jwks { keys: published }
    }

    fn current(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn reload(&self, db: &Db, crypter: &Crypter, now: Timestamp) -> Result<Arc<Keys>> {
        let keys = Arc::new(
            load(db, crypter, now).await?.ok_or_else(|| Error::internal("the token keys are gone"))?,
        );
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&keys);
        Ok(keys)
    }
}

async fn load(db: &Db, crypter: &Crypter, now: Timestamp) -> Result<Option<Keys>> {
    let mut tx = db.read("token_keys").await?;
    let rows = store::token_keys(&mut tx).await?;
    // Newest first.
    let Some(newest) = rows.first() else { return Ok(None) };
    let seed = crypter.decrypt(private_place(&newest.key_id), &newest.private_key)?;
    let signing = (newest.key_id.to_string(), EncodingKey::from_ed_der(&seed));
    let mut verifying = HashMap::new();
    for row in &rows {
        let public = Ed25519Public::parse(&row.public_key).map_err(Error::internal)?.to_bytes();
        verifying.insert(row.key_id.to_string(), (DecodingKey::from_ed_der(&public), public));
    }
    Ok(Some(Keys { signing, verifying, loaded_at: now }))
}

async fn create(db: &Db, crypter: &Crypter, entropy: &dyn Entropy, now: Timestamp) -> Result<()> {
    let secret = Ed25519Secret::generate(&mut rng::EntropyRng(entropy));
    // The id is public and names nothing but this key.
    let key_id = sigilo_wire::DataKeyId::new(now, rng::bytes(entropy)).uuid();
    let private = crypter.encrypt(private_place(&key_id), secret.seed().as_slice(), entropy)?;
    let mut tx = db.begin("token_key_create").await?;
    store::insert_token_key(&mut tx, key_id, &secret.public().to_bytes(), &private, now).await?;
    tx.commit().await
}

fn private_place(key_id: &Uuid) -> Place<'_> {
    Place { table: "token_keys", row: key_id.as_bytes(), column: "private_key" }
}

fn validation() -> Validation {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_issuer(&[ISSUER]);
    validation.set_required_spec_claims(&["exp", "iss", "sub"]);
    // Time is an argument: the caller compares `exp` with its own clock.
    validation.validate_exp = false;
    validation.leeway = 0;
    validation
}

/// The cryptography of `jsonwebtoken` by the crate the protocol's other Ed25519 signatures use. It knows EdDSA
/// only, so that no token can choose another algorithm.
static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| match (algorithm, key.family()) {
        (Algorithm::EdDSA, AlgorithmFamily::Ed) => {
            let seed = <[u8; 32]>::try_from(key.as_bytes()).map(Zeroizing::new);
            let seed = seed.map_err(|_| new_error(ErrorKind::InvalidEddsaKey))?;
            Ok(Box::new(EdDsaSigner(Ed25519Secret::from_seed(*seed))))
        }
        _ => Err(new_error(ErrorKind::UnsupportedAlgorithm)),
    },
    verifier_factory: |algorithm, key| match (algorithm, key.family()) {
        (Algorithm::EdDSA, AlgorithmFamily::Ed) => {
            let public = Ed25519Public::parse(key.try_get_as_bytes()?);
            Ok(Box::new(EdDsaVerifier(public.map_err(|_| new_error(ErrorKind::InvalidEddsaKey))?)))
        }
        _ => Err(new_error(ErrorKind::UnsupportedAlgorithm)),
    },
    key_utils: KeyUtils::new_unimplemented(),
};

struct EdDsaSigner(Ed25519Secret);

impl Signer<Vec<u8>> for EdDsaSigner {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, SignatureError> {
        Ok(self.0.sign(message).to_vec())
    }
}

impl JwtSigner for EdDsaSigner {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

struct EdDsaVerifier(Ed25519Public);

impl Verifier<Vec<u8>> for EdDsaVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), SignatureError> {
        let signature = <&[u8; 64]>::try_from(signature.as_slice()).map_err(|_| SignatureError::new())?;
        if self.0.verify(message, signature) { Ok(()) } else { Err(SignatureError::new()) }
    }
}

impl JwtVerifier for EdDsaVerifier {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        rng::SeededEntropy,
        storage::{
            crypter::Key,
            gate::{self, Store},
        },
    };

    const NOW: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);

    fn bearer() -> Bearer {
        Bearer {
            tenant: TenantId::from_bytes([1; 16]),
            user: UserId::from_bytes([2; 16]),
            device: DeviceId::from_bytes([3; 16]),
            kind: DeviceKind::Session,
            family: TokenFamilyId::from_bytes([4; 16]),
        }
    }

    #[tokio::test]
    async fn a_key_another_node_made_is_found_and_a_strangers_is_not() {
        let entropy = SeededEntropy::new(9);
        let folder = tempfile::tempdir().unwrap();
        let crypter = Crypter::new(&[(1, Key::new([7; 32]))]).unwrap();
        let open = async |name: &str| {
            let db = Db::open_file(&folder.path().join(name)).await.unwrap();
            gate::migrate(&db, Store::Main).await.unwrap();
            db
        };
        let (db, strangers_db) = (open("one.db").await, open("other.db").await);
        let here = TokenKeys::open(&db, &crypter, &*entropy, NOW).await.unwrap();
        let before = here.issue(bearer(), NOW, &*entropy).unwrap();

        let later = NOW + Duration::from_secs(2);
        create(&db, &crypter, &*entropy, later).await.unwrap();
        let there = TokenKeys::open(&db, &crypter, &*entropy, later).await.unwrap();
        assert_eq!((here.jwks().keys.len(), there.jwks().keys.len()), (1, 2));
        let token = there.issue(bearer(), later, &*entropy).unwrap();
        let claims = here.verify(&db, &crypter, &token, later).await.unwrap();
        assert_eq!((claims.did, claims.fam), (bearer().device, bearer().family));
        assert_eq!(here.jwks(), there.jwks());
        // The older key still verifies.
        here.verify(&db, &crypter, &before, later).await.unwrap();

        let stranger = TokenKeys::open(&strangers_db, &crypter, &*entropy, later).await.unwrap();
        let token = stranger.issue(bearer(), later, &*entropy).unwrap();
        let refused = here.verify(&db, &crypter, &token, later).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::Unauthenticated);
    }

    #[test]
    fn the_provider_signs_as_rfc_8037_says() {
        // Appendix A.4: the key of RFC 8032 section 7.1, test 1.
        let _ = CryptoProvider::install_default(&PROVIDER);
        let seed = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        let input = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let key = EncodingKey::from_ed_der(&seed);
        assert_eq!(
            jsonwebtoken::crypto::sign(input, &key, Algorithm::EdDSA).unwrap(),
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
        );
        for algorithm in [Algorithm::HS256, Algorithm::RS256, Algorithm::ES256] {
            assert!(jsonwebtoken::crypto::sign(input, &key, algorithm).is_err(), "{algorithm:?}");
        }
    }
}
