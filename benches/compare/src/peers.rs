//! The servers that are compared, and how each of them is started.

use std::fs;
use std::path::{Path, PathBuf};

use crate::server::{self, Server};

/// What they are called, and what they are.
pub(crate) const ALL: [(&str, &str); 9] = [
    ("raw", "a loop of `send`"),
    (
        "raw_coalesce",
        "the same; what was published meanwhile in one `send`",
    ),
    ("detached", "tornadose, detached from hyper"),
    ("body", "tornadose, as hyper's response body"),
    (
        "hyper_bytes",
        "hyper, `Bytes` over `tokio::sync::broadcast`",
    ),
    ("axum_sse", "axum `Sse` over `tokio::sync::broadcast`"),
    ("actix", "actix-web, `Bytes` over `tokio::sync::broadcast`"),
    ("nchan", "nginx with nchan"),
    ("better_sse", "better-sse on Node.js"),
];

#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// Cannot keep up with the rate that the others are measured at with many streams.
    pub(crate) is_slow: bool,
    places: Places,
}

/// Where things are.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// The directory of our own binaries.
    pub(crate) binaries: PathBuf,
    pub(crate) firehose: PathBuf,
    /// Where `peers/better_sse.mjs` is.
    pub(crate) sources: PathBuf,
    /// Where `run` has installed better-sse, and where the servers may write.
    pub(crate) scratch: PathBuf,
    /// Whether servers are kept on one core.
    pub(crate) is_pinned: bool,
}

impl Peer {
    pub(crate) fn new(name: &'static str, places: &Places) -> Self {
        let (is_slow, places) = (name == "better_sse", places.clone());
        Self {
            name,
            is_slow,
            places,
        }
    }

    /// Starts it on an address of its own.
    ///
    /// # Errors
    ///
    /// What it has to say to that.
    pub(crate) fn start(&self) -> Result<Server, String> {
        let address = server::free_address().map_err(|error| error.to_string())?;
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let ours = |path: &str| {
            let program = text(self.places.firehose.clone());
            vec![
                program,
                "--listen".to_owned(),
                address.to_string(),
                "--path".to_owned(),
                path.to_owned(),
            ]
        };
        let mut command = match self.name {
            "body" | "detached" => ours(self.name),
            "nchan" => {
                let config = self.configure_nginx(address.port())?;
                vec!["nginx".to_owned(), "-c".to_owned(), text(config)]
            }
            "better_sse" => {
                let script = self.places.sources.join("peers/better_sse.mjs");
                vec!["node".to_owned(), text(script), address.to_string()]
            }
            name => {
                let program = name.strip_suffix("_coalesce").unwrap_or(name);
                vec![
                    text(self.places.binaries.join(program)),
                    address.to_string(),
                ]
            }
        };
        if self.name == "raw_coalesce" {
            command.push("coalesce".to_owned());
        }
        Server::start(
            &command,
            &self.places.scratch,
            address,
            self.places.is_pinned,
        )
    }

    fn configure_nginx(&self, port: u16) -> Result<PathBuf, String> {
        let directory = self.places.scratch.join("nginx");
        let written = fs::create_dir_all(&directory).and_then(|()| {
            let path = directory.join("nginx.conf");
            fs::write(&path, nginx(&directory, port))?;
            Ok(path)
        });
        written.map_err(|error| format!("{}: {error}", directory.display()))
    }
}

fn nginx(directory: &Path, port: u16) -> String {
    let directory = directory.display();
    format!(
        "load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
daemon off;
master_process off;
error_log stderr crit;
pid {directory}/pid;
worker_rlimit_nofile 20000;
events {{ worker_connections 19900; use epoll; multi_accept on; }}
http {{
    access_log off;
    tcp_nodelay on;
    keepalive_requests 1000000;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = /pub {{
            nchan_publisher;
            nchan_channel_id all;
            nchan_message_buffer_length 1024;
        }}
        location = /events {{
            nchan_subscriber eventsource;
            nchan_channel_id all;
            nchan_subscriber_first_message newest;
            nchan_eventsource_ping_interval 15;
        }}
    }}
}}
"
    )
}
