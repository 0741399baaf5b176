//! The filter of VLANs (5.1.6.5.3): what was added comes in, and with it what has no tag or a priority alone.

use super::rig::{Parts, Rig, small};
use driver_core::device::{Config, NetDevice, RxMode};
use driver_core::ether::MacAddr;
use driver_core::testing::frame;
use virtio_net::Features;

const OWN: MacAddr = MacAddr([0x02, 0, 0, 0x1a, 0xf4, 0x41]);
/// `None`: without a tag; 0: with a priority alone.
const TAGS: [Option<u16>; 6] = [None, Some(0), Some(1), Some(7), Some(8), Some(4095)];

fn filtering() -> Config {
    small().rx_mode(RxMode::empty())
}

/// Of frames with each of `TAGS`, those that come in.
fn seen(rig: &mut Rig, parts: &mut Parts) -> Vec<Option<u16>> {
    for tag in TAGS {
        let mut bytes = frame(OWN, MacAddr([2, 9, 9, 9, 9, 9]), 60, 7);
        if let Some(id) = tag {
            let tci = (5 << 13 | id).to_be_bytes();
            bytes.splice(12..12, [0x81, 0x00, tci[0], tci[1]]);
        }
        rig.send(&bytes);
    }
    rig.run_us(50);
    let tag = |bytes: &Vec<u8>| (bytes[12..14] == [0x81, 0x00]).then(|| u16::from_be_bytes([bytes[14], bytes[15]]) & 0xfff);
    parts.receive().iter().map(tag).collect()
}

#[test]
fn without_a_filter_every_vlan_comes_in_and_the_feature_is_left_alone() {
    let mut rig = Rig::new();
    let mut parts = rig.parts(&filtering());
    assert_eq!(seen(&mut rig, &mut parts), TAGS);
    assert!(!parts.control.kernel().features().contains(Features::CTRL_VLAN));
    let error = parts.control.set_vlan_filter(Some(&[7])).unwrap_err();
    assert!(error.to_string().contains("Config::vlan_filter"), "{error}");
    assert_eq!(seen(&mut rig, &mut parts), TAGS);
    drop(parts);
    rig.assert_clean();
}

#[test]
fn the_vlans_that_were_asked_for_come_in() {
    let mut rig = Rig::new();
    let mut parts = rig.parts(&filtering().vlan_filter(&[7]));
    assert!(parts.control.kernel().features().contains(Features::CTRL_VLAN));
    assert_eq!(seen(&mut rig, &mut parts), [None, Some(0), Some(7)]);
    parts.control.set_vlan_filter(Some(&[8, 4095])).unwrap();
    assert_eq!(seen(&mut rig, &mut parts), [None, Some(0), Some(8), Some(4095)]);
    parts.control.set_vlan_filter(Some(&[])).unwrap();
    assert_eq!(seen(&mut rig, &mut parts), [None, Some(0)]);
    parts.control.set_vlan_filter(None).unwrap();
    assert_eq!(seen(&mut rig, &mut parts), TAGS);
    parts.control.set_vlan_filter(Some(&[1])).unwrap();
    assert_eq!(seen(&mut rig, &mut parts), [None, Some(0), Some(1)]);
    // A promiscuous device looks at no tag either.
    parts.control.set_rx_mode(RxMode::PROMISCUOUS).unwrap();
    assert_eq!(seen(&mut rig, &mut parts), TAGS);
    drop(parts);
    rig.assert_clean();
}

#[test]
fn a_filter_of_no_vlan_lets_in_what_has_none() {
    let mut rig = Rig::new();
    let mut parts = rig.parts(&filtering().vlan_filter(&[]));
    assert_eq!(seen(&mut rig, &mut parts), [None, Some(0)]);
    parts.control.set_vlan_filter(Some(&[7])).unwrap();
    assert_eq!(seen(&mut rig, &mut parts), [None, Some(0), Some(7)]);
    drop(parts);
    rig.assert_clean();
}
