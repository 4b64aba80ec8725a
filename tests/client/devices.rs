//! Several devices of one person.

use serde_json::json;
use sigilo_client::{
    Client, ClientEvent, Error, LinkOptions, LinkText, Linking, NewConversation, Proof, Unlock,
};
use sigilo_seal::Manifest;
use sigilo_wire::{DeviceNumber, ErrorCode};

use crate::{
    people::{Device, World, check, key},
    support::{Engine, TestServer, both_engines, clinic::PASSWORD, proxy::Proxy},
};

/// A device that shows its text.
pub fn newcomer(world: &World<'_>, url: &str, name: &str) -> (Linking, std::path::PathBuf) {
    let path = world.folder.path().join(format!("{name}.profile"));
    (Client::begin_link(&path, key(), options(world, url, name)), path)
}

fn options(world: &World<'_>, url: &str, name: &str) -> LinkOptions {
    let server = url.parse().unwrap();
    LinkOptions { device_name: name.to_owned(), environment: world.environment(), server }
}

/// Links a new device to that of `old`, as two people who look at both screens.
pub async fn linked(world: &World<'_>, old: &Device, name: &str) -> Device {
    let (linking, path) = newcomer(world, &world.server.url, name);
    let read: LinkText = linking.text().to_string().parse().unwrap();
    assert_eq!(read.code(), linking.code(), "both screens show the same code");
    // The new device would wait for ten minutes if the old one failed.
    let both = tokio::try_join!(linking.finish(), old.client.approve_link(read, key()));
    let (client, number) = both.unwrap();
    assert_eq!(client.me().await.unwrap().device, number);
    Device::of(client, path).await
}

/// Whether a text arrives that is good in every check.
async fn receives(device: &mut Device, text: &str) {
    assert_eq!(device.next_text().await, text);
}

/// Waits until the user's devices have changed; gives who came and who left.
async fn devices_changed(device: &mut Device) -> (Vec<u8>, Vec<u8>) {
    let numbers = |list: &[DeviceNumber]| list.iter().map(|number| number.get()).collect::<Vec<u8>>();
    device
        .wait("change of devices", |event| match event {
            ClientEvent::DevicesChanged { added, removed } => Some((numbers(added), numbers(removed))),
            _ => None,
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_linked_device_sends_and_receives_like_the_first() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let (mut ana, mut maria) = (world.ana().await, world.maria().await);
        let conversation =
            ana.client.start_conversation(maria.user, NewConversation::default()).await.unwrap().id;
        ana.connected().await;
        maria.connected().await;
        ana.client.send_text(conversation, "desde el teléfono").await.unwrap();
        assert_eq!(maria.next_text().await, "desde el teléfono");
        let number = ana.client.safety_number(maria.user).await.unwrap();
        ana.client.confirm_identity(maria.user, &number).await.unwrap();

        let mut tablet = linked(&world, &ana, "tablet").await;
        assert_eq!(devices_changed(&mut ana).await, (vec![2], vec![]));
        let names: Vec<String> =
            tablet.client.devices().await.unwrap().into_iter().map(|device| device.name).collect();
        assert_eq!(names, ["", "tablet"]);
        // What the old device knew of others came along.
        assert!(tablet.client.safety_number(maria.user).await.unwrap().verified);
        assert_eq!(
            tablet.client.root_fingerprint().await.unwrap(),
            ana.client.root_fingerprint().await.unwrap()
        );
        // What was before the link is read through the seals made for the history key.
        tablet.client.fetch_history(conversation, 10).await.unwrap();
        tablet.connected().await;

        // From others to both, from each to the other and to others.
        maria.client.send_text(conversation, "¿cómo está?").await.unwrap();
        assert_eq!(ana.next_text().await, "¿cómo está?");
        assert_eq!(tablet.next_text().await, "¿cómo está?");
        let sent = tablet.client.send_text(conversation, "mejor").await.unwrap();
        check(sent.accepted().expect("accepted at once"));
        assert_eq!(maria.next_text().await, "mejor");
        assert_eq!(ana.next_text().await, "mejor");
        ana.client.send_text(conversation, "y de pie").await.unwrap();
        assert_eq!(maria.next_text().await, "y de pie");
        assert_eq!(tablet.next_text().await, "y de pie");
        let history = tablet.client.history(conversation, 10).await.unwrap();
        let texts: Vec<_> = history.iter().filter_map(|message| message.text()).collect();
        assert_eq!(texts, ["desde el teléfono", "¿cómo está?", "mejor", "y de pie"]);

        let path = tablet.end().await;
        let tablet = Device::again(path).await;
        assert_eq!(tablet.client.history(conversation, 10).await.unwrap().len(), 4);
        for device in [ana, tablet, maria] {
            device.end().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_links_a_device_knows_the_passphrase_and_the_server() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let ana = world.ana().await;
        let (linking, _) = newcomer(&world, &server.url, "tablet");
        let wrong = ana.client.approve_link(linking.text().clone(), Unlock::Key([8; 32])).await;
        assert!(matches!(wrong, Err(Error::WrongPassphrase)), "{wrong:?}");
        let (elsewhere, _) = newcomer(&world, "http://127.0.0.1:1", "tablet");
        let wrong = ana.client.approve_link(elsewhere.text().clone(), key()).await;
        assert!(matches!(wrong, Err(Error::Link(_))), "{wrong:?}");
        assert_eq!(ana.client.devices().await.unwrap().len(), 1);
        ana.end().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_or_a_secret_put_in_the_place_of_the_new_devices_links_nothing() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let ana = world.ana().await;
        // The server, or whoever has seen the text, leaves a key before the new device does.
        let (linking, _) = newcomer(&world, &server.url, "tablet");
        let text = linking.text().clone();
        let shown = text.to_string();
        let link = shown.split("link=").nth(1).unwrap().split('&').next().unwrap().to_owned();
        let key = sigilo_seal::XWingSecret::from_seed([66; 32]).public();
        let swapped = serde_json::json!({"public_key": sigilo_wire::Base64(key.as_bytes().to_vec())});
        let path = format!("/api/devices/link/{link}/key/");
        let swap = async {
            while server.put(&path, None, &swapped).await.status != 204 {
                tokio::task::yield_now().await;
            }
        };
        let (refused, ()) = tokio::join!(ana.client.approve_link(text, self::key()), swap);
        assert!(matches!(refused, Err(Error::LinkRefused(_))), "{refused:?}");
        drop(linking);

        // Somebody changed the text on its way to the old device, and nobody compared the codes.
        let (linking, path) = newcomer(&world, &server.url, "tablet");
        let shown = linking.text().to_string();
        let (head, secret) = shown.rsplit_once("secret=").unwrap();
        let other = if secret.starts_with('A') { "B" } else { "A" };
        let altered: LinkText = format!("{head}secret={other}{}", &secret[1..]).parse().unwrap();
        assert_ne!(altered.code(), linking.code(), "the codes would have told");
        let (client, approved) =
            tokio::join!(linking.finish(), ana.client.approve_link(altered, self::key()));
        assert!(matches!(client, Err(Error::LinkRefused(_))), "{client:?}");
        approved.unwrap();
        // The new device has learnt nothing, and may try again.
        let linking = Client::begin_link(&path, self::key(), options(&world, &server.url, "tablet"));
        let text = linking.text().clone();
        let both = tokio::try_join!(linking.finish(), ana.client.approve_link(text, self::key()));
        let (client, number) = both.unwrap();
        assert_eq!(number.get(), 3, "the number of the failed attempt is not given again");
        client.shutdown().await.unwrap();
        ana.end().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_goes_on_after_lost_answers_and_a_cut() {
    let server = TestServer::start(Engine::Sqlite).await;
    let world = World::new(&server).await;
    let ana = world.ana().await;
    let proxy = Proxy::start(&server).await;
    proxy.lose("/claim/");
    let path = world.folder.path().join("tablet.profile");
    let linking = Client::begin_link(&path, key(), options(&world, &proxy.url, "tablet"));
    let shown = linking.text().to_string().replace(&proxy.url, &server.url);
    let (cut, approved) =
        tokio::join!(linking.finish(), ana.client.approve_link(shown.parse().unwrap(), key()));
    approved.unwrap();
    assert!(matches!(cut, Err(Error::Offline(_))), "{cut:?}");
    proxy.up();
    // Opening the profile goes on: the claim is repeated.
    let tablet = Device::again(path).await;
    assert_eq!(proxy.passed("/claim/").len(), 2);
    assert_eq!(tablet.client.me().await.unwrap().device.get(), 2);
    tablet.client.check_keys().await.unwrap();
    tablet.end().await;
    ana.end().await;
    drop(world);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_device_reads_nothing_more_and_the_others_go_on_under_a_new_key() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let (mut ana, mut maria) = (world.ana().await, world.maria().await);
        let conversation =
            ana.client.start_conversation(maria.user, NewConversation::default()).await.unwrap().id;
        ana.connected().await;
        maria.connected().await;
        ana.client.send_text(conversation, "uno").await.unwrap();
        receives(&mut maria, "uno").await;
        let (mut tablet, mut old) = (linked(&world, &ana, "tablet").await, linked(&world, &ana, "old").await);
        for device in [&mut tablet, &mut old] {
            device.client.fetch_history(conversation, 10).await.unwrap();
            device.connected().await;
        }
        maria.client.send_text(conversation, "dos").await.unwrap();
        for device in [&mut ana, &mut tablet, &mut old] {
            receives(device, "dos").await;
        }
        let this = ana.client.remove_device(DeviceNumber::FIRST).await;
        assert!(matches!(this, Err(Error::Content(_))), "{this:?}");
        let nobody = ana.client.remove_device(DeviceNumber::new(9).unwrap()).await;
        assert!(matches!(nobody, Err(Error::Unknown(_))), "{nobody:?}");

        let began = std::time::Instant::now();
        ana.client.remove_device(DeviceNumber::new(3).unwrap()).await.unwrap();
        old.wait("end", |event| matches!(event, ClientEvent::LoggedOut).then_some(())).await;
        println!("out after {:?}", began.elapsed());
        assert_eq!(devices_changed(&mut tablet).await, (vec![], vec![3]));
        assert!(matches!(old.client.contacts().await, Err(Error::LoggedOut)));

        // Everybody goes on, under new seals, and the devices that stay open them with the new key.
        maria.client.send_text(conversation, "tres").await.unwrap();
        receives(&mut ana, "tres").await;
        receives(&mut tablet, "tres").await;
        tablet.client.send_text(conversation, "cuatro").await.unwrap();
        receives(&mut ana, "cuatro").await;
        receives(&mut maria, "cuatro").await;
        // A device that is linked now reads what was sealed to the earlier key, too.
        let (unproven, _) = newcomer(&world, &server.url, "phone");
        let refused = tablet.client.approve_link(unproven.text().clone(), key()).await.unwrap_err();
        assert_eq!(refused.code(), Some(ErrorCode::StepUpRequired), "it was proven on the other device");
        tablet.client.prove(Proof::Password(PASSWORD.to_owned())).await.unwrap();
        let phone = linked(&world, &tablet, "phone").await;
        assert_eq!(phone.client.me().await.unwrap().device.get(), 4);
        phone.client.fetch_history(conversation, 10).await.unwrap();
        let history = phone.client.history(conversation, 10).await.unwrap();
        let texts: Vec<_> = history.iter().filter_map(|message| message.text()).collect();
        assert_eq!(texts, ["uno", "dos", "tres", "cuatro"]);
        // What the removed device kept stays readable on it, and is all there is.
        assert_eq!(old.client.history(conversation, 10).await.unwrap().len(), 2);
        for device in [ana, tablet, old, phone, maria] {
            device.end().await;
        }
    })
    .await;
}

/// A browser session of Ana's removes her device with this number.
async fn removed_by_a_session(world: &World<'_>, number: u8) {
    let login = json!({"clinic": "centro", "email": "ana@example.org", "password": PASSWORD,
                       "device": {"kind": "session", "name": "browser"}});
    let session = world.server.post("/api/auth/login/", None, &login).await.expect(200);
    let token = session["access_token"].as_str();
    let listed = world.server.get("/api/devices/", token).await.expect(200);
    let listed = listed["results"].as_array().unwrap().clone();
    let device = listed.iter().find(|device| device["device_id"] == number).unwrap();
    let path = format!("/api/devices/{}/", device["id"].as_str().unwrap());
    world.server.delete(&path, token).await.expect(204);
}

/// Waits until devices of the user are gone; gives which.
async fn gone(device: &mut Device) -> Vec<u8> {
    device
        .wait("end of a device", |event| match event {
            ClientEvent::DevicesChanged { removed, .. } if !removed.is_empty() => {
                Some(removed.iter().map(|number| number.get()).collect())
            }
            _ => None,
        })
        .await
}

/// The newest manifest of a device's user, as the server has it.
async fn current_manifest(server: &TestServer, of: &Device) -> Manifest {
    const NEWEST: &str = "SELECT statement FROM manifests WHERE user_id = $1 ORDER BY version DESC LIMIT 1";
    let mut tx = server.app.db.read("test").await.unwrap();
    let (statement,) = sigilo::fetch_one!(&mut tx, (Vec<u8>,), NEWEST, of.user).unwrap();
    Manifest::decode(&statement).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_a_session_removes_leaves_the_manifest_under_a_new_key() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let (mut ana, mut maria) = (world.ana().await, world.maria().await);
        let conversation =
            ana.client.start_conversation(maria.user, NewConversation::default()).await.unwrap().id;
        ana.client.send_text(conversation, "uno").await.unwrap();
        let (mut tablet, old) = (linked(&world, &ana, "tablet").await, linked(&world, &ana, "old").await);
        tablet.client.fetch_history(conversation, 10).await.unwrap();
        for device in [&mut ana, &mut tablet, &mut maria] {
            device.connected().await;
        }
        let before = current_manifest(server, &ana).await;
        removed_by_a_session(&world, 3).await;
        // Both are told, and one of them is first.
        assert_eq!(gone(&mut ana).await, [3]);
        assert_eq!(gone(&mut tablet).await, [3]);
        let after = current_manifest(server, &ana).await;
        assert_eq!((after.version, after.devices.len()), (before.version + 1, 2), "it was signed once");
        assert_ne!(after.history_key_id(), before.history_key_id());
        maria.client.send_text(conversation, "dos").await.unwrap();
        receives(&mut ana, "dos").await;
        receives(&mut tablet, "dos").await;
        tablet.client.send_text(conversation, "tres").await.unwrap();
        receives(&mut ana, "tres").await;
        receives(&mut maria, "tres").await;
        let nobody = ana.client.remove_device(DeviceNumber::new(3).unwrap()).await;
        assert!(matches!(nobody, Err(Error::Unknown(_))), "{nobody:?}");
        for device in [ana, tablet, old, maria] {
            device.end().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_no_device_has_heard_of_stops_neither_a_link_nor_the_next_start() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let ana = world.ana().await;
        let (tablet, old) = (linked(&world, &ana, "tablet").await, linked(&world, &ana, "old").await);
        let first = current_manifest(server, &ana).await;
        // Not connected, the phone links another device all the same.
        removed_by_a_session(&world, 2).await;
        let third = linked(&world, &ana, "third").await;
        let second = current_manifest(server, &ana).await;
        let numbers = |manifest: &Manifest| -> Vec<u8> {
            manifest.devices.iter().map(|device| device.device.get()).collect()
        };
        assert_eq!(numbers(&second), [1, 3, 4]);
        assert_ne!(second.history_key_id(), first.history_key_id());
        // It was off; when it is on again it sees that another is gone.
        let path = ana.end().await;
        removed_by_a_session(&world, 3).await;
        let mut ana = Device::again(path).await;
        ana.client.connect().await.unwrap();
        assert_eq!(gone(&mut ana).await, [3]);
        let third_key = current_manifest(server, &ana).await;
        assert_eq!(numbers(&third_key), [1, 4]);
        assert_ne!(third_key.history_key_id(), second.history_key_id());
        // A person who asks for what is gone already gets it, too.
        removed_by_a_session(&world, 4).await;
        ana.client.remove_device(DeviceNumber::new(4).unwrap()).await.unwrap();
        assert_eq!(numbers(&current_manifest(server, &ana).await), [1]);
        for device in [ana, tablet, old, third] {
            device.end().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_device_said_before_its_removal_is_read_after_it() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let (mut ana, maria) = (world.ana().await, world.maria().await);
        let conversation =
            ana.client.start_conversation(maria.user, NewConversation::default()).await.unwrap().id;
        ana.client.send_text(conversation, "uno").await.unwrap();
        let mut old = linked(&world, &ana, "old").await;
        old.client.fetch_history(conversation, 10).await.unwrap();
        ana.connected().await;
        old.connected().await;
        // There and back: from now on both sides use one session.
        old.client.send_text(conversation, "dos").await.unwrap();
        receives(&mut ana, "dos").await;
        ana.client.send_text(conversation, "tres").await.unwrap();
        receives(&mut old, "tres").await;
        ana.client.disconnect().await.unwrap();
        old.client.send_text(conversation, "cuatro").await.unwrap();
        ana.client.remove_device(DeviceNumber::new(2).unwrap()).await.unwrap();
        ana.client.connect().await.unwrap();
        receives(&mut ana, "cuatro").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_whose_answer_was_lost_is_finished_later() {
    let server = TestServer::start(Engine::Sqlite).await;
    let world = World::new(&server).await;
    let proxy = Proxy::start(&server).await;
    let mut ana = world.ana_through(&proxy).await;
    let path = world.folder.path().join("tablet.profile");
    let linking = Client::begin_link(&path, key(), options(&world, &proxy.url, "tablet"));
    let text = linking.text().clone();
    let (tablet, _) = tokio::try_join!(linking.finish(), ana.client.approve_link(text, key())).unwrap();
    tablet.shutdown().await.unwrap();
    assert_eq!(devices_changed(&mut ana).await, (vec![2], vec![]));
    proxy.lose("/api/devices/");
    let cut = ana.client.remove_device(DeviceNumber::new(2).unwrap()).await;
    assert!(matches!(cut, Err(Error::Offline(_))), "{cut:?}");
    proxy.lose("/api/devices/0");
    let cut = ana.client.remove_device(DeviceNumber::new(2).unwrap()).await;
    assert!(matches!(cut, Err(Error::Offline(_))), "{cut:?}");
    proxy.up();
    // The next upkeep publishes the manifest.
    ana.client.sync_offline().await.unwrap();
    assert_eq!(devices_changed(&mut ana).await, (vec![], vec![2]));
    assert_eq!(ana.client.devices().await.unwrap().len(), 1);
    ana.end().await;
    drop(world);
    server.finish().await;
}
