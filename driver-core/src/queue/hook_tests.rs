//! Hooks over rings, against cards of a few lines: every buffer has one owner at all times, every frame goes where its verdict says, and in order.

mod queues;
mod sum;
mod virtq;
mod virtq_layouts;
mod virtq_queues;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::vec::Vec;

use crate::buf::frame::Frame;
use crate::buf::meta::LEN_SHIFT;
use crate::queue::hook::PollWith;
use crate::ring::verdict::{FrameView, Settled, Verdict, WhenFull};
use world::{BUFFERS, DATA, HEADROOM, Places, RING, RX, World, follow, world_with};

/// How many verdicts are asked for: 10 million in the long form.
fn verdicts() -> u64 {
    match std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse::<u64>().ok()) {
        _ if cfg!(miri) => 100,
        Some(cases) => cases * 2000,
        None => 300_000,
    }
}

#[test]
fn a_hook_that_panics_loses_nothing_and_its_block_is_judged_again() {
    // In a block, behind blocks that went their way, and where frames go one at a time; with frames that are sent, dropped and passed before.
    for (at, frames, budget) in [(0, 8, 8), (19, 40, 40), (37, 40, 40), (2, 5, 5), (0, 1, 1)] {
        for code in [3, 4, 8, 1] {
            let mut world = world_with(frames, code);
            let mut seen = 0;
            let mut panics = |frame: &mut FrameView<'_>| {
                assert!(seen != at, "as the test wants");
                seen += 1;
                follow(frame)
            };
            let [a, b, _] = &mut world.tx;
            let (rx, batch) = (&mut world.rx, &mut world.batch);
            catch_unwind(AssertUnwindSafe(|| rx.poll_with(&mut panics, &mut [a, b], WhenFull::Drop, batch, budget))).unwrap_err();
            let before = at / 8 * 8;
            let settled = world.rx.settled.frames();
            assert!((before..=at).contains(&u64::from(settled)), "{settled} frames were settled where the hook panicked at {at}");
            assert_eq!(world.rx.tail, world.rx.ring.tail(), "the device knows");
            world.check_owners();
            let [a, b, _] = &mut world.tx;
            world.rx.poll_with(&mut follow, &mut [a, b], WhenFull::Drop, &mut world.batch, 64);
            assert_eq!(u64::from(world.rx.settled.frames()), frames, "{:?}", world.rx.settled);
            world.check_owners();
            assert_eq!(world.wanted[3].len(), world.batch.len());
            let wanted = [world.wanted[0].len(), world.wanted[1].len()].map(|len| len as u64);
            assert_eq!([world.tx[0].taken, world.tx[1].taken], wanted);
            world.end();
        }
    }
}

#[test]
fn lengths_that_no_buffer_has_and_bits_from_nowhere_reach_no_hook() {
    for len in [2049, 4095, 0x7fff, 0xffff] {
        for at in if cfg!(miri) { 9..10 } else { 0..10 } {
            let mut world = world_with(16, 3);
            // Whatever the card says in the rest of the words.
            world.rx_card.end.write(at, [u64::MAX, len << LEN_SHIFT | RX.done | RX.end | 0xffff << 48]);
            let mut longest = 0;
            let mut hook = |frame: &mut FrameView<'_>| {
                longest = longest.max(frame.len());
                follow(frame)
            };
            let [a, b, c] = &mut world.tx;
            world.rx.poll_with(&mut hook, &mut [a, b, c], WhenFull::Drop, &mut world.batch, 64);
            assert!(longest <= DATA, "{longest}");
            assert!(world.rx.settled.frames() <= at, "the ring stops before the lie: {:?}", world.rx.settled);
            world.check_owners();
            world.end();
        }
    }
}

#[test]
fn a_report_that_comes_too_early_frees_no_more_than_was_sent() {
    let mut world = world_with(40, 3);
    let [a, ..] = &mut world.tx;
    world.rx.poll_with(&mut follow, &mut [a], WhenFull::Drop, &mut world.batch, 64);
    // The card reports everything, sent or not, asked or not.
    (0..RING).for_each(|slot| world.tx_cards[0].end.write(slot, [u64::MAX; 2]));
    world.tx_cards[0].addresses.fill(u64::MAX);
    assert_eq!((world.tx[0].ring.pending(), world.tx[0].taken), (40, 40));
    for round in 0..if cfg!(miri) { 3 } else { 20 } {
        let mut more = 0;
        while more < 30 && world.receive(0) {
            more += 1;
        }
        let [a, ..] = &mut world.tx;
        world.rx.poll_with(&mut follow, &mut [a], WhenFull::Drop, &mut world.batch, 64);
        (0..RING).for_each(|slot| world.tx_cards[0].end.write(slot, [u64::MAX; 2]));
        assert!(world.tx[0].ring.pending() < RING, "{round}");
        world.take_up();
    }
    let Places { available, held } = Places::of(&world);
    assert_eq!(available + held, BUFFERS);
    world.release();
}

#[test]
fn start_and_end_move_within_the_buffer_and_no_further() {
    let mut world = world_with(1, 8);
    let mut hook = |frame: &mut FrameView<'_>| {
        assert_eq!((frame.len(), frame.headroom(), frame.tailroom()), (60, HEADROOM as usize, DATA - 60));
        assert_eq!(frame.words()[0] >> 21 & 0x3ff, 5, "the queue's number");
        assert!(frame.push(HEADROOM as usize + 1).is_err() && frame.put(DATA - 59).is_err() && frame.pull(61).is_err() && frame.trim(61).is_err());
        frame.push(HEADROOM as usize).unwrap().fill(1);
        frame.put(DATA - 60).unwrap().fill(2);
        assert_eq!((frame.len(), frame.headroom(), frame.tailroom()), (DATA + HEADROOM as usize, 0, 0));
        frame.pull(HEADROOM as usize + 8).unwrap();
        frame.trim(20).unwrap();
        frame.data_mut()[..8].copy_from_slice(&77_u64.to_le_bytes());
        Verdict::Pass
    };
    let [a, ..] = &mut world.tx;
    assert_eq!(world.rx.poll_with(&mut hook, &mut [a], WhenFull::Drop, &mut world.batch, 64), 1);
    let frame = world.batch.pop().unwrap();
    assert_eq!((frame.len(), frame.headroom(), frame.rx_queue()), (20, HEADROOM as usize + 8, 5));
    assert_eq!(frame.data()[..8], 77_u64.to_le_bytes());
    world.batch.recycle(frame);
    world.check_owners();
    world.end();
}

#[test]
fn what_a_full_queue_does_not_take_is_dropped_or_handed_up_as_asked() {
    for when_full in [WhenFull::Drop, WhenFull::HandUp] {
        let mut world = world_with(0, 3);
        for _ in 0..4 {
            while world.receive(0) {}
            let [a, ..] = &mut world.tx;
            world.rx.poll_with(&mut follow, &mut [a], when_full, &mut world.batch, 64);
            world.check_owners();
            if world.batch.room() < 32 {
                world.take_up();
            }
        }
        let Settled { sent, rest, .. } = world.rx.settled;
        assert!((RING - 8..RING).contains(&sent), "{sent}");
        assert!(rest.full > 60, "{rest:?}");
        assert_eq!(rest.full_dropped, if when_full == WhenFull::Drop { rest.full } else { 0 });
        world.end();
    }
}

#[test]
fn without_empty_buffers_frames_are_dropped_in_place_and_counted() {
    let mut world = world_with(20, 3);
    let taken: Vec<Frame> = core::iter::from_fn(|| world.pools[0].take()).collect();
    let [a, ..] = &mut world.tx;
    assert_eq!(world.rx.poll_with(&mut follow, &mut [a], WhenFull::Drop, &mut world.batch, 64), 20);
    assert_eq!((world.rx.settled.sent, world.rx.settled.rest.no_buffer), (0, 20));
    drop(taken);
    world.check_owners();
    world.wanted[0].clear();
    world.end();
}

/// The stack at hand is another one behind the look for empty buffers than before it.
#[test]
fn one_frame_is_judged_where_the_empty_buffers_at_hand_are_another_pools() {
    let mut world = world_with(1, 3);
    let other = world.pools[1].take().unwrap();
    world.batch.recycle(other);
    let [a, ..] = &mut world.tx;
    assert_eq!(world.rx.poll_with(&mut follow, &mut [a], WhenFull::Drop, &mut world.batch, 1), 1);
    assert_eq!(world.rx.settled.sent, 1);
    world.check_owners();
    world.end();
}

#[test]
fn every_buffer_has_one_owner_whatever_the_verdicts() {
    let (mut judged, mut seed) = (0, 1);
    while judged < verdicts() {
        let mut world = World::new(0x9e37_79b9_7f4a_7c15 ^ seed);
        let turns = if cfg!(miri) { 8 } else { 400 };
        for turn in 0..turns {
            world.turn();
            if turn % 16 == 0 || turn < 40 {
                world.check_owners();
            }
        }
        world.check_owners();
        judged += world.received;
        world.check_accounts();
        world.end();
        seed += 1;
    }
}
