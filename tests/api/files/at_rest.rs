//! What lies in the object store, and what becomes of what broke off.

use std::time::Duration;

use sigilo::execute;
use sigilo_wire::{FileId, vault::StoredFile};

use super::{Blob, Pair, below, count, scanned, shown};
use crate::support::{TestServer, both_engines};

/// Whether some bytes of the blob's middle are in these.
fn holds(bytes: &[u8], blob: &Blob) -> bool {
    let middle = blob.bytes.len() / 2;
    let part = &blob.bytes[middle..middle + 24];
    bytes.windows(part.len()).any(|window| window == part)
}

async fn data_keys(server: &TestServer, sql: &'static str) -> i64 {
    let mut tx = server.app.keystore.db().read("test").await.unwrap();
    sigilo::fetch_one!(&mut tx, (i64,), sql).unwrap().0
}

const ALIVE: &str = "SELECT COUNT(*) FROM data_keys WHERE retention_class = 'file' AND destroyed_at IS NULL";
const GONE: &str = "SELECT COUNT(*) FROM data_keys WHERE retention_class = 'file' AND wrapped IS NULL";

#[tokio::test]
async fn an_object_is_not_the_blob_and_stands_for_no_other() {
    both_engines(async |server| {
        let pair = Pair::create(server).await;
        let one = Blob::new(pair.conversation, 1, 200_000);
        let other = Blob::new(pair.conversation, 2, 200_000);
        let first = one.stored(server, &pair.ana.token).await.file_id;
        let second = other.stored(server, &pair.ana.token).await.file_id;
        let objects = below(server, "objects");
        assert_eq!(objects.len(), 2);
        for object in &objects {
            let bytes = std::fs::read(object).unwrap();
            assert!(!holds(&bytes, &one) && !holds(&bytes, &other));
            assert_eq!(bytes.len() as u64, sigilo_seal::file::sealed_len(one.new.length).unwrap());
        }
        assert_eq!(data_keys(server, ALIVE).await, 2);
        // Exchanged, they do not open.
        let of = |file: FileId| {
            objects.iter().find(|path| path.to_str().unwrap().contains(&file.to_string())).unwrap()
        };
        std::fs::copy(of(first), of(second)).unwrap();
        scanned(server, first, "clean").await;
        scanned(server, second, "clean").await;
        let path = |file: FileId| format!("/api/chat/files/{file}/content/");
        assert_eq!(
            server
                .client
                .get(format!("{}{}", server.url, path(first)))
                .bearer_auth(&pair.ana.token)
                .send()
                .await
                .unwrap()
                .bytes()
                .await
                .unwrap(),
            one.bytes
        );
        server.get(&path(second), Some(&pair.ana.token)).await.expect_error(500, "internal");
    })
    .await;
}

#[tokio::test]
async fn a_changed_object_breaks_off_and_gives_no_other_bytes() {
    both_engines(async |server| {
        let pair = Pair::create(server).await;
        let blob = Blob::new(pair.conversation, 3, 2_000_000);
        let file = blob.stored(server, &pair.ana.token).await.file_id;
        scanned(server, file, "clean").await;
        let object = below(server, "objects").remove(0);
        let mut bytes = std::fs::read(&object).unwrap();
        bytes[1_500_000] ^= 1;
        std::fs::write(&object, bytes).unwrap();
        let url = format!("{}/api/chat/files/{file}/content/", server.url);
        let mut answer = server.client.get(url).bearer_auth(&pair.ana.token).send().await.unwrap();
        let mut got = Vec::new();
        while let Ok(Some(chunk)) = answer.chunk().await {
            got.extend_from_slice(&chunk);
        }
        assert!(got.len() < blob.bytes.len() && blob.bytes.starts_with(&got));
    })
    .await;
}

#[tokio::test]
async fn what_broke_off_before_the_row_is_swept_with_its_key() {
    both_engines(async |server| {
        let pair = Pair::create(server).await;
        let blob = Blob::new(pair.conversation, 4, 10_000);
        let kept: StoredFile = Blob::new(pair.conversation, 5, 10_000).stored(server, &pair.ana.token).await;
        // As a crash leaves it between the object and the row.
        let (file, now) = (FileId::from_bytes([7; 16]), server.app.clock.now());
        let mut tx = server.app.db.begin("test").await.unwrap();
        let sql =
            "INSERT INTO uploads (user_id, upload_id, tenant_id, device_id, conversation_id, file_id, length,
            request, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
        let request = serde_json::to_string(&blob.new).unwrap();
        let length = i64::try_from(blob.new.length).unwrap();
        let (user, device) = (pair.ana.user, pair.ana.device);
        execute!(
            &mut tx,
            sql,
            user,
            blob.new.upload_id,
            pair.clinic.id,
            device,
            pair.conversation,
            file,
            length,
            request.as_str(),
            now,
            now + Duration::from_hours(24)
        )
        .unwrap();
        tx.commit().await.unwrap();
        let app = &server.app;
        let key = app.file_key(pair.clinic.id, file, now).await.unwrap();
        std::fs::write(app.spool.path(file), &blob.bytes).unwrap();
        let spooled = app.spool.path(file);
        app.objects
            .put(&key, (pair.clinic.id, file), (&spooled, blob.new.length), &*app.entropy)
            .await
            .unwrap();
        // And a file of the spool that nobody announced.
        std::fs::write(app.spool.path(FileId::from_bytes([8; 16])), b"x").unwrap();
        assert_eq!((below(server, "objects").len(), data_keys(server, ALIVE).await), (2, 2));

        sigilo::vault::sweep(app).await.unwrap();
        assert_eq!((below(server, "objects").len(), below(server, "spool").len()), (2, 1));
        server.clock.advance(Duration::from_hours(27));
        sigilo::vault::sweep(app).await.unwrap();
        assert_eq!((below(server, "objects").len(), below(server, "spool").len()), (1, 0));
        assert_eq!((data_keys(server, ALIVE).await, data_keys(server, GONE).await), (1, 1));
        assert_eq!(count(server, "SELECT COUNT(*) FROM uploads").await, 0);
        assert!(below(server, "objects")[0].to_str().unwrap().contains(&kept.file_id.to_string()));
    })
    .await;
}

#[tokio::test]
async fn what_is_left_after_the_row_goes_and_the_file_stays() {
    both_engines(async |server| {
        let pair = Pair::create(server).await;
        let blob = Blob::new(pair.conversation, 6, 10_000);
        let file = blob.stored(server, &pair.ana.token).await.file_id;
        // As a crash leaves it after the commit, with the object of an attempt before.
        let (now, app) = (server.app.clock.now(), &server.app);
        let mut tx = app.db.begin("test").await.unwrap();
        let sql =
            "INSERT INTO uploads (user_id, upload_id, tenant_id, device_id, conversation_id, file_id, length,
            request, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, '', 0, 0)";
        let length = i64::try_from(blob.new.length).unwrap();
        let (user, device) = (pair.ana.user, pair.ana.device);
        execute!(
            &mut tx,
            sql,
            user,
            blob.new.upload_id,
            pair.clinic.id,
            device,
            pair.conversation,
            file,
            length
        )
        .unwrap();
        tx.commit().await.unwrap();
        let key = app.file_key(pair.clinic.id, file, now).await.unwrap();
        std::fs::write(app.spool.path(file), &blob.bytes).unwrap();
        let spooled = app.spool.path(file);
        app.objects
            .put(&key, (pair.clinic.id, file), (&spooled, blob.new.length), &*app.entropy)
            .await
            .unwrap();
        assert_eq!(below(server, "objects").len(), 2);
        sigilo::vault::sweep(app).await.unwrap();
        assert_eq!((below(server, "objects").len(), below(server, "spool").len()), (1, 0));
        assert_eq!(data_keys(server, ALIVE).await, 1);
        scanned(server, file, "clean").await;
        let url = format!("{}/api/chat/files/{file}/content/", server.url);
        let got = server.client.get(url).bearer_auth(&pair.ana.token).send().await.unwrap();
        assert!(got.bytes().await.unwrap() == blob.bytes);
    })
    .await;
}

#[tokio::test]
async fn a_destroyed_file_is_gone_with_its_key() {
    both_engines(async |server| {
        let pair = Pair::create(server).await;
        let blob = Blob::new(pair.conversation, 7, 10_000);
        let file = blob.stored(server, &pair.ana.token).await.file_id;
        scanned(server, file, "clean").await;
        let copy = std::fs::read(below(server, "objects").remove(0)).unwrap();
        let mut tx = server.app.db.begin("test").await.unwrap();
        let now = server.app.clock.now();
        execute!(&mut tx, "UPDATE files SET destroyed_at = $2 WHERE file_id = $1", file, now).unwrap();
        tx.commit().await.unwrap();
        let path = format!("/api/chat/files/{file}/content/");
        server.get(&path, Some(&pair.ana.token)).await.expect_error(409, "file_not_available");
        sigilo::vault::sweep(&server.app).await.unwrap();
        assert!(below(server, "objects").is_empty());
        assert_eq!((data_keys(server, ALIVE).await, data_keys(server, GONE).await), (0, 1));
        let seen = shown(server, &pair.ana.token, file).await.expect(200);
        assert_eq!(seen["status"], "destroyed");
        assert_eq!(count(server, "SELECT COUNT(*) FROM files WHERE object IS NULL").await, 1);
        // A backup of the objects brings nothing back: no key opens it any more.
        assert!(server.app.file_key(pair.clinic.id, file, now).await.is_err());
        assert!(!holds(&copy, &blob));
    })
    .await;
}
