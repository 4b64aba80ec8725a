//! Whose account it opens, and what it does not.

use std::time::Duration;

use serde_json::{Value, json};
use sigilo::{
    Ctx,
    auth::oidc,
    fetch_all,
    people::{self, SecondFactorRule},
};
use sigilo_seal::IdentitySecret;
use sigilo_wire::{Base64Array, Role, account::DeviceKind, networks::AllowedNetworks};

use super::{
    Browser, TOKEN, VERIFIER, bind, code_of, error, trade, unbind, with_provider, with_provider_and,
};
use crate::support::{
    TestServer,
    clinic::{Clinic, PASSWORD},
    link::Newcomer,
    mfa::Authenticator,
};

/// What the audit log says of logins that failed.
async fn noted(server: &TestServer) -> Vec<String> {
    let mut tx = server.app.db.read("test").await.unwrap();
    let sql = "SELECT canonical FROM audit_entries WHERE act = 'login' AND outcome = 'failed' ORDER BY seq";
    let noted = fetch_all!(&mut tx, (Vec<u8>,), sql).unwrap();
    noted.into_iter().map(|(entry,)| String::from_utf8(entry).unwrap()).collect()
}

#[tokio::test]
async fn a_bound_subject_logs_in_and_proves_nothing_else() {
    with_provider(async |server, provider, clinic, maria| {
        bind(server, clinic, maria, "m-17").await.unwrap();
        let code = code_of(server, provider, "m-17").await;
        trade(server, &code, "another app's verifier").await.expect_error(401, "oidc_login_failed");
        let tokens = trade(server, &code, VERIFIER).await.expect(200);
        assert_eq!(tokens["user_id"], json!(maria.tokens.user_id));
        assert_eq!(tokens["device"]["kind"], "session");
        trade(server, &code, VERIFIER).await.expect_error(401, "oidc_login_failed");
        let token = tokens["access_token"].as_str();
        server.get("/api/me/", token).await.expect(200);
        // What could lock the owner out wants the password or a code first, also after a renewal.
        let device = format!("/api/devices/{}/", maria.tokens.device.id);
        server.delete(&device, token).await.expect_error(403, "step_up_required");
        server.post("/api/auth/mfa/enroll/", token, &json!({})).await.expect_error(403, "step_up_required");
        let body = json!({"current": "not the password", "new": "another horse battery"});
        let changed = server.post("/api/auth/password/change/", token, &body).await;
        changed.expect_error(401, "invalid_credentials");
        let body = json!({"refresh_token": tokens["refresh_token"]});
        let tokens = server.post("/api/auth/refresh/", None, &body).await.expect(200);
        let token = tokens["access_token"].as_str();
        server.delete(&device, token).await.expect_error(403, "step_up_required");
        // A login with the provider proves it no second time.
        code_of(server, provider, "m-17").await;
        server.delete(&device, token).await.expect_error(403, "step_up_required");
        server.post("/api/auth/mfa/verify/", token, &json!({"password": PASSWORD})).await.expect(200);
        server.delete(&device, token).await.expect(204);
    })
    .await;
}

#[tokio::test]
async fn a_login_gives_no_identity_and_resets_none() {
    with_provider(async |server, provider, clinic, maria| {
        bind(server, clinic, maria, "m-17").await.unwrap();
        let messaging = async || {
            let code = code_of(server, provider, "m-17").await;
            let device = json!({"kind": "messaging", "name": "thief"});
            let body = json!({"code": code, "verifier": VERIFIER, "device": device});
            let tokens = server.post(TOKEN, None, &body).await.expect(200);
            tokens["access_token"].as_str().unwrap().to_owned()
        };
        let put = async |token: &str, identity: u8| {
            let identity = IdentitySecret::from_bytes([identity; 32]).public().to_bytes();
            let body = json!({"identity_key": Base64Array(identity)});
            server.put("/api/keys/identity/", Some(token), &body).await
        };
        let thief = messaging().await;
        assert_eq!(put(&thief, 66).await.expect_error(403, "step_up_required")["proof"], "password");
        put(&maria.tokens.access_token, 61).await.expect(200);
        put(&thief, 66).await.expect_error(403, "step_up_required");
        let begin = json!({"link_id": Newcomer::new(2).offer.link_id});
        server.post("/api/devices/link/", Some(&thief), &begin).await.expect_error(403, "step_up_required");

        // Two people have approved another identity for her; what they gave is hers alone.
        let admin = clinic.person(server, Role::Admin, "admin@clinic.example").await;
        let compliance = clinic.person(server, Role::Compliance, "compliance@clinic.example").await;
        let path = format!("/api/admin/users/{}/identity-reset/", maria.tokens.user_id);
        let asked = server.post(&path, admin.token(), &json!({})).await.expect(201);
        let path = format!("/api/admin/identity-resets/{}/approve/", asked["reset_id"].as_str().unwrap());
        let root = json!({"root": Base64Array(clinic.ceremony.card.root.0)});
        let made = server.post(&path, compliance.token(), &root).await.expect(200);
        let answer = clinic.activate(server, made["code"].as_str().unwrap(), DeviceKind::Messaging).await;
        let tokens = answer.expect(200);
        let thief = messaging().await;
        for identity in [66, 61] {
            put(&thief, identity).await.expect_error(403, "step_up_required");
        }
        put(tokens["access_token"].as_str().unwrap(), 62).await.expect(200);

        // The staff's own acts on others' identities want their proof, too.
        bind(server, clinic, &admin, "a-1").await.unwrap();
        let code = code_of(server, provider, "a-1").await;
        let session = trade(server, &code, VERIFIER).await.expect(200);
        let path = format!("/api/admin/users/{}/identity-reset/", maria.tokens.user_id);
        let asked = server.post(&path, session["access_token"].as_str(), &json!({})).await;
        asked.expect_error(403, "step_up_required");

        // It opens a device of hers that is still one, and nobody else's; what that device has proven before is over.
        let again = async |id: &Value| {
            let device = json!({"kind": "messaging", "device_id": id, "name": ""});
            let code = code_of(server, provider, "m-17").await;
            let body = json!({"code": code, "verifier": VERIFIER, "device": device});
            server.post(TOKEN, None, &body).await
        };
        for id in [maria.tokens.device.id, admin.tokens.device.id] {
            again(&json!(id)).await.expect_error(404, "not_found");
        }
        let tokens = again(&tokens["device"]["id"]).await.expect(200);
        let enrol = server.post("/api/auth/mfa/enroll/", tokens["access_token"].as_str(), &json!({})).await;
        enrol.expect_error(403, "step_up_required");
    })
    .await;
}

#[tokio::test]
async fn whoever_is_not_bound_gets_nothing_whatever_their_address() {
    with_provider(async |server, provider, clinic, maria| {
        let returned = async |who| Browser::default().returned(server, provider, who).await;
        let unbound = error("oidc_not_bound");
        // The provider says that her verified address is that of the account, and this is even the subject: that binds
        // nobody.
        assert_eq!(returned("who=m-17").await, unbound);
        assert_eq!(returned("who=maria@clinic.example").await, unbound);
        bind(server, clinic, maria, "m-17").await.unwrap();
        // Subjects are compared as they are.
        assert_eq!(returned("who=M-17").await, unbound);
        let eva = clinic.person(server, Role::Doctor, "eva@clinic.example").await;
        for (who, subject) in [(&eva, "m-17"), (maria, "m-18")] {
            let error = bind(server, clinic, who, subject).await.unwrap_err();
            assert_eq!(error.code().as_str(), "already_settled");
        }
        let noted = noted(server).await;
        assert_eq!(noted.len(), 3);
        assert!(noted.iter().all(|entry| entry.contains("oidc_not_bound")), "{noted:?}");
        let mut tx = server.app.db.read("test").await.unwrap();
        let subjects = fetch_all!(&mut tx, (Vec<u8>,), "SELECT subject_index FROM oidc_bindings").unwrap();
        assert!(subjects.iter().all(|(index,)| index.len() == 32), "{subjects:?}");
    })
    .await;
}

#[tokio::test]
async fn a_code_is_good_while_its_subject_is_bound_and_its_account_active() {
    with_provider(async |server, provider, clinic, maria| {
        bind(server, clinic, maria, "m-17").await.unwrap();
        let code = code_of(server, provider, "m-17").await;
        unbind(server, clinic, maria).await.unwrap();
        trade(server, &code, VERIFIER).await.expect_error(401, "oidc_login_failed");
        bind(server, clinic, maria, "m-18").await.unwrap();
        trade(server, &code, VERIFIER).await.expect_error(401, "oidc_login_failed");
        unbind(server, clinic, maria).await.unwrap();
        assert_eq!(unbind(server, clinic, maria).await.unwrap_err().code().as_str(), "not_found");

        bind(server, clinic, maria, "m-17").await.unwrap();
        let before = code_of(server, provider, "m-17").await;
        let ctx = Ctx::operator(&server.app, clinic.id);
        let grant = || people::authorize_manage_people(&server.app, &ctx).unwrap();
        people::suspend_user(&server.app, &ctx, grant(), maria.tokens.user_id).await.unwrap();
        let after = code_of(server, provider, "m-17").await;
        for code in [&before, &after] {
            trade(server, code, VERIFIER).await.expect_error(401, "device_revoked");
        }
        assert!(noted(server).await.iter().filter(|entry| entry.contains("not_active")).count() == 2);
        people::resume_user(&server.app, &ctx, grant(), maria.tokens.user_id).await.unwrap();
        trade(server, &after, VERIFIER).await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn the_second_factor_is_the_accounts_own_whatever_the_provider_says() {
    with_provider(async |server, provider, clinic, maria| {
        bind(server, clinic, maria, "m-17").await.unwrap();
        let (app, _) = Authenticator::enroll(server, maria.token()).await;
        let code = code_of(server, provider, "m-17").await;
        trade(server, &code, VERIFIER).await.expect_error(401, "mfa_required");
        let with = |code: &str, totp: String| json!({"code": code, "verifier": VERIFIER, "totp": totp});
        // The code stays good for whoever has the second factor at hand.
        let body = with(&code, app.next_code(server));
        let session = server.post(TOKEN, None, &body).await.expect(200);
        // The code of the login was no proof of the last minutes either; the next one is.
        let token = session["access_token"].as_str();
        let device = format!("/api/devices/{}/", maria.tokens.device.id);
        let details = server.delete(&device, token).await.expect_error(403, "step_up_required");
        assert_eq!(details["proof"], "code");

        let code = code_of(server, provider, "m-17").await;
        for _ in 0..5 {
            let answer = server.post(TOKEN, None, &with(&code, app.wrong_code(server))).await;
            answer.expect_error(401, "invalid_totp");
        }
        // Guesses are counted with those after a password, and the right one comes no sooner.
        let answer = server.post(TOKEN, None, &with(&code, app.next_code(server))).await;
        answer.expect_error(429, "rate_limited");
        let mut body = json!({"clinic": "ejemplo", "email": maria.email, "password": PASSWORD});
        body["totp"] = json!(app.next_code(server));
        server.post("/api/auth/login/", None, &body).await.expect_error(429, "rate_limited");
        assert!(noted(server).await.iter().any(|entry| entry.contains("too_many_codes")));
    })
    .await;
}

#[tokio::test]
async fn the_clinics_rules_for_logins_hold_for_these() {
    with_provider(async |server, provider, clinic, maria| {
        bind(server, clinic, maria, "m-17").await.unwrap();
        let ctx = Ctx::operator(&server.app, clinic.id);
        let allow = async |range: &str| {
            let grant = people::authorize_manage_networks(&server.app, &ctx).unwrap();
            let wanted = AllowedNetworks { networks: [(Role::Doctor, vec![range.to_owned()])].into() };
            people::set_networks(&server.app, &ctx, grant, &wanted).await.unwrap();
        };
        allow("10.20.0.0/16").await;
        let code = code_of(server, provider, "m-17").await;
        trade(server, &code, VERIFIER).await.expect_error(403, "network_not_allowed");
        assert!(noted(server).await.iter().any(|entry| entry.contains("network_not_allowed")));
        allow("127.0.0.0/8").await;
        // Nothing was used up meanwhile.
        trade(server, &code, VERIFIER).await.expect(200);

        let grant = people::authorize_manage_clinic(&server.app, &ctx).unwrap();
        people::set_second_factor(&server.app, &ctx, grant, SecondFactorRule::Required).await.unwrap();
        let code = code_of(server, provider, "m-17").await;
        let session = trade(server, &code, VERIFIER).await.expect(200);
        let token = session["access_token"].as_str();
        server.get("/api/devices/", token).await.expect_error(403, "mfa_enrolment_required");
        server.post("/api/auth/mfa/enroll/", token, &json!({})).await.expect_error(403, "step_up_required");

        let code = code_of(server, provider, "m-17").await;
        trade(server, &code, VERIFIER).await.expect(200);
        let code = code_of(server, provider, "m-17").await;
        let details = trade(server, &code, VERIFIER).await.expect_error(409, "device_limit");
        assert_eq!(details["limit"], 3);
    })
    .await;
}

#[tokio::test]
async fn each_step_counts_as_a_try_to_log_in() {
    let few = |config: &mut sigilo::config::Config| {
        config.limits.logins_per_address = 4;
        config.server.behind_proxy = true;
    };
    with_provider_and(few, async |server, _, _, _| {
        let callback = "/api/auth/oidc/hospital/callback/?state=guessed";
        let start = format!("{}?challenge={}&return_to=elsewhere", super::START, super::challenge());
        let exchange = json!({"code": "guessed", "verifier": VERIFIER});
        let from = async |address: &str, path: &str, body: Option<&Value>| {
            let url = format!("{}{path}", server.url);
            let request = match body {
                Some(body) => server.client.post(url).json(body),
                None => server.client.get(url),
            };
            request.header("x-forwarded-for", address).send().await.unwrap().status().as_u16()
        };
        for (at, path, body, status) in
            [(1, callback, None, 401), (2, &start, None, 400), (3, TOKEN, Some(&exchange), 401)]
        {
            let address = format!("192.0.2.{at}");
            let mut answers = Vec::new();
            for _ in 0..6 {
                answers.push(from(&address, path, body).await);
            }
            assert_eq!(answers, [status, status, status, status, 429, 429], "{path}");
            // They are counted together, and with passwords; others are not hindered.
            let login = json!({"clinic": "ejemplo", "email": "a@b.example", "password": PASSWORD});
            assert_eq!(from(&address, "/api/auth/login/", Some(&login)).await, 429);
            assert_eq!(from("192.0.2.9", callback, None).await, 401);
        }
    })
    .await;
}

#[tokio::test]
async fn admins_bind_the_people_of_their_clinic_after_a_proof() {
    with_provider(async |server, _, clinic, maria| {
        let admin = clinic.person(server, Role::Admin, "admin@clinic.example").await;
        let path = |user| format!("/api/admin/users/{user}/oidc/hospital/");
        let own = path(maria.tokens.user_id);
        let body = json!({"subject": "m-17"});
        server.put(&own, maria.token(), &body).await.expect_error(403, "forbidden");
        server.delete(&own, maria.token()).await.expect_error(403, "forbidden");
        for subject in ["", "a\nb", &"a".repeat(256)] {
            let answer = server.put(&own, admin.token(), &json!({"subject": subject})).await;
            answer.expect_error(400, "invalid_field");
        }
        server.put(&own, admin.token(), &body).await.expect(204);
        server.put(&own, admin.token(), &body).await.expect_error(409, "already_settled");
        server.delete(&own, admin.token()).await.expect(204);
        server.delete(&own, admin.token()).await.expect_error(404, "not_found");

        // The provider is one clinic's: another's people are not bound by it.
        let other = Clinic::create(server, "otra").await;
        let theirs = other.person(server, Role::Doctor, "eva@other.example").await;
        let their_admin = other.person(server, Role::Admin, "admin@other.example").await;
        let path_of_theirs = path(theirs.tokens.user_id);
        server.put(&path_of_theirs, admin.token(), &body).await.expect_error(404, "not_found");
        server.put(&path_of_theirs, their_admin.token(), &body).await.expect_error(404, "not_found");
        let ctx = Ctx::operator(&server.app, other.id);
        let grant = people::authorize_manage_people(&server.app, &ctx).unwrap();
        let who = (theirs.tokens.user_id, "hospital");
        assert!(oidc::bind(&server.app, &ctx, grant, who, "e-1").await.is_err());
        let nowhere = own.replace("hospital", "nowhere");
        server.put(&nowhere, admin.token(), &body).await.expect_error(404, "not_found");

        server.clock.advance(Duration::from_mins(11));
        server.put(&own, admin.token(), &body).await.expect_error(403, "step_up_required");
        let mut tx = server.app.db.read("test").await.unwrap();
        let sql = "SELECT act FROM audit_entries WHERE act IN ('bind_oidc', 'unbind_oidc') ORDER BY seq";
        let acts = fetch_all!(&mut tx, (String,), sql).unwrap();
        assert_eq!(acts.iter().map(|(act,)| act.as_str()).collect::<Vec<_>>(), ["bind_oidc", "unbind_oidc"]);
    })
    .await;
}
