//! Stores that a user might write, and what every store says of itself.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use futures_util::Stream;
use tornadose::{
    DataStore, Delivery, Entry, Event, EventName, LastEventId, QueueStore, Start, Store,
    SubmitError, Submitted, Subscribe, Subscription,
};

/// What a store keeps for those who have not read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeps {
    Everything,
    Latest,
}

/// A store, and the things that the trait does not ask of it.
pub(crate) struct Subject {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) keeps: Keeps,
    close: Box<dyn Fn()>,
    subscribers: Box<dyn Fn() -> usize>,
}

impl Subject {
    pub(crate) fn new<S: Store + Clone>(
        store: S,
        keeps: Keeps,
        close: fn(&S),
        subscribers: fn(&S) -> usize,
    ) -> Self {
        let (to_close, to_count) = (store.clone(), store.clone());
        Self {
            store: Arc::new(store),
            keeps,
            close: Box::new(move || close(&to_close)),
            subscribers: Box::new(move || subscribers(&to_count)),
        }
    }

    /// The same store behind another type.
    pub(crate) fn behind<S: Store>(mut self, wrap: fn(Arc<dyn Store>) -> S) -> Self {
        self.store = Arc::new(wrap(self.store));
        self
    }

    pub(crate) fn submit(&self, data: &str) -> Submitted {
        self.store.submit(Event::new(data)).expect("taken")
    }

    pub(crate) fn subscribe(&self, start: Start) -> Subscription {
        self.store.subscribe(start.into())
    }

    pub(crate) fn close(&self) {
        (self.close)();
    }

    pub(crate) fn subscribers(&self) -> usize {
        (self.subscribers)()
    }

    /// What is left of these events for who has read none of them.
    pub(crate) fn left_of<'a>(&self, events: &'a [&'a str]) -> &'a [&'a str] {
        match self.keeps {
            Keeps::Everything => events,
            Keeps::Latest => &events[events.len().saturating_sub(1)..],
        }
    }
}

/// One of ours with something before it: gives a name to who has none.
#[derive(Clone, Default)]
pub(crate) struct Named(pub(crate) QueueStore);

impl Store for Named {
    fn submit(&self, event: Event) -> Result<Submitted, SubmitError> {
        let event = match event.event_name() {
            name if *name == EventName::MESSAGE => event.name(EventName::from_static("note")),
            _ => event,
        };
        self.0.submit(event)
    }

    fn subscribe(&self, subscribe: Subscribe) -> Subscription {
        self.0.subscribe(subscribe)
    }
}

/// One with its own list, its own wakers and its own stream. It keeps everything.
///
/// Only its numbers are ours: there is no other way to an [`Entry`].
#[derive(Clone)]
pub(crate) struct Handmade(Arc<Handle>);

/// Closes with the last clone of it.
struct Handle(Shared);

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<List>>);

#[derive(Default)]
struct List {
    numbers: DataStore,
    entries: Vec<Entry>,
    /// One for each reader that waits.
    wakers: BTreeMap<usize, Waker>,
    readers: usize,
    /// How many readers there have ever been.
    known: usize,
}

impl Shared {
    fn list(&self) -> MutexGuard<'_, List> {
        self.0.lock().expect("no panic under the lock")
    }

    fn wake_all(&self) {
        let wakers = std::mem::take(&mut self.list().wakers);
        wakers.into_values().for_each(Waker::wake);
    }

    fn close(&self) {
        self.list().numbers.close();
        self.wake_all();
    }
}

impl Handmade {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Handle(Shared::default())))
    }

    pub(crate) fn close(&self) {
        self.0.0.close();
    }

    pub(crate) fn subscribers(&self) -> usize {
        self.0.0.list().readers
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Store for Handmade {
    fn submit(&self, event: Event) -> Result<Submitted, SubmitError> {
        let shared = &self.0.0;
        let mut list = shared.list();
        let position = list.numbers.submit(event)?.id().expect("in memory");
        let entry = list.numbers.get();
        list.entries.extend(entry);
        drop(list);
        shared.wake_all();
        Ok(Submitted::ready(position))
    }

    fn subscribe(&self, subscribe: Subscribe) -> Subscription {
        let shared = self.0.0.clone();
        let mut list = shared.list();
        let end = list.entries.len();
        let next = match (subscribe.last_event_id, subscribe.start) {
            (Some(LastEventId::At(id)), _) => end.min(id.offset() as usize),
            (_, Start::Oldest) => 0,
            (_, Start::Last(n)) => end.saturating_sub(n as usize),
            _ => end,
        };
        list.readers += 1;
        list.known += 1;
        let key = list.known;
        drop(list);
        Subscription::from_stream(Reading { shared, next, key })
    }
}

struct Reading {
    shared: Shared,
    next: usize,
    key: usize,
}

impl Stream for Reading {
    type Item = Delivery;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        let this = self.get_mut();
        let mut list = this.shared.list();
        if let Some(entry) = list.entries.get(this.next) {
            this.next += 1;
            return Poll::Ready(Some(Delivery::Event(entry.clone())));
        }
        if list.numbers.is_closed() {
            return Poll::Ready(None);
        }
        list.wakers.insert(this.key, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut list = self.shared.list();
        list.readers -= 1;
        list.wakers.remove(&self.key);
    }
}
