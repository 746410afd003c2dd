//! docs/deployment.md shows the files that are run here, to the letter.

use std::fs;
use std::path::Path;

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs");

#[test]
fn the_page_shows_every_file_as_it_is() {
    let page = fs::read_to_string(Path::new(DOCS).join("deployment.md")).expect("the page");
    let files = fs::read_dir(Path::new(DOCS).join("deployment")).expect("a folder");
    let mut count = 0;
    for file in files {
        let path = file.expect("a file").path();
        let text = fs::read_to_string(&path).expect("text");
        let name = path.file_name().and_then(|name| name.to_str());
        let link = format!("(deployment/{})", name.expect("a name"));
        assert!(page.contains(&link), "no link {link}");
        let shown = format!("\n```text\n{text}```\n");
        assert!(page.contains(&shown), "{} is not as shown", path.display());
        count += 1;
    }
    assert_eq!(count, 5, "four proxies, and a service");
}
