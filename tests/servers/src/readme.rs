//! The lines in the README that mount an event source are those that are tested here.

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
fn its_table_tells_the_very_lines() {
    let (_, table) = README.split_once("<!-- tests/servers -->").unwrap();
    let lines = table.trim_start().lines();
    let rows = lines.skip(2).take_while(|line| line.starts_with('|'));
    let mut number = 0;
    for row in rows {
        let line = row.split('|').nth(2).unwrap();
        let line = dense(line.trim().trim_matches('`'));
        let tested = SERVERS.iter().any(|server| dense(server).contains(&line));
        assert!(tested, "{row}");
        number += 1;
    }
    assert_eq!(number, SERVERS.len());
}

/// Without what rustfmt decides.
fn dense(code: &str) -> String {
    code.split_whitespace().collect()
}
