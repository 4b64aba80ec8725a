//! What is done with messages and members.

use sigilo_client::{
    Error as ClientError, NewConversation, SearchQuery, SendOptions, SendState, Sent, ShownMessage,
};
use sigilo_seal::{Content, ContentBody, content};
use sigilo_wire::{
    ClientMessageId, ConversationId, Timestamp, UserId,
    conversation::{Conversation, ConversationSettingsChange, ConversationType},
    emergency::OpenEmergency,
    message::{Deliver, DeliveryStatus, Priority},
    policy::ExplainPolicy,
};

use super::{Session, dates::day};
use crate::cli::chat::{
    output::{FoundLine, MessageLine, Output, ParticipantLine},
    talk::Talk,
};

impl Session {
    pub(super) async fn talk(&mut self, talk: Talk) -> Result<(), ClientError> {
        match talk {
            Talk::Group(names) => self.start_with(ConversationType::Group, &names).await,
            Talk::Administrative(names) => self.start_with(ConversationType::Administrative, &names).await,
            Talk::Add(names) => {
                let (open, users) = (self.opened()?, self.everybody(&names).await?);
                self.client.add_participants(open, users).await?;
                self.show_participants().await
            }
            Talk::Remove(name) => {
                let (open, user) = (self.opened()?, self.person(&name).await?);
                self.client.remove_participant(open, user).await?;
                self.show_participants().await
            }
            Talk::Block(name) => self.block(&name).await,
            Talk::Unblock(name) => self.unblock(&name).await,
            Talk::Blocked => self.show_blocked().await,
            Talk::Emergency(category, urgency) => {
                self.open_emergency(OpenEmergency { category, urgency }).await
            }
            Talk::Acknowledge => self.acknowledge().await,
            Talk::Escalate => self.escalate().await,
            Talk::Resolve(outcome) => self.resolve(outcome).await,
            Talk::BreakGlass(reason, who, text) => self.break_glass(reason, &who, &text).await,
            Talk::Why(at) => {
                let question = ExplainPolicy {
                    conversation_id: Some(self.opened()?),
                    at,
                    ..ExplainPolicy::of("send_message")
                };
                let explanation = self.client.explain(question).await?;
                self.screen.show(&Output::Explanation(Box::new(explanation)));
                Ok(())
            }
            Talk::Who => self.show_participants().await,
            Talk::Leave => {
                self.client.leave(self.opened()?).await?;
                self.open = None;
                self.list().await?;
                self.note("you do not take part any more, or it is put away");
                Ok(())
            }
            Talk::Archive(archived) => self.arrange(Some(archived), None).await,
            Talk::Mute(muted) => self.arrange(None, Some(!muted)).await,
            Talk::Close => {
                self.client.close_conversation(self.opened()?).await?;
                self.note("it is closed: it stays readable");
                Ok(())
            }
            Talk::Read => {
                let position = self.client.mark_read(self.opened()?, None).await?;
                self.screen.show(&Output::Read { position });
                Ok(())
            }
            Talk::Search(words) => self.search(&words).await,
            Talk::Find(words) => self.find(&words).await,
            Talk::Versions(number) => self.show_versions(number).await,
            Talk::Older(count) => self.show_older(count).await,
            Talk::Title(title) => self.describe(|profile| profile.title = title).await,
            Talk::Describe(description) => self.describe(|profile| profile.description = description).await,
            Talk::Tags(tags) => self.describe(|profile| profile.tags = tags).await,
            said => self.say_about(said).await,
        }
    }

    /// What is said, on its own or about another message.
    async fn say_about(&mut self, said: Talk) -> Result<(), ClientError> {
        let open = self.opened()?;
        let (number, body) = match said {
            Talk::Say(priority, text) => {
                let urgent = priority == Priority::Urgent;
                let options = SendOptions { priority, urgent, ..SendOptions::default() };
                let sent = self.client.send(open, Content::text(text), options).await?;
                return self.show_sent(sent);
            }
            Talk::Reply(number, text) => {
                let reply_to = self.numbered(number).await?.commitment;
                let options = SendOptions { reply_to, ..SendOptions::default() };
                let sent = self.client.send(open, Content::text(text), options).await?;
                return self.show_sent(sent);
            }
            Talk::Forward(number, whither) => {
                let message = self.numbered(number).await?;
                self.list().await?;
                let to = self.find_conversation(&whither);
                let to = to.ok_or(ClientError::Unknown("the other conversation"))?;
                let sent = self.client.forward(&message, to).await?;
                return self.show_sent(sent);
            }
            Talk::Edit(number, text) => (number, ContentBody::Edit(content::Edit { text })),
            Talk::Delete(number) => (number, ContentBody::Delete),
            Talk::React(number, emoji) => {
                (number, ContentBody::Reaction(content::Reaction { emoji, remove: false }))
            }
            Talk::Unreact(number, emoji) => {
                (number, ContentBody::Reaction(content::Reaction { emoji, remove: true }))
            }
            _ => return Ok(()),
        };
        let target = self.numbered(number).await?.commitment;
        let options = SendOptions { target, ..SendOptions::default() };
        let sent = self.client.send(open, Content::new(body), options).await?;
        self.show_sent(sent)
    }

    /// Has a text delivered when the open conversation opens, or what was just refused for the hour.
    pub(super) async fn when_open(&mut self, text: Option<String>) -> Result<(), ClientError> {
        if let Some(text) = text {
            return self
                .send(text, SendOptions { deliver: Deliver::WhenOpen, ..SendOptions::default() })
                .await;
        }
        let history = self.client.history(self.opened()?, 50).await?;
        let refused =
            history.iter().rfind(|message| message.mine && message.status == DeliveryStatus::Failed);
        let refused = refused.ok_or(ClientError::Unknown("a message that came too late"))?;
        let sent = self.client.deliver_when_open(refused.client_message_id).await?;
        self.show_sent(sent)
    }

    /// Says until when the server holds a message, unless that was the last thing said of it.
    pub(super) fn show_held(&mut self, client_message_id: ClientMessageId, until: Timestamp) {
        let said = until.to_string();
        if self.waiting.insert(client_message_id, said.clone()).as_ref() != Some(&said) {
            self.screen.show(&Output::HeldUntil { client_message_id, until });
        }
    }

    /// An accepted message comes as an event; one that waits says why here.
    pub(super) fn show_sent(&mut self, sent: Sent) -> Result<(), ClientError> {
        let client_message_id = sent.client_message_id;
        match sent.state {
            SendState::Accepted(_) => {}
            SendState::Queued { reason } => self.show_waiting(client_message_id, reason),
            SendState::Held { until } => self.show_held(client_message_id, until),
            SendState::Scheduled { at } => self.screen.show(&Output::Scheduled { client_message_id, at }),
        }
        Ok(())
    }

    /// The message with this number in the open conversation.
    pub(super) async fn numbered(&self, number: i64) -> Result<ShownMessage, ClientError> {
        self.client.message_at(self.opened()?, number).await
    }

    async fn start_with(&mut self, r#type: ConversationType, names: &[String]) -> Result<(), ClientError> {
        let users = self.everybody(names).await?;
        let new = NewConversation { r#type, ..NewConversation::default() };
        let id = self.client.start_group(users, new).await?.id;
        self.list().await?;
        self.show_opened(id).await
    }

    async fn everybody(&mut self, names: &[String]) -> Result<Vec<UserId>, ClientError> {
        let mut users = Vec::with_capacity(names.len());
        for name in names {
            users.push(self.person(name).await?);
        }
        Ok(users)
    }

    /// The open conversation as the list has it.
    async fn listed(&mut self) -> Result<Conversation, ClientError> {
        let open = self.opened()?;
        self.list().await?;
        let found = self.listed.iter().find(|conversation| conversation.id == open);
        found.cloned().ok_or(ClientError::Unknown("this conversation"))
    }

    async fn show_participants(&mut self) -> Result<(), ClientError> {
        let conversation = match self.client.conversation(self.opened()?).await {
            Err(error) if error.is_transient() => self.listed().await?,
            now => now?,
        };
        let results = conversation.participants.into_iter().map(ParticipantLine::from).collect();
        self.screen.show(&Output::Participants { conversation_id: conversation.id, results });
        Ok(())
    }

    async fn arrange(&mut self, archived: Option<bool>, woken: Option<bool>) -> Result<(), ClientError> {
        let change = ConversationSettingsChange { archived, notifications_enabled: woken };
        let settings = self.client.arrange(self.opened()?, change).await?.settings;
        self.list().await?;
        self.screen.show(&Output::Settings { settings });
        Ok(())
    }

    async fn describe(&mut self, change: impl FnOnce(&mut content::Profile)) -> Result<(), ClientError> {
        let open = self.opened()?;
        let mut profile = self.client.descriptions().await?.remove(&open).unwrap_or_default();
        change(&mut profile);
        let sent = self.client.describe(open, profile).await?;
        self.titles = self.client.descriptions().await?;
        self.show_sent(sent)
    }

    async fn show_older(&mut self, count: u32) -> Result<(), ClientError> {
        let open = self.opened()?;
        let before = self.oldest_shown.unwrap_or(i64::MAX);
        let messages = self.client.history_before(open, before, count).await?;
        self.oldest_shown = oldest(&messages).or(self.oldest_shown);
        let results = messages.iter().map(|message| MessageLine::of(message, false)).collect();
        self.screen.show(&Output::History { results });
        Ok(())
    }

    /// Words, and what narrows the search.
    async fn search(&mut self, words: &str) -> Result<(), ClientError> {
        let mut query = SearchQuery::default();
        for word in words.split_whitespace() {
            match word.split_once(':') {
                Some(("in", "here")) => query.conversation = Some(self.opened()?),
                Some(("from", "me")) => query.sender = Some(self.me),
                Some(("from", name)) => query.sender = Some(self.person(name).await?),
                Some(("after", date)) => query.from = Some(day(date)?),
                Some(("before", date)) => query.to = Some(day(date)?),
                _ => {
                    query.text.push_str(word);
                    query.text.push(' ');
                }
            }
        }
        let found = self.client.search(query).await?;
        let results = found.hits.into_iter().map(|hit| self.found(hit)).collect();
        self.screen.show(&Output::Found { results, complete: found.complete });
        Ok(())
    }

    fn found(&self, hit: sigilo_client::SearchHit) -> FoundLine {
        let conversation = hit.message.conversation_id;
        FoundLine {
            message: Box::new(MessageLine::of(&hit.message, false)),
            conversation: self.named(conversation),
            snippet: hit.snippet,
            matches: hit.matches,
        }
    }

    /// What a conversation is called in a list.
    pub(super) fn named(&self, id: ConversationId) -> String {
        let line = self.lines().into_iter().find(|line| line.conversation_id == id);
        line.map_or_else(String::new, |line| line.title.unwrap_or_else(|| line.with.join(", ")))
    }
}

/// The place of the first of these messages.
pub(super) fn oldest(messages: &[ShownMessage]) -> Option<i64> {
    messages.iter().find_map(|message| message.conversation_seq)
}
