//! The hunt for plaintext: a patient and a doctor write to each other through the SDK, in this process; then the
//! server's process, its database, journal, keys and logs are searched for every line, in every spelling. So is what
//! the clients keep on disk, for the lines and for everything else that says who they are.
//!
//! What they say is the validation set of MTS-Dialog (CC BY 4.0) when it lies in `../shared/data/mts-dialog`:
//! lines spread over all its dialogues, or every line with `SIGILO_LONG_TESTS=1`.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

#[path = "canary/disk.rs"]
mod disk;
#[path = "canary/files.rs"]
mod files;

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sigilo::cli::demo::hunt::{Hit, Hunt, Report};
use sigilo_client::{ActivateOptions, Client, ClientEvent, Events, NewConversation};
use sigilo_wire::{ConversationId, UserId};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

/// How long anything may take before the test gives up.
const DEADLINE: Duration = Duration::from_secs(60);
/// How many lines are said unless every one is asked for.
const SOME_LINES: usize = 60;
/// Shorter lines are said by everybody, and by programs.
const SHORTEST_LINE: usize = 20;

// What the server knows, each at one place where the hunt must find it.
const CLINIC: &str = "Clínica del Canario";
const SECOND_CLINIC: &str = "Clínica de la Segunda Puerta";
const MARKER: &str = "canary-marker-in-the-servers-environment";

const APPOINTMENTS: &str = "\
appointment_id,status,patient_id,patient_name,clinician_id,clinician_name,clinician_speciality
A-1,booked,P-ana,Ana López Hernández,D-maria,Dra. María Martínez,Cardiología
";

#[tokio::test(flavor = "multi_thread")]
async fn no_word_of_a_conversation_is_anywhere_on_the_server() {
    let lines = dialogue();
    let mut server = Server::start().await;
    let (ana, maria) = server.open_clinic();
    let profiles = tempfile::tempdir().unwrap();
    let mut ana = Person::activate(profiles.path(), "ana", &ana).await;
    let mut maria = Person::activate(profiles.path(), "maria", &maria).await;
    let conversation = converse(&mut ana, &mut maria, &lines).await;
    disk::call_and_search(&[&ana, &maria], conversation, &lines).await;
    let sent = files::send(&mut ana, &mut maria, conversation, server.safe.path()).await;
    // The last thing in the journal, so that it is there whatever was written back before.
    server.create_clinic(SECOND_CLINIC, "segunda", "second.json");

    let hunt = hunt_for(lines.iter().map(|line| line.text.clone()));
    assert_eq!(hunt.lines(), lines.len(), "every line is hunted");
    let core = server.core();
    none(&memory(&core, &lines), core.is());
    sent.nowhere_where_it_was_scanned(&core);
    let running = hunt.folder(&server.root()).unwrap();
    assert!(
        finds_in(&server.data().join("sigilo.db-wal"), SECOND_CLINIC),
        "the hunt does not see the journal"
    );
    none(&running, "files of the running server");
    sent.nowhere_in(&server.root(), "files of the running server");
    sent.lies_sealed_in(&server.data());

    // Both have all of it, so it did go through the server.
    for person in [&ana, &maria] {
        let history = person.client.history(conversation, 10_000).await.unwrap();
        assert_eq!(history.len(), lines.len() + 2, "the lines, the title and the file");
    }
    disk::nothing_in(profiles.path(), &lines, "profiles of running clients");
    sent.nowhere_in(profiles.path(), "profiles of running clients");
    ana.client.shutdown().await.unwrap();
    maria.client.shutdown().await.unwrap();
    disk::nothing_in(profiles.path(), &lines, "profiles of stopped clients");
    disk::opens_with_its_passphrase_only(profiles.path(), conversation, lines.len()).await;
    server.stop().await;
    assert!(finds_in(&server.data().join("sigilo.db"), CLINIC), "the hunt does not see the database");
    let log = fs::read_to_string(server.log()).unwrap();
    assert!(log.contains(r#""level":"DEBUG""#), "the log is not at debug level");
    none(&hunt.folder(&server.root()).unwrap(), "files of the stopped server");
    sent.nowhere_in(&server.root(), "files of the stopped server");
}

/// Says something that shows also when the test succeeds: what was searched is part of the answer.
fn say(text: &str) {
    // Unlike eprintln!, this is not captured by the test runner.
    let _ = writeln!(std::io::stderr(), "canary: {text}");
}

fn none(report: &Report, what: &str) {
    say(&format!("{what}: {} bytes in {} places, {} hits", report.bytes, report.places, report.hits.len()));
    assert!(report.bytes > 100_000, "{what}: next to nothing was searched");
    assert!(report.hits.is_empty(), "{what}: {:#?}", report.hits.iter().take(5).collect::<Vec<&Hit>>());
}

fn hunt_for(lines: impl IntoIterator<Item = String>) -> Hunt {
    Hunt::for_lines(lines).unwrap()
}

/// What of the lines is in the server's memory, after its marker was found there: both in one search, because
/// there is much to search.
fn memory(core: &Core, lines: &[Line]) -> Report {
    let sought = lines.iter().map(|line| line.text.clone()).chain([MARKER.to_owned()]);
    let mut report = core.search(&hunt_for(sought));
    let all = report.hits.len();
    report.hits.retain(|hit| hit.line != MARKER);
    assert!(report.hits.len() < all, "the hunt does not see the server's memory");
    report
}

fn finds_in(file: &Path, text: &str) -> bool {
    !hunt_for([text.to_owned()]).file(file).unwrap().hits.is_empty()
}

/// Who speaks, and what.
struct Line {
    doctor: bool,
    text: String,
}

/// What is said, each line once.
fn dialogue() -> Vec<Line> {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/mts-dialog/MTS-Dialog-ValidationSet.csv");
    let Ok(text) = fs::read_to_string(&file) else {
        say(&format!("no {} here: lines of the test's own", file.display()));
        return own_lines();
    };
    let all = lines_of(&text);
    assert!(all.len() > SOME_LINES, "{} is not the data set", file.display());
    let every = std::env::var_os("SIGILO_LONG_TESTS").is_some_and(|set| set == "1");
    let step = if every { 1 } else { all.len().div_ceil(SOME_LINES) };
    let found = all.len();
    let said: Vec<Line> = all.into_iter().step_by(step).collect();
    say(&format!("{} of {found} lines of MTS-Dialog", said.len()));
    said
}

/// The lines of every dialogue, without those that were said before.
fn lines_of(csv: &str) -> Vec<Line> {
    let mut said = BTreeSet::new();
    let mut lines = Vec::new();
    for record in csv::Reader::from_reader(csv.as_bytes()).records() {
        let record = record.unwrap();
        for line in record.get(3).expect("the dialogue").lines() {
            let Some((who, text)) = line.split_once(':') else { continue };
            let text = text.trim().to_owned();
            if text.len() >= SHORTEST_LINE && said.insert(text.clone()) {
                lines.push(Line { doctor: who.trim() == "Doctor", text });
            }
        }
    }
    lines
}

fn own_lines() -> Vec<Line> {
    [
        "Buenos días, doctora. Desde ayer tengo la presión en 150 sobre 95.",
        "Buenos días, Ana. ¿Tomó la nueva medicación con el desayuno?",
        "Sí, pero me mareo un poco al levantarme, sobre todo por la mañana.",
        "Es frecuente la primera semana. Mida otra vez a mediodía, sentada.",
        "A mediodía tenía 138 sobre 88, ya sin mareo ni dolor de cabeza.",
        "Muy bien. Siga con la misma dosis y nos vemos en la cita del martes.",
    ]
    .into_iter()
    .cycle()
    .take(SOME_LINES)
    .enumerate()
    .map(|(number, text)| Line { doctor: number % 2 == 1, text: format!("{text} ({number})") })
    .collect()
}

/// Somebody with a device in this process.
struct Person {
    client: Client,
    events: Events,
    user: UserId,
}

impl Person {
    async fn activate(profiles: &Path, name: &str, invitation: &str) -> Self {
        let path = profiles.join(format!("{name}.profile"));
        let options = ActivateOptions::new(format!("password of {name}"));
        let invitation = invitation.parse().unwrap();
        let client = Client::activate(path, disk::PASSPHRASE, invitation, options).await.unwrap();
        let (events, user) = (client.events().await.unwrap(), client.me().await.unwrap().user);
        client.connect().await.unwrap();
        let mut person = Self { client, events, user };
        person.wait("connection", |event| matches!(event, ClientEvent::CaughtUp)).await;
        person
    }

    async fn wait(&mut self, what: &str, wanted: impl Fn(&ClientEvent) -> bool) {
        let mut seen = Vec::new();
        let found = timeout(DEADLINE, async {
            loop {
                let event = self.events.next().await.expect("the client runs");
                if wanted(&event) {
                    return;
                }
                seen.push(format!("{event:?}"));
            }
        });
        if found.await.is_err() {
            panic!("no {what}; instead: {seen:#?}");
        }
    }
}

/// Each line is sent, read verified by the other, and marked delivered.
async fn converse(ana: &mut Person, maria: &mut Person, lines: &[Line]) -> ConversationId {
    assert!(lines.iter().any(|line| line.doctor) && lines.iter().any(|line| !line.doctor), "a monologue");
    let conversation =
        ana.client.start_conversation(maria.user, NewConversation::default()).await.unwrap().id;
    for line in lines {
        let (from, to) = if line.doctor { (&mut *maria, &mut *ana) } else { (&mut *ana, &mut *maria) };
        let sent = from.client.send_text(conversation, line.text.clone()).await.unwrap();
        let id = sent.accepted().expect("accepted at once").message_id.expect("its number");
        to.wait("message", |event| {
            matches!(event, ClientEvent::Message(shown)
                if shown.is_verified() && shown.text() == Some(line.text.as_str()))
        })
        .await;
        from.wait(
            "delivery",
            |event| matches!(event, ClientEvent::Delivered { message, .. } if *message == id),
        )
        .await;
    }
    conversation
}

/// `sigilo serve` on SQLite in a folder of its own, with everything it would say in a log file.
struct Server {
    folder: TempDir,
    safe: TempDir,
    child: Child,
    url: String,
}

impl Server {
    async fn start() -> Self {
        let (folder, safe) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let log = File::create(folder.path().join("server.log")).unwrap();
        let child = Self::command(folder.path())
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("SIGILO__SERVER__METRICS_LISTEN", "127.0.0.1:0")
            .env("SIGILO__LOG__FORMAT", "json")
            .env("SIGILO__LOG__FILTER", "debug")
            .env("CANARY_MARKER", MARKER)
            .env("SIGILO__SCANNER__CLAMD", files::clamd())
            // The two say in seconds what people say in an hour.
            .env("SIGILO__LIMITS__MESSAGES_PER_MINUTE", "100000")
            .env("SIGILO__LIMITS__CLINICIAN_MESSAGES_PER_MINUTE", "100000")
            .env("SIGILO__LIMITS__REQUESTS_PER_MINUTE", "100000")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut server = Self { folder, safe, child, url: String::new() };
        server.url = format!("http://{}", server.address().await);
        server
    }

    fn command(root: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sigilo"));
        command.env_clear().env("SIGILO__STORAGE__DATA", root.join("data"));
        command
    }

    async fn address(&self) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let log = fs::read_to_string(self.log()).unwrap();
            let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            if let Some(event) = events.into_iter().find(|event| event["message"] == "listening") {
                return event["address"].as_str().unwrap().to_owned();
            }
            assert!(Instant::now() < deadline, "the server does not listen: {log}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Everything the server writes, and nothing else.
    fn root(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }

    /// An operator's command beside the server, its files in the operator's folder.
    fn operator(&self, arguments: &[&str]) -> Value {
        let output = Self::command(self.folder.path())
            .args(arguments)
            .arg("--json")
            .current_dir(self.safe.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn create_clinic(&self, name: &str, slug: &str, request: &str) {
        let who = [
            "--name",
            name,
            "--slug",
            slug,
            "--time-zone",
            "America/Mexico_City",
            "--hours",
            "00:00-24:00",
            "--out",
            request,
        ];
        let rule = ["--second-factor", "optional"];
        self.operator(&[&["admin", "clinic", "create"], &who[..], &rule].concat());
    }

    /// A clinic with one appointment; the invitations of Ana and Dra. María.
    fn open_clinic(&self) -> (String, String) {
        self.create_clinic(CLINIC, "canario", "request.json");
        self.operator(&["records", "init", "--request", "request.json", "--out", "safe"]);
        let keys = ["--clinic", "canario", "--file", "safe/clinic-keys.json"];
        self.operator(&[&["admin", "clinic", "install-keys"], &keys[..]].concat());
        fs::write(self.safe.path().join("appointments.csv"), APPOINTMENTS).unwrap();
        self.operator(&["admin", "appointment", "import", "--clinic", "canario", "appointments.csv"]);
        let ana = self.invite("patient", "ana@canario.example", "urn:sigilo:patient|P-ana");
        let maria = self.invite("doctor", "maria@canario.example", "urn:sigilo:clinician|D-maria");
        (ana, maria)
    }

    fn invite(&self, role: &str, email: &str, identifier: &str) -> String {
        let who = ["--clinic", "canario", "--role", role, "--email", email, "--identifier", identifier];
        let how = ["--root-card", "safe/root-card.txt", "--server", &self.url];
        let invited = self.operator(&[&["admin", "user", "invite"], &who[..], &how[..]].concat());
        invited["invitation"].as_str().unwrap().to_owned()
    }

    /// The server's memory as it is now: a core dump. Where only a parent may look into a process, gcore is
    /// refused, and the memory itself is read instead.
    fn core(&self) -> Core {
        let pid = self.child.id();
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new("gcore")
            .arg("-o")
            .arg(folder.path().join("core"))
            .arg(pid.to_string())
            .output()
            .unwrap_or_else(|error| panic!("gcore: {error}; install gdb, as `cargo xtask setup` does"));
        let file = folder.path().join(format!("core.{pid}"));
        if output.status.success() && file.is_file() {
            return Core::Dump { file, _folder: folder };
        }
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(why.contains("ptrace: Operation not permitted"), "gcore made no core dump: {why}");
        Core::Running(pid)
    }

    /// Asks it to stop and waits until it has.
    async fn stop(&mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "the server ended with {status}");
                return;
            }
            assert!(Instant::now() < deadline, "the server does not stop");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The memory of the server.
enum Core {
    Dump { file: PathBuf, _folder: TempDir },
    Running(u32),
}

impl Core {
    fn is(&self) -> &'static str {
        match self {
            Self::Dump { .. } => "a core dump of the server",
            Self::Running(_) => "the server's memory, since gcore was refused",
        }
    }

    fn search(&self, hunt: &Hunt) -> Report {
        match self {
            Self::Dump { file, .. } => hunt.file(file).unwrap(),
            Self::Running(pid) => hunt.memory(*pid).unwrap(),
        }
    }
}
