//! The second factor: enrolment, codes at the login, recovery codes, and fresh proofs.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use sigilo::fetch_all;
use sigilo_wire::{Role, UserId};

use crate::support::{
    TestServer, both_engines,
    clinic::{Clinic, PASSWORD, Person},
    http::Answer,
    mfa::{Authenticator, status},
};

const ANA: &str = "ana@clinic.example";

async fn ana(server: &TestServer) -> (Clinic, Person) {
    let clinic = Clinic::create(server, "ejemplo").await;
    let ana = clinic.person(server, Role::Patient, ANA).await;
    (clinic, ana)
}

/// A login with a code, on a new session.
async fn login(server: &TestServer, clinic: &Clinic, password: &str, code: &str) -> Answer {
    let body = json!({"clinic": clinic.slug, "email": ANA, "password": password, "totp": code});
    server.post("/api/auth/login/", None, &body).await
}

async fn verify(server: &TestServer, token: Option<&str>, proof: Value) -> Answer {
    server.post("/api/auth/mfa/verify/", token, &proof).await
}

#[tokio::test]
async fn a_login_of_an_enrolled_account_needs_a_code_and_each_code_works_once() {
    both_engines(async |server| {
        let (clinic, ana) = ana(server).await;
        let before = status(server, ana.token()).await;
        assert_eq!((&before["enrolled"], &before["recovery_codes_left"]), (&json!(false), &json!(0)));
        // Codes of an account without a second factor are not looked at.
        login(server, &clinic, PASSWORD, "123456").await.expect(200);

        let app = Authenticator::begin(server, ana.token()).await;
        app.confirm(server, ana.token(), &app.wrong_code(server)).await.expect_error(401, "invalid_totp");
        clinic.login(server, ANA, PASSWORD, Value::Null).await.expect(200);
        let first = app.code(server);
        let codes = app.confirm(server, ana.token(), &first).await.expect(200);
        assert_eq!(codes["recovery_codes"].as_array().unwrap().len(), 10, "{codes}");
        let after = status(server, ana.token()).await;
        assert_eq!((&after["enrolled"], &after["recovery_codes_left"]), (&json!(true), &json!(10)));

        clinic.login(server, ANA, PASSWORD, Value::Null).await.expect_error(401, "mfa_required");
        // Whoever lacks the password does not hear that there is a second factor.
        let wrong = "wrong horse battery";
        clinic.login(server, ANA, wrong, Value::Null).await.expect_error(401, "invalid_credentials");
        // The code that confirmed the enrolment is used up.
        login(server, &clinic, PASSWORD, &first).await.expect_error(401, "invalid_totp");
        let next = app.next_code(server);
        login(server, &clinic, wrong, &next).await.expect_error(401, "invalid_credentials");
        login(server, &clinic, PASSWORD, &next).await.expect(200);
        login(server, &clinic, PASSWORD, &next).await.expect_error(401, "invalid_totp");
        // Apps show codes in two groups.
        let next = app.next_code(server);
        let spaced = format!("{} {}", &next[..3], &next[3..]);
        let body = json!({
            "clinic": clinic.slug, "email": ANA, "password": PASSWORD, "totp": spaced,
            "device": {"kind": "messaging", "name": "phone", "device_id": ana.tokens.device.id},
        });
        server.post("/api/auth/login/", None, &body).await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn a_recovery_code_works_once_in_place_of_the_app() {
    both_engines(async |server| {
        let (clinic, ana) = ana(server).await;
        let (app, codes) = Authenticator::enroll(server, ana.token()).await;
        let mut distinct = codes.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), 10);
        login(server, &clinic, PASSWORD, &codes[3].to_lowercase()).await.expect(200);
        login(server, &clinic, PASSWORD, &codes[3]).await.expect_error(401, "invalid_totp");
        assert_eq!(status(server, ana.token()).await["recovery_codes_left"], 9);
        let foreign = "00000-00000-00000-00000";
        login(server, &clinic, PASSWORD, foreign).await.expect_error(401, "invalid_totp");

        // A new enrolment makes those of before void, once it is confirmed.
        let newer = Authenticator::begin(server, ana.token()).await;
        login(server, &clinic, PASSWORD, &newer.code(server)).await.expect_error(401, "invalid_totp");
        login(server, &clinic, PASSWORD, &app.next_code(server)).await.expect(200);
        newer.confirm(server, ana.token(), &newer.code(server)).await.expect(200);
        login(server, &clinic, PASSWORD, &codes[4]).await.expect_error(401, "invalid_totp");
        login(server, &clinic, PASSWORD, &app.next_code(server)).await.expect_error(401, "invalid_totp");
        login(server, &clinic, PASSWORD, &newer.code(server)).await.expect(200);
        assert_eq!(status(server, ana.token()).await["recovery_codes_left"], 10);
    })
    .await;
}

#[tokio::test]
async fn an_enrolment_waits_a_quarter_of_an_hour_for_its_code() {
    both_engines(async |server| {
        let (clinic, ana) = ana(server).await;
        let none = json!({"code": "123456"});
        let confirm = "/api/auth/mfa/confirm/";
        server.post(confirm, ana.token(), &none).await.expect_error(409, "no_enrolment");
        let app = Authenticator::begin(server, ana.token()).await;
        server.clock.advance(Duration::from_mins(15));
        let device = json!({"kind": "messaging", "name": "phone", "device_id": ana.tokens.device.id});
        let again = clinic.login(server, ANA, PASSWORD, device).await.expect(200);
        let token = again["access_token"].as_str();
        app.confirm(server, token, &app.code(server)).await.expect_error(409, "no_enrolment");
        // Nor is the code good for another person's enrolment.
        let luis = clinic.person(server, Role::Patient, "luis@clinic.example").await;
        let _his = Authenticator::begin(server, luis.token()).await;
        app.confirm(server, luis.token(), &app.code(server)).await.expect_error(401, "invalid_totp");
        assert_eq!(status(server, token).await["enrolled"], false);
    })
    .await;
}

#[tokio::test]
async fn after_five_wrong_codes_none_is_looked_at_for_a_while() {
    both_engines(async |server| {
        let (clinic, ana) = ana(server).await;
        let (app, codes) = Authenticator::enroll(server, ana.token()).await;
        // A right one begins the count anew.
        login(server, &clinic, PASSWORD, &app.wrong_code(server)).await.expect_error(401, "invalid_totp");
        login(server, &clinic, PASSWORD, &app.next_code(server)).await.expect(200);

        // At once, from many places, at the login and beside it.
        let wrong = app.wrong_code(server);
        let (logins, proofs) = tokio::join!(
            join_all((0..6).map(|_| login(server, &clinic, PASSWORD, &wrong))),
            join_all((0..6).map(|_| verify(server, ana.token(), json!({"code": wrong})))),
        );
        let answers: Vec<Answer> = logins.into_iter().chain(proofs).collect();
        let compared = answers.iter().filter(|answer| answer.body["error"] == "invalid_totp").count();
        let refused = answers.iter().filter(|answer| answer.body["error"] == "rate_limited").count();
        assert_eq!((compared, refused), (5, 7), "{answers:?}");

        for right in [app.next_code(server), codes[0].clone()] {
            let answer = login(server, &clinic, PASSWORD, &right).await;
            let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=900).contains(&wait), "{wait}");
            let details = answer.expect_error(429, "rate_limited");
            assert_eq!((&details["limit"], &details["remaining"]), (&json!(5), &json!(0)));
        }
        // Whoever lacks the password is told nothing of it; others are not concerned.
        login(server, &clinic, "wrong horse battery", &wrong).await.expect_error(401, "invalid_credentials");
        clinic.person(server, Role::Patient, "luis@clinic.example").await;

        server.clock.advance(Duration::from_mins(15));
        login(server, &clinic, PASSWORD, &app.code(server)).await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn of_many_who_show_one_code_one_gets_in() {
    both_engines(async |server| {
        let (clinic, ana) = ana(server).await;
        let (app, codes) = Authenticator::enroll(server, ana.token()).await;
        for code in [app.next_code(server), codes[0].clone()] {
            let answers = join_all((0..5).map(|_| login(server, &clinic, PASSWORD, &code))).await;
            let admitted = answers.iter().filter(|answer| answer.status == 200).count();
            assert_eq!(admitted, 1, "{answers:?}");
            server.clock.advance(Duration::from_mins(15));
        }
    })
    .await;
}

#[tokio::test]
async fn what_could_lock_the_owner_out_needs_a_recent_proof() {
    both_engines(async |server| {
        let (clinic, ana) = ana(server).await;
        let session = clinic.login(server, ANA, PASSWORD, Value::Null).await.expect(200);
        let token = session["access_token"].as_str();
        let phone = format!("/api/devices/{}/", ana.tokens.device.id);
        let disable = async || server.post("/api/auth/mfa/disable/", token, &json!({})).await;
        server.clock.advance(Duration::from_mins(10));
        assert_eq!(status(server, token).await["verified_until"], Value::Null);
        let details = server.delete(&phone, token).await.expect_error(403, "step_up_required");
        assert_eq!(details, json!({"proof": "password", "max_age_s": 600}));
        let enroll = server.post("/api/auth/mfa/enroll/", token, &json!({})).await;
        enroll.expect_error(403, "step_up_required");
        disable().await.expect_error(403, "step_up_required");

        // Without a second factor, the password.
        verify(server, token, json!({})).await.expect_error(400, "invalid_field");
        verify(server, token, json!({"code": "123456"})).await.expect_error(400, "invalid_field");
        let wrong = json!({"password": "wrong horse battery"});
        verify(server, token, wrong).await.expect_error(401, "invalid_credentials");
        server.delete(&phone, token).await.expect_error(403, "step_up_required");
        let proven = verify(server, token, json!({"password": PASSWORD})).await.expect(200);
        assert_eq!(status(server, token).await["verified_until"], proven["verified_until"]);
        // A proof is one device's own.
        let other = server.post("/api/auth/mfa/enroll/", ana.token(), &json!({})).await;
        other.expect_error(403, "step_up_required");
        let (app, _) = Authenticator::enroll(server, token).await;

        // With one, a code and nothing else. A refreshed token is as old as its login.
        server.clock.advance(Duration::from_mins(10));
        let refresh = json!({"refresh_token": session["refresh_token"]});
        let fresh = server.post("/api/auth/refresh/", None, &refresh).await.expect(200);
        let token = fresh["access_token"].as_str();
        let details = server.delete(&phone, token).await.expect_error(403, "step_up_required");
        assert_eq!(details["proof"], "code");
        verify(server, token, json!({"password": PASSWORD})).await.expect_error(400, "invalid_field");
        let both = json!({"password": PASSWORD, "code": app.code(server)});
        verify(server, token, both).await.expect_error(400, "invalid_field");
        let wrong = json!({"code": app.wrong_code(server)});
        verify(server, token, wrong).await.expect_error(401, "invalid_totp");
        verify(server, token, json!({"code": app.code(server)})).await.expect(200);
        server.delete(&phone, token).await.expect(204);
        server.post("/api/auth/mfa/disable/", token, &json!({})).await.expect(204);
        assert_eq!(status(server, token).await["enrolled"], false);
        clinic.login(server, ANA, PASSWORD, Value::Null).await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn a_repeated_activation_does_not_go_round_the_second_factor() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let invitation = clinic.invite(server, Role::Patient, ANA).await;
        let body = json!({
            "clinic": clinic.id, "code": invitation.code, "password": PASSWORD,
            "device": {"kind": "messaging", "name": "phone"},
        });
        let activate = async || server.post_with_key("/api/auth/activate/", None, "a-key", &body).await;
        activate().await.expect(200);
        let tokens = activate().await.expect(200);
        Authenticator::enroll(server, tokens["access_token"].as_str()).await;
        activate().await.expect_error(401, "mfa_required");
        server.get("/api/me/", tokens["access_token"].as_str()).await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn acts_on_the_second_factor_are_audited() {
    both_engines(async |server| {
        let (clinic, ana) = ana(server).await;
        let (app, codes) = Authenticator::enroll(server, ana.token()).await;
        clinic.login(server, ANA, PASSWORD, Value::Null).await.expect_error(401, "mfa_required");
        login(server, &clinic, PASSWORD, &codes[0]).await.expect(200);
        verify(server, ana.token(), json!({"code": app.wrong_code(server)}))
            .await
            .expect_error(401, "invalid_totp");
        verify(server, ana.token(), json!({"code": app.next_code(server)})).await.expect(200);
        server.post("/api/auth/mfa/disable/", ana.token(), &json!({})).await.expect(204);

        const ACTS: &str =
            "SELECT act, outcome, patient_id, canonical FROM audit_entries WHERE act LIKE '%mfa'
            OR act IN ('login', 'verify_identity') ORDER BY seq";
        type Row = (String, String, Option<UserId>, Vec<u8>);
        let mut tx = server.app.db.read("test").await.unwrap();
        let rows: Vec<Row> = fetch_all!(&mut tx, Row, ACTS).unwrap();
        let objects = |canonical: &[u8]| {
            let entry: Value = serde_json::from_slice(canonical).unwrap();
            let told = |name: &str| entry["objects"][name].as_str().map(str::to_owned);
            told("factor").or(told("reason")).unwrap_or_default()
        };
        let seen: Vec<_> = rows
            .iter()
            .map(|(act, outcome, who, canonical)| {
                assert_eq!(*who, Some(ana.tokens.user_id), "{act}");
                (act.as_str(), outcome.as_str(), objects(canonical))
            })
            .collect();
        let expected = [
            ("enroll_mfa", "allowed", ""),
            ("confirm_mfa", "allowed", ""),
            ("login", "failed", "mfa_required"),
            ("login", "allowed", "recovery_code"),
            ("verify_identity", "failed", "invalid_totp"),
            ("verify_identity", "allowed", "totp"),
            ("disable_mfa", "allowed", ""),
        ];
        let expected = expected.map(|(act, outcome, told)| (act, outcome, told.to_owned()));
        assert_eq!(seen, expected);
    })
    .await;
}
