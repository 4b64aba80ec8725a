//! The calls about blocks.

use reqwest::Method;
use serde::de::IgnoredAny;
use sigilo_wire::{
    UserId,
    block::{Block, BlockList, BlockUser},
};

use super::{Api, Auth, calls::escape};
use crate::Result;

const PATH: &str = "/api/chat/block-user/";

impl Api {
    pub(crate) async fn block_user(&self, request: &BlockUser) -> Result<Block> {
        self.send(Method::POST, PATH, request).await
    }

    pub(crate) async fn blocks(&self, cursor: Option<&str>) -> Result<BlockList> {
        let cursor = cursor.map(|cursor| format!("&cursor={}", escape(cursor))).unwrap_or_default();
        self.get(&format!("{PATH}?page_size=100{cursor}")).await
    }

    pub(crate) async fn unblock_user(&self, user: UserId) -> Result<()> {
        let path = format!("{PATH}{user}/");
        let _: IgnoredAny = self.call::<(), _>(&Method::DELETE, &path, None, None, Auth::Token).await?;
        Ok(())
    }
}
