//! Emergencies and break-glass.
//!
//! An emergency is a conversation like others: its members are everybody on call, also those the server has not called
//! yet, so what is sent is sealed and encrypted for them from the first message on, and every check of seals and
//! members holds as it stands. What a client cannot see is when the server calls whom.

use futures_util::FutureExt as _;
use serde_json::json;
use sigilo_wire::{
    ConversationId, RequestId,
    break_glass::{BreakGlass, OpenBreakGlass},
    emergency::{
        CloseEmergency, Emergency, EmergencyOutcome, EscalateEmergency, OpenEmergency, OpenedEmergency,
    },
};

use crate::{Client, Error, Result, engine::Engine};

impl Client {
    /// Calls the clinicians on call of the clinic. Show the number of the answer at once; when its `tiers` is 0 nobody
    /// is on call. Then send to its conversation as to any other.
    ///
    /// # Errors
    /// [`Error::Server`] with `forbidden` to all but patients; [`Error::Answer`] when the server's conversation does not
    /// have exactly the patient and those it says it calls.
    pub async fn open_emergency(&self, emergency: OpenEmergency) -> Result<OpenedEmergency> {
        self.act(move |engine| async move { engine.open_emergency(emergency).await }.boxed_local()).await?
    }

    /// How an emergency stands.
    ///
    /// # Errors
    /// [`Error::Server`] with `not_found` to whoever was not called.
    pub async fn emergency(&self, id: ConversationId) -> Result<Emergency> {
        self.act(move |engine| async move { engine.api.emergency(id).await }.boxed_local()).await?
    }

    /// Says that one looks after it: no further tier is called by itself.
    ///
    /// # Errors
    /// [`Error::Server`] with `already_settled` when it is closed.
    pub async fn acknowledge_emergency(&self, id: ConversationId) -> Result<Emergency> {
        self.act(move |engine| {
            async move { engine.api.emergency_step(id, "ack", &json!({})).await }.boxed_local()
        })
        .await?
    }

    /// Calls the tier after the last one this user knows of; when it was called since, nothing happens.
    ///
    /// # Errors
    /// [`Error::Server`] with `already_settled` when it is closed or nobody is left.
    pub async fn escalate_emergency(&self, id: ConversationId, from_tier: Option<u32>) -> Result<Emergency> {
        let request = EscalateEmergency { from_tier };
        self.act(move |engine| {
            async move { engine.api.emergency_step(id, "escalate", &request).await }.boxed_local()
        })
        .await?
    }

    /// Ends it, for everybody and for good.
    ///
    /// # Errors
    /// [`Error::Server`] with `already_settled` when it was closed before.
    pub async fn close_emergency(&self, id: ConversationId, outcome: EmergencyOutcome) -> Result<Emergency> {
        let request = CloseEmergency { outcome };
        self.act(move |engine| {
            async move {
                let closed = engine.api.emergency_step(id, "close", &request).await?;
                engine.refresh_conversation(id).await?;
                Ok::<Emergency, Error>(closed)
            }
            .boxed_local()
        })
        .await?
    }

    /// Lets a clinician talk to a patient they do not treat, for some hours. The patient, the staff and the compliance
    /// officers are told.
    ///
    /// # Errors
    /// [`Error::Server`] with `phi_detected` when the text identifies somebody or names an illness; with `forbidden` to
    /// all but clinicians, and to those who treat the patient.
    pub async fn break_glass(&self, request: OpenBreakGlass) -> Result<BreakGlass> {
        self.act(move |engine| {
            async move {
                let key = RequestId::new(engine.env.now(), engine.env.bytes()).to_string();
                engine.api.break_glass(&request, &key).await
            }
            .boxed_local()
        })
        .await?
    }
}

impl Engine {
    async fn open_emergency(&self, request: OpenEmergency) -> Result<OpenedEmergency> {
        let key = RequestId::new(self.env.now(), self.env.bytes()).to_string();
        let opened = self.api.open_emergency(&request, &key).await?;
        let own = self.account()?.user;
        let mut said: Vec<_> = opened.emergency.on_call.iter().map(|member| member.user_id).collect();
        said.push(own);
        said.sort_unstable();
        let shown: Vec<_> = crate::conversations::members(&opened.conversation).into_iter().collect();
        if opened.emergency.patient_id != own || said != shown {
            return Err(Error::Answer("an emergency with others than those it says it calls".into()));
        }
        self.adopt_conversation(opened.conversation.clone()).await?;
        Ok(opened)
    }
}
