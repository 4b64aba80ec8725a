//! Which verdicts count.

use super::*;
use crate::{
    KeyPurpose,
    testing::{scanner_statement, vault_file},
};

const AT: Timestamp = Timestamp::from_micros(1_000_000_000);
const LATER: Timestamp = Timestamp::from_micros(1_000_000_001);

fn worker() -> Ed25519Secret {
    Ed25519Secret::from_seed([3; 32])
}

fn scanner() -> RootStatement {
    let not_after = Timestamp::from_micros(10_000_000_000);
    scanner_statement(vault_file().tenant, &worker(), Timestamp::from_micros(0), not_after)
}

fn verdict(result: ScanResult) -> Verdict {
    Verdict {
        file: vault_file(),
        engine: "ClamAV 1.4.3".into(),
        database: "27800".into(),
        scanned_at: AT,
        result,
    }
}

fn every_result() -> Vec<ScanResult> {
    let refused = Refusal::ALL.into_iter().map(ScanResult::Refused);
    refused.chain([ScanResult::Clean, ScanResult::Infected("Win.Test.EICAR_HDB-1".into())]).collect()
}

#[test]
fn a_verdict_is_read_back_and_verifies() {
    for result in every_result() {
        let verdict = verdict(result);
        let signed = verdict.sign(&worker()).unwrap();
        assert_eq!(signed.verify(&scanner(), &vault_file(), LATER), Ok(verdict.clone()));
        assert_eq!(verdict.digest(), sha256(&signed.statement));
    }
    let without_a_database = Verdict { database: String::new(), ..verdict(ScanResult::Clean) };
    let signed = without_a_database.sign(&worker()).unwrap();
    assert_eq!(signed.verify(&scanner(), &vault_file(), AT), Ok(without_a_database));
}

#[test]
fn a_verdict_of_anybody_else_or_on_another_file_is_refused() {
    let signed = verdict(ScanResult::Clean).sign(&worker()).unwrap();
    let stranger = verdict(ScanResult::Clean).sign(&Ed25519Secret::from_seed([4; 32])).unwrap();
    assert_eq!(stranger.verify(&scanner(), &vault_file(), AT), Err(VerdictError::Signature));
    let mut export = scanner();
    export.purpose = KeyPurpose::Export;
    let purpose = RootError::Purpose { expected: KeyPurpose::Scanner, actual: KeyPurpose::Export };
    assert_eq!(signed.verify(&export, &vault_file(), AT), Err(VerdictError::Scanner(purpose)));
    let others: [fn(&mut VaultFile); 4] = [
        |f| f.tenant = TenantId::from_bytes([0; 16]),
        |f| f.file_id = FileId::from_bytes([0; 16]),
        |f| f.blob_sha256 = [0; 32],
        |f| f.commitment = FileCommitment([0; 32]),
    ];
    for (number, change) in others.iter().enumerate() {
        let mut other = vault_file();
        change(&mut other);
        assert_eq!(signed.verify(&scanner(), &other, AT), Err(VerdictError::OtherFile), "change {number}");
        // Not even when the file and the verdict agree on another clinic.
        let verdict = Verdict { file: other, ..verdict(ScanResult::Clean) }.sign(&worker()).unwrap();
        let verified = verdict.verify(&scanner(), &other, AT);
        assert_eq!(verified.is_err(), other.tenant != vault_file().tenant, "change {number}");
    }
}

#[test]
fn the_key_must_have_been_in_force_at_the_time_of_the_verdict() {
    let signed = verdict(ScanResult::Clean).sign(&worker()).unwrap();
    let over = RootStatement { not_after: AT, ..scanner() };
    let refused = signed.verify(&over, &vault_file(), AT);
    assert_eq!(refused, Err(VerdictError::Scanner(RootError::Expired)));
    let to_come = RootStatement { not_before: LATER, ..scanner() };
    let refused = signed.verify(&to_come, &vault_file(), LATER);
    assert_eq!(refused, Err(VerdictError::Scanner(RootError::NotYetValid)));
    // A key whose time ended since then counts for what it signed in its time.
    let ended = RootStatement { not_after: LATER, ..scanner() };
    signed.verify(&ended, &vault_file(), Timestamp::from_micros(i64::MAX)).unwrap();
}

#[test]
fn a_verdict_of_a_time_to_come_is_refused() {
    let signed = verdict(ScanResult::Clean).sign(&worker()).unwrap();
    let earlier = |micros: i64| Timestamp::from_micros(AT.micros() - micros);
    assert!(signed.verify(&scanner(), &vault_file(), earlier(600_000_000)).is_ok());
    assert_eq!(signed.verify(&scanner(), &vault_file(), earlier(600_000_001)), Err(VerdictError::Future));
}

#[test]
fn every_changed_byte_is_refused() {
    let signed = verdict(ScanResult::Infected("Eicar".into())).sign(&worker()).unwrap();
    for byte in 0..signed.statement.len() {
        let mut changed = signed.clone();
        changed.statement[byte] ^= 1;
        assert!(changed.verify(&scanner(), &vault_file(), AT).is_err(), "byte {byte}");
    }
    for byte in 0..64 {
        let mut changed = signed.clone();
        changed.signature[byte] ^= 1;
        let refused = changed.verify(&scanner(), &vault_file(), AT);
        assert_eq!(refused, Err(VerdictError::Signature), "byte {byte}");
    }
}

#[test]
fn what_is_no_verdict_is_neither_read_nor_signed() {
    let refused = |change: &dyn Fn(&mut Verdict), field| {
        let mut verdict = verdict(ScanResult::Clean);
        change(&mut verdict);
        assert_eq!(verdict.sign(&worker()), Err(DecodeError::Value(field)));
    };
    refused(&|v| v.engine.clear(), "engine");
    refused(&|v| v.engine = "Clam\nAV".into(), "engine");
    refused(&|v| v.database = "\u{9b}31m".into(), "database");
    refused(&|v| v.result = ScanResult::Infected(String::new()), "detail");
    refused(&|v| v.result = ScanResult::Infected("x".repeat(201)), "detail");
    let statement = verdict(ScanResult::Clean).encode();
    for end in 0..statement.len() {
        assert!(Verdict::decode(&statement[..end]).is_err(), "{end}");
    }
    assert_eq!(Verdict::decode(&[&statement[..], &[0]].concat()), Err(DecodeError::Trailing));
    let ending = |result: &[u8], detail: &[u8]| {
        let mut writer = Writer::new();
        writer.raw(&statement[..statement.len() - 13]).lp(result).lp(detail);
        Verdict::decode(writer.as_bytes())
    };
    assert!(ending(b"clean", b"").is_ok());
    assert_eq!(ending(b"clean", b"type"), Err(DecodeError::Value("detail")));
    assert_eq!(ending(b"refused", b""), Err(DecodeError::Value("detail")));
    assert_eq!(ending(b"refused", b"taste"), Err(DecodeError::Value("detail")));
    assert_eq!(ending(b"infected", &[0xff]), Err(DecodeError::Value("detail")));
    assert_eq!(ending(b"unavailable", b""), Err(DecodeError::Value("result")));
}

#[test]
fn the_newest_verdict_counts_and_of_one_instant_the_worst() {
    let [clean, refused, infected] = [
        verdict(ScanResult::Clean),
        verdict(ScanResult::Refused(Refusal::Limits)),
        verdict(ScanResult::Infected("Eicar".into())),
    ];
    assert!(infected.overrules(&refused) && refused.overrules(&clean) && infected.overrules(&clean));
    assert!(!clean.overrules(&infected) && !clean.overrules(&clean));
    let recall = Verdict { scanned_at: LATER, ..infected.clone() };
    assert!(recall.overrules(&clean) && !clean.overrules(&recall));
    let cleared = Verdict { scanned_at: LATER, ..clean };
    assert!(cleared.overrules(&infected) && !infected.overrules(&cleared));
}
