//! Chromium and its tabs.

use std::collections::{HashMap, VecDeque};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;
use tornadose::Position;

use crate::PATIENCE;
use crate::installed::{node, program};

/// A running browser. Whoever drops it kills it.
pub(crate) struct Browser {
    process: Child,
    told: Lines<BufReader<ChildStdout>>,
    /// What has been told of tabs that nobody has asked yet.
    pending: HashMap<String, VecDeque<Value>>,
}

impl Browser {
    pub(crate) fn start() -> Self {
        let mut process = node("../tabs/tabs.cjs")
            .arg(program("chromium"))
            .env("NO_PROXY", "*")
            .env("no_proxy", "*")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node starts");
        let stdout = process.stdout.take().expect("piped");
        Self {
            process,
            told: BufReader::new(stdout).lines(),
            pending: HashMap::new(),
        }
    }

    /// Opens a tab at this page.
    pub(crate) async fn open(&mut self, tab: &str, url: &str) {
        self.act("open", tab, url).await;
    }

    /// Opens a tab that follows the stream, and waits until it is told that it does.
    pub(crate) async fn follow(&mut self, tab: &str, url: &str) {
        self.open(tab, url).await;
        self.run(tab, "follow()").await;
        assert_eq!(self.next(tab).await, json!({"open": 1}));
    }

    /// Goes back to the page before.
    pub(crate) async fn back(&mut self, tab: &str) {
        self.act("back", tab, "").await;
    }

    pub(crate) async fn close(&mut self, tab: &str) {
        self.act("close", tab, "").await;
    }

    /// Ends a tab's process.
    pub(crate) async fn crash(&mut self, tab: &str) {
        self.act("crash", tab, "").await;
    }

    /// Makes a tab `frozen` or `active`.
    pub(crate) async fn lifecycle(&mut self, tab: &str, state: &str) {
        self.act("lifecycle", tab, state).await;
    }

    pub(crate) async fn run(&mut self, tab: &str, script: &str) {
        self.act("run", tab, script).await;
    }

    /// What this is in a tab.
    pub(crate) async fn value(&mut self, tab: &str, expression: &str) -> Value {
        let script = format!("report({{ value: {expression} }})");
        self.run(tab, &script).await;
        let pending = self.pending.entry(tab.to_owned()).or_default();
        let found = pending.iter().position(|told| told.get("value").is_some());
        if let Some(mut told) = found.and_then(|at| pending.remove(at)) {
            return told["value"].take();
        }
        loop {
            let mut next = self.take(tab).await;
            if let Some(value) = next.get_mut("value") {
                return value.take();
            }
            let pending = self.pending.entry(tab.to_owned()).or_default();
            pending.push_back(next);
        }
    }

    /// The next thing that happens in a tab.
    pub(crate) async fn next(&mut self, tab: &str) -> Value {
        match self.pending.get_mut(tab).and_then(VecDeque::pop_front) {
            Some(told) => told,
            None => self.take(tab).await,
        }
    }

    /// The next event in a tab: its name, data and id.
    pub(crate) async fn event(&mut self, tab: &str) -> (String, Value, String) {
        loop {
            let mut next = self.next(tab).await;
            assert_eq!(next.get("thrown"), None, "{tab}: {next}");
            let text = |key| next.get(key).and_then(Value::as_str).map(str::to_owned);
            if let (Some(name), Some(id)) = (text("event"), text("id")) {
                return (name, next["data"].take(), id);
            }
        }
    }

    /// The next event in a tab is this one.
    pub(crate) async fn gets(&mut self, tab: &str, data: &str, position: Position) {
        let expected = ("message".to_owned(), json!(data), position.to_string());
        assert_eq!(self.event(tab).await, expected, "{tab}");
    }

    /// The next event in each of these tabs is this one.
    pub(crate) async fn all_get(&mut self, tabs: &[&str], data: &str, position: Position) {
        for tab in tabs {
            self.gets(tab, data, position).await;
        }
    }

    /// Waits until a tab has been told of a lost stream: with this status.
    pub(crate) async fn loses(&mut self, tab: &str, status: u16) {
        let expected = json!({"error": status, "state": 0});
        loop {
            let next = self.next(tab).await;
            if next == expected {
                return;
            }
            assert!(next.get("event").is_none(), "{tab}: {next}");
        }
    }

    /// Whether nothing has been told of this tab that nobody has asked for.
    pub(crate) async fn is_quiet(&mut self, tab: &str) -> bool {
        let _ = self.value(tab, "0").await;
        self.pending.get(tab).is_none_or(VecDeque::is_empty)
    }

    async fn act(&mut self, act: &str, tab: &str, with: &str) {
        let line = format!("{}\n", json!({"act": act, "tab": tab, "with": with}));
        let stdin = self.process.stdin.as_mut().expect("piped");
        stdin.write_all(line.as_bytes()).await.expect("it reads");
        self.take("driver").await;
    }

    /// The next line that is of this tab.
    async fn take(&mut self, tab: &str) -> Value {
        loop {
            let line = timeout(PATIENCE, self.told.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("{tab} tells nothing"));
            let line = line.expect("it can be read").expect("it goes on");
            let mut told: Value = serde_json::from_str(&line).expect("JSON");
            let on = told["on"].take();
            let on = on.as_str().expect("a tab");
            told.as_object_mut().expect("an object").remove("on");
            if on == tab {
                return told;
            }
            self.pending
                .entry(on.to_owned())
                .or_default()
                .push_back(told);
        }
    }
}

/// Waits until this holds.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let in_time = timeout(PATIENCE, holds).await;
    in_time.unwrap_or_else(|_| panic!("{what}, not in time"));
}
