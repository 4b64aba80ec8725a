//! Clinics with installed keys, and people with tokens.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use serde_json::json;
use sigilo::{
    Ctx, Error, hours,
    people::{self, Ceremony, CertificationRequest, ClinicKeys, Invitation, Invitee, NewClinic, RootCard},
    rng,
};
use sigilo_wire::{
    Role, TenantId,
    account::{DeviceKind, Tokens},
};

use super::{TestServer, http::Answer};

/// The password of everybody.
pub const PASSWORD: &str = "correct horse battery";

/// A clinic of a server.
pub struct Clinic {
    pub id: TenantId,
    pub slug: String,
    pub ceremony: Ceremony,
}

/// Somebody with an account and a device.
pub struct Person {
    pub email: String,
    pub tokens: Tokens,
}

impl Person {
    /// Their access token.
    pub fn token(&self) -> Option<&str> {
        Some(&self.tokens.access_token)
    }
}

impl Clinic {
    /// Makes a clinic and installs its keys.
    pub async fn create(server: &TestServer, slug: &str) -> Self {
        let request = Self::request(server, slug).await;
        let ceremony = ceremony(&request, 1);
        install(server, request.clinic_id, &ceremony.clinic_keys).await.unwrap();
        Self { id: request.clinic_id, slug: slug.to_owned(), ceremony }
    }

    /// Makes a clinic without keys.
    pub async fn request(server: &TestServer, slug: &str) -> CertificationRequest {
        let id = TenantId::new(server.app.clock.now(), rng::bytes(&*server.app.entropy));
        let ctx = Ctx::operator(&server.app, id);
        let grant = people::authorize_manage_clinic(&server.app, &ctx).unwrap();
        let new = NewClinic {
            name: "Clínica Ejemplo".to_owned(),
            slug: slug.to_owned(),
            time_zone: "America/Mexico_City".to_owned(),
            hours: hours::every_day("00:00-24:00").unwrap(),
            emergency_number: "911".to_owned(),
            second_factor: people::SecondFactorRule::Optional,
        };
        people::create_clinic(&server.app, &ctx, grant, &new).await.unwrap()
    }

    /// Invites somebody, by the clinic's own card.
    pub async fn invite(&self, server: &TestServer, role: Role, email: &str) -> Invitation {
        invite(server, self.id, &invitee(role, email), &self.ceremony.card).await.unwrap()
    }

    /// Somebody with a messaging device, number 1.
    pub async fn person(&self, server: &TestServer, role: Role, email: &str) -> Person {
        let invitation = self.invite(server, role, email).await;
        let answer = self.activate(server, &invitation.code, DeviceKind::Messaging).await;
        let tokens = serde_json::from_value(answer.expect(200)).unwrap();
        Person { email: email.to_owned(), tokens }
    }

    /// Activates an invitation.
    pub async fn activate(&self, server: &TestServer, code: &str, kind: DeviceKind) -> Answer {
        let body = json!({
            "clinic": self.id, "code": code, "password": PASSWORD,
            "device": {"kind": kind, "name": "phone"},
        });
        server.post("/api/auth/activate/", None, &body).await
    }

    /// Logs in; `device` as in the API, or null.
    pub async fn login(
        &self,
        server: &TestServer,
        email: &str,
        password: &str,
        device: serde_json::Value,
    ) -> Answer {
        let mut body = json!({"clinic": self.slug, "email": email, "password": password});
        if !device.is_null() {
            body["device"] = device;
        }
        server.post("/api/auth/login/", None, &body).await
    }
}

/// The offline ceremony with a fixed seed.
pub fn ceremony(request: &CertificationRequest, seed: u64) -> Ceremony {
    // The machine's own time, as on an offline machine.
    let now = sigilo::clock::Clock::now(&sigilo::clock::SystemClock);
    people::certify(request, now, &mut ChaCha20Rng::seed_from_u64(seed)).unwrap()
}

/// Installs keys as the operator would.
pub async fn install(
    server: &TestServer,
    clinic: TenantId,
    keys: &ClinicKeys,
) -> Result<people::Installed, Error> {
    let ctx = Ctx::operator(&server.app, clinic);
    let grant = people::authorize_manage_clinic(&server.app, &ctx).unwrap();
    people::install_keys(&server.app, &ctx, grant, keys).await
}

/// A person to invite.
pub fn invitee(role: Role, email: &str) -> Invitee {
    let name = match role {
        Role::Patient => "Ana López",
        Role::Doctor => "Dra. María Martínez",
        _ => "Luis Pérez",
    };
    Invitee { role, name: Some(name.to_owned()), email: email.to_owned(), identifier: None }
}

/// Invites as the operator would.
pub async fn invite(
    server: &TestServer,
    clinic: TenantId,
    invitee: &Invitee,
    card: &RootCard,
) -> Result<Invitation, Error> {
    let ctx = Ctx::operator(&server.app, clinic);
    let grant = people::authorize_manage_people(&server.app, &ctx).unwrap();
    people::invite(&server.app, &ctx, grant, invitee, card).await
}
