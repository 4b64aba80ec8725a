//! Ana and María on the client SDK, which repeats, repairs and recognises by itself.

use sigilo_client::{Client, ClientEvent, NewConversation, ShownMessage};
use sigilo_wire::ConversationId;
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use crate::{
    people::{DEADLINE, Device, World, check},
    support::TestServer,
};

/// A client that was refused several times waits up to a minute before it tries again.
const LONGEST_WAIT: std::time::Duration = std::time::Duration::from_secs(120);

/// Two people who know each other; their programs do not run.
pub struct Friends {
    folder: TempDir,
    ana: std::path::PathBuf,
    maria: std::path::PathBuf,
    conversation: ConversationId,
}

/// Ana writes, María reads.
pub struct Talk {
    _folder: TempDir,
    maria: Client,
    ana: Client,
    conversation: ConversationId,
    stop: watch::Sender<bool>,
    writing: JoinHandle<usize>,
}

impl Friends {
    pub async fn meet(server: &TestServer) -> Self {
        let world = World::new(server).await;
        let (ana, maria) = (world.ana().await, world.maria().await);
        let conversation =
            ana.client.start_conversation(maria.user, NewConversation::default()).await.unwrap().id;
        let (ana, maria) = (ana.end().await, maria.end().await);
        Self { folder: world.folder, ana, maria, conversation }
    }

    pub async fn talk(self) -> Talk {
        let (ana, maria) = (Device::again(self.ana).await, Device::again(self.maria).await);
        maria.client.connect().await.unwrap();
        ana.client.connect().await.unwrap();
        let (stop, stopped) = watch::channel(false);
        let writing = tokio::spawn(write(ana.client.clone(), self.conversation, stopped));
        Talk {
            _folder: self.folder,
            maria: maria.client,
            ana: ana.client,
            conversation: self.conversation,
            stop,
            writing,
        }
    }
}

/// Writes one after the other; gives how many were accepted.
async fn write(client: Client, conversation: ConversationId, stop: watch::Receiver<bool>) -> usize {
    let mut events = client.events().await.unwrap();
    let mut count = 0;
    while !*stop.borrow() {
        let sent = client.send_text(conversation, format!("line {count}")).await.unwrap();
        if sent.accepted().is_none() {
            let accepted = async {
                loop {
                    match events.next().await.unwrap() {
                        ClientEvent::Accepted(m) if m.client_message_id == sent.client_message_id => return,
                        ClientEvent::Refused { reason, .. } => panic!("refused: {reason}"),
                        ClientEvent::LoggedOut => panic!("logged out"),
                        _ => {}
                    }
                }
            };
            tokio::time::timeout(LONGEST_WAIT, accepted)
                .await
                .expect("what waits is sent when the server is back");
        }
        count += 1;
    }
    count
}

impl Talk {
    /// Ends it: both have every message, once, in order, and everything about it is good. Gives how many.
    pub async fn end(self) -> usize {
        self.stop.send_replace(true);
        let count = self.writing.await.unwrap();
        let mut histories = Vec::new();
        for client in [&self.ana, &self.maria] {
            let end = Instant::now() + DEADLINE;
            let history = loop {
                let history = client.history(self.conversation, u32::MAX).await.unwrap();
                if history.len() >= count {
                    break history;
                }
                assert!(Instant::now() < end, "{} of {count} messages came", history.len());
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            };
            history.iter().for_each(check);
            let texts: Vec<String> =
                history.iter().filter_map(ShownMessage::text).map(str::to_owned).collect();
            histories.push(texts);
        }
        let expected: Vec<String> = (0..count).map(|number| format!("line {number}")).collect();
        assert_eq!(histories, [expected.clone(), expected]);
        self.ana.shutdown().await.unwrap();
        self.maria.shutdown().await.unwrap();
        count
    }
}
