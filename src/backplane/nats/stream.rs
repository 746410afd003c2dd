//! The stream that is the log, and the copy of it that keeps the newest of each topic.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use super::message::{Fields, Stored};
use super::options::Options;
use super::session::{Session, Trouble};
use super::text;

/// JetStream's words for: no such stream, the name is taken, no such message.
const NO_STREAM: u64 = 10059;
const NAME_TAKEN: u64 = 10058;
const NO_MESSAGE: u64 = 10037;

/// Of so many free bytes a batch takes only a part.
const AMPLE: u64 = 16 << 20;

/// What a stream says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Info {
    /// Made of the stream's name and the moment at which it was made.
    pub(super) epoch: u64,
    /// The number of the oldest message, `next` if there is none.
    pub(super) first: u64,
    /// The number that the next message will get.
    pub(super) next: u64,
    /// How many messages it holds at least before it lets go of one.
    pub(super) holds: u64,
}

/// What the stream says of itself, which is made if there is none; and its copy is made.
pub(super) async fn ensure(session: &Session, options: &Options) -> Result<Info, Trouble> {
    let name = &options.stream;
    let answer = match session.call(&format!("STREAM.INFO.{name}"), None).await {
        Err(Trouble::No(NO_STREAM, _)) => create(session, options).await?,
        answer => answer?,
    };
    judge(&answer, options)?;
    let info = read(&answer, name)?;
    ensure_copy(session, options, info.epoch).await?;
    Ok(info)
}

/// What the stream says of itself.
pub(super) async fn info(session: &Session, name: &str) -> Result<Info, Trouble> {
    let answer = session.call(&format!("STREAM.INFO.{name}"), None).await;
    match answer {
        Err(Trouble::No(NO_STREAM, _)) => Err(Trouble::Away("there is no such stream any more")),
        answer => read(&answer?, name),
    }
}

/// Where to ask whether the stream is still the one that it is now: a consumer of it, which
/// dies with it, of a subject that no message has. Asked, it says that there is none. That
/// costs less than to ask the stream what it is, which is a matter of its administration.
pub(super) async fn witness(session: &Session, options: &Options) -> Result<String, Trouble> {
    let name = &options.stream;
    let config = json!({
        "stream_name": &**name,
        "config": {
            "deliver_policy": "new",
            // No topic has a subject with a bare `%`.
            "filter_subject": format!("{}{}.%", options.prefix(), text::LATEST),
            "ack_policy": "none",
            "replay_policy": "instant",
            "max_deliver": 1,
            "mem_storage": true,
            "num_replicas": 1,
            "inactive_threshold": nanoseconds(Duration::from_secs(300)),
        },
    });
    let call = format!("CONSUMER.CREATE.{name}");
    let answer = session.call(&call, Some(&config)).await?;
    let consumer = answer.get("name").and_then(Value::as_str).ok_or(ODD)?;
    Ok(session.api_subject(&format!("CONSUMER.MSG.NEXT.{name}.{consumer}")))
}

/// What the copy of this log is called. It has the epoch in its name, so what was copied of
/// a log that is gone is never taken for a part of another one.
pub(super) fn copy_of(options: &Options, epoch: u64) -> String {
    format!("{}{}-{epoch:016x}", options.stream, text::LATEST)
}

/// Makes the copy anew, because it holds what the log has lost.
pub(super) async fn renew_copy(
    session: &Session,
    options: &Options,
    epoch: u64,
) -> Result<(), Trouble> {
    delete(session, &copy_of(options, epoch)).await?;
    ensure_copy(session, options, epoch).await
}

/// The message with this number, or else the first behind it if `or_next`.
pub(super) async fn get(
    session: &Session,
    stream: &str,
    seq: u64,
    or_next: bool,
) -> Result<Option<Stored>, Trouble> {
    if or_next {
        return next(session, stream, seq, ">").await;
    }
    one(session, stream, &json!({ "seq": seq })).await
}

/// The first message of these subjects from this number on.
pub(super) async fn next(
    session: &Session,
    stream: &str,
    seq: u64,
    subjects: &str,
) -> Result<Option<Stored>, Trouble> {
    one(
        session,
        stream,
        &json!({ "seq": seq, "next_by_subj": subjects }),
    )
    .await
}

/// The newest message of these subjects.
pub(super) async fn newest(
    session: &Session,
    stream: &str,
    subjects: &str,
) -> Result<Option<Stored>, Trouble> {
    one(session, stream, &json!({ "last_by_subj": subjects })).await
}

async fn one(session: &Session, stream: &str, which: &Value) -> Result<Option<Stored>, Trouble> {
    let call = format!("STREAM.MSG.GET.{stream}");
    let answer = match session.call(&call, Some(which)).await {
        Err(Trouble::No(NO_MESSAGE, _)) => return Ok(None),
        answer => answer?,
    };
    let message = answer.get("message").and_then(stored);
    message.map(Some).ok_or(ODD)
}

const ODD: Trouble = Trouble::Away("an answer that is none");

pub(super) fn stored(message: &Value) -> Option<Stored> {
    let text = |name| message.get(name).and_then(Value::as_str);
    let bytes = |name| STANDARD.decode(text(name).unwrap_or_default()).ok();
    let headers = bytes("hdrs")?;
    Some(Stored {
        seq: message.get("seq")?.as_u64()?,
        nanos: text::nanos(text("time")?)?,
        subject: text("subject")?.to_owned(),
        fields: if headers.is_empty() {
            Some(Fields::default())
        } else {
            Fields::read(&headers)
        },
        data: Bytes::from(bytes("data")?),
    })
}

async fn create(session: &Session, options: &Options) -> Result<Value, Trouble> {
    let name = &options.stream;
    let window = options.once_for;
    let window = options.max_age.map_or(window, |age| window.min(age));
    let config = json!({
        "name": &**name,
        "subjects": [subjects(options, ""), subjects(options, text::LATEST)],
        "retention": "limits",
        "discard": "old",
        "storage": storage(options),
        "num_replicas": options.replicas,
        "max_consumers": -1,
        "max_msgs": limit(options.max_events),
        "max_bytes": options.max_bytes.map_or(-1, limit),
        "max_age": options.max_age.map_or(0, nanoseconds),
        "max_msg_size": -1,
        "max_msgs_per_subject": -1,
        "duplicate_window": nanoseconds(window),
    });
    let call = format!("STREAM.CREATE.{name}");
    match session.call(&call, Some(&config)).await {
        // Somebody else has just made it, in another way.
        Err(Trouble::No(NAME_TAKEN, _)) => session.call(&format!("STREAM.INFO.{name}"), None).await,
        answer => answer,
    }
}

async fn ensure_copy(session: &Session, options: &Options, epoch: u64) -> Result<(), Trouble> {
    let name = copy_of(options, epoch);
    let config = json!({
        "name": name,
        "mirror": {
            "name": &*options.stream,
            "filter_subject": subjects(options, text::LATEST),
        },
        "retention": "limits",
        "discard": "old",
        "storage": storage(options),
        "num_replicas": options.replicas,
        "max_consumers": -1,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_age": 0,
        "max_msg_size": -1,
        "max_msgs_per_subject": 1,
    });
    let call = format!("STREAM.CREATE.{name}");
    match session.call(&call, Some(&config)).await {
        Ok(answer) if answer.get("did_create").and_then(Value::as_bool) == Some(true) => {
            sweep(session, options, &name).await
        }
        Ok(_) | Err(Trouble::No(NAME_TAKEN, _)) => Ok(()),
        Err(trouble) => Err(trouble),
    }
}

/// Deletes the copies of logs that are gone.
async fn sweep(session: &Session, options: &Options, current: &str) -> Result<(), Trouble> {
    let beginning = format!("{}{}-", options.stream, text::LATEST);
    let is_old = |name: &&str| {
        let epoch = name.strip_prefix(&*beginning);
        let is_epoch = |epoch: &str| {
            let mut digits = epoch.bytes();
            epoch.len() == 16 && digits.all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
        };
        *name != current && epoch.is_some_and(is_epoch)
    };
    let mut offset = 0;
    let mut old = Vec::new();
    for _ in 0..64 {
        let page = json!({ "offset": offset });
        let answer = session.call("STREAM.NAMES", Some(&page)).await?;
        let names = answer.get("streams").and_then(Value::as_array);
        let names = names.map(Vec::as_slice).unwrap_or_default();
        offset += names.len();
        let names = names.iter().filter_map(Value::as_str);
        old.extend(names.filter(is_old).map(str::to_owned));
        let total = answer.get("total").and_then(Value::as_u64);
        if total.is_none_or(|total| offset as u64 >= total) {
            break;
        }
    }
    for name in old {
        delete(session, &name).await?;
    }
    Ok(())
}

async fn delete(session: &Session, name: &str) -> Result<(), Trouble> {
    match session.call(&format!("STREAM.DELETE.{name}"), None).await {
        Ok(_) | Err(Trouble::No(NO_STREAM, _)) => Ok(()),
        Err(trouble) => Err(trouble),
    }
}

fn storage(options: &Options) -> &'static str {
    if options.is_in_memory {
        "memory"
    } else {
        "file"
    }
}

fn subjects(options: &Options, class: &str) -> String {
    format!("{}{class}.>", options.prefix())
}

/// The subjects of the latest-value topics.
pub(super) fn latest_subjects(options: &Options) -> String {
    subjects(options, text::LATEST)
}

fn limit(most: u64) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

fn read(answer: &Value, name: &str) -> Result<Info, Trouble> {
    let created = answer.get("created").and_then(Value::as_str);
    let state = |field| answer.get("state")?.get(field)?.as_u64();
    let (created, messages) = created.zip(state("messages")).ok_or(ODD)?;
    let (first, last) = state("first_seq").zip(state("last_seq")).ok_or(ODD)?;
    let limit = |name| {
        let limit = answer.get("config")?.get(name)?.as_i64()?;
        u64::try_from(limit).ok().filter(|limit| *limit > 0)
    };
    let by_number = limit("max_msgs").unwrap_or(u64::MAX);
    // How many fit into so many bytes, only those tell that are there.
    let is_tight = |limit: u64| {
        let used = state("bytes").unwrap_or_default();
        limit.saturating_sub(used) < AMPLE
    };
    let by_size = limit("max_bytes").filter(|limit| is_tight(*limit));
    let by_size = by_size.map_or(u64::MAX, |_| messages);
    let next = last.saturating_add(1);
    Ok(Info {
        epoch: text::hash(&format!("{name} {created}")),
        first: if messages == 0 { next } else { first },
        next,
        holds: by_number.min(by_size),
    })
}

/// Whether a stream that somebody else has made can be the log.
fn judge(answer: &Value, options: &Options) -> Result<(), Trouble> {
    let config = answer.get("config").ok_or(ODD)?;
    let subjects_of_it = config.get("subjects").and_then(Value::as_array);
    let covers = |wanted: String| {
        let patterns = subjects_of_it.into_iter().flatten();
        let mut patterns = patterns.filter_map(Value::as_str);
        patterns.any(|pattern| covers(pattern, &wanted))
    };
    if !covers(subjects(options, "")) || !covers(subjects(options, text::LATEST)) {
        return Err(Trouble::no(
            "the stream does not have the subjects of the log",
        ));
    }
    if config.get("retention").and_then(Value::as_str) != Some("limits") {
        return Err(Trouble::no("the stream is a queue of work, not a log"));
    }
    let per_subject = config.get("max_msgs_per_subject").and_then(Value::as_i64);
    if per_subject.is_some_and(|most| most > 0) {
        return Err(Trouble::no(
            "the stream limits what is kept of each subject",
        ));
    }
    if config.get("no_ack").and_then(Value::as_bool) == Some(true) {
        return Err(Trouble::no("the stream does not acknowledge"));
    }
    Ok(())
}

/// Whether all subjects of one pattern are subjects of another.
fn covers(pattern: &str, wanted: &str) -> bool {
    let mut wanted = wanted.split('.');
    for token in pattern.split('.') {
        match (token, wanted.next()) {
            (">", Some(_)) => return true,
            (_, None | Some(">")) => return false,
            ("*", Some(_)) => {}
            (token, Some(other)) if token == other => {}
            _ => return false,
        }
    }
    wanted.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_patterns() {
        for (pattern, wanted, expected) in [
            (">", "a.>", true),
            ("a.>", "a.>", true),
            ("*.>", "a.>", true),
            ("a.>", "a.b.>", true),
            ("a.*.>", "a.>", false),
            ("a.b.>", "a.>", false),
            ("a.*", "a.>", false),
            ("a", "a.>", false),
            ("b.>", "a.>", false),
            ("a.b", "a.b", true),
            ("a.b", "a.b.c", false),
        ] {
            assert_eq!(covers(pattern, wanted), expected, "{pattern} {wanted}");
        }
    }

    #[test]
    fn odd_answers_are_errors() {
        for answer in [
            json!({}),
            json!({ "created": 7, "state": {} }),
            json!({ "created": "x", "state": { "messages": -1, "first_seq": 1, "last_seq": 2 } }),
            json!([]),
        ] {
            assert!(read(&answer, "log").is_err());
            assert!(stored(&answer).is_none());
        }
        let answer =
            json!({ "created": "x", "state": { "messages": 0, "first_seq": 0, "last_seq": 0 } });
        let info = read(&answer, "log").expect("an answer");
        assert_eq!((info.first, info.next), (1, 1));
        let end = json!({ "created": "x", "state": { "messages": 1, "first_seq": u64::MAX, "last_seq": u64::MAX } });
        assert_eq!(read(&end, "log").map(|info| info.next), Ok(u64::MAX));
    }
}
