//! How often opening and starting touch the card's registers: over vfio-user each access is a message to the server and back. And that what a start
//! leaves out is made good before the card reads it.

use crate::common::{Card, I82599, X540, X550};
use driver_core::device::{Config, NetDevice};
use driver_core::ether::MacAddr;
use driver_core::host::RegSpace;
use driver_core::testing::Liar;

/// Reads and writes of registers by opening and starting with `config`.
fn accesses(device: u16, config: &Config) -> (usize, usize) {
    let (card, liar) = (Card::of(device), Liar::default());
    let started = ixgbe::open(card.lying(&liar), card.clock.clone()).unwrap().start(config).unwrap();
    let accesses = liar.lies().accesses;
    drop(started);
    accesses
}

#[test]
fn opening_and_starting_take_few_accesses() {
    // X540 and X550 find a PHY behind MDIO, and the X550's spreading table is four times as long.
    for (device, most) in [(I82599, [500, 1050]), (X540, [575, 1130]), (X550, [575, 1225])] {
        for (queues, most) in [1, 16].into_iter().zip(most) {
            for interrupts in [false, true] {
                let (reads, writes) = accesses(device, &Config::new().rx_queues(queues).tx_queues(queues).interrupts(interrupts));
                let what = format!("{device:04x} with {queues} queues, interrupts: {interrupts}");
                println!("{what}: {reads} reads and {writes} writes");
                assert!(reads + writes <= most, "{what}: {reads} reads and {writes} writes");
            }
        }
    }
}

/// Reads of a statistics call: each is a message, too.
#[test]
fn counters_of_queues_that_are_not_used_are_not_read() {
    let reads = |queues: u16| {
        let (card, liar) = (Card::new(), Liar::default());
        let mut started = ixgbe::open(card.lying(&liar), card.clock.clone()).unwrap().start(&Config::new().rx_queues(queues)).unwrap();
        let before = liar.lies().accesses.0;
        let _stats = started.control.stats();
        let reads = liar.lies().accesses.0 - before;
        drop(started);
        reads
    };
    assert_eq!(reads(16) - reads(1), 15 * 4, "QPRC, QBRC_L, QBRC_H and QPRDC of 15 queues");
}

/// TABLES-UNREAD: a start without multicast addresses leaves the table as it is, and the first address writes all of it.
#[test]
fn a_setter_writes_the_whole_table_whatever_it_held() {
    let card = Card::new();
    let mut started = card.start(&Config::new());
    let bar = card.registers();
    let table = || (0..128).map(|word| bar.read32(0x5200 + 4 * word));
    (0..128).for_each(|word| bar.write32(0x5200 + 4 * word, u32::MAX));
    assert_eq!(bar.read32(0x5090) & 4, 0, "MCSTCTRL.MFE: nobody reads it");
    started.control.set_multicast_filters(&[MacAddr([0x01, 0, 0x5e, 0, 0, 0x01])]).unwrap();
    assert_eq!(table().map(u32::count_ones).sum::<u32>(), 1, "MTA");
    assert_eq!(bar.read32(0x5090) & 4, 4, "MCSTCTRL.MFE");
    started.control.set_multicast_filters(&[]).unwrap();
    assert_eq!(bar.read32(0x5090) & 4, 0, "MCSTCTRL.MFE");
}
