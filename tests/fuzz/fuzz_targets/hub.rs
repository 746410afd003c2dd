//! A `Hub` against the list that its random histories have (`tests/hub_model.rs`), with
//! histories that coverage has chosen.
#![no_main]

#[allow(dead_code, unused_imports, reason = "shared with the tests")]
#[path = "../../hub_model.rs"]
mod hub_model;

use hub_model::{Happens, Id, NAMES, PATTERNS, Real, Settings, To};
use libfuzzer_sys::fuzz_target;
use tornadose::Start;
use tornadose_fuzz::Input;

fuzz_target!(|bytes: &[u8]| run(&mut Input::new(bytes)));

fn run(input: &mut Input<'_>) {
    let mut real = Real::new(Settings {
        keeps: 1 + input.below(3),
        age: 2 + input.below(10) as u64,
        stall: 2 + input.below(18) as u64,
    });
    while !input.is_empty() {
        real.happens(happens(input));
    }
    real.drain_all();
}

fn happens(input: &mut Input<'_>) -> Happens {
    match input.below(10) {
        0..=2 => Happens::Submit(input.below(NAMES.len())),
        3 => Happens::SubmitAll(all_of(input, 6, NAMES.len())),
        4 => {
            // Who reads many looks at them in another way.
            let most = if input.flag() { 24 } else { 4 };
            let to = To {
                topics: all_of(input, most, NAMES.len()),
                patterns: all_of(input, 3, PATTERNS.len()),
            };
            let start = match input.below(3) {
                0 => Start::Live,
                1 => Start::Oldest,
                _ => Start::Last(input.below(4) as u64),
            };
            let id = match input.below(8) {
                0 | 1 => None,
                2 => Some(Id::Malformed),
                3 => Some(Id::Elsewhere(input.byte().into())),
                4 => Some(Id::Ahead(1 + input.below(3) as u64)),
                _ => Some(Id::Here(input.byte().into())),
            };
            Happens::Subscribe { to, start, id }
        }
        5 => Happens::Poll(input.byte().into()),
        6 => Happens::Drain(input.byte().into()),
        7 => Happens::Drop(input.byte().into()),
        8 => Happens::Return(input.byte().into()),
        _ => Happens::Advance(1 + input.below(5) as u64),
    }
}

fn all_of(input: &mut Input<'_>, most: usize, of: usize) -> Vec<usize> {
    let count = input.below(most);
    (0..count).map(|_| input.below(of)).collect()
}
