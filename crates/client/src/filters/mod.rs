//! What the sender is told before a text leaves the device: its length, swear words, what identifies a patient,
//! and what looks like spam. Only the device can look, since the server never sees the text. A finding never stops
//! a message: the sender decides.

use std::{fmt, ops::Range, sync::LazyLock};

use serde::Serialize;
use sigilo_wire::{
    fold::{Folded, lines},
    phi::{self, PhiKind},
};

use crate::MAX_TEXT_CHARS;

#[cfg(test)]
mod tests;

static PROFANITY: LazyLock<Vec<&str>> = LazyLock::new(|| lines(include_str!("profanity.txt")).collect());

/// The same character this often in a row.
const REPEATED_CHARS: usize = 20;
/// The same word this often in a row.
const REPEATED_WORDS: usize = 6;
/// The same line this often.
const REPEATED_LINES: usize = 4;
/// More links than a person puts into one message.
const MANY_LINKS: usize = 4;
/// Capitals say nothing in a text with fewer letters.
const SHOUTED_LETTERS: usize = 20;

/// Something the sender may want to know. Holds where, never what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "filter", rename_all = "snake_case")]
pub enum Finding {
    /// Longer than [`MAX_TEXT_CHARS`]: sending it will be refused.
    TooLong {
        /// How long it is, in characters.
        chars: usize,
    },
    /// A swear word.
    Profanity {
        /// Where it is, in bytes.
        range: Range<usize>,
    },
    /// What identifies a patient or says what they have.
    Phi {
        /// What it is.
        kind: PhiKind,
        /// Where it is, in bytes.
        range: Range<usize>,
    },
    /// It looks like spam.
    Spam {
        /// By what.
        sign: SpamSign,
    },
}

/// What makes a text look like spam.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SpamSign {
    /// The same character, word or line over and over.
    Repetition,
    /// Many links.
    Links,
    /// Nearly all capitals.
    Shouting,
}

impl fmt::Display for Finding {
    /// For the sender, in English: "a phone number".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { chars } => write!(f, "{chars} characters, more than {MAX_TEXT_CHARS}"),
            Self::Profanity { .. } => f.write_str("a swear word"),
            Self::Phi { kind, .. } => f.write_str(kind.label()),
            Self::Spam { sign: SpamSign::Repetition } => f.write_str("the same over and over"),
            Self::Spam { sign: SpamSign::Links } => f.write_str("many links"),
            Self::Spam { sign: SpamSign::Shouting } => f.write_str("capitals nearly throughout"),
        }
    }
}

/// Looks through a text before it is sent. Empty when there is nothing to say.
#[must_use]
pub fn review(text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let chars = text.chars().count();
    if chars > MAX_TEXT_CHARS {
        findings.push(Finding::TooLong { chars });
    }
    findings.extend(phi::find(text).into_iter().map(|phi| Finding::Phi { kind: phi.kind, range: phi.range }));
    let folded = Folded::of(text);
    findings.extend(profanity(&folded).into_iter().map(|range| Finding::Profanity { range }));
    let signs = [
        (SpamSign::Repetition, is_repetitive(text, &folded)),
        (SpamSign::Links, is_full_of_links(&folded)),
        (SpamSign::Shouting, is_shouted(text)),
    ];
    findings.extend(signs.into_iter().filter(|(_, seen)| *seen).map(|(sign, _)| Finding::Spam { sign }));
    findings
}

/// The swear words, in bytes of the original; the longest that begins at a word.
fn profanity(folded: &Folded) -> Vec<Range<usize>> {
    let (words, mut found, mut word) = (folded.words(), Vec::new(), 0);
    while let Some(first) = words.get(word) {
        let length = PROFANITY.iter().filter_map(|entry| folded.spells(word, entry)).max();
        word += length.unwrap_or(1);
        if let (Some(_), Some(last)) = (length, words.get(word - 1)) {
            found.push(folded.bytes(first.start..last.end));
        }
    }
    found
}

fn is_repetitive(text: &str, folded: &Folded) -> bool {
    // Rulers and blank space are layout.
    let is_layout = |char: &char| char.is_whitespace() || "-_=.*·".contains(*char);
    let chars =
        longest_run(folded.chars().iter().map(Some), |char| char.is_some_and(|char| !is_layout(char)));
    let words = longest_run(folded.words().iter().map(|word| folded.get(word.clone())), |_| true);
    chars >= REPEATED_CHARS || words >= REPEATED_WORDS || repeated_lines(text) >= REPEATED_LINES
}

/// The length of the longest run of equal items that count.
fn longest_run<T: PartialEq>(items: impl Iterator<Item = T>, counts: impl Fn(&T) -> bool) -> usize {
    let (mut longest, mut run, mut last) = (0, 0, None);
    for item in items {
        run = if last.as_ref() == Some(&item) { run + 1 } else { 1 };
        if counts(&item) {
            longest = longest.max(run);
        }
        last = Some(item);
    }
    longest
}

/// How often the most frequent line is there; a line counts from three words on.
fn repeated_lines(text: &str) -> usize {
    let mut lines: Vec<&str> =
        text.lines().map(str::trim).filter(|line| line.split_whitespace().nth(2).is_some()).collect();
    lines.sort_unstable();
    longest_run(lines.into_iter(), |_| true)
}

fn is_full_of_links(folded: &Folded) -> bool {
    let text: String = folded.chars().iter().collect();
    let bare =
        text.match_indices("www.").filter(|(at, _)| !text.get(..*at).unwrap_or_default().ends_with("://"));
    text.matches("://").count() + bare.count() >= MANY_LINKS
}

/// Whether four letters of five are capitals, in three words or more.
fn is_shouted(text: &str) -> bool {
    let letters = text.chars().filter(|char| char.is_lowercase() || char.is_uppercase()).count();
    let capitals = text.chars().filter(|char| char.is_uppercase()).count();
    letters >= SHOUTED_LETTERS && capitals * 5 >= letters * 4 && text.split_whitespace().nth(2).is_some()
}
