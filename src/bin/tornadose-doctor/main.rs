//! `tornadose-doctor`: tells why an event stream is late or broken.
//!
//! `arguments` says what is asked for, `examine` asks the server and writes down what was
//! seen (`seen`), `judge` makes findings of that, without any I/O, and `report` prints them.
//! What each finding means and what cures it is in `docs/doctor.md`.
#![cfg_attr(
    not(test),
    warn(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

mod arguments;
mod client;
mod cures;
mod examine;
mod finding;
mod judge;
mod report;
mod seen;
mod target;
mod text;
mod watch;

use std::process::ExitCode;

use arguments::{Asked, HELP};

/// The stream could not be examined, or the arguments not be understood.
const NOT_EXAMINED: u8 = 2;

fn main() -> ExitCode {
    let settings = match arguments::parse(std::env::args_os().skip(1)) {
        Ok(Asked::Help) => {
            report::print(HELP);
            return ExitCode::SUCCESS;
        }
        Ok(Asked::Version) => {
            report::print(concat!(
                "tornadose-doctor ",
                env!("CARGO_PKG_VERSION"),
                "\n"
            ));
            return ExitCode::SUCCESS;
        }
        Ok(Asked::Examine(settings)) => settings,
        Err(wrong) => {
            eprintln!("tornadose-doctor: {wrong}; see --help");
            return ExitCode::from(NOT_EXAMINED);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("tornadose-doctor: no runtime: {error}");
            return ExitCode::from(NOT_EXAMINED);
        }
    };
    let seen = match runtime.block_on(examine::examine(&settings)) {
        Ok(seen) => seen,
        Err(wrong) => {
            eprintln!("tornadose-doctor: {wrong}");
            return ExitCode::from(NOT_EXAMINED);
        }
    };
    // A look-up of a name cannot be called off; nobody waits for it.
    runtime.shutdown_background();
    let findings = judge::judge(&settings, &seen);
    report::print(&report::report(&settings, &seen, &findings));
    ExitCode::from(finding::exit_status(&findings))
}
