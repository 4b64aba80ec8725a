//! Words as the index knows them.
//!
//! A word is folded (no case, no accents; ñ stays a letter of its own), and cut to its Spanish and its English stem by
//! the Snowball algorithms. The stemmers of Spanish look at accents, which people leave out: an ending they know by
//! its accent alone gets it back, whether it was typed or not.
//!
//! In the index a term is ASCII letters and digits: every other character is written `z` and five hexadecimal digits.

use std::{collections::BTreeSet, fmt::Write as _};

use rust_stemmers::{Algorithm, Stemmer};
use sigilo_wire::fold::Folded;

/// Words of a query beyond these are not asked for.
const MOST_WORDS: usize = 32;
/// The shortest last word that also stands for the words that begin with it.
const SHORTEST_BEGINNING: usize = 3;

/// The terms of a text, one of each, parted by spaces.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Terms {
    /// Words as they are written.
    pub(super) word: String,
    /// Their Spanish stems.
    pub(super) es: String,
    /// Their English stems.
    pub(super) en: String,
}

/// A word that is searched for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sought {
    word: String,
    es: String,
    en: String,
    /// Whether words that begin with it are meant, too.
    begins: bool,
}

/// All words that are searched for: each must be there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Query(pub(super) Vec<Sought>);

/// Both stemmers.
pub(super) struct Stems {
    es: Stemmer,
    en: Stemmer,
}

impl Stems {
    pub(super) fn new() -> Self {
        Self { es: Stemmer::create(Algorithm::Spanish), en: Stemmer::create(Algorithm::English) }
    }

    fn spanish(&self, folded: &str) -> String {
        let accented = match folded.strip_suffix("ion") {
            Some(begin) => format!("{begin}ión"),
            None => match folded.strip_suffix("logia") {
                Some(begin) => format!("{begin}logía"),
                None => folded.to_owned(),
            },
        };
        fold(&self.es.stem(&accented))
    }

    fn english(&self, folded: &str) -> String {
        self.en.stem(folded).into_owned()
    }

    fn sought(&self, word: String, begins: bool) -> Sought {
        Sought { es: self.spanish(&word), en: self.english(&word), word, begins }
    }
}

impl Sought {
    /// Whether a folded word of a text is meant.
    pub(super) fn is(&self, word: &str, stems: &Stems) -> bool {
        word == self.word
            || (self.begins && word.starts_with(&self.word))
            || stems.spanish(word) == self.es
            || stems.english(word) == self.en
    }

    /// As FTS5 asks for it.
    fn expression(&self) -> String {
        let (word, es, en) = (term(&self.word), term(&self.es), term(&self.en));
        let begins = if self.begins { format!(" OR word : \"{word}\" *") } else { String::new() };
        format!("(word : \"{word}\" OR es : \"{es}\" OR en : \"{en}\"{begins})")
    }
}

impl Query {
    /// What a person typed; `None` without a word.
    pub(super) fn of(text: &str) -> Option<Self> {
        let stems = Stems::new();
        let folded = Folded::of(text);
        let last = folded.words().len().min(MOST_WORDS).checked_sub(1)?;
        let words = folded.words().iter().take(MOST_WORDS).enumerate().map(|(place, range)| {
            let word: String = folded.get(range.clone()).iter().collect();
            let starred = folded.chars().get(range.end) == Some(&'*');
            let begins = starred || (place == last && range.len() >= SHORTEST_BEGINNING);
            stems.sought(word, begins)
        });
        Some(Self(words.collect()))
    }

    /// As FTS5 asks for it.
    pub(super) fn expression(&self) -> String {
        self.0.iter().map(Sought::expression).collect::<Vec<_>>().join(" AND ")
    }
}

/// The terms of a text.
pub(super) fn terms(text: &str) -> Terms {
    let stems = Stems::new();
    let folded = Folded::of(text);
    let mut words: BTreeSet<String> = BTreeSet::new();
    words.extend(folded.words().iter().map(|range| folded.get(range.clone()).iter().collect::<String>()));
    let each = |of: &dyn Fn(&str) -> String| {
        let terms: BTreeSet<String> = words.iter().map(|word| term(&of(word))).collect();
        terms.into_iter().collect::<Vec<_>>().join(" ")
    };
    Terms {
        word: each(&|word| word.to_owned()),
        es: each(&|word| stems.spanish(word)),
        en: each(&|word| stems.english(word)),
    }
}

fn fold(text: &str) -> String {
    Folded::of(text).chars().iter().collect()
}

fn term(word: &str) -> String {
    let mut term = String::with_capacity(word.len());
    for char in word.chars() {
        if char.is_ascii_alphanumeric() {
            term.push(char);
        } else {
            // Writing into a String does not fail.
            let _ = write!(term, "z{:05x}", u32::from(char));
        }
    }
    term
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(sought: &str, word: &str) -> bool {
        let query = Query::of(&format!("{sought} x")).unwrap();
        let stems = Stems::new();
        query.0[0].is(&fold(word), &stems)
    }

    #[test]
    fn endings_case_and_accents_do_not_count() {
        for (sought, word) in [
            ("medicacion", "Medicación"),
            ("medicación", "MEDICACIONES"),
            ("medicacion", "medicaciones"),
            ("presion", "presiones"),
            ("dolor", "dolores"),
            ("mareos", "mareo"),
            ("cardiologia", "Cardiología"),
            ("niños", "niño"),
            ("pastillas", "pastilla"),
            ("headaches", "headache"),
            ("taking", "takes"),
            ("doses", "dose"),
            ("5", "5"),
        ] {
            assert!(matches(sought, word), "{sought} finds {word}");
        }
        for (sought, word) in [("año", "ano"), ("dosis", "dolor"), ("pre", "presión"), ("50", "5")] {
            assert!(!matches(sought, word), "{sought} does not find {word}");
        }
    }

    #[test]
    fn beginnings_are_the_last_word_and_those_with_a_star() {
        let begins = |text| {
            Query::of(text)
                .unwrap()
                .0
                .iter()
                .map(|sought| (sought.word.clone(), sought.begins))
                .collect::<Vec<_>>()
        };
        assert_eq!(begins("Tomó medic"), [("tomo".to_owned(), false), ("medic".to_owned(), true)]);
        assert_eq!(begins("me* la"), [("me".to_owned(), true), ("la".to_owned(), false)]);
        assert_eq!(Query::of(" ¿?  *"), None);
    }

    #[test]
    fn no_text_can_break_out_of_the_expression() {
        for text in [r#"" OR word : ""#, "NEAR(a b)", "a:b -c", "(", "ñandú \u{1F600} हिन्दी ⓐ"]
        {
            let Some(query) = Query::of(text) else { continue };
            let inside: String = query.expression().split('"').skip(1).step_by(2).collect();
            assert!(inside.chars().all(|char| char.is_ascii_alphanumeric()), "{text}: {inside}");
        }
    }
}
