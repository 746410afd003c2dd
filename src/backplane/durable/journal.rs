//! What has been answered and is not in the log durably yet ([`Fsync::Every`](super::Fsync)).
//!
//! redb keeps a change that it was not told to make durable in the memory of the process
//! alone. So such a change is written here first, and the system has it when the process is
//! killed. What is read back is what is whole and follows on the log, up to where that ends;
//! so a torn end, or the whole of an old journal, does no harm.
//!
//! ```text
//! length │ crc32 │ offset │ flags │ key length │ key │ record
//!      4 │     4 │      8 │     1 │          4 │
//! ```

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::file::Entry;
use super::record::{Whole, checksum, take};

const IS_LATEST: u8 = 1;
const HAS_KEY: u8 = 2;

pub(super) struct Journal {
    file: File,
    len: u64,
    buffer: Vec<u8>,
}

impl Journal {
    /// The journal that is there, or a new one.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let len = file.metadata()?.len();
        Ok(Self {
            file,
            len,
            buffer: Vec::new(),
        })
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// What follows on this log, whose next offset this is. What is torn is cut off.
    pub(super) fn entries(&mut self, epoch: u64, next: u64) -> io::Result<Vec<Entry>> {
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(0))?;
        self.file.read_to_end(&mut bytes)?;
        let (mut entries, mut rest, mut next) = (Vec::new(), bytes.as_slice(), next);
        let mut whole = rest.len();
        while let Some(entry) = read(epoch, &mut rest) {
            if entry.offset > next {
                break;
            }
            if entry.offset == next {
                next = next.saturating_add(1);
                entries.push(entry);
            }
            whole = rest.len();
        }
        self.cut(u64::try_from(bytes.len() - whole).unwrap_or(u64::MAX))?;
        Ok(entries)
    }

    /// Hands these to the system. If it does not take them, there is nothing of them here.
    pub(super) fn append(&mut self, epoch: u64, entries: &[Entry]) -> io::Result<()> {
        self.buffer.clear();
        for entry in entries {
            write(epoch, entry, &mut self.buffer);
        }
        self.file.seek(SeekFrom::Start(self.len))?;
        if let Err(error) = self.file.write_all(&self.buffer) {
            self.file.set_len(self.len)?;
            return Err(error);
        }
        self.len += u64::try_from(self.buffer.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Everything is in the log.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.cut(0)
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        if len != self.len {
            self.file.set_len(len)?;
            self.len = len;
        }
        Ok(())
    }
}

fn write(epoch: u64, entry: &Entry, buffer: &mut Vec<u8>) {
    let key = entry.key.as_deref().unwrap_or_default().as_bytes();
    let mut flags = if entry.latest.is_some() { IS_LATEST } else { 0 };
    flags |= if entry.key.is_some() { HAS_KEY } else { 0 };
    let key_len = u32::try_from(key.len()).unwrap_or(u32::MAX).to_le_bytes();
    let parts = [&[flags][..], &key_len, key, &entry.record];
    let len = parts.iter().map(|part| part.len()).sum::<usize>();
    buffer.extend(u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
    buffer.extend(checksum(epoch, entry.offset, &parts).to_le_bytes());
    buffer.extend(entry.offset.to_le_bytes());
    parts.iter().for_each(|part| buffer.extend(*part));
}

fn read(epoch: u64, rest: &mut &[u8]) -> Option<Entry> {
    let len = usize::try_from(u32::from_le_bytes(take(rest)?)).ok()?;
    let crc = u32::from_le_bytes(take(rest)?);
    let offset = u64::from_le_bytes(take(rest)?);
    let (mut body, behind) = rest.split_at_checked(len)?;
    *rest = behind;
    if crc != checksum(epoch, offset, &[body]) {
        return None;
    }
    let [flags] = take(&mut body)?;
    let key_len = usize::try_from(u32::from_le_bytes(take(&mut body)?)).ok()?;
    let (key, record) = body.split_at_checked(key_len)?;
    let topic = Whole::of(epoch, offset, record)?.topic()?;
    let key = (flags & HAS_KEY != 0).then_some(std::str::from_utf8(key).ok()?);
    Some(Entry {
        offset,
        latest: (flags & IS_LATEST != 0).then_some(topic),
        key: key.map(Into::into),
        record: record.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::Append;
    use crate::backplane::durable::record::Draft;
    use crate::{Event, Topic};

    fn entry(offset: u64, data: &str) -> Entry {
        let topic: Topic = "t".parse().expect("a topic");
        let append = Append::new(topic.clone(), Event::new(data).once(data));
        let draft = Draft::of(&append).expect("an event");
        Entry {
            offset,
            latest: Some(topic),
            key: draft.key.clone(),
            record: draft.stamp(7, offset, 1, 2),
        }
    }

    fn offsets(entries: &[Entry]) -> Vec<u64> {
        entries.iter().map(|entry| entry.offset).collect()
    }

    /// What is appended behind a torn end is read again.
    #[test]
    fn a_torn_end_is_cut_off() {
        let path = std::env::temp_dir().join(format!("tornadose-journal-{}", std::process::id()));
        let mut journal = Journal::open(&path).expect("a journal");
        let entries: Vec<_> = (3..8).map(|offset| entry(offset, "x")).collect();
        journal.append(7, &entries).expect("written");
        let len = journal.len();
        for torn in (0..len).rev() {
            journal.file.set_len(torn).expect("cut");
            let mut journal = Journal::open(&path).expect("a journal");
            let found = journal.entries(7, 4).expect("read");
            let whole = 3 + torn * 5 / len;
            assert_eq!(offsets(&found), (4..whole.max(4)).collect::<Vec<_>>());
            journal
                .append(7, &[entry(whole.max(4), "y")])
                .expect("written");
            let found = journal.entries(7, 4).expect("read");
            assert_eq!(offsets(&found), (4..=whole.max(4)).collect::<Vec<_>>());
            assert_eq!(
                found.last().and_then(|entry| entry.key.as_deref()),
                Some("y")
            );
            assert!(found.iter().all(|entry| entry.latest.is_some()));
            // Of another log there is nothing.
            assert!(journal.entries(8, 4).expect("read").is_empty());
            assert_eq!(journal.len(), 0);
            journal.append(7, &entries).expect("written");
        }
        std::fs::remove_file(&path).expect("a file");
    }
}
