//! How `admin` and `records` commands answer: for a person, or with `--json` as one document on stdout.

use std::{
    fmt::Display,
    io::{self, Write as _},
};

use serde_json::{Value, json};
use sigilo_wire::ErrorCode;

use super::Outcome;
use crate::{
    Error, Result,
    gateway::{language::Language, messages},
};

/// What a command has to say.
pub(super) struct Answer {
    /// For programs.
    pub(super) json: Value,
    /// For people.
    pub(super) text: String,
}

/// Prints what came of a command. A refusal is an answer (exit status 1), a value nobody can accept is wrong
/// usage (2); what kept the command from running goes on to the caller (3).
#[expect(clippy::print_stderr, reason = "the command's answer")]
pub(super) fn finish(as_json: bool, came_of_it: Result<Answer>) -> Result<Outcome> {
    let error = match came_of_it {
        Ok(answer) if as_json => {
            say(format_args!("{:#}", answer.json))?;
            return Ok(Outcome::Done);
        }
        Ok(answer) => {
            say(answer.text)?;
            return Ok(Outcome::Done);
        }
        Err(error @ (Error::Internal(_) | Error::Unavailable(_))) => return Err(error),
        Err(error) => error,
    };
    let code = error.code();
    if as_json {
        let message = english(&error);
        say(format_args!("{:#}", json!({"error": code, "message": message, "details": error.details()})))?;
    } else {
        eprintln!("sigilo: {}", explain(&error));
    }
    Ok(if code == ErrorCode::InvalidField { Outcome::Usage } else { Outcome::No })
}

/// Prints a line of the command's answer on stdout. A reader who went before the end (`| head`) has had enough.
///
/// # Errors
/// When it cannot be written, as to a full disk.
pub(super) fn say(line: impl Display) -> Result<()> {
    match writeln!(io::stdout().lock(), "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::internal(error)),
        _ => Ok(()),
    }
}

/// Tells a person something beside the answer, on stderr.
#[expect(clippy::print_stderr, reason = "the command line speaks to its user")]
pub(super) fn tell(text: &str) {
    eprintln!("{text}");
}

/// What went wrong, for a person.
fn explain(error: &Error) -> String {
    let details = error.details();
    let text = |name: &str| details.get(name).and_then(Value::as_str);
    match (text("field"), text("problem")) {
        (Some(field), Some(problem)) => format!("{field}: {problem}"),
        (None, Some(problem)) => problem.to_owned(),
        (Some(field), None) => format!("{field}: {}", english(error)),
        (None, None) => english(error),
    }
}

fn english(error: &Error) -> String {
    messages::text(error.code(), Language::English, &error.details())
}
