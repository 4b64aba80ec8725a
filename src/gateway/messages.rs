//! What happened and what to do, for people, in their language: `locales/*.ftl`, in [Fluent](https://projectfluent.org).

use std::sync::LazyLock;

use fluent_bundle::{FluentArgs, FluentResource, concurrent::FluentBundle};
use serde_json::Value;
use sigilo_wire::ErrorCode;

use super::language::Language;
use crate::error::Suggestion;

type Bundle = FluentBundle<FluentResource>;

static ENGLISH: LazyLock<Bundle> = LazyLock::new(|| bundle(Language::English));
static SPANISH: LazyLock<Bundle> = LazyLock::new(|| bundle(Language::Spanish));

const fn source(language: Language) -> &'static str {
    match language {
        Language::English => include_str!("../../locales/en.ftl"),
        Language::Spanish => include_str!("../../locales/es.ftl"),
    }
}

/// What can be read of a language's file; a test holds that it is all of it.
fn bundle(language: Language) -> Bundle {
    let tag = language.tag().parse().unwrap_or_default();
    let mut bundle = Bundle::new_concurrent(vec![tag]);
    // The marks around a value are for text of mixed directions; both languages run from left to right.
    bundle.set_use_isolating(false);
    let resource = FluentResource::try_new(source(language).to_owned()).unwrap_or_else(|(read, _)| read);
    bundle.add_resource_overriding(resource);
    bundle
}

/// The message of a code. `details` are those of the answer: a message may name the words and numbers among them.
#[must_use]
pub fn text(code: ErrorCode, language: Language, details: &Value) -> String {
    said(code.as_str(), language, details).unwrap_or_else(|| code.as_str().to_owned())
}

/// What the person can do about a denial.
#[must_use]
pub(crate) fn suggestion(suggestion: &Suggestion, language: Language, details: &Value) -> Option<String> {
    match suggestion {
        Suggestion::None => None,
        Suggestion::Said(id) => said(id, language, details),
        Suggestion::Rule { default, translated } => {
            let of_language = translated.iter().find(|(tag, _)| tag == language.tag());
            Some(of_language.map_or(default, |(_, text)| text).clone())
        }
    }
}

/// A message in the language, or in English.
fn said(id: &str, language: Language, details: &Value) -> Option<String> {
    let bundle = match language {
        Language::English => &ENGLISH,
        Language::Spanish => &SPANISH,
    };
    let of = |bundle: &Bundle| {
        let pattern = bundle.get_message(id)?.value()?;
        // A detail that is not there is shown as its name, in braces.
        Some(bundle.format_pattern(pattern, Some(&arguments(details)), &mut Vec::new()).into_owned())
    };
    of(bundle).or_else(|| of(&ENGLISH))
}

fn arguments(details: &Value) -> FluentArgs<'_> {
    let mut arguments = FluentArgs::new();
    for (name, value) in details.as_object().into_iter().flatten() {
        match value {
            Value::String(text) => arguments.set(name.as_str(), text.as_str()),
            Value::Number(number) => arguments.set(name.as_str(), number.to_string()),
            _ => {}
        }
    }
    arguments
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::policy::source::Source;

    fn identifiers(language: Language) -> BTreeSet<String> {
        let resource = FluentResource::try_new(source(language).to_owned())
            .unwrap_or_else(|(_, errors)| panic!("locales/{}.ftl: {errors:?}", language.tag()));
        let mut all = BTreeSet::new();
        for line in resource.source().lines().filter(|line| !line.starts_with([' ', '#'])) {
            if let Some((id, _)) = line.split_once(" = ") {
                assert!(all.insert(id.to_owned()), "locales/{}.ftl has {id} twice", language.tag());
            }
        }
        all
    }

    #[test]
    fn every_code_has_its_message_in_every_language() {
        for language in Language::ALL {
            let known = identifiers(language);
            let bundle = bundle(language);
            for code in ErrorCode::ALL.iter().chain([&ErrorCode::Unknown]) {
                assert!(known.contains(code.as_str()), "locales/{}.ftl lacks {code}", language.tag());
                let message = bundle.get_message(code.as_str()).and_then(|message| message.value());
                assert!(message.is_some(), "locales/{}.ftl: {code} says nothing", language.tag());
            }
        }
        assert_eq!(identifiers(Language::English), identifiers(Language::Spanish));
    }

    #[test]
    fn every_suggestion_of_a_rule_is_said_in_every_language() {
        let source = Source::embedded();
        let policies = source.check().unwrap().policies;
        for rule in policies.policies() {
            if rule.annotation("suggestion").is_none() {
                continue;
            }
            for language in Language::ALL.iter().filter(|language| **language != Language::English) {
                let name = format!("suggestion_{}", language.tag());
                let translated = rule.annotation(&name).is_some_and(|text| !text.is_empty());
                assert!(translated, "policies/{}.cedar lacks @{name}", rule.id());
            }
        }
    }

    #[test]
    fn a_message_names_what_the_details_say() {
        let details = json!({"max_size": 1024});
        let english = text(ErrorCode::TooLarge, Language::English, &details);
        assert!(english.contains("1024 bytes"), "{english}");
        assert!(text(ErrorCode::TooLarge, Language::Spanish, &details).contains("1024 bytes"));
    }
}
