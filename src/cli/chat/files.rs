//! Commands about files.

use sigilo_wire::{FileId, vault::DocumentType};

/// Something to do with files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Files {
    /// Send one of this machine's.
    Send(FileToSend),
    /// Those of the open conversation.
    List,
    /// Put one of them at a path.
    Save(WhichFile, String),
    /// What the scan and the server say of one.
    About(WhichFile),
    /// As a patient: whether other clinicians may open it.
    Consent(WhichFile, bool),
    /// Have it scanned again.
    Rescan(WhichFile),
    /// As a moderator: what is in quarantine.
    Quarantine,
    /// As a moderator: sign that a finding is false.
    Release(FileId),
    /// As a moderator: destroy a file in quarantine.
    Destroy(FileId),
}

/// A file as it is typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FileToSend {
    /// Where it is.
    pub path: String,
    /// What is said about it.
    pub text: Option<String>,
    /// What kind of document it is.
    pub document_type: Option<DocumentType>,
    /// Whether other clinicians open it only after the patient agreed.
    pub consent: bool,
}

/// A file, as the list names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WhichFile {
    /// Its number in the list.
    Number(usize),
    /// Its id.
    Id(FileId),
}

/// Names and meanings, for help and completion.
pub(super) const HELP: &[(&str, &str, &str)] = &[
    (
        "/send",
        "[as:TYPE] [ask] FILE",
        "send a file, scanned before anybody opens it; as:lab_result says what it is, `ask` has the patient asked before other \
         clinicians open it; \"quote\" a name, and what follows is said about it; alone, send the text you were just warned about",
    ),
    ("/files", "", "the files of this conversation"),
    ("/save", "NUMBER|ID PATH", "check a file and save it at a new path"),
    ("/file", "NUMBER or ID", "what the scan says of a file, and who released it"),
    ("/consent", "NUMBER|ID yes|no", "as a patient: whether other clinicians may open it"),
    ("/rescan", "NUMBER or ID", "have a file scanned again"),
    ("/quarantine", "", "as a moderator: the files in quarantine"),
    (
        "/release",
        "ID",
        "as a moderator: sign that what was found in a file is a false alarm; it takes two of you",
    ),
    ("/destroy", "ID", "as a moderator: destroy a file in quarantine for good"),
];

/// Reads a command about files; `None` when it is another one's. `Err` says what it needs.
pub(super) fn parse(name: &str, argument: &str) -> Option<Result<Files, String>> {
    let which = |then: fn(WhichFile) -> Files| {
        let needs = format!("/{name} needs a file's number or id: /files");
        which_file(argument).map(then).ok_or(needs)
    };
    let id = |then: fn(FileId) -> Files| {
        argument.parse().map(then).map_err(|_| format!("/{name} needs a file's id: /quarantine"))
    };
    Some(match name {
        "send" if !argument.is_empty() => send(argument),
        "files" => Ok(Files::List),
        "save" => {
            let given = argument.split_once(char::is_whitespace);
            let given = given.and_then(|(which, path)| Some((which_file(which)?, path.trim())));
            let given = given.filter(|(_, path)| !path.is_empty());
            given
                .map(|(which, path)| Files::Save(which, path.trim_matches('"').to_owned()))
                .ok_or_else(|| "/save needs a file's number or id, then a path: /files".to_owned())
        }
        "file" => which(Files::About),
        "consent" => {
            let needs = || "/consent needs a file's number or id, then yes or no: /files".to_owned();
            let given = argument.split_once(char::is_whitespace);
            let which = given.and_then(|(which, _)| which_file(which));
            match (which, given.map(|(_, answer)| answer.trim())) {
                (Some(which), Some("yes")) => Ok(Files::Consent(which, true)),
                (Some(which), Some("no")) => Ok(Files::Consent(which, false)),
                _ => Err(needs()),
            }
        }
        "rescan" => which(Files::Rescan),
        "quarantine" => Ok(Files::Quarantine),
        "release" => id(Files::Release),
        "destroy" => id(Files::Destroy),
        _ => return None,
    })
}

fn which_file(text: &str) -> Option<WhichFile> {
    let text = text.trim().trim_start_matches('#');
    let number = text.parse().ok().filter(|number| *number > 0).map(WhichFile::Number);
    number.or_else(|| text.parse().ok().map(WhichFile::Id))
}

/// Such as `as:lab_result ask "my results.pdf" From this morning`.
fn send(argument: &str) -> Result<Files, String> {
    let mut file = FileToSend::default();
    let mut rest = argument.trim();
    loop {
        let (word, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        if let Some(kind) = word.strip_prefix("as:") {
            file.document_type = Some(kind.parse()?);
        } else if word == "ask" && !after.trim().is_empty() {
            file.consent = true;
        } else {
            break;
        }
        rest = after.trim_start();
    }
    let quoted = rest.strip_prefix('"').and_then(|quoted| quoted.split_once('"'));
    let (path, text) = quoted.unwrap_or((rest, ""));
    if path.is_empty() {
        return Err("/send needs a file".to_owned());
    }
    file.path = path.to_owned();
    file.text = Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    Ok(Files::Send(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> FileToSend {
        FileToSend { path: path.into(), ..FileToSend::default() }
    }

    #[test]
    fn a_file_is_sent_by_its_name_with_what_is_said_about_it() {
        let sent = |argument| parse("send", argument).unwrap().unwrap();
        assert_eq!(sent("a b.pdf"), Files::Send(file("a b.pdf")));
        let text = Some("From this morning".to_owned());
        assert_eq!(
            sent("as:lab_result ask \"a b.pdf\" From this morning"),
            Files::Send(FileToSend {
                text,
                document_type: Some(DocumentType::LabResult),
                consent: true,
                ..file("a b.pdf")
            })
        );
        assert_eq!(sent("ask"), Files::Send(file("ask")), "a file of that name");
        assert!(parse("send", "as:secret x").unwrap().is_err());
        assert!(parse("send", "as:image").unwrap().is_err());
        assert!(parse("send", "").is_none(), "the text that was held back");
    }

    #[test]
    fn every_command_of_the_help_is_understood() {
        let id = FileId::from_bytes([1; 16]);
        for (name, argument, _) in HELP {
            let name = name.trim_start_matches('/');
            let example = match *argument {
                "" => String::new(),
                "ID" => id.to_string(),
                _ if name == "consent" => "1 yes".to_owned(),
                _ if name == "save" => "1 out.pdf".to_owned(),
                _ => "1".to_owned(),
            };
            assert!(matches!(parse(name, &example), Some(Ok(_))), "/{name} {example}");
        }
    }

    #[test]
    fn files_are_named_by_number_or_id() {
        let id = FileId::from_bytes([1; 16]);
        assert_eq!(parse("save", "2 out.pdf"), Some(Ok(Files::Save(WhichFile::Number(2), "out.pdf".into()))));
        let by_id = parse("save", &format!("{id} \"my results.pdf\""));
        assert_eq!(by_id, Some(Ok(Files::Save(WhichFile::Id(id), "my results.pdf".into()))));
        assert_eq!(parse("consent", "#1 no"), Some(Ok(Files::Consent(WhichFile::Number(1), false))));
        for (name, argument) in
            [("save", "2"), ("save", "0 x"), ("consent", "1"), ("file", "x"), ("release", "1")]
        {
            assert!(parse(name, argument).unwrap().is_err(), "/{name} {argument}");
        }
        assert_eq!(parse("open", "1"), None);
    }
}
