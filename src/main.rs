//! The `authbridge` program: see the library's documentation.

use std::process::ExitCode;

use authbridge::{cli, tls};

fn main() -> ExitCode {
    tls::install_provider();
    match cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}
