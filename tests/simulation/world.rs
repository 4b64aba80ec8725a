//! One simulation under way: a server on a copy of the town's databases, the devices, and what they did.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use sigilo::{clock::Clock as _, fetch_all};
use sigilo_client::{Client, ClientEvent, Environment, Error, Events, OpenOptions};
use sigilo_seal::Content;
use sigilo_wire::{ClientMessageId, ConversationId, DeviceId, DeviceNumber, Timestamp, UserId};
use tempfile::TempDir;

use crate::{
    line::Line,
    support::{TestClock, TestServer, clinic::PASSWORD},
    town::{self, HASTE, Town, key, profile},
};

/// A device's clock may differ this much from the server's: messages claim a time at most two minutes ahead.
const MOST_SKEW: i64 = 110_000_000;

/// Somebody's device.
pub struct Unit {
    pub person: usize,
    pub number: u8,
    pub id: DeviceId,
    /// Runs, or is switched off.
    pub client: Option<(Client, Events)>,
    /// Whether its socket is to be open.
    pub connected: bool,
    /// Where there is no line.
    pub away: bool,
    /// Linked in two parts, with a device of the person cut off in between: it was not given the new history key, and
    /// is to be linked again (docs/PROTOCOL.md, Removing a device).
    pub outdated: bool,
    skew: Arc<AtomicI64>,
    /// How often it was started.
    starts: u8,
    /// What it told its user.
    pub told: Vec<ClientEvent>,
}

/// What a device was asked to say.
#[derive(Clone, Debug)]
pub struct Said {
    pub unit: usize,
    pub conversation: ConversationId,
    pub content: Content,
}

/// A message the server has, with everybody it was sealed for.
#[derive(Clone, Debug)]
pub struct Stored {
    pub seq: i64,
    pub id: ClientMessageId,
    pub sender: UserId,
    pub device: u8,
    pub device_seq: i64,
    pub kind: String,
    pub commitment: Vec<u8>,
    pub target: Option<Vec<u8>>,
    pub reply_to: Option<Vec<u8>>,
    pub received_at: Timestamp,
    pub members: BTreeSet<UserId>,
}

/// A conversation as the server has it.
#[derive(Clone, Debug, Default)]
pub struct Talk {
    /// Who takes part, from after which message on, and how far they have read.
    pub members: BTreeMap<UserId, (i64, i64)>,
    pub left: BTreeSet<UserId>,
    pub group: bool,
    pub by: Option<UserId>,
    pub last: i64,
}

pub struct World<'a> {
    pub seed: u64,
    pub town: &'a Town,
    pub line: &'a Line,
    pub server: Option<TestServer>,
    pub clock: Arc<TestClock>,
    pub folder: TempDir,
    pub units: Vec<Unit>,
    pub said: HashMap<ClientMessageId, Said>,
    /// Devices whose link was cut: perhaps the person's, perhaps not.
    pub half: Vec<(usize, u8, std::path::PathBuf)>,
    /// The last message of each conversation when a device was cut off.
    pub ended: HashMap<DeviceId, HashMap<ConversationId, i64>>,
    pub rng: ChaCha20Rng,
    pub texts: u32,
    pub log: Vec<String>,
}

impl<'a> World<'a> {
    pub async fn begin(town: &'a Town, line: &'a Line, seed: u64) -> Self {
        let database = town.database.copy(&format!("seed_{seed}")).await;
        let folder = town::folder();
        town.move_in(folder.path());
        let server = TestServer::open_with(database, &town::settings).await;
        line.begin(seed, &server.url);
        let mut world = Self {
            seed,
            town,
            line,
            clock: Arc::clone(&server.clock),
            server: Some(server),
            folder,
            units: Vec::new(),
            said: HashMap::new(),
            half: Vec::new(),
            ended: HashMap::new(),
            rng: ChaCha20Rng::seed_from_u64(seed),
            texts: 0,
            log: Vec::new(),
        };
        let known = world.devices().await;
        for (person, somebody) in town.people.iter().enumerate() {
            for number in 1..=somebody.devices {
                let (id, ..) = *known.iter().find(|d| d.1 == somebody.user && d.2 == number).unwrap();
                world.add(person, number, id, None);
            }
        }
        world
    }

    pub fn server(&self) -> &TestServer {
        self.server.as_ref().unwrap()
    }

    pub async fn devices(&self) -> Vec<(DeviceId, UserId, u8, bool)> {
        town::devices(self.server()).await
    }

    /// A number below this.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.rng.next_u32()).unwrap() % limit.max(1)
    }

    /// One of these.
    pub fn one<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        let place = self.below(of.len());
        of.get(place).cloned()
    }

    pub fn note(&mut self, line: String) {
        self.log.push(line);
    }

    pub fn add(
        &mut self,
        person: usize,
        number: u8,
        id: DeviceId,
        running: Option<(Client, Events)>,
    ) -> usize {
        self.line.name(id, (person, number));
        let skew = Arc::new(AtomicI64::new(0));
        self.units.push(Unit {
            person,
            number,
            id,
            client: running,
            connected: false,
            away: false,
            outdated: false,
            skew,
            starts: 1,
            told: Vec::new(),
        });
        self.units.len() - 1
    }

    pub fn user(&self, unit: usize) -> UserId {
        self.town.people[self.units[unit].person].user
    }

    pub fn name(&self, unit: usize) -> String {
        format!("{}-{}", self.units[unit].person, self.units[unit].number)
    }

    /// Where a device takes time and randomness from: its own clock, and a generator of its own.
    pub fn environment(&self, person: usize, number: u8, starts: u8, skew: &Arc<AtomicI64>) -> Environment {
        let (clock, skew) = (Arc::clone(&self.clock), Arc::clone(skew));
        let now = move || Timestamp::from_micros(clock.now().micros() + skew.load(Ordering::SeqCst));
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_be_bytes());
        key[8..16].copy_from_slice(&u64::try_from(person).unwrap().to_be_bytes());
        key[16..19].copy_from_slice(&[number, starts, 1]);
        Environment::new(now, ChaCha20Rng::from_seed(key)).hastened(HASTE)
    }

    pub fn set_skew(&mut self, unit: usize) {
        let limit = usize::try_from(2 * MOST_SKEW).unwrap();
        let skew = i64::try_from(self.below(limit)).unwrap() - MOST_SKEW;
        self.units[unit].skew.store(skew, Ordering::SeqCst);
        self.note(format!("clock of {} is {} s off", self.name(unit), skew / 1_000_000));
    }

    /// Its program, started if it is not running.
    pub async fn client(&mut self, unit: usize) -> Client {
        if let Some((client, _)) = &self.units[unit].client {
            return client.clone();
        }
        let Unit { person, number, starts, ref skew, .. } = self.units[unit];
        let environment = self.environment(person, number, starts, skew);
        let path = profile(self.folder.path(), person, number);
        let client = Client::open(path, key(), OpenOptions { environment }).await.unwrap();
        let events = client.events().await.unwrap();
        let unit = &mut self.units[unit];
        unit.starts += 1;
        unit.client = Some((client.clone(), events));
        if unit.connected {
            client.connect().await.unwrap();
        }
        client
    }

    /// Ends its program.
    pub async fn stop(&mut self, unit: usize) {
        self.listen(unit);
        if let Some((client, events)) = self.units[unit].client.take() {
            client.shutdown().await.unwrap();
            drop(events);
        }
    }

    pub async fn connect(&mut self, unit: usize) {
        let client = self.client(unit).await;
        client.connect().await.unwrap();
        self.units[unit].connected = true;
    }

    /// Where there is no line.
    pub async fn go_away(&mut self, unit: usize) {
        self.line.away(self.units[unit].id);
        self.units[unit].away = true;
        if let Some((client, _)) = &self.units[unit].client {
            client.disconnect().await.unwrap();
        }
        self.units[unit].connected = false;
    }

    pub fn come_back(&mut self, unit: usize) {
        self.line.back(self.units[unit].id);
        self.units[unit].away = false;
    }

    /// Takes down what it told its user.
    pub fn listen(&mut self, unit: usize) {
        let unit = &mut self.units[unit];
        if let Some((_, events)) = &mut unit.client {
            while let Some(event) = events.try_next() {
                unit.told.push(event);
            }
        }
    }

    /// Its user logs in again, if a lost answer has cost the device its tokens.
    pub async fn log_in(&mut self, unit: usize) -> bool {
        let client = self.client(unit).await;
        let email = self.town.people[self.units[unit].person].email.clone();
        match client.log_in(email, PASSWORD, None).await {
            Ok(()) => {
                if self.units[unit].connected {
                    client.connect().await.unwrap();
                }
                true
            }
            Err(error) => {
                self.note(format!("{} cannot log in: {error}", self.name(unit)));
                false
            }
        }
    }

    /// Notes an error that may be; gives whether the device is logged out.
    pub fn excuse(&mut self, unit: usize, what: &str, error: &Error) -> bool {
        self.note(format!("{} {what}: {error}", self.name(unit)));
        matches!(error, Error::LoggedOut)
    }

    /// Stops the server as an administrator does, and starts it again elsewhere.
    pub async fn restart(&mut self) {
        let server = self.server.take().unwrap().restart().await;
        self.line.to(&server.url);
        self.server = Some(server);
        self.note("the server was restarted".to_owned());
    }

    pub fn turn(&mut self, by: Duration) {
        self.clock.advance(by);
        self.note(format!("{} s later", by.as_secs()));
    }

    /// All conversations.
    pub async fn talks(&self) -> BTreeMap<ConversationId, Talk> {
        let mut tx = self.server().app.db.read("test").await.unwrap();
        let conversations: Vec<(ConversationId, String, UserId, i64)> = fetch_all!(
            &mut tx,
            (ConversationId, String, UserId, i64),
            "SELECT conversation_id, type, created_by, last_seq FROM conversations"
        )
        .unwrap();
        let mut talks = BTreeMap::new();
        for (id, kind, by, last) in conversations {
            talks.insert(id, Talk { group: kind != "direct", by: Some(by), last, ..Talk::default() });
        }
        let participants: Vec<(ConversationId, UserId, String, i64, i64)> = fetch_all!(
            &mut tx,
            (ConversationId, UserId, String, i64, i64),
            "SELECT conversation_id, user_id, status, joined_seq, read_seq FROM participants"
        )
        .unwrap();
        for (id, user, status, joined, read) in participants {
            let talk = talks.get_mut(&id).unwrap();
            if status == "active" {
                talk.members.insert(user, (joined, read));
            } else {
                talk.left.insert(user);
            }
        }
        talks
    }

    /// Everything the server has of a conversation, in order.
    pub async fn stored(&self, conversation: ConversationId) -> Vec<Stored> {
        #[derive(sqlx::FromRow)]
        struct Found {
            conversation_seq: i64,
            client_message_id: ClientMessageId,
            sender_id: UserId,
            device_number: i64,
            device_seq: i64,
            kind: String,
            commitment: Vec<u8>,
            target_commitment: Option<Vec<u8>>,
            reply_to_commitment: Option<Vec<u8>>,
            received_at: Timestamp,
            members: String,
        }
        let mut tx = self.server().app.db.read("test").await.unwrap();
        let rows: Vec<Found> = fetch_all!(
            &mut tx,
            Found,
            "SELECT m.conversation_seq, m.client_message_id, m.sender_id, CAST(m.device_number AS BIGINT) AS device_number,
                m.device_seq, m.kind, m.commitment, m.target_commitment, m.reply_to_commitment, m.received_at, s.members
             FROM messages m JOIN record_seals s ON s.seal_id = m.seal_id
             WHERE m.conversation_id = $1 ORDER BY m.conversation_seq",
            conversation
        )
        .unwrap();
        let row = |row: Found| {
            let members: Vec<sigilo_wire::seal::SealMember> = serde_json::from_str(&row.members).unwrap();
            Stored {
                seq: row.conversation_seq,
                id: row.client_message_id,
                sender: row.sender_id,
                device: u8::try_from(row.device_number).unwrap(),
                device_seq: row.device_seq,
                kind: row.kind,
                commitment: row.commitment,
                target: row.target_commitment,
                reply_to: row.reply_to_commitment,
                received_at: row.received_at,
                members: members.into_iter().map(|member| member.user_id).collect(),
            }
        };
        rows.into_iter().map(row).collect()
    }

    /// How many messages there are.
    pub async fn messages(&self) -> i64 {
        self.talks().await.values().map(|talk| talk.last).sum()
    }

    /// How many events wait on the server for devices that are not cut off.
    pub async fn waiting(&self) -> HashMap<DeviceId, i64> {
        let mut tx = self.server().app.db.read("test").await.unwrap();
        let rows: Vec<(DeviceId, i64)> = fetch_all!(
            &mut tx,
            (DeviceId, i64),
            "SELECT device_id, COUNT(*) FROM device_events GROUP BY device_id"
        )
        .unwrap();
        rows.into_iter().collect()
    }

    pub async fn end(mut self) {
        for unit in 0..self.units.len() {
            self.stop(unit).await;
        }
        // Whoever still waits for a link gives up.
        self.clock.advance(Duration::from_secs(3_600));
        self.server.take().unwrap().finish().await;
    }

    pub fn number(&self, unit: usize) -> DeviceNumber {
        DeviceNumber::new(self.units[unit].number).unwrap()
    }
}
