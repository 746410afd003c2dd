//! Subscribers speak one subscription to one client.
//!
//! - [`EventSource`]: over HTTP, to browsers and everything else that reads
//!   `text/event-stream`.
//! - `WebSocketSubscriber`: over WebSockets, to pages that also have something to say.
//! - [`Subscriber`]: your own, in this process or over any protocol.

mod access;
mod cors;
mod event_body;
mod event_source;
mod head;
mod origin;
mod permit;
mod shutdown;
mod streams;
mod timer;
#[cfg(feature = "websocket")]
mod websocket;

pub use self::access::{Awaited, Now, Overload, When};
pub use self::cors::Cors;
pub(crate) use self::event_body::Open;
pub use self::event_body::{EventBody, OnGap};
#[cfg(feature = "detached")]
pub(crate) use self::event_body::{Grant, State};
pub use self::event_source::EventSource;
pub use self::head::Head;
pub use self::permit::{Permit, Refusal};
pub use self::shutdown::Shutdown;
#[cfg(feature = "detached")]
pub(crate) use self::shutdown::{Departure, Waived};
#[cfg(feature = "detached")]
pub(crate) use self::streams::Admitted;
#[cfg(feature = "detached")]
pub(crate) use self::timer::Timer;
#[cfg(all(feature = "websocket", any(feature = "actix-web", feature = "rocket")))]
pub(crate) use self::websocket::Handshake;
#[cfg(all(feature = "websocket", feature = "rocket"))]
pub(crate) use self::websocket::Session;
#[cfg(feature = "websocket")]
pub use self::websocket::{Origins, Received, WebSocketSubscriber};

use std::future::Future;

use crate::log::End;
use crate::subscription::{Delivery, Subscription};

/// Someone who is told everything that a subscription yields, see
/// [`Subscription::feed`](crate::Subscription::feed).
///
/// # Implementing
///
/// - Deliveries come one at a time, in order. The next one waits until the future
///   of the last is ready: what a slow subscriber has not taken stays in the log,
///   not in a queue, and when the log's retention overtakes it, it is told by a
///   [`Delivery::Gap`] like everybody else.
/// - An error stops the feeding. The subscription can be fed on from there.
///
/// ```
/// use std::convert::Infallible;
/// use tornadose::{Delivery, QueueStore, Start, Subscriber};
///
/// /// Adds up what it is told.
/// #[derive(Default)]
/// struct Sum(i64);
///
/// impl Subscriber for Sum {
///     type Error = Infallible;
///
///     async fn deliver(&mut self, delivery: Delivery) -> Result<(), Infallible> {
///         if let Delivery::Event(event) = delivery {
///             self.0 += event.data().parse().unwrap_or(0);
///         }
///         Ok(())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let store = QueueStore::new();
/// let mut subscription = store.subscribe(Start::Live);
/// for n in 1..=10 {
///     store.submit(n.to_string()).unwrap();
/// }
/// store.close();
/// let mut sum = Sum::default();
/// subscription.feed(&mut sum).await.unwrap();
/// assert_eq!(sum.0, 55);
/// # }
/// ```
pub trait Subscriber: Send + 'static {
    /// Why a delivery failed.
    type Error: Send + 'static;

    /// Takes the next event or gap.
    fn deliver(
        &mut self,
        delivery: Delivery,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Takes leave: nothing more will come. Does nothing unless overridden.
    fn end(&mut self, end: End) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let _ = end;
        std::future::ready(Ok(()))
    }
}

impl Subscription {
    /// Hands everything to a subscriber, one at a time, until the store or the
    /// subscriber ends it.
    ///
    /// # Errors
    ///
    /// The subscriber's own, for one delivery. The subscription stands behind that: feed
    /// again to go on with the next one.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may drop the one delivery that the subscriber had begun.
    pub async fn feed<S: Subscriber>(&mut self, subscriber: &mut S) -> Result<(), S::Error> {
        while let Some(delivery) = self.recv().await {
            subscriber.deliver(delivery).await?;
        }
        subscriber.end(self.end().unwrap_or(End::Closed)).await
    }
}
