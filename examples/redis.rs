//! A hub whose log is in Redis: run it twice, and both are one.
//!
//! ```text
//! cargo run --example redis --features redis -- --redis redis://127.0.0.1:6379
//! cargo run --example redis --features redis -- --redis redis://127.0.0.1:6379 --listen 127.0.0.1:9001
//! curl -N 'http://127.0.0.1:9000/events?topic=lobby&topic=value/oil'
//! curl -d 'hello' http://127.0.0.1:9001/topics/lobby
//! redis-cli XADD tornadose '*' topic lobby data 'hello from elsewhere'
//! ```
//!
//! End one while a client reads from it, and let the client go on at the other with
//! `-H 'Last-Event-ID: ..'`: nothing is missing. Topics below `value/` are latest values.
//! `--help` tells the options.

#[allow(dead_code, reason = "the demos on hyper use the rest")]
mod support;
#[path = "support/topics.rs"]
mod topics;

use std::error::Error;
use std::process::ExitCode;

use tornadose::backplane::Redis;

#[tokio::main]
async fn main() -> ExitCode {
    let about = "A hub whose log is in Redis; run it twice, and both are one.";
    let default = "redis://127.0.0.1:6379";
    let options = support::Options::with_server(about, "--redis", "REDIS_URL", default);
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
    let hub = topics::settings()?.open(Redis::new(url)?).await?;
    topics::serve(hub, options.listen).await
}
