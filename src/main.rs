//! The one executable; see `sigilo --help`.

fn main() -> std::process::ExitCode {
    sigilo::cli::run()
}
