//! Where commands come from: a prompt with history and completion, or lines on stdin.

use std::io::IsTerminal as _;

use rustyline::{
    Context, Editor, Helper, Highlighter, Validator,
    completion::{Completer, Pair},
    error::ReadlineError,
    hint::Hinter,
    history::MemHistory,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    sync::mpsc,
};

use super::{
    command::{self, Command, HELP},
    files,
    screen::Screen,
    talk,
};
use crate::{Error, Result};

/// Completes the names of commands, and notices typing. What was typed is not kept in a file: it is the conversation.
#[derive(Helper, Highlighter, Validator)]
struct Names(mpsc::UnboundedSender<Command>);

impl Hinter for Names {
    type Hint = String;

    /// Asked at every key; hints at nothing.
    fn hint(&self, line: &str, _: usize, _: &Context<'_>) -> Option<String> {
        if !line.is_empty() && !line.starts_with('/') {
            // Whoever is gone needs not be told.
            let _ = self.0.send(Command::Typing);
        }
        None
    }
}

impl Completer for Names {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let typed = line.get(..position).unwrap_or(line);
        let found = HELP
            .iter()
            .chain(talk::HELP)
            .chain(files::HELP)
            .filter(|(name, ..)| typed.starts_with('/') && name.starts_with(typed))
            .map(|(name, ..)| Pair { display: (*name).to_owned(), replacement: format!("{name} ") })
            .collect();
        Ok((0, found))
    }
}

/// Starts reading commands; the channel ends when the input does.
pub(super) fn start(json: bool) -> Result<(Screen, mpsc::UnboundedReceiver<Command>)> {
    let (sender, commands) = mpsc::unbounded_channel();
    if !json && std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        let screen = prompt(sender)?;
        return Ok((screen, commands));
    }
    tokio::spawn(async move {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if let Some(command) = command::parse(&line)
                && sender.send(command).is_err()
            {
                return;
            }
        }
    });
    Ok((Screen::plain(json), commands))
}

fn prompt(sender: mpsc::UnboundedSender<Command>) -> Result<Screen> {
    let mut editor: Editor<Names, MemHistory> =
        Editor::with_history(rustyline::Config::default(), MemHistory::new()).map_err(Error::internal)?;
    editor.set_helper(Some(Names(sender.clone())));
    let printer = editor.create_external_printer().map_err(Error::internal)?;
    std::thread::spawn(move || {
        loop {
            match editor.readline("> ") {
                Ok(line) => {
                    let _ = editor.add_history_entry(line.as_str());
                    let Some(command) = command::parse(&line) else { continue };
                    let last = command == Command::Quit;
                    if sender.send(command).is_err() || last {
                        return;
                    }
                }
                Err(ReadlineError::Interrupted) => {
                    let _ = sender.send(Command::Wrong("/quit or Ctrl-D leaves".to_owned()));
                }
                Err(_) => return,
            }
        }
    });
    Ok(Screen::above_prompt(Box::new(printer)))
}
