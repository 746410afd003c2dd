//! Commands: what they name must be there. None of them is run.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use crate::pages::{Page, ROOT};

/// Programs that texts may tell to run, beside cargo and scripts of our own.
const PROGRAMS: [&str; 12] = [
    "cargo",
    "cd",
    "curl",
    "nats",
    "nats-server",
    "redis-cli",
    "redis-server",
    "rustup",
    "ulimit",
    "git",
    "npm",
    "tornadose-doctor",
];

/// Each command of a block.
pub(crate) fn look(block: &str, place: &str) {
    let block = block.replace("\\\n", " ");
    for line in block.lines() {
        for command in line
            .split(" # ")
            .next()
            .unwrap_or_default()
            .split(['|', ';'])
        {
            for command in command.split("&&") {
                look_at(command, place);
            }
        }
    }
}

fn look_at(command: &str, place: &str) {
    let command = command.trim();
    if command.is_empty() || command.starts_with('#') {
        return;
    }
    let words = words(command);
    let is_variable = |word: &&String| word.split_once('=').is_some_and(|(name, _)| is_name(name));
    let words: Vec<&str> = words
        .iter()
        .skip_while(is_variable)
        .map(String::as_str)
        .collect();
    let Some((program, arguments)) = words.split_first() else {
        return;
    };
    match *program {
        "cargo" => cargo(arguments, place),
        script if script.contains('/') => {
            assert!(
                Path::new(ROOT).join(script).is_file(),
                "{place}: no {script}"
            );
        }
        other => assert!(PROGRAMS.contains(&other), "{place}: {other} is not known"),
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}

/// Words of a command; quotes keep one together.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in command.chars() {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            (None, ' ') => words.push(String::new()),
            _ => words.last_mut().expect("one").push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn cargo(arguments: &[&str], place: &str) {
    let own = arguments.iter().take_while(|argument| **argument != "--");
    let own: Vec<_> = own.copied().collect();
    let after = |name: &str| {
        let at = own
            .iter()
            .enumerate()
            .filter(move |(_, argument)| **argument == name);
        at.filter_map(|(at, _)| own.get(at + 1).copied())
            .collect::<Vec<_>>()
    };
    // Of another crate, what there is stands elsewhere.
    if let Some(path) = after("--manifest-path").first() {
        assert!(Path::new(ROOT).join(path).is_file(), "{place}: no {path}");
        return;
    }
    let named: Vec<_> = after("--features")
        .iter()
        .flat_map(|list| list.split(','))
        .collect();
    let is_ours = own.first() != Some(&"add") || own.contains(&"tornadose");
    for feature in named.iter().filter(|_| is_ours) {
        assert!(ours().has_feature(feature), "{place}: no feature {feature}");
    }
    if own.first() == Some(&"add") {
        let of = own[1..]
            .iter()
            .take_while(|argument| **argument != "--features");
        for name in of.filter(|name| !name.starts_with('-')) {
            assert!(
                dependencies().iter().any(|known| known == name),
                "{place}: {name} is no crate that the tests are built with"
            );
        }
    }
    for kind in ["example", "test", "bench"] {
        for name in after(&format!("--{kind}")) {
            let needed = ours().target(kind, name);
            let needed = needed.unwrap_or_else(|| panic!("{place}: no {kind} {name}"));
            for feature in needed {
                let is_given = named.contains(&"full") || ours().gives(&named, &feature);
                assert!(is_given, "{place}: {kind} {name} needs {feature}");
            }
        }
    }
}

/// What the commands of a block add: crates, and `crate/feature`.
pub(crate) fn added(block: &str) -> Vec<String> {
    let mut added = Vec::new();
    for line in block.lines() {
        let words = words(line);
        let mut words = words.iter().map(String::as_str);
        if (words.next(), words.next()) != (Some("cargo"), Some("add")) {
            continue;
        }
        let (mut of, mut are_features) = ("", false);
        for word in words {
            match word {
                "--features" => are_features = true,
                "--dev" => {}
                list if are_features => {
                    added.extend(list.split(',').map(|feature| format!("{of}/{feature}")));
                }
                name => {
                    of = name;
                    added.push(name.to_owned());
                }
            }
        }
    }
    added
}

/// The crates that programs in the texts can use.
pub(crate) fn dependencies() -> Vec<String> {
    let all = ours().0["dependencies"].as_array().expect("a list").iter();
    let names = all.filter_map(|dependency| dependency["name"].as_str());
    names.chain(["tornadose"]).map(str::to_owned).collect()
}

/// A block of TOML: a manifest, or a part of one.
pub(crate) fn manifest(text: &str, place: &str) {
    let package = match text.contains("[package]") {
        true => "",
        false => "[package]\nname = \"part\"\nversion = \"0.0.0\"\nedition = \"2024\"\n",
    };
    let name = format!(
        "tornadose-texts-{}-{}",
        std::process::id(),
        place.replace(['/', ':'], "-")
    );
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(folder.join("src")).expect("a writable folder");
    std::fs::write(folder.join("src/lib.rs"), "").expect("a writable folder");
    std::fs::write(folder.join("Cargo.toml"), format!("{package}{text}")).expect("the same");
    let read = read_manifest(&folder.join("Cargo.toml"));
    std::fs::remove_dir_all(&folder).expect("it is there");
    let read = read.unwrap_or_else(|told| panic!("{place}: {told}"));
    for dependency in read["packages"][0]["dependencies"]
        .as_array()
        .expect("a list")
    {
        if dependency["name"] == "tornadose" {
            for feature in dependency["features"].as_array().expect("a list") {
                let feature = feature.as_str().expect("a text");
                assert!(ours().has_feature(feature), "{place}: no feature {feature}");
            }
        }
    }
}

fn read_manifest(path: &Path) -> Result<Value, String> {
    let read = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
            "--manifest-path",
        ])
        .arg(path)
        .output()
        .expect("cargo");
    match read.status.success() {
        true => Ok(serde_json::from_slice(&read.stdout).expect("JSON")),
        false => Err(String::from_utf8_lossy(&read.stderr).into_owned()),
    }
}

/// What there is in this package.
struct Package(Value);

fn ours() -> &'static Package {
    static OURS: OnceLock<Package> = OnceLock::new();
    OURS.get_or_init(|| {
        let read = read_manifest(&Path::new(ROOT).join("Cargo.toml")).expect("our own");
        let packages = read["packages"].as_array().expect("a list");
        let ours = packages
            .iter()
            .find(|package| package["name"] == "tornadose");
        Package(ours.expect("this one").clone())
    })
}

impl Package {
    fn has_feature(&self, name: &str) -> bool {
        self.0["features"].get(name).is_some()
    }

    /// Whether one of these features is this one or brings it.
    fn gives(&self, given: &[&str], wanted: &str) -> bool {
        given.iter().any(|name| {
            let brought = self.0["features"][*name].as_array();
            let brought: Vec<_> = brought
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            *name == wanted || (!brought.is_empty() && self.gives(&brought, wanted))
        })
    }

    /// The features that an example, a test or a bench needs.
    fn target(&self, kind: &str, name: &str) -> Option<Vec<String>> {
        let targets = self.0["targets"].as_array()?;
        let found = targets
            .iter()
            .find(|target| target["kind"][0] == kind && target["name"] == name);
        let needed = found?["required-features"].as_array();
        let needed = needed.into_iter().flatten().filter_map(Value::as_str);
        Some(needed.map(str::to_owned).collect())
    }
}

/// Commands within lines are looked at, too, as far as they name something of ours.
#[test]
fn commands_in_prose_name_what_is_there() {
    let mut count = 0;
    for page in Page::all() {
        for (line, text) in page.prose() {
            for code in text.split('`').skip(1).step_by(2) {
                let is_ours = ["cargo run ", "cargo test "]
                    .iter()
                    .any(|start| code.starts_with(start));
                if is_ours && !code.contains('<') {
                    look_at(code, &format!("{}:{line}", page.path));
                    count += 1;
                }
            }
        }
    }
    assert!(count >= 15, "{count}");
}

#[test]
fn what_is_not_there_is_found_out() {
    look(
        "A=b cargo run --example redis --features redis -- --example x # x",
        "here",
    );
    look(
        "cargo add tornadose --features serve\ncurl -N 'http://x/?a&b' | cargo test --test http",
        "here",
    );
    for bad in [
        "cargo run --example nothing",
        "cargo run --example redis",
        "cargo test --test nothing",
        "cargo test --features nothing",
        "cargo add nothing",
        "cargo run --manifest-path nothing/Cargo.toml",
        "tests/nothing",
        "nothing",
        "curl x | nothing",
    ] {
        let looked = std::panic::catch_unwind(|| look(bad, "here"));
        assert!(looked.is_err(), "{bad}");
    }
    manifest(
        "[dependencies]\ntornadose = { version = \"0.1\", features = [\"serve\"] }\n",
        "here",
    );
    for bad in [
        "[dependencies\n",
        "[dependencies]\ntornadose = { version = \"0.1\", features = [\"nothing\"] }\n",
    ] {
        assert!(
            std::panic::catch_unwind(|| manifest(bad, "there")).is_err(),
            "{bad}"
        );
    }
}
