//! One hub in several processes, whose log is in NATS: what is said in one is heard in all,
//! and a client that loses one goes on in another.
//!
//! ```text
//! nats-server -js
//! cargo run --example nats --features nats -- --listen 127.0.0.1:9000
//! cargo run --example nats --features nats -- --listen 127.0.0.1:9001
//! curl -N 'http://127.0.0.1:9001/events?topic=lobby&topic=garden'
//! curl -d 'hello' http://127.0.0.1:9000/topics/lobby
//! ```
//!
//! The server is that of `--nats URL` or of `NATS_URL`, where a password is better kept, by
//! default `nats://127.0.0.1:4222`. What is posted to a topic is its data, as it is,
//! and the topic is the event's name. Of topics below `value` the newest event is kept.

#[allow(dead_code, reason = "the demos on hyper use the rest")]
mod support;
#[path = "support/topics.rs"]
mod topics;

use std::error::Error;
use std::process::ExitCode;

use tornadose::backplane::Nats;

#[tokio::main]
async fn main() -> ExitCode {
    let about = "One hub in several processes, whose log is in NATS.";
    let default = "nats://127.0.0.1:4222";
    let options = support::Options::with_server(about, "--nats", "NATS_URL", default);
    match run(&options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            support::complain(error);
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &support::Options) -> Result<(), Box<dyn Error>> {
    let url = options.server.as_deref().unwrap_or_default();
    let hub = topics::settings()?.open(Nats::new(url)?).await?;
    topics::serve(hub, options.listen).await
}
