//! Break-glass: for some hours, told to everybody concerned, and reviewed.

use std::time::Duration;

use serde_json::{Value, json};
use sigilo_wire::{Role, UserId, care::CareSource};

use crate::{
    groups::Team,
    support::{
        TestServer, both_engines, cast::relationships_of, device::Device, http::Answer, socket::eventually,
    },
};

const OPEN: &str = "/api/chat/break-glass/";
const REVIEW: &str = "/api/compliance/break-glass/";
const CONVERSATIONS: &str = "/api/chat/conversations/";
/// The shortest there is: tokens live 15 minutes.
const LASTS: Duration = Duration::from_secs(600);
/// The clock goes on while a test runs: how long before the end is surely before it.
const MARGIN: Duration = Duration::from_secs(120);

async fn break_glass(server: &TestServer, who: &Device, patient: UserId, text: &str) -> Answer {
    let body = json!({"patient_id": patient, "reason": "on_call_cover", "text": text});
    server.post(OPEN, Some(&who.token), &body).await
}

async fn told(server: &TestServer, who: &Device) -> Vec<Value> {
    let answer = server.get("/api/chat/events/", Some(&who.token)).await.expect(200);
    let events = answer["results"].as_array().unwrap().iter();
    events.filter(|event| event["type"] == "break_glass_opened").map(|e| e["data"].clone()).collect()
}

/// A use lasts minutes in this clinic.
async fn short(server: &TestServer, team: &Team) {
    let change = json!({"break_glass_s": LASTS.as_secs()});
    server.put("/api/admin/break-glass/settings/", Some(&team.staff.token), &change).await.expect(204);
}

#[tokio::test]
async fn staff_say_how_long_a_use_lasts_and_contacts_say_what_it_rests_on() {
    both_engines(async |server| {
        const SETTINGS: &str = "/api/admin/break-glass/settings/";
        let team = Team::create(server).await;
        let Team { ana, maria, eva, staff, .. } = &team;
        let now = server.get(SETTINGS, Some(&staff.token)).await.expect(200);
        assert_eq!(now["break_glass_s"], 4 * 3600);
        for seconds in [599, 86_401] {
            let change = json!({"break_glass_s": seconds});
            let details = server.put(SETTINGS, Some(&staff.token), &change).await;
            assert_eq!(details.expect_error(400, "invalid_field")["field"], "break_glass_s");
        }
        let change = json!({"break_glass_s": LASTS.as_secs()});
        for who in [ana, maria, eva] {
            server.get(SETTINGS, Some(&who.token)).await.expect_error(403, "forbidden");
            server.put(SETTINGS, Some(&who.token), &change).await.expect_error(403, "forbidden");
        }
        server.put(SETTINGS, Some(&staff.token), &change).await.expect(204);
        let opened = break_glass(server, eva, ana.user, "covers tonight").await.expect(201);
        let instant = |field: &str| -> sigilo_wire::Timestamp {
            serde_json::from_value(opened[field].clone()).unwrap()
        };
        assert_eq!(instant("expires_at").since(instant("opened_at")), LASTS);

        // The clinician sees what the contact rests on. A patient begins by appointment alone: of a broken glass there
        // is no contact for them.
        let contact = async |who: &Device, other: &Device| {
            let contacts = server.get("/api/chat/contacts/", Some(&who.token)).await.expect(200);
            let contacts = contacts["results"].as_array().unwrap().clone();
            let contact = contacts.into_iter().find(|contact| contact["user_id"] == json!(other.user));
            contact.map(|contact| (contact["why"].clone(), contact["care"].clone()))
        };
        let rests_on = |policy: &str, care: &str| Some((json!([policy]), json!([care])));
        assert_eq!(contact(eva, ana).await, rests_on("clinician-to-patient", "break_glass"));
        assert_eq!(contact(ana, eva).await, None);
        assert_eq!(contact(ana, maria).await, rests_on("patient-to-clinician", "appointment"));
    })
    .await;
}

#[tokio::test]
async fn the_glass_opens_new_messages_for_a_while_and_nothing_of_before() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        short(server, &team).await;
        let Team { ana, maria, eva, staff, .. } = &team;
        let compliance = Device::create(server, &team.clinic, Role::Compliance, "comp@team.example").await;
        let before = team.started(server, "direct", maria, &[ana]).await;
        team.say(server, before, maria, &[ana]).await;
        let wanted = json!({"type": "direct", "participants": [ana.user]});
        let refused = server.post(CONVERSATIONS, Some(&eva.token), &wanted).await;
        refused.expect_error(403, "conversation_not_allowed");

        let opened = break_glass(server, eva, ana.user, "covers tonight").await.expect(201);
        assert_eq!(opened["text"], "covers tonight");
        break_glass(server, eva, ana.user, "again").await.expect_error(403, "forbidden");
        // Everybody concerned is told who and why; the text is for compliance.
        for who in [ana, staff, &compliance] {
            let told = told(server, who).await;
            assert_eq!(told.len(), 1);
            assert_eq!(
                (&told[0]["clinician_id"], &told[0]["reason"]),
                (&json!(eva.user), &json!("on_call_cover"))
            );
            assert!(told[0].get("text").is_none(), "{told:?}");
        }
        assert!(self::told(server, maria).await.is_empty());

        let id = team.started(server, "direct", eva, &[ana]).await;
        team.say(server, id, eva, &[ana]).await;
        team.say(server, id, ana, &[eva]).await;
        // What was said before stays closed.
        for path in ["", "messages/", "seals/"] {
            let path = format!("{CONVERSATIONS}{before}/{path}");
            server.get(&path, Some(&eva.token)).await.expect_error(404, "not_found");
        }
        // It ends by itself, also for what is on its way under a kept snapshot.
        server.clock.advance(LASTS - MARGIN);
        let last = eva.text(server, id, "in time", &[ana]);
        eva.post(server, id, &last).await.expect(201);
        server.clock.advance(MARGIN);
        for (who, to) in [(eva, ana), (ana, eva)] {
            let late = who.text(server, id, "too late", &[to]);
            let answer = who.post(server, id, &late).await;
            assert_eq!(answer.expect_error(403, "message_not_allowed")["reason"], "no_medical_relationship");
        }
        // Both are told that it is over, once, whoever looks.
        let is_told = async |who: &Device| {
            let waiting = server.get("/api/chat/events/", Some(&who.token)).await.expect(200);
            let over = |event: &&Value| event["data"]["change"] == "care_ended";
            waiting["results"].as_array().unwrap().iter().filter(over).count()
        };
        for who in [ana, eva] {
            eventually("the news", async || {
                sigilo::break_glass::end_due(&server.app, server.app.clock.now()).await.unwrap();
                (is_told(who).await == 1).then_some(())
            })
            .await;
        }
        assert_eq!(sigilo::break_glass::end_due(&server.app, server.app.clock.now()).await.unwrap(), 0);
        assert_eq!((is_told(ana).await, is_told(maria).await), (1, 0));
        let path = format!("{CONVERSATIONS}{id}/messages/");
        server.get(&path, Some(&eva.token)).await.expect(200);
        server
            .post(
                CONVERSATIONS,
                Some(&eva.token),
                &json!({"type": "consultation", "participants": [ana.user]}),
            )
            .await
            .expect_error(403, "conversation_not_allowed");
    })
    .await;
}

#[tokio::test]
async fn each_use_waits_for_its_review() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        let Team { ana, maria, eva, staff, .. } = &team;
        let compliance = Device::create(server, &team.clinic, Role::Compliance, "comp@team.example").await;
        let opened = break_glass(server, eva, ana.user, "covers tonight").await.expect(201);
        for who in [ana, maria, eva, staff] {
            server.get(REVIEW, Some(&who.token)).await.expect_error(403, "forbidden");
        }
        let waiting = server.get(REVIEW, Some(&compliance.token)).await.expect(200);
        assert_eq!(waiting["results"], json!([opened]));
        let path = format!("{REVIEW}{}/close/", opened["break_glass_id"].as_str().unwrap());
        let found = |finding: &str| json!({"finding": finding});
        server.post(&path, Some(&eva.token), &found("justified")).await.expect_error(403, "forbidden");
        let closed = server.post(&path, Some(&compliance.token), &found("justified")).await.expect(200);
        assert_eq!(closed["reviewed_by"], json!(compliance.user));
        server.post(&path, Some(&compliance.token), &found("justified")).await.expect(200);
        let other = server.post(&path, Some(&compliance.token), &found("unjustified")).await;
        other.expect_error(409, "already_settled");
        let waiting = server.get(REVIEW, Some(&compliance.token)).await.expect(200);
        assert_eq!(waiting["results"], json!([]));
        let done = server.get(&format!("{REVIEW}?closed=true"), Some(&compliance.token)).await.expect(200);
        assert_eq!(done["results"], json!([closed]));
        // The staff sees that it was used and what was found, not the words.
        let used = "/api/admin/break-glass/";
        let seen = server.get(used, Some(&team.staff.token)).await.expect(200);
        let mut without_text = closed.clone();
        without_text.as_object_mut().unwrap().remove("text");
        assert_eq!(seen["results"], json!([without_text]));
        server.get(used, Some(&compliance.token)).await.expect_error(403, "forbidden");
        let past = format!("{REVIEW}?closed=true&cursor={}", closed["break_glass_id"].as_str().unwrap());
        let rest = server.get(&past, Some(&compliance.token)).await.expect(200);
        assert_eq!((&rest["results"], &rest["has_more"]), (&json!([]), &json!(false)));
    })
    .await;
}

#[tokio::test]
async fn the_glass_is_for_clinicians_who_do_not_treat_the_patient() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        let Team { ana, maria, jorge, eva, staff, .. } = &team;
        for (who, whom) in [(maria, ana), (staff, ana), (eva, jorge), (ana, ana)] {
            break_glass(server, who, whom.user, "covers tonight").await.expect_error(403, "forbidden");
        }
        break_glass(server, eva, UserId::from_bytes([9; 16]), "covers").await.expect_error(404, "not_found");
        for text in ["", "  ", "line\nbreak", &"x".repeat(201)] {
            break_glass(server, eva, ana.user, text).await.expect_error(400, "invalid_field");
        }
        for text in ["call ana@example.org", "has diabetes mellitus"] {
            break_glass(server, eva, ana.user, text).await.expect_error(422, "phi_detected");
        }
        let once = async || {
            let request = server.client.post(format!("{}{OPEN}", server.url));
            let request = request.bearer_auth(&eva.token).header("idempotency-key", "glass-1");
            let body =
                json!({"patient_id": ana.user, "reason": "second_opinion", "text": "asked by a colleague"});
            Answer::of(request.json(&body).send().await.unwrap()).await.expect(201)
        };
        assert_eq!(once().await, once().await);
        assert_eq!(told(server, ana).await.len(), 1);
        // Revoked by the staff, it ends at once.
        let id = team.started(server, "direct", eva, &[ana]).await;
        team.say(server, id, eva, &[ana]).await;
        let ctx = sigilo::Ctx::operator(&server.app, team.clinic.id);
        let grant = sigilo::relationships::authorize_manage_relationships(&server.app, &ctx).unwrap();
        let all = relationships_of(server, &team.clinic).await;
        let glass = all.iter().find(|relationship| relationship.source == CareSource::BreakGlass).unwrap();
        sigilo::relationships::revoke(&server.app, &ctx, grant, glass.id).await.unwrap();
        let late = eva.text(server, id, "too late", &[ana]);
        eva.post(server, id, &late).await.expect_error(403, "message_not_allowed");
    })
    .await;
}
