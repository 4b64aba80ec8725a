//! What a blob is, and what is refused of it.

use std::io::{Cursor, Read as _};

use aes_gcm::{Aes256Gcm, KeyInit as _, aead::Aead as _};
use proptest::prelude::*;

use super::{
    io::{OpenReader, SealReader},
    *,
};
use crate::{
    primitives::hkdf_salted,
    sha256,
    testing::{test_rng, two_key_ciphertext},
};

const NO_LIMIT: u64 = u64::MAX;
/// Lengths at which the number of segments, or the kind of the last, changes.
const BORDERS: [usize; 10] = [0, 1, 15, 65_535, 65_536, 65_537, 131_071, 131_072, 131_073, 196_608];

fn key() -> FileKey {
    FileKey::from_bytes([1; 32])
}

fn plaintext(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    rand_core::Rng::fill_bytes(&mut test_rng(70), &mut bytes);
    bytes
}

/// A head and its segments.
fn seal(plain: &[u8]) -> (FileHead, Vec<Vec<u8>>) {
    let mut sealer = FileSealer::new(&key(), NO_LIMIT, &mut test_rng(71));
    let chunks: Vec<&[u8]> =
        if plain.is_empty() { vec![plain] } else { plain.chunks(SEGMENT_LENGTH).collect() };
    let sealed = chunks
        .iter()
        .enumerate()
        .map(|(number, chunk)| sealer.segment(chunk, number + 1 == chunks.len()).unwrap())
        .collect();
    assert_eq!(sealer.finish(), Ok(plain.len() as u64));
    (*sealer.head(), sealed)
}

fn blob(plain: &[u8]) -> Vec<u8> {
    let (head, segments) = seal(plain);
    [head.to_bytes().to_vec(), segments.concat()].concat()
}

/// Opens segments that were given in this order.
fn open(head: &FileHead, segments: &[Vec<u8>]) -> Result<Vec<u8>, FileError> {
    let mut opener = FileOpener::new(&key(), head, NO_LIMIT)?;
    let mut plain = Vec::new();
    for (number, segment) in segments.iter().enumerate() {
        plain.extend_from_slice(&opener.segment(segment, number + 1 == segments.len())?);
    }
    assert_eq!(opener.finish()?, plain.len() as u64);
    Ok(plain)
}

fn read_all(blob: &[u8], key: &FileKey, limit: u64) -> Result<Vec<u8>, FileError> {
    let refused = |error: std::io::Error| *error.get_ref().unwrap().downcast_ref::<FileError>().unwrap();
    let mut reader = OpenReader::new(blob, key, limit).map_err(refused)?;
    let mut plain = Vec::new();
    reader.read_to_end(&mut plain).map_err(refused)?;
    let summary = reader.finish()?;
    assert_eq!((summary.plain_len, summary.sealed_len), (plain.len() as u64, blob.len() as u64));
    assert_eq!(summary.blob_sha256, sha256(blob));
    Ok(plain)
}

#[test]
fn a_blob_is_what_the_protocol_writes_down() {
    let plain = plaintext(SEGMENT_LENGTH + 5);
    let (head, segments) = seal(&plain);
    let derived = hkdf_salted::<71>(&[1; 32], &head.salt, b"sigilo/v1/file");
    assert_eq!(head.commitment.as_bytes(), &derived[39..]);
    assert_eq!(head.to_bytes(), [head.salt, head.commitment.0].concat().as_slice());
    let cipher = Aes256Gcm::new_from_slice(&derived[..32]).unwrap();
    let nonce = |tail: [u8; 5]| -> [u8; 12] { [&derived[32..39], &tail].concat().try_into().unwrap() };
    let first = cipher.encrypt(&nonce([0, 0, 0, 0, 0]).into(), &plain[..SEGMENT_LENGTH]).unwrap();
    let second = cipher.encrypt(&nonce([0, 0, 0, 1, 1]).into(), &plain[SEGMENT_LENGTH..]).unwrap();
    assert_eq!(segments, [first, second]);
}

#[test]
fn every_length_is_opened_again_and_has_the_length_that_was_foreseen() {
    for length in BORDERS {
        let plain = plaintext(length);
        let (head, segments) = seal(&plain);
        assert!(open(&head, &segments).unwrap() == plain, "{length}");
        let blob = blob(&plain);
        assert_eq!(sealed_len(length as u64), Ok(blob.len() as u64), "{length}");
        assert_eq!(plain_len(blob.len() as u64), Ok(length as u64), "{length}");
        assert!(read_all(&blob, &key(), length as u64).unwrap() == plain, "{length}");
        assert_eq!(FileHead::parse(&blob).unwrap(), head);
    }
}

#[test]
fn lengths_that_no_blob_has_are_refused() {
    let full = (HEAD_LENGTH + SEALED_SEGMENT_LENGTH) as u64;
    let without_a_segment = 0..HEAD_LENGTH as u64 + 16;
    let with_half_a_tag_more = full + 1..=full + 16;
    for length in without_a_segment.chain(with_half_a_tag_more) {
        assert_eq!(plain_len(length), Err(FileError::Length(length)));
    }
    assert_eq!(plain_len(HEAD_LENGTH as u64 + 16), Ok(0));
    assert_eq!(plain_len(full), Ok(SEGMENT_LENGTH as u64));
    assert_eq!(plain_len(full + 17), Ok(SEGMENT_LENGTH as u64 + 1));
    // The longest file has a segment for every value of the counter.
    let longest = sealed_len(MAX_PLAIN_LENGTH).unwrap();
    assert_eq!(longest, 64 + (1 << 32) * 65_552);
    assert_eq!(plain_len(longest), Ok(MAX_PLAIN_LENGTH));
    assert_eq!(FileLayout::of_sealed(longest).unwrap().segments(), 1 << 32);
    assert_eq!(sealed_len(MAX_PLAIN_LENGTH + 1), Err(FileError::TooLong(MAX_PLAIN_LENGTH)));
    for length in [longest + 17, u64::MAX] {
        assert_eq!(plain_len(length), Err(FileError::TooLong(MAX_PLAIN_LENGTH)));
    }
}

#[test]
fn a_wrong_key_or_commitment_is_refused_before_anything_is_decrypted() {
    let (head, segments) = seal(b"file");
    let other = FileKey::from_bytes([2; 32]);
    let refused = |key: &FileKey, head: &FileHead| {
        assert_eq!(FileOpener::new(key, head, NO_LIMIT).unwrap_err(), FileError::WrongKey);
        assert_eq!(RangeOpener::new(key, head, 84).unwrap_err(), FileError::WrongKey);
    };
    refused(&other, &head);
    for byte in 0..HEAD_LENGTH {
        let mut bytes = head.to_bytes();
        bytes[byte] ^= 1;
        refused(&key(), &FileHead::parse(&bytes).unwrap());
        let changed = [bytes.to_vec(), segments.concat()].concat();
        assert_eq!(read_all(&changed, &key(), NO_LIMIT), Err(FileError::WrongKey), "byte {byte}");
    }
    assert_eq!(read_all(&blob(b"file"), &other, NO_LIMIT), Err(FileError::WrongKey));
}

/// The attack that `kc` exists for: a segment that opens under two keys. One of them is refused.
#[test]
fn a_blob_that_opens_under_two_keys_is_refused_for_one_of_them() {
    let (scanned, opened) = (key(), FileKey::from_bytes([2; 32]));
    let salt = [3; 32];
    let derived = [&scanned, &opened].map(|key| hkdf_salted::<71>(key.as_bytes(), &salt, b"sigilo/v1/file"));
    let parts = derived.each_ref().map(|derived| {
        let nonce = [&derived[32..39], &[0, 0, 0, 0, 1]].concat();
        (<[u8; 32]>::try_from(&derived[..32]).unwrap(), <[u8; 12]>::try_from(nonce.as_slice()).unwrap())
    });
    let segment = two_key_ciphertext(parts.each_ref().map(|(key, nonce)| (key, nonce)), b"");
    let open_as = |key: &FileKey, kc: &[u8]| {
        let head = FileHead { salt, commitment: FileCommitment(kc.try_into().unwrap()) };
        FileOpener::new(key, &head, NO_LIMIT)?.segment(&segment, true)
    };
    let commitments = derived.each_ref().map(|derived| &derived[39..]);
    let shown = [open_as(&scanned, commitments[0]).unwrap(), open_as(&opened, commitments[1]).unwrap()];
    assert_ne!(shown[0], shown[1], "AES-GCM does not commit to its key");
    assert_eq!(open_as(&opened, commitments[0]), Err(FileError::WrongKey));
    assert_eq!(open_as(&scanned, commitments[1]), Err(FileError::WrongKey));
}

#[test]
fn segments_that_are_missing_added_exchanged_or_repeated_do_not_open() {
    let plain = plaintext(3 * SEGMENT_LENGTH);
    let (head, segments) = seal(&plain);
    let [a, b, c] = <[Vec<u8>; 3]>::try_from(segments).unwrap();
    let refused = |segments: &[&Vec<u8>], at: u64| {
        let segments: Vec<_> = segments.iter().map(|segment| (*segment).clone()).collect();
        assert_eq!(open(&head, &segments), Err(FileError::Segment(at)));
        let blob = [head.to_bytes().to_vec(), segments.concat()].concat();
        assert_eq!(read_all(&blob, &key(), NO_LIMIT), Err(FileError::Segment(at)));
    };
    refused(&[&a, &b], 1);
    refused(&[&a], 0);
    refused(&[&b, &a, &c], 0);
    refused(&[&a, &c], 1);
    refused(&[&b, &c], 0);
    refused(&[&a, &a, &b, &c], 1);
    refused(&[&a, &b, &c, &c], 2);
    // Nor does a segment of another blob under the same key.
    let mut other = FileSealer::new(&key(), NO_LIMIT, &mut test_rng(72));
    let foreign = other.segment(&plain[..SEGMENT_LENGTH], false).unwrap();
    refused(&[&foreign, &b, &c], 0);
    // Without any segment, or within one, a blob ends nowhere.
    assert_eq!(open(&head, &[]), Err(FileError::Truncated));
    let whole = [head.to_bytes().to_vec(), a, b, c].concat();
    let cuts = [(63, FileError::Truncated), (64, FileError::SegmentLength(0))];
    for (cut, error) in cuts.into_iter().chain([
        (79, FileError::SegmentLength(15)),
        (80, FileError::Segment(0)),
        (64 + 65_552 + 16, FileError::SegmentLength(0)),
        (64 + 65_552 + 17, FileError::Segment(1)),
        (whole.len() - 1, FileError::Segment(2)),
    ]) {
        assert_eq!(read_all(&whole[..cut], &key(), NO_LIMIT), Err(error), "{cut}");
    }
    for more in [1, 16, 17] {
        let longer = [whole.clone(), vec![0; more]].concat();
        assert_eq!(read_all(&longer, &key(), NO_LIMIT), Err(FileError::Segment(2)), "{more}");
    }
}

#[test]
fn a_last_segment_that_is_not_the_last_does_not_open() {
    let plain = plaintext(SEGMENT_LENGTH);
    let mut early = FileSealer::new(&key(), NO_LIMIT, &mut test_rng(73));
    let segment = early.segment(&plain, true).unwrap();
    let mut opener = FileOpener::new(&key(), early.head(), NO_LIMIT).unwrap();
    assert_eq!(opener.segment(&segment, false), Err(FileError::Segment(0)));
    assert_eq!(opener.finish(), Err(FileError::Truncated));
    assert_eq!(opener.segment(&segment, true).unwrap().as_slice(), plain);
    assert_eq!(opener.segment(&segment, true), Err(FileError::Ended));
    assert_eq!(opener.segment(&segment, false), Err(FileError::Ended));
    assert_eq!(early.segment(&plain, true), Err(FileError::Ended));
    // The other way round: one that was not sealed as the last.
    let mut on = FileSealer::new(&key(), NO_LIMIT, &mut test_rng(73));
    let segment = on.segment(&plain, false).unwrap();
    let mut opener = FileOpener::new(&key(), on.head(), NO_LIMIT).unwrap();
    assert_eq!(opener.segment(&segment, true), Err(FileError::Segment(0)));
    assert_eq!(on.finish(), Err(FileError::Truncated));
}

#[test]
fn every_changed_byte_is_refused_and_nothing_of_it_is_shown() {
    let plain = plaintext(40);
    let (head, segments) = seal(&plain);
    for byte in 0..segments[0].len() {
        let mut changed = segments[0].clone();
        changed[byte] ^= 1 << (byte % 8);
        let before = changed.clone();
        let mut opener = FileOpener::new(&key(), &head, NO_LIMIT).unwrap();
        assert_eq!(opener.segment_in_place(&mut changed, true), Err(FileError::Segment(0)), "byte {byte}");
        assert_eq!(changed, before, "the ciphertext stays as it was");
    }
}

#[test]
fn segments_of_other_lengths_are_refused_by_both_sides() {
    let full = plaintext(SEGMENT_LENGTH + 1);
    let mut sealer = FileSealer::new(&key(), NO_LIMIT, &mut test_rng(74));
    for (length, last) in [(SEGMENT_LENGTH + 1, false), (SEGMENT_LENGTH + 1, true), (10, false), (0, false)] {
        assert_eq!(sealer.segment(&full[..length], last), Err(FileError::SegmentLength(length)));
    }
    let first = sealer.segment(&full[..SEGMENT_LENGTH], false).unwrap();
    assert_eq!(sealer.segment(b"", true), Err(FileError::SegmentLength(0)));
    let mut opener = FileOpener::new(&key(), sealer.head(), NO_LIMIT).unwrap();
    assert_eq!(opener.segment(&first[..15], true), Err(FileError::SegmentLength(15)));
    assert_eq!(opener.segment(&first[..100], false), Err(FileError::SegmentLength(84)));
    opener.segment(&first, false).unwrap();
    // One who seals by hand: an empty last segment after a full one is no file.
    let (stream, _) = Stream::derive(&key(), &sealer.head().salt);
    let tag = stream.seal(1, true, &mut []);
    assert_eq!(opener.segment(&tag, true), Err(FileError::SegmentLength(0)));
}

#[test]
fn a_file_above_the_limit_is_refused_by_both_sides() {
    let plain = plaintext(SEGMENT_LENGTH + 1);
    let blob = blob(&plain);
    assert_eq!(read_all(&blob, &key(), SEGMENT_LENGTH as u64), Err(FileError::TooLong(65_536)));
    assert!(read_all(&blob, &key(), SEGMENT_LENGTH as u64 + 1).unwrap() == plain);
    let mut reader = SealReader::new(plain.as_slice(), &key(), SEGMENT_LENGTH as u64, &mut test_rng(75));
    let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "the file is longer than 65536 bytes");
    assert_eq!(reader.finish().unwrap_err(), FileError::Truncated);
}

#[test]
fn the_counter_never_begins_anew() {
    let full = plaintext(SEGMENT_LENGTH);
    let mut sealer = FileSealer::new(&key(), NO_LIMIT, &mut test_rng(76));
    sealer.skip_to(u64::from(u32::MAX));
    let segment = sealer.segment(&full, false).unwrap();
    let beyond = FileError::TooLong(MAX_PLAIN_LENGTH);
    assert_eq!(sealer.segment(&full, false), Err(beyond));
    assert_eq!(sealer.segment(&full[..1], true), Err(beyond));
    let mut opener = FileOpener::new(&key(), sealer.head(), NO_LIMIT).unwrap();
    opener.skip_to(u64::from(u32::MAX));
    opener.segment(&segment, false).unwrap();
    assert_eq!(opener.segment(&segment, false), Err(beyond));
    // In the middle, too.
    let longest = sealed_len(MAX_PLAIN_LENGTH).unwrap();
    let range = RangeOpener::new(&key(), sealer.head(), longest).unwrap();
    assert_eq!(range.segment(1 << 32, &segment), Err(FileError::NoSegment(1 << 32)));
}

#[test]
fn a_part_of_a_file_is_opened_from_the_segments_that_cover_it() {
    let plain = plaintext(2 * SEGMENT_LENGTH + 100);
    let blob = blob(&plain);
    let head = FileHead::parse(&blob).unwrap();
    let range = RangeOpener::new(&key(), &head, blob.len() as u64).unwrap();
    let end = plain.len() as u64;
    for wanted in [0..1, 0..end, 65_535..65_537, 65_536..131_072, 70_000..70_001, end - 1..end, 131_072..end]
    {
        let covering = range.layout().covering(wanted.clone()).unwrap();
        let mut bytes = &blob[covering.sealed.start as usize..covering.sealed.end as usize];
        let mut opened = Vec::new();
        for number in covering.segments.clone() {
            let (segment, rest) = bytes.split_at(range.layout().segment(number).unwrap().sealed_length);
            opened.extend_from_slice(&range.segment(number, segment).unwrap());
            bytes = rest;
        }
        assert!(bytes.is_empty());
        let shown = &opened[covering.skip..][..(wanted.end - wanted.start) as usize];
        assert!(*shown == plain[wanted.start as usize..wanted.end as usize], "{wanted:?}");
    }
    for none in [5..5, 0..end + 1, end..end + 1] {
        assert_eq!(range.layout().covering(none), None);
    }
    assert_eq!(FileLayout::of_plain(0).unwrap().covering(0..1), None);
}

#[test]
fn a_segment_of_another_place_or_of_a_blob_of_another_length_is_refused() {
    let plain = plaintext(2 * SEGMENT_LENGTH);
    let (head, segments) = seal(&plain);
    let length = sealed_len(plain.len() as u64).unwrap();
    let range = RangeOpener::new(&key(), &head, length).unwrap();
    assert_eq!(range.segment(1, &segments[0]), Err(FileError::Segment(1)));
    assert_eq!(range.segment(0, &segments[1]), Err(FileError::Segment(0)));
    assert_eq!(range.segment(2, &segments[1]), Err(FileError::NoSegment(2)));
    assert_eq!(range.segment(u64::MAX, &segments[1]), Err(FileError::NoSegment(u64::MAX)));
    assert_eq!(range.segment(0, &segments[0][1..]), Err(FileError::SegmentLength(SEALED_SEGMENT_LENGTH - 1)));
    // A server that says the blob is shorter or longer than it is.
    let shorter = RangeOpener::new(&key(), &head, sealed_len(SEGMENT_LENGTH as u64).unwrap()).unwrap();
    assert_eq!(shorter.segment(0, &segments[0]), Err(FileError::Segment(0)));
    let longer = RangeOpener::new(&key(), &head, sealed_len(plain.len() as u64 + 1).unwrap()).unwrap();
    assert_eq!(longer.segment(1, &segments[1]), Err(FileError::Segment(1)));
    assert_eq!(RangeOpener::new(&key(), &head, length + 1).unwrap_err(), FileError::Length(length + 1));
}

#[test]
fn two_files_under_one_key_share_no_stream() {
    let rng = &mut test_rng(77);
    let [mut one, mut two] = [(); 2].map(|()| FileSealer::new(&key(), NO_LIMIT, rng));
    assert_ne!(one.head(), two.head());
    assert_ne!(one.segment(b"file", true).unwrap(), two.segment(b"file", true).unwrap());
}

/// Gives its bytes in pieces, with interruptions and failures in between.
struct Halting<R> {
    source: R,
    reads: usize,
}

impl<R: std::io::Read> std::io::Read for Halting<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.reads += 1;
        match self.reads % 4 {
            1 => Err(std::io::ErrorKind::Interrupted.into()),
            2 => Err(std::io::ErrorKind::TimedOut.into()),
            _ => {
                let most = into.len().min(30_000);
                self.source.read(&mut into[..most])
            }
        }
    }
}

/// Reads on after each failure.
fn read_on(reader: &mut impl std::io::Read) -> Vec<u8> {
    let (mut all, mut piece) = (Vec::new(), [0; 7_777]);
    loop {
        match reader.read(&mut piece) {
            Ok(0) => return all,
            Ok(read) => all.extend_from_slice(&piece[..read]),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::TimedOut),
        }
    }
}

#[test]
fn a_source_that_halts_and_fails_loses_nothing() {
    for length in BORDERS {
        let plain = plaintext(length);
        let source = Halting { source: Cursor::new(&plain), reads: 0 };
        let mut reader = SealReader::new(source, &key(), NO_LIMIT, &mut test_rng(71));
        let sealed = read_on(&mut reader);
        assert!(sealed == blob(&plain), "{length}");
        let summary = reader.finish().unwrap();
        assert_eq!((summary.plain_len, summary.sealed_len), (length as u64, sealed.len() as u64));
        assert_eq!(summary.blob_sha256, sha256(&sealed));
        let source = Halting { source: Cursor::new(&sealed[HEAD_LENGTH..]), reads: 0 };
        let source = sealed[..HEAD_LENGTH].chain(source);
        let mut reader = OpenReader::new(source, &key(), NO_LIMIT).unwrap();
        assert!(read_on(&mut reader) == plain, "{length}");
        assert_eq!(reader.finish().unwrap(), summary);
    }
}

#[test]
fn a_file_that_was_not_read_to_its_end_has_no_summary() {
    let plain = plaintext(100);
    let mut reader = SealReader::new(plain.as_slice(), &key(), NO_LIMIT, &mut test_rng(71));
    reader.read_exact(&mut [0; 179]).unwrap();
    assert_eq!(reader.finish().unwrap_err(), FileError::Truncated);
    let blob = blob(&plain);
    let mut reader = OpenReader::new(blob.as_slice(), &key(), NO_LIMIT).unwrap();
    reader.read_exact(&mut [0; 99]).unwrap();
    assert_eq!(reader.finish().unwrap_err(), FileError::Truncated);
    let unread = OpenReader::new(blob.as_slice(), &key(), NO_LIMIT).unwrap();
    assert_eq!(unread.finish().unwrap_err(), FileError::Truncated);
}

#[test]
fn debug_output_of_streams_shows_nothing() {
    let sealer = FileSealer::new(&key(), NO_LIMIT, &mut test_rng(71));
    let opener = FileOpener::new(&key(), sealer.head(), NO_LIMIT).unwrap();
    let range = RangeOpener::new(&key(), sealer.head(), 80).unwrap();
    assert_eq!(format!("{sealer:?} {opener:?} {range:?}"), "FileSealer FileOpener RangeOpener");
    let (stream, _) = Stream::derive(&key(), &[3; 32]);
    assert_eq!(format!("{stream:?}"), "Stream");
    let mut reader = SealReader::new(b"word".as_slice(), &key(), NO_LIMIT, &mut test_rng(71));
    reader.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(format!("{reader:?}"), "SealReader");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    /// Lengths near the borders of segments: the blob has the length foreseen, opens whole and in parts, and is
    /// refused when any byte of it is another or its end is cut off.
    #[test]
    fn files_near_the_borders_of_segments_open_and_changed_ones_do_not(
        segments in 0usize..4, offset in -20i64..20, at in any::<prop::sample::Index>(), bit in 0u8..8,
        cut in any::<prop::sample::Index>(), from in any::<prop::sample::Index>(),
    ) {
        let length = usize::try_from((segments * SEGMENT_LENGTH) as i64 + offset).unwrap_or(0);
        let plain = plaintext(length);
        let blob = blob(&plain);
        prop_assert_eq!(plain_len(blob.len() as u64), Ok(length as u64));
        prop_assert!(read_all(&blob, &key(), NO_LIMIT).unwrap() == plain);
        let mut changed = blob.clone();
        changed[at.index(blob.len())] ^= 1 << bit;
        prop_assert!(read_all(&changed, &key(), NO_LIMIT).is_err());
        prop_assert!(read_all(&blob[..cut.index(blob.len())], &key(), NO_LIMIT).is_err());
        if length > 0 {
            let wanted = from.index(length) as u64;
            let layout = FileLayout::of_sealed(blob.len() as u64).unwrap();
            let covering = layout.covering(wanted..wanted + 1).unwrap();
            let range = RangeOpener::new(&key(), &FileHead::parse(&blob).unwrap(), blob.len() as u64).unwrap();
            let sealed = &blob[covering.sealed.start as usize..covering.sealed.end as usize];
            let opened = range.segment(covering.segments.start, sealed).unwrap();
            prop_assert_eq!(opened[covering.skip], plain[wanted as usize]);
        }
    }
}
