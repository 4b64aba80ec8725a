//! People who want no messages from others.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sigilo::{Ctx, blocks, fetch_all, relationships};
use sigilo_wire::{ConversationId, Role, UserId};

use crate::{
    groups::Team,
    support::{
        TestServer, both_engines,
        cast::relationships_of,
        clinic::Clinic,
        device::{Device, relate},
        http::Answer,
        socket::Socket,
    },
};

const PATH: &str = "/api/chat/block-user/";
const CONVERSATIONS: &str = "/api/chat/conversations/";

async fn block(server: &TestServer, who: &Device, whom: UserId) -> Answer {
    server.post(PATH, Some(&who.token), &json!({"user_id": whom})).await
}

async fn unblock(server: &TestServer, who: &Device, whom: UserId) {
    server.delete(&format!("{PATH}{whom}/"), Some(&who.token)).await.expect(204);
}

fn refused(answer: Answer, code: &str) {
    assert_eq!(answer.body["policies"], json!(["blocks"]), "{}", answer.body);
    assert_eq!(answer.expect_error(403, code)["reason"], "blocked_between");
}

/// A patient and a doctor who have written to each other.
struct Two {
    clinic: Clinic,
    ana: Device,
    maria: Device,
    conversation: ConversationId,
}

impl Two {
    async fn create(server: &TestServer) -> Self {
        let clinic = Clinic::create(server, "two").await;
        let ana = Device::create(server, &clinic, Role::Patient, "ana@two.example").await;
        let maria = Device::create(server, &clinic, Role::Doctor, "maria@two.example").await;
        relate(server, &ana, &maria).await;
        let conversation = ana.start(server, &maria).await;
        ana.publish_seal(server, &clinic, conversation, &[&maria]).await;
        maria.publish_seal(server, &clinic, conversation, &[&ana]).await;
        let two = Self { clinic, ana, maria, conversation };
        two.say(server, &two.ana, &two.maria).await.expect(201);
        two.say(server, &two.maria, &two.ana).await.expect(201);
        two
    }

    async fn say(&self, server: &TestServer, who: &Device, to: &Device) -> Answer {
        let text = who.text(server, self.conversation, "hello", &[to]);
        let answer = who.post(server, self.conversation, &text).await;
        if answer.status != 201 {
            who.rewind(self.conversation, &text);
        }
        answer
    }

    fn path(&self, below: &str) -> String {
        format!("{CONVERSATIONS}{}/{below}", self.conversation)
    }
}

#[tokio::test]
async fn a_block_stops_messages_and_keys_both_ways_at_once_and_history_stays() {
    both_engines(async |server| {
        let two = Two::create(server).await;
        let Two { ana, maria, .. } = &two;
        let mut socket = Socket::open(server, maria).await;
        while socket.next().await["type"] != "queue_empty" {}

        let made = block(server, ana, maria.user).await.expect(201);
        assert_eq!((&made["user_id"], &made["reason"]), (&json!(maria.user), &Value::Null));
        for (who, to) in [(maria, ana), (ana, maria)] {
            refused(two.say(server, who, to).await, "message_not_allowed");
            refused(server.get(&format!("/api/keys/{}/*/", to.user), Some(&who.token)).await, "forbidden");
            let start = json!({"type": "direct", "participants": [to.user]});
            let started = server.post(CONVERSATIONS, Some(&who.token), &start).await;
            refused(started, "conversation_not_allowed");
            let seal = json!(who.seal(server, &two.clinic, two.conversation, &[to]));
            let published = server.post(&two.path("seals/"), Some(&who.token), &seal).await;
            refused(published, "message_not_allowed");
            let contacts = server.get("/api/chat/contacts/", Some(&who.token)).await.expect(200);
            assert_eq!(contacts["results"], json!([]));
            let history = server.get(&two.path("messages/"), Some(&who.token)).await.expect(200);
            assert_eq!(history["results"].as_array().unwrap().len(), 2, "history stays readable");
            let details = server.get(&two.path(""), Some(&who.token)).await.expect(200);
            assert_eq!(details["permissions"]["send"]["allowed"], false);
        }
        // A socket that was open before: refused, and told of nothing.
        let text = maria.text(server, two.conversation, "still there?", &[ana]);
        maria.rewind(two.conversation, &text);
        let frame = json!({"type": "send_message", "request_id": "1", "conversation_id": two.conversation, "data": text});
        socket.send(&frame).await;
        let answer = socket.expect("error").await;
        assert_eq!(answer["data"]["error"], "message_not_allowed");
        assert_eq!(answer["data"]["details"]["reason"], "blocked_between");
        assert!(!answer.to_string().contains(&ana.user.to_string()), "who blocked is not said: {answer}");

        // Again changes nothing; the other's own block stands for itself.
        block(server, ana, maria.user).await.expect(200);
        block(server, maria, ana.user).await.expect(201);
        unblock(server, ana, maria.user).await;
        unblock(server, ana, maria.user).await;
        refused(two.say(server, ana, maria).await, "message_not_allowed");
        unblock(server, maria, ana.user).await;
        for (who, to) in [(ana, maria), (maria, ana)] {
            who.publish_seal(server, &two.clinic, two.conversation, &[to]).await;
            two.say(server, who, to).await.expect(201);
            server.get(&format!("/api/keys/{}/*/", to.user), Some(&who.token)).await.expect(200);
        }
    })
    .await;
}

/// Whoever has the answer to a block has the last word: no message is stored after it, however many are under way,
/// on this server and on another.
#[tokio::test]
async fn no_message_passes_a_block_that_was_answered() {
    both_engines(async |server| {
        let two = Two::create(server).await;
        let node = server.beside().await;
        let mut socket = Socket::open(server, &two.maria).await;
        while socket.next().await["type"] != "queue_empty" {}
        for round in 0..5 {
            let mut texts = Vec::new();
            for number in 0..20 {
                texts.push(two.maria.text(server, two.conversation, &number.to_string(), &[&two.ana]));
            }
            for (number, text) in texts.iter().enumerate() {
                let frame = json!({"type": "send_message", "request_id": number.to_string(),
                    "conversation_id": two.conversation, "data": text});
                socket.send(&frame).await;
            }
            let begun = Instant::now();
            let request = server.client.post(format!("{}{PATH}", node.url)).bearer_auth(&two.ana.token);
            let body = json!({"user_id": two.maria.user});
            Answer::of(request.json(&body).send().await.unwrap()).await.expect(201);
            let blocked_at = stored(server, &two).await;
            let mut last = None;
            for _ in 0..texts.len() {
                let frame = socket.next().await;
                let number: usize = frame["request_id"].as_str().unwrap().parse().unwrap();
                match frame["type"].as_str().unwrap() {
                    "result" => last = Some(number),
                    _ => {
                        let details = &frame["data"]["details"];
                        // Or the store was busy for a moment, or the message before it was refused.
                        let passing = ["chain_gap", "unavailable"];
                        let known = details["reason"] == "blocked_between"
                            || passing.contains(&frame["data"]["error"].as_str().unwrap());
                        assert!(known, "round {round}: {frame}");
                    }
                }
            }
            assert!(begun.elapsed() < Duration::from_secs(10));
            assert_eq!(stored(server, &two).await, blocked_at, "round {round}: stored after the block");
            // The chain goes on from the last message that was stored.
            let next = last.map_or(0, |last| last + 1);
            if let Some(refused) = texts.get(next) {
                two.maria.rewind(two.conversation, refused);
            }
            unblock(server, &two.ana, two.maria.user).await;
        }
        two.say(server, &two.maria, &two.ana).await.expect(201);
        node.stop().await;
    })
    .await;
}

async fn stored(server: &TestServer, two: &Two) -> i64 {
    let details = server.get(&two.path(""), Some(&two.ana.token)).await.expect(200);
    details["total_messages"].as_i64().unwrap()
}

#[tokio::test]
async fn a_block_between_two_silences_no_care_team_and_brings_nobody_together() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        let Team { ana, maria, jorge, eva, .. } = &team;
        let group = team.started(server, "group", maria, &[ana, jorge]).await;
        team.say(server, group, maria, &[ana, jorge]).await;
        block(server, ana, jorge.user).await.expect(201);
        team.say(server, group, ana, &[maria, jorge]).await;
        team.say(server, group, jorge, &[maria, ana]).await;
        // They need each other's keys there.
        server.get(&format!("/api/keys/{}/*/", jorge.user), Some(&ana.token)).await.expect(200);
        // A third may join; a team of the two is not made anew.
        let refused_team = json!({"type": "group", "participants": [ana.user, jorge.user]});
        let started = server.post(CONVERSATIONS, Some(&maria.token), &refused_team).await;
        refused(started, "conversation_not_allowed");
        // Nobody joins where somebody is with whom there is a block.
        let clinicians = team.started(server, "group", maria, &[jorge]).await;
        block(server, eva, jorge.user).await.expect(201);
        let join = json!({"user_ids": [eva.user]});
        let path = format!("{CONVERSATIONS}{clinicians}/participants/");
        refused(server.post(&path, Some(&maria.token), &join).await, "forbidden");
        unblock(server, eva, jorge.user).await;
        server.post(&path, Some(&maria.token), &join).await.expect(200);
        // When only the two are left, it stops.
        server.delete(&format!("{CONVERSATIONS}{group}/"), Some(&ana.token)).await.expect(204);
        refused(server.get(&format!("/api/keys/{}/*/", jorge.user), Some(&ana.token)).await, "forbidden");
    })
    .await;
}

#[tokio::test]
async fn whom_one_may_block_and_with_which_words() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        let Team { ana, maria, staff, .. } = &team;
        for who in [ana, maria] {
            let answer = block(server, who, staff.user).await;
            assert_eq!(answer.expect_error(403, "forbidden")["reason"], "staff_not_blocked");
            block(server, who, who.user).await.expect_error(403, "forbidden");
        }
        let luis = Device::create(server, &team.clinic, Role::Patient, "luis@team.example").await;
        block(server, ana, luis.user).await.expect_error(403, "forbidden");
        for (reason, status, code) in [
            ("llama al 55 1234 5678", 422, "phi_detected"),
            ("tiene diabetes", 422, "phi_detected"),
            (&*"x".repeat(201), 400, "invalid_field"),
        ] {
            let body = json!({"user_id": maria.user, "reason": reason});
            let details = server.post(PATH, Some(&ana.token), &body).await.expect_error(status, code);
            assert_eq!(details["field"], "reason");
            assert!(!details.to_string().contains(reason), "{details}");
        }
        let body = json!({"user_id": maria.user, "reason": "escribe a deshoras"});
        server.post(PATH, Some(&ana.token), &body).await.expect(201);
        block(server, ana, team.jorge.user).await.expect(201);
        // Pages of the own list; nobody sees another's.
        let first = server.get(&format!("{PATH}?page_size=1"), Some(&ana.token)).await.expect(200);
        assert_eq!((&first["has_more"], first["results"].as_array().unwrap().len()), (&json!(true), 1));
        let next = first["next_cursor"].as_str().unwrap();
        let rest = server.get(&format!("{PATH}?cursor={next}"), Some(&ana.token)).await.expect(200);
        assert_eq!(rest["has_more"], false);
        let second = server.get(&format!("{PATH}?page=2&page_size=1"), Some(&ana.token)).await.expect(200);
        assert_eq!(second, rest);
        let all = [first["results"][0].clone(), rest["results"][0].clone()];
        let found = all.iter().find(|block| block["user_id"] == json!(maria.user)).unwrap();
        assert_eq!(found["reason"], "escribe a deshoras");
        assert_eq!(found["full_name"], "Dra. María Martínez");
        let hers = server.get(PATH, Some(&maria.token)).await.expect(200);
        assert_eq!(hers["results"], json!([]));
    })
    .await;
}

#[tokio::test]
async fn the_clinics_staff_see_blocks_and_the_audit_log_has_them() {
    both_engines(async |server| {
        let two = Two::create(server).await;
        let body = json!({"user_id": two.ana.user, "reason": "insulta"});
        server.post(PATH, Some(&two.maria.token), &body).await.expect(201);
        let ctx = Ctx::operator(&server.app, two.clinic.id);
        let look = async || {
            let grant = relationships::authorize_manage_relationships(&server.app, &ctx).unwrap();
            blocks::list_all(&server.app, &ctx, grant).await.unwrap()
        };
        let seen = look().await;
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert_eq!((seen[0].blocker_id, seen[0].blocked_id), (two.maria.user, two.ana.user));
        assert_eq!(seen[0].reason.as_deref(), Some("insulta"));
        let listed = relationships_of(server, &two.clinic).await;
        assert_eq!(listed[0].blocked_by, [two.maria.user]);
        unblock(server, &two.maria, two.ana.user).await;
        assert!(look().await.is_empty());

        let mut tx = server.app.db.read("test").await.unwrap();
        let sql = "SELECT act, patient_id, canonical FROM audit_entries WHERE act IN ('block_user', 'unblock_user') ORDER BY seq";
        let acts: Vec<(String, Option<UserId>, Vec<u8>)> =
            fetch_all!(&mut tx, (String, Option<UserId>, Vec<u8>), sql).unwrap();
        let names: Vec<&str> = acts.iter().map(|(act, ..)| act.as_str()).collect();
        assert_eq!(names, ["block_user", "unblock_user"]);
        for (_, patient, canonical) in &acts {
            assert_eq!(*patient, Some(two.ana.user), "the patient concerned finds it in their log");
            assert!(!String::from_utf8_lossy(canonical).contains("insulta"), "the log holds no words");
        }
        let facts: Vec<(String,)> =
            fetch_all!(&mut tx, (String,), "SELECT topic FROM outbox WHERE topic LIKE 'user.%block%' ORDER BY seq")
                .unwrap();
        assert_eq!(facts.into_iter().map(|(topic,)| topic).collect::<Vec<_>>(), ["user.blocked", "user.unblocked"]);
    })
    .await;
}

#[tokio::test]
async fn who_is_blocked_does_not_see_who_is_there() {
    both_engines(async |server| {
        let team = Team::create(server).await;
        let Team { ana, maria, jorge, .. } = &team;
        let group = team.started(server, "group", maria, &[ana, jorge]).await;
        let mut socket = Socket::open(server, ana).await;
        socket.send(&json!({"type": "status", "request_id": "1", "data": {"status": "online"}})).await;
        while socket.next().await["request_id"] != "1" {}
        let seen = async |by: &Device| {
            let details = server.get(&format!("{CONVERSATIONS}{group}/"), Some(&by.token)).await.expect(200);
            let people = details["participants"].as_array().unwrap();
            people.iter().find(|one| one["user_id"] == json!(ana.user)).unwrap()["presence"].clone()
        };
        assert_eq!(seen(jorge).await["status"], "online");
        block(server, ana, jorge.user).await.expect(201);
        assert_eq!(seen(jorge).await, Value::Null);
        assert_eq!(seen(maria).await["status"], "online");
    })
    .await;
}
