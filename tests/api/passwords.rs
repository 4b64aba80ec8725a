//! Passwords that are changed, and codes of the clinic for new ones.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use sigilo::{
    Ctx, Error,
    auth::{self, PasswordReset},
    fetch_all, people,
};
use sigilo_wire::{Role, UserId};

use crate::support::{
    TestServer, both_engines,
    clinic::{Clinic, PASSWORD},
    device::Device,
    http::Answer,
    mfa::Authenticator,
    socket::Socket,
};

const ANA: &str = "ana@clinic.example";
const NEW: &str = "another horse battery";
const WRONG: &str = "wrong horse battery";

async fn change(server: &TestServer, token: Option<&str>, current: &str, new: &str) -> Answer {
    server.post("/api/auth/password/change/", token, &json!({"current": current, "new": new})).await
}

async fn reset(server: &TestServer, clinic: &str, code: &str, new: &str) -> Answer {
    let body = json!({"clinic": clinic, "code": code, "new_password": new});
    server.post("/api/auth/password/reset/", None, &body).await
}

/// A code, as the operator makes it.
async fn issue(server: &TestServer, clinic: &Clinic, user: UserId) -> Result<PasswordReset, Error> {
    let ctx = Ctx::operator(&server.app, clinic.id);
    let grant = people::authorize_manage_people(&server.app, &ctx).unwrap();
    auth::issue_password_reset(&server.app, &ctx, grant, user).await
}

fn token(tokens: &Value) -> Option<&str> {
    tokens["access_token"].as_str()
}

#[tokio::test]
async fn a_changed_password_ends_what_the_old_one_opened_elsewhere() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let phone = clinic.person(server, Role::Patient, ANA).await;
        let session = clinic.login(server, ANA, PASSWORD, Value::Null).await.expect(200);
        let mut socket = Socket::open_path(server, "/ws/chat/", phone.token()).await.unwrap();
        socket.expect("queue_empty").await;

        change(server, token(&session), WRONG, NEW).await.expect_error(401, "invalid_credentials");
        change(server, token(&session), PASSWORD, "elevenchars").await.expect_error(422, "weak_password");
        let same =
            change(server, token(&session), PASSWORD, PASSWORD).await.expect_error(400, "invalid_field");
        assert_eq!(same["field"], "new");
        server.get("/api/me/", phone.token()).await.expect(200);
        change(server, token(&session), PASSWORD, NEW).await.expect(204);

        assert_eq!(socket.closed().await, 4401);
        server.get("/api/me/", phone.token()).await.expect_error(401, "device_revoked");
        let refresh = json!({"refresh_token": phone.tokens.refresh_token});
        server.post("/api/auth/refresh/", None, &refresh).await.expect_error(401, "device_revoked");
        server.get("/api/me/", token(&session)).await.expect(200);
        let refresh = json!({"refresh_token": session["refresh_token"]});
        server.post("/api/auth/refresh/", None, &refresh).await.expect(200);
        clinic.login(server, ANA, PASSWORD, Value::Null).await.expect_error(401, "invalid_credentials");
        let device = json!({"kind": "messaging", "name": "phone", "device_id": phone.tokens.device.id});
        clinic.login(server, ANA, NEW, device).await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn an_enrolled_account_changes_its_password_with_a_recent_code_only() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let ana = clinic.person(server, Role::Patient, ANA).await;
        server.clock.advance(Duration::from_mins(11));
        // Without a second factor the present password is the proof, and as good as a login.
        change(server, ana.token(), PASSWORD, NEW).await.expect(204);
        let (app, _) = Authenticator::enroll(server, ana.token()).await;
        server.clock.advance(Duration::from_mins(11));
        let refresh = json!({"refresh_token": ana.tokens.refresh_token});
        let fresh = server.post("/api/auth/refresh/", None, &refresh).await.expect(200);
        let details =
            change(server, token(&fresh), NEW, PASSWORD).await.expect_error(403, "step_up_required");
        assert_eq!(details["proof"], "code");
        let code = json!({"code": app.code(server)});
        server.post("/api/auth/mfa/verify/", token(&fresh), &code).await.expect(200);
        change(server, token(&fresh), NEW, PASSWORD).await.expect(204);
    })
    .await;
}

#[tokio::test]
async fn guesses_at_the_present_password_are_few() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let ana = clinic.person(server, Role::Patient, ANA).await;
        let answers = join_all((0..8).map(|_| change(server, ana.token(), WRONG, NEW))).await;
        let compared = answers.iter().filter(|answer| answer.body["error"] == "invalid_credentials").count();
        let refused = answers.iter().filter(|answer| answer.body["error"] == "rate_limited").count();
        assert_eq!((compared, refused), (5, 3), "{answers:?}");
        change(server, ana.token(), PASSWORD, NEW).await.expect_error(429, "rate_limited");
        let proof = json!({"password": PASSWORD});
        server.post("/api/auth/mfa/verify/", ana.token(), &proof).await.expect_error(429, "rate_limited");
        server.clock.advance(Duration::from_mins(15));
        let refresh = json!({"refresh_token": ana.tokens.refresh_token});
        let fresh = server.post("/api/auth/refresh/", None, &refresh).await.expect(200);
        change(server, token(&fresh), PASSWORD, NEW).await.expect(204);
    })
    .await;
}

#[tokio::test]
async fn a_code_of_the_clinic_sets_a_password_and_touches_neither_keys_nor_second_factor() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let ana = Device::create(server, &clinic, Role::Patient, ANA).await;
        let keys = server.get("/api/keys/", Some(&ana.token)).await.expect(200);
        let (app, _) = Authenticator::enroll(server, Some(&ana.token)).await;
        let mut socket = Socket::open_path(server, "/ws/chat/", Some(&ana.token)).await.unwrap();
        socket.expect("queue_empty").await;
        let code = issue(server, &clinic, ana.user).await.unwrap().code;
        reset(server, &clinic.slug, &code, "elevenchars").await.expect_error(422, "weak_password");
        server.get("/api/me/", Some(&ana.token)).await.expect(200);
        reset(server, &clinic.slug, &code, NEW).await.expect(204);

        assert_eq!(socket.closed().await, 4401);
        server.get("/api/me/", Some(&ana.token)).await.expect_error(401, "device_revoked");
        clinic.login(server, ANA, PASSWORD, Value::Null).await.expect_error(401, "invalid_credentials");
        clinic.login(server, ANA, NEW, Value::Null).await.expect_error(401, "mfa_required");
        let body = json!({
            "clinic": clinic.slug, "email": ANA, "password": NEW, "totp": app.next_code(server),
            "device": {"kind": "messaging", "name": "phone", "device_id": ana.device},
        });
        let back = server.post("/api/auth/login/", None, &body).await.expect(200);
        assert_eq!(server.get("/api/keys/", token(&back)).await.expect(200), keys);
    })
    .await;
}

#[tokio::test]
async fn a_code_for_a_new_password_works_once_for_an_hour_and_in_its_clinic() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let other = Clinic::create(server, "otra").await;
        let ana = clinic.person(server, Role::Patient, ANA).await;
        let user = ana.tokens.user_id;
        let refused = async |code: &str| {
            reset(server, &clinic.slug, code, NEW).await.expect_error(401, "invalid_reset");
        };
        let code = issue(server, &clinic, user).await.unwrap().code;
        reset(server, &other.slug, &code, NEW).await.expect_error(401, "invalid_reset");
        reset(server, "nowhere", &code, NEW).await.expect_error(401, "invalid_reset");
        reset(server, &clinic.id.to_string(), &code, NEW).await.expect(204);
        refused(&code).await;
        refused("").await;

        // A newer one ends the one before, and an hour ends each.
        let older = issue(server, &clinic, user).await.unwrap().code;
        let newer = issue(server, &clinic, user).await.unwrap().code;
        refused(&older).await;
        server.clock.advance(Duration::from_mins(60));
        refused(&newer).await;

        // So does the person who remembers the password after all.
        let code = issue(server, &clinic, user).await.unwrap().code;
        let session = clinic.login(server, ANA, NEW, Value::Null).await.expect(200);
        change(server, token(&session), NEW, PASSWORD).await.expect(204);
        refused(&code).await;

        // Suspended accounts stay closed, and other clinics' people are not there.
        let code = issue(server, &clinic, user).await.unwrap().code;
        let ctx = Ctx::operator(&server.app, clinic.id);
        let grant = people::authorize_manage_people(&server.app, &ctx).unwrap();
        people::suspend_user(&server.app, &ctx, grant, user).await.unwrap();
        refused(&code).await;
        assert_eq!(issue(server, &clinic, user).await.unwrap_err().code().as_str(), "invalid_field");
        assert_eq!(issue(server, &other, user).await.unwrap_err().code().as_str(), "not_found");
    })
    .await;
}

#[tokio::test]
async fn of_many_who_use_one_code_one_sets_the_password() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let ana = clinic.person(server, Role::Patient, ANA).await;
        let code = issue(server, &clinic, ana.tokens.user_id).await.unwrap().code;
        let new: Vec<String> = (0..4).map(|n| format!("{NEW} {n}")).collect();
        let answers = join_all(new.iter().map(|new| reset(server, &clinic.slug, &code, new))).await;
        let won: Vec<_> = (0..4).filter(|n| answers[*n].status == 204).collect();
        assert_eq!(won.len(), 1, "{answers:?}");
        for (n, new) in new.iter().enumerate() {
            let expected = if won[0] == n { 200 } else { 401 };
            clinic.login(server, ANA, new, Value::Null).await.expect(expected);
        }
    })
    .await;
}

#[tokio::test]
async fn new_passwords_are_audited() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let ana = clinic.person(server, Role::Patient, ANA).await;
        change(server, ana.token(), WRONG, NEW).await.expect_error(401, "invalid_credentials");
        change(server, ana.token(), PASSWORD, NEW).await.expect(204);
        reset(server, &clinic.slug, "nobody's", NEW).await.expect_error(401, "invalid_reset");
        let issued = issue(server, &clinic, ana.tokens.user_id).await.unwrap();
        assert!(!format!("{issued:?}").contains(&issued.code), "a code is a secret");
        reset(server, &clinic.slug, &issued.code, PASSWORD).await.expect(204);

        const ACTS: &str =
            "SELECT act, outcome, patient_id FROM audit_entries WHERE act LIKE '%password%' ORDER BY seq";
        let mut tx = server.app.db.read("test").await.unwrap();
        let acts: Vec<(String, String, Option<UserId>)> =
            fetch_all!(&mut tx, (String, String, Option<UserId>), ACTS).unwrap();
        let seen: Vec<_> =
            acts.iter().map(|(act, outcome, who)| (act.as_str(), outcome.as_str(), *who)).collect();
        let her = Some(ana.tokens.user_id);
        let expected = [
            ("change_password", "failed", her),
            ("change_password", "allowed", her),
            ("reset_password", "failed", None),
            ("issue_password_reset", "allowed", her),
            ("reset_password", "allowed", her),
        ];
        assert_eq!(seen, expected);
    })
    .await;
}
