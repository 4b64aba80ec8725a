//! From which networks people may come.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sigilo::{App, Ctx, fetch_all, people};
use sigilo_wire::{Role, account::DeviceKind, networks::AllowedNetworks};
use tokio_tungstenite::tungstenite;

use crate::support::{
    TestServer, both_engines,
    clinic::{Clinic, PASSWORD, Person},
    device::Device,
    socket::Socket,
};

const NETWORKS: &str = "/api/admin/networks/";
const CODE: &str = "network_not_allowed";
/// A network that no test comes from: they come from 127.0.0.1.
const ELSEWHERE: &str = "10.20.0.0/16";
/// How soon sockets of any server must close: it looks every second.
const SOON: Duration = Duration::from_secs(4);

/// As the operator would.
async fn allow(app: &App, clinic: &Clinic, ranges: &[(Role, &str)]) {
    let ctx = Ctx::operator(app, clinic.id);
    let grant = people::authorize_manage_networks(app, &ctx).unwrap();
    let networks = ranges.iter().map(|(role, range)| (*role, vec![(*range).to_owned()]));
    let wanted = AllowedNetworks { networks: networks.collect::<BTreeMap<_, _>>() };
    people::set_networks(app, &ctx, grant, &wanted).await.unwrap();
}

async fn refresh(server: &TestServer, who: &Person) -> crate::support::http::Answer {
    let body = json!({"refresh_token": who.tokens.refresh_token});
    server.post("/api/auth/refresh/", None, &body).await
}

async fn closes_soon(mut socket: Socket) {
    let begun = Instant::now();
    assert_eq!(socket.closed().await, 4401);
    assert!(begun.elapsed() < SOON, "took {:?}", begun.elapsed());
}

#[tokio::test]
async fn whoever_comes_from_elsewhere_gets_no_tokens_and_uses_none() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let maria = clinic.person(server, Role::Doctor, "maria@clinic.example").await;
        let ana = clinic.person(server, Role::Patient, "ana@clinic.example").await;
        let eva = clinic.invite(server, Role::Doctor, "eva@clinic.example").await;
        let ticket = server.post("/api/auth/ws-ticket/", maria.token(), &json!({})).await.expect(200);
        allow(&server.app, &clinic, &[(Role::Doctor, ELSEWHERE)]).await;

        let answer = server.get("/api/devices/", maria.token()).await;
        assert_eq!(answer.body["policies"], json!(["allowed-networks"]));
        let details = answer.expect_error(403, CODE);
        assert_eq!((&details["reason"], &details["address"]), (&json!(CODE), &json!("127.0.0.1")));
        // What enrols a second factor is no way around it.
        server.get("/api/auth/mfa/", maria.token()).await.expect_error(403, CODE);
        refresh(server, &maria).await.expect_error(403, CODE);
        clinic.login(server, &maria.email, PASSWORD, Value::Null).await.expect_error(403, CODE);
        let wrong = clinic.login(server, &maria.email, "not the password", Value::Null).await;
        wrong.expect_error(401, "invalid_credentials");
        clinic.activate(server, &eva.code, DeviceKind::Messaging).await.expect_error(403, CODE);
        for url in [
            ("/ws/chat/".to_owned(), maria.token()),
            (format!("/ws/chat/?token={}", ticket["ticket"].as_str().unwrap()), None),
        ] {
            match Socket::open_path(server, &url.0, url.1).await {
                Err(tungstenite::Error::Http(answer)) => assert_eq!(answer.status(), 403),
                other => panic!("opened from elsewhere: {:?}", other.err()),
            }
        }
        // Others come from anywhere.
        server.get("/api/devices/", ana.token()).await.expect(200);

        let mut tx = server.app.db.read("test").await.unwrap();
        let sql = "SELECT act, canonical FROM audit_entries WHERE outcome = 'failed' ORDER BY seq";
        let noted = fetch_all!(&mut tx, (String, Vec<u8>), sql).unwrap();
        drop(tx);
        let of_network = |(_, entry): &&(String, Vec<u8>)| String::from_utf8_lossy(entry).contains(CODE);
        let acts: Vec<&str> = noted.iter().filter(of_network).map(|(act, _)| act.as_str()).collect();
        assert_eq!(acts, ["refresh", "login", "activate"]);

        // Nothing was used up meanwhile.
        allow(&server.app, &clinic, &[(Role::Doctor, "127.0.0.0/8")]).await;
        server.get("/api/devices/", maria.token()).await.expect(200);
        refresh(server, &maria).await.expect(200);
        clinic.activate(server, &eva.code, DeviceKind::Messaging).await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn open_sockets_close_when_they_may_not_come_from_there_any_more() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let maria = Device::create(server, &clinic, Role::Doctor, "maria@clinic.example").await;
        let ana = Device::create(server, &clinic, Role::Patient, "ana@clinic.example").await;
        let mut stays = Socket::open(server, &ana).await;
        // On this server.
        let socket = Socket::open(server, &maria).await;
        allow(&server.app, &clinic, &[(Role::Doctor, ELSEWHERE)]).await;
        closes_soon(socket).await;
        // On another, and for what is decided on a request.
        allow(&server.app, &clinic, &[]).await;
        let node = server.beside().await;
        let socket = Socket::open(server, &maria).await;
        allow(&node.app, &clinic, &[(Role::Doctor, ELSEWHERE)]).await;
        closes_soon(socket).await;
        server.get("/api/devices/", Some(&maria.token)).await.expect_error(403, CODE);
        node.stop().await;
        // Those of others are as they were.
        stays.send(&json!({"type": "auth", "request_id": "1", "token": ana.token})).await;
        while stays.next().await["type"] != "result" {}
    })
    .await;
}

#[tokio::test]
async fn a_deployments_own_rule_reads_the_address_and_holds_for_open_sockets() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let ana = Device::create(server, &clinic, Role::Patient, "ana@clinic.example").await;
        let staff = Device::create(server, &clinic, Role::Admin, "staff@clinic.example").await;
        let rules = tempfile::tempdir().unwrap();
        let rule = |range: &str| {
            let text = format!(
                "forbid (principal is User, action == Action::\"connect\", resource is User)\n\
                 when {{ principal.role == \"admin\" && context has address && \
                 !context.address.isInRange(ip(\"{range}\")) }};"
            );
            std::fs::write(rules.path().join("staff-in-the-office.cedar"), text).unwrap();
            server.app.policy.reload(Some(rules.path())).unwrap();
        };
        rule("127.0.0.0/8");
        let mut stays = Socket::open(server, &ana).await;
        let socket = Socket::open(server, &staff).await;
        rule(ELSEWHERE);
        closes_soon(socket).await;
        let answer = server.get(NETWORKS, Some(&staff.token)).await;
        assert_eq!(answer.body["policies"], json!(["staff-in-the-office"]));
        answer.expect_error(403, "forbidden");
        stays.send(&json!({"type": "auth", "request_id": "1", "token": ana.token})).await;
        while stays.next().await["type"] != "result" {}
    })
    .await;
}

#[tokio::test]
async fn staff_do_not_shut_themselves_out_and_the_operator_always_gets_in() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let staff = clinic.person(server, Role::Admin, "staff@clinic.example").await;
        let maria = clinic.person(server, Role::Doctor, "maria@clinic.example").await;
        let wanted = |role: &str, ranges: &[&str]| json!({"networks": {role: ranges}});
        server.put(NETWORKS, maria.token(), &wanted("doctor", &[])).await.expect_error(403, "forbidden");
        server.get(NETWORKS, maria.token()).await.expect_error(403, "forbidden");
        for wrong in [
            wanted("admin", &[ELSEWHERE]),
            wanted("doctor", &["10.20.1.0/16"]),
            wanted("doctor", &["the office"]),
        ] {
            let details =
                server.put(NETWORKS, staff.token(), &wrong).await.expect_error(400, "invalid_field");
            assert_eq!(details["field"], "networks");
        }
        let good = json!({"networks": {"admin": ["127.0.0.1/32", ELSEWHERE], "doctor": [ELSEWHERE]}});
        assert_eq!(server.put(NETWORKS, staff.token(), &good).await.expect(200), good);
        assert_eq!(server.get(NETWORKS, staff.token()).await.expect(200), good);
        server.get("/api/devices/", maria.token()).await.expect_error(403, CODE);
        // The command line is bound by nothing of it.
        allow(&server.app, &clinic, &[(Role::Admin, ELSEWHERE)]).await;
        server.get(NETWORKS, staff.token()).await.expect_error(403, CODE);
        allow(&server.app, &clinic, &[]).await;
        assert_eq!(server.get(NETWORKS, staff.token()).await.expect(200), json!({"networks": {}}));
    })
    .await;
}
