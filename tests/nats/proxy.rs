//! A way to a server that can be cut.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(crate) struct Proxy {
    address: SocketAddr,
    /// How often it has been cut, and whether it lets anybody through.
    state: watch::Sender<(u64, bool)>,
}

impl Proxy {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let state = watch::Sender::new((0, true));
        let states = state.subscribe();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut states = states.clone();
                let (cuts, is_open) = *states.borrow_and_update();
                if !is_open {
                    continue;
                }
                tokio::spawn(async move {
                    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else {
                        return;
                    };
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        _ = states.wait_for(|(now, _)| *now != cuts) => {}
                    }
                });
            }
        });
        Self { address, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Ends all connections.
    pub(crate) fn cut(&self) {
        self.state.send_modify(|(cuts, _)| *cuts += 1);
    }

    /// Ends all connections, and lets nobody through until it is opened.
    pub(crate) fn close(&self) {
        self.state
            .send_modify(|(cuts, is_open)| (*cuts, *is_open) = (*cuts + 1, false));
    }

    pub(crate) fn open(&self) {
        self.state.send_modify(|(_, is_open)| *is_open = true);
    }
}
