//! The vfio-user server as QEMU's client uses it.

#[path = "common/vfio_user.rs"]
mod client;

use client::*;
use sim::ixgbe::{Ixgbe, IxgbeOptions};
use sim::virtio_net::{VirtioNet, VirtioNetOptions};
use sim::wire::peer;

fn ixgbe() -> Box<Ixgbe> {
    Box::new(Ixgbe::new(IxgbeOptions::default()))
}

fn served(test: &str) -> Served {
    Served::new(test, ixgbe(), Box::new(peer::pair(64).0))
}

/// What QEMU 10.1 to 11.1 sends when it attaches the device and its firmware boots.
#[test]
fn the_attach_sequence() {
    let served = served("attach");
    let mut client = served.client();
    let capabilities = client.agree(0);
    let wanted = serde_json::json!({"max_data_xfer_size": 1048576, "max_dma_maps": 65535, "max_msg_fds": 16, "pgsizes": 4096});
    assert_eq!(capabilities, serde_json::json!({ "capabilities": wanted }));
    let ram = memfd(16 << 20);
    assert!(client.ask_with(2, &dma_map(3, 0, 0, 0xa0000), &[&ram]).good().is_empty());
    client.ask(2, &dma_map(1, 0, 0xc0000, 0x40000)).good();
    client.ask_with(2, &dma_map(3, 0x100000, 0x100000, 15 << 20), &[&ram]).good();

    assert_eq!(client.ask(4, &words(&[16, 0, 0, 0])).good(), words(&[16, 3, 9, 5]));
    for (region, size) in [(0, 512 << 10), (1, 0), (2, 0), (3, 0), (4, 16 << 10), (5, 0), (7, 4096)] {
        let info = client.ask(5, &words(&[32, 0, region, 0, 0, 0, 0, 0])).good();
        assert_eq!(info, words(&[32, if size > 0 { 3 } else { 0 }, region, 0, size, 0, 0, 0]), "region {region}");
    }
    assert_eq!(client.ask(7, &words(&[16, 0, 3, 0])).good(), words(&[16, 1, 3, 1]));
    let config = client.read(7, 0, 4096);
    assert_eq!((config.len(), &config[..4]), (4096, &[0x86, 0x80, 0xfb, 0x10][..]));
    // BAR sizing: 512 KiB, 64 bits.
    for (at, mask) in [(0x10, 0xfff8_0004), (0x14, u32::MAX), (0x18, 0)] {
        client.write32(7, at, u32::MAX);
        assert_eq!(client.read32(7, at), mask);
        client.write32(7, at, 0);
    }
    assert_eq!(client.ask(7, &words(&[16, 0, 2, 0])).good(), words(&[16, 1, 2, 64]));
    assert_eq!(client.ask(7, &words(&[16, 0, 0, 0])).good(), words(&[16, 7, 0, 1]));
    let intx = event();
    client.set_irqs(0x24, 0, 0, 1, &[], &[&intx]).good();
    client.set_irqs(0x21, 0, 0, 0, &[], &[]).good();
    client.ask(13, &[]).good();
    client.write32(7, 0x10, 0xfe00_0000);
    client.write(7, 4, &[6, 0]);
    assert_eq!(client.read32(7, 0x10), 0xfe00_0004);
    // The firmware changes the memory map.
    for _ in 0..3 {
        assert_eq!(client.ask(3, &dma_unmap(0, 0, 0xa0000)).good(), dma_unmap(0, 0, 0xa0000));
        client.ask_with(2, &dma_map(3, 0, 0, 0xa0000), &[&ram]).good();
    }
    // Ranges that were never mapped, and both halves of the address space, as a virtual IOMMU unmaps it.
    client.ask(3, &dma_unmap(0, 0xfed0_0000, 0x1000)).good();
    client.ask(3, &dma_unmap(0, 0, 1 << 63)).good();
    client.ask(3, &dma_unmap(0, 1 << 63, 1 << 63)).good();
    client.ask_with(2, &dma_map(3, 0, 0, 0xa0000), &[&ram]).good();
    client.ask(3, &dma_unmap(2, 0, 0)).good();
    // Status: memory decoding makes registers answer; the link's speed needs no more.
    assert_ne!(client.read32(0, 0x8), u32::MAX);
    drop(client);
    assert_eq!(served.stop(), (Vec::new(), 1));
}

#[test]
fn posted_writes_take_effect_in_order() {
    let served = served("posted");
    let mut client = served.agreed();
    client.write(7, 4, &[2, 0]);
    for value in 1..=200u32 {
        client.post32(0, 0x5400, value);
        client.post32(0, 0x5404, 0x8000_0000 | value);
    }
    assert_eq!((client.read32(0, 0x5400), client.read32(0, 0x5404)), (200, 0x8000_0000 | 200));
    // A posted write outside the region is lost, without a reply that nobody awaits.
    client.post32(0, 0x80000, 1);
    assert_eq!(client.read32(0, 0x5400), 200);
    assert_eq!(served.stop().0, Vec::<String>::new());
}

#[test]
fn every_model_is_served() {
    let model = Box::new(VirtioNet::new(VirtioNetOptions::default()));
    let served = Served::new("virtio", model, Box::new(peer::pair(64).0));
    let mut client = served.agreed();
    assert_eq!(client.read(7, 0, 4), [0xf4, 0x1a, 0x41, 0x10]);
    client.write(7, 4, &[2, 0]);
    let sizes: Vec<_> = (0..6).map(|bar| client.ask(5, &words(&[32, 0, bar, 0, 0, 0, 0, 0])).good()).map(|info| word(&info, 4)).collect();
    assert!(sizes.iter().any(|&size| size > 0), "{sizes:?}");
}

#[test]
fn a_client_that_goes_leaves_a_reset_card_to_the_next() {
    let served = served("next");
    let ram = memfd(1 << 20);
    let mut first = served.agreed();
    first.write(7, 4, &[6, 0]);
    first.write32(0, 0x5400, 0x1234_5678);
    first.ask_with(2, &dma_map(3, 0, 0, 1 << 20), &[&ram]).good();
    assert_eq!(first.read32(0, 0x5400), 0x1234_5678);
    // The second one waits until the first is gone.
    let mut second = served.client();
    drop(first);
    second.agree(1);
    assert_eq!(second.read(7, 4, 2), [0, 0]);
    assert_eq!(second.read32(0, 0x5400), u32::MAX, "memory decoding is off");
    second.write(7, 4, &[2, 0]);
    assert_ne!(second.read32(0, 0x5400), 0x1234_5678);
    // What the first had mapped is not mapped any more.
    second.ask_with(2, &dma_map(3, 0, 0, 1 << 20), &[&ram]).good();
    drop(second);
    assert_eq!(served.stop(), (Vec::new(), 2));
}

/// Raises vector 1 by software and tells how often its eventfd fired.
fn raise(client: &mut Client, event: &rustix::fd::OwnedFd) -> u64 {
    for (register, value) in [(0x898, 1 << 4 | 1 << 31), (0x900, 0x81), (0x880, 2), (0x808, 2)] {
        client.write32(0, register, value);
    }
    client.let_the_card_move();
    fired(event)
}

/// What a host keeps for a device stays through resets: the card sends no interrupt to a table that nobody wrote again.
#[test]
fn interrupts_after_a_reset() {
    let served = served("resets");
    let mut client = served.agreed();
    client.write32(7, 0x10, 0xfe00_0000);
    client.write(7, 4, &[6, 0]);
    let events = [event(), event()];
    client.set_irqs(0x24, 2, 0, 2, &[], &[&events[0], &events[1]]).good();
    client.let_the_card_move();
    assert_eq!(raise(&mut client, &events[1]), 1);
    client.write32(0, 0x5400, 0x55);
    client.ask(13, &[]).good();
    assert_eq!((client.read32(7, 0x10), client.read(7, 4, 1)[0], client.read(7, 0x73, 1)[0]), (0xfe00_0004, 6, 0x80));
    assert_ne!(client.read32(0, 0x5400), 0x55);
    client.let_the_card_move();
    assert_eq!(raise(&mut client, &events[1]), 1);
    // A function-level reset: the guest writes configuration space again, and QEMU does not repeat SET_IRQS.
    client.write(7, 0xA8, &[0, 0x80]);
    assert_eq!((client.read(7, 4, 1)[0], client.read(7, 0x73, 1)[0]), (0, 0));
    client.write(7, 4, &[6, 0]);
    client.write(7, 0x72, &[63, 0x80]);
    client.let_the_card_move();
    assert_eq!(raise(&mut client, &events[1]), 1);
    // Masked by the function, then let go.
    client.write(7, 0x72, &[63, 0xC0]);
    assert_eq!(raise(&mut client, &events[1]), 0);
    client.write(7, 0x72, &[63, 0x80]);
    assert_eq!((fired(&events[0]), fired(&events[1])), (0, 1));
    drop(client);
    assert_eq!(served.stop().0, Vec::<String>::new());
}

/// DPDK looks ten times whether a queue is enabled. Here all ten wait in the socket, with the write that they are about.
#[test]
fn the_card_moves_between_reads_that_wait() {
    let served = served("moves");
    let mut client = served.agreed();
    client.write(7, 4, &[2, 0]);
    client.write32(0, 0x2F00, 2);
    client.write32(0, 0x1008, 64 * 16);
    let (rxdctl, enable) = (0x1028, 1 << 25);
    let read = message_bytes(9, 9, 0, &access(0, rxdctl, 4, &[]));
    let write = |value: u32| message_bytes(8, 10, NO_REPLY, &access(0, rxdctl, 4, &value.to_le_bytes()));
    for wanted in [enable, 0, enable, 0] {
        client.send(&[write(wanted), read.repeat(10)].concat(), &[]);
        let seen: Vec<_> = (0..10).map(|_| word(&client.reply(9, 9).good(), 4)).collect();
        assert_eq!(seen[9], wanted, "{seen:x?}");
    }
}
