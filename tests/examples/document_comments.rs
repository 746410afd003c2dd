//! The document in one process: what it takes, what it refuses, and what is in its files.

use std::fs;

use serde_json::{Value, json};

use super::document::{Folder, SEE_OTHER, attribute, comment, events_of, get, said};
use super::*;

#[test]
fn what_is_no_comment_is_refused_with_the_reason() {
    let demo = Demo::start("document", &[]);
    let long = format!("text={}", "x".repeat(8193));
    let name = format!("text=x&name={}", "x".repeat(161));
    let huge = "x".repeat((32 << 10) + 1);
    let key = format!("text=x&key={}", "k".repeat(65));
    for (body, status) in [
        ("", "400 Bad Request"),
        ("name=ann&key=a", "400 Bad Request"),
        ("text=+%0A", "400 Bad Request"),
        ("text=x&key=A", "400 Bad Request"),
        ("text=x&key=%7Bx%7D", "400 Bad Request"),
        (&key, "400 Bad Request"),
        (&long, "413 Payload Too Large"),
        (&name, "413 Payload Too Large"),
        (&huge, "413 Payload Too Large"),
    ] {
        let response = comment(demo.addr, "welcome", body);
        assert_eq!(response.status, format!("HTTP/1.1 {status}"), "{body}");
    }
    for (request, status) in [
        ("POST /pages/welcome/comments", "415 Unsupported Media Type"),
        ("POST /pages/nothing/comments", "404 Not Found"),
        ("PUT /pages/welcome/comments", "405 Method Not Allowed"),
        ("POST /pages/welcome", "405 Method Not Allowed"),
        ("POST /", "405 Method Not Allowed"),
        ("GET /pages/welcome/", "404 Not Found"),
        ("GET /pages/welcome/other", "404 Not Found"),
        ("GET /pages", "404 Not Found"),
        ("GET /pages/welcome/comments?after=-1", "400 Bad Request"),
        ("GET /pages/welcome/comments?after=x", "400 Bad Request"),
        (
            "GET /pages/welcome/comments?after=99999999999999999999",
            "400 Bad Request",
        ),
        (
            "GET /pages/welcome/comments?after=18446744073709551615",
            "200 OK",
        ),
    ] {
        let response = demo.ask(&format!("{request} HTTP/1.1\r\nhost: x\r\n\r\n"));
        assert_eq!(response.status, format!("HTTP/1.1 {status}"), "{request}");
    }
    assert_eq!(demo.get("/pages/welcome/comments", "").body(), "[]");
}

#[test]
fn a_comment_is_text_and_is_taken_once() {
    let demo = Demo::start("document", &[]);
    let mut stream = get(events_of(&demo), "/events?page=welcome", "");
    let body = "name=%3Cb%3E&text=%3Cscript%3E+%22{{rows}}%26%27+%0D%0Aid:+9&key=a-1";
    for _ in 0..3 {
        let response = comment(demo.addr, "welcome", body);
        assert_eq!(response.status, SEE_OTHER);
        assert_eq!(response.header("location"), Some("/pages/welcome#c1"));
    }
    let next = comment(demo.addr, "welcome", "text=next");
    assert_eq!(next.header("location"), Some("/pages/welcome#c2"));
    let first = json!({
        "page": "welcome", "number": 1, "key": "a-1", "name": "<b>",
        "text": "<script> \"{{rows}}&' \nid: 9",
    });
    assert_eq!(said(&stream.event()), first);
    let second = said(&stream.event());
    assert_eq!(
        (&second["text"], &second["name"]),
        (&json!("next"), &json!("somebody"))
    );
    assert_ne!(second["key"], "");
    // Without scripts, and for who asks after a gap.
    let row = "<b>&lt;b&gt;</b> <a class=\"number\" href=\"#c1\">#1</a> <span class=\"text\">\
        &lt;script&gt; &quot;{{rows}}&amp;&#39; \nid: 9</span>";
    let page = demo.get("/pages/welcome", "").body();
    assert!(page.contains(row), "{page}");
    let after = |number| -> Value {
        let path = format!("/pages/welcome/comments?after={number}");
        serde_json::from_str(&demo.get(&path, "").body()).expect("JSON")
    };
    assert_eq!(after(0), json!([first, second]));
    assert_eq!(after(1), json!([second]));
    assert_eq!(after(2), json!([]));
    assert_eq!(demo.get("/pages/roadmap/comments", "").body(), "[]");
    // A page goes on behind what it was made with.
    let last = attribute(&page, "data-last");
    let query = format!("/events?page=welcome&lastEventId={last}");
    let mut late = get(events_of(&demo), &query, "");
    comment(demo.addr, "welcome", "text=late");
    assert_eq!(said(&late.event())["text"], "late");
}

#[test]
fn who_does_not_read_delays_no_comment_and_is_told() {
    const COMMENTS: usize = 1000;
    let demo = Demo::start("document", &[]);
    let events = events_of(&demo);
    // More than all buffers on the way and the hub together.
    let padding = "%00".repeat(1600);
    let mut stalled = get(events, "/events?page=welcome", "");
    let mut reader = get(events, "/events?page=welcome", "");
    for number in 1..=COMMENTS {
        let body = format!("text={padding}");
        assert_eq!(comment(demo.addr, "welcome", &body).status, SEE_OTHER);
        assert_eq!(said(&reader.event())["number"], number);
    }
    let (mut received, mut missed, mut next) = (0, 0, 1);
    while next <= COMMENTS {
        let event = stalled.event();
        if event.name.as_deref() == Some("gap") {
            let gap = serde_json::from_str::<Value>(&event.data).expect("JSON");
            assert_eq!(gap["reason"], "slow");
            let count = gap["missed"].as_str().and_then(|count| count.parse().ok());
            let count: usize = count.expect("a number");
            missed += count;
            next += count;
        } else {
            assert_eq!(said(&event)["number"], next);
            received += 1;
            next += 1;
        }
    }
    assert!(missed > 0, "it has not stalled");
    assert_eq!(received + missed, COMMENTS);
}

#[test]
fn what_was_taken_is_there_after_a_kill() {
    let dir = Folder::new("kill");
    let args = ["--dir", dir.0.to_str().expect("a path")];
    {
        let demo = Demo::start("document", &args);
        for text in ["one", "two"] {
            let body = format!("text={text}&key={text}");
            assert_eq!(comment(demo.addr, "welcome", &body).status, SEE_OTHER);
        }
        // Another one keeps off.
        let second = run(
            "document",
            &[
                "--listen",
                "127.0.0.1:0",
                "--events",
                "127.0.0.1:0",
                args[0],
                args[1],
            ],
        );
        assert_eq!(second.status.code(), Some(1));
        assert_eq!(
            one_line(&second.stderr),
            "document: comments.jsonl: another app has it\n".trim_end()
        );
        // Dropped: SIGKILL.
    }
    let comments = dir.0.join("comments.jsonl");
    let whole = fs::read_to_string(&comments).expect("a file");
    assert_eq!(whole.lines().count(), 2);
    // What it was writing when it was killed, be it in the middle of a character.
    fs::write(
        &comments,
        [whole.as_bytes(), b"{\"page\":\"wel\xc3"].concat(),
    )
    .expect("written");
    {
        let demo = Demo::start("document", &args);
        assert_eq!(fs::read_to_string(&comments).expect("a file"), whole);
        let again = comment(demo.addr, "welcome", "text=one&key=one");
        assert_eq!(again.header("location"), Some("/pages/welcome#c1"));
        let next = comment(demo.addr, "welcome", "text=three");
        assert_eq!(next.header("location"), Some("/pages/welcome#c3"));
    }
    assert_eq!(
        fs::read_to_string(&comments)
            .expect("a file")
            .lines()
            .count(),
        3
    );
    // What is no comment was not written by us, and is not thrown away.
    fs::write(&comments, format!("{whole}nonsense\n")).expect("written");
    let refused = run(
        "document",
        &[
            "--listen",
            "127.0.0.1:0",
            "--events",
            "127.0.0.1:0",
            args[0],
            args[1],
        ],
    );
    assert_eq!(refused.status.code(), Some(1));
    assert!(one_line(&refused.stderr).starts_with("document: comments.jsonl, line 3: "));
}
