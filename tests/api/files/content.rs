//! Reading files: by whom, when, how much, how often.

use std::time::Duration;

use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use sigilo::execute;
use sigilo_wire::{FileId, Role, vault::StoredFile};

use super::{Blob, Pair, acts, count, scanned, shown};
use crate::support::{
    TestServer, both_engines,
    clinic::{Clinic, PASSWORD},
    device::Device,
    http::Answer,
};

/// An answer whose body is not JSON.
struct Bytes {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Bytes {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

fn content(file: FileId) -> String {
    format!("/api/chat/files/{file}/content/")
}

async fn fetch(server: &TestServer, path: &str, token: Option<&str>, headers: &[(&str, &str)]) -> Bytes {
    let mut request = server.client.get(format!("{}{path}", server.url));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Bytes { status, headers, body: response.bytes().await.unwrap().to_vec() }
}

/// The address of a file's content for a device.
async fn address(server: &TestServer, token: &str, file: FileId) -> String {
    let shown = shown(server, token, file).await.expect(200);
    shown["content_url"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_file_is_given_out_when_its_scan_found_nothing() {
    both_engines(async |server| {
        let pair = Pair::create(server).await;
        let blob = Blob::new(pair.conversation, 1, 3_000_000);
        let file = blob.stored(server, &pair.ana.token).await.file_id;
        for scan in ["pending", "refused", "unavailable", "infected"] {
            scanned(server, file, scan).await;
            let seen = shown(server, &pair.maria.token, file).await.expect(200);
            assert_eq!((&seen["virus_scan"], &seen["content_url"]), (&json!(scan), &Value::Null));
            let quarantined = ["refused", "infected"].contains(&scan);
            assert_eq!(seen["status"] == "quarantined", quarantined, "{scan}");
            for token in [&pair.ana.token, &pair.maria.token] {
                let refused = server.get(&content(file), Some(token)).await;
                assert_eq!(refused.expect_error(409, "file_not_available")["virus_scan"], scan);
            }
        }
        scanned(server, file, "clean").await;
        let answer = fetch(server, &content(file), Some(&pair.maria.token), &[]).await;
        assert_eq!(answer.status, 200);
        assert!(answer.body == blob.bytes, "byte for byte");
        let tag = format!("\"{}\"", sigilo::audit::hex(&*blob.new.sha256));
        assert_eq!(answer.header("etag"), tag);
        assert_eq!(answer.header("content-length"), blob.bytes.len().to_string());
        assert_eq!(answer.header("content-type"), "application/octet-stream");
        assert_eq!(answer.header("cache-control"), "private, no-store");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("accept-ranges"), "bytes");
        assert!(answer.header("content-disposition").starts_with("attachment"));

        let has = [("if-none-match", tag.as_str())];
        let answer = fetch(server, &content(file), Some(&pair.maria.token), &has).await;
        assert_eq!((answer.status, answer.body.len()), (304, 0));
        let head = server.client.head(format!("{}{}", server.url, content(file)));
        let head = head.bearer_auth(&pair.maria.token).send().await.unwrap();
        assert_eq!((head.status().as_u16(), head.headers()["etag"].to_str().unwrap()), (200, tag.as_str()));
        assert_eq!(head.headers()["content-length"], blob.bytes.len().to_string());
        let seen = shown(server, &pair.ana.token, file).await.expect(200);
        assert_eq!(seen["downloads"], 1, "only what gave the file counts");
    })
    .await;
}

#[tokio::test]
async fn any_bytes_of_a_file_are_given_alone() {
    both_engines(async |server| {
        let pair = Pair::create(server).await;
        let blob = Blob::new(pair.conversation, 2, 1_500_000);
        let file = blob.stored(server, &pair.ana.token).await.file_id;
        scanned(server, file, "clean").await;
        let last = blob.bytes.len() - 1;
        for (first, end) in [
            (0, 0),
            (0, last),
            (65_535, 65_536),
            (65_536, 65_536),
            (1, 600_000),
            (524_288, last),
            (last, last),
        ] {
            let range = format!("bytes={first}-{end}");
            let answer = fetch(server, &content(file), Some(&pair.ana.token), &[("range", &range)]).await;
            assert_eq!(answer.status, 206, "{range}");
            assert_eq!(answer.header("content-range"), format!("bytes {first}-{end}/{}", blob.bytes.len()));
            assert!(answer.body == blob.bytes[first..=end], "{range}");
        }
        let beyond = format!("bytes={}-", blob.bytes.len());
        let answer = fetch(server, &content(file), Some(&pair.ana.token), &[("range", &beyond)]).await;
        assert_eq!((answer.status, answer.body.len()), (416, 0));
        assert_eq!(answer.header("content-range"), format!("bytes */{}", blob.bytes.len()));
        let other = [("range", "bytes=1-2"), ("if-range", "\"another\"")];
        let answer = fetch(server, &content(file), Some(&pair.ana.token), &other).await;
        assert_eq!((answer.status, answer.body.len()), (200, blob.bytes.len()));
    })
    .await;
}

#[tokio::test]
async fn an_address_works_for_one_login_for_five_minutes() {
    both_engines(async |server| {
        let pair = Pair::create(server).await;
        let blob = Blob::new(pair.conversation, 3, 1000);
        let file = blob.stored(server, &pair.ana.token).await.file_id;
        let other = Blob::new(pair.conversation, 4, 1000).stored(server, &pair.ana.token).await.file_id;
        scanned(server, file, "clean").await;
        scanned(server, other, "clean").await;
        let url = address(server, &pair.maria.token, file).await;
        let answer = fetch(server, &url, None, &[]).await;
        assert!(answer.status == 200 && answer.body == blob.bytes);
        let altered = [
            url.replace(&file.to_string(), &other.to_string()),
            url.replace(&pair.maria.device.to_string(), &pair.ana.device.to_string()),
            url.replace("expires=", "expires=9"),
            url.replace("signature=", "signature=A"),
            url.replace("expires=", "expires=-"),
        ];
        for altered in altered {
            server.get(&altered, None).await.expect_error(404, "not_found");
            // A token does not mend it.
            server.get(&altered, Some(&pair.maria.token)).await.expect_error(404, "not_found");
        }
        server.get(&format!("{url}&x=1"), None).await.expect_error(400, "unknown_field");
        server.get(&content(file), None).await.expect_error(401, "unauthenticated");
        server.clock.advance(Duration::from_mins(4));
        assert_eq!(fetch(server, &url, None, &[]).await.status, 200);
        server.clock.advance(Duration::from_mins(2));
        server.get(&url, None).await.expect_error(404, "not_found");

        // It ends with the login it was given to, and no other one wakes it.
        let url = address(server, &pair.maria.token, file).await;
        let body = json!({"refresh_token": pair.maria.refresh_token});
        server.post("/api/auth/logout/", None, &body).await.expect_success();
        server.get(&url, None).await.expect_error(404, "not_found");
        let device = json!({"kind": "messaging", "name": "phone", "device_id": pair.maria.device});
        pair.clinic.login(server, "maria@vault.example", PASSWORD, device).await.expect(200);
        server.get(&url, None).await.expect_error(404, "not_found");
    })
    .await;
}

#[tokio::test]
async fn only_who_takes_part_reads_a_file() {
    both_engines(async |server| {
        let pair = Pair::create(server).await;
        let file = Blob::new(pair.conversation, 5, 1000).stored(server, &pair.ana.token).await.file_id;
        scanned(server, file, "clean").await;
        let stranger = Device::create(server, &pair.clinic, Role::Doctor, "jorge@vault.example").await;
        let elsewhere = Clinic::create(server, "elsewhere").await;
        let foreign = Device::create(server, &elsewhere, Role::Doctor, "eva@elsewhere.example").await;
        for token in [&stranger.token, &foreign.token] {
            shown(server, token, file).await.expect_error(404, "not_found");
            server.get(&content(file), Some(token)).await.expect_error(404, "not_found");
        }
        let session =
            pair.clinic.login(server, "maria@vault.example", PASSWORD, json!(null)).await.expect(200);
        let session = session["access_token"].as_str().unwrap();
        shown(server, session, file).await.expect_error(403, "forbidden");
        server.get(&content(file), Some(session)).await.expect_error(403, "forbidden");
        // At any hour, and when the conversation is closed.
        let path = format!("/api/chat/conversations/{}/", pair.conversation);
        server.put(&path, Some(&pair.maria.token), &json!({"status": "closed"})).await.expect(200);
        assert_eq!(fetch(server, &content(file), Some(&pair.ana.token), &[]).await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn downloads_are_counted_where_they_begin() {
    both_engines(async |server| {
        let pair = Pair::create(server).await;
        let mut blob = Blob::new(pair.conversation, 6, 200_000);
        blob.new.handling.max_downloads = Some(2);
        let file = blob.stored(server, &pair.ana.token).await.file_id;
        scanned(server, file, "clean").await;
        let get = async |token: &str, range: &str| -> u16 {
            let range = [("range", range)];
            let headers = if range[0].1.is_empty() { &[][..] } else { &range[..] };
            fetch(server, &content(file), Some(token), headers).await.status
        };
        let maria = pair.maria.token.as_str();
        // Leaving out the first byte saves nothing.
        assert_eq!(get(maria, "bytes=1-").await, 206);
        // What goes on with it is no other one, as often as the line breaks.
        for range in ["bytes=100-", "bytes=199999-", "bytes=5-10"] {
            assert_eq!(get(maria, range).await, 206);
        }
        server.clock.advance(Duration::from_mins(10));
        assert_eq!(get(maria, "").await, 200);
        assert_eq!(get(maria, "bytes=100-").await, 206);
        let refused = server.get(&content(file), Some(maria)).await;
        let details = refused.expect_error(409, "file_not_available");
        assert_eq!((&details["status"], &details["max_downloads"]), (&json!("active"), &json!(2)));
        // Everybody has their own.
        assert_eq!(get(&pair.ana.token, "").await, 200);
        let seen = shown(server, &pair.ana.token, file).await.expect(200);
        assert_eq!(seen["downloads"], 3);
        let downloads: Vec<_> =
            acts(server).await.into_iter().filter(|(act, ..)| act == "download_file").collect();
        assert_eq!(downloads.len(), 3);
        assert_eq!(downloads[0].2["actor"], json!(pair.maria.user));
        assert_eq!(downloads[0].2["patient"], json!(pair.ana.user));
    })
    .await;
}

#[tokio::test]
async fn many_at_once_are_not_more_than_there_may_be() {
    both_engines(async |server| {
        let pair = Pair::create(server).await;
        let mut blob = Blob::new(pair.conversation, 7, 1000);
        blob.new.handling.max_downloads = Some(3);
        let file = blob.stored(server, &pair.ana.token).await.file_id;
        scanned(server, file, "clean").await;
        let path = content(file);
        let all = (0..8).map(|_| fetch(server, &path, Some(&pair.maria.token), &[]));
        let answers = futures_util::future::join_all(all).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 3);
        assert_eq!(answers.iter().filter(|answer| answer.status == 409).count(), 5);
    })
    .await;
}

#[tokio::test]
async fn a_file_whose_time_is_over_is_not_given_out() {
    both_engines(async |server| {
        let pair = Pair::create(server).await;
        let mut blob = Blob::new(pair.conversation, 8, 1000);
        blob.new.handling.expires_at = Some(server.app.clock.now() + Duration::from_mins(10));
        let file = blob.stored(server, &pair.ana.token).await.file_id;
        scanned(server, file, "clean").await;
        let url = address(server, &pair.maria.token, file).await;
        assert_eq!(fetch(server, &url, None, &[]).await.status, 200);
        server.clock.advance(Duration::from_mins(11));
        let seen = shown(server, &pair.maria.token, file).await.expect(200);
        assert_eq!((&seen["status"], &seen["content_url"]), (&json!("expired"), &Value::Null));
        let refused = server.get(&content(file), Some(&pair.maria.token)).await;
        assert_eq!(refused.expect_error(409, "file_not_available")["status"], "expired");
    })
    .await;
}

#[tokio::test]
async fn what_two_people_call_a_false_finding_is_given_out() {
    both_engines(async |server| {
        let pair = Pair::create(server).await;
        let file = Blob::new(pair.conversation, 9, 1000).stored(server, &pair.ana.token).await.file_id;
        let verdict = b"the newest verdict".to_vec();
        let release = async |who: &Device, of: &[u8]| {
            let mut tx = server.app.db.begin("test").await.unwrap();
            let sql = "INSERT INTO file_releases (file_id, signer_id, verdict_hash, statement, signature, signed_at)
                VALUES ($1, $2, $3, $4, $5, 1)";
            let (hash, statement, signature) = (sigilo_seal::sha256(of), b"word".to_vec(), vec![0; 64]);
            execute!(&mut tx, sql, file, who.user, hash.as_slice(), statement.as_slice(), signature.as_slice())
                .unwrap();
            tx.commit().await.unwrap();
        };
        let sql = "UPDATE files SET scan = 'infected', verdict_statement = $2, verdict_signature = $3 WHERE file_id = $1";
        let mut tx = server.app.db.begin("test").await.unwrap();
        execute!(&mut tx, sql, file, verdict.as_slice(), vec![0u8; 64].as_slice()).unwrap();
        tx.commit().await.unwrap();
        release(&pair.ana, &verdict).await;
        release(&pair.maria, b"an older one").await;
        server.get(&content(file), Some(&pair.maria.token)).await.expect_error(409, "file_not_available");
        release(&pair.maria, &verdict).await;
        let seen: StoredFile =
            serde_json::from_value(shown(server, &pair.maria.token, file).await.expect(200)).unwrap();
        assert_eq!(seen.releases.len(), 2);
        assert!(seen.content_url.is_some() && seen.verdict.is_some());
        assert_eq!(fetch(server, &content(file), Some(&pair.maria.token), &[]).await.status, 200);
        // What was refused is not released.
        scanned(server, file, "refused").await;
        server.get(&content(file), Some(&pair.maria.token)).await.expect_error(409, "file_not_available");
    })
    .await;
}

#[tokio::test]
async fn many_downloads_at_once_are_noticed() {
    both_engines(async |server| {
        let pair = Pair::create(server).await;
        let staff = Device::create(server, &pair.clinic, Role::Admin, "luis@vault.example").await;
        let file = Blob::new(pair.conversation, 10, 100).stored(server, &pair.ana.token).await.file_id;
        scanned(server, file, "clean").await;
        let anomalies = async || -> Answer {
            server.get("/api/admin/anomalies/?kind=bulk_downloads", Some(&staff.token)).await
        };
        for _ in 0..49 {
            assert_eq!(fetch(server, &content(file), Some(&pair.maria.token), &[]).await.status, 200);
        }
        assert_eq!(anomalies().await.expect(200)["results"], json!([]));
        assert_eq!(fetch(server, &content(file), Some(&pair.maria.token), &[]).await.status, 200);
        let raised = anomalies().await.expect(200);
        assert_eq!(raised["results"][0]["user_id"], json!(pair.maria.user));
        assert_eq!(count(server, "SELECT COUNT(*) FROM anomalies").await, 1);
    })
    .await;
}
