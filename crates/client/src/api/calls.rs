//! The calls this client makes, by name.

use reqwest::Method;
use serde::de::IgnoredAny;
use sigilo_wire::{
    ConversationId, DeviceId, DeviceNumber, LinkId, MessageId, SealId, UserId,
    account::{ChangePassword, Device, DeviceList, Login, Me, ResetPassword, Tokens, UpdateMe},
    conversation::{Conversation, CreateConversation},
    event::EventList,
    keys::{CheckKeys, Clinic, KeyBundles, KeyCounts, PutIdentity, PutKeys, PutManifest, UserManifest},
    link::{ApproveLink, BeginLink, ClaimLink, LinkState, OfferLinkKey, OwnLink},
    message::{MessageList, SendMessage, Taken},
    mfa::{ConfirmMfa, Enrolment, MfaStatus, RecoveryCodes, Verified, VerifyMfa},
    policy::{ExplainPolicy, Explanation},
    seal::{NewSeal, ReportSeal, SealList},
};

use super::{Api, Auth};
use crate::Result;

/// Paths that more than one place names.
pub(crate) mod path {
    pub(crate) const REFRESH: &str = "/api/auth/refresh/";
    pub(crate) const SOCKET: &str = "/ws/chat/";
}

impl Api {
    /// `request` is the JSON of an [`Activate`](sigilo_wire::account::Activate), sent as it is.
    pub(crate) async fn activate(&self, request: &[u8], idempotency_key: &str) -> Result<Tokens> {
        self.attempt(&Method::POST, "/api/auth/activate/", Some(request), Some(idempotency_key), None).await
    }

    pub(crate) async fn login(&self, request: &Login) -> Result<Tokens> {
        self.call(&Method::POST, "/api/auth/login/", Some(request), None, Auth::None).await
    }

    pub(crate) async fn logout(&self) -> Result<()> {
        let request = self.refresh_token()?;
        let _: IgnoredAny = self.send(Method::POST, "/api/auth/logout/", &request).await?;
        Ok(())
    }

    pub(crate) async fn explain(&self, question: &ExplainPolicy) -> Result<Explanation> {
        self.send(Method::POST, "/api/policy/explain/", question).await
    }

    pub(crate) async fn mfa_status(&self) -> Result<MfaStatus> {
        self.get("/api/auth/mfa/").await
    }

    pub(crate) async fn enroll_mfa(&self) -> Result<Enrolment> {
        self.call::<(), _>(&Method::POST, "/api/auth/mfa/enroll/", None, None, Auth::Token).await
    }

    pub(crate) async fn confirm_mfa(&self, request: &ConfirmMfa) -> Result<Vec<String>> {
        let codes: RecoveryCodes = self.send(Method::POST, "/api/auth/mfa/confirm/", request).await?;
        Ok(codes.recovery_codes)
    }

    pub(crate) async fn verify(&self, request: &VerifyMfa) -> Result<Verified> {
        self.send(Method::POST, "/api/auth/mfa/verify/", request).await
    }

    pub(crate) async fn disable_mfa(&self) -> Result<()> {
        let path = "/api/auth/mfa/disable/";
        let _: IgnoredAny = self.call::<(), _>(&Method::POST, path, None, None, Auth::Token).await?;
        Ok(())
    }

    pub(crate) async fn stop_identity_reset(&self) -> Result<()> {
        let path = "/api/me/identity-reset/";
        let _: IgnoredAny = self.call::<(), _>(&Method::DELETE, path, None, None, Auth::Token).await?;
        Ok(())
    }

    pub(crate) async fn change_password(&self, request: &ChangePassword) -> Result<()> {
        let _: IgnoredAny = self.send(Method::POST, "/api/auth/password/change/", request).await?;
        Ok(())
    }

    pub(crate) async fn reset_password(&self, request: &ResetPassword) -> Result<()> {
        let path = "/api/auth/password/reset/";
        let _: IgnoredAny = self.call(&Method::POST, path, Some(request), None, Auth::None).await?;
        Ok(())
    }

    pub(crate) async fn me(&self) -> Result<Me> {
        self.get("/api/me/").await
    }

    pub(crate) async fn update_me(&self, request: &UpdateMe) -> Result<Me> {
        self.send(Method::PUT, "/api/me/", request).await
    }

    pub(crate) async fn clinic(&self) -> Result<Clinic> {
        self.get("/api/clinic/").await
    }

    pub(crate) async fn devices(&self) -> Result<Vec<Device>> {
        let list: DeviceList = self.get("/api/devices/").await?;
        Ok(list.results)
    }

    pub(crate) async fn remove_device(&self, device: DeviceId) -> Result<()> {
        let path = format!("/api/devices/{device}/");
        let _: IgnoredAny = self.call::<(), _>(&Method::DELETE, &path, None, None, Auth::Token).await?;
        Ok(())
    }

    pub(crate) async fn begin_link(&self, request: &BeginLink) -> Result<OwnLink> {
        self.send(Method::POST, "/api/devices/link/", request).await
    }

    pub(crate) async fn own_link(&self) -> Result<OwnLink> {
        self.get("/api/devices/link/").await
    }

    pub(crate) async fn link_state(&self, link: LinkId) -> Result<LinkState> {
        self.attempt(&Method::GET, &format!("/api/devices/link/{link}/"), None, None, None).await
    }

    pub(crate) async fn offer_link_key(&self, link: LinkId, key: &OfferLinkKey) -> Result<()> {
        let path = format!("/api/devices/link/{link}/key/");
        let _: IgnoredAny = self.call(&Method::PUT, &path, Some(key), None, Auth::None).await?;
        Ok(())
    }

    pub(crate) async fn approve_link(&self, link: LinkId, approval: &ApproveLink) -> Result<()> {
        let path = format!("/api/devices/link/{link}/approve/");
        let _: IgnoredAny = self.send(Method::POST, &path, approval).await?;
        Ok(())
    }

    pub(crate) async fn claim_link(&self, link: LinkId, claim: &ClaimLink) -> Result<Tokens> {
        let path = format!("/api/devices/link/{link}/claim/");
        self.call(&Method::POST, &path, Some(claim), None, Auth::None).await
    }

    pub(crate) async fn put_identity(&self, request: &PutIdentity) -> Result<()> {
        let _: IgnoredAny = self.send(Method::PUT, "/api/keys/identity/", request).await?;
        Ok(())
    }

    pub(crate) async fn put_keys(&self, request: &PutKeys) -> Result<()> {
        let _: IgnoredAny = self.send(Method::PUT, "/api/keys/", request).await?;
        Ok(())
    }

    pub(crate) async fn key_counts(&self) -> Result<KeyCounts> {
        self.get("/api/keys/").await
    }

    pub(crate) async fn check_keys(&self, request: &CheckKeys) -> Result<()> {
        let _: IgnoredAny = self.send(Method::POST, "/api/keys/check/", request).await?;
        Ok(())
    }

    pub(crate) async fn put_manifest(&self, manifest: &PutManifest) -> Result<()> {
        let _: IgnoredAny = self.send(Method::PUT, "/api/devices/manifest/", manifest).await?;
        Ok(())
    }

    pub(crate) async fn manifest(&self, user: UserId) -> Result<UserManifest> {
        self.get(&format!("/api/keys/{user}/manifest/")).await
    }

    /// Of one device, or of all.
    pub(crate) async fn key_bundles(&self, user: UserId, device: Option<DeviceNumber>) -> Result<KeyBundles> {
        match device {
            Some(device) => self.get(&format!("/api/keys/{user}/{device}/")).await,
            None => self.get(&format!("/api/keys/{user}/*/")).await,
        }
    }

    pub(crate) async fn create_conversation(
        &self,
        request: &CreateConversation,
        idempotency_key: &str,
    ) -> Result<Conversation> {
        let path = "/api/chat/conversations/";
        self.call(&Method::POST, path, Some(request), Some(idempotency_key), Auth::Token).await
    }

    pub(crate) async fn conversation(&self, id: ConversationId) -> Result<Conversation> {
        self.get(&format!("/api/chat/conversations/{id}/")).await
    }

    pub(crate) async fn post_seal(&self, conversation: ConversationId, seal: &NewSeal) -> Result<()> {
        let path = format!("/api/chat/conversations/{conversation}/seals/");
        let key = seal.seal_id.to_string();
        let _: IgnoredAny = self.call(&Method::POST, &path, Some(seal), Some(&key), Auth::Token).await?;
        Ok(())
    }

    pub(crate) async fn seals(&self, conversation: ConversationId, cursor: Option<&str>) -> Result<SealList> {
        let cursor = cursor.map(|cursor| format!("&cursor={}", escape(cursor))).unwrap_or_default();
        self.get(&format!("/api/chat/conversations/{conversation}/seals/?page_size=100{cursor}")).await
    }

    pub(crate) async fn report_seal(
        &self,
        conversation: ConversationId,
        seal: SealId,
        report: ReportSeal,
    ) -> Result<()> {
        let path = format!("/api/chat/conversations/{conversation}/seals/{seal}/invalid/");
        let _: IgnoredAny = self.send(Method::POST, &path, &report).await?;
        Ok(())
    }

    pub(crate) async fn post_message(
        &self,
        conversation: ConversationId,
        message: &SendMessage,
    ) -> Result<Taken> {
        self.send(Method::POST, &format!("/api/chat/conversations/{conversation}/messages/"), message).await
    }

    pub(crate) async fn cancel_held(&self, message: MessageId) -> Result<()> {
        let path = format!("/api/chat/messages/{message}/hold/");
        let _: IgnoredAny = self.call::<(), _>(&Method::DELETE, &path, None, None, Auth::Token).await?;
        Ok(())
    }

    pub(crate) async fn messages(
        &self,
        conversation: ConversationId,
        cursor: Option<&str>,
    ) -> Result<MessageList> {
        // Without the deleted ones, their devices' chains would have gaps.
        let cursor = cursor.map(|cursor| format!("&cursor={}", escape(cursor))).unwrap_or_default();
        let path = format!("/api/chat/conversations/{conversation}/messages/?include_deleted=true{cursor}");
        self.get(&path).await
    }

    pub(crate) async fn events(&self, after: Option<&str>) -> Result<EventList> {
        match after {
            Some(after) => self.get(&format!("/api/chat/events/?after={}", escape(after))).await,
            None => self.get("/api/chat/events/").await,
        }
    }
}

/// Percent-encodes a value for a query.
pub(super) fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}
