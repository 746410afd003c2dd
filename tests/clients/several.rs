//! A client that has several connections, and tells them apart.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::PATIENCE;
use crate::client::{Client, Told};
use crate::installed::{node, program};

/// Tells by the names of its connections what happens on them.
pub(crate) struct Several {
    client: Client,
    /// What has been told of the others meanwhile.
    pending: VecDeque<Value>,
    taken: usize,
}

impl Several {
    /// Chromium, in a page of this server.
    pub(crate) async fn browser(url: &str) -> Self {
        let mut command = node("chromium.cjs");
        Self::run(command.arg(program("chromium")).arg(url)).await
    }

    /// The same with a page that runs no scripts but those of this test.
    pub(crate) async fn browser_without_scripts(url: &str) -> Self {
        let mut command = node("chromium.cjs");
        command.arg(program("chromium")).arg(url).arg("plain");
        Self::run(&mut command).await
    }

    pub(crate) async fn run(command: &mut Command) -> Self {
        Self {
            client: Client::run(command).await,
            pending: VecDeque::new(),
            taken: 0,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.client.name
    }

    /// Writes a line to it: a script if it is a browser.
    pub(crate) async fn write(&mut self, line: &str) {
        self.client.write(line).await;
    }

    /// The next thing that happens on this connection, without its name.
    pub(crate) async fn next(&mut self, on: &str) -> Value {
        let found = self.pending.iter().position(|report| report["on"] == on);
        let mut report = match found.and_then(|at| self.pending.remove(at)) {
            Some(report) => report,
            None => loop {
                let report = self.client.report().await;
                self.taken += 1;
                if report["on"] == on {
                    break report;
                }
                self.pending.push_back(report);
            },
        };
        report.as_object_mut().expect("an object").remove("on");
        report
    }

    /// The next event or message on this connection.
    pub(crate) async fn event(&mut self, on: &str) -> Value {
        loop {
            let next = self.next(on).await;
            if next.get("event").is_some() {
                return next;
            }
        }
    }

    /// What this is in the page, if it is a browser. It may `await`.
    pub(crate) async fn value(&mut self, script: &str) -> Value {
        self.write(&format!(
            "(async () => report({{ on: 'page', value: {script} }}))()"
        ))
        .await;
        self.next("page").await["value"].take()
    }

    /// Makes the page so wide, and `light` or `dark`.
    pub(crate) async fn look(&mut self, width: u32, scheme: &str) {
        self.write(&format!("look({width}, '{scheme}')")).await;
    }

    /// Waits until this holds in the page.
    pub(crate) async fn until(&mut self, condition: &str) {
        let end = Instant::now() + PATIENCE;
        while self.value(condition).await != true {
            if Instant::now() > end {
                let all = "document.querySelector('main').innerText";
                panic!("{condition} in {}", self.value(all).await);
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Lets it end; returns what nobody has asked for.
    pub(crate) async fn quit(self) -> Vec<Value> {
        let told = self.client.quit().await.into_iter();
        let reports = told.filter_map(|told| match told {
            Told::Report(report) => Some(report),
            _ => None,
        });
        let rest = reports.skip(self.taken);
        self.pending.into_iter().chain(rest).collect()
    }
}
