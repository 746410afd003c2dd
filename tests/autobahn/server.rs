//! The echo that Autobahn|Testsuite fuzzes, see `tests/autobahn/run`: on a free port,
//! until its standard input ends.

mod echo;

use std::io::{self, Write};

use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(io::stdout(), "listening on {}", listener.local_addr()?)?;
    let (mut stdin, mut nowhere) = (tokio::io::stdin(), tokio::io::sink());
    tokio::select! {
        () = echo::accept(echo::socket(), listener) => Ok(()),
        ended = tokio::io::copy(&mut stdin, &mut nowhere) => ended.map(drop),
    }
}
