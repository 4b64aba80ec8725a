//! Chat hours: who sets them, and what they stop.

use std::time::Duration;

use serde_json::{Value, json};
use sigilo::fetch_one;
use sigilo_wire::{ConversationId, Role};

use crate::support::{
    TestServer, both_engines,
    clinic::Clinic,
    device::{Device, relate},
    hours::{daily, open, window},
    socket::Socket,
};

/// A clinic with a conversation between a patient and a doctor, and one between two doctors.
struct House {
    clinic: Clinic,
    ana: Device,
    maria: Device,
    luis: Device,
    care: ConversationId,
    colleagues: ConversationId,
}

impl House {
    async fn create(server: &TestServer) -> Self {
        let clinic = Clinic::create(server, "hours").await;
        let ana = Device::create(server, &clinic, Role::Patient, "ana@example.org").await;
        let maria = Device::create(server, &clinic, Role::Doctor, "maria@example.org").await;
        let luis = Device::create(server, &clinic, Role::Doctor, "luis@example.org").await;
        relate(server, &ana, &maria).await;
        let care = ana.start(server, &maria).await;
        let colleagues = maria.start(server, &luis).await;
        ana.publish_seal(server, &clinic, care, &[&maria]).await;
        maria.publish_seal(server, &clinic, care, &[&ana]).await;
        maria.publish_seal(server, &clinic, colleagues, &[&luis]).await;
        Self { clinic, ana, maria, luis, care, colleagues }
    }

    async fn ana_says(&self, server: &TestServer, text: &str) -> Result<Value, Value> {
        says(server, &self.ana, self.care, text, &self.maria).await
    }
}

/// Sends a message; gives the answer, or the details of `outside_chat_hours`.
async fn says(
    server: &TestServer,
    from: &Device,
    conversation: ConversationId,
    text: &str,
    to: &Device,
) -> Result<Value, Value> {
    let message = from.text(server, conversation, text, &[to]);
    let answer = from.post(server, conversation, &message).await;
    if answer.status == 201 {
        return Ok(answer.body);
    }
    from.rewind(conversation, &message);
    let policies = answer.body["policies"].clone();
    let details = answer.expect_error(400, "outside_chat_hours");
    assert_eq!(policies, json!(["chat-hours"]));
    Err(details)
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn nothing_is_said_to_or_by_a_patient_while_the_clinic_is_closed() {
    both_engines(async |server| {
        let house = House::create(server).await;
        house.ana_says(server, "open").await.unwrap();
        open(server, house.clinic.id, None, &[(-120, -60), (5, 60)]).await;
        let details = house.ana_says(server, "closed").await.unwrap_err();
        assert_eq!(details["reason"], "outside_chat_hours");
        assert_eq!(details["time_zone"], "UTC");
        let windows =
            [window(server, -120, -60), window(server, 5, 60)].map(|[from, to]| format!("{from}-{to}"));
        for window in &windows {
            assert!(details["allowed_hours"].as_str().unwrap().contains(window), "{details}");
        }
        assert!(
            details["next_open_at"].as_str().unwrap().contains(&format!("T{}:00", &windows[1][..5])),
            "{details}"
        );
        assert_eq!(
            details["emergency_channel"],
            json!({"path": "/api/chat/emergency/", "emergency_number": "911"})
        );
        says(server, &house.maria, house.care, "closed for her, too", &house.ana).await.unwrap_err();
        // Clinicians among themselves have no hours.
        says(server, &house.maria, house.colleagues, "at any hour", &house.luis).await.unwrap();
        // Reading and receipts are never restricted, and seals are made at any hour.
        let path = format!("/api/chat/conversations/{}/messages/", house.care);
        let read = server.get(&path, Some(&house.maria.token)).await.expect(200);
        assert_eq!(read["results"].as_array().unwrap().len(), 1);
        let path = format!("/api/chat/conversations/{}/read/", house.care);
        let marked = server.post(&path, Some(&house.maria.token), &json!({})).await;
        assert!(marked.status < 300, "{}", marked.body);
        house.ana.publish_seal(server, &house.clinic, house.care, &[&house.maria]).await;
        // What the details of the conversation say is what a send is told.
        let path = format!("/api/chat/conversations/{}/", house.care);
        let shown = server.get(&path, Some(&house.ana.token)).await.expect(200);
        for act in ["send", "edit", "delete"] {
            let permission = &shown["permissions"][act];
            assert_eq!(permission["allowed"], false);
            assert_eq!(permission["reason"], "outside_chat_hours");
            assert_eq!(permission["policies"], json!(["chat-hours"]));
            assert_eq!(permission["next_open_at"], details["next_open_at"]);
        }
        assert_eq!(shown["permissions"]["close"]["next_open_at"], Value::Null);
        // The instant it opens, kept snapshots or not.
        server.clock.advance(6 * MINUTE);
        house.ana_says(server, "open again").await.unwrap();
        let shown = server.get(&path, Some(&house.ana.token)).await.expect(200);
        assert_eq!(shown["permissions"]["send"]["allowed"], true);
    })
    .await;
}

#[tokio::test]
async fn what_was_kept_while_it_was_open_serves_nothing_after_the_closing() {
    both_engines(async |server| {
        let house = House::create(server).await;
        open(server, house.clinic.id, None, &[(-60, 5)]).await;
        let mut socket = Socket::open(server, &house.ana).await;
        house.ana_says(server, "kept").await.unwrap();
        server.clock.advance(3 * MINUTE);
        house.ana_says(server, "still open").await.unwrap();
        server.clock.advance(3 * MINUTE);
        house.ana_says(server, "too late").await.unwrap_err();
        let message = house.ana.text(server, house.care, "too late on the socket, too", &[&house.maria]);
        let frame = json!({"type": "send_message", "request_id": "1", "conversation_id": house.care, "data": message});
        socket.send(&frame).await;
        let error = loop {
            let frame = socket.next().await;
            if frame["type"] == "error" {
                break frame;
            }
        };
        assert_eq!(error["data"]["error"], "outside_chat_hours", "{error}");
        assert!(error["data"]["details"]["next_open_at"].is_string());
        house.ana.rewind(house.care, &message);
        // A change of the hours is felt at once, by whoever kept what.
        open(server, house.clinic.id, None, &[(-60, 60)]).await;
        house.ana_says(server, "longer today").await.unwrap();
        open(server, house.clinic.id, None, &[]).await;
        let details = house.ana_says(server, "closed for good").await.unwrap_err();
        assert_eq!((&details["next_open_at"], &details["allowed_hours"]), (&Value::Null, &json!("")));
    })
    .await;
}

#[tokio::test]
async fn a_clinician_narrows_the_clinics_hours_in_their_conversations_alone() {
    both_engines(async |server| {
        let house = House::create(server).await;
        relate(server, &house.ana, &house.luis).await;
        let with_luis = house.ana.start(server, &house.luis).await;
        house.ana.publish_seal(server, &house.clinic, with_luis, &[&house.luis]).await;
        house.ana_says(server, "kept").await.unwrap();
        open(server, house.clinic.id, Some(house.maria.user), &[(5, 60)]).await;
        house.ana_says(server, "she is not there").await.unwrap_err();
        says(server, &house.ana, with_luis, "he is", &house.luis).await.unwrap();
        // Both of them together: any will do.
        let team = json!({"type": "group", "participants": [house.ana.user, house.maria.user]});
        let made =
            server.post("/api/chat/conversations/", Some(&house.luis.token), &team).await.expect_success();
        let path = format!("/api/chat/conversations/{}/", made["id"].as_str().unwrap());
        let may_send = async || {
            server.get(&path, Some(&house.ana.token)).await.expect(200)["permissions"]["send"]["allowed"]
                .clone()
        };
        assert_eq!(may_send().await, true);
        open(server, house.clinic.id, Some(house.luis.user), &[(7, 60)]).await;
        assert_eq!(may_send().await, false);
        server.clock.advance(6 * MINUTE);
        house.ana_says(server, "now she is").await.unwrap();
        assert_eq!(may_send().await, true);
        // The clinic's own closing counts for everybody.
        open(server, house.clinic.id, None, &[(30, 60)]).await;
        house.ana_says(server, "closed").await.unwrap_err();
    })
    .await;
}

#[tokio::test]
async fn admins_set_hours_and_holidays_and_everybody_sees_them() {
    both_engines(async |server| {
        let house = House::create(server).await;
        let admin = house.clinic.person(server, Role::Admin, "admin@example.org").await;
        let weekly = daily(&[["00:00".to_owned(), "24:00".to_owned()]]);
        let change = json!({"time_zone": "UTC", "weekly": weekly});
        let put = async |path: &str, token: Option<&str>, body: &Value| server.put(path, token, body).await;
        for (who, token) in [("patient", &house.ana.token), ("doctor", &house.maria.token)] {
            let refused = put("/api/admin/hours/", Some(token), &change).await;
            assert_eq!(refused.status, 403, "{who}");
            assert_eq!(server.get("/api/admin/holidays/", Some(token)).await.status, 403, "{who}");
        }
        let set = put("/api/admin/hours/", admin.token(), &change).await.expect(200);
        assert_eq!(set["weekly"], json!(weekly));
        // What is absent stays.
        let set = put("/api/admin/hours/", admin.token(), &json!({})).await.expect(200);
        assert_eq!((&set["time_zone"], &set["weekly"]), (&json!("UTC"), &json!(weekly)));
        let clinic = server.get("/api/clinic/", Some(&house.ana.token)).await.expect(200);
        assert_eq!((&clinic["time_zone"], &clinic["hours"]), (&json!("UTC"), &json!(weekly)));
        assert_eq!(clinic["exceptions"], json!([]));

        // Today is a holiday.
        house.ana_says(server, "not yet").await.unwrap();
        let today = server.app.clock.now().to_string()[..10].to_owned();
        let tomorrow = (server.app.clock.now() + Duration::from_hours(24)).to_string()[..10].to_owned();
        let closed = json!({"reason": "Fiesta local"});
        for day in [&today, &tomorrow] {
            put(&format!("/api/admin/holidays/{day}/"), admin.token(), &closed).await.expect(200);
        }
        house.ana_says(server, "a holiday").await.unwrap_err();
        let clinic = server.get("/api/clinic/", Some(&house.ana.token)).await.expect(200);
        assert_eq!(clinic["exceptions"][0], json!({"date": today, "windows": [], "reason": "Fiesta local"}));
        let listed = server.get("/api/admin/holidays/", admin.token()).await.expect(200);
        assert_eq!(listed["results"], clinic["exceptions"]);
        for day in [&today, &tomorrow] {
            server.delete(&format!("/api/admin/holidays/{day}/"), admin.token()).await.expect(204);
            server.delete(&format!("/api/admin/holidays/{day}/"), admin.token()).await.expect_error(404, "not_found");
        }
        house.ana_says(server, "no holiday").await.unwrap();

        // A clinician's own.
        let own = format!("/api/admin/hours/{}/", house.maria.user);
        let shown = server.get(&own, admin.token()).await.expect(200);
        assert_eq!((&shown["weekly"], &shown["time_zone"]), (&Value::Null, &json!("UTC")));
        put(&own, admin.token(), &json!({"weekly": {}})).await.expect(200);
        house.ana_says(server, "never there").await.unwrap_err();
        server.delete(&own, admin.token()).await.expect(204);
        house.ana_says(server, "back").await.unwrap();
        let leave = format!("/api/admin/holidays/{today}/?user_id={}", house.maria.user);
        put(&leave, admin.token(), &json!({})).await.expect(200);
        house.ana_says(server, "on leave").await.unwrap_err();
        assert_eq!(server.get(&own, admin.token()).await.expect(200)["exceptions"][0]["date"], json!(today));
        server.delete(&leave, admin.token()).await.expect(204);
        house.ana_says(server, "back from leave").await.unwrap();

        let mut tx = server.app.db.read("test").await.unwrap();
        let sql = "SELECT COUNT(*) FROM audit_entries WHERE act IN ('set_hours', 'set_holiday', 'remove_holiday', 'clear_hours')
            AND outcome = 'allowed'";
        let (entries,): (i64,) = fetch_one!(&mut tx, (i64,), sql).unwrap();
        assert_eq!(entries, 10, "an entry for each change");
    })
    .await;
}

#[tokio::test]
async fn hours_that_make_no_sense_are_refused_by_name() {
    both_engines(async |server| {
        let house = House::create(server).await;
        let admin = house.clinic.person(server, Role::Admin, "admin@example.org").await;
        let field = async |path: &str, body: Value| {
            let answer = server.put(path, admin.token(), &body).await;
            answer.expect_error(400, "invalid_field")["field"].as_str().unwrap().to_owned()
        };
        assert_eq!(field("/api/admin/hours/", json!({"time_zone": "Mexico"})).await, "time_zone");
        for weekly in [
            json!({"monday": []}),
            json!({"mon": [["8:00", "22:00"]]}),
            json!({"mon": [["24:00", "08:00"]]}),
            json!({"mon": vec![["08:00", "09:00"]; 13]}),
        ] {
            assert_eq!(field("/api/admin/hours/", json!({"weekly": weekly})).await, "weekly");
        }
        let other = Clinic::create(server, "other").await;
        let theirs = Device::create(server, &other, Role::Doctor, "eva@example.org").await;
        let own = format!("/api/admin/hours/{}/", theirs.user);
        let holiday = format!("/api/admin/holidays/2027-01-01/?user_id={}", theirs.user);
        for path in [&own, &holiday] {
            server.put(path, admin.token(), &json!({})).await.expect_error(404, "not_found");
            server.delete(path, admin.token()).await.expect_error(404, "not_found");
        }
        server.get(&own, admin.token()).await.expect_error(404, "not_found");
        let patient = format!("/api/admin/hours/{}/", house.ana.user);
        assert_eq!(field(&patient, json!({})).await, "user_id");
        for date in ["2020-01-01", "2999-01-01", "2027-2-1", "tomorrow", "2027-02-30"] {
            assert_eq!(field(&format!("/api/admin/holidays/{date}/"), json!({})).await, "date", "{date}");
        }
        let tomorrow = (server.app.clock.now() + Duration::from_hours(24)).to_string()[..10].to_owned();
        let path = format!("/api/admin/holidays/{tomorrow}/");
        assert_eq!(field(&path, json!({"windows": [["08:00", "25:00"]]})).await, "windows");
        assert_eq!(field(&path, json!({"reason": " "})).await, "reason");
        let ill = server.put(&path, admin.token(), &json!({"reason": "Ana tiene diabetes"})).await;
        assert_eq!(ill.expect_error(422, "phi_detected")["field"], "reason");
    })
    .await;
}
