//! The account of a device: second factor, passwords, and being logged out by them.

use std::time::Duration;

use sigilo::{Ctx, auth, people};
use sigilo_client::{Error, NewConversation, Proof};
use totp_rs::{Builder, Secret};

use crate::{
    people::{World, check},
    support::{TestServer, both_engines, clinic::PASSWORD},
};

const ANA: &str = "ana@example.org";
const NEW: &str = "another horse battery";

/// The code of an authenticator app half a minute from now: one nobody has used.
fn next_code(server: &TestServer, secret: &str) -> String {
    server.clock.advance(Duration::from_secs(30));
    let totp = Builder::new().with_secret(Secret::try_from_base32(secret).unwrap()).build().unwrap();
    totp.generate(u64::try_from(server.app.clock.now().seconds()).unwrap()).to_string()
}

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, Error>, code: &str) {
    let error = answer.unwrap_err();
    assert_eq!(error.code().map(|code| code.to_string()).as_deref(), Some(code), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_logs_in_again_with_a_code_and_goes_on() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let (ana, mut maria) = (world.ana().await, world.maria().await);
        assert!(!ana.client.mfa_status().await.unwrap().enrolled);
        let enrolment = ana.client.enroll_mfa().await.unwrap();
        let codes = ana.client.confirm_mfa(next_code(server, &enrolment.secret)).await.unwrap();
        assert!(ana.client.mfa_status().await.unwrap().enrolled);
        ana.client.log_out().await.unwrap();
        refused(ana.client.log_in(ANA, PASSWORD, None).await, "mfa_required");
        ana.client.log_in(ANA, PASSWORD, Some(next_code(server, &enrolment.secret))).await.unwrap();

        let conversation =
            ana.client.start_conversation(maria.user, NewConversation::default()).await.unwrap().id;
        let sent = ana.client.send_text(conversation, "con dos factores").await.unwrap();
        check(sent.accepted().expect("accepted at once"));
        maria.client.sync_offline().await.unwrap();
        assert_eq!(maria.next_text().await, "con dos factores");

        server.clock.advance(Duration::from_mins(11));
        refused(ana.client.disable_mfa().await, "step_up_required");
        // What was typed wrong is asked once: five times, and not three.
        for _ in 0..5 {
            refused(ana.client.prove(Proof::Code("000000-0".to_owned())).await, "invalid_totp");
        }
        refused(ana.client.prove(Proof::Code(codes[0].clone())).await, "rate_limited");
        server.clock.advance(Duration::from_mins(15));
        ana.client.prove(Proof::Code(codes[0].clone())).await.unwrap();
        ana.client.disable_mfa().await.unwrap();
        refused(
            ana.client.prove(Proof::Password("wrong horse battery".to_owned())).await,
            "invalid_credentials",
        );
        ana.client.prove(Proof::Password(PASSWORD.to_owned())).await.unwrap();
        ana.end().await;
        maria.end().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_leaves_keys_and_conversations_as_they_are() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let (ana, mut maria) = (world.ana().await, world.maria().await);
        refused(ana.client.change_password("wrong horse battery", NEW).await, "invalid_credentials");
        ana.client.change_password(PASSWORD, NEW).await.unwrap();
        let ctx = Ctx::operator(&server.app, world.clinic.id);
        let grant = people::authorize_manage_people(&server.app, &ctx).unwrap();
        let reset = auth::issue_password_reset(&server.app, &ctx, grant, ana.user).await.unwrap();
        refused(ana.client.reset_password("nobody's", PASSWORD).await, "invalid_reset");
        ana.client.reset_password(reset.code, PASSWORD).await.unwrap();
        assert!(matches!(ana.client.contacts().await, Err(Error::LoggedOut)));
        refused(ana.client.log_in(ANA, NEW, None).await, "invalid_credentials");
        ana.client.log_in(ANA, PASSWORD, None).await.unwrap();
        let conversation =
            ana.client.start_conversation(maria.user, NewConversation::default()).await.unwrap().id;
        let sent = ana.client.send_text(conversation, "la misma de siempre").await.unwrap();
        check(sent.accepted().expect("accepted at once"));
        maria.client.sync_offline().await.unwrap();
        assert_eq!(maria.next_text().await, "la misma de siempre");
        ana.end().await;
        maria.end().await;
    })
    .await;
}
