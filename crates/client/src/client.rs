//! The handle: sends acts to the engine's thread and waits for their results. Cheap to clone; may be used from
//! any thread and any runtime.

use std::{
    path::{Path, PathBuf},
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use futures_util::future::{FutureExt as _, LocalBoxFuture};
use sigilo_seal::{Content, RootFingerprint};
use sigilo_wire::{
    ClientMessageId, ConversationId, DeviceNumber, MessageId, Role, TenantId, Timestamp, UserId,
    conversation::{
        Contact, Conversation, ConversationMetadata, ConversationSettingsChange, ConversationType,
    },
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    Error, Result,
    activate::{Admission, SecondFactorSetup, settle},
    api::Api,
    engine::{Engine, Job},
    env::{Env, Environment},
    event::{Events, TimelineNote},
    finding::ContactFilter,
    invitation::Invitation,
    link::Newcomer,
    message::{ReceiptVerdict, ShownMessage},
    outbox::{SendOptions, Sent},
    profile::{
        Profile, Unlock,
        records::{Home, ONLY, Stage},
    },
    safety::SafetyNumber,
};

/// What an activation needs besides the invitation.
pub struct ActivateOptions {
    /// The password of the account, for logging in again later: at least 12 characters.
    pub password: String,
    /// The e-mail address of the account. Needed only to go on with an activation whose answer was lost more than
    /// a day ago: by then the invitation is used up, and the client logs in instead.
    pub email: Option<String>,
    /// A name the user recognises the device by.
    pub device_name: String,
    /// Enrols an authenticator app, if the clinic requires one of the user's role. Without it, such an activation
    /// stops and can be gone on with.
    pub second_factor: Option<Box<dyn SecondFactorSetup>>,
    /// Clock and randomness.
    pub environment: Environment,
}

impl ActivateOptions {
    /// With this password, on this machine's clock and randomness.
    pub fn new(password: impl Into<String>) -> Self {
        Self {
            password: password.into(),
            email: None,
            device_name: String::new(),
            second_factor: None,
            environment: Environment::system(),
        }
    }
}

impl std::fmt::Debug for ActivateOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ActivateOptions").field("device_name", &self.device_name).finish_non_exhaustive()
    }
}

/// How a profile is opened.
#[derive(Debug, Default)]
pub struct OpenOptions {
    /// Clock and randomness.
    pub environment: Environment,
}

/// What kind of conversation is started.
#[derive(Clone, Debug)]
pub struct NewConversation {
    /// The type.
    pub r#type: ConversationType,
    /// What the server knows of its purpose.
    pub metadata: ConversationMetadata,
    /// The caller's own settings, unless the pair has it already.
    pub settings: ConversationSettingsChange,
}

impl Default for NewConversation {
    /// A direct one: a pair has only one of them.
    fn default() -> Self {
        let (metadata, settings) = (ConversationMetadata::default(), ConversationSettingsChange::default());
        Self { r#type: ConversationType::Direct, metadata, settings }
    }
}

/// Who uses this device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Me {
    /// The clinic.
    pub clinic: TenantId,
    /// The account.
    pub user: UserId,
    /// The device's number in the protocol.
    pub device: DeviceNumber,
    /// The name.
    pub full_name: String,
    /// The role.
    pub role: Role,
}

/// One device of one person. See the [crate's documentation](crate).
#[derive(Clone)]
pub struct Client {
    jobs: mpsc::UnboundedSender<Job>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Client {
    /// Activates an account on this device, with a new profile at `path`. An activation that was cut goes on
    /// where it stopped when this is called again with the same invitation and password. When the server has
    /// admitted the device and forgotten so since, [`ActivateOptions::email`] lets it go on by logging in.
    ///
    /// # Errors
    /// [`Error::ClinicKeys`] when the clinic's root is not the invitation's; [`Error::Server`] with
    /// `invalid_invitation`; [`Error::Activation`] when an earlier attempt stands in the way, with what to do;
    /// [`Error::AlreadyActivated`]; [`Error::Offline`]; those of the profile. [`Error::Activation`] also when the
    /// user's role needs a second factor and there is no [`ActivateOptions::second_factor`] to enrol it.
    pub async fn activate(
        path: impl AsRef<Path>,
        unlock: impl Into<Unlock>,
        invitation: Invitation,
        options: ActivateOptions,
    ) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let start = Start { path, unlock: unlock.into(), environment: options.environment };
        let ActivateOptions { password, email, device_name, second_factor, .. } = options;
        let admission = Admission { invitation, password, email, device_name, second_factor };
        Self::spawn(start, Begin::Activate(Box::new(admission))).await
    }

    /// Opens an activated profile. Needs no connection, unless the profile's link was cut before its end: then it
    /// goes on.
    ///
    /// # Errors
    /// [`Error::NotActivated`], [`Error::WrongPassphrase`], [`Error::ProfileInUse`], [`Error::Profile`].
    pub async fn open(
        path: impl AsRef<Path>,
        unlock: impl Into<Unlock>,
        options: OpenOptions,
    ) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let start = Start { path, unlock: unlock.into(), environment: options.environment };
        Self::spawn(start, Begin::Open).await
    }

    pub(crate) async fn spawn(start: Start, how: Begin) -> Result<Self> {
        let (jobs, incoming) = mpsc::unbounded_channel();
        let (started, ready) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("sigilo-client".into())
            .spawn(move || run(start, how, incoming, started))
            .map_err(Error::internal)?;
        ready.await.map_err(|_| Error::Closed)??;
        Ok(Self { jobs, thread: Arc::new(Mutex::new(Some(thread))) })
    }

    pub(crate) async fn act<T: Send + 'static>(
        &self,
        act: impl FnOnce(Rc<Engine>) -> LocalBoxFuture<'static, T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |engine| {
            async move {
                let _asker_gone = answer.send(act(engine).await);
            }
            .boxed_local()
        });
        self.jobs.send(job).map_err(|_| Error::Closed)?;
        answered.await.map_err(|_| Error::Closed)
    }

    /// Who uses this device.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn me(&self) -> Result<Me> {
        self.act(|engine| {
            async move {
                let account = engine.account()?;
                Ok(Me {
                    clinic: account.tenant,
                    user: account.user,
                    device: account.device,
                    full_name: account.full_name.clone(),
                    role: account.role,
                })
            }
            .boxed_local()
        })
        .await?
    }

    /// Everybody the user may start a conversation with, and why.
    ///
    /// # Errors
    /// Those of the server and the connection.
    pub async fn contacts(&self) -> Result<Vec<Contact>> {
        self.act(|engine| async move { engine.people(&ContactFilter::default()).await }.boxed_local()).await?
    }

    /// The user's conversations, newest change first; without a connection, those known on this device.
    ///
    /// # Errors
    /// Those of the server and the profile.
    pub async fn conversations(&self) -> Result<Vec<Conversation>> {
        self.act(|engine| async move { engine.conversations(false).await }.boxed_local()).await?
    }

    /// Starts a conversation with one person, or gives the direct one there is.
    ///
    /// # Errors
    /// [`Error::Server`] with `conversation_not_allowed` when the clinic's rules do not allow it.
    pub async fn start_conversation(&self, with: UserId, new: NewConversation) -> Result<Conversation> {
        self.act(move |engine| async move { engine.start(vec![with], new).await }.boxed_local()).await?
    }

    /// Sends text. On disk before it leaves; sent later when there is no connection.
    ///
    /// # Errors
    /// [`Error::Content`]; [`Error::Server`] when the clinic's rules refuse it for good.
    pub async fn send_text(&self, conversation: ConversationId, text: impl Into<String>) -> Result<Sent> {
        self.send(conversation, Content::text(text), SendOptions::default()).await
    }

    /// Sends any content.
    ///
    /// # Errors
    /// As [`Client::send_text`].
    pub async fn send(
        &self,
        conversation: ConversationId,
        content: Content,
        options: SendOptions,
    ) -> Result<Sent> {
        self.act(move |engine| async move { engine.send(conversation, content, options).await }.boxed_local())
            .await?
    }

    /// Forgets a message that was refused, or that waits and has not been sealed.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Content`] when it is already on its way.
    pub async fn discard(&self, message: ClientMessageId) -> Result<()> {
        self.act(move |engine| async move { engine.discard(message).await }.boxed_local()).await?
    }

    /// The newest `limit` messages on this device, oldest first; those that wait are at the end. Edits, deletes and
    /// reactions are shown on the messages they are about.
    ///
    /// # Errors
    /// Those of the profile.
    pub async fn history(&self, conversation: ConversationId, limit: u32) -> Result<Vec<ShownMessage>> {
        self.act(move |engine| async move { engine.history(conversation, None, limit).await }.boxed_local())
            .await?
    }

    /// Up to `limit` messages on this device that are older than the place `before`, oldest first.
    ///
    /// # Errors
    /// Those of the profile.
    pub async fn history_before(
        &self,
        conversation: ConversationId,
        before: i64,
        limit: u32,
    ) -> Result<Vec<ShownMessage>> {
        self.act(move |engine| {
            async move { engine.history(conversation, Some(before), limit).await }.boxed_local()
        })
        .await?
    }

    /// The message at a place of a conversation, edits, deletes and reactions too.
    ///
    /// # Errors
    /// [`Error::Unknown`]; those of the profile.
    pub async fn message_at(&self, conversation: ConversationId, place: i64) -> Result<ShownMessage> {
        self.act(move |engine| async move { engine.message_at(conversation, place).await }.boxed_local())
            .await?
    }

    /// Reads up to `limit` messages the server keeps, through the record seals, into this device's history.
    /// Gives how many the server had.
    ///
    /// # Errors
    /// Those of the server, the connection and the profile.
    pub async fn fetch_history(&self, conversation: ConversationId, limit: usize) -> Result<usize> {
        self.act(move |engine| async move { engine.fetch_history(conversation, limit).await }.boxed_local())
            .await?
    }

    /// The lines between a conversation's messages: who joined and left, whose identity changed. Oldest first.
    ///
    /// # Errors
    /// Those of the profile.
    pub async fn timeline(&self, conversation: ConversationId) -> Result<Vec<(Timestamp, TimelineNote)>> {
        self.act(move |engine| {
            async move {
                let entries = engine.timeline(conversation).await?;
                Ok(entries.into_iter().map(|entry| (entry.at, entry.note)).collect())
            }
            .boxed_local()
        })
        .await?
    }

    /// Events from now on.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn events(&self) -> Result<Events> {
        self.act(|engine| async move { engine.listeners.add() }.boxed_local()).await
    }

    /// Opens the socket and keeps it open, through every loss of connection. Returns at once;
    /// [`crate::ClientEvent::Connected`] says when it is open.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn connect(&self) -> Result<()> {
        self.act(|engine| async move { engine.connect() }.boxed_local()).await
    }

    /// Closes the socket until [`Client::connect`].
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn disconnect(&self) -> Result<()> {
        self.act(|engine| async move { engine.disconnect() }.boxed_local()).await
    }

    /// Takes in what waits on the server, without a socket, and sends what waits here. Gives the number of
    /// events taken in.
    ///
    /// # Errors
    /// Those of the server, the connection and the profile.
    pub async fn sync_offline(&self) -> Result<usize> {
        self.act(|engine| async move { engine.sync_offline().await }.boxed_local()).await?
    }

    /// Checks that the server hands out this device's keys, and publishes new ones where they are few or old.
    ///
    /// # Errors
    /// Those of the server, the connection and the profile.
    pub async fn check_keys(&self) -> Result<()> {
        self.act(|engine| async move { engine.check_keys().await }.boxed_local()).await?
    }

    /// The safety number with somebody, to compare by voice or in person.
    ///
    /// # Errors
    /// [`Error::KeysMissing`]; those of the connection when the person is not known yet.
    pub async fn safety_number(&self, user: UserId) -> Result<SafetyNumber> {
        self.act(move |engine| async move { engine.safety_number(user).await }.boxed_local()).await?
    }

    /// The user compared this safety number and found it equal: marks the person verified, and uses a new
    /// identity key that waited for this.
    ///
    /// # Errors
    /// [`Error::Unknown`]; [`Error::IdentityChanged`] when their key is another one since the number was shown.
    pub async fn confirm_identity(&self, user: UserId, compared: &SafetyNumber) -> Result<()> {
        let compared = compared.clone();
        self.act(move |engine| async move { engine.confirm_identity(user, &compared).await }.boxed_local())
            .await?
    }

    /// Checks the server's receipt of a message again.
    ///
    /// # Errors
    /// [`Error::Unknown`].
    pub async fn receipt(&self, message: MessageId) -> Result<ReceiptVerdict> {
        self.act(move |engine| async move { engine.check_receipt(message).await }.boxed_local()).await?
    }

    /// The pinned fingerprint of the clinic's root key, to compare with the root card.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn root_fingerprint(&self) -> Result<RootFingerprint> {
        self.act(|engine| async move { engine.root().await }.boxed_local()).await?
    }

    /// Ends the client: the act under way is finished, the profile is closed. All clones end with it.
    ///
    /// # Errors
    /// [`Error::Closed`] when it has ended before.
    pub async fn shutdown(self) -> Result<()> {
        self.act(|engine| async move { engine.stop() }.boxed_local()).await?;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            joined.map_err(Error::internal)?.map_err(|_| Error::internal("the client's thread failed"))?;
        }
        Ok(())
    }
}

/// An act of the engine's, as the result of a method of [`Client`].
macro_rules! call {
    ($client:expr, $engine:ident => $act:expr) => {
        match $client.act(move |$engine| futures_util::FutureExt::boxed_local(async move { $act })).await {
            Ok(result) => result,
            Err(closed) => Err(closed),
        }
    };
}
pub(crate) use call;

/// Where a profile is, and what it needs to be opened.
pub(crate) struct Start {
    pub(crate) path: PathBuf,
    pub(crate) unlock: Unlock,
    pub(crate) environment: Environment,
}

/// How an engine begins.
pub(crate) enum Begin {
    /// With a profile that is active.
    Open,
    /// With an invitation.
    Activate(Box<Admission>),
    /// With another device of the user.
    Link(Box<Newcomer>),
}

/// The engine's thread.
fn run(start: Start, how: Begin, jobs: mpsc::UnboundedReceiver<Job>, started: oneshot::Sender<Result<()>>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _caller_gone = started.send(Err(Error::internal(error)));
            return;
        }
    };
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async move {
        let (socket_events, from_socket) = mpsc::unbounded_channel();
        let engine = match begin(start, how, socket_events).await {
            Ok(engine) => Rc::new(engine),
            Err(error) => {
                let _caller_gone = started.send(Err(error));
                return;
            }
        };
        if started.send(Ok(())).is_err() {
            return;
        }
        let profile = Rc::clone(&engine.profile);
        if let Err(error) = engine.sweep_blobs().await {
            tracing::debug!(%error, "what is left of a cut sealing stays for now");
        }
        engine.flush_soon();
        engine.upkeep_soon();
        Rc::clone(&engine).run(jobs, from_socket).await;
        drop(engine);
        // Lets the pump's task end, which holds the API and with it the profile.
        tokio::task::yield_now().await;
        if let Err(error) = profile.close().await {
            tracing::warn!(%error, "closing the profile");
        }
    });
}

async fn begin(
    start: Start,
    mut how: Begin,
    socket_events: mpsc::UnboundedSender<crate::socket::SocketEvent>,
) -> Result<Engine> {
    let env = Rc::new(Env::new(start.environment));
    let profile = match how {
        Begin::Open => Profile::open(&start.path, &start.unlock, Rc::clone(&env)).await?,
        _ => Profile::create_or_open(&start.path, &start.unlock, Rc::clone(&env)).await?,
    };
    let profile = Rc::new(profile);
    let server = match &how {
        Begin::Open => {
            let home: Home = profile.get(ONLY).await?.ok_or(Error::NotActivated)?;
            if home.stage != Stage::Active && home.link.is_none() {
                return Err(Error::NotActivated);
            }
            home.server
        }
        Begin::Activate(admission) => settle(&profile, &admission.invitation).await?.server,
        Begin::Link(newcomer) => newcomer.server.clone(),
    };
    let api = Api::new(server, Rc::clone(&profile), Rc::clone(&env)).await?;
    let engine = Engine::new(env, profile, Rc::new(api), socket_events).await?;
    match &mut how {
        Begin::Open => engine.finish_link().await?,
        Begin::Activate(admission) => engine.activate(admission).await?,
        Begin::Link(newcomer) => engine.link(newcomer).await?,
    }
    Ok(engine)
}
