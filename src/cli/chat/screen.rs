//! Where output goes, and how it looks there.

mod files;

use std::{
    io::{IsTerminal as _, Write as _},
    sync::{Mutex, PoisonError},
};

use rustyline::ExternalPrinter;
use sigilo_client::{ChainVerdict, NotAuthenticReason, ReceiptVerdict, SealVerdict, Verification};
use sigilo_wire::{
    DeviceNumber,
    event::ResetStage,
    message::{DeliveryStatus, Priority},
    policy::Explanation,
    presence::{Presence, PresenceStatus},
};

use super::{
    command::HELP,
    opening,
    output::{ConversationLine, FoundLine, MessageLine, Output},
    talk,
};
use crate::cli::qr;

/// Prints above the prompt while somebody types.
type Printer = Box<dyn ExternalPrinter + Send>;

/// Where output goes.
pub(super) struct Screen {
    json: bool,
    colour: bool,
    printer: Option<Mutex<Printer>>,
}

/// How a part of a line is set.
#[derive(Clone, Copy)]
enum Style {
    Faint,
    Strong,
    Mine,
    Theirs,
    Good,
    Warning,
}

impl Screen {
    /// Lines on stdout.
    pub(super) fn plain(json: bool) -> Self {
        Self { json, colour: !json && is_colourful(), printer: None }
    }

    /// Above the prompt.
    pub(super) fn above_prompt(printer: Printer) -> Self {
        Self { json: false, colour: is_colourful(), printer: Some(Mutex::new(printer)) }
    }

    /// Whether a person is there to be asked.
    pub(super) fn asks(&self) -> bool {
        !self.json
    }

    /// Shows one thing.
    pub(super) fn show(&self, output: &Output) {
        let text = if self.json {
            // Outputs are plain structures: they always have a JSON form.
            serde_json::to_string(output).unwrap_or_default()
        } else {
            self.text(output)
        };
        if text.is_empty() {
            return;
        }
        // A closed terminal ends the program through its input, not here.
        match &self.printer {
            Some(printer) => {
                drop(printer.lock().unwrap_or_else(PoisonError::into_inner).print(format!("{text}\n")))
            }
            None => {
                let mut out = std::io::stdout().lock();
                let _ = writeln!(out, "{text}").and_then(|()| out.flush());
            }
        }
    }

    fn text(&self, output: &Output) -> String {
        match output {
            Output::Ready { name, role, root_card, .. } => format!(
                "{} {}\n{}\n{}",
                self.set(Style::Strong, name),
                self.set(Style::Faint, &format!("({role})")),
                self.set(Style::Faint, &format!("clinic root {root_card}")),
                self.set(Style::Faint, "compare it with the root card at reception; /help shows what you can type"),
            ),
            Output::Connected => self.set(Style::Faint, "· connected"),
            Output::Disconnected { reason } => {
                self.set(Style::Warning, &format!("· offline ({reason}); what you write is sent when the connection is back"))
            }
            Output::CaughtUp => String::new(),
            Output::Message(message) => self.message(message),
            Output::Delivered { name, .. } => self.set(Style::Faint, &format!("  ✓✓ delivered to {name}")),
            // What a terminal has shown cannot be taken back.
            Output::Expired { .. } => String::new(),
            Output::Waiting { reason, .. } => self.set(Style::Warning, &format!("  … waits: {reason}")),
            Output::Scheduled { at, .. } => self.set(Style::Faint, &format!("  … goes out at {at}, from this device: it has to be on then")),
            Output::ScheduledList { results } if results.is_empty() => {
                self.set(Style::Faint, "Nothing is scheduled here: /schedule WHEN TEXT.")
            }
            Output::ScheduledList { results } => lines(results.iter().enumerate().map(|(place, message)| {
                let at = message.scheduled_for.unwrap_or(message.sent_at).to_string();
                format!("  {}. {} {}", place + 1, self.set(Style::Faint, &at), message.text.as_deref().unwrap_or_default())
            })),
            Output::HeldUntil { until, .. } => {
                self.set(Style::Faint, &format!("  … held by the server until the clinic opens ({until}); /unschedule takes it back"))
            }
            Output::Refused { reason, policies, details, .. } => {
                self.problem(&opening::closed(details).unwrap_or_else(|| reason.clone()), policies)
            }
            Output::Contacts { results } if results.is_empty() => {
                self.set(Style::Faint, "Nobody yet: the clinic's rules allow a conversation once there is an appointment.")
            }
            Output::Contacts { results } => lines(results.iter().map(|contact| {
                let speciality = contact.speciality.as_deref().map(|s| format!(", {s}")).unwrap_or_default();
                let there = contact.presence.as_ref().and_then(seen).map(|seen| format!("; {seen}")).unwrap_or_default();
                let about = format!("{}{speciality}; {}{there}", contact.role, contact.why.join(", "));
                let why = self.set(Style::Faint, &about);
                format!("  {} {why}", self.set(Style::Strong, &contact.name))
            })),
            Output::Conversations { results } if results.is_empty() => {
                self.set(Style::Faint, "No conversations yet: /contacts, then /start NAME.")
            }
            Output::Conversations { results } => lines(results.iter().map(|line| self.conversation(line))),
            Output::Opened(line) => format!("{} {}", self.set(Style::Faint, "─── "), self.conversation(line)),
            Output::History { results } => lines(results.iter().map(|message| self.message(message))),
            Output::Restored { messages } => {
                self.set(Style::Faint, &format!("· the history is here: {messages} messages were new"))
            }
            Output::Restoring { conversations_done, conversations, messages_done, messages } => self.set(
                Style::Faint,
                &format!("· history: {messages_done} of {messages} messages, {conversations_done} of {conversations} conversations"),
            ),
            // The edit, delete or reaction has a line of its own; what a terminal has shown stays.
            Output::Revised(_) => String::new(),
            Output::ReadBy { name, up_to, .. } => {
                self.set(Style::Faint, &format!("  ✓✓ {name} has read up to #{up_to}"))
            }
            Output::Read { position } => {
                self.set(Style::Faint, &format!("· read up to #{}; {} unread", position.up_to, position.unread_count))
            }
            Output::Participants { results, .. } => lines(results.iter().map(|person| {
                let mut about = vec![person.user_type.to_string(), person.role.to_string()];
                about.extend((!person.can_leave).then(|| "may not leave".to_owned()));
                about.extend(person.presence.as_ref().and_then(seen));
                let about = self.set(Style::Faint, &about.join(", "));
                format!("  {} {about}", self.set(Style::Strong, &person.name))
            })),
            Output::Blocked { results } if results.is_empty() => self.set(Style::Faint, "You have blocked nobody."),
            Output::Blocked { results } => lines(results.iter().map(|block| {
                let since = self.set(Style::Faint, &format!("{}, since {}", block.role, block.created_at));
                format!("  {} {since}", self.set(Style::Strong, &block.full_name))
            })),
            Output::Explanation(explanation) => self.explanation(explanation),
            Output::Settings { settings } => {
                let wakes = if settings.notifications_enabled { "wakes you" } else { "muted" };
                let where_it_is = if settings.archived { "put away" } else { "in the list" };
                self.set(Style::Faint, &format!("· this conversation: {wakes}, {where_it_is}"))
            }
            Output::Found { results, complete } => {
                let mut found: Vec<String> = results.iter().map(|found| self.found(found)).collect();
                if results.is_empty() {
                    found.push(self.set(Style::Faint, "nothing was found on this device"));
                }
                if !complete {
                    found.push(self.set(Style::Warning, "older messages were not searched"));
                }
                found.join("\n")
            }
            Output::FoundByServer { results } if results.is_empty() => {
                self.set(Style::Faint, "the server found nothing")
            }
            Output::FoundByServer { results } => lines(results.iter().map(|found| {
                let at = minute(&found.received_at.to_string());
                let text = match &found.message {
                    Some(message) => said(message),
                    None => "(not read on this device yet: /restore)".to_owned(),
                };
                let about = format!("{at} {} #{} {}:", found.conversation, found.conversation_seq, found.sender_name);
                format!("  {} {text}", self.set(Style::Faint, &about))
            })),
            Output::Transfer { .. }
            | Output::Saved { .. }
            | Output::Files { .. }
            | Output::File { .. }
            | Output::FileChanged { .. }
            | Output::Recalled { .. }
            | Output::Quarantine { .. } => self.file(output),
            Output::Versions { conversation_seq, results } if results.is_empty() => {
                self.set(Style::Faint, &format!("#{conversation_seq} was not edited, or what it said is not here any more"))
            }
            Output::Versions { results, .. } => lines(results.iter().map(|version| {
                format!("  {} {}", self.set(Style::Faint, &minute(&version.since.to_string())), version.text)
            })),
            Output::SafetyNumber { name, digits, verified, changed, .. } => {
                let state = match (verified, changed) {
                    (_, true) => self.set(Style::Warning, "NEW KEY: compare again, then /confirm"),
                    (true, false) => self.set(Style::Good, "verified"),
                    (false, false) => self.set(Style::Warning, "not verified yet: compare, then /confirm"),
                };
                format!("Safety number with {}: {state}\n  {digits}", self.set(Style::Strong, name))
            }
            Output::Confirmed { name, .. } => self.set(Style::Good, &format!("✓ {name} is verified")),
            Output::IdentityChanged { name, .. } => self.set(
                Style::Warning,
                &format!("! The identity key of {name} has changed. Nothing is sent to them until you compare the safety number (/verify {name}) and /confirm it."),
            ),
            Output::Receipt { conversation_seq, verdict, policies, .. } => match verdict {
                ReceiptVerdict::Verified => {
                    let by = policies.join(", ");
                    self.set(Style::Good, &format!("✓ message {conversation_seq}: the clinic's receipt key signed it (allowed by {by})"))
                }
                ReceiptVerdict::Missing => self.set(Style::Warning, &format!("message {conversation_seq} has no receipt")),
                ReceiptVerdict::Invalid(why) => self.set(Style::Warning, &format!("! message {conversation_seq}: {why}")),
            },
            Output::Held { findings } => {
                let mut found: Vec<String> = findings.iter().map(ToString::to_string).collect();
                found.dedup();
                let found = found.join(", ");
                self.set(Style::Warning, &format!("! not sent yet, it has: {found}. /send sends it anyway; anything else drops it"))
            }
            Output::Mfa(status) if status.enrolled => self.set(
                Style::Good,
                &format!("✓ logins need a code of your authenticator app; {} recovery codes are left", status.recovery_codes_left),
            ),
            Output::Mfa(_) => self.set(Style::Warning, "the password alone logs in: /mfa on enrols an authenticator app"),
            Output::Enrolment { secret, uri } => {
                // Without a picture there is still the secret to type.
                let picture = qr::terminal(uri).unwrap_or_default();
                format!("{picture}\n{uri}\n\nScan it with an authenticator app, or type {secret}. Then /mfa CODE, with the code it shows.")
            }
            Output::RecoveryCodes { codes } => format!(
                "{}\n{}",
                lines(codes.iter().map(|code| format!("  {}", self.set(Style::Strong, code)))),
                self.set(Style::Warning, "Write these down now: each works once in place of the app, and they are not shown again."),
            ),
            Output::Typing { typing: false, .. } => String::new(),
            Output::Typing { name, .. } => self.set(Style::Faint, &format!("  {name} is typing …")),
            Output::Status { name, status, last_seen_at, .. } => {
                let status = Presence { status: Some(*status), last_seen_at: *last_seen_at };
                let status = seen(&status).unwrap_or_default();
                self.set(Style::Faint, &format!("· {name} is {status}"))
            }
            Output::Privacy(privacy) => {
                let shown = |shows: bool| if shows { "shown" } else { "hidden" };
                let (typing, presence, seen) = (privacy.show_typing, privacy.show_presence, privacy.show_last_seen);
                let (typing, presence, seen) = (shown(typing), shown(presence), shown(seen));
                self.set(Style::Faint, &format!("· typing: {typing}; presence: {presence}; last-seen: {seen}. What you hide you do not see of others either."))
            }
            Output::Proven { until } => self.set(Style::Good, &format!("✓ proven until {until}")),
            Output::Link { text, code } => {
                // Without a picture there is still the text.
                let picture = qr::terminal(text).unwrap_or_default();
                format!(
                    "{picture}\n{text}\n\n{}\n{}",
                    self.set(Style::Strong, &format!("code {code}")),
                    self.set(Style::Warning, "Show this to your other device and to nobody else: /link TEXT there, and compare the code."),
                )
            }
            Output::LinkCode { code } => format!(
                "{}\n{}",
                self.set(Style::Strong, &format!("code {code}")),
                self.set(Style::Warning, "Does the new device show the same code? Then /approve PASSPHRASE, with this profile's. Otherwise stop: somebody is between the two."),
            ),
            Output::Linked { device } => self.set(Style::Good, &format!("✓ the new device is number {device}")),
            Output::Devices { results } => lines(results.iter().map(|device| {
                let session = || {
                    let before = results.iter().filter(|other| other.device_id.is_none());
                    let place = before.take_while(|other| other.id != device.id).count() + 1;
                    format!("session s{place}")
                };
                let number = device.device_id.map_or_else(session, |number| format!("device {number}"));
                let here = if device.current { ", this one" } else { "" };
                let seen = self.set(Style::Faint, &format!("{number}{here}, last used {}", device.last_seen_at));
                format!("  {} {seen}", self.set(Style::Strong, if device.name.is_empty() { "(no name)" } else { &device.name }))
            })),
            Output::DevicesChanged { added, removed } => {
                let list = |numbers: &[DeviceNumber]| {
                    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
                };
                let mut parts = Vec::new();
                if !added.is_empty() {
                    parts.push(format!("device {} was linked to your account", list(added)));
                }
                if !removed.is_empty() {
                    parts.push(format!("device {} was removed from your account", list(removed)));
                }
                self.set(Style::Warning, &format!("! {}. Was it not you? /devices, and tell the clinic.", parts.join("; ")))
            }
            Output::IdentityReset { stage: ResetStage::Cancelled, .. } => {
                self.set(Style::Warning, "! The new identity for you was stopped; everything stays as it is.")
            }
            Output::IdentityReset { stage, expires_at } => {
                let stage = if *stage == ResetStage::Approved { "has approved" } else { "was asked for" };
                self.set(Style::Warning, &format!("! The clinic {stage} a new identity for you, which will end this device (until {expires_at}). If your devices are not lost, /stop-reset, and tell the clinic."))
            }
            Output::Note { text } => self.set(Style::Faint, &format!("· {text}")),
            Output::Warning { text } => self.set(Style::Warning, &format!("! {text}")),
            Output::Help => lines(HELP.iter().chain(talk::HELP).chain(super::files::HELP).map(|(name, argument, meaning)| {
                format!("  {:<28} {}", format!("{name} {argument}"), self.set(Style::Faint, meaning))
            })),
            Output::Error { message, policies, details, .. } => {
                if let Some(closed) = opening::closed(details) {
                    return self.problem(&closed, policies);
                }
                let hint = details["suggestion"].as_str().map(|hint| format!(" ({hint})")).unwrap_or_default();
                self.problem(&format!("{message}{hint}"), policies)
            }
            Output::Bye => String::new(),
        }
    }

    fn problem(&self, reason: &str, policies: &[String]) -> String {
        let rules =
            if policies.is_empty() { String::new() } else { format!(" [rule: {}]", policies.join(", ")) };
        self.set(Style::Warning, &format!("! {reason}{rules}"))
    }

    fn conversation(&self, line: &ConversationLine) -> String {
        let mut about = vec![line.kind.clone(), format!("{} messages", line.total_messages)];
        if line.unread > 0 {
            about.push(format!("{} unread", line.unread));
        }
        about.extend(line.muted.then(|| "muted".to_owned()));
        about.extend(line.archived.then(|| "put away".to_owned()));
        about.extend(line.closed.then(|| "closed".to_owned()));
        about.extend(Some(line.description.clone()).filter(|text| !text.is_empty()));
        about.extend(line.tags.iter().map(|tag| format!("#{tag}")));
        let with = line.with.join(", ");
        let name = match &line.title {
            Some(title) => format!("{title} ({with})"),
            None => with,
        };
        let about = self.set(Style::Faint, &about.join(", "));
        format!("{}. {} {about}", line.number, self.set(Style::Strong, &name))
    }

    fn explanation(&self, explanation: &Explanation) -> String {
        let word = if explanation.allowed {
            self.set(Style::Good, "You may.")
        } else {
            self.set(Style::Warning, explanation.message.as_deref().unwrap_or("You may not."))
        };
        let suggestion =
            explanation.suggestion.as_ref().map(|text| format!("\n  {text}")).unwrap_or_default();
        let opens = explanation.next_open_at.map(|at| format!("\n  It opens at {at}.")).unwrap_or_default();
        let rules: Vec<&str> = explanation.policies.iter().map(|policy| policy.id.as_str()).collect();
        let rules = self.set(Style::Faint, &format!("by {}", rules.join(", ")));
        format!("{word} {rules}{suggestion}{opens}")
    }

    fn found(&self, found: &FoundLine) -> String {
        let mut snippet = String::new();
        let mut at = 0;
        for word in &found.matches {
            snippet.push_str(found.snippet.get(at..word.start).unwrap_or_default());
            snippet.push_str(&self.set(Style::Strong, found.snippet.get(word.clone()).unwrap_or_default()));
            at = word.end;
        }
        snippet.push_str(found.snippet.get(at..).unwrap_or_default());
        let message = &found.message;
        let number = message.conversation_seq.map(|seq| format!("#{seq}")).unwrap_or_default();
        let at = message.received_at.unwrap_or(message.sent_at).to_string();
        let day = at.get(..10).unwrap_or_default();
        let about = self
            .set(Style::Faint, &format!("{day} {} {number} {}:", found.conversation, message.sender_name));
        format!("  {about} {snippet}")
    }

    fn message(&self, message: &MessageLine) -> String {
        let time = message.received_at.unwrap_or(message.sent_at).to_string();
        // The hour and minute of RFC 3339, UTC.
        let time = self.set(Style::Faint, time.get(11..16).unwrap_or_default());
        let number = message.conversation_seq.map(|seq| format!("#{seq}")).unwrap_or_default();
        let name = if message.mine {
            self.set(Style::Mine, "you")
        } else {
            self.set(Style::Theirs, &message.sender_name)
        };
        let mark = match (message.mine, message.status) {
            (false, _) => "",
            (true, DeliveryStatus::Delivered | DeliveryStatus::Read) => " ✓✓",
            (true, DeliveryStatus::Sent) if message.message_id.is_some() => " ✓",
            (true, _) => " …",
        };
        let text = said(message);
        let mut line = format!(
            "{time} {} {name}: {text}{}",
            self.set(Style::Faint, &number),
            self.set(Style::Faint, mark)
        );
        for file in &message.files {
            line.push_str(&format!("\n      {}", self.set(Style::Faint, &files::of_message(file))));
        }
        for given in &message.reactions {
            let count = given.users.len();
            line.push_str(&self.set(Style::Faint, &format!(" {}{count}", given.emoji)));
        }
        for warning in warnings(message) {
            line.push_str(&format!("\n      {}", self.set(Style::Warning, &warning)));
        }
        line
    }

    fn set(&self, style: Style, text: &str) -> String {
        let code = match style {
            _ if !self.colour || text.is_empty() => return text.to_owned(),
            Style::Faint => "2",
            Style::Strong => "1",
            Style::Mine => "36",
            Style::Theirs => "35",
            Style::Good => "32",
            Style::Warning => "33",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// What a message says, in one line.
fn said(message: &MessageLine) -> String {
    let text = message.text.as_deref().unwrap_or_default();
    let target = message.target_seq.map_or_else(|| "a message".to_owned(), |seq| format!("#{seq}"));
    let mut said = match message.kind.as_str() {
        _ if message.expired => "(expired)".to_owned(),
        _ if message.deleted_at.is_some() => "(deleted)".to_owned(),
        "edit" => format!("✎ {target}: {text}"),
        "delete" => format!("✗ deleted {target}"),
        "reaction" => format!("{text} to {target}"),
        "profile" => format!("calls this conversation «{text}»"),
        "text" => text.to_owned(),
        kind if text.is_empty() => kind.to_owned(),
        _ => text.to_owned(),
    };
    if message.forwarded {
        said = format!("↪ forwarded: {said}");
    }
    if let Some(answered) = message.reply_to_seq {
        said = format!("↩ #{answered}: {said}");
    }
    match message.priority {
        _ if message.urgent => said = format!("‼ URGENT {said}"),
        Priority::High | Priority::Urgent => said = format!("! {said}"),
        Priority::Low | Priority::Normal => {}
    }
    if message.edited_at.is_some() {
        said.push_str(" (edited)");
    }
    if let Some(at) = message.expires_at.filter(|_| !message.expired) {
        said.push_str(&format!(" (disappears {})", minute(&at.to_string())));
    }
    said
}

/// What a reader has to know about a message besides its text.
fn warnings(message: &MessageLine) -> Vec<String> {
    let mut warnings = Vec::new();
    match &message.verification {
        Verification::Verified => {}
        Verification::UnconfirmedIdentity => {
            warnings.push("! from a new identity key you have not confirmed".to_owned());
        }
        Verification::EarlierIdentity => {
            warnings.push("· under the identity key they had before".to_owned());
        }
        Verification::NotAuthentic(NotAuthenticReason::SealUnchecked(problem)) => {
            warnings.push(format!("· this device cannot read it, nor say whose it is: {problem}"));
        }
        Verification::NotAuthentic(reason) => warnings.push(format!("! NOT AUTHENTIC: {reason}")),
    }
    if let SealVerdict::Bad(problem) = &message.seal {
        warnings.push(format!("! its record seal is bad: {problem}"));
    }
    match &message.receipt {
        ReceiptVerdict::Verified => {}
        ReceiptVerdict::Missing if message.message_id.is_none() => {}
        ReceiptVerdict::Missing => warnings.push("! the server gave no receipt".to_owned()),
        ReceiptVerdict::Invalid(problem) => warnings.push(format!("! the receipt is not valid: {problem}")),
    }
    match &message.chain {
        ChainVerdict::Continuous => {}
        // No fault when the reader came later.
        ChainVerdict::JoinedAt(number) => {
            let before = number.saturating_sub(1);
            warnings.push(format!("· the first {before} messages of this device are not here"));
        }
        ChainVerdict::Gap(missing) => {
            warnings.push(format!("! {missing} messages of this device are missing before it"))
        }
        ChainVerdict::Repeated => warnings
            .push("! it is older than one shown before, and what it follows is not known here".to_owned()),
        ChainVerdict::Forked => warnings.push(
            "! this device has told another story before: it contradicts a message shown earlier".to_owned(),
        ),
    }
    if message.contradicted {
        warnings.push("! the server has shown another message under its name since".to_owned());
    }
    warnings
}

/// How somebody is, as far as they show it: whether they are there now, otherwise when they last were.
fn seen(presence: &Presence) -> Option<String> {
    let last = || presence.last_seen_at.map(|at| format!("last seen {}", minute(&at.to_string())));
    match presence.status {
        Some(PresenceStatus::Offline) => {
            Some(last().map_or_else(|| "offline".to_owned(), |last| format!("offline, {last}")))
        }
        Some(status) => Some(status.to_string()),
        None => last(),
    }
}

/// Day and minute of an RFC 3339 time, UTC.
fn minute(at: &str) -> String {
    at.get(..16).unwrap_or(at).replace('T', " ")
}

fn lines(lines: impl Iterator<Item = String>) -> String {
    lines.collect::<Vec<_>>().join("\n")
}

fn is_colourful() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}
