//! What stands between a request and its subscription, whatever the protocol: the
//! hook, the limits, the shutdown.

use std::fmt;
use std::future::{Future, Ready, ready};
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::head::Head;
use super::permit::{Permit, PermitAsync, PermitNow, Refusal};
use super::shutdown::{Departure, Shutdown};
use super::streams::{Admitted, Limits, Streams};
use crate::event::Event;
#[cfg(feature = "websocket")]
use crate::log::topics::Control;
use crate::log::{LastEventId, Start};
use crate::observe::{Happening, Protocol, Refused, Watched, observe};
use crate::planted::planted;
use crate::store::Store;
use crate::subscription::{Subscribe, Subscription};

/// A store and who may have its streams. Clones share the count of what is open.
#[derive(Clone)]
pub(crate) struct Access {
    store: Arc<dyn Store>,
    rules: Arc<Rules>,
    streams: Arc<Streams>,
}

#[derive(Clone)]
pub(crate) struct Rules {
    pub(crate) start: Start,
    pub(crate) hook: Hook,
    pub(crate) limits: Limits,
    pub(crate) overload: Overload,
    pub(crate) max_age: Option<Duration>,
    pub(crate) shutdown: Option<Shutdown>,
    pub(crate) farewell: (Duration, Duration),
}

/// What a client gets when there are too many streams already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Overload {
    /// `200`, a jittered `retry:` and the end: a browser comes back in a while. The
    /// default, because every other status closes a browser's `EventSource` for ever.
    /// A WebSocket is opened and closed with `1013`.
    #[default]
    Later,
    /// `503`: a browser does not come back by itself.
    Unavailable,
    /// `204`: a browser does not come back.
    Stop,
}

/// Who has got in.
pub(crate) struct Entered {
    pub(crate) subscription: Subscription,
    pub(crate) admitted: Admitted,
    pub(crate) lifetime: Option<Duration>,
    pub(crate) watched: Watched,
    #[cfg(feature = "websocket")]
    pub(crate) control: Option<Control>,
    /// The last one to drop.
    pub(crate) departure: Option<Departure>,
}

impl Access {
    pub(crate) fn new(store: impl Store) -> Self {
        Self {
            store: Arc::new(store),
            rules: Arc::new(Rules {
                start: Start::Live,
                hook: Hook::Open,
                limits: Limits {
                    total: usize::MAX,
                    per_key: usize::MAX,
                },
                overload: Overload::Later,
                max_age: None,
                shutdown: None,
                farewell: (Duration::from_secs(2), Duration::from_secs(6)),
            }),
            streams: Streams::new(),
        }
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    pub(crate) fn set(&mut self, set: impl FnOnce(&mut Rules)) {
        set(Arc::make_mut(&mut self.rules));
    }

    pub(crate) fn streams(&self) -> &Streams {
        &self.streams
    }

    /// Counts and subscribes. `None` if there are too many already.
    pub(crate) fn enter(
        &self,
        permit: Permit,
        last_event_id: Option<LastEventId>,
        protocol: Protocol,
    ) -> Option<Entered> {
        let rules = &*self.rules;
        let Some(admitted) = self.streams.admit(permit.key, rules.limits) else {
            observe(&Happening::Refused(protocol, Refused::Limit));
            return None;
        };
        let store = permit.store.as_ref().unwrap_or(&self.store);
        #[cfg(feature = "websocket")]
        let control = permit.subscribe.control.clone();
        let subscription = store.subscribe(Subscribe {
            start: permit.start.unwrap_or(rules.start),
            last_event_id,
            ..permit.subscribe
        });
        let max_age = rules.max_age.map(|age| between((age.mul_f64(0.8), age)));
        let lifetime = match (permit.expires_in, max_age) {
            (Some(expires), Some(max_age)) => Some(expires.min(max_age)),
            (expires, max_age) => expires.or(max_age),
        };
        Some(Entered {
            subscription,
            admitted,
            lifetime,
            watched: Watched::new(protocol),
            #[cfg(feature = "websocket")]
            control,
            departure: rules.shutdown.as_ref().map(Shutdown::departure),
        })
    }

    /// When the next client is to come back that is sent away.
    pub(crate) fn farewell(&self) -> Duration {
        between(self.rules.farewell)
    }
}

/// Whether a handler answers at once or after a hook that waits: [`Now`] or
/// [`Awaited`]. Sealed.
pub trait When: sealed::Decide + Sized + Send + Sync + 'static {
    /// An answer to come.
    type Wait<T: Send + 'static>: Future<Output = T> + Send + 'static;
}

/// A handler that answers at once.
#[derive(Clone, Copy, Debug)]
pub enum Now {}

/// A handler whose permission hook waits for somebody.
#[derive(Clone, Copy, Debug)]
pub enum Awaited {}

impl When for Now {
    type Wait<T: Send + 'static> = Ready<T>;
}

impl When for Awaited {
    type Wait<T: Send + 'static> = Pin<Box<dyn Future<Output = T> + Send>>;
}

pub(crate) use self::sealed::Hook;

mod sealed {
    use super::{Awaited, Head, Now, Permit, PermitAsync, PermitNow, Refusal, When, ready};

    /// Who decides. Nameable nowhere else, public because [`Decide`] is.
    #[derive(Clone)]
    pub enum Hook {
        Open,
        Now(PermitNow),
        Async(PermitAsync),
    }

    /// How a hook is asked.
    pub trait Decide {
        /// An answer that needs nobody.
        fn now<T: Send + 'static>(answer: T) -> <Self as When>::Wait<T>
        where
            Self: When;

        /// The answer that follows from what the hook says.
        fn decide<T: Send + 'static>(
            hook: &Hook,
            head: Head<'_>,
            then: impl FnOnce(Result<Permit, Refusal>) -> T + Send + 'static,
        ) -> <Self as When>::Wait<T>
        where
            Self: When;
    }

    impl Decide for Now {
        fn now<T: Send + 'static>(answer: T) -> <Self as When>::Wait<T> {
            ready(answer)
        }

        fn decide<T: Send + 'static>(
            hook: &Hook,
            head: Head<'_>,
            then: impl FnOnce(Result<Permit, Refusal>) -> T + Send + 'static,
        ) -> <Self as When>::Wait<T> {
            ready(then(hook.ask(head)))
        }
    }

    impl Decide for Awaited {
        fn now<T: Send + 'static>(answer: T) -> <Self as When>::Wait<T> {
            Box::pin(ready(answer))
        }

        fn decide<T: Send + 'static>(
            hook: &Hook,
            head: Head<'_>,
            then: impl FnOnce(Result<Permit, Refusal>) -> T + Send + 'static,
        ) -> <Self as When>::Wait<T> {
            match hook {
                Hook::Async(hook) => {
                    let permitting = hook(&head);
                    Box::pin(async move { then(permitting.await) })
                }
                Hook::Now(_) | Hook::Open => Box::pin(ready(then(hook.ask(head)))),
            }
        }
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook").finish_non_exhaustive()
    }
}

impl Hook {
    pub(crate) fn ask(&self, head: Head<'_>) -> Result<Permit, Refusal> {
        match self {
            Self::Open => Ok(Permit::new()),
            _ if planted("unasked-on-resume") && head.last_event_id().is_some() => {
                Ok(Permit::new())
            }
            Self::Now(hook) => hook(&head),
            // `Awaited` in the type; nothing is granted that was not asked for.
            Self::Async(_) => Err(Refusal::FORBIDDEN),
        }
    }
}

/// A range of times that can be told to clients.
pub(crate) fn clamped(wait: &RangeInclusive<Duration>) -> (Duration, Duration) {
    let clamp = |time: &Duration| (*time).clamp(Event::MIN_RETRY, Event::MAX_RETRY);
    let least = clamp(wait.start());
    (least, clamp(wait.end()).max(least))
}

/// Some time between two, another one for each client.
pub(crate) fn between((least, most): (Duration, Duration)) -> Duration {
    let part = getrandom::u32().unwrap_or(u32::MAX / 2);
    least + (most - least).mul_f64(f64::from(part) / f64::from(u32::MAX))
}
