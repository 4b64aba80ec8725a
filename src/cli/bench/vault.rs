//! `sigilo bench vault`
//!
//! For each engine: a fresh data folder and a clinic with a pair of people for each upload at once; then the server as a
//! child process with a real clamd: uploads that are held open half way, files from their first byte to their verdict in
//! turns with the same kind of files handed to clamd alone, and downloads in turns with a bare server's. At last the
//! server in this process with a scan worker that has no engine, in turns with the bare work. The worker without an engine
//! lives here alone, on the run's own data: no configuration makes one.

mod ceiling;
mod files;
mod load;
mod report;

use std::{path::Path, sync::Arc, time::Duration};

use clap::Args;
use rand_core::Rng as _;
use sigilo_wire::FileId;

use self::{
    files::Noise,
    load::Api,
    report::{Compared, Download, Engine, Memory, Report, Round, Settings},
};
use super::{
    echo,
    ground::{self, EngineChoice, Ground, Stores},
    machine::Machine,
    process::Running,
    progress::Progress,
    provision::Provisioned,
    report::print,
    stats::Times,
};
use crate::{
    App, Error, Result,
    cli::Outcome,
    clock::{Clock as _, SystemClock},
    config::{ClamdAddress, Config, Scanner, ScannerMode},
    rng::{EntropyRng, SystemEntropy},
    scanner, server, shutdown,
    vault::scan::VaultDesk,
};

/// More bytes than are ever on their way.
const UNHURRIED_BYTES: u64 = 1 << 50;

/// Uploads files, has them scanned and downloads them, beside what clamd, the processor and the disk can do at best.
#[derive(Debug, Args)]
pub(super) struct Vault {
    /// The databases to run on.
    #[arg(long, value_enum, default_value = "sqlite")]
    engine: EngineChoice,
    /// Where clamd listens: the path of its socket, or an address and port.
    #[arg(long, value_name = "ADDRESS", env = "SIGILO_TEST_CLAMD")]
    clamd: Option<String>,
    /// How many files of a round.
    #[arg(long, value_name = "N", default_value = "24", value_parser = clap::value_parser!(u16).range(1..=1000))]
    files: u16,
    /// The length of a file in bytes, before it is encrypted.
    #[arg(long, value_name = "N", default_value = "10485760", value_parser = clap::value_parser!(u64).range(files::SHORTEST..=100 << 20))]
    bytes: u64,
    /// How many files are uploaded, and how many looked into, at once.
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u16).range(1..=64))]
    at_once: u16,
    /// How often ours and the ceiling take turns.
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Uploads to hold open half way.
    #[arg(long, value_name = "N", default_value = "64", value_parser = clap::value_parser!(u16).range(1..=1000))]
    held: u16,
    /// Downloads of one file, one after the other.
    #[arg(long, value_name = "N", default_value = "200", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    downloads: u16,
    /// What the files' noise is made from [default: another one each time].
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    ground: Ground,
    /// Only the JSON document on stdout; the table goes to stderr.
    #[arg(long)]
    json: bool,
}

impl Vault {
    pub(super) async fn run(self) -> Result<Outcome> {
        let progress = Progress::new();
        ground::check_open_files(self.at_once, (2 * self.held).into())?;
        let scanner = self.scanner()?;
        let state = scanner::Engine::clamd(&scanner)?.state().await;
        let clamd = state.map_err(|_| Error::internal("clamd does not answer at this address"))?;
        let seed = self.seed.unwrap_or_else(|| EntropyRng(&SystemEntropy).next_u64());
        let mut noise = Noise::new(seed, usize::try_from(self.bytes).map_err(Error::internal)?);
        let (mut machine, mut engines) = (None, Vec::new());
        for engine in self.engine.names() {
            let stores = Stores::make(engine, &self.ground).await?;
            let ran = self.run_on(&stores, &scanner, &mut noise, &progress).await;
            machine.get_or_insert_with(|| Machine::here(stores.folder.path()));
            let removed = stores.remove().await;
            engines.push(ran?);
            removed?;
        }
        let machine = machine.ok_or_else(|| Error::internal("no engine ran"))?;
        let settings = Settings {
            files: self.files,
            bytes: self.bytes,
            at_once: self.at_once,
            held: self.held,
            downloads: self.downloads,
            seed,
        };
        let report = Report { machine, clamd, settings, aims: report::AIMS, engines };
        print(&report, &report.table(), self.json)?;
        Ok(Outcome::Done)
    }

    /// How the server's scanner is set.
    fn scanner(&self) -> Result<Scanner> {
        let clamd = self.clamd.clone().ok_or_else(|| {
            Error::internal("give a clamd as --clamd or in SIGILO_TEST_CLAMD, or run 'cargo xtask bench'")
        })?;
        Ok(Scanner { clamd: Some(clamd), concurrency: self.at_once.into(), ..Scanner::default() })
    }

    async fn run_on(
        &self,
        stores: &Stores,
        scanner: &Scanner,
        noise: &mut Noise,
        progress: &Progress,
    ) -> Result<Engine> {
        progress.say(&format!("on {}", stores.engine));
        let (made, _) = ground::prepare(stores, (self.at_once, 0), 0, progress).await?;
        let server = Running::serve(stores.folder.path(), &stores.url, &self.settings(scanner)).await?;
        let api = Api::new(&server.address)?;
        progress.say(&format!("{} uploads held open half way", self.held));
        let spool = Config::for_data(stores.folder.path()).spool_dir()?;
        let held = (self.held.into(), spool.as_path());
        let cost = load::hold(&api, &made, noise, held, || server.resident()).await?;
        let address = scanner.address()?;
        let (scan, file) = self.against_clamd(&api, &made, noise, &address, progress).await?;
        let peak_rss_kib = server.peak()? / 1024;
        let download = self.download(&api, &made, noise, (file, stores.folder.path()), progress).await?;
        server.stop().await?;
        let without_engine = self.without_engine(stores, &made, noise, progress).await?;
        let memory = Memory::of(self.held, &cost, peak_rss_kib);
        Ok(Engine { engine: stores.engine, scan, without_engine, memory, download })
    }

    /// What the server is told beside what every run tells it.
    fn settings(&self, scanner: &Scanner) -> Vec<(&'static str, String)> {
        vec![
            ("SIGILO__SCANNER__CLAMD", scanner.clamd.clone().unwrap_or_default()),
            ("SIGILO__SCANNER__CONCURRENCY", scanner.concurrency.to_string()),
            ("SIGILO__VAULT__MAX_FILE_BYTES", self.bytes.to_string()),
            // One person has all uploads that are held open.
            ("SIGILO__VAULT__MAX_OPEN_UPLOADS", u32::MAX.to_string()),
            ("SIGILO__VAULT__MAX_OPEN_BYTES", UNHURRIED_BYTES.to_string()),
            // Those that are held open say nothing for as long as it takes to open them all.
            ("SIGILO__LIMITS__BODY_TIMEOUT_S", load::PATIENCE.as_secs().to_string()),
        ]
    }

    /// Files from their first byte to their verdict, and clamd alone. Gives one of the first pair's files, too.
    async fn against_clamd(
        &self,
        api: &Api,
        made: &Provisioned,
        noise: &mut Noise,
        clamd: &ClamdAddress,
        progress: &Progress,
    ) -> Result<(Compared, FileId)> {
        let pair = made.pairs.first().ok_or_else(|| Error::internal("there is no pair"))?;
        let scan_key = api.scan_key(pair).await?;
        let (mut rounds, mut any) = (Vec::new(), None);
        for round in 1..=self.rounds {
            progress.say(&format!("uploads with clamd, and clamd alone: {round} of {}", self.rounds));
            let load = noise.load(made, &scan_key, self.files.into(), SystemClock.now())?;
            let (ours, file) = api.upload(made, load).await?;
            any = Some(file);
            let lanes = made.pairs.len();
            let mut spoken: Vec<Vec<Vec<u8>>> = vec![Vec::new(); lanes];
            for lane in (0..lanes).cycle().take(self.files.into()) {
                spoken.get_mut(lane).into_iter().for_each(|lane| lane.push(ceiling::instream(&noise.file())));
            }
            let alone = ceiling::clamd(clamd, spoken).await?;
            rounds.push(self.round(ours, alone));
        }
        Ok((Compared::of(rounds), any.ok_or_else(|| Error::internal("there is no file"))?))
    }

    fn round(&self, ours: Duration, ceiling: Duration) -> Round {
        let bytes = f64::from(self.files) * self.bytes as f64;
        Round {
            bytes_per_s: bytes / ours.as_secs_f64().max(f64::EPSILON),
            ceiling_bytes_per_s: bytes / ceiling.as_secs_f64().max(f64::EPSILON),
        }
    }

    /// Downloads of a file by its reader, and of as many bytes from a bare server.
    async fn download(
        &self,
        api: &Api,
        made: &Provisioned,
        noise: &mut Noise,
        (file, folder): (FileId, &Path),
        progress: &Progress,
    ) -> Result<Download> {
        progress.say(&format!("{} downloads, and of a bare server", self.downloads));
        let blob = noise.sealed()?.blob;
        let path = folder.join("bare");
        std::fs::write(&path, &blob).map_err(Error::internal)?;
        let bare = Running::echo(Some(&path)).await?;
        let bare_api = Api::new(&bare.address)?;
        let content = format!("/api/chat/files/{file}/content/");
        let reader = made.pairs.first().map(|pair| pair.receiver.token.as_str());
        // Not counted: the connections are made.
        api.first_byte(&content, reader, blob.len()).await?;
        bare_api.first_byte(echo::FILE, None, blob.len()).await?;
        let (mut ours, mut theirs) = (Times::default(), Times::default());
        for _ in 0..self.downloads {
            ours.note(api.first_byte(&content, reader, blob.len()).await?);
            theirs.note(bare_api.first_byte(echo::FILE, None, blob.len()).await?);
        }
        bare.stop().await?;
        Ok(Download { first_byte: ours.percentiles(), bare_first_byte: theirs.percentiles() })
    }

    /// The server in this process with a scan worker that has no engine, and the bare work.
    async fn without_engine(
        &self,
        stores: &Stores,
        made: &Provisioned,
        noise: &mut Noise,
        progress: &Progress,
    ) -> Result<Compared> {
        let mut config = Config::for_data(stores.folder.path());
        config.storage.database_url = Some(stores.url.clone());
        config.vault.max_file_bytes = self.bytes;
        (config.vault.max_open_uploads, config.vault.max_open_bytes) = (u32::MAX, UNHURRIED_BYTES);
        let anywhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        (config.server.listen, config.server.metrics_listen) = (anywhere, anywhere);
        // The server's own worker has clamd; where it waits for one of another process, ours is the only one.
        config.scanner.mode = ScannerMode::Separate;
        config.scanner.concurrency = self.at_once.into();
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let (phase, watch) = shutdown::channel();
        let app = App::open(config.clone(), clock.clone(), entropy.clone(), watch.clone()).await?;
        let desk = Arc::new(VaultDesk::new(Arc::clone(&app)));
        let running = server::start(app, phase)?;
        let worker = scanner::Worker::new(desk, scanner::Engine::Null, config, clock, entropy);
        let working = tokio::spawn(worker.run(watch));
        let api = Api::new(&running.address.to_string())?;
        let compared = self.against_bare_work(&api, made, noise, stores.folder.path(), progress).await;
        running.stop().await;
        working.await.map_err(Error::internal)?;
        compared
    }

    async fn against_bare_work(
        &self,
        api: &Api,
        made: &Provisioned,
        noise: &mut Noise,
        folder: &Path,
        progress: &Progress,
    ) -> Result<Compared> {
        let pair = made.pairs.first().ok_or_else(|| Error::internal("there is no pair"))?;
        let scan_key = api.scan_key(pair).await?;
        let mut rounds = Vec::new();
        for round in 1..=self.rounds {
            progress
                .say(&format!("uploads without an engine, and the bare work: {round} of {}", self.rounds));
            let load = noise.load(made, &scan_key, self.files.into(), SystemClock.now())?;
            let blobs: Vec<_> = load.iter().flatten().map(|file| (file.key.clone(), file.blob())).collect();
            let (ours, _) = api.upload(made, load).await?;
            let folder = folder.to_owned();
            let bare = tokio::task::spawn_blocking(move || ceiling::sequence(&folder, &blobs));
            rounds.push(self.round(ours, bare.await.map_err(Error::internal)??));
        }
        Ok(Compared::of(rounds))
    }
}
