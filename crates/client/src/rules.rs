//! What the clinic's rules would say.

use futures_util::FutureExt as _;
use sigilo_wire::policy::{ExplainPolicy, Explanation};

use crate::{Client, Result};

impl Client {
    /// Asks whether an act would be allowed, when, and why; nothing is done. About oneself; clinic staff about anyone of
    /// their clinic.
    ///
    /// # Errors
    /// [`Error::Server`](crate::Error::Server) with `not_found` for what does not exist for the person, `invalid_field`,
    /// and `forbidden` about others to all but clinic staff.
    pub async fn explain(&self, question: ExplainPolicy) -> Result<Explanation> {
        self.act(move |engine| async move { engine.api.explain(&question).await }.boxed_local()).await?
    }
}
