//! Reading the history from the server: in the background of a chat, or before it with a bar.

use indicatif::{ProgressBar, ProgressStyle};
use sigilo_client::{Client, Error as ClientError, RestoreProgress};
use tokio::sync::mpsc;

use super::Session;
use crate::cli::chat::output::Output;

/// What the reading has to say.
pub(super) enum News {
    /// How far it is.
    Progress(RestoreProgress),
    /// It has come to its end.
    Ended(Result<RestoreProgress, ClientError>),
}

/// A reading in the background of a chat.
pub(super) struct Restoring {
    sender: mpsc::UnboundedSender<News>,
    running: bool,
    /// Tenths that were told.
    told: u64,
}

impl Restoring {
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<News>) {
        let (sender, news) = mpsc::unbounded_channel();
        (Self { sender, running: false, told: 0 }, news)
    }
}

impl Session {
    /// Reads the history in the background, unless that is under way.
    pub(super) fn restore(&mut self) {
        if std::mem::replace(&mut self.restoring.running, true) {
            return;
        }
        self.restoring.told = 0;
        let (client, sender) = (self.client.clone(), self.restoring.sender.clone());
        tokio::spawn(async move {
            let told = sender.clone();
            let ended = client.restore(move |progress| drop(told.send(News::Progress(*progress)))).await;
            let _chat_over = sender.send(News::Ended(ended));
        });
    }

    /// Shows how far the reading is: to people at each tenth.
    pub(super) async fn tell_restoring(&mut self, news: News) {
        match news {
            News::Progress(progress) => {
                let tenth = progress.messages_done * 10 / progress.messages.max(1);
                if !self.screen.asks() || tenth > self.restoring.told {
                    self.restoring.told = tenth;
                    self.screen.show(&Output::restoring(&progress));
                }
            }
            News::Ended(Ok(progress)) => {
                self.restoring.running = false;
                if let Err(error) = self.list().await {
                    tracing::debug!(%error, "the list of conversations stays as it was");
                }
                self.screen.show(&Output::Restored { messages: progress.new });
            }
            News::Ended(Err(error)) => {
                self.restoring.running = false;
                self.screen.show(&Output::error(&error));
                self.note("the history was not read to its end: /restore goes on");
            }
        }
    }
}

/// Reads the history before the chat begins, with a bar.
pub(in crate::cli::chat) async fn restore_first(client: &Client) -> Result<RestoreProgress, ClientError> {
    let bar = ProgressBar::new(0);
    // The template is a constant: where it were wrong, the plain bar would do.
    if let Ok(style) = ProgressStyle::with_template("history {bar:30} {pos}/{len} messages {msg} {eta}") {
        bar.set_style(style);
    }
    let drawn = bar.clone();
    let read = client
        .restore(move |progress| {
            drawn.set_length(progress.messages);
            drawn.set_position(progress.messages_done);
            drawn.set_message(format!(
                "{}/{} conversations",
                progress.conversations_done, progress.conversations
            ));
        })
        .await;
    bar.finish_and_clear();
    read
}
