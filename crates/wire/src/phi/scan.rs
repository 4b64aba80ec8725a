//! One pass over a text: its words, what stands before them, and what was found.

use std::ops::Range;

use super::{Phi, PhiKind};
use crate::fold::Folded;

/// How many words may lie between a cue and what it announces, the cue's own included.
const REACH: usize = 4;

/// A text being looked through. Words are counted from 0; `chars` are folded characters.
pub(super) struct Scan<'a> {
    text: &'a str,
    pub(super) folded: Folded,
    found: Vec<Candidate>,
}

struct Candidate {
    kind: PhiKind,
    /// Whether a word before it says what it is.
    cued: bool,
    chars: Range<usize>,
}

impl<'a> Scan<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, folded: Folded::of(text), found: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.folded.words().len()
    }

    /// The word's characters; empty past the end.
    pub(super) fn word(&self, word: usize) -> &[char] {
        self.folded.words().get(word).map_or(&[], |range| self.folded.get(range.clone()))
    }

    /// What stands between a word and the next; `None` at the end.
    pub(super) fn gap(&self, word: usize) -> Option<&[char]> {
        let (this, next) = (self.folded.words().get(word)?, self.folded.words().get(word + 1)?);
        Some(self.folded.get(this.end..next.start))
    }

    /// The character before a word.
    pub(super) fn before(&self, word: usize) -> Option<char> {
        let start = self.folded.words().get(word)?.start;
        self.folded.chars().get(start.checked_sub(1)?).copied()
    }

    /// The original's first character of a word.
    pub(super) fn original(&self, word: usize) -> Option<char> {
        let bytes = self.folded.bytes(self.folded.words().get(word)?.clone());
        self.text.get(bytes)?.chars().next()
    }

    /// Whether one of `cues` stands shortly before a word.
    pub(super) fn cued(&self, word: usize, cues: &[&str]) -> bool {
        let from = word.saturating_sub(REACH);
        (from..word).any(|start| {
            cues.iter().filter_map(|cue| self.folded.spells(start, cue)).any(|length| start + length <= word)
        })
    }

    /// Whether one of `cues` ends right before a word.
    pub(super) fn cue_ends_at(&self, word: usize, cues: &[&str]) -> bool {
        cues.iter().any(|cue| {
            let length = cue.split(' ').count();
            word.checked_sub(length).is_some_and(|start| self.folded.spells(start, cue).is_some())
        })
    }

    /// The words `first..=last`, each joined to the next by one hyphen, dot or slash at most, without those.
    pub(super) fn joined(&self, first: usize, last: usize) -> Option<Vec<char>> {
        let linked = |word| matches!(self.gap(word), Some(['-' | '.' | '/']));
        (first..last).all(linked).then(|| (first..=last).flat_map(|word| self.word(word)).copied().collect())
    }

    /// Notes that the words `first..=last` are something.
    pub(super) fn note(&mut self, kind: PhiKind, cued: bool, first: usize, last: usize) {
        let words = self.folded.words();
        if let (Some(first), Some(last)) = (words.get(first), words.get(last)) {
            let chars = first.start..last.end;
            self.found.push(Candidate { kind, cued, chars });
        }
    }

    /// Notes that characters are something.
    pub(super) fn note_chars(&mut self, kind: PhiKind, chars: Range<usize>) {
        self.found.push(Candidate { kind, cued: false, chars });
    }

    /// What was found; of those that overlap the one that was announced, then the narrower kind, then the longer.
    pub(super) fn finish(mut self) -> Vec<Phi> {
        self.found.sort_by_key(|one| (!one.cued, one.kind, std::cmp::Reverse(one.chars.len())));
        let mut taken = vec![false; self.folded.chars().len()];
        let mut kept = Vec::new();
        for one in self.found {
            let Some(place) = taken.get_mut(one.chars.clone()) else { continue };
            if !place.contains(&true) {
                place.fill(true);
                kept.push(Phi { kind: one.kind, range: self.folded.bytes(one.chars) });
            }
        }
        kept.sort_by_key(|phi| phi.range.start);
        kept
    }
}

/// Whether a word is nothing but digits.
pub(super) fn is_number(word: &[char]) -> bool {
    !word.is_empty() && word.iter().all(char::is_ascii_digit)
}

/// The digits among characters.
pub(super) fn digits(chars: &[char]) -> Vec<u32> {
    chars.iter().filter_map(|char| char.to_digit(10)).collect()
}

/// The value of a short number.
pub(super) fn value(word: &[char]) -> Option<u32> {
    if !is_number(word) || word.len() > 8 {
        return None;
    }
    Some(digits(word).into_iter().fold(0, |sum, digit| sum * 10 + digit))
}
