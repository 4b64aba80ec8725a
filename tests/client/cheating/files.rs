//! Cheats with files.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};
use sigilo_client::{NewAttachment, SendOptions};
use sigilo_seal::ScanResult;
use sigilo_wire::{Base64Array, FileId};

use super::Stage;
use crate::{
    files::{Scanner, bytes, file_of, infected},
    support::{Engine, TestServer},
};

/// Ana sends a file of this name.
async fn sends(stage: &Stage<'_>, name: &str) -> FileId {
    let path = stage.world.folder.path().join(name);
    std::fs::write(&path, bytes(50_000, name.as_bytes()[0])).unwrap();
    let options = SendOptions::default();
    let sent =
        stage.ana.client.send_file(stage.conversation, NewAttachment::new(path), options, |_| {}).await;
    file_of(sent.unwrap().accepted().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn lies_about_files_are_lines_on_the_screen() {
    let server = TestServer::start(Engine::Sqlite).await;
    let mut stage = Stage::set(&server).await;
    let scanner = Scanner::start(&stage.world).await;
    let mut files = Vec::new();
    for name in ["a.pdf", "b.pdf"] {
        let id = sends(&stage, name).await;
        stage.chat.shows(&format!("{name} (49 KiB), waits for its scan")).await;
        files.push(id);
    }
    let (one, other) = (files[0], files[1]);
    for file in [one, other] {
        scanner.finds(file, ScanResult::Clean).await;
    }
    stage.chat.shows("· b.pdf: clean").await;
    let target = stage.world.folder.path().join("saved.pdf");
    let save = format!("/save 1 {}", target.display());
    let about = format!("/api/chat/files/{}/", one);
    let other = serde_json::to_value(&stage.ana.client.file(other).await.unwrap().file).unwrap();
    type Lie = fn(&mut Value, &Value);
    let lies: [(Lie, &str); 3] = [
        (
            |said, other| said["verdict"] = other["verdict"].clone(),
            "not opened: the verdict is about another file",
        ),
        (|said, other| *said = other.clone(), "not opened: the server describes another file under its name"),
        // The address of the other one's content is for Ana; without one the client asks for its own.
        (
            |said, other| {
                said["content_url"] =
                    json!(format!("/api/chat/files/{}/content/", other["file_id"].as_str().unwrap()));
            },
            "not opened: its bytes are not those that were sent",
        ),
    ];
    for (lie, shown) in lies {
        let (about, other) = (about.clone(), other.clone());
        stage.proxy.answers(move |path, answer| {
            if path == about {
                lie(answer, &other);
            }
        });
        stage.chat.types(&save).await;
        stage.chat.shows(shown).await;
        assert!(!Path::new(&target).exists(), "{shown}");
    }
    stage.proxy.honest();
    stage.chat.types(&save).await;
    stage.chat.shows("✓ saved").await;

    let clean = serde_json::to_value(&stage.ana.client.file(one).await.unwrap().file).unwrap();
    server.clock.advance(Duration::from_secs(1));
    stage.chat.types("/rescan 1").await;
    stage.chat.shows("it is scanned again").await;
    scanner.finds(one, infected()).await;
    stage.chat.shows("a.pdf is RECALLED").await;
    stage.chat.types("/file 1").await;
    stage.chat.shows("found: Pdf.Exploit-1").await;
    stage.proxy.answers(move |path, answer| {
        if path == about {
            *answer = clean.clone();
        }
    });
    stage.chat.types(&format!("{save}.again")).await;
    stage.chat.shows("Pdf.Exploit-1 was found in it; the server shows an older verdict").await;

    stage.proxy.answers(|path, answer| {
        if path == "/api/chat/vault/scan-key/" {
            answer["signature"] = json!(Base64Array([1u8; 64]));
        }
    });
    let path = stage.world.folder.path().join("c.pdf");
    std::fs::write(&path, bytes(1_000, 3)).unwrap();
    stage.chat.types(&format!("/send {}", path.display())).await;
    stage.chat.shows("the scan key does not verify").await;
    assert!(stage.proxy.passed("/api/chat/upload-file/").is_empty(), "nothing of it left the device");
    stage.end().await;
    server.finish().await;
}
