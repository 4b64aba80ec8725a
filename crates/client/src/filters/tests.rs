use proptest::prelude::*;

use super::*;

fn signs(text: &str) -> Vec<SpamSign> {
    review(text)
        .into_iter()
        .filter_map(|finding| match finding {
            Finding::Spam { sign } => Some(sign),
            _ => None,
        })
        .collect()
}

#[test]
fn length_counts_characters() {
    // Three words again and again would be spam as well.
    let text = |chars: usize| {
        (0..).flat_map(|n| format!("w{n} ").into_bytes()).take(chars).map(char::from).collect()
    };
    let (most, more): (String, String) = (text(MAX_TEXT_CHARS), text(MAX_TEXT_CHARS + 1));
    assert_eq!(review(&most), []);
    assert_eq!(review(&more), [Finding::TooLong { chars: MAX_TEXT_CHARS + 1 }]);
}

#[test]
fn swear_words_are_whole_words() {
    for (text, what) in [
        ("¡Qué MIERDA!", "MIERDA"),
        ("imbécil", "imbécil"),
        ("you son of a bitch", "son of a bitch"),
        ("el coño ese", "coño"),
    ] {
        let start = text.find(what).unwrap();
        assert_eq!(review(text), [Finding::Profanity { range: start..start + what.len() }], "{text}");
    }
    for text in ["La computadora", "Scunthorpe", "un cono naranja", "reputación", "Feliz año", "la disputa"]
    {
        assert_eq!(review(text), [], "{text}");
    }
}

#[test]
fn identifiers_are_warned_of() {
    let text = "márcame al 55 1234 5678";
    let start = text.find("55").unwrap();
    assert_eq!(review(text), [Finding::Phi { kind: PhiKind::Phone, range: start..text.len() }]);
}

#[test]
fn spam_has_signs() {
    for (text, sign) in [
        ("gana gana gana gana gana gana", SpamSign::Repetition),
        ("holaaaaaaaaaaaaaaaaaaaaaaa", SpamSign::Repetition),
        ("Compra ya aquí\nCompra ya aquí\nCompra ya aquí\nCompra ya aquí", SpamSign::Repetition),
        ("https://a.example www.b.example http://c.example https://www.d.example", SpamSign::Links),
        ("COMPRA YA LAS MEJORES PASTILLAS", SpamSign::Shouting),
    ] {
        assert_eq!(signs(text), [sign], "{text}");
    }
}

#[test]
fn small_talk_has_nothing() {
    for text in [
        "Buenos días, doctora. ¿Cómo está?",
        "jajajajajajajajajajajajaja",
        "no no no, así no",
        "sí, sí, sí",
        "Nooooo, ¿en serio?",
        "--------------------------------",
        "......................",
        "IMSS, UNAM y CDMX",
        "OK, GRACIAS",
        "1. sí\n2. sí\n3. sí\n4. sí",
        "Mire https://example.org y www.example.com",
        "Tome 500 mg cada 8 horas por 5 días",
        "My blood pressure was 120/80 this morning",
        "",
    ] {
        assert_eq!(review(text), [], "{text}");
    }
}

#[test]
fn findings_are_named_in_json_and_do_not_repeat_the_text() {
    let findings = review("puta, HIV");
    assert_eq!(
        serde_json::to_value(&findings).unwrap(),
        serde_json::json!([
            { "filter": "phi", "kind": "diagnosis", "range": { "start": 6, "end": 9 } },
            { "filter": "profanity", "range": { "start": 0, "end": 4 } },
        ]),
    );
    let shown = format!("{findings:?} {}", findings.iter().map(ToString::to_string).collect::<String>());
    assert!(!shown.contains("puta") && !shown.contains("HIV"), "{shown}");
}

#[test]
fn the_words_of_the_list_are_folded_and_in_order() {
    for pair in PROFANITY.windows(2) {
        assert!(pair[0] < pair[1], "{pair:?}");
    }
    for word in PROFANITY.iter() {
        assert_eq!(review(word), [Finding::Profanity { range: 0..word.len() }], "{word}");
    }
}

proptest! {
    #[test]
    fn any_text_is_looked_through(text in any::<String>()) {
        for finding in review(&text) {
            if let Finding::Phi { range, .. } | Finding::Profanity { range } = finding {
                prop_assert!(text.get(range).is_some_and(|found| !found.is_empty()));
            }
        }
    }
}
