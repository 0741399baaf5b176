//! A virtual function by its registers: the mailbox's rules, what its physical function answers, and what is forbidden.

use std::sync::Arc;

use driver_core::host::{PciFunction, RegSpace};
use sim::ixgbe::{IxgbeOptions, IxgbeVf, PfOptions};
use sim::wire::peer::{self, Peer};
use sim::{Iommu, Mishap, Model, SimBar, SimDevice, SimFunction};

const VFMAILBOX: u32 = 0x2FC;
const VFMBMEM: u32 = 0x200;
const REQ: u32 = 1;
const ACK: u32 = 1 << 1;
const VFU: u32 = 1 << 2;
const PFSTS: u32 = 1 << 4;
const PFACK: u32 = 1 << 5;
const RSTI: u32 = 1 << 6;
const RSTD: u32 = 1 << 7;
const SUCCESS: u32 = 1 << 31;
const FAILURE: u32 = 1 << 30;
const CTS: u32 = 1 << 29;

struct Vf {
    device: SimDevice,
    function: SimFunction,
    bar: SimBar,
    _far: Peer,
}

impl Vf {
    fn new(device: u16) -> Self {
        let (near, far) = peer::pair(16);
        let model = IxgbeVf::new(IxgbeOptions::new().device(device).mac([2, 0, 0, 0, 0, 5]), PfOptions::default());
        let iommu: Arc<Iommu> = Iommu::new();
        let device = SimDevice::new("vf", Box::new(model), Box::new(near), iommu);
        let mut function = device.function();
        // SAFETY: the tests name no memory to the card.
        let bar = unsafe { function.open_bar(0) }.unwrap();
        device.advance_us(1_000);
        Self { device, function, bar, _far: far }
    }

    fn r(&self, offset: u32) -> u32 {
        self.bar.read32(offset)
    }

    fn w(&self, offset: u32, value: u32) {
        self.bar.write32(offset, value);
    }

    /// Sends a request and returns the first four words of the answer.
    fn ask(&self, request: &[u32]) -> [u32; 4] {
        self.w(VFMAILBOX, VFU);
        assert_eq!(self.r(VFMAILBOX) & VFU, VFU);
        for (at, &word) in (0..).zip(request) {
            self.w(VFMBMEM + 4 * at, word);
        }
        self.w(VFMAILBOX, REQ);
        self.device.advance_us(15);
        assert_eq!(self.r(VFMAILBOX) & (PFACK | PFSTS), PFACK, "read, and not answered yet");
        self.device.advance_us(30);
        assert_eq!(self.r(VFMAILBOX) & (PFACK | PFSTS | VFU), PFSTS, "a read clears PFACK");
        assert_eq!(self.r(VFMAILBOX) & PFSTS, 0, "and PFSTS");
        self.w(VFMAILBOX, VFU);
        let answer = [0, 1, 2, 3].map(|at| self.r(VFMBMEM + 4 * at));
        self.w(VFMAILBOX, ACK);
        self.device.advance_us(1);
        answer
    }

    fn suffer(&self, mishap: Mishap) {
        // SAFETY: the model stays the same one.
        assert!(unsafe { self.device.with_model(|model: &mut IxgbeVf| model.suffer(mishap)) }.unwrap());
        self.device.step();
    }

    fn expect(&self, whats: &[&str]) {
        let seen: Vec<_> = self.device.take_violations().iter().map(|violation| violation.what).collect();
        assert_eq!(seen, whats);
    }
}

#[test]
fn it_has_the_space_of_a_virtual_function() {
    for (device, id) in [(0x10ED, 0x10ED), (0x1515, 0x1515), (0x1565, 0x1565)] {
        let mut vf = Vf::new(device);
        let found = vf.function.id().unwrap();
        assert_eq!((found.vendor, found.device), (0x8086, id));
        assert_eq!((vf.function.interrupt_count(), vf.bar.len_bytes()), (3, 16 * 1024));
        assert_eq!(vf.function.config_read(0x3D, 1).unwrap(), 0, "no line");
        // SAFETY: nothing is written to it.
        assert!(unsafe { vf.function.open_bar(3) }.is_ok() && unsafe { vf.function.open_bar(4) }.is_err());
        vf.expect(&[]);
    }
}

#[test]
fn nothing_is_granted_before_a_reset_was_asked_for() {
    let vf = Vf::new(0x10ED);
    assert_eq!(vf.ask(&[8, 2])[0], 8 | FAILURE, "without CTS");
    vf.device.advance_us(100);
    // It was read by somebody who should not be reading, and is told once more.
    assert_eq!((vf.r(VFMAILBOX) & PFSTS, vf.r(VFMBMEM)), (PFSTS, FAILURE));
    assert_eq!(vf.ask(&[1]), [1 | SUCCESS, 0x0000_0002, 0x0500, 0]);
    assert_eq!(vf.ask(&[8, 2])[0], 8 | SUCCESS | CTS);
    vf.expect(&[]);
}

#[test]
fn versions_are_taken_as_linux_takes_them() {
    let vf = Vf::new(0x1515);
    vf.ask(&[1]);
    for (number, takes) in [(0, true), (1, false), (2, true), (3, true), (4, true), (5, true), (6, false), (7, true), (8, true), (9, false)] {
        assert_eq!(vf.ask(&[8, number])[0], 8 | CTS | if takes { SUCCESS } else { FAILURE }, "{number}");
    }
    // Queues are told from 1.1 on, features from 1.7 on.
    assert_eq!(vf.ask(&[9]), [9 | SUCCESS | CTS, 4, 4, 0]);
    assert_eq!(vf.ask(&[0x12, 3])[..2], [0x12 | SUCCESS | CTS, 0]);
    vf.ask(&[8, 0]);
    assert_eq!(vf.ask(&[9])[0], 9 | FAILURE | CTS);
    assert_eq!(vf.ask(&[0x12, 3])[0], 0x12 | FAILURE | CTS);
    // No IPsec, and what nobody knows.
    assert_eq!(vf.ask(&[0x0D])[0], 0x0D | FAILURE | CTS);
    vf.expect(&[]);
}

#[test]
fn the_mailbox_is_written_by_its_owner_alone() {
    let vf = Vf::new(0x10ED);
    vf.w(VFMBMEM, 1);
    vf.w(VFMAILBOX, REQ);
    vf.expect(&[
        "the mailbox's memory was written by a function that does not own it (VFMAILBOX.VFU)",
        "a request was sent by a function that does not own the mailbox (VFMAILBOX.VFU)",
    ]);
}

#[test]
fn what_is_not_the_functions_is_a_violation() {
    let vf = Vf::new(0x10ED);
    vf.w(0x1000 + 4 * 0x40 + 0x28, 1 << 25);
    vf.w(0x120, 0x83);
    vf.w(0x140, 0x83);
    // The X550's own table, and a port's register.
    vf.w(0x3200, 0);
    vf.w(0x0880, 0);
    vf.expect(&[
        "a queue was enabled that is not the function's",
        "an interrupt cause was allocated to a vector that the function has not",
        "an interrupt cause was allocated to a vector that the function has not",
        "a reserved register was written",
        "a reserved register was written",
    ]);
    let vf = Vf::new(0x1565);
    vf.w(0x3200, 0x0302_0100);
    assert_eq!(vf.r(0x3200), 0x0302_0100);
    vf.expect(&[]);
}

#[test]
fn a_reset_of_the_physical_function_takes_the_queues_and_is_told() {
    let vf = Vf::new(0x1515);
    vf.ask(&[1]);
    vf.w(0x300, 1 << 29);
    vf.suffer(Mishap::PfReset);
    assert_eq!((vf.r(VFMAILBOX) & (RSTI | RSTD | PFSTS), vf.r(VFMBMEM)), (RSTI | PFSTS, 0x100), "without CTS");
    assert_eq!(vf.r(0x300), 0);
    // The tail of a queue that its driver believes to be on.
    vf.w(0x2018, 5);
    vf.device.advance_us(200_000);
    assert_eq!((vf.r(VFMAILBOX) & (RSTI | RSTD), vf.r(VFMAILBOX) & (RSTI | RSTD)), (RSTD, 0), "a read clears RSTD");
    vf.expect(&[]);
    // From the function's own reset on it knows.
    vf.w(0, 1 << 26);
    vf.w(0x2018, 5);
    vf.expect(&["the tail was written while the queue is not enabled"]);
}

#[test]
fn cards_suffer_what_they_can() {
    let vf = Vf::new(0x10ED);
    // SAFETY: the model stays the same one.
    let suffers = |mishap| unsafe { vf.device.with_model(|model: &mut IxgbeVf| model.suffer(mishap)) }.unwrap();
    assert_eq!([Mishap::MemoryError, Mishap::BusError, Mishap::NeedsReset].map(suffers), [false; 3], "those are told to the physical function");
    assert!([Mishap::Hang, Mishap::Lie, Mishap::PfReset, Mishap::Vanish].map(suffers).iter().all(|suffers| *suffers));
    assert!(!sim::ixgbe::Ixgbe::new(IxgbeOptions::new()).suffer(Mishap::PfReset));
}
