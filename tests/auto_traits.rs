//! What every public type is by itself: who may take it to another thread, share it,
//! move it while it is polled, and keep it over a panic.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};

use tornadose::{
    Awaited, Control, Cors, DataStore, DataStoreBuilder, Delivery, End, Entry, Event, EventBody,
    EventName, EventSource, Gap, GapReason, Head, Hub, HubBuilder, InvalidName, InvalidOrigin,
    InvalidPosition, InvalidTopic, InvalidUtf8, Lags, LastEventId, Now, OnGap, Overflow, Overload,
    Pattern, Permit, Policy, Position, QueueStore, QueueStoreBuilder, Refusal, Retention, Shutdown,
    Start, Stats, Store, Straggler, SubmitAllError, SubmitError, Submitted, Subscribe,
    Subscription, Topic, Topics,
};

trait Otherwise {
    const IS: bool = false;
}

impl<T: ?Sized> Otherwise for T {}

/// Whether a type is of a trait, as a constant: what is said of a type itself comes
/// before what a trait says of all types.
macro_rules! is {
    ($type:ty: $bound:ident) => {{
        struct Type<T: ?Sized>(PhantomData<T>);
        impl<T: ?Sized + $bound> Type<T> {
            #[allow(dead_code, reason = "`Otherwise` answers where this does not")]
            const IS: bool = true;
        }
        <Type<$type>>::IS
    }};
}

const YES: bool = true;
const NO: bool = false;

fn is_debug<T: Debug>() {}

type Awaiting = EventSource<Awaited>;
type RequestHead = Head<'static>;

macro_rules! table {
    ($($type:ident: $send:ident $sync:ident $unpin:ident $unwind:ident,)+) => {$(
        is_debug::<$type>();
        let is = [
            is!($type: Send),
            is!($type: Sync),
            is!($type: Unpin),
            is!($type: UnwindSafe) && is!($type: RefUnwindSafe),
        ];
        assert_eq!(is, [$send, $sync, $unpin, $unwind], stringify!($type));
    )+};
}

#[test]
fn every_type_is_what_it_says() {
    #[rustfmt::skip]
    table! {
        //                 Send Sync Unpin UnwindSafe
        DataStore:         YES  YES  YES   YES,
        DataStoreBuilder:  YES  YES  YES   YES,
        Delivery:          YES  YES  YES   YES,
        End:               YES  YES  YES   YES,
        Entry:             YES  YES  YES   YES,
        Event:             YES  YES  YES   YES,
        EventBody:         YES  YES  YES   NO,
        EventName:         YES  YES  YES   YES,
        EventSource:       YES  YES  YES   NO,
        Awaiting:          YES  YES  YES   NO,
        Awaited:           YES  YES  YES   YES,
        Cors:              YES  YES  YES   YES,
        Gap:               YES  YES  YES   YES,
        GapReason:         YES  YES  YES   YES,
        InvalidName:       YES  YES  YES   YES,
        InvalidOrigin:     YES  YES  YES   YES,
        Now:               YES  YES  YES   YES,
        Overload:          YES  YES  YES   YES,
        Permit:            YES  YES  YES   NO,
        Refusal:           YES  YES  YES   YES,
        RequestHead:       YES  YES  YES   NO,
        InvalidPosition:   YES  YES  YES   YES,
        InvalidUtf8:       YES  YES  YES   YES,
        LastEventId:       YES  YES  YES   YES,
        OnGap:             YES  YES  YES   YES,
        Overflow:          YES  YES  YES   YES,
        Position:          YES  YES  YES   YES,
        QueueStore:        YES  YES  YES   YES,
        QueueStoreBuilder: YES  YES  YES   YES,
        Retention:         YES  YES  YES   YES,
        Shutdown:          YES  YES  YES   YES,
        Start:             YES  YES  YES   YES,
        Stats:             YES  YES  YES   YES,
        Lags:              YES  YES  YES   YES,
        Straggler:         YES  YES  YES   YES,
        SubmitError:       YES  YES  YES   YES,
        Submitted:         YES  YES  YES   NO,
        Subscribe:         YES  YES  YES   YES,
        Subscription:      YES  YES  YES   NO,
        Control:           YES  YES  YES   YES,
        Hub:               YES  YES  YES   YES,
        HubBuilder:        YES  YES  YES   YES,
        InvalidTopic:      YES  YES  YES   YES,
        Pattern:           YES  YES  YES   YES,
        Policy:            YES  YES  YES   YES,
        SubmitAllError:    YES  YES  YES   YES,
        Topic:             YES  YES  YES   YES,
        Topics:            YES  YES  YES   YES,
    }
    #[cfg(feature = "serve")]
    {
        use tornadose::{ServeError, Server};
        #[rustfmt::skip]
        table! {
            Server:     YES YES YES YES,
            ServeError: YES YES YES NO,
        }
    }
    #[cfg(feature = "websocket")]
    {
        use tornadose::{Envelope, Origins, WebSocketSubscriber};
        type Received = tornadose::Received<'static>;
        type AwaitingSocket = WebSocketSubscriber<Awaited>;
        #[rustfmt::skip]
        table! {
            Envelope:            YES YES YES YES,
            Origins:             YES YES YES YES,
            Received:            YES YES YES YES,
            WebSocketSubscriber: YES YES YES NO,
            AwaitingSocket:      YES YES YES NO,
        }
    }
    #[cfg(feature = "backplane")]
    {
        use tornadose::OpenError;
        use tornadose::backplane::{
            Append, AppendError, BackplaneError, Content, Latest, Record, Window,
        };
        #[rustfmt::skip]
        table! {
            Append:         YES YES YES YES,
            AppendError:    YES YES YES YES,
            BackplaneError: YES YES YES YES,
            Content:        YES YES YES YES,
            Latest:         YES YES YES YES,
            OpenError:      YES YES YES YES,
            Record:         YES YES YES YES,
            Window:         YES YES YES YES,
        }
    }
    #[cfg(feature = "redis")]
    {
        use tornadose::backplane::{InvalidRedis, Redis};
        #[rustfmt::skip]
        table! {
            InvalidRedis: YES YES YES YES,
            Redis:        YES YES YES NO,
        }
    }
    #[cfg(feature = "detached")]
    {
        use tornadose::{Io, Listener};
        #[rustfmt::skip]
        table! {
            Io:       YES YES YES NO,
            Listener: YES YES YES YES,
        }
    }
    #[cfg(feature = "durable")]
    {
        use tornadose::backplane::{Durable, DurableBuilder, DurableError, Fsync};
        #[rustfmt::skip]
        table! {
            Durable:        YES YES YES NO,
            DurableBuilder: YES YES YES NO,
            DurableError:   YES YES YES NO,
            Fsync:          YES YES YES YES,
        }
    }
    #[cfg(feature = "nats")]
    {
        use tornadose::backplane::{InvalidNats, Nats};
        #[rustfmt::skip]
        table! {
            InvalidNats: YES YES YES YES,
            Nats:        YES YES YES NO,
        }
    }
    #[cfg(feature = "json")]
    {
        use tornadose::JsonError;
        table! { JsonError: YES YES YES NO, }
    }
}

#[test]
fn the_table_can_tell_no_from_yes() {
    assert_eq!(
        [
            is!(std::rc::Rc<u8>: Send),
            is!(std::cell::Cell<u8>: Sync),
            is!(u8: Send)
        ],
        [NO, NO, YES]
    );
}

#[test]
fn a_store_behind_a_pointer_can_be_shared() {
    assert_eq!([is!(dyn Store: Send), is!(dyn Store: Sync)], [YES, YES]);
    assert_eq!(
        [
            is!(Box<dyn Store>: Store),
            is!(std::sync::Arc<dyn Store>: Store)
        ],
        [YES, YES]
    );
    #[cfg(feature = "backplane")]
    {
        use tornadose::backplane::{Backplane, Reading};
        let backplane = [is!(dyn Backplane: Send), is!(dyn Backplane: Sync)];
        let reading = [is!(dyn Reading: Send), is!(dyn Reading: Sync)];
        assert_eq!([backplane, reading], [[YES, YES], [YES, NO]]);
    }
}

fn is_error<T: std::error::Error + Send + Sync + 'static>() {}

#[test]
fn every_error_fits_wherever_errors_are_carried() {
    is_error::<InvalidName>();
    is_error::<InvalidOrigin>();
    is_error::<InvalidPosition>();
    is_error::<InvalidUtf8>();
    is_error::<InvalidTopic>();
    is_error::<SubmitAllError>();
    is_error::<SubmitError>();
    #[cfg(feature = "json")]
    is_error::<tornadose::JsonError>();
    #[cfg(feature = "serve")]
    is_error::<tornadose::ServeError>();
    #[cfg(feature = "backplane")]
    {
        is_error::<tornadose::OpenError>();
        is_error::<tornadose::backplane::AppendError>();
        is_error::<tornadose::backplane::BackplaneError>();
    }
    #[cfg(feature = "redis")]
    is_error::<tornadose::backplane::InvalidRedis>();
    #[cfg(feature = "durable")]
    is_error::<tornadose::backplane::DurableError>();
    #[cfg(feature = "nats")]
    is_error::<tornadose::backplane::InvalidNats>();
}

struct Nobody;

impl tornadose::Subscriber for Nobody {
    type Error = std::convert::Infallible;

    async fn deliver(&mut self, _: Delivery) -> Result<(), Self::Error> {
        Ok(())
    }
}

fn is_send<T: Send>(_: T) {}

#[tokio::test]
async fn every_future_can_be_spawned() {
    let store = QueueStore::new();
    let mut subscription = store.subscribe(Start::Live);
    is_send(subscription.recv());
    is_send(store.submit("x").expect("taken"));
    is_send(Shutdown::new().begun());
    is_send(Shutdown::new().ended());
    is_send(store.subscribe(Start::Live).feed(&mut Nobody));
    let request = http::Request::get("/").body(()).expect("a request");
    let awaiting = EventSource::new(store.clone()).permit_async(|_| async { Ok(Permit::new()) });
    is_send(awaiting.respond(&request));
    #[cfg(feature = "websocket")]
    is_send(awaiting.websocket().respond(&request));
    #[cfg(feature = "backplane")]
    {
        let at = store.submit("y").expect("taken").id().expect("its place");
        is_send(Hub::new().reached(at));
    }
    #[cfg(feature = "redis")]
    {
        let redis = tornadose::backplane::Redis::new("redis://h").expect("a URL");
        is_send(Hub::builder().open(redis));
    }
    #[cfg(feature = "durable")]
    is_send(tornadose::backplane::Durable::builder("nowhere").open());
    #[cfg(feature = "detached")]
    {
        let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        is_send(tornadose::Listener::new(tcp.expect("a port")).accept());
    }
    #[cfg(feature = "serve")]
    {
        let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let server = tornadose::Server::new(tcp.expect("a port"));
        is_send(server.serve(EventSource::new(store.clone())));
    }
}
