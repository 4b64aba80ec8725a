//! What a person types.

use std::time::Duration;

use sigilo_client::ContactFilter;
use sigilo_wire::{
    DeviceNumber, Timestamp,
    presence::{PresenceStatus, PrivacyChange},
};

use super::{
    files::{self, Files},
    talk::{self, Talk},
};

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Text for the open conversation.
    Say(String),
    /// Send the text that was held back.
    Send,
    /// Text for the open conversation that disappears after so long.
    Expiring(Duration, String),
    /// Text for the open conversation, at a later time.
    Schedule(When, String),
    /// Text for the open conversation, to be delivered when it opens; without, what was refused for the hour.
    WhenOpen(Option<String>),
    /// What is scheduled in the open conversation.
    Scheduled,
    /// Forget a scheduled message, by its place among them.
    Unschedule(usize),
    /// Who can be written to: those whose name has this in it, with this role.
    Contacts(ContactFilter),
    /// Start, or open, the conversation with a person.
    Start(String),
    /// The conversations, without those put away.
    Conversations,
    /// Those put away.
    Archived,
    /// Open a conversation, by number or name.
    Open(String),
    /// The last messages of the open conversation.
    History(u32),
    /// Read the history from the server.
    Restore,
    /// Something with messages or members.
    Talk(Talk),
    /// Something with files.
    Files(Files),
    /// The safety number with a person.
    Verify(String),
    /// It was compared and is equal.
    Confirm(String),
    /// Check the receipt of a message, by its number.
    Receipt(i64),
    /// How the account's authenticator app stands.
    MfaStatus,
    /// Enrol an authenticator app.
    MfaEnroll,
    /// Confirm the enrolment with a code.
    MfaConfirm(String),
    /// Log in without an authenticator app from now on.
    MfaDisable,
    /// A code that proves who is typing.
    Prove(String),
    /// The person is typing.
    Typing,
    /// How the person is.
    Status(PresenceStatus),
    /// What others may notice, and what to change of it.
    Privacy(PrivacyChange),
    /// The account's devices.
    Devices,
    /// Remove one of them.
    RemoveDevice(WhichDevice),
    /// The current password, to be changed.
    Password(String),
    /// The one to have instead.
    NewPassword(String),
    /// Stop a new identity that the clinic is giving this account.
    StopReset,
    /// What a new device shows: links it once it is approved.
    Link(String),
    /// The passphrase of this profile: the codes are equal.
    Approve(String),
    /// Who am I, and which root is pinned.
    Me,
    /// What can be typed.
    Help,
    /// Leave.
    Quit,
    /// Something that is not a command; holds what to say about it.
    Wrong(String),
}

/// A device of the account, as the list names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WhichDevice {
    /// A messaging device, by its number.
    Number(DeviceNumber),
    /// A session, by its place among the sessions.
    Session(usize),
}

/// A time to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// This instant.
    At(Timestamp),
    /// So long from now.
    In(Duration),
}

/// Names and meanings, for help and completion.
pub(super) const HELP: &[(&str, &str, &str)] = &[
    ("/contacts", "[NAME] [role:ROLE]", "who you can write to"),
    ("/start", "NAME", "write to somebody"),
    ("/conversations", "", "your conversations"),
    ("/archived", "", "those you have put away; /open and /unarchive get one back"),
    ("/open", "NUMBER or NAME", "open one of them"),
    (
        "/schedule",
        "[WHEN TEXT]",
        "send it later from this device: in 30m, 2h or 1d, or at 2026-12-24T08:00:00Z; alone, lists what is scheduled",
    ),
    ("/expiring", "TIME TEXT", "say something that disappears for those who take part after 30m, 2h or 1d"),
    (
        "/when-open",
        "[TEXT]",
        "have it delivered when the clinic opens; alone, what was just refused for the hour",
    ),
    ("/unschedule", "NUMBER", "do not send one of them, or take it back while the clinic is closed"),
    ("/history", "[COUNT]", "its last messages"),
    ("/restore", "", "read the history of all conversations from the server, through the record seals"),
    ("/verify", "NAME", "the safety number, to compare by voice or in person"),
    ("/confirm", "NAME", "you compared it and it is equal"),
    ("/receipt", "NUMBER", "check the server's receipt of a message"),
    (
        "/mfa",
        "[on, CODE or off]",
        "your authenticator app: how it stands, enrol one, confirm it by its code, end it",
    ),
    ("/prove", "CODE", "prove that it is you, by a code of the app; without one, come back with --login"),
    ("/typing", "", "let the others know that you are typing; a terminal does so by itself"),
    ("/status", "online, away or busy", "how you are shown to those you write to"),
    ("/privacy", "[WHAT on|off]", "what others notice of you, and you of them: typing, presence, last-seen"),
    ("/devices", "", "the devices of your account"),
    ("/remove-device", "NUMBER", "end one of them: it gets nothing any more; s1 is the first session"),
    ("/password", "CURRENT", "change your password: first the one you have"),
    ("/new-password", "NEW", "then the one to have; your other devices have to log in again"),
    ("/stop-reset", "", "my devices are not lost: stop the new identity that the clinic is giving me"),
    ("/link", "TEXT", "link a new device: what it shows after --link"),
    ("/approve", "PASSPHRASE", "it shows the same code as this one: this profile's passphrase links it"),
    ("/me", "", "your account, and the clinic's root key to compare with the card at reception"),
    ("/help", "", "this list"),
    ("/quit", "", "leave"),
];

const DEFAULT_HISTORY: u32 = 20;

/// Reads a line; `None` for an empty one.
pub(super) fn parse(line: &str) -> Option<Command> {
    let line = line.trim();
    if line.is_empty() {
        return None;
    }
    let Some(rest) = line.strip_prefix('/') else { return Some(Command::Say(line.to_owned())) };
    // Two slashes begin a text that itself begins with a slash.
    if rest.starts_with('/') {
        return Some(Command::Say(rest.to_owned()));
    }
    let (name, argument) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let argument = argument.trim();
    if let Some(files) = files::parse(name, argument) {
        return Some(files.map_or_else(Command::Wrong, Command::Files));
    }
    let needed = |make: fn(String) -> Command| match argument {
        "" => Command::Wrong(format!("/{name} needs a name: /help")),
        given => make(given.to_owned()),
    };
    Some(match name {
        "send" => Command::Send,
        "schedule" => schedule(argument),
        "expiring" => expiring(argument),
        "unschedule" => match argument.parse() {
            Ok(number) => Command::Unschedule(number),
            Err(_) => Command::Wrong("/unschedule needs a number of /schedule's list".to_owned()),
        },
        "contacts" => contacts(argument),
        "start" => needed(Command::Start),
        "conversations" | "list" => Command::Conversations,
        "archived" => Command::Archived,
        "open" => needed(Command::Open),
        "history" => Command::History(argument.parse().unwrap_or(DEFAULT_HISTORY)),
        "restore" => Command::Restore,
        "verify" => needed(Command::Verify),
        "confirm" => needed(Command::Confirm),
        "receipt" => match argument.trim_start_matches('#').parse() {
            Ok(number) => Command::Receipt(number),
            Err(_) => Command::Wrong("/receipt needs a message's number, such as /receipt 3".to_owned()),
        },
        "mfa" => match argument {
            "" => Command::MfaStatus,
            "on" => Command::MfaEnroll,
            "off" => Command::MfaDisable,
            code => Command::MfaConfirm(code.to_owned()),
        },
        "prove" => needed(Command::Prove),
        "typing" => Command::Typing,
        "status" => match argument.parse() {
            Ok(status) if status != PresenceStatus::Offline => Command::Status(status),
            _ => Command::Wrong("/status needs online, away or busy".to_owned()),
        },
        "privacy" => privacy(argument),
        "when-open" => Command::WhenOpen(Some(argument.to_owned()).filter(|text| !text.is_empty())),
        "devices" => Command::Devices,
        "remove-device" => which_device(argument).map_or_else(
            || Command::Wrong("/remove-device needs a device's number: /devices".to_owned()),
            Command::RemoveDevice,
        ),
        "password" => needed(Command::Password),
        "new-password" => needed(Command::NewPassword),
        "stop-reset" => Command::StopReset,
        "link" => needed(Command::Link),
        "approve" => needed(Command::Approve),
        "me" => Command::Me,
        "help" => Command::Help,
        "quit" | "exit" => Command::Quit,
        other => talk::parse(other, argument)
            .unwrap_or_else(|| Command::Wrong(format!("there is no /{other}: /help shows what there is"))),
    })
}

/// Such as `2h Come fasting`; nothing asks what there is.
fn schedule(argument: &str) -> Command {
    let Some((when, text)) = argument.split_once(char::is_whitespace) else {
        return if argument.is_empty() { Command::Scheduled } else { schedule_how() };
    };
    match parse_when(when) {
        Some(when) => Command::Schedule(when, text.trim().to_owned()),
        None => schedule_how(),
    }
}

fn schedule_how() -> Command {
    Command::Wrong(
        "/schedule needs a time such as 30m, 2h, 1d or 2026-12-24T08:00:00Z, then a text".to_owned(),
    )
}

/// Such as `2h I will be there`.
fn expiring(argument: &str) -> Command {
    let given = argument.split_once(char::is_whitespace);
    match given.and_then(|(time, text)| Some((parse_duration(time)?, text))) {
        Some((time, text)) if !time.is_zero() => Command::Expiring(time, text.trim().to_owned()),
        _ => Command::Wrong("/expiring needs a time such as 30m, 2h or 1d, then a text".to_owned()),
    }
}

/// Such as `martínez role:doctor`.
fn contacts(argument: &str) -> Command {
    let mut filter = ContactFilter::default();
    let mut name = Vec::new();
    for word in argument.split_whitespace() {
        match word.strip_prefix("role:").map(str::parse) {
            Some(Ok(role)) => filter.role = Some(role),
            Some(Err(_)) => return Command::Wrong("a role is such as doctor, admin or patient".to_owned()),
            None => name.push(word),
        }
    }
    filter.name = Some(name.join(" ")).filter(|name| !name.is_empty());
    Command::Contacts(filter)
}

fn which_device(argument: &str) -> Option<WhichDevice> {
    match argument.strip_prefix('s') {
        Some(place) => place.parse().ok().map(WhichDevice::Session),
        None => argument.parse().ok().map(WhichDevice::Number),
    }
}

fn parse_when(text: &str) -> Option<When> {
    match text.parse() {
        Ok(at) => Some(When::At(at)),
        Err(_) => parse_duration(text).map(When::In),
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let (count, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let minutes = match unit {
        "m" => 1,
        "h" => 60,
        "d" => 24 * 60,
        _ => return None,
    };
    let count: u64 = count.parse().ok()?;
    count.checked_mul(minutes * 60).map(Duration::from_secs)
}

/// Such as `last-seen off`; nothing changes nothing.
fn privacy(argument: &str) -> Command {
    let mut change = PrivacyChange::default();
    let wrong = || {
        let how = "/privacy needs typing, presence or last-seen, then on or off";
        Command::Wrong(how.to_owned())
    };
    if argument.is_empty() {
        return Command::Privacy(change);
    }
    let Some((what, value)) = argument.split_once(char::is_whitespace) else { return wrong() };
    let value = match value.trim() {
        "on" => Some(true),
        "off" => Some(false),
        _ => return wrong(),
    };
    match what {
        "typing" => change.show_typing = value,
        "presence" => change.show_presence = value,
        "last-seen" => change.show_last_seen = value,
        _ => return wrong(),
    }
    Command::Privacy(change)
}

#[cfg(test)]
mod tests {
    use sigilo_wire::Role;

    use super::*;

    #[test]
    fn lines_are_texts_or_commands() {
        for (line, expected) in [
            ("hola", Some(Command::Say("hola".into()))),
            ("  ", None),
            ("//etc", Some(Command::Say("/etc".into()))),
            ("/start Ana López", Some(Command::Start("Ana López".into()))),
            ("/start", Some(Command::Wrong("/start needs a name: /help".into()))),
            ("/receipt #3", Some(Command::Receipt(3))),
            ("/history", Some(Command::History(20))),
            ("/mfa", Some(Command::MfaStatus)),
            ("/mfa on", Some(Command::MfaEnroll)),
            ("/mfa off", Some(Command::MfaDisable)),
            ("/mfa 123 456", Some(Command::MfaConfirm("123 456".into()))),
            ("/link sigilo://link?v=1", Some(Command::Link("sigilo://link?v=1".into()))),
            ("/prove 123456", Some(Command::Prove("123456".into()))),
            ("/history 5", Some(Command::History(5))),
            ("/schedule", Some(Command::Scheduled)),
            (
                "/schedule 2h en ayunas",
                Some(Command::Schedule(When::In(Duration::from_secs(7200)), "en ayunas".into())),
            ),
            (
                "/schedule 1970-01-01T00:00:01Z x",
                Some(Command::Schedule(When::At(Timestamp::from_micros(1_000_000)), "x".into())),
            ),
            (
                "/expiring 30m el código",
                Some(Command::Expiring(Duration::from_secs(1800), "el código".into())),
            ),
            (
                "/contacts mar tín role:doctor",
                Some(Command::Contacts(ContactFilter {
                    name: Some("mar tín".into()),
                    role: Some(Role::Doctor),
                })),
            ),
            ("/contacts", Some(Command::Contacts(ContactFilter::default()))),
            (
                "/remove-device 2",
                Some(Command::RemoveDevice(WhichDevice::Number(DeviceNumber::new(2).unwrap()))),
            ),
            ("/remove-device s1", Some(Command::RemoveDevice(WhichDevice::Session(1)))),
            ("/new-password con espacios", Some(Command::NewPassword("con espacios".into()))),
            ("/unschedule 2", Some(Command::Unschedule(2))),
            ("/status away", Some(Command::Status(PresenceStatus::Away))),
            ("/privacy", Some(Command::Privacy(PrivacyChange::default()))),
            (
                "/privacy last-seen off",
                Some(Command::Privacy(PrivacyChange { show_last_seen: Some(false), ..Default::default() })),
            ),
            ("/quit", Some(Command::Quit)),
        ] {
            assert_eq!(parse(line), expected, "{line}");
        }
        for wrong in [
            "/schedule mañana x",
            "/schedule 99999999999999999999d x",
            "/dance",
            "/status offline",
            "/status",
            "/privacy typing",
            "/privacy name off",
            "/expiring pronto x",
            "/expiring 0m x",
            "/contacts role:wizard",
            "/remove-device x",
        ] {
            assert!(matches!(parse(wrong), Some(Command::Wrong(_))), "{wrong}");
        }
    }

    #[test]
    fn every_command_of_the_help_is_understood() {
        for (name, argument, _) in HELP {
            let example = match *name {
                _ if argument.is_empty() => "",
                "/status" => "busy",
                "/schedule" | "/expiring" => "2h later",
                "/privacy" => "typing off",
                _ => "1",
            };
            let line = format!("{name} {example}");
            assert!(!matches!(parse(&line), Some(Command::Wrong(_)) | None), "{line}");
        }
    }
}
