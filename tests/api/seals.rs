//! Record seals as the server takes and refuses them.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use serde_json::{Value, json};
use sigilo_seal::XWingSecret;
use sigilo_wire::{Base64Array, ConversationId, Role, seal::NewSeal};

use crate::support::{
    TestServer, both_engines,
    clinic::{Clinic, PASSWORD},
    device::{Device, records_statement, relate},
    http::Answer,
};

/// A patient, her clinician, and their conversation.
struct Scene {
    clinic: Clinic,
    ana: Device,
    maria: Device,
    conversation: ConversationId,
}

impl Scene {
    async fn create(server: &TestServer) -> Self {
        let clinic = Clinic::create(server, "demo").await;
        let ana = Device::create(server, &clinic, Role::Patient, "ana@demo.example").await;
        let maria = Device::create(server, &clinic, Role::Doctor, "maria@demo.example").await;
        relate(server, &ana, &maria).await;
        let conversation = ana.start(server, &maria).await;
        Self { clinic, ana, maria, conversation }
    }

    fn path(&self) -> String {
        format!("/api/chat/conversations/{}/seals/", self.conversation)
    }

    async fn publish(&self, server: &TestServer, who: &Device, seal: &NewSeal) -> Answer {
        server.post(&self.path(), Some(&who.token), &json!(seal)).await
    }

    async fn listed(&self, server: &TestServer) -> Vec<Value> {
        let list = server.get(&self.path(), Some(&self.maria.token)).await.expect(200);
        list["results"].as_array().unwrap().clone()
    }

    /// The ids of the keys a seal is for, as a refusal lists them.
    fn expected(&self) -> Value {
        let mut ids = vec![records_statement(&self.clinic).key_id().0];
        ids.extend([&self.ana, &self.maria].map(|device| device.history.public().history_key_id().0));
        ids.sort_unstable();
        json!(ids.into_iter().map(Base64Array).collect::<Vec<_>>())
    }
}

#[tokio::test]
async fn a_seal_is_kept_as_it_was_signed_and_shown_to_members() {
    both_engines(async |server| {
        let scene = Scene::create(server).await;
        let seal = scene.ana.seal(server, &scene.clinic, scene.conversation, &[&scene.maria]);
        let first = scene.publish(server, &scene.ana, &seal).await.expect(201);
        assert_eq!(first["seal"], json!(seal));
        assert_eq!(first["sender_id"], json!(scene.ana.user));
        let again = scene.publish(server, &scene.ana, &seal).await.expect(201);
        assert_eq!(again, first, "the first answer again");
        let hers = scene.maria.seal(server, &scene.clinic, scene.conversation, &[&scene.ana]);
        scene.publish(server, &scene.maria, &hers).await.expect(201);
        let listed = scene.listed(server).await;
        assert_eq!(listed.len(), 2);
        assert_eq!(listed[1], first, "newest first");
        let page = format!("{}?page_size=1", scene.path());
        let page = server.get(&page, Some(&scene.ana.token)).await.expect(200);
        let cursor = page["next_cursor"].as_str().expect("there is another");
        let next = format!("{}?page_size=1&cursor={cursor}", scene.path());
        let next = server.get(&next, Some(&scene.ana.token)).await.expect(200);
        assert_eq!((&next["results"][0], &next["has_more"]), (&first, &json!(false)));
        let second = format!("{}?page_size=1&page=2", scene.path());
        assert_eq!(server.get(&second, Some(&scene.ana.token)).await.expect(200), next);
    })
    .await;
}

#[tokio::test]
async fn a_seal_for_other_people_or_keys_is_stale_and_the_answer_names_the_keys() {
    both_engines(async |server| {
        let mut scene = Scene::create(server).await;
        let stranger = Device::create(server, &scene.clinic, Role::Doctor, "jorge@demo.example").await;
        let expected = scene.expected();
        let without = scene.ana.seal(server, &scene.clinic, scene.conversation, &[]);
        let with = scene.ana.seal(server, &scene.clinic, scene.conversation, &[&scene.maria, &stranger]);
        let instead = scene.ana.seal(server, &scene.clinic, scene.conversation, &[&stranger]);
        // A history key of hers that is not in force.
        scene.maria.history = XWingSecret::generate(&mut ChaCha20Rng::seed_from_u64(7));
        let other_key = scene.ana.seal(server, &scene.clinic, scene.conversation, &[&scene.maria]);
        for (seal, what) in
            [(without, "missing"), (with, "too many"), (instead, "another"), (other_key, "other key")]
        {
            let details = scene.publish(server, &scene.ana, &seal).await.expect_error(409, "seal_stale");
            assert_eq!(details["expected_key_ids"], expected, "{what}");
        }
        assert!(scene.listed(server).await.is_empty(), "nothing is stored");
    })
    .await;
}

#[tokio::test]
async fn a_seal_that_is_not_well_formed_or_not_the_senders_is_refused() {
    both_engines(async |server| {
        let scene = Scene::create(server).await;
        let good = scene.ana.seal(server, &scene.clinic, scene.conversation, &[&scene.maria]);
        let refused = async |what: &str, change: &dyn Fn(&mut NewSeal)| {
            let mut seal = good.clone();
            change(&mut seal);
            let details = scene.publish(server, &scene.ana, &seal).await.expect_error(422, "invalid_seal");
            assert!(details["problem"].is_string(), "{what}");
        };
        refused("signature", &|seal| seal.signature.0[5] ^= 1).await;
        refused("a copy's byte", &|seal| seal.copies[0].ciphertext.0[0] ^= 1).await;
        refused("a short copy", &|seal| seal.copies[0].enc.0.truncate(1_119)).await;
        refused("a copy twice", &|seal| seal.copies.push(seal.copies[0].clone())).await;
        refused("the members' order", &|seal| seal.members.reverse()).await;
        refused("a member twice", &|seal| seal.members.push(seal.members[1].clone())).await;
        refused("an identity key of low order", &|seal| {
            seal.members[0].identity_key.0[1..].fill(0);
        })
        .await;
        refused("the time", &|seal| {
            seal.created_at = seal.created_at + std::time::Duration::from_secs(600);
        })
        .await;
        // Signed by another member.
        let hers = scene.maria.seal(server, &scene.clinic, scene.conversation, &[&scene.ana]);
        scene.publish(server, &scene.ana, &hers).await.expect_error(422, "invalid_seal");
        // Signed for another conversation.
        let body = json!({"type": "consultation", "participants": [scene.maria.user]});
        let other = server.post("/api/chat/conversations/", Some(&scene.ana.token), &body).await.expect(201);
        let path = format!("/api/chat/conversations/{}/seals/", other["id"].as_str().unwrap());
        server.post(&path, Some(&scene.ana.token), &json!(good)).await.expect_error(422, "invalid_seal");
        assert!(scene.listed(server).await.is_empty(), "nothing is stored");
        // As it was made, it is good.
        scene.publish(server, &scene.ana, &good).await.expect(201);
        // A seal's id is taken once.
        let mut second = scene.ana.seal(server, &scene.clinic, scene.conversation, &[&scene.maria]);
        second.seal_id = good.seal_id;
        scene.publish(server, &scene.ana, &second).await.expect_error(409, "already_exists");
        assert_eq!(scene.listed(server).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn who_may_not_send_may_not_seal() {
    both_engines(async |server| {
        let scene = Scene::create(server).await;
        let seal = scene.ana.seal(server, &scene.clinic, scene.conversation, &[&scene.maria]);
        server.post(&scene.path(), None, &json!(seal)).await.expect_error(401, "unauthenticated");
        let stranger = Device::create(server, &scene.clinic, Role::Doctor, "jorge@demo.example").await;
        scene.publish(server, &stranger, &seal).await.expect_error(404, "not_found");
        let session = scene.clinic.login(server, "ana@demo.example", PASSWORD, json!(null)).await.expect(200);
        let session = session["access_token"].as_str();
        let answer = server.post(&scene.path(), session, &json!(seal)).await;
        assert_eq!(answer.expect_error(403, "message_not_allowed")["reason"], "session_device");
        let elsewhere = Clinic::create(server, "otra").await;
        let far = Device::create(server, &elsewhere, Role::Doctor, "far@otra.example").await;
        scene.publish(server, &far, &seal).await.expect_error(404, "not_found");
        assert!(scene.listed(server).await.is_empty(), "nothing is stored");
    })
    .await;
}

#[tokio::test]
async fn without_keys_there_is_nothing_to_seal_to() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "demo").await;
        let maria = Device::create(server, &clinic, Role::Doctor, "maria@demo.example").await;
        let jorge = clinic.person(server, Role::Doctor, "jorge@demo.example").await;
        let body = json!({"type": "direct", "participants": [jorge.tokens.user_id]});
        let made = server.post("/api/chat/conversations/", Some(&maria.token), &body).await.expect(201);
        let conversation = serde_json::from_value(made["id"].clone()).unwrap();
        let seal = maria.seal(server, &clinic, conversation, &[]);
        let path = format!("/api/chat/conversations/{conversation}/seals/");
        let answer = server.post(&path, Some(&maria.token), &json!(seal)).await;
        assert_eq!(answer.expect_error(409, "keys_missing")["user_ids"], json!([jorge.tokens.user_id]));
    })
    .await;
}
