//! People the user wants no messages from.

use futures_util::FutureExt as _;
use sigilo_wire::{
    UserId,
    block::{Block, BlockUser},
};

use crate::{Client, Result};

impl Client {
    /// Blocks somebody: nothing passes between the two any more in conversations of just them. The other person is not
    /// told. `reason` is for the clinic's staff, who can read it.
    ///
    /// # Errors
    /// [`Error::Server`](crate::Error::Server) with `forbidden` for clinic staff, `phi_detected` for a reason that
    /// identifies somebody or names an illness.
    pub async fn block(&self, user: UserId, reason: Option<String>) -> Result<Block> {
        let request = BlockUser { user_id: user, reason };
        self.act(move |engine| async move { engine.api.block_user(&request).await }.boxed_local()).await?
    }

    /// Takes a block back.
    ///
    /// # Errors
    /// Those of the server and the connection.
    pub async fn unblock(&self, user: UserId) -> Result<()> {
        self.act(move |engine| async move { engine.api.unblock_user(user).await }.boxed_local()).await?
    }

    /// Whom the user has blocked.
    ///
    /// # Errors
    /// Those of the server and the connection.
    pub async fn blocks(&self) -> Result<Vec<Block>> {
        self.act(|engine| {
            async move {
                let (mut all, mut cursor) = (Vec::new(), None);
                loop {
                    let page = engine.api.blocks(cursor.as_deref()).await?;
                    all.extend(page.results);
                    match page.next_cursor {
                        Some(next) if page.has_more => cursor = Some(next),
                        _ => return Ok(all),
                    }
                }
            }
            .boxed_local()
        })
        .await?
    }
}
