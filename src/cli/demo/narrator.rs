//! Tells the story as it happens, and remembers which claims were checked.

use std::{
    io::{IsTerminal as _, Write as _},
    path::Path,
    time::Instant,
};

use serde_json::{Value, json};

/// The claims a complete story checks. A story that ends with fewer has not been told.
const CLAIMS: &[&str] = &[
    "every client pinned the root of the printed card",
    "the patient without an appointment is refused and told why",
    "the patient with an appointment is served",
    "the doctor reads what the patient wrote, live and verified",
    "the patient reads what the doctor wrote, live and verified",
    "each sender sees that the message was delivered",
    "a message sent while the doctor was away waits and arrives",
    "the server's receipt verifies under the clinic's root",
    "both sides see the same safety number",
    "a second device is linked, and holds to the same root",
    "the second device reads what was said before it, word for word and verified",
    "what is said from then on reaches both of the patient's devices",
    "the server stored every message, and only ciphertext",
    "an upload that breaks off goes on where it stopped",
    "a file that nothing has scanned waits, and is given out to nobody",
    "a group and its title are made by its members alone",
    "an edit is shown on its message, and the first text stays in the record",
    "a reaction is shown on its message, and the server does not know which",
    "what was said is found on the device, in whatever form of the word",
    "who writes too late is told when the clinic opens, and where help is",
    "an emergency nobody acknowledges reaches the next on call, with what was said",
    "the patient sees that somebody looks after the emergency, and that it is over",
    "a held message is decided on again and delivered at the opening",
    "a doctor who breaks the glass says why, and the patient and the staff are told",
    "each broken glass waits until compliance has reviewed it",
    "a new identity is noticed, and nothing is said to it before it is confirmed",
    "once the two have compared the number, they go on under the new key",
    "the hunt finds what it is meant to find",
    "no word of the conversation is in database, journal, keys or logs",
    "no line of a file is in object store, spool or database",
    "no word of the conversation, nor of a file, is in the server's memory",
    "the server stops cleanly",
];

/// Those of a story with a clamd, beside them.
const SCANNED: &[&str] = &[
    "a file is scanned before anybody opens it, and its verdict verifies",
    "the doctor has the patient's file, decrypted and byte for byte",
    "a file in which something was found is given out to nobody",
    "who takes part, the moderator and the operator see it in quarantine",
];

/// Tells and remembers.
pub(super) struct Narrator {
    json: bool,
    colour: bool,
    started: Instant,
    /// Whether there is a clamd.
    scans: bool,
    checked: Vec<&'static str>,
    failure: Option<String>,
    facts: serde_json::Map<String, Value>,
}

impl Narrator {
    pub(super) fn new(json: bool, scans: bool) -> Self {
        let tty = if json { std::io::stderr().is_terminal() } else { std::io::stdout().is_terminal() };
        let colour = tty && std::env::var_os("NO_COLOR").is_none();
        Self {
            json,
            colour,
            started: Instant::now(),
            scans,
            checked: Vec::new(),
            failure: None,
            facts: serde_json::Map::new(),
        }
    }

    /// A chapter begins.
    pub(super) fn chapter(&self, title: &str) {
        self.line(&format!("\n{}", self.set("1", title)));
    }

    /// Something happens.
    pub(super) fn tell(&self, text: &str) {
        self.line(&format!("  {text}"));
    }

    /// Somebody says something.
    pub(super) fn says(&self, who: &str, text: &str) {
        self.line(&format!("  {} {text}", self.set("36", &format!("{who}:"))));
    }

    /// A claim was checked.
    pub(super) fn claim(&mut self, claim: &'static str) {
        self.line(&format!("  {} {claim}", self.set("32", "✓")));
        self.checked.push(claim);
    }

    /// A number for the JSON document.
    pub(super) fn fact(&mut self, name: &str, value: Value) {
        self.facts.insert(name.to_owned(), value);
    }

    /// A claim did not hold, or the story could not go on.
    pub(super) fn failed(&mut self, why: &str) {
        self.line(&format!("  {} {why}", self.set("31", "✗")));
        self.failure = Some(why.to_owned());
    }

    /// Whether each claim was checked.
    pub(super) fn all_checked(&self) -> bool {
        self.failure.is_none() && self.missing() == 0
    }

    /// How many claims were not.
    fn missing(&self) -> usize {
        let of_files = if self.scans { SCANNED } else { &[] };
        CLAIMS.iter().chain(of_files).filter(|claim| !self.checked.contains(claim)).count()
    }

    /// The last words.
    pub(super) fn end(&self, good: bool, kept: Option<&Path>) {
        let seconds = self.started.elapsed().as_secs_f64();
        let kept_at =
            kept.map(|path| format!(" Everything is kept in {}.", path.display())).unwrap_or_default();
        let checked = self.checked.len();
        self.line(&if good {
            format!("\n{} {checked} claims checked in {seconds:.1} s.{kept_at}", self.set("32", "Done."))
        } else {
            let missing = self.missing();
            format!("\n{} {checked} claims checked, {missing} not.{kept_at}", self.set("31", "Failed."))
        });
        if self.json {
            let document = json!({
                "ok": good, "seconds": seconds, "checked": self.checked, "failure": self.failure,
                "facts": self.facts, "folder": kept,
            });
            let _ = writeln!(std::io::stdout(), "{document}");
        }
    }

    fn line(&self, text: &str) {
        // Somebody who closed the terminal is not told.
        let _ = if self.json {
            writeln!(std::io::stderr(), "{text}")
        } else {
            writeln!(std::io::stdout(), "{text}")
        };
    }

    fn set(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
