//! The README's story, as the README tells it: the executable, its server, its clients.

use std::process::Command;

use serde_json::Value;

/// What the README promises of the demo.
const PROMISED: [&str; 20] = [
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
    "no word of the conversation is in the server's memory",
];

#[test]
fn the_demo_checks_every_claim_and_says_so() {
    let demo = Command::new(env!("CARGO_BIN_EXE_sigilo")).args(["demo", "--json"]).output().unwrap();
    let story = String::from_utf8_lossy(&demo.stderr);
    let told: Value = serde_json::from_slice(&demo.stdout).unwrap_or_else(|error| panic!("{error}\n{story}"));
    assert!(demo.status.success(), "{story}");
    assert_eq!(told["ok"], true);
    for promise in PROMISED {
        assert!(
            told["checked"].as_array().unwrap().iter().any(|claim| claim == promise),
            "{promise}\n{story}"
        );
    }
    assert!(told["facts"]["messages"].as_i64().unwrap() >= 5);
    assert!(told["facts"]["memory_bytes"].as_i64().unwrap() > 1_000_000);
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
