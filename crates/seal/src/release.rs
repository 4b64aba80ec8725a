//! The release of a file that was found infected and is not: the word of two people, shown to whoever opens it.
//!
//! ```text
//! statement  "sigilo/v1/release" || lp(tenant) || lp(file_id) || lp(blob_sha256) || lp(kc)
//!            || lp(SHA-256(verdict statement)) || lp(signer) || i64be(signed_at)
//! signature  XEdDSA by the signer's identity over the statement
//! release    two statements of two people, neither of whom uploaded the file, about one verdict
//! ```
//! It releases from one verdict, the newest, and from no other: a later one counts again, and takes another release.
//! Only `infected` can be released: the other refusals are rules, not findings.
//!
//! # What it does not protect from
//! That the two are moderators, and two persons, is the server's word; their identity keys are known to the reader as
//! any other stranger's, unless they were compared. So a client shows who released the file, and as what.

use rand_core::CryptoRng;
use sigilo_wire::{Timestamp, UserId};

use crate::{
    encode::{DecodeError, Reader, Writer},
    identity::{IdentityPublicKey, IdentitySecret},
    verdict::{ScanResult, VaultFile, Verdict},
};

const LABEL: &str = "sigilo/v1/release";

/// One person's word that a finding is false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReleaseStatement {
    /// Which file.
    pub file: VaultFile,
    /// SHA-256 of the verdict's statement: see [`Verdict::digest`].
    pub verdict_sha256: [u8; 32],
    /// Who says so.
    pub signer: UserId,
    /// When, as they claim.
    pub signed_at: Timestamp,
}

/// A statement as it is stored and sent: its bytes and the signer's signature over them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedReleaseStatement {
    /// The statement's bytes.
    pub statement: Vec<u8>,
    /// XEdDSA, by the signer's identity.
    pub signature: [u8; 64],
}

/// The word of two people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// One.
    pub first: SignedReleaseStatement,
    /// The other.
    pub second: SignedReleaseStatement,
}

/// From what a file is released, and who cannot do it.
#[derive(Clone, Copy, Debug)]
pub struct ReleaseNeed<'a> {
    /// The newest verdict on the file, which the caller has verified.
    pub verdict: &'a Verdict,
    /// Who uploaded the file: the sender of the message that brings it.
    pub uploader: UserId,
}

/// Why a release does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// It is not a well-formed statement.
    #[error("not a release: {0}")]
    Malformed(#[from] DecodeError),
    /// The signer's identity did not sign it.
    #[error("the signer's identity key did not sign this release")]
    Signature,
    /// It is about another file, or other bytes under the file's name.
    #[error("the release is about another file")]
    OtherFile,
    /// It is about another verdict than the newest.
    #[error("the release is about another verdict")]
    OtherVerdict,
    /// The verdict is not one that can be released from.
    #[error("the verdict is not that the file is infected")]
    NothingToRelease,
    /// The signer uploaded the file.
    #[error("whoever uploaded the file cannot release it")]
    Uploader,
    /// Both statements are one person's.
    #[error("a release takes two people")]
    OnePerson,
}

impl ReleaseStatement {
    /// What `signer` says of a verdict.
    #[must_use]
    pub fn new(verdict: &Verdict, signer: UserId, signed_at: Timestamp) -> Self {
        Self { file: verdict.file, verdict_sha256: verdict.digest(), signer, signed_at }
    }

    /// The bytes that are signed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::statement(LABEL);
        self.file.write(&mut writer);
        writer.lp(&self.verdict_sha256).lp(self.signer.as_bytes()).time(self.signed_at);
        writer.finish()
    }

    /// Reads the bytes of a statement, without any signature.
    ///
    /// # Errors
    /// [`DecodeError`] for anything [`Self::encode`] would not write.
    pub fn decode(statement: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::statement(statement, LABEL)?;
        let decoded = Self {
            file: VaultFile::read(&mut reader)?,
            verdict_sha256: reader.lp_array("verdict_sha256")?,
            signer: UserId::from_bytes(reader.lp_array("signer")?),
            signed_at: reader.time()?,
        };
        reader.finish()?;
        Ok(decoded)
    }

    /// Signs the statement with the signer's identity.
    #[must_use]
    pub fn sign<R: CryptoRng + ?Sized>(
        &self,
        identity: &IdentitySecret,
        rng: &mut R,
    ) -> SignedReleaseStatement {
        let statement = self.encode();
        let signature = identity.sign(&statement, rng);
        SignedReleaseStatement { statement, signature }
    }
}

impl SignedReleaseStatement {
    /// The statement, if `identity`, its signer's, signed it, and it says what is needed. One alone releases nothing.
    ///
    /// # Errors
    /// Every [`ReleaseError`] but [`ReleaseError::OnePerson`].
    pub fn verify(
        &self,
        need: &ReleaseNeed<'_>,
        identity: &IdentityPublicKey,
    ) -> Result<ReleaseStatement, ReleaseError> {
        let statement = ReleaseStatement::decode(&self.statement)?;
        if !identity.verify(&self.statement, &self.signature) {
            return Err(ReleaseError::Signature);
        }
        if !matches!(need.verdict.result, ScanResult::Infected(_)) {
            return Err(ReleaseError::NothingToRelease);
        }
        if statement.file != need.verdict.file {
            return Err(ReleaseError::OtherFile);
        }
        if statement.verdict_sha256 != need.verdict.digest() {
            return Err(ReleaseError::OtherVerdict);
        }
        if statement.signer == need.uploader {
            return Err(ReleaseError::Uploader);
        }
        Ok(statement)
    }
}

impl Release {
    /// Whose identity keys [`Self::verify`] takes, in their order.
    ///
    /// # Errors
    /// [`ReleaseError::Malformed`].
    pub fn signers(&self) -> Result<[UserId; 2], ReleaseError> {
        let first = ReleaseStatement::decode(&self.first.statement)?;
        let second = ReleaseStatement::decode(&self.second.statement)?;
        Ok([first.signer, second.signer])
    }

    /// Both statements, if they release the file: `identities` are the keys of [`Self::signers`], in their order.
    ///
    /// # Errors
    /// Every [`ReleaseError`].
    pub fn verify(
        &self,
        need: &ReleaseNeed<'_>,
        identities: [&IdentityPublicKey; 2],
    ) -> Result<[ReleaseStatement; 2], ReleaseError> {
        let [first, second] = identities;
        // One person under two names has one key; two people never have.
        let one_key = first == second;
        let (first, second) = (self.first.verify(need, first)?, self.second.verify(need, second)?);
        if one_key || first.signer == second.signer {
            return Err(ReleaseError::OnePerson);
        }
        Ok([first, second])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        testing::{test_rng, vault_file},
        verdict::Refusal,
    };

    const UPLOADER: UserId = UserId::from_bytes([1; 16]);
    const PEOPLE: [UserId; 2] = [UserId::from_bytes([2; 16]), UserId::from_bytes([3; 16])];
    const AT: Timestamp = Timestamp::from_micros(1_000);

    fn identity(stream: u8) -> IdentitySecret {
        IdentitySecret::generate(&mut test_rng(stream))
    }

    fn verdict() -> Verdict {
        Verdict {
            file: vault_file(),
            engine: "ClamAV 1.4.3".into(),
            database: "27800".into(),
            scanned_at: AT,
            result: ScanResult::Infected("Pdf.False-1".into()),
        }
    }

    fn said(verdict: &Verdict, signer: UserId, stream: u8) -> SignedReleaseStatement {
        ReleaseStatement::new(verdict, signer, AT).sign(&identity(stream), &mut test_rng(92))
    }

    fn release() -> Release {
        Release { first: said(&verdict(), PEOPLE[0], 90), second: said(&verdict(), PEOPLE[1], 91) }
    }

    fn verify(release: &Release, verdict: &Verdict) -> Result<[ReleaseStatement; 2], ReleaseError> {
        let need = ReleaseNeed { verdict, uploader: UPLOADER };
        release.verify(&need, [&identity(90).public(), &identity(91).public()])
    }

    #[test]
    fn two_people_release_a_file_from_one_verdict() {
        let released = verify(&release(), &verdict()).unwrap();
        assert_eq!(released.map(|statement| statement.signer), PEOPLE);
        assert_eq!(release().signers(), Ok(PEOPLE));
    }

    #[test]
    fn one_person_alone_releases_nothing() {
        let mut twice = release();
        twice.second = twice.first.clone();
        let need = ReleaseNeed { verdict: &verdict(), uploader: UPLOADER };
        let same = identity(90).public();
        assert_eq!(twice.verify(&need, [&same, &same]), Err(ReleaseError::OnePerson));
        // Nor under a second key, nor under a second name.
        twice.second = said(&verdict(), PEOPLE[0], 91);
        assert_eq!(verify(&twice, &verdict()), Err(ReleaseError::OnePerson));
        twice.second = said(&verdict(), PEOPLE[1], 90);
        assert_eq!(twice.verify(&need, [&same, &same]), Err(ReleaseError::OnePerson));
        let by_the_uploader = Release { second: said(&verdict(), UPLOADER, 91), ..release() };
        assert_eq!(verify(&by_the_uploader, &verdict()), Err(ReleaseError::Uploader));
    }

    #[test]
    fn another_verdict_or_file_is_not_released() {
        let later = Verdict { scanned_at: Timestamp::from_micros(2_000), ..verdict() };
        assert_eq!(verify(&release(), &later), Err(ReleaseError::OtherVerdict));
        let mut other = verdict();
        other.file.blob_sha256 = [0; 32];
        assert_eq!(verify(&release(), &other), Err(ReleaseError::OtherFile));
        // One who speaks of each.
        let mixed = Release { second: said(&later, PEOPLE[1], 91), ..release() };
        assert_eq!(verify(&mixed, &verdict()), Err(ReleaseError::OtherVerdict));
        for result in [ScanResult::Clean, ScanResult::Refused(Refusal::EncryptedArchive)] {
            let verdict = Verdict { result, ..verdict() };
            let release =
                Release { first: said(&verdict, PEOPLE[0], 90), second: said(&verdict, PEOPLE[1], 91) };
            assert_eq!(verify(&release, &verdict), Err(ReleaseError::NothingToRelease));
        }
    }

    #[test]
    fn every_changed_byte_is_refused() {
        for byte in 0..release().first.statement.len() {
            let mut changed = release();
            changed.first.statement[byte] ^= 1;
            assert!(verify(&changed, &verdict()).is_err(), "byte {byte}");
        }
        for byte in 0..64 {
            let mut changed = release();
            changed.second.signature[byte] ^= 1;
            assert_eq!(verify(&changed, &verdict()), Err(ReleaseError::Signature), "byte {byte}");
        }
        let exchanged = Release { first: release().second, second: release().first };
        assert_eq!(verify(&exchanged, &verdict()), Err(ReleaseError::Signature));
    }

    #[test]
    fn bytes_too_many_or_too_few_are_no_release() {
        let statement = release().first.statement;
        for end in 0..statement.len() {
            assert!(ReleaseStatement::decode(&statement[..end]).is_err(), "{end}");
        }
        assert_eq!(ReleaseStatement::decode(&[&statement[..], &[0]].concat()), Err(DecodeError::Trailing));
        assert!(ReleaseStatement::decode(&verdict().encode()).is_err());
    }
}
