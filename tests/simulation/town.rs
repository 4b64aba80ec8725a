//! The clinic of all simulations on one engine: its people, each with some devices, made once in a process. Every seed
//! begins with a copy of its databases and profiles.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use sigilo::{clock::Clock as _, config::Config, execute};
use sigilo_client::{ActivateOptions, Client, Environment, LinkOptions, Proof, Unlock};
use sigilo_wire::{DeviceId, RelationshipId, Role, UserId};
use tempfile::TempDir;

use crate::{
    line::Line,
    support::{
        Database, Engine, TestServer,
        clinic::{Clinic, PASSWORD},
    },
};

/// So many times shorter are the clients' pauses.
pub const HASTE: u32 = 50;

/// How many people and devices.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub patients: usize,
    pub doctors: usize,
    pub admins: usize,
    pub devices: usize,
    pub steps: usize,
}

/// Somebody of the clinic.
#[derive(Clone, Debug)]
pub struct Person {
    pub user: UserId,
    pub role: Role,
    pub email: String,
    /// How many devices they begin with: numbers 1 to this.
    pub devices: u8,
}

/// The clinic as every seed finds it.
pub struct Town {
    pub size: Size,
    pub people: Vec<Person>,
    pub database: Database,
    folder: TempDir,
}

/// Passphrases are tested with the profile; here they would cost time only.
pub fn key() -> Unlock {
    Unlock::Key([7; 32])
}

/// The file of a device's profile.
pub fn profile(folder: &Path, person: usize, number: u8) -> PathBuf {
    folder.join(format!("{person}-{number}.profile"))
}

/// A folder in memory where there is one: what survives a crash of the machine is tested elsewhere.
pub fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

impl Town {
    pub async fn build(engine: Engine, size: Size, line: &Line) -> Self {
        let server = TestServer::start_with(engine, &settings).await;
        line.begin(0, &server.url);
        let clinic = Clinic::create(&server, "simulada").await;
        let folder = folder();
        let mut people = Vec::new();
        let roles = [
            (Role::Patient, "patient", size.patients),
            (Role::Doctor, "doctor", size.doctors),
            (Role::Admin, "admin", size.admins),
        ];
        let total = size.patients + size.doctors + size.admins;
        for (role, name, count) in roles {
            for number in 0..count {
                let place = people.len();
                let devices = size.devices / total + usize::from(place < size.devices % total);
                let email = format!("{name}-{number}@simulada.example");
                let person = Builder { server: &server, clinic: &clinic, line, folder: folder.path(), place }
                    .person(role, &email, u8::try_from(devices).unwrap())
                    .await;
                people.push(person);
            }
        }
        relate(&server, &clinic, &people).await;
        let (database, _) = server.halt().await;
        Self { size, people, database, folder }
    }

    /// Copies the profiles.
    pub fn move_in(&self, folder: &Path) {
        for entry in std::fs::read_dir(self.folder.path()).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
        }
    }
}

/// What the server of a simulation is told.
pub fn settings(_config: &mut Config) {}

/// Everybody's patients are everybody's.
async fn relate(server: &TestServer, clinic: &Clinic, people: &[Person]) {
    let of = |role: Role| people.iter().filter(move |person| person.role == role);
    let mut tx = server.app.db.begin("test").await.unwrap();
    for patient in of(Role::Patient) {
        for doctor in of(Role::Doctor) {
            let id = RelationshipId::new(server.clock.now(), sigilo::rng::bytes(&*server.app.entropy));
            execute!(
                &mut tx,
                "INSERT INTO relationships (relationship_id, tenant_id, kind, patient_id, clinician_id, source, created_at)
                 VALUES ($1, $2, 'care', $3, $4, 'appointment', $5)",
                id,
                clinic.id,
                patient.user,
                doctor.user,
                server.clock.now()
            )
            .unwrap();
        }
    }
    tx.commit().await.unwrap();
}

struct Builder<'a> {
    server: &'a TestServer,
    clinic: &'a Clinic,
    line: &'a Line,
    folder: &'a Path,
    place: usize,
}

impl Builder<'_> {
    async fn person(&self, role: Role, email: &str, devices: u8) -> Person {
        let invitation = self.clinic.invite(self.server, role, email).await;
        let invitation = invitation.uri(&self.line.url).parse().unwrap();
        let options = ActivateOptions { environment: self.environment(1), ..ActivateOptions::new(PASSWORD) };
        let path = profile(self.folder, self.place, 1);
        let first = Client::activate(&path, key(), invitation, options).await.unwrap();
        let user = first.me().await.unwrap().user;
        first.prove(Proof::Password(PASSWORD.to_owned())).await.unwrap();
        for number in 2..=devices {
            let options = LinkOptions {
                server: self.line.url.parse().unwrap(),
                device_name: String::new(),
                environment: self.environment(number),
            };
            let linking = Client::begin_link(profile(self.folder, self.place, number), key(), options);
            let text = linking.text().clone();
            let (linked, given) =
                tokio::try_join!(linking.finish(), first.approve_link(text, key())).unwrap();
            assert_eq!(given.get(), number);
            linked.shutdown().await.unwrap();
        }
        first.shutdown().await.unwrap();
        Person { user, role, email: email.to_owned(), devices }
    }

    fn environment(&self, number: u8) -> Environment {
        let clock = Arc::clone(&self.server.clock);
        let seed = u64::try_from(self.place).unwrap() << 8 | u64::from(number);
        Environment::new(move || clock.now(), ChaCha20Rng::seed_from_u64(seed)).hastened(HASTE)
    }
}

/// The devices the server knows: whose, which number, and whether it is cut off.
pub async fn devices(server: &TestServer) -> Vec<(DeviceId, UserId, u8, bool)> {
    let mut tx = server.app.db.read("test").await.unwrap();
    let rows = sigilo::fetch_all!(
        &mut tx,
        (DeviceId, UserId, i64, Option<i64>),
        "SELECT device_id, user_id, CAST(device_number AS BIGINT), revoked_at FROM devices WHERE kind = 'messaging'"
    );
    let row = |(device, user, number, revoked): (_, _, i64, Option<i64>)| {
        (device, user, u8::try_from(number).unwrap(), revoked.is_some())
    };
    rows.unwrap().into_iter().map(row).collect()
}
