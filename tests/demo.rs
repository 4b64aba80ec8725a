//! The README's story, as the README tells it: the executable, its server, its clients.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::process::Command;

use serde_json::Value;

/// What the README promises of the demo.
const PROMISED: [&str; 23] = [
    "the patient without an appointment is refused and told why",
    "the doctor reads what the patient wrote, live and verified",
    "a message sent while the doctor was away waits and arrives",
    "who writes too late is told when the clinic opens, and where help is",
    "a held message is decided on again and delivered at the opening",
    "an emergency nobody acknowledges reaches the next on call, with what was said",
    "the patient sees that somebody looks after the emergency, and that it is over",
    "a doctor who breaks the glass says why, and the patient and the staff are told",
    "each broken glass waits until compliance has reviewed it",
    "the second device reads what was said before it, word for word and verified",
    "what is said from then on reaches both of the patient's devices",
    "the server's receipt verifies under the clinic's root",
    "a group and its title are made by its members alone",
    "an edit is shown on its message, and the first text stays in the record",
    "a reaction is shown on its message, and the server does not know which",
    "what was said is found on the device, in whatever form of the word",
    "a new identity is noticed, and nothing is said to it before it is confirmed",
    "once the two have compared the number, they go on under the new key",
    "no word of the conversation is in database, journal, keys or logs",
    "no word of the conversation, nor of a file, is in the server's memory",
    "an upload that breaks off goes on where it stopped",
    "a file that nothing has scanned waits, and is given out to nobody",
    "no line of a file is in object store, spool or database",
];

/// What it promises where there is a clamd.
const SCANNED: [&str; 4] = [
    "a file is scanned before anybody opens it, and its verdict verifies",
    "the doctor has the patient's file, decrypted and byte for byte",
    "a file in which something was found is given out to nobody",
    "who takes part, the moderator and the operator see it in quarantine",
];

/// The variable that names the clamd.
const CLAMD: &str = "SIGILO_TEST_CLAMD";

/// Runs the demo to its end, which is to be a good one; gives what it checked, its facts, and its story.
fn told(demo: &mut Command) -> (Vec<String>, Value, String) {
    let demo = demo.args(["demo", "--json"]).output().unwrap();
    let story = String::from_utf8_lossy(&demo.stderr).into_owned();
    let told: Value = serde_json::from_slice(&demo.stdout).unwrap_or_else(|error| panic!("{error}\n{story}"));
    assert!(demo.status.success() && told["ok"] == true, "{story}");
    let checked = told["checked"].as_array().unwrap().iter();
    let checked: Vec<String> = checked.map(|claim| claim.as_str().unwrap().to_owned()).collect();
    for promise in PROMISED {
        assert!(checked.iter().any(|claim| claim == promise), "{promise}\n{story}");
    }
    (checked, told["facts"].clone(), story)
}

#[test]
fn the_demo_checks_every_claim_and_says_so() {
    assert!(std::env::var_os(CLAMD).is_some(), "run it by cargo xtask pg -- cargo test");
    let (checked, facts, story) = told(&mut Command::new(env!("CARGO_BIN_EXE_sigilo")));
    for promise in SCANNED {
        assert!(checked.iter().any(|claim| claim == promise), "{promise}\n{story}");
    }
    assert!(facts["messages"].as_i64().unwrap() >= 5);
    assert!(facts["memory_bytes"].as_i64().unwrap() > 1_000_000);
    assert!(facts["object_bytes"].as_i64().unwrap() > 3_000_000, "{facts}");
}

/// Nothing is pretended: without an engine no file is opened, and the demo says how to get one.
#[test]
fn without_a_clamd_the_demo_shows_that_files_wait() {
    let (checked, _, story) = told(Command::new(env!("CARGO_BIN_EXE_sigilo")).env_remove(CLAMD));
    assert!(!checked.iter().any(|claim| SCANNED.contains(&claim.as_str())), "{story}");
    assert!(story.contains("cargo xtask demo") && story.contains(CLAMD), "{story}");
}

/// A server whose clock anybody turns would be no witness of any time: only the demo's own has such a clock.
#[test]
fn no_server_but_the_demos_has_its_clock_turned() {
    let folder = tempfile::Builder::new().prefix("sigilo-demo-").tempdir().unwrap();
    let serve = |listen: &str| {
        let data = folder.path().join("server");
        let arguments = ["serve", "--demo-clock", "--listen", listen, "--data"];
        let mut command = Command::new(env!("CARGO_BIN_EXE_sigilo"));
        command.args(arguments).arg(data).env_clear().env("SIGILO__SERVER__METRICS_LISTEN", "127.0.0.1:0");
        command.envs(std::env::var_os("TMPDIR").map(|folder| ("TMPDIR", folder)));
        command
    };
    let refused = |mut command: Command, why: &str| {
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(3) && said.contains(why), "{:?} {said}", output.status);
    };
    refused(serve("127.0.0.1:0"), "a temporary one that the demo has made");
    std::fs::write(folder.path().join("made-by-sigilo-demo"), "").unwrap();
    let mut open = serve("0.0.0.0:0");
    open.env("SIGILO__SERVER__BEHIND_PROXY", "true");
    refused(open, "loopback alone");
    let mut elsewhere = serve("127.0.0.1:0");
    elsewhere.env("SIGILO__STORAGE__DATABASE_URL", "postgres://localhost/sigilo");
    refused(elsewhere, "its database is in its data folder");
}
