//! What people do: one step after the other, chosen by the seed.

use std::{sync::Arc, sync::atomic::AtomicI64, time::Duration};

use rand_core::Rng as _;
use sigilo_client::{Client, LinkOptions, NewConversation, Proof, SendOptions, SendState};
use sigilo_seal::{Commitment, Content, ContentBody, content};
use sigilo_wire::{ConversationId, Role, UserId, conversation::ConversationType};

use crate::{
    support::clinic::PASSWORD,
    town::{devices, key, profile},
    world::{Said, World},
};

/// How long a new device waits for one that has given up.
const LINK: Duration = Duration::from_secs(2);
/// A person has at most so many devices here: linking takes a while.
const MOST_DEVICES: usize = 5;
const EMOJI: [&str; 3] = ["👍", "❤️", "😮"];

/// The steps, and how often each is taken among a hundred.
const STEPS: [(Step, usize); 15] = [
    (Step::Say, 32),
    (Step::Reply, 5),
    (Step::Forward, 3),
    (Step::Edit, 6),
    (Step::Delete, 3),
    (Step::React, 6),
    (Step::Read, 4),
    (Step::Group, 4),
    (Step::Join, 7),
    (Step::Leave, 5),
    (Step::Link, 3),
    (Step::Remove, 2),
    (Step::Away, 9),
    (Step::Restart, 5),
    (Step::Time, 6),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Say,
    Reply,
    Forward,
    Edit,
    Delete,
    React,
    Read,
    Group,
    Join,
    Leave,
    Link,
    Remove,
    Away,
    Restart,
    Time,
}

impl World<'_> {
    /// The conversations there are from the beginning.
    pub async fn open_talks(&mut self) {
        let people = self.town.people.clone();
        let of = |role: Role| -> Vec<usize> {
            (0..people.len()).filter(|place| people[*place].role == role).collect()
        };
        let (patients, doctors, admins) = (of(Role::Patient), of(Role::Doctor), of(Role::Admin));
        for patient in patients.iter().take((patients.len() / 2).max(1)) {
            let doctor = self.one(&doctors).unwrap();
            let unit = self.first_of(*patient);
            self.connect(unit).await;
            let client = self.client(unit).await;
            client.start_conversation(people[doctor].user, NewConversation::default()).await.unwrap();
        }
        for place in 0..(doctors.len() / 2).max(1) {
            let unit = self.first_of(doctors[place]);
            self.connect(unit).await;
            let mut with: Vec<UserId> =
                doctors.iter().filter(|d| **d != doctors[place]).take(2).map(|d| people[*d].user).collect();
            match place % 3 {
                0 => with.push(people[self.one(&patients).unwrap()].user),
                1 => with.extend(admins.first().map(|admin| people[*admin].user)),
                _ => {}
            }
            let client = self.client(unit).await;
            client.start_group(with, group(ConversationType::Group)).await.unwrap();
        }
    }

    fn first_of(&self, person: usize) -> usize {
        self.units.iter().position(|unit| unit.person == person).unwrap()
    }

    pub async fn step(&mut self) {
        let total = STEPS.iter().map(|(_, share)| share).sum();
        let mut drawn = self.below(total);
        let (step, _) = *STEPS
            .iter()
            .find(|(_, share)| {
                let found = drawn < *share;
                drawn = drawn.saturating_sub(*share);
                found
            })
            .unwrap();
        // What comes next does not depend on how much randomness this step took.
        let rest = self.rng.next_u64();
        match step {
            Step::Say | Step::Reply | Step::Forward | Step::Edit | Step::Delete | Step::React => {
                self.say(step).await;
            }
            Step::Read => self.read().await,
            Step::Group => self.start_group().await,
            Step::Join | Step::Leave => self.change_group(step == Step::Join).await,
            Step::Link => self.link().await,
            Step::Remove => self.remove().await,
            Step::Away => self.away().await,
            Step::Restart => self.start_again().await,
            Step::Time => self.time().await,
        }
        self.rng = rand_core::SeedableRng::seed_from_u64(rest);
    }

    /// A device that its person uses, and a conversation of that person.
    async fn somebody(&mut self) -> Option<(usize, ConversationId)> {
        let talks = self.talks().await;
        let live = self.live();
        let unit = self.one(&live)?;
        let user = self.user(unit);
        let theirs: Vec<_> =
            talks.iter().filter(|(_, talk)| talk.members.contains_key(&user)).map(|(id, _)| *id).collect();
        Some((unit, self.one(&theirs)?))
    }

    /// The devices that are not known to be cut off.
    pub fn live(&self) -> Vec<usize> {
        (0..self.units.len()).filter(|unit| !self.ended.contains_key(&self.units[*unit].id)).collect()
    }

    async fn say(&mut self, step: Step) {
        let Some((unit, conversation)) = self.somebody().await else { return };
        let client = self.client(unit).await;
        let user = self.user(unit);
        let history = client.history(conversation, 12).await.unwrap();
        let known: Vec<_> = history
            .into_iter()
            .filter(|m| m.message_id.is_some() && m.is_verified() && !m.kind.needs_target())
            .collect();
        let own: Vec<_> = known.iter().filter(|m| m.sender == user).cloned().collect();
        self.texts += 1;
        let text = format!("{} {}", self.name(unit), self.texts);
        let mut options = SendOptions::default();
        let about = |of: &[sigilo_client::ShownMessage], world: &mut Self| -> Option<Commitment> {
            world.one(of).and_then(|message| message.commitment)
        };
        let content = match step {
            Step::Reply => {
                options.reply_to = about(&known, self);
                Content::text(text)
            }
            Step::Forward => Content { forwarded: true, ..Content::text(text) },
            Step::Edit | Step::Delete => {
                options.target = about(&own, self);
                Content::new(match step {
                    Step::Edit => ContentBody::Edit(content::Edit { text }),
                    _ => ContentBody::Delete,
                })
            }
            Step::React => {
                options.target = about(&known, self);
                let emoji = EMOJI[self.below(EMOJI.len())].to_owned();
                let remove = self.below(4) == 0;
                Content::new(ContentBody::Reaction(content::Reaction { emoji, remove }))
            }
            _ => Content::text(text),
        };
        if matches!(step, Step::Edit | Step::Delete | Step::React) && options.target.is_none() {
            return;
        }
        let said = Said { unit, conversation, content: content.clone() };
        match client.send(conversation, content, options).await {
            Ok(sent) => {
                let state = match &sent.state {
                    SendState::Accepted(message) => format!("as {:?}", message.conversation_seq),
                    SendState::Queued { reason } => format!("which waits: {reason}"),
                    SendState::Scheduled { .. } | SendState::Held { .. } => "later".to_owned(),
                };
                self.note(format!("{} says {step:?} in {conversation} {state}", self.name(unit)));
                self.said.insert(sent.client_message_id, said);
            }
            Err(error) => {
                // Refused for good: which one it was stands in the events.
                self.refused(unit, said, &error);
                if self.excuse(unit, "says", &error) {
                    self.log_in(unit).await;
                }
            }
        }
    }

    /// Finds the message that was just refused among what the device told.
    fn refused(&mut self, unit: usize, said: Said, error: &sigilo_client::Error) {
        let before = self.units[unit].told.len();
        self.listen(unit);
        let refused = self.units[unit].told[before..].iter().rev().find_map(|event| match event {
            sigilo_client::ClientEvent::Refused { client_message_id, .. } => Some(*client_message_id),
            _ => None,
        });
        if let Some(id) = refused.filter(|id| !self.said.contains_key(id)) {
            self.said.insert(id, said);
        } else {
            let text = format!("{} was refused: {error}, and nobody was told", self.name(unit));
            self.note(text);
        }
    }

    async fn read(&mut self) {
        let Some((unit, conversation)) = self.somebody().await else { return };
        let client = self.client(unit).await;
        if let Err(error) = client.mark_read(conversation, None).await
            && self.excuse(unit, "reads", &error)
        {
            self.log_in(unit).await;
        }
    }

    async fn start_group(&mut self) {
        let live = self.live();
        let doctors: Vec<usize> = live
            .into_iter()
            .filter(|unit| self.town.people[self.units[*unit].person].role == Role::Doctor)
            .collect();
        let Some(unit) = self.one(&doctors) else { return };
        let with: Vec<UserId> = (0..3).filter_map(|_| self.joiner(unit)).collect();
        let patients = |user: &&UserId| self.role(**user) == Role::Patient;
        if with.is_empty() || with.iter().filter(patients).count() > 1 {
            return;
        }
        let client = self.client(unit).await;
        match client.start_group(with, group(ConversationType::Group)).await {
            Ok(made) => self.note(format!("{} starts {}", self.name(unit), made.id)),
            Err(error) => {
                if self.excuse(unit, "starts a group", &error) {
                    self.log_in(unit).await;
                }
            }
        }
    }

    fn role(&self, user: UserId) -> Role {
        self.town.people.iter().find(|person| person.user == user).unwrap().role
    }

    /// Somebody else: a doctor, or now and then a patient.
    fn joiner(&mut self, unit: usize) -> Option<UserId> {
        let role = if self.below(4) == 0 { Role::Patient } else { Role::Doctor };
        let me = self.user(unit);
        let people = &self.town.people;
        let others: Vec<UserId> =
            people.iter().filter(|p| p.role == role && p.user != me).map(|p| p.user).collect();
        self.one(&others)
    }

    async fn change_group(&mut self, joins: bool) {
        let talks = self.talks().await;
        let groups: Vec<_> = talks.iter().filter(|(_, talk)| talk.group).map(|(id, _)| *id).collect();
        let Some(conversation) = self.one(&groups) else { return };
        let talk = &talks[&conversation];
        let live = self.live();
        let moderators: Vec<usize> = live
            .into_iter()
            .filter(|unit| talk.members.contains_key(&self.user(*unit)))
            .filter(|unit| self.role(self.user(*unit)) == Role::Doctor)
            .collect();
        let Some(unit) = self.one(&moderators) else { return };
        let client = self.client(unit).await;
        let done = if joins {
            // Those who have left come back now and then.
            let left: Vec<UserId> = talk.left.iter().copied().collect();
            let again = if self.below(2) == 0 { self.one(&left) } else { None };
            let Some(user) = again.or_else(|| self.joiner(unit)) else { return };
            self.note(format!("{} adds {user} to {conversation}", self.name(unit)));
            client.add_participants(conversation, vec![user]).await.map(drop)
        } else {
            let others: Vec<UserId> = talk
                .members
                .keys()
                .copied()
                .filter(|user| *user != self.user(unit) && Some(*user) != talk.by)
                .collect();
            let Some(user) = self.one(&others) else { return };
            self.note(format!("{} removes {user} from {conversation}", self.name(unit)));
            client.remove_participant(conversation, user).await
        };
        if let Err(error) = done
            && self.excuse(unit, "changes a group", &error)
        {
            self.log_in(unit).await;
        }
    }

    async fn link(&mut self) {
        let mut live = self.live();
        live.retain(|unit| !self.units[*unit].away);
        let Some(unit) = self.one(&live) else { return };
        let person = self.units[unit].person;
        let theirs = self.live().into_iter().filter(|other| self.units[*other].person == person).count();
        if theirs >= MOST_DEVICES {
            return;
        }
        let old = self.client(unit).await;
        if let Err(error) = old.prove(Proof::Password(PASSWORD.to_owned())).await {
            if self.excuse(unit, "proves", &error) {
                self.log_in(unit).await;
            }
            return;
        }
        let number = 100 + u8::try_from(self.half.len() + self.units.len()).unwrap();
        let skew = Arc::new(AtomicI64::new(0));
        let options = LinkOptions {
            server: self.line.url.parse().unwrap(),
            device_name: String::new(),
            environment: self.environment(person, number, 0, &skew),
        };
        let path = profile(self.folder.path(), person, number);
        let linking = Client::begin_link(&path, key(), options);
        let text = linking.text().clone();
        let approve = async {
            let approved = old.approve_link(text, key()).await;
            if approved.is_err() {
                tokio::time::sleep(LINK / 20).await;
            }
            approved
        };
        let new = tokio::spawn(tokio::time::timeout(LINK, linking.finish()));
        let approved = approve.await;
        if approved.is_err() {
            new.abort();
        }
        match (approved, new.await) {
            (Ok(given), Ok(Ok(Ok(client)))) => {
                self.note(format!("{} links {person}-{given}", self.name(unit)));
                let _unit = self.settle_in(person, given.get(), path, client).await;
            }
            (approved, new) => {
                let new = new.map(|new| new.map(|new| new.map(drop)));
                self.note(format!("{} links {person}-{number}: {approved:?}, {new:?}", self.name(unit)));
                self.half.push((person, number, path));
            }
        }
    }

    /// A device that was just linked: its file gets its proper name, so that it is found again.
    pub async fn settle_in(
        &mut self,
        person: usize,
        number: u8,
        path: std::path::PathBuf,
        client: Client,
    ) -> usize {
        client.shutdown().await.unwrap();
        std::fs::rename(path, profile(self.folder.path(), person, number)).unwrap();
        let user = self.town.people[person].user;
        let known = devices(self.server()).await;
        let (id, ..) = *known.iter().find(|d| d.1 == user && d.2 == number).unwrap();
        let unit = self.add(person, number, id, None);
        self.connect(unit).await;
        // A person waits for the history now and then; at the end everybody does.
        if self.below(2) == 0 {
            let client = self.client(unit).await;
            if let Err(error) = client.restore(|_| {}).await {
                self.excuse(unit, "restores", &error);
            }
        }
        unit
    }

    async fn remove(&mut self) {
        let mut live = self.live();
        live.retain(|unit| !self.units[*unit].away);
        let Some(unit) = self.one(&live) else { return };
        let (person, number) = (self.units[unit].person, self.units[unit].number);
        let mut others = self.live();
        others.retain(|other| self.units[*other].person == person && self.units[*other].number != number);
        let Some(other) = self.one(&others) else { return };
        let client = self.client(unit).await;
        let done = match client.prove(Proof::Password(PASSWORD.to_owned())).await {
            Ok(_) => client.remove_device(self.number(other)).await,
            Err(error) => Err(error),
        };
        self.note(format!("{} removes {}: {done:?}", self.name(unit), self.name(other)));
        if let Err(error) = done
            && self.excuse(unit, "removes a device", &error)
        {
            self.log_in(unit).await;
        }
        self.look_for_ends().await;
    }

    /// Notes which devices are cut off by now, and where the conversations were.
    pub async fn look_for_ends(&mut self) {
        let gone: Vec<_> = self.devices().await.into_iter().filter(|d| d.3).map(|d| d.0).collect();
        let news: Vec<_> = gone.into_iter().filter(|id| !self.ended.contains_key(id)).collect();
        if news.is_empty() {
            return;
        }
        let last: std::collections::HashMap<_, _> =
            self.talks().await.into_iter().map(|(id, talk)| (id, talk.last)).collect();
        for id in news {
            self.ended.insert(id, last.clone());
        }
    }

    /// Somebody goes where there is no line, or comes back.
    async fn away(&mut self) {
        let live = self.live();
        let Some(unit) = self.one(&live) else { return };
        if self.units[unit].away {
            self.come_back(unit);
            self.note(format!("{} is back", self.name(unit)));
            if self.below(3) == 0 {
                let client = self.client(unit).await;
                if let Err(error) = client.sync_offline().await
                    && self.excuse(unit, "syncs", &error)
                {
                    self.log_in(unit).await;
                }
            }
            self.connect(unit).await;
        } else if self.units[unit].connected {
            self.go_away(unit).await;
            self.note(format!("{} is away", self.name(unit)));
        } else {
            self.connect(unit).await;
            self.note(format!("{} is there", self.name(unit)));
        }
    }

    /// A device's program, or now and then the server, ends and is started again.
    async fn start_again(&mut self) {
        if self.below(6) == 0 {
            return self.restart().await;
        }
        let live = self.live();
        let Some(unit) = self.one(&live) else { return };
        self.stop(unit).await;
        let _running = self.client(unit).await;
        self.note(format!("{} was restarted", self.name(unit)));
    }

    async fn time(&mut self) {
        match self.below(5) {
            0 | 1 => {
                let live = self.live();
                if let Some(unit) = self.one(&live) {
                    self.set_skew(unit);
                }
            }
            2 | 3 => {
                let by = self.below(20 * 60);
                self.turn(Duration::from_secs(u64::try_from(by).unwrap()));
            }
            _ => {
                let by = self.below(2 * 24 * 3_600);
                self.turn(Duration::from_secs(u64::try_from(by).unwrap()));
            }
        }
    }
}

fn group(r#type: ConversationType) -> NewConversation {
    NewConversation { r#type, ..NewConversation::default() }
}
