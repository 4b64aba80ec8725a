//! Emergencies and break-glass from the SDK: sealed for all tiers at once, read by each when it is called.

use std::time::Duration;

use sigilo::{Ctx, emergency};
use sigilo_client::{ClientEvent, Error, NewConversation};
use sigilo_wire::{
    ErrorCode,
    break_glass::{BreakGlassReason, OpenBreakGlass},
    conversation::ConversationType,
    emergency::{
        EmergencyCategory, EmergencyOutcome, EmergencyState, EmergencyUrgency, NewShift, OpenEmergency,
    },
};

use crate::{
    people::{Device, World, check},
    support::both_engines,
};

async fn on_call(world: &World<'_>, who: &Device, tier: u32) {
    let app = &world.server.app;
    let ctx = Ctx::operator(app, world.clinic.id);
    let grant = emergency::authorize_manage(app, &ctx).await.unwrap();
    let shift = NewShift { user_id: who.user, tier, from: None, until: None };
    emergency::add_shift(app, &ctx, grant, &shift).await.unwrap();
}

fn call() -> OpenEmergency {
    OpenEmergency { category: EmergencyCategory::Symptoms, urgency: EmergencyUrgency::Immediate }
}

fn refused(error: &Error) -> Option<ErrorCode> {
    match error {
        Error::Server { body, .. } => Some(body.error),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tier_that_is_called_later_reads_and_checks_what_was_said_before() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let (ana, mut eva, mut rosa) =
            (world.ana().await, world.colleague("eva").await, world.colleague("rosa").await);
        on_call(&world, &eva, 1).await;
        on_call(&world, &rosa, 2).await;
        eva.connected().await;
        rosa.connected().await;
        let opened = ana.client.open_emergency(call()).await.unwrap();
        assert_eq!((opened.emergency_number.as_str(), opened.emergency.tiers), ("911", 2));
        assert_eq!(opened.conversation.r#type, ConversationType::Emergency);
        let id = opened.emergency.conversation_id;
        ana.client.send_text(id, "no puedo respirar bien").await.unwrap();
        let told = eva.wait("emergency", |event| match event {
            ClientEvent::Emergency { event, member } => Some((event.clone(), *member)),
            _ => None,
        });
        let (event, member) = told.await;
        assert!(member && event.emergency_id == id && event.tier == 1);
        assert_eq!(eva.next_text().await, "no puedo respirar bien");
        eva.client.send_text(id, "ya la leo").await.unwrap();
        assert_eq!(refused(&rosa.client.emergency(id).await.unwrap_err()), Some(ErrorCode::NotFound));
        assert!(rosa.client.conversations().await.unwrap().is_empty());

        let escalated = eva.client.escalate_emergency(id, Some(1)).await.unwrap();
        assert_eq!(escalated.tier, 2);
        // Both messages were sealed and encrypted for her when they were written: every check is good.
        assert_eq!(rosa.next_text().await, "no puedo respirar bien");
        assert_eq!(rosa.next_text().await, "ya la leo");
        let ready = rosa.client.acknowledge_emergency(id).await.unwrap();
        assert_eq!(ready.state, EmergencyState::Acknowledged);
        rosa.client.send_text(id, "voy").await.unwrap();
        ana.client.sync_offline().await.unwrap();
        let history = ana.client.history(id, 10).await.unwrap();
        history.iter().for_each(check);
        assert_eq!(history.len(), 3);
        let closed = rosa.client.close_emergency(id, EmergencyOutcome::Advised).await.unwrap();
        assert_eq!(closed.outcome, Some(EmergencyOutcome::Advised));
        let late = ana.client.send_text(id, "gracias").await;
        assert!(
            late.is_err_and(|error| refused(&error) == Some(ErrorCode::ConversationClosed)),
            "it is closed"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_patient_hears_who_broke_the_glass_and_why() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let (mut ana, eva) = (world.ana().await, world.colleague("eva").await);
        ana.connected().await;
        let ask = |text: &str| OpenBreakGlass {
            patient_id: ana.user,
            reason: BreakGlassReason::OnCallCover,
            text: text.to_owned(),
        };
        let (clear, wrong) = (ask("cubre la guardia"), ask("ana@example.org"));
        let refusal = eva.client.break_glass(wrong).await.unwrap_err();
        assert_eq!(refused(&refusal), Some(ErrorCode::PhiDetected));
        let opened = eva.client.break_glass(clear).await.unwrap();
        assert_eq!(opened.expires_at.since(opened.opened_at), Duration::from_secs(4 * 3600));
        let told = ana.wait("break-glass", |event| match event {
            ClientEvent::BreakGlass { opened } => Some(opened.clone()),
            _ => None,
        });
        let told = told.await;
        assert_eq!((told.clinician_id, told.reason), (eva.user, BreakGlassReason::OnCallCover));
        assert_eq!(told.text, None);
        let id = eva.client.start_conversation(ana.user, NewConversation::default()).await.unwrap().id;
        eva.client.send_text(id, "soy su médica de guardia").await.unwrap();
        assert_eq!(ana.next_text().await, "soy su médica de guardia");
        ana.client.send_text(id, "gracias").await.unwrap();
    })
    .await;
}
