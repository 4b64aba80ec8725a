//! What of a file a request asks for (RFC 9110, sections 13 and 14).

use std::ops::Range;

use axum::http::{HeaderMap, header};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Nothing: the caller has it.
    Has,
    /// All of it.
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// Bytes that are not there.
    Nowhere,
}

/// What is asked for of a file of this length and strong tag, quotes included. A range that is not understood is none, and
/// several are none: the whole is given then.
pub(super) fn asked(headers: &HeaderMap, tag: &str, length: u64) -> Asked {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(tags) = text(header::IF_NONE_MATCH)
        && tags.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag)
    {
        return Asked::Has;
    }
    // A date is no tag: files have none that could be compared.
    if text(header::IF_RANGE).is_some_and(|one| one != tag) {
        return Asked::Whole;
    }
    let Some(range) = text(header::RANGE).and_then(|range| range.trim().strip_prefix("bytes=")) else {
        return Asked::Whole;
    };
    let Some((first, last)) = range.split_once('-').map(|(first, last)| (first.trim(), last.trim())) else {
        return Asked::Whole;
    };
    let number = |text: &str| -> Option<u64> {
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
    };
    let part = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(length),
        (Some(first), None) if last.is_empty() => first..length,
        (None, Some(last)) if first.is_empty() => length.saturating_sub(last)..length,
        _ => return Asked::Whole,
    };
    if part.start < part.end { Asked::Part(part) } else { Asked::Nowhere }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: &str = "\"abc\"";

    fn of(pairs: &[(header::HeaderName, &str)]) -> Asked {
        let headers = pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        asked(&headers, TAG, 100)
    }

    #[test]
    fn one_range_is_understood() {
        for (range, expected) in [
            ("bytes=0-0", Asked::Part(0..1)),
            ("bytes=10-19", Asked::Part(10..20)),
            ("bytes=10-", Asked::Part(10..100)),
            ("bytes=-5", Asked::Part(95..100)),
            ("bytes=-500", Asked::Part(0..100)),
            ("bytes=90-18446744073709551615", Asked::Part(90..100)),
            ("bytes=100-", Asked::Nowhere),
            ("bytes=100-200", Asked::Nowhere),
            ("bytes=-0", Asked::Nowhere),
            ("bytes=20-10", Asked::Whole),
            ("bytes=0-1,5-6", Asked::Whole),
            ("bytes=+1-2", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("lines=1-2", Asked::Whole),
            ("bytes=99999999999999999999-", Asked::Whole),
        ] {
            assert_eq!(of(&[(header::RANGE, range)]), expected, "{range}");
        }
        assert_eq!(of(&[]), Asked::Whole);
    }

    #[test]
    fn conditions_come_first() {
        for tags in ["\"abc\"", "*", "\"x\", W/\"abc\""] {
            assert_eq!(
                of(&[(header::IF_NONE_MATCH, tags), (header::RANGE, "bytes=0-0")]),
                Asked::Has,
                "{tags}"
            );
        }
        assert_eq!(of(&[(header::IF_NONE_MATCH, "\"x\"")]), Asked::Whole);
        assert_eq!(of(&[(header::IF_RANGE, TAG), (header::RANGE, "bytes=1-2")]), Asked::Part(1..3));
        for other in ["\"x\"", "W/\"abc\"", "Sat, 28 Nov 2026 00:00:00 GMT"] {
            assert_eq!(
                of(&[(header::IF_RANGE, other), (header::RANGE, "bytes=1-2")]),
                Asked::Whole,
                "{other}"
            );
        }
    }
}
