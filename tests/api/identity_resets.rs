//! A new identity for somebody whose devices are lost: two people, one invitation, one key.

use std::time::Duration;

use serde_json::{Value, json};
use sigilo::fetch_one;
use sigilo_seal::{IdentitySecret, RootFingerprint, XWingSecret};
use sigilo_wire::{Base64Array, Role, account::Tokens};

use crate::support::{
    TestServer, both_engines,
    clinic::{Clinic, PASSWORD, Person},
    device::{Device, relate},
    http::Answer,
    link::Newcomer,
    mfa::Authenticator,
    socket::Socket,
};

/// A clinic with its staff, and a patient in a conversation.
struct House {
    clinic: Clinic,
    ana: Device,
    maria: Device,
    admin: Person,
    compliance: Person,
}

impl House {
    async fn create(server: &TestServer) -> Self {
        let clinic = Clinic::create(server, "centro").await;
        let ana = Device::create(server, &clinic, Role::Patient, "ana@example.org").await;
        let maria = Device::create(server, &clinic, Role::Doctor, "maria@example.org").await;
        relate(server, &ana, &maria).await;
        ana.start(server, &maria).await;
        let admin = clinic.person(server, Role::Admin, "admin@example.org").await;
        let compliance = clinic.person(server, Role::Compliance, "compliance@example.org").await;
        Self { clinic, ana, maria, admin, compliance }
    }

    async fn ask(&self, server: &TestServer, who: &Person) -> Answer {
        let path = format!("/api/admin/users/{}/identity-reset/", self.ana.user);
        server.post(&path, who.token(), &json!({})).await
    }

    async fn approve(&self, server: &TestServer, who: Option<&str>, reset: &Value) -> Answer {
        let path = format!("/api/admin/identity-resets/{}/approve/", reset["reset_id"].as_str().unwrap());
        let root: RootFingerprint = self.clinic.ceremony.card.root;
        server.post(&path, who, &json!({"root": Base64Array(root.0)})).await
    }

    /// An approved reset's code.
    async fn code(&self, server: &TestServer) -> String {
        let asked = self.ask(server, &self.admin).await.expect(201);
        let made = self.approve(server, self.compliance.token(), &asked).await.expect(200);
        made["code"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn it_takes_two_people_and_neither_is_the_person() {
    both_engines(async |server| {
        let house = House::create(server).await;
        for nobody in [&house.ana.token, &house.maria.token] {
            let path = format!("/api/admin/users/{}/identity-reset/", house.ana.user);
            server.post(&path, Some(nobody), &json!({})).await.expect_error(403, "forbidden");
        }
        // Not for oneself, not for a stranger.
        let own = format!("/api/admin/users/{}/identity-reset/", house.admin.tokens.user_id);
        server.post(&own, house.admin.token(), &json!({})).await.expect_error(403, "forbidden");
        let stranger = format!("/api/admin/users/{}/identity-reset/", house.clinic.id);
        server.post(&stranger, house.admin.token(), &json!({})).await.expect_error(404, "not_found");

        let mut phone = Socket::open(server, &house.ana).await;
        while phone.next().await["type"] != "queue_empty" {}
        let asked = house.ask(server, &house.admin).await.expect(201);
        assert_eq!(phone.expect("identity_reset").await["data"]["stage"], "asked");
        // Not the one who asked, not the person, not another doctor.
        let same = house.approve(server, house.admin.token(), &asked).await;
        assert_eq!(same.expect_error(403, "forbidden")["reason"], "two_people");
        for nobody in [&house.ana.token, &house.maria.token] {
            house.approve(server, Some(nobody), &asked).await.expect_error(403, "forbidden");
        }
        // Not by another root than the clinic's.
        let path = format!("/api/admin/identity-resets/{}/approve/", asked["reset_id"].as_str().unwrap());
        let wrong = json!({"root": Base64Array([1; 32])});
        server.post(&path, house.compliance.token(), &wrong).await.expect_error(422, "invalid_key");
        house.approve(server, house.compliance.token(), &asked).await.expect(200);
        assert_eq!(phone.expect("identity_reset").await["data"]["stage"], "approved");
        house.approve(server, house.compliance.token(), &asked).await.expect_error(404, "not_found");

        // Without an admin among the two, nothing.
        let asked = house.ask(server, &house.compliance).await.expect(201);
        let second = house.clinic.person(server, Role::Compliance, "second@example.org").await;
        let answer = house.approve(server, second.token(), &asked).await;
        assert_eq!(answer.expect_error(403, "forbidden")["reason"], "two_people");
        house.approve(server, house.admin.token(), &asked).await.expect(200);
        // What waits too long comes to nothing, and what is asked anew replaces it.
        let first = house.ask(server, &house.admin).await.expect(201);
        let asked = house.ask(server, &house.admin).await.expect(201);
        house.approve(server, house.compliance.token(), &first).await.expect_error(404, "not_found");
        server.clock.advance(Duration::from_mins(11));
        let answer = house.approve(server, house.compliance.token(), &asked).await;
        answer.expect_error(403, "step_up_required");
    })
    .await;
}

#[tokio::test]
async fn the_new_identity_ends_every_device_of_before_and_is_taken_once() {
    both_engines(async |server| {
        let house = House::create(server).await;
        let tablet = Newcomer::new(2).join(server, &house.ana).await;
        let before = house.ana.current_manifest(server).await;
        let code = house.code(server).await;
        // Until the invitation is used, nothing has changed.
        assert_eq!(server.get("/api/me/", Some(&house.ana.token)).await.status, 200);
        let mut doctor = Socket::open(server, &house.maria).await;
        while doctor.next().await["type"] != "queue_empty" {}
        let mut phone = Socket::open(server, &house.ana).await;
        while phone.next().await["type"] != "queue_empty" {}

        let answer = house.clinic.activate(server, &code, sigilo_wire::account::DeviceKind::Messaging).await;
        let tokens: Tokens = serde_json::from_value(answer.expect(200)).unwrap();
        assert_eq!(tokens.user_id, house.ana.user);
        assert_eq!(tokens.device.device_id.unwrap().get(), 3, "numbers are not given again");
        assert_eq!(phone.closed().await, 4401);
        for old in [&house.ana, &tablet] {
            server.get("/api/me/", Some(&old.token)).await.expect_error(401, "device_revoked");
        }
        let again = house.clinic.activate(server, &code, sigilo_wire::account::DeviceKind::Messaging).await;
        again.expect_error(401, "invalid_invitation");

        let mut ana = house.ana.sibling(&tokens, 4_711);
        ana.identity = IdentitySecret::from_bytes([61; 32]);
        ana.history = XWingSecret::from_seed([62; 32]);
        let put = async |identity: &IdentitySecret| {
            let body = json!({"identity_key": Base64Array(identity.public().to_bytes())});
            server.put("/api/keys/identity/", Some(&tokens.access_token), &body).await
        };
        assert_eq!(put(&ana.identity).await.expect(200)["identity_seq"], 2);
        let told = doctor.expect("identity_changed").await;
        assert_eq!(told["data"], json!({"user_id": ana.user, "identity_seq": 2}));
        // One key came without a signature; a second does not.
        put(&IdentitySecret::from_bytes([63; 32])).await.expect_error(409, "identity_exists");
        server.put("/api/keys/", Some(&ana.token), &ana.keys(2)).await.expect_success();
        // The chain of manifests goes on where the lost devices left it.
        let first = ana.manifest(1, None, server);
        let answer = server.put("/api/devices/manifest/", Some(&ana.token), &first).await;
        let details = answer.expect_error(409, "manifest_conflict");
        let last = json!({"current_version": 2, "current_sha256": Base64Array(before.digest())});
        assert_eq!(details, last);
        let next = ana.manifest(3, Some(before.digest()), server);
        server.put("/api/devices/manifest/", Some(&ana.token), &next).await.expect(200);

        let (ask, approve) =
            (act(server, "ask_identity_reset").await, act(server, "approve_identity_reset").await);
        assert_eq!(ask["actor"], json!(house.admin.tokens.user_id));
        assert_eq!(approve["objects"]["requested_by"], json!(house.admin.tokens.user_id));
        assert_eq!(approve["objects"]["approved_by"], json!(house.compliance.tokens.user_id));
        assert_eq!(act(server, "activate").await["objects"]["reset"], approve["objects"]["reset"]);
    })
    .await;
}

#[tokio::test]
async fn a_lost_authenticator_goes_with_the_lost_devices_and_a_suspended_account_stays_closed() {
    both_engines(async |server| {
        let house = House::create(server).await;
        Authenticator::enroll(server, Some(&house.ana.token)).await;
        let code = house.code(server).await;
        let ctx = sigilo::Ctx::operator(&server.app, house.clinic.id);
        let grant = || sigilo::people::authorize_manage_people(&server.app, &ctx).unwrap();
        sigilo::people::suspend_user(&server.app, &ctx, grant(), house.ana.user).await.unwrap();
        let kind = sigilo_wire::account::DeviceKind::Messaging;
        house.clinic.activate(server, &code, kind).await.expect_error(401, "invalid_invitation");
        house.ask(server, &house.admin).await.expect_error(400, "invalid_field");
        sigilo::people::resume_user(&server.app, &ctx, grant(), house.ana.user).await.unwrap();
        // Who was suspended may have it in the wrong hands: it stays void, and the clinic gives another.
        house.clinic.activate(server, &code, kind).await.expect_error(401, "invalid_invitation");
        let code = house.code(server).await;
        house.clinic.activate(server, &code, kind).await.expect(200);
        // The password of the activation logs in, without a code.
        house.clinic.login(server, "ana@example.org", PASSWORD, json!(null)).await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn until_the_invitation_is_used_the_person_or_the_clinic_stops_it() {
    both_engines(async |server| {
        let house = House::create(server).await;
        let mut phone = Socket::open(server, &house.ana).await;
        while phone.next().await["type"] != "queue_empty" {}
        let kind = sigilo_wire::account::DeviceKind::Messaging;
        let own = "/api/me/identity-reset/";
        server.delete(own, Some(&house.ana.token)).await.expect_error(404, "not_found");

        // The person, whose telephone is not lost.
        let code = house.code(server).await;
        server.delete(own, Some(&house.maria.token)).await.expect_error(404, "not_found");
        server.delete(own, Some(&house.ana.token)).await.expect(204);
        for stage in ["asked", "approved", "cancelled"] {
            assert_eq!(phone.expect("identity_reset").await["data"]["stage"], stage);
        }
        house.clinic.activate(server, &code, kind).await.expect_error(401, "invalid_invitation");
        server.delete(own, Some(&house.ana.token)).await.expect_error(404, "not_found");
        let entry = act(server, "cancel_identity_reset").await;
        assert_eq!((&entry["actor"], &entry["patient"]), (&json!(house.ana.user), &json!(house.ana.user)));

        // The clinic: before the approval, and after it.
        let asked = house.ask(server, &house.admin).await.expect(201);
        let path = format!("/api/admin/identity-resets/{}/", asked["reset_id"].as_str().unwrap());
        server.delete(&path, Some(&house.maria.token)).await.expect_error(403, "forbidden");
        server.delete(&path, house.compliance.token()).await.expect(204);
        house.approve(server, house.compliance.token(), &asked).await.expect_error(404, "not_found");
        server.delete(&path, house.admin.token()).await.expect_error(404, "not_found");

        // What is asked for anew voids what was approved before.
        let code = house.code(server).await;
        let second = house.code(server).await;
        house.clinic.activate(server, &code, kind).await.expect_error(401, "invalid_invitation");
        // Without a fresh proof nobody stops anything.
        server.clock.advance(Duration::from_secs(14 * 60));
        server.delete(own, Some(&house.ana.token)).await.expect_error(403, "step_up_required");
        house.clinic.activate(server, &second, kind).await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn the_right_to_an_unsigned_key_ends_with_the_first_key_and_with_time() {
    both_engines(async |server| {
        let house = House::create(server).await;
        let kind = sigilo_wire::account::DeviceKind::Messaging;
        let reset = async || -> String {
            let code = house.code(server).await;
            let answer = house.clinic.activate(server, &code, kind).await;
            answer.expect(200)["access_token"].as_str().unwrap().to_owned()
        };
        let put = async |token: &str, identity: &IdentitySecret| {
            let body = json!({"identity_key": Base64Array(identity.public().to_bytes())});
            server.put("/api/keys/identity/", Some(token), &body).await
        };
        // The key in force uses it up: whoever comes later with the password alone changes nothing.
        let token = reset().await;
        put(&token, &house.ana.identity).await.expect(200);
        put(&token, &IdentitySecret::from_bytes([71; 32])).await.expect_error(409, "identity_exists");
        // And so does a day.
        let token = reset().await;
        server.clock.advance(Duration::from_hours(25));
        let login =
            house.clinic.login(server, "ana@example.org", PASSWORD, json!({"kind": "messaging"})).await;
        let late = login.expect(200)["access_token"].as_str().unwrap().to_owned();
        put(&late, &IdentitySecret::from_bytes([72; 32])).await.expect_error(409, "identity_exists");
        drop(token);
    })
    .await;
}

/// The newest audit entry of an act.
async fn act(server: &TestServer, name: &str) -> Value {
    let mut tx = server.app.db.read("test").await.unwrap();
    let sql = "SELECT canonical FROM audit_entries WHERE act = $1 AND outcome = 'allowed' ORDER BY seq DESC LIMIT 1";
    let (canonical,) = fetch_one!(&mut tx, (Vec<u8>,), sql, name).unwrap();
    serde_json::from_slice(&canonical).unwrap()
}
