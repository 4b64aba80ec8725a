//! The chat itself: commands and events, in the order they come.

mod account;
mod blocking;
mod dates;
mod emergencies;
mod files;
mod finding;
mod restoring;
mod talking;

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use futures_util::FutureExt as _;
use sigilo_client::{
    Client, ClientEvent, DecisionVerdict, Error as ClientError, LinkText, Proof, ReceiptVerdict,
    SafetyNumber, SendOptions, ShownMessage, TimelineNote, review,
};
use sigilo_seal::{Content, content::Profile};
use sigilo_wire::{
    ClientMessageId, ConversationId, UserId, conversation::Conversation, mfa::Enrolment,
    presence::PresenceStatus,
};
use tokio::{sync::mpsc, time::Instant};
use zeroize::Zeroizing;

pub(super) use self::restoring::restore_first;
use self::{files::Transfers, restoring::Restoring};
use super::{
    command::{Command, When},
    opening,
    output::{ConversationLine, MessageLine, Output},
    screen::Screen,
};
use crate::{
    Error, Result,
    cli::Outcome,
    clock::{Clock as _, SystemClock},
};

/// How long somebody is typing who does not say so again.
const TYPING: Duration = Duration::from_secs(6);

pub(super) struct Session {
    pub(super) client: Client,
    pub(super) screen: Screen,
    me: UserId,
    /// The conversations last listed, in their order.
    listed: Vec<Conversation>,
    /// What they are called.
    titles: BTreeMap<ConversationId, Profile>,
    open: Option<ConversationId>,
    /// The place of the oldest message shown of the open one.
    oldest_shown: Option<i64>,
    restoring: Restoring,
    transfers: Transfers,
    /// What waits for `/send`, because of what the local filters found in its text.
    held: Option<Command>,
    /// The password to be changed, until the new one is typed.
    password: Option<Zeroizing<String>>,
    /// A device whose code is shown, until it is approved.
    pub(super) linking: Option<LinkText>,
    /// People met so far, for names.
    people: Vec<(UserId, String)>,
    /// Whether it was said that there is no connection. Every attempt that fails is an event.
    offline: bool,
    /// Why each message waits, as last said.
    pub(super) waiting: HashMap<ClientMessageId, String>,
    /// The safety number each person was shown with last.
    compared: HashMap<UserId, SafetyNumber>,
    /// Who was said to be typing where, and when they last did.
    typing: HashMap<(ConversationId, UserId), Instant>,
}

/// Runs until the input ends or the person leaves.
pub(super) async fn run(
    client: Client,
    screen: Screen,
    mut commands: mpsc::UnboundedReceiver<Command>,
    restore: bool,
) -> Result<Outcome> {
    let me = client.me().await.map_err(Error::internal)?;
    let root = client.root_fingerprint().await.map_err(Error::internal)?;
    let mut events = client.events().await.map_err(Error::internal)?;
    screen.show(&Output::ready(&me, &root));
    let (restoring, mut news) = Restoring::new();
    let (transfers, mut transferred) = Transfers::new();
    let mut session = Session {
        client,
        screen,
        me: me.user,
        listed: Vec::new(),
        titles: BTreeMap::new(),
        open: None,
        oldest_shown: None,
        restoring,
        transfers,
        held: None,
        password: None,
        linking: None,
        people: Vec::new(),
        offline: false,
        waiting: HashMap::new(),
        compared: HashMap::new(),
        typing: HashMap::new(),
    };
    session.client.set_status(PresenceStatus::Online).await.map_err(Error::internal)?;
    session.client.connect().await.map_err(Error::internal)?;
    if let Err(error) = session.list().await {
        session.screen.show(&Output::error(&error));
    }
    if restore {
        session.restore();
    }
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                None | Some(Command::Quit) => break,
                Some(command) => session.obey(command).await,
            },
            event = events.next() => match event {
                Some(event) => session.tell(event).await,
                None => break,
            },
            Some(news) = news.recv() => session.tell_restoring(news).await,
            Some(news) = transferred.recv() => session.tell_transfer(news).await,
        }
    }
    // What came before the last command was obeyed is told.
    while let Some(Some(event)) = events.next().now_or_never() {
        session.tell(event).await;
    }
    session.screen.show(&Output::Bye);
    session.client.shutdown().await.map_err(Error::internal)?;
    Ok(Outcome::Done)
}

impl Session {
    async fn obey(&mut self, command: Command) {
        if let Err(error) = self.act(command).await {
            if let Ok(verdict) = self.client.check_refusal(&error).await {
                self.doubt(&verdict);
            }
            self.screen.show(&Output::error(&error));
        }
    }

    /// Warns of a refusal that the clinic's server did not sign.
    fn doubt(&self, verdict: &DecisionVerdict) {
        if let DecisionVerdict::Invalid(why) = verdict {
            let text = format!("the next refusal is NOT AUTHENTIC ({why}): tell the clinic");
            self.screen.show(&Output::Warning { text });
        }
    }

    async fn act(&mut self, command: Command) -> Result<(), ClientError> {
        // At every key somebody is typing; a text that is held back is dropped by what comes of it.
        let held = if command == Command::Typing { None } else { self.held.take() };
        match command {
            Command::Say(text) if self.asks_about(&text) => self.held = Some(Command::Say(text)),
            Command::Talk(talk) if talk.text().is_some_and(|text| self.asks_about(text)) => {
                self.held = Some(Command::Talk(talk));
            }
            Command::WhenOpen(Some(text)) if self.asks_about(&text) => {
                self.held = Some(Command::WhenOpen(Some(text)));
            }
            Command::Expiring(time, text) if self.asks_about(&text) => {
                self.held = Some(Command::Expiring(time, text));
            }
            Command::Schedule(when, text) if self.asks_about(&text) => {
                self.held = Some(Command::Schedule(when, text));
            }
            Command::Say(text) => self.say(text).await?,
            Command::Talk(talk) => self.talk(talk).await?,
            Command::Files(files) => self.files(files).await?,
            Command::Send => match held {
                Some(Command::Say(text)) => self.say(text).await?,
                Some(Command::Talk(talk)) => self.talk(talk).await?,
                Some(Command::Schedule(when, text)) => self.schedule(when, text).await?,
                Some(Command::Expiring(time, text)) => self.say_for(time, text).await?,
                Some(Command::WhenOpen(text)) => self.when_open(text).await?,
                _ => return Err(ClientError::Content("no text was held back")),
            },
            Command::Schedule(when, text) => self.schedule(when, text).await?,
            Command::Expiring(time, text) => self.say_for(time, text).await?,
            Command::WhenOpen(text) => self.when_open(text).await?,
            Command::Scheduled => {
                let scheduled = self.scheduled().await?;
                let results = scheduled.iter().map(|message| MessageLine::of(message, false)).collect();
                self.screen.show(&Output::ScheduledList { results });
            }
            Command::Unschedule(number) => {
                let scheduled = self.scheduled().await?;
                let message = number.checked_sub(1).and_then(|place| scheduled.get(place));
                let message = message.ok_or(ClientError::Unknown("this message"))?;
                self.client.discard(message.client_message_id).await?;
                self.screen.show(&Output::Note { text: "it is not sent".to_owned() });
            }
            Command::Contacts(filter) => self.show_contacts(filter).await?,
            Command::Start(name) => {
                let user = self.person(&name).await?;
                let conversation = self.client.start_conversation(user, Default::default()).await?;
                let id = conversation.id;
                self.list().await?;
                self.show_opened(id).await?;
            }
            Command::Conversations => self.show_conversations(false).await?,
            Command::Archived => self.show_conversations(true).await?,
            Command::Open(which) => {
                self.list().await?;
                let id = self.find_conversation(&which).ok_or(ClientError::Unknown("this conversation"))?;
                self.show_opened(id).await?;
            }
            Command::History(count) => self.show_history(count).await?,
            Command::Restore => self.restore(),
            Command::Verify(name) => {
                let user = self.person(&name).await?;
                let number = self.client.safety_number(user).await?;
                self.screen.show(&Output::safety_number(user, self.name(user), &number));
                self.compared.insert(user, number);
            }
            Command::Confirm(name) => {
                let user = self.person(&name).await?;
                let Some(number) = self.compared.get(&user) else {
                    let text = format!("compare the safety number first: /verify {name}");
                    self.screen.show(&Output::Note { text });
                    return Ok(());
                };
                self.client.confirm_identity(user, number).await?;
                self.screen.show(&Output::Confirmed { user_id: user, name: self.name(user) });
            }
            Command::Receipt(number) => self.show_receipt(number).await?,
            Command::MfaStatus => {
                let status = self.client.mfa_status().await?;
                self.screen.show(&Output::Mfa(status));
            }
            Command::MfaEnroll => {
                let Enrolment { secret, uri, .. } = self.client.enroll_mfa().await?;
                self.screen.show(&Output::Enrolment { secret, uri });
            }
            Command::MfaConfirm(code) => {
                let codes = self.client.confirm_mfa(code).await?;
                self.screen.show(&Output::RecoveryCodes { codes });
            }
            Command::MfaDisable => {
                self.client.disable_mfa().await?;
                let status = self.client.mfa_status().await?;
                self.screen.show(&Output::Mfa(status));
            }
            Command::Prove(code) => {
                let until = self.client.prove(Proof::Code(code)).await?;
                self.screen.show(&Output::Proven { until });
            }
            Command::Typing => {
                if let Some(open) = self.open {
                    self.client.typing(open, true).await?;
                }
            }
            Command::Status(status) => self.client.set_status(status).await?,
            Command::Privacy(change) => {
                let shown = self.client.set_privacy(change).await?;
                self.screen.show(&Output::Privacy(shown));
            }
            Command::Devices => self.show_devices().await?,
            Command::RemoveDevice(which) => self.remove_device(which).await?,
            Command::Password(current) => self.take_password(current),
            Command::NewPassword(new) => self.change_password(new).await?,
            Command::StopReset => self.client.stop_identity_reset().await?,
            Command::Link(text) => self.read_link(&text)?,
            Command::Approve(passphrase) => self.approve_link(&passphrase).await?,
            Command::Me => {
                let (me, root) = (self.client.me().await?, self.client.root_fingerprint().await?);
                self.screen.show(&Output::ready(&me, &root));
            }
            Command::Help => self.screen.show(&Output::Help),
            Command::Wrong(text) => self.screen.show(&Output::Note { text }),
            Command::Quit => {}
        }
        Ok(())
    }

    /// Whether the person is asked before a text is sent. Programs are not: they read what was found in the message's
    /// line.
    fn asks_about(&self, text: &str) -> bool {
        let findings = if self.screen.asks() { review(text) } else { Vec::new() };
        let found = !findings.is_empty();
        if found {
            self.screen.show(&Output::Held { findings });
        }
        found
    }

    async fn say(&mut self, text: String) -> Result<(), ClientError> {
        self.send(text, SendOptions::default()).await
    }

    /// Says something that disappears.
    async fn say_for(&mut self, time: Duration, text: String) -> Result<(), ClientError> {
        self.send(text, SendOptions { expires_in_s: time.as_secs(), ..SendOptions::default() }).await
    }

    async fn schedule(&mut self, when: When, text: String) -> Result<(), ClientError> {
        let at = match when {
            When::At(at) => at,
            When::In(time) => SystemClock.now() + time,
        };
        self.send(text, SendOptions { scheduled_for: Some(at), ..SendOptions::default() }).await
    }

    pub(super) async fn send(&mut self, text: String, options: SendOptions) -> Result<(), ClientError> {
        let sent = self.client.send(self.opened()?, Content::text(text), options).await?;
        self.show_sent(sent)
    }

    /// What waits for its time in the open conversation.
    async fn scheduled(&self) -> Result<Vec<ShownMessage>, ClientError> {
        let mut messages = self.client.history(self.opened()?, 1).await?;
        messages.retain(|message| message.scheduled_for.is_some());
        messages.sort_by_key(|message| message.scheduled_for);
        Ok(messages)
    }

    /// Says why a message waits, unless that was the last thing said of it.
    fn show_waiting(&mut self, client_message_id: ClientMessageId, reason: String) {
        if self.waiting.insert(client_message_id, reason.clone()).as_ref() != Some(&reason) {
            self.screen.show(&Output::Waiting { client_message_id, reason });
        }
    }

    async fn show_opened(&mut self, id: ConversationId) -> Result<(), ClientError> {
        self.open = Some(id);
        if let Some(line) = self.lines().into_iter().find(|line| line.conversation_id == id) {
            self.screen.show(&Output::Opened(line));
        }
        self.show_history(10).await?;
        // Without a connection nothing is said: the answer to a message says it.
        if let Ok(now) = self.client.may_now(id).await
            && let Some(text) = opening::not_now(&now)
        {
            self.screen.show(&Output::Note { text });
        }
        // Programs say themselves what was read.
        if self.screen.asks()
            && let Err(error) = self.client.mark_read(id, None).await
        {
            tracing::debug!(%error, "the messages stay unread");
        }
        Ok(())
    }

    async fn show_history(&mut self, count: u32) -> Result<(), ClientError> {
        let messages = self.client.history(self.opened()?, count).await?;
        self.oldest_shown = talking::oldest(&messages);
        let results = messages.iter().map(|message| MessageLine::of(message, false)).collect();
        self.screen.show(&Output::History { results });
        Ok(())
    }

    async fn show_receipt(&self, number: i64) -> Result<(), ClientError> {
        let message = self.numbered(number).await?;
        let message_id = message.message_id.ok_or(ClientError::Unknown("this message"))?;
        let verdict = self.client.receipt(message_id).await?;
        let policies =
            if verdict == ReceiptVerdict::Verified { message.policies.clone() } else { Vec::new() };
        self.screen.show(&Output::Receipt { message_id, conversation_seq: number, verdict, policies });
        Ok(())
    }

    async fn tell(&mut self, event: ClientEvent) {
        let output = match event {
            ClientEvent::Connected => {
                self.offline = false;
                Output::Connected
            }
            ClientEvent::Disconnected { .. } if self.offline => return,
            ClientEvent::Disconnected { reason } => {
                self.offline = true;
                Output::Disconnected { reason }
            }
            ClientEvent::Replaced => Output::Note {
                text: "this device is open in another window; this one stays offline".to_owned(),
            },
            ClientEvent::LoggedOut => Output::Note { text: "this device was logged out".to_owned() },
            ClientEvent::CaughtUp => Output::CaughtUp,
            ClientEvent::Message(message) | ClientEvent::Accepted(message) => {
                self.remember(message.sender, &message.sender_name);
                self.typing.remove(&(message.conversation_id, message.sender));
                self.waiting.remove(&message.client_message_id);
                Output::Message(Box::new(MessageLine::of(&message, true)))
            }
            ClientEvent::Delivered { message, user, .. } => {
                Output::Delivered { message_id: message, user_id: user, name: self.name(user) }
            }
            ClientEvent::Held { client_message_id, until, .. } => {
                return self.show_held(client_message_id, until);
            }
            ClientEvent::Refused { client_message_id, body, reason, decision, .. } => {
                self.waiting.remove(&client_message_id);
                self.doubt(&decision);
                Output::Refused {
                    client_message_id,
                    reason,
                    code: body.as_ref().map(|body| body.error.to_string()),
                    policies: body.as_ref().map(|body| body.policies.clone()).unwrap_or_default(),
                    details: body.map(|body| body.details).unwrap_or_default(),
                }
            }
            ClientEvent::Expired { message, client_message_id, .. } => {
                Output::Expired { message_id: message, client_message_id }
            }
            ClientEvent::Waiting { client_message_id, reason, .. } => {
                return self.show_waiting(client_message_id, reason);
            }
            ClientEvent::Typing { conversation, user, typing } => {
                return self.show_typing(conversation, user, typing);
            }
            ClientEvent::Status { user, status, last_seen_at } => {
                Output::Status { user_id: user, name: self.name(user), status, last_seen_at }
            }
            ClientEvent::IdentityChanged { user } => {
                Output::IdentityChanged { user_id: user, name: self.name(user) }
            }
            ClientEvent::Timeline { note, .. } => {
                // Somebody new may have come before the list that names them.
                if let TimelineNote::Joined(user) = note
                    && self.people.iter().all(|(known, _)| *known != user)
                    && let Err(error) = self.list().await
                {
                    tracing::debug!(%error, "somebody new stays without a name");
                }
                self.timeline(&note)
            }
            ClientEvent::ConversationUpdated { .. } => {
                if let Err(error) = self.list().await {
                    tracing::debug!(%error, "the list of conversations stays as it was");
                }
                return;
            }
            ClientEvent::Emergency { event, .. } => {
                let word = |word: &str| word.replace('_', " ");
                let how = if event.exhausted {
                    "nobody is left to call".to_owned()
                } else {
                    format!("tier {} of {}", event.tier, event.tiers)
                };
                let (about, urgency) = (word(event.category.as_str()), word(event.urgency.as_str()));
                let state = event.state;
                Output::Warning { text: format!("Emergency ({about}, {urgency}): {state}, {how}.") }
            }
            ClientEvent::BreakGlass { opened } => {
                let reason = opened.reason.as_str().replace('_', " ");
                let (who, until) = (self.name(opened.clinician_id), opened.expires_at);
                let whom = self.name(opened.patient_id);
                Output::Warning {
                    text: format!("{who} may talk to {whom} until {until} without treating them: {reason}."),
                }
            }
            ClientEvent::NewPlace { place } => Output::Warning { text: self.new_place(place).await },
            ClientEvent::FileChanged { event, changed } => return self.file_changed(event, &changed).await,
            ClientEvent::AnomalyRaised { raised } => Output::Warning { text: self.anomaly(&raised) },
            ClientEvent::IdentityReset { stage, expires_at } => Output::IdentityReset { stage, expires_at },
            ClientEvent::DevicesChanged { added, removed } => Output::DevicesChanged { added, removed },
            ClientEvent::QueueTruncated => {
                self.restore();
                Output::Note {
                    text: "messages of more than 30 days ago no longer wait: reading them".to_owned(),
                }
            }
            ClientEvent::Revised(message) => Output::Revised(Box::new(MessageLine::of(&message, true))),
            ClientEvent::Read { user, up_to, .. } if user != self.me => {
                Output::ReadBy { user_id: user, name: self.name(user), up_to }
            }
            ClientEvent::Warning { reason } => Output::Warning { text: reason },
            _ => return,
        };
        self.screen.show(&output);
    }

    /// Says that somebody is typing, once for as long as they do; of the open conversation only to people.
    fn show_typing(&mut self, conversation_id: ConversationId, user_id: UserId, typing: bool) {
        let place = (conversation_id, user_id);
        let since =
            if typing { self.typing.insert(place, Instant::now()) } else { self.typing.remove(&place) };
        let news = typing && since.is_none_or(|since| since.elapsed() > TYPING);
        if !self.screen.asks() || (news && self.open == Some(conversation_id)) {
            let name = self.name(user_id);
            self.screen.show(&Output::Typing { conversation_id, user_id, name, typing });
        }
    }

    fn timeline(&self, note: &TimelineNote) -> Output {
        let text = match note {
            TimelineNote::Joined(user) if *user == self.me => "you take part".to_owned(),
            TimelineNote::Left(user) if *user == self.me => "you have left".to_owned(),
            TimelineNote::Joined(user) => format!("{} takes part", self.name(*user)),
            TimelineNote::Left(user) => format!("{} has left", self.name(*user)),
            TimelineNote::IdentityChanged(user) => format!("{} has a new identity key", self.name(*user)),
            TimelineNote::IdentityConfirmed(user) => {
                format!("you confirmed the identity of {}", self.name(*user))
            }
            TimelineNote::SealInvalid { user, problem } => {
                let text = format!("a record seal of {} is not valid: {problem}", self.name(*user));
                return Output::Warning { text };
            }
            TimelineNote::Contradicted { user, conversation_seq } => {
                let name = self.name(*user);
                let text = format!(
                    "the server shows another message under the name of #{conversation_seq} of {name}"
                );
                return Output::Warning { text };
            }
        };
        Output::Note { text }
    }

    async fn list(&mut self) -> Result<(), ClientError> {
        self.listed = self.client.all_conversations().await?;
        // Those put away come last, so that the others' numbers are those of their list.
        self.listed.sort_by_key(|conversation| conversation.settings.archived);
        self.titles = self.client.descriptions().await?;
        let people: Vec<(UserId, String)> = self
            .listed
            .iter()
            .flat_map(|conversation| &conversation.participants)
            .map(|participant| (participant.user_id, participant.full_name.clone()))
            .collect();
        for (user, name) in people {
            self.remember(user, &name);
        }
        Ok(())
    }

    fn lines(&self) -> Vec<ConversationLine> {
        let with = |conversation: &Conversation| {
            let others =
                conversation.participants.iter().filter(|participant| participant.user_id != self.me);
            others.map(|participant| participant.full_name.clone()).collect()
        };
        self.listed
            .iter()
            .enumerate()
            .map(|(place, conversation)| ConversationLine {
                number: place + 1,
                conversation_id: conversation.id,
                with: with(conversation),
                kind: conversation.r#type.to_string(),
                total_messages: conversation.total_messages,
                title: self.title(conversation.id),
                description: self
                    .titles
                    .get(&conversation.id)
                    .map(|p| p.description.clone())
                    .unwrap_or_default(),
                tags: self.titles.get(&conversation.id).map(|p| p.tags.clone()).unwrap_or_default(),
                unread: conversation.unread_count,
                muted: !conversation.settings.notifications_enabled,
                archived: conversation.settings.archived,
                closed: conversation.closed_at.is_some(),
            })
            .collect()
    }

    fn find_conversation(&self, which: &str) -> Option<ConversationId> {
        let lines = self.lines();
        let by_number =
            which.parse::<usize>().ok().and_then(|number| lines.iter().find(|line| line.number == number));
        let is_title =
            |line: &&ConversationLine| line.title.as_ref().is_some_and(|title| matches(title, which));
        by_number
            .or_else(|| lines.iter().find(is_title))
            .or_else(|| lines.iter().find(|line| line.with.iter().any(|name| matches(name, which))))
            .map(|line| line.conversation_id)
    }

    fn title(&self, id: ConversationId) -> Option<String> {
        self.titles.get(&id).map(|profile| profile.title.clone()).filter(|title| !title.is_empty())
    }

    fn note(&self, text: &str) {
        self.screen.show(&Output::Note { text: text.to_owned() });
    }

    fn opened(&self) -> Result<ConversationId, ClientError> {
        self.open.ok_or(ClientError::Content("no conversation is open: /conversations, then /open NUMBER"))
    }

    /// A person by id or by a part of their name.
    async fn person(&mut self, who: &str) -> Result<UserId, ClientError> {
        if let Ok(id) = who.parse() {
            return Ok(id);
        }
        let mut found = self.people_named(who);
        if found.is_empty() {
            for contact in self.client.contacts().await? {
                self.remember(contact.user_id, &contact.name);
            }
            found = self.people_named(who);
        }
        match found.as_slice() {
            [one] => Ok(*one),
            [] => Err(ClientError::Unknown("this person")),
            _ => Err(ClientError::Content("several people are called that: write more of the name")),
        }
    }

    fn people_named(&self, part: &str) -> Vec<UserId> {
        self.people
            .iter()
            .filter(|(user, name)| *user != self.me && matches(name, part))
            .map(|(user, _)| *user)
            .collect()
    }

    fn remember(&mut self, user: UserId, name: &str) {
        match self.people.iter_mut().find(|(known, _)| *known == user) {
            Some((_, known)) => name.clone_into(known),
            None => self.people.push((user, name.to_owned())),
        }
    }

    fn name(&self, user: UserId) -> String {
        if user == self.me {
            return "you".to_owned();
        }
        let known = self.people.iter().find(|(known, _)| *known == user);
        known.map_or_else(|| user.to_string(), |(_, name)| name.clone())
    }
}

fn matches(name: &str, part: &str) -> bool {
    name.to_lowercase().contains(&part.to_lowercase())
}
