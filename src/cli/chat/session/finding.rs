//! People, conversations and messages by what the server sees of them, and what a message said before.

use sigilo_client::{ContactFilter, Error as ClientError, MetadataSearch};

use super::{Session, dates::day};
use crate::cli::chat::output::{FoundByServerLine, MessageLine, Output, VersionLine};

impl Session {
    pub(super) async fn show_contacts(&mut self, filter: ContactFilter) -> Result<(), ClientError> {
        let results = self.client.find_contacts(filter).await?;
        for contact in &results {
            self.remember(contact.user_id, &contact.name);
        }
        self.screen.show(&Output::Contacts { results });
        Ok(())
    }

    /// Those put away, or the others.
    pub(super) async fn show_conversations(&mut self, archived: bool) -> Result<(), ClientError> {
        self.list().await?;
        let mut results = self.lines();
        results.retain(|line| line.archived == archived);
        self.screen.show(&Output::Conversations { results });
        Ok(())
    }

    pub(super) async fn find(&mut self, words: &str) -> Result<(), ClientError> {
        let mut search = MetadataSearch::default();
        for word in words.split_whitespace() {
            match word.split_once(':') {
                Some(("with", name)) => search.with_user = Some(self.person(name).await?),
                Some(("after", date)) => search.from = Some(day(date)?),
                Some(("before", date)) => search.to = Some(day(date)?),
                Some(("kind", kind)) => search.kind = Some(kind.parse().map_err(|_| wrong())?),
                Some(("priority", priority)) => {
                    search.priority = Some(priority.parse().map_err(|_| wrong())?);
                }
                Some(("files", "yes")) => search.has_attachments = Some(true),
                Some(("files", "no")) => search.has_attachments = Some(false),
                Some(("files", kind)) => search.file_type = Some(kind.parse().map_err(|_| wrong())?),
                _ => return Err(wrong()),
            }
        }
        let found = self.client.find_messages(search).await?;
        self.list().await?;
        let line = |found: sigilo_client::FoundMessage| FoundByServerLine {
            conversation: self.named(found.conversation_id),
            conversation_id: found.conversation_id,
            message_id: found.message_id,
            conversation_seq: found.conversation_seq,
            sender_id: found.sender,
            sender_name: found.sender_name,
            kind: found.kind.to_string(),
            priority: found.priority,
            received_at: found.received_at,
            message: found.shown.map(|shown| Box::new(MessageLine::of(&shown, false))),
        };
        let results = found.into_iter().map(line).collect();
        self.screen.show(&Output::FoundByServer { results });
        Ok(())
    }

    pub(super) async fn show_versions(&self, number: i64) -> Result<(), ClientError> {
        let versions = self.numbered(number).await?.versions.into_iter();
        let results =
            versions.map(|version| VersionLine { text: version.text, since: version.since }).collect();
        self.screen.show(&Output::Versions { conversation_seq: number, results });
        Ok(())
    }
}

const fn wrong() -> ClientError {
    ClientError::Content(
        "the server finds by with:NAME, after:DATE, before:DATE, kind:KIND, priority:PRIORITY, files:yes, no or TYPE; /search finds words",
    )
}
