//! The simulated virtio card's split queues by a driver of a few lines: whatever a driver must not do with chains, indexes, flags and headers, the card notes by name.

use crate::raw::{BUFFER_BYTES, BUFFERS, RX, Raw, SIZE, TX};
use sim::virtio_net::{VirtioNet, VirtioNetOptions};
use sim::wire::Wire;

/// Bits of a descriptor's flags (VIRTIO 1.3, 2.7.5).
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;
/// Where a queue's areas lie in its memory: descriptors, available ring, used ring; then buffers.
const AREAS: [usize; 3] = [0, 0x200, 0x400];
/// A header and the shortest frame.
const BYTES: u32 = 12 + 60;

/// Feature bits.
const GUEST_CSUM: u64 = 1 << 1;
const GUEST_TSO4: u64 = 1 << 7;
const GUEST_ECN: u64 = 1 << 9;
const MRG_RXBUF: u64 = 1 << 15;
const INDIRECT_DESC: u64 = 1 << 28;
const EVENT_IDX: u64 = 1 << 29;
const VERSION_1: u64 = 1 << 32;
const IN_ORDER: u64 = 1 << 35;

crate::raw::driver!(Card);

impl Card {
    /// A live card with these features.
    fn up(features: u64) -> Self {
        let raw = Raw::new(VirtioNetOptions::new().large_receive(true).in_order(true));
        raw.take(features);
        Self(raw.live(AREAS))
    }

    /// A descriptor as the card reads it.
    fn word(len: u32, flags: u16, next: u16) -> u64 {
        u64::from(len) | u64::from(flags) << 32 | u64::from(next) << 48
    }

    /// Writes descriptor `index`, which names buffer `index`.
    fn put(&self, queue: usize, index: u16, len: u32, flags: u16, next: u16) {
        self.store(queue, 16 * usize::from(index), (self.buffer(queue, index), Self::word(len, flags, next)));
    }

    /// Makes `head` the available ring's entry `place`, and the index `index`.
    fn give(&self, queue: usize, place: u16, head: u16, index: u16) {
        self.store(queue, AREAS[1] + 4 + 2 * usize::from(place), head);
        self.store(queue, AREAS[1] + 2, index);
    }
}

#[test]
fn chains_that_may_be_are_sent() {
    let mut card = Card::up(VERSION_1 | INDIRECT_DESC);
    card.put(TX, 0, 12, NEXT, 3);
    card.put(TX, 3, 60, 0, 0);
    card.give(TX, 0, 0, 1);
    card.go(TX);
    // A table in buffer 7, of two pieces.
    card.store(TX, BUFFERS + 7 * BUFFER_BYTES, (card.buffer(TX, 0), Card::word(12, NEXT, 1)));
    card.store(TX, BUFFERS + 7 * BUFFER_BYTES + 16, (card.buffer(TX, 1), Card::word(60, 0, 0)));
    card.put(TX, 7, 32, INDIRECT, 0);
    card.give(TX, 1, 7, 2);
    card.go(TX);
    assert_eq!((card.arrived(), card.whats(), card.is_dead()), (2, vec![], false));
}

#[test]
fn chains_that_must_not_be() {
    type Deed = fn(&Card);
    let indirect = "an indirect descriptor that must not be";
    let deeds: [(&str, u64, bool, Deed); 8] = [
        (indirect, 0, true, |card| card.put(TX, 0, 32, INDIRECT, 0)),
        (indirect, INDIRECT_DESC, true, |card| card.put(TX, 0, 32, INDIRECT | NEXT, 1)),
        (indirect, INDIRECT_DESC, true, |card| card.put(TX, 0, 33, INDIRECT, 0)),
        (indirect, INDIRECT_DESC, true, |card| {
            // Buffer 0 is a table, in which another is named.
            card.store(TX, BUFFERS, (card.buffer(TX, 1), Card::word(32, INDIRECT, 0)));
            card.put(TX, 0, 16, INDIRECT, 0);
        }),
        ("a readable descriptor behind a writable one", 0, false, |card| {
            card.put(TX, 0, BYTES, NEXT | WRITE, 1);
            card.put(TX, 1, 20, 0, 0);
        }),
        ("a chain is longer than the queue, or a circle", 0, true, |card| {
            card.put(TX, 0, 12, NEXT, 1);
            card.put(TX, 1, 60, NEXT, 0);
        }),
        ("a chain leads out of its table", 0, true, |card| card.put(TX, 0, 12, NEXT, SIZE)),
        ("a descriptor of no bytes", 0, false, |card| {
            card.put(TX, 0, BYTES, NEXT, 1);
            card.put(TX, 1, 0, 0, 0);
        }),
    ];
    for (expected, features, dies, deed) in deeds {
        let card = Card::up(VERSION_1 | features);
        deed(&card);
        card.give(TX, 0, 0, 1);
        card.go(TX);
        let whats = card.whats();
        assert!(whats.contains(&expected), "{expected}: {whats:?}");
        assert_eq!(card.is_dead(), dies, "{expected}");
    }
}

#[test]
fn heads_that_must_not_be() {
    let card = Card::up(VERSION_1);
    card.give(TX, 0, SIZE, 1);
    card.go(TX);
    assert_eq!((card.whats(), card.is_dead()), (vec!["a descriptor beyond the queue is made available"], true));
    let card = Card::up(VERSION_1);
    // SAFETY: the model is told to hold what it sends, and not exchanged.
    unsafe { card.device.with_model(|model: &mut VirtioNet| model.hold_tx = true) };
    card.put(TX, 0, BYTES, 0, 0);
    card.give(TX, 0, 0, 1);
    card.give(TX, 1, 0, 2);
    card.go(TX);
    assert_eq!(card.whats(), ["a descriptor is made available while the device has it"]);
}

/// 2.7.9.
#[test]
fn in_order_one_used_entry_stands_for_all_that_was_sent() {
    let mut card = Card::up(VERSION_1 | IN_ORDER);
    let used = |card: &Card, place: usize| card.load::<[u32; 2]>(TX, AREAS[2] + 4 + 8 * place);
    for head in 0..3 {
        card.put(TX, head, BYTES, 0, 0);
        card.give(TX, head, head, 0);
    }
    card.give(TX, 2, 2, 3);
    card.go(TX);
    assert_eq!(([used(&card, 0), used(&card, 1)], card.load::<u16>(TX, AREAS[2] + 2)), ([[2, 0], [0, 0]], 3));
    // A chain that goes round the table's end, behind one of two.
    for (index, next) in [(3, 4), (4, 5), (5, 6), (6, 7), (7, 0), (0, 1)] {
        card.put(TX, index, if index == 3 { 12 } else { 20 }, NEXT, next);
    }
    card.put(TX, 4, 60, 0, 0);
    card.put(TX, 1, 60, 0, 0);
    card.give(TX, 3, 3, 3);
    card.give(TX, 4, 5, 5);
    card.go(TX);
    assert_eq!((used(&card, 3), used(&card, 4), card.load::<u16>(TX, AREAS[2] + 2)), ([5, 0], [0, 0], 5));
    assert_eq!((card.arrived(), card.whats()), (5, vec![]));
}

#[test]
fn chains_that_must_not_be_where_they_are_used_in_order() {
    type Deed = fn(&Card) -> u16;
    let deeds: [(&str, Deed); 5] = [
        ("a chain does not begin behind the last one, in order", |card| {
            card.put(TX, 2, BYTES, 0, 0);
            2
        }),
        ("next is not the descriptor behind, in order", |card| {
            card.put(TX, 1, 12, NEXT, 3);
            card.put(TX, 3, 60, 0, 0);
            1
        }),
        ("next is not the descriptor behind, in order", |card| {
            card.put(TX, 1, 12, NEXT, 0);
            card.put(TX, 0, 60, 0, 0);
            1
        }),
        ("next is not the descriptor behind, in order", |card| {
            // Buffer 1 is a table whose pieces lie otherwise.
            for (at, word) in [(0, Card::word(12, NEXT, 2)), (2, Card::word(60, 0, 0))] {
                card.store(TX, BUFFERS + BUFFER_BYTES + 16 * at, (card.buffer(TX, at as u16), word));
            }
            card.put(TX, 1, 48, INDIRECT, 0);
            1
        }),
        ("a chain does not begin behind the last one, in order", |card| {
            // The one before is well, and of two descriptors.
            card.put(TX, 1, 12, NEXT, 2);
            card.put(TX, 2, 60, 0, 0);
            card.give(TX, 1, 1, 2);
            card.go(TX);
            assert_eq!(card.whats(), [""; 0]);
            card.put(TX, 2, BYTES, 0, 0);
            card.give(TX, 2, 2, 3);
            2
        }),
    ];
    for (expected, deed) in deeds {
        let card = Card::up(VERSION_1 | IN_ORDER | INDIRECT_DESC);
        card.put(TX, 0, BYTES, 0, 0);
        card.give(TX, 0, 0, 1);
        card.go(TX);
        assert_eq!(card.whats(), [""; 0]);
        let head = deed(&card);
        if card.load::<u16>(TX, AREAS[1] + 2) == 1 {
            card.give(TX, 1, head, 2);
        }
        card.go(TX);
        assert_eq!((card.whats(), card.is_dead()), (vec![expected], false));
    }
}

#[test]
fn an_index_that_goes_back() {
    let card = Card::up(VERSION_1);
    card.put(TX, 0, BYTES, 0, 0);
    card.give(TX, 0, 0, 1);
    card.go(TX);
    assert_eq!(card.whats(), [""; 0]);
    card.give(TX, 0, 0, 0);
    card.go(TX);
    assert_eq!((card.whats(), card.is_dead()), (vec!["more chains are available than the queue has"], true));
}

#[test]
fn flags_beside_event_indexes() {
    let card = Card::up(VERSION_1 | EVENT_IDX);
    card.put(TX, 0, BYTES, 0, 0);
    card.store(TX, AREAS[1], 1u16);
    card.give(TX, 0, 0, 1);
    card.go(TX);
    assert_eq!(card.whats(), ["avail flags are not zero with VIRTIO_F_EVENT_IDX"]);
}

#[test]
fn receive_buffers_that_must_not_be() {
    for (features, len, flags, expected) in [
        (MRG_RXBUF, 11, WRITE, "a receive buffer is too small"),
        (0, 1525, WRITE, "a receive buffer is too small"),
        (MRG_RXBUF, BUFFER_BYTES as u32, 0, "a readable descriptor in the receive queue"),
    ] {
        let mut card = Card::up(VERSION_1 | features);
        card.put(RX, 0, len, flags, 0);
        card.give(RX, 0, 0, 1);
        card.far.send(&[7; 60]);
        card.go(RX);
        let whats = card.whats();
        assert!(whats.contains(&expected), "{expected}: {whats:?}");
    }
}

#[test]
fn headers_that_must_not_be() {
    // flags, gso_type, and num_buffers' low byte.
    for (at, value, expected) in [
        (0, 2, "flags that are not the driver's to set"),
        (0, 1, "flags that are not the driver's to set"),
        (0, 4, "flags that are not the driver's to set"),
        (1, 1, "segmentation was not negotiated"),
        (10, 1, "num_buffers of a transmitted frame is not zero"),
    ] {
        let card = Card::up(VERSION_1);
        card.store::<u8>(TX, BUFFERS + at, value);
        card.put(TX, 0, BYTES, 0, 0);
        card.give(TX, 0, 0, 1);
        card.go(TX);
        let whats = card.whats();
        assert!(whats.contains(&expected), "{expected}: {whats:?}");
    }
}

/// RFC 9293 over RFC 791: 10.0.0.1 to 10.0.0.2, port 1 to port 2, with 10 bytes of payload that are all zero. The sums are by hand.
fn segment(number: u8) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00];
    // 0x4500 + 50 + id + 0x4006 + 0x0a00 + 1 + 0x0a00 + 2 = 0x993b + id.
    frame.extend([0x45, 0, 0, 50, 0, number, 0, 0, 64, 6, 0x66, 0xc4 - number, 10, 0, 0, 1, 10, 0, 0, 2]);
    let sequence = 10 * number;
    let flags = if number == 0 { 0x90 } else { 0x10 };
    // 0x1400 + 3 + 6 + 30 + 1 + 2 + sequence + 0x5000 + flags + 0x2000 = 0x842a + sequence + flags.
    frame.extend([0, 1, 0, 2, 0, 0, 0, sequence, 0, 0, 0, 0, 0x50, flags, 0x20, 0]);
    frame.extend((0xffff - 0x842a - u16::from(sequence) - u16::from(flags)).to_be_bytes());
    frame.extend([0; 2 + 10]);
    frame
}

#[test]
fn headers_of_large_frames_are_as_the_specification_has_them() {
    // VIRTIO 1.3, 5.1.6: NEEDS_CSUM; TCPV4, with ECN; hdr_len, gso_size, csum_start, csum_offset, num_buffers.
    let large = [1, 0x81, 54, 0, 10, 0, 34, 0, 16, 0, 1, 0];
    let plain = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    let all = GUEST_CSUM | GUEST_TSO4 | GUEST_ECN;
    for (features, header, bytes) in [(all, large, 84), (all - GUEST_ECN, plain, 64), (all - GUEST_TSO4 - GUEST_ECN, plain, 64)] {
        let mut card = Card::up(VERSION_1 | MRG_RXBUF | features);
        for index in 0..4 {
            card.put(RX, index, BUFFER_BYTES as u32, WRITE, 0);
            card.give(RX, index, index, index + 1);
        }
        (0..3).for_each(|number| _ = card.far.send(&segment(number)));
        card.go(RX);
        assert_eq!(card.load::<[u8; 12]>(RX, BUFFERS), header);
        // 2.7.8: the used element has id and length.
        assert_eq!(card.load::<[u32; 2]>(RX, AREAS[2] + 4), [0, 12 + bytes]);
        if bytes == 84 {
            // Length, IPv4's checksum, and the sum of the pseudo header of 50 bytes: 0x1400 + 3 + 6 + 50.
            let frame = card.load::<[u8; 54]>(RX, BUFFERS + 12);
            assert_eq!((&frame[16..18], &frame[24..26], &frame[50..52]), (&[0, 70][..], &[0x66, 0xb0][..], &[0x14, 0x3b][..]));
        }
        assert_eq!(card.whats(), Vec::<&str>::new());
    }
}
