//! Counting what `cargo test` reports.

use std::io::{BufRead, Write};

use anyhow::{Context, Result};

/// The sums over every `test result:` line of a run.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
    /// Tests that were not run because they are marked ignored.
    pub ignored: u64,
    /// The runner's own summary lines, as printed.
    pub lines: Vec<String>,
    /// The names of the tests that failed.
    pub failures: Vec<String>,
}

impl Tally {
    /// Copies `input` to `output` as it comes and counts on the way.
    ///
    /// # Errors
    /// When reading or writing fails.
    pub fn follow(&mut self, mut input: impl BufRead, mut output: impl Write) -> Result<()> {
        let mut line = Vec::new();
        while input.read_until(b'\n', &mut line).context("cannot read the tests' output")? > 0 {
            output.write_all(&line).context("cannot write the tests' output")?;
            output.flush().context("cannot write the tests' output")?;
            self.count(&String::from_utf8_lossy(&line));
            line.clear();
        }
        Ok(())
    }

    /// Adds one line of output. A summary is counted only when it has the runner's whole form, so that a test
    /// that prints the words changes nothing.
    fn count(&mut self, line: &str) {
        let line = line.trim_end();
        if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED")) {
            self.failures.push(name.to_owned());
        }
        let Some(summary) = line.strip_prefix("test result: ") else { return };
        let Some((_, counts)) = summary.split_once(". ") else { return };
        let number = |name: &str| {
            counts
                .split("; ")
                .find_map(|part| part.strip_suffix(name)?.strip_suffix(' ')?.parse::<u64>().ok())
        };
        let (Some(passed), Some(failed), Some(ignored)) =
            (number("passed"), number("failed"), number("ignored"))
        else {
            return;
        };
        self.passed += passed;
        self.failed += failed;
        self.ignored += ignored;
        self.lines.push(line.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(text: &str) -> Tally {
        let mut tally = Tally::default();
        let mut copy = Vec::new();
        tally.follow(text.as_bytes(), &mut copy).expect("in memory");
        assert_eq!(copy, text.as_bytes(), "the output passes through unchanged");
        tally
    }

    #[test]
    fn sums_every_summary() {
        let tally = counted(
            "running 3 tests\n\
             test a ... ok\n\
             test of::b ... FAILED\n\
             test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
             \n\
             test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 4 filtered out; finished in 1.20s\n",
        );
        assert_eq!((tally.passed, tally.failed, tally.ignored), (13, 2, 1));
        assert_eq!(tally.lines.len(), 2);
        assert_eq!(tally.failures, ["of::b"]);
    }

    #[test]
    fn takes_a_last_line_without_an_end() {
        assert_eq!(counted("test result: ok. 1 passed; 0 failed; 0 ignored").passed, 1);
    }

    #[test]
    fn ignores_what_only_looks_like_a_summary() {
        for line in [
            "the test result: ok. 3 passed; 0 failed; 0 ignored",
            "test result: ok",
            "test result: ok. many passed; 0 failed; 0 ignored",
            "test result: ok. 3 passed",
        ] {
            assert_eq!(counted(line), Tally::default(), "{line}");
        }
    }

    #[test]
    fn passes_bytes_that_are_no_text() {
        let mut copy = Vec::new();
        let mut tally = Tally::default();
        tally.follow(&b"\xff\xfe\ntest result: ok. 2 passed; 0 failed; 0 ignored\n"[..], &mut copy).unwrap();
        assert_eq!(copy[..2], [0xff, 0xfe]);
        assert_eq!(tally.passed, 2);
    }
}
