//! Having files looked into while the server runs.

use std::sync::Arc;

use super::VaultDesk;
use crate::{Result, app::SharedApp, scanner};

/// Starts the scan worker of this server, or listens for one in a process of its own, as is configured. It ends when the
/// server drains, and [`App::close`](crate::App::close) waits for it.
///
/// # Errors
/// When clamd's address is none, or the socket for a scanner of its own process cannot be made.
pub fn start(app: &SharedApp) -> Result<()> {
    let desk = Arc::new(VaultDesk::new(Arc::clone(app)));
    let (clock, entropy) = (Arc::clone(&app.clock), Arc::clone(&app.entropy));
    let working = scanner::start(Arc::clone(&desk) as _, &app.config, clock, entropy, app.shutdown.clone())?;
    app.keep(tokio::spawn(async move {
        if let Err(error) = working.await {
            tracing::error!(%error, "the scan worker failed");
        }
        if let Err(error) = desk.gone().await {
            tracing::warn!(%error, "files that were handed over to this worker wait until it is missed");
        }
    }));
    Ok(())
}
