//! An authenticator app and a new password, by the commands people type.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdout, Stdio},
};

use serde_json::Value;
use sigilo::clock::{Clock as _, SystemClock};
use totp_rs::{Builder, Secret};

use crate::{
    Served,
    people::{ask, clinic, invite},
    sigilo,
};

/// `sigilo chat --json` as a process of its own, killed if the test ends early.
struct Chat {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Chat {
    fn start(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut child = sigilo(folder, &[&["chat", "--profile", "maria", "--json"], arguments].concat())
            .env("SIGILO_PASSPHRASE", "a passphrase of the profile")
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Self { child, said }
    }

    fn type_line(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Reads up to a line of this type.
    fn until(&mut self, r#type: &str) -> Value {
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.said.read_line(&mut line).unwrap(), 0, "ended before {type}: {seen}");
            seen.push_str(&line);
            let value: Value = serde_json::from_str(&line).expect("a line of JSON");
            if value["type"] == r#type {
                return value;
            }
        }
    }

    fn end(mut self) -> Option<i32> {
        self.type_line("/quit");
        self.until("bye");
        self.child.wait().unwrap().code()
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn code(secret: &str) -> String {
    let totp = Builder::new().with_secret(Secret::try_from_base32(secret).unwrap()).build().unwrap();
    totp.generate(u64::try_from(SystemClock.now().seconds()).unwrap()).to_string()
}

#[test]
fn an_app_is_enrolled_and_a_forgotten_password_replaced_by_commands() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    clinic(here);
    let server = Served::start(here, &[]);
    let address = format!("http://{}", server.address);
    let invitation = invite(here, &["--server", &address]);
    let (user, uri) = (invitation["user_id"].as_str().unwrap(), invitation["invitation"].as_str().unwrap());

    let password = [("SIGILO_PASSWORD", "correct horse battery")];
    let mut chat = Chat::start(here, &["--activate", uri], &password);
    // A doctor needs an app before anything else: the activation asks for its code.
    let enrolment = chat.until("enrolment");
    chat.type_line("000 000 0");
    chat.until("note");
    chat.type_line(&format!("/mfa {}", code(enrolment["secret"].as_str().unwrap())));
    let recovery = chat.until("recovery_codes")["codes"].clone();
    chat.until("ready");
    chat.type_line("/mfa");
    assert_eq!(chat.until("mfa")["enrolled"], true);
    assert_eq!(chat.end(), Some(0));

    let reset = ["admin", "user", "reset-password", "--clinic", "ejemplo"];
    let (status, issued) = ask(here, &[&reset[..], &[user]].concat());
    assert_eq!((status, &issued["user_id"]), (0, &user.into()), "{issued}");
    let (status, unknown) = ask(here, &[&reset[..], &["0198f6a2-5c11-7e2a-9d3f-3b1c5a7e9f10"]].concat());
    assert_eq!((status, &unknown["error"]), (1, &"not_found".into()), "{unknown}");

    let login = ["--login", "maria@clinic.example", "--reset-password"];
    let mut environment = [
        ("SIGILO_RESET_CODE", issued["code"].as_str().unwrap()),
        ("SIGILO_PASSWORD", "another horse battery"),
        ("SIGILO_TOTP", recovery[0].as_str().unwrap()),
    ];
    let mut chat = Chat::start(here, &login, &environment);
    chat.until("ready");
    chat.type_line("/mfa");
    let standing = chat.until("mfa");
    assert_eq!((&standing["enrolled"], &standing["recovery_codes_left"]), (&true.into(), &9.into()));
    chat.type_line("/mfa off");
    assert_eq!(chat.until("mfa")["enrolled"], false);
    assert_eq!(chat.end(), Some(0));

    // Nothing is left to take away, and the clinic may let its doctors do without.
    let (status, factor) = ask(here, &["admin", "user", "reset-second-factor", "--clinic", "ejemplo", user]);
    assert_eq!((status, &factor["changed"]), (0, &false.into()), "{factor}");
    let set = ["admin", "clinic", "set", "--clinic", "ejemplo", "--second-factor"];
    let (status, optional) = ask(here, &[&set[..], &["optional"]].concat());
    assert_eq!((status, &optional["second_factor"]), (0, &"optional".into()), "{optional}");

    // The old password is of no use, and the code was good once.
    environment[1].1 = "correct horse battery";
    let mut refused = Chat::start(here, &login[..2], &environment);
    assert_eq!(refused.until("error")["code"], "invalid_credentials");
    let mut refused = Chat::start(here, &login, &environment);
    assert_eq!(refused.until("error")["code"], "invalid_reset");
    assert_eq!(refused.child.wait().unwrap().code(), Some(1));
}
