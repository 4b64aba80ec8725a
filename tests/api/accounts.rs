//! Invitations, activation, login, devices and the own account.

use serde_json::{Value, json};
use sigilo::{Ctx, people::Invitee, relationships};
use sigilo_wire::{Role, account::DeviceKind};

use crate::support::{
    Engine, TestServer, both_engines,
    clinic::{Clinic, PASSWORD, invite, invitee},
    mfa::Authenticator,
    socket::Socket,
};

const ANA: &str = "ana@clinic.example";

async fn audit_acts(server: &TestServer) -> Vec<(String, String)> {
    const ACTS: &str = "SELECT act, outcome FROM audit_entries ORDER BY seq";
    match &server.app.db {
        sigilo::storage::Db::Sqlite { read, .. } => sqlx::query_as(ACTS).fetch_all(read).await.unwrap(),
        sigilo::storage::Db::Postgres(pool) => sqlx::query_as(ACTS).fetch_all(pool).await.unwrap(),
    }
}

#[tokio::test]
async fn an_invitation_becomes_an_account_with_device_number_one() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let ana = clinic.person(server, Role::Patient, ANA).await;
        assert_eq!(ana.tokens.expires_in, 900);
        assert_eq!(ana.tokens.clinic_id, clinic.id);
        let me = server.get("/api/me/", ana.token()).await.expect(200);
        assert_eq!(me["full_name"], "Ana López");
        assert_eq!(me["email"], ANA);
        assert_eq!(me["role"], "patient");
        assert_eq!(me["device"]["device_id"], 1);
        assert_eq!(me["device"]["name"], "phone");
        assert_eq!(me["device"]["current"], true);
        let acts = audit_acts(server).await;
        for act in ["create_clinic", "install_clinic_keys", "invite", "activate"] {
            assert!(acts.contains(&(act.to_owned(), "allowed".to_owned())), "{act}: {acts:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_invitation_works_once_and_for_72_hours() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let used = clinic.invite(server, Role::Patient, ANA).await;
        clinic.activate(server, &used.code, DeviceKind::Messaging).await.expect(200);
        let again = clinic.activate(server, &used.code, DeviceKind::Messaging).await;
        again.expect_error(401, "invalid_invitation");

        let other = Clinic::create(server, "otra").await;
        let here = clinic.invite(server, Role::Doctor, "maria@clinic.example").await;
        let elsewhere = other.activate(server, &here.code, DeviceKind::Messaging).await;
        elsewhere.expect_error(401, "invalid_invitation");

        // A new invitation ends the one before.
        let newer = clinic.invite(server, Role::Doctor, "maria@clinic.example").await;
        assert_eq!(newer.user_id, here.user_id);
        let replaced = clinic.activate(server, &here.code, DeviceKind::Messaging).await;
        replaced.expect_error(401, "invalid_invitation");

        server.clock.advance(std::time::Duration::from_hours(72));
        let late = clinic.activate(server, &newer.code, DeviceKind::Messaging).await;
        late.expect_error(401, "invalid_invitation");
        let unknown = clinic.activate(server, "not-a-code", DeviceKind::Messaging).await;
        unknown.expect_error(401, "invalid_invitation");
        assert!(audit_acts(server).await.contains(&("activate".to_owned(), "failed".to_owned())));
    })
    .await;
}

#[tokio::test]
async fn of_many_who_use_one_invitation_one_gets_the_account() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let invitation = clinic.invite(server, Role::Patient, ANA).await;
        let attempts = (0..8).map(|_| clinic.activate(server, &invitation.code, DeviceKind::Messaging));
        let answers = futures_util::future::join_all(attempts).await;
        let served = answers.iter().filter(|answer| answer.status == 200).count();
        let refused = answers.iter().filter(|answer| answer.body["error"] == "invalid_invitation").count();
        assert_eq!((served, refused), (1, 7), "{answers:?}");
    })
    .await;
}

#[tokio::test]
async fn activation_refuses_weak_passwords_and_keeps_the_invitation() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let invitation = clinic.invite(server, Role::Patient, ANA).await;
        let mut body = json!({
            "clinic": "ejemplo", "code": invitation.code, "password": "elevenchars",
            "device": {"kind": "messaging"},
        });
        let weak = server.post("/api/auth/activate/", None, &body).await;
        assert_eq!(weak.expect_error(422, "weak_password")["min_characters"], 12);
        body["password"] = json!("x".repeat(1_025));
        let long = server.post("/api/auth/activate/", None, &body).await;
        assert_eq!(long.expect_error(400, "invalid_field")["field"], "password");
        body["password"] = json!(PASSWORD);
        body["device"]["name"] = json!("x".repeat(101));
        let name = server.post("/api/auth/activate/", None, &body).await;
        assert_eq!(name.expect_error(400, "invalid_field")["field"], "device.name");
        body["device"]["name"] = json!("phone");
        server.post("/api/auth/activate/", None, &body).await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn a_login_does_not_tell_what_was_wrong() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        clinic.person(server, Role::Patient, ANA).await;
        clinic.invite(server, Role::Doctor, "maria@clinic.example").await;
        let mut answers = Vec::new();
        for (slug, email, password) in [
            ("ejemplo", ANA, "wrong horse battery"),
            ("ejemplo", "nobody@clinic.example", PASSWORD),
            ("ejemplo", "maria@clinic.example", PASSWORD),
            ("nowhere", ANA, PASSWORD),
        ] {
            let body = json!({"clinic": slug, "email": email, "password": password});
            let answer = server.post("/api/auth/login/", None, &body).await;
            answer.clone().expect_error(401, "invalid_credentials");
            answers.push((answer.body["message"].clone(), answer.body["details"].clone()));
        }
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
        // Letter case and spaces of an address do not matter; the default device is a session.
        let tokens = clinic.login(server, " Ana@Clinic.example", PASSWORD, Value::Null).await.expect(200);
        assert_eq!(tokens["device"]["kind"], "session");
        assert_eq!(tokens["device"]["device_id"], Value::Null);
        let acts = audit_acts(server).await;
        let count = |outcome: &str| acts.iter().filter(|(a, o)| a == "login" && o == outcome).count();
        assert_eq!((count("failed"), count("allowed")), (3, 1), "{acts:?}");
    })
    .await;
}

#[tokio::test]
async fn an_account_has_six_messaging_devices_and_three_sessions() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        clinic.person(server, Role::Patient, ANA).await;
        let messaging = json!({"kind": "messaging", "name": "tablet"});
        for number in 2..=6 {
            let tokens = clinic.login(server, ANA, PASSWORD, messaging.clone()).await.expect(200);
            assert_eq!(tokens["device"]["device_id"], number);
        }
        let full = clinic.login(server, ANA, PASSWORD, messaging.clone()).await;
        assert_eq!(full.expect_error(409, "device_limit"), json!({"kind": "messaging", "limit": 6}));

        let mut token = String::new();
        for _ in 0..3 {
            let tokens = clinic.login(server, ANA, PASSWORD, Value::Null).await.expect(200);
            token = tokens["access_token"].as_str().unwrap().to_owned();
        }
        let full = clinic.login(server, ANA, PASSWORD, Value::Null).await;
        assert_eq!(full.expect_error(409, "device_limit"), json!({"kind": "session", "limit": 3}));

        // A removed device makes room; its number is not given again.
        let devices = server.get("/api/devices/", Some(&token)).await.expect(200);
        let devices = devices["results"].as_array().unwrap().clone();
        assert_eq!(devices.len(), 9);
        assert_eq!(devices.iter().filter(|device| device["current"] == true).count(), 1);
        let third = devices.iter().find(|device| device["device_id"] == 3).unwrap()["id"].as_str().unwrap();
        server.delete(&format!("/api/devices/{third}/"), Some(&token)).await.expect(204);
        server.delete(&format!("/api/devices/{third}/"), Some(&token)).await.expect_error(404, "not_found");
        let tokens = clinic.login(server, ANA, PASSWORD, messaging.clone()).await.expect(200);
        assert_eq!(tokens["device"]["device_id"], 7);

        // Sessions idle for half an hour are over and make room.
        server.clock.advance(std::time::Duration::from_mins(31));
        for _ in 0..3 {
            clinic.login(server, ANA, PASSWORD, Value::Null).await.expect(200);
        }
    })
    .await;
}

#[tokio::test]
async fn logins_at_the_same_time_do_not_exceed_the_limit() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        clinic.person(server, Role::Patient, ANA).await;
        let attempts = (0..8).map(|_| clinic.login(server, ANA, PASSWORD, Value::Null));
        let answers = futures_util::future::join_all(attempts).await;
        let served = answers.iter().filter(|answer| answer.status == 200).count();
        let refused = answers.iter().filter(|answer| answer.body["error"] == "device_limit").count();
        assert_eq!((served, refused), (3, 5), "{answers:?}");
    })
    .await;
}

#[tokio::test]
async fn a_removed_device_is_out_at_once_and_cannot_come_back() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let phone = clinic.person(server, Role::Patient, ANA).await;
        let session = clinic.login(server, ANA, PASSWORD, Value::Null).await.expect(200);
        server.get("/api/me/", phone.token()).await.expect(200);
        let path = format!("/api/devices/{}/", phone.tokens.device.id);
        server.delete(&path, session["access_token"].as_str()).await.expect(204);
        server.get("/api/me/", phone.token()).await.expect_error(401, "device_revoked");
        let refresh = json!({"refresh_token": phone.tokens.refresh_token});
        server.post("/api/auth/refresh/", None, &refresh).await.expect_error(401, "device_revoked");
        let again = json!({"kind": "messaging", "device_id": phone.tokens.device.id});
        clinic.login(server, ANA, PASSWORD, again).await.expect_error(404, "not_found");
    })
    .await;
}

#[tokio::test]
async fn a_messaging_device_logs_in_again_as_itself() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let phone = clinic.person(server, Role::Patient, ANA).await;
        let device = json!({"kind": "messaging", "device_id": phone.tokens.device.id});
        let again = clinic.login(server, ANA, PASSWORD, device.clone()).await.expect(200);
        assert_eq!(again["device"]["device_id"], 1);
        assert_eq!(again["device"]["name"], "phone");
        // One family a device: the tokens before are over.
        server.get("/api/me/", phone.token()).await.expect_error(401, "device_revoked");
        server.get("/api/me/", again["access_token"].as_str()).await.expect(200);

        let refresh = json!({"refresh_token": again["refresh_token"]});
        server.post("/api/auth/logout/", None, &refresh).await.expect(204);
        server.get("/api/me/", again["access_token"].as_str()).await.expect_error(401, "device_revoked");
        clinic.login(server, ANA, PASSWORD, device.clone()).await.expect(200);

        // Somebody else's device is nobody's.
        clinic.person(server, Role::Doctor, "maria@clinic.example").await;
        let foreign = clinic.login(server, "maria@clinic.example", PASSWORD, device.clone()).await;
        foreign.expect_error(404, "not_found");
        let session = json!({"kind": "session", "device_id": phone.tokens.device.id});
        clinic.login(server, ANA, PASSWORD, session).await.expect_error(400, "invalid_field");
    })
    .await;
}

#[tokio::test]
async fn devices_of_others_and_of_other_clinics_are_not_there() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let other = Clinic::create(server, "otra").await;
        let ana = clinic.person(server, Role::Patient, ANA).await;
        let maria = clinic.person(server, Role::Doctor, "maria@clinic.example").await;
        // The same address in another clinic is another account.
        let stranger = other.person(server, Role::Patient, ANA).await;
        for device in [&maria.tokens.device.id, &stranger.tokens.device.id] {
            let answer = server.delete(&format!("/api/devices/{device}/"), ana.token()).await;
            answer.expect_error(404, "not_found");
        }
        for person in [&maria, &stranger] {
            server.get("/api/me/", person.token()).await.expect(200);
        }
        let mine = server.get("/api/devices/", ana.token()).await.expect(200);
        assert_eq!(mine["results"].as_array().unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn the_own_account_changes_only_where_the_request_says() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let ana = clinic.person(server, Role::Patient, ANA).await;
        let update = json!({"locale": "es-MX", "time_zone": "America/Tijuana"});
        let me = server.put("/api/me/", ana.token(), &update).await.expect(200);
        assert_eq!((&me["locale"], &me["time_zone"]), (&json!("es-MX"), &json!("America/Tijuana")));
        assert_eq!(me["full_name"], "Ana López");
        let me =
            server.put("/api/me/", ana.token(), &json!({"full_name": "Ana María López"})).await.expect(200);
        assert_eq!((&me["full_name"], &me["locale"]), (&json!("Ana María López"), &json!("es-MX")));
        for (field, value) in [("full_name", ""), ("locale", "español"), ("time_zone", "Mexico City")] {
            let wrong = server.put("/api/me/", ana.token(), &json!({field: value})).await;
            assert_eq!(wrong.expect_error(400, "invalid_field")["field"], field);
        }
        let wrong = server.put("/api/me/", ana.token(), &json!({"role": "admin"})).await;
        assert_eq!(wrong.expect_error(400, "unknown_field")["field"], "role");
        assert_eq!(server.get("/api/me/", ana.token()).await.expect(200), me);
    })
    .await;
}

#[tokio::test]
async fn an_invitation_attaches_an_account_to_an_imported_person() {
    const FIXTURE: &[u8] = include_bytes!("../fixtures/appointments.fhir.json");
    const MRN: &str = "https://clinica-demo.example/fhir/mrn";
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let ctx = Ctx::operator(&server.app, clinic.id);
        let grant = relationships::authorize_manage_relationships(&server.app, &ctx).unwrap();
        let records = relationships::read(FIXTURE).unwrap();
        relationships::import(&server.app, &ctx, grant, records).await.unwrap();

        let identified = |role, value: &str| Invitee {
            name: None,
            identifier: Some((MRN.to_owned(), value.to_owned())),
            ..invitee(role, ANA)
        };
        let card = &clinic.ceremony.card;
        let unknown = invite(server, clinic.id, &identified(Role::Patient, "MRN-0"), card).await;
        assert_eq!(unknown.unwrap_err().code().as_str(), "not_found");
        let role = invite(server, clinic.id, &identified(Role::Doctor, "MRN-1001"), card).await;
        assert_eq!(role.unwrap_err().code().as_str(), "invalid_field");
        let invitation =
            invite(server, clinic.id, &identified(Role::Patient, "MRN-1001"), card).await.unwrap();
        // The address is hers now: another imported person cannot have it.
        let taken = invite(server, clinic.id, &identified(Role::Patient, "MRN-1002"), card).await;
        assert_eq!(taken.unwrap_err().code().as_str(), "already_exists");
        let tokens = clinic.activate(server, &invitation.code, DeviceKind::Messaging).await.expect(200);
        assert_eq!(tokens["user_id"], json!(invitation.user_id));
        let me = server.get("/api/me/", tokens["access_token"].as_str()).await.expect(200);
        assert_eq!((&me["full_name"], &me["email"]), (&json!("Ana López"), &json!(ANA)));
        let again = invite(server, clinic.id, &identified(Role::Patient, "MRN-1001"), card).await;
        assert_eq!(again.unwrap_err().code().as_str(), "already_exists");
    })
    .await;
}

#[tokio::test]
async fn open_sockets_close_with_their_devices_tokens() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let phone = clinic.person(server, Role::Patient, ANA).await;
        let session = clinic.login(server, ANA, PASSWORD, Value::Null).await.expect(200);
        let messaging = json!({"kind": "messaging", "device_id": phone.tokens.device.id});

        // Logged out.
        let mut socket = Socket::open_path(server, "/ws/chat/", phone.token()).await.unwrap();
        socket.expect("queue_empty").await;
        let refresh = json!({"refresh_token": phone.tokens.refresh_token});
        server.post("/api/auth/logout/", None, &refresh).await.expect(204);
        assert_eq!(socket.closed().await, 4401);
        assert!(Socket::open_path(server, "/ws/chat/", phone.token()).await.is_err());

        // A refresh token in two hands.
        let back = clinic.login(server, ANA, PASSWORD, messaging.clone()).await.expect(200);
        let token = back["access_token"].as_str();
        let mut socket = Socket::open_path(server, "/ws/chat/", token).await.unwrap();
        socket.expect("queue_empty").await;
        let refresh = json!({"refresh_token": back["refresh_token"]});
        let next = server.post("/api/auth/refresh/", None, &refresh).await.expect(200);
        let next = json!({"refresh_token": next["refresh_token"]});
        server.post("/api/auth/refresh/", None, &next).await.expect(200);
        server.post("/api/auth/refresh/", None, &refresh).await.expect_error(401, "token_reused");
        assert_eq!(socket.closed().await, 4401);

        // Removed from another device, with a ticket in hand.
        let back = clinic.login(server, ANA, PASSWORD, messaging).await.expect(200);
        let token = back["access_token"].as_str();
        let ticket = server.post("/api/auth/ws-ticket/", token, &json!({})).await.expect(200);
        let path = format!("/ws/chat/?token={}", ticket["ticket"].as_str().unwrap());
        let mut socket = Socket::open_path(server, &path, None).await.unwrap();
        socket.expect("queue_empty").await;
        assert!(Socket::open_path(server, &path, None).await.is_err(), "a ticket works once");
        let device = format!("/api/devices/{}/", phone.tokens.device.id);
        server.delete(&device, session["access_token"].as_str()).await.expect(204);
        assert_eq!(socket.closed().await, 4401);
    })
    .await;
}

#[tokio::test]
async fn files_at_rest_hold_no_name_address_password_or_token() {
    let server = TestServer::start(Engine::Sqlite).await;
    let clinic = Clinic::create(&server, "ejemplo").await;
    let invitation = clinic.invite(&server, Role::Patient, ANA).await;
    // With a key: what a repeated activation is recognised by is there, too.
    let body = json!({
        "clinic": clinic.id, "code": invitation.code, "password": PASSWORD,
        "device": {"kind": "messaging", "name": "Ana's phone"},
    });
    let tokens = server.post_with_key("/api/auth/activate/", None, "a-key", &body).await.expect(200);
    let ticket =
        server.post("/api/auth/ws-ticket/", tokens["access_token"].as_str(), &json!({})).await.expect(200);
    let (app, codes) = Authenticator::enroll(&server, tokens["access_token"].as_str()).await;
    let raw = totp_rs::Secret::try_from_base32(&app.secret).unwrap();
    let secrets = [
        "Ana López",
        ANA,
        PASSWORD,
        "Ana's phone",
        &invitation.code,
        tokens["refresh_token"].as_str().unwrap(),
        ticket["ticket"].as_str().unwrap(),
        &app.secret,
        &codes[0],
        &codes[9].replace('-', ""),
    ];
    let secrets: Vec<&[u8]> = secrets.iter().map(|text| text.as_bytes()).chain([raw.as_bytes()]).collect();
    let mut folders = vec![server.database.folder.path().to_owned()];
    let mut found_slug = false;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if !path.is_file() {
                // The socket of the scan worker.
                continue;
            }
            let content = std::fs::read(&path).unwrap();
            let holds = |secret: &[u8]| content.windows(secret.len()).any(|window| window == secret);
            // The search itself works: the slug is not a secret.
            found_slug |= holds(b"ejemplo");
            for secret in &secrets {
                let shown = String::from_utf8_lossy(secret);
                assert!(!holds(secret), "{shown} is in {}", path.display());
            }
        }
    }
    assert!(found_slug);
    server.finish().await;
}
