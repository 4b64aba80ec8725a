//! Every operation of the API is asked without a caller and with another clinic's ids. A new operation fails
//! these tests until it says in [`CASES`] what of another clinic could be named in it.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::{Value, json};
use sigilo::{Ctx, auth, people};
use sigilo_wire::{Base64, Base64Array, ConversationId, MessageId, Role};

use crate::support::{
    TestServer, both_engines,
    clinic::{Clinic, PASSWORD},
    device::{Device, relate},
    http::Answer,
    link::Newcomer,
};

/// Operations that need no caller. This list may only shrink: everything else needs a token.
const PUBLIC: [&str; 14] = [
    "GET /.well-known/jwks.json",
    // A login with an identity provider begins without a caller; its code and the app's verifier prove one.
    "GET /api/auth/oidc/{provider}/callback/",
    "GET /api/auth/oidc/{provider}/start/",
    // Whoever knows a link that somebody has opened reads what only its new device can open.
    "GET /api/devices/link/{link_id}/",
    "GET /health",
    "GET /ready",
    "POST /api/auth/activate/",
    "POST /api/auth/login/",
    // Their bodies carry the refresh token that proves the caller.
    "POST /api/auth/logout/",
    "POST /api/auth/oidc/{provider}/token/",
    // Its body carries the clinic's code.
    "POST /api/auth/password/reset/",
    "POST /api/auth/refresh/",
    // Its body carries what was in the package.
    "POST /api/devices/link/{link_id}/claim/",
    // One key, to a link that somebody has opened.
    "PUT /api/devices/link/{link_id}/key/",
];

/// What of another clinic a caller could name.
#[derive(Clone, Copy)]
enum Case {
    /// Nothing: the operation takes no id of anything that is stored.
    NoIds,
    /// These requests, made with the other clinic's ids.
    Foreign(fn(&World) -> Vec<Ask>),
}
use Case::{Foreign, NoIds};

/// A request that names things of the other clinic.
#[derive(Clone)]
struct Ask {
    path: String,
    body: Option<Value>,
    expected: Expected,
}

#[derive(Clone, Copy)]
enum Expected {
    /// As if the things were not there. Their own people do find them, when the request only reads.
    NotFound,
    /// Refused with this status before any id is looked up.
    Refused(u16),
    /// A list with nothing in it.
    Nothing,
}

fn not_found(path: String, body: Option<Value>) -> Vec<Ask> {
    vec![Ask { path, body, expected: Expected::NotFound }]
}

/// Refused to all but the clinic's own staff, whose case is the operation's own test.
fn forbidden(path: String, body: Option<Value>) -> Vec<Ask> {
    vec![Ask { path, body, expected: Expected::Refused(403) }]
}

/// What each operation is asked. One line an operation.
const CASES: &[(&str, Case)] = &[
    ("GET /.well-known/jwks.json", NoIds),
    ("GET /health", NoIds),
    ("GET /ready", NoIds),
    ("POST /api/auth/activate/", Foreign(|w| refused(401, "/api/auth/activate/", w.activation()))),
    ("POST /api/auth/login/", Foreign(|w| not_found("/api/auth/login/".to_owned(), Some(w.login())))),
    ("POST /api/auth/logout/", NoIds),
    // No provider is configured in these tests: each is of one clinic. With one, another's devices are not there either
    // (`a_login_gives_no_identity_and_resets_none`).
    ("GET /api/auth/oidc/{provider}/start/", NoIds),
    ("GET /api/auth/oidc/{provider}/callback/", NoIds),
    (
        "POST /api/auth/oidc/{provider}/token/",
        Foreign(|w| {
            let device = json!({"kind": "messaging", "name": "", "device_id": w.theirs.ana.device});
            let body = json!({"code": "c", "verifier": "v", "device": device});
            not_found("/api/auth/oidc/hospital/token/".to_owned(), Some(body))
        }),
    ),
    (
        "PUT /api/admin/users/{user_id}/oidc/{provider}/",
        Foreign(|w| {
            let path = format!("/api/admin/users/{}/oidc/hospital/", w.theirs.ana.user);
            forbidden(path, Some(json!({"subject": "s"})))
        }),
    ),
    (
        "DELETE /api/admin/users/{user_id}/oidc/{provider}/",
        Foreign(|w| forbidden(format!("/api/admin/users/{}/oidc/hospital/", w.theirs.ana.user), None)),
    ),
    ("POST /api/auth/refresh/", NoIds),
    ("POST /api/auth/ws-ticket/", NoIds),
    ("GET /api/auth/mfa/", NoIds),
    ("POST /api/auth/mfa/confirm/", NoIds),
    ("POST /api/auth/mfa/disable/", NoIds),
    ("POST /api/auth/mfa/enroll/", NoIds),
    ("POST /api/auth/mfa/verify/", NoIds),
    ("POST /api/auth/password/change/", NoIds),
    ("POST /api/auth/password/reset/", Foreign(|w| refused(401, "/api/auth/password/reset/", w.reset()))),
    ("GET /api/me/", NoIds),
    ("DELETE /api/me/identity-reset/", NoIds),
    ("PUT /api/me/", NoIds),
    ("GET /api/clinic/", NoIds),
    ("GET /api/devices/", NoIds),
    (
        "DELETE /api/devices/{device_id}/",
        Foreign(|w| not_found(format!("/api/devices/{}/", w.theirs.maria.device), None)),
    ),
    ("GET /api/devices/link/", NoIds),
    (
        "POST /api/devices/link/",
        Foreign(|w| refused(409, "/api/devices/link/", json!({"link_id": w.theirs.newcomer.offer.link_id}))),
    ),
    // Anybody who knows a link may read it: see PUBLIC. What is in it is sealed to one device.
    (
        "GET /api/devices/link/{link_id}/",
        Foreign(|_| {
            let path = Newcomer::new(99).path("");
            vec![Ask { path, body: None, expected: Expected::Refused(404) }]
        }),
    ),
    (
        "PUT /api/devices/link/{link_id}/key/",
        Foreign(|_| {
            let new = Newcomer::new(99);
            let key = Base64(new.key.public().as_bytes().to_vec());
            not_found(new.path("key/"), Some(json!({"public_key": key})))
        }),
    ),
    (
        "POST /api/devices/link/{link_id}/approve/",
        Foreign(|w| not_found(w.theirs.newcomer.path("approve/"), Some(w.approval()))),
    ),
    (
        "POST /api/devices/link/{link_id}/claim/",
        Foreign(|w| {
            let claim = json!({"claim": Base64Array([0; 32])});
            refused(401, &w.theirs.newcomer.path("claim/"), claim)
        }),
    ),
    (
        "PUT /api/devices/manifest/",
        Foreign(|w| refused(422, "/api/devices/manifest/", w.theirs.manifest.clone())),
    ),
    ("GET /api/keys/", NoIds),
    ("PUT /api/keys/", NoIds),
    ("PUT /api/keys/identity/", NoIds),
    ("POST /api/keys/check/", NoIds),
    (
        "GET /api/keys/{user_id}/manifest/",
        Foreign(|w| not_found(format!("/api/keys/{}/manifest/", w.theirs.ana.user), None)),
    ),
    (
        "GET /api/keys/{user_id}/{device_id}/",
        Foreign(|w| not_found(format!("/api/keys/{}/*/", w.theirs.ana.user), None)),
    ),
    (
        "DELETE /api/chat/messages/{message_id}/hold/",
        Foreign(|w| not_found(format!("/api/chat/messages/{}/hold/", w.theirs.message), None)),
    ),
    (
        "POST /api/chat/upload-file/",
        Foreign(|w| {
            refused(415, "/api/chat/upload-file/", json!({"conversation_id": w.theirs.conversation}))
        }),
    ),
    // What it names stands in a header: `a_file_comes_in_pieces`, and the rules are those of an upload in one request.
    ("POST /api/chat/uploads/", NoIds),
    // Their names are the devices' own; before one is looked for, tus is spoken.
    ("HEAD /api/chat/uploads/{upload_id}/", Foreign(|w| w.upload())),
    ("PATCH /api/chat/uploads/{upload_id}/", Foreign(|w| w.upload())),
    ("DELETE /api/chat/uploads/{upload_id}/", Foreign(|w| w.upload())),
    // Another clinic's file, and nobody's, are the same: `only_who_takes_part_reads_a_file`.
    ("GET /api/chat/files/{file_id}/", Foreign(|w| w.file(""))),
    ("GET /api/chat/files/{file_id}/content/", Foreign(|w| w.file("content/"))),
    (
        "POST /api/chat/files/{file_id}/consent/",
        Foreign(|w| {
            let path = format!("/api/chat/files/{}/consent/", w.theirs.conversation);
            not_found(path, Some(json!({"allowed": true})))
        }),
    ),
    ("GET /api/admin/anomalies/", NoIds),
    ("GET /api/admin/anomalies/settings/", NoIds),
    ("PUT /api/admin/anomalies/settings/", NoIds),
    (
        "POST /api/admin/anomalies/{anomaly_id}/review/",
        Foreign(|w| {
            let path = format!("/api/admin/anomalies/{}/review/", w.theirs.maria.user);
            forbidden(path, Some(json!({"outcome": "harmless"})))
        }),
    ),
    ("GET /api/admin/break-glass/", NoIds),
    ("GET /api/admin/emergencies/", NoIds),
    ("GET /api/admin/on-call/", NoIds),
    ("PUT /api/admin/on-call/", NoIds),
    (
        "POST /api/admin/on-call/",
        Foreign(|w| {
            let body = json!({"user_id": w.theirs.maria.user, "tier": 1});
            forbidden("/api/admin/on-call/".to_owned(), Some(body))
        }),
    ),
    (
        "DELETE /api/admin/on-call/{shift_id}/",
        Foreign(|w| forbidden(format!("/api/admin/on-call/{}/", w.theirs.maria.user), None)),
    ),
    (
        "GET /api/admin/relationships/",
        Foreign(|w| {
            let query = format!("?patient_id={}&clinician_id={}", w.theirs.ana.user, w.theirs.maria.user);
            forbidden(format!("/api/admin/relationships/{query}"), None)
        }),
    ),
    (
        "POST /api/admin/relationships/",
        Foreign(|w| {
            let body = json!({"patient_id": w.theirs.ana.user, "clinician_id": w.theirs.maria.user, "reason": "cover",
                "text": "covers", "expires_at": "2100-01-01T00:00:00Z"});
            forbidden("/api/admin/relationships/".to_owned(), Some(body))
        }),
    ),
    (
        "DELETE /api/admin/relationships/{relationship_id}/",
        Foreign(|w| forbidden(format!("/api/admin/relationships/{}/", w.theirs.maria.user), None)),
    ),
    ("GET /api/admin/networks/", NoIds),
    ("PUT /api/admin/networks/", NoIds),
    ("GET /api/admin/care-teams/", NoIds),
    ("POST /api/admin/care-teams/", NoIds),
    ("GET /api/admin/care-teams/{care_team_id}/", Foreign(|w| forbidden(w.care_team(""), None))),
    ("DELETE /api/admin/care-teams/{care_team_id}/", Foreign(|w| forbidden(w.care_team(""), None))),
    (
        "PUT /api/admin/care-teams/{care_team_id}/clinicians/{user_id}/",
        Foreign(|w| forbidden(w.care_team("clinicians/"), Some(json!({})))),
    ),
    (
        "DELETE /api/admin/care-teams/{care_team_id}/clinicians/{user_id}/",
        Foreign(|w| forbidden(w.care_team("clinicians/"), None)),
    ),
    (
        "PUT /api/admin/care-teams/{care_team_id}/patients/{user_id}/",
        Foreign(|w| forbidden(w.care_team("patients/"), Some(json!({})))),
    ),
    (
        "DELETE /api/admin/care-teams/{care_team_id}/patients/{user_id}/",
        Foreign(|w| forbidden(w.care_team("patients/"), None)),
    ),
    ("POST /api/chat/emergency/", NoIds),
    ("GET /api/chat/emergency/{conversation_id}/", Foreign(|w| not_found(w.emergency(""), None))),
    (
        "POST /api/chat/emergency/{conversation_id}/ack/",
        Foreign(|w| not_found(w.emergency("ack/"), Some(json!({})))),
    ),
    (
        "POST /api/chat/emergency/{conversation_id}/escalate/",
        Foreign(|w| not_found(w.emergency("escalate/"), Some(json!({})))),
    ),
    (
        "POST /api/chat/emergency/{conversation_id}/close/",
        Foreign(|w| not_found(w.emergency("close/"), Some(json!({"outcome": "advised"})))),
    ),
    (
        "POST /api/chat/break-glass/",
        Foreign(|w| {
            let body = json!({"patient_id": w.theirs.ana.user, "reason": "on_call_cover", "text": "covers"});
            not_found("/api/chat/break-glass/".to_owned(), Some(body))
        }),
    ),
    ("GET /api/compliance/break-glass/", NoIds),
    (
        "POST /api/compliance/break-glass/{break_glass_id}/close/",
        Foreign(|w| {
            let path = format!("/api/compliance/break-glass/{}/close/", w.theirs.maria.user);
            forbidden(path, Some(json!({"finding": "justified"})))
        }),
    ),
    ("GET /api/admin/break-glass/settings/", NoIds),
    ("PUT /api/admin/break-glass/settings/", NoIds),
    ("GET /api/admin/hours/", NoIds),
    ("PUT /api/admin/hours/", NoIds),
    ("GET /api/admin/hours/{user_id}/", Foreign(|w| forbidden(w.hours(), None))),
    ("PUT /api/admin/hours/{user_id}/", Foreign(|w| forbidden(w.hours(), Some(json!({}))))),
    ("DELETE /api/admin/hours/{user_id}/", Foreign(|w| forbidden(w.hours(), None))),
    ("GET /api/admin/holidays/", Foreign(|w| forbidden(w.holidays(""), None))),
    ("PUT /api/admin/holidays/{date}/", Foreign(|w| forbidden(w.holidays("2027-01-01/"), Some(json!({}))))),
    ("DELETE /api/admin/holidays/{date}/", Foreign(|w| forbidden(w.holidays("2027-01-01/"), None))),
    (
        "POST /api/admin/users/{user_id}/identity-reset/",
        Foreign(|w| {
            not_found(format!("/api/admin/users/{}/identity-reset/", w.theirs.ana.user), Some(json!({})))
        }),
    ),
    (
        "POST /api/admin/identity-resets/{reset_id}/approve/",
        Foreign(|w| {
            let root = json!({"root": Base64Array([0; 32])});
            not_found(format!("/api/admin/identity-resets/{}/approve/", w.theirs.reset), Some(root))
        }),
    ),
    (
        "DELETE /api/admin/identity-resets/{reset_id}/",
        Foreign(|w| not_found(format!("/api/admin/identity-resets/{}/", w.theirs.reset), None)),
    ),
    ("GET /api/chat/contacts/", NoIds),
    ("GET /api/chat/block-user/", NoIds),
    (
        "POST /api/chat/block-user/",
        Foreign(|w| {
            not_found("/api/chat/block-user/".to_owned(), Some(json!({"user_id": w.theirs.maria.user})))
        }),
    ),
    (
        "DELETE /api/chat/block-user/{user_id}/",
        Foreign(|w| not_found(format!("/api/chat/block-user/{}/", w.theirs.maria.user), None)),
    ),
    (
        "GET /api/chat/conversations/",
        Foreign(|w| nothing(format!("/api/chat/conversations/?with_user={}", w.theirs.ana.user))),
    ),
    (
        "POST /api/chat/conversations/",
        Foreign(|w| not_found("/api/chat/conversations/".to_owned(), Some(w.start()))),
    ),
    ("GET /api/chat/conversations/{conversation_id}/", Foreign(|w| not_found(w.theirs.path(""), None))),
    (
        "PUT /api/chat/conversations/{conversation_id}/",
        Foreign(|w| not_found(w.theirs.path(""), Some(json!({"settings": {"archived": true}})))),
    ),
    ("DELETE /api/chat/conversations/{conversation_id}/", Foreign(|w| not_found(w.theirs.path(""), None))),
    (
        "GET /api/chat/conversations/{conversation_id}/messages/",
        Foreign(|w| not_found(w.theirs.path("messages/"), None)),
    ),
    (
        "POST /api/chat/conversations/{conversation_id}/messages/",
        Foreign(|w| not_found(w.theirs.path("messages/"), Some(w.theirs.next.clone()))),
    ),
    (
        "POST /api/chat/conversations/{conversation_id}/participants/",
        Foreign(|w| {
            let body = Some(json!({"user_ids": [w.theirs.maria.user]}));
            let ours = w.ours.path("participants/");
            [not_found(w.theirs.path("participants/"), body.clone()), not_found(ours, body)].concat()
        }),
    ),
    (
        "DELETE /api/chat/conversations/{conversation_id}/participants/{user_id}/",
        Foreign(|w| {
            let person = format!("participants/{}/", w.theirs.maria.user);
            [not_found(w.theirs.path(&person), None), not_found(w.ours.path(&person), None)].concat()
        }),
    ),
    (
        "GET /api/chat/conversations/{conversation_id}/seals/",
        Foreign(|w| not_found(w.theirs.path("seals/"), None)),
    ),
    (
        "POST /api/chat/conversations/{conversation_id}/seals/",
        Foreign(|w| not_found(w.theirs.path("seals/"), Some(w.theirs.seal.clone()))),
    ),
    (
        "POST /api/chat/conversations/{conversation_id}/seals/{seal_id}/invalid/",
        Foreign(|w| not_found(w.theirs.published("invalid/"), Some(json!({"problem": "bad_copy"})))),
    ),
    ("GET /api/chat/vault/scan-key/", NoIds),
    ("POST /api/chat/files/{file_id}/scan-key/", Foreign(|w| w.scan("scan-key/"))),
    ("POST /api/chat/files/{file_id}/rescan/", Foreign(|w| w.scan("rescan/"))),
    ("GET /api/moderation/quarantine/", NoIds),
    (
        "POST /api/moderation/quarantine/{file_id}/release/",
        Foreign(|w| {
            let path = format!("/api/moderation/quarantine/{}/release/", w.theirs.conversation);
            forbidden(path, Some(json!({"statement": "AA==", "signature": Base64Array([0; 64])})))
        }),
    ),
    (
        "DELETE /api/moderation/quarantine/{file_id}/",
        Foreign(|w| forbidden(format!("/api/moderation/quarantine/{}/", w.theirs.conversation), None)),
    ),
    (
        "GET /api/chat/messages/{message_id}/",
        Foreign(|w| not_found(format!("/api/chat/messages/{}/", w.theirs.message), None)),
    ),
    (
        "PUT /api/chat/messages/{message_id}/",
        Foreign(|w| {
            not_found(format!("/api/chat/messages/{}/", w.theirs.message), Some(w.theirs.next.clone()))
        }),
    ),
    (
        "DELETE /api/chat/messages/{message_id}/",
        Foreign(|w| {
            not_found(format!("/api/chat/messages/{}/", w.theirs.message), Some(w.theirs.next.clone()))
        }),
    ),
    (
        "POST /api/chat/messages/{message_id}/read/",
        Foreign(|w| not_found(format!("/api/chat/messages/{}/read/", w.theirs.message), Some(json!({})))),
    ),
    (
        "POST /api/chat/conversations/{conversation_id}/read/",
        Foreign(|w| not_found(w.theirs.path("read/"), Some(json!({})))),
    ),
    ("GET /api/chat/unread-count/", NoIds),
    (
        "GET /api/chat/search/",
        Foreign(|w| nothing(format!("/api/chat/search/?with_user={}", w.theirs.ana.user))),
    ),
    ("GET /api/chat/events/", NoIds),
    (
        "POST /api/policy/explain/",
        Foreign(|w| {
            let path = || "/api/policy/explain/".to_owned();
            let inside = json!({"action": "send_message", "conversation_id": w.theirs.conversation});
            let whom = json!({"action": "fetch_keys", "user_ids": [w.theirs.maria.user]});
            let of = json!({"action": "list_contacts", "actor_id": w.theirs.ana.user});
            [inside, whom, of].into_iter().flat_map(|body| not_found(path(), Some(body))).collect()
        }),
    ),
];

fn refused(status: u16, path: &str, body: Value) -> Vec<Ask> {
    vec![Ask { path: path.to_owned(), body: Some(body), expected: Expected::Refused(status) }]
}

fn nothing(path: String) -> Vec<Ask> {
    vec![Ask { path, body: None, expected: Expected::Nothing }]
}

/// A clinic with a conversation.
struct Side {
    clinic: Clinic,
    ana: Device,
    maria: Device,
    conversation: ConversationId,
    message: MessageId,
    /// A message that was not sent yet.
    next: Value,
    /// A seal that was not published yet.
    seal: Value,
    /// Ana's next manifest.
    manifest: Value,
    /// A device that Ana is about to link.
    newcomer: Newcomer,
    /// A new identity of María that an admin has asked for.
    reset: String,
    /// An emergency of Ana.
    emergency: String,
}

impl Side {
    async fn create(server: &TestServer, slug: &str, newcomer: Newcomer) -> Self {
        let clinic = Clinic::create(server, slug).await;
        let ana = Device::create(server, &clinic, Role::Patient, "ana@clinic.example").await;
        let maria = Device::create(server, &clinic, Role::Doctor, "maria@clinic.example").await;
        relate(server, &ana, &maria).await;
        let conversation = ana.start(server, &maria).await;
        ana.publish_seal(server, &clinic, conversation, &[&maria]).await;
        let sent = ana.text(server, conversation, "first", &[&maria]);
        let accepted = ana.post(server, conversation, &sent).await.expect(201);
        let next = json!(ana.text(server, conversation, "second", &[&maria]));
        let seal = json!(ana.seal(server, &clinic, conversation, &[&maria]));
        let manifest = ana.manifest(2, None, server);
        let message = serde_json::from_value(accepted["message_id"].clone()).unwrap();
        let admin = clinic.person(server, Role::Admin, "admin@clinic.example").await;
        let path = format!("/api/admin/users/{}/identity-reset/", maria.user);
        let asked = server.post(&path, admin.token(), &json!({})).await.expect(201);
        let reset = asked["reset_id"].as_str().unwrap().to_owned();
        let shift = json!({"user_id": maria.user, "tier": 1});
        server.post("/api/admin/on-call/", admin.token(), &shift).await.expect(201);
        let call = json!({"category": "other", "urgency": "urgent"});
        let opened = server.post("/api/chat/emergency/", Some(&ana.token), &call).await.expect(201);
        let emergency = opened["emergency"]["conversation_id"].as_str().unwrap().to_owned();
        newcomer.begin(server, &ana).await.expect(201);
        newcomer.offer_key(server).await.expect(204);
        Self { clinic, ana, maria, conversation, message, next, seal, manifest, newcomer, reset, emergency }
    }

    /// A path below the seal that was published.
    fn published(&self, below: &str) -> String {
        self.path(&format!("seals/{}/{below}", self.next["seal_id"].as_str().unwrap()))
    }

    /// A path below the conversation.
    fn path(&self, below: &str) -> String {
        format!("/api/chat/conversations/{}/{below}", self.conversation)
    }
}

/// Two clinics that know nothing of each other.
struct World {
    ours: Side,
    theirs: Side,
    /// An invitation of ours.
    code: String,
    /// A code for a new password of ours.
    reset_code: String,
}

impl World {
    async fn create(server: &TestServer) -> Self {
        let ours = Side::create(server, "ours", Newcomer::new(1)).await;
        let theirs = Side::create(server, "theirs", Newcomer::new(2)).await;
        let code = ours.clinic.invite(server, Role::Patient, "new@clinic.example").await.code;
        let ctx = Ctx::operator(&server.app, ours.clinic.id);
        let grant = people::authorize_manage_people(&server.app, &ctx).unwrap();
        let reset = auth::issue_password_reset(&server.app, &ctx, grant, ours.ana.user).await.unwrap();
        Self { ours, theirs, code, reset_code: reset.code }
    }

    /// What we would put into their link.
    fn approval(&self) -> Value {
        let manifest = json!({"statement": Base64::default(), "signature": Base64Array([0; 64])});
        json!({"device_id": 2, "claim_sha256": Base64Array([0; 32]), "enc": Base64(vec![0; 1_120]),
               "ct": Base64(vec![0]), "manifest": manifest})
    }

    /// Our invitation at their clinic.
    fn activation(&self) -> Value {
        json!({"clinic": self.theirs.clinic.id, "code": self.code, "password": PASSWORD,
               "device": {"kind": "messaging", "name": "phone"}})
    }

    /// The hours of their doctor.
    fn hours(&self) -> String {
        format!("/api/admin/hours/{}/", self.theirs.maria.user)
    }

    /// An emergency of theirs.
    fn emergency(&self, step: &str) -> String {
        format!("/api/chat/emergency/{}/{step}", self.theirs.emergency)
    }

    fn holidays(&self, date: &str) -> String {
        format!("/api/admin/holidays/{date}?user_id={}", self.theirs.maria.user)
    }

    /// An upload by any id.
    fn upload(&self) -> Vec<Ask> {
        let path = format!("/api/chat/uploads/{}/", self.theirs.conversation);
        vec![Ask { path, body: None, expected: Expected::Refused(412) }]
    }

    /// A file by any id.
    fn file(&self, below: &str) -> Vec<Ask> {
        let path = format!("/api/chat/files/{}/{below}", self.theirs.conversation);
        vec![Ask { path, body: None, expected: Expected::Refused(404) }]
    }

    /// A file's key for the scan, of a file by any id: another clinic's and nobody's are the same.
    fn scan(&self, act: &str) -> Vec<Ask> {
        let key = json!({
            "key_id": Base64Array([0; 16]), "encapsulation": "AA==", "ciphertext": Base64Array([0; 48]),
        });
        not_found(format!("/api/chat/files/{}/{act}", self.theirs.conversation), Some(key))
    }

    /// A care team by any id, or one of its members.
    fn care_team(&self, side: &str) -> String {
        let member =
            if side.is_empty() { String::new() } else { format!("{side}{}/", self.theirs.maria.user) };
        format!("/api/admin/care-teams/{}/{member}", self.theirs.maria.user)
    }

    /// Our code for a new password at their clinic.
    fn reset(&self) -> Value {
        json!({"clinic": self.theirs.clinic.id, "code": self.reset_code, "new_password": PASSWORD})
    }

    /// Our login on their device.
    fn login(&self) -> Value {
        json!({"clinic": self.ours.clinic.slug, "email": "ana@clinic.example", "password": PASSWORD,
               "device": {"kind": "messaging", "name": "phone", "device_id": self.theirs.ana.device}})
    }

    /// A conversation of ours with their doctor.
    fn start(&self) -> Value {
        json!({"type": "direct", "participants": [self.theirs.maria.user]})
    }
}

/// The operations of the description, by `METHOD path`.
fn operations() -> BTreeMap<String, Value> {
    let document = document();
    let mut operations = BTreeMap::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations.insert(format!("{} {path}", method.to_uppercase()), operation.clone());
        }
    }
    operations
}

fn document() -> Value {
    serde_json::to_value(sigilo::gateway::http::document()).unwrap()
}

fn split(operation: &str) -> (Method, &str) {
    let (method, path) = operation.split_once(' ').unwrap();
    (method.parse().unwrap(), path)
}

#[test]
fn every_operation_has_its_case() {
    let described: BTreeSet<String> = operations().into_keys().collect();
    let declared: BTreeSet<String> = CASES.iter().map(|(operation, _)| (*operation).to_owned()).collect();
    let missing: Vec<_> = described.difference(&declared).collect();
    assert!(missing.is_empty(), "say in CASES what of another clinic can be named in {missing:?}");
    let gone: Vec<_> = declared.difference(&described).collect();
    assert!(gone.is_empty(), "take out of CASES: {gone:?}");
    assert_eq!(CASES.len(), declared.len(), "an operation has two cases");
}

#[test]
fn only_the_listed_operations_are_public() {
    let public: Vec<String> = operations()
        .into_iter()
        .filter(|(_, operation)| operation["security"] == json!([{}]))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(public, PUBLIC);
}

#[test]
fn operations_without_ids_take_none() {
    let document = document();
    let operations = operations();
    for (name, case) in CASES {
        let operation = &operations[*name];
        let mut ids = BTreeSet::new();
        for input in [&operation["parameters"], &operation["requestBody"]] {
            find_ids(input, &document, "", &mut ids);
        }
        if matches!(case, NoIds) {
            assert!(ids.is_empty(), "{name} takes ids: {ids:?}");
        }
        // The search itself works: what is in a path is found.
        let in_path = name.split('{').skip(1).filter_map(|rest| rest.split('}').next());
        let is_id = |id: &&str| {
            !["date", "provider"].contains(id) && (*id != "device_id" || name.contains("/devices/"))
        };
        for id in in_path.filter(is_id) {
            assert!(ids.contains(id), "{name}: {id} is not described as an id");
        }
    }
}

/// Collects the names under which a schema takes ids.
fn find_ids(schema: &Value, document: &Value, name: &str, ids: &mut BTreeSet<String>) {
    if schema["format"] == "uuid" {
        ids.insert(name.to_owned());
    }
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#')).unwrap();
        find_ids(target, document, name, ids);
    }
    match schema {
        Value::Object(members) => {
            let name = members.get("name").and_then(Value::as_str).unwrap_or(name);
            for (key, member) in members {
                let inner = if matches!(key.as_str(), "schema" | "items" | "properties" | "content") {
                    name
                } else {
                    key
                };
                find_ids(member, document, inner, ids);
            }
        }
        Value::Array(members) => members.iter().for_each(|member| find_ids(member, document, name, ids)),
        _ => {}
    }
}

#[tokio::test]
async fn without_a_caller_nothing_but_the_public_operations_answers() {
    both_engines(async |server| {
        for name in operations().keys().filter(|name| !PUBLIC.contains(&name.as_str())) {
            let (method, template) = split(name);
            let path = template
                .replace("{device_id}", "1")
                .split('/')
                .map(|part| if part.starts_with('{') { "0197f6a2-0000-7000-8000-000000000001" } else { part })
                .collect::<Vec<_>>()
                .join("/");
            for authorization in [None, Some("Bearer nothing"), Some("Basic eDp5"), Some("Bearer")] {
                let mut request =
                    server.client.request(method.clone(), format!("{}{path}", server.url)).json(&json!({}));
                if let Some(authorization) = authorization {
                    request = request.header("authorization", authorization);
                }
                let answer = Answer::of(request.send().await.unwrap()).await;
                assert_eq!(
                    answer.header("www-authenticate"),
                    Some("Bearer"),
                    "{name}, {authorization:?}: {}",
                    answer.body
                );
                // No body says why.
                if method == Method::HEAD {
                    assert_eq!(answer.status, 401, "{name}");
                } else {
                    answer.expect_error(401, "unauthenticated");
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn another_clinics_ids_are_as_if_they_did_not_exist() {
    both_engines(async |server| {
        let world = World::create(server).await;
        for (name, case) in CASES {
            let Foreign(asks) = case else { continue };
            let (method, _) = split(name);
            for ask in asks(&world) {
                for caller in [&world.ours.ana, &world.ours.maria] {
                    // Public operations have no caller.
                    let token = (!PUBLIC.contains(name)).then_some(caller.token.as_str());
                    let answer = server.request(method.clone(), &ask.path, token, ask.body.as_ref()).await;
                    check(name, &ask.expected, &answer);
                }
                if method == Method::GET && matches!(ask.expected, Expected::NotFound) {
                    let found = server.get(&ask.path, Some(&world.theirs.maria.token)).await;
                    assert_eq!(found.status, 200, "{name}: their own people find it: {}", found.body);
                }
            }
        }
        let socket = format!("/ws/chat/{}/", world.theirs.conversation);
        server.get(&socket, Some(&world.ours.ana.token)).await.expect_error(404, "not_found");
    })
    .await;
}

fn check(name: &str, expected: &Expected, answer: &Answer) {
    match expected {
        Expected::NotFound => {
            assert_eq!(
                (answer.status, &answer.body["error"]),
                (404, &json!("not_found")),
                "{name}: {}",
                answer.body
            );
        }
        Expected::Refused(status) => assert_eq!(answer.status, *status, "{name}: {}", answer.body),
        Expected::Nothing => {
            assert_eq!(
                (answer.status, &answer.body["results"]),
                (200, &json!([])),
                "{name}: {}",
                answer.body
            );
        }
    }
}

#[tokio::test]
async fn sockets_need_a_caller() {
    both_engines(async |server| {
        for path in ["/ws/chat/", "/ws/chat/0197f6a2-0000-7000-8000-000000000001/", "/ws/chat/?token=nothing"]
        {
            server.get(path, None).await.expect_error(401, "unauthenticated");
        }
    })
    .await;
}
