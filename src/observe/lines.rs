//! Lines for a log, through `tracing`.

use tracing::{debug, info, warn};

use super::Happening;

pub(super) fn observe(happening: &Happening) {
    match *happening {
        Happening::Opened(protocol) => {
            debug!(target: "tornadose", protocol = protocol.as_str(), "stream opened");
        }
        Happening::Refused(protocol, why) => debug!(
            target: "tornadose",
            protocol = protocol.as_str(),
            why = why.as_str(),
            status = why.status(),
            "stream refused"
        ),
        Happening::Ended(protocol, why) => debug!(
            target: "tornadose",
            protocol = protocol.as_str(),
            why = why.as_str(),
            "stream ended"
        ),
        Happening::Gap {
            store,
            reason,
            missed,
        } => info!(target: "tornadose", store, reason = reason.as_str(), missed, "gap told"),
        Happening::Slow { store } => {
            warn!(target: "tornadose", store, "subscriber disconnected as slow");
        }
        Happening::StoreClosed { store } => info!(target: "tornadose", store, "store closed"),
        Happening::ShutdownBegun => info!(target: "tornadose", "shutdown begun"),
        #[cfg(feature = "backplane")]
        Happening::EngineAway { store, engine } => {
            warn!(target: "tornadose", store, engine, "engine away");
        }
        #[cfg(feature = "backplane")]
        Happening::EngineBack { store, engine } => {
            info!(target: "tornadose", store, engine, "engine back");
        }
        #[cfg(feature = "backplane")]
        Happening::LogReplaced { store, engine } => {
            warn!(target: "tornadose", store, engine, "log lost by its engine and read anew");
        }
        #[cfg(feature = "backplane")]
        Happening::Corrupt { store, engine } => {
            warn!(target: "tornadose", store, engine, "record that is no event");
        }
    }
}
