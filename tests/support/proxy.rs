//! A way to a server on which things go wrong, as a script tells.
//!
//! What is not told to go wrong goes right: bytes in their order, the end of one direction
//! alone, a reset as a reset.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

/// No connection is longer.
const LONGEST: Duration = Duration::from_secs(600);

/// For who is to answer the end of a connection with its own.
const PATIENCE: Duration = Duration::from_secs(30);

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Script {
    /// From the client to the server.
    pub(crate) up: Way,
    pub(crate) down: Way,
    pub(crate) end: Option<(When, End)>,
}

/// What becomes of the bytes of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Way {
    /// Whatever comes waits so long.
    pub(crate) delay: Duration,
    /// So many bytes a second at most.
    pub(crate) trickle: Option<u32>,
    /// Each byte is written by itself.
    pub(crate) split: bool,
    /// The byte at this offset is another one.
    pub(crate) flip: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum When {
    /// So many bytes have gone from the client to the server.
    Up(u64),
    Down(u64),
    After(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    /// Both sides are told that it is over in the middle (RST).
    Reset,
    /// Both sides are told that the other one has nothing more to say (FIN).
    Finish,
    /// The server alone is told that.
    FinishUp,
    /// The client alone.
    FinishDown,
    /// Nothing is carried any more, and nobody is told.
    Silence,
    /// From the client to the server nothing is.
    SilenceUp,
    SilenceDown,
}

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    server: Arc<Mutex<SocketAddr>>,
    script: Arc<Mutex<Script>>,
    /// How often it was told to end what is open, and how.
    ends: watch::Sender<(u64, End)>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let server = Arc::new(Mutex::new(server));
        let script = Arc::new(Mutex::new(Script::default()));
        let ends = watch::Sender::new((0, End::Reset));
        let accepting = {
            let (server, script) = (Arc::clone(&server), Arc::clone(&script));
            let ends = ends.subscribe();
            async move {
                let mut connections = JoinSet::new();
                while let Ok((client, _)) = listener.accept().await {
                    while connections.try_join_next().is_some() {}
                    let (server, script) = (*lock(&server), *lock(&script));
                    connections.spawn(connection(client, server, script, ends.clone()));
                }
            }
        };
        Self {
            address,
            server,
            script,
            ends,
            accepting: tokio::spawn(accepting),
        }
    }

    /// Where those go who come from now on.
    pub(crate) fn lead_to(&self, server: SocketAddr) {
        *lock(&self.server) = server;
    }

    /// What becomes of those who come from now on.
    pub(crate) fn follow(&self, script: Script) {
        *lock(&self.script) = script;
    }

    /// What becomes of all that is open, now. What was silenced can still be ended.
    pub(crate) fn end(&self, end: End) {
        self.ends
            .send_modify(|(times, last)| (*times, *last) = (*times + 1, end));
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
    mut ends: watch::Receiver<(u64, End)>,
) {
    ends.mark_unchanged();
    // Whatever drops a socket resets it, unless it has ended well.
    let _ = client.set_zero_linger();
    let Ok(mut server) = TcpStream::connect(server).await else {
        return;
    };
    let _ = server.set_zero_linger();
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let run = run(&mut client, &mut server, script, &mut ends);
    if let Ok(End::Finish) = timeout(LONGEST, run).await {
        finish(client, server).await;
    }
}

/// Carries everything, until it ends this way.
async fn run(
    client: &mut TcpStream,
    server: &mut TcpStream,
    script: Script,
    ends: &mut watch::Receiver<(u64, End)>,
) -> End {
    let (at_up, at_down, after) = match script.end {
        Some((When::Up(bytes), _)) => (Some(bytes), None, LONGEST),
        Some((When::Down(bytes), _)) => (None, Some(bytes), LONGEST),
        Some((When::After(time), _)) => (None, None, time),
        None => (None, None, LONGEST),
    };
    let mut scripted = script.end.map(|(_, end)| end);
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
                Ok(_) => End::Finish,
                Err(_) => End::Reset,
            },
            () = reached.notified() => scripted.take(),
            () = &mut time, if scripted.is_some() => scripted.take(),
            told = ends.changed() => match told {
                Ok(()) => Some(ends.borrow_and_update().1),
                Err(_) => Some(End::Reset),
            },
        };
        let (for_up, for_down) = match end.unwrap_or(End::Reset) {
            end @ (End::Reset | End::Finish) => return end,
            End::FinishUp => (Some(Order::Discard), None),
            End::FinishDown => (None, Some(Order::Discard)),
            End::SilenceUp => (Some(Order::Leave), None),
            End::SilenceDown => (None, Some(Order::Leave)),
            End::Silence => (Some(Order::Leave), Some(Order::Leave)),
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
                if until == carried {
                    self.until = None;
                    self.reached.notify_one();
                    let _ = timeout(PATIENCE, self.orders.changed()).await;
                    continue;
                }
                most = usize::try_from(until - carried).unwrap_or(most).min(most);
            }
            let read = tokio::select! {
                read = from.read(&mut buffer[..most]) => read?,
                _ = self.orders.changed() => continue,
            };
            if read == 0 {
                if !told_the_end {
                    to.shutdown().await?;
                }
                return Ok(());
            }
            let bytes = &mut buffer[..read];
            let flip = self.way.flip.and_then(|flip| flip.checked_sub(carried));
            if let Some(at) = flip.and_then(|at| usize::try_from(at).ok())
                && let Some(byte) = bytes.get_mut(at)
            {
                *byte ^= 1;
            }
            carried += read as u64;
            if !told_the_end {
                self.way.write(&mut to, bytes).await?;
            }
        }
    }
}

impl Way {
    /// How many bytes are taken at once.
    fn piece(&self) -> usize {
        match (self.split, self.trickle) {
            (true, _) => 512,
            (false, Some(rate)) => (rate / 20).max(1) as usize,
            (false, None) => 16 << 10,
        }
    }

    pub(crate) async fn write(
        &self,
        to: &mut (impl AsyncWrite + Unpin),
        bytes: &[u8],
    ) -> io::Result<()> {
        if !self.delay.is_zero() {
            sleep(self.delay).await;
        }
        if !self.split {
            to.write_all(bytes).await?;
        } else {
            for byte in bytes {
                to.write_all(&[*byte]).await?;
            }
        }
        if let Some(rate) = self.trickle {
            let bytes = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            sleep(Duration::from_secs(1) * bytes / rate.max(1)).await;
        }
        Ok(())
    }
}

/// Says FIN both ways, and means it: what is dropped with unread bytes would say RST.
async fn finish(mut client: TcpStream, mut server: TcpStream) {
    let both = async |socket: &mut TcpStream| {
        let _ = socket2::SockRef::from(&*socket).set_linger(None);
        let _ = socket.shutdown().await;
        let mut rest = [0; 4096];
        while socket.read(&mut rest).await.is_ok_and(|read| read > 0) {}
    };
    let _ = timeout(PATIENCE, async {
        tokio::join!(both(&mut client), both(&mut server))
    })
    .await;
}
