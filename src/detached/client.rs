//! A client of a shard.

use std::io::{ErrorKind, Read};
use std::net;

use mio::net::TcpStream;
use tokio::time::Instant;

use super::stream::{Lean, Own};
use crate::socket::Slot;

/// A client has nothing to say once it has asked; who says more than this, however slowly,
/// is sent away.
const CHATTER: u32 = 64 << 10;

/// One client: its socket, and who looks after what is sent to it.
pub(super) struct Stream {
    pub(super) socket: TcpStream,
    pub(super) role: Role,
    /// When the shard looks at it in any case.
    pub(super) timer: Option<Instant>,
    /// How many bytes its client has said.
    heard: u32,
    _slot: Option<Slot>,
}

pub(super) enum Role {
    Own(Box<Own>),
    /// By the feed, at this place.
    Fed(u32, u32, Box<Lean>),
    /// It is over, and its client has yet to hang up.
    Closing,
    /// Between two others.
    None,
}

impl Stream {
    pub(super) fn new(socket: net::TcpStream, slot: Option<Slot>) -> Self {
        Self {
            socket: TcpStream::from_std(socket),
            role: Role::None,
            timer: None,
            heard: 0,
            _slot: slot,
        }
    }

    /// Whether it is fed and has to look after itself again.
    pub(super) fn has_to_leave(&self) -> bool {
        matches!(&self.role, Role::Fed(_, _, lean) if lean.has_to_leave())
    }

    /// Whether its client is gone, or has said more than anybody has to say.
    pub(super) fn hangs_up(&mut self, scratch: &mut Vec<u8>) -> bool {
        scratch.resize(scratch.len().max(4096), 0);
        loop {
            match self.socket.read(scratch) {
                Ok(0) => return true,
                Ok(bytes) => self.heard = self.heard.saturating_add(bytes as u32),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return true,
            }
            if self.heard > CHATTER {
                return true;
            }
        }
    }
}
