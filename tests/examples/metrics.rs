//! The figures as Prometheus reads them.

use super::*;

#[test]
fn the_figures_say_what_the_streams_do() {
    let demo = Demo::start("metrics", &["--every", "5"]);
    let mut streams: Vec<_> = (0..3).map(|_| demo.get("/events", "")).collect();
    for stream in &mut streams {
        assert_eq!(stream.events(10).len(), 10);
    }
    let first = figures(&demo);
    let get = |figures: &BTreeMap<String, u64>, name: &str| {
        figures[&format!("tornadose_{name}{{store=\"numbers\"}}")]
    };
    let gone = get(&first, "events_submitted_total") - get(&first, "events_retained");
    assert_eq!(gone, get(&first, "events_evicted_total"));
    assert!(get(&first, "events_delivered_total") >= 30);
    assert_eq!(get(&first, "subscribers"), 3);
    assert_eq!(get(&first, "gaps_total"), 0);

    let within = first.iter().filter(|(name, _)| name.contains("le="));
    assert_eq!(within.count(), 23);
    let all = &first["tornadose_lag_subscribers{store=\"numbers\",le=\"+Inf\"}"];
    assert_eq!(*all, 3);

    let mut back = demo.get("/events", "Last-Event-ID: nonsense\r\n");
    assert_eq!(back.event().name.as_deref(), Some("gap"));
    let second = figures(&demo);
    assert_eq!(get(&second, "gaps_total"), 1);
    for (name, figure) in first.iter().filter(|(name, _)| name.contains("_total")) {
        assert!(second[name] >= *figure, "{name} goes down");
    }
}

/// What is told, after a look at how.
fn figures(demo: &Demo) -> BTreeMap<String, u64> {
    let mut response = demo.get("/metrics", "");
    assert_eq!(response.status, "HTTP/1.1 200 OK");
    assert_eq!(
        response.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let (text, mut figures, mut family) = (response.body(), BTreeMap::new(), String::new());
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(line) = line.strip_prefix("# TYPE ") {
            let (name, kind) = line.split_once(' ').expect("a name and a kind");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            name.clone_into(&mut family);
        } else if !line.starts_with("# HELP ") {
            let (name, figure) = line.rsplit_once(' ').expect("a name and a figure");
            assert_eq!(name.split_once('{').map(|(name, _)| name), Some(&*family));
            let figure = figure.parse().expect("a number");
            assert_eq!(figures.insert(name.to_owned(), figure), None, "{name}");
        }
    }
    figures
}

#[test]
fn the_figures_are_only_read() {
    let demo = Demo::start("metrics", &[]);
    let response = demo.ask("POST /metrics HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(response.status, "HTTP/1.1 405 Method Not Allowed");
    assert_eq!(response.header("allow"), Some("GET, HEAD"));
}
