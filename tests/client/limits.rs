//! A device that writes faster than it may waits as long as the server says, and drops nothing.

use std::time::Duration;

use sigilo_client::{NewConversation, SendState};

use crate::{people::World, support::both_engines_with};

#[tokio::test(flavor = "multi_thread")]
async fn messages_beyond_the_limit_wait_on_the_device_and_arrive_in_order() {
    both_engines_with(
        |config| config.limits.messages_per_minute = 3,
        async |server| {
            let world = World::new(server).await;
            let (ana, mut maria) = (world.ana().await, world.maria().await);
            let conversation =
                ana.client.start_conversation(maria.user, NewConversation::default()).await.unwrap().id;
            let texts: Vec<String> = (1..=7).map(|n| format!("mensaje {n}")).collect();
            let mut waiting = 0;
            for text in &texts {
                let sent = ana.client.send_text(conversation, text).await.unwrap();
                match sent.state {
                    SendState::Accepted(_) => {}
                    SendState::Queued { .. } => waiting += 1,
                    other => panic!("{other:?}"),
                }
            }
            assert!(waiting >= 4, "only {waiting} wait");
            // One more each 20 seconds.
            for _ in 0..waiting {
                server.clock.advance(Duration::from_secs(21));
                ana.client.sync_offline().await.unwrap();
            }
            let history = ana.client.history(conversation, 20).await.unwrap();
            assert!(history.iter().all(|message| message.message_id.is_some()), "{history:?}");
            maria.client.sync_offline().await.unwrap();
            for text in &texts {
                assert_eq!(maria.next_text().await, *text);
            }
            ana.end().await;
            maria.end().await;
        },
    )
    .await;
}
