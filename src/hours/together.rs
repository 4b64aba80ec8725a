//! A clinic's hours narrowed by those of the clinicians in a conversation.

use std::time::Duration;

use sigilo_wire::Timestamp;

use super::schedule::{Schedule, Span};

/// How far ahead an opening or closing is looked for.
const HORIZON: Duration = Duration::from_hours(2 * 366 * 24);

/// Open while the clinic is, and any of the clinicians. With none who has hours of their own, while the clinic is.
#[derive(Clone, Debug)]
pub struct Together {
    /// The clinic's.
    pub clinic: Schedule,
    /// Those of its clinicians, when each of them has their own.
    pub clinicians: Vec<Schedule>,
}

impl Together {
    /// Whether it is open, and until when.
    #[must_use]
    pub fn span(&self, at: Timestamp) -> Span {
        if self.clinicians.is_empty() {
            return self.clinic.span(at);
        }
        let (open, mut next) = self.step(at);
        while let Some(then) = next.filter(|then| *then < at + HORIZON) {
            let (is, after) = self.step(then);
            if is != open {
                return Span { open, until: Some(then) };
            }
            next = after;
        }
        Span { open, until: None }
    }

    /// Whether it is open, and the next instant at which that could change.
    fn step(&self, at: Timestamp) -> (bool, Option<Timestamp>) {
        let clinic = self.clinic.span(at);
        if !clinic.open {
            return (false, clinic.until);
        }
        let spans: Vec<Span> = self.clinicians.iter().map(|own| own.span(at)).collect();
        let next = spans.iter().chain([&clinic]).filter_map(|span| span.until).min();
        (spans.iter().any(|span| span.open), next)
    }
}
