//! The part of a text where the words are that were searched for.

use std::ops::Range;

use sigilo_wire::fold::Folded;

use super::words::{Query, Stems};

/// Characters before the first word that was found.
const BEFORE: usize = 40;
/// Characters of a snippet.
const LENGTH: usize = 160;

/// A part of `text` around the first word that is meant, on one line, and where in it the words are.
pub(super) fn of(text: &str, query: &Query) -> (String, Vec<Range<usize>>) {
    let stems = Stems::new();
    let folded = Folded::of(text);
    let is_meant = |range: &Range<usize>| {
        let word: String = folded.get(range.clone()).iter().collect();
        query.0.iter().any(|sought| sought.is(&word, &stems))
    };
    let meant: Vec<Range<usize>> = folded.words().iter().filter(|word| is_meant(word)).cloned().collect();
    let first = meant.first().map_or(0, |word| word.start);
    let window = window(&folded, first);
    let bytes = folded.bytes(window.clone());
    let (cut_before, cut_after) = (window.start > 0, window.end < folded.chars().len());
    let mut snippet = String::from(if cut_before { "…" } else { "" });
    let offset = snippet.len();
    // Line breaks and spaces are one byte each: the places of the words stay.
    let part = text.get(bytes.clone()).unwrap_or_default();
    snippet.extend(part.chars().map(|char| if matches!(char, '\n' | '\r' | '\t') { ' ' } else { char }));
    if cut_after {
        snippet.push('…');
    }
    let inside = meant.into_iter().filter(|word| word.start >= window.start && word.end <= window.end);
    let place = |word: Range<usize>| {
        let at = folded.bytes(word);
        at.start - bytes.start + offset..at.end - bytes.start + offset
    };
    (snippet, inside.map(place).collect())
}

/// From a little before `first` on, in whole words.
fn window(folded: &Folded, first: usize) -> Range<usize> {
    let earliest = first.saturating_sub(BEFORE);
    let words = folded.words();
    let start = match words.iter().find(|word| word.start >= earliest) {
        Some(word) if earliest > 0 => word.start,
        _ => 0,
    };
    let latest = start + LENGTH;
    if latest >= folded.chars().len() {
        return start..folded.chars().len();
    }
    let end = words.iter().rev().find(|word| word.end <= latest && word.end > start);
    start..end.map_or(latest, |word| word.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snippet(text: &str, query: &str) -> (String, Vec<String>) {
        let (snippet, matches) = of(text, &Query::of(query).unwrap());
        let found = matches.into_iter().map(|range| snippet.get(range).unwrap().to_owned()).collect();
        (snippet, found)
    }

    #[test]
    fn a_short_text_is_shown_whole() {
        let (text, found) = snippet("¿Tomó la MEDICACIÓN\nhoy?", "medicaciones");
        assert_eq!(
            (text.as_str(), found.as_slice()),
            ("¿Tomó la MEDICACIÓN hoy?", ["MEDICACIÓN".to_owned()].as_slice())
        );
    }

    #[test]
    fn a_long_text_is_cut_at_words_around_the_first_match() {
        let filler = "palabras y más palabras ñandú ";
        let text = format!("{}presión alta {}", filler.repeat(20), filler.repeat(20));
        let (cut, found) = snippet(&text, "presion");
        assert!(cut.starts_with('…') && cut.ends_with('…') && cut.chars().count() <= LENGTH + 2, "{cut}");
        assert_eq!(found, ["presión"]);
        assert!(cut.trim_matches('…').split(' ').all(|word| text.contains(&format!("{word} "))), "{cut}");
    }
}
