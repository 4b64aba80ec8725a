//! `/api/chat/`: contacts, conversations, record seals, messages, read marks.

mod contacts;
mod conversations;
mod marks;
mod messages;
mod participants;
mod seals;

use utoipa_axum::router::OpenApiRouter;

use crate::app::SharedApp;

/// The area's routes.
pub fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new()
        .merge(contacts::routes())
        .merge(conversations::routes())
        .merge(participants::routes())
        .merge(seals::routes())
        .merge(messages::routes())
        .merge(marks::routes())
}
