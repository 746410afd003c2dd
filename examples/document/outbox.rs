//! Publishing what has been written.
//!
//! | what becomes of a comment | and then |
//! |---|---|
//! | it is stored | it is noted, and the next one follows |
//! | it is not known whether it is stored | it is sent again under its key, which stores it once |
//! | it is not stored | it is sent again, later |
//!
//! One is under way at a time: were the next one sent before it is known what has become of
//! this one, sending this one again could put it behind that.

use std::sync::Arc;

use tornadose::{Event, Hub, SubmitError};

use crate::files::{Comment, Files};
use crate::link::{Link, Pauses, topic};
use crate::support::complain;

/// Publishes what is not published yet, and then what is written, for ever.
pub(crate) async fn publish(files: Arc<Files>, link: Link) {
    let Some(hub) = link.opened().await else {
        return;
    };
    loop {
        while let Some(comment) = files.first_unpublished() {
            if !until_stored(&hub, &comment).await {
                return;
            }
            files.has_published();
        }
        files.written().await;
    }
}

/// `false` if it never will be: the hub is closed.
async fn until_stored(hub: &Hub, comment: &Comment) -> bool {
    let mut pauses = Pauses::new();
    let mut is_told = false;
    loop {
        let stored = match hub.submit(event(comment)) {
            Ok(submitted) => submitted.await,
            Err(error) => Err(error),
        };
        match stored {
            Ok(_) => return true,
            Err(SubmitError::Closed(_)) => return false,
            Err(error) if !is_told => {
                is_told = true;
                complain(format_args!("a comment waits to be published: {error}"));
            }
            Err(_) => {}
        }
        pauses.wait().await;
    }
}

fn event(comment: &Comment) -> Event {
    let topic = topic(&comment.page).expect("the name of a page is a word");
    Event::new(comment.json())
        .topic(topic)
        .once(comment.key.as_str())
}
