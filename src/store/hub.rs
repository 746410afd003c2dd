//! Many topics, one order.

use std::borrow::Cow;
use std::fmt;
#[cfg(feature = "backplane")]
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
#[cfg(feature = "backplane")]
use std::time::Duration;

use super::{MAX_EVENT_BYTES, Store};
#[cfg(feature = "backplane")]
use crate::backplane::{Backplane, Link, Settings};
use crate::entry::Entry;
#[cfg(feature = "backplane")]
use crate::error::OpenError;
use crate::error::{SubmitAllError, SubmitError};
use crate::event::Event;
use crate::log::Submitted;
use crate::log::topics::{Policies, Policy, TopicLog};
use crate::position::Position;
use crate::stats::Stats;
use crate::subscription::{Subscribe, Subscription};
use crate::topic::{Pattern, Topic};

/// A store of many topics in one order: one connection can be to any of them, and has one
/// position in all of them, so a plain browser `EventSource` resumes them all from one
/// `Last-Event-ID`.
///
/// - A topic is there when somebody submits to it or subscribes to it, and is forgotten
///   when it holds nothing and nobody reads it.
/// - Each has the [`Policy`] of the first rule that matches its name: the latest value, or
///   a queue with its own retention. Both kinds mix on one connection.
/// - Who submits wakes who reads that topic, and nobody else.
/// - A topic may also wait for its slowest reader ([`Policy::overflow`]): that holds back
///   who submits to it, and nobody else.
/// - What a slow or returning reader has lost it is told as a [`Gap`](crate::Gap), where
///   the last of the lost events of a topic stood. How many they were is known where it
///   reads the topic by name and was there when they were submitted, or came back before
///   they were let go of.
///
/// ```
/// use tornadose::{Event, Hub, Policy, Start, Subscribe, Topic, Topics};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::builder().policy("price/#".parse()?, Policy::latest()).build();
/// let (room, price): (Topic, Topic) = ("rooms/7".parse()?, "price/oil".parse()?);
///
/// hub.submit(Event::new("81.20").topic(price.clone()))?;
/// hub.submit(Event::new("81.25").topic(price.clone()))?;
///
/// let topics = Topics::new().topic(room.clone()).pattern("price/+".parse()?);
/// let mut subscription = hub.subscribe(Subscribe::from(Start::Live).topics(topics));
/// hub.submit(Event::new("hello").topic(room))?;
///
/// for expected in ["81.25", "hello"] {
///     let delivery = subscription.recv().await.unwrap();
///     assert_eq!(delivery.event().unwrap().data(), expected);
/// }
/// # Ok(())
/// # }
/// ```
///
/// Memory: what the policies retain of each topic, at most twice that of one that waits, and
/// about 250 bytes for each; of a topic that was forgotten, its name, up to 65,536 of them;
/// of each pattern that somebody reads by, up to 160 KiB; of a reader by a pattern that is
/// far behind, up to 96 KiB, and 16 bytes for each topic in which it began with older events.
///
/// A cheap handle: clones share one hub. With the last handle it is closed.
#[derive(Clone)]
pub struct Hub {
    owner: Arc<Owner>,
}

/// Where the log is.
#[derive(Debug)]
enum Owner {
    Here(Arc<TopicLog>),
    #[cfg(feature = "backplane")]
    // No lock of a link knows poison, and what it holds is whole at each step.
    Elsewhere(AssertUnwindSafe<Arc<Link>>),
}

impl Drop for Owner {
    fn drop(&mut self) {
        match self {
            Self::Here(log) => log.close(),
            #[cfg(feature = "backplane")]
            Self::Elsewhere(link) => link.close(),
        }
    }
}

impl Hub {
    /// A hub with the defaults of [`builder`](Self::builder).
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Settings for a hub.
    pub fn builder() -> HubBuilder {
        HubBuilder {
            policies: Policies::default(),
            max_event_bytes: MAX_EVENT_BYTES,
            name: None,
            #[cfg(feature = "backplane")]
            elsewhere: Elsewhere::default(),
        }
    }

    /// What there is of the log in this process, now.
    fn log(&self) -> Cow<'_, Arc<TopicLog>> {
        match &*self.owner {
            Owner::Here(log) => Cow::Borrowed(log),
            #[cfg(feature = "backplane")]
            Owner::Elsewhere(link) => Cow::Owned(link.log()),
        }
    }

    /// Appends an event to its [topic](Event::topic) and wakes who reads that.
    ///
    /// Callable from any thread, inside a runtime or not; it never waits for a
    /// subscriber. What it returns may be dropped, or awaited for back-pressure, if the
    /// topic's policy says [`Overflow::Wait`](crate::Overflow::Wait). The first event of a
    /// topic also costs a look at every rule and at every pattern that somebody reads by.
    ///
    /// # Errors
    ///
    /// [`SubmitError`] hands the event back; nobody sees anything of it.
    pub fn submit(&self, event: impl Into<Event>) -> Result<Submitted, SubmitError> {
        match &*self.owner {
            Owner::Here(log) => Ok(Submitted::in_topic(log.append(event.into())?, log)),
            #[cfg(feature = "backplane")]
            Owner::Elsewhere(link) => link.submit(event.into()).map(Submitted::sent),
        }
    }

    /// Appends events of any topics right behind each other: nobody sees one of them
    /// before all of them are there. Each of what it returns is the back-pressure of its
    /// topic.
    ///
    /// # Errors
    ///
    /// [`SubmitAllError`] hands all of them back; nobody sees anything of any. None at all is
    /// no error, and does nothing. More events
    /// of one topic that [waits](crate::Overflow::Wait) than twice its retention are
    /// [`Full`](SubmitError::Full) as long as somebody reads it, however little it holds.
    ///
    /// A hub that is kept [elsewhere](crate::backplane) takes all of them or none, and stores
    /// them in this order, but each for itself: those of another process may come between,
    /// and one may be stored where the next is not, as what is returned tells.
    pub fn submit_all(
        &self,
        events: impl IntoIterator<Item = Event>,
    ) -> Result<Vec<Submitted>, SubmitAllError> {
        let events: Vec<_> = events.into_iter().collect();
        if events.is_empty() {
            return Ok(Vec::new());
        }
        match &*self.owner {
            Owner::Here(log) => {
                let taken = log.append_all(events)?.into_iter();
                Ok(taken.map(|taken| Submitted::in_topic(taken, log)).collect())
            }
            #[cfg(feature = "backplane")]
            Owner::Elsewhere(link) => {
                let answers = link.submit_all(events)?.into_iter();
                Ok(answers.map(Submitted::sent).collect())
            }
        }
    }

    /// Begins a subscription to [the topics](Subscribe::topics) that it names; to nothing
    /// if it names none.
    pub fn subscribe(&self, subscribe: impl Into<Subscribe>) -> Subscription {
        #[cfg(feature = "backplane")]
        if let Owner::Elsewhere(link) = &*self.owner
            && !link.is_there()
        {
            return Subscription::unavailable();
        }
        Subscription::of_topics(&self.log(), &subscribe.into())
    }

    /// How many subscriptions there are now.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        self.log().subscriptions()
    }

    /// How many subscriptions there are to this topic now, by name or by a pattern. One
    /// that is to it in several ways is counted for each.
    #[must_use]
    pub fn subscribers_of(&self, topic: &Topic) -> usize {
        self.log().readers(topic)
    }

    /// How many topics there are now.
    #[must_use]
    pub fn topics(&self) -> usize {
        self.log().topics()
    }

    /// The newest event of a topic, if it is retained.
    #[must_use]
    pub fn get(&self, topic: &Topic) -> Option<Entry> {
        self.log().latest(topic)
    }

    /// The position of the newest event of any topic. `None` before the first.
    #[must_use]
    pub fn latest(&self) -> Option<Position> {
        self.log().head()
    }

    /// What there is in all topics together, what was done, and who is behind: a snapshot, at its [cost](Stats#cost).
    /// Of a hub that is kept [elsewhere](crate::backplane) what this process has read and
    /// delivered, since it has read the log: where the engine has lost something of it and
    /// it was read anew, counters begin anew, too.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.log().stats()
    }

    /// The same of one topic, since it was made or was forgotten last. `None` if there is
    /// none. Cost: a look at every subscription.
    #[must_use]
    pub fn stats_of(&self, topic: &Topic) -> Option<Stats> {
        self.log().stats_of(topic)
    }

    /// The same of the topics to which most was submitted, at most so many, the busiest
    /// first. Cost: a look at every topic and at every subscription.
    #[must_use]
    pub fn topic_stats(&self, most: usize) -> Vec<Stats> {
        self.log().topic_stats(most)
    }

    /// Waits until this process has read what has been stored at this position, so that who
    /// subscribes now gets it, or [`get`](Self::get) does. A hub in memory has.
    ///
    /// `false` if this process will not: another log has taken the place of the one that is
    /// read here, or the hub has ended. A position of another log is waited for, until the
    /// log that is read here is replaced or ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it waits and does nothing.
    #[cfg(feature = "backplane")]
    #[cfg_attr(docsrs, doc(cfg(feature = "backplane")))]
    pub async fn reached(&self, position: Position) -> bool {
        match &*self.owner {
            Owner::Here(_) => true,
            Owner::Elsewhere(link) => link.reached(position).await,
        }
    }

    /// Whether what keeps the log can be reached: while it cannot, submitting fails, who
    /// subscribes is sent away for a while, and who has subscribed
    /// [stays](HubBuilder::patience). A hub in memory always can.
    #[cfg(feature = "backplane")]
    #[cfg_attr(docsrs, doc(cfg(feature = "backplane")))]
    #[must_use]
    pub fn is_available(&self) -> bool {
        match &*self.owner {
            Owner::Here(_) => true,
            Owner::Elsewhere(link) => link.is_there(),
        }
    }

    /// Takes no more events. Subscribers get what was submitted before and then
    /// end ([`End::Closed`](crate::End::Closed)). Closing twice is closing once.
    ///
    /// A hub that is kept [elsewhere](crate::backplane) is closed in this process alone. It
    /// goes on until what was submitted has been stored and read again, for 5 seconds each at
    /// most; then its subscribers end, and what has not been stored is
    /// [`Unavailable`](SubmitError::Unavailable), or `Unknown`.
    pub fn close(&self) {
        match &*self.owner {
            Owner::Here(log) => log.close(),
            #[cfg(feature = "backplane")]
            Owner::Elsewhere(link) => link.close(),
        }
    }

    /// Whether the hub is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        match &*self.owner {
            Owner::Here(log) => log.is_closed(),
            #[cfg(feature = "backplane")]
            Owner::Elsewhere(link) => link.is_closed(),
        }
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self::new()
    }
}

impl Store for Hub {
    fn submit(&self, event: Event) -> Result<Submitted, SubmitError> {
        self.submit(event)
    }

    fn subscribe(&self, subscribe: Subscribe) -> Subscription {
        self.subscribe(subscribe)
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("topics", &self.topics())
            .field("subscribers", &self.subscribers())
            .finish_non_exhaustive()
    }
}

/// Settings for a [`Hub`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct HubBuilder {
    policies: Policies,
    max_event_bytes: usize,
    name: Option<&'static str>,
    #[cfg(feature = "backplane")]
    elsewhere: Elsewhere,
}

/// What only matters if the log is kept elsewhere.
#[cfg(feature = "backplane")]
#[derive(Clone, Debug)]
struct Elsewhere {
    patience: Duration,
    window: usize,
    queue: usize,
}

#[cfg(feature = "backplane")]
impl Default for Elsewhere {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(30),
            window: 100_000,
            queue: 65_536,
        }
    }
}

impl HubBuilder {
    /// What becomes of topics that match: by name, by prefix (`prices/#`) or otherwise.
    /// Of several rules that match the one that was given first counts.
    pub fn policy(mut self, pattern: Pattern, policy: Policy) -> Self {
        self.policies.rules.push((pattern, policy));
        self
    }

    /// What becomes of all other topics. Default: [`Policy::default`], a queue of 1,000
    /// events in 1 MiB.
    pub fn default_policy(mut self, policy: Policy) -> Self {
        self.policies.default = policy;
        self
    }

    /// Tells who reads the topics that match, as events of the topic `presence/<topic>`:
    /// `join` and `leave`, whose data is `{"topic":"rooms/7","name":"ann","count":3}`, the
    /// name if the subscription [has one](Subscribe::name), the count exact at that place
    /// in the order. Counted are subscriptions to the topic by its name. Default: none.
    ///
    /// Cost: an event for each who comes or goes. With [`Policy::latest`] for `presence/#`
    /// one of each topic is kept, which tells how many there are but, of two who came
    /// together, only one. Who may read a topic is not by that permitted to read its
    /// presence, and who may submit to any topic must not be let submit to that.
    pub fn presence(mut self, pattern: Pattern) -> Self {
        self.policies.presence.push(pattern);
        self
    }

    /// The largest event that is taken, in bytes of data and name together. Default:
    /// 1 MiB. A topic takes none that its policy's retention cannot hold, encoded.
    pub fn max_event_bytes(mut self, bytes: usize) -> Self {
        self.max_event_bytes = bytes;
        self
    }

    /// What the store is called in its [figures](crate::Stats::store) and in log lines: a
    /// word of the program's own, of which there are few. Default: none.
    pub fn name(mut self, name: &'static str) -> Self {
        self.name = Some(name);
        self
    }

    /// The hub.
    #[must_use]
    pub fn build(self) -> Hub {
        let log = TopicLog::new(self.policies, self.max_event_bytes, self.name);
        Hub {
            owner: Arc::new(Owner::Here(Arc::new(log))),
        }
    }
}

#[cfg(feature = "backplane")]
#[cfg_attr(docsrs, doc(cfg(feature = "backplane")))]
impl HubBuilder {
    /// How long streams stay open while what keeps the log cannot be reached; then they end
    /// ([`End::Unavailable`](crate::End::Unavailable)), and a browser asks again until there
    /// is an answer. Default: 30 seconds. With [`Duration::MAX`] they stay.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.elsewhere.patience = patience;
        self
    }

    /// How many of the newest events are read when the hub is opened, and how far back an id
    /// can be told from one of events that the engine has lost. Default: 100,000. Cost: the
    /// time to read them, 4 bytes for each, and of their topics what their policies retain.
    pub fn window(mut self, events: usize) -> Self {
        self.elsewhere.window = events;
        self
    }

    /// How many events wait at most to be stored; then submitting is
    /// [`Full`](SubmitError::Full). Default: 65,536, of 64 MiB in all.
    pub fn queue(mut self, events: usize) -> Self {
        self.elsewhere.queue = events;
        self
    }

    /// The hub, whose log is kept by this engine, as it is there now: what has been stored
    /// is read before this returns. From then on tasks of this runtime read what is stored,
    /// and store what is submitted, until the hub is closed.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if the engine cannot be reached, or if a policy asks for what only a
    /// log in memory has. Nothing is left behind.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time.
    pub async fn open(self, engine: impl Backplane) -> Result<Hub, OpenError> {
        if self.policies.wait() {
            return Err(OpenError::Waits);
        }
        if !self.policies.presence.is_empty() {
            return Err(OpenError::Presence);
        }
        let settings = Settings {
            policies: Arc::new(self.policies),
            max_event_bytes: self.max_event_bytes,
            name: self.name,
            patience: self.elsewhere.patience,
            window: self.elsewhere.window,
            queue: self.elsewhere.queue,
        };
        let link = Link::open(settings, Arc::new(engine)).await?;
        Ok(Hub {
            owner: Arc::new(Owner::Elsewhere(AssertUnwindSafe(link))),
        })
    }
}
