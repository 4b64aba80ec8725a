//! A clinic whose appointments were imported, and its people on client devices.

use std::{path::PathBuf, sync::Arc, time::Duration};

use rand_core::UnwrapErr;
use sigilo::{
    Ctx,
    clock::Clock as _,
    people, relationships,
    relationships::{Records, read},
};
use sigilo_client::{ActivateOptions, Client, ClientEvent, Environment, Events, OpenOptions, Unlock};
use sigilo_wire::{Role, UserId};
use tempfile::TempDir;

use crate::support::{
    TestServer,
    clinic::{Clinic, PASSWORD, invite},
    proxy::Proxy,
};

const APPOINTMENTS: &str = include_str!("../fixtures/appointments.fhir.json");
pub const PATIENT: &str = "https://clinica-demo.example/fhir/mrn";
pub const CLINICIAN: &str = "https://clinica-demo.example/fhir/licence";
/// How long anything may take before the test gives up.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Somebody with a device.
pub struct Device {
    pub client: Client,
    pub events: Events,
    pub user: UserId,
    pub path: PathBuf,
}

/// Ana López has an appointment with Dra. María Martínez; Luis Pérez's was cancelled.
pub struct World<'a> {
    pub server: &'a TestServer,
    pub clinic: Clinic,
    pub folder: TempDir,
}

impl<'a> World<'a> {
    pub async fn new(server: &'a TestServer) -> Self {
        let clinic = Clinic::create(server, "centro").await;
        let ctx = Ctx::operator(&server.app, clinic.id);
        let grant = relationships::authorize_manage_relationships(&server.app, &ctx).unwrap();
        let records: Records = read(APPOINTMENTS.as_bytes()).unwrap();
        relationships::import(&server.app, &ctx, grant, records).await.unwrap();
        Self { server, clinic, folder: tempfile::tempdir().unwrap() }
    }

    pub async fn ana(&self) -> Device {
        self.device(Role::Patient, "ana", (PATIENT, "MRN-1001")).await
    }

    /// Ana, with the proxy between her and the server.
    pub async fn ana_through(&self, proxy: &Proxy) -> Device {
        let invitation = self.invitation_to(&proxy.url, Role::Patient, "ana", (PATIENT, "MRN-1001")).await;
        self.activated("ana", &invitation).await
    }

    pub async fn luis(&self) -> Device {
        self.device(Role::Patient, "luis", (PATIENT, "MRN-1002")).await
    }

    pub async fn maria(&self) -> Device {
        self.device(Role::Doctor, "maria", (CLINICIAN, "LIC-2001")).await
    }

    /// María, with the proxy between her and the server.
    pub async fn maria_through(&self, proxy: &Proxy) -> Device {
        let identifier = (CLINICIAN, "LIC-2001");
        let invitation = self.invitation_to(&proxy.url, Role::Doctor, "maria", identifier).await;
        self.activated("maria", &invitation).await
    }

    /// A clinician without appointments.
    pub async fn colleague(&self, name: &str) -> Device {
        let email = format!("{name}@example.org");
        let invitation = self.clinic.invite(self.server, Role::Doctor, &email).await;
        self.activated(name, &invitation.uri(&self.server.url)).await
    }

    /// Somebody who looks after the quarantine.
    pub async fn moderator(&self, name: &str) -> Device {
        let email = format!("{name}@example.org");
        let invitation = self.clinic.invite(self.server, Role::Moderator, &email).await;
        self.activated(name, &invitation.uri(&self.server.url)).await
    }

    /// The invitation's text.
    pub async fn invitation(&self, role: Role, name: &str, identifier: (&str, &str)) -> String {
        self.invitation_to(&self.server.url, role, name, identifier).await
    }

    /// The invitation's text, with another address of the server.
    pub async fn invitation_to(&self, url: &str, role: Role, name: &str, identifier: (&str, &str)) -> String {
        let invitee = people::Invitee {
            role,
            name: None,
            email: format!("{name}@example.org"),
            identifier: Some((identifier.0.to_owned(), identifier.1.to_owned())),
        };
        let invitation =
            invite(self.server, self.clinic.id, &invitee, &self.clinic.ceremony.card).await.unwrap();
        invitation.uri(url)
    }

    /// Randomness, and the server's time, in which the devices live.
    pub fn environment(&self) -> Environment {
        let clock = Arc::clone(&self.server.clock);
        Environment::new(move || clock.now(), UnwrapErr(getrandom::SysRng))
    }

    async fn device(&self, role: Role, name: &str, identifier: (&str, &str)) -> Device {
        let invitation = self.invitation(role, name, identifier).await;
        self.activated(name, &invitation).await
    }

    async fn activated(&self, name: &str, invitation: &str) -> Device {
        let path = self.folder.path().join(format!("{name}.profile"));
        let options = ActivateOptions { environment: self.environment(), ..ActivateOptions::new(PASSWORD) };
        let client = Client::activate(&path, key(), invitation.parse().unwrap(), options).await.unwrap();
        Device::of(client, path).await
    }
}

/// Passphrases are tested with the profile; here they would cost time only.
pub fn key() -> Unlock {
    Unlock::Key([7; 32])
}

impl Device {
    pub async fn of(client: Client, path: PathBuf) -> Self {
        let events = client.events().await.unwrap();
        let user = client.me().await.unwrap().user;
        Self { client, events, user, path }
    }

    /// Ends the program.
    pub async fn end(self) -> PathBuf {
        self.client.shutdown().await.unwrap();
        self.path
    }

    /// Starts it again on its profile.
    pub async fn again(path: PathBuf) -> Self {
        let client =
            Client::open(&path, key(), OpenOptions { environment: Environment::system() }).await.unwrap();
        Self::of(client, path).await
    }

    /// Waits for an event that `wanted` takes.
    pub async fn wait<T>(&mut self, what: &str, mut wanted: impl FnMut(&ClientEvent) -> Option<T>) -> T {
        let mut seen = Vec::new();
        let found = tokio::time::timeout(DEADLINE, async {
            loop {
                let event = self.events.next().await.expect("the client runs");
                if let Some(found) = wanted(&event) {
                    return found;
                }
                seen.push(format!("{event:?}"));
            }
        });
        match found.await {
            Ok(found) => found,
            Err(_) => panic!("no {what}; instead: {seen:#?}"),
        }
    }

    /// Waits for the next message and gives its text, after checking that everything about it is good.
    pub async fn next_text(&mut self) -> String {
        let message = self
            .wait("message", |event| match event {
                ClientEvent::Message(message) => Some(message.clone()),
                _ => None,
            })
            .await;
        check(&message);
        message.text().unwrap().to_owned()
    }

    pub async fn connected(&mut self) {
        self.client.connect().await.unwrap();
        self.wait("connection", |event| matches!(event, ClientEvent::CaughtUp).then_some(())).await;
    }
}

/// Everything about the message was checked and is good.
pub fn check(message: &sigilo_client::ShownMessage) {
    use sigilo_client::{ChainVerdict, ReceiptVerdict, SealVerdict, Verification};
    assert_eq!(message.verification, Verification::Verified, "{message:?}");
    assert_eq!(message.seal, SealVerdict::Good, "{message:?}");
    assert_eq!(message.receipt, ReceiptVerdict::Verified, "{message:?}");
    assert_eq!(message.chain, ChainVerdict::Continuous, "{message:?}");
}
