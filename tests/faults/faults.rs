//! What goes wrong.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::sleep;

use crate::client::Act;
use crate::net;
use crate::run::Run;
use tornadose::test::{At, Cut, Script, Way};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Fault {
    ServerKilled,
    ServerKilledInTheBeginning,
    ServerKilledWhileStopped,
    ServerKilledWhileItEnds,
    ServerTerminated,
    ServerStopped,
    NoDescriptors,
    PublisherPanics,
    HandlerPanics,
    Burst,
    ClientsKilled,
    ClientsStopped,
    ClientResets,
    ClientFinishes,
    ClientDrops,
    ClientStalls,
    ClientBabbles,
    ClientAsksByHalf,
    Delay,
    Trickle,
    SingleBytes,
    RequestDamaged,
    AnswerDamaged,
    CutInTheHead,
    CutAtAByte,
    CutInTime,
    FinishAtAByte,
    FinishToTheServer,
    FinishToTheClient,
    Silence,
    SilenceUp,
    SilenceDown,
    AllCut,
    PacketsLost,
    PacketsBlackholed,
    PacketsToTheServerLost,
    PortRefused,
}

impl Fault {
    /// Everything that needs no network of its own.
    pub(crate) const ON_ANY_NETWORK: [Self; 33] = [
        Self::ServerKilled,
        Self::ServerKilledInTheBeginning,
        Self::ServerKilledWhileStopped,
        Self::ServerKilledWhileItEnds,
        Self::ServerTerminated,
        Self::ServerStopped,
        Self::NoDescriptors,
        Self::PublisherPanics,
        Self::HandlerPanics,
        Self::Burst,
        Self::ClientsKilled,
        Self::ClientsStopped,
        Self::ClientResets,
        Self::ClientFinishes,
        Self::ClientDrops,
        Self::ClientStalls,
        Self::ClientBabbles,
        Self::ClientAsksByHalf,
        Self::Delay,
        Self::Trickle,
        Self::SingleBytes,
        Self::RequestDamaged,
        Self::AnswerDamaged,
        Self::CutInTheHead,
        Self::CutAtAByte,
        Self::CutInTime,
        Self::FinishAtAByte,
        Self::FinishToTheServer,
        Self::FinishToTheClient,
        Self::Silence,
        Self::SilenceUp,
        Self::SilenceDown,
        Self::AllCut,
    ];

    /// What is done to packets, and a few others beside it.
    pub(crate) const OF_PACKETS: [Self; 8] = [
        Self::PacketsLost,
        Self::PacketsBlackholed,
        Self::PacketsToTheServerLost,
        Self::PortRefused,
        Self::ServerKilled,
        Self::ClientResets,
        Self::ClientsKilled,
        Self::Burst,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ServerKilled => "server: SIGKILL",
            Self::ServerKilledInTheBeginning => "server: SIGKILL, and the next one at once, too",
            Self::ServerKilledWhileStopped => "server: SIGSTOP, then SIGKILL",
            Self::ServerKilledWhileItEnds => "server: SIGTERM, then SIGKILL",
            Self::ServerTerminated => "server: SIGTERM",
            Self::ServerStopped => "server: SIGSTOP, later SIGCONT",
            Self::NoDescriptors => "server: no descriptors left",
            Self::PublisherPanics => "server: a publisher panics",
            Self::HandlerPanics => "server: a handler panics",
            Self::Burst => "server: more at once than is kept",
            Self::ClientsKilled => "clients: SIGKILL",
            Self::ClientsStopped => "clients: SIGSTOP, later SIGCONT",
            Self::ClientResets => "client: RST",
            Self::ClientFinishes => "client: FIN",
            Self::ClientDrops => "client: drops its socket",
            Self::ClientStalls => "client: does not read",
            Self::ClientBabbles => "client: sends what nobody understands",
            Self::ClientAsksByHalf => "client: half a request",
            Self::Delay => "network: delay",
            Self::Trickle => "network: trickle",
            Self::SingleBytes => "network: single bytes",
            Self::RequestDamaged => "network: a damaged request",
            Self::AnswerDamaged => "network: a damaged answer",
            Self::CutInTheHead => "network: RST in the head",
            Self::CutAtAByte => "network: RST at a byte",
            Self::CutInTime => "network: RST after a time",
            Self::FinishAtAByte => "network: FIN at a byte",
            Self::FinishToTheServer => "network: FIN to the server alone",
            Self::FinishToTheClient => "network: FIN to the client alone",
            Self::Silence => "network: silence",
            Self::SilenceUp => "network: silence from the client",
            Self::SilenceDown => "network: silence from the server",
            Self::AllCut => "network: RST of everybody",
            Self::PacketsLost => "packets: every fifth lost",
            Self::PacketsBlackholed => "packets: all lost",
            Self::PacketsToTheServerLost => "packets: all to the server lost",
            Self::PortRefused => "packets: answered with RST",
        }
    }

    pub(crate) async fn inflict(self, run: &mut Run) {
        match self {
            Self::ServerKilled => {
                run.server.kill().await;
                run.succeed().await;
            }
            Self::ServerKilledInTheBeginning => {
                for _ in 0..2 {
                    run.server.kill().await;
                    run.succeed().await;
                    some_time(run, 0, 20).await;
                }
            }
            Self::ServerKilledWhileStopped => {
                run.server.signal(Signal::STOP);
                some_time(run, 0, 300).await;
                run.server.kill().await;
                run.succeed().await;
            }
            Self::ServerKilledWhileItEnds => {
                run.server.signal(Signal::TERM);
                some_time(run, 0, 30).await;
                run.server.end_somehow().await;
                run.succeed().await;
            }
            Self::ServerTerminated => {
                run.server.terminate().await;
                run.succeed().await;
            }
            Self::ServerStopped => {
                run.server.signal(Signal::STOP);
                some_time(run, 100, 2500).await;
                run.server.signal(Signal::CONT);
            }
            Self::NoDescriptors => {
                let most = run.server.figures().await.descriptors;
                run.server.limit_descriptors(Some(most));
                for _ in 0..10 {
                    run.a_client().proxy.cut(Cut::Reset);
                    let ask = Act::HalfAsk;
                    run.a_client().act(ask);
                    run.a_client().act(ask);
                    some_time(run, 20, 60).await;
                }
                run.server.limit_descriptors(None);
            }
            Self::PublisherPanics => drop(run.server.ask("panic").await),
            Self::Burst => drop(run.server.ask("burst 5000").await),
            Self::ClientsKilled => run.crowd.kill().await,
            Self::ClientsStopped => {
                run.crowd.signal(Signal::STOP);
                some_time(run, 100, 1500).await;
                run.crowd.signal(Signal::CONT);
            }
            Self::HandlerPanics => run.a_client().act(Act::Provoke),
            Self::ClientResets => run.a_client().act(Act::Reset),
            Self::ClientFinishes => run.a_client().act(Act::Finish),
            Self::ClientDrops => run.a_client().act(Act::Drop),
            Self::ClientStalls => {
                let time = Duration::from_millis(run.random.u64(200..3000));
                run.a_client().act(Act::Stall(time));
            }
            Self::ClientBabbles => run.a_client().act(Act::Babble),
            Self::ClientAsksByHalf => run.a_client().act(Act::HalfAsk),
            Self::AllCut => run
                .clients
                .iter()
                .for_each(|client| client.proxy.cut(Cut::Reset)),
            Self::RequestDamaged => {
                let flip = run.random.u64(0..150);
                let up = Way::new().flip(flip);
                run.a_client().follow_damaged(Script::new().up(up), 0);
            }
            Self::AnswerDamaged => {
                let flip = run.random.u64(0..20_000);
                let down = Way::new().flip(flip);
                run.a_client()
                    .follow_damaged(Script::new().down(down), flip);
            }
            Self::PacketsLost => {
                let every = "-m statistic --mode random --probability 0.2 -j DROP";
                packets(run, every, 500, 3000).await;
            }
            Self::PacketsBlackholed => packets(run, "-j DROP", 500, 3000).await,
            Self::PacketsToTheServerLost => {
                let rule = format!("--dport {} -j DROP", run.server.address.port());
                packets(run, &rule, 500, 3000).await;
            }
            Self::PortRefused => {
                let port = run.server.address.port();
                let rule = format!("--dport {port} -j REJECT --reject-with tcp-reset");
                packets(run, &rule, 100, 800).await;
            }
            _ => {
                let script = self.script(&mut run.random);
                run.a_client().follow(script);
            }
        }
    }

    /// What becomes of the connections of one client from then on.
    fn script(self, random: &mut fastrand::Rng) -> Script {
        let slow = |way| Script::new().up(way).down(way);
        let when_down = |most: u64, random: &mut fastrand::Rng| At::Down(random.u64(0..most));
        let ending = |at, cut| Script::new().cut(at, cut);
        match self {
            Self::Delay => slow(Way::new().delay(Duration::from_millis(random.u64(5..150)))),
            Self::Trickle => slow(Way::new().trickle(random.u32(2_000..40_000))),
            Self::SingleBytes => slow(Way::new().split()),
            Self::CutInTheHead => ending(when_down(250, random), Cut::Reset),
            Self::CutAtAByte => ending(when_down(40_000, random), Cut::Reset),
            Self::CutInTime => ending(
                At::After(Duration::from_millis(random.u64(0..1500))),
                Cut::Reset,
            ),
            Self::FinishAtAByte => ending(when_down(40_000, random), Cut::Finish),
            Self::FinishToTheServer => ending(when_down(20_000, random), Cut::FinishUp),
            Self::FinishToTheClient => ending(when_down(20_000, random), Cut::FinishDown),
            Self::Silence => ending(when_down(20_000, random), Cut::Silence),
            Self::SilenceUp => ending(when_down(20_000, random), Cut::SilenceUp),
            Self::SilenceDown => ending(when_down(20_000, random), Cut::SilenceDown),
            other => unreachable!("{other:?} has no script"),
        }
    }
}

/// So many of each: the death of a server is what most depends on.
pub(crate) fn deck(kinds: &[Fault]) -> Vec<Fault> {
    let times = |fault| match fault {
        Fault::ServerKilled => 3,
        _ => 1,
    };
    let cards = kinds.iter().copied();
    cards
        .flat_map(|fault| std::iter::repeat_n(fault, times(fault)))
        .collect()
}

async fn some_time(run: &mut Run, least: u64, most: u64) {
    let time = run.random.u64(least..most);
    sleep(Duration::from_millis(time)).await;
}

async fn packets(run: &mut Run, rule: &str, least: u64, most: u64) {
    net::filter("-A", rule).await;
    some_time(run, least, most).await;
    net::filter("-D", rule).await;
}
