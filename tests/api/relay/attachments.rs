//! Files that messages refer to: the sender's own, shown with what the scan says by now.

use serde_json::{Value, json};
use sigilo::execute;
use sigilo_wire::{
    Base64Array, ConversationId, FileId,
    message::{AttachmentRef, MessageKind, SendMessage},
    vault::{DocumentType, ScanStatus},
};

use super::{Pair, connect, next_of};
use crate::support::{TestServer, both_engines, device::Device};

/// Lays a file into the vault as if its upload had ended: `number` names it and is every byte of its hash.
async fn lay(
    server: &TestServer,
    by: &Device,
    conversation: ConversationId,
    (number, r#type): (u8, DocumentType),
) -> AttachmentRef {
    let sql = "INSERT INTO files (file_id, tenant_id, conversation_id, uploader_id, device_id, upload_id, mime_type,
        length, blob_sha256, commitment, document_type, requires_consent, watermark, can_forward, can_print, object,
        data_key_id, scan, rescan_key_needed, ever_clean, downloads, uploaded_at)
        SELECT $1, $2, $3, $4, d.device_id, $1, 'application/pdf', 100, $5, $5, $6, false, false, true, true,
        'x', $1, 'pending', false, false, 0, $7 FROM devices d WHERE d.user_id = $4";
    let file = AttachmentRef { file_id: FileId::from_bytes([number; 16]), sha256: Base64Array([number; 32]) };
    let now = server.app.clock.now();
    let mut tx = server.app.db.begin("test").await.unwrap();
    let (id, hash) = (file.file_id, file.sha256.0.to_vec());
    execute!(&mut tx, sql, id, by.clinic, conversation, by.user, hash.as_slice(), r#type.as_str(), now)
        .unwrap();
    tx.commit().await.unwrap();
    file
}

/// What the scan worker writes.
async fn scanned(server: &TestServer, file: &AttachmentRef, scan: ScanStatus) {
    let mut tx = server.app.db.begin("test").await.unwrap();
    let sql = "UPDATE files SET scan = $2 WHERE file_id = $1";
    assert_eq!(execute!(&mut tx, sql, file.file_id, scan.as_str()).unwrap(), 1);
    tx.commit().await.unwrap();
}

fn naming(pair: &Pair, server: &TestServer, files: &[&AttachmentRef]) -> SendMessage {
    let attach = |message: &mut SendMessage| {
        message.message_type = MessageKind::File;
        message.attachments = files.iter().map(|file| (*file).clone()).collect();
    };
    pair.ana.message(server, pair.conversation, "my results", &[&pair.maria], attach)
}

fn shown(file: &AttachmentRef, status: &str) -> Value {
    json!({"file_id": file.file_id, "sha256": file.sha256, "status": status})
}

#[tokio::test]
async fn files_come_with_what_the_scan_says_of_them_by_now() {
    both_engines(async |server| {
        let pair = Pair::create(server, "attachments").await;
        let result = lay(server, &pair.ana, pair.conversation, (1, DocumentType::LabResult)).await;
        let picture = lay(server, &pair.ana, pair.conversation, (2, DocumentType::Image)).await;
        pair.send(server, "without").await;
        let accepted = pair.post(server, &naming(&pair, server, &[&picture, &result])).await;

        let pending = json!([shown(&picture, "pending"), shown(&result, "pending")]);
        let (waiting, mut socket) = connect(server, &pair.maria).await;
        let waited = waiting.iter().find(|frame| frame["data"]["message_type"] == "file").unwrap();
        assert_eq!(waited["data"]["attachments"], pending);
        scanned(server, &picture, ScanStatus::Clean).await;
        scanned(server, &result, ScanStatus::Infected).await;
        let now = json!([shown(&picture, "clean"), shown(&result, "infected")]);
        let missed = server.get("/api/chat/events/", Some(&pair.maria.token)).await.expect(200);
        let missed = missed["results"].as_array().unwrap();
        let again = missed.iter().find(|frame| frame["data"]["message_type"] == "file").unwrap();
        assert_eq!(again["data"]["attachments"], now);
        let one = format!("/api/chat/messages/{}/", accepted.message_id);
        assert_eq!(server.get(&one, Some(&pair.maria.token)).await.expect(200)["attachments"], now);
        let history = pair.history(server).await;
        assert_eq!((&history[0]["attachments"], &history[1]["attachments"]), (&now, &json!([])));

        // From memory, too: the socket is up to date.
        let other = lay(server, &pair.ana, pair.conversation, (3, DocumentType::Document)).await;
        pair.post(server, &naming(&pair, server, &[&other])).await;
        let news = next_of(&mut socket, "new_message").await;
        assert_eq!(news["data"]["attachments"], json!([shown(&other, "pending")]));
    })
    .await;
}

#[tokio::test]
async fn only_the_senders_own_files_of_the_conversation_are_taken() {
    both_engines(async |server| {
        let pair = Pair::create(server, "own-files").await;
        let own = lay(server, &pair.ana, pair.conversation, (1, DocumentType::LabResult)).await;
        let marias = lay(server, &pair.maria, pair.conversation, (2, DocumentType::LabResult)).await;
        let bad = lay(server, &pair.ana, pair.conversation, (3, DocumentType::LabResult)).await;
        scanned(server, &bad, ScanStatus::Infected).await;
        let changed = AttachmentRef { sha256: Base64Array([9; 32]), ..own.clone() };
        let unknown = AttachmentRef { file_id: FileId::from_bytes([9; 16]), ..own.clone() };
        let many: Vec<AttachmentRef> = (0..21)
            .map(|n| AttachmentRef { file_id: FileId::from_bytes([100 + n; 16]), ..own.clone() })
            .collect();
        let elsewhere = "is not a file you uploaded to this conversation";
        let wrong: [(Vec<&AttachmentRef>, &str); 6] = [
            (vec![&own, &marias], elsewhere),
            (vec![&unknown], elsewhere),
            (vec![&changed], "has another hash"),
            (vec![&own, &bad], "was found infected"),
            (vec![&own, &own], "is named twice"),
            (many.iter().collect(), "are at most 20"),
        ];
        for (files, problem) in wrong {
            let message = naming(&pair, server, &files);
            let details = pair.ana.post(server, pair.conversation, &message).await;
            let details = details.expect_error(422, "invalid_message");
            assert_eq!((&details["field"], &details["problem"]), (&json!("attachments"), &json!(problem)));
            pair.ana.rewind(pair.conversation, &message);
        }
        let attach = |message: &mut SendMessage| message.attachments = vec![own.clone()];
        let text = pair.ana.message(server, pair.conversation, "text", &[&pair.maria], attach);
        pair.ana.post(server, pair.conversation, &text).await.expect_error(422, "invalid_message");
        pair.ana.rewind(pair.conversation, &text);
        assert!(pair.history(server).await.is_empty(), "nothing is half-written");
        pair.post(server, &naming(&pair, server, &[&own])).await;
    })
    .await;
}

#[tokio::test]
async fn messages_are_found_by_their_files() {
    both_engines(async |server| {
        let pair = Pair::create(server, "find-files").await;
        let result = lay(server, &pair.ana, pair.conversation, (1, DocumentType::LabResult)).await;
        let picture = lay(server, &pair.ana, pair.conversation, (2, DocumentType::Image)).await;
        pair.send(server, "without").await;
        pair.post(server, &naming(&pair, server, &[&result])).await;
        pair.post(server, &naming(&pair, server, &[&result, &picture])).await;
        let found = async |query: &str| -> Vec<i64> {
            let path = format!("/api/chat/search/?{query}");
            let page = server.get(&path, Some(&pair.maria.token)).await.expect(200);
            let results = page["results"].as_array().unwrap();
            results.iter().map(|message| message["conversation_seq"].as_i64().unwrap()).collect()
        };
        assert_eq!(found("has_attachments=true").await, [3, 2]);
        assert_eq!(found("has_attachments=false").await, [1]);
        assert_eq!(found("file_type=lab_result").await, [3, 2]);
        assert_eq!(found("file_type=image").await, [3]);
        assert_eq!(found("file_type=prescription").await, [0; 0]);
        let listed = format!("/api/chat/conversations/{}/messages/?has_attachments=true", pair.conversation);
        let listed = server.get(&listed, Some(&pair.maria.token)).await.expect(200);
        assert_eq!(listed["results"].as_array().unwrap().len(), 2);
        let wrong = server.get("/api/chat/search/?file_type=secret", Some(&pair.maria.token)).await;
        wrong.expect_error(400, "invalid_field");
    })
    .await;
}
