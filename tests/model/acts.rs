//! What happens in a clinic but for messages, on the server and in the model alike.

use serde_json::{Value, json};
use sigilo::{Ctx, emergency, fetch_all, fetch_one, hours, people, relationships};
use sigilo_wire::{
    Role,
    account::Tokens,
    hours::{DayWindow, SetDay, SetHours},
};

use crate::{
    house::{CONVERSATIONS, GLASS, House, TIER, TOKEN_LASTS, word},
    rules::{Hours, Kind, MINUTE, No, Talk, Who, Window},
    support::{cast, clinic::PASSWORD, hours::daily, http::Answer},
};

pub fn written(windows: &[Window]) -> Vec<DayWindow> {
    let clock = |minute: i64| format!("{:02}:{:02}", minute / 60, minute % 60);
    windows.iter().map(|(from, to)| [clock(*from), clock(*to)]).collect()
}

pub fn date(day: i64) -> String {
    chrono::DateTime::from_timestamp(day * 86_400, 0).unwrap().format("%Y-%m-%d").to_string()
}

/// The rules that refuse for these reasons, as their files are called.
pub fn policies(no: impl IntoIterator<Item = No>) -> std::collections::BTreeSet<String> {
    let name = |no| match no {
        No::Suspended => "suspended-account",
        No::Stranger => "",
        No::Closed => "closed-conversation",
        No::Apart => "medical-relationship",
        No::Unbooked => "patients-start-by-appointment",
        No::Blocked => "blocks",
        No::Nobody => "inactive-recipient",
        No::Hour => "chat-hours",
    };
    no.into_iter().map(|no| name(no).to_owned()).collect()
}

/// The rules an answer or event names.
pub fn named(body: &Value) -> std::collections::BTreeSet<String> {
    body["policies"].as_array().into_iter().flatten().map(|name| name.as_str().unwrap().to_owned()).collect()
}

impl House {
    pub fn token(&self, who: Who) -> Option<&str> {
        Some(&self.people[who].device.token)
    }

    /// Renews a token that the clock has made old.
    pub async fn fresh(&mut self, who: Who) {
        let now = self.now();
        let member = &mut self.people[who];
        if now < member.token_until {
            return;
        }
        let body = json!({"refresh_token": member.device.refresh_token});
        let answer = self.server.post("/api/auth/refresh/", None, &body).await.expect(200);
        self.take_tokens(who, serde_json::from_value(answer).unwrap());
    }

    fn take_tokens(&mut self, who: Who, tokens: Tokens) {
        let until = self.now() + TOKEN_LASTS;
        let member = &mut self.people[who];
        member.device.token = tokens.access_token;
        member.device.refresh_token = tokens.refresh_token;
        member.token_until = until;
        member.socket = None;
    }

    pub async fn suspend(&mut self, who: Who, suspend: bool) {
        change_standing(&self.server, self.operator(), self.user(who), suspend).await;
        let now = self.now();
        if suspend {
            self.facts.suspend(who, now);
            self.people[who].socket = None;
            return;
        }
        self.facts.suspended.remove(&who);
        let device = json!({"kind": "messaging", "device_id": self.people[who].device.device});
        let answer = self.clinic.login(&self.server, &self.people[who].email, PASSWORD, device).await;
        self.take_tokens(who, serde_json::from_value(answer.expect(200)).unwrap());
    }

    /// An appointment by which there is care.
    pub async fn book(&mut self, patient: Who, doctor: Who, status: &str) {
        self.appointment += 1;
        let number = self.appointment;
        self.import(number, (patient, doctor), status).await;
    }

    /// What the clinic's other system says of an appointment.
    pub async fn import(&mut self, number: u32, (patient, doctor): (Who, Who), status: &str) {
        let row = format!(
            "appointment_id,status,patient_id,patient_name,clinician_id,clinician_name,clinician_speciality\n\
             n-{number},{status},P{patient},Paciente,D{doctor},Clínica,\n"
        );
        let report = cast::import(&self.server, &self.clinic, &row).await;
        assert!(report.refused.is_empty(), "{report:?}");
        let cares = ["booked", "arrived", "checked-in", "fulfilled"].contains(&status);
        // One that was revoked by a person does not come back with its appointment.
        match self.facts.appointments.get(&number) {
            Some((_, stands)) if cares && !stands => {}
            _ => _ = self.facts.appointments.insert(number, ((patient, doctor), cares)),
        }
    }

    pub async fn revoke(&mut self, patient: Who, doctor: Who) {
        revoke_pair(&self.server, self.operator(), (self.user(patient), self.user(doctor))).await;
        self.revoked(patient, doctor);
    }

    pub fn revoked(&mut self, patient: Who, doctor: Who) {
        for (pair, stands) in self.facts.appointments.values_mut() {
            *stands &= *pair != (patient, doctor);
        }
        self.facts.glass.remove(&(patient, doctor));
    }

    pub async fn block(&mut self, who: Who, whom: Who) {
        self.fresh(who).await;
        let body = json!({"user_id": self.user(whom)});
        let answer = self.server.post("/api/chat/block-user/", self.token(who), &body).await;
        if self.facts.is(whom, Role::Admin) {
            answer.expect_error(403, "forbidden");
            return;
        }
        answer.expect_success();
        self.facts.blocks.insert((who, whom));
    }

    pub async fn unblock(&mut self, who: Who, whom: Who) {
        self.fresh(who).await;
        let path = format!("/api/chat/block-user/{}/", self.user(whom));
        self.server.delete(&path, self.token(who)).await.expect(204);
        self.facts.blocks.remove(&(who, whom));
    }

    /// The clinic's hours, or a clinician's own, every day.
    pub async fn set_hours(&mut self, whose: Option<Who>, zone: Option<String>, set: Hours) {
        let all = vec![["00:00".to_owned(), "24:00".to_owned()]];
        let windows = set.daily.as_ref().map_or(all, |windows| written(windows));
        put_hours(&self.server, self.operator(), whose.map(|who| self.user(who)), (zone, &windows)).await;
        match whose {
            None => self.facts.clinic.daily = set.daily,
            Some(who) => self.facts.own.entry(who).or_default().daily = set.daily,
        }
    }

    /// A day with windows of its own.
    pub async fn set_day(&mut self, whose: Option<Who>, day: i64, windows: Vec<Window>) {
        let ctx = self.operator();
        let grant = hours::authorize_manage_hours(&self.server.app, &ctx).await.unwrap();
        let set = SetDay { windows: written(&windows), reason: None };
        let (user, date) = (whose.map(|who| self.user(who)), date(day));
        hours::set_day(&self.server.app, &ctx, grant, user, (&date, &set)).await.unwrap();
        let hours = match whose {
            None => &mut self.facts.clinic,
            Some(who) => self.facts.own.entry(who).or_default(),
        };
        hours.days.insert(day, windows);
    }

    /// A clinician breaks the glass.
    pub async fn break_glass(&mut self, doctor: Who, patient: Who) {
        self.fresh(doctor).await;
        let body =
            json!({"patient_id": self.user(patient), "reason": "on_call_cover", "text": "covers tonight"});
        let answer = self.server.post("/api/chat/break-glass/", self.token(doctor), &body).await;
        let now = self.now();
        if self.facts.care(patient, doctor, now) {
            answer.expect_error(403, "forbidden");
        } else {
            answer.expect(201);
            self.facts.glass.insert((patient, doctor), now + GLASS * MINUTE);
        }
    }

    /// A patient calls for help. Gives the place of the conversation.
    pub async fn call(&mut self, patient: Who) -> usize {
        self.fresh(patient).await;
        let body = json!({"category": "symptoms", "urgency": "immediate"});
        let answer = self.server.post("/api/chat/emergency/", self.token(patient), &body).await.expect(201);
        let mut talk = Talk::of(Kind::Emergency, &[patient]);
        // On call are the first two clinicians, each a tier; who is suspended is passed over.
        let there = [2, 3].into_iter().filter(|who| !self.facts.suspended.contains(who));
        talk.tiers = there.map(|who| vec![who]).collect();
        if !talk.tiers.is_empty() {
            talk.members.extend(talk.tiers.remove(0));
            talk.due = Some(self.now() + TIER * MINUTE);
        }
        self.add(talk, &answer["emergency"]["conversation_id"])
    }

    fn add(&mut self, talk: Talk, id: &Value) -> usize {
        self.ids.push(serde_json::from_value(id.clone()).unwrap());
        self.facts.talks.push(talk);
        self.base.push(0);
        self.ids.len() - 1
    }

    /// A clinician acknowledges, calls the next tier, or closes an emergency.
    pub async fn handle(&mut self, who: Who, place: usize, step: &str) {
        self.fresh(who).await;
        let body = if step == "close" { json!({"outcome": "advised"}) } else { json!({}) };
        let path = format!("/api/chat/emergency/{}/{step}/", self.ids[place]);
        let answer = self.server.post(&path, self.token(who), &body).await;
        let now = self.now();
        let talk = &mut self.facts.talks[place];
        if !talk.members.contains(&who) {
            answer.expect_error(404, "not_found");
        } else if talk.closed || (step == "escalate" && talk.tiers.is_empty()) {
            answer.expect_error(409, "already_settled");
        } else {
            answer.expect(200);
            match step {
                "ack" if talk.acknowledged_by.is_none() => {
                    (talk.acknowledged_by, talk.due) = (Some(who), None);
                }
                "ack" => {}
                "escalate" => {
                    talk.members.extend(talk.tiers.remove(0));
                    talk.due = talk.acknowledged_by.is_none().then(|| now + TIER * MINUTE);
                }
                _ => {
                    talk.closed = true;
                    talk.tiers.clear();
                    talk.due = None;
                }
            }
        }
    }

    /// Somebody starts a consultation with somebody.
    pub async fn start(&mut self, who: Who, other: Who) {
        self.fresh(who).await;
        let body = json!({"type": word(Kind::Consultation), "participants": [self.user(other)]});
        let answer = self.server.post(CONVERSATIONS, self.token(who), &body).await;
        let no = self.facts.against_start(who, other, self.now());
        if no.is_empty() {
            let made = answer.expect(201);
            self.add(Talk::of(Kind::Consultation, &[who, other]), &made["id"]);
            return;
        }
        assert_eq!(named(&answer.body), policies(no), "{}", answer.body);
        answer.expect_error(403, "conversation_not_allowed");
    }

    /// A patient looks for another patient: never.
    pub async fn start_with_patient(&mut self, who: Who, other: Who) {
        self.fresh(who).await;
        let body = json!({"type": "direct", "participants": [self.user(other)]});
        let answer = self.server.post(CONVERSATIONS, self.token(who), &body).await;
        assert!(named(&answer.body).contains("patients-apart"), "{}", answer.body);
        answer.expect_error(403, "conversation_not_allowed");
    }

    /// A clinician says that a conversation is over.
    pub async fn close(&mut self, who: Who, place: usize) {
        self.fresh(who).await;
        put_closed(self, who, place).await.expect(200);
        self.facts.talks[place].closed = true;
    }

    /// Has the server look for tiers whose time has come.
    pub async fn escalate(&mut self) {
        let now = self.now();
        self.facts.escalate(now, TIER * MINUTE);
        while emergency::escalate_due(&self.server.app, self.server.app.clock.now()).await.unwrap() > 0 {}
    }

    /// The number of the newest message.
    pub async fn last_seq(&self, place: usize) -> i64 {
        let sql = "SELECT last_seq FROM conversations WHERE conversation_id = $1";
        let mut tx = self.server.app.db.read("test").await.unwrap();
        fetch_one!(&mut tx, (i64,), sql, self.ids[place]).unwrap().0
    }

    /// The device's own messages that came back, or were refused, since the sequence began.
    pub async fn told(&self, who: Who) -> Vec<Value> {
        let sql = "SELECT type, data FROM device_events WHERE device_id = $1
            AND type IN ('message_held_refused', 'reseal_needed') ORDER BY event_seq";
        let mut tx = self.server.app.db.read("test").await.unwrap();
        let rows = fetch_all!(&mut tx, (String, String), sql, self.people[who].device.device).unwrap();
        let told = |(word, data): (String, String)| {
            let mut data: Value = serde_json::from_str(&data).unwrap();
            data["type"] = json!(word);
            data
        };
        rows.into_iter().map(told).collect()
    }
}

pub async fn put_closed(house: &House, who: Who, place: usize) -> Answer {
    let path = format!("{CONVERSATIONS}{}/", house.ids[place]);
    house.server.put(&path, house.token(who), &json!({"status": "closed"})).await
}

pub async fn put_hours(
    server: &crate::support::TestServer,
    ctx: Ctx,
    whose: Option<sigilo_wire::UserId>,
    (zone, windows): (Option<String>, &[DayWindow]),
) {
    let change = SetHours { time_zone: zone, weekly: Some(daily(windows)) };
    let grant = hours::authorize_manage_hours(&server.app, &ctx).await.unwrap();
    hours::set(&server.app, &ctx, grant, whose, &change).await.unwrap();
}

pub async fn change_standing(
    server: &crate::support::TestServer,
    ctx: Ctx,
    user: sigilo_wire::UserId,
    suspend: bool,
) {
    let grant = people::authorize_manage_people(&server.app, &ctx).unwrap();
    let done = if suspend {
        people::suspend_user(&server.app, &ctx, grant, user).await
    } else {
        people::resume_user(&server.app, &ctx, grant, user).await
    };
    assert!(done.unwrap().changed);
}

/// Revokes whatever stands between a patient and a clinician.
pub async fn revoke_pair(
    server: &crate::support::TestServer,
    ctx: Ctx,
    (patient, doctor): (sigilo_wire::UserId, sigilo_wire::UserId),
) {
    let sql = "SELECT relationship_id FROM relationships WHERE patient_id = $1 AND clinician_id = $2 AND revoked_at IS NULL";
    let mut tx = server.app.db.read("test").await.unwrap();
    let found = fetch_all!(&mut tx, (sigilo_wire::RelationshipId,), sql, patient, doctor).unwrap();
    drop(tx);
    let Some((id,)) = found.into_iter().next() else { return };
    let grant = relationships::authorize_manage_relationships(&server.app, &ctx).unwrap();
    relationships::revoke(&server.app, &ctx, grant, id).await.unwrap();
}
