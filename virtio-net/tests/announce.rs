//! What the device says beside its frames: that it is to be announced (5.1.6.5.4), and how fast its link is (5.1.4).

use super::rig::{Rig, small, without};
use driver_core::device::{Alarm, Link, NetDevice};
use sim::virtio_net::VirtioNetOptions as Options;
use virtio_net::Features;

/// VIRTIO_NET_S_ANNOUNCE is acknowledged by a command, and the application is told, each time.
#[test]
fn a_device_that_was_moved_is_told_each_time() {
    let rig = Rig::new();
    let mut parts = rig.parts(&small());
    assert!(parts.control.link().up && parts.control.alarm().is_none());
    for round in 0..3 {
        let before = rig.model(|m| m.counters().commands);
        rig.model(sim::virtio_net::VirtioNet::ask_for_announcement);
        rig.run_us(10);
        assert!(parts.control.link().up);
        assert_eq!(rig.model(|m| (m.counters().commands, m.is_announcing())), (before + 1, false), "round {round}: acknowledged");
        assert_eq!((parts.control.alarm(), parts.control.alarm()), (Some(Alarm::Announce), None), "once");
    }
    drop(parts);
    rig.assert_clean();
}

#[test]
fn without_the_feature_nothing_is_acknowledged() {
    let rig = Rig::with(without(Features::GUEST_ANNOUNCE));
    let mut parts = rig.parts(&small());
    let before = rig.model(|m| m.counters().commands);
    rig.model(sim::virtio_net::VirtioNet::ask_for_announcement);
    rig.run_us(10);
    assert!(parts.control.link().up);
    assert_eq!((rig.model(|m| m.counters().commands), parts.control.alarm()), (before, None));
    drop(parts);
    rig.assert_clean();
}

#[test]
fn speed_and_duplex_are_told_and_read_again() {
    let speeds = [
        (10_000, 1, Some(10_000), true),
        (0x7fff_ffff, 1, Some(0x7fff_ffff), true),
        (0x8000_0000, 1, None, true),
        (u32::MAX, 0xff, None, true),
        (1000, 0, Some(1000), false),
    ];
    let rig = Rig::with(Options::new());
    let mut parts = rig.parts(&small());
    for (speed, duplex, mbps, full) in speeds {
        rig.model(|m| m.set_speed(speed, duplex));
        rig.run_us(10);
        let mut wanted = Link::up_at(mbps);
        wanted.full_duplex = full;
        assert_eq!(parts.control.link(), wanted, "{speed:#x}, {duplex:#x}");
    }
    drop(parts);
    rig.assert_clean();
    let rig = Rig::with(without(Features::SPEED_DUPLEX));
    assert_eq!(rig.parts(&small()).control.link(), Link::up_at(None));
}
