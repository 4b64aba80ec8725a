//! Uploads in one request.

use std::time::Duration;

use serde_json::json;
use sigilo_wire::{
    Base64, Base64Array, FileId, Role, UploadId,
    vault::{DocumentType, NewFile, SealedScanKey, StoredFile},
};

use super::{Blob, Pair, UPLOAD, acts, below, count, upload};
use crate::support::{
    both_engines, both_engines_with, clinic::PASSWORD, device::Device, hours, http::Answer, socket::Socket,
};

#[tokio::test]
async fn a_file_is_taken_once_and_those_who_take_part_are_told() {
    both_engines(async |server| {
        let pair = Pair::create(server).await;
        let mut socket = Socket::open(server, &pair.maria).await;
        // One longer than what the object store takes at a time.
        let blob = Blob::new(pair.conversation, 1, 6 * 1024 * 1024 + 7);
        let file = blob.stored(server, &pair.ana.token).await;
        assert_eq!((file.sha256, file.length), (blob.new.sha256, blob.new.length));
        assert_eq!(*file.commitment, blob.bytes[32..64]);
        assert_eq!(file.uploader_id, pair.ana.user);
        assert!(file.rescan_key_needed && file.content_url.is_none());
        let answer = json!(file);
        assert_eq!((&answer["status"], &answer["virus_scan"]), (&json!("active"), &json!("pending")));

        let event = loop {
            let frame = socket.next().await;
            if frame["type"] == "file_shared" {
                break frame;
            }
        };
        assert_eq!(event["data"], json!({"file_id": file.file_id, "virus_scan": "pending"}));
        assert_eq!(event["conversation_id"], json!(pair.conversation));
        assert_eq!(event["sender_id"], json!(pair.ana.user));

        let again: StoredFile =
            serde_json::from_value(blob.upload(server, &pair.ana.token).await.expect(201)).unwrap();
        assert_eq!(again, file);
        let other = NewFile { mime_type: "image/png".to_owned(), ..blob.new.clone() };
        let refused = upload(server, &pair.ana.token, &other, &blob.bytes).await;
        refused.expect_error(409, "idempotency_conflict");
        // Another person's upload of that name is another upload.
        let theirs = blob.stored(server, &pair.maria.token).await;
        assert_ne!(theirs.file_id, file.file_id);

        let acts = acts(server).await;
        let done: Vec<_> = acts.iter().map(|(act, outcome, _)| (act.as_str(), outcome.as_str())).collect();
        assert_eq!(done, [("upload_file", "allowed"); 2]);
        let entry = &acts[0].2;
        assert_eq!(entry["patient"], json!(pair.ana.user));
        assert_eq!(entry["objects"]["file"], json!(file.file_id));
        assert_eq!(entry["policies"], json!(["members-send"]));
        assert_eq!(count(server, "SELECT COUNT(*) FROM uploads").await, 0);
        assert!(below(server, "spool").is_empty());
    })
    .await;
}

#[tokio::test]
async fn what_is_handed_over_for_the_scan_waits_for_it() {
    both_engines(async |server| {
        let pair = Pair::create(server).await;
        let mut blob = Blob::new(pair.conversation, 2, 100);
        let key = |encapsulation| SealedScanKey {
            key_id: Base64Array([1; 16]),
            encapsulation: Base64(vec![2; encapsulation]),
            ciphertext: Base64Array([3; 48]),
        };
        blob.new.scan_key = Some(key(1_119));
        let details = blob.upload(server, &pair.ana.token).await.expect_error(400, "invalid_field");
        assert_eq!(details["field"], "scan_key.encapsulation");
        blob.new.scan_key = Some(key(1_120));
        let file = blob.stored(server, &pair.ana.token).await;
        assert!(!file.rescan_key_needed);
        assert_eq!(count(server, "SELECT COUNT(*) FROM file_scans WHERE tries = 0").await, 1);
        // The key may be sealed anew: it is the same upload.
        blob.new.scan_key = None;
        assert_eq!(blob.stored(server, &pair.ana.token).await.file_id, file.file_id);
    })
    .await;
}

#[tokio::test]
async fn what_is_not_taken_is_refused_before_its_bytes() {
    both_engines(async |server| {
        let pair = Pair::create(server).await;
        let blob = Blob::new(pair.conversation, 3, 1000);
        let refused = async |change: &dyn Fn(&mut NewFile), status, code: &str| {
            let mut new = blob.new.clone();
            change(&mut new);
            upload(server, &pair.ana.token, &new, &blob.bytes).await.expect_error(status, code)
        };
        let executable = |new: &mut NewFile| new.mime_type = "application/x-msdownload".to_owned();
        let details = refused(&executable, 400, "file_type_not_allowed").await;
        assert_eq!(details["allowed_types"].as_array().unwrap().len(), 7);
        let webm = |new: &mut NewFile| new.mime_type = "video/webm".to_owned();
        refused(&webm, 400, "file_type_not_allowed").await;
        let (limit, over) = (10 * 1024 * 1024, 10 * 1024 * 1024 + 1);
        let long = |new: &mut NewFile| new.length = sigilo_seal::file::sealed_len(over).unwrap();
        let details = refused(&long, 413, "file_too_large").await;
        assert_eq!(details, json!({"file_size": over, "max_size": limit}));
        // A recording may be longer, but there is no call it could be of.
        let recording = |new: &mut NewFile| {
            long(new);
            new.upload_id = UploadId::from_bytes([9; 16]);
            (new.mime_type, new.document_type) = ("video/webm".to_owned(), DocumentType::CallRecording);
        };
        assert_eq!(refused(&recording, 400, "invalid_field").await["field"], "document_type");
        let impossible = |new: &mut NewFile| new.length = 64;
        assert_eq!(refused(&impossible, 400, "invalid_field").await["field"], "length");
        let over = |new: &mut NewFile| new.handling.expires_at = Some(server.app.clock.now());
        assert_eq!(refused(&over, 400, "invalid_field").await["field"], "handling.expires_at");
        let never = |new: &mut NewFile| new.handling.max_downloads = Some(0);
        assert_eq!(refused(&never, 400, "invalid_field").await["field"], "handling.max_downloads");
        let appointment = |new: &mut NewFile| new.related_appointment = Some(pair.ana.user.uuid().into());
        assert_eq!(refused(&appointment, 400, "invalid_field").await["field"], "related_appointment");

        server
            .post(UPLOAD, Some(&pair.ana.token), &json!({}))
            .await
            .expect_error(415, "unsupported_media_type");
        for body in [
            "",
            "--border--\r\n",
            "--border\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nx\r\n--border--\r\n",
        ] {
            let request = server.client.post(format!("{}{UPLOAD}", server.url)).bearer_auth(&pair.ana.token);
            let request = request.header("content-type", "multipart/form-data; boundary=border").body(body);
            Answer::of(request.send().await.unwrap()).await.expect_error(400, "invalid_field");
        }
        assert_eq!(count(server, "SELECT COUNT(*) FROM files").await, 0);
        assert!(below(server, "objects").is_empty());
    })
    .await;
}

#[tokio::test]
async fn bytes_that_were_not_announced_are_no_file() {
    both_engines(async |server| {
        let pair = Pair::create(server).await;
        let blob = Blob::new(pair.conversation, 4, 200_000);
        let mut altered = blob.bytes.clone();
        altered[100_000] ^= 1;
        let refused = upload(server, &pair.ana.token, &blob.new, &altered).await;
        refused.expect_error(409, "checksum_mismatch");
        let (short, long) = (&blob.bytes[..blob.bytes.len() - 1], [blob.bytes.as_slice(), b"x"].concat());
        upload(server, &pair.ana.token, &blob.new, short).await.expect_error(409, "checksum_mismatch");
        upload(server, &pair.ana.token, &blob.new, &long).await.expect_error(400, "invalid_field");
        assert_eq!(count(server, "SELECT COUNT(*) FROM files").await, 0);
        assert!(below(server, "objects").is_empty(), "nothing is kept of them");
        // The right ones are still taken.
        blob.stored(server, &pair.ana.token).await;
        assert_eq!(below(server, "objects").len(), 1);
    })
    .await;
}

#[tokio::test]
async fn one_upload_that_comes_several_times_at_once_is_one_file() {
    both_engines(async |server| {
        let pair = Pair::create(server).await;
        let blob = Blob::new(pair.conversation, 5, 3_000_000);
        let send = || blob.stored(server, &pair.ana.token);
        let files: [StoredFile; 4] = tokio::join!(send(), send(), send(), send()).into();
        assert!(files.iter().all(|file| *file == files[0]));
        assert_eq!(count(server, "SELECT COUNT(*) FROM files").await, 1);
        assert_eq!(below(server, "objects").len(), 1);
        assert_eq!(acts(server).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn who_may_not_write_may_not_upload() {
    both_engines(async |server| {
        let pair = Pair::create(server).await;
        let blob = Blob::new(pair.conversation, 6, 100);
        let stranger = Device::create(server, &pair.clinic, Role::Doctor, "jorge@vault.example").await;
        blob.upload(server, &stranger.token).await.expect_error(404, "not_found");
        let session =
            pair.clinic.login(server, "maria@vault.example", PASSWORD, json!(null)).await.expect(200);
        let denied = blob.upload(server, session["access_token"].as_str().unwrap()).await;
        assert_eq!(denied.body["policies"], json!(["session-device"]));
        denied.expect_error(403, "forbidden");

        // To the staff no patient sends files; the staff does.
        let staff = Device::create(server, &pair.clinic, Role::Admin, "luis@vault.example").await;
        let body = json!({"type": "administrative", "participants": [pair.ana.user]});
        let talk = server.post("/api/chat/conversations/", Some(&staff.token), &body).await.expect(201);
        let talk = serde_json::from_value(talk["id"].clone()).unwrap();
        let to_staff = Blob::new(talk, 7, 100);
        let denied = to_staff.upload(server, &pair.ana.token).await;
        assert_eq!(denied.body["policies"], json!(["patients-upload-for-treatment"]));
        assert_eq!(denied.expect_error(403, "forbidden")["reason"], "not_own_treatment");
        to_staff.stored(server, &staff.token).await;

        hours::open(server, pair.clinic.id, None, &[(60, 120)]).await;
        let refused = blob.upload(server, &pair.ana.token).await.expect_error(400, "outside_chat_hours");
        assert!(refused["next_open_at"].is_string());
        let path = format!("/api/chat/conversations/{}/", pair.conversation);
        let seen = server.get(&path, Some(&pair.ana.token)).await.expect(200);
        assert_eq!(seen["permissions"]["upload"]["allowed"], json!(false));
        hours::open(server, pair.clinic.id, None, &[(-60, 120)]).await;
        let seen = server.get(&path, Some(&pair.ana.token)).await.expect(200);
        assert_eq!(seen["permissions"]["upload"]["allowed"], json!(true));
        blob.stored(server, &pair.ana.token).await;

        server.put(&path, Some(&pair.maria.token), &json!({"status": "closed"})).await.expect(200);
        let late = Blob::new(pair.conversation, 8, 100);
        late.upload(server, &pair.ana.token).await.expect_error(403, "conversation_closed");
        // What was taken before keeps its answer.
        blob.stored(server, &pair.ana.token).await;
    })
    .await;
}

#[tokio::test]
async fn little_may_come_before_the_file() {
    both_engines(async |server| {
        let pair = Pair::create(server).await;
        let blob = Blob::new(pair.conversation, 40, 1_000_000);
        let send = async |body: Vec<u8>| {
            let request = server.client.post(format!("{}{UPLOAD}", server.url)).bearer_auth(&pair.ana.token);
            let request = request.header("content-type", "multipart/form-data; boundary=border");
            Answer::of(request.body(body).send().await.unwrap()).await
        };
        let form = super::form(&blob.new, &blob.bytes);
        let noise = vec![b'x'; 2_000_000];
        let preamble = send([noise.as_slice(), b"\r\n", &form].concat()).await;
        assert_eq!(preamble.expect_error(400, "invalid_field")["field"], "body");
        let header = String::from_utf8_lossy(&noise);
        let header =
            format!("--border\r\nX: {header}\r\nContent-Disposition: form-data; name=\"upload\"\r\n\r\n");
        let header = send([header.as_bytes(), &form].concat()).await;
        assert_eq!(header.expect_error(400, "invalid_field")["field"], "body");
        send(form).await.expect(201);
    })
    .await;
}

#[tokio::test]
async fn ten_files_an_hour_are_taken_of_a_person() {
    both_engines_with(
        |config| config.limits.files_per_hour = 10,
        async |server| {
            let pair = Pair::create(server).await;
            let blob = |seed| Blob::new(pair.conversation, seed, 100);
            for seed in 0..10 {
                blob(seed).stored(server, &pair.ana.token).await;
            }
            let refused = blob(10).upload(server, &pair.ana.token).await;
            assert!(refused.header("retry-after").is_some());
            assert_eq!(refused.expect_error(429, "rate_limited")["limit"], 10);
            // The same again is no more, the other's are their own, and time gives one back.
            blob(3).stored(server, &pair.ana.token).await;
            blob(10).stored(server, &pair.maria.token).await;
            server.clock.advance(Duration::from_mins(7));
            blob(10).stored(server, &pair.ana.token).await;
        },
    )
    .await;
}

#[tokio::test]
async fn a_file_has_one_small_picture_by_whoever_uploaded_it() {
    both_engines(async |server| {
        let pair = Pair::create(server).await;
        let file = Blob::new(pair.conversation, 20, 1000).stored(server, &pair.ana.token).await;
        let picture = |seed, length, of| {
            let mut blob = Blob::new(pair.conversation, seed, length);
            (blob.new.mime_type, blob.new.thumbnail_of) = ("image/jpeg".to_owned(), Some(of));
            blob
        };
        let refused = async |blob: Blob, token: &str| {
            blob.upload(server, token).await.expect_error(400, "invalid_field")["field"].clone()
        };
        assert_eq!(refused(picture(21, 10, file.file_id), &pair.maria.token).await, "thumbnail_of");
        let nothing = FileId::from_bytes([9; 16]);
        assert_eq!(refused(picture(21, 10, nothing), &pair.ana.token).await, "thumbnail_of");
        let large = picture(21, 256 * 1024 + 1, file.file_id).upload(server, &pair.ana.token).await;
        large.expect_error(413, "file_too_large");
        let small = picture(22, 256 * 1024, file.file_id).stored(server, &pair.ana.token).await;
        assert_eq!(small.thumbnail_of, Some(file.file_id));
        assert_eq!(refused(picture(23, 10, file.file_id), &pair.ana.token).await, "thumbnail_of");
        assert_eq!(refused(picture(23, 10, small.file_id), &pair.ana.token).await, "thumbnail_of");
    })
    .await;
}

#[tokio::test]
async fn an_upload_whose_permission_ends_on_the_way_is_no_file() {
    both_engines(async |server| {
        let pair = Pair::create(server).await;
        let blob = Blob::new(pair.conversation, 30, 200_000);
        let (begins, ends) = blob.bytes.split_at(100_000);
        let (send, body) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
        let form = super::form(&blob.new, &[]);
        let tail = b"\r\n--border--\r\n";
        let head = form[..form.len() - tail.len()].to_vec();
        let stream = futures_util::stream::unfold(body, async |mut body| Some((body.recv().await?, body)));
        let request = server.client.post(format!("{}{UPLOAD}", server.url)).bearer_auth(&pair.ana.token);
        let request = request.header("content-type", "multipart/form-data; boundary=border");
        let answer = tokio::spawn(request.body(reqwest::Body::wrap_stream(stream)).send());
        send.send(Ok(head)).await.unwrap();
        send.send(Ok(begins.to_vec())).await.unwrap();
        crate::support::socket::eventually("the upload begins", async || {
            (count(server, "SELECT COUNT(*) FROM uploads").await == 1).then_some(())
        })
        .await;
        let closed = format!("/api/chat/conversations/{}/", pair.conversation);
        server.put(&closed, Some(&pair.maria.token), &json!({"status": "closed"})).await.expect(200);
        send.send(Ok(ends.to_vec())).await.unwrap();
        send.send(Ok(tail.to_vec())).await.unwrap();
        drop(send);
        let answer = Answer::of(answer.await.unwrap().unwrap()).await;
        answer.expect_error(403, "conversation_closed");
        assert_eq!(count(server, "SELECT COUNT(*) FROM files").await, 0);
        assert_eq!(count(server, "SELECT COUNT(*) FROM uploads").await, 0);
        assert!(below(server, "objects").is_empty() && below(server, "spool").is_empty());
    })
    .await;
}
