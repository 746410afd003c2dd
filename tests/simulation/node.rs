//! A process: a store, who submits to it, and a server in front of it.

use std::time::Duration;

use fastrand::Rng;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::task::spawn_local;
use tokio::time::{advance, sleep};
use tornadose::{
    DataStore, Event, EventName, EventSource, Head, Hub, Permit, Policy, QueueStore, Refusal,
    Retention, Shutdown, SubmitError, Submitted, Topics,
};
use turmoil::net::TcpListener;

use crate::client::PORT;
use crate::far::Far;
use crate::history::{Id, Outcome, Submit};
use crate::plan::{Plan, What};
use crate::shared::{Phase, Running, Shared};
use crate::socket::Socket;

#[derive(Clone)]
pub(crate) enum AnyStore {
    Queue(QueueStore),
    Data(DataStore),
    Hub(Hub),
}

impl AnyStore {
    async fn open(plan: &Plan, far: Option<Far>) -> Self {
        let retention = Retention::new().events(plan.keeps);
        let queue = Policy::queue(retention).overflow(plan.overflow);
        let values = "v/#".parse().expect("a pattern");
        let hub = Hub::builder()
            .policy(values, Policy::latest())
            .default_policy(queue);
        match (plan.what, far) {
            (What::Queue, _) => Self::Queue(
                QueueStore::builder()
                    .retention(retention)
                    .overflow(plan.overflow)
                    .build(),
            ),
            (What::Data, _) => Self::Data(DataStore::new()),
            (_, None) => Self::Hub(hub.build()),
            (_, Some(far)) => loop {
                let hub = hub.clone().patience(Duration::from_secs(3));
                match hub.open(far.clone()).await {
                    Ok(hub) => return Self::Hub(hub),
                    Err(_) => sleep(Duration::from_millis(200)).await,
                }
            },
        }
    }

    pub(crate) fn submit(&self, event: Event) -> Result<Submitted, SubmitError> {
        match self {
            Self::Queue(store) => store.submit(event),
            Self::Data(store) => store.submit(event),
            Self::Hub(hub) => hub.submit(event),
        }
    }

    pub(crate) fn source(&self) -> EventSource {
        match self {
            Self::Queue(store) => EventSource::new(store.clone()),
            Self::Data(store) => EventSource::new(store.clone()),
            Self::Hub(hub) => EventSource::new(hub.clone()),
        }
    }

    pub(crate) fn close(&self) {
        match self {
            Self::Queue(store) => store.close(),
            Self::Data(store) => store.close(),
            Self::Hub(hub) => hub.close(),
        }
    }

    pub(crate) fn subscribers(&self) -> usize {
        match self {
            Self::Queue(store) => store.subscribers(),
            Self::Data(store) => store.subscribers(),
            Self::Hub(hub) => hub.subscribers(),
        }
    }

    /// How many events it holds.
    pub(crate) fn retained(&self) -> usize {
        match self {
            Self::Queue(store) => store.stats().retained,
            Self::Data(store) => store.stats().retained,
            Self::Hub(hub) => hub.stats().retained,
        }
    }
}

/// A node's life, from its start until it is killed.
pub(crate) async fn run(shared: Shared, at: usize, far: Option<Far>) -> turmoil::Result {
    let incarnation = {
        let mut state = shared.state();
        let node = &mut state.nodes[at];
        node.incarnation += 1;
        node.serving = 0;
        node.jump = Duration::ZERO;
        node.has_submitted = false;
        node.unanswered = 0;
        node.granted.clear();
        node.incarnation
    };
    let plan = &shared.plan;
    let store = AnyStore::open(plan, far).await;
    let shutdown = Shutdown::new();
    let mut source = store
        .source()
        .start(plan.start)
        .keep_alive(plan.keep_alive)
        .farewell(plan.farewell..=plan.farewell)
        .shutdown(&shutdown)
        .permit(permit(&shared, at));
    if let Some(retry) = plan.retry {
        source = source.retry(retry);
    }
    shared.state().nodes[at].running = Some(Running {
        store: store.clone(),
        source: source.clone(),
        shutdown,
    });
    spawn_local(jump(shared.clone(), at));
    let publisher = Publisher {
        rng: shared.rng(0x0070_0000 + ((at as u64) << 8) + incarnation),
        shared: shared.clone(),
        store,
        at,
        prefix: format!("n{at}.{incarnation}"),
        count: 0,
    };
    spawn_local(publisher.run());
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        spawn_local(serve(shared.clone(), at, source.clone(), stream));
    }
}

/// Counts who is served.
struct Serving(Shared, usize);

impl Serving {
    fn new(shared: Shared, at: usize) -> Self {
        shared.state().nodes[at].serving += 1;
        Self(shared, at)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let node = &mut self.0.state().nodes[self.1];
        node.serving = node.serving.saturating_sub(1);
    }
}

async fn serve(shared: Shared, at: usize, source: EventSource, stream: turmoil::net::TcpStream) {
    let socket = Socket::new(stream, shared.plan.stall);
    let _serving = Serving::new(shared.clone(), at);
    let sockets = source.websocket().ping(2 * shared.plan.keep_alive);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let answer = match request.uri().path() {
            "/socket" => sockets.respond(&request),
            _ => source.respond(&request),
        };
        async move { Ok::<_, std::convert::Infallible>(answer) }
    });
    let mut http = http1::Builder::new();
    // A date is not the same the next time.
    http.auto_date_header(false)
        .max_buf_size(8192)
        .timer(TokioTimer::new())
        .header_read_timeout(shared.plan.stall);
    let connection = http.serve_connection(TokioIo::new(socket), service);
    let _ = connection.with_upgrades().await;
}

type Permitted = Result<Permit, Refusal>;

/// Lets everybody in who is not banned, to what they ask for.
fn permit(shared: &Shared, at: usize) -> impl Fn(&Head<'_>) -> Permitted + Send + Sync + 'static {
    let shared = shared.clone();
    let rng = std::sync::Mutex::new(shared.rng(0x0065_0000 + at as u64));
    move |head| {
        let number = |name| head.query(name).and_then(|text| text.parse::<u64>().ok());
        let (Some(client), Some(connection)) = (number("client"), number("connection")) else {
            return Err(Refusal::UNAUTHORIZED);
        };
        let connection = usize::try_from(connection).map_err(|_| Refusal::UNAUTHORIZED)?;
        let mut state = shared.state();
        let mut rng = rng.lock().unwrap_or_else(|error| error.into_inner());
        if state.banned.contains(&client) {
            return Err(match rng.bool() {
                true => Refusal::FORBIDDEN,
                false => Refusal::LATER,
            });
        }
        let granted = state.stamp();
        state.history.connections[connection].granted = Some(granted);
        state.nodes[at].granted.push((client, connection));
        let mut permit = Permit::new().key(client.to_string());
        if state.phase == Phase::Chaos && rng.u32(..6) == 0 {
            let millis = rng.u64(50..3000);
            permit = permit.expires_in(Duration::from_millis(millis));
            // A node's clock is never behind, but it is looked at only now and then.
            let over = granted + 1_000_000 * (millis + 200);
            state.history.connections[connection].revoked = Some(over);
        }
        drop(state);
        let mut topics = Topics::new();
        let mut any = false;
        for topic in head.queries("topic") {
            any = true;
            topics = match topic.contains(['+', '#']) {
                true => topics.pattern(topic.parse().map_err(|_| Refusal::NOT_FOUND)?),
                false => topics.topic(topic.parse().map_err(|_| Refusal::NOT_FOUND)?),
            };
        }
        Ok(if any { permit.topics(topics) } else { permit })
    }
}

/// The clock of a node that was asleep goes on where that of the others is.
async fn jump(shared: Shared, at: usize) {
    loop {
        sleep(Duration::from_millis(100)).await;
        let far = std::mem::take(&mut shared.state().nodes[at].jump);
        if !far.is_zero() {
            advance(far).await;
        }
    }
}

struct Publisher {
    rng: Rng,
    shared: Shared,
    store: AnyStore,
    at: usize,
    prefix: String,
    count: u64,
}

impl Publisher {
    async fn run(mut self) {
        let plan = self.shared.plan.clone();
        let topics = plan.topics();
        loop {
            let pause = plan.pace.mul_f64(0.2 + 1.6 * self.rng.f64());
            sleep(pause).await;
            match self.shared.phase() {
                Phase::Chaos => {
                    let burst = std::mem::take(&mut self.shared.state().nodes[self.at].burst);
                    for _ in 0..self.rng.usize(1..=plan.batch) + burst {
                        let topic = topics[self.rng.usize(..topics.len())];
                        self.submit(topic).await;
                    }
                }
                Phase::Healed => {}
                Phase::Last => {
                    for topic in topics {
                        self.submit(topic).await;
                    }
                    self.shared.state().nodes[self.at].has_submitted = true;
                    return;
                }
                Phase::Leaving => return,
            }
        }
    }

    async fn submit(&mut self, topic: &str) {
        self.count += 1;
        let uid = format!("{}.{}", self.prefix, self.count);
        let data = format!("{uid}|{}", payload(&mut self.rng, self.shared.plan.bytes));
        let mut event = Event::new(data.clone());
        let mut name = "message";
        if self.rng.u32(..4) == 0 {
            name = "tïck";
            event = event.name(EventName::new(name).expect("a name"));
        }
        if !topic.is_empty() {
            event = event.topic(topic.parse().expect("a topic"));
        }
        let invoked = self.shared.stamp();
        let at = self.shared.submit(Submit {
            uid,
            topic: topic.to_owned(),
            name: name.to_owned(),
            data,
            invoked,
            outcome: Outcome::Unknown,
        });
        match self.store.submit(event) {
            Err(error) => answered(&self.shared, at, &Err(error)),
            Ok(submitted) => match submitted.id() {
                Some(id) => {
                    answered(&self.shared, at, &Ok(id));
                    // Until there is room.
                    let _ = submitted.await;
                }
                None => {
                    let (shared, node) = (self.shared.clone(), self.at);
                    shared.state().nodes[node].unanswered += 1;
                    let answer = async move {
                        answered(&shared, at, &submitted.await);
                        let mut state = shared.state();
                        let unanswered = &mut state.nodes[node].unanswered;
                        *unanswered = unanswered.saturating_sub(1);
                    };
                    match self.rng.u32(..4) {
                        0 => answer.await,
                        _ => drop(spawn_local(answer)),
                    }
                }
            },
        }
    }
}

fn answered(shared: &Shared, at: usize, answer: &Result<tornadose::Position, SubmitError>) {
    let mut state = shared.state();
    let now = state.stamp();
    state.history.submits[at].outcome = match answer {
        Ok(position) => match Id::parse(&position.to_string()) {
            Some(id) => Outcome::Ok(now, id),
            None => {
                state.wrong.push(format!("{position} is no id"));
                Outcome::Unknown
            }
        },
        Err(SubmitError::Unknown(_)) => Outcome::Unknown,
        Err(_) => Outcome::Refused,
    };
}

/// Something awkward.
fn payload(rng: &mut Rng, bytes: usize) -> String {
    const PARTS: [&str; 16] = [
        "",
        " ",
        "\n",
        "\r",
        "\r\n",
        ":",
        "data: x",
        "id: 7",
        "event: gap",
        "é",
        "\u{feff}",
        "\u{2028}",
        "🙂",
        "retry: 1",
        "plain text",
        "\"\\\t\u{1}",
    ];
    let mut text = String::new();
    let most = rng.usize(..bytes);
    while text.len() < most {
        text += PARTS[rng.usize(..PARTS.len())];
        text.push(char::from(rng.u8(b'a'..=b'z')));
    }
    text
}
