//! Accounts that are suspended and come back.

use serde_json::{Value, json};
use sigilo::{Ctx, fetch_all, people, people::StatusChange};
use sigilo_wire::{Role, UserId};

use crate::support::{
    TestServer, both_engines,
    clinic::{Clinic, PASSWORD, Person},
    device::{Device, relate},
    socket::Socket,
};

const ANA: &str = "ana@clinic.example";

async fn change(server: &TestServer, clinic: &Clinic, user: UserId, suspend: bool) -> StatusChange {
    let ctx = Ctx::operator(&server.app, clinic.id);
    let grant = people::authorize_manage_people(&server.app, &ctx).unwrap();
    if suspend {
        people::suspend_user(&server.app, &ctx, grant, user).await.unwrap()
    } else {
        people::resume_user(&server.app, &ctx, grant, user).await.unwrap()
    }
}

#[tokio::test]
async fn a_suspended_account_is_out_everywhere_and_comes_back_as_it_was() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let ana = Device::create(server, &clinic, Role::Patient, ANA).await;
        let maria = Device::create(server, &clinic, Role::Doctor, "maria@clinic.example").await;
        relate(server, &ana, &maria).await;
        let conversation = ana.start(server, &maria).await;
        ana.publish_seal(server, &clinic, conversation, &[&maria]).await;
        maria.publish_seal(server, &clinic, conversation, &[&ana]).await;
        let first = ana.text(server, conversation, "first", &[&maria]);
        ana.post(server, conversation, &first).await.expect(201);
        let session = clinic.login(server, ANA, PASSWORD, Value::Null).await.expect(200);
        let node = server.beside().await;
        // The account is suspended on this server; the socket is on the other.
        let url = format!("{}/ws/chat/", node.url.replacen("http", "ws", 1));
        let mut elsewhere = Socket::open_url(&url, Some(&ana.token)).await.unwrap();
        elsewhere.expect("queue_empty").await;
        let mut here = Socket::open(server, &ana).await;
        here.expect("queue_empty").await;

        let suspended = change(server, &clinic, ana.user, true).await;
        let expected = StatusChange {
            user_id: ana.user,
            status: "suspended",
            changed: true,
            devices: 2,
            conversations: 1,
        };
        assert_eq!(suspended, expected);
        assert_eq!(here.closed().await, 4401);
        assert_eq!(elsewhere.closed().await, 4401);
        for token in [ana.token.as_str(), session["access_token"].as_str().unwrap()] {
            server.get("/api/me/", Some(token)).await.expect_error(401, "device_revoked");
        }
        let refresh = json!({"refresh_token": ana.refresh_token});
        server.post("/api/auth/refresh/", None, &refresh).await.expect_error(401, "device_revoked");
        clinic.login(server, ANA, PASSWORD, Value::Null).await.expect_error(401, "device_revoked");
        // Nobody would read it.
        let text = maria.text(server, conversation, "are you there?", &[&ana]);
        let denied = maria.post(server, conversation, &text).await;
        assert_eq!(denied.expect_error(403, "message_not_allowed")["reason"], "recipient_inactive");
        let history = format!("/api/chat/conversations/{conversation}/messages/");
        let history = server.get(&history, Some(&maria.token)).await.expect(200);
        assert_eq!(history["results"].as_array().unwrap().len(), 1, "what was written stays readable");
        let again = change(server, &clinic, ana.user, true).await;
        assert!(!again.changed, "{again:?}");

        let resumed = change(server, &clinic, ana.user, false).await;
        assert_eq!((resumed.status, resumed.changed, resumed.conversations), ("active", true, 1));
        let device = json!({"kind": "messaging", "device_id": ana.device});
        let back = clinic.login(server, ANA, PASSWORD, device).await.expect(200);
        let path = format!("/api/chat/conversations/{conversation}/messages/");
        let second = ana.text(server, conversation, "second", &[&maria]);
        server.post(&path, back["access_token"].as_str(), &json!(second)).await.expect(201);
        node.stop().await;
    })
    .await;
}

#[tokio::test]
async fn suspensions_are_audited_and_told() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let ana: Person = clinic.person(server, Role::Patient, ANA).await;
        let user = ana.tokens.user_id;
        for suspend in [true, true, false, false] {
            change(server, &clinic, user, suspend).await;
        }
        let mut tx = server.app.db.read("test").await.unwrap();
        let acts: Vec<(String, Option<UserId>)> = fetch_all!(
            &mut tx,
            (String, Option<UserId>),
            "SELECT act, patient_id FROM audit_entries WHERE act IN ('suspend_user', 'resume_user') ORDER BY seq"
        )
        .unwrap();
        let expected = ["suspend_user", "resume_user"].map(|act| (act.to_owned(), Some(user)));
        assert_eq!(acts, expected);
        let facts: Vec<(String, String)> = fetch_all!(
            &mut tx,
            (String, String),
            "SELECT topic, data FROM outbox WHERE topic LIKE 'user.%' ORDER BY seq"
        )
        .unwrap();
        let data = json!({"user_id": user}).to_string();
        let expected = ["user.suspended", "user.resumed"].map(|topic| (topic.to_owned(), data.clone()));
        assert_eq!(facts, expected);
        drop(tx);

        // Somebody invited has no account yet, and another clinic's people are nobody.
        let invited = clinic.invite(server, Role::Doctor, "maria@clinic.example").await.user_id;
        let other = Clinic::create(server, "otra").await;
        for (clinic, user, code) in [(&clinic, invited, "invalid_field"), (&other, user, "not_found")] {
            let ctx = Ctx::operator(&server.app, clinic.id);
            let grant = people::authorize_manage_people(&server.app, &ctx).unwrap();
            let refused = people::suspend_user(&server.app, &ctx, grant, user).await.unwrap_err();
            assert_eq!(refused.code().as_str(), code);
        }
    })
    .await;
}
