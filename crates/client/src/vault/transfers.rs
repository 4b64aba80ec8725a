//! Transfers beside the engine's acts: they take as long as the line takes, and advance no session.

use std::{cell::RefCell, collections::HashSet, rc::Rc};

use futures_util::future::{FutureExt as _, LocalBoxFuture};
use sigilo_wire::ClientMessageId;
use tokio::{
    sync::{Notify, oneshot},
    task::AbortHandle,
};

use crate::{Client, Error, Result, engine::Engine};

/// The transfers under way.
#[derive(Default)]
pub(crate) struct Transfers {
    tasks: RefCell<Vec<AbortHandle>>,
    /// That one has ended, and may have planned something.
    ended: Rc<Notify>,
    /// Uploads that somebody brings: nobody else does at the same time.
    uploads: RefCell<HashSet<ClientMessageId>>,
}

/// That somebody brings an upload.
pub(super) struct Claim {
    engine: Rc<Engine>,
    id: ClientMessageId,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.engine.transfers.uploads.borrow_mut().remove(&self.id);
    }
}

impl Transfers {
    /// Runs a transfer until it ends or the engine does.
    pub(super) fn start(&self, work: impl Future<Output = ()> + 'static) {
        let mut tasks = self.tasks.borrow_mut();
        tasks.retain(|task| !task.is_finished());
        let ended = Rc::clone(&self.ended);
        let task = tokio::task::spawn_local(async move {
            work.await;
            ended.notify_one();
        });
        tasks.push(task.abort_handle());
    }

    /// Waits until one has ended.
    pub(crate) async fn ended(&self) {
        self.ended.notified().await;
    }

    /// Whether somebody brings an upload.
    pub(super) fn is_claimed(&self, id: ClientMessageId) -> bool {
        self.uploads.borrow().contains(&id)
    }

    /// Ends them all: what they have brought so far is kept.
    pub(crate) fn stop(&self) {
        for task in self.tasks.borrow_mut().drain(..) {
            task.abort();
        }
    }
}

impl Engine {
    /// Takes an upload to be brought; `None` while somebody does already.
    pub(super) fn claim_upload(self: &Rc<Self>, id: ClientMessageId) -> Option<Claim> {
        let first = self.transfers.uploads.borrow_mut().insert(id);
        first.then(|| Claim { engine: Rc::clone(self), id })
    }
}

impl Client {
    /// Does something beside the engine's acts, and waits for it. Whoever stops waiting stops only that.
    pub(super) async fn beside<T: Send + 'static>(
        &self,
        work: impl FnOnce(Rc<Engine>) -> LocalBoxFuture<'static, Result<T>> + Send + 'static,
    ) -> Result<T> {
        let answered = self
            .act(move |engine| {
                let (answer, answered) = oneshot::channel();
                let work = work(Rc::clone(&engine));
                engine.transfers.start(async move {
                    let _asker_gone = answer.send(work.await);
                });
                std::future::ready(answered).boxed_local()
            })
            .await?;
        answered.await.map_err(|_| Error::Closed)?
    }
}
