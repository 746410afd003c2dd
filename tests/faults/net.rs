//! A network of our own, on which packets are lost.

use std::process::Stdio;

use tokio::process::Command;

/// Says that we are in such a network, so that no rule ever goes to another one.
const INSIDE: &str = "TORNADOSE_TEST_FAULTS_NETWORK";

/// Adds a rule for what comes to this network's loopback, or takes it away.
pub(crate) async fn filter(action: &str, rule: &str) {
    assert!(is_inside(), "not on the network of this machine");
    let mut command = Command::new("iptables");
    command.args(["--wait", action, "INPUT", "-i", "lo", "-p", "tcp"]);
    command.args(rule.split(' '));
    let status = command.stdin(Stdio::null()).status().await;
    assert!(status.expect("iptables").success(), "{action} {rule}");
}

pub(crate) fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// What may be done on this machine.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    Yes,
    /// Who is not root may be refused a network by the system, which then is not our fault.
    NotHere(String),
}

/// Runs a test of this program again, by its full name, in a network that has nothing but a
/// loopback and that nobody else is in.
pub(crate) async fn run_inside(test: &str) -> Allowed {
    let is_root = rustix::process::geteuid().is_root();
    let how: &[&str] = match is_root {
        true => &["--net"],
        // Root in a world of its own.
        false => &["--user", "--map-root-user", "--net"],
    };
    let tried = "ip link set lo up && iptables --wait -A INPUT -i lo -p tcp --dport 1 -m statistic \
        --mode random --probability 0.5 -j DROP";
    // Debian puts what is needed where not everybody's path leads.
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let output = Command::new("unshare")
        .args(how)
        .args(["sh", "-c", tried])
        .env("PATH", &path)
        .stdin(Stdio::null())
        .output()
        .await;
    let refusal = match &output {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Some(error.to_string()),
    };
    if let Some(why) = refusal {
        let why = format!(
            "a network of its own needs unshare, ip and iptables, which tests/install installs, \
             and a kernel that filters packets: {why}"
        );
        assert!(!is_root, "{why}");
        return Allowed::NotHere(why);
    }
    let status = Command::new("unshare")
        .args(how)
        .args(["sh", "-c", "ip link set lo up && exec \"$@\"", "sh"])
        .arg(std::env::current_exe().expect("this program"))
        .args([test, "--exact", "--ignored", "--nocapture"])
        .env(INSIDE, "1")
        .env("PATH", &path)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await;
    assert!(
        status.expect("unshare").success(),
        "{test}, in a network of its own"
    );
    Allowed::Yes
}
