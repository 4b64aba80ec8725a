//! The vault: files that are encrypted on the device that sends them. The server keeps blobs it cannot open, and what it
//! is told of them.
//!
//! An upload is announced ([`NewFile`](sigilo_wire::vault::NewFile)), allowed by the rules like a message, written to the
//! [`Spool`] as it comes, whole or in pieces, and handed to the object store ([`Objects`]) when all of it is there and is
//! what was announced. Its row, its audit entry and its event are one transaction, after the object is durable. What an
//! upload leaves behind when something breaks off is swept: an object without a row is never for ever, and there is no row
//! without an object.
//!
//! Nothing is given out before its scan, nor when its time is over, nor what needs the patient's consent without it. Each
//! person may be allowed only so many downloads, and who downloads a lot at once is noticed.

mod announce;
mod consent;
pub(crate) mod destroy;
mod downloads;
pub(crate) mod files;
mod finish;
mod links;
pub mod objects;
pub mod quarantine;
mod read;
mod receive;
pub mod scan;
mod spool;
pub(crate) mod store;

pub use announce::{Begun, Upload, begin};
pub use consent::{authorize_consent, consent};
pub use downloads::{Download, Downloads, Way};
pub use finish::{keep_sweeping, sweep};
pub use links::{Link, open as open_link};
pub use objects::{Kept, Objects, Placed};
pub use read::{Readable, authorize_read, content, show};
pub use receive::{Checksum, Progress, abandon, append, progress, upload};
pub use spool::{Next, Spool, Turn, Writing};

use tokio::io::AsyncRead;

use crate::{App, Result};

/// The blob of a file, from its beginning.
///
/// # Errors
/// `file_not_available` when it was destroyed; `unavailable` when a store is away.
pub(crate) async fn open(app: &App, file: &files::File) -> Result<impl AsyncRead + Send + 'static + use<>> {
    let key = app.keystore.get(file.row.data_key_id).await?;
    app.objects.open_whole(&key, &file.kept()?).await
}
