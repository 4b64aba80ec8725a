//! Blocking people from the chat.

use sigilo_client::Error as ClientError;
use sigilo_wire::UserId;

use super::{Session, matches};
use crate::cli::chat::output::Output;

impl Session {
    pub(super) async fn block(&mut self, name: &str) -> Result<(), ClientError> {
        let user = self.person(name).await?;
        let block = self.client.block(user, None).await?;
        self.note(&format!("nothing passes between you and {} now; /unblock takes it back", block.full_name));
        Ok(())
    }

    pub(super) async fn unblock(&mut self, name: &str) -> Result<(), ClientError> {
        let user = self.blocked(name).await?;
        self.client.unblock(user).await?;
        self.note("you can write to each other again, as far as the clinic's rules allow it");
        Ok(())
    }

    pub(super) async fn show_blocked(&mut self) -> Result<(), ClientError> {
        let results = self.client.blocks().await?;
        self.screen.show(&Output::Blocked { results });
        Ok(())
    }

    /// Whoever is blocked is no contact any more: found among the blocks.
    async fn blocked(&self, name: &str) -> Result<UserId, ClientError> {
        if let Ok(id) = name.parse() {
            return Ok(id);
        }
        let mut found = self.client.blocks().await?;
        found.retain(|block| matches(&block.full_name, name));
        match found.as_slice() {
            [one] => Ok(one.user_id),
            [] => Err(ClientError::Unknown("this person among those you have blocked")),
            _ => Err(ClientError::Content("several people are called that: write more of the name")),
        }
    }
}
