//! From where accounts are logged in to.

use std::time::Duration;

use serde_json::{Value, json};
use sigilo::{config::Config, fetch_all};
use sigilo_wire::Role;

use crate::support::{
    TestServer, both_engines_with,
    clinic::{Clinic, PASSWORD},
    device::Device,
    http::Answer,
};

const ANA: &str = "ana@clinic.example";
const HOME: &str = "192.0.2.7";
const NEXT_DOOR: &str = "192.0.2.200";
const ABROAD: &str = "2001:db8:77::1";

fn behind_proxy(config: &mut Config) {
    config.server.behind_proxy = true;
}

/// Logs in from an address, as the proxy says.
async fn log_in_from(server: &TestServer, address: &str, device: Value) -> Value {
    let mut body = json!({"clinic": "ejemplo", "email": ANA, "password": PASSWORD});
    if !device.is_null() {
        body["device"] = device;
    }
    let request = server.client.post(format!("{}/api/auth/login/", server.url));
    let request = request.header("x-forwarded-for", format!("198.51.100.1, {address}"));
    Answer::of(request.json(&body).send().await.unwrap()).await.expect(200)
}

/// What a device is told of new places.
async fn told(server: &TestServer, token: &str) -> Vec<Value> {
    let waiting = server.get("/api/chat/events/", Some(token)).await.expect(200);
    let of_places = |event: &&Value| event["type"] == "new_place";
    waiting["results"].as_array().unwrap().iter().filter(of_places).cloned().collect()
}

/// How many log-ins the audit log has from new places.
async fn noted(server: &TestServer) -> usize {
    let mut tx = server.app.db.read("test").await.unwrap();
    let sql = "SELECT act, canonical FROM audit_entries WHERE act IN ('activate', 'login')";
    let entries = fetch_all!(&mut tx, (String, Vec<u8>), sql).unwrap();
    let new = |(_, entry): &&(String, Vec<u8>)| String::from_utf8_lossy(entry).contains(r#""place":"new""#);
    entries.iter().filter(new).count()
}

#[tokio::test]
async fn a_log_in_from_a_new_place_is_told_to_the_other_devices_and_noted() {
    both_engines_with(behind_proxy, async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        // The first place of the account, where the invitation was used, is not new.
        let ana = Device::create(server, &clinic, Role::Patient, ANA).await;
        let other = Device::create(server, &clinic, Role::Patient, "luis@clinic.example").await;
        assert_eq!(told(server, &ana.token).await, Vec::<Value>::new());

        let session = log_in_from(server, HOME, Value::Null).await;
        let news = told(server, &ana.token).await;
        assert_eq!(news.len(), 1, "{news:?}");
        let data = &news[0]["data"];
        assert_eq!((&data["device"], &data["kind"]), (&session["device"]["id"], &json!("session")));
        assert!(data["at"].is_string(), "{data}");
        assert_eq!(data.as_object().unwrap().len(), 3, "no address: {data}");
        // Known from then on, for the whole network.
        log_in_from(server, NEXT_DOOR, Value::Null).await;
        assert_eq!(told(server, &ana.token).await.len(), 1);
        // The device that logs in hears nothing of it itself.
        let back = json!({"kind": "messaging", "device_id": ana.device});
        let back = log_in_from(server, ABROAD, back).await;
        let token = back["access_token"].as_str().unwrap();
        assert_eq!(told(server, token).await.len(), 1);
        log_in_from(server, ABROAD, Value::Null).await;
        assert_eq!(told(server, token).await.len(), 1);
        // Renewed tokens are no log-in, wherever they are renewed.
        let request = server.client.post(format!("{}/api/auth/refresh/", server.url));
        let body = json!({"refresh_token": back["refresh_token"]});
        let answer = request.header("x-forwarded-for", "203.0.113.9").json(&body).send().await.unwrap();
        let renewed = Answer::of(answer).await.expect(200);
        let token = renewed["access_token"].as_str().unwrap();
        assert_eq!(told(server, token).await.len(), 1);
        assert_eq!(told(server, &other.token).await, Vec::<Value>::new());

        assert_eq!(noted(server).await, 2);
        let mut tx = server.app.db.read("test").await.unwrap();
        const PLACES: &str = "SELECT place, last_at FROM known_places";
        let places = fetch_all!(&mut tx, (Vec<u8>, i64), PLACES).unwrap();
        // Ana's three and the other's one, and no network to be read.
        assert_eq!(places.len(), 4);
        assert!(places.iter().all(|(place, _)| place.len() == 32));
    })
    .await;
}

#[tokio::test]
async fn few_places_are_remembered_and_not_for_ever() {
    both_engines_with(behind_proxy, async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let ana = Device::create(server, &clinic, Role::Patient, ANA).await;
        let messaging = json!({"kind": "messaging", "device_id": ana.device});
        let second = log_in_from(server, HOME, json!({"kind": "messaging", "name": "tablet"})).await;
        // An hour apart, so that the oldest is known; the tablet listens.
        for n in 0..20 {
            server.clock.advance(Duration::from_hours(1));
            log_in_from(server, &format!("203.0.{n}.1"), messaging.clone()).await;
        }
        let count = async || {
            let back = json!({"kind": "messaging", "device_id": second["device"]["id"]});
            let tokens = log_in_from(server, "203.0.19.1", back).await;
            told(server, tokens["access_token"].as_str().unwrap()).await.len()
        };
        assert_eq!(count().await, 20);
        // Twenty are remembered: home and the first address are not among them.
        let mut tx = server.app.db.read("test").await.unwrap();
        let places = fetch_all!(&mut tx, (Vec<u8>,), "SELECT place FROM known_places").unwrap();
        drop(tx);
        assert_eq!(places.len(), 20);
        log_in_from(server, "203.0.18.1", messaging.clone()).await;
        assert_eq!(count().await, 20);
        log_in_from(server, HOME, messaging.clone()).await;
        assert_eq!(count().await, 21);
        // Nobody came from there for half a year; an account where nobody logs in is no less watched.
        assert_eq!(noted(server).await, 22);
        server.clock.advance(Duration::from_hours(181 * 24));
        log_in_from(server, "203.0.18.1", messaging).await;
        assert_eq!(noted(server).await, 23);
    })
    .await;
}
