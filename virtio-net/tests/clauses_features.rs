//! Which features are accepted: VIRTIO 1.3, sections 2.2, 5.1.3.1 and 6.

use super::rig::{Rig, numbered, small};
use driver_core::device::Config;
use driver_core::testing::Liar;
use sim::virtio_net::VirtioNetOptions as Options;
use virtio_net::Features;

/// Bits by their numbers in sections 5.1.3 and 6: typed here, and not taken from the driver.
const CSUM: u64 = 1 << 0;
const GUEST_CSUM: u64 = 1 << 1;
const GUEST_TSO4: u64 = 1 << 7;
const GUEST_TSO6: u64 = 1 << 8;
const GUEST_ECN: u64 = 1 << 9;
const GUEST_UFO: u64 = 1 << 10;
const HOST_TSO4: u64 = 1 << 11;
const HOST_TSO6: u64 = 1 << 12;
const HOST_ECN: u64 = 1 << 13;
const HOST_UFO: u64 = 1 << 14;
const CTRL_VQ: u64 = 1 << 17;
const CTRL_RX: u64 = 1 << 18;
const CTRL_VLAN: u64 = 1 << 19;
const CTRL_RX_EXTRA: u64 = 1 << 20;
const GUEST_ANNOUNCE: u64 = 1 << 21;
const MQ: u64 = 1 << 22;
const CTRL_MAC_ADDR: u64 = 1 << 23;
const HASH_TUNNEL: u64 = 1 << 51;
const VQ_NOTF_COAL: u64 = 1 << 52;
const NOTF_COAL: u64 = 1 << 53;
const GUEST_USO4: u64 = 1 << 54;
const GUEST_USO6: u64 = 1 << 55;
const HOST_USO: u64 = 1 << 56;
const HASH_REPORT: u64 = 1 << 57;
const RSS: u64 = 1 << 60;
const RSC_EXT: u64 = 1 << 61;
const STANDBY: u64 = 1 << 62;

/// What each feature needs, one of these or one of those (5.1.3.1; what HASH_REPORT and CTRL_RX_EXTRA need is in 5.1.4.2).
const NEEDS: [(u64, u64); 24] = [
    (GUEST_TSO4, GUEST_CSUM),
    (GUEST_TSO6, GUEST_CSUM),
    (GUEST_ECN, GUEST_TSO4 | GUEST_TSO6),
    (GUEST_UFO, GUEST_CSUM),
    (GUEST_USO4, GUEST_CSUM),
    (GUEST_USO6, GUEST_CSUM),
    (HOST_TSO4, CSUM),
    (HOST_TSO6, CSUM),
    (HOST_ECN, HOST_TSO4 | HOST_TSO6),
    (HOST_UFO, CSUM),
    (HOST_USO, CSUM),
    (CTRL_RX, CTRL_VQ),
    (CTRL_RX_EXTRA, CTRL_VQ),
    (CTRL_VLAN, CTRL_VQ),
    (GUEST_ANNOUNCE, CTRL_VQ),
    (MQ, CTRL_VQ),
    (CTRL_MAC_ADDR, CTRL_VQ),
    (NOTF_COAL, CTRL_VQ),
    (VQ_NOTF_COAL, CTRL_VQ),
    (RSC_EXT, HOST_TSO4 | HOST_TSO6),
    (RSS, CTRL_VQ),
    (HASH_REPORT, CTRL_VQ),
    (HASH_TUNNEL, CTRL_VQ),
    (HASH_TUNNEL, RSS | HASH_REPORT),
];

/// A started device answers a frame.
fn answers(rig: &mut Rig, config: &Config) -> u64 {
    let mut parts = rig.parts(config);
    rig.send(&numbered(3, 100));
    rig.run_us(50);
    assert_eq!(parts.receive(), [numbered(3, 100)]);
    parts.send(&[numbered(4, 100)]);
    rig.run_us(50);
    assert_eq!(rig.arrived(), [numbered(4, 100)]);
    let negotiated = rig.model(|m| m.negotiated());
    assert_eq!(parts.control.kernel().features().bits(), negotiated);
    drop(parts);
    rig.assert_clean();
    negotiated
}

#[test]
fn no_feature_is_taken_without_those_that_it_needs() {
    for (feature, needs) in NEEDS {
        let mut rig = Rig::with(Options::new().with(feature).without(needs));
        let taken = answers(&mut rig, &small().rx_coalescing(true));
        assert_eq!(taken & feature, 0, "{feature:#x} without {needs:#x}");
        // Nor does one follow from what was left out because of another.
        for (other, needs) in NEEDS {
            assert!(taken & other == 0 || taken & needs != 0, "{other:#x} without {needs:#x}");
        }
    }
}

/// NOTIFY_ON_EMPTY (24), ANY_LAYOUT (27), the experiments' (30), SR_IOV (37), ADMIN_VQ (41), GSO (6), what other kinds of devices and transports have, and what is reserved.
#[test]
fn bits_that_this_driver_does_not_know_are_passed_over() {
    for bit in [4, 6, 24, 27, 30, 31, 37, 41, 42, 43, 44, 46, 47, 48, 49, 51, 58] {
        let mut rig = Rig::with(Options::new().with(1 << bit));
        assert_eq!(answers(&mut rig, &small()) & 1 << bit, 0, "bit {bit}");
    }
    // All of them, each without what it needs.
    let unknown = !Features::all().bits();
    let mut rig = Rig::with(Options::new().with(unknown & !Features::USED.bits()));
    assert_eq!(answers(&mut rig, &small()) & !Features::USED.bits(), 0);
}

/// There is no other device that it could stand by for: it is one like any other.
#[test]
fn a_standby_device_is_a_device_of_its_own() {
    let mut rig = Rig::with(Options::new().with(STANDBY));
    assert_eq!(answers(&mut rig, &small()) & STANDBY, 0);
}

/// MTU (3), MAC (5), VERSION_1 (32), ACCESS_PLATFORM (33), RING_PACKED (34), ORDER_PLATFORM (36), NOTIF_CONFIG_DATA (39).
#[test]
fn what_should_be_accepted_is() {
    for bit in [3, 5, 32, 33, 34, 36, 39] {
        let mut rig = Rig::with(Options::new().with(1 << bit));
        assert_ne!(answers(&mut rig, &small()) & 1 << bit, 0, "bit {bit}");
    }
}

/// FAILED is bit 7 of the status, and comes before the reset that gives the device back.
#[test]
fn a_start_that_fails_says_so_to_the_device() {
    const FAILED: u64 = 128;
    /// Where device_status lies (4.1.4.3).
    const STATUS: u32 = 20;
    for refuse in [true, false] {
        let (rig, liar) = (Rig::new(), Liar::default());
        rig.faults(|faults| if refuse { faults.refuse_features = true } else { faults.refuse_vector = Some(0) });
        let device = virtio_net::open(liar.over(rig.device.function()), rig.clock.clone()).unwrap();
        let error = device.start(&super::rig::any().interrupts(true)).expect_err("an error");
        let written: Vec<_> = liar.lies().registers_written.iter().filter(|&&(offset, _)| offset == STATUS).map(|&(_, value)| value).collect();
        let failed = written.iter().rposition(|&value| value & FAILED != 0).expect("FAILED");
        assert!(written[failed..].contains(&0), "it was reset behind it: {written:x?}");
        drop(error);
        rig.assert_clean();
    }
}
