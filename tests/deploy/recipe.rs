//! The configurations of `docs/deployment`, and the servers that run them.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process, kill_process_group};
use tokio::time::sleep;

use crate::app::App;
use crate::client;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recipe {
    Nginx,
    Haproxy,
    Caddy,
    Varnish,
}

impl Recipe {
    pub(crate) fn file(self) -> &'static str {
        match self {
            Self::Nginx => "nginx.conf",
            Self::Haproxy => "haproxy.cfg",
            Self::Caddy => "Caddyfile",
            Self::Varnish => "varnish.vcl",
        }
    }

    /// The file as it is shipped.
    pub(crate) fn text(self) -> String {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/deployment");
        let file = folder.join(self.file());
        fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    }

    /// The same with ports of ours, and without what is of the machine: whose processes
    /// these are, how many descriptors they have, and where they keep their files.
    fn filled_in(self, text: &str, ports: &Ports) -> String {
        let Ports {
            proxy,
            admin,
            tls,
            app,
        } = *ports;
        let app = format!("127.0.0.1:{app}");
        // Where a test has added TLS.
        let text = &text.replace("localhost:443", &format!("localhost:{tls}"));
        match self {
            Self::Nginx => {
                let who = if geteuid().is_root() {
                    "user root;"
                } else {
                    ""
                };
                let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
                let folders = folders.map(|name| format!("    {name}_temp_path {name};\n"));
                let folders = folders.concat() + "    access_log access.log;\n";
                let text = replace(text, "user www-data;", who);
                let text = replace(&text, "http {\n", &format!("http {{\n{}", folders));
                let text = replace(&text, "listen 80;", &format!("listen 127.0.0.1:{proxy};"));
                replace(&text, "127.0.0.1:9000", &app)
            }
            Self::Haproxy => {
                let text = replace(text, "    user haproxy\n    group haproxy\n", "");
                let text = replace(&text, "maxconn 20000", "maxconn 200");
                let text = replace(&text, "bind :80\n", &format!("bind 127.0.0.1:{proxy}\n"));
                replace(&text, "127.0.0.1:9000", &app)
            }
            Self::Caddy => {
                let admin = format!("\tadmin 127.0.0.1:{admin}\n\tgrace_period");
                let text = replace(text, "\tgrace_period", &admin);
                let text = replace(&text, "\n:80 {\n", &format!("\nhttp://:{proxy} {{\n"));
                replace(&text, "127.0.0.1:9000", &app)
            }
            Self::Varnish => replace(text, "\"9000\"", &format!("\"{}\"", ports.app)),
        }
    }

    fn command(self, dir: &Path, ports: &Ports) -> Command {
        let config = dir.join(self.file());
        let mut command = match self {
            Self::Nginx => {
                let mut command = Command::new(found("nginx"));
                command.arg("-p").arg(dir).arg("-c").arg(config);
                command.args(["-e", "error.log", "-g", "daemon off; pid nginx.pid;"]);
                command
            }
            Self::Haproxy => {
                let mut command = Command::new(found("haproxy"));
                command.args(["-W", "-db", "-f"]).arg(config);
                command
            }
            Self::Caddy => {
                let mut command = Command::new(found("caddy"));
                command.args(["run", "--adapter", "caddyfile", "--config"]);
                command.arg(config);
                command.env("HOME", dir).env("XDG_DATA_HOME", dir);
                command.env("XDG_CONFIG_HOME", dir);
                command
            }
            Self::Varnish => {
                let mut command = Command::new(found("varnishd"));
                command.args(["-F", "-j", "none", "-s", "malloc,16m"]);
                // How much room there is for a log that nobody reads.
                command.args(["-p", "vsl_space=1M"]);
                let address = format!("127.0.0.1:{}", ports.proxy);
                command.args(["-a", &address, "-n"]);
                command.arg(dir.join("run")).arg("-f").arg(config);
                command
            }
        };
        command.current_dir(dir);
        command
    }
}

/// The text with something else in the place of this, which has to be there.
#[track_caller]
pub(crate) fn replace(text: &str, old: &str, new: &str) -> String {
    assert!(text.contains(old), "no {old:?} in {text}");
    text.replace(old, new)
}

/// Debian keeps servers where not everybody's path leads.
fn found(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let mut files = folders.iter().map(|folder| folder.join(program));
    files
        .find(|file| file.exists())
        .unwrap_or_else(|| panic!("no {program}, which tests/install installs"))
}

struct Ports {
    proxy: u16,
    admin: u16,
    tls: u16,
    app: u16,
}

/// A server that runs a recipe, with a folder of its own; it is gone when this is dropped.
pub(crate) struct Proxy {
    pub(crate) recipe: Recipe,
    pub(crate) address: SocketAddr,
    ports: Ports,
    dir: PathBuf,
    options: Vec<String>,
    child: Option<Child>,
}

impl Proxy {
    /// The recipe as it is shipped, in front of this application.
    pub(crate) async fn start(recipe: Recipe, app: &App) -> Self {
        Self::edited(recipe, app, &[], str::to_owned).await
    }

    /// The recipe with a change in its file, and with these options beside it.
    pub(crate) async fn edited(
        recipe: Recipe,
        app: &App,
        options: &[&str],
        edit: impl FnOnce(&str) -> String,
    ) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("deploy-{}-{count}", std::process::id());
        let text = edit(&recipe.text());
        let mut proxy = Self {
            recipe,
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            ports: Ports {
                proxy: 0,
                admin: 0,
                tls: 0,
                app: app.address.port(),
            },
            dir: Path::new(env!("CARGO_TARGET_TMPDIR")).join(name),
            options: options.iter().map(ToString::to_string).collect(),
            child: None,
        };
        fs::create_dir_all(&proxy.dir).expect("a folder");
        // Somebody else may take a port that was free.
        let mut said = String::new();
        for _ in 0..5 {
            [proxy.ports.proxy, proxy.ports.admin, proxy.ports.tls] = free_ports();
            proxy.address.set_port(proxy.ports.proxy);
            let text = recipe.filled_in(&text, &proxy.ports);
            fs::write(proxy.dir.join(recipe.file()), text).expect("a file");
            match proxy.try_again().await {
                Ok(()) => return proxy,
                Err(why) => said = why,
            }
        }
        panic!("{recipe:?} does not start: {said}");
    }

    /// Where it speaks TLS, if it was told to at `localhost:443`.
    pub(crate) fn tls(&self) -> u16 {
        self.ports.tls
    }

    /// Ends it as if its machine had lost its power, and starts it again.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        // The processes that it had may have the port for a moment.
        let mut said = String::new();
        for _ in 0..20 {
            match self.try_again().await {
                Ok(()) => return,
                Err(why) => said = why,
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("{:?} does not start again: {said}", self.recipe);
    }

    /// Tells it to read its configuration again, as its service does.
    pub(crate) fn reload(&self) {
        match self.recipe {
            Recipe::Nginx => self.signal(Signal::HUP),
            Recipe::Haproxy => self.signal(Signal::USR2),
            Recipe::Caddy => {
                let mut command = Command::new(found("caddy"));
                command.args(["reload", "--force", "--adapter", "caddyfile"]);
                command.args(["--address", &format!("127.0.0.1:{}", self.ports.admin)]);
                command
                    .arg("--config")
                    .arg(self.dir.join(self.recipe.file()));
                command.current_dir(&self.dir).env("HOME", &self.dir);
                let done = command.output().expect("caddy");
                assert!(done.status.success(), "{done:?}");
            }
            Recipe::Varnish => panic!("what it reads again concerns no stream that is open"),
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).expect("it runs");
    }

    async fn try_again(&mut self) -> Result<(), String> {
        let log = self.dir.join("output.log");
        let output = File::create(&log).expect("a file");
        let mut command = self.recipe.command(&self.dir, &self.ports);
        command
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a descriptor"))
            .stderr(output)
            // What it starts is of its group.
            .process_group(0);
        self.child = Some(command.spawn().expect("a program"));
        let end = Instant::now() + Duration::from_secs(15);
        while Instant::now() < end {
            let child = self.child.as_mut().expect("it was started");
            if child.try_wait().expect("a child").is_some() {
                break;
            }
            // Whoever listens at the port has to know which application it is for.
            if client::get(self.address, "/port").await == Some(self.ports.app.to_string()) {
                return Ok(());
            }
            sleep(Duration::from_millis(10)).await;
        }
        self.kill();
        let files = [log, self.dir.join("error.log")];
        Err(files
            .map(|file| fs::read_to_string(file).unwrap_or_default())
            .concat())
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Three that are not the same.
fn free_ports() -> [u16; 3] {
    let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let listeners = [free(), free(), free()];
    listeners.map(|listener| listener.local_addr().expect("bound").port())
}
