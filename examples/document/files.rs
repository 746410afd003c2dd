//! The data: a directory of plain files, of which one app at a time is the owner.
//!
//! | file | what |
//! |---|---|
//! | `pages.jsonl` | a page in each line; made if it is not there |
//! | `comments.jsonl` | a comment in each line, in the order in which they were taken |
//! | `published` | in its last line how many of these have been published |
//!
//! A comment is there when it is on the disk (`fsync`). A line without an end is what a
//! process was writing when it was killed: nobody was told that it is there, so it is
//! removed. `published` is not synced. It may be behind, never ahead: what is published
//! again because of that has its key.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// The most bytes of a comment as JSON.
pub(crate) const MAX_COMMENT: usize = 64 << 10;

/// How many comments a directory takes.
const MAX_COMMENTS: usize = 100_000;

const SAMPLE: &str = include_str!("pages.jsonl");

#[derive(Deserialize)]
pub(crate) struct Page {
    /// Lower-case letters, digits and `-`.
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) text: String,
    /// Only for who has the token.
    #[serde(default)]
    pub(crate) is_private: bool,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Comment {
    pub(crate) page: String,
    /// From 1 on, of each page.
    pub(crate) number: usize,
    /// Which no other comment has.
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) text: String,
}

impl Comment {
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).expect("texts and a number")
    }
}

pub(crate) struct Files {
    pages: Vec<Page>,
    known: RwLock<Known>,
    /// Who writes waits for the disk, and who reads does not wait for that.
    comments: Mutex<Lines>,
    published: Mutex<File>,
    written: Notify,
    _dir: Dir,
}

/// What stands in the files.
#[derive(Default)]
struct Known {
    comments: Vec<Comment>,
    keys: HashSet<String>,
    /// Where in `comments` those of a page are.
    of: HashMap<String, Vec<usize>>,
    published: usize,
}

impl Files {
    /// What is in this directory, or a new one with the pages of the sample.
    pub(crate) fn open(dir: Option<PathBuf>) -> io::Result<Self> {
        let dir = Dir::open(dir)?;
        let path = |name| dir.path.join(name);
        let mut comments = Lines::open(&path("comments.jsonl"))?;
        let pages = match fs::read_to_string(path("pages.jsonl")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                replace(&path("pages.jsonl"), SAMPLE)?;
                SAMPLE.to_owned()
            }
            text => text?,
        };
        let pages: Vec<Page> = parse(&pages, "pages.jsonl")?;
        if pages.is_empty() || !pages.iter().all(|page| is_name(&page.name)) {
            return Err(invalid(
                "pages.jsonl: a page needs a name of a-z, 0-9 and -",
            ));
        }
        let mut known = Known::default();
        for comment in parse(&comments.text()?, "comments.jsonl")? {
            known.add(comment);
        }
        let noted = fs::read_to_string(path("published")).unwrap_or_default();
        // The last whole line.
        let noted = noted.rsplit('\n').nth(1).and_then(|line| line.parse().ok());
        known.published = noted.unwrap_or(0).min(known.comments.len());
        replace(
            &path("published"),
            &format!(
                "{}
",
                known.published
            ),
        )?;
        dir.sync()?;
        let published = OpenOptions::new().append(true).open(path("published"))?;
        Ok(Self {
            pages,
            known: RwLock::new(known),
            comments: Mutex::new(comments),
            published: Mutex::new(published),
            written: Notify::new(),
            _dir: dir,
        })
    }

    pub(crate) fn pages(&self) -> &[Page] {
        &self.pages
    }

    pub(crate) fn page(&self, name: &str) -> Option<&Page> {
        self.pages.iter().find(|page| page.name == name)
    }

    /// How many comments there are of a page.
    pub(crate) fn count(&self, page: &str) -> usize {
        self.known().of.get(page).map_or(0, Vec::len)
    }

    /// The newest comments of a page with a greater number than this, so many at most, the
    /// oldest first.
    pub(crate) fn after(&self, page: &str, number: usize, most: usize) -> Vec<Comment> {
        let known = self.known();
        let of = known.of.get(page).map(Vec::as_slice).unwrap_or_default();
        let new = of.get(number..).unwrap_or_default();
        let newest = &new[new.len().saturating_sub(most)..];
        newest
            .iter()
            .map(|at| known.comments[*at].clone())
            .collect()
    }

    /// Writes a comment and waits until it is on the disk. Returns its number. One that is
    /// there, by its key, is not written again; another one with the same key
    /// (`AlreadyExists`) is not taken.
    pub(crate) fn write(
        &self,
        page: &str,
        key: String,
        name: String,
        text: String,
    ) -> io::Result<usize> {
        let mut comments = lock(&self.comments);
        let known = self.known();
        if known.keys.contains(&key) {
            let is_it = |comment: &&Comment| comment.key == key;
            let there = known.comments.iter().rev().find(is_it);
            let is_same = |comment: &&Comment| {
                comment.page == page && comment.name == name && comment.text == text
            };
            return match there.filter(is_same) {
                Some(comment) => Ok(comment.number),
                None => Err(io::ErrorKind::AlreadyExists.into()),
            };
        }
        if known.comments.len() >= MAX_COMMENTS {
            return Err(io::ErrorKind::StorageFull.into());
        }
        drop(known);
        let number = self.count(page) + 1;
        let page = page.to_owned();
        let comment = Comment {
            page,
            number,
            key,
            name,
            text,
        };
        comments.append(&comment.json())?;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.add(comment);
        drop((known, comments));
        self.written.notify_one();
        Ok(number)
    }

    /// The oldest comment that has not been published.
    pub(crate) fn first_unpublished(&self) -> Option<Comment> {
        let known = self.known();
        known.comments.get(known.published).cloned()
    }

    /// That one has been.
    pub(crate) fn has_published(&self) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.published += 1;
        let line = format!("{}\n", known.published);
        drop(known);
        // Without it, it is published again: under its key.
        let _ = lock(&self.published).write_all(line.as_bytes());
    }

    /// Waits until something has been written since it was asked last.
    pub(crate) async fn written(&self) {
        self.written.notified().await;
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn add(&mut self, comment: Comment) {
        self.keys.insert(comment.key.clone());
        let of = self.of.entry(comment.page.clone()).or_default();
        of.push(self.comments.len());
        self.comments.push(comment);
    }
}

/// Letters that need no care in paths, topics and keys.
pub(crate) fn is_name(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(is_letter)
}

/// A file of lines, which nobody else writes.
struct Lines {
    file: File,
    /// Of whole lines.
    len: u64,
    /// What the disk has is not known, or not what it should be: nothing is added to that.
    is_broken: bool,
}

impl Lines {
    fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).open(path)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => invalid("comments.jsonl: another app has it"),
            TryLockError::Error(error) => error,
        })?;
        Ok(Self {
            file,
            len: 0,
            is_broken: false,
        })
    }

    /// All whole lines; what is behind them is removed.
    fn text(&mut self) -> io::Result<String> {
        let mut bytes = Vec::new();
        self.file.read_to_end(&mut bytes)?;
        let end = bytes.iter().rposition(|byte| *byte == b'\n');
        bytes.truncate(end.map_or(0, |end| end + 1));
        self.len = bytes.len() as u64;
        self.file.set_len(self.len)?;
        self.file.sync_all()?;
        String::from_utf8(bytes).map_err(|_| invalid("comments.jsonl: not UTF-8"))
    }

    fn append(&mut self, line: &str) -> io::Result<()> {
        if self.is_broken {
            return Err(invalid("comments.jsonl: a write has failed"));
        }
        let line = format!("{line}\n");
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            // As if it had never been begun.
            self.is_broken = self.file.set_len(self.len).is_err();
            return Err(error);
        }
        if let Err(error) = self.file.sync_data() {
            let _ = self.file.set_len(self.len);
            self.is_broken = true;
            return Err(error);
        }
        self.len += line.len() as u64;
        Ok(())
    }
}

/// Where the files are.
struct Dir {
    path: PathBuf,
    is_temporary: bool,
}

impl Dir {
    fn open(path: Option<PathBuf>) -> io::Result<Self> {
        if let Some(path) = path {
            fs::create_dir_all(&path)?;
            return Ok(Self {
                path,
                is_temporary: false,
            });
        }
        let name = format!("tornadose-document-{:016x}", fastrand::u64(..));
        let path = std::env::temp_dir().join(name);
        // Not one that somebody else has put there.
        fs::create_dir(&path)?;
        Ok(Self {
            path,
            is_temporary: true,
        })
    }

    /// A file is there when its name is, too.
    #[cfg(unix)]
    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    #[cfg(not(unix))]
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes all of a file, or leaves it as it is.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    // Or there would be an empty one after a loss of power.
    file.sync_all()?;
    fs::rename(new, path)
}

impl Drop for Dir {
    fn drop(&mut self) {
        if self.is_temporary {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn parse<T: for<'a> Deserialize<'a>>(text: &str, file: &str) -> io::Result<Vec<T>> {
    let lines = text.lines().enumerate();
    lines
        .map(|(at, line)| {
            serde_json::from_str(line)
                .map_err(|error| invalid(&format!("{file}, line {}: {error}", at + 1)))
        })
        .collect()
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
