//! Roles that must have a second factor, the clinic's setting, and a factor that is lost.

use serde_json::{Value, json};
use sigilo::{
    Ctx, fetch_all, mfa,
    people::{self, SecondFactorRule},
};
use sigilo_wire::{Role, UserId};

use crate::support::{
    TestServer, both_engines,
    clinic::{Clinic, PASSWORD},
    http::Answer,
    mfa::{Authenticator, status},
    socket::Socket,
};

const ROLES: [Role; 4] = [Role::Doctor, Role::Admin, Role::Moderator, Role::Compliance];

async fn set(server: &TestServer, clinic: &Clinic, rule: SecondFactorRule) {
    let ctx = Ctx::operator(&server.app, clinic.id);
    let grant = people::authorize_manage_clinic(&server.app, &ctx).unwrap();
    people::set_second_factor(&server.app, &ctx, grant, rule).await.unwrap();
}

/// A clinic as new ones are.
async fn strict(server: &TestServer) -> Clinic {
    let clinic = Clinic::create(server, "ejemplo").await;
    set(server, &clinic, SecondFactorRule::Required).await;
    clinic
}

fn must_enrol(answer: Answer) {
    assert_eq!(answer.body["policies"], json!(["second-factor-first"]));
    let details = answer.expect_error(403, "mfa_enrolment_required");
    assert_eq!(details["reason"], "second_factor_missing");
    assert!(details["suggestion"].as_str().unwrap().contains("/api/auth/mfa/enroll/"), "{details}");
}

#[tokio::test]
async fn these_roles_enrol_a_second_factor_before_anything_else() {
    both_engines(async |server| {
        let clinic = strict(server).await;
        for role in ROLES {
            let person = clinic.person(server, role, &format!("{role}@clinic.example")).await;
            let token = person.token();
            must_enrol(server.get("/api/devices/", token).await);
            must_enrol(server.put("/api/me/", token, &json!({"locale": "es"})).await);
            must_enrol(server.get("/api/chat/conversations/", token).await);
            must_enrol(server.put("/api/keys/identity/", token, &json!({})).await);
            must_enrol(server.post("/api/auth/ws-ticket/", token, &json!({})).await);
            assert!(Socket::open_path(server, "/ws/chat/", token).await.is_err());
            // What a client has to know by then: who it is, whose server this is.
            server.get("/api/me/", token).await.expect(200);
            server.get("/api/clinic/", token).await.expect(200);
            let before = status(server, token).await;
            assert_eq!((&before["required"], &before["enrolled"]), (&json!(true), &json!(false)));

            let (app, _) = Authenticator::enroll(server, token).await;
            server.get("/api/devices/", token).await.expect(200);
            let mut socket = Socket::open_path(server, "/ws/chat/", token).await.unwrap();
            socket.expect("queue_empty").await;
            // Another login proves it again, and nothing is asked twice.
            let body = json!({"clinic": clinic.slug, "email": person.email, "password": PASSWORD,
                "totp": app.next_code(server)});
            let session = server.post("/api/auth/login/", None, &body).await.expect(200);
            server.get("/api/devices/", session["access_token"].as_str()).await.expect(200);
            // Who gives it up is where they began.
            server.post("/api/auth/mfa/disable/", token, &json!({})).await.expect(204);
            must_enrol(server.get("/api/devices/", token).await);
        }
        for role in [Role::Patient, Role::Service] {
            let person = clinic.person(server, role, &format!("{role}@clinic.example")).await;
            server.get("/api/devices/", person.token()).await.expect(200);
            assert_eq!(status(server, person.token()).await["required"], false);
        }
    })
    .await;
}

#[tokio::test]
async fn the_clinic_decides_whether_its_roles_must_and_no_node_refuses_by_what_it_remembers() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let maria = clinic.person(server, Role::Doctor, "maria@clinic.example").await;
        server.get("/api/devices/", maria.token()).await.expect(200);
        assert_eq!(status(server, maria.token()).await["required"], false);
        set(server, &clinic, SecondFactorRule::Required).await;
        must_enrol(server.get("/api/devices/", maria.token()).await);

        let node = server.beside().await;
        let there = async || {
            let request = server.client.get(format!("{}/api/devices/", node.url));
            Answer::of(request.bearer_auth(maria.token().unwrap()).send().await.unwrap()).await
        };
        must_enrol(there().await);
        Authenticator::enroll(server, maria.token()).await;
        there().await.expect(200);
        node.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_lost_second_factor_is_taken_away_and_its_devices_log_in_again() {
    both_engines(async |server| {
        let clinic = strict(server).await;
        let maria = clinic.person(server, Role::Doctor, "maria@clinic.example").await;
        let (app, codes) = Authenticator::enroll(server, maria.token()).await;
        let ctx = Ctx::operator(&server.app, clinic.id);
        let reset = async |user: UserId| {
            let grant = people::authorize_manage_people(&server.app, &ctx).unwrap();
            mfa::reset(&server.app, &ctx, grant, user).await
        };
        let mut socket = Socket::open_path(server, "/ws/chat/", maria.token()).await.unwrap();
        socket.expect("queue_empty").await;
        clinic.login(server, &maria.email, PASSWORD, Value::Null).await.expect_error(401, "mfa_required");

        let came_of_it = reset(maria.tokens.user_id).await.unwrap();
        assert!(came_of_it.changed);
        assert_eq!(came_of_it.devices, 1);
        assert_eq!(socket.closed().await, 4401);
        server.get("/api/me/", maria.token()).await.expect_error(401, "device_revoked");
        let again = json!({"kind": "messaging", "device_id": maria.tokens.device.id});
        let back = clinic.login(server, &maria.email, PASSWORD, again).await.expect(200);
        let token = back["access_token"].as_str();
        must_enrol(server.get("/api/devices/", token).await);
        // Neither the lost app nor its recovery codes prove anything any more.
        for code in [app.next_code(server), codes[0].clone()] {
            let refused = server.post("/api/auth/mfa/verify/", token, &json!({"code": code})).await;
            refused.expect_error(400, "invalid_field");
        }
        Authenticator::enroll(server, token).await;
        server.get("/api/devices/", token).await.expect(200);

        assert!(reset(maria.tokens.user_id).await.unwrap().changed);
        assert!(!reset(maria.tokens.user_id).await.unwrap().changed);
        let elsewhere = Clinic::create(server, "otra").await;
        let luis = elsewhere.person(server, Role::Patient, "luis@clinic.example").await;
        assert!(reset(luis.tokens.user_id).await.is_err(), "another clinic's");
        const ACTS: &str = "SELECT outcome FROM audit_entries WHERE act = 'reset_second_factor'";
        let mut tx = server.app.db.read("test").await.unwrap();
        assert_eq!(fetch_all!(&mut tx, (String,), ACTS).unwrap().len(), 3);
    })
    .await;
}
