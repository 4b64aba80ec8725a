//! Tells the program which machine it was built on.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if let Ok(target) = std::env::var("TARGET") {
        println!("cargo::rustc-env=XTASK_HOST={target}");
    }
}
