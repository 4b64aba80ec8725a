//! Emergencies and break-glass from the chat.

use sigilo_client::Error as ClientError;
use sigilo_wire::{
    break_glass::{BreakGlassReason, OpenBreakGlass},
    emergency::{Emergency, EmergencyOutcome, OpenEmergency},
};

use super::Session;

impl Session {
    /// Calls whoever is on call, and opens the conversation with them.
    pub(super) async fn open_emergency(&mut self, request: OpenEmergency) -> Result<(), ClientError> {
        let opened = self.client.open_emergency(request).await?;
        let number = &opened.emergency_number;
        let (id, tiers) = (opened.emergency.conversation_id, opened.emergency.tiers);
        if tiers == 0 {
            self.note(&format!("NOBODY IS ON CALL. Call {number}."));
        } else {
            let first = opened.emergency.on_call.iter().filter(|member| member.tier == 1).count();
            self.note(&format!(
                "{first} on call are told now, and {} more if nobody answers. If it cannot wait, call {number}.",
                opened.emergency.on_call.len() - first
            ));
        }
        self.list().await?;
        self.open = Some(id);
        Ok(())
    }

    pub(super) async fn acknowledge(&mut self) -> Result<(), ClientError> {
        let emergency = self.client.acknowledge_emergency(self.opened()?).await?;
        self.tell_of(&emergency);
        Ok(())
    }

    /// Calls the tier after the last one this user knows of.
    pub(super) async fn escalate(&mut self) -> Result<(), ClientError> {
        let open = self.opened()?;
        let known = self.client.emergency(open).await?.tier;
        let emergency = self.client.escalate_emergency(open, Some(known)).await?;
        self.tell_of(&emergency);
        Ok(())
    }

    pub(super) async fn resolve(&mut self, outcome: EmergencyOutcome) -> Result<(), ClientError> {
        let emergency = self.client.close_emergency(self.opened()?, outcome).await?;
        self.tell_of(&emergency);
        Ok(())
    }

    pub(super) async fn break_glass(
        &mut self,
        reason: BreakGlassReason,
        who: &str,
        text: &str,
    ) -> Result<(), ClientError> {
        let patient_id = self.person(who).await?;
        let text = text.to_owned();
        let opened = self.client.break_glass(OpenBreakGlass { patient_id, reason, text }).await?;
        self.note(&format!(
            "until {} you may write to them: /start {patient_id}. They, the staff and the compliance officers are told.",
            opened.expires_at
        ));
        Ok(())
    }

    fn tell_of(&self, emergency: &Emergency) {
        let Emergency { state, tier, tiers, .. } = emergency;
        self.note(&format!("the emergency is {state}; tier {tier} of {tiers} was called"));
    }
}
