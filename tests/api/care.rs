//! Care that no appointment makes: decisions of the staff, and care teams.

use std::time::Duration;

use serde_json::{Value, json};
use sigilo::fetch_all;
use sigilo_wire::{ConversationId, Role, Timestamp, UserId};

use crate::{
    groups::Team,
    support::{
        TestServer, both_engines,
        cast::{import, relationships_of},
        device::{Device, relate},
        http::Answer,
        socket::Socket,
    },
};

const RELATIONSHIPS: &str = "/api/admin/relationships/";
const TEAMS: &str = "/api/admin/care-teams/";
const CONVERSATIONS: &str = "/api/chat/conversations/";
/// Not the whole of it: tokens live 15 minutes.
const LASTS: Duration = Duration::from_secs(600);
/// The clock goes on while a test runs: how long before an instant is surely before it.
const MARGIN: Duration = Duration::from_secs(120);

fn granted(server: &TestServer, patient: &Device, clinician: &Device) -> Value {
    json!({"patient_id": patient.user, "clinician_id": clinician.user, "reason": "cover",
        "text": "covers this week", "expires_at": server.app.clock.now() + LASTS})
}

/// A care team of these clinicians and patients.
async fn care_team(
    server: &TestServer,
    staff: &Device,
    clinicians: &[&Device],
    patients: &[&Device],
) -> String {
    let made = server.post(TEAMS, Some(&staff.token), &json!({"name": "Home care"})).await.expect(201);
    let team = format!("{TEAMS}{}/", made["care_team_id"].as_str().unwrap());
    for (side, people) in [("clinicians", clinicians), ("patients", patients)] {
        for person in people {
            put(server, staff, &team, (side, person.user), json!({})).await.expect(200);
        }
    }
    team
}

async fn put(
    server: &TestServer,
    staff: &Device,
    team: &str,
    (side, user): (&str, UserId),
    period: Value,
) -> Answer {
    server.put(&format!("{team}{side}/{user}/"), Some(&staff.token), &period).await
}

async fn take_out(server: &TestServer, staff: &Device, team: &str, side: &str, user: UserId) -> Answer {
    server.delete(&format!("{team}{side}/{user}/"), Some(&staff.token)).await
}

async fn start(server: &TestServer, who: &Device, with: &Device) -> Answer {
    let wanted = json!({"type": "direct", "participants": [with.user]});
    server.post(CONVERSATIONS, Some(&who.token), &wanted).await
}

/// Who of the caller's contacts is in care with them, and by what.
async fn care_of(server: &TestServer, who: &Device, other: &Device) -> Option<Value> {
    let contacts = server.get("/api/chat/contacts/?page_size=100", Some(&who.token)).await.expect(200);
    let listed = contacts["results"].as_array().unwrap().iter();
    let found = listed.clone().find(|contact| contact["user_id"] == json!(other.user));
    found.map(|contact| contact["care"].clone())
}

/// The next message is refused for want of care, on the open socket and by request.
async fn refused(server: &TestServer, socket: &mut Socket, id: ConversationId, who: &Device, to: &Device) {
    let text = who.text(server, id, "too late", &[to]);
    socket
        .send(&json!({"type": "send_message", "request_id": "late", "conversation_id": id, "data": text}))
        .await;
    let frame = loop {
        let frame = socket.next().await;
        if frame["request_id"] == "late" {
            break frame;
        }
    };
    assert_eq!(frame["type"], "error", "{frame}");
    assert_eq!(frame["data"]["details"]["reason"], "no_medical_relationship", "{frame}");
    who.rewind(id, &text);
    let text = who.text(server, id, "too late", &[to]);
    let answer = who.post(server, id, &text).await;
    assert_eq!(answer.expect_error(403, "message_not_allowed")["reason"], "no_medical_relationship");
    who.rewind(id, &text);
}

#[tokio::test]
async fn a_grant_lets_the_clinician_begin_and_the_patient_answer() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        let Team { ana, eva, staff, .. } = &team;
        start(server, eva, ana).await.expect_error(403, "conversation_not_allowed");
        assert_eq!(care_of(server, eva, ana).await, None);
        let wanted = granted(server, ana, eva);
        let made = server.post(RELATIONSHIPS, Some(&staff.token), &wanted).await.expect(201);
        assert_eq!((&made["source"], &made["reason"]), (&json!("grant"), &json!("cover")));
        assert_eq!((&made["text"], &made["expires_at"]), (&wanted["text"], &wanted["expires_at"]));

        assert_eq!(care_of(server, eva, ana).await, Some(json!(["grant"])));
        assert_eq!(care_of(server, ana, eva).await, None, "the patient does not begin");
        let answer = start(server, ana, eva).await;
        assert_eq!(answer.body["policies"], json!(["patients-start-by-appointment"]));
        assert_eq!(answer.expect_error(403, "conversation_not_allowed")["reason"], "no_medical_relationship");
        let id = team.started(server, "direct", eva, &[ana]).await;
        team.say(server, id, eva, &[ana]).await;
        team.say(server, id, ana, &[eva]).await;
        // An appointment beside it: then the patient may.
        relate(server, ana, eva).await;
        assert_eq!(care_of(server, ana, eva).await, Some(json!(["appointment", "grant"])));
        assert_eq!(start(server, ana, eva).await.expect(200)["id"], json!(id));
    })
    .await;
}

#[tokio::test]
async fn a_revoked_grant_stops_the_next_message_even_on_an_open_socket() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        let Team { ana, maria, eva, staff, .. } = &team;
        let wanted = granted(server, ana, eva);
        let made = server.post(RELATIONSHIPS, Some(&staff.token), &wanted).await.expect(201);
        let direct = team.started(server, "direct", eva, &[ana]).await;
        team.say(server, direct, eva, &[ana]).await;
        team.say(server, direct, ana, &[eva]).await;
        let group = team.started(server, "group", maria, &[ana, eva]).await;
        team.say(server, group, maria, &[ana, eva]).await;
        let (mut hers, mut theirs) = (Socket::open(server, ana).await, Socket::open(server, eva).await);
        let path = format!("{RELATIONSHIPS}{}/", made["id"].as_str().unwrap());
        let ended = server.delete(&path, Some(&staff.token)).await.expect(200);
        assert_eq!((&ended["relationships"], &ended["conversations"]), (&json!([made["id"]]), &json!(2)));
        refused(server, &mut hers, direct, ana, eva).await;
        refused(server, &mut theirs, direct, eva, ana).await;
        // In a group with a patient every clinician treats that patient.
        let text = maria.text(server, group, "too late", &[ana, eva]);
        let answer = maria.post(server, group, &text).await;
        assert_eq!(answer.expect_error(403, "message_not_allowed")["reason"], "no_medical_relationship");
        server.get(&format!("{CONVERSATIONS}{direct}/messages/"), Some(&eva.token)).await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn a_grant_ends_by_itself_also_for_what_is_on_its_way() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        let Team { ana, eva, staff, .. } = &team;
        server.post(RELATIONSHIPS, Some(&staff.token), &granted(server, ana, eva)).await.expect(201);
        let id = team.started(server, "direct", eva, &[ana]).await;
        team.say(server, id, eva, &[ana]).await;
        server.clock.advance(LASTS - MARGIN);
        team.say(server, id, eva, &[ana]).await;
        server.clock.advance(MARGIN);
        let mut socket = Socket::open(server, eva).await;
        refused(server, &mut socket, id, eva, ana).await;
    })
    .await;
}

#[tokio::test]
async fn a_grant_says_why_for_whom_and_until_when() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        let Team { ana, maria, eva, staff, .. } = &team;
        let good = granted(server, ana, eva);
        let now = server.app.clock.now();
        let day = Duration::from_secs(24 * 3600);
        for (field, value) in [
            ("patient_id", json!(eva.user)),
            ("clinician_id", json!(staff.user)),
            ("reason", json!("because")),
            ("text", json!("")),
            ("expires_at", json!(now)),
            ("expires_at", json!(now + day * 367)),
        ] {
            let mut wanted = good.clone();
            wanted[field] = value;
            let answer = server.post(RELATIONSHIPS, Some(&staff.token), &wanted).await;
            assert_eq!(answer.expect_error(400, "invalid_field")["field"], field);
        }
        let mut wanted = good.clone();
        wanted["text"] = json!("write to ana@example.org");
        server.post(RELATIONSHIPS, Some(&staff.token), &wanted).await.expect_error(422, "phi_detected");
        for who in [ana, maria, eva] {
            server.post(RELATIONSHIPS, Some(&who.token), &good).await.expect_error(403, "forbidden");
            server.get(RELATIONSHIPS, Some(&who.token)).await.expect_error(403, "forbidden");
            server.get(TEAMS, Some(&who.token)).await.expect_error(403, "forbidden");
        }
        let made = server.post(RELATIONSHIPS, Some(&staff.token), &good).await.expect(201);
        let of = |query: &str| format!("{RELATIONSHIPS}?{query}");
        let all = server.get(&of("page_size=2"), Some(&staff.token)).await.expect(200);
        assert_eq!((all["results"].as_array().unwrap().len(), &all["has_more"]), (2, &json!(true)));
        let next = format!("page_size=2&cursor={}", all["next_cursor"].as_str().unwrap());
        let rest = server.get(&of(&next), Some(&staff.token)).await.expect(200);
        assert_eq!((&rest["results"], &rest["has_more"]), (&json!([made]), &json!(false)));
        assert_eq!(server.get(&of("page_size=2&page=2"), Some(&staff.token)).await.expect(200), rest);
        let hers = of(&format!("clinician_id={}&patient_id={}", eva.user, ana.user));
        assert_eq!(server.get(&hers, Some(&staff.token)).await.expect(200)["results"], json!([made]));
        // The patient finds it; what was said for whom is not in the log, nor in the database as it was said.
        let mut tx = server.app.db.read("test").await.unwrap();
        let sql = "SELECT patient_id, canonical FROM audit_entries WHERE act = 'grant_relationship'";
        let noted = fetch_all!(&mut tx, (Option<UserId>, Vec<u8>), sql).unwrap();
        assert_eq!((noted.len(), noted[0].0), (1, Some(ana.user)));
        let entry = String::from_utf8(noted[0].1.clone()).unwrap();
        assert!(entry.contains("\"reason\":\"cover\"") && !entry.contains("this week"), "{entry}");
        let sql = "SELECT text_enc FROM relationships WHERE text_enc IS NOT NULL";
        let stored = fetch_all!(&mut tx, (Vec<u8>,), sql).unwrap();
        assert!(!stored[0].0.windows(4).any(|window| window == b"week"));
    })
    .await;
}

#[tokio::test]
async fn clinicians_of_a_care_team_treat_its_patients() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        let Team { ana, eva, staff, .. } = &team;
        let care = care_team(server, staff, &[eva], &[ana]).await;
        assert_eq!(care_of(server, eva, ana).await, Some(json!(["care_team"])));
        start(server, ana, eva).await.expect_error(403, "conversation_not_allowed");
        let id = team.started(server, "direct", eva, &[ana]).await;
        team.say(server, id, eva, &[ana]).await;
        team.say(server, id, ana, &[eva]).await;
        let shown = server.get(&care, Some(&staff.token)).await.expect(200);
        assert_eq!(shown["clinicians"][0]["user_id"], json!(eva.user));
        assert_eq!(shown["patients"][0]["user_id"], json!(ana.user));
        let listed = server.get(TEAMS, Some(&staff.token)).await.expect(200);
        assert_eq!(
            (&listed["results"][0]["clinicians"], &listed["results"][0]["patients"]),
            (&json!(1), &json!(1))
        );
        assert_eq!(listed["results"][0]["name"], "Home care");

        // Whoever is taken out, on either side, writes nothing more; put in again, they write at once.
        for (side, user) in [("clinicians", eva.user), ("patients", ana.user)] {
            let mut socket = Socket::open(server, ana).await;
            take_out(server, staff, &care, side, user).await.expect(204);
            refused(server, &mut socket, id, ana, eva).await;
            take_out(server, staff, &care, side, user).await.expect_error(404, "not_found");
            put(server, staff, &care, (side, user), json!({})).await.expect(200);
            team.say(server, id, ana, &[eva]).await;
        }
        // The team ends, and with it what it made; other care stays.
        let mut socket = Socket::open(server, eva).await;
        server.delete(&care, Some(&staff.token)).await.expect(204);
        refused(server, &mut socket, id, eva, ana).await;
        server.delete(&care, Some(&staff.token)).await.expect_error(409, "already_settled");
        put(server, staff, &care, ("clinicians", eva.user), json!({}))
            .await
            .expect_error(409, "already_settled");
        assert!(server.get(&care, Some(&staff.token)).await.expect(200)["ended_at"].is_string());
    })
    .await;
}

#[tokio::test]
async fn membership_begins_and_ends_at_its_instants() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        let Team { ana, eva, staff, .. } = &team;
        let now = server.app.clock.now();
        let (begins, ends) = (now + LASTS / 2, now + LASTS);
        let care = care_team(server, staff, &[], &[ana]).await;
        let period = json!({"starts_at": begins, "ends_at": ends});
        put(server, staff, &care, ("clinicians", eva.user), period).await.expect(200);
        start(server, eva, ana).await.expect_error(403, "conversation_not_allowed");
        server.clock.advance(LASTS / 2);
        let id = team.started(server, "direct", eva, &[ana]).await;
        team.say(server, id, eva, &[ana]).await;
        server.clock.advance(LASTS / 2);
        let mut socket = Socket::open(server, eva).await;
        refused(server, &mut socket, id, eva, ana).await;
        // Members who are never there at the same time are nothing to each other.
        let later: Timestamp = ends + LASTS;
        put(server, staff, &care, ("clinicians", eva.user), json!({"starts_at": later})).await.expect(200);
        put(server, staff, &care, ("patients", ana.user), json!({"ends_at": later})).await.expect(200);
        let standing = relationships_of(server, &team.clinic).await;
        assert!(standing.iter().filter(|r| r.care_team_id.is_some()).all(|r| r.revoked_at.is_some()));
        for (user, period, field) in [
            (eva.user, json!({"ends_at": now}), "ends_at"),
            (eva.user, json!({"starts_at": later, "ends_at": later}), "ends_at"),
            (ana.user, json!({}), "user_id"),
            (staff.user, json!({}), "user_id"),
        ] {
            let answer = put(server, staff, &care, ("clinicians", user), period).await;
            assert_eq!(answer.expect_error(400, "invalid_field")["field"], field);
        }
    })
    .await;
}

#[tokio::test]
async fn what_a_person_revoked_stays_so_until_somebody_is_put_in_again() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        let Team { ana, eva, staff, .. } = &team;
        let care = care_team(server, staff, &[eva], &[ana]).await;
        let made = relationships_of(server, &team.clinic).await;
        let made = made.iter().find(|r| r.care_team_id.is_some()).unwrap();
        server.delete(&format!("{RELATIONSHIPS}{}/", made.id), Some(&staff.token)).await.expect(200);
        let ends = server.app.clock.now() + LASTS;
        put(server, staff, &care, ("clinicians", eva.user), json!({"ends_at": ends})).await.expect(200);
        put(server, staff, &care, ("patients", ana.user), json!({})).await.expect(200);
        start(server, eva, ana).await.expect_error(403, "conversation_not_allowed");
        take_out(server, staff, &care, "patients", ana.user).await.expect(204);
        put(server, staff, &care, ("patients", ana.user), json!({})).await.expect(200);
        start(server, eva, ana).await.expect(201);
    })
    .await;
}

#[tokio::test]
async fn one_kind_of_care_ending_leaves_the_others() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        let file = |status: &str| {
            format!(
                "appointment_id,status,patient_id,patient_name,clinician_id,clinician_name\n\
                 A-1,{status},P-1,Ana López,D-1,Dra. María Martínez\n"
            )
        };
        import(server, &team.clinic, &file("booked")).await;
        let by_import = relationships_of(server, &team.clinic).await.pop().unwrap();
        let pair = (by_import.patient_id, by_import.clinician_id);
        let standing = async || {
            let all = relationships_of(server, &team.clinic).await;
            let stands = |r: &&sigilo_wire::care::Relationship| {
                (r.patient_id, r.clinician_id) == pair && r.revoked_at.is_none()
            };
            all.iter().filter(stands).map(|r| r.source.as_str()).collect::<Vec<_>>()
        };
        let care = care_team(server, &team.staff, &[], &[]).await;
        put(server, &team.staff, &care, ("clinicians", pair.1), json!({})).await.expect(200);
        put(server, &team.staff, &care, ("patients", pair.0), json!({})).await.expect(200);
        assert_eq!(standing().await, ["appointment", "care_team"]);
        for off in ["cancelled", "noshow"] {
            import(server, &team.clinic, &file(off)).await;
            assert_eq!(standing().await, ["care_team"], "{off}");
            import(server, &team.clinic, &file("fulfilled")).await;
        }
        take_out(server, &team.staff, &care, "patients", pair.0).await.expect(204);
        assert_eq!(standing().await, ["appointment"]);
    })
    .await;
}

#[tokio::test]
async fn those_who_join_both_sides_at_once_meet() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        let Team { ana, maria, jorge, eva, staff, clinic } = &team;
        let luis = Device::create(server, clinic, Role::Patient, "luis@team.example").await;
        let care = care_team(server, staff, &[], &[]).await;
        let (care, clinicians, patients) = (&care, [maria, jorge, eva], [ana, &luis]);
        let joins = clinicians
            .iter()
            .map(|who| ("clinicians", who.user))
            .chain(patients.iter().map(|who| ("patients", who.user)))
            .map(|who| async move { put(server, staff, care, who, json!({})).await.expect(200) });
        futures_util::future::join_all(joins).await;
        let all = relationships_of(server, clinic).await;
        let mut pairs: Vec<(UserId, UserId)> = all
            .iter()
            .filter(|r| r.care_team_id.is_some() && r.revoked_at.is_none())
            .map(|r| (r.patient_id, r.clinician_id))
            .collect();
        pairs.sort_unstable();
        let mut every: Vec<(UserId, UserId)> = patients
            .iter()
            .flat_map(|patient| clinicians.iter().map(|clinician| (patient.user, clinician.user)))
            .collect();
        every.sort_unstable();
        assert_eq!(pairs, every);
        let mut tx = server.app.db.read("test").await.unwrap();
        let sql = "SELECT patient_id, canonical FROM audit_entries WHERE act = 'make_relationship'";
        let noted = fetch_all!(&mut tx, (Option<UserId>, Vec<u8>), sql).unwrap();
        assert_eq!(noted.len(), 6);
        assert!(noted.iter().all(|(patient, _)| patient.is_some()), "patients find what concerns them");
    })
    .await;
}

#[tokio::test]
async fn no_message_is_stored_after_a_revocation_was_answered() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        let Team { ana, eva, staff, .. } = &team;
        let care = care_team(server, staff, &[eva], &[ana]).await;
        let id = team.started(server, "direct", eva, &[ana]).await;
        eva.publish_seal(server, &team.clinic, id, &[ana]).await;
        // A stream of messages, each answered before the next, while the clinician is taken out in between.
        let stream = async {
            let mut stored = 0_u32;
            loop {
                let text = eva.text(server, id, "on and on", &[ana]);
                match eva.post(server, id, &text).await {
                    answer if answer.status == 201 => stored += 1,
                    answer => {
                        let details = answer.expect_error(403, "message_not_allowed");
                        assert_eq!(details["reason"], "no_medical_relationship");
                        return (stored, tokio::time::Instant::now());
                    }
                }
            }
        };
        let revoke = async {
            take_out(server, staff, &care, "clinicians", eva.user).await.expect(204);
            let path = format!("{CONVERSATIONS}{id}/messages/?page_size=100");
            let then = server.get(&path, Some(&eva.token)).await.expect(200);
            (then["results"].as_array().unwrap().len(), tokio::time::Instant::now())
        };
        let ((stored, stopped), (then, revoked)) = tokio::join!(stream, revoke);
        assert_eq!(stored as usize, then, "what was stored was stored before the revocation was answered");
        assert!(stopped.saturating_duration_since(revoked) < Duration::from_secs(1));
    })
    .await;
}
