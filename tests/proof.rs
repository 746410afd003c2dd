//! docs/proof.md names the test that shows a promise; this fails when there is none.

use std::fs;
use std::path::Path;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn every_test_that_is_named_is_there() {
    let page = fs::read_to_string(Path::new(ROOT).join("docs/proof.md")).expect("the page");
    let named: Vec<_> = page.split('`').skip(1).step_by(2).collect();
    let named = named.iter().filter_map(|code| code.split_once(".rs::"));
    let mut count = 0;
    for (file, test) in named {
        let code = fs::read_to_string(Path::new(ROOT).join(format!("{file}.rs")));
        let code = code.unwrap_or_else(|error| panic!("{file}.rs: {error}"));
        assert!(is_test(&code, test), "{file}.rs has no test `{test}`");
        count += 1;
    }
    assert!(count >= 36, "{count}");
}

/// Whether `#[test]`, or another attribute that ends so, stands before the function.
fn is_test(code: &str, name: &str) -> bool {
    let lines: Vec<_> = code.lines().map(str::trim_start).collect();
    let found = lines.iter().position(|line| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        line.starts_with(&format!("fn {name}("))
    });
    found.is_some_and(|at| {
        let attributes = lines[..at].iter().rev();
        attributes
            .take_while(|line| line.starts_with("#["))
            .any(|line| line.contains("test"))
    })
}

#[test]
fn what_is_no_test_is_not_found() {
    let code = "#[test]\n#[ignore]\nfn a() {}\n\nfn b() {}\n\n    #[tokio::test(x = 1)]\n    async fn c() {}\n";
    assert!(is_test(code, "a") && is_test(code, "c"));
    assert!(!is_test(code, "b") && !is_test(code, "d"));
}
