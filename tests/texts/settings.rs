//! What can be set, found in the source.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Types whose methods say what is made, not how it behaves.
const NO_SETTINGS: [&str; 8] = [
    "Append",
    "Control",
    "Event",
    "Latest",
    "Position",
    "Record",
    "Subscribe",
    "Topics",
];

/// The settings and bounds in these sources.
pub(crate) fn scan(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        // A kit for tests, and programs: nothing that an application is set up with.
        if path.ends_with("src/test") || path.ends_with("src/bin") {
            continue;
        }
        if path.is_dir() {
            scan(&path, found);
            continue;
        }
        let Ok(code) = fs::read_to_string(&path) else {
            continue;
        };
        let mut of = None;
        let mut lines = code.lines();
        while let Some(line) = lines.next() {
            if let Some(rest) = line.strip_prefix("impl") {
                of = type_of(rest);
            }
            let Some(of) = &of else {
                continue;
            };
            if let Some(bound) = line.strip_prefix("    pub const ") {
                let (name, kind) = bound.split_once(": ").unwrap_or_default();
                if kind.starts_with("usize") || kind.starts_with("Duration") {
                    found.insert(format!("{of}::{name}"));
                }
            }
            let Some(head) = line.strip_prefix("    pub fn ") else {
                continue;
            };
            let mut head = head.to_owned();
            while !head.contains('{') {
                head += lines.next().expect("a body");
            }
            if is_setting(&head) && !NO_SETTINGS.contains(&&**of) {
                let end = head.find(['(', '<']).expect("parameters");
                found.insert(format!("{of}::{}", &head[..end]));
            }
        }
    }
}

/// The type that an `impl` is of, unless it is one of a trait.
fn type_of(rest: &str) -> Option<String> {
    let rest = match rest.strip_prefix('<') {
        Some(generic) => generic.split_once("> ")?.1,
        None => rest.strip_prefix(' ')?,
    };
    let is_own = !rest.contains(" for ");
    let end = rest.find(|c: char| !c.is_alphanumeric())?;
    is_own.then(|| rest[..end].to_owned())
}

/// Takes itself and gives itself back.
fn is_setting(head: &str) -> bool {
    let Some((_, parameters)) = head.split_once('(') else {
        return false;
    };
    let parameters = parameters.trim_start();
    let takes_itself = ["self", "mut self"].iter().any(|word| {
        parameters
            .strip_prefix(word)
            .is_some_and(|rest| rest.starts_with([',', ')']))
    });
    let returned = head.split("-> ").last().unwrap_or_default();
    takes_itself
        && ["Self", "Result<Self", "EventSource<"]
            .iter()
            .any(|word| returned.starts_with(word))
}

#[test]
fn a_setting_takes_itself_and_gives_itself_back() {
    for (head, is_one) in [
        ("grace(self, grace: Duration) -> Self {", true),
        (
            "key(mut self, key: impl Into<String>) -> Result<Self, InvalidRedis> {",
            true,
        ),
        ("conflate(mut self) -> Self {", true),
        ("new(tcp: TcpListener) -> Self {", false),
        ("streams(&self) -> usize {", false),
        ("into_data(self) -> String {", false),
        ("selfish(selfish: u8) -> Self {", false),
    ] {
        assert_eq!(is_setting(head), is_one, "{head}");
    }
    for (rest, of) in [
        (" Server {", Some("Server")),
        ("<W: When> EventSource<W> {", Some("EventSource")),
        (" Default for Server {", None),
        ("<W: When> Clone for EventSource<W> {", None),
    ] {
        assert_eq!(type_of(rest).as_deref(), of, "{rest}");
    }
}
