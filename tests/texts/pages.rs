//! Markdown, as far as these texts use it.

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Folders with texts in them, beside those of the root itself.
const FOLDERS: [&str; 4] = ["docs", "examples", "benches", "tests"];

pub(crate) struct Page {
    /// From the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// A block of code.
pub(crate) struct Fence {
    /// Where it begins, from 1 on.
    pub(crate) line: usize,
    /// What stands behind the backticks.
    pub(crate) info: String,
    /// Whole lines.
    pub(crate) text: String,
    /// The line in front of it, if that is a comment.
    pub(crate) comment: Option<String>,
}

impl Page {
    pub(crate) fn read(path: &str) -> Self {
        let text = fs::read_to_string(Path::new(ROOT).join(path));
        Self {
            path: path.to_owned(),
            text: text.unwrap_or_else(|error| panic!("{path}: {error}")),
        }
    }

    /// Every text of the project.
    pub(crate) fn all() -> Vec<Self> {
        let mut paths = markdown(Path::new(ROOT), false);
        for folder in FOLDERS {
            paths.extend(markdown(&Path::new(ROOT).join(folder), true));
        }
        paths.sort();
        let relative = |path: &PathBuf| {
            let path = path.strip_prefix(ROOT).expect("inside");
            path.to_str().expect("UTF-8").replace('\\', "/")
        };
        paths
            .iter()
            .map(|path| Self::read(&relative(path)))
            .collect()
    }

    pub(crate) fn fences(&self) -> Vec<Fence> {
        let mut fences = Vec::new();
        let mut open: Option<Fence> = None;
        let mut before = "";
        for (at, line) in self.text.lines().enumerate() {
            let bare = line.trim_start();
            match (&mut open, bare.strip_prefix("```")) {
                (None, Some(info)) => {
                    let comment = before.strip_prefix("<!-- ");
                    let comment = comment.and_then(|comment| comment.strip_suffix(" -->"));
                    open = Some(Fence {
                        line: at + 1,
                        info: info.trim().to_owned(),
                        text: String::new(),
                        comment: comment.map(str::to_owned),
                    });
                }
                (Some(_), Some("")) => fences.extend(open.take()),
                (Some(fence), _) => {
                    fence.text += line;
                    fence.text.push('\n');
                }
                (None, None) => {}
            }
            before = line;
        }
        assert!(open.is_none(), "{}: a block has no end", self.path);
        fences
    }

    /// The lines that stand in no block of code, with their numbers.
    pub(crate) fn prose(&self) -> Vec<(usize, &str)> {
        let mut is_code = false;
        let lines = self.text.lines().enumerate();
        lines
            .filter(|(_, line)| {
                let is_fence = line.trim_start().starts_with("```");
                is_code ^= is_fence;
                !is_code && !is_fence
            })
            .map(|(at, line)| (at + 1, line))
            .collect()
    }
}

fn markdown(folder: &Path, is_deep: bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    for entry in entries {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if path.is_dir() && is_deep && !matches!(name, "target" | "node_modules") {
            found.extend(markdown(&path, true));
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
    found
}

#[test]
fn blocks_are_told_from_prose() {
    let page = Page {
        path: "x.md".to_owned(),
        text: "a\n```rust,no_run\nlet x;\n\n```\nb\n<!-- wire: y -->\n```sse\n:\n\n```\n"
            .to_owned(),
    };
    let fences = page.fences();
    let told: Vec<_> = fences
        .iter()
        .map(|fence| {
            (
                fence.line,
                &*fence.info,
                &*fence.text,
                fence.comment.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (2, "rust,no_run", "let x;\n\n", None),
            (8, "sse", ":\n\n", Some("wire: y")),
        ]
    );
    let prose: Vec<_> = page.prose().into_iter().map(|(_, line)| line).collect();
    assert_eq!(prose, ["a", "b", "<!-- wire: y -->"]);
}
