//! Files, from phone to phone.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use sigilo::{
    fetch_all,
    scanner::{Desk as _, Outcome},
    vault::scan::VaultDesk,
};
use sigilo_client::{
    ClientEvent, Error, NewAttachment, NewConversation, SendOptions, SendState, ShownMessage,
    TransferProgress,
};
use sigilo_seal::{Ed25519Secret, ScanKey, ScanResult, Verdict, XWingSecret, file::io::OpenReader};
use sigilo_wire::{
    ConversationId, ErrorCode, FileId,
    event::EventType,
    vault::{DocumentType, ScanStatus},
};
use tokio::io::AsyncReadExt as _;

use crate::{
    people::{Device, World},
    support::{Engine, TestServer, proxy::Proxy, socket::eventually},
};

/// The scan worker of the clinic, under the test's control: it opens what it is handed, and finds what the test wants.
pub struct Scanner<'a> {
    world: &'a World<'a>,
    desk: VaultDesk,
    secret: Ed25519Secret,
    scan_key: XWingSecret,
}

impl<'a> Scanner<'a> {
    /// With a scan key that it offers.
    pub async fn start(world: &'a World<'a>) -> Self {
        let (app, clinic) = (&world.server.app, world.clinic.id);
        let file = app.config.storage.data.join(format!("scanner/{clinic}.key"));
        let seed: [u8; 32] = std::fs::read(file).unwrap().try_into().unwrap();
        let secret = Ed25519Secret::from_seed(seed);
        let scan_key = XWingSecret::generate(&mut rand_core::UnwrapErr(getrandom::SysRng));
        let now = app.clock.now();
        let offered = ScanKey {
            tenant: clinic,
            not_before: now - Duration::from_secs(60),
            not_after: now + Duration::from_secs(3600),
            public_key: scan_key.public(),
        };
        let desk = VaultDesk::new(Arc::clone(app));
        desk.publish(offered.sign(&secret), &offered).await.unwrap();
        Self { world, desk, secret, scan_key }
    }

    /// Looks into the next file that waits, which must be this one, and finds this.
    pub async fn finds(&self, file: FileId, result: ScanResult) {
        let job = self.desk.next().await.unwrap().expect("its key was handed over");
        assert_eq!(job.file.file_id, file);
        let key = job.subject().take(&job.handed, &self.scan_key).unwrap();
        let mut blob = Vec::new();
        self.desk.blob(&job).await.unwrap().read_to_end(&mut blob).await.unwrap();
        let mut opened = OpenReader::new(blob.as_slice(), &key, u64::MAX).unwrap();
        std::io::copy(&mut opened, &mut std::io::sink()).unwrap();
        assert_eq!(opened.finish().unwrap().blob_sha256, job.file.blob_sha256);
        let verdict = Verdict {
            file: job.file,
            engine: "ClamAV 1.4.3".into(),
            database: String::new(),
            scanned_at: self.world.server.app.clock.now(),
            result,
        };
        let signed = verdict.sign(&self.secret).unwrap();
        self.desk.done(&job, Outcome::Verdict(signed)).await.unwrap();
    }
}

/// What nobody wants to open.
pub fn infected() -> ScanResult {
    ScanResult::Infected("Pdf.Exploit-1".into())
}

/// Bytes that no other file has.
pub fn bytes(length: usize, seed: u8) -> Vec<u8> {
    let mut state = u64::from(seed) + 1;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[1]
    };
    b"%PDF-1.4\n".iter().copied().chain(std::iter::repeat_with(next)).take(length).collect()
}

struct Phones<'a> {
    ana: Device,
    maria: Device,
    conversation: ConversationId,
    world: &'a World<'a>,
}

impl<'a> Phones<'a> {
    pub async fn start(world: &'a World<'a>, ana: Device, maria: Device) -> Self {
        let new = NewConversation::default();
        let conversation = ana.client.start_conversation(maria.user, new).await.unwrap().id;
        Self { ana, maria, conversation, world }
    }

    /// A file on Ana's phone.
    fn file(&self, name: &str, content: &[u8]) -> NewAttachment {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        NewAttachment { document_type: Some(DocumentType::LabResult), ..NewAttachment::new(path) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.world.folder.path().join(name)
    }

    /// Ana sends it; gives the file.
    async fn sends(&self, file: NewAttachment) -> FileId {
        let sent =
            self.ana.client.send_file(self.conversation, file, SendOptions::default(), |_| {}).await.unwrap();
        file_of(sent.accepted().unwrap())
    }

    async fn arrives(&mut self) -> ShownMessage {
        let message = |event: &ClientEvent| match event {
            ClientEvent::Message(message)
                if message.content.as_ref().is_some_and(|c| !c.files().is_empty()) =>
            {
                Some(message.clone())
            }
            _ => None,
        };
        *self.maria.wait("file", message).await
    }

    async fn saves(&self, file: FileId, name: &str) -> Result<Vec<u8>, Error> {
        let path = self.path(name);
        let saved = self.maria.client.save_file(file, path.clone(), |_| {}).await;
        assert_eq!(saved.is_ok(), path.exists(), "{saved:?}");
        saved.map(|_| std::fs::read(path).unwrap())
    }

    async fn end(self) {
        self.ana.end().await;
        self.maria.end().await;
    }
}

pub fn file_of(message: &ShownMessage) -> FileId {
    message.content.as_ref().unwrap().files()[0].file_id
}

fn refused(result: Result<Vec<u8>, Error>) -> String {
    match result {
        Err(Error::FileRefused(why)) => why,
        other => panic!("{:?}", other.map(|bytes| bytes.len())),
    }
}

#[tokio::test]
async fn a_lab_result_goes_from_phone_to_phone_byte_for_byte() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let server = TestServer::start(engine).await;
        let world = World::new(&server).await;
        let (ana, mut maria) = (world.ana().await, world.maria().await);
        maria.connected().await;
        let mut phones = Phones::start(&world, ana, maria).await;
        let scanner = Scanner::start(&world).await;
        for (number, length) in [(1, 9), (2, 200_000), (3, 1_500_000)] {
            let content = bytes(length, number);
            let name = format!("result-{number}.pdf");
            let file = NewAttachment { text: Some("de hoy".into()), ..phones.file(&name, &content) };
            let id = phones.sends(file).await;
            let message = phones.arrives().await;
            crate::people::check(&message);
            assert_eq!((file_of(&message), message.text()), (id, Some("de hoy")));
            assert_eq!(message.attachments[0].status, ScanStatus::Pending);
            let early = phones.saves(id, "early").await;
            assert!(matches!(early, Err(Error::FileWaits(ScanStatus::Pending))), "{early:?}");
            scanner.finds(id, ScanResult::Clean).await;
            assert!(phones.saves(id, &format!("saved-{number}")).await.unwrap() == content, "{length} bytes");
            let again = phones.maria.client.save_file(id, phones.path(&name), |_| {}).await;
            assert!(matches!(again, Err(Error::File(_))), "nothing is written over");
        }
        let listed = phones.maria.client.files(phones.conversation, 10).await.unwrap();
        let names: Vec<_> = listed.iter().map(|file| (file.name.as_str(), file.size)).collect();
        assert_eq!(names, [("result-1.pdf", 9), ("result-2.pdf", 200_000), ("result-3.pdf", 1_500_000)]);
        let left = std::fs::read_dir(phones.world.folder.path().join("maria.profile.files")).unwrap().count();
        assert_eq!(left, 0, "what was fetched is gone once it is saved");
        phones.end().await;
        server.finish().await;
    }
}

#[tokio::test]
async fn an_upload_that_is_cut_goes_on_where_it_was_also_after_a_restart() {
    let server = TestServer::start(Engine::Sqlite).await;
    let world = World::new(&server).await;
    let proxy = Arc::new(Proxy::start(&server).await);
    let (ana, mut maria) = (world.ana_through(&proxy).await, world.maria().await);
    maria.connected().await;
    let mut phones = Phones::start(&world, ana, maria).await;
    let scanner = Scanner::start(&world).await;
    let content = bytes(3_500_000, 1);
    let file = phones.file("long.pdf", &content);

    // After the first piece there is no line any more, for as long as anybody would wait.
    let line = Arc::clone(&proxy);
    let (client, conversation) = (phones.ana.client.clone(), phones.conversation);
    let (reached, came) = tokio::sync::oneshot::channel();
    let mut reached = Some(reached);
    let sending = tokio::spawn(async move {
        let cut = move |progress: &TransferProgress| {
            if progress.done > 0 && progress.done < progress.total {
                line.down();
                reached.take().map(|reached| reached.send(progress.done));
            }
        };
        client.send_file(conversation, file, SendOptions::default(), cut).await
    });
    let done = came.await.unwrap();
    assert!(done >= 1024 * 1024, "{done}");
    let path = phones.ana.path.clone();
    phones.ana.client.shutdown().await.unwrap();
    let cut = sending.await.unwrap();
    assert!(matches!(cut, Err(Error::Closed)), "{cut:?}");

    proxy.up();
    phones.ana = Device::again(path).await;
    phones.ana.connected().await;
    let id = file_of(&phones.arrives().await);
    let pieces = proxy.passed("/api/chat/uploads/");
    let sent: usize = pieces.iter().map(|piece| piece.body.len()).sum();
    assert!(sent < content.len() + 2 * 1024 * 1024, "{sent} bytes: the first piece is not sent again");
    scanner.finds(id, ScanResult::Clean).await;
    assert!(phones.saves(id, "saved").await.unwrap() == content);
    let history = phones.maria.client.history(phones.conversation, 10).await.unwrap();
    assert_eq!(history.len(), 1, "it arrived once");
    phones.end().await;
    server.finish().await;
}

#[tokio::test]
async fn a_download_that_is_cut_goes_on_where_it_was() {
    let server = TestServer::start(Engine::Sqlite).await;
    let world = World::new(&server).await;
    let proxy = Proxy::start(&server).await;
    let (ana, mut maria) = (world.ana().await, world.maria_through(&proxy).await);
    maria.connected().await;
    let mut phones = Phones::start(&world, ana, maria).await;
    let scanner = Scanner::start(&world).await;
    let content = bytes(1_000_000, 1);
    let file = phones.file("long.pdf", &content);
    let id = phones.sends(file).await;
    phones.arrives().await;
    scanner.finds(id, ScanResult::Clean).await;
    proxy.cut_answers("/content/", 400_000);
    let starts = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&starts);
    let path = phones.path("saved");
    let tell = move |progress: &TransferProgress| _ = told.fetch_max(progress.done, Ordering::SeqCst);
    phones.maria.client.save_file(id, path.clone(), tell).await.unwrap();
    assert!(std::fs::read(path).unwrap() == content);
    assert_eq!(proxy.passed("/content/").len(), 3, "400,000 bytes at a time");
    assert!(starts.load(Ordering::SeqCst) > 1_000_000);
    phones.end().await;
    server.finish().await;
}

#[tokio::test]
async fn without_a_line_a_file_waits_and_goes_out_by_itself() {
    let server = TestServer::start(Engine::Sqlite).await;
    let world = World::new(&server).await;
    let proxy = Proxy::start(&server).await;
    let (ana, mut maria) = (world.ana_through(&proxy).await, world.maria().await);
    maria.connected().await;
    let mut phones = Phones::start(&world, ana, maria).await;
    Scanner::start(&world).await;
    phones.sends(phones.file("first.pdf", &bytes(5_000, 1))).await;
    phones.arrives().await;
    proxy.lose("/api/chat/upload-file/");
    let file = phones.file("result.pdf", &bytes(9_000, 2));
    let (client, conversation) = (phones.ana.client.clone(), phones.conversation);
    let sending =
        tokio::spawn(
            async move { client.send_file(conversation, file, SendOptions::default(), |_| {}).await },
        );
    eventually("an upload whose answer is lost", async || {
        (proxy.passed("/api/chat/upload-file/").len() > 1).then_some(())
    })
    .await;
    proxy.up();
    let sent = sending.await.unwrap().unwrap();
    assert!(matches!(sent.state, SendState::Accepted(_)), "{sent:?}");
    assert_eq!(file_of(&phones.arrives().await), file_of(sent.accepted().unwrap()));
    let mut tx = server.app.db.read("test").await.unwrap();
    let files = fetch_all!(&mut tx, (FileId,), "SELECT file_id FROM files").unwrap();
    assert_eq!(files.len(), 2, "the same upload twice is one file");
    drop(tx);
    phones.end().await;
    server.finish().await;
}

#[tokio::test]
async fn what_the_clinic_does_not_take_is_refused_and_forgotten() {
    let server = TestServer::start(Engine::Sqlite).await;
    let world = World::new(&server).await;
    let phones = Phones::start(&world, world.ana().await, world.maria().await).await;
    let _scanner = Scanner::start(&world).await;
    let file = phones.file("tool.exe", b"MZ");
    let sent = phones.ana.client.send_file(phones.conversation, file, SendOptions::default(), |_| {}).await;
    assert_eq!(sent.unwrap_err().code(), Some(ErrorCode::FileTypeNotAllowed));
    let missing = NewAttachment::new(phones.path("nowhere.pdf"));
    let sent =
        phones.ana.client.send_file(phones.conversation, missing, SendOptions::default(), |_| {}).await;
    assert!(matches!(sent, Err(Error::File(_))), "{sent:?}");
    let left = std::fs::read_dir(phones.path("ana.profile.files")).unwrap().count();
    assert_eq!(left, 0, "nothing of it is kept");
    assert!(phones.ana.client.history(phones.conversation, 10).await.unwrap().is_empty());
    phones.end().await;
    server.finish().await;
}

#[tokio::test]
async fn a_server_that_swaps_what_it_says_of_files_is_noticed() {
    let server = TestServer::start(Engine::Sqlite).await;
    let world = World::new(&server).await;
    let (hers, proxy) = (Proxy::start(&server).await, Proxy::start(&server).await);
    let (ana, mut maria) = (world.ana_through(&hers).await, world.maria_through(&proxy).await);
    maria.connected().await;
    let mut phones = Phones::start(&world, ana, maria).await;
    let scanner = Scanner::start(&world).await;
    let mut ids = Vec::new();
    for number in [1, 2] {
        let id = phones.sends(phones.file(&format!("{number}.pdf"), &bytes(100_000, number))).await;
        phones.arrives().await;
        scanner.finds(id, ScanResult::Clean).await;
        ids.push(id);
    }
    let (one, other) = (ids[0], ids[1]);
    let said = phones.maria.client.file(other).await.unwrap();
    let other_said = serde_json::to_value(&said.file).unwrap();
    let about = format!("/api/chat/files/{one}/");
    type Cheat = fn(&mut Value, &Value);
    let cheats: [(Cheat, &str); 4] = [
        (|said, other| said["content_url"] = other["content_url"].clone(), "its bytes are not those"),
        (|said, other| said["verdict"] = other["verdict"].clone(), "the verdict is about another file"),
        (|said, other| said["sha256"] = other["sha256"].clone(), "the server describes another file"),
        (|said, other| *said = other.clone(), "the server describes another file"),
    ];
    for (cheat, shown) in cheats {
        let (about, other) = (about.clone(), other_said.clone());
        proxy.answers(move |path, answer| {
            if path == about {
                cheat(answer, &other);
            }
        });
        let why = refused(phones.saves(one, "swapped").await);
        assert!(why.contains(shown), "{why}");
    }
    proxy.honest();
    assert!(phones.saves(one, "honest").await.is_ok());

    // A recall, and then the verdict of before.
    let clean = serde_json::to_value(&phones.maria.client.file(one).await.unwrap().file).unwrap();
    server.clock.advance(Duration::from_secs(1));
    phones.maria.client.rescan_file(one).await.unwrap();
    scanner.finds(one, infected()).await;
    let recalled = |event: &ClientEvent| match event {
        ClientEvent::FileChanged { event: EventType::FileRecalled, changed } => Some(changed.file_id),
        _ => None,
    };
    assert_eq!(phones.maria.wait("recall", recalled).await, one);
    let listed = phones.maria.client.files(phones.conversation, 10).await.unwrap();
    assert_eq!(listed.iter().map(|file| file.recalled).collect::<Vec<_>>(), [true, false]);
    let why = refused(phones.saves(one, "infected").await);
    assert!(why.contains("Pdf.Exploit-1"), "{why}");
    proxy.answers(move |path, answer| {
        if path == about {
            *answer = clean.clone();
        }
    });
    let why = refused(phones.saves(one, "recalled").await);
    assert!(why.contains("the server shows an older verdict"), "{why}");

    // A scan key that is not the clinic's would get the next file's key.
    hers.answers(|path, answer| {
        if path == "/api/chat/vault/scan-key/" {
            answer["signature"] = serde_json::to_value(sigilo_wire::Base64Array([1u8; 64])).unwrap();
        }
    });
    let file = phones.file("3.pdf", &bytes(1_000, 3));
    let sent = phones.ana.client.send_file(phones.conversation, file, SendOptions::default(), |_| {}).await;
    assert!(matches!(&sent, Err(Error::ScanKey(why)) if why.contains("did not sign")), "{sent:?}");
    assert!(hers.passed("/api/chat/upload-file/").len() < 3, "nothing of it left the phone");
    phones.end().await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_moderators_release_opens_for_those_who_take_part_and_says_so() {
    let server = TestServer::start(Engine::Sqlite).await;
    let world = World::new(&server).await;
    let (ana, mut maria) = (world.ana().await, world.maria().await);
    maria.connected().await;
    let mut phones = Phones::start(&world, ana, maria).await;
    let scanner = Scanner::start(&world).await;
    let (mo, eva) = (world.moderator("mo").await, world.moderator("eva").await);
    let content = bytes(5_000, 9);
    let file = phones.sends(phones.file("false.pdf", &content)).await;
    scanner.finds(file, infected()).await;
    phones.arrives().await;
    let why = refused(phones.saves(file, "infected").await);
    assert!(why.contains("Pdf.Exploit-1"), "{why}");
    mo.client.release_file(file).await.unwrap();
    let why = refused(phones.saves(file, "one").await);
    assert!(why.contains("Pdf.Exploit-1"), "one moderator is not two: {why}");
    eva.client.release_file(file).await.unwrap();
    assert!(phones.saves(file, "released").await.unwrap() == content);
    let details = phones.maria.client.file(file).await.unwrap();
    let by: Vec<_> = details.released.iter().map(|released| released.user).collect();
    assert!(by.len() == 2 && by.contains(&mo.user) && by.contains(&eva.user), "{by:?}");
    assert_eq!((details.found, details.problem), (Some(infected()), None));
    let history = phones.maria.client.history(phones.conversation, 10).await.unwrap();
    assert_eq!(history.last().unwrap().attachments[0].status, ScanStatus::Infected, "as it is by now");
    // Their keys are for checking their word: nobody writes to them for that.
    let started = phones.ana.client.start_conversation(mo.user, NewConversation::default()).await;
    assert!(started.is_err());
    phones.end().await;
    mo.end().await;
    eva.end().await;
    server.finish().await;
}
