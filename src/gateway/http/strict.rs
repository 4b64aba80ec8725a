//! Strict JSON: what is wrong is said with the place where it is wrong. WebSocket frames are parsed by the
//! same function.

use serde::de::DeserializeOwned;
use serde_json::{error::Category, json};
use sigilo_wire::ErrorCode;

use crate::Error;

/// Parses a whole JSON document.
///
/// # Errors
/// `invalid_json` with line and column, `unknown_field` or `invalid_field` with the field.
pub fn json<T: DeserializeOwned>(text: &[u8]) -> Result<T, Error> {
    // Serde reads structures from lists as well, by position; the API has named fields only.
    if text.trim_ascii_start().starts_with(b"[") {
        return Err(Error::field("body", "must be an object"));
    }
    if escapes_nul(text) {
        return Err(no_nul("body"));
    }
    // Where something is wrong is followed only when something is.
    if let Ok(value) = serde_json::from_slice(text) {
        return Ok(value);
    }
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        explain(&path, error.inner())
    })?;
    deserializer.end().map_err(|error| explain(".", &error))?;
    Ok(value)
}

/// Text with U+0000 in it: JSON can write it, PostgreSQL cannot keep it, and no name or word has one.
pub(super) fn no_nul(place: &str) -> Error {
    Error::field(place, "has the character U+0000 in it, which is no text")
}

/// Whether a string of the document has an escaped U+0000; unescaped it is no JSON.
fn escapes_nul(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        let escape = rest.get(at + 1..).unwrap_or_default();
        if escape.starts_with(b"u0000") {
            return true;
        }
        // What is escaped is passed over: it may be a backslash.
        rest = escape.get(1..).unwrap_or_default();
    }
    false
}

fn explain(path: &str, error: &serde_json::Error) -> Error {
    match error.classify() {
        // The place follows from the path; serde's "at line 1 column 9" would only repeat it.
        Category::Data => {
            let message = error.to_string();
            let problem = message.rsplit_once(" at line ").map_or(message.as_str(), |(problem, _)| problem);
            from_message(problem, path)
        }
        Category::Syntax | Category::Eof | Category::Io => Error::invalid(
            ErrorCode::InvalidJson,
            json!({"line": error.line(), "column": error.column(), "problem": syntax_problem(error)}),
        ),
    }
}

fn syntax_problem(error: &serde_json::Error) -> String {
    let message = error.to_string();
    message.rsplit_once(" at line ").map_or(message.as_str(), |(problem, _)| problem).to_owned()
}

/// Sorts serde's message: an unknown field, a missing one, or a value that is wrong. `place` is the path of
/// the value, or where it stands (`path`, `query`).
pub(super) fn from_message(message: &str, place: &str) -> Error {
    let named = |begin: &str| message.split_once(begin).and_then(|(_, rest)| rest.split('`').next());
    let place = if place == "." { "" } else { place };
    // Depending on the kind of value the path ends in the field already.
    let within = |field: &str| match place {
        "" => field.to_owned(),
        place if place == field || place.ends_with(&format!(".{field}")) => place.to_owned(),
        place => format!("{place}.{field}"),
    };
    if let Some(field) = named("unknown field `") {
        return Error::invalid(ErrorCode::UnknownField, json!({"field": within(field)}));
    }
    if let Some(field) = named("missing field `") {
        return Error::field(&within(field), "is missing");
    }
    if let Some(field) = named("duplicate field `") {
        return Error::field(&within(field), "is there twice");
    }
    Error::field(if place.is_empty() { "body" } else { place }, message)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::Value;

    use super::*;

    #[test]
    fn an_escaped_nul_is_found_and_an_escaped_backslash_is_not_one() {
        for (text, found) in [
            (r#"{"a": "\u0000"}"#, true),
            (r#"{"a": "\n\\\u0000"}"#, true),
            (r#"{"\u0000": 1}"#, true),
            (r#"{"a": "\\u0000"}"#, false),
            (r#"{"a": "\u0001 u0000 \\"}"#, false),
            ("{\"a\": \"\\", false),
        ] {
            assert_eq!(escapes_nul(text.as_bytes()), found, "{text}");
        }
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only parsed")]
    struct Outer {
        name: String,
        #[serde(default)]
        inner: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only parsed")]
    struct Inner {
        count: u8,
        key: Option<sigilo_wire::Base64Array<4>>,
    }

    fn refusal(text: &str) -> (&'static str, Value) {
        let error = json::<Outer>(text.as_bytes()).unwrap_err();
        (error.code().as_str(), error.details())
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, code, place) in [
            (r#"{"name": "x", "nme": 1}"#, "unknown_field", json!("nme")),
            (r#"{"name": "x", "inner": [{"count": 1, "c": 2}]}"#, "unknown_field", json!("inner[0].c")),
            (r#"{"inner": []}"#, "invalid_field", json!("name")),
            (r#"{"name": "x", "inner": [{}]}"#, "invalid_field", json!("inner[0].count")),
            (r#"{"name": "x", "inner": [{"count": 300}]}"#, "invalid_field", json!("inner[0].count")),
            (
                r#"{"name": "x", "inner": [{"count": 3, "key": "AAE="}]}"#,
                "invalid_field",
                json!("inner[0].key"),
            ),
            (r#"{"name": "x", "name": "y"}"#, "invalid_field", json!("name")),
            ("7", "invalid_field", json!("body")),
            (r#"["x", []]"#, "invalid_field", json!("body")),
        ] {
            let (found, details) = refusal(text);
            assert_eq!((found, &details["field"]), (code, &place), "{text}: {details}");
        }
    }

    #[test]
    fn broken_json_is_said_with_line_and_column() {
        for text in
            ["", "{", r#"{"name": "x"} x"#, r#"{"name": "x",}"#, "\u{feff}{}", r#"{"name": "\ud800"}"#]
        {
            let (code, details) = refusal(text);
            assert_eq!(code, "invalid_json", "{text}");
            assert!(details["line"].is_u64() && details["column"].is_u64(), "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_and_does_no_harm() {
        let text = format!(r#"{{"name": {}"#, "[".repeat(1_000_000));
        assert_eq!(json::<Value>(text.as_bytes()).unwrap_err().code().as_str(), "invalid_json");
    }
}
