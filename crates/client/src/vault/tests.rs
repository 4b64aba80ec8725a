//! What of a file is believed, and what is left of one that is not.

use std::{path::PathBuf, time::Duration};

use sigilo_seal::{
    ContentBody, Ed25519Secret, FileCommitment, FileKey, IdentitySecret, Refusal, ReleaseStatement, ScanKey,
    ScanResult, VaultFile, Verdict, XWingSecret,
    content::{FileRef, Thumbnail},
    file::io::FileSummary,
};
use sigilo_wire::{
    Base64, Base64Array, FileId, Timestamp, UploadId, UserId,
    event::EventType,
    vault::{
        DocumentType, FileChanged, FileStatus, Handling, ScanStatus, ScannerStatement, SignedRelease,
        StoredFile,
    },
};

use super::{
    blobs::seal_into,
    download::{Failure, Promised, open_into},
    records::{FileNews, OwnFile, Part, Upload},
    *,
};
use crate::{
    profile::records::{Contact, MessageKey, OutboxItem},
    testing::{Clinic, NOW, World, rng},
};

const FILE: FileId = FileId::from_bytes([21; 16]);
const HASH: [u8; 32] = [22; 32];
const COMMITMENT: [u8; 32] = [23; 32];

/// What the server says of a file of Ana's.
fn stored(world: &World) -> StoredFile {
    StoredFile {
        file_id: FILE,
        upload_id: UploadId::from_bytes([24; 16]),
        conversation_id: world.conversation,
        uploader_id: world.ana.user,
        mime_type: "application/pdf".into(),
        length: 100,
        sha256: Base64Array(HASH),
        commitment: Base64Array(COMMITMENT),
        document_type: DocumentType::LabResult,
        related_appointment: None,
        thumbnail_of: None,
        handling: Handling::default(),
        status: FileStatus::Active,
        virus_scan: ScanStatus::Clean,
        rescan_key_needed: false,
        verdict: None,
        releases: Vec::new(),
        patient_consents: None,
        downloads: 0,
        content_url: None,
        uploaded_at: NOW,
    }
}

fn verdict(clinic: &Clinic, seconds: i64, result: ScanResult) -> Verdict {
    Verdict {
        file: VaultFile {
            tenant: clinic.tenant,
            file_id: FILE,
            blob_sha256: HASH,
            commitment: FileCommitment(COMMITMENT),
        },
        engine: "ClamAV 1.4.3".into(),
        database: "27800".into(),
        scanned_at: Timestamp::from_micros(NOW.micros() + seconds * 1_000_000),
        result,
    }
}

fn signed(verdict: &Verdict, by: &Ed25519Secret) -> Option<ScannerStatement> {
    let signed = verdict.sign(by).unwrap();
    Some(ScannerStatement { statement: Base64(signed.statement), signature: Base64Array(signed.signature) })
}

fn found() -> ScanResult {
    ScanResult::Infected("Pdf.Exploit-1".into())
}

/// Why María's device does not open a file of which the server shows this; `None` when it does.
async fn refusal(world: &World, file: &StoredFile) -> Option<String> {
    match world.maria.engine.may_open(file).await {
        Ok(_) => None,
        Err(error @ (Error::FileRefused(_) | Error::FileWaits(_))) => Some(error.to_string()),
        // Whatever would have needed the server.
        Err(Error::LoggedOut) => Some("nobody to ask".to_owned()),
        Err(error) => panic!("{error}"),
    }
}

async fn shows(world: &World, seconds: i64, result: ScanResult) -> Option<String> {
    let verdict = signed(&verdict(&world.clinic, seconds, result), &world.clinic.scanner);
    refusal(world, &StoredFile { verdict, ..stored(world) }).await
}

#[tokio::test]
async fn a_file_is_opened_under_a_clean_verdict_of_the_clinics_scanner_only() {
    let world = World::new().await;
    let waits = refusal(&world, &stored(&world)).await.unwrap();
    assert!(waits.contains("waits for its scan"), "{waits}");
    let clean = verdict(&world.clinic, 0, ScanResult::Clean);
    let by =
        |verdict: &Verdict, by: &Ed25519Secret| StoredFile { verdict: signed(verdict, by), ..stored(&world) };
    // Another key may be one that this device has not heard of: it asks, and there is nobody here.
    let forged = refusal(&world, &by(&clean, &world.clinic.receipt)).await;
    assert_eq!(forged.as_deref(), Some("nobody to ask"));
    type Change = fn(&mut Verdict);
    let others: [(Change, &str); 4] = [
        (|v| v.file.file_id = FileId::from_bytes([9; 16]), "another file"),
        (|v| v.file.blob_sha256 = [9; 32], "another file"),
        (|v| v.file.commitment = FileCommitment([9; 32]), "another file"),
        (|v| v.scanned_at = NOW + Duration::from_secs(601), "a time to come"),
    ];
    for (change, problem) in others {
        let mut other = clean.clone();
        change(&mut other);
        let refused = refusal(&world, &by(&other, &world.clinic.scanner)).await.unwrap();
        assert!(refused.contains(problem), "{refused}");
    }
    for (status, problem) in [(FileStatus::Expired, "its time is over"), (FileStatus::Destroyed, "destroyed")]
    {
        let file = StoredFile { status, ..by(&clean, &world.clinic.scanner) };
        assert!(refusal(&world, &file).await.unwrap().contains(problem));
    }
    assert_eq!(shows(&world, 600, ScanResult::Clean).await, None);
}

#[tokio::test]
async fn the_newest_verdict_counts_whatever_the_server_shows_later() {
    let world = World::new().await;
    assert_eq!(shows(&world, 1, ScanResult::Clean).await, None);
    let found = shows(&world, 2, found()).await.unwrap();
    assert!(found.contains("Pdf.Exploit-1"), "{found}");
    let again = shows(&world, 1, ScanResult::Clean).await.unwrap();
    assert!(again.contains("the server shows an older verdict"), "{again}");
    let withheld = refusal(&world, &stored(&world)).await.unwrap();
    assert!(withheld.contains("the server shows an older verdict"), "{withheld}");
    let news: FileNews = world.maria.engine.profile.get(FILE.as_bytes()).await.unwrap().unwrap();
    assert_eq!((news.scan, news.recalled_at), (ScanStatus::Infected, Some(NOW)), "it is recalled");
    let refused = shows(&world, 3, ScanResult::Refused(Refusal::EncryptedArchive)).await.unwrap();
    assert!(refused.contains("encrypted_archive"), "{refused}");
    assert_eq!(shows(&world, 4, ScanResult::Clean).await, None, "a later scan clears it");
}

#[tokio::test]
async fn a_recall_that_was_heard_outweighs_the_verdict_of_before() {
    let world = World::new().await;
    let engine = &world.maria.engine;
    assert_eq!(shows(&world, 0, ScanResult::Clean).await, None);
    world.advance(Duration::from_secs(60));
    let blob = engine.profile.blobs().path(FILE);
    engine.profile.blobs().create().unwrap();
    std::fs::write(&blob, b"half of it").unwrap();
    let changed = FileChanged { file_id: FILE, virus_scan: ScanStatus::Infected };
    engine.file_changed(EventType::FileRecalled, changed).await.unwrap();
    assert!(!blob.exists(), "what was fetched of it is gone");
    let refused = shows(&world, 0, ScanResult::Clean).await.unwrap();
    assert!(refused.contains("it was recalled"), "{refused}");
    assert_eq!(shows(&world, 61, ScanResult::Clean).await, None, "scanned again since");
}

/// A moderator that María's device knows.
async fn moderator(world: &World, number: u8, name: &str) -> (UserId, IdentitySecret) {
    let (user, identity) = (UserId::from_bytes([number; 16]), IdentitySecret::generate(&mut rng(number)));
    let contact = Contact {
        name: Some(name.to_owned()),
        manifest: world.ana.contact.manifest.clone(),
        ..Contact::first_seen(user, identity.public(), NOW)
    };
    world.maria.engine.profile.put(&contact).await.unwrap();
    (user, identity)
}

fn word(verdict: &Verdict, (user, identity): &(UserId, IdentitySecret)) -> SignedRelease {
    let said = ReleaseStatement::new(verdict, *user, NOW).sign(identity, &mut rng(9));
    SignedRelease { statement: Base64(said.statement), signature: Base64Array(said.signature) }
}

#[tokio::test]
async fn a_false_alarm_is_opened_on_the_word_of_two_who_are_named() {
    let world = World::new().await;
    let (eva, luis) = (moderator(&world, 31, "Eva").await, moderator(&world, 32, "Luis").await);
    let ana = (world.ana.user, IdentitySecret::from_bytes(*world.ana.identity.to_bytes()));
    let finding = verdict(&world.clinic, 0, found());
    let later = verdict(&world.clinic, 1, found());
    let shows = |verdict: &Verdict, releases: Vec<SignedRelease>| StoredFile {
        verdict: signed(verdict, &world.clinic.scanner),
        releases,
        ..stored(&world)
    };
    let (by_eva, by_luis) = (word(&finding, &eva), word(&finding, &luis));
    let forged = SignedRelease { signature: by_eva.signature, ..by_luis.clone() };
    for (releases, what) in [
        (vec![], "nobody"),
        (vec![by_eva.clone()], "one"),
        (vec![by_eva.clone(), by_eva.clone()], "one, twice"),
        (vec![by_eva.clone(), forged], "one, and a forgery"),
        (vec![by_eva.clone(), word(&finding, &ana)], "one, and who sent it"),
        (vec![by_eva.clone(), word(&later, &luis)], "one, and one about another verdict"),
    ] {
        assert!(refusal(&world, &shows(&finding, releases)).await.is_some(), "{what}");
    }
    let file = shows(&finding, vec![word(&finding, &ana), by_eva.clone(), by_luis.clone()]);
    let (_, released) = world.maria.engine.may_open(&file).await.unwrap();
    let names: Vec<_> = released.iter().map(|who| (who.name.as_deref(), who.verified)).collect();
    assert_eq!(names, [(Some("Eva"), false), (Some("Luis"), false)]);
    let found_again = shows(&later, vec![by_eva, by_luis]);
    assert!(refusal(&world, &found_again).await.is_some(), "a later finding counts again");
}

fn scan_key(clinic: &Clinic, hours: (i64, i64)) -> ScanKey {
    let hour = |number: i64| Timestamp::from_micros(NOW.micros() + number * 3_600_000_000);
    ScanKey {
        tenant: clinic.tenant,
        not_before: hour(hours.0),
        not_after: hour(hours.1),
        public_key: XWingSecret::generate(&mut rng(40)).public(),
    }
}

#[tokio::test]
async fn a_files_key_goes_to_a_scan_key_of_the_clinics_scanner_only() {
    let world = World::new().await;
    let engine = &world.ana.engine;
    let clinic = engine.clinic().await.unwrap();
    let good = scan_key(&world.clinic, (0, 1));
    assert_eq!(engine.verified(&good.sign(&world.clinic.scanner), &clinic).unwrap(), good);
    let foreign = ScanKey { tenant: sigilo_wire::TenantId::from_bytes([9; 16]), ..good.clone() };
    for (offered, problem) in [
        (good.sign(&world.clinic.receipt), "did not sign"),
        (foreign.sign(&world.clinic.scanner), "another clinic's"),
        (scan_key(&world.clinic, (-2, 0)).sign(&world.clinic.scanner), "has expired"),
        (scan_key(&world.clinic, (1, 2)).sign(&world.clinic.scanner), "not valid yet"),
        (scan_key(&world.clinic, (0, 3)).sign(&world.clinic.scanner), "not a scan key"),
    ] {
        let refused = engine.verified(&offered, &clinic).unwrap_err();
        assert!(matches!(&refused, Error::ScanKey(why) if why.contains(problem)), "{refused}");
    }
}

/// A file and its blob in a folder that goes away with the test.
struct Sealed {
    folder: tempfile::TempDir,
    plain: Vec<u8>,
    summary: FileSummary,
    key: FileKey,
}

impl Sealed {
    fn new(length: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let plain: Vec<u8> = (0..length).map(|place| u8::try_from(place * 7 % 251).unwrap()).collect();
        let key = FileKey::from_bytes([50; 32]);
        let reader = sigilo_seal::file::io::SealReader::new(
            std::io::BufReader::new(plain.as_slice()),
            &key,
            u64::MAX,
            &mut rng(51),
        );
        let summary = seal_into(reader, &folder.path().join("blob")).unwrap();
        Self { folder, plain, summary, key }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn promised(&self) -> Promised {
        Promised {
            key: self.key.clone(),
            size: self.summary.plain_len,
            sha256: self.summary.blob_sha256,
            commitment: self.summary.commitment,
        }
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[test]
fn a_file_is_where_it_should_be_only_when_all_of_it_is_good() {
    for length in [0, 1, 65_536, 200_000] {
        let sealed = Sealed::new(length);
        assert!(open_into(&sealed.path("blob"), &sealed.promised(), &sealed.path("out")).is_ok());
        assert_eq!(std::fs::read(sealed.path("out")).unwrap(), sealed.plain);
        assert_eq!(sealed.names(), ["blob", "out"]);
    }
    let sealed = Sealed::new(200_000);
    let blob = std::fs::read(sealed.path("blob")).unwrap();
    let other = Sealed::new(200_000 - 1);
    type Change<'a> = Box<dyn Fn(&mut Vec<u8>, &mut Promised) + 'a>;
    let changes: [(&str, Change<'_>); 7] = [
        ("cut", Box::new(|blob, _| blob.truncate(100_000))),
        ("cut at a segment", Box::new(|blob, _| blob.truncate(64 + 65_552))),
        ("a bit", Box::new(|blob, _| blob[150_000] ^= 1)),
        ("longer", Box::new(|blob, _| blob.push(0))),
        (
            "another blob under the same key",
            Box::new(|blob, promised| {
                *blob = std::fs::read(other.path("blob")).unwrap();
                promised.size -= 1;
            }),
        ),
        ("another length than the message says", Box::new(|_, promised| promised.size += 1)),
        (
            "a verdict about another key",
            Box::new(|_, promised| promised.commitment = FileCommitment([1; 32])),
        ),
    ];
    for (what, change) in changes {
        let (mut bytes, mut promised) = (blob.clone(), sealed.promised());
        change(&mut bytes, &mut promised);
        std::fs::write(sealed.path("changed"), bytes).unwrap();
        let refused = open_into(&sealed.path("changed"), &promised, &sealed.path("out"));
        assert!(matches!(refused, Err(Failure::Blob(_))), "{what}");
        assert_eq!(sealed.names(), ["blob", "changed"], "{what}: nothing is left of it");
    }
    std::fs::write(sealed.path("out"), "there already").unwrap();
    let refused = open_into(&sealed.path("blob"), &sealed.promised(), &sealed.path("out"));
    assert!(matches!(refused, Err(Failure::Io(_))));
    assert_eq!(std::fs::read(sealed.path("out")).unwrap(), b"there already");
}

fn named(number: u8) -> FileRef {
    let thumbnail = Thumbnail {
        file_id: FileId::from_bytes([number + 1; 16]),
        key: FileKey::from_bytes([61; 32]),
        mime: "image/jpeg".into(),
        size: 5,
        sha256: Base64Array([number + 1; 32]),
    };
    FileRef {
        file_id: FileId::from_bytes([number; 16]),
        key: FileKey::from_bytes([60; 32]),
        name: format!("result {number}.pdf"),
        mime: "application/pdf".into(),
        size: 6,
        sha256: Base64Array([number; 32]),
        thumbnail: Some(thumbnail),
    }
}

#[tokio::test]
async fn files_are_found_by_their_names_as_long_as_their_sender_signed_for_them() {
    let mut world = World::new().await;
    let first = world.write_files(true, vec![named(70), named(72)]).await;
    let second = world.write_files(true, vec![named(74)]).await;
    world.maria.engine.receive(first).await.unwrap();
    world.maria.engine.receive(second.clone()).await.unwrap();
    let engine = &world.maria.engine;
    let names = async |limit| -> Vec<String> {
        let files = engine.files(world.conversation, limit).await.unwrap();
        files.into_iter().map(|file| file.name).collect()
    };
    assert_eq!(names(10).await, ["result 70.pdf", "result 72.pdf", "result 74.pdf"]);
    assert_eq!(names(2).await, ["result 72.pdf", "result 74.pdf"]);
    let small = engine.brought(FileId::from_bytes([75; 16])).await.unwrap();
    assert_eq!((small.size, small.sha256, small.sender), (5, [75; 32], world.ana.user));
    assert!(matches!(engine.brought(FileId::from_bytes([99; 16])).await, Err(Error::Unknown(_))));

    // A sender that names one file to the clinic and brings the key of another.
    let key = MessageKey::of(&second.message);
    let mut kept: StoredMessage = engine.profile.get(&key.bytes()).await.unwrap().unwrap();
    kept.message.attachments[0].sha256 = Base64Array([1; 32]);
    engine.profile.put(&kept).await.unwrap();
    let refused = engine.brought(FileId::from_bytes([74; 16])).await.err().unwrap();
    assert!(matches!(&refused, Error::FileRefused(why) if why.contains("did not sign")), "{refused}");
    // What is not its sender's brings nothing.
    kept.message.attachments[0].sha256 = Base64Array([74; 32]);
    kept.verification = crate::Verification::NotAuthentic(crate::NotAuthenticReason::Signature);
    engine.profile.put(&kept).await.unwrap();
    assert!(matches!(engine.brought(FileId::from_bytes([74; 16])).await, Err(Error::Unknown(_))));
}

#[tokio::test]
async fn a_message_is_written_once_when_its_file_is_there() {
    let world = World::new().await;
    let (engine, folder) = (&world.ana.engine, tempfile::tempdir().unwrap());
    let path = folder.path().join("result.png");
    std::fs::write(&path, vec![7; 100_000]).unwrap();
    let mut file = NewAttachment::new(&path);
    file.text = Some("de esta mañana".into());
    file.thumbnail = Some(("image/png".into(), vec![1, 2, 3]));
    let id = engine.begin_upload(world.conversation, file, SendOptions::default()).await.unwrap();
    let mut upload: Upload = engine.profile.get(id.as_bytes()).await.unwrap().unwrap();
    let blobs: Vec<_> = upload
        .parts
        .iter()
        .map(|part| engine.profile.blobs().length(Blobs::outgoing(part.upload_id)))
        .collect();
    assert_eq!(blobs, [64 + 100_000 + 2 * 16, 64 + 3 + 16]);
    // What a sealing that was cut has left goes; what waits stays.
    let left = [Blobs::outgoing(UploadId::from_bytes([1; 16])), "cut.out.unsealed".to_owned()];
    let left = left.map(|name| engine.profile.blobs().path(name));
    left.iter().for_each(|path| std::fs::write(path, "left").unwrap());
    engine.sweep_blobs().await.unwrap();
    assert!(left.iter().all(|path| !path.exists()));
    let outgoing = |part: &Part| engine.profile.blobs().path(Blobs::outgoing(part.upload_id));
    assert!(upload.parts.iter().map(outgoing).all(|path| path.exists()));
    engine.queue_uploaded().await.unwrap();
    assert!(engine.waiting(world.conversation).await.unwrap().is_empty(), "it is not there yet");

    for (place, part) in upload.parts.iter_mut().enumerate() {
        part.file_id = Some(FileId::from_bytes([80 + u8::try_from(place).unwrap(); 16]));
    }
    engine.profile.put(&upload).await.unwrap();
    engine.queue_uploaded().await.unwrap();
    engine.queue_uploaded().await.unwrap();
    let waiting = engine.waiting(world.conversation).await.unwrap();
    assert_eq!(waiting.len(), 1);
    let mut item: OutboxItem = waiting.into_iter().next().unwrap();
    engine.prepare(&mut item).await.unwrap();
    let request = item.sealed.unwrap().request;
    assert_eq!(request.client_message_id, id);
    assert_eq!(request.message_type, sigilo_wire::message::MessageKind::Image);
    let named: Vec<_> = request.attachments.iter().map(|a| (a.file_id, a.sha256)).collect();
    let sent: Vec<_> = upload.parts.iter().map(|part| (part.file_id.unwrap(), part.sha256)).collect();
    assert_eq!(named, sent);
    let content = sigilo_seal::Content::parse("image", &item.draft.content.0).unwrap();
    let ContentBody::File(files) = content.body else { panic!("not a file") };
    assert_eq!(files.text.as_deref(), Some("de esta mañana"));
    assert_eq!((files.files[0].name.as_str(), files.files[0].size), ("result.png", 100_000));
    assert!(engine.profile.get::<Upload>(id.as_bytes()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_scanner_that_lost_a_key_is_not_forgotten() {
    let world = World::new().await;
    let engine = &world.ana.engine;
    let changed = FileChanged { file_id: FILE, virus_scan: ScanStatus::Pending };
    engine.file_changed(EventType::RescanKeyNeeded, changed.clone()).await.unwrap();
    let own = OwnFile {
        file_id: FILE,
        upload_id: UploadId::from_bytes([24; 16]),
        key: crate::profile::records::SecretBytes(vec![1; 32]),
        sha256: Base64Array(HASH),
        commitment: Base64Array(COMMITMENT),
        key_needed: false,
    };
    engine.profile.put(&own).await.unwrap();
    engine.file_changed(EventType::RescanKeyNeeded, changed).await.unwrap();
    // There is no connection: it stays to be done.
    engine.hand_over_keys().await.unwrap();
    let own: OwnFile = engine.profile.get(FILE.as_bytes()).await.unwrap().unwrap();
    assert!(own.key_needed);
    // After its first verdict nobody asks for it any more.
    for (virus_scan, kept) in [(ScanStatus::Unavailable, true), (ScanStatus::Clean, false)] {
        let scanned = FileChanged { file_id: FILE, virus_scan };
        engine.file_changed(EventType::FileScanned, scanned).await.unwrap();
        let own: Option<OwnFile> = engine.profile.get(FILE.as_bytes()).await.unwrap();
        assert_eq!(own.is_some(), kept, "{virus_scan}");
    }
}
