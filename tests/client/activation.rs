//! Activations whose answers are lost: nothing is done twice, and nobody is locked out.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::BoxFuture;
use sigilo::{
    clock::Clock as _,
    people::{self, SecondFactorRule},
};
use sigilo_client::{ActivateOptions, Client, Error, NewConversation, SecondFactorSetup};
use sigilo_wire::{Role, mfa::Enrolment};
use totp_rs::{Builder, Secret};

use crate::{
    people::{PATIENT, World, check, key},
    support::{TestServer, both_engines, clinic::PASSWORD, clock::TestClock, proxy::Proxy},
};

const ACTIVATE: &str = "/api/auth/activate/";

/// An activation of Ana's device through a proxy.
struct Activation<'a> {
    world: World<'a>,
    proxy: Proxy,
    invitation: String,
}

impl<'a> Activation<'a> {
    async fn new(server: &'a TestServer) -> Self {
        let world = World::new(server).await;
        let proxy = Proxy::start(server).await;
        let invitation = world.invitation_to(&proxy.url, Role::Patient, "ana", (PATIENT, "MRN-1001")).await;
        Self { world, proxy, invitation }
    }

    async fn try_with(&self, password: &str, email: Option<&str>) -> sigilo_client::Result<Client> {
        let path = self.world.folder.path().join("ana.profile");
        let options = ActivateOptions {
            email: email.map(str::to_owned),
            environment: self.world.environment(),
            ..ActivateOptions::new(password)
        };
        Client::activate(path, key(), self.invitation.parse().unwrap(), options).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_activation_whose_answer_was_lost_is_repeated_as_it_was() {
    both_engines(async |server| {
        let activation = Activation::new(server).await;
        activation.proxy.lose(ACTIVATE);
        let lost = activation.try_with(PASSWORD, None).await;
        assert!(matches!(lost, Err(Error::Offline(_))), "{lost:?}");
        activation.proxy.up();
        let other = activation.try_with("another long password", None).await;
        assert!(matches!(other, Err(Error::Activation(_))), "{other:?}");
        let client = activation.try_with(PASSWORD, None).await.unwrap();
        assert_eq!(client.me().await.unwrap().device.get(), 1, "the device of the first answer");
        let passed = activation.proxy.passed(ACTIVATE);
        assert_eq!(passed.len(), 3);
        assert_eq!(passed[0].idempotency_key, passed[2].idempotency_key);
        assert!(passed[0].idempotency_key.is_some());
        assert_eq!(passed[0].body, passed[2].body, "byte by byte");
        client.shutdown().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_activation_the_server_has_forgotten_goes_on_by_logging_in() {
    both_engines(async |server| {
        let activation = Activation::new(server).await;
        activation.proxy.lose(ACTIVATE);
        activation.try_with(PASSWORD, None).await.unwrap_err();
        activation.proxy.up();
        server.clock.advance(Duration::from_secs(25 * 3600));
        let spent = activation.try_with(PASSWORD, None).await;
        let Err(Error::Activation(what_to_do)) = &spent else { panic!("{spent:?}") };
        assert!(what_to_do.contains("e-mail"), "{what_to_do}");
        let wrong = activation.try_with("another long password", Some("ana@example.org")).await.unwrap_err();
        assert_eq!(wrong.code(), Some(sigilo_wire::ErrorCode::InvalidCredentials));

        let ana = activation.try_with(PASSWORD, Some("ana@example.org")).await.unwrap();
        let maria = activation.world.maria().await;
        let conversation = ana.start_conversation(maria.user, NewConversation::default()).await.unwrap().id;
        let sent = ana.send_text(conversation, "por fin").await.unwrap();
        check(sent.accepted().expect("the device is complete"));
        ana.shutdown().await.unwrap();
        maria.end().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_activation_cut_after_its_answer_goes_on_with_the_tokens_it_has() {
    both_engines(async |server| {
        let activation = Activation::new(server).await;
        activation.proxy.lose("/api/me/");
        let cut = activation.try_with(PASSWORD, None).await;
        assert!(matches!(cut, Err(Error::Offline(_))), "{cut:?}");
        activation.proxy.up();
        // The access token has expired: it is renewed, and the answer to the activation is not asked for again.
        server.clock.advance(Duration::from_secs(20 * 60));
        let client = activation.try_with(PASSWORD, None).await.unwrap();
        assert_eq!(activation.proxy.passed(ACTIVATE).len(), 1);
        assert_eq!(client.me().await.unwrap().full_name, "Ana López");
        client.shutdown().await.unwrap();
    })
    .await;
}

/// An authenticator app whose user mistypes the first code.
struct Clumsy {
    clock: Arc<TestClock>,
    shown: Arc<Mutex<Vec<String>>>,
}

impl SecondFactorSetup for Clumsy {
    fn code<'a>(&'a mut self, enrolment: &'a Enrolment, wrong: bool) -> BoxFuture<'a, Option<String>> {
        let secret = Secret::try_from_base32(&enrolment.secret).unwrap();
        let app = Builder::new().with_secret(secret).build().unwrap();
        let code = app.generate(u64::try_from(self.clock.now().seconds()).unwrap()).to_string();
        let typed = if wrong { code } else { "not a code".to_owned() };
        Box::pin(async { Some(typed) })
    }

    fn recovery_codes(&mut self, codes: Vec<String>) {
        *self.shown.lock().unwrap() = codes;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_activation_enrols_the_second_factor_its_role_needs() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let ctx = sigilo::Ctx::operator(&server.app, world.clinic.id);
        let grant = people::authorize_manage_clinic(&server.app, &ctx).unwrap();
        people::set_second_factor(&server.app, &ctx, grant, SecondFactorRule::Required).await.unwrap();
        let invitation = world.clinic.invite(server, Role::Doctor, "eva@example.org").await;
        let path = world.folder.path().join("eva.profile");
        let attempt = async |second_factor| {
            let options = ActivateOptions {
                second_factor,
                environment: world.environment(),
                ..ActivateOptions::new(PASSWORD)
            };
            Client::activate(&path, key(), invitation.uri(&server.url).parse().unwrap(), options).await
        };
        let stopped = attempt(None).await;
        let Err(Error::Activation(what_to_do)) = &stopped else { panic!("{stopped:?}") };
        assert!(what_to_do.contains("authenticator"), "{what_to_do}");
        // Gone on with later than the proof of the activation lasts.
        server.clock.advance(Duration::from_secs(11 * 60));
        let shown = Arc::new(Mutex::new(Vec::new()));
        let app = Clumsy { clock: Arc::clone(&server.clock), shown: Arc::clone(&shown) };
        let eva = attempt(Some(Box::new(app))).await.unwrap();
        assert_eq!(shown.lock().unwrap().len(), 10);
        let status = eva.mfa_status().await.unwrap();
        assert!(status.required && status.enrolled);
        eva.contacts().await.unwrap();
        eva.shutdown().await.unwrap();
    })
    .await;
}
