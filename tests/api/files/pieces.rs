//! Uploads in pieces, as tus 1.0.0 has them.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use reqwest::{Method, header::HeaderMap};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sigilo_wire::{FileId, vault::NewFile};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Blob, Pair, acts, below, count, scanned, shown};
use crate::support::{Engine, TestServer, both_engines, http::Answer, socket::eventually};

const UPLOADS: &str = "/api/chat/uploads/";

fn location(new: &NewFile) -> String {
    format!("{UPLOADS}{}/", new.upload_id)
}

/// What is said of a file, as tus carries it.
fn metadata(new: &NewFile) -> String {
    let Value::Object(fields) = serde_json::to_value(new).unwrap() else { return String::new() };
    let pairs = fields.iter().filter(|(key, _)| *key != "length").map(|(key, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("{key} {}", STANDARD.encode(text))
    });
    pairs.collect::<Vec<_>>().join(",")
}

async fn tus(
    server: &TestServer,
    (method, path): (Method, &str),
    token: &str,
    headers: &[(&str, String)],
    body: &[u8],
) -> Answer {
    let mut request = server.client.request(method, format!("{}{path}", server.url)).bearer_auth(token);
    request = request.header("tus-resumable", "1.0.0");
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    if !body.is_empty() {
        request = request.body(body.to_vec());
    }
    Answer::of(request.send().await.unwrap()).await
}

pub(super) async fn create(server: &TestServer, token: &str, new: &NewFile) -> Answer {
    let headers = [("upload-length", new.length.to_string()), ("upload-metadata", metadata(new))];
    tus(server, (Method::POST, UPLOADS), token, &headers, &[]).await
}

async fn head(server: &TestServer, token: &str, new: &NewFile) -> Answer {
    tus(server, (Method::HEAD, &location(new)), token, &[], &[]).await
}

fn patch_headers(offset: u64) -> Vec<(&'static str, String)> {
    vec![
        ("upload-offset", offset.to_string()),
        ("content-type", "application/offset+octet-stream".to_owned()),
    ]
}

async fn patch(server: &TestServer, token: &str, new: &NewFile, offset: u64, body: &[u8]) -> Answer {
    tus(server, (Method::PATCH, &location(new)), token, &patch_headers(offset), body).await
}

fn offset(answer: &Answer) -> u64 {
    answer.header("upload-offset").unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_file_comes_in_pieces() {
    both_engines(async |server| {
        let pair = Pair::create(server).await;
        let (token, blob) = (pair.ana.token.as_str(), Blob::new(pair.conversation, 1, 300_000));
        head(server, token, &blob.new).await.expect(404);
        let created = create(server, token, &blob.new).await;
        assert_eq!((created.status, created.header("location")), (201, Some(location(&blob.new).as_str())));
        assert_eq!((offset(&created), created.header("tus-resumable")), (0, Some("1.0.0")));
        assert!(created.header("upload-expires").unwrap().ends_with(" GMT"));
        let file: FileId = created.header("sigilo-file-id").unwrap().parse().unwrap();
        shown(server, token, file).await.expect_error(404, "not_found");

        let (first, second) = blob.bytes.split_at(100_001);
        assert_eq!(offset(&patch(server, token, &blob.new, 0, first).await), 100_001);
        for wrong in [0, 100_000, 100_002] {
            let refused = patch(server, token, &blob.new, wrong, second).await;
            assert_eq!(refused.expect_error(409, "upload_offset")["offset"], 100_001);
        }
        let known = head(server, token, &blob.new).await;
        assert_eq!((known.status, offset(&known)), (200, 100_001));
        assert_eq!(known.header("upload-length"), Some(blob.bytes.len().to_string().as_str()));
        assert_eq!(known.header("cache-control"), Some("no-store"));
        // Announced again it is the same, announced otherwise it is refused.
        assert_eq!(
            create(server, token, &blob.new).await.header("sigilo-file-id"),
            known.header("sigilo-file-id")
        );
        let other = NewFile { mime_type: "image/png".to_owned(), ..blob.new.clone() };
        create(server, token, &other).await.expect_error(409, "idempotency_conflict");

        let last = patch(server, token, &blob.new, 100_001, second).await;
        assert_eq!((last.status, offset(&last)), (204, blob.new.length));
        let seen = shown(server, &pair.maria.token, file).await.expect(200);
        assert_eq!(seen["virus_scan"], "pending");
        // The answer may have been lost.
        assert_eq!(patch(server, token, &blob.new, blob.new.length, &[]).await.status, 204);
        assert_eq!(offset(&head(server, token, &blob.new).await), blob.new.length);
        patch(server, token, &blob.new, 7, b"x").await.expect_error(409, "upload_offset");
        assert_eq!(acts(server).await.len(), 1);
        assert_eq!(count(server, "SELECT COUNT(*) FROM uploads").await, 0);
        // Both ways in know it.
        assert_eq!(blob.stored(server, token).await.file_id, file);
        // Nobody else's.
        head(server, &pair.maria.token, &blob.new).await.expect(404);
    })
    .await;
}

#[tokio::test]
async fn the_first_piece_may_come_with_the_announcement() {
    both_engines(async |server| {
        let pair = Pair::create(server).await;
        let (token, blob) = (pair.ana.token.as_str(), Blob::new(pair.conversation, 2, 1000));
        let mut headers = patch_headers(0);
        headers.extend([
            ("upload-length", blob.new.length.to_string()),
            ("upload-metadata", metadata(&blob.new)),
        ]);
        let created = tus(server, (Method::POST, UPLOADS), token, &headers, &blob.bytes).await;
        assert_eq!((created.status, offset(&created)), (201, blob.new.length));
        assert_eq!(count(server, "SELECT COUNT(*) FROM files").await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_piece_with_a_checksum_is_taken_whole_or_not_at_all() {
    both_engines(async |server| {
        let pair = Pair::create(server).await;
        let (token, blob) = (pair.ana.token.as_str(), Blob::new(pair.conversation, 3, 100_000));
        create(server, token, &blob.new).await.expect(201);
        let piece = &blob.bytes[..50_000];
        let send = async |checksum: String| {
            let mut headers = patch_headers(0);
            headers.push(("upload-checksum", checksum));
            tus(server, (Method::PATCH, &location(&blob.new)), token, &headers, piece).await
        };
        let wrong = format!("sha256 {}", STANDARD.encode([0; 32]));
        send(wrong).await.expect_error(460, "checksum_mismatch");
        assert_eq!(offset(&head(server, token, &blob.new).await), 0);
        for nonsense in ["", "sha256", "md5 AAAA", "sha256 AAAA", "sha256 !"] {
            send(nonsense.to_owned()).await.expect_error(400, "invalid_field");
        }
        assert_eq!(send(format!("sha256 {}", STANDARD.encode(Sha256::digest(piece)))).await.status, 204);
        assert_eq!(offset(&head(server, token, &blob.new).await), 50_000);
    })
    .await;
}

#[tokio::test]
async fn an_upload_is_given_up_or_its_time_ends() {
    both_engines(async |server| {
        let pair = Pair::create(server).await;
        let (token, blob) = (pair.ana.token.as_str(), Blob::new(pair.conversation, 4, 1000));
        let gone = async || {
            head(server, token, &blob.new).await.expect(404);
            patch(server, token, &blob.new, 0, b"x").await.expect_error(404, "not_found");
        };
        create(server, token, &blob.new).await.expect(201);
        patch(server, token, &blob.new, 0, &blob.bytes[..500]).await.expect(204);
        tus(server, (Method::DELETE, &location(&blob.new)), token, &[], &[]).await.expect(204);
        gone().await;
        assert!(below(server, "spool").is_empty());
        tus(server, (Method::DELETE, &location(&blob.new)), token, &[], &[]).await.expect(404);

        // What a server that died while it finished one left behind stays noted until that one's time is over.
        create(server, token, &blob.new).await.expect(201);
        finishing(server, 3_600).await;
        tus(server, (Method::DELETE, &location(&blob.new)), token, &[], &[]).await.expect(204);
        gone().await;
        assert_eq!(count(server, "SELECT COUNT(*) FROM uploads").await, 1);
        create(server, token, &blob.new).await.expect_error(503, "unavailable");
        sigilo::vault::sweep(&server.app).await.unwrap();
        assert_eq!(count(server, "SELECT COUNT(*) FROM uploads").await, 1);
        finishing(server, -1).await;

        create(server, token, &blob.new).await.expect(201);
        patch(server, token, &blob.new, 0, &blob.bytes[..500]).await.expect(204);
        server.clock.advance(Duration::from_hours(25));
        let token = renewed(server, &pair).await;
        head(server, &token, &blob.new).await.expect(404);
        assert_eq!(below(server, "spool").len(), 1, "it is not swept while it could still be finished");
        server.clock.advance(Duration::from_hours(2));
        sigilo::vault::sweep(&server.app).await.unwrap();
        assert!(below(server, "spool").is_empty());
        assert_eq!(count(server, "SELECT COUNT(*) FROM uploads").await, 0);
        // Then it may begin anew.
        let token = renewed(server, &pair).await;
        assert_eq!(offset(&create(server, &token, &blob.new).await), 0);
    })
    .await;
}

/// Notes that some server finishes the uploads there are until so many seconds from now.
async fn finishing(server: &TestServer, seconds: i64) {
    let until = server.app.clock.now().micros() + seconds * 1_000_000;
    let mut tx = server.app.db.begin("test").await.unwrap();
    sigilo::execute!(&mut tx, "UPDATE uploads SET finishing_until = $1", until).unwrap();
    tx.commit().await.unwrap();
}

/// A fresh access token of the patient's.
pub(super) async fn renewed(server: &TestServer, pair: &Pair) -> String {
    let device = serde_json::json!({"kind": "messaging", "name": "phone", "device_id": pair.ana.device});
    let answer =
        pair.clinic.login(server, "ana@vault.example", crate::support::clinic::PASSWORD, device).await;
    answer.expect(200)["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_is_no_tus_of_this_version_is_refused() {
    both_engines(async |server| {
        let pair = Pair::create(server).await;
        let (token, blob) = (pair.ana.token.as_str(), Blob::new(pair.conversation, 5, 1000));
        let plain = server.post(UPLOADS, Some(token), &serde_json::json!({})).await;
        assert_eq!((plain.status, plain.header("tus-version")), (412, Some("1.0.0")));
        let asked = server.client.request(Method::OPTIONS, format!("{}{UPLOADS}", server.url));
        let said: HeaderMap = asked.send().await.unwrap().headers().clone();
        assert_eq!(said["tus-version"], "1.0.0");
        assert_eq!(said["tus-extension"], "creation,creation-with-upload,termination,checksum,expiration");
        assert_eq!(said["tus-checksum-algorithm"], "sha256,sha1");
        let longest = sigilo_seal::file::sealed_len(1024 * 1024 * 1024).unwrap();
        assert_eq!(said["tus-max-size"], longest.to_string());

        let send = async |length: &str, metadata: String| {
            let headers = [("upload-length", length.to_owned()), ("upload-metadata", metadata)];
            tus(server, (Method::POST, UPLOADS), token, &headers, &[]).await
        };
        let length = blob.new.length.to_string();
        send("x", metadata(&blob.new)).await.expect_error(400, "invalid_field");
        send(&length, String::new()).await.expect_error(400, "invalid_field");
        send(&length, "mime_type !".to_owned()).await.expect_error(400, "invalid_field");
        send(&length, format!("{},mime_type eA==", metadata(&blob.new)))
            .await
            .expect_error(400, "invalid_field");
        send(&length, format!("{},x eA==", metadata(&blob.new))).await.expect_error(400, "unknown_field");
        create(server, token, &blob.new).await.expect(201);
        let json = [("upload-offset", "0".to_owned()), ("content-type", "application/json".to_owned())];
        let refused = tus(server, (Method::PATCH, &location(&blob.new)), token, &json, b"x").await;
        refused.expect_error(415, "unsupported_media_type");
        let long = [blob.bytes.as_slice(), b"x"].concat();
        patch(server, token, &blob.new, 0, &long).await.expect_error(400, "invalid_field");
        assert_eq!(offset(&head(server, token, &blob.new).await), 0, "nothing of it stays");
    })
    .await;
}

#[tokio::test]
async fn whoever_comes_again_gets_the_turn_of_a_dead_line() {
    both_engines(async |server| {
        let pair = Pair::create(server).await;
        let (token, blob) = (pair.ana.token.as_str(), Blob::new(pair.conversation, 6, 100_000));
        create(server, token, &blob.new).await.expect(201);
        let mut dead = begin_patch(server, token, &blob, 0).await;
        dead.write_all(&blob.bytes[..10_000]).await.unwrap();
        // Nothing more comes of it, and nobody hangs up.
        let on = eventually("the dead line's bytes are there", async || {
            Some(offset(&head(server, token, &blob.new).await)).filter(|there| *there > 0)
        })
        .await;
        let start = usize::try_from(on).unwrap();
        let mut answer = patch(server, token, &blob.new, on, &blob.bytes[start..]).await;
        if answer.status == 409 {
            // More of the dead line's had come by then.
            let on = offset(&head(server, token, &blob.new).await);
            answer = patch(server, token, &blob.new, on, &blob.bytes[usize::try_from(on).unwrap()..]).await;
        }
        assert_eq!(answer.status, 204, "{}", answer.body);
        drop(dead);
        assert_eq!(count(server, "SELECT COUNT(*) FROM files").await, 1);
    })
    .await;
}

/// A connection that says it will send all of a file from a place on, and has not sent a byte of it.
async fn begin_patch(server: &TestServer, token: &str, blob: &Blob, from: u64) -> tokio::net::TcpStream {
    let address = server.url.trim_start_matches("http://");
    let mut line = tokio::net::TcpStream::connect(address).await.unwrap();
    let left = blob.bytes.len() as u64 - from;
    let head = format!(
        "PATCH {} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nTus-Resumable: 1.0.0\r\n\
         Upload-Offset: {from}\r\nContent-Type: application/offset+octet-stream\r\nContent-Length: {left}\r\n\r\n",
        location(&blob.new)
    );
    line.write_all(head.as_bytes()).await.unwrap();
    line
}

/// Cuts in the ordinary run; 100 with `SIGILO_LONG_TESTS=1`.
fn cuts() -> usize {
    if std::env::var_os("SIGILO_LONG_TESTS").is_some_and(|set| set == "1") { 100 } else { 8 }
}

#[tokio::test]
async fn an_upload_that_is_cut_anywhere_with_restarts_between_arrives_once() {
    let seed = 20_261_128;
    println!("seed {seed}");
    for engine in [Engine::Sqlite, Engine::Postgres] {
        println!("on {engine:?}");
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut server = TestServer::start(engine).await;
        let pair = Pair::create(&server).await;
        let blob = Blob::new(pair.conversation, seed, 1_000_000);
        let token = pair.ana.token.as_str();
        create(&server, token, &blob.new).await.expect(201);
        let mut sent = 0;
        for cut in 0..cuts() {
            let there = offset(&head(&server, token, &blob.new).await);
            let start = usize::try_from(there).unwrap();
            // Never the whole of it, so that each cut is one.
            let most = (blob.bytes.len() - start) / 2;
            let piece = usize::try_from(rng.next_u64()).unwrap_or(0) % most.max(1);
            let mut line = begin_patch(&server, token, &blob, there).await;
            line.write_all(&blob.bytes[start..start + piece]).await.unwrap();
            if rng.next_u32() % 2 == 0 {
                line.shutdown().await.unwrap();
                let _ = line.read(&mut [0; 1024]).await;
            }
            drop(line);
            if cut % 2 == 0 {
                server = server.restart().await;
            }
            let now = offset(&head(&server, token, &blob.new).await);
            // The line before may have brought more than was on the disk when it was cut.
            sent = sent.max(there + piece as u64);
            assert!(now >= there && now <= sent, "cut {cut}: {there}, {piece}, {now}");
        }
        // What a cut line had brought may still be on its way to the disk.
        let last = eventually("the rest is taken", async || {
            let there = offset(&head(&server, token, &blob.new).await);
            let rest = &blob.bytes[usize::try_from(there).unwrap()..];
            Some(patch(&server, token, &blob.new, there, rest).await).filter(|answer| answer.status == 204)
        })
        .await;
        let file: FileId = last.header("sigilo-file-id").unwrap().parse().unwrap();
        scanned(&server, file, "clean").await;
        let url = format!("{}/api/chat/files/{file}/content/", server.url);
        let got = server.client.get(url).bearer_auth(&pair.maria.token).send().await.unwrap();
        assert!(got.bytes().await.unwrap() == blob.bytes, "byte for byte");
        assert_eq!(count(&server, "SELECT COUNT(*) FROM files").await, 1);
        assert_eq!(acts(&server).await.iter().filter(|(act, ..)| act == "upload_file").count(), 1);
        server.finish().await;
    }
}
