//! What `tests/install` has put where.

use std::env;
use std::path::{Path, PathBuf};

use tokio::process::Command;

/// The full path of a program.
pub(crate) fn program(name: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("there is no {name}; run tests/install"))
}

/// A script of ours in Node.js, with the npm packages.
pub(crate) fn node(script: &str) -> Command {
    let mut command = Command::new(program("node"));
    command.env("NODE_PATH", installed().join("node_modules"));
    command.arg(here().join(script));
    command
}

/// A script of ours in Python, with the packages of PyPI.
pub(crate) fn python(script: &str) -> Command {
    let mut command = Command::new(installed().join("venv/bin/python"));
    command.arg(here().join(script));
    command
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// Where `tests/install` has put the packages, if they are the right ones.
fn installed() -> PathBuf {
    let installed = target().join("clients");
    let wanted = concat!(
        include_str!("package.json"),
        include_str!("requirements.txt")
    );
    let stamp = std::fs::read_to_string(installed.join("stamp")).expect("a text");
    assert_eq!(
        stamp, wanted,
        "other packages are wanted; run tests/install"
    );
    installed
}

/// Cargo's target directory, in which `tests/install` has been at work.
pub(crate) fn target() -> PathBuf {
    let exe = env::current_exe().expect("our own path");
    let target = exe
        .ancestors()
        .find(|dir| dir.join("clients/stamp").is_file());
    let target = target.expect("the packages are missing; run tests/install");
    target.to_owned()
}
