//! Commands about messages and about who takes part.

use sigilo_wire::{
    Timestamp,
    break_glass::BreakGlassReason,
    emergency::{EmergencyCategory, EmergencyOutcome, EmergencyUrgency},
    message::Priority,
};

use super::command::Command;

/// Something to do with messages or members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Talk {
    /// Start a care team with these people.
    Group(Vec<String>),
    /// Start an administrative conversation with these people.
    Administrative(Vec<String>),
    /// Bring people into the open conversation.
    Add(Vec<String>),
    /// Take somebody out of it.
    Remove(String),
    /// Want no messages from somebody.
    Block(String),
    /// Take that back.
    Unblock(String),
    /// Whom the user has blocked.
    Blocked,
    /// Call the clinicians on call.
    Emergency(EmergencyCategory, EmergencyUrgency),
    /// Look after the open emergency.
    Acknowledge,
    /// Call its next tier.
    Escalate,
    /// End it.
    Resolve(EmergencyOutcome),
    /// Write to a patient one does not treat: why, to whom, and why in words.
    BreakGlass(BreakGlassReason, String, String),
    /// Whether one might write, now or then, and why.
    Why(Option<Timestamp>),
    /// Who takes part.
    Who,
    /// Leave it.
    Leave,
    /// Put it away, or get it back.
    Archive(bool),
    /// Whether new messages wake this user's devices.
    Mute(bool),
    /// Close it for everybody.
    Close,
    /// Tell that all of it was read.
    Read,
    /// Give it a title.
    Title(String),
    /// Describe it.
    Describe(String),
    /// Label it.
    Tags(Vec<String>),
    /// Answer a message.
    Reply(i64, String),
    /// Give a message another text.
    Edit(i64, String),
    /// Delete a message.
    Delete(i64),
    /// React to a message.
    React(i64, String),
    /// Take a reaction back.
    Unreact(i64, String),
    /// Pass a message on.
    Forward(i64, String),
    /// Say something with a priority.
    Say(Priority, String),
    /// Search the messages on this device.
    Search(String),
    /// Have the server search by what it sees.
    Find(String),
    /// What a message said before it was edited.
    Versions(i64),
    /// The messages before those shown last.
    Older(u32),
}

impl Talk {
    /// What others will read of it.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Reply(_, text) | Self::Edit(_, text) | Self::Say(_, text) => Some(text),
            Self::Title(text) | Self::Describe(text) => Some(text),
            _ => None,
        }
    }
}

/// Names and meanings, for help and completion.
pub(super) const HELP: &[(&str, &str, &str)] = &[
    ("/reply", "NUMBER TEXT", "answer a message"),
    ("/edit", "NUMBER TEXT", "give your message another text; the first one stays in the record"),
    ("/delete", "NUMBER", "delete your message for everybody; it stays in the record"),
    ("/react", "NUMBER EMOJI", "react to a message; /unreact takes it back"),
    ("/unreact", "NUMBER EMOJI", "take a reaction back"),
    ("/forward", "NUMBER WHERE", "pass a message on to another conversation, by its number or name"),
    ("/urgent", "TEXT", "say something urgent: it wakes people"),
    ("/high", "TEXT", "say something of high priority; /low of low"),
    ("/low", "TEXT", "say something of low priority"),
    (
        "/search",
        "WORDS",
        "search the messages on this device; in:here, from:NAME, after:DATE, before:DATE narrow it",
    ),
    (
        "/find",
        "WHAT",
        "messages by what the server sees: with:NAME, after:DATE, before:DATE, kind:KIND, priority:PRIORITY, files:yes or files:lab_result",
    ),
    ("/versions", "NUMBER", "what a message said before it was edited"),
    ("/older", "[COUNT]", "the messages before those shown last"),
    ("/group", "NAME, NAME", "start a care team"),
    ("/administrative", "NAME, NAME", "start an administrative conversation"),
    ("/who", "", "who takes part"),
    ("/add", "NAME, NAME", "bring people in; they read what is said from then on"),
    ("/remove", "NAME", "take somebody out"),
    (
        "/block",
        "NAME",
        "nothing passes between the two of you any more in conversations of just you two; they are not told",
    ),
    ("/unblock", "NAME", "take that back"),
    ("/blocked", "", "whom you have blocked"),
    (
        "/emergency",
        "symptoms, medication, after_treatment, mental_health, pregnancy, injury or other [immediate]",
        "reach the clinicians on call, at any hour (patients)",
    ),
    ("/ack", "", "you look after the open emergency: nobody else is called (clinicians)"),
    ("/escalate", "", "call its next tier now"),
    (
        "/resolve",
        "advised, appointment, referred, ambulance, not_reached or no_emergency",
        "end the open emergency (clinicians)",
    ),
    (
        "/break-glass",
        "REASON ID TEXT",
        "write for some hours to a patient you do not treat; REASON is emergency_treatment, on_call_cover, second_opinion or patient_safety",
    ),
    (
        "/why",
        "[TIME]",
        "whether you may write in the open conversation, now or at such a time, and by which rules",
    ),
    ("/leave", "", "leave the care team or administrative conversation"),
    ("/title", "TEXT", "call the conversation something; the server cannot read it"),
    ("/describe", "TEXT", "say what it is about"),
    ("/tags", "WORD, WORD", "label it"),
    ("/archive", "", "put it away; /unarchive gets it back"),
    ("/unarchive", "", "get it back"),
    ("/mute", "", "no wake-ups for new messages; /unmute brings them back"),
    ("/unmute", "", "wake-ups again"),
    ("/read", "", "tell that you have read all of it"),
    ("/close", "", "close it for everybody and for good (clinicians)"),
];

const DEFAULT_OLDER: u32 = 20;

/// What `/name argument` means; `None` when there is no such command here.
pub(super) fn parse(name: &str, argument: &str) -> Option<Command> {
    let wrong = |what: &str| Command::Wrong(format!("/{name} needs {what}: /help"));
    let text = |make: fn(String) -> Talk| match argument {
        "" => wrong("a text"),
        given => Command::Talk(make(given.to_owned())),
    };
    let list = |make: fn(Vec<String>) -> Talk| match names(argument) {
        names if names.is_empty() => wrong("a name"),
        names => Command::Talk(make(names)),
    };
    let numbered = |make: fn(i64, String) -> Talk| match number(argument) {
        Some((number, rest)) if !rest.is_empty() => Command::Talk(make(number, rest.to_owned())),
        _ => wrong("a message's number, and what follows it"),
    };
    Some(match name {
        "group" => list(Talk::Group),
        "administrative" => list(Talk::Administrative),
        "add" => list(Talk::Add),
        "tags" => list(Talk::Tags),
        "remove" => text(Talk::Remove),
        "block" => text(Talk::Block),
        "unblock" => text(Talk::Unblock),
        "blocked" => Command::Talk(Talk::Blocked),
        "title" => text(Talk::Title),
        "describe" => text(Talk::Describe),
        "search" => text(Talk::Search),
        "find" => text(Talk::Find),
        "versions" => match number(argument) {
            Some((number, "")) => Command::Talk(Talk::Versions(number)),
            _ => wrong("a message's number"),
        },
        "urgent" => text(|text| Talk::Say(Priority::Urgent, text)),
        "high" => text(|text| Talk::Say(Priority::High, text)),
        "low" => text(|text| Talk::Say(Priority::Low, text)),
        "reply" => numbered(Talk::Reply),
        "edit" => numbered(Talk::Edit),
        "react" => numbered(Talk::React),
        "unreact" => numbered(Talk::Unreact),
        "forward" => numbered(Talk::Forward),
        "delete" => match number(argument) {
            Some((number, "")) => Command::Talk(Talk::Delete(number)),
            _ => wrong("a message's number"),
        },
        "emergency" => {
            emergency(argument).unwrap_or_else(|| wrong("what it is about, and perhaps 'immediate'"))
        }
        "ack" => Command::Talk(Talk::Acknowledge),
        "escalate" => Command::Talk(Talk::Escalate),
        "resolve" => argument
            .parse()
            .map_or_else(|_| wrong("how it ended"), |outcome| Command::Talk(Talk::Resolve(outcome))),
        "break-glass" => break_glass(argument).unwrap_or_else(|| wrong("a reason, a patient's id, and why")),
        "why" if argument.is_empty() => Command::Talk(Talk::Why(None)),
        "why" => argument.parse().map_or_else(
            |_| wrong("a time such as 2026-12-24T08:00:00Z"),
            |at| Command::Talk(Talk::Why(Some(at))),
        ),
        "who" => Command::Talk(Talk::Who),
        "leave" => Command::Talk(Talk::Leave),
        "close" => Command::Talk(Talk::Close),
        "read" => Command::Talk(Talk::Read),
        "archive" | "unarchive" => Command::Talk(Talk::Archive(name == "archive")),
        "mute" | "unmute" => Command::Talk(Talk::Mute(name == "mute")),
        "older" => Command::Talk(Talk::Older(argument.parse().unwrap_or(DEFAULT_OLDER))),
        _ => return None,
    })
}

/// Such as `symptoms immediate`; urgent unless said otherwise.
fn emergency(argument: &str) -> Option<Command> {
    let (category, urgency) = argument.split_once(char::is_whitespace).unwrap_or((argument, "urgent"));
    Some(Command::Talk(Talk::Emergency(category.parse().ok()?, urgency.trim().parse().ok()?)))
}

/// Such as `on_call_cover 0198... covers for a colleague`.
fn break_glass(argument: &str) -> Option<Command> {
    let (reason, rest) = argument.split_once(char::is_whitespace)?;
    let (who, text) = rest.trim().split_once(char::is_whitespace)?;
    Some(Command::Talk(Talk::BreakGlass(reason.parse().ok()?, who.to_owned(), text.trim().to_owned())))
}

fn names(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn number(argument: &str) -> Option<(i64, &str)> {
    let (first, rest) = argument.split_once(char::is_whitespace).unwrap_or((argument, ""));
    Some((first.trim_start_matches('#').parse().ok()?, rest.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_take_numbers_names_and_texts() {
        let talk = |line: &str| match super::super::command::parse(line) {
            Some(Command::Talk(talk)) => Some(talk),
            _ => None,
        };
        assert_eq!(talk("/reply #3 sí, claro"), Some(Talk::Reply(3, "sí, claro".into())));
        assert_eq!(
            talk("/group Eva Ruiz, Rosa ,"),
            Some(Talk::Group(vec!["Eva Ruiz".into(), "Rosa".into()]))
        );
        assert_eq!(talk("/delete 4"), Some(Talk::Delete(4)));
        assert_eq!(talk("/urgent ya"), Some(Talk::Say(Priority::Urgent, "ya".into())));
        assert_eq!(talk("/unmute"), Some(Talk::Mute(false)));
        assert_eq!(talk("/older"), Some(Talk::Older(20)));
        let injury = |urgency| Some(Talk::Emergency(EmergencyCategory::Injury, urgency));
        assert_eq!(talk("/emergency injury"), injury(EmergencyUrgency::Urgent));
        assert_eq!(talk("/emergency injury immediate"), injury(EmergencyUrgency::Immediate));
        assert_eq!(
            talk("/break-glass on_call_cover Ana covers tonight"),
            Some(Talk::BreakGlass(BreakGlassReason::OnCallCover, "Ana".into(), "covers tonight".into()))
        );
        for wrong in [
            "/reply 3",
            "/reply tres sí",
            "/delete",
            "/delete 4 ya",
            "/group ,",
            "/title",
            "/react x",
            "/emergency now",
            "/resolve well",
            "/break-glass Ana",
        ] {
            assert_eq!(talk(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_command_of_the_help_is_understood() {
        for (name, argument, _) in HELP {
            let line = match *argument {
                "" => (*name).to_owned(),
                _ if argument.starts_with("NUMBER ") => format!("{name} 1 x"),
                "[TIME]" => format!("{name} 2026-12-24T08:00:00Z"),
                "REASON ID TEXT" => format!("{name} second_opinion 1 x"),
                words if words.contains(" or ") => format!("{name} {}", words.split(',').next().unwrap()),
                _ => format!("{name} 1"),
            };
            assert!(matches!(super::super::command::parse(&line), Some(Command::Talk(_))), "{line}");
        }
    }
}
