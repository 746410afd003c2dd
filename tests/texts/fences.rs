//! Every block of code is of a kind that something looks at, and is looked at.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::pages::{Fence, Page};
use crate::shell;
use crate::wire;

const LIB: &str = include_str!("../../src/lib.rs");
const RUN: &str = include_str!("../run");

#[test]
fn every_block_is_looked_at() {
    let mut seen = BTreeSet::new();
    for page in Page::all() {
        for fence in page.fences() {
            let place = format!("{}:{}", page.path, fence.line);
            look(&page, &fence, &place);
            seen.insert(fence.info.split(',').next().unwrap_or_default().to_owned());
        }
    }
    for kind in ["rust", "sh", "js", "text", "http", "sse", "json"] {
        assert!(
            seen.contains(kind),
            "no block of {kind}: is anything looked at?"
        );
    }
}

fn look(page: &Page, fence: &Fence, place: &str) {
    let mut info = fence.info.split(',');
    let kind = info.next().unwrap_or_default();
    let attributes: Vec<_> = info.collect();
    match kind {
        "rust" => {
            let good = ["no_run", "should_panic", "compile_fail"];
            let is_good = attributes.iter().all(|attribute| good.contains(attribute));
            assert!(is_good, "{place}: is not compiled: {}", fence.info);
            let path = format!("include_str!(\"../{}\")", page.path);
            assert!(
                LIB.contains(&path),
                "{place}: `mod texts` of src/lib.rs has no {}",
                page.path
            );
            // Pages stand in programs, too.
            html(&fence.text, place);
        }
        "sh" => shell::look(&fence.text, place),
        "js" => js(&fence.text, place),
        "html" => html(&fence.text, place),
        "json" => {
            let values = serde_json::Deserializer::from_str(&fence.text);
            let values: Result<Vec<serde_json::Value>, _> = values.into_iter().collect();
            assert!(
                values.is_ok_and(|values| !values.is_empty()),
                "{place}: no JSON"
            );
        }
        "toml" => shell::manifest(&fence.text, place),
        "python" => {
            let check = "import ast, sys; ast.parse(sys.stdin.read())";
            pipe("python3", &["-c", check], &fence.text, place);
        }
        // Made, to the byte, by `wire`.
        "http" | "sse" => assert_eq!(page.path, wire::PAGE, "{place}"),
        // What somebody has who comes from there; no Go is installed.
        "go" => assert!(page.path.starts_with("docs/migration/"), "{place}: Go"),
        // What something has printed, a picture, a grammar.
        "text" => {}
        "" => panic!("{place}: say what it is; output is `text`"),
        other => panic!("{place}: nothing looks at {other}"),
    }
}

fn js(code: &str, place: &str) {
    let dir = std::env::temp_dir();
    let name = format!(
        "tornadose-texts-{}-{}.mjs",
        std::process::id(),
        place.replace(['/', ':'], "-")
    );
    let path = dir.join(name);
    fs::write(&path, code).expect("a writable folder");
    let checked = Command::new("node").arg("--check").arg(&path).output();
    fs::remove_file(&path).expect("it is there");
    let checked = checked.expect("node, which tests/install installs");
    let told = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{place}: {told}");
}

/// Its scripts; that is all that can be wrong in HTML.
fn html(text: &str, place: &str) {
    for script in text.split("<script").skip(1) {
        let (head, code) = script.split_once('>').expect("the end of a tag");
        let code = code.split_once("</script>").expect("the end of a script").0;
        if !head.contains("src=") {
            js(code, place);
        }
    }
}

fn pipe(program: &str, arguments: &[&str], input: &str, place: &str) {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}, which tests/install installs: {error}"));
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    let checked = child.wait_with_output().expect("it ends");
    let told = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{place}: {told}");
}

/// A page whose features nobody gives is not compiled, and nobody would notice.
#[test]
fn every_page_is_compiled_where_all_tests_run() {
    let given = RUN
        .lines()
        .find_map(|line| line.strip_prefix("cargo test --features "));
    let given = given
        .expect("the main line")
        .split(' ')
        .next()
        .unwrap_or_default();
    let mut given: BTreeSet<_> = given.split(',').collect();
    // Those that bring others.
    given.extend(["hyper", "backplane", "redis"]);
    let texts = LIB.split_once("mod texts {").expect("the texts").1;
    let mut pages = 0;
    for attribute in texts.lines().map(str::trim) {
        pages += usize::from(attribute.starts_with("#[doc = include_str!"));
        if attribute.starts_with("#[cfg") {
            for feature in attribute.split('"').skip(1).step_by(2) {
                assert!(
                    given.contains(feature),
                    "{attribute}: tests/run has no {feature}"
                );
            }
        }
    }
    assert!(pages >= 15, "{pages}");
}

/// The features without which a page is not compiled.
pub(crate) fn features(page: &Page) -> Vec<String> {
    let include = format!("include_str!(\"../{}\")", page.path);
    let before = LIB.split_once(&include).expect("in `mod texts`").0;
    let mut lines = before.lines().rev().skip(1);
    let cfg = lines
        .next()
        .filter(|line| line.trim().starts_with("#[cfg("))
        .unwrap_or_default();
    cfg.split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}
