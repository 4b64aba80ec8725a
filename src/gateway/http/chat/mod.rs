//! `/api/chat/`: contacts, blocks, conversations, record seals, messages, read marks, files, search.

mod blocks;
mod break_glass;
mod contacts;
mod conversations;
mod emergency;
mod files;
mod marks;
mod messages;
mod participants;
mod range;
mod scans;
mod seals;
mod search;
pub(super) mod uploads;

use serde_json::json;
use sigilo_wire::ErrorCode;
use utoipa_axum::router::OpenApiRouter;

use crate::{Error, Result, app::SharedApp};

/// The area's routes.
pub fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new()
        .merge(contacts::routes())
        .merge(blocks::routes())
        .merge(conversations::routes())
        .merge(participants::routes())
        .merge(seals::routes())
        .merge(scans::routes())
        .merge(messages::routes())
        .merge(marks::routes())
        .merge(uploads::routes())
        .merge(files::routes())
        .merge(search::routes())
        .merge(emergency::routes())
        .merge(break_glass::routes())
}

/// Refuses the first of these filters that is given: the server cannot see what they look for.
fn refuse_encrypted(filters: &[(&str, bool)]) -> Result<()> {
    match filters.iter().find(|(_, given)| *given) {
        Some((field, _)) => Err(Error::invalid(ErrorCode::EncryptedField, json!({"field": field}))),
        None => Ok(()),
    }
}
