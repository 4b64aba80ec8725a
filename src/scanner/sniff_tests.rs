use std::io::{Cursor, Write as _};

use zip::{ZipWriter, write::SimpleFileOptions};

use super::*;

const DOCX: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
const TYPES: [&str; 8] = [
    DOCX,
    "application/msword",
    "application/pdf",
    "image/jpeg",
    "image/png",
    "audio/mpeg",
    "video/mp4",
    "video/webm",
];

fn look(file: &[u8], mime_type: &str) -> Look {
    let mut sniffer = Sniffer::default();
    file.chunks(64 * 1024).for_each(|segment| sniffer.take(segment));
    sniffer.look(mime_type)
}

fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn docx() -> Vec<u8> {
    zip(&[("[Content_Types].xml", b"<Types/>"), ("_rels/.rels", b"<r/>"), ("word/document.xml", b"<w/>")])
}

fn doc(stream: &str) -> Vec<u8> {
    let mut file = vec![0; 200_000];
    file[..8].copy_from_slice(&OLE);
    // A directory behind the first segment, as a long document has it.
    let entry = 512 * 300;
    let name: Vec<u8> = stream.encode_utf16().flat_map(u16::to_le_bytes).collect();
    file[entry..entry + name.len()].copy_from_slice(&name);
    file[entry + 64] = u8::try_from(name.len() + 2).unwrap();
    file[entry + 66] = 2;
    file
}

fn with_rest(beginning: &[u8]) -> Vec<u8> {
    let mut file = beginning.to_vec();
    file.resize(300_000, 0x55);
    file
}

fn pictures() -> Vec<(Vec<u8>, &'static str)> {
    let webm = [b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01".as_slice(), b"\x42\x82\x84webm"].concat();
    vec![
        (with_rest(b"%PDF-1.7\n"), "application/pdf"),
        (with_rest(b"\xff\xd8\xff\xe0\0\x10JFIF\0"), "image/jpeg"),
        (with_rest(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), "image/png"),
        (with_rest(b"ID3\x04\0"), "audio/mpeg"),
        (with_rest(b"\xff\xfb\x90\x64"), "audio/mpeg"),
        (with_rest(b"\0\0\0\x20ftypisom\0\0\x02\0"), "video/mp4"),
        (with_rest(b"\0\0\0\x20ftypiso8\0\0\x02\0"), "video/mp4"),
        (with_rest(&webm), "video/webm"),
    ]
}

#[test]
fn every_type_is_itself_and_no_other() {
    let mut files = pictures();
    files.push((docx(), DOCX));
    files.push((doc("WordDocument"), "application/msword"));
    for (file, is) in files {
        for said in TYPES {
            let expected = if said == is { Look::Agrees } else { Look::Differs };
            assert_eq!(look(&file, said), expected, "{is} said to be {said}");
        }
        assert_eq!(look(&file, "application/octet-stream"), Look::Differs);
    }
}

#[test]
fn programs_scripts_and_archives_are_nothing_that_is_taken() {
    let archive = zip(&[("a.txt", b"a")]);
    let sheet = zip(&[("[Content_Types].xml", b"<T/>"), ("xl/workbook.xml", b"<w/>")]);
    let macros = zip(&[
        ("[Content_Types].xml", b"<T/>"),
        ("word/document.xml", b"<w/>"),
        ("word/vbaProject.bin", b"x"),
    ]);
    let jar = zip(&[
        ("[Content_Types].xml", b"<T/>"),
        ("word/document.xml", b"<w/>"),
        ("META-INF/MANIFEST.MF", b"x"),
    ]);
    let files = [
        Vec::new(),
        vec![0x4d],
        with_rest(b"MZ\x90\0\x03"),
        with_rest(b"\x7fELF\x02\x01\x01"),
        with_rest(b"\xcf\xfa\xed\xfe"),
        with_rest(b"#!/bin/sh\n"),
        with_rest(b"<html><script>"),
        with_rest(b"Rar!\x1a\x07\0"),
        // A reader of PDF forgives what stands before it; the one who opens the program does not look behind it.
        with_rest(b"MZ\x90\0\n%PDF-1.7\n"),
        with_rest(b"\n%PDF-1.7\n"),
        archive,
        sheet,
        macros,
        jar,
        doc("Workbook"),
        OLE.to_vec(),
        b"PK\x03\x04".to_vec(),
    ];
    for file in files {
        for said in TYPES {
            assert_eq!(look(&file, said), Look::Differs, "{said}: {:?}", file.get(..12));
        }
    }
}

#[test]
fn what_is_two_things_is_neither() {
    let archive = zip(&[("run.exe", b"MZ")]);
    for (file, mime_type) in pictures() {
        let with_archive = [file.as_slice(), &archive].concat();
        assert_eq!(look(&with_archive, mime_type), Look::Differs, "{mime_type} and archive");
        let followed = [file.as_slice(), &archive, &vec![b'x'; 60_000]].concat();
        assert_eq!(look(&followed, mime_type), Look::Differs, "{mime_type} and an archive before its end");
        let mut tar = file.clone();
        tar[257..263].copy_from_slice(b"ustar\0");
        assert_eq!(look(&tar, mime_type), Look::Differs, "{mime_type} and tar");
        for markup in [b"<HTML><body>".as_slice(), b"<script>", b"<?php "] {
            let mut page = file.clone();
            page[300..300 + markup.len()].copy_from_slice(markup);
            assert_eq!(look(&page, mime_type), Look::Differs, "{mime_type} and markup");
        }
    }
    let before = [b"MZ\x90\0".as_slice(), &docx()].concat();
    assert_eq!(look(&before, DOCX), Look::Differs);
    let after = [docx().as_slice(), b"#!/bin/sh"].concat();
    assert_eq!(look(&after, DOCX), Look::Differs);
    let inside = [b"PK\x03\x04 and something else".as_slice(), &docx()].concat();
    assert_eq!(look(&inside, DOCX), Look::Differs);
}

#[test]
fn an_entry_that_is_encrypted_is_said() {
    let mut file = docx();
    let directory = file.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
    file[directory + 8] |= 1;
    assert_eq!(look(&file, DOCX), Look::Encrypted);
}

#[test]
fn an_archive_that_unpacks_to_too_much_is_said() {
    let mut file = docx();
    let directory = file.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
    for (unpacked, expected) in [(MAX_UNPACKED - 1_000, Look::Agrees), (MAX_UNPACKED, Look::TooLarge)] {
        let unpacked = u32::try_from(unpacked).unwrap().to_le_bytes();
        file[directory + 24..directory + 28].copy_from_slice(&unpacked);
        assert_eq!(look(&file, DOCX), expected);
    }
}

#[test]
fn no_cut_and_no_changed_byte_upsets_it() {
    let file = docx();
    for length in 0..file.len() {
        assert_eq!(look(&file[..length], DOCX), Look::Differs, "cut at {length}");
    }
    for byte in 0..file.len() {
        for flipped in [1, 0x80, 0xff] {
            let mut changed = file.clone();
            changed[byte] ^= flipped;
            let _ = look(&changed, DOCX);
        }
    }
}
