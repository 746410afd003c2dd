//! The doctor as a program, on streams that are well and streams that are ill.
#![cfg(unix)]

mod arguments;
mod faulty;
mod healthy;
mod nginx;
mod scripted;
mod secure;
mod timing;
mod ways;

use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

/// What the doctor said with `--json`.
struct Report {
    exit: i32,
    /// The codes that are not `ok`, in their order, with a space between.
    found: String,
    ok: String,
    whole: Value,
}

impl Report {
    fn severity(&self, code: &str) -> &str {
        let found = self.whole["findings"].as_array().expect("findings");
        let found = found.iter().find(|found| found["code"] == code);
        found.expect(code)["severity"].as_str().expect("a word")
    }
}

async fn run(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_tornadose-doctor"))
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(Duration::from_secs(60), output).await;
    output.expect("in time").expect("it runs")
}

async fn examine(arguments: &[&str]) -> Report {
    let output = run(&[arguments, &["--json"]].concat()).await;
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let whole: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let exit = output.status.code().expect("an exit status");
    assert_eq!(whole["exit"], exit);
    let codes = |is_ok: bool| {
        let findings = whole["findings"].as_array().expect("findings").iter();
        let findings = findings.filter(|found| (found["severity"] == "ok") == is_ok);
        let codes = findings.map(|found| found["code"].as_str().expect("a code"));
        codes.collect::<Vec<_>>().join(" ")
    };
    Report {
        exit,
        found: codes(false),
        ok: codes(true),
        whole,
    }
}
