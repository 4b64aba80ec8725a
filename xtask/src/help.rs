//! The texts of `--help`.

/// `cargo xtask --help`.
pub const OVERVIEW: &str = "\
The project's own commands.

    cargo xtask demo [ARGUMENTS]    build and run the story of the README: `sigilo demo`
    cargo xtask test [--durable]    every check and test, as continuous integration runs them
    cargo xtask setup               bring or install what the other commands need, and nothing else
    cargo xtask pg -- COMMAND       run a command beside a private PostgreSQL and clamd
    cargo xtask bench [ARGUMENTS]   build for speed and run `sigilo bench` beside a private PostgreSQL and clamd
    cargo xtask fuzz [TARGET ...]   feed the protocol's parsers to libFuzzer
    cargo xtask schemathesis        ask a real server what its OpenAPI document promises

Each has its own --help. Exit status: 0 done, 1 a check or test failed, 2 usage, 3 something is missing
that could not be installed.
";

const SETUP: &str = "\
cargo xtask setup

Brings what building and testing need:
    protoc        from the registry, to target/tools/protoc, where .cargo/config.toml points
    PostgreSQL    14 or later, only its programs; looked for in PATH and /usr/lib/postgresql/*/bin
    clamd         of ClamAV; the scan's tests and the demo run one of their own
    node, npm     20 or later, for the interoperation test and the OpenID provider of tests
    gdb           for its gcore: the hunt for plaintext searches a core dump of the server
    cargo-deny    the pinned version, from PATH or built into target/tools
As root, or with sudo that asks no password, it installs missing Debian packages with apt-get.
Otherwise it says what to install and exits 3.

Example:  cargo xtask setup
";

const TEST: &str = "\
cargo xtask test [--durable]

Setup, then formatting, clippy, documentation, the tests on SQLite and PostgreSQL, dependencies (cargo-deny:
advisories, bans, licences, sources). Stops at the first phase that fails, says what to do, prints the seconds
of each phase, and ends with one line: N passed, N failed.

    --durable    the private PostgreSQL flushes to disk; slower. Without it, a cluster that lives only as
                 long as the tests skips that.

SIGILO_TEST_POSTGRES, when set, names a server to use instead of a private one.
../shared/advisory-db, when there, is the advisory database; otherwise cargo-deny fetches it.
../shared/data/mts-dialog, when there, is what the hunt for plaintext says and hunts; otherwise it has lines of
its own.

Example:  cargo xtask test
";

const DEMO: &str = "\
cargo xtask demo [ARGUMENTS]

Builds the server and runs `sigilo demo`: a patient and a doctor, two client processes, one server, and a
private clamd that scans the files they send. Needs no database server. ARGUMENTS go to `sigilo demo`;
`sigilo demo --help` lists them.

../shared/data/mts-dialog, when there, is what they say, unless --lines is among the arguments; otherwise the
demo has lines of its own.

Example:  cargo xtask demo
";

const BENCH: &str = "\
cargo xtask bench [ARGUMENTS]

Builds with optimization and runs `sigilo bench` beside a private PostgreSQL that flushes to disk, named in
SIGILO_TEST_POSTGRES, and a private clamd, named in SIGILO_TEST_CLAMD. A variable that is set already names the one to
use. ARGUMENTS go to `sigilo bench`; `sigilo bench --help` lists them.

Example:  cargo xtask bench relay
";

const FUZZ: &str = "\
cargo xtask fuzz [--seconds N] [TARGET ...]

Builds the parsers of crates/seal with coverage instrumentation and runs each (or the named ones) under libFuzzer
for N seconds, 60 unless told, beginning with crates/seal/corpus. What it learns stays in target/fuzz/corpus,
an input that fails in target/fuzz/findings; put it into crates/seal/corpus, and the ordinary tests replay it.

Examples:  cargo xtask fuzz
           cargo xtask fuzz --seconds 600 manifest record_seal
";

const SCHEMATHESIS: &str = "\
cargo xtask schemathesis [--seconds N] [--seed N]

Installs the pinned Schemathesis into target/tools (from PyPI; python3 is needed), starts servers on SQLite and
PostgreSQL with people, conversations and messages, and has it ask each operation of /api/openapi.json with
generated requests, as patient, doctor, admin and compliance officer in turn: N seconds in all, 600 unless told.
An answer of 500, or one that the document does not describe, fails. The same seed makes the same requests; 1
unless told.

Example:  cargo xtask schemathesis --seconds 120 --seed 7
";

const PG: &str = "\
cargo xtask pg [--durable] -- COMMAND [ARGUMENTS]

Starts a private PostgreSQL and a private clamd in temporary folders, on Unix sockets only, runs the command with
SIGILO_TEST_POSTGRES, PGHOST, PGUSER, PGDATABASE and SIGILO_TEST_CLAMD set, and removes both afterwards, also after
Ctrl-C. The clamd knows the test file of antivirus makers alone. A variable that is set already names the one to use.
The exit status is the command's.

Examples:  cargo xtask pg -- psql
           cargo xtask pg -- cargo test -p sigilo storage
";

/// The help of one command; the overview for a command without a page of its own.
pub fn of(command: &str) -> &'static str {
    match command {
        "setup" => SETUP,
        "test" => TEST,
        "demo" => DEMO,
        "bench" => BENCH,
        "fuzz" => FUZZ,
        "schemathesis" => SCHEMATHESIS,
        "pg" => PG,
        _ => OVERVIEW,
    }
}
