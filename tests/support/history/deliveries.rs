//! What single deliveries, samples and ends promise.

use super::decode::Told;
use super::record::{Ended, History, Stamp, Transport, uid};
use super::truth::Truth;
use super::{Promise, Violation};
use tornadose::test::normalised;

type AllTold = [Vec<(Stamp, Told)>];

/// P8: nothing of a topic that was not asked for, nothing that was submitted after what was
/// permitted was taken back.
pub(super) fn permitted(
    history: &History,
    truth: &Truth<'_>,
    told: &AllTold,
    found: &mut Vec<Violation>,
) {
    let connections = history.connections.iter().zip(told).enumerate();
    for (at, (connection, told)) in connections {
        let mut broken = |what| found.push(Violation::new(Promise::Permitted, Some(at), what));
        for (_, told) in told {
            let Told::Event { topic, data, .. } = told else {
                continue;
            };
            let Some(submit) = truth.submits.get(uid(data)) else {
                continue;
            };
            if !connection.filter.wants(&submit.topic) {
                broken(format!("{} of {:?}", submit.uid, submit.topic));
            }
            if topic.as_ref().is_some_and(|topic| *topic != submit.topic) {
                broken(format!("{} said to be of {topic:?}", submit.uid));
            }
            if connection.revoked.is_some_and(|at| at < submit.invoked) {
                broken(format!("{} after it was revoked", submit.uid));
            }
        }
    }
}

/// P10: what is told is what was submitted, under its own id and name.
pub(super) fn bytes(
    history: &History,
    truth: &Truth<'_>,
    told: &AllTold,
    found: &mut Vec<Violation>,
) {
    let connections = history.connections.iter().zip(told).enumerate();
    for (at, (connection, told)) in connections {
        for (_, told) in told {
            let wrong = match told {
                Told::Garbage(what) => Some(what.clone()),
                Told::Event { id, name, data, .. } => {
                    let submit = truth.submits.get(uid(data));
                    let stored = match id {
                        Some(id) => truth.at(id),
                        None => truth.place(uid(data)),
                    };
                    match (submit, stored) {
                        (None, _) => Some("what nobody has submitted".to_owned()),
                        (_, None) => Some("what is not in the log".to_owned()),
                        (_, Some(stored)) if uid(&stored.data) != uid(data) => {
                            Some(format!("there stands {:?}", stored.data))
                        }
                        (Some(submit), _) if submit.name != *name => {
                            Some(format!("of the name {name:?}, not {:?}", submit.name))
                        }
                        (Some(submit), _) if !is_same(connection.transport, &submit.data, data) => {
                            Some(format!("not {:?}", submit.data))
                        }
                        _ => None,
                    }
                }
                _ => None,
            };
            if let Some(wrong) = wrong {
                let what = format!("{}: {wrong}", told.short());
                found.push(Violation::new(Promise::Bytes, Some(at), what));
            }
        }
    }
}

fn is_same(transport: Transport, submitted: &str, told: &str) -> bool {
    match transport {
        Transport::Sse => normalised(submitted) == told,
        Transport::WebSocket => submitted == told,
    }
}

/// P12: never more than allowed.
pub(super) fn bounded(history: &History, found: &mut Vec<Violation>) {
    for sample in history.samples.iter().filter(|of| of.is > of.most) {
        let what = format!(
            "{}: {} at {}, at most {}",
            sample.what, sample.is, sample.at, sample.most
        );
        found.push(Violation::new(Promise::Bounded, None, what));
    }
}

/// P13: who is sent away while it reads is told when to come back.
pub(super) fn ends_well(history: &History, told: &AllTold, found: &mut Vec<Violation>) {
    let connections = history.connections.iter().zip(told).enumerate();
    for (at, (connection, told)) in connections {
        let is_stream = connection.status == Some(connection.transport.status());
        if connection.ended != Ended::Cleanly || !is_stream {
            continue;
        }
        let last = told.last().map(|(_, told)| told);
        let is_told = match last {
            Some(Told::Retry(_)) => true,
            Some(Told::Close(1008, _)) => true,
            Some(Told::Close(1001 | 1012 | 1013 | 4008, reason)) => reason.starts_with("retry: "),
            _ => false,
        };
        if !is_told {
            let last = last.map(Told::short);
            let what = format!("it ended behind {last:?}");
            found.push(Violation::new(Promise::EndsWell, Some(at), what));
        }
    }
}
