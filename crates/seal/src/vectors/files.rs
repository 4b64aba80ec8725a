//! The vectors of the vault: files, the hand-over to the scan, verdicts and releases.

use sigilo_wire::{FileId, UploadId};

use super::*;
use crate::{
    FileCommitment, FileKey, FileSealer, Refusal, Release, ReleaseNeed, ReleaseStatement, ScanKey,
    ScanResult, ScanSubject, VaultFile, Verdict,
    file::{SEGMENT_LENGTH, sealed_len},
    primitives::hkdf_salted,
};

fn scanner() -> Ed25519Secret {
    Ed25519Secret::from_seed([0x1e; 32])
}

fn scanner_statement() -> RootStatement {
    RootStatement {
        purpose: KeyPurpose::Scanner,
        public_key: scanner().public().to_bytes().to_vec(),
        ..records_statement()
    }
}

fn vault_file() -> VaultFile {
    VaultFile {
        tenant: TENANT,
        file_id: FileId::from_bytes([0xa7; 16]),
        blob_sha256: [0x61; 32],
        commitment: FileCommitment([0x62; 32]),
    }
}

fn file_json(file: &VaultFile) -> Value {
    json!({
        "tenant": file.tenant, "file_id": file.file_id, "blob_sha256": b64(file.blob_sha256),
        "commitment": file.commitment,
    })
}

#[test]
fn file_vectors() {
    // Every file has a salt of its own under the one key.
    let key = FileKey::from_bytes([0x1f; 32]);
    let lengths = [0, 20, SEGMENT_LENGTH, SEGMENT_LENGTH + 1];
    let files = lengths.into_iter().zip(0x71..).map(|(length, salt)| {
        let plain: Vec<u8> = (0u8..251).cycle().take(length).collect();
        let mut sealer = FileSealer::new(&key, u64::MAX, &mut Constant(salt));
        let derived = hkdf_salted::<71>(key.as_bytes(), &[salt; 32], b"sigilo/v1/file");
        let (mut blob, mut segments) = (sealer.head().to_bytes().to_vec(), Vec::new());
        let count = length.div_ceil(SEGMENT_LENGTH).max(1);
        for number in 0..count {
            let end = length.min((number + 1) * SEGMENT_LENGTH);
            let last = number + 1 == count;
            let sealed = sealer.segment(&plain[number * SEGMENT_LENGTH..end], last).unwrap();
            let nonce = [&derived[32..39], &(number as u32).to_be_bytes(), &[u8::from(last)]].concat();
            let tag = &sealed[sealed.len() - 16..];
            segments.push(json!({"nonce": b64(nonce), "length": sealed.len(), "tag": b64(tag)}));
            blob.extend_from_slice(&sealed);
        }
        assert_eq!(sealed_len(length as u64), Ok(blob.len() as u64));
        json!({
            "length": length, "salt": b64([salt; 32]), "key": b64(&derived[..32]),
            "prefix": b64(&derived[32..39]), "commitment": sealer.head().commitment, "segments": segments,
            "blob": if length < 100 { b64(&blob) } else { String::new() },
            "blob_length": blob.len(), "blob_sha256": b64(sha256(&blob)),
        })
    });
    agree("file", &json!({"FK": b64([0x1f; 32]), "files": files.collect::<Vec<_>>()}));
}

#[test]
fn scan_vectors() {
    let secret = XWingSecret::from_seed([0x20; 32]);
    let key = ScanKey {
        tenant: TENANT,
        not_before: NOW,
        not_after: Timestamp::from_micros(NOW.micros() + 7_200_000_000),
        public_key: secret.public(),
    };
    let signed = key.sign(&scanner());
    assert_eq!(signed.verify(&scanner_statement(), NOW).unwrap(), key);
    let subject = ScanSubject {
        tenant: TENANT,
        upload_id: UploadId::from_bytes([0xa8; 16]),
        blob_sha256: [0x61; 32],
        commitment: FileCommitment([0x62; 32]),
    };
    let file = FileKey::from_bytes([0x1f; 32]);
    let handed = subject.hand_over(&file, &key, &mut Constant(0x26)).unwrap();
    assert_eq!(subject.take(&handed, &secret).unwrap(), file);
    agree(
        "scan",
        &json!({
            "tenant": TENANT, "scanner_seed": b64([0x1e; 32]), "scanner_public_key": scanner().public(),
            "scan_seed": b64([0x20; 32]), "scan_public_key": b64(key.public_key.as_bytes()),
            "not_before": key.not_before, "not_after": key.not_after, "statement": b64(&signed.statement),
            "signature": b64(signed.signature), "key_id": key.key_id(), "upload_id": subject.upload_id,
            "blob_sha256": b64(subject.blob_sha256), "commitment": subject.commitment, "aad": b64(subject.aad()),
            "FK": b64([0x1f; 32]), "random": b64([0x26; 64]), "enc": b64(&handed.sealed.enc),
            "ct": b64(&handed.sealed.ct),
        }),
    );
}

fn verdict(result: ScanResult) -> Verdict {
    Verdict {
        file: vault_file(),
        engine: "ClamAV 1.4.3".into(),
        database: "27800".into(),
        scanned_at: NOW,
        result,
    }
}

fn infected() -> Verdict {
    verdict(ScanResult::Infected("Pdf.Example-1".into()))
}

#[test]
fn verdict_vectors() {
    let without_a_database = Verdict { database: String::new(), ..verdict(ScanResult::Clean) };
    let refused = verdict(ScanResult::Refused(Refusal::EncryptedArchive));
    let verdicts = [
        (without_a_database, ""),
        (infected(), "Pdf.Example-1"),
        (refused, Refusal::EncryptedArchive.as_str()),
    ];
    let vectors = verdicts.map(|(verdict, detail)| {
        let signed = verdict.sign(&scanner()).unwrap();
        assert_eq!(signed.verify(&scanner_statement(), &vault_file(), NOW), Ok(verdict.clone()));
        json!({
            "engine": verdict.engine, "database": verdict.database, "scanned_at": verdict.scanned_at,
            "result": verdict.result.as_str(), "detail": detail, "statement": b64(&signed.statement),
            "signature": b64(signed.signature), "sha256": b64(verdict.digest()),
        })
    });
    agree(
        "verdict",
        &json!({
            "scanner_seed": b64([0x1e; 32]), "scanner_public_key": scanner().public(),
            "file": file_json(&vault_file()), "verdicts": vectors,
        }),
    );
}

#[test]
fn release_vectors() {
    let other = IdentitySecret::from_bytes([0x1a; 32]);
    let said = |signer, identity: &IdentitySecret| {
        ReleaseStatement::new(&infected(), signer, NOW).sign(identity, &mut Constant(0x27))
    };
    let release = Release { first: said(USER, &identity()), second: said(OTHER_USER, &other) };
    let need = ReleaseNeed { verdict: &infected(), uploader: UserId::from_bytes([0xa9; 16]) };
    release.verify(&need, [&identity().public(), &other.public()]).unwrap();
    let statements = [(&release.first, USER, identity()), (&release.second, OTHER_USER, other.clone())].map(
        |(signed, signer, identity)| {
            json!({
                "signer": signer, "signed_at": NOW, "identity_private_key": b64(*identity.to_bytes()),
                "identity_key": identity.public(), "random": b64([0x27; 64]),
                "statement": b64(&signed.statement), "signature": b64(signed.signature),
            })
        },
    );
    agree(
        "release",
        &json!({
            "file": file_json(&vault_file()), "verdict": b64(infected().encode()),
            "uploader": need.uploader, "statements": statements,
        }),
    );
}
