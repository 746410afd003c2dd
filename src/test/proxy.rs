//! A way to a server on which things go wrong, as a script tells.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::test::script::{At, Cut, Script, Way};

/// No connection is longer.
const LONGEST: Duration = Duration::from_secs(600);

/// For who is to answer the end of a connection with its own.
const PATIENCE: Duration = Duration::from_secs(30);

/// A TCP proxy on the loopback interface, on which things go wrong as a [`Script`] tells.
///
/// What is not told to go wrong goes right: bytes in their order, the end of one direction
/// alone, a reset as a reset. It looks into nothing: requests, TLS and WebSockets pass as
/// bytes. What a script counts, it counts on each connection.
///
/// Its tasks are of the runtime in which it was made, whose clock must run: a paused one
/// jumps ahead while bytes are on their way. No connection lasts longer than ten minutes.
/// Dropping it stops its tasks, and all that is open is reset.
///
/// ```
/// use tornadose::test::{At, Cut, Proxy, Script};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// # use tokio::io::AsyncReadExt;
/// # let server = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// let proxy = Proxy::to(server.local_addr()?).await?;
/// // Every stream from now on breaks after 1,000 bytes, with a reset.
/// proxy.follow(Script::new().cut(At::Down(1_000), Cut::Reset));
///
/// let mut client = tokio::net::TcpStream::connect(proxy.address()).await?;
/// # let (mut server, _) = server.accept().await?;
/// # use tokio::io::AsyncWriteExt;
/// # server.write_all(&[0; 1_001]).await?;
/// # let mut received = Vec::new();
/// # assert!(client.read_to_end(&mut received).await.is_err());
/// # assert_eq!(received.len(), 1_000);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    server: Arc<Mutex<SocketAddr>>,
    script: Arc<Mutex<Script>>,
    /// How often it was told to cut what is open, and how.
    cuts: watch::Sender<(u64, Cut)>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// A proxy to this server, on a free port of `127.0.0.1`.
    ///
    /// # Errors
    ///
    /// If there is no free port.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time and I/O.
    pub async fn to(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = Arc::new(Mutex::new(server));
        let script = Arc::new(Mutex::new(Script::default()));
        let cuts = watch::Sender::new((0, Cut::Reset));
        let accepting = {
            let (server, script) = (Arc::clone(&server), Arc::clone(&script));
            let cuts = cuts.subscribe();
            async move {
                let mut connections = JoinSet::new();
                while let Ok((client, _)) = listener.accept().await {
                    while connections.try_join_next().is_some() {}
                    let (server, script) = (*lock(&server), *lock(&script));
                    // A cut of before is not for this one; one from now on is.
                    let mut cuts = cuts.clone();
                    cuts.mark_unchanged();
                    connections.spawn(connection(client, server, script, cuts));
                }
            }
        };
        Ok(Self {
            address,
            server,
            script,
            cuts,
            accepting: tokio::spawn(accepting),
        })
    }

    /// Where clients connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where those go who come from now on. Where nobody listens, they are reset.
    pub fn lead_to(&self, server: SocketAddr) {
        *lock(&self.server) = server;
    }

    /// What becomes of those who come from now on. Who is connected keeps the script that
    /// there was; who has sent or received something through the proxy is.
    pub fn follow(&self, script: Script) {
        *lock(&self.script) = script;
    }

    /// What becomes of all that is open, now: of every connection through which something has
    /// passed. What was silenced can still be reset or finished.
    pub fn cut(&self, cut: Cut) {
        self.cuts
            .send_modify(|(times, last)| (*times, *last) = (times.wrapping_add(1), cut));
    }
}

/// Everything that is open is reset.
impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is done with the bytes of one direction.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    Carry,
    /// They are read and thrown away: who was told the end is told nothing behind it.
    Discard,
    Leave,
}

async fn connection(
    mut client: TcpStream,
    server: SocketAddr,
    script: Script,
    mut cuts: watch::Receiver<(u64, Cut)>,
) {
    // Whatever drops a socket resets it, unless it has ended well.
    let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
    let Ok(mut server) = TcpStream::connect(server).await else {
        return;
    };
    let _ = SockRef::from(&server).set_linger(Some(Duration::ZERO));
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let run = run(&mut client, &mut server, script, &mut cuts);
    if let Ok(Cut::Finish) = timeout(LONGEST, run).await {
        finish(client, server).await;
    }
}

/// Carries everything, until it ends this way.
async fn run(
    client: &mut TcpStream,
    server: &mut TcpStream,
    script: Script,
    cuts: &mut watch::Receiver<(u64, Cut)>,
) -> Cut {
    let (at_up, at_down, after) = match script.cut {
        Some((At::Up(bytes), _)) => (Some(bytes), None, LONGEST),
        Some((At::Down(bytes), _)) => (None, Some(bytes), LONGEST),
        Some((At::After(time), _)) => (None, None, time),
        None => (None, None, LONGEST),
    };
    let mut scripted = script.cut.map(|(_, cut)| cut);
    let (up, down) = (
        watch::Sender::new(Order::Carry),
        watch::Sender::new(Order::Carry),
    );
    let reached = Notify::new();
    let (client_in, client_out) = client.split();
    let (server_in, server_out) = server.split();
    let both = async {
        tokio::try_join!(
            Direction::new(script.up, at_up, &up, &reached).carry(client_in, server_out),
            Direction::new(script.down, at_down, &down, &reached).carry(server_in, client_out),
        )
    };
    let (mut both, mut time) = (pin!(both), pin!(sleep(after)));
    loop {
        let end = tokio::select! {
            carried = &mut both => return match carried {
                Ok(_) => Cut::Finish,
                Err(_) => Cut::Reset,
            },
            () = reached.notified() => scripted.take(),
            () = &mut time, if scripted.is_some() => scripted.take(),
            told = cuts.changed() => match told {
                Ok(()) => Some(cuts.borrow_and_update().1),
                Err(_) => Some(Cut::Reset),
            },
        };
        let (for_up, for_down) = match end.unwrap_or(Cut::Reset) {
            end @ (Cut::Reset | Cut::Finish) => return end,
            Cut::FinishUp => (Some(Order::Discard), None),
            Cut::FinishDown => (None, Some(Order::Discard)),
            Cut::SilenceUp => (Some(Order::Leave), None),
            Cut::SilenceDown => (None, Some(Order::Leave)),
            Cut::Silence => (Some(Order::Leave), Some(Order::Leave)),
        };
        // Both hear of it: the one that has reached its place waits for an order.
        up.send_modify(|order| *order = for_up.unwrap_or(*order));
        down.send_modify(|order| *order = for_down.unwrap_or(*order));
    }
}

struct Direction<'a> {
    way: Way,
    /// Where it stops until there is another order.
    until: Option<u64>,
    orders: watch::Receiver<Order>,
    reached: &'a Notify,
}

impl<'a> Direction<'a> {
    fn new(
        way: Way,
        until: Option<u64>,
        orders: &watch::Sender<Order>,
        reached: &'a Notify,
    ) -> Self {
        Self {
            way,
            until,
            orders: orders.subscribe(),
            reached,
        }
    }

    /// Carries the bytes up to their end, and tells that.
    async fn carry(mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<()> {
        let mut buffer = vec![0; self.way.piece()];
        let mut held = Vec::new();
        let mut carried = 0_u64;
        let mut told_the_end = false;
        loop {
            let order = *self.orders.borrow_and_update();
            if order == Order::Leave {
                return std::future::pending().await;
            }
            if order == Order::Discard && !told_the_end {
                told_the_end = true;
                to.shutdown().await?;
            }
            let mut most = buffer.len();
            if let Some(until) = self.until {
                let left = until.saturating_sub(carried);
                if left == 0 {
                    self.until = None;
                    self.reached.notify_one();
                    let _ = timeout(PATIENCE, self.orders.changed()).await;
                    continue;
                }
                most = usize::try_from(left).unwrap_or(most).min(most);
            }
            let Some(room) = buffer.get_mut(..most) else {
                return Ok(());
            };
            let read = tokio::select! {
                read = from.read(room) => read?,
                _ = self.orders.changed() => continue,
            };
            if read == 0 {
                if !told_the_end {
                    self.way.write(&mut to, &held).await?;
                    to.shutdown().await?;
                }
                return Ok(());
            }
            let bytes = buffer.get_mut(..read).unwrap_or_default();
            let flip = self.way.flip.and_then(|flip| flip.checked_sub(carried));
            if let Some(at) = flip.and_then(|at| usize::try_from(at).ok())
                && let Some(byte) = bytes.get_mut(at)
            {
                *byte ^= 1;
            }
            carried = carried.saturating_add(read as u64);
            if told_the_end {
                continue;
            }
            held.extend_from_slice(bytes);
            if self.way.hold.is_some_and(|least| held.len() < least) {
                continue;
            }
            tokio::select! {
                biased;
                // A way that takes its time is silenced in the middle of it.
                Ok(_) = self.orders.wait_for(|order| *order == Order::Leave) => {}
                written = self.way.write(&mut to, &held) => written?,
            }
            held.clear();
        }
    }
}

impl Way {
    /// How many bytes are taken at once.
    fn piece(&self) -> usize {
        match (self.trickle, self.split) {
            (Some(rate), _) => (rate / 20).max(1) as usize,
            (None, true) => 512,
            (None, false) => 16 << 10,
        }
    }

    async fn write(&self, to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if !self.delay.is_zero() {
            sleep(self.delay).await;
        }
        for piece in bytes.chunks(self.piece()) {
            for part in piece.chunks(if self.split { 1 } else { piece.len() }) {
                to.write_all(part).await?;
            }
            if let Some(rate) = self.trickle {
                let bytes = u32::try_from(piece.len()).unwrap_or(u32::MAX);
                sleep(Duration::from_secs(1) * bytes / rate.max(1)).await;
            }
        }
        Ok(())
    }
}

/// Says FIN both ways, and means it: what is dropped with unread bytes would say RST.
async fn finish(mut client: TcpStream, mut server: TcpStream) {
    let both = async |socket: &mut TcpStream| {
        let _ = SockRef::from(&*socket).set_linger(None);
        let _ = socket.shutdown().await;
        let mut rest = [0; 4096];
        while socket.read(&mut rest).await.is_ok_and(|read| read > 0) {}
    };
    let _ = timeout(PATIENCE, async {
        tokio::join!(both(&mut client), both(&mut server))
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use super::*;

    #[derive(Default)]
    struct Writes(Vec<Vec<u8>>);

    impl AsyncWrite for Writes {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0.push(bytes.to_vec());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn each_byte_is_written_by_itself() {
        let mut writes = Writes::default();
        let written = Way::new().split().write(&mut writes, b"abc").await;
        written.expect("to write");
        assert_eq!(writes.0, [b"a", b"b", b"c"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_held_trickles_too() {
        let begun = tokio::time::Instant::now();
        let mut writes = Writes::default();
        let way = Way::new().hold(100).trickle(100);
        way.write(&mut writes, &[b'x'; 100])
            .await
            .expect("to write");
        assert_eq!(writes.0.len(), 20);
        assert!(writes.0.iter().all(|piece| piece.len() == 5));
        assert!(begun.elapsed() >= Duration::from_secs(1));
    }
}
