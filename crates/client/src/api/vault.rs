//! The calls about files, most of which carry no JSON.

use std::time::Duration;

use reqwest::{Method, Response, header::HeaderMap};
use serde::{Deserialize, de::IgnoredAny};
use sigilo_seal::decision::request_hash;
use sigilo_wire::{
    FileId, UploadId,
    vault::{Consent, NewFile, ScannerStatement, SealedScanKey, SignedRelease, StoredFile},
};

use super::{Api, Auth, finding::Query, is_wrong_proof, json, offline, parse, refusal, retry_after};
use crate::{Error, Result};

/// A piece of a file takes at most this long on its way.
const PIECE_TIMEOUT: Duration = Duration::from_secs(120);
/// The version of tus that is spoken.
const TUS: &str = "1.0.0";

/// A request whose body is not JSON.
struct Raw<'a> {
    method: Method,
    path: &'a str,
    headers: &'a [(&'a str, String)],
    body: &'a [u8],
}

impl Api {
    /// Sends a request with the access token, and once more with a fresh one.
    async fn raw(&self, request: &Raw<'_>) -> Result<Response> {
        let token = self.access_token().await?;
        match self.raw_once(request, &token).await {
            Err(Error::Server { status: 401, body: why, .. }) if !is_wrong_proof(why.error) => {
                let token = self.renew(&token).await?;
                self.raw_once(request, &token).await
            }
            other => other,
        }
    }

    async fn raw_once(&self, request: &Raw<'_>, token: &str) -> Result<Response> {
        let Raw { method, path, headers, body } = request;
        let mut sent = self.http.request(method.clone(), self.server.join(path));
        sent = sent.bearer_auth(token).timeout(PIECE_TIMEOUT);
        for (name, value) in *headers {
            sent = sent.header(*name, value);
        }
        if !body.is_empty() {
            sent = sent.body(body.to_vec());
        }
        let answer = sent.send().await.map_err(offline)?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let retry_after = retry_after(&answer);
        let bytes = answer.bytes().await.map_err(offline)?;
        let asked = |body: &[u8]| request_hash(method.as_str(), path, body);
        Err(refusal(status, &bytes, retry_after, asked, body))
    }

    pub(crate) async fn scan_key(&self) -> Result<ScannerStatement> {
        self.get("/api/chat/vault/scan-key/").await
    }

    pub(crate) async fn file(&self, file: FileId) -> Result<StoredFile> {
        self.get(&format!("/api/chat/files/{file}/")).await
    }

    pub(crate) async fn hand_over(&self, file: FileId, key: &SealedScanKey) -> Result<()> {
        let path = format!("/api/chat/files/{file}/scan-key/");
        let _: IgnoredAny = self.send(Method::POST, &path, key).await?;
        Ok(())
    }

    pub(crate) async fn rescan(&self, file: FileId, key: &SealedScanKey) -> Result<()> {
        let path = format!("/api/chat/files/{file}/rescan/");
        let _: IgnoredAny = self.send(Method::POST, &path, key).await?;
        Ok(())
    }

    pub(crate) async fn consent(&self, file: FileId, consent: &Consent) -> Result<StoredFile> {
        self.send(Method::POST, &format!("/api/chat/files/{file}/consent/"), consent).await
    }

    pub(crate) async fn release(&self, file: FileId, release: &SignedRelease) -> Result<StoredFile> {
        self.send(Method::POST, &format!("/api/moderation/quarantine/{file}/release/"), release).await
    }

    pub(crate) async fn destroy_file(&self, file: FileId) -> Result<()> {
        let path = format!("/api/moderation/quarantine/{file}/");
        let _: IgnoredAny = self.call::<(), _>(&Method::DELETE, &path, None, None, Auth::Token).await?;
        Ok(())
    }

    /// All files in quarantine, page after page.
    pub(crate) async fn quarantine(&self) -> Result<Vec<StoredFile>> {
        #[derive(Deserialize)]
        struct Quarantine {
            results: Vec<StoredFile>,
            next_cursor: Option<String>,
        }
        let (mut files, mut cursor) = (Vec::new(), None);
        loop {
            let query = Query::new("/api/moderation/quarantine/", cursor.as_deref());
            let page: Quarantine = self.get(&query.path).await?;
            // An empty page that says there are more would never end.
            cursor = page.next_cursor.filter(|_| !page.results.is_empty());
            files.extend(page.results);
            if cursor.is_none() {
                return Ok(files);
            }
        }
    }

    /// A whole file in one request.
    pub(crate) async fn upload_file(&self, file: &NewFile, blob: &[u8]) -> Result<StoredFile> {
        // Neither part can hold the boundary: one is JSON without it, the other as good as random.
        let boundary = format!("sigilo-{}", file.upload_id);
        let mut body = Vec::with_capacity(blob.len() + 4_096);
        body.extend(
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"upload\"\r\nContent-Type: application/json\r\n\r\n")
                .into_bytes(),
        );
        body.extend(json(file)?);
        body.extend(
            format!("\r\n--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"blob\"\r\nContent-Type: application/octet-stream\r\n\r\n")
                .into_bytes(),
        );
        body.extend_from_slice(blob);
        body.extend(format!("\r\n--{boundary}--\r\n").into_bytes());
        let headers = [("Content-Type", format!("multipart/form-data; boundary={boundary}"))];
        let request =
            Raw { method: Method::POST, path: "/api/chat/upload-file/", headers: &headers, body: &body };
        let answer = self.raw(&request).await?;
        parse(&answer.bytes().await.map_err(offline)?)
    }

    /// Announces a file that comes in pieces.
    pub(crate) async fn begin_upload(&self, file: &NewFile) -> Result<Placed> {
        let headers = [
            ("Tus-Resumable", TUS.to_owned()),
            ("Upload-Length", file.length.to_string()),
            ("Upload-Metadata", metadata(file)?),
        ];
        let request = Raw { method: Method::POST, path: "/api/chat/uploads/", headers: &headers, body: &[] };
        placed(self.raw(&request).await?.headers())
    }

    /// How much of a file is there; `None` when the server does not know the upload.
    pub(crate) async fn upload_offset(&self, upload: UploadId) -> Result<Option<Placed>> {
        let path = format!("/api/chat/uploads/{upload}/");
        let headers = [("Tus-Resumable", TUS.to_owned())];
        let request = Raw { method: Method::HEAD, path: &path, headers: &headers, body: &[] };
        match self.raw(&request).await {
            Ok(answer) => placed(answer.headers()).map(Some),
            // The answer to HEAD has no body that would say why; a POST would say it.
            Err(Error::Answer(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Brings a piece that begins at `at`.
    pub(crate) async fn upload_piece(&self, upload: UploadId, at: u64, piece: &[u8]) -> Result<Placed> {
        let path = format!("/api/chat/uploads/{upload}/");
        let headers = [
            ("Tus-Resumable", TUS.to_owned()),
            ("Upload-Offset", at.to_string()),
            ("Content-Type", "application/offset+octet-stream".to_owned()),
        ];
        let request = Raw { method: Method::PATCH, path: &path, headers: &headers, body: piece };
        placed(self.raw(&request).await?.headers())
    }

    /// The content of a file from a place on, at the address the server gave.
    pub(crate) async fn content(&self, url: &str, from: u64) -> Result<Response> {
        if !url.starts_with("/api/") {
            return Err(Error::Answer("the content of a file is said to be elsewhere".to_owned()));
        }
        let range = [("Range", format!("bytes={from}-"))];
        let headers: &[(&str, String)] = if from > 0 { &range } else { &[] };
        self.raw(&Raw { method: Method::GET, path: url, headers, body: &[] }).await
    }
}

/// How far an upload is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed {
    /// Bytes that are there.
    pub(crate) at: u64,
    /// What the file is, or will be, called.
    pub(crate) file_id: FileId,
}

fn placed(headers: &HeaderMap) -> Result<Placed> {
    let said = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let at = said("Upload-Offset").and_then(|said| said.parse().ok());
    let file_id = said("Sigilo-File-Id").and_then(|said| said.parse().ok());
    let placed = at.zip(file_id).map(|(at, file_id)| Placed { at, file_id });
    placed.ok_or_else(|| Error::Answer("an upload without its offset, or without its file".to_owned()))
}

/// What is said of a file, as tus carries it: a key, a space, the value in base64; nested values are JSON. The length has a
/// header of its own.
fn metadata(file: &NewFile) -> Result<String> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let serde_json::Value::Object(fields) = serde_json::to_value(file).map_err(Error::internal)? else {
        return Err(Error::internal("what is said of a file has fields"));
    };
    let pairs = fields.iter().filter(|(key, _)| *key != "length").map(|(key, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("{key} {}", STANDARD.encode(text))
    });
    Ok(pairs.collect::<Vec<_>>().join(","))
}
