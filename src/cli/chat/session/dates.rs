//! Days as a person types them.

use sigilo_client::Error as ClientError;
use sigilo_wire::Timestamp;

/// The beginning of a day, UTC, from YYYY-MM-DD.
pub(super) fn day(text: &str) -> Result<Timestamp, ClientError> {
    format!("{text}T00:00:00.000000Z")
        .parse()
        .map_err(|_| ClientError::Content("a day is written YYYY-MM-DD"))
}
