//! `cargo xtask fuzz`: the parsers of `crates/seal` under libFuzzer, for as long as one likes.
//!
//! The pinned toolchain does it: coverage instrumentation is a matter of stable flags, and without `unsafe` code
//! of ours there is nothing an address sanitizer would find that a panic does not show.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::{Usage, process, protoc};

/// Named, so that build scripts and procedural macros are built without the flags.
const HOST: &str = env!("XTASK_HOST");

/// What makes libFuzzer see which paths an input takes.
const INSTRUMENT: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg=fuzzing";

struct Options {
    seconds: u32,
    targets: Vec<String>,
}

/// Builds the instrumented program, then runs the named targets (all without a name) one after the other.
pub fn run(arguments: &[OsString]) -> Result<ExitCode> {
    let Options { seconds, targets } = options(arguments)?;
    let package = process::root().join("crates/seal/fuzz");
    let corpora = process::root().join("crates/seal/corpus");
    let known = names(&corpora)?;
    if let Some(unknown) = targets.iter().find(|name| !known.contains(name)) {
        return Err(Usage(format!("no target {unknown:?}; there are {}", known.join(", "))).into());
    }
    protoc::bring()?;
    let out = process::root().join("target/fuzz");
    let mut build = process::cargo();
    build.current_dir(&package).env("RUSTFLAGS", INSTRUMENT).arg("build");
    build.args(["--locked", "--release", "--target", HOST, "--target-dir"]).arg(&out);
    process::run(&mut build)?;
    let program = out.join(HOST).join("release/sigilo-seal-fuzz");
    for name in if targets.is_empty() { &known } else { &targets } {
        let grown = out.join("corpus").join(name);
        let findings = out.join("findings").join(name);
        for folder in [&grown, &findings] {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let mut fuzz = std::process::Command::new(&program);
        fuzz.env("SIGILO_FUZZ_TARGET", name).current_dir(&out);
        fuzz.args([
            format!("-max_total_time={seconds}"),
            "-print_final_stats=1".into(),
            "-verbosity=1".into(),
        ]);
        fuzz.arg(format!("-artifact_prefix={}/", findings.display())).arg(&grown).arg(corpora.join(name));
        process::run(&mut fuzz).with_context(|| format!("{name}: see {}", findings.display()))?;
    }
    println!("no finding");
    Ok(ExitCode::SUCCESS)
}

fn options(arguments: &[OsString]) -> Result<Options> {
    let mut options = Options { seconds: 60, targets: Vec::new() };
    let mut rest = arguments.iter().map(|argument| argument.to_string_lossy().into_owned());
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--seconds" => {
                let value = rest.next().and_then(|value| value.parse().ok()).filter(|seconds| *seconds > 0);
                options.seconds =
                    value.ok_or_else(|| Usage("--seconds needs a whole number above 0".into()))?;
            }
            option if option.starts_with('-') => {
                return Err(Usage(format!("unknown argument {option:?}")).into());
            }
            _ => options.targets.push(argument),
        }
    }
    Ok(options)
}

/// The targets: a corpus each.
fn names(corpora: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(corpora).with_context(|| format!("cannot read {}", corpora.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    if names.is_empty() {
        bail!("{} is empty", corpora.display());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_seconds_and_targets() {
        let parsed = options(&["--seconds".into(), "600".into(), "manifest".into()]).unwrap();
        assert_eq!((parsed.seconds, parsed.targets), (600, vec!["manifest".to_owned()]));
        for wrong in [&["--seconds"][..], &["--seconds", "0"], &["--minutes", "1"]] {
            let wrong: Vec<OsString> = wrong.iter().map(OsString::from).collect();
            assert!(options(&wrong).is_err(), "{wrong:?}");
        }
    }
}
