//! Publish/subscribe over Server-Sent Events, in the web server you already have.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(test),
    warn(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

mod adapter;
mod error;
mod event;
mod gap;
mod log;
mod store;
mod subscriber;
mod subscription;
mod wire;

#[cfg(feature = "json")]
pub use crate::error::JsonError;
pub use crate::error::{InvalidName, InvalidPosition, InvalidUtf8, SubmitError};
pub use crate::event::{Event, EventName};
pub use crate::gap::{Gap, GapReason};
pub use crate::log::{End, Entry, LastEventId, Overflow, Position, Retention, Start, Submitted};
pub use crate::store::{DataStore, DataStoreBuilder, QueueStore, QueueStoreBuilder, Store};
pub use crate::subscriber::{EventBody, EventSource, OnGap, Shutdown, Subscriber};
pub use crate::subscription::{Delivery, Subscribe, Subscription};
