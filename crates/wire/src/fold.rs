//! Text without case and accents, as the filters compare it; each character still knows where it came from.

use std::ops::Range;

/// Accented letters and what they fold to, lower case. ñ is a letter of its own: "año" is not "ano".
const ACCENTED: &[(&str, char)] = &[
    ("áàâäãåāª", 'a'),
    ("éèêëē", 'e'),
    ("íìîïī", 'i'),
    ("óòôöõøōº", 'o'),
    ("úùûüū", 'u'),
    ("ýÿ", 'y'),
    ("ç", 'c'),
    ("\u{a0}\u{2007}\u{2009}\u{202f}", ' '),
    ("\u{2010}\u{2011}\u{2012}\u{2013}\u{2014}\u{2212}", '-'),
];

/// A text, folded character by character.
pub struct Folded {
    chars: Vec<char>,
    /// Byte offset in the original of each character, and the end of the text.
    starts: Vec<usize>,
    words: Vec<Range<usize>>,
}

impl Folded {
    /// Folds `text`. Combining marks and invisible characters belong to the character before them.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let (mut chars, mut starts): (Vec<char>, Vec<usize>) = (Vec::new(), Vec::new());
        for (start, char) in text.char_indices() {
            if let '\u{303}' = char
                && let Some(last @ 'n') = chars.last_mut()
            {
                *last = 'ñ';
            } else if !is_invisible(char) {
                chars.push(fold(char));
                starts.push(start);
            }
        }
        starts.push(text.len());
        let words = words(&chars);
        Self { chars, starts, words }
    }

    /// The words: runs of letters and digits, as ranges of folded characters.
    #[must_use]
    pub fn words(&self) -> &[Range<usize>] {
        &self.words
    }

    /// The folded characters of a range; empty when there is no such range.
    #[must_use]
    pub fn get(&self, range: Range<usize>) -> &[char] {
        self.chars.get(range).unwrap_or_default()
    }

    /// The folded characters.
    #[must_use]
    pub fn chars(&self) -> &[char] {
        &self.chars
    }

    /// Where in the original, in bytes, a range of folded characters came from.
    #[must_use]
    pub fn bytes(&self, range: Range<usize>) -> Range<usize> {
        let end = self.starts.last().copied().unwrap_or_default();
        let at = |index: usize| self.starts.get(index).copied().unwrap_or(end);
        at(range.start)..at(range.end)
    }

    /// How many words from the word at `index` on spell `phrase` (folded, words parted by one space); `None` when
    /// they spell something else.
    #[must_use]
    pub fn spells(&self, index: usize, phrase: &str) -> Option<usize> {
        let mut count = 0;
        for part in phrase.split(' ') {
            let word = self.words.get(index + count)?;
            if !self.get(word.clone()).iter().copied().eq(part.chars()) {
                return None;
            }
            count += 1;
        }
        Some(count)
    }
}

/// The entries of a list of folded words: one a line, comments after `#`.
pub fn lines(list: &str) -> impl Iterator<Item = &str> {
    list.lines().filter(|line| !line.starts_with('#') && !line.is_empty())
}

fn is_invisible(char: char) -> bool {
    matches!(char, '\u{300}'..='\u{36f}' | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
}

fn fold(char: char) -> char {
    // Full-width forms lie at a fixed distance from ASCII.
    let char = match char {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(char) - 0xfee0).unwrap_or(char),
        other => other,
    };
    let lower = char.to_lowercase().next().unwrap_or(char);
    if lower.is_ascii() {
        return lower;
    }
    ACCENTED.iter().find(|(from, _)| from.contains(lower)).map_or(lower, |(_, to)| *to)
}

fn words(chars: &[char]) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut start = None;
    for (index, char) in chars.iter().enumerate() {
        match (char.is_alphanumeric(), start) {
            (true, None) => start = Some(index),
            (false, Some(from)) => {
                words.push(from..index);
                start = None;
            }
            _ => {}
        }
    }
    words.extend(start.map(|from| from..chars.len()));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> String {
        Folded::of(text).chars().iter().collect()
    }

    #[test]
    fn case_accents_and_marks_go_and_the_enye_stays() {
        for (text, expected) in [
            ("CORAZÓN", "corazon"),
            ("corazo\u{301}n", "corazon"),
            ("AÑO", "año"),
            ("an\u{303}o", "año"),
            ("１２３", "123"),
            ("5\u{a0}5–1", "5 5-1"),
            ("can\u{200b}cer", "cancer"),
            ("", ""),
            ("\u{301}", ""),
        ] {
            assert_eq!(folded(text), expected, "{text:?}");
        }
    }

    #[test]
    fn words_know_their_bytes() {
        let text = "¿Qué tal, año\u{301}?";
        let folded = Folded::of(text);
        let words: Vec<&str> =
            folded.words().iter().map(|word| text.get(folded.bytes(word.clone())).unwrap()).collect();
        assert_eq!(words, ["Qué", "tal", "año\u{301}"]);
        assert_eq!(folded.spells(0, "que tal"), Some(2));
        assert_eq!(folded.spells(0, "que"), Some(1));
        assert_eq!(folded.spells(1, "que"), None);
        assert_eq!(folded.spells(2, "año nuevo"), None);
    }
}
