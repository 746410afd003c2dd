//! Who follows the guide has what its programs use.

use std::collections::BTreeSet;

use crate::fences::features;
use crate::pages::Page;
use crate::shell::{added, dependencies};

#[test]
fn each_page_of_the_guide_has_added_what_its_programs_use() {
    let mut pages = Page::all();
    pages.retain(|page| page.path.starts_with("docs/guide/") && !page.path.ends_with("README.md"));
    assert!(pages.len() >= 10);
    let mut there = BTreeSet::new();
    for page in &pages {
        for fence in page.fences() {
            match fence.info.split(',').next() {
                Some("sh") => there.extend(added(&fence.text)),
                Some("rust") => {
                    for name in dependencies() {
                        let is_used = uses(&fence.text, &name.replace('-', "_"));
                        let place = format!("{}:{}", page.path, fence.line);
                        assert!(
                            !is_used || there.contains(&name),
                            "{place}: {name} was not added"
                        );
                    }
                }
                _ => {}
            }
        }
        for feature in features(page) {
            let wanted = format!("tornadose/{feature}");
            assert!(
                there.contains(&wanted),
                "{}: {wanted} was not added",
                page.path
            );
        }
    }
}

/// Whether a path begins with this crate.
fn uses(code: &str, name: &str) -> bool {
    code.match_indices(&format!("{name}::")).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

#[test]
fn crates_are_found_by_their_paths() {
    for (code, is_used) in [
        ("use http::Request;", true),
        ("axum::http::Request", false),
        ("my_http::Request", false),
        ("(http::Request)", true),
        ("http", false),
    ] {
        assert_eq!(uses(code, "http"), is_used, "{code}");
    }
}
