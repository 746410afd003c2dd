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

    /// What follows on this log, whose next offset this is.
    pub(super) fn entries(&mut self, epoch: u64, next: u64) -> io::Result<Vec<Entry>> {
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(0))?;
        self.file.read_to_end(&mut bytes)?;
        let (mut entries, mut rest, mut next) = (Vec::new(), bytes.as_slice(), next);
        let mut run = None;
        while let Some((entry, tag)) = read(epoch, &mut rest) {
            // What another opening has left behind a torn end is not what follows.
            if entry.offset > next || tag != *run.get_or_insert(tag) {
                break;
            }
            if entry.offset == next {
                next = next.saturating_add(1);
                entries.push(entry);
            }
        }
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
        self.file.set_len(0)?;
        self.len = 0;
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

fn read(epoch: u64, rest: &mut &[u8]) -> Option<(Entry, u32)> {
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
    let whole = Whole::of(epoch, offset, record)?;
    let topic = whole.topic()?;
    let key = (flags & HAS_KEY != 0).then_some(std::str::from_utf8(key).ok()?);
    let entry = Entry {
        offset,
        latest: (flags & IS_LATEST != 0).then_some(topic),
        key: key.map(Into::into),
        record: record.to_vec(),
    };
    Some((entry, whole.tag()))
}
