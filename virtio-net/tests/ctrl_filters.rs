//! Which frames come in, by the control queue (5.1.6.5.1, 5.1.6.5.2): the same calls and configuration as with every other driver.

use super::rig::{Parts, Rig, small, without};
use driver_core::device::{Config, NetDevice, RxMode};
use driver_core::ether::MacAddr;
use driver_core::testing::frame;
use virtio_net::{ErrorKind, Features, HardwareError};

const OWN: MacAddr = MacAddr([0x02, 0, 0, 0x1a, 0xf4, 0x41]);
const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const THIRD: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const GROUP: MacAddr = MacAddr([1, 0, 0x5e, 0, 0, 1]);
const OTHER_GROUP: MacAddr = MacAddr([0x33, 0x33, 0, 0, 0, 1]);
const BROADCAST: MacAddr = MacAddr([0xff; 6]);
const ALL: [MacAddr; 6] = [OWN, OTHER, THIRD, GROUP, OTHER_GROUP, BROADCAST];

fn filtering() -> Config {
    small().rx_mode(RxMode::empty())
}

/// Of frames for each of `ALL`, those that come in.
fn seen(rig: &mut Rig, parts: &mut Parts) -> Vec<MacAddr> {
    for to in ALL {
        rig.send(&frame(to, MacAddr([2, 9, 9, 9, 9, 9]), 60, 7));
    }
    rig.run_us(50);
    let mut all = Vec::new();
    loop {
        let some = parts.receive();
        if some.is_empty() {
            return all;
        }
        all.extend(some.iter().map(|bytes| MacAddr(*bytes.first_chunk().unwrap())));
        rig.run_us(50);
    }
}

#[test]
fn what_is_for_nobody_here_stays_outside() {
    let mut rig = Rig::new();
    let mut parts = rig.parts(&filtering());
    assert_eq!(seen(&mut rig, &mut parts), [OWN, BROADCAST]);
    let changes: [(RxMode, &[MacAddr]); 5] = [
        (RxMode::ALL_MULTICAST, &[OWN, GROUP, OTHER_GROUP, BROADCAST]),
        (RxMode::PROMISCUOUS, &ALL),
        (RxMode::all(), &ALL),
        (RxMode::ALL_MULTICAST, &[OWN, GROUP, OTHER_GROUP, BROADCAST]),
        (RxMode::empty(), &[OWN, BROADCAST]),
    ];
    for (mode, expected) in changes {
        parts.control.set_rx_mode(mode).unwrap();
        assert_eq!(seen(&mut rig, &mut parts), expected, "{mode:?}");
    }
    drop(parts);
    rig.assert_clean();
}

#[test]
fn further_addresses_come_in_and_the_other_kind_is_kept() {
    let mut rig = Rig::new();
    let mut parts = rig.parts(&filtering());
    parts.control.set_unicast_filters(&[OTHER]).unwrap();
    parts.control.set_multicast_filters(&[GROUP]).unwrap();
    assert_eq!(seen(&mut rig, &mut parts), [OWN, OTHER, GROUP, BROADCAST]);
    parts.control.set_unicast_filters(&[THIRD]).unwrap();
    assert_eq!(seen(&mut rig, &mut parts), [OWN, THIRD, GROUP, BROADCAST]);
    parts.control.set_multicast_filters(&[OTHER_GROUP]).unwrap();
    assert_eq!(seen(&mut rig, &mut parts), [OWN, THIRD, OTHER_GROUP, BROADCAST]);
    parts.control.set_unicast_filters(&[]).unwrap();
    parts.control.set_multicast_filters(&[]).unwrap();
    assert_eq!(seen(&mut rig, &mut parts), [OWN, BROADCAST]);
    drop(parts);
    rig.assert_clean();
}

#[test]
fn more_groups_than_a_command_holds_let_all_of_them_in() {
    let mut rig = Rig::new();
    let mut parts = rig.parts(&filtering());
    let many: Vec<_> = (0..1000u16).map(|k| MacAddr([1, 0, 0x5e, 1, (k >> 8) as u8, k as u8])).collect();
    parts.control.set_multicast_filters(&many).unwrap();
    assert_eq!(seen(&mut rig, &mut parts), [OWN, GROUP, OTHER_GROUP, BROADCAST]);
    // A mode that is set meanwhile does not undo it.
    parts.control.set_rx_mode(RxMode::empty()).unwrap();
    assert_eq!(seen(&mut rig, &mut parts), [OWN, GROUP, OTHER_GROUP, BROADCAST]);
    parts.control.set_multicast_filters(&many[..300]).unwrap();
    assert_eq!(rig.model(|m| m.counters().refused), 0);
    parts.control.set_multicast_filters(&many[..3]).unwrap();
    assert_eq!(seen(&mut rig, &mut parts), [OWN, BROADCAST]);
    // Of unicast addresses none is left away in silence.
    let many: Vec<_> = (0..1000u16).map(|k| MacAddr([2, 0, 0, 1, (k >> 8) as u8, k as u8])).collect();
    let error = parts.control.set_unicast_filters(&many).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TooManyAddresses { asked: 1000, .. }), "{error}");
    assert_eq!(seen(&mut rig, &mut parts), [OWN, BROADCAST]);
    drop(parts);
    rig.assert_clean();
}

#[test]
fn another_address_takes_the_place_of_the_devices_own() {
    let mut rig = Rig::new();
    let mut parts = rig.parts(&filtering());
    parts.control.set_mac(OTHER).unwrap();
    assert_eq!((parts.control.mac(), rig.model(|m| m.mac())), (OTHER, OTHER.0));
    assert_eq!(seen(&mut rig, &mut parts), [OTHER, BROADCAST]);
    // What no device can have is not even asked for.
    for nobody in [GROUP, MacAddr([0; 6]), BROADCAST] {
        let before = rig.model(|m| m.counters().commands);
        assert!(matches!(parts.control.set_mac(nobody).unwrap_err().kind(), ErrorKind::Address { .. }));
        assert_eq!(rig.model(|m| m.counters().commands), before);
    }
    drop(parts);
    // A reset gives it back.
    assert_eq!(rig.parts(&filtering()).control.mac(), OWN);
    rig.assert_clean();
}

#[test]
fn a_device_without_these_commands_is_sent_none_of_them() {
    for missing in [Features::CTRL_VQ, Features::CTRL_RX] {
        let mut rig = Rig::with(without(missing));
        let mut parts = rig.parts(&filtering());
        parts.control.set_unicast_filters(&[OTHER]).unwrap();
        assert_eq!(seen(&mut rig, &mut parts), ALL, "it has no filters");
        parts.control.set_rx_mode(RxMode::PROMISCUOUS).unwrap();
        parts.control.set_multicast_filters(&[GROUP]).unwrap();
        assert_eq!(rig.model(|m| m.counters().commands), 0, "without {missing:?}");
        drop(parts);
        rig.assert_clean();
    }
    let mut rig = Rig::with(without(Features::CTRL_MAC_ADDR));
    let mut parts = rig.parts(&filtering());
    assert!(matches!(parts.control.set_mac(OTHER).unwrap_err().kind(), ErrorKind::Unsupported { .. }));
    assert_eq!(seen(&mut rig, &mut parts), [OWN, BROADCAST]);
    drop(parts);
    rig.assert_clean();
}

#[test]
fn what_the_device_refuses_is_told_and_not_remembered() {
    let mut rig = Rig::new();
    let mut parts = rig.parts(&filtering());
    let before = parts.control.settings().clone();
    for (class, name) in [(0, "VIRTIO_NET_CTRL_RX_PROMISC"), (1, "VIRTIO_NET_CTRL_MAC_TABLE_SET")] {
        rig.faults(|faults| faults.ctrl_refuse = Some(class));
        let error = if class == 0 { parts.control.set_rx_mode(RxMode::PROMISCUOUS) } else { parts.control.set_unicast_filters(&[OTHER]) };
        let error = error.unwrap_err();
        assert_eq!(error.hardware(), Some(&HardwareError::CommandRefused { command: name, ack: 1 }));
        assert_eq!(parts.control.settings(), &before);
    }
    rig.faults(|faults| faults.ctrl_refuse = None);
    parts.control.set_unicast_filters(&[OTHER]).unwrap();
    assert_eq!(seen(&mut rig, &mut parts), [OWN, OTHER, BROADCAST], "it takes others");
    drop(parts);
    rig.assert_clean();
}

#[test]
fn many_commands_go_round_the_queue() {
    let mut rig = Rig::new();
    let mut parts = rig.parts(&filtering());
    for round in 0..400 {
        let mode = if round % 2 == 0 { RxMode::ALL_MULTICAST } else { RxMode::empty() };
        parts.control.set_rx_mode(mode).unwrap();
    }
    assert_eq!(seen(&mut rig, &mut parts), [OWN, BROADCAST]);
    drop(parts);
    rig.assert_clean();
}
