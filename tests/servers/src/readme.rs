//! The lines in the README that mount a handler are those that are tested here.

const README: &str = include_str!("../../../README.md");

const SERVERS: [&str; 8] = [
    include_str!("servers/actix.rs"),
    include_str!("servers/axum.rs"),
    include_str!("servers/hyper.rs"),
    include_str!("servers/poem.rs"),
    include_str!("servers/rocket.rs"),
    include_str!("servers/salvo.rs"),
    include_str!("servers/tower.rs"),
    include_str!("servers/warp.rs"),
];

#[test]
fn its_tables_tell_the_very_lines() {
    let mut tables = README.split("<!-- tests/servers -->").skip(1);
    // poem has no line for WebSockets.
    for number in [SERVERS.len(), SERVERS.len() - 1] {
        let lines = tables.next().unwrap().trim_start().lines();
        let rows = lines.skip(2).take_while(|line| line.starts_with('|'));
        let mut tested = 0;
        for row in rows {
            let line = row.split('|').nth(2).unwrap();
            let line = dense(line.trim().trim_matches('`'));
            let found = SERVERS.iter().any(|server| dense(server).contains(&line));
            assert!(found, "{row}");
            tested += 1;
        }
        assert_eq!(tested, number);
    }
    assert_eq!(tables.next(), None);
}

/// Without what rustfmt decides.
fn dense(code: &str) -> String {
    code.split_whitespace().collect()
}
