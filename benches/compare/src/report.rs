//! The figures as tables: ratios to the raw loop of about the same time.

use std::fmt::Write;

use serde::Serialize;

use crate::peers;
use crate::scenario::{Run, Window};

const ACTIVE: [&str; 4] = ["rate", "closed", "backlog", "burst"];

#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) runs: Vec<Run>,
    /// Server, streams, and what it has to say.
    pub(crate) failures: Vec<(String, usize, String)>,
}

impl Report {
    /// Whether every server could be measured and nothing was lost.
    pub(crate) fn is_sound(&self) -> bool {
        let windows = self.runs.iter().flat_map(|run| &run.windows);
        self.failures.is_empty() && !self.runs.is_empty() && windows.clone().all(Window::is_sound)
    }

    /// Median over the runs of CPU per delivery, as a multiple of the raw loop's in the run
    /// that is nearest in time.
    pub(crate) fn ratio(&self, server: &str, streams: usize, window: &str) -> Option<f64> {
        self.median(server, streams, |run| {
            let raw = self.nearest_raw(run)?.window(window)?.cpu_us_per_delivery;
            Some(run.window(window)?.cpu_us_per_delivery / raw)
        })
    }

    fn nearest_raw(&self, run: &Run) -> Option<&Run> {
        let raw = self.runs.iter();
        let raw = raw.filter(|raw| raw.server == "raw" && raw.streams == run.streams);
        raw.min_by(|a, b| (a.at - run.at).abs().total_cmp(&(b.at - run.at).abs()))
    }

    fn median(
        &self,
        server: &str,
        streams: usize,
        figure: impl Fn(&Run) -> Option<f64>,
    ) -> Option<f64> {
        let runs = self.runs.iter();
        let runs = runs.filter(|run| run.server == server && run.streams == streams);
        let mut figures: Vec<_> = runs
            .filter_map(figure)
            .filter(|figure| figure.is_finite())
            .collect();
        figures.sort_by(f64::total_cmp);
        let middle = figures.len().checked_sub(1)? / 2;
        let other = figures.len() / 2;
        Some((figures[middle] + figures[other]) / 2.0)
    }

    /// Those numbers of streams at which this window was measured.
    pub(crate) fn numbers(&self, window: &str) -> Vec<usize> {
        let runs = self.runs.iter().filter(|run| run.window(window).is_some());
        let mut numbers: Vec<_> = runs.map(|run| run.streams).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        for streams in self.numbers("rate") {
            self.ratios(&mut text, streams);
            self.absolutes(&mut text, streams);
        }
        for streams in self.numbers("idle") {
            self.idle(&mut text, streams);
        }
        for (server, streams, fault) in &self.failures {
            let fault = fault.lines().next().unwrap_or("no reason");
            let _ = writeln!(
                text,
                "Not measured: {server} with {streams} streams ({fault})."
            );
        }
        text.trim_end().to_owned()
    }

    fn ratios(&self, text: &mut String, streams: usize) {
        let _ = writeln!(
            text,
            "### {streams} streams: server CPU per delivery, as a multiple of the raw loop's\n"
        );
        let _ = writeln!(
            text,
            "| server | fixed rate | user share | 1 outstanding | 8 outstanding | bursts of 100 | lost | runs |"
        );
        let _ = writeln!(text, "|---|---|---|---|---|---|---|---|");
        for (name, about) in peers::ALL {
            let Some(runs) = self.count(name, streams, "rate") else {
                continue;
            };
            let ratio = |window| cell(self.ratio(name, streams, window), 2, "");
            let user = self.of(name, streams, "rate", |window| window.user_share * 100.0);
            let [rate, closed, backlog, burst] = ACTIVE.map(ratio);
            let lost = self.lost(name, streams);
            let user = cell(user, 0, " %");
            let _ = writeln!(
                text,
                "| `{name}`: {about} | {rate} | {user} | {closed} | {backlog} | {burst} | {lost} | {runs} |"
            );
        }
        text.push('\n');
    }

    fn absolutes(&self, text: &mut String, streams: usize) {
        let _ = writeln!(text, "### {streams} streams: figures of this machine\n");
        let _ = writeln!(
            text,
            "| server | CPU per delivery, µs | latency p50, p99 at the rate, ms | deliveries/s with 1 outstanding | with 8 | in bursts | bytes on the wire | submit answered, without and with streams, ms |"
        );
        let _ = writeln!(text, "|---|---|---|---|---|---|---|---|");
        for (name, _) in peers::ALL {
            if self.count(name, streams, "rate").is_none() {
                continue;
            }
            let of = |window, figure: fn(&Window) -> f64| self.of(name, streams, window, figure);
            let cpu = cell(of("rate", |w| w.cpu_us_per_delivery), 2, "");
            let p50 = cell(of("rate", |w| w.latency_p50_ms), 1, "");
            let p99 = cell(of("rate", |w| w.latency_p99_ms), 1, "");
            let [closed, backlog, burst] = ["closed", "backlog", "burst"]
                .map(|window| cell(of(window, |w| w.deliveries_per_second / 1e3), 0, "k"));
            let bytes = cell(of("rate", |w| w.bytes_per_delivery), 0, "");
            let alone = cell(of("submit_0", |w| w.answer_p50_ms), 2, "");
            let among = cell(of("closed", |w| w.answer_p50_ms), 2, "");
            let _ = writeln!(
                text,
                "| `{name}` | {cpu} | {p50}, {p99} | {closed} | {backlog} | {burst} | {bytes} | {alone}, {among} |"
            );
        }
        text.push('\n');
    }

    fn idle(&self, text: &mut String, streams: usize) {
        let _ = writeln!(text, "### {streams} streams to which nothing is sent\n");
        let _ = writeln!(
            text,
            "| server | resident memory per stream, bytes | CPU to connect one, µs | CPU per stream and minute, µs |"
        );
        let _ = writeln!(text, "|---|---|---|---|");
        for (name, _) in peers::ALL {
            if self.count(name, streams, "idle").is_none() {
                continue;
            }
            let memory = cell(
                self.median(name, streams, |run| Some(run.bytes_per_stream)),
                0,
                "",
            );
            let connect = cell(
                self.median(name, streams, |run| Some(run.connect_us_per_stream)),
                0,
                "",
            );
            let idle = self.of(name, streams, "idle", |window| {
                window.cpu_us / window.seconds
            });
            let idle = cell(idle.map(|idle| idle * 60.0 / streams as f64), 1, "");
            let _ = writeln!(text, "| `{name}` | {memory} | {connect} | {idle} |");
        }
        text.push('\n');
    }

    fn of(
        &self,
        server: &str,
        streams: usize,
        window: &str,
        figure: impl Fn(&Window) -> f64,
    ) -> Option<f64> {
        self.median(server, streams, |run| run.window(window).map(&figure))
    }

    fn count(&self, server: &str, streams: usize, window: &str) -> Option<usize> {
        let runs = self
            .runs
            .iter()
            .filter(|run| run.server == server && run.streams == streams);
        let count = runs.filter(|run| run.window(window).is_some()).count();
        (count > 0).then_some(count)
    }

    /// Deliveries that did not come, of how many, over all runs; and what else was wrong.
    fn lost(&self, server: &str, streams: usize) -> String {
        let runs = self
            .runs
            .iter()
            .filter(|run| run.server == server && run.streams == streams);
        let windows: Vec<_> = runs.flat_map(|run| &run.windows).collect();
        let sum =
            |figure: fn(&Window) -> u64| windows.iter().map(|window| figure(window)).sum::<u64>();
        let (missing, extra, errors) = (sum(|w| w.missing), sum(|w| w.extra), sum(|w| w.errors));
        let mut text = missing.to_string();
        if extra > 0 {
            let _ = write!(text, ", {extra} twice");
        }
        if errors > 0 {
            let _ = write!(text, ", {errors} errors");
        }
        text
    }
}

fn cell(figure: Option<f64>, digits: usize, unit: &str) -> String {
    figure.map_or("–".to_owned(), |figure| {
        format!("{figure:.digits$}{unit}")
    })
}

/// Puts the tables between the marks of a page.
pub(crate) fn fill(page: &str, tables: &str) -> Result<String, String> {
    const MARKS: [&str; 2] = ["<!-- figures -->", "<!-- end of figures -->"];
    let fault = || "docs/performance.md has lost its marks".to_owned();
    let (before, rest) = page.split_once(MARKS[0]).ok_or_else(fault)?;
    let (_, after) = rest.split_once(MARKS[1]).ok_or_else(fault)?;
    Ok(format!(
        "{before}{}\n\n{tables}\n\n{}{after}",
        MARKS[0], MARKS[1]
    ))
}
