//! `sigilo bench policy`
//!
//! What a decision costs when the facts of thousands of conversations are kept in memory, and what of a send that is.
//! In this process, through the server's own functions: `conversations::authorize_send` on facts that must be read, on
//! kept facts about somebody who has not asked yet (the rules are asked), and on kept facts and a remembered answer (what
//! most sends meet); then messages from beginning to receipt, with the decision timed beside each.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use serde::Serialize;
use sigilo_wire::{
    ConversationId, DeviceId, Role, TenantId, UserId,
    account::DeviceKind,
    conversation::{ConversationType, CreateConversation},
    message::{SendMessage, Taken},
};

use super::{
    ground::{EngineChoice, Ground, Stores},
    machine::Machine,
    progress::Progress,
    provision::{self, Provisioned},
    report, sign,
    stats::Times,
    store,
};
use crate::{
    Actor, App, Caller, Ctx, Error, Result,
    cli::Outcome,
    clock::{Clock as _, SystemClock},
    config::Config,
    conversations, relay,
    rng::{self, SystemEntropy},
    shutdown,
};

/// What a decision on kept facts may take, in 99 of 100 cases, in microseconds.
const AIM_P99_US: f64 = 100.0;

/// Asks the rules about thousands of conversations that are kept in memory, and says what of a send that is.
#[derive(Debug, Args)]
pub(super) struct Policy {
    /// The database to run on.
    #[arg(long, value_enum, default_value = "sqlite")]
    engine: EngineChoice,
    /// How many pairs of a patient and a doctor are in care, each with a conversation.
    #[arg(long, value_name = "N", default_value = "10000", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    relationships: u32,
    /// How many messages are sent for the share.
    #[arg(long, value_name = "N", default_value = "500", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    sends: u16,
    #[command(flatten)]
    ground: Ground,
    /// Only the JSON document on stdout; the table goes to stderr.
    #[arg(long)]
    json: bool,
}

/// Everything a run found.
#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    relationships: u32,
    sends: u16,
    aim_p99_us: f64,
    engines: Vec<Engine>,
}

/// One engine's run.
#[derive(Debug, Serialize)]
struct Engine {
    engine: &'static str,
    /// Facts read from the database, rules asked.
    read: Micros,
    /// Facts kept, rules asked.
    kept: Micros,
    /// Facts kept, answer remembered.
    remembered: Micros,
    /// A message from its decision to its receipt.
    send: Micros,
    /// The decisions of those sends, of their whole time.
    share_of_send: f64,
    /// The median of a decision by the rules, of that of a send.
    share_if_asked: f64,
}

/// Percentiles in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
struct Micros {
    p50_us: f64,
    p99_us: f64,
    max_us: f64,
}

impl Micros {
    fn of(times: Times) -> Self {
        let found = times.percentiles();
        Self { p50_us: found.p50_ms * 1e3, p99_us: found.p99_ms * 1e3, max_us: found.max_ms * 1e3 }
    }
}

/// A conversation of the crowd.
struct Care {
    patient: UserId,
    doctor: UserId,
    conversation: ConversationId,
}

impl Policy {
    pub(super) async fn run(self) -> Result<Outcome> {
        let progress = Progress::new();
        let mut report = None;
        for engine in self.engine.names() {
            let stores = Stores::make(engine, &self.ground).await?;
            let ran = self.run_on(&stores, &progress).await;
            let machine = Machine::here(stores.folder.path());
            let removed = stores.remove().await;
            let report = report.get_or_insert_with(|| Report {
                machine,
                relationships: self.relationships,
                sends: self.sends,
                aim_p99_us: AIM_P99_US,
                engines: Vec::new(),
            });
            report.engines.push(ran?);
            removed?;
        }
        let report = report.ok_or_else(|| Error::internal("no engine ran"))?;
        report::print(&report, &report.table(), self.json)?;
        Ok(Outcome::Done)
    }

    async fn run_on(&self, stores: &Stores, progress: &Progress) -> Result<Engine> {
        progress.say(&format!("on {}", stores.engine));
        let mut config = Config::for_data(stores.folder.path());
        config.storage.database_url = Some(stores.url.clone());
        let (phase, watch) = shutdown::channel();
        let app = App::open(config, Arc::new(SystemClock), Arc::new(SystemEntropy), watch).await?;
        let measured = self.measure(&app, stores.engine, progress).await;
        phase.send_replace(shutdown::Phase::Stopped);
        app.close().await;
        measured
    }

    async fn measure(&self, app: &App, engine: &'static str, progress: &Progress) -> Result<Engine> {
        let made = provision::provision(app, 1, 0, progress).await?;
        let crowd = self.crowd(app, made.tenant, progress).await?;
        progress.say("decisions");
        let read = decide(app, made.tenant, &crowd, Role::Patient).await?;
        let kept = Micros::of(decide(app, made.tenant, &crowd, Role::Doctor).await?);
        let mut remembered = decide(app, made.tenant, &crowd, Role::Patient).await?;
        remembered.merge(decide(app, made.tenant, &crowd, Role::Doctor).await?);
        progress.say("sends");
        let (decisions, sends) = send(app, &made, self.sends.into()).await?;
        let share_of_send = share(&decisions, &sends);
        let send = Micros::of(times(sends));
        Ok(Engine {
            engine,
            read: Micros::of(read),
            kept,
            remembered: Micros::of(remembered),
            share_if_asked: kept.p50_us / send.p50_us,
            send,
            share_of_send,
        })
    }

    /// The people in care, with a conversation each pair.
    async fn crowd(&self, app: &App, tenant: TenantId, progress: &Progress) -> Result<Vec<Care>> {
        let wanted = usize::try_from(self.relationships).map_err(Error::internal)?;
        let side = (1..).find(|side: &usize| side * side >= wanted).unwrap_or(1);
        let pairs: Vec<(usize, usize)> = (0..wanted).map(|n| (n / side, n % side)).collect();
        provision::import_crowd(app, tenant, &pairs, progress).await?;
        let people: HashMap<String, UserId> =
            store::people(&app.db, tenant).await?.into_iter().map(|(user, _, name)| (name, user)).collect();
        let find = |name: String| {
            people.get(&name).copied().ok_or_else(|| Error::internal(format!("{name} was not imported")))
        };
        let step = progress.step("conversations", pairs.len());
        let mut crowd = Vec::with_capacity(pairs.len());
        for (patient, doctor) in pairs {
            let (patient, doctor) = (find(format!("patient-{patient}"))?, find(format!("doctor-{doctor}"))?);
            let ctx = &context(app, tenant, patient, Role::Patient);
            let wanted = CreateConversation::of(ConversationType::Direct, vec![doctor]);
            let grant = conversations::authorize_start(app, ctx, &wanted).await?;
            let conversation =
                conversations::create(app, ctx, grant, &wanted, None).await?.into_conversation().id;
            crowd.push(Care { patient, doctor, conversation });
            step.inc(1);
        }
        step.finish_and_clear();
        Ok(crowd)
    }
}

/// The context of somebody of the crowd on a device of theirs.
fn context(app: &App, tenant: TenantId, user: UserId, role: Role) -> Ctx {
    let caller = Caller {
        user_id: user,
        role,
        active: true,
        device_id: DeviceId::from_bytes([1; 16]),
        kind: DeviceKind::Messaging,
        device_number: None,
    };
    Ctx { actor: Actor::User(caller), ..Ctx::operator(app, tenant) }
}

/// Decides on a message of each conversation, by its patient or its doctor.
async fn decide(app: &App, tenant: TenantId, crowd: &[Care], role: Role) -> Result<Times> {
    let mut times = Times::default();
    for care in crowd {
        let user = if role == Role::Patient { care.patient } else { care.doctor };
        let ctx = context(app, tenant, user, role);
        let started = Instant::now();
        conversations::authorize_send(app, &ctx, care.conversation).await?;
        times.note(started.elapsed());
    }
    Ok(times)
}

/// Sends messages one after the other; the times of their decisions, and of all of it.
async fn send(app: &App, made: &Provisioned, count: usize) -> Result<(Vec<Duration>, Vec<Duration>)> {
    let pair = made.pairs.first().ok_or_else(|| Error::internal("there is no pair"))?;
    let frames = sign::chain(made.tenant, pair, count, SystemClock.now(), rng::bytes(&SystemEntropy))?;
    let (mut decisions, mut sends) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for frame in frames {
        let message: SendMessage = serde_json::from_str(&frame.http()).map_err(Error::internal)?;
        let ctx = pair.sender.ctx(app);
        let started = Instant::now();
        conversations::authorize_send(app, &ctx, pair.conversation).await?;
        decisions.push(started.elapsed());
        let started = Instant::now();
        match relay::send(app, &ctx, pair.conversation, Arc::new(message)).await? {
            Taken::Accepted(_) => sends.push(started.elapsed()),
            Taken::Held(_) => return Err(Error::internal("a message was held")),
        }
    }
    Ok((decisions, sends))
}

fn share(part: &[Duration], whole: &[Duration]) -> f64 {
    let sum = |times: &[Duration]| times.iter().sum::<Duration>().as_secs_f64();
    sum(part) / sum(whole).max(f64::EPSILON)
}

fn times(all: Vec<Duration>) -> Times {
    let mut times = Times::default();
    all.into_iter().for_each(|time| times.note(time));
    times
}

impl Report {
    fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_table(&mut text);
        text
    }

    fn write_table(&self, text: &mut String) -> std::fmt::Result {
        self.machine.write_line(text)?;
        for engine in &self.engines {
            writeln!(text, "\n{}: {} relationships kept", engine.engine, self.relationships)?;
            for (name, found) in [
                ("facts read, rules asked", engine.read),
                ("facts kept, rules asked", engine.kept),
                ("facts kept, answer remembered", engine.remembered),
                ("a send, to its receipt", engine.send),
            ] {
                let Micros { p50_us, p99_us, max_us } = found;
                writeln!(text, "{name:<30} {p50_us:>10.1} {p99_us:>10.1} {max_us:>10.1} us (p50 p99 max)")?;
            }
            let met = if engine.kept.p99_us <= self.aim_p99_us { "met" } else { "MISSED" };
            writeln!(text, "p99 of a decision on kept facts under {} us: {met}", self.aim_p99_us)?;
            writeln!(
                text,
                "decisions take {:.2} % of a send; {:.2} % if the rules were asked each time",
                engine.share_of_send * 100.0,
                engine.share_if_asked * 100.0
            )?;
        }
        Ok(())
    }
}
