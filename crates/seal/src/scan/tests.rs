//! To which keys, and for what, a file's key is handed over.

use super::*;
use crate::testing::{scanner_statement, test_rng};

const TENANT: TenantId = TenantId::from_bytes([1; 16]);
const HOUR: i64 = 3_600_000_000;

const fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn worker() -> Ed25519Secret {
    Ed25519Secret::from_seed([3; 32])
}

fn scan_secret() -> XWingSecret {
    XWingSecret::from_seed([4; 32])
}

fn scan_key() -> ScanKey {
    ScanKey {
        tenant: TENANT,
        not_before: at(HOUR),
        not_after: at(3 * HOUR),
        public_key: scan_secret().public(),
    }
}

/// The scanner key's statement, valid for ten hours.
fn scanner() -> RootStatement {
    scanner_statement(TENANT, &worker(), at(0), at(10 * HOUR))
}

fn subject() -> ScanSubject {
    ScanSubject {
        tenant: TENANT,
        upload_id: UploadId::from_bytes([5; 16]),
        blob_sha256: [6; 32],
        commitment: FileCommitment([7; 32]),
    }
}

#[test]
fn a_scan_key_of_the_clinics_scanner_is_accepted_in_its_time() {
    let signed = scan_key().sign(&worker());
    for now in [HOUR, 3 * HOUR - 1] {
        assert_eq!(signed.verify(&scanner(), at(now)).unwrap(), scan_key());
    }
    assert_eq!(signed.verify(&scanner(), at(HOUR - 1)), Err(ScanKeyError::NotYetValid));
    assert_eq!(signed.verify(&scanner(), at(3 * HOUR)), Err(ScanKeyError::Expired));
    assert_eq!(scan_key().key_id().as_bytes(), &crate::sha256(&signed.statement)[..16]);
}

#[test]
fn a_scan_key_of_anybody_else_is_refused() {
    let now = at(2 * HOUR);
    let signed = scan_key().sign(&worker());
    let stranger = Ed25519Secret::from_seed([8; 32]);
    assert_eq!(scan_key().sign(&stranger).verify(&scanner(), now), Err(ScanKeyError::Signature));
    let mut receipt = scanner();
    receipt.purpose = KeyPurpose::Receipt;
    let purpose = RootError::Purpose { expected: KeyPurpose::Scanner, actual: KeyPurpose::Receipt };
    assert_eq!(signed.verify(&receipt, now), Err(ScanKeyError::Scanner(purpose)));
    let mut over = scanner();
    over.not_after = now;
    assert_eq!(signed.verify(&over, now), Err(ScanKeyError::Scanner(RootError::Expired)));
    let mut to_come = scanner();
    to_come.not_before = at(2 * HOUR + 1);
    assert_eq!(signed.verify(&to_come, now), Err(ScanKeyError::Scanner(RootError::NotYetValid)));
    let mut other_clinic = scanner();
    other_clinic.tenant = TenantId::from_bytes([9; 16]);
    assert_eq!(signed.verify(&other_clinic, now), Err(ScanKeyError::Tenant));
}

#[test]
fn every_changed_byte_is_refused() {
    let signed = scan_key().sign(&worker());
    for byte in (0..80).chain((80..signed.statement.len()).step_by(97)) {
        let mut changed = signed.clone();
        changed.statement[byte] ^= 1;
        assert_eq!(changed.verify(&scanner(), at(2 * HOUR)), Err(ScanKeyError::Signature), "byte {byte}");
    }
    for byte in 0..64 {
        let mut changed = signed.clone();
        changed.signature[byte] ^= 1;
        assert_eq!(changed.verify(&scanner(), at(2 * HOUR)), Err(ScanKeyError::Signature), "byte {byte}");
    }
}

#[test]
fn a_statement_that_is_not_well_formed_is_refused_even_when_signed() {
    let refusal = |statement: Vec<u8>| {
        let signature = worker().sign(&statement);
        SignedScanKey { statement, signature }.verify(&scanner(), at(2 * HOUR)).unwrap_err()
    };
    let good = scan_key().encode();
    assert_eq!(refusal([good.as_slice(), &[0]].concat()), ScanKeyError::Malformed(DecodeError::Trailing));
    let short = good[..good.len() - 1].to_vec();
    assert_eq!(refusal(short), ScanKeyError::Malformed(DecodeError::Truncated));
    let foreign = b"sigilo/v1/root-statement".to_vec();
    assert_eq!(refusal(foreign), ScanKeyError::Malformed(DecodeError::Label(LABEL)));
    let lasting = |not_after| ScanKey { not_after, ..scan_key() }.encode();
    for not_after in [at(HOUR), at(0), at(3 * HOUR + 1), at(i64::MAX)] {
        let refused = DecodeError::Value("not_after");
        assert_eq!(refusal(lasting(not_after)), ScanKeyError::Malformed(refused), "{not_after}");
    }
    let mut no_key = good;
    let key = no_key.len() - XWingPublic::LENGTH;
    no_key[key..key + 3].fill(0xff);
    assert_eq!(refusal(no_key), ScanKeyError::Malformed(DecodeError::Value("public_key")));
}

#[test]
fn a_key_is_handed_over_to_this_scan_key_for_this_upload_only() {
    let file = FileKey::from_bytes([10; 32]);
    let handed = subject().hand_over(&file, &scan_key(), &mut test_rng(80)).unwrap();
    assert_eq!(handed.key_id, scan_key().key_id());
    assert_eq!((handed.sealed.enc.len(), handed.sealed.ct.len()), (1_120, 48));
    assert_eq!(subject().take(&handed, &scan_secret()).unwrap(), file);
    let stranger = XWingSecret::from_seed([11; 32]);
    assert_eq!(subject().take(&handed, &stranger), Err(OpeningFailed));
    let changes: [fn(&mut ScanSubject); 4] = [
        |s| s.tenant = TenantId::from_bytes([0; 16]),
        |s| s.upload_id = UploadId::from_bytes([0; 16]),
        |s| s.blob_sha256 = [0; 32],
        |s| s.commitment = FileCommitment([0; 32]),
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut other = subject();
        change(&mut other);
        assert_eq!(other.take(&handed, &scan_secret()), Err(OpeningFailed), "change {number}");
    }
    for byte in 0..48 {
        let mut changed = handed.clone();
        changed.sealed.ct[byte] ^= 1;
        assert_eq!(subject().take(&changed, &scan_secret()), Err(OpeningFailed), "byte {byte}");
    }
}

#[test]
fn what_is_sealed_for_something_else_or_is_no_key_is_not_taken() {
    let public = scan_secret().public();
    let rng = &mut test_rng(81);
    let handed = |sealed| HandOver { key_id: scan_key().key_id(), sealed };
    let elsewhere = public.seal_fresh(rng, b"sigilo/v1/seal", &subject().aad(), &[1; 32]).unwrap();
    assert_eq!(subject().take(&handed(elsewhere), &scan_secret()), Err(OpeningFailed));
    for length in [0, 31, 33] {
        let no_key = public.seal_fresh(rng, INFO, &subject().aad(), &vec![1; length]).unwrap();
        assert_eq!(subject().take(&handed(no_key), &scan_secret()), Err(OpeningFailed), "{length}");
    }
}
