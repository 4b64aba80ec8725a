//! A clinic whose people have devices with keys, and conversations that are sealed once and used by many sequences.
//! The server's clock stands: it moves when a sequence says so.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use serde_json::json;
use sigilo::{Ctx, execute, hours};
use sigilo_wire::{ConversationId, Role, UserId, message::SendMessage};

use crate::{
    acts::date,
    rules::{DAY, Facts, Hours, Kind, MICROS, MINUTE, Talk, Who},
    support::{
        TestServer,
        cast::{self, join},
        clinic::Clinic,
        device::Device,
        socket::Socket,
    },
};

/// Somebody and their device.
pub struct Member {
    pub device: Device,
    pub email: String,
    /// When their access token is as good as over, in microseconds.
    pub token_until: i64,
    pub socket: Option<Socket>,
}

/// A message that waits for the opening.
pub struct Waiting {
    pub message: SendMessage,
    pub id: String,
    /// For whose devices it was encrypted.
    pub to: BTreeSet<Who>,
}

/// What was seen, for the last line.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub sent: usize,
    pub held: usize,
    pub released: usize,
    pub given_back: usize,
    pub refused: HashMap<String, usize>,
    pub races: usize,
    /// Of the messages in races.
    pub raced: (usize, usize),
    pub busy: usize,
    pub outrun: usize,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.held += other.held;
        self.released += other.released;
        self.given_back += other.given_back;
        for (code, count) in &other.refused {
            *self.refused.entry(code.clone()).or_default() += count;
        }
        self.races += other.races;
        self.raced = (self.raced.0 + other.raced.0, self.raced.1 + other.raced.1);
        self.busy += other.busy;
        self.outrun += other.outrun;
    }
}

pub struct House {
    pub server: TestServer,
    pub clinic: Clinic,
    pub people: Vec<Member>,
    pub ids: Vec<ConversationId>,
    /// Whose seal is published where.
    pub sealed: HashSet<(Who, usize)>,
    pub held: HashMap<(Who, usize), Vec<Waiting>>,
    pub facts: Facts,
    pub dice: Dice,
    /// What was done, for whoever looks for a failure.
    pub log: Vec<String>,
    pub tally: Tally,
    /// The conversations of the clinic itself; those after it are of a sequence.
    lasting: usize,
    /// How many messages each conversation had when the sequence began.
    pub base: Vec<i64>,
    built_at: i64,
    pub appointment: u32,
}

pub struct Dice(ChaCha20Rng);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(ChaCha20Rng::seed_from_u64(seed))
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.0.next_u64() % n as u64) as usize
    }

    pub fn of_hundred(&mut self, n: usize) -> bool {
        self.below(100) < n
    }

    pub fn one<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        if of.is_empty() { None } else { Some(of[self.below(of.len())].clone()) }
    }
}

/// Two patients, three clinicians of whom two are on call, and the staff.
const ROLES: [Role; 6] =
    [Role::Patient, Role::Patient, Role::Doctor, Role::Doctor, Role::Doctor, Role::Admin];
const TALKS: [(Kind, &[Who]); 8] = [
    (Kind::Direct, &[0, 2]),
    (Kind::Direct, &[0, 3]),
    (Kind::Direct, &[1, 2]),
    (Kind::Direct, &[0, 4]),
    (Kind::Consultation, &[1, 3]),
    (Kind::Group, &[2, 0, 3]),
    (Kind::Direct, &[2, 3]),
    (Kind::Administrative, &[5, 0]),
];
/// How long the glass stays broken, in minutes.
pub const GLASS: i64 = 20;
/// How long a tier has to acknowledge, in minutes.
pub const TIER: i64 = 5;
/// Keys and seals are good for longer.
const HOUSE_LASTS: i64 = 20 * DAY * MINUTE;
pub const TOKEN_LASTS: i64 = 13 * MINUTE;
pub const CONVERSATIONS: &str = "/api/chat/conversations/";

pub fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Direct => "direct",
        Kind::Consultation => "consultation",
        Kind::Group => "group",
        Kind::Administrative => "administrative",
        Kind::Emergency => "emergency",
    }
}

impl House {
    pub async fn build(server: TestServer, slug: &str) -> Self {
        server.clock.stop();
        let clinic = Clinic::create(&server, slug).await;
        let mut file = String::from(
            "appointment_id,status,patient_id,patient_name,clinician_id,clinician_name,clinician_speciality\n",
        );
        for (patient, doctor) in [(0, 2), (0, 3), (0, 4), (1, 2), (1, 3)] {
            file += &format!("first-{patient}-{doctor},booked,P{patient},Paciente,D{doctor},Clínica,\n");
        }
        cast::import(&server, &clinic, &file).await;
        let mut people = Vec::new();
        for (who, role) in ROLES.into_iter().enumerate() {
            let identifier = match role {
                Role::Patient => Some(("urn:sigilo:patient".to_owned(), format!("P{who}"))),
                Role::Doctor => Some(("urn:sigilo:clinician".to_owned(), format!("D{who}"))),
                _ => None,
            };
            let email = format!("person-{who}@{slug}.example");
            let person = match identifier {
                None => clinic.person(&server, role, &email).await,
                identifier => join(&server, &clinic, role, &email, identifier).await,
            };
            let device = Device::of(&server, &clinic, &person).await;
            let token_until = server.app.clock.now().micros() + TOKEN_LASTS;
            people.push(Member { device, email, token_until, socket: None });
        }
        let facts = Facts {
            roles: ROLES.to_vec(),
            suspended: HashSet::new(),
            appointments: HashMap::new(),
            glass: HashMap::new(),
            blocks: HashSet::new(),
            clinic: Hours::default(),
            own: HashMap::new(),
            ahead: 0,
            talks: TALKS.iter().map(|(kind, members)| Talk::of(*kind, members)).collect(),
        };
        let built_at = server.app.clock.now().micros();
        let mut house = Self {
            server,
            clinic,
            people,
            ids: Vec::new(),
            sealed: HashSet::new(),
            held: HashMap::new(),
            facts,
            dice: Dice::new(0),
            log: Vec::new(),
            tally: Tally::default(),
            lasting: TALKS.len(),
            base: Vec::new(),
            built_at,
            appointment: 0,
        };
        house.furnish().await;
        house
    }

    /// Starts and seals the lasting conversations; says who is on call.
    async fn furnish(&mut self) {
        for (place, (kind, members)) in TALKS.into_iter().enumerate() {
            // An administrative one is started by the staff, a team by a clinician.
            let others: Vec<UserId> = members[1..].iter().map(|who| self.user(*who)).collect();
            let body = json!({"type": word(kind), "participants": others});
            let token = Some(self.people[members[0]].device.token.as_str());
            let made = self.server.post(CONVERSATIONS, token, &body).await.expect(201);
            self.ids.push(serde_json::from_value(made["id"].clone()).unwrap());
            for who in members {
                let others: Vec<&Device> = members
                    .iter()
                    .filter(|other| *other != who)
                    .map(|other| &self.people[*other].device)
                    .collect();
                let device = &self.people[*who].device;
                device.publish_seal(&self.server, &self.clinic, self.ids[place], &others).await;
                self.sealed.insert((*who, place));
            }
        }
        let token = Some(self.people[5].device.token.as_str());
        for (who, tier) in [(2, 1), (3, 2)] {
            let shift = json!({"user_id": self.user(who), "tier": tier});
            self.server.post("/api/admin/on-call/", token, &shift).await.expect(201);
        }
        let mut tx = self.server.app.db.begin("test").await.unwrap();
        let settings =
            json!({"second_factor": "optional", "break_glass_s": GLASS * 60, "escalate_after_s": TIER * 60});
        execute!(
            &mut tx,
            "UPDATE tenants SET settings = $2 WHERE tenant_id = $1",
            self.clinic.id,
            settings.to_string()
        )
        .unwrap();
        tx.commit().await.unwrap();
    }

    /// Whether its keys and seals are about to be too old.
    pub fn is_old(&self) -> bool {
        self.now() - self.built_at > HOUSE_LASTS
    }

    /// How long it has been in use, by its clock.
    pub fn now(&self) -> i64 {
        self.server.app.clock.now().micros()
    }

    /// How many conversations are the clinic's own.
    pub fn lasting(&self) -> usize {
        self.lasting
    }

    pub fn user(&self, who: Who) -> UserId {
        self.people[who].device.user
    }

    pub fn operator(&self) -> Ctx {
        Ctx::operator(&self.server.app, self.clinic.id)
    }

    pub fn advance(&mut self, micros: i64) {
        self.server.clock.advance(Duration::from_micros(micros as u64));
    }

    /// Brings everything back to where every sequence begins, at a minute of the day that the seed says.
    pub async fn begin(&mut self, seed: u64) {
        self.dice = Dice::new(seed);
        self.log.clear();
        self.tidy().await;
        let minute = self.dice.below(DAY as usize) as i64;
        let now = self.now().div_euclid(MINUTE);
        // Half past the minute, so that no boundary is now.
        let wait = (minute - now).rem_euclid(60);
        self.advance(
            (now + wait) * MINUTE + 30 * MICROS - self.now() + if wait == 0 { 60 * MINUTE } else { 0 },
        );
        let utc = self.now().div_euclid(MINUTE).rem_euclid(DAY);
        self.facts.ahead = (minute - utc).rem_euclid(DAY);
        if self.facts.ahead > DAY / 2 {
            self.facts.ahead -= DAY;
        }
        // The names of these zones say how far UTC is ahead of them.
        let zone = format!("Etc/GMT{:+}", -self.facts.ahead / 60);
        self.set_hours(None, Some(zone), Hours::default()).await;
        let mut tx = self.server.app.db.begin("test").await.unwrap();
        for member in &self.people {
            execute!(&mut tx, "DELETE FROM device_events WHERE device_id = $1", member.device.device)
                .unwrap();
        }
        tx.commit().await.unwrap();
        self.base.clear();
        for place in 0..self.ids.len() {
            self.base.push(self.last_seq(place).await);
        }
    }

    async fn tidy(&mut self) {
        for member in &mut self.people {
            member.socket = None;
        }
        for who in self.facts.suspended.clone() {
            self.suspend(who, false).await;
        }
        for ((who, place), waiting) in std::mem::take(&mut self.held) {
            // Those behind it come back with the first.
            if let Some(first) = waiting.first() {
                self.fresh(who).await;
                let path = format!("/api/chat/messages/{}/hold/", first.id);
                self.server.delete(&path, self.token(who)).await.expect(204);
                self.people[who].device.rewind(self.ids[place], &first.message);
            }
        }
        for (a, b) in std::mem::take(&mut self.facts.blocks) {
            self.fresh(a).await;
            let path = format!("/api/chat/block-user/{}/", self.user(b));
            self.server.delete(&path, self.token(a)).await.expect(204);
        }
        for patient in self.facts.all(Role::Patient) {
            for doctor in self.facts.all(Role::Doctor) {
                self.revoke(patient, doctor).await;
            }
        }
        self.facts.appointments.clear();
        self.facts.glass.clear();
        for who in std::mem::take(&mut self.facts.own).into_keys() {
            let (ctx, user) = (self.operator(), self.user(who));
            let grant = hours::authorize_manage_hours(&self.server.app, &ctx).await.unwrap();
            hours::clear(&self.server.app, &ctx, grant, user).await.unwrap();
        }
        for day in std::mem::take(&mut self.facts.clinic.days).into_keys() {
            let ctx = self.operator();
            let grant = hours::authorize_manage_hours(&self.server.app, &ctx).await.unwrap();
            hours::remove_day(&self.server.app, &ctx, grant, None, &date(day)).await.unwrap();
        }
        self.ids.truncate(self.lasting);
        self.facts.talks.truncate(self.lasting);
        self.sealed.retain(|(_, place)| *place < self.lasting);
    }
}
