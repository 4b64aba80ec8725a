//! Files: where they are kept, and what looks into them.

use std::{os::unix::fs::FileTypeExt as _, time::Duration};

use chrono::NaiveDateTime;
use sigilo_wire::Timestamp;

use super::checks::{fault, folder};
use crate::{
    Error, Result,
    config::{ClamdAddress, Config, Scanner, ScannerMode},
    scanner::{Engine, EngineState},
    vault::Objects,
};

/// The maker has new signatures some times a day: older ones show that nobody fetches them.
const STALE: Duration = Duration::from_hours(7 * 24);
/// How long clamd may take to say its version, in seconds.
const PATIENCE_S: u64 = 5;

/// Whether the object store answers.
pub(super) async fn object_store(config: &Config) -> Result<String> {
    if config.vault.object_store_url.is_none() {
        return folder(&config.storage.data.join("objects"));
    }
    match Objects::open(config)?.ping().await {
        Ok(()) => Ok("answers".to_owned()),
        Err(Error::Unavailable(problem)) => Err(fault(format!(
            "{problem}: files are neither taken nor given out; check vault.object_store_url, what its options file says, \
             and the network"
        ))),
        Err(error) => Err(error),
    }
}

/// Whether clamd answers and knows today's signatures.
pub(super) async fn scanner(config: &Config, now: Timestamp) -> Result<String> {
    let settings = &config.scanner;
    let address = settings.address()?;
    let write_timeout_s = settings.write_timeout_s.min(PATIENCE_S);
    let engine = Engine::clamd(&Scanner { write_timeout_s, ..settings.clone() })?;
    if let Ok(state) = engine.state().await {
        return signatures(&state, now);
    }
    let (at, is_there) = match &address {
        ClamdAddress::Unix(path) => {
            let found = path.metadata().is_ok_and(|found| found.file_type().is_socket());
            (path.display().to_string(), found)
        }
        ClamdAddress::Tcp(address) => (address.to_string(), true),
    };
    if settings.clamd.is_none() && !is_there {
        return Ok(format!(
            "no clamd at {at}: files wait, and nobody opens them; install clamav-daemon, or name another as scanner.clamd"
        ));
    }
    let who = match settings.mode {
        ScannerMode::InProcess => "this user",
        ScannerMode::Separate => "the user of 'sigilo scanner', as whom this is to be asked,",
    };
    Err(fault(format!(
        "clamd does not answer at {at}: files wait, and nobody opens them; is clamav-daemon running, is scanner.clamd its \
         LocalSocket, and is {who} in its group?"
    )))
}

/// What an engine knows, if that is enough.
fn signatures(state: &EngineState, now: Timestamp) -> Result<String> {
    let EngineState { engine, database, official } = state;
    if !official {
        return Err(fault(format!(
            "{engine} has none of its maker's signatures and finds next to nothing: install clamav-freshclam"
        )));
    }
    // `27500/Thu Jan  1 00:00:00 2026`, in the time zone of clamd's machine: no more than a day off.
    let made = database.split_once('/').and_then(|(number, made)| {
        let made = NaiveDateTime::parse_from_str(made, "%a %b %e %H:%M:%S %Y").ok()?;
        Some((number, Timestamp::from_micros(made.and_utc().timestamp_micros())))
    });
    let Some((number, made)) = made else {
        return Ok(format!("{engine}, signatures {database}"));
    };
    let age = now.since(made);
    let days = age.as_secs() / (24 * 3600);
    if age > STALE {
        return Err(fault(format!(
            "the signatures of {engine}, {number}, are {days} days old and miss what is new: is clamav-freshclam running?"
        )));
    }
    Ok(format!("{engine}, signatures {number}, {days} days old"))
}

#[cfg(test)]
pub(super) mod tests {
    use std::{
        io::{Read as _, Write as _},
        os::unix::net::UnixListener,
        path::Path,
    };

    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    /// What a clamd of today says of itself: no machine of ours has the maker's signatures.
    pub(in super::super) fn current() -> String {
        let now = chrono::DateTime::from_timestamp(SystemClock.now().seconds(), 0).unwrap();
        format!("ClamAV 1.4.3/27500/{}\0", now.format("%a %b %e %H:%M:%S %Y"))
    }

    /// Says this to whoever asks at `socket`, until the test's process ends.
    pub(in super::super) fn answer(socket: &Path, reply: String) {
        let listener = UnixListener::bind(socket).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let asked = stream.read(&mut [0; 64]).unwrap();
                assert!(asked > 0);
                let _gone = stream.write_all(reply.as_bytes());
            }
        });
    }

    #[test]
    fn signatures_that_nobody_fetches_are_found() {
        let state = |database: &str| EngineState {
            engine: "ClamAV 1.4.3".into(),
            database: database.into(),
            official: !database.is_empty(),
        };
        // 2026-01-08 12:00 UTC.
        let now = Timestamp::from_micros(1_767_873_600_000_000);
        let said = |database: &str| signatures(&state(database), now).map_err(|error| format!("{error:?}"));
        assert_eq!(
            said("27871/Wed Jan  7 09:00:00 2026").unwrap(),
            "ClamAV 1.4.3, signatures 27871, 1 days old"
        );
        assert!(said("27871/Thu Jan  1 13:00:00 2026").is_ok());
        let old = said("27871/Thu Jan  1 11:00:00 2026").unwrap_err();
        assert!(old.contains("7 days old") && old.contains("clamav-freshclam"), "{old}");
        let none = said("").unwrap_err();
        assert!(none.contains("none of its maker's signatures"), "{none}");
        assert_eq!(said("what is new").unwrap(), "ClamAV 1.4.3, signatures what is new");
    }

    #[tokio::test]
    async fn a_clamd_is_asked_and_one_that_is_not_there_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::for_data(folder.path());
        let socket = folder.path().join("clamd.sock");
        config.scanner.clamd = Some(socket.display().to_string());
        let now = SystemClock.now();
        let away = format!("{:?}", scanner(&config, now).await.unwrap_err());
        assert!(
            away.contains("does not answer") && away.contains(&config.scanner.clamd.clone().unwrap()),
            "{away}"
        );
        answer(&socket, current());
        let said = scanner(&config, now).await.unwrap();
        assert!(said.starts_with("ClamAV 1.4.3, signatures 27500, 0 days old"), "{said}");
    }

    #[tokio::test]
    async fn an_object_store_that_is_away_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::for_data(folder.path());
        let options = folder.path().join("options.toml");
        // Nobody listens at port 9 of this machine.
        let text = "aws_endpoint = \"http://127.0.0.1:9\"\naws_allow_http = \"true\"\naws_region = \"x\"\n\
                    aws_access_key_id = \"x\"\naws_secret_access_key = \"x\"\n";
        crate::config::write_private(&options, text.as_bytes()).unwrap();
        config.vault.object_store_url = Some("s3://files/clinic".into());
        config.vault.object_store_options_file = Some(options);
        let away = format!("{:?}", object_store(&config).await.unwrap_err());
        assert!(away.contains("vault.object_store_url"), "{away}");
    }
}
