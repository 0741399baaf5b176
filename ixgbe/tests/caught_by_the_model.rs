//! Misuse that the model must catch: if it did not, the other tests' empty lists of violations would mean nothing.

use crate::rig::{Rig, numbered};
use driver_core::device::Config;
use driver_core::host::{PciFunction, RegSpace};
use sim::{SimBar, SimFunction};

// Offsets by the datasheet's sections 8.2.3.8.5, 8.2.3.9.9, 8.2.3.9.5 and 8.2.3.9.6.
const RDT0: u32 = 0x1018;
const TDT0: u32 = 0x6018;

fn expect(rig: &Rig, words: &[&str]) {
    let seen = rig.violations();
    assert!(words.iter().all(|word| seen.contains(word)), "wanted {words:?}, recorded: {seen:?}");
    rig.device.take_violations();
}

/// A second function, which leaves DMA alone as long as it lives, and its registers.
fn beside(rig: &Rig) -> (SimFunction, SimBar) {
    // SAFETY: what these tests write is what the card must refuse: it accesses no memory by it, or an address where none is.
    unsafe {
        let mut function = rig.device.another_function();
        let bar = function.open_bar(0).unwrap();
        (function, bar)
    }
}

#[test]
fn a_tail_beyond_the_ring() {
    let rig = Rig::new();
    let _port = rig.start(&Config::new());
    let (_beside, bar) = beside(&rig);
    bar.write32(RDT0, 512);
    rig.run_us(100);
    expect(&rig, &["tail", "RDT"]);
    bar.write32(TDT0, 4096);
    rig.run_us(100);
    expect(&rig, &["tail", "TDT"]);
}

#[test]
fn a_tail_of_a_queue_that_is_off() {
    let rig = Rig::new();
    let _port = rig.start(&Config::new());
    let (_beside, bar) = beside(&rig);
    bar.write32(TDT0 + 5 * 0x40, 1);
    rig.run_us(100);
    expect(&rig, &["TDT[5]"]);
}

#[test]
fn dma_to_an_address_that_is_not_mapped() {
    let mut rig = Rig::new();
    let port = rig.start(&Config::new());
    rig.audit.excuse("the card counts frames of a queue that is not the driver's");
    // A driver cannot do it, so the card is told a wrong ring base by hand, through a queue of its own.
    let (_beside, bar) = beside(&rig);
    let queue = 9 * 0x40;
    bar.write32(0x6000 + queue, 0xdead_0000);
    bar.write32(0x6004 + queue, 0x7f);
    bar.write32(0x6008 + queue, 128 * 16);
    bar.write32(0x6028 + queue, 1 << 25);
    rig.run_us(1_000);
    bar.write32(0x6018 + queue, 1);
    rig.run_us(1_000);
    expect(&rig, &["DMA"]);
    // The other queues go on.
    rig.send(&numbered(1, 60));
    rig.run_us(1_000);
    let (mut port, mut batch) = (port, driver_core::buf::Batch::new(4));
    assert_eq!(driver_core::queue::RxQueue::poll(&mut port.rx[0], &mut batch, 4), 1);
}

/// The bits by which the receiver reads a table: MCSTCTRL.MFE, VLNCTRL.VFE, MRQC's mode (8.2.3.7.3, 8.2.3.7.2, 8.2.3.7.12).
const SWITCHES: [(u32, u32, &str); 3] = [(0x5090, 1 << 2, "MTA[0]"), (0x5088, 1 << 30, "VFTA[0]"), (0x5818, 1 | 1 << 17, "RETA[0]")];

#[test]
fn a_table_that_is_read_before_it_was_written() {
    for (register, bit, table) in SWITCHES {
        let rig = Rig::new();
        let _port = rig.start(&Config::new());
        let (_beside, bar) = beside(&rig);
        bar.write32(register, bar.read32(register) | bit);
        expect(&rig, &[table, "not written whole since the reset"]);
    }
}

#[test]
fn a_table_of_which_the_last_register_is_missing() {
    let rig = Rig::new();
    let _port = rig.start(&Config::new());
    let (_beside, bar) = beside(&rig);
    (0..127).for_each(|word| bar.write32(0x5200 + 4 * word, 0));
    bar.write32(0x5090, 1 << 2);
    expect(&rig, &["MTA[127]"]);
    bar.write32(0x5200 + 4 * 127, 0);
    bar.write32(0x5090, 1 << 2);
    assert_eq!(rig.violations(), "");
}
