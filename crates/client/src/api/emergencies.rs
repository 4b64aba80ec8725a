//! The calls about emergencies and break-glass.

use reqwest::Method;
use serde::{Serialize, de::DeserializeOwned};
use sigilo_wire::{
    ConversationId,
    break_glass::{BreakGlass, OpenBreakGlass},
    emergency::{Emergency, OpenEmergency, OpenedEmergency},
};

use super::{Api, Auth};
use crate::Result;

impl Api {
    pub(crate) async fn open_emergency(
        &self,
        request: &OpenEmergency,
        idempotency_key: &str,
    ) -> Result<OpenedEmergency> {
        self.post_once("/api/chat/emergency/", request, idempotency_key).await
    }

    pub(crate) async fn emergency(&self, id: ConversationId) -> Result<Emergency> {
        self.get(&format!("/api/chat/emergency/{id}/")).await
    }

    /// `ack`, `escalate` or `close`.
    pub(crate) async fn emergency_step(
        &self,
        id: ConversationId,
        step: &str,
        request: &impl Serialize,
    ) -> Result<Emergency> {
        self.send(Method::POST, &format!("/api/chat/emergency/{id}/{step}/"), request).await
    }

    pub(crate) async fn break_glass(
        &self,
        request: &OpenBreakGlass,
        idempotency_key: &str,
    ) -> Result<BreakGlass> {
        self.post_once("/api/chat/break-glass/", request, idempotency_key).await
    }

    async fn post_once<T: DeserializeOwned>(
        &self,
        path: &str,
        request: &impl Serialize,
        idempotency_key: &str,
    ) -> Result<T> {
        self.call(&Method::POST, path, Some(request), Some(idempotency_key), Auth::Token).await
    }
}
