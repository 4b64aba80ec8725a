//! The clock of the demo's server. The story needs an evening, a night and a morning, and nobody waits for them: the demo
//! turns the clock of the server it has started, through the server's standard input, a line of seconds a turn.
//!
//! A server whose clock anybody can turn would be no witness of any time, and its hours no hours. So it is no endpoint
//! and no setting, and only a server that nobody else can reach, on a folder that the demo has made for itself, takes it.

use std::{path::Path, sync::Arc, time::Duration};

use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::{
    Error, Result,
    clock::{SharedClock, TurnedClock},
    config::Config,
};

/// What the names of the demo's folders begin with.
pub(super) const PREFIX: &str = "sigilo-demo-";
/// The file in the demo's folder that says whose it is.
pub(super) const MARK: &str = "made-by-sigilo-demo";
/// What the server's log says of a turn.
pub(super) const TURNED: &str = "the demo's clock was turned";
/// The most one turn may be.
const LONGEST: Duration = Duration::from_hours(48);

/// Whether a server of this configuration may have its clock turned.
///
/// # Errors
/// Why it may not.
pub(in crate::cli) fn allowed(config: &Config) -> Result<()> {
    let only =
        |what: &str| Err(Error::internal(format!("--demo-clock is for the server of 'sigilo demo': {what}")));
    let listeners = [config.server.listen, config.server.metrics_listen];
    if !listeners.iter().all(|address| address.ip().is_loopback()) {
        return only("it listens on loopback alone");
    }
    let storage = &config.storage;
    if storage.database_url.is_some() || storage.database_url_file.is_some() {
        return only("its database is in its data folder");
    }
    if !is_the_demos(&storage.data) {
        return only("its data folder is a temporary one that the demo has made");
    }
    Ok(())
}

/// Whether a data folder is in a temporary folder that the demo has made.
fn is_the_demos(data: &Path) -> bool {
    let data = std::path::absolute(data).unwrap_or_default();
    let Some(made) = data.parent().and_then(|folder| folder.canonicalize().ok()) else { return false };
    let temporary = std::env::temp_dir().canonicalize().ok();
    let named = made.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
    named && made.parent() == temporary.as_deref() && made.join(MARK).is_file()
}

/// A clock that goes ahead by what standard input says.
pub(in crate::cli) fn keep_turning() -> SharedClock {
    let clock = Arc::new(TurnedClock::default());
    tokio::spawn(turn(Arc::clone(&clock)));
    clock
}

async fn turn(clock: Arc<TurnedClock>) {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match line.trim().parse().map(Duration::from_secs) {
            Ok(by) if by <= LONGEST => {
                clock.turn(by);
                tracing::info!(seconds = by.as_secs(), "{TURNED}");
            }
            _ => tracing::warn!("a turn of the clock is a number of seconds, at most two days"),
        }
    }
}
