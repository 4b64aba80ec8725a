//! Care teams and administrative conversations: who makes them, who writes in them.

use serde_json::{Value, json};
use sigilo_wire::{ConversationId, Role, UserId};

use crate::support::{
    TestServer, both_engines,
    cast::Cast,
    clinic::Clinic,
    device::{Device, relate},
};

const PATH: &str = "/api/chat/conversations/";

fn wanted(kind: &str, people: &[UserId]) -> Value {
    json!({"type": kind, "participants": people})
}

/// A patient, two clinicians who treat her, one who does not, and the staff, each with a device that has keys.
pub struct Team {
    pub clinic: Clinic,
    pub ana: Device,
    pub maria: Device,
    pub jorge: Device,
    pub eva: Device,
    pub staff: Device,
}

impl Team {
    pub async fn create(server: &TestServer) -> Self {
        let clinic = Clinic::create(server, "team").await;
        let person = async |role, name: &str| {
            Device::create(server, &clinic, role, &format!("{name}@team.example")).await
        };
        let (ana, maria) = (person(Role::Patient, "ana").await, person(Role::Doctor, "maria").await);
        let (jorge, eva) = (person(Role::Doctor, "jorge").await, person(Role::Doctor, "eva").await);
        let staff = person(Role::Admin, "staff").await;
        relate(server, &ana, &maria).await;
        relate(server, &ana, &jorge).await;
        Self { clinic, ana, maria, jorge, eva, staff }
    }

    /// A conversation started by the first of these people with the others.
    pub async fn started(
        &self,
        server: &TestServer,
        kind: &str,
        who: &Device,
        with: &[&Device],
    ) -> ConversationId {
        let people: Vec<UserId> = with.iter().map(|device| device.user).collect();
        let made = server.post(PATH, Some(&who.token), &wanted(kind, &people)).await.expect(201);
        assert_eq!(made["type"], kind);
        assert_eq!(made["participants"].as_array().unwrap().len(), with.len() + 1);
        serde_json::from_value(made["id"].clone()).unwrap()
    }

    /// Sends a text under a new seal for these people.
    pub async fn say(&self, server: &TestServer, id: ConversationId, who: &Device, to: &[&Device]) {
        who.publish_seal(server, &self.clinic, id, to).await;
        let text = who.text(server, id, "hello", to);
        who.post(server, id, &text).await.expect(201);
    }
}

#[tokio::test]
async fn a_care_team_holds_a_patient_and_those_who_treat_her() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        let Team { ana, maria, jorge, eva, staff, .. } = &team;
        let group = team.started(server, "group", maria, &[ana, jorge]).await;
        team.say(server, group, maria, &[ana, jorge]).await;
        team.say(server, group, ana, &[maria, jorge]).await;
        let details = server.get(&format!("{PATH}{group}/"), Some(&jorge.token)).await.expect(200);
        for person in details["participants"].as_array().unwrap() {
            let expected = if person["user_type"] == "patient" { "participant" } else { "moderator" };
            assert_eq!(person["role"], expected, "{person}");
        }
        for (who, with, reason) in [
            (maria, vec![ana.user, eva.user], "no_medical_relationship"),
            (ana, vec![maria.user], "group_by_clinician"),
            (maria, vec![ana.user, staff.user], "admin_administrative_only"),
            (staff, vec![ana.user], "admin_administrative_only"),
        ] {
            let answer = server.post(PATH, Some(&who.token), &wanted("group", &with)).await;
            assert_eq!(answer.expect_error(403, "conversation_not_allowed")["reason"], reason);
        }
        // Among themselves, clinicians and staff need no patient in common.
        let meeting = team.started(server, "group", staff, &[maria, eva]).await;
        team.say(server, meeting, eva, &[maria, staff]).await;
    })
    .await;
}

#[tokio::test]
async fn a_group_has_at_most_fifty_people() {
    both_engines(async |server| {
        let cast = Cast::create(server, "demo").await;
        let many: Vec<UserId> = (0..50).map(|n| UserId::from_bytes([n; 16])).collect();
        let answer = server.post(PATH, cast.maria.token(), &wanted("group", &many)).await;
        assert_eq!(answer.expect_error(400, "invalid_field")["field"], "participants");
        // One fewer is asked about person by person.
        let answer = server.post(PATH, cast.maria.token(), &wanted("group", &many[1..])).await;
        answer.expect_error(404, "not_found");
    })
    .await;
}

#[tokio::test]
async fn staff_and_patients_talk_in_administrative_conversations_only() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        let Team { ana, maria, eva, staff, .. } = &team;
        let id = team.started(server, "administrative", staff, &[ana]).await;
        team.say(server, id, staff, &[ana]).await;
        team.say(server, id, ana, &[staff]).await;
        for (who, with, reason) in [
            (ana, vec![staff.user], "administrative_by_admin"),
            (maria, vec![ana.user], "administrative_by_admin"),
            (staff, vec![ana.user, eva.user], "no_medical_relationship"),
        ] {
            let answer = server.post(PATH, Some(&who.token), &wanted("administrative", &with)).await;
            assert_eq!(answer.expect_error(403, "conversation_not_allowed")["reason"], reason);
        }
        let answer = server.post(PATH, Some(&staff.token), &wanted("direct", &[ana.user])).await;
        let details = answer.expect_error(403, "conversation_not_allowed");
        assert_eq!(details["reason"], "admin_administrative_only");
        let among_staff = team.started(server, "administrative", eva, &[staff]).await;
        team.say(server, among_staff, eva, &[staff]).await;
    })
    .await;
}
