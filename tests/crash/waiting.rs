//! What waits on the server for its time, a held message or an emergency that nobody acknowledges, outlives `kill -9`:
//! none is lost, and none happens twice.

use std::{sync::Arc, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};
use sigilo::{
    App, Ctx,
    clock::{Clock as _, SystemClock},
    config::Config,
    execute, fetch_one, hours,
    rng::SystemEntropy,
    shutdown::{self, Phase},
    storage::Db,
};
use sigilo_wire::{
    ConversationId, Role, TenantId,
    hours::SetHours,
    message::{Deliver, Message, SendMessage},
};
use tokio::time::sleep;

use crate::{
    PATIENCE,
    line::{Came, Line},
    load::{Cast, Pair},
    seeded,
    served::Served,
    support::{
        Engine, TestServer,
        clinic::Clinic,
        device::Device,
        hours::{daily, open},
    },
    up_to,
};

/// How many messages each patient has held.
const EACH: usize = 15;
/// How often the server is killed while they come, and while they go.
const KILLS: usize = 4;
/// From a start to the next kill, at most.
const LIFE: Duration = Duration::from_millis(700);
/// How long a tier has to acknowledge: enough for the server to be killed before.
const TIER_S: u32 = 8;

/// Writes one after the other, each until the server has said that it holds it; gives them with their ids.
async fn hold(line: Line, pair: Pair) -> Vec<(SendMessage, Value)> {
    let (mut promised, mut vain) = (Vec::new(), 0);
    let path = format!("/api/chat/conversations/{}/messages/", pair.conversation);
    for number in 0..EACH {
        let text = format!("line {number}");
        let message =
            pair.patient.message_at(SystemClock.now(), pair.conversation, &text, &[&pair.doctor], |m| {
                m.deliver = Deliver::WhenOpen;
            });
        let held =
            line.insist(Method::POST, &path, &pair.patient.token, Some(&json!(message)), &mut vain).await;
        assert_eq!(held["delivery_status"], "held", "{held}");
        promised.push((message, held["message_id"].clone()));
        sleep(Duration::from_millis(20)).await;
    }
    promised
}

/// The clinic opens, by a command beside the database.
async fn open_for_good(config: Config, clinic: TenantId) {
    let (phase, shutdown) = shutdown::channel();
    let app = App::open(config, Arc::new(SystemClock), Arc::new(SystemEntropy), shutdown).await.unwrap();
    let all_day = vec![["00:00".to_owned(), "24:00".to_owned()]];
    let change = SetHours { time_zone: None, weekly: Some(daily(&all_day)) };
    let ctx = Ctx::operator(&app, clinic);
    let grant = hours::authorize_manage_hours(&app, &ctx).await.unwrap();
    hours::set(&app, &ctx, grant, None, &change).await.unwrap();
    phase.send_replace(Phase::Stopped);
    app.close().await;
}

async fn held_messages(engine: Engine) {
    let mut rng = seeded();
    let server = TestServer::start(engine).await;
    let cast = Cast::create(&server).await;
    open(&server, cast.clinic.id, None, &[(60, 90)]).await;
    let (database, address) = server.halt().await;
    let line = Line::to(address);
    let mut served = Served::start(database.config(), address);
    let writers: Vec<_> =
        cast.pairs.iter().map(|pair| (pair, tokio::spawn(hold(line.clone(), pair.clone())))).collect();
    for _ in 0..KILLS {
        sleep(up_to(&mut rng, LIFE)).await;
        served.kill().await;
        served.again();
    }
    let mut written = Vec::new();
    for (pair, writer) in writers {
        written.push((pair, writer.await.unwrap()));
    }
    open_for_good(database.config(), cast.clinic.id).await;
    for _ in 0..KILLS {
        sleep(up_to(&mut rng, LIFE)).await;
        served.kill().await;
        served.again();
    }
    let mut vain = 0;
    for (pair, _) in &written {
        let path = format!("/api/chat/conversations/{}/", pair.conversation);
        let end = tokio::time::Instant::now() + PATIENCE;
        while line.insist(Method::GET, &path, &pair.doctor.token, None, &mut vain).await["total_messages"]
            .as_u64()
            < Some(EACH as u64)
        {
            assert!(tokio::time::Instant::now() < end, "what was held is not released");
            sleep(Duration::from_millis(50)).await;
        }
    }
    served.kill().await;
    let server = TestServer::open(database).await;
    let mut tx = server.app.db.read("test").await.unwrap();
    assert_eq!(fetch_one!(&mut tx, (i64,), "SELECT COUNT(*) FROM held_messages").unwrap().0, 0);
    drop(tx);
    for (pair, promised) in &written {
        let path = format!("/api/chat/conversations/{}/messages/", pair.conversation);
        let page = server.get(&path, Some(&pair.doctor.token)).await.expect(200);
        let mut stored: Vec<Message> = serde_json::from_value(page["results"].clone()).unwrap();
        stored.reverse();
        let came: Vec<_> = stored.iter().map(|m| (json!(m.id), m.client_message_id, m.device_seq)).collect();
        let said: Vec<_> =
            promised.iter().map(|(m, id)| (id.clone(), m.client_message_id, m.device_seq)).collect();
        assert_eq!(
            came, said,
            "each that was held is stored, once, in its place, under the id that was said"
        );
        let places: Vec<i64> = stored.iter().map(|message| message.conversation_seq).collect();
        assert_eq!(places, (1..=EACH as i64).collect::<Vec<_>>());
    }
    println!(
        "{engine:?}: {} held messages, {} kills, {vain} requests in vain at the end",
        EACH * written.len(),
        2 * KILLS
    );
    assert_eq!(served.faults(), Vec::<String>::new());
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn held_messages_outlive_a_killed_server_on_sqlite() {
    held_messages(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn held_messages_outlive_a_killed_server_on_postgresql() {
    held_messages(Engine::Postgres).await;
}

/// Asks until the answer is as it should be.
async fn until_it_says(line: &Line, path: &str, who: &Device, so: impl Fn(&Value) -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        match line.ask(Method::GET, path, &who.token, None).await {
            Came::Answer(body) if so(&body) => return,
            came => assert!(tokio::time::Instant::now() < end, "{path}: {came:?}"),
        }
        sleep(Duration::from_millis(100)).await;
    }
}

async fn tier_of(config: &Config, id: ConversationId) -> i64 {
    let db = Db::open(&config.database_url().unwrap()).await.unwrap();
    let mut tx = db.read("test").await.unwrap();
    let sql = "SELECT tier FROM emergencies WHERE conversation_id = $1";
    let (tier,) = fetch_one!(&mut tx, (i64,), sql, id).unwrap();
    drop(tx);
    db.close().await;
    tier
}

/// The patient opens an emergency, the server dies before anybody acknowledges, and comes back.
async fn emergency(engine: Engine) {
    let server = TestServer::start(engine).await;
    let clinic = Clinic::create(&server, "night").await;
    let person = async |role, name: &str| {
        Device::create(&server, &clinic, role, &format!("{name}@night.example")).await
    };
    let (ana, staff) = (person(Role::Patient, "ana").await, person(Role::Admin, "staff").await);
    let (maria, jorge) = (person(Role::Doctor, "maria").await, person(Role::Doctor, "jorge").await);
    for (who, tier) in [(&maria, 1), (&jorge, 2)] {
        let shift = json!({"user_id": who.user, "tier": tier});
        server.post("/api/admin/on-call/", Some(&staff.token), &shift).await.expect(201);
    }
    let mut tx = server.app.db.begin("test").await.unwrap();
    // The API takes no less than a minute.
    let settings = json!({"second_factor": "optional", "escalate_after_s": TIER_S}).to_string();
    execute!(&mut tx, "UPDATE tenants SET settings = $2 WHERE tenant_id = $1", clinic.id, settings).unwrap();
    tx.commit().await.unwrap();
    let (database, address) = server.halt().await;
    let line = Line::to(address);
    let mut served = Served::start(database.config(), address);
    let call = json!({"category": "symptoms", "urgency": "immediate"});
    let mut vain = 0;
    let opened = line.insist(Method::POST, "/api/chat/emergency/", &ana.token, Some(&call), &mut vain).await;
    served.kill().await;
    let id: ConversationId = serde_json::from_value(opened["emergency"]["conversation_id"].clone()).unwrap();
    assert_eq!(tier_of(&database.config(), id).await, 1, "the server was killed before its time");
    served.again();
    let path = format!("/api/chat/emergency/{id}/");
    until_it_says(&line, &path, &ana, |emergency| emergency["tier"] == 2).await;
    let seen = line.insist(Method::GET, &path, &jorge.token, None, &mut vain).await;
    assert_eq!(seen["state"], "open", "{seen}");
    // What was called stays called, and is called once.
    served.kill().await;
    served.again();
    let events = line.insist(Method::GET, "/api/chat/events/", &maria.token, None, &mut vain).await;
    let told = events["results"].as_array().unwrap().iter();
    assert_eq!(told.filter(|event| event["type"] == "emergency_escalated").count(), 1, "{events}");
    assert_eq!(served.faults(), Vec::<String>::new());
    served.kill().await;
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emergency_is_escalated_by_the_server_that_comes_back_on_sqlite() {
    emergency(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emergency_is_escalated_by_the_server_that_comes_back_on_postgresql() {
    emergency(Engine::Postgres).await;
}
