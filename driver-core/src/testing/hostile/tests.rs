//! Stories at random, and ones that are told on purpose.

use std::vec::Vec;

use proptest::prelude::*;

use super::{Reached, hostile_packed, hostile_split};

/// A story in which the device and the driver do something more often than nothing: bytes of things to do before those of what they need.
fn stories() -> impl Strategy<Value = Vec<u8>> {
    let things = prop::collection::vec((prop::num::u8::ANY, prop::collection::vec(prop::num::u8::ANY, 0..6)), 0..200);
    (prop::num::u8::ANY, things).prop_map(|(how, things)| {
        let things = things.into_iter().flat_map(|(what, rest)| core::iter::once(what).chain(rest));
        core::iter::once(how).chain(things).collect()
    })
}

proptest! {
    #![proptest_config(crate::testing::cases())]
    #[test]
    fn no_split_device_takes_a_buffer_away(input in stories()) {
        hostile_split(&input);
    }

    #[test]
    fn no_packed_device_takes_a_buffer_away(input in stories()) {
        hostile_packed(&input);
    }
}

/// Rounds in which everything is honest come all the way: what a story can see is seen.
#[test]
fn an_honest_device_is_served() {
    let round = [11, 4, 8, 0, 10, 0, 10, 0x80, 0, 0x80, 0, 0x80, 0, 0x80, 0, 13, 6, 8, 8];
    let input: Vec<u8> = core::iter::once(0).chain(round.repeat(50)).collect();
    for reached in [hostile_split(&input), hostile_packed(&input)] {
        let Reached { received, sent, reclaimed, faults, restarts } = reached;
        assert_eq!((received, sent, reclaimed, faults, restarts), (100 + 16, 200 + 16, 200 + 16, 0, 1));
    }
}

#[test]
fn what_was_never_lent_is_a_fault_in_both_directions() {
    // IDs beyond the queue, and lengths beyond the buffer.
    for input in [&[0, 1, 0xf6, 10, 7, 7][..], &[0, 0, 0xf6, 7], &[0, 11, 1, 8, 0x81, 0xf6, 0, 13], &[0, 11, 1, 8, 0x81, 3, 0, 13]] {
        for reached in [hostile_split(input), hostile_packed(input)] {
            assert!(reached.faults > 0 && reached.received <= 16, "{input:?}: {reached:?}");
        }
    }
}
