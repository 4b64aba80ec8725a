//! What is going on, on stderr: bars on a terminal, lines elsewhere.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressStyle};

/// Speaks to whoever waits.
pub(super) struct Progress {
    terminal: bool,
}

impl Progress {
    /// On this process's stderr.
    pub(super) fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal() }
    }

    /// Says what happens next.
    #[expect(clippy::print_stderr, reason = "progress is for people, results are on stdout")]
    pub(super) fn say(&self, text: &str) {
        eprintln!("{text}");
    }

    /// A step of a known length.
    pub(super) fn step(&self, name: &str, length: usize) -> ProgressBar {
        if !self.terminal {
            self.say(&format!("{name} ({length})"));
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(length as u64).with_message(name.to_owned());
        match ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}") {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        }
    }
}
