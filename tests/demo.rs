//! The README's story, as the README tells it: the executable, its server, its clients.

use std::process::Command;

use serde_json::Value;

/// What the README promises of the demo.
const PROMISED: [&str; 16] = [
    "the patient without an appointment is refused and told why",
    "the doctor reads what the patient wrote, live and verified",
    "a message sent while the doctor was away waits and arrives",
    "who writes too late is told when the clinic opens, and where help is",
    "a held message is decided on again and delivered at the opening",
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
