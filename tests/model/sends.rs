//! Messages: sent on both gateways, held, released, taken back; each answer compared with the model's.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::{Value, json};
use sigilo::{fetch_all, relay};
use sigilo_wire::{
    ClientMessageId, Timestamp,
    message::{Deliver, SendMessage},
};

use crate::{
    acts::{named, policies},
    house::{House, Waiting},
    rules::{MICROS, MINUTE, No, Who},
    support::{device::Device, http::Answer, socket::Socket},
};

/// The way a message takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gateway {
    Http,
    Socket,
}

/// What a server said to a message.
#[derive(Clone, Debug)]
pub enum Said {
    Accepted,
    Held(Value),
    Refused(Value),
    /// The socket ended, or the token was not good any more.
    Out,
}

impl Said {
    pub fn of_answer(answer: Answer) -> Self {
        match answer.status {
            201 => Self::Accepted,
            202 => Self::Held(answer.body),
            401 => Self::Out,
            _ => Self::Refused(answer.body),
        }
    }

    pub fn of_frame(frame: &Value) -> Self {
        match (frame["type"].as_str(), frame["data"]["delivery_status"].as_str()) {
            (Some("result"), Some("held")) => Self::Held(frame["data"].clone()),
            (Some("result"), _) => Self::Accepted,
            _ => Self::Refused(frame["data"].clone()),
        }
    }
}

/// The server looks at what waits at least this often.
const LOOK: i64 = 15 * MINUTE;

impl House {
    /// Everybody a message of somebody's must be encrypted for.
    pub fn readers(&self, who: Who, place: usize) -> BTreeSet<Who> {
        let mut readers = self.facts.talks[place].sealed_for();
        readers.retain(|other| *other != who && !self.facts.suspended.contains(other));
        readers
    }

    /// Makes and publishes a seal, if there is none and the rules let it.
    pub async fn seal(&mut self, who: Who, place: usize) {
        if self.sealed.contains(&(who, place)) {
            return;
        }
        let talk = &self.facts.talks[place];
        let others: Vec<&Device> = talk
            .sealed_for()
            .into_iter()
            .filter(|other| *other != who)
            .map(|other| &self.people[other].device)
            .collect();
        let id = self.ids[place];
        let seal = self.people[who].device.seal(&self.server, &self.clinic, id, &others);
        let path = format!("/api/chat/conversations/{id}/seals/");
        let answer = self.server.post(&path, self.token(who), &json!(seal)).await;
        // Seals are made at any hour.
        let mut no = self.facts.against(who, talk, self.now());
        no.remove(&No::Hour);
        if no.is_empty() {
            answer.expect_success();
            self.sealed.insert((who, place));
        } else if no.contains(&No::Stranger) {
            answer.expect_error(404, "not_found");
        } else {
            assert_eq!(named(&answer.body), policies(no), "a seal: {}", answer.body);
        }
    }

    pub fn text(&self, who: Who, place: usize, deliver: Deliver) -> SendMessage {
        let readers = self.readers(who, place);
        let to: Vec<&Device> = readers.iter().map(|reader| &self.people[*reader].device).collect();
        let device = &self.people[who].device;
        device.message(&self.server, self.ids[place], "hello", &to, |m| m.deliver = deliver)
    }

    /// The socket of somebody, opened if it was not.
    pub async fn socket(&mut self, who: Who) -> Socket {
        match self.people[who].socket.take() {
            Some(socket) => socket,
            None => Socket::open(&self.server, &self.people[who].device).await,
        }
    }

    async fn post(&mut self, who: Who, place: usize, (gateway, message): (Gateway, &SendMessage)) -> Said {
        match gateway {
            Gateway::Http => {
                Said::of_answer(self.people[who].device.post(&self.server, self.ids[place], message).await)
            }
            Gateway::Socket => {
                let mut socket = self.socket(who).await;
                socket.send(&frame(self, place, message, 0)).await;
                let answer = answered(&mut socket).await.expect("the socket stays open");
                self.people[who].socket = Some(socket);
                Said::of_frame(&answer)
            }
        }
    }

    /// Somebody writes; the answer must be the model's.
    pub async fn say(&mut self, who: Who, place: usize, gateway: Gateway, deliver: Deliver) {
        // No two messages come at the same instant.
        self.advance(MICROS / 1000);
        let now = self.now();
        if self.facts.suspended.contains(&who) {
            let path = format!("/api/chat/conversations/{}/messages/", self.ids[place]);
            let answer = self.server.post(&path, self.token(who), &json!({})).await;
            assert_eq!(answer.status, 401, "of a suspended account: {}", answer.body);
            return;
        }
        self.fresh(who).await;
        self.seal(who, place).await;
        let mut no = self.facts.against(who, &self.facts.talks[place], now);
        let message = self.text(who, place, deliver);
        let said = self.post(who, place, (gateway, &message)).await;
        let opens = self.facts.next_opening(&self.facts.talks[place], now);
        // What more than the hour stands against is refused as at any hour.
        let only_the_hour = no == BTreeSet::from([No::Hour]);
        let holds = deliver == Deliver::WhenOpen && only_the_hour && opens.is_some();
        if holds {
            no.clear();
        }
        let what = format!(
            "{who} in {place} by {gateway:?}, {deliver:?}, at {}: {no:?}",
            Timestamp::from_micros(now)
        );
        match (&said, no.is_empty()) {
            (Said::Accepted, true) if !holds => self.tally.sent += 1,
            (Said::Held(held), true) if holds => {
                let expected = opens.map(|opens| Timestamp::from_micros(opens).to_string());
                assert_eq!(held["release_at"].as_str(), expected.as_deref(), "{what}");
                let id = held["message_id"].as_str().unwrap().to_owned();
                let to = self.readers(who, place);
                self.held.entry((who, place)).or_default().push(Waiting { message, id, to });
                self.tally.held += 1;
                return;
            }
            (Said::Refused(body), false) => self.check_refusal(body, &no, opens, &what),
            // What waited before it goes first, and could not.
            (Said::Refused(body), true) if body["error"] == "chain_gap" && self.waits(who, place) => {}
            _ => panic!("{what}, but the server says {said:?}"),
        }
        if !matches!(said, Said::Accepted) {
            self.people[who].device.rewind(self.ids[place], &message);
        }
    }

    fn waits(&self, who: Who, place: usize) -> bool {
        self.held.get(&(who, place)).is_some_and(|waiting| !waiting.is_empty())
    }

    fn check_refusal(&mut self, body: &Value, no: &BTreeSet<No>, opens: Option<i64>, what: &str) {
        let code = body["error"].as_str().unwrap().to_owned();
        *self.tally.refused.entry(code.clone()).or_default() += 1;
        if no.contains(&No::Stranger) {
            assert_eq!(code, "not_found", "{what}: {body}");
            return;
        }
        assert_eq!(named(body), policies(no.iter().copied()), "{what}: {body}");
        let possible: HashSet<&str> = no.iter().map(|no| code_of(*no)).collect();
        assert!(possible.contains(code.as_str()), "{what}: {body}");
        if code == "outside_chat_hours" {
            let expected = opens.map(|opens| json!(Timestamp::from_micros(opens).to_string()));
            assert_eq!(body["details"]["next_open_at"], expected.unwrap_or(Value::Null), "{what}: {body}");
        }
    }

    /// The names of the messages of a sequence that are stored in a conversation, and when they came.
    pub async fn stored(&self, place: usize) -> HashMap<ClientMessageId, Timestamp> {
        let sql = "SELECT client_message_id, received_at FROM messages
            WHERE conversation_id = $1 AND conversation_seq > $2";
        let mut tx = self.server.app.db.read("test").await.unwrap();
        let rows = fetch_all!(&mut tx, (ClientMessageId, Timestamp), sql, self.ids[place], self.base[place]);
        rows.unwrap().into_iter().collect()
    }

    /// Those that wait in a conversation, and when the server looks at them next.
    async fn waiting(&self, place: usize) -> HashMap<ClientMessageId, Timestamp> {
        let sql = "SELECT client_message_id, look_at FROM held_messages WHERE conversation_id = $1";
        let mut tx = self.server.app.db.read("test").await.unwrap();
        let rows = fetch_all!(&mut tx, (ClientMessageId, Timestamp), sql, self.ids[place]);
        rows.unwrap().into_iter().collect()
    }

    /// Lets the server look at what is due, and compares what became of it with the model. `passed` are those that
    /// were stored under facts of before.
    pub async fn settle(&mut self, passed: &HashSet<ClientMessageId>) {
        self.escalate().await;
        while relay::held::release_due(&self.server.app).await.unwrap() > 0 {}
        let mut places: Vec<(Who, usize)> = self.held.keys().copied().collect();
        places.sort_unstable();
        for (who, place) in places {
            self.settle_one(who, place, passed).await;
        }
        self.held.retain(|_, waiting| !waiting.is_empty());
    }

    async fn settle_one(&mut self, who: Who, place: usize, passed: &HashSet<ClientMessageId>) {
        // One that came back between two reads is in neither; one that is stored stays so.
        let waiting = self.waiting(place).await;
        let stored = self.stored(place).await;
        let now = self.now();
        let no = self.facts.against(who, &self.facts.talks[place], now);
        let readers = self.readers(who, place);
        let queue = self.held.remove(&(who, place)).unwrap_or_default();
        let (mut kept, mut back): (Vec<Waiting>, Vec<Waiting>) = (Vec::new(), Vec::new());
        for message in queue {
            let name = message.message.client_message_id;
            let what = format!("{who}'s held message in {place}, at {}: {no:?}", Timestamp::from_micros(now));
            if stored.contains_key(&name) {
                assert!(no.is_empty() || passed.contains(&name), "{what} passed");
                assert!(back.is_empty() && kept.is_empty(), "{what} is stored behind one that is not");
                self.tally.released += 1;
            } else if let Some(look_at) = waiting.get(&name) {
                assert!(back.is_empty(), "{what} waits behind one that came back");
                assert!(
                    !no.is_empty() || (look_at.micros() > now && look_at.micros() <= now + LOOK),
                    "{what} waits on"
                );
                kept.push(message);
            } else {
                let rules = no.iter().any(|no| *no != No::Hour);
                let stale = message.to != readers;
                assert!(rules || stale || !back.is_empty(), "{what} came back");
                self.tally.given_back += 1;
                back.push(message);
            }
        }
        if let Some(first) = back.first() {
            self.people[who].device.rewind(self.ids[place], &first.message);
            self.check_told(who, &back, &no).await;
        }
        self.held.insert((who, place), kept);
    }

    /// Whoever wrote what came back was told of each, with the rules or what is stale.
    async fn check_told(&self, who: Who, back: &[Waiting], no: &BTreeSet<No>) {
        // The events of a suspended account's devices are dropped with its tokens.
        if self.facts.suspended.contains(&who) {
            return;
        }
        let told = self.told(who).await;
        for message in back {
            let event = told.iter().find(|event| event["message_id"] == message.id.as_str());
            let event = event.unwrap_or_else(|| panic!("{who} was not told of {}", message.id));
            if event["type"] == "message_held_refused" {
                assert_eq!(named(event), policies(no.iter().copied()), "{event}");
            }
        }
    }

    /// Takes the first or a later message that waits back.
    pub async fn take_back(&mut self, who: Who, place: usize, index: usize) {
        self.fresh(who).await;
        let Some(waiting) = self.held.get_mut(&(who, place)) else { return };
        let behind = waiting.split_off(index);
        let path = format!("/api/chat/messages/{}/hold/", behind[0].id);
        self.server.delete(&path, self.token(who)).await.expect(204);
        self.people[who].device.rewind(self.ids[place], &behind[0].message);
        let left = self.waiting(place).await;
        for message in &behind {
            assert!(!left.contains_key(&message.message.client_message_id), "{} waits on", message.id);
        }
    }
}

fn code_of(no: No) -> &'static str {
    match no {
        No::Closed => "conversation_closed",
        No::Hour => "outside_chat_hours",
        _ => "message_not_allowed",
    }
}

/// The frame that sends a message.
pub fn frame(house: &House, place: usize, message: &SendMessage, number: usize) -> Value {
    json!({"type": "send_message", "request_id": number.to_string(),
        "conversation_id": house.ids[place], "data": message})
}

/// The next answer of a socket; acknowledges what comes before it. `None` when it ends.
pub async fn answered(socket: &mut Socket) -> Option<Value> {
    loop {
        let frame = socket.next_if_open().await?;
        if matches!(frame["type"].as_str(), Some("result" | "error")) {
            return Some(frame);
        }
        if frame.get("event_id").is_some() {
            let ack = json!({"type": "ack", "event_ids": [frame["event_id"]]});
            if !socket.send_if_open(&ack).await {
                return None;
            }
        }
    }
}
