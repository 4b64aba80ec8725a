//! Sleeping until a message is due, to some ten microseconds. The runtime's timers count whole milliseconds, which is
//! as long as what is measured: a message would be sent late, and its lateness would count as the server's.

use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc},
    thread,
};

use tokio::{sync::oneshot, time::Instant};

use crate::{Error, Result};

/// Who waits until when.
type Waiting = (Instant, oneshot::Sender<()>);

/// A thread that wakes senders. It ends with its last owner.
#[derive(Clone, Debug)]
pub(super) struct Pacer(Arc<mpsc::Sender<Waiting>>);

impl Pacer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives none.
    pub(super) fn start() -> Result<Self> {
        let (sender, receiver) = mpsc::channel();
        thread::Builder::new()
            .name("pacer".to_owned())
            .spawn(move || keep_time(&receiver))
            .map_err(Error::internal)?;
        Ok(Self(Arc::new(sender)))
    }

    /// Returns when it is time.
    pub(super) async fn sleep_until(&self, due: Instant) {
        let (wake, woken) = oneshot::channel();
        // The thread ends after its last owner only.
        if self.0.send((due, wake)).is_ok() {
            let _ = woken.await;
        }
    }
}

fn keep_time(receiver: &mpsc::Receiver<Waiting>) {
    let mut waiting: BTreeMap<(Instant, u64), oneshot::Sender<()>> = BTreeMap::new();
    let mut number = 0u64;
    loop {
        let next = match waiting.first_key_value() {
            Some(((due, _), _)) => receiver.recv_timeout(due.saturating_duration_since(Instant::now())),
            None => receiver.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
        };
        match next {
            Ok((due, wake)) => {
                number += 1;
                waiting.insert((due, number), wake);
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
        let now = Instant::now();
        while let Some(first) = waiting.first_entry()
            && first.key().0 <= now
        {
            // Who was woken by something else in the meantime no longer listens.
            let _ = first.remove().send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn sleepers_wake_in_the_order_of_their_times_and_never_early() {
        let (pacer, start) = (Pacer::start().unwrap(), Instant::now());
        let sleep = async |millis| {
            pacer.sleep_until(start + Duration::from_millis(millis)).await;
            Instant::now()
        };
        let (later, sooner, past) = tokio::join!(sleep(30), sleep(10), sleep(0));
        assert!(past <= sooner && sooner <= later);
        assert!(sooner >= start + Duration::from_millis(10) && later >= start + Duration::from_millis(30));
    }
}
