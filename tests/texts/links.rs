//! No link leads nowhere. Those to other sites are not followed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use crate::pages::{Page, ROOT};

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let pages = Page::all();
    let headings: BTreeMap<_, _> = pages
        .iter()
        .map(|page| (&*page.path, anchors(page)))
        .collect();
    let mut reached = BTreeSet::new();
    for page in &pages {
        for (line, target) in links(page) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let path = match path {
                "" => page.path.clone(),
                path => resolve(&page.path, path),
            };
            let place = format!("{}:{line}: {target}", page.path);
            let is_there = Path::new(ROOT).join(&path).exists();
            assert!(is_there, "{place}: no {path}");
            if !anchor.is_empty() {
                let headings = headings
                    .get(&*path)
                    .unwrap_or_else(|| panic!("{place}: no page"));
                assert!(
                    headings.iter().any(|heading| heading == anchor),
                    "{place}: no heading"
                );
            }
            if path != page.path {
                reached.insert(path);
            }
        }
    }
    // And to every page there is a way.
    for page in pages.iter().filter(|page| page.path.starts_with("docs/")) {
        assert!(
            reached.contains(&page.path),
            "nothing leads to {}",
            page.path
        );
    }
}

/// The targets of a page, with the lines they stand on.
fn links(page: &Page) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    let mut text = String::new();
    let mut starts = Vec::new();
    for (number, line) in page.prose() {
        starts.push((text.len(), number));
        text += &without_code(line);
        text.push('\n');
    }
    let line_of = |at: usize| {
        let found = starts.iter().rev().find(|(start, _)| *start <= at);
        found.map_or(0, |(_, number)| *number)
    };
    for (at, _) in text.match_indices("](") {
        let target = text[at + 2..].split_once(')').expect("the end of a link").0;
        links.push((line_of(at), target.to_owned()));
    }
    for (before, after) in [("src=\"", '"'), ("srcset=\"", '"'), ("href=\"", '"')] {
        for (at, _) in text.match_indices(before) {
            let target = text[at + before.len()..]
                .split_once(after)
                .expect("the end of an attribute")
                .0;
            links.push((line_of(at), target.to_owned()));
        }
    }
    links
}

/// Code is no link, whatever it looks like.
fn without_code(line: &str) -> String {
    let parts = line.split('`').enumerate();
    parts
        .map(|(at, part)| if at % 2 == 0 { part } else { "code" })
        .collect()
}

fn resolve(page: &str, target: &str) -> String {
    let mut path = PathBuf::from(page);
    path.pop();
    for part in Path::new(target).components() {
        match part {
            Component::ParentDir => assert!(path.pop(), "{page}: {target} leaves the project"),
            Component::Normal(part) => path.push(part),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    path.to_str().expect("UTF-8").replace('\\', "/")
}

/// The headings of a page as GitHub makes anchors of them.
fn anchors(page: &Page) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    for (_, line) in page.prose() {
        let text = line.trim_start_matches('#');
        if text.len() == line.len() || !text.starts_with(' ') {
            continue;
        }
        // Of a link its text.
        let mut plain = String::new();
        let mut rest = text.trim();
        while let Some((before, after)) = rest.split_once("](") {
            plain += before;
            rest = after.split_once(')').map_or("", |(_, rest)| rest);
        }
        plain += rest;
        let kept = plain.to_lowercase();
        let kept = kept
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let same = anchors.iter().filter(|other| **other == anchor).count();
        anchors.push(if same == 0 {
            anchor
        } else {
            format!("{anchor}-{same}")
        });
    }
    anchors
}

#[test]
fn links_and_headings_are_found() {
    let page = Page {
        path: "docs/guide/x.md".to_owned(),
        text: "# 1. A b-c: `d_e`\n## A [link](y.md), ok\n## A b\n## A b\n`[no](no.md)` [yes](../a.md#b)\n".to_owned(),
    };
    assert_eq!(anchors(&page), ["1-a-b-c-d_e", "a-link-ok", "a-b", "a-b-1"]);
    let links: Vec<_> = links(&page).into_iter().collect();
    assert_eq!(links, [(2, "y.md".to_owned()), (5, "../a.md#b".to_owned())]);
    assert_eq!(resolve("docs/guide/x.md", "../a.md"), "docs/a.md");
    assert_eq!(resolve("docs/guide/x.md", "../../README.md"), "README.md");
}
