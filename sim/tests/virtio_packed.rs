//! The simulated virtio card's packed queues by a driver of a few lines: what it writes into used descriptors, whom it interrupts, and what it does not let pass.

use crate::raw::{BUFFER_BYTES, BUFFERS, RX, Raw, SIZE, TX};
use driver_core::host::RegSpace;
use sim::virtio_net::{UsedIds, VirtioNet, VirtioNetOptions};
use sim::wire::Wire;

/// Bits of a descriptor's flags (virtio 1.3, 2.8).
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;
const AVAIL: u16 = 1 << 7;
const USED: u16 = 1 << 15;
/// Where a queue's areas lie in its memory: descriptors, driver and device event suppression; then buffers.
const AREAS: [usize; 3] = [0, 0x200, 0x300];
/// A header and the shortest frame.
const BYTES: u32 = 12 + 60;

crate::raw::driver!(Card);

impl Card {
    /// A live card with packed queues; `event_idx`: with event indexes.
    fn up(options: VirtioNetOptions, event_idx: bool) -> Self {
        let raw = Raw::new(options.packed(true));
        let offered = |half: u32| {
            raw.bar.write32(0, half);
            u64::from(raw.bar.read32(4)) << (32 * half)
        };
        // MRG_RXBUF, INDIRECT_DESC, EVENT_IDX; VERSION_1, RING_PACKED, and IN_ORDER, NOTIFICATION_DATA and NOTIF_CONFIG_DATA where they are there.
        let wanted = 1 << 15 | 1 << 28 | u64::from(event_idx) << 29 | 0b1100_1101 << 32;
        raw.take((offered(0) | offered(1)) & wanted);
        Self(raw.live(AREAS))
    }

    /// Writes a descriptor of the first round or, with `round` 1, of the second.
    fn put(&self, queue: usize, (place, round): (u16, u16), at: u64, len: u32, id: u16, flags: u16) {
        let marks = if round % 2 == 0 { AVAIL } else { USED };
        self.store(queue, 16 * usize::from(place), (at, u64::from(len) | u64::from(id) << 32 | u64::from(flags | marks) << 48));
    }

    /// Length, buffer ID and flags of a descriptor.
    fn used(&self, queue: usize, place: u16) -> (u32, u16, u16) {
        let word: u64 = self.load(queue, 16 * usize::from(place) + 8);
        (word as u32, (word >> 32) as u16, (word >> 48) as u16)
    }

    fn whats(&self) -> Vec<&'static str> {
        self.device.take_violations().iter().map(|violation| violation.what).collect()
    }
}

#[test]
fn a_used_descriptor_names_the_first_or_the_last_of_a_chain_and_the_next_lies_behind_it() {
    for (ids, expected) in [(UsedIds::First, 5), (UsedIds::Last, 7)] {
        let mut card = Card::up(VirtioNetOptions::new().used_ids(ids), false);
        card.put(TX, (0, 0), card.buffer(TX, 0), 12, 5, NEXT);
        card.put(TX, (1, 0), card.buffer(TX, 1), 40, 6, NEXT);
        card.put(TX, (2, 0), card.buffer(TX, 2), 20, 7, 0);
        card.put(TX, (3, 0), card.buffer(TX, 3), BYTES, 3, 0);
        card.go(TX);
        assert_eq!(card.used(TX, 0), (0, expected, AVAIL | USED));
        assert_eq!((card.used(TX, 1).2, card.used(TX, 2).2), (AVAIL | NEXT, AVAIL), "only one is written for the chain");
        assert_eq!(card.used(TX, 3), (0, 3, AVAIL | USED));
        assert_eq!((card.arrived(), card.whats()), (2, vec![]));
    }
}

#[test]
fn the_second_round_has_the_other_marks() {
    let mut card = Card::up(VirtioNetOptions::new(), false);
    for round in 0..4 {
        for place in 0..SIZE {
            card.put(TX, (place, round), card.buffer(TX, place), BYTES, place, 0);
        }
        card.go(TX);
        let marks = if round % 2 == 0 { AVAIL | USED } else { 0 };
        assert!((0..SIZE).all(|place| card.used(TX, place) == (0, place, marks)), "round {round}");
        assert_eq!((card.arrived(), card.whats()), (8, vec![]));
    }
}

#[test]
fn in_order_one_used_descriptor_stands_for_all_that_was_sent() {
    let mut card = Card::up(VirtioNetOptions::new().in_order(true), false);
    for place in 0..5 {
        card.put(TX, (place, 0), card.buffer(TX, place), BYTES, 10 + place, 0);
    }
    card.go(TX);
    assert_eq!(card.used(TX, 0), (0, 14, AVAIL | USED), "the last one's buffer ID");
    assert!((1..5).all(|place| card.used(TX, place).2 == AVAIL));
    card.put(TX, (5, 0), card.buffer(TX, 5), BYTES, 1, 0);
    card.go(TX);
    assert_eq!(card.used(TX, 5), (0, 1, AVAIL | USED), "it skipped the others");
    assert_eq!((card.arrived(), card.whats()), (6, vec![]));
}

#[test]
fn in_order_received_buffers_are_skipped_where_they_are_full() {
    let mut card = Card::up(VirtioNetOptions::new().in_order(true), false);
    for place in 0..SIZE {
        card.put(RX, (place, 0), card.buffer(RX, place), BUFFER_BYTES as u32, 20 + place, WRITE);
    }
    card.go(RX);
    card.far.send(&[7; 5000]);
    card.far.send(&[7; 60]);
    card.go(RX);
    assert_eq!(card.used(RX, 0), (12 + 5000 - 2 * BUFFER_BYTES as u32, 22, AVAIL | USED | WRITE), "the last of three");
    assert!((1..3).all(|place| card.used(RX, place).2 == AVAIL | WRITE));
    assert_eq!((card.used(RX, 3), card.whats()), ((BYTES, 23, AVAIL | USED | WRITE), vec![]), "what has bytes to spare tells how many it has");
}

#[test]
fn in_order_each_may_have_its_own_used_descriptor() {
    let card = Card::up(VirtioNetOptions::new().in_order(true).skips(false), false);
    for place in 0..5 {
        card.put(TX, (place, 0), card.buffer(TX, place), BYTES, 10 + place, 0);
    }
    card.go(TX);
    assert!((0..5).all(|place| card.used(TX, place) == (0, 10 + place, AVAIL | USED)));
    assert_eq!(card.whats(), [""; 0]);
}

#[test]
fn used_receive_buffers_say_that_they_were_written_where_the_card_does() {
    for (says, flags) in [(true, WRITE), (false, 0)] {
        let mut card = Card::up(VirtioNetOptions::new().says_write(says), false);
        for place in 0..SIZE {
            card.put(RX, (place, 0), card.buffer(RX, place), BUFFER_BYTES as u32, place, WRITE);
        }
        card.go(RX);
        card.far.send(&[7; 60]);
        card.go(RX);
        assert_eq!(card.used(RX, 0), (BYTES, 0, AVAIL | USED | flags));
        assert_eq!(card.load::<[u8; 60]>(RX, BUFFERS + 12), [7; 60]);
        assert_eq!(card.whats(), [""; 0]);
    }
}

#[test]
fn an_indirect_table_is_as_long_as_it_says() {
    let mut card = Card::up(VirtioNetOptions::new(), false);
    // Three pieces in a table in buffer 7; IDs there mean nothing.
    for (k, len) in [12u64, 40, 20].into_iter().enumerate() {
        card.store(TX, BUFFERS + 7 * BUFFER_BYTES + 16 * k, (card.buffer(TX, k as u16), len | 99 << 32));
    }
    card.put(TX, (0, 0), card.buffer(TX, 7), 48, 2, INDIRECT);
    card.go(TX);
    assert_eq!((card.used(TX, 0), card.arrived(), card.whats()), ((0, 2, AVAIL | USED), 1, vec![]));
    // With a flag that is none of the table's.
    card.store(TX, BUFFERS + 7 * BUFFER_BYTES, (card.buffer(TX, 0), 12 | u64::from(NEXT) << 48));
    card.put(TX, (1, 0), card.buffer(TX, 7), 48, 2, INDIRECT);
    card.go(TX);
    assert_eq!(card.whats(), ["a flag other than WRITE in an indirect table"]);
}

/// ISR bit 0 is set with each interrupt (4.1.4.5), and cleared by the look.
#[test]
fn who_asked_for_a_place_is_interrupted_when_it_is_passed() {
    let card = Card::up(VirtioNetOptions::new(), true);
    let interrupted = || card.bar.read8(0x1000) & 1 == 1;
    let event = |place: u16, wrap: u16, flags: u16| card.store(TX, AREAS[1], u32::from(place | wrap << 15) | u32::from(flags) << 16);
    let send = |place: u16, round: u16| {
        card.put(TX, (place, round), card.buffer(TX, place), BYTES, place, 0);
        card.go(TX);
    };
    event(0, 1, 1);
    send(0, 0);
    assert!(!interrupted(), "none is wanted");
    event(2, 1, 2);
    send(1, 0);
    assert!(!interrupted(), "not yet");
    send(2, 0);
    assert!(interrupted());
    send(3, 0);
    assert!(!interrupted(), "once");
    // The first place of the next round.
    event(0, 0, 2);
    (4..SIZE).for_each(|place| send(place, 0));
    assert!(!interrupted(), "that place is of the other round");
    send(0, 1);
    assert!(interrupted());
    // The card asks for a notification of the next place, with the wrap counter there.
    assert_eq!(card.load::<u32>(TX, AREAS[2]), 1 | 2 << 16);
    assert_eq!(card.whats(), [""; 0]);
}

#[test]
fn what_a_driver_must_not_do_is_recorded() {
    type Deed = fn(&Card);
    let deeds: [(&[&str], bool, Deed); 7] = [
        (&["event flags that are reserved, or not negotiated"; 3], false, |card| {
            card.store(TX, AREAS[1], 2u32 << 16);
            card.put(TX, (0, 0), card.buffer(TX, 0), BYTES, 0, 0);
        }),
        (&["a descriptor inside of a chain is not available"], true, |card| {
            card.put(TX, (0, 0), card.buffer(TX, 0), 12, 0, NEXT);
            card.put(TX, (1, 1), card.buffer(TX, 1), 60, 0, 0);
        }),
        (&["an indirect descriptor that must not be"], true, |card| {
            card.put(TX, (0, 0), card.buffer(TX, 0), 12, 0, NEXT);
            card.put(TX, (1, 0), card.buffer(TX, 1), 32, 0, INDIRECT);
        }),
        (&["a chain is longer than the queue"], true, |card| card.put(TX, (0, 0), card.buffer(TX, 0), 16 * 9, 0, INDIRECT)),
        (&["a chain is longer than what the device does not have"], true, |card| {
            (0..SIZE).for_each(|place| card.put(TX, (place, 0), card.buffer(TX, 0), 12, 0, NEXT));
        }),
        (&["a descriptor of no bytes"], false, |card| {
            card.put(TX, (0, 0), card.buffer(TX, 0), BYTES, 0, NEXT);
            card.put(TX, (1, 0), card.buffer(TX, 1), 0, 0, 0);
        }),
        (&["a writable descriptor in the transmit queue", "a readable descriptor behind a writable one"], false, |card| {
            card.put(TX, (0, 0), card.buffer(TX, 0), BYTES, 0, NEXT | WRITE);
            card.put(TX, (1, 0), card.buffer(TX, 1), 20, 0, 0);
        }),
    ];
    for (expected, dies, deed) in deeds {
        let card = Card::up(VirtioNetOptions::new(), false);
        deed(&card);
        card.go(TX);
        let (mut seen, mut expected) = (card.whats(), expected.to_vec());
        seen.sort_unstable();
        seen.dedup();
        expected.sort_unstable();
        expected.dedup();
        assert_eq!((seen, card.is_dead()), (expected, dies));
    }
}

#[test]
fn a_buffer_id_that_the_card_has_is_not_to_be_given_again() {
    let card = Card::up(VirtioNetOptions::new(), false);
    // SAFETY: the model is told to hold what it sends, and not exchanged.
    unsafe { card.device.with_model(|model: &mut VirtioNet| model.hold_tx = true) };
    for place in 0..2 {
        card.put(TX, (place, 0), card.buffer(TX, place), BYTES, 4, 0);
    }
    card.go(TX);
    assert_eq!(card.whats(), ["a buffer ID is made available while the device has it"]);
}

/// 2.9, 4.1.5.2: 32 bits, of which the upper ones are the offset behind what is available, and its wrap counter.
#[test]
fn a_notification_that_says_how_far_the_queue_is_says_the_truth() {
    const WRONG: &str = "a notification of the wrong form or at the wrong time";
    const NOT_NEXT: &str = "a notification names a place that cannot be the next";
    const TOO_MUCH: &str = "a notification told of more than is available";
    let mut card = Card::up(VirtioNetOptions::new().notification_data(true), false);
    let tell = |card: &Card, next: u32| {
        card.bar.write32(0x3000 + 4, TX as u32 | next << 16);
        (0..4).for_each(|_| _ = card.device.advance_us(10));
        card.whats()
    };
    card.bar.write16(0x3000 + 4, TX as u16);
    assert_eq!(card.whats(), [WRONG], "16 bits");
    card.put(TX, (0, 0), card.buffer(TX, 0), BYTES, 0, 0);
    assert_eq!((tell(&card, 0x8001), card.arrived()), (vec![], 1));
    assert_eq!(tell(&card, 0x8001), [""; 0], "the same once more");
    card.put(TX, (1, 0), card.buffer(TX, 1), BYTES, 1, 0);
    assert_eq!((tell(&card, 0x8003), card.arrived()), (vec![TOO_MUCH], 1));
    // Before what was taken, beyond the ring, and more than a round ahead.
    for next in [0x8001, 0x8008, 0x0003] {
        assert_eq!(tell(&card, next), [NOT_NEXT], "{next:#x}");
    }
    (2..SIZE).for_each(|place| card.put(TX, (place, 0), card.buffer(TX, place), BYTES, place, 0));
    assert_eq!((tell(&card, 0x0000), card.arrived()), (vec![], 6), "the next round");
}

#[test]
fn a_notification_names_its_queue_as_the_card_wants() {
    let mut card = Card::up(VirtioNetOptions::new().notif_config_data(true), false);
    card.bar.write16(22, TX as u16);
    let name = card.bar.read16(56);
    assert!(name > 1, "{name}");
    card.put(TX, (0, 0), card.buffer(TX, 0), BYTES, 0, 0);
    card.go(TX);
    assert_eq!((card.arrived(), card.whats()), (0, vec!["a notification of the wrong form or at the wrong time"]));
    card.bar.write16(0x3000 + 4, name);
    (0..4).for_each(|_| _ = card.device.advance_us(10));
    assert_eq!((card.arrived(), card.whats()), (1, vec![]));

    let card = Card::up(VirtioNetOptions::new(), false);
    card.bar.read16(56);
    assert_eq!(card.whats(), ["queue_notif_config_data is read, which was not negotiated"]);
}
