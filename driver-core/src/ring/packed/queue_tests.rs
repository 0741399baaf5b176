use proptest::prelude::*;

use super::*;
use crate::ring::virtq::F_WRITE;
use crate::testing::domain;

fn queue(size: u16, event_idx: bool) -> PackedQueue {
    PackedQueue::new(&domain().0, size, event_idx).unwrap()
}

/// A queue that is `rounds` and a bit on its way, all of it taken back.
fn queue_at(size: u16, place: u16) -> PackedQueue {
    let mut queue = queue(size, true);
    (queue.next_avail, queue.published, queue.announced, queue.next_used) = (place, place, place, place);
    queue
}

/// What the device reads: second words as they lie in memory.
fn words(queue: &PackedQueue) -> std::vec::Vec<u64> {
    (0..queue.size()).map(|place| queue.word(place)).collect()
}

#[test]
fn marks_change_with_each_round_and_the_first_descriptor_comes_last() {
    let mut queue = queue(4, false);
    for round in 0..70_000u32 / 4 {
        let (available, used) = if round % 2 == 0 { (AVAIL, AVAIL | USED) } else { (USED, 0) };
        let before = words(&queue);
        for place in 0..4u64 {
            queue.put(0x1000 * place, 60 | place << 32 | u64::from(F_WRITE) << 48);
        }
        assert_eq!(words(&queue)[0], before[0], "round {round}: not yet");
        assert!(queue.publish(), "the device asked for nothing, which is to be told of all");
        assert!(!queue.publish(), "once");
        for place in 0..4u16 {
            let word = 60 | u64::from(place) << 32 | 2 << 48 | available;
            assert_eq!(queue.word(place), word, "round {round}");
            assert_eq!(queue.used(), None);
            // SAFETY: a descriptor of the queue.
            unsafe { store_word(queue.desc.at(place.into()).cast::<u64>().add(1), 7 | used) };
            assert_eq!(queue.used(), Some(7 | used), "round {round}");
            queue.next_used = queue.next_used.wrapping_add(1);
        }
        assert_eq!(queue.used(), None, "round {round}: what is left of this round is none of the next");
    }
}

proptest! {
    #![proptest_config(crate::testing::cases())]
    /// A notification is due where the place that the device named is one of those that were published.
    #[test]
    fn news_is_due_when_the_place_was_passed(log in 0u32..=15, start: u16, step in 1u32..=32768, named in 0u32..65536) {
        let size = 1u32 << log;
        let step = 1 + (step - 1) % size;
        let mut queue = queue_at(size as u16, start);
        let place = named % (2 * size);
        let event = (place % size) | (u32::from(place < size) << 15);
        queue.device.store(0, event | EVENTS_DESC);
        queue.next_avail = start.wrapping_add(step as u16);
        let passed = (0..step).any(|k| (u32::from(start) + k) % (2 * size) == place);
        prop_assert_eq!(queue.publish(), passed);
    }

    /// The place that an interrupt is asked for is the last of `count` descriptors, or of those that the device has.
    #[test]
    fn an_interrupt_is_asked_for_at_the_place_that_makes_the_room(log in 0u32..=15, start: u16, outstanding in 0u32..=32768, count in 1u16..) {
        let size = 1u32 << log;
        let outstanding = outstanding % (size + 1);
        let mut queue = queue_at(size as u16, start);
        queue.next_avail = start.wrapping_add(outstanding as u16);
        queue.arm_behind(count);
        let place = (u32::from(start) + outstanding.min(count.into()).saturating_sub(1)) % (2 * size);
        let event = (place % size) | (u32::from(place < size) << 15);
        prop_assert_eq!(queue.driver.load(0), event | 2 << 16);
    }
}

#[test]
fn without_event_indexes_flags_say_all() {
    let mut queue = queue(8, false);
    assert_eq!(queue.driver.load(0), EVENTS_DISABLE);
    assert!(!queue.arm());
    assert_eq!(queue.driver.load(0), 0);
    queue.disarm();
    assert_eq!(queue.driver.load(0), EVENTS_DISABLE);
    for (event, told) in [(0, true), (EVENTS_DISABLE, false), (EVENTS_DESC | 1 << 15, true), (3 << 16, true), (EVENTS_DISABLE | 0xffff, false)] {
        queue.device.store(0, event);
        queue.put(0, 0);
        assert_eq!(queue.publish(), told, "{event:#x}");
    }
}

/// One side's steps of the handshake: it publishes and looks whether the other sleeps; it says that it sleeps and looks whether something was published. Each look is
/// behind `store_then_load`, so that steps of both sides come in some order (`barrier_loom_tests` shows that of the barrier). In every order of the steps, one side
/// sees the other: no buffer lies there untold, and no used one unseen.
#[test]
fn in_no_order_of_steps_do_both_sides_sleep() {
    for event_idx in [false, true] {
        for start in [0, 3, 4, 7, 65535] {
            // The device writes its wish, then looks; the driver writes flags, then reads the wish. Two steps each: six orders.
            for order in [0b0011, 0b0101, 0b0110, 0b1001, 0b1010, 0b1100u32] {
                let mut queue = queue_at(4, start);
                queue.event_idx = event_idx;
                queue.device.store(0, EVENTS_DISABLE);
                queue.put(0, 0);
                let (mut driver, mut device, mut told, mut seen) = (0, 0, false, false);
                for step in 0..4 {
                    match (order >> step & 1 == 1, driver, device) {
                        (true, 0, _) => queue.flush(),
                        (true, ..) => told = queue.publish(),
                        (false, _, 0) => {
                            let wrap = if start & 4 == 0 { EVENT_WRAP } else { 0 };
                            queue.device.store(0, if event_idx { u32::from(start & 3) | wrap | EVENTS_DESC } else { 0 });
                        }
                        (false, ..) => seen = queue.word(start) & (AVAIL | USED) == queue.available_marks(start),
                    }
                    if order >> step & 1 == 1 { driver += 1 } else { device += 1 }
                }
                assert!(told || seen, "start {start}, order {order:#b}, event indexes {event_idx}");
            }
        }
    }
}

#[test]
fn sizes_that_no_ring_of_ours_has_are_refused() {
    for size in [0, 3, 100, 32769] {
        assert!(matches!(PackedQueue::new(&domain().0, size, false), Err(RingError::Entries { max: 32768, .. })), "{size}");
    }
}
