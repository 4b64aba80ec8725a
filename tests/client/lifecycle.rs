//! Time passes, servers restart, devices meet themselves.

use std::time::Duration;

use sigilo_client::{ClientEvent, NewConversation, SendOptions};
use sigilo_seal::Content;

use crate::{
    people::{Device, World, check},
    support::{Engine, TestServer, both_engines},
};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_expire_are_repaired_on_both_sides() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let (ana, mut maria) = (world.ana().await, world.maria().await);
        let conversation =
            ana.client.start_conversation(maria.user, NewConversation::default()).await.unwrap().id;
        let sent = ana.client.send_text(conversation, "antes").await.unwrap();
        check(sent.accepted().expect("accepted at once"));
        maria.client.sync_offline().await.unwrap();
        assert_eq!(maria.next_text().await, "antes");
        // Devices that are used now and then stay logged in.
        for _ in 0..2 {
            server.clock.advance(DAY * 24);
            ana.client.contacts().await.unwrap();
            maria.client.contacts().await.unwrap();
        }
        // After 48 days both signed prekeys have expired, and the record seal is old. Ana's device publishes
        // a new prekey and a new seal; María's device is left out, and reads by history.
        let sent = ana.client.send_text(conversation, "mientras").await.unwrap();
        check(sent.accepted().expect("repaired and accepted"));
        maria.client.fetch_history(conversation, 10).await.unwrap();
        let history = maria.client.history(conversation, 10).await.unwrap();
        let last = history.last().unwrap();
        assert_eq!(last.text(), Some("mientras"));
        check(last);
        // María's device publishes, and gets envelopes again.
        maria.client.check_keys().await.unwrap();
        let sent = ana.client.send_text(conversation, "después").await.unwrap();
        check(sent.accepted().expect("repaired and accepted"));
        maria.client.sync_offline().await.unwrap();
        assert_eq!(maria.next_text().await, "después");
        ana.end().await;
        maria.end().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_expires_leaves_the_devices_and_stays_in_the_record() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let (ana, mut maria) = (world.ana().await, world.maria().await);
        let conversation =
            ana.client.start_conversation(maria.user, NewConversation::default()).await.unwrap().id;
        let options = SendOptions { expires_in_s: 3600, ..SendOptions::default() };
        let sent = ana.client.send(conversation, Content::text("por una hora"), options).await.unwrap();
        check(sent.accepted().expect("accepted at once"));
        ana.client.send_text(conversation, "para siempre").await.unwrap();
        maria.client.sync_offline().await.unwrap();
        assert_eq!(maria.next_text().await, "por una hora");
        assert_eq!(maria.next_text().await, "para siempre");
        server.clock.advance(Duration::from_secs(3600));
        // María's device is looked after without anybody reading.
        maria.client.sync_offline().await.unwrap();
        maria.wait("the end", |event| matches!(event, ClientEvent::Expired { .. }).then_some(())).await;
        for device in [&ana, &maria] {
            // The server shows it to nobody any more.
            assert_eq!(device.client.fetch_history(conversation, 10).await.unwrap(), 1);
            let history = device.client.history(conversation, 10).await.unwrap();
            let shown: Vec<_> = history.iter().map(|message| (message.expired, message.text())).collect();
            assert_eq!(shown, [(true, None), (false, Some("para siempre"))]);
            assert!(history[0].is_verified());
        }
        let mut tx = server.app.db.read("test_record").await.unwrap();
        let (kept,) = sigilo::fetch_one!(&mut tx, (i64,), "SELECT COUNT(*) FROM messages").unwrap();
        assert_eq!(kept, 2, "the record stays");
        drop(tx);
        ana.end().await;
        maria.end().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_server_loses_nothing() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        println!("on {engine:?}");
        // The same port before and after.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = TestServer::start_with(engine, &|config: &mut sigilo::config::Config| {
            config.server.listen.set_port(port);
        })
        .await;
        let (mut ana, mut maria, conversation, _folder) = {
            let world = World::new(&server).await;
            let (mut ana, mut maria) = (world.ana().await, world.maria().await);
            let conversation =
                ana.client.start_conversation(maria.user, NewConversation::default()).await.unwrap().id;
            ana.connected().await;
            maria.connected().await;
            ana.client.send_text(conversation, "antes").await.unwrap();
            assert_eq!(maria.next_text().await, "antes");
            // The world borrows the server, which restarts; the profiles stay.
            (ana, maria, conversation, world.folder)
        };
        let restarting = server.restart();
        let (server, during) = tokio::join!(restarting, ana.client.send_text(conversation, "durante"));
        during.unwrap();
        for device in [&mut ana, &mut maria] {
            device.wait("reconnection", |event| matches!(event, ClientEvent::Connected).then_some(())).await;
        }
        assert_eq!(maria.next_text().await, "durante");
        maria.client.send_text(conversation, "después").await.unwrap();
        assert_eq!(ana.next_text().await, "después");
        assert_eq!(ana.client.history(conversation, 10).await.unwrap().len(), 3);
        ana.end().await;
        maria.end().await;
        server.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_socket_of_a_device_replaces_the_first() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let mut ana = world.ana().await;
        let path = ana.end().await;
        let copy = path.with_extension("copy");
        std::fs::copy(&path, &copy).unwrap();
        ana = Device::again(path).await;
        ana.connected().await;
        let mut other = Device::again(copy).await;
        other.connected().await;
        ana.wait("replacement", |event| matches!(event, ClientEvent::Replaced).then_some(())).await;
        other.end().await;
        ana.end().await;
    })
    .await;
}
