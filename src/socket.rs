//! What is asked of the system for a connection, and of its client: the only room that sets
//! an option of a socket.
//!
//! [`Server`](crate::Server) and [`Listener`](crate::Listener) have the same terms, under the
//! same names and with the same defaults.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::planted::planted;

/// What who has a connection's socket holds, if its server counts connections; the last
/// thing to drop.
pub(crate) type Slot = OwnedSemaphorePermit;

/// Settings of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// `SO_SNDBUF`, in bytes.
    pub(crate) send_buffer: Option<usize>,
    /// `TCP_NOTSENT_LOWAT`, in bytes.
    #[cfg_attr(
        not(any(target_os = "android", target_os = "linux")),
        allow(dead_code, reason = "nobody else has it")
    )]
    pub(crate) unsent: usize,
    pub(crate) stall: Duration,
    /// The least that a client takes in that time, in bytes.
    pub(crate) drain: usize,
}

impl Terms {
    pub(crate) const DEFAULT: Self = Self {
        send_buffer: None,
        unsent: 16 << 10,
        stall: Duration::from_secs(30),
        drain: 1,
    };

    /// Less would reset clients for a hiccup of ours.
    pub(crate) const SHORTEST: Duration = Duration::from_millis(10);

    /// The system gives a peer that is gone no less than this.
    const DEAD: Duration = Duration::from_secs(10);

    /// None of these is worth a connection: where the system refuses one, its own holds.
    pub(crate) fn tune(&self, socket: &SockRef<'_>) {
        // An event is worth a packet.
        let _ = socket.set_tcp_nodelay(true);
        if let Some(bytes) = self.send_buffer {
            let _ = socket.set_send_buffer_size(bytes);
        }
        #[cfg(any(target_os = "android", target_os = "linux"))]
        let _ = socket.set_tcp_notsent_lowat(u32::try_from(self.unsent).unwrap_or(u32::MAX));
        // Where nothing is sent for long, the system asks whether the peer is there.
        let dead = self.stall.clamp(Self::DEAD, Duration::from_secs(3600));
        let ask = TcpKeepalive::new().with_time(dead / 2);
        #[cfg(any(target_os = "android", target_os = "linux"))]
        let ask = ask.with_interval(dead / 4);
        let _ = socket.set_tcp_keepalive(&ask);
        #[cfg(any(target_os = "android", target_os = "linux"))]
        let _ = socket.set_tcp_user_timeout(Some(self.stall.max(Self::DEAD)));
    }
}

/// Has the kernel forget what waits for this client when the socket is closed, and the client
/// told so.
pub(crate) fn reset(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_linger(Some(Duration::ZERO))
}

/// A socket that may be full: since when, and what it has taken since.
#[derive(Debug, Default)]
pub(crate) struct Stall(Option<Full>);

#[derive(Debug)]
struct Full {
    since: Instant,
    taken: usize,
}

impl Stall {
    /// Everything has been taken.
    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }

    /// So many bytes have been taken.
    pub(crate) fn took(&mut self, bytes: usize) {
        if let Some(full) = &mut self.0 {
            full.taken = full.taken.saturating_add(bytes);
        }
    }

    /// Something waits for room from now on, if it did not before.
    pub(crate) fn waits(&mut self) {
        if planted("stall-reset-by-events") {
            self.0 = None;
        }
        self.0.get_or_insert_with(|| Full {
            since: Instant::now(),
            taken: 0,
        });
    }

    /// When to look again; `None` if nothing waits.
    pub(crate) fn due(&self, terms: &Terms) -> Option<Instant> {
        self.0.as_ref()?.since.checked_add(terms.stall)
    }

    /// Whether the client has taken less than it has to, in the time that it has for that.
    /// If it has not, it has as much time again.
    pub(crate) fn is_over(&mut self, terms: &Terms) -> bool {
        let Some(full) = &mut self.0 else {
            return false;
        };
        if full.since.elapsed() < terms.stall {
            return false;
        }
        let is_over = full.taken < terms.drain;
        *full = Full {
            since: Instant::now(),
            taken: 0,
        };
        is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms {
        stall: Duration::from_secs(30),
        drain: 100,
        ..Terms::DEFAULT
    };

    async fn after(stall: &mut Stall, seconds: u64) -> bool {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        stall.is_over(&TERMS)
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_nothing_to_take_does_not_stall() {
        let mut stall = Stall::default();
        stall.took(5);
        assert_eq!(stall.due(&TERMS), None);
        assert!(!after(&mut stall, 1000).await);
    }

    #[tokio::test(start_paused = true)]
    async fn less_than_the_least_in_one_time_out_is_too_little() {
        let mut stall = Stall::default();
        stall.waits();
        let due = Instant::now() + TERMS.stall;
        assert_eq!(stall.due(&TERMS), Some(due));
        stall.took(99);
        assert!(!after(&mut stall, 29).await);
        stall.waits();
        assert_eq!(stall.due(&TERMS), Some(due));
        assert!(after(&mut stall, 1).await);
    }

    #[tokio::test(start_paused = true)]
    async fn each_time_out_counts_anew() {
        let mut stall = Stall::default();
        stall.waits();
        stall.took(1000);
        assert!(!after(&mut stall, 30).await);
        stall.took(99);
        assert!(after(&mut stall, 30).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_taken_everything_begins_anew() {
        let mut stall = Stall::default();
        stall.waits();
        assert!(!after(&mut stall, 29).await);
        stall.clear();
        stall.waits();
        assert!(!after(&mut stall, 29).await);
        assert!(after(&mut stall, 1).await);
    }

    #[test]
    fn a_stall_time_out_without_end_is_none() {
        let mut stall = Stall::default();
        let terms = Terms {
            stall: Duration::MAX,
            ..TERMS
        };
        stall.waits();
        assert_eq!(stall.due(&terms), None);
        assert!(!stall.is_over(&terms));
    }
}
