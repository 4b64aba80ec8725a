//! The end: the line is good again, everybody is there, and everything must be as if it had always been so.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use futures_util::future::join_all;
use sigilo_client::{
    ChainVerdict, Client, ClientEvent, Error, OpenOptions, ReceiptVerdict, SealVerdict, ShownMessage,
    TimelineNote, Verification,
};
use sigilo_seal::{Content, ContentBody};
use sigilo_wire::{ConversationId, UserId, message::DeliveryStatus};
use tokio::time::{Instant, timeout};

use crate::{
    line::Faults,
    town::key,
    world::{Stored, Talk, World},
};

/// How long the last messages may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// More messages than a conversation has here.
const ALL: u32 = 100_000;

/// A message as everybody must see it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    seq: i64,
    sender: UserId,
    kind: String,
    text: Option<String>,
    forwarded: bool,
    before: Vec<String>,
    deleted: bool,
    reactions: Vec<(String, Vec<UserId>)>,
    reply_to: Option<i64>,
}

impl World<'_> {
    /// Ends all faults, and waits until nothing is under way.
    pub async fn calm(&mut self) {
        self.line.faults(Faults::default());
        for unit in 0..self.units.len() {
            self.come_back(unit);
        }
        self.finish_links().await;
        let began = Instant::now();
        loop {
            self.look_for_ends().await;
            let busy = self.round().await;
            self.look_for_ends().await;
            if busy.is_empty() {
                break;
            }
            if began.elapsed() > PATIENCE {
                self.fail(vec![format!("it does not come to rest: {busy:#?}")]);
            }
        }
    }

    /// What was cut in the middle of a link goes on, or has never begun.
    async fn finish_links(&mut self) {
        for (person, number, path) in std::mem::take(&mut self.half) {
            let skew = std::sync::Arc::default();
            let environment = self.environment(person, number, 1, &skew);
            let open = Client::open(&path, key(), OpenOptions { environment });
            match timeout(PATIENCE, open).await.expect("a link goes on or does not") {
                Ok(client) => {
                    let number = client.me().await.unwrap().device.get();
                    let unit = self.settle_in(person, number, path, client).await;
                    let is_theirs = |unit: &&crate::world::Unit| unit.person == person;
                    let mut theirs = self.units.iter().filter(is_theirs);
                    self.units[unit].outdated = theirs.any(|unit| self.ended.contains_key(&unit.id));
                }
                Err(error) => self.note(format!("{person}-{number} is no device: {error}")),
            }
        }
    }

    /// Everybody reads what waits and sends what waits; gives who is not done.
    async fn round(&mut self) -> Vec<String> {
        let live = self.live();
        let mut clients = Vec::new();
        for unit in &live {
            let client = self.client(*unit).await;
            if !self.units[*unit].connected {
                self.connect(*unit).await;
            }
            clients.push(client);
        }
        let synced = join_all(clients.iter().map(async |client| {
            client.disconnect().await?;
            client.connect().await?;
            client.sync_offline().await?;
            if client.restore_due().await? {
                client.restore(|_| {}).await?;
            }
            Ok::<_, Error>(())
        }))
        .await;
        let mut busy = Vec::new();
        for (unit, synced) in live.iter().zip(synced) {
            if let Err(error) = synced {
                busy.push(format!("{}: {error}", self.name(*unit)));
                if matches!(error, Error::LoggedOut) {
                    self.log_in(*unit).await;
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        let waiting = self.waiting().await;
        for unit in &live {
            if let Some(events) = waiting.get(&self.units[*unit].id) {
                busy.push(format!("{}: {events} events wait", self.name(*unit)));
            }
        }
        if busy.is_empty() {
            for (unit, client) in live.iter().zip(&clients) {
                for conversation in self.talks().await.into_keys() {
                    let newest = client.history(conversation, ALL).await.unwrap();
                    let waits =
                        |m: &&ShownMessage| m.message_id.is_none() && m.status != DeliveryStatus::Failed;
                    if let Some(waits) = newest.iter().find(waits) {
                        busy.push(format!("{}: waits: {:?}", self.name(*unit), waits.problem));
                    }
                }
            }
        }
        busy
    }

    /// Everything that must be true.
    pub async fn judge(&mut self) {
        for unit in 0..self.units.len() {
            self.listen(unit);
        }
        let mut wrong = Vec::new();
        let talks = self.talks().await;
        let mut stored = BTreeMap::new();
        for id in talks.keys() {
            stored.insert(*id, self.stored(*id).await);
        }
        self.judge_ledger(&stored, &mut wrong);
        for unit in 0..self.units.len() {
            self.judge_told(unit, &mut wrong);
            for (conversation, messages) in &stored {
                let talk = &talks[conversation];
                let shown = self.client(unit).await.history(*conversation, ALL).await.unwrap();
                let shown: Vec<_> = shown.into_iter().filter(|m| m.message_id.is_some()).collect();
                let name = format!("{} in {conversation}", self.name(unit));
                self.judge_limits(unit, &name, (*conversation, messages), &shown, &mut wrong);
                let gone = self.ended.contains_key(&self.units[unit].id);
                if !gone
                    && !self.units[unit].outdated
                    && let Some((joined, _)) = talk.members.get(&self.user(unit))
                {
                    self.judge_history(unit, &name, *joined, messages, &shown, &mut wrong).await;
                }
            }
            if !self.ended.contains_key(&self.units[unit].id) {
                self.judge_unread(unit, &talks, &stored, &mut wrong).await;
            }
        }
        self.judge_reports(&mut wrong).await;
        if !wrong.is_empty() {
            self.fail(wrong);
        }
    }

    pub fn fail(&mut self, wrong: Vec<String>) -> ! {
        for line in &self.log {
            println!("  {line}");
        }
        for unit in 0..self.units.len() {
            self.listen(unit);
            for event in &self.units[unit].told {
                if let ClientEvent::Warning { reason } = event {
                    println!("  {} warned: {reason}", self.name(unit));
                }
            }
        }
        panic!("SIGILO_SIMULATION_SEED={} found {} faults:\n{}", self.seed, wrong.len(), wrong.join("\n"));
    }

    /// What was accepted is there, once; what is there was said.
    fn judge_ledger(&self, stored: &BTreeMap<ConversationId, Vec<Stored>>, wrong: &mut Vec<String>) {
        let mut there = HashMap::new();
        for (conversation, messages) in stored {
            for (message, place) in messages.iter().zip(1..) {
                if message.seq != place {
                    wrong.push(format!("{conversation} has no message {place}"));
                }
                there.insert(message.id, (*conversation, message));
                match self.said.get(&message.id) {
                    Some(said) => {
                        let sender = (self.user(said.unit), self.units[said.unit].number);
                        if sender != (message.sender, message.device) || said.conversation != *conversation {
                            wrong.push(format!("#{place} of {conversation} was said by somebody else"));
                        }
                    }
                    None => wrong.push(format!("#{place} of {conversation} was said by nobody")),
                }
            }
        }
        for unit in &self.units {
            for event in &unit.told {
                if let ClientEvent::Accepted(message) = event
                    && !there.contains_key(&message.client_message_id)
                {
                    wrong.push(format!("{:?} was accepted and is lost", message.client_message_id));
                }
            }
        }
    }

    /// Nothing came twice, and nobody was accused.
    fn judge_told(&self, unit: usize, wrong: &mut Vec<String>) {
        let mut seen = HashSet::new();
        for event in &self.units[unit].told {
            match event {
                ClientEvent::Message(m) if !seen.insert((m.sender, m.device, m.client_message_id)) => {
                    wrong.push(format!("{} was shown #{:?} twice", self.name(unit), m.conversation_seq));
                }
                ClientEvent::Timeline {
                    note:
                        note @ (TimelineNote::SealInvalid { .. }
                        | TimelineNote::Contradicted { .. }
                        | TimelineNote::IdentityChanged(_)),
                    ..
                } => wrong.push(format!("{} was told {note:?}", self.name(unit))),
                ClientEvent::QueueTruncated => wrong.push(format!("{} lost events", self.name(unit))),
                _ => {}
            }
        }
    }

    /// Nobody has what was not for them, and no device what came after it was cut off.
    fn judge_limits(
        &self,
        unit: usize,
        name: &str,
        (conversation, messages): (ConversationId, &[Stored]),
        shown: &[ShownMessage],
        wrong: &mut Vec<String>,
    ) {
        let user = self.user(unit);
        let end = self.ended.get(&self.units[unit].id);
        let end = end.map(|last| last.get(&conversation).copied().unwrap_or(0));
        let mut before = 0;
        for message in shown {
            let seq = message.conversation_seq.unwrap();
            if seq <= before {
                wrong.push(format!("{name}: #{seq} stands behind #{before}"));
            }
            before = seq;
            let Some(stored) = messages.iter().find(|stored| stored.seq == seq) else {
                wrong.push(format!("{name}: #{seq} is not on the server"));
                continue;
            };
            if !stored.members.contains(&user) {
                wrong.push(format!("{name}: #{seq} was not for them"));
            }
            if end.is_some_and(|end| seq > end) {
                wrong.push(format!("{name}: #{seq} came after the device was cut off"));
            }
        }
    }

    /// A member's device shows everything that was said to them, as it was said, with every check good.
    async fn judge_history(
        &mut self,
        unit: usize,
        name: &str,
        joined: i64,
        messages: &[Stored],
        shown: &[ShownMessage],
        wrong: &mut Vec<String>,
    ) {
        let user = self.user(unit);
        let client = self.client(unit).await;
        let mut visible = Vec::new();
        let by_place: HashMap<i64, &ShownMessage> =
            shown.iter().map(|m| (m.conversation_seq.unwrap(), m)).collect();
        for message in messages.iter().filter(|m| m.members.contains(&user)) {
            let hidden = if by_place.contains_key(&message.seq) {
                None
            } else {
                let conversation = self.said.get(&message.id).map(|said| said.conversation);
                let Some(conversation) = conversation else { continue };
                client.message_at(conversation, message.seq).await.ok()
            };
            let Some(found) = by_place.get(&message.seq).copied().or(hidden.as_ref()) else {
                // What was said before somebody left is not given again when they come back.
                if message.seq > joined {
                    wrong.push(format!("{name}: #{} ({}) is not there", message.seq, message.kind));
                }
                continue;
            };
            judge_message(name, message, found, &visible, wrong);
            visible.push(message);
        }
        let expected = self.expected(&visible);
        let real: Vec<Line> = shown.iter().map(line).collect();
        for (expected, real) in expected.iter().zip(&real) {
            if expected != real {
                wrong.push(format!("{name}: {real:?}\n      instead of {expected:?}"));
                break;
            }
        }
        if expected.len() != real.len() {
            let places = |lines: &[Line]| lines.iter().map(|line| line.seq).collect::<Vec<_>>();
            let (real, expected) = (places(&real), places(&expected));
            wrong.push(format!("{name}: lines {real:?}\n      instead of {expected:?}"));
        }
    }

    /// What these messages look like to somebody who sees them all.
    fn expected(&self, visible: &[&Stored]) -> Vec<Line> {
        let mut lines = Vec::<Line>::new();
        let mut places = HashMap::<&[u8], (usize, i64)>::new();
        for message in visible {
            let Some(said) = self.said.get(&message.id) else { continue };
            let target = message.target.as_ref().and_then(|target| places.get(target.as_slice()));
            if let Some((place, _)) = target {
                let line = &mut lines[*place];
                if message.kind == "reaction" || line.sender == message.sender {
                    revise(line, message.sender, &said.content);
                    continue;
                }
            }
            let reply_to = message.reply_to.as_ref().and_then(|r| places.get(r.as_slice())).map(|p| p.1);
            if message.target.is_none() {
                places.insert(&message.commitment, (lines.len(), message.seq));
            }
            lines.push(Line {
                seq: message.seq,
                sender: message.sender,
                kind: message.kind.clone(),
                text: text(&said.content).filter(|_| message.target.is_none()),
                forwarded: said.content.forwarded,
                before: Vec::new(),
                deleted: false,
                reactions: Vec::new(),
                reply_to,
            });
        }
        lines
    }

    /// The server counts what a person has not read, and tells all their devices the same.
    async fn judge_unread(
        &mut self,
        unit: usize,
        talks: &BTreeMap<ConversationId, Talk>,
        stored: &BTreeMap<ConversationId, Vec<Stored>>,
        wrong: &mut Vec<String>,
    ) {
        let (user, name) = (self.user(unit), self.name(unit));
        let counted: BTreeMap<ConversationId, i64> = match self.client(unit).await.all_conversations().await {
            Ok(all) => all.into_iter().map(|one| (one.id, one.unread_count)).collect(),
            Err(error) => return wrong.push(format!("{name}: no conversations: {error}")),
        };
        for (id, talk) in talks {
            let Some((joined, read)) = talk.members.get(&user) else {
                if counted.contains_key(id) {
                    wrong.push(format!("{name} takes part in {id} no more"));
                }
                continue;
            };
            let messages = &stored[id];
            let deleted: HashSet<(&[u8], UserId)> = messages
                .iter()
                .filter(|m| m.kind == "delete")
                .filter_map(|m| Some((m.target.as_deref()?, m.sender)))
                .collect();
            let unread = messages.iter().filter(|m| {
                let new = m.seq > *read.max(joined) && m.sender != user && m.target.is_none();
                new && !deleted.contains(&(m.commitment.as_slice(), m.sender))
            });
            let unread = i64::try_from(unread.count()).unwrap();
            if counted.get(id) != Some(&unread) {
                wrong.push(format!("{name}: {:?} unread in {id}, not {unread}", counted.get(id)));
            }
        }
    }

    /// Nobody told the clinic that somebody's seal is bad.
    async fn judge_reports(&self, wrong: &mut Vec<String>) {
        let mut tx = self.server().app.db.read("test").await.unwrap();
        let (reports,): (i64,) =
            sigilo::fetch_one!(&mut tx, (i64,), "SELECT COUNT(*) FROM seal_reports").unwrap();
        if reports > 0 {
            wrong.push(format!("{reports} seals were reported"));
        }
    }
}

/// Every check of a message held.
fn judge_message(
    name: &str,
    stored: &Stored,
    shown: &ShownMessage,
    visible: &[&Stored],
    wrong: &mut Vec<String>,
) {
    let mut check = |good: bool, what: String| {
        if !good {
            let Stored { seq, kind, device_seq, .. } = stored;
            wrong.push(format!("{name}: #{seq} ({kind} {device_seq}): {what}"));
        }
    };
    let same = (shown.client_message_id, shown.sender, shown.device.get());
    check(same == (stored.id, stored.sender, stored.device), "another message".to_owned());
    check(
        shown.commitment.map(|c| c.as_bytes().to_vec()).as_ref() == Some(&stored.commitment),
        "commitment".into(),
    );
    check(shown.received_at == Some(stored.received_at), "another time".to_owned());
    check(shown.verification == Verification::Verified, format!("{:?}", shown.verification));
    check(shown.receipt == ReceiptVerdict::Verified, format!("{:?}", shown.receipt));
    check(!matches!(shown.seal, SealVerdict::Bad(_)), format!("{:?}", shown.seal));
    check(!shown.contradicted, "contradicted".to_owned());
    let follows = |before: &&&Stored| {
        (before.sender, before.device, before.device_seq + 1)
            == (stored.sender, stored.device, stored.device_seq)
    };
    let continuous = stored.device_seq == 1 || visible.iter().any(|before| follows(&before));
    let chain = if continuous {
        shown.chain == ChainVerdict::Continuous
    } else {
        matches!(shown.chain, ChainVerdict::JoinedAt(_))
    };
    check(chain, format!("{:?}, {continuous}", shown.chain));
}

fn text(content: &Content) -> Option<String> {
    match &content.body {
        ContentBody::Text(text) => Some(text.text.clone()),
        _ => None,
    }
}

fn revise(line: &mut Line, by: UserId, content: &Content) {
    match &content.body {
        ContentBody::Delete => {
            line.deleted = true;
            line.text = None;
            line.forwarded = false;
            line.before.clear();
            line.reactions.clear();
        }
        ContentBody::Edit(edit) if !line.deleted => {
            line.before.extend(line.text.replace(edit.text.clone()));
        }
        ContentBody::Reaction(reaction) if !line.deleted => {
            let place = line.reactions.iter().position(|(emoji, _)| *emoji == reaction.emoji);
            let place = place.unwrap_or_else(|| {
                line.reactions.push((reaction.emoji.clone(), Vec::new()));
                line.reactions.len() - 1
            });
            let users = &mut line.reactions[place].1;
            users.retain(|user| *user != by);
            if !reaction.remove {
                users.push(by);
            }
            line.reactions.retain(|(_, users)| !users.is_empty());
        }
        _ => {}
    }
}

fn line(shown: &ShownMessage) -> Line {
    let content = shown.content.as_ref();
    Line {
        seq: shown.conversation_seq.unwrap(),
        sender: shown.sender,
        kind: shown.kind.as_str().to_owned(),
        text: content.and_then(text),
        forwarded: content.is_some_and(|content| content.forwarded),
        before: shown.versions.iter().map(|version| version.text.clone()).collect(),
        deleted: shown.deleted_at.is_some(),
        reactions: shown.reactions.iter().map(|r| (r.emoji.clone(), r.users.clone())).collect(),
        reply_to: shown.reply_to_seq,
    }
}
