//! Record seals of a device that follows no rules but the server's: what María's device makes of them.

use rand_core::UnwrapErr;
use serde_json::{Value, json};
use sigilo::fetch_all;
use sigilo_client::{
    ClientEvent, NewConversation, SealVerdict, Sealer, ShownMessage, TimelineNote, Unsealed,
};
use sigilo_seal::{
    ArchiveKey, Content, ContentKey, IdentityPublicKey, IdentitySecret, Manifest, Member, Recipient,
    RecordSeal, SealHeader, XWingSecret, identity_change,
};
use sigilo_wire::{
    Base64, Base64Array, ClientMessageId, ConversationId, Role, SealId,
    keys::UserManifest,
    message::{Deliver, EnvelopeType, MessageKind, Priority, RecipientEnvelope},
};

use crate::{
    people::{PATIENT, World},
    support::{
        TestServer, both_engines,
        cast::join,
        device::{Device, random, records_statement},
        proxy::Proxy,
    },
};

/// Ana on a device of our own making, in a conversation with María, who has the client.
struct Ana<'a> {
    world: &'a World<'a>,
    device: Device,
    conversation: ConversationId,
    /// María's keys.
    maria: UserManifest,
}

impl<'a> Ana<'a> {
    async fn meets(world: &'a World<'a>, maria: &crate::people::Device) -> Self {
        let (server, clinic) = (world.server, &world.clinic);
        let identifier = Some((PATIENT.to_owned(), "MRN-1001".to_owned()));
        let person = join(server, clinic, Role::Patient, "ana@example.org", identifier).await;
        let device = Device::of(server, clinic, &person).await;
        let conversation =
            maria.client.start_conversation(device.user, NewConversation::default()).await.unwrap().id;
        let path = format!("/api/keys/{}/manifest/", maria.user);
        let maria = serde_json::from_value(server.get(&path, Some(&device.token)).await.expect(200)).unwrap();
        Self { world, device, conversation, maria }
    }

    fn server(&self) -> &TestServer {
        self.world.server
    }

    /// Publishes a record seal, with a change that Ana signs.
    async fn seal(&self, change: impl FnOnce(&mut RecordSeal)) -> (SealId, ArchiveKey) {
        let (identity, history) = (&self.device.identity, &self.device.history);
        let mut rng = UnwrapErr(getrandom::SysRng);
        let now = self.server().app.clock.now();
        let archive = ArchiveKey::generate(&mut rng);
        let header = SealHeader {
            tenant: self.device.clinic,
            conversation: self.conversation,
            seal_id: SealId::new(now, random(&mut rng)),
            sender: self.device.user,
            device: self.device.number,
        };
        let maria = Manifest::decode(&self.maria.manifest.statement).unwrap();
        let identity_of_maria = IdentityPublicKey::parse(self.maria.identity_key.as_slice()).unwrap();
        let members = vec![
            Member {
                user: self.device.user,
                identity_key: identity.public(),
                history_key_id: history.public().history_key_id(),
            },
            Member {
                user: self.maria.user_id,
                identity_key: identity_of_maria,
                history_key_id: maria.history_key_id(),
            },
        ];
        let recipients = [
            Recipient::records(&records_statement(&self.world.clinic)).unwrap(),
            Recipient::history(history.public()),
            Recipient::history(maria.history_public_key),
        ];
        let mut seal =
            RecordSeal::create(&archive, header, now, members, &recipients, identity, &mut rng).unwrap();
        change(&mut seal);
        seal.signature = identity.sign(&seal.signing_input(), &mut rng);
        let path = format!("/api/chat/conversations/{}/seals/", self.conversation);
        self.server().post(&path, Some(&self.device.token), &json!(seal.to_new())).await.expect_success();
        (header.seal_id, archive)
    }

    /// Sends Ana's first message, under a seal. Its envelope opens nowhere: only the seal matters here.
    async fn send(&self, seal_id: SealId, archive: ArchiveKey) {
        let mut rng = UnwrapErr(getrandom::SysRng);
        let now = self.server().app.clock.now();
        let sealer = Sealer {
            tenant: self.device.clinic,
            conversation: self.conversation,
            sender: self.device.user,
            device: self.device.number,
            identity: self.device.identity.clone(),
            seal_id,
            archive,
        };
        let message = Unsealed {
            client_message_id: ClientMessageId::new(now, random(&mut rng)),
            sent_at: now,
            content: Content::text("hola"),
            kind: MessageKind::Text,
            priority: Priority::Normal,
            device_seq: 1,
            previous: None,
            seen: None,
            target: None,
            reply_to: None,
            attachments: Vec::new(),
            urgent: false,
            deliver: Deliver::Now,
            expires_in_s: 0,
        };
        let (mut request, _) = sealer.seal(&message, &ContentKey::generate(&mut rng), &mut rng);
        let maria = Manifest::decode(&self.maria.manifest.statement).unwrap();
        request.envelopes = maria
            .devices
            .iter()
            .map(|device| RecipientEnvelope {
                user_id: self.maria.user_id,
                device_id: device.device,
                registration_id: device.registration_id,
                r#type: EnvelopeType::Message,
                content: Base64(random::<190>(&mut rng).to_vec()),
            })
            .collect();
        self.device.post(self.server(), self.conversation, &request).await.expect_success();
    }

    /// Another identity and history key, by the rules.
    async fn changes_identity(&mut self) {
        let server = self.world.server;
        let mut rng = UnwrapErr(getrandom::SysRng);
        let path = format!("/api/keys/{}/manifest/", self.device.user);
        let before = server.get(&path, Some(&self.device.token)).await.expect(200);
        let before: UserManifest = serde_json::from_value(before).unwrap();
        let before = Manifest::decode(&before.manifest.statement).unwrap();
        let (identity, history) = (IdentitySecret::generate(&mut rng), XWingSecret::generate(&mut rng));
        let statement = identity_change::statement(self.device.clinic, self.device.user, &identity.public());
        let change = json!({
            "identity_key": Base64Array(identity.public().to_bytes()),
            "signature_by_previous": Base64Array(self.device.identity.sign(&statement, &mut rng)),
        });
        (self.device.identity, self.device.history) = (identity, history);
        let next = Manifest {
            version: 2,
            previous: Some(before.digest()),
            history_public_key: self.device.history.public(),
            ..before
        };
        let signed = next.sign(&self.device.identity, &mut rng);
        let manifest =
            json!({"statement": Base64(signed.statement), "signature": Base64Array(signed.signature)});
        for (path, body) in [
            ("/api/keys/identity/", &change),
            ("/api/keys/", &self.device.keys(5)),
            ("/api/devices/manifest/", &manifest),
        ] {
            server.put(path, Some(&self.device.token), body).await.expect_success();
        }
    }
}

async fn last(maria: &crate::people::Device, conversation: ConversationId) -> ShownMessage {
    maria.client.history(conversation, 1).await.unwrap().remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seal_by_a_new_identity_is_judged_once_it_is_confirmed() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let maria = world.maria().await;
        let mut ana = Ana::meets(&world, &maria).await;
        // María's device knows Ana's first identity.
        maria.client.safety_number(ana.device.user).await.unwrap();
        ana.changes_identity().await;
        let (seal, archive) = ana.seal(|_| {}).await;
        ana.send(seal, archive).await;
        maria.client.sync_offline().await.unwrap();
        let before = last(&maria, ana.conversation).await.seal;
        assert!(matches!(before, SealVerdict::Unchecked(_)), "{before:?}");
        maria.client.sync_offline().await.unwrap();
        assert_eq!(last(&maria, ana.conversation).await.seal, before, "nothing new is known");

        let number = maria.client.safety_number(ana.device.user).await.unwrap();
        maria.client.confirm_identity(ana.device.user, &number).await.unwrap();
        maria.client.sync_offline().await.unwrap();
        assert_eq!(last(&maria, ana.conversation).await.seal, SealVerdict::Good);
        maria.end().await;
    })
    .await;
}

/// The reports in the audit log: of which seal, what.
pub async fn reports(server: &TestServer) -> Vec<(String, String)> {
    const REPORTS: &str = "SELECT canonical FROM audit_entries WHERE act = 'report_seal' ORDER BY seq";
    let mut tx = server.app.db.read("test").await.unwrap();
    let rows: Vec<(Vec<u8>,)> = fetch_all!(&mut tx, (Vec<u8>,), REPORTS).unwrap();
    let object = |entry: &Value, name: &str| entry["objects"][name].as_str().unwrap().to_owned();
    rows.iter()
        .map(|(entry,)| serde_json::from_slice(entry).unwrap())
        .map(|entry: Value| (object(&entry, "seal"), object(&entry, "problem")))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_seal_is_shown_and_reported_once_also_over_a_bad_line() {
    both_engines(async |server| {
        let world = World::new(server).await;
        let proxy = Proxy::start(server).await;
        let mut maria = world.maria_through(&proxy).await;
        let ana = Ana::meets(&world, &maria).await;
        // The officers' copy is for somebody else's key.
        let stranger = Recipient::history(XWingSecret::from_seed([66; 32]).public());
        let (seal, archive) = ana
            .seal(|seal| {
                let archive = ArchiveKey::from_bytes([9; 32]);
                let others = RecordSeal::create(
                    &archive,
                    seal.header,
                    seal.created_at,
                    seal.members.clone(),
                    &[stranger],
                    &ana.device.identity,
                    &mut UnwrapErr(getrandom::SysRng),
                );
                let copy = others.unwrap().copies.remove(0);
                (seal.copies[0].enc, seal.copies[0].ct) = (copy.enc, copy.ct);
            })
            .await;
        ana.send(seal, archive).await;
        proxy.lose("/invalid/");
        maria.client.sync_offline().await.unwrap();
        maria
            .wait("a line in the timeline", |event| {
                matches!(event, ClientEvent::Timeline { note: TimelineNote::SealInvalid { .. }, .. })
                    .then_some(())
            })
            .await;
        assert!(matches!(last(&maria, ana.conversation).await.seal, SealVerdict::Bad(_)));
        // The report came through, its answer did not; the program ends. The next one sends it again, and then no
        // more.
        let maria = crate::people::Device::again(maria.end().await).await;
        proxy.up();
        for _ in 0..3 {
            maria.client.sync_offline().await.unwrap();
        }
        let sent = proxy.passed("/invalid/");
        assert!(sent.len() >= 2 && sent.iter().all(|request| request.status == 204), "{sent:?}");
        let answered = sent.iter().filter(|request| request.answered).count();
        assert_eq!(answered, 1, "once it is answered it is not sent again: {sent:?}");
        assert_eq!(reports(server).await, [(seal.to_string(), "bad_copy".to_owned())]);
        maria.end().await;
    })
    .await;
}
