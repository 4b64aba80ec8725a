//! Typing and being there: told once, to those who may notice, and to nobody else.

use serde_json::{Value, json};
use sigilo_wire::{ConversationId, Role};

use super::{Pair, connect, next_of, revoke};
use crate::support::{
    TestServer, both_engines,
    clinic::PASSWORD,
    device::{Device, relate},
    socket::{Socket, eventually},
};

/// A `typing` frame that is answered.
fn typing(conversation: ConversationId, typing: bool) -> Value {
    json!({"type": "typing", "request_id": "t", "conversation_id": conversation, "data": {"typing": typing}})
}

/// Sends a frame and waits for its answer: what it caused has been told by then.
async fn ask(socket: &mut Socket, frame: Value) -> Value {
    socket.send(&frame).await;
    loop {
        let answer = socket.next().await;
        if answer["type"] == "result" || answer["type"] == "error" {
            return answer;
        }
    }
}

async fn say(socket: &mut Socket, status: &str) -> Value {
    ask(socket, json!({"type": "status", "request_id": "s", "data": {"status": status}})).await
}

/// Nothing has been told to this socket: the answer to a bad frame is the next it gets.
async fn hears_nothing(socket: &mut Socket) {
    socket.send(&json!({"type": "nonsense", "request_id": "n"})).await;
    let frame = socket.next().await;
    assert_eq!((&frame["type"], &frame["request_id"]), (&json!("error"), &json!("n")), "{frame}");
}

async fn set_privacy(server: &TestServer, device: &Device, privacy: Value) {
    let me = server.put("/api/me/", Some(&device.token), &json!({"privacy": privacy})).await.expect(200);
    for (name, value) in privacy.as_object().unwrap() {
        assert_eq!(&me["privacy"][name], value);
    }
}

/// What Ana is shown of María, in their conversation and among her contacts.
async fn shown(server: &TestServer, pair: &Pair) -> (Value, Value) {
    let path = format!("/api/chat/conversations/{}/", pair.conversation);
    let details = server.get(&path, Some(&pair.ana.token)).await.expect(200);
    let participants = details["participants"].as_array().unwrap();
    let participant = participants.iter().find(|p| p["user_id"] == json!(pair.maria.user)).unwrap();
    let contacts = server.get("/api/chat/contacts/", Some(&pair.ana.token)).await.expect(200);
    let contact =
        contacts["results"].as_array().unwrap().iter().find(|c| c["user_id"] == json!(pair.maria.user));
    (participant["presence"].clone(), contact.map_or(Value::Null, |contact| contact["presence"].clone()))
}

#[tokio::test]
async fn typing_is_told_once_to_the_others_and_a_flood_is_dropped() {
    both_engines(async |server| {
        let pair = Pair::create(server, "typing").await;
        let (_, mut ana) = connect(server, &pair.ana).await;
        let (waiting, mut maria) = connect(server, &pair.maria).await;
        maria.ack(&waiting.iter().collect::<Vec<_>>()).await;
        let path = format!("/ws/chat/{}/", pair.conversation);
        let mut here = Socket::open_path(server, &path, Some(&pair.maria.token)).await.unwrap();
        next_of(&mut here, "queue_empty").await;
        // Another conversation's socket hears nothing of this one.
        let jorge = Device::create(server, &pair.clinic, Role::Doctor, "jorge@example.org").await;
        let elsewhere = pair.maria.start(server, &jorge).await;
        let path = format!("/ws/chat/{elsewhere}/");
        let mut there = Socket::open_path(server, &path, Some(&pair.maria.token)).await.unwrap();
        next_of(&mut there, "queue_empty").await;

        ask(&mut ana, typing(pair.conversation, true)).await;
        for socket in [&mut maria, &mut here] {
            let told = next_of(socket, "typing_indicator").await;
            let data =
                json!({"conversation_id": pair.conversation, "user_id": pair.ana.user, "typing": true});
            assert_eq!((&told["data"], &told["event_id"]), (&data, &Value::Null));
            assert_eq!(told["sender_id"], json!(pair.ana.user));
        }
        for _ in 0..200 {
            ana.send(
                &json!({"type": "typing", "conversation_id": pair.conversation, "data": {"typing": true}}),
            )
            .await;
        }
        ask(&mut ana, typing(pair.conversation, false)).await;
        assert_eq!(next_of(&mut maria, "typing_indicator").await["data"]["typing"], false);
        assert_eq!(next_of(&mut here, "typing_indicator").await["data"]["typing"], false);
        hears_nothing(&mut maria).await;
        hears_nothing(&mut there).await;
        // Nothing was kept.
        let queue = server.get("/api/chat/events/", Some(&pair.maria.token)).await.expect(200);
        assert!(queue["results"].as_array().unwrap().iter().all(|event| event["type"] != "typing_indicator"));
    })
    .await;
}

#[tokio::test]
async fn who_may_not_write_may_not_be_noticed_either() {
    both_engines(async |server| {
        let pair = Pair::create(server, "noticed").await;
        let (_, mut ana) = connect(server, &pair.ana).await;
        let (_, mut maria) = connect(server, &pair.maria).await;
        let luis = Device::create(server, &pair.clinic, Role::Patient, "luis@example.org").await;
        let (_, mut stranger) = connect(server, &luis).await;
        let refused = ask(&mut stranger, typing(pair.conversation, true)).await;
        assert_eq!(refused["data"]["error"], "not_found");
        say(&mut stranger, "online").await;

        // All that is kept is kept.
        ask(&mut ana, typing(pair.conversation, true)).await;
        next_of(&mut maria, "typing_indicator").await;
        say(&mut maria, "online").await;
        say(&mut ana, "online").await;
        next_of(&mut maria, "user_status").await;
        let watched = shown(server, &pair).await;
        assert_eq!(watched.0["status"], "online");

        revoke(server, &pair.clinic, pair.relationship).await;
        let refused = ask(&mut ana, typing(pair.conversation, false)).await;
        assert_eq!(refused["data"]["error"], "message_not_allowed", "{refused}");
        say(&mut ana, "busy").await;
        ana.cut();
        eventually("ana leaves", async || {
            (server.app.presence.status(pair.ana.user).as_str() == "offline").then_some(())
        })
        .await;
        hears_nothing(&mut maria).await;
        hears_nothing(&mut stranger).await;
        assert_eq!(shown(server, &pair).await, (Value::Null, Value::Null));
    })
    .await;
}

#[tokio::test]
async fn a_closed_conversation_shows_nobody() {
    both_engines(async |server| {
        let pair = Pair::create(server, "closed").await;
        let (_, mut ana) = connect(server, &pair.ana).await;
        let (_, mut maria) = connect(server, &pair.maria).await;
        say(&mut ana, "online").await;
        say(&mut maria, "away").await;
        next_of(&mut maria, "user_status").await;
        assert_eq!(shown(server, &pair).await.0["status"], "away");
        let path = format!("/api/chat/conversations/{}/", pair.conversation);
        server.put(&path, Some(&pair.maria.token), &json!({"status": "closed"})).await.expect(200);
        let refused = ask(&mut ana, typing(pair.conversation, true)).await;
        assert_eq!(refused["data"]["error"], "conversation_closed");
        say(&mut ana, "busy").await;
        hears_nothing(&mut maria).await;
        assert_eq!(shown(server, &pair).await, (Value::Null, Value::Null));
    })
    .await;
}

#[tokio::test]
async fn a_person_is_there_over_all_their_sockets_until_the_last_closes() {
    both_engines(async |server| {
        let pair = Pair::create(server, "there").await;
        let (_, mut ana) = connect(server, &pair.ana).await;
        let (_, mut maria) = connect(server, &pair.maria).await;
        assert_eq!(shown(server, &pair).await.0["status"], "offline", "a socket alone shows nobody");
        say(&mut ana, "online").await;
        // María's first frame brings how Ana is, and tells Ana.
        maria.send(&json!({"type": "status", "data": {"status": "away"}})).await;
        assert_eq!(
            next_of(&mut maria, "user_status").await["data"],
            json!({"user_id": pair.ana.user, "status": "online"})
        );
        let expected = |status: &str| json!({"user_id": pair.maria.user, "status": status});
        assert_eq!(next_of(&mut ana, "user_status").await["data"], expected("away"));
        assert_eq!(shown(server, &pair).await, (json!({"status": "away"}), json!({"status": "away"})));

        let path = format!("/ws/chat/{}/", pair.conversation);
        let mut second = Socket::open_path(server, &path, Some(&pair.maria.token)).await.unwrap();
        next_of(&mut second, "queue_empty").await;
        say(&mut second, "online").await;
        assert_eq!(next_of(&mut ana, "user_status").await["data"], expected("online"));
        // Away on one of two changes nothing, and is told to nobody.
        say(&mut maria, "away").await;
        say(&mut maria, "busy").await;
        assert_eq!(next_of(&mut ana, "user_status").await["data"], expected("busy"));
        maria.cut();
        assert_eq!(next_of(&mut ana, "user_status").await["data"], expected("online"));
        second.cut();
        let gone = next_of(&mut ana, "user_status").await["data"].clone();
        assert_eq!(gone["status"], "offline");
        let minute = gone["last_seen_at"].as_str().unwrap();
        assert!(minute.ends_with(":00.000000Z"), "{minute}");
        hears_nothing(&mut ana).await;
        eventually("the minute is stored", async || {
            let (participant, contact) = shown(server, &pair).await;
            assert_eq!(participant["status"], "offline");
            (participant["last_seen_at"] == minute && contact == participant).then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn what_one_hides_is_told_to_nobody_and_not_seen_of_others() {
    both_engines(async |server| {
        let pair = Pair::create(server, "privacy").await;
        let (_, mut ana) = connect(server, &pair.ana).await;
        let (_, mut maria) = connect(server, &pair.maria).await;
        say(&mut ana, "online").await;
        say(&mut maria, "online").await;
        for socket in [&mut ana, &mut maria] {
            assert_eq!(next_of(socket, "user_status").await["data"]["status"], "online");
        }

        for hider in [&pair.ana, &pair.maria] {
            set_privacy(server, hider, json!({"show_typing": false})).await;
            ask(&mut ana, typing(pair.conversation, true)).await;
            ask(&mut ana, typing(pair.conversation, false)).await;
            hears_nothing(&mut maria).await;
            set_privacy(server, hider, json!({"show_typing": true})).await;
            server.clock.advance(std::time::Duration::from_secs(5));
        }
        ask(&mut ana, typing(pair.conversation, true)).await;
        next_of(&mut maria, "typing_indicator").await;

        set_privacy(server, &pair.maria, json!({"show_presence": false})).await;
        let told = next_of(&mut ana, "user_status").await;
        assert_eq!(told["data"], json!({"user_id": pair.maria.user, "status": "offline"}));
        assert_eq!(shown(server, &pair).await.0["status"], Value::Null);
        say(&mut ana, "busy").await;
        say(&mut maria, "away").await;
        hears_nothing(&mut maria).await;
        hears_nothing(&mut ana).await;
        set_privacy(server, &pair.maria, json!({"show_presence": true})).await;
        assert_eq!(next_of(&mut ana, "user_status").await["data"]["status"], "away");
        assert_eq!(next_of(&mut maria, "user_status").await["data"]["status"], "busy");

        let stored = async || shown(server, &pair).await.0["last_seen_at"].as_str().map(str::to_owned);
        maria.cut();
        next_of(&mut ana, "user_status").await;
        eventually("the minute is stored", stored).await;
        set_privacy(server, &pair.ana, json!({"show_last_seen": false})).await;
        assert_eq!(stored().await, None, "who hides it does not see it");
        set_privacy(server, &pair.ana, json!({"show_last_seen": true})).await;
        assert!(stored().await.is_some());
        set_privacy(server, &pair.maria, json!({"show_last_seen": false})).await;
        set_privacy(server, &pair.maria, json!({"show_last_seen": true})).await;
        assert_eq!(stored().await, None, "what is hidden is deleted");
    })
    .await;
}

#[tokio::test]
async fn being_there_is_for_messaging_devices_and_not_said_too_often() {
    both_engines(async |server| {
        let pair = Pair::create(server, "devices").await;
        let session = pair.clinic.login(server, "ana@example.org", PASSWORD, Value::Null).await.expect(200);
        let mut console =
            Socket::open_path(server, "/ws/chat/", session["access_token"].as_str()).await.unwrap();
        next_of(&mut console, "queue_empty").await;
        let refused = say(&mut console, "online").await;
        assert_eq!(refused["data"]["details"]["reason"], "session_device");
        let (_, mut ana) = connect(server, &pair.ana).await;
        assert_eq!(say(&mut ana, "offline").await["data"]["error"], "invalid_field");
        let mut limited = 0;
        for _ in 0..10 {
            let answer = say(&mut ana, "away").await;
            limited += u8::from(answer["data"]["error"] == "rate_limited");
        }
        assert!(limited >= 4, "{limited}");
        // Two who share no open conversation do not see each other, whatever they may start.
        let eva = Device::create(server, &pair.clinic, Role::Doctor, "eva@example.org").await;
        relate(server, &pair.ana, &eva).await;
        let (_, mut eva_socket) = connect(server, &eva).await;
        say(&mut eva_socket, "online").await;
        hears_nothing(&mut eva_socket).await;
    })
    .await;
}
