//! The loop of one thread: sockets, feeds, and the streams that look after themselves.
//!
//! Everything happens in turns. In each, the shard hears what its sockets say and what was
//! left in its inbox, then lets every feed write to at most [`TURN`] sockets and at most so
//! many streams go on. So a hub of many does not hold up another, and who hangs up is
//! noticed within a turn. While there is nothing to do it sleeps until its next timer.
//!
//! A socket is registered once, edge-triggered: one that is never full costs no system call
//! but its writes.

use std::collections::btree_map::{BTreeMap, Entry};
use std::collections::{BTreeSet, VecDeque};
use std::io::ErrorKind;
use std::mem;
use std::net::Shutdown;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;
use tokio::time::Instant;

use super::client::{Role, Stream};
use super::feed::{Collected, Feed, Key, Taken};
use super::inbox::{Adopted, Bell, Inbox, Lists, Who};
use super::rest::{Sent, send};
use super::stream::{Driven, Lean, Own, Scratch};
use crate::log::{Notice, Slab};
use crate::socket::{Terms, reset};

/// The inbox's token; streams have their numbers, which are smaller.
pub(super) const INBOX: Token = Token(usize::MAX);

/// So many sockets, then it is another's turn.
const TURN: usize = 512;

/// How long a client may take to hang up behind the end.
const LINGER: Duration = Duration::from_secs(2);

pub(super) struct Shard {
    poll: Poll,
    inbox: Arc<Inbox>,
    terms: Terms,
    streams: Slab<Stream>,
    count: usize,
    feeds: Slab<Feed>,
    keys: BTreeMap<Key, u32>,
    /// Feeds that have something to do.
    busy: VecDeque<u32>,
    /// Streams that have something to do.
    ready: VecDeque<u32>,
    /// At most one for each, not later than it is needed.
    timers: BTreeSet<(Instant, Who)>,
    /// The shutdowns of those who are fed, and of how many.
    shutdowns: BTreeMap<usize, (Notice, usize)>,
    look: Waker,
    look_bell: Arc<Bell>,
    lists: Lists,
    scratch: Scratch,
    /// For the next batch of any feed.
    room: Vec<u8>,
}

impl Shard {
    pub(super) fn new(poll: Poll, inbox: Arc<Inbox>, terms: Terms) -> Self {
        let look_bell = Bell::new(&inbox, Who::Some);
        Self {
            poll,
            terms,
            streams: Slab::new(),
            count: 0,
            feeds: Slab::new(),
            keys: BTreeMap::new(),
            busy: VecDeque::new(),
            ready: VecDeque::new(),
            timers: BTreeSet::new(),
            shutdowns: BTreeMap::new(),
            look: look_bell.waker(),
            look_bell,
            lists: Lists::default(),
            scratch: Scratch::default(),
            room: Vec::new(),
            inbox,
        }
    }

    /// Until nobody can come any more and everybody has gone.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        while !(self.lists.is_closed && self.count == 0) {
            let timeout = self.take_inbox();
            if self.lists.is_cut {
                return self.cut();
            }
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // It cannot hear its sockets any more. Their clients come back.
                Err(_) => return,
            }
            // Whoever has called may be on this very core, and has the right of way: a submit
            // is not to last until everybody has the event. So has a server between turns.
            thread::yield_now();
            for event in &events {
                self.heed(event);
            }
            self.take_timers();
            // Feeds first: a stream that has caught up can join one that has, too.
            for _ in 0..self.busy.len() {
                if let Some(number) = self.busy.pop_front() {
                    if let Some(feed) = self.feeds.get_mut(number) {
                        feed.is_queued = false;
                    }
                    self.serve(number);
                }
            }
            for _ in 0..self.ready.len().min(TURN) {
                if let Some(stream) = self.ready.pop_front() {
                    self.drive(stream);
                }
            }
        }
    }

    /// Nobody is waited for any more.
    fn cut(self) {
        for number in 0..self.streams.len() as u32 {
            if let Some(stream) = self.streams.get(number) {
                let _ = reset(&SockRef::from(&stream.socket));
            }
        }
    }

    /// Takes what was left, and tells how long there is nothing to do.
    fn take_inbox(&mut self) -> Option<Duration> {
        let mut lists = mem::take(&mut self.lists);
        let rests = self.busy.is_empty() && self.ready.is_empty();
        let sleeps = self.inbox.take(&mut lists, rests);
        for adopted in lists.adopted.drain(..) {
            self.adopt(adopted);
        }
        for who in lists.woken.drain(..) {
            self.wake(who);
        }
        self.lists = lists;
        if !sleeps {
            return Some(Duration::ZERO);
        }
        let (next, _) = self.timers.first()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// What a socket says.
    fn heed(&mut self, event: &mio::event::Event) {
        if event.token() == INBOX {
            return;
        }
        let number = event.token().0 as u32;
        let Some(stream) = self.streams.get_mut(number) else {
            return;
        };
        let is_gone = event.is_error()
            || event.is_read_closed()
            || event.is_write_closed()
            || (event.is_readable() && stream.hangs_up(&mut self.scratch.page));
        if is_gone {
            self.remove(number);
        } else if event.is_writable()
            && let Role::Own(own) = &stream.role
            && own.is_full()
        {
            self.ready.push_back(number);
        }
    }

    fn take_timers(&mut self) {
        let now = Instant::now();
        while let Some((at, who)) = self.timers.first().copied()
            && at <= now
        {
            self.timers.pop_first();
            if let Some(timer) = self.timer(who) {
                *timer = None;
            }
            self.wake(who);
        }
    }

    fn timer(&mut self, who: Who) -> Option<&mut Option<Instant>> {
        match who {
            Who::Stream(number) => Some(&mut self.streams.get_mut(number)?.timer),
            Who::Feed(number) => Some(&mut self.feeds.get_mut(number)?.timer),
            Who::Some => None,
        }
    }

    /// Looks at somebody at this time, or at an earlier one that was asked for.
    fn set_timer(&mut self, who: Who, due: Option<Instant>) {
        let Some(timer) = self.timer(who) else {
            return;
        };
        let Some(due) = due else {
            return;
        };
        if timer.is_some_and(|timer| timer <= due) {
            return;
        }
        if let Some(later) = timer.replace(due) {
            self.timers.remove(&(later, who));
        }
        self.timers.insert((due, who));
    }

    fn unset_timer(&mut self, who: Who, timer: Option<Instant>) {
        if let Some(timer) = timer {
            self.timers.remove(&(timer, who));
        }
    }

    fn wake(&mut self, who: Who) {
        match who {
            Who::Feed(number) => self.queue(number),
            Who::Stream(number) => {
                let has_to_leave = self.streams.get(number).is_some_and(Stream::has_to_leave);
                if has_to_leave {
                    self.unfeed(number);
                }
                self.ready.push_back(number);
            }
            Who::Some => {
                self.look_bell.heed();
                let leaving: Vec<_> = (0..self.streams.len() as u32)
                    .filter(|number| self.streams.get(*number).is_some_and(Stream::has_to_leave))
                    .collect();
                for number in leaving {
                    self.unfeed(number);
                    self.ready.push_back(number);
                }
            }
        }
    }

    /// A feed has something to do. Once: who comes back each turn must not come back more
    /// often the longer it is busy.
    fn queue(&mut self, number: u32) {
        if let Some(feed) = self.feeds.get_mut(number)
            && !mem::replace(&mut feed.is_queued, true)
        {
            self.busy.push_back(number);
        }
    }

    fn adopt(&mut self, adopted: Adopted) {
        let Adopted {
            socket,
            mut open,
            slot,
        } = adopted;
        self.terms.tune(&SockRef::from(&socket));
        open.grant.admitted.detach();
        let number = self.streams.insert(Stream::new(socket, slot));
        self.count += 1;
        let Some(stream) = self.streams.get_mut(number) else {
            return;
        };
        let bell = Bell::new(&self.inbox, Who::Stream(number));
        stream.role = Role::Own(Box::new(Own::new(*open, bell)));
        let both = Interest::READABLE | Interest::WRITABLE;
        let token = Token(number as usize);
        match self
            .poll
            .registry()
            .register(&mut stream.socket, token, both)
        {
            Ok(()) => self.ready.push_back(number),
            Err(_) => self.remove(number),
        }
    }

    /// Lets a stream go on that looks after itself.
    fn drive(&mut self, number: u32) {
        let Some(stream) = self.streams.get_mut(number) else {
            return;
        };
        let own = match &mut stream.role {
            Role::Own(own) => own,
            Role::Closing if stream.timer.is_none() => return self.remove(number),
            Role::Closing | Role::Fed(..) | Role::None => return self.time(number),
        };
        // It may have taken something too little for its socket to say so.
        let driven = match own.drive(&mut stream.socket, &mut self.scratch) {
            Driven::Waits if own.has_stalled(&self.terms) => Driven::Stalled,
            driven => driven,
        };
        match driven {
            Driven::Ended => self.close(number),
            Driven::Gone => self.remove(number),
            Driven::Stalled => {
                // If it cannot be reset it is closed, and the kernel has patience with it.
                let _ = reset(&SockRef::from(&stream.socket));
                self.remove(number);
            }
            Driven::More => self.ready.push_back(number),
            Driven::Waits => {
                self.feed(number);
                self.time(number);
            }
        }
    }

    /// The stream is over; its socket stays until the client has hung up, too, or has had time
    /// to: who says something to a closed socket is cut off, and may not have read the end.
    fn close(&mut self, number: u32) {
        let Some(stream) = self.streams.get_mut(number) else {
            return;
        };
        let over = mem::replace(&mut stream.role, Role::Closing);
        if stream.socket.shutdown(Shutdown::Write).is_err()
            || stream.hangs_up(&mut self.scratch.page)
        {
            self.remove(number);
        } else {
            self.set_timer(Who::Stream(number), Instant::now().checked_add(LINGER));
        }
        drop(over);
    }

    /// Looks at a stream when it has something to do that nobody wakes it for.
    fn time(&mut self, number: u32) {
        let due = match self.streams.get(number).map(|stream| &stream.role) {
            Some(Role::Own(own)) => own.due(&self.terms),
            Some(Role::Fed(_, _, lean)) => lean.deadline(),
            Some(Role::Closing | Role::None) | None => None,
        };
        self.set_timer(Who::Stream(number), due);
    }

    /// Leaves a stream's reading to a feed, if there can be one for it.
    fn feed(&mut self, number: u32) {
        let Some(Stream { role, timer, .. }) = self.streams.get_mut(number) else {
            return;
        };
        let Role::Own(own) = role else {
            return;
        };
        let Some((log, next, keep_alive)) = own.place() else {
            return;
        };
        let key = Feed::key(log, keep_alive);
        let at = match self.keys.get(&key) {
            Some(at) => *at,
            None => {
                let at = self.feeds.vacant();
                let bell = Bell::new(&self.inbox, Who::Feed(at));
                let mut feed = Feed::new(log, next, keep_alive, bell);
                feed.is_queued = true;
                self.feeds.insert(feed);
                self.keys.insert(key, at);
                self.busy.push_back(at);
                at
            }
        };
        let Some(feed) = self.feeds.get_mut(at) else {
            return;
        };
        if feed.next() != next {
            // One of the two is about to hear of more.
            return;
        }
        let place = feed.join(number, own);
        if let Role::Own(own) = mem::replace(role, Role::None) {
            let lean = Box::new(own.lean(&self.look));
            if let Some(departure) = lean.departure() {
                let of = self.shutdowns.entry(departure.id());
                let (notice, count) = of.or_insert_with(|| (departure.notice(), 0));
                *count += 1;
                // Whether it has begun by now is asked below.
                let _ = notice.poll_set(&mut Context::from_waker(&self.look));
            }
            let has_to_leave = lean.has_to_leave();
            *role = Role::Fed(at, place, lean);
            let timer = timer.take();
            self.unset_timer(Who::Stream(number), timer);
            if has_to_leave {
                self.unfeed(number);
                self.ready.push_back(number);
            }
        }
    }

    /// A stream goes on by itself from where its feed is.
    fn unfeed(&mut self, number: u32) {
        let at = match self.streams.get(number).map(|stream| &stream.role) {
            Some(Role::Fed(at, ..)) => *at,
            _ => return,
        };
        let mut taken = Taken::All;
        if let (Some(feed), Some(stream)) = (self.feeds.get(at), self.streams.get_mut(number))
            && let Role::Fed(_, place, lean) = &stream.role
            && !feed.has_batch(*place)
        {
            taken = if lean.is_over() {
                // Who gets nothing more does not get the batch either.
                Taken::Nothing
            } else {
                match send(&mut stream.socket, feed.batch()) {
                    Sent::All => Taken::All,
                    Sent::Full(taken) => Taken::Part(taken),
                    Sent::Gone => return self.remove(number),
                }
            };
        }
        self.unfeed_behind(number, taken);
    }

    /// A stream goes on by itself behind what it has taken of the batch.
    fn unfeed_behind(&mut self, number: u32, taken: Taken) {
        let Some(Stream { role, .. }) = self.streams.get_mut(number) else {
            return;
        };
        let Role::Fed(at, place, lean) = mem::replace(role, Role::None) else {
            return;
        };
        let Some(feed) = self.feeds.get_mut(at) else {
            return;
        };
        unwatch(&mut self.shutdowns, &lean);
        let rest = feed.rest(taken);
        let subscription = feed.part(taken);
        let bell = Bell::new(&self.inbox, Who::Stream(number));
        let quiet = (feed.keep_alive(), feed.sent());
        let own = lean.own(subscription, quiet, rest, bell);
        if !own.is_full() {
            // What its socket took ends with a chunk: it waits for nothing, not even room.
            self.ready.push_back(number);
        }
        *role = Role::Own(Box::new(own));
        self.leave(at, place);
        self.time(number);
    }

    /// Takes the member at this place out of a feed.
    fn leave(&mut self, at: u32, place: u32) {
        let Some(feed) = self.feeds.get_mut(at) else {
            return;
        };
        if let Some(moved) = feed.leave(place)
            && let Some(Stream {
                role: Role::Fed(_, of, _),
                ..
            }) = self.streams.get_mut(moved)
        {
            *of = place;
        }
        if feed.is_empty() {
            self.keys.remove(&Feed::key(feed.log(), feed.keep_alive()));
            if let Some(feed) = self.feeds.remove(at) {
                self.unset_timer(Who::Feed(at), feed.timer);
            }
        }
    }

    /// One turn of a feed.
    fn serve(&mut self, at: u32) {
        let Some(feed) = self.feeds.get_mut(at) else {
            return;
        };
        if !feed.is_passing() {
            match feed.collect(&mut self.room) {
                Collected::Nothing | Collected::Batch => {}
                Collected::Scatter => return self.scatter(at),
            }
            // What was submitted after a revocation is not for whom it concerns.
            if self.look_bell.is_rung() {
                self.wake(Who::Some);
            }
        }
        for _ in 0..TURN {
            let Some(feed) = self.feeds.get_mut(at) else {
                return;
            };
            let Some(number) = feed.next_member() else {
                break;
            };
            let Some(stream) = self.streams.get_mut(number) else {
                continue;
            };
            match send(&mut stream.socket, feed.batch()) {
                Sent::All => {}
                Sent::Full(taken) => self.unfeed_behind(number, Taken::Part(taken)),
                Sent::Gone => {
                    feed.take_back(Taken::Nothing);
                    self.remove(number);
                }
            }
        }
        let Some(feed) = self.feeds.get_mut(at) else {
            return;
        };
        if !feed.is_passing() {
            feed.let_go(&mut self.room);
        }
        if feed.is_busy() {
            self.queue(at);
        } else {
            let due = feed.due();
            self.set_timer(Who::Feed(at), due);
        }
    }

    /// Everybody goes on without the feed.
    fn scatter(&mut self, at: u32) {
        while let Some(number) = self.feeds.get(at).and_then(Feed::last) {
            self.unfeed(number);
            self.ready.push_back(number);
        }
    }

    fn remove(&mut self, number: u32) {
        let Some(mut stream) = self.streams.remove(number) else {
            return;
        };
        self.count -= 1;
        self.unset_timer(Who::Stream(number), stream.timer);
        // A child process that has just been made may hold the socket open for a while, and
        // it must not be taken for the next one of this number.
        let _ = self.poll.registry().deregister(&mut stream.socket);
        if let Role::Fed(at, place, lean) = &stream.role {
            unwatch(&mut self.shutdowns, lean);
            if let Some(feed) = self.feeds.get_mut(*at)
                && !feed.has_batch(*place)
            {
                feed.take_back(Taken::Nothing);
            }
            self.leave(*at, *place);
        }
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        drop(self.inbox.die());
    }
}

/// One less of those to whom it matters that a shutdown begins.
fn unwatch(shutdowns: &mut BTreeMap<usize, (Notice, usize)>, lean: &Lean) {
    if let Some(departure) = lean.departure()
        && let Entry::Occupied(mut of) = shutdowns.entry(departure.id())
    {
        let (_, count) = of.get_mut();
        *count -= 1;
        if *count == 0 {
            of.remove();
        }
    }
}

#[cfg(all(test, not(tornadose_loom)))]
mod tests {
    use std::io::IoSlice;
    use std::net;
    use std::pin::Pin;
    use std::task::Context;

    use http_body::Body;

    use super::*;
    use crate::detached::offer::{Claim, Taker};
    use crate::subscriber::Open;
    use crate::{DataStore, EventSource, QueueStore};

    /// A stream that has left its server.
    fn detached(events: &EventSource) -> Box<Open> {
        let _taker = Taker::new();
        let mut body = events.respond(&http::Request::new(())).into_body();
        let mut cx = Context::from_waker(Waker::noop());
        let mut poll = || Pin::new(&mut body).poll_frame(&mut cx);
        let std::task::Poll::Ready(Some(Ok(first))) = poll() else {
            panic!("it begins at once");
        };
        assert!(poll().is_pending());
        let first = first.into_data().expect("data");
        let size = format!("{:X}\r\n", first.len());
        let slices = [&b"head"[..], size.as_bytes(), &first, b"\r\n"].map(IoSlice::new);
        let claim = Claim::of(&slices, || true).expect("it is offered");
        assert!(claim.written());
        assert!(poll().is_ready());
        claim.take().expect("it is given")
    }

    /// A shard with one stream that has been driven once, and its client.
    fn shard_of_one(events: &EventSource) -> (Shard, u32, net::TcpStream) {
        let poll = Poll::new().expect("a poll");
        let waker = mio::Waker::new(poll.registry(), INBOX).expect("a waker");
        let mut shard = Shard::new(poll, Arc::new(Inbox::new(waker)), Terms::DEFAULT);
        let (number, client) = adopted(&mut shard, events);
        (shard, number, client)
    }

    /// One more stream that has been driven once, and its client.
    fn adopted(shard: &mut Shard, events: &EventSource) -> (u32, net::TcpStream) {
        let listener = net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let client = net::TcpStream::connect(address).expect("a listener");
        let (socket, _) = listener.accept().expect("a client");
        socket.set_nonblocking(true).expect("a socket");
        let open = detached(events);
        shard.adopt(Adopted {
            socket,
            open,
            slot: None,
        });
        let number = shard.ready.pop_front().expect("it goes on");
        shard.drive(number);
        (number, client)
    }

    fn role(shard: &Shard, number: u32) -> &Role {
        &shard.streams.get(number).expect("it is there").role
    }

    /// A socket may take a batch up to the very end of a chunk. Then nothing is left that
    /// waits for room, and nobody but the shard lets the stream go on.
    #[test]
    fn who_leaves_a_feed_at_the_end_of_a_chunk_goes_on() {
        let events = EventSource::new(QueueStore::new()).without_keep_alive();
        let (mut shard, number, _client) = shard_of_one(&events);
        assert!(matches!(role(&shard, number), Role::Fed(..)));
        assert!(shard.ready.is_empty());
        shard.unfeed_behind(number, Taken::Part(0));
        assert_eq!(shard.ready, [number]);
    }

    /// One may leave between two turns of a pass. Who takes its place has the batch already.
    #[test]
    fn who_takes_the_place_of_another_gets_no_batch_twice() {
        let store = QueueStore::new();
        let events = EventSource::new(store.clone()).without_keep_alive();
        let (mut shard, first, _client) = shard_of_one(&events);
        let Role::Fed(at, ..) = role(&shard, first) else {
            panic!("it has read everything");
        };
        let at = *at;
        let [second, third, last] = [(); 3].map(|()| adopted(&mut shard, &events));
        drop(store.submit("x").expect("small"));
        let feed = shard.feeds.get_mut(at).expect("its feed");
        assert!(matches!(feed.collect(&mut Vec::new()), Collected::Batch));
        assert_eq!(feed.next_member(), Some(last.0));
        shard.remove(first);
        let feed = shard.feeds.get_mut(at).expect("its feed");
        let others: Vec<_> = std::iter::from_fn(|| feed.next_member()).collect();
        assert_eq!(others, [third.0, second.0]);
    }

    /// What a feed has skipped for one who then reads by itself is skipped once.
    #[test]
    fn what_is_taken_back_is_counted_once() {
        let store = DataStore::with_initial("0").expect("small");
        let events = EventSource::new(store.clone()).without_keep_alive();
        let (mut shard, number, _client) = shard_of_one(&events);
        let Role::Fed(at, ..) = role(&shard, number) else {
            panic!("it has read everything");
        };
        let at = *at;
        for value in ["1", "2", "3"] {
            drop(store.submit(value).expect("small"));
        }
        let feed = shard.feeds.get_mut(at).expect("its feed");
        assert!(matches!(feed.collect(&mut Vec::new()), Collected::Batch));
        let figures = || {
            let stats = store.stats();
            (stats.delivered, stats.skipped, stats.subscribers)
        };
        assert_eq!(figures(), (2, Some(2), 1));
        shard.unfeed_behind(number, Taken::Nothing);
        assert_eq!(figures(), (1, Some(0), 1));
        shard.drive(number);
        assert_eq!(figures(), (2, Some(2), 1));
        shard.remove(number);
        assert_eq!(figures(), (2, Some(2), 0));
    }

    /// A pass over many sockets takes several turns, between which its feed is queued: what is
    /// submitted then has it woken to no effect, and must not wait for the one after.
    #[test]
    fn what_is_submitted_between_the_turns_of_a_pass_is_sent() {
        let store = QueueStore::new();
        let events = EventSource::new(store.clone()).without_keep_alive();
        let (mut shard, number, _client) = shard_of_one(&events);
        let Role::Fed(at, ..) = role(&shard, number) else {
            panic!("it has read everything");
        };
        let at = *at;
        let begins_a_turn = |shard: &mut Shard| {
            assert_eq!(shard.busy.pop_front(), Some(at));
            shard.feeds.get_mut(at).expect("its feed").is_queued = false;
        };
        begins_a_turn(&mut shard);
        shard.serve(at);
        assert!(shard.busy.is_empty());
        drop(store.submit("1").expect("small"));
        shard.take_inbox();
        begins_a_turn(&mut shard);
        let feed = shard.feeds.get_mut(at).expect("its feed");
        assert!(matches!(feed.collect(&mut Vec::new()), Collected::Batch));
        shard.queue(at);
        drop(store.submit("2").expect("small"));
        shard.take_inbox();
        begins_a_turn(&mut shard);
        shard.serve(at);
        begins_a_turn(&mut shard);
        shard.serve(at);
        assert!(shard.busy.is_empty());
        assert_eq!(store.stats().delivered, 2);
    }

    /// A feed that is busy has one turn in a round, however often it has been woken.
    #[test]
    fn a_feed_is_queued_once() {
        let events = EventSource::new(QueueStore::new()).without_keep_alive();
        let (mut shard, number, _client) = shard_of_one(&events);
        let Role::Fed(at, ..) = role(&shard, number) else {
            panic!("it has read everything");
        };
        let at = *at;
        for _ in 0..3 {
            shard.wake(Who::Feed(at));
        }
        assert_eq!(shard.busy, [at]);
    }
}
