//! What a virtual function asks of its physical one while it runs: addresses, multicast, VLANs, receive modes; and the MTU that it starts with.

use crate::function::{ALL, I82599, MAC, Vf, X540, X550, frame_to};
use driver_core::device::{Config, NetDevice, RxMode};
use driver_core::ether::MacAddr;

fn tagged(to: [u8; 6], id: u16) -> Vec<u8> {
    let mut frame = frame_to(to, 80, 1);
    frame.splice(12..12, [0x81, 0x00, (id >> 8) as u8, id as u8]);
    frame
}

#[test]
fn another_address_is_let_in_and_the_old_one_no_more() {
    for device in ALL {
        let vf = Vf::of(device);
        let mut started = vf.start(&Config::new());
        let other = MacAddr([2, 0, 0, 0, 0x0f, 0x99]);
        started.control.set_mac(other).unwrap();
        assert!(vf.takes(&mut started, &frame_to(other.0, 60, 1)));
        assert!(!vf.takes(&mut started, &frame_to(MAC, 60, 1)));
        assert!(vf.takes(&mut started, &frame_to([0xff; 6], 60, 1)));
    }
}

#[test]
fn further_addresses_come_in_as_they_are_listed() {
    let vf = Vf::of(X540);
    let mut started = vf.start(&Config::new());
    let [a, b] = [0x41, 0x42].map(|last| MacAddr([2, 0, 0, 0, 0, last]));
    for list in [&[a, b][..], &[b], &[]] {
        started.control.set_unicast_filters(list).unwrap();
        assert_eq!([a, b].map(|mac| vf.takes(&mut started, &frame_to(mac.0, 60, 1))), [a, b].map(|mac| list.contains(&mac)), "{list:?}");
        assert!(vf.takes(&mut started, &frame_to(MAC, 60, 1)));
    }
    // Linux leaves 111 of the card's addresses to one function.
    let many: Vec<_> = (0..112).map(|k| MacAddr([2, 0, 0, 0, 1, k])).collect();
    started.control.set_unicast_filters(&[a]).unwrap();
    let error = started.control.set_unicast_filters(&many).unwrap_err().to_string();
    assert!(error.contains("112 unicast addresses asked for, the device filters 111 beside its own"), "{error}");
    assert!(vf.takes(&mut started, &frame_to(a.0, 60, 1)), "those that were there still are");
    started.control.set_unicast_filters(&many[..111]).unwrap();
    assert!(vf.takes(&mut started, &frame_to(many[110].0, 60, 1)));
}

#[test]
fn multicast_addresses_come_in_by_their_hash() {
    let vf = Vf::of(I82599);
    let mut started = vf.start(&Config::new());
    let groups: Vec<_> = (0..30).map(|k| MacAddr([1, 0, 0x5e, 0, k, 0x10 + k])).collect();
    assert!(!vf.takes(&mut started, &frame_to(groups[29].0, 60, 1)));
    started.control.set_multicast_filters(&groups).unwrap();
    assert!(groups.iter().all(|group| vf.takes(&mut started, &frame_to(group.0, 60, 1))));
    assert!(!vf.takes(&mut started, &frame_to([1, 0, 0x5e, 0, 0, 0xf0], 60, 1)));
    let error = started.control.set_multicast_filters(&[groups.clone(), groups].concat()).unwrap_err().to_string();
    assert!(error.contains("more than 30 multicast addresses"), "{error}");
}

#[test]
fn frames_of_vlans_come_in_as_they_are_named() {
    for device in ALL {
        let vf = Vf::of(device);
        let mut started = vf.start(&Config::new().vlan_filter(&[7]));
        for ids in [&[7u16][..], &[7, 4095], &[8], &[]] {
            started.control.set_vlan_filter(Some(ids)).unwrap();
            for id in [7, 8, 4095] {
                assert_eq!(vf.takes(&mut started, &tagged(MAC, id)), ids.contains(&id), "{id} of {ids:?}");
            }
            assert!(vf.takes(&mut started, &frame_to(MAC, 60, 1)), "without a tag");
        }
        let error = started.control.set_vlan_filter(None).unwrap_err().to_string();
        assert!(error.contains("frames of every VLAN: its physical function lets those in that are named"), "{error}");
    }
}

#[test]
fn modes_let_in_what_they_say() {
    let (group, other) = ([1, 0, 0x5e, 9, 9, 9], [2, 0, 0, 0, 0, 0x77]);
    for (device, is_promiscuous) in [(I82599, false), (X540, true), (X550, true)] {
        let vf = Vf::of(device);
        let mut started = vf.start(&Config::new());
        let mut seen = || [group, other].map(|to| vf.takes(&mut started, &frame_to(to, 60, 1)));
        assert_eq!(seen(), [false, false]);
        started.control.set_rx_mode(RxMode::ALL_MULTICAST).unwrap();
        let mut seen = || [group, other].map(|to| vf.takes(&mut started, &frame_to(to, 60, 1)));
        assert_eq!(seen(), [true, false]);
        let result = started.control.set_rx_mode(RxMode::PROMISCUOUS);
        assert_eq!(result.is_ok(), is_promiscuous, "{result:?}");
        let mut seen = || [group, other].map(|to| vf.takes(&mut started, &frame_to(to, 60, 1)));
        assert_eq!(seen(), [true, is_promiscuous]);
        started.control.set_rx_mode(RxMode::empty()).unwrap();
        let mut seen = || [group, other].map(|to| vf.takes(&mut started, &frame_to(to, 60, 1)));
        assert_eq!(seen(), [false, false]);
    }
}

/// A program that would see everything is not kept from seeing what it may.
#[test]
fn a_mode_that_is_refused_at_the_start_is_left_out() {
    for (device, trusts, granted) in [(I82599, true, RxMode::ALL_MULTICAST), (X540, true, RxMode::PROMISCUOUS), (X550, false, RxMode::empty())] {
        let vf = Vf::with(device, |pf| pf.trusts = trusts);
        let mut started = vf.start(&Config::new().rx_mode(RxMode::PROMISCUOUS));
        assert_eq!(started.control.settings().rx_mode(), granted);
        assert_eq!(vf.takes(&mut started, &frame_to([1, 0, 0x5e, 9, 9, 9], 60, 1)), !granted.is_empty());
    }
}

#[test]
fn the_mtu_is_what_the_physical_function_allows() {
    for device in ALL {
        let vf = Vf::with(device, |pf| pf.has_jumbo = false);
        let result = vf.open().unwrap().start(&Config::new().mtu(9000));
        match device {
            I82599 => {
                let error = result.unwrap_err().to_string();
                assert!(error.contains("frames as long as its MTU wants: its physical function refuses them"), "{error}");
            }
            _ => drop(result.unwrap()),
        }
    }
}
