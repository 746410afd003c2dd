//! The chat on a server of our own.

use super::*;

#[test]
fn a_chat_on_a_server_of_our_own() {
    let mut demo = Demo::start("serve", &[]);
    let mut stream = demo.get("/events", "");
    assert_eq!(demo.say(b"hello"), "HTTP/1.1 204 No Content");
    assert_eq!(stream.event().data, "hello");
    let mut later = demo.get("/events", "");
    assert_eq!(later.event().data, "hello");
    assert_eq!(demo.get("/", "").status, "HTTP/1.1 404 Not Found");
    let _silent = TcpStream::connect(demo.addr).expect("connected");
    let took = demo
        .signal("TERM")
        .elapsed_until(|| demo.wait_for_success());
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn an_address_that_is_taken_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = taken.local_addr().expect("bound").to_string();
    let output = run("serve", &["--listen", &taken]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.starts_with("serve: cannot listen on 127.0.0.1:"),
        "{stderr}"
    );
}
