//! How a device is found and its registers are reached: VIRTIO 1.3, sections 2.5.1, 4.1.2.2, 4.1.4 and 4.1.5.1, by a function whose configuration space says otherwise.

use super::rig::{Rig, small, without};
use driver_core::device::{Config, NetDevice};
use driver_core::queue::{RxQueue, TxQueue, TxState};
use driver_core::testing::{Liar, numbered};
use sim::virtio_net::VirtioNetOptions as Options;
use virtio_net::{ErrorKind, Features, HardwareError};

/// The card's capabilities (4.1.4): one of a kind that is reserved, which comes first, and those of the structures.
const RESERVED_CAP: u16 = 0x50;
const COMMON_CAP: u16 = 0x68;
const DEVICE_CAP: u16 = 0x88;
const NOTIFY_CAP: u16 = 0x98;
/// Fields of a capability.
const CAP_LEN: u16 = 2;
const CFG_TYPE: u16 = 3;
const BAR: u16 = 4;
const OFFSET: u16 = 8;
const LENGTH: u16 = 12;
/// The BAR of the structures, its size, and where in it the ISR status and the device configuration lie.
const STRUCTURES: u32 = 4;
const BAR_BYTES: u32 = 0x4000;
const ISR: std::ops::Range<u32> = 0x1000..0x2000;
const DEVICE: std::ops::Range<u32> = 0x2000..0x3000;

/// Whether the device works as the function tells it.
fn answers(rig: &mut Rig, liar: &Liar, config: &Config) {
    let device = virtio_net::open(liar.over(rig.device.function()), rig.clock.clone()).unwrap();
    let mut started = device.start(config).unwrap();
    rig.send(&numbered(3, 100));
    rig.run_us(50);
    let mut batch = driver_core::buf::Batch::new(4);
    assert_eq!(started.rx[0].poll(&mut batch, 4), 1);
    assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
    rig.run_us(50);
    assert_eq!(rig.arrived(), [numbered(3, 100)]);
    drop(started);
    rig.assert_clean();
}

/// Lies about fields of capabilities.
fn saying(fields: &[(u16, u32)]) -> Liar {
    let liar = Liar::default();
    liar.lies().config.extend(fields.iter().map(|&(at, value)| (at, Some(value))));
    liar
}

#[test]
fn devices_are_known_by_vendor_and_number_alone() {
    // Revision, class, subsystem's vendor and number.
    for (at, value) in [(0x08, 0), (0x08, 0xff), (0x09, 0xff), (0x2c, 0x1234), (0x2e, 1), (0x2e, 0xffff)] {
        answers(&mut Rig::new(), &saying(&[(at, value)]), &small());
    }
    for id in [0x1041_8086, 0x1042_1af4, 0x1001_1af4, 0x1080_1af4] {
        let (rig, liar) = (Rig::new(), Liar::default());
        liar.lies().id = Some(id);
        let error = virtio_net::open(liar.over(rig.device.function()), rig.clock.clone()).expect_err("an error");
        assert!(matches!(error.kind(), ErrorKind::UnknownId { .. }), "{id:#x}: {error}");
    }
}

#[test]
fn structures_may_be_larger_than_they_need_to_be() {
    for cap in [COMMON_CAP, DEVICE_CAP, NOTIFY_CAP] {
        answers(&mut Rig::new(), &saying(&[(cap + CAP_LEN, 0x30)]), &small());
    }
    // To the end of the BAR, whatever lies there.
    let whole = [(COMMON_CAP + LENGTH, BAR_BYTES), (DEVICE_CAP + LENGTH, BAR_BYTES - DEVICE.start), (NOTIFY_CAP + LENGTH, BAR_BYTES - DEVICE.end)];
    answers(&mut Rig::new(), &saying(&whole), &small());
}

#[test]
fn structures_that_are_too_small_are_refused_by_name() {
    for (cap, length, what) in [(COMMON_CAP, 0x37, "common configuration"), (DEVICE_CAP, 16, "device configuration"), (NOTIFY_CAP, 1, "notification")]
    {
        let rig = Rig::with(Options::new().has_window(false));
        let liar = saying(&[(cap + LENGTH, length)]);
        let opened = virtio_net::open(liar.over(rig.device.function()), rig.clock.clone());
        let error = opened.expect_err(what);
        assert!(matches!(error.hardware(), Some(HardwareError::Structure { structure, .. }) if *structure == what), "{error}");
        // One byte more, and it is large enough: as large as the features that are in use need it.
        let enough = saying(&[(cap + LENGTH, length + 1)]);
        let opened = virtio_net::open(enough.over(rig.device.function()), rig.clock.clone());
        assert!(opened.is_ok(), "{what}: {:?}", opened.err());
    }
}

#[test]
fn the_first_structure_of_its_kind_is_taken() {
    let second = |length, offset| {
        [(RESERVED_CAP + CFG_TYPE, 1), (RESERVED_CAP + BAR, STRUCTURES), (RESERVED_CAP + OFFSET, offset), (RESERVED_CAP + LENGTH, length)]
    };
    // The first is as good as the one behind it, which leads into the wrong place.
    let mut lies = second(0x1000, 0).to_vec();
    lies.push((COMMON_CAP + OFFSET, DEVICE.start));
    answers(&mut Rig::new(), &saying(&lies), &small());
    // The first is too small.
    answers(&mut Rig::new(), &saying(&second(0x20, DEVICE.start)), &small());
    // It lies beyond the BAR's end.
    answers(&mut Rig::new(), &saying(&second(0x1000, BAR_BYTES)), &small());
}

#[test]
fn a_capability_that_names_no_bar_is_passed_over() {
    for bar in [6, 7, 255] {
        answers(&mut Rig::new(), &saying(&[(RESERVED_CAP + CFG_TYPE, 1), (RESERVED_CAP + BAR, bar), (RESERVED_CAP + LENGTH, 0x1000)]), &small());
    }
}

/// But for the command register: that registers answer, and that the device reads and writes memory.
#[test]
fn configuration_space_is_written_in_the_window_alone() {
    const COMMAND: u16 = 4;
    let liar = Liar::default();
    answers(&mut Rig::new(), &liar, &super::rig::any().interrupts(true));
    assert!(liar.lies().config_written.iter().all(|&(at, ..)| at == COMMAND), "{:x?}", liar.lies().config_written);
    // Where no BAR can be mapped: bar, offset, length and data of the window at 0xb0.
    let liar = Liar::default();
    answers(&mut Rig::with(Options::new().has_bar(false)), &liar, &small());
    let written: std::collections::BTreeSet<_> = liar.lies().config_written.iter().map(|&(at, ..)| at).collect();
    assert_eq!(written, [COMMAND, 0xb4, 0xb8, 0xbc, 0xc0].into());
}

#[test]
fn vendor_data_is_left_alone() {
    // VIRTIO_PCI_CAP_VENDOR_CFG (4.1.4.8), whose bytes behind the header are a vendor's.
    for vendor in [0x1af4, 0x8086] {
        let liar = saying(&[(RESERVED_CAP + CFG_TYPE, 9), (RESERVED_CAP + BAR, vendor)]);
        answers(&mut Rig::new(), &liar, &small());
        assert!(liar.lies().config_written.iter().all(|&(at, ..)| !(RESERVED_CAP..RESERVED_CAP + 0x18).contains(&at)));
    }
}

#[test]
fn the_isr_status_is_left_alone() {
    let liar = Liar::default();
    let mut rig = Rig::new();
    answers(&mut rig, &liar, &super::rig::any().interrupts(true));
    let read = liar.lies().registers_read.clone();
    assert!(read.range(DEVICE).next().is_some(), "other registers are read");
    assert_eq!(read.range(ISR).next(), None);
}

#[test]
fn devices_without_vectors_are_polled() {
    let liar = Liar::default();
    liar.lies().vectors = Some(0);
    answers(&mut Rig::new(), &liar, &small());
}

#[test]
fn fields_are_read_where_their_feature_is_offered() {
    // Where the fields lie (5.1.4).
    let fields = [(Features::MAC, 0..6), (Features::STATUS, 6..8), (Features::MTU, 10..12), (Features::SPEED_DUPLEX, 12..17)];
    for (feature, field) in fields {
        let field = DEVICE.start + field.start..DEVICE.start + field.end;
        let read = |options| {
            let (rig, liar) = (Rig::with(options), Liar::default());
            let device = virtio_net::open(liar.over(rig.device.function()), rig.clock.clone()).unwrap();
            let mut started = device.start(&small()).unwrap();
            assert!(started.control.link().up || feature == Features::STATUS);
            rig.run_us(10);
            drop(started);
            rig.assert_clean();
            liar.lies().registers_read.range(field.clone()).next().is_some()
        };
        assert!(read(Options::new()), "{feature:?} is offered");
        assert!(!read(without(feature)), "{feature:?} is not");
    }
}
