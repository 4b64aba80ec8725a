//! How much of the vault one person, and one clinic, may take.

use std::time::Duration;

use serde_json::json;
use sigilo::execute;
use sigilo_wire::{
    Role,
    vault::{FileStatus, StoredFile},
};

use super::{
    Blob, Pair, count,
    pieces::{create, renewed},
    scanned, shown,
};
use crate::support::{
    both_engines, both_engines_with,
    device::{Device, relate},
    http::Answer,
};

const USAGE: &str = "SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM file_usage";

#[tokio::test]
async fn a_person_has_so_many_uploads_on_their_way_at_once() {
    both_engines_with(
        |config| config.vault.max_open_uploads = 3,
        async |server| {
            let pair = Pair::create(server).await;
            let blob = |seed| Blob::new(pair.conversation, seed, 1000);
            // Those that come at once are counted one after the other.
            let blobs: Vec<Blob> = (0..6).map(blob).collect();
            let tries =
                blobs.iter().map(async |blob| create(server, &pair.ana.token, &blob.new).await.status);
            let answers = futures_util::future::join_all(tries).await;
            let taken = answers.iter().filter(|status| **status == 201).count();
            assert_eq!(
                (taken, answers.iter().filter(|status| **status == 429).count()),
                (3, 3),
                "{answers:?}"
            );
            let refused = blob(7).upload(server, &pair.ana.token).await;
            assert!(refused.header("retry-after").is_some());
            assert_eq!(refused.expect_error(429, "rate_limited")["limit"], 3);
            // What was begun goes on, another person's is their own, and one that is finished makes room.
            let begun = (0..6).find(|seed| answers[usize::try_from(*seed).unwrap()] == 201).unwrap();
            blob(20).stored(server, &pair.maria.token).await;
            blob(begun).stored(server, &pair.ana.token).await;
            blob(8).stored(server, &pair.ana.token).await;
        },
    )
    .await;
}

#[tokio::test]
async fn uploads_on_their_way_are_so_long_together() {
    both_engines_with(
        |config| {
            (config.vault.max_file_bytes, config.vault.max_recording_bytes) = (1_000_000, 1_000_000);
            config.vault.max_open_bytes = 1_500_000;
        },
        async |server| {
            let pair = Pair::create(server).await;
            let blob = |seed| Blob::new(pair.conversation, seed, 800_000);
            create(server, &pair.ana.token, &blob(1).new).await.expect(201);
            create(server, &pair.ana.token, &blob(2).new).await.expect_error(429, "rate_limited");
            // Forgotten ones count no more.
            server.clock.advance(Duration::from_hours(25));
            let token = renewed(server, &pair).await;
            create(server, &token, &blob(2).new).await.expect(201);
            // The first one may begin anew when there is room.
            create(server, &token, &blob(1).new).await.expect_error(429, "rate_limited");
            blob(2).stored(server, &token).await;
            let anew = create(server, &token, &blob(1).new).await;
            assert_eq!((anew.status, anew.header("upload-offset")), (201, Some("0")));
        },
    )
    .await;
}

#[tokio::test]
async fn a_clinic_keeps_so_much_and_what_is_destroyed_makes_room() {
    both_engines_with(
        |config| config.vault.max_clinic_bytes = Some(2_500),
        async |server| {
            let pair = Pair::create(server).await;
            let blob = |seed| Blob::new(pair.conversation, seed, 900);
            let first = blob(1).stored(server, &pair.ana.token).await;
            create(server, &pair.ana.token, &blob(2).new).await.expect(201);
            let refused = blob(3).upload(server, &pair.maria.token).await;
            assert_eq!(refused.expect_error(507, "storage_full")["max_size"], 2_500);
            assert_eq!(count(server, USAGE).await, i64::try_from(first.length).unwrap());

            let mut tx = server.app.db.begin("test").await.unwrap();
            let now = server.app.clock.now();
            execute!(&mut tx, "UPDATE files SET destroyed_at = $2 WHERE file_id = $1", first.file_id, now)
                .unwrap();
            tx.commit().await.unwrap();
            sigilo::vault::sweep(&server.app).await.unwrap();
            sigilo::vault::sweep(&server.app).await.unwrap();
            assert_eq!(count(server, USAGE).await, 0);
            blob(3).stored(server, &pair.maria.token).await;
        },
    )
    .await;
}

#[tokio::test]
async fn a_small_picture_is_given_out_while_its_file_is() {
    both_engines(async |server| {
        let pair = Pair::create(server).await;
        let jorge = Device::create(server, &pair.clinic, Role::Doctor, "jorge@vault.example").await;
        relate(server, &pair.ana, &jorge).await;
        let body = json!({"type": "group", "participants": [pair.ana.user, jorge.user]});
        let team = server.post("/api/chat/conversations/", Some(&pair.maria.token), &body).await.expect(201);
        let team = serde_json::from_value(team["id"].clone()).unwrap();
        let mut blob = Blob::new(team, 1, 1000);
        blob.new.handling.requires_patient_consent = true;
        let file = blob.stored(server, &pair.maria.token).await.file_id;
        let mut picture = Blob::new(team, 2, 100);
        (picture.new.mime_type, picture.new.thumbnail_of) = ("image/jpeg".to_owned(), Some(file));
        let small = picture.stored(server, &pair.maria.token).await.file_id;
        scanned(server, small, "clean").await;
        let content = async |who: &Device| -> Answer {
            server.get(&format!("/api/chat/files/{small}/content/"), Some(&who.token)).await
        };

        assert_eq!(
            content(&pair.maria).await.expect_error(409, "file_not_available")["virus_scan"],
            "pending"
        );
        scanned(server, file, "clean").await;
        assert_eq!(content(&pair.maria).await.status, 200);
        // The patient has not agreed to the file.
        content(&jorge).await.expect_error(403, "forbidden");
        shown(server, &jorge.token, small).await.expect_error(403, "forbidden");
        let consent = format!("/api/chat/files/{file}/consent/");
        server.post(&consent, Some(&pair.ana.token), &json!({"allowed": true})).await.expect(200);
        assert_eq!(content(&jorge).await.status, 200);
        scanned(server, file, "infected").await;
        let refused = content(&jorge).await.expect_error(409, "file_not_available");
        assert_eq!((&refused["status"], &refused["virus_scan"]), (&json!("quarantined"), &json!("infected")));
        let seen: StoredFile =
            serde_json::from_value(shown(server, &jorge.token, small).await.expect(200)).unwrap();
        assert_eq!((seen.status, seen.content_url), (FileStatus::Quarantined, None));
    })
    .await;
}
