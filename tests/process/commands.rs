//! Exit statuses: 0 done, 1 the answer is no, 2 usage, 3 could not run.

use std::process::Stdio;

use serde_json::Value;

use crate::{run, sigilo, text};

/// The commands that a help text lists.
fn listed(help: &str) -> Vec<String> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_command_has_help_with_an_example() {
    let folder = tempfile::tempdir().unwrap();
    let mut paths: Vec<Vec<String>> = vec![Vec::new()];
    let mut single = Vec::new();
    while let Some(path) = paths.pop() {
        let asked: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
        let output = run(folder.path(), &asked);
        assert!(output.status.success(), "{asked:?}");
        let help = text(&output.stdout);
        let name = path.join(" ");
        let (_, example) = help.split_once("Example: ").unwrap_or_else(|| panic!("{name}:\n{help}"));
        assert!(
            example.starts_with(&format!("sigilo {name}")),
            "the example of {name} is of another: {example}"
        );
        let commands = listed(help);
        if commands.is_empty() {
            if ["admin", "records", "policy"].iter().any(|group| name.starts_with(group)) {
                assert!(help.contains("--json"), "{name} does not answer in JSON");
            }
            single.push(name);
        }
        paths.extend(commands.into_iter().map(|command| [path.as_slice(), &[command]].concat()));
    }
    for known in ["serve", "admin clinic create", "policy test", "records init", "bench relay"] {
        assert!(single.iter().any(|name| name == known), "{known} is not among {single:?}");
    }
}

#[test]
fn migrations_are_checked_and_run() {
    let folder = tempfile::tempdir().unwrap();
    let missing = run(folder.path(), &["migrate", "--check"]);
    assert_eq!(missing.status.code(), Some(3), "nothing to check yet");
    assert!(text(&missing.stderr).contains("sigilo migrate"));
    assert_eq!(run(folder.path(), &["migrate"]).status.code(), Some(0));
    let current = run(folder.path(), &["migrate", "--check"]);
    assert_eq!(current.status.code(), Some(0));
    assert_eq!(text(&current.stdout), "database: current\nkey store: current\n");
}

#[test]
fn usage_errors_are_status_2() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(run(folder.path(), &["serve", "--lisen", "x"]).status.code(), Some(2));
    assert_eq!(run(folder.path(), &["wat"]).status.code(), Some(2));
}

#[test]
fn a_reader_who_has_had_enough_is_no_fault() {
    let folder = tempfile::tempdir().unwrap();
    for command in [&["policy", "table"][..], &["policy", "validate", "--json"], &["doctor"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = sigilo(folder.path(), command).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let done = child.wait_with_output().unwrap();
        assert_eq!((done.status.code(), text(&done.stderr)), (Some(0), ""), "{command:?}");
    }
}

#[test]
fn wrong_configurations_stop_the_start_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let unknown = sigilo(folder.path(), &["serve"]).env("SIGILO__SERVER__LISTN", "x").output().unwrap();
    assert_eq!(unknown.status.code(), Some(3));
    assert!(text(&unknown.stderr).contains("did you mean `listen`?"), "{}", text(&unknown.stderr));
    let open = run(folder.path(), &["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(open.status.code(), Some(3));
    assert!(text(&open.stderr).contains("behind_proxy"), "{}", text(&open.stderr));
    let file = run(folder.path(), &["serve", "--config", "nowhere.toml"]);
    assert_eq!(file.status.code(), Some(3));
    assert!(text(&file.stderr).contains("nowhere.toml"), "{}", text(&file.stderr));
    assert!(!folder.path().join("data").exists(), "nothing was made");
}

#[test]
fn the_doctor_says_what_is_wrong_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let good = run(folder.path(), &["doctor", "--json"]);
    let report: Value = serde_json::from_slice(&good.stdout).unwrap();
    assert_eq!((good.status.code(), &report["ok"]), (Some(0), &Value::Bool(true)), "{report:#}");
    let bad = sigilo(folder.path(), &["doctor", "--json"])
        .env("SIGILO__STORAGE__DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")
        .output()
        .unwrap();
    assert_eq!(bad.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&bad.stdout).unwrap();
    let wrong: Vec<&Value> =
        report["findings"].as_array().unwrap().iter().filter(|finding| finding["ok"] == false).collect();
    assert_eq!(wrong.len(), 1, "{report:#}");
    assert_eq!(wrong[0]["name"], "database");
}

#[test]
fn a_chat_that_cannot_begin_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let nobody_there = format!(
        "sigilo://activate?v=1&server=http://127.0.0.1:1&clinic=0198f6a2-5c11-7e2a-9d3f-3b1c5a7e9f10&code={0}&root={0}",
        "A".repeat(43)
    );
    for (arguments, status, why) in [
        (&["--activate", "hello"][..], 2, "not an invitation"),
        (&["--activate", &nobody_there, "--server", "https://chat.example"], 2, "another server"),
        (&["--activate", &nobody_there], 3, "cannot be reached"),
        (&[], 3, "not activated"),
    ] {
        let chat = || {
            let mut command = sigilo(folder.path(), &["chat", "--profile", "new"]);
            command
                .args(arguments)
                .env("SIGILO_PASSPHRASE", "passphrase")
                .env("SIGILO_PASSWORD", "a long password");
            command
        };
        let said = chat().output().unwrap();
        let text = format!("{}{}", text(&said.stdout), text(&said.stderr));
        assert_eq!(said.status.code(), Some(status), "{arguments:?}: {text}");
        assert!(text.contains(why), "{arguments:?}: {text}");
        let said = chat().arg("--json").output().unwrap();
        assert_eq!(said.status.code(), Some(status), "{arguments:?}");
        let document: Value = serde_json::from_slice(&said.stdout).unwrap();
        assert!(document["message"].as_str().unwrap().contains(why), "{document}");
    }
}
