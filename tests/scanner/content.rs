//! What files hold.

use std::io::{Cursor, Write as _};

use sigilo_seal::{Refusal, ScanResult};
use zip::{CompressionMethod, ZipWriter, unstable::write::FileOptionsExt as _, write::SimpleFileOptions};

use super::{
    clamd::socket,
    vault::{DOCX, PDF, Vault, refused},
};

/// The test file of antivirus makers. In pieces: whole, this file would be found.
pub fn test_virus() -> Vec<u8> {
    [r"X5O!P%@AP[4\PZX54(P^)7CC)7}$", "EICAR-STANDARD-", "ANTIVIRUS-TEST-", "FILE!$H+H*"]
        .concat()
        .into_bytes()
}

pub fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        writer.start_file(*name, options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// A document of Word that holds this.
fn docx(media: &[u8]) -> Vec<u8> {
    let parts: [(&str, &[u8]); 3] =
        [("[Content_Types].xml", b"<Types/>"), ("word/document.xml", b"<w/>"), ("word/media/1.bin", media)];
    zip(&parts)
}

/// A PDF with this as a stream.
pub fn pdf(stream: &[u8]) -> Vec<u8> {
    let head = format!("%PDF-1.4\n1 0 obj\n<< /Length {} >>\nstream\n", stream.len());
    [head.as_bytes(), stream, b"\nendstream\nendobj\ntrailer\n<< /Size 2 >>\n%%EOF\n"].concat()
}

#[tokio::test]
async fn what_is_harmless_is_clean() {
    let vault = Vault::with_clamd(&socket()).await;
    let noise = vault.noise(200_000);
    for (file, mime_type) in [
        (pdf(&noise), PDF),
        (docx(&noise), DOCX),
        ([b"\xff\xd8\xff\xe0\0\x10JFIF\0".as_slice(), &noise].concat(), "image/jpeg"),
        ([b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".as_slice(), &noise].concat(), "image/png"),
        ([b"\0\0\0\x20ftypisom\0\0\x02\0".as_slice(), &noise].concat(), "video/mp4"),
    ] {
        let verdict = vault.verdict(vault.add(&file, mime_type)).await;
        assert_eq!(verdict.result, ScanResult::Clean, "{mime_type}");
        assert!(verdict.engine.starts_with("ClamAV "), "{verdict:?}");
        assert_eq!(verdict.database, "", "only the maker's signatures have a version");
    }
    let engine = vault.until_engine(true).await.unwrap();
    assert!(!engine.official, "{engine:?}");
}

#[tokio::test]
async fn a_virus_is_found_wherever_it_hides() {
    let vault = Vault::with_clamd(&socket()).await;
    let virus = test_virus();
    let nested = zip(&[("inner.zip", &zip(&[("virus.com", &virus)]))]);
    let late = [vault.noise(3 << 20), virus.clone()].concat();
    for (what, file, mime_type) in [
        ("raw", virus.clone(), PDF),
        ("zip in zip", nested.clone(), DOCX),
        ("in a PDF", pdf(&virus), PDF),
        ("zip in zip in a PDF", pdf(&nested), PDF),
        ("in a docx", docx(&virus), DOCX),
        ("zip in zip in a docx", docx(&nested), DOCX),
        ("after 3 MB", late.clone(), PDF),
        ("after 3 MB in a PDF", pdf(&late), PDF),
    ] {
        let result = vault.result(&file, mime_type).await;
        let ScanResult::Infected(name) = &result else { panic!("{what}: {result:?}") };
        assert!(name.contains("Sigilo.Development.Test"), "{what}: {name}");
    }
}

#[tokio::test]
async fn what_nobody_looks_into_to_its_end_is_refused() {
    let vault = Vault::with_clamd(&socket()).await;
    let mut nested = vault.noise(100);
    for _ in 0..20 {
        nested = zip(&[("more.zip", &nested)]);
    }
    assert_eq!(vault.result(&docx(&nested), DOCX).await, refused(Refusal::Limits), "20 zips in each other");

    let bomb = docx(&vec![0; 101 << 20]);
    assert!(bomb.len() < 300_000, "{}", bomb.len());
    assert_eq!(vault.result(&bomb, DOCX).await, refused(Refusal::Limits), "one entry that unpacks to 101 MB");
    assert_eq!(vault.result(&bomb, PDF).await, refused(Refusal::Type), "a bomb that is called a PDF");

    let zeros = zip(&[("zeros", &vec![0; 30 << 20])]);
    // Each another one: clamd counts what it has seen before only once.
    let layer = |_| {
        let entries = ["1", "2", "3"].map(|name| (name, [zeros.as_slice(), &vault.noise(4)].concat()));
        zip(&entries.each_ref().map(|(name, content)| (*name, content.as_slice())))
    };
    let layers: Vec<_> = (0..6).map(layer).collect();
    let names: Vec<_> = (0..6).map(|number| format!("word/media/{number}.zip")).collect();
    let mut parts: Vec<(&str, &[u8])> =
        names.iter().zip(&layers).map(|(name, layer)| (name.as_str(), layer.as_slice())).collect();
    parts.extend([("[Content_Types].xml", &b"<T/>"[..]), ("word/document.xml", b"<w/>")]);
    assert_eq!(
        vault.result(&zip(&parts), DOCX).await,
        refused(Refusal::Limits),
        "540 MB in archives of archives"
    );
}

#[tokio::test]
async fn what_is_encrypted_is_refused() {
    let vault = Vault::with_clamd(&socket()).await;
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for name in ["[Content_Types].xml", "word/document.xml"] {
        let options = SimpleFileOptions::default().with_deprecated_encryption(b"secret").unwrap();
        writer.start_file(name, options).unwrap();
        writer.write_all(&vault.noise(500)).unwrap();
    }
    let archive = writer.finish().unwrap().into_inner();
    assert_eq!(vault.result(&archive, DOCX).await, refused(Refusal::EncryptedArchive));
    assert_eq!(
        vault.result(&docx(&archive), DOCX).await,
        refused(Refusal::EncryptedArchive),
        "within a docx"
    );
}

#[tokio::test]
async fn what_is_not_what_it_is_called_is_refused() {
    let vault = Vault::with_clamd(&socket()).await;
    let program = std::fs::read(env!("CARGO_BIN_EXE_sigilo")).unwrap();
    let program = &program[..2 << 20];
    for mime_type in [PDF, DOCX, "image/png", "application/msword", "video/mp4"] {
        assert_eq!(vault.result(program, mime_type).await, refused(Refusal::Type), "{mime_type}");
    }
    let archive = zip(&[("run.exe", b"MZ")]);
    let both = [pdf(&vault.noise(1_000)), archive].concat();
    assert_eq!(vault.result(&both, PDF).await, refused(Refusal::Type), "a PDF that is an archive");
    let page = [b"\xff\xd8\xff\xe0\0\x10JFIF\0<script>".as_slice(), &vault.noise(1_000)].concat();
    assert_eq!(vault.result(&page, "image/jpeg").await, refused(Refusal::Type), "a picture that is a page");
    assert_eq!(vault.result(b"", PDF).await, refused(Refusal::Type), "an empty file");
}
