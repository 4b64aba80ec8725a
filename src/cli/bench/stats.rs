//! Times of many messages, and what they come to.

use std::time::Duration;

use serde::Serialize;

/// Measured times, in any order.
#[derive(Clone, Debug, Default)]
pub(super) struct Times(Vec<Duration>);

/// Percentiles by the nearest rank, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Percentiles {
    /// Half of the times are at most this.
    pub(super) p50_ms: f64,
    /// 95 of 100.
    pub(super) p95_ms: f64,
    /// 99 of 100.
    pub(super) p99_ms: f64,
    /// The longest.
    pub(super) max_ms: f64,
}

impl Times {
    /// Notes one.
    pub(super) fn note(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// Takes over another's.
    pub(super) fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// What they come to; zeros when there are none.
    pub(super) fn percentiles(mut self) -> Percentiles {
        self.0.sort_unstable();
        let rank = |percent: usize| {
            let place = (self.0.len() * percent).div_ceil(100).saturating_sub(1);
            self.0.get(place).map_or(0.0, |time| time.as_secs_f64() * 1_000.0)
        };
        Percentiles { p50_ms: rank(50), p95_ms: rank(95), p99_ms: rank(99), max_ms: rank(100) }
    }
}

/// How many a second.
pub(super) fn rate(count: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_nearest_rank() {
        let mut times = Times::default();
        for ms in (1..=200).rev() {
            times.note(Duration::from_millis(ms));
        }
        let mut more = Times::default();
        more.note(Duration::from_millis(1_000));
        times.merge(more);
        let percentiles = times.percentiles();
        assert_eq!(percentiles, Percentiles { p50_ms: 101.0, p95_ms: 191.0, p99_ms: 199.0, max_ms: 1_000.0 });
        assert_eq!(Times::default().percentiles(), Percentiles::default());
    }

    #[test]
    fn a_rate_of_no_time_is_none() {
        assert_eq!(rate(10, Duration::from_millis(500)), 20.0);
        assert_eq!(rate(10, Duration::ZERO), 0.0);
    }
}
