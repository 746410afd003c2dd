//! Opening a log: making it, checking it, and saving what can be read of a damaged one.
//!
//! | what is there | what is done |
//! |---|---|
//! | nothing, or an empty file | a new log is made, under another name until it is whole |
//! | a file that redb finds whole | it is read from end to end |
//! | a file that redb finds damaged | it is read as far as that goes, into a new file; the damaged one is set aside |
//! | a file of which not even the identity can be read | an error; or, if that was asked for, it is set aside and a new log made |

use std::fs;
use std::io;
use std::path::PathBuf;

use redb::{Builder, Database, ReadableDatabase, ReadableTable};

use super::disk::{Directory, Disk, Trouble};
use super::error::Fault;
use super::file::{LATEST, LOG, LogFile, ONCE, State, contained};
use super::record::Whole;

/// What redb keeps in memory of the file.
const CACHE: usize = 16 << 20;

/// A copy is made in steps of so many records.
const STEP: usize = 4096;

/// A log that is open.
pub(super) struct Opened {
    pub(super) file: LogFile,
    pub(super) state: State,
    pub(super) trouble: Trouble,
    /// Where the file is that had to be set aside.
    pub(super) set_aside: Option<PathBuf>,
}

/// Opens the log of this directory. `recover`: also if nothing of it can be read.
pub(super) fn open(directory: &Directory, recover: bool) -> Result<Opened, Fault> {
    directory.remove(&directory.draft())?;
    let is_there = match fs::metadata(directory.log()) {
        Ok(metadata) => metadata.len() > 0,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error.into()),
    };
    if !is_there {
        make(directory)?;
        directory.publish()?;
        return check(directory);
    }
    let broken = match check(directory) {
        Err(Fault::Broken(why)) => why,
        opened => return opened,
    };
    match save(directory) {
        Err(Fault::Broken(_)) if recover => make(directory)?,
        Err(Fault::Broken(_)) => return Err(Fault::Broken(broken)),
        saved => saved?,
    }
    let set_aside = directory.set_aside()?;
    directory.publish()?;
    Ok(Opened {
        set_aside: Some(set_aside),
        ..check(directory)?
    })
}

/// Puts everything that the file holds into another one, which takes its place: of a file
/// that could not be made durable nobody knows what is on the disk.
pub(super) fn rewrite(directory: &Directory) -> Result<(), Fault> {
    let Opened { file, trouble, .. } = check(directory)?;
    copy(&file.db, &trouble, directory)?;
    close(file)?;
    directory.publish()
}

/// Opens what is there if every page of it is what redb has written.
fn check(directory: &Directory) -> Result<Opened, Fault> {
    let disk = directory.backend(&directory.log(), false)?;
    let trouble = disk.trouble();
    let loaded = database(disk, true).and_then(LogFile::load);
    let (file, state) = loaded.map_err(|fault| trouble.judge(fault))?;
    Ok(Opened {
        file,
        state,
        trouble,
        set_aside: None,
    })
}

fn database(disk: Disk, check: bool) -> Result<Database, Fault> {
    contained(|| {
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE);
        builder.set_check_integrity_on_open(check);
        Ok(builder.create_with_backend(disk)?)
    })
}

/// Makes a new log, as a draft.
fn make(directory: &Directory) -> Result<(), Fault> {
    let epoch = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
    directory.remove(&directory.draft())?;
    let disk = directory.backend(&directory.draft(), true)?;
    let made = LogFile::make(database(disk, false)?, epoch, 1)?;
    close(made)
}

/// Makes a log of what can be read of the one that is there, as a draft: all up to where
/// it cannot be read any more. It is opened for reading alone: redb panics at some damaged
/// files, which is contained, and when it lets go of one that it may write, again, which
/// would end the process.
fn save(directory: &Directory) -> Result<(), Fault> {
    let disk = directory.backend(&directory.log(), false)?;
    let trouble = disk.trouble();
    let opened = contained(|| {
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE);
        Ok(builder.open_read_only_with_backend(disk)?)
    });
    let from = opened.map_err(|fault| trouble.judge(fault))?;
    copy(&from, &trouble, directory)
}

/// Copies what can be read to a draft.
fn copy(
    from: &impl ReadableDatabase,
    trouble: &Trouble,
    directory: &Directory,
) -> Result<(), Fault> {
    let identity = LogFile::identity(from);
    let (epoch, next) = identity.map_err(|fault| trouble.judge(fault))?;
    directory.remove(&directory.draft())?;
    let disk = directory.backend(&directory.draft(), true)?;
    let to = LogFile::make(database(disk, false)?, epoch, next)?;
    copy_log(from, trouble, &to)?;
    copy_rest(from, trouble, &to)?;
    close(to)
}

fn close(file: LogFile) -> Result<(), Fault> {
    contained(|| Ok(file.db.close()?))
}

/// Copies the events, from the first whole one on, as far as they follow each other.
fn copy_log(from: &impl ReadableDatabase, trouble: &Trouble, to: &LogFile) -> Result<(), Fault> {
    let mut next = None;
    loop {
        let mut step = Vec::new();
        let read = contained(|| {
            let log = from.begin_read()?.open_table(LOG)?;
            for entry in log.range(next.unwrap_or(0)..)? {
                let (offset, record) = entry?;
                let (offset, record) = (offset.value(), record.value());
                let is_whole = || Whole::of(to.epoch, offset, record).is_some();
                match next {
                    None if !is_whole() => continue,
                    Some(next) if next != offset => return Err(Fault::broken("a hole")),
                    _ => {}
                }
                next = offset.checked_add(1);
                step.push((offset, record.to_vec()));
                if step.len() == STEP || next.is_none() {
                    break;
                }
            }
            Ok(())
        });
        let is_end = unless_damaged(read, trouble)?;
        contained(|| {
            let change = to.db.begin_write()?;
            let mut log = change.open_table(LOG)?;
            for (offset, record) in &step {
                log.insert(offset, record.as_slice())?;
            }
            drop(log);
            Ok(change.commit()?)
        })?;
        if is_end || step.len() < STEP {
            return Ok(());
        }
    }
}

/// Whether what is damaged has been come to.
fn unless_damaged(read: Result<(), Fault>, trouble: &Trouble) -> Result<bool, Fault> {
    match read.map_err(|fault| trouble.judge(fault)) {
        Ok(()) => Ok(false),
        Err(Fault::Broken(_)) => Ok(true),
        Err(fault) => Err(fault),
    }
}

/// Copies the newest events and the keys.
fn copy_rest(from: &impl ReadableDatabase, trouble: &Trouble, to: &LogFile) -> Result<(), Fault> {
    let (mut latest, mut once) = (Vec::new(), Vec::new());
    let read_latest = contained(|| {
        for entry in from.begin_read()?.open_table(LATEST)?.iter()? {
            let (topic, value) = entry?;
            latest.push((topic.value().to_vec(), value.value().to_vec()));
        }
        Ok(())
    });
    let read_once = contained(|| {
        for entry in from.begin_read()?.open_table(ONCE)?.iter()? {
            let (offset, value) = entry?;
            once.push((offset.value(), value.value().to_vec()));
        }
        Ok(())
    });
    unless_damaged(read_latest, trouble)?;
    unless_damaged(read_once, trouble)?;
    contained(|| {
        let change = to.db.begin_write()?;
        {
            let mut table = change.open_table(LATEST)?;
            for (topic, value) in &latest {
                table.insert(topic.as_slice(), value.as_slice())?;
            }
            let mut table = change.open_table(ONCE)?;
            for (offset, value) in &once {
                table.insert(offset, value.as_slice())?;
            }
        }
        Ok(change.commit()?)
    })
}
