//! Messages on their way while something changes that refuses them. Either may be first; what is not stored when the
//! change has been answered never is.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

use serde_json::json;
use sigilo::{Ctx, relay};
use sigilo_wire::{
    ClientMessageId, Role, Timestamp, UserId,
    hours::DayWindow,
    message::{Deliver, SendMessage},
};
use tokio::time::sleep;

use crate::{
    acts::{self, named, policies},
    house::House,
    rules::{Facts, Hours, MICROS, MINUTE, No, Who},
    sends::{Gateway, Said, answered, frame},
    support::{TestServer, device::Device, http::Answer},
};

/// What changes under way.
#[derive(Clone, Debug)]
enum Change {
    Revoke(Who, Who),
    Block(Who, Who),
    Unblock(Who, Who),
    Suspend(Who),
    /// The staff close the clinic.
    Hours,
    /// The closing comes by the clock, after this many microseconds of it.
    Clock(i64),
    Close(Who),
    /// Whoever wrote it takes a held message back.
    TakeBack(usize),
}

impl Change {
    /// What the model knows afterwards.
    fn apply(&self, house: &mut House, place: usize) {
        let now = house.now();
        match self {
            Self::Revoke(patient, doctor) => house.revoked(*patient, *doctor),
            Self::Block(who, whom) => _ = house.facts.blocks.insert((*who, *whom)),
            Self::Unblock(who, whom) => _ = house.facts.blocks.remove(&(*who, *whom)),
            Self::Suspend(who) => house.facts.suspend(*who, now),
            Self::Hours => house.facts.clinic.daily = Some(Vec::new()),
            Self::Close(_) => house.facts.talks[place].closed = true,
            Self::Clock(_) | Self::TakeBack(_) => {}
        }
    }
}

/// What a change needs, without the house.
struct Hand<'a> {
    server: &'a TestServer,
    ctx: Ctx,
    token: String,
    /// Whom it is about.
    users: (UserId, UserId),
    path: String,
}

impl Hand<'_> {
    /// Does it, and comes back with its answer.
    async fn act(&self, change: &Change) -> Option<Answer> {
        let (server, ctx, token) = (self.server, self.ctx.clone(), Some(self.token.as_str()));
        match change {
            Change::Revoke(..) => acts::revoke_pair(server, ctx, self.users).await,
            Change::Suspend(_) => acts::change_standing(server, ctx, self.users.0, true).await,
            Change::Hours => acts::put_hours(server, ctx, None, (None, &[])).await,
            Change::Clock(by) => server.clock.advance(Duration::from_micros(*by as u64)),
            Change::Block(..) => {
                return Some(
                    server.post("/api/chat/block-user/", token, &json!({"user_id": self.users.1})).await,
                );
            }
            Change::Unblock(..) | Change::TakeBack(_) => return Some(server.delete(&self.path, token).await),
            Change::Close(_) => {
                return Some(server.put(&self.path, token, &json!({"status": "closed"})).await);
            }
        }
        None
    }
}

/// The names of what is stored, and when it came.
type Stored = HashMap<ClientMessageId, Timestamp>;

impl House {
    pub async fn race(&mut self) {
        let waiting = !self.held.is_empty() && self.dice.of_hundred(75);
        self.tally.races += 1;
        if waiting || self.dice.of_hundred(30) {
            self.race_a_release().await;
        } else {
            self.race_a_send().await;
        }
    }

    fn hand(&self, change: &Change, (who, place): (Who, usize)) -> Hand<'_> {
        let user = |who: Who| self.user(who);
        let (by, users, path) = match change {
            Change::Revoke(patient, doctor) => (who, (user(*patient), user(*doctor)), String::new()),
            Change::Block(a, b) => (*a, (user(*a), user(*b)), String::new()),
            Change::Unblock(a, b) => {
                (*a, (user(*a), user(*b)), format!("/api/chat/block-user/{}/", user(*b)))
            }
            Change::Suspend(whom) => (who, (user(*whom), user(*whom)), String::new()),
            Change::Hours | Change::Clock(_) => (who, (user(who), user(who)), String::new()),
            Change::Close(by) => {
                (*by, (user(*by), user(*by)), format!("{}{}/", crate::house::CONVERSATIONS, self.ids[place]))
            }
            Change::TakeBack(index) => {
                let id = &self.held[&(who, place)][*index].id;
                (who, (user(who), user(who)), format!("/api/chat/messages/{id}/hold/"))
            }
        };
        let token = self.people[by].device.token.clone();
        Hand { server: &self.server, ctx: self.operator(), token, users, path }
    }

    /// Something that may happen now, and stops who writes here.
    fn some_change(&mut self, who: Who, place: usize) -> Change {
        let talk = self.facts.talks[place].clone();
        let there = |who: &Who| !self.facts.suspended.contains(who);
        let others: Vec<Who> = talk.members.iter().copied().filter(|other| *other != who).collect();
        let of = |role| talk.members.iter().copied().find(|who| self.facts.is(*who, role));
        let mut possible = vec![Change::Suspend(who)];
        possible.extend(
            others
                .iter()
                .copied()
                .filter(there)
                .filter(|o| !self.facts.is(*o, Role::Admin))
                .map(Change::Suspend),
        );
        if let (Some(patient), Some(doctor)) = (of(Role::Patient), of(Role::Doctor)) {
            possible.extend([Change::Revoke(patient, doctor), Change::Hours]);
            if let Some(edge) = self.facts.next_change(&talk, self.now()) {
                let by = edge - self.now();
                // Tokens must outlive it.
                if by < 6 * MINUTE {
                    possible.extend([Change::Clock(by), Change::Clock(by)]);
                }
            }
        }
        if let [other] = *others
            && there(&other)
            && !self.facts.is(other, Role::Admin)
            && !self.facts.is(who, Role::Admin)
        {
            for (a, b) in [(who, other), (other, who)] {
                possible.push(match self.facts.blocks.contains(&(a, b)) {
                    true => Change::Unblock(a, b),
                    false => Change::Block(a, b),
                });
            }
        }
        // The lasting conversations are needed by the next sequence.
        if place >= self.lasting()
            && talk.kind == crate::rules::Kind::Consultation
            && !talk.closed
            && let Some(doctor) = self.doctor_of(place)
        {
            possible.extend([Change::Close(doctor), Change::Close(doctor)]);
        }
        if matches!(self.facts.roles[who], Role::Admin) {
            possible.retain(|change| !matches!(change, Change::Suspend(whom) if *whom == who));
        }
        self.dice.one(&possible).unwrap_or(Change::Hours)
    }

    /// Where somebody could write now, most often with success.
    fn somewhere(&mut self, wanted: impl Fn(&BTreeSet<No>) -> bool) -> Option<(Who, usize)> {
        let now = self.now();
        let mut found = Vec::new();
        for (place, talk) in self.facts.talks.iter().enumerate() {
            for who in &talk.members {
                if wanted(&self.facts.against(*who, talk, now)) && !self.facts.suspended.contains(who) {
                    found.push((*who, place));
                }
            }
        }
        self.dice.one(&found)
    }

    async fn race_a_send(&mut self) {
        let Some((who, place)) = self.somewhere(BTreeSet::is_empty) else { return };
        let change = self.some_change(who, place);
        let everybody: Vec<Who> = self.facts.talks[place].members.iter().copied().collect();
        for member in &everybody {
            if !self.facts.suspended.contains(member) {
                self.fresh(*member).await;
                self.seal(*member, place).await;
            }
        }
        // One writes on a socket, without waiting; another by requests.
        let second = everybody.iter().copied().find(|other| {
            *other != who && !self.facts.suspended.contains(other) && self.sealed.contains(&(*other, place))
        });
        self.did(format!("{who} (and {second:?}) write in {place} during {change:?}"));
        let count = 2 + self.dice.below(5);
        let mine: Vec<SendMessage> = (0..count).map(|_| self.text(who, place, Deliver::Now)).collect();
        let theirs: Vec<SendMessage> = second
            .iter()
            .flat_map(|other| (0..2).map(|_| self.text(*other, place, Deliver::Now)).collect::<Vec<_>>())
            .collect();
        let before = self.facts.clone();
        let began = self.now();
        let mut socket = self.socket(who).await;
        let pause = Duration::from_micros(self.dice.below(20_000) as u64);
        let hand = self.hand(&change, (who, place));

        let by_socket = async {
            let mut answers = Vec::new();
            for (number, message) in mine.iter().enumerate() {
                if !socket.send_if_open(&frame(self, place, message, number)).await {
                    break;
                }
            }
            while answers.len() < mine.len() {
                let Some(answer) = answered(&mut socket).await else { break };
                answers.push(answer);
            }
            answers
        };
        let by_requests = async {
            let mut answers = Vec::new();
            for message in &theirs {
                let device: &Device = &self.people[second.unwrap_or(who)].device;
                answers.push(device.post(&self.server, self.ids[place], message).await);
            }
            answers
        };
        let meanwhile = async {
            sleep(pause).await;
            let answer = hand.act(&change).await;
            (answer, self.stored(place).await)
        };
        let (framed, answered, (answer, at_answer)) = tokio::join!(by_socket, by_requests, meanwhile);
        if let Some(answer) = answer {
            assert!((200..300).contains(&answer.status), "{change:?}: {} {}", answer.status, answer.body);
        }
        if !matches!(change, Change::Suspend(whom) if whom == who) {
            self.people[who].socket = Some(socket);
        }
        change.apply(self, place);
        if let Change::Suspend(whom) = change {
            self.people[whom].socket = None;
        }
        let mut said: HashMap<usize, Said> = HashMap::new();
        for answer in framed {
            let number = answer["request_id"].as_str().unwrap().parse().unwrap();
            said.insert(number, Said::of_frame(&answer));
        }
        let framed: Vec<Said> = (0..mine.len()).map(|n| said.remove(&n).unwrap_or(Said::Out)).collect();
        let answered: Vec<Said> = answered.into_iter().map(Said::of_answer).collect();
        let after = self.facts.clone();
        self.judge((who, place), (&mine, &framed), (&before, began), (&after, &at_answer)).await;
        if let Some(other) = second {
            self.judge((other, place), (&theirs, &answered), (&before, began), (&after, &at_answer)).await;
        }
        self.settle(&HashSet::new()).await;
        self.say(who, place, Gateway::Http, Deliver::Now).await;
    }

    /// Whether what became of these messages of one device is right, whichever was first.
    async fn judge(
        &mut self,
        (who, place): (Who, usize),
        (messages, said): (&[SendMessage], &[Said]),
        (before, began): (&Facts, i64),
        (after, at_answer): (&Facts, &Stored),
    ) {
        let stored = self.stored(place).await;
        let (talk, now) = (&after.talks[place], self.now());
        let earlier = before.against(who, &before.talks[place], began);
        let later = after.against(who, talk, now);
        let what = format!("{who} in {place}: before {earlier:?}, after {later:?}, {said:?}");
        // Whoever is suspended gets nothing any more: what is encrypted for them, too, is not for those who are left.
        let fewer = before.suspended != after.suspended;
        let mut gap = None;
        for (message, said) in messages.iter().zip(said) {
            let received = stored.get(&message.client_message_id);
            match said {
                Said::Accepted => assert!(received.is_some(), "accepted and not stored: {what}"),
                Said::Refused(body) if body["error"] == "unavailable" => self.tally.busy += 1,
                Said::Refused(body) if body["error"] == "device_mismatch" => assert!(fewer, "{what}"),
                Said::Refused(body) if body["error"] == "chain_gap" => {
                    // Or the one before it was decided on twice, and this one came by: its device sends it again.
                    let first = message.client_message_id == messages[0].client_message_id;
                    assert!(gap.is_some() || !first, "no message before it was refused: {what}");
                    self.tally.outrun += usize::from(gap.is_none());
                }
                Said::Refused(body) => {
                    let named = named(body);
                    let either =
                        [&earlier, &later].map(|no| !no.is_empty() && policies(no.iter().copied()) == named);
                    assert!(either.contains(&true), "{what}: {body}");
                }
                Said::Out => assert!(later.contains(&No::Suspended), "{what}"),
                Said::Held(body) => panic!("{what}: {body}"),
            }
            if let Some(received) = received {
                assert!(gap.is_none(), "stored behind one that is not: {what}");
                let late = !later.is_empty() && !at_answer.contains_key(&message.client_message_id);
                // The clock gives no answer: there the official time says which was first.
                let by_clock = before.against(who, talk, received.micros()).is_empty();
                assert!(if now == began { !late } else { by_clock }, "stored after the change: {what}");
                self.tally.raced.0 += 1;
            } else {
                gap = gap.or(Some(message));
                self.tally.raced.1 += 1;
            }
        }
        if let Some(first) = gap {
            self.people[who].device.rewind(self.ids[place], first);
        }
    }

    /// What waits for the opening, while the clinic opens and something else changes.
    async fn race_a_release(&mut self) {
        let mut places: Vec<(Who, usize)> = self.held.keys().copied().collect();
        places.retain(|(who, _)| !self.facts.suspended.contains(who));
        places.sort_unstable();
        let found = match self.dice.one(&places) {
            Some(found) => found,
            None => {
                let only_the_hour = BTreeSet::from([No::Hour]);
                let Some((who, place)) = self.somewhere(|no| *no == only_the_hour || no.is_empty()) else {
                    return;
                };
                if !self.facts.talks[place].members.iter().any(|who| self.facts.is(*who, Role::Patient)) {
                    return;
                }
                self.did(format!("closed for some minutes, and {who} has messages held in {place}"));
                let now = self.facts.minute(self.now()).rem_euclid(crate::rules::DAY);
                let soon = vec![((now + 5) % crate::rules::DAY, (now + 90) % crate::rules::DAY)];
                self.set_hours(None, None, Hours { daily: Some(soon), ..Hours::default() }).await;
                for _ in 0..1 + self.dice.below(3) {
                    self.say(who, place, Gateway::Http, Deliver::WhenOpen).await;
                }
                self.settle(&HashSet::new()).await;
                if !self.held.contains_key(&(who, place)) {
                    return;
                }
                (who, place)
            }
        };
        let (who, place) = found;
        self.fresh(who).await;
        for member in self.facts.talks[place].members.clone() {
            if !self.facts.suspended.contains(&member) {
                self.fresh(member).await;
            }
        }
        let mut change = self.some_change(who, place);
        let waiting = self.held[&found].len();
        if self.dice.of_hundred(25)
            || matches!(change, Change::Hours | Change::Clock(_) | Change::Unblock(..))
        {
            change = Change::TakeBack(self.dice.below(waiting));
        }
        self.did(format!("the clinic opens: {waiting} of {who} in {place}, during {change:?}"));
        self.advance(MICROS / 1000);
        let pause = Duration::from_micros(self.dice.below(50_000) as u64);
        let hand = self.hand(&change, found);
        let all: Vec<DayWindow> = vec![["00:00".to_owned(), "24:00".to_owned()]];
        let opening = async {
            acts::put_hours(&self.server, self.operator(), None, (None, &all)).await;
            let mut released = 0;
            for _ in 0..3 {
                released += relay::held::release_due(&self.server.app).await.unwrap();
            }
            released
        };
        let meanwhile = async {
            sleep(pause).await;
            let answer = hand.act(&change).await;
            (answer, self.stored(place).await)
        };
        let (_, (answer, at_answer)) = tokio::join!(opening, meanwhile);
        self.facts.clinic.daily = None;
        change.apply(self, place);
        if let Change::Suspend(whom) = change {
            self.people[whom].socket = None;
        }
        if let Change::TakeBack(index) = change {
            let answer = answer.unwrap();
            let name = self.held[&found][index].message.client_message_id;
            match answer.status {
                204 => {
                    // Nobody hears of it: only those behind it come back.
                    let mut left = self.held.remove(&found).unwrap();
                    let behind = left.split_off(index);
                    let stored = self.stored(place).await;
                    assert!(
                        behind.iter().all(|m| !stored.contains_key(&m.message.client_message_id)),
                        "taken back, and stored"
                    );
                    self.people[who].device.rewind(self.ids[place], &behind[0].message);
                    self.held.insert(found, left);
                }
                404 => {
                    let there = relay_done(self, place, name).await;
                    assert!(there, "neither held nor stored, nor given back");
                }
                _ => panic!("{} {}", answer.status, answer.body),
            }
        } else if let Some(answer) = answer {
            assert!((200..300).contains(&answer.status), "{change:?}: {} {}", answer.status, answer.body);
        }
        let passed: HashSet<ClientMessageId> = at_answer.into_keys().collect();
        self.settle(&passed).await;
        self.settle(&passed).await;
        self.say(who, place, Gateway::Http, Deliver::Now).await;
    }
}

/// Whether a message is stored, or its device was told that it came back.
async fn relay_done(house: &House, place: usize, name: ClientMessageId) -> bool {
    if house.stored(place).await.contains_key(&name) {
        return true;
    }
    for who in 0..house.people.len() {
        if house.told(who).await.iter().any(|event| event["client_message_id"] == json!(name)) {
            return true;
        }
    }
    false
}
