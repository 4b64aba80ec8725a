//! How files look.

use sigilo_wire::{event::EventType, vault::ScanStatus};

use super::{Screen, Style, lines};
use crate::cli::chat::output::{FileLine, MessageFile, Output, QuarantineLine};

/// How many characters a bar has.
const BAR: u64 = 20;

impl Screen {
    pub(super) fn file(&self, output: &Output) -> String {
        match output {
            Output::Transfer { name, done, total } => {
                self.set(Style::Faint, &format!("  {} {}", bar(*done, *total), shown(name)))
            }
            Output::Saved { path, size, released } => {
                let saved = self.set(
                    Style::Good,
                    &format!("✓ saved {} ({}), checked byte for byte", shown(path), bytes(*size)),
                );
                match released {
                    None => saved,
                    Some(release) => {
                        let by = release.by.join(" and ");
                        let text = format!(
                            "  ! {} was found in it; {by} called that a false alarm",
                            shown(&release.finding)
                        );
                        format!("{saved}\n{}", self.set(Style::Warning, &text))
                    }
                }
            }
            Output::Files { results } if results.is_empty() => {
                self.set(Style::Faint, "No files here: /send FILE.")
            }
            Output::Files { results } => lines(results.iter().map(|file| self.file_line(file))),
            Output::File {
                scan,
                finding,
                scanned_by,
                scanned_at,
                released_by,
                older_verdict,
                downloads,
                patient_consents,
                problem,
                ..
            } => {
                let mut text = vec![format!("  {}", said(*scan))];
                if let (Some(by), Some(at)) = (scanned_by, scanned_at) {
                    text.push(self.set(Style::Faint, &format!("  by {} at {at}", shown(by))));
                }
                if let Some(finding) = finding {
                    text.push(self.set(Style::Warning, &format!("  found: {}", shown(finding))));
                }
                if !released_by.is_empty() {
                    text.push(self.set(
                        Style::Warning,
                        &format!("  called a false alarm by {}", released_by.join(" and ")),
                    ));
                }
                if *older_verdict {
                    text.push(self.set(
                        Style::Warning,
                        "  ! the server shows an older verdict than this device has seen: tell the clinic",
                    ));
                }
                if let Some(agreed) = patient_consents {
                    let answer = if *agreed { "the patient agreed" } else { "the patient did not agree" };
                    text.push(self.set(Style::Faint, &format!("  {answer}")));
                }
                text.push(self.set(Style::Faint, &format!("  downloaded {downloads} times")));
                if let Some(problem) = problem {
                    text.push(self.set(Style::Warning, &format!("  ! {problem}")));
                }
                text.join("\n")
            }
            // The message says that it is there.
            Output::FileChanged { event: EventType::FileShared | EventType::RescanKeyNeeded, .. } => {
                String::new()
            }
            Output::FileChanged { name, scan, .. } => {
                self.set(style(*scan), &format!("· {}: {}", shown(name), said(*scan)))
            }
            Output::Recalled { text, .. } => self.set(Style::Warning, &format!("! {}", shown(text))),
            Output::Quarantine { results } if results.is_empty() => {
                self.set(Style::Faint, "Nothing is in quarantine.")
            }
            Output::Quarantine { results } => lines(results.iter().map(|file| self.quarantined(file))),
            _ => String::new(),
        }
    }

    fn file_line(&self, file: &FileLine) -> String {
        let state = if file.recalled { "RECALLED".to_owned() } else { said(file.scan).to_owned() };
        let style = if file.recalled { Style::Warning } else { style(file.scan) };
        format!(
            "  {}. {} {} {} {}",
            file.number,
            self.set(Style::Strong, &shown(&file.name)),
            self.set(Style::Faint, &bytes(file.size)),
            self.set(style, &state),
            self.set(Style::Faint, &format!("#{} {}", file.conversation_seq, file.sender_name)),
        )
    }

    fn quarantined(&self, file: &QuarantineLine) -> String {
        format!(
            "  {} {} {}",
            self.set(Style::Strong, &file.file_id.to_string()),
            self.set(Style::Warning, said(file.scan)),
            self.set(
                Style::Faint,
                &format!(
                    "{} from {}, {} of 2 signed its release",
                    shown(&file.mime_type),
                    file.uploader,
                    file.signatures
                ),
            ),
        )
    }
}

/// A file of a message.
pub(super) fn of_message(file: &MessageFile) -> String {
    format!(
        "▤ {} ({}), {}; /save {} PATH",
        shown(&file.name),
        bytes(file.size),
        said(file.scan),
        file.file_id
    )
}

const fn style(scan: ScanStatus) -> Style {
    match scan {
        ScanStatus::Clean => Style::Good,
        ScanStatus::Pending | ScanStatus::Unavailable => Style::Faint,
        ScanStatus::Infected | ScanStatus::Refused => Style::Warning,
    }
}

const fn said(scan: ScanStatus) -> &'static str {
    match scan {
        ScanStatus::Pending => "waits for its scan",
        ScanStatus::Clean => "clean",
        ScanStatus::Infected => "something was FOUND in it",
        ScanStatus::Refused => "REFUSED by the scan",
        ScanStatus::Unavailable => "waits: the scanner is away",
    }
}

/// What others have named, without what would move the cursor.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).collect()
}

fn bytes(size: u64) -> String {
    match size {
        0..1_024 => format!("{size} B"),
        1_024..1_048_576 => format!("{} KiB", size.div_ceil(1_024)),
        _ => format!("{} MiB", size.div_ceil(1_048_576)),
    }
}

fn bar(done: u64, total: u64) -> String {
    let total = total.max(1);
    let filled = (done * BAR / total).min(BAR);
    let part = |count: u64, of: &str| of.repeat(usize::try_from(count).unwrap_or_default());
    format!("{}{} {:>3}%", part(filled, "█"), part(BAR - filled, "░"), done * 100 / total)
}
