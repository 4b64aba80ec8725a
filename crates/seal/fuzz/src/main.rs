//! One parser of `sigilo_seal::fuzz` under libFuzzer: the one `SIGILO_FUZZ_TARGET` names.
#![no_main]

use std::sync::LazyLock;

use sigilo_seal::fuzz::{TARGETS, Target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let named = std::env::var("SIGILO_FUZZ_TARGET").unwrap_or_default();
    match TARGETS.iter().find(|(name, _)| *name == named) {
        Some((_, target)) => *target,
        None => {
            let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
            eprintln!("SIGILO_FUZZ_TARGET must be one of {}", names.join(", "));
            std::process::exit(2);
        }
    }
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| (*TARGET)(data));
