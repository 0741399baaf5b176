//! Devices whose control queue and configuration say anything: at random, and stories that are told on purpose.

mod story;

use proptest::prelude::*;
use story::{Reached, hostile_control};

/// A story in which the device lies and the program asks more often than nothing happens: bytes of things to do before those of what they need.
fn stories() -> impl Strategy<Value = Vec<u8>> {
    let things = prop::collection::vec((prop::num::u8::ANY, prop::collection::vec(prop::num::u8::ANY, 0..6)), 0..40);
    // Most devices come up: few lies at the start.
    let lies = prop_oneof![3 => Just(0u8), 1 => prop::num::u8::ANY];
    (prop::num::u8::ANY, lies, things).prop_map(|(how, lies, things)| {
        let things = things.into_iter().flat_map(|(what, rest)| core::iter::once(what).chain(rest));
        [how, lies].into_iter().chain(things).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.min(96), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_answer_loses_a_buffer_or_a_setting(input in stories()) {
        hostile_control(&input);
    }
}

/// Everything is asked for once, of a device that does all of it: what a story can see is seen.
#[test]
fn an_honest_device_is_served() {
    let asks = [0, 1, 1, 4, 2, 4, 3, 1, 4, 1, 5, 9, 6, 5, 7, 0, 8, 0, 9, 10, 11, 12, 12];
    for how in [0xff, 0xfe] {
        let input: Vec<u8> = [how, 0, 3 | 4 | 32].into_iter().chain(asks).collect();
        let Reached { opened, started, done, refused, received } = hostile_control(&input);
        // Large frames were asked for: to have them without their checksums is no choice, and both go together.
        assert_eq!((opened, started, done, refused, received), (true, true, 9, 0, 3), "{how:#x}");
    }
}

#[test]
fn what_lies_about_itself_is_refused_or_lived_with() {
    for (lies, opened, started) in [
        // max_virtqueue_pairs 0, rss_max_key_size 0, rss_max_indirection_table_length 0.
        (&[3, 8, 0, 9, 0, 10, 0][..], false, false),
        (&[1, 17, 0], false, false),
        (&[2, 18, 0, 19, 0], false, false),
        // max_virtqueue_pairs 0x7f04: the control queue lies where there is none.
        (&[1, 9, 0x7f], true, false),
        // An MTU of 0 bytes, and of 65535.
        (&[2, 10, 0, 11, 0], false, false),
        (&[2, 10, 0xff, 11, 0xff], true, true),
        // The list of capabilities is a circle; the notification structure has a multiplier of 2^31; the common structure is in BAR 5, which there is not.
        (&[8, 0x29, 0x68, 0, 0, 0], false, false),
        (&[8, 0x68, 0, 0, 0, 0x80], true, false),
        (&[8, 0x2c, 5, 0, 0, 0], false, false),
    ] {
        let input: Vec<u8> = core::iter::once(0xff).chain(lies.iter().copied()).chain([0, 0, 1]).collect();
        let reached = hostile_control(&input);
        assert_eq!((reached.opened, reached.started), (opened, started), "{lies:?}");
    }
}

/// Each way in which an answer can be wrong is an error of the call that asked, and no other.
#[test]
fn each_answer_that_is_wrong_is_an_error() {
    for (lie, asks, refused) in [
        (&[14, 0, 0, 9, 0, 0, 0][..], &[0, 0][..], 1),
        (&[14, 2, 1, 0, 0, 0, 0], &[0, 0], 1),
        (&[14, 3, 0, 1, 0, 0, 0], &[0, 0], 1),
        (&[14, 4, 1, 1, 0, 0, 0], &[2, 1, 2, 2], 1),
        (&[14, 1, 0, 9, 0, 0, 0], &[0, 0], 0),
    ] {
        let input: Vec<u8> = [0xff, 0, 0].iter().chain(lie).chain(asks).copied().collect();
        let reached = hostile_control(&input);
        assert_eq!((reached.started, reached.refused), (true, refused), "{lie:?}");
    }
}
