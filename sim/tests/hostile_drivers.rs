//! Drivers that do to a card what no driver should: it records that, stands still, and costs neither time without end nor memory without bound.

use std::sync::mpsc;
use std::time::Duration;

use crate::client::{Served, dma_map, memfd};
use crate::common::{Card, MAC, data_word, frame};
use driver_core::host::PciFunction;
use sim::virtio_net::{VirtioNet, VirtioNetOptions};
use sim::wire::peer;

/// Steps the card on a thread of its own, so that a step without end fails the test.
#[track_caller]
fn step(card: &Card) {
    let (done, ended) = mpsc::channel();
    let device = card.device.clone();
    std::thread::spawn(move || {
        (0..4).for_each(|_| _ = device.advance_us(10));
        let _ = done.send(());
    });
    ended.recv_timeout(Duration::from_secs(5)).expect("the step comes to its end, without a panic");
}

#[test]
fn a_transmit_ring_that_is_cut_short_under_way() {
    let card = Card::up();
    let ring = card.transmit_queue(0, 256);
    // Descriptors of no bytes and no end of packet, 200 for the card. Then the ring has 8.
    card.tail(&ring, 200);
    card.w(ring.block + 8, 8 * 16);
    step(&card);
    card.expect_violations(&["a ring was changed while its queue is enabled"]);
    // Off and on again, it works.
    for (register, value) in [(0x28, 0), (0x10, 0), (0x18, 0)] {
        card.w(ring.block + register, value);
        step(&card);
    }
    card.enable(&ring);
    let buffer = card.function.dma().allocate(64).unwrap();
    card.put(&ring, 0, [buffer.iova().0, data_word(60, 60, true, true)]);
    card.tail(&ring, 1);
    step(&card);
    assert_eq!(card.sent().len(), 1);
    card.expect_violations(&[]);
}

#[test]
fn heads_beyond_their_rings() {
    let card = Card::up();
    let (rx, _buffers) = card.receive_queue(0, 64, 2);
    let tx = card.transmit_queue(0, 64);
    card.enable_receive();
    card.tail(&rx, 63);
    card.w(rx.block + 0x10, 0xFFFF);
    card.w(tx.block + 0x10, 0xFFFF);
    card.arrive(&frame(MAC, 60));
    step(&card);
    card.expect_violations(&["a ring was changed while its queue is enabled"; 2]);
}

#[test]
fn a_queue_that_is_enabled_with_its_tail_beyond_the_ring() {
    let card = Card::up();
    card.w(0x4A80, 1);
    // A transmit queue starts with head and tail 0, whatever they were.
    for (block, beyond) in [(0x1000, &["a queue was enabled with its head or tail beyond the ring"][..]), (0x6000, &[])] {
        let ring = card.ring(block, 64);
        card.w(ring.block + 0x18, 100);
        card.w(ring.block + 0x28, 1 << 25);
        step(&card);
        card.expect_violations(&[&["the tail was written while the queue is not enabled"], beyond].concat());
    }
    assert_eq!(card.r(0x6018), 0);
}

#[test]
fn a_ring_at_the_end_of_the_address_space() {
    let card = Card::up();
    card.w(0x4A80, 1);
    for (register, value) in [(0x6000, 0xFFFF_FF80), (0x6004, u32::MAX), (0x6008, 16 * 16), (0x6028, 1 << 25)] {
        card.w(register, value);
    }
    step(&card);
    card.w(0x6018, 9);
    step(&card);
    card.expect_violations(&["DMA outside the mappings"]);
}

#[test]
fn a_packet_without_an_end() {
    let card = Card::up();
    let ring = card.transmit_queue(0, 8192);
    let buffer = card.function.dma().allocate(1 << 16).unwrap();
    (0..8191).for_each(|i| card.put(&ring, i, [buffer.iova().0, data_word(0xFFFF, 0, false, false)]));
    card.tail(&ring, 8191);
    step(&card);
    // 41 descriptors were looked at, not 512 MiB copied again with each step.
    card.expect_violations(&["a packet has more than 40 descriptors"]);
    step(&card);
    card.expect_violations(&[]);
}

#[test]
fn a_virtio_chain_of_gigabytes() {
    let (near, _far) = peer::pair(64);
    let served = Served::new("hostile-virtio", Box::new(VirtioNet::new(VirtioNetOptions::default())), Box::new(near));
    let mut client = served.agreed();
    let file = memfd(1 << 20);
    client.ask_with(2, &dma_map(3, 0, 0x10000, 1 << 20), &[&file]).good();
    // 16 GiB that are mapped, and asked for by message.
    client.ask(2, &dma_map(3, 0, 1 << 40, 16 << 30)).good();
    client.write(7, 4, &[6, 0]);
    client.write(4, 20, &[0]);
    while client.read(4, 20, 1) != [0] {}
    for status in [1, 3] {
        client.write(4, 20, &[status]);
    }
    client.write32(4, 8, 1);
    client.write32(4, 12, 1);
    client.write(4, 20, &[11]);
    for queue in 0..2u16 {
        client.write(4, 22, &queue.to_le_bytes());
        client.write(4, 24, &[8, 0]);
        for (field, at) in [(32, 0x10000u32), (40, 0x11000), (48, 0x12000)] {
            client.write32(4, field, at + u32::from(queue) * 0x10000);
            client.write32(4, field + 4, 0);
        }
        client.write(4, 28, &[1, 0]);
    }
    client.write(4, 20, &[15]);
    // Descriptor 0 of the transmit queue, 64 KiB into the file: 4 GiB less a little.
    let descriptor = [(1u64 << 40).to_le_bytes(), 0xffff_0000u64.to_le_bytes()].concat();
    rustix::io::pwrite(&file, &descriptor, 0x10000).unwrap();
    rustix::io::pwrite(&file, &[0, 0, 1, 0, 0, 0], 0x11000).unwrap();
    client.write(4, 0x3004, &[1, 0]);
    let began = std::time::Instant::now();
    while client.read(4, 20, 1)[0] & 0x40 == 0 {
        assert!(began.elapsed() < Duration::from_secs(2), "the device asks for a reset");
    }
    assert_eq!(client.asked, 0, "nothing of it was asked for");
    drop(client);
    let (violations, _) = served.stop();
    assert!(violations[0].starts_with("a chain is longer than any frame"), "{violations:?}");
}
