//! A `QueueStore` against the model that its random histories have (`tests/model.rs`), with
//! histories that coverage has chosen.
#![no_main]

#[allow(dead_code, unused_imports, reason = "shared with the tests")]
#[path = "../../model.rs"]
mod model;

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use model::{Happens, Id, Queue, RealQueue};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};
use tornadose::{Overflow, Start};
use tornadose_fuzz::Input;

fuzz_target!(|bytes: &[u8]| run(&mut Input::new(bytes)));

fn run(input: &mut Input<'_>) {
    let stall = Duration::from_secs(model::STALL);
    let overflow = match input.below(3) {
        0 => Overflow::DropOldest,
        1 => Overflow::Disconnect,
        _ => Overflow::Wait { stall },
    };
    let age = input.flag().then(|| 1 + input.below(60) as u64);
    let mut model = Queue::new(1 + input.below(8) as u64, age, overflow);
    let mut real = RealQueue::init_test(&model);
    while !input.is_empty() {
        let happens = happens(input);
        if Queue::preconditions(&model, &happens) {
            model = Queue::apply(model, &happens);
            real = RealQueue::apply(real, &model, happens);
        }
    }
    RealQueue::teardown(real, model);
}

fn happens(input: &mut Input<'_>) -> Happens {
    match input.below(10) {
        0..=2 => Happens::Submit(input.byte()),
        3 | 4 => {
            let start = match input.below(3) {
                0 => Start::Live,
                1 => Start::Oldest,
                _ => Start::Last(input.below(8) as u64),
            };
            let id = match input.below(8) {
                0 => None,
                1 => Some(Id::Malformed),
                2 => Some(Id::Elsewhere(input.byte().into())),
                3 => Some(Id::Here(input.number())),
                _ => Some(Id::Here(input.byte().into())),
            };
            Happens::Subscribe(start, id)
        }
        5 => Happens::Poll(input.below(16)),
        6 => Happens::Drain(input.below(16)),
        7 => Happens::Drop(input.below(16)),
        8 => Happens::Advance(input.below(40) as u64),
        _ if input.byte() == 255 => Happens::Close,
        _ => Happens::AwaitRoom,
    }
}
