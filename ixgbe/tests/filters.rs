//! Which frames come in: own address, further addresses, multicast hash, promiscuous modes.

use crate::common::{Card, MAC, frame, received};
use driver_core::device::{Config, NetDevice, RxMode};
use driver_core::ether::MacAddr;
use driver_core::host::VectorPlan;
use ixgbe::{ErrorKind, UNICAST_FILTERS};

const BROADCAST: MacAddr = MacAddr([0xff; 6]);
const GROUP: MacAddr = MacAddr([0x01, 0x00, 0x5e, 0x01, 0x02, 0x03]);
const OTHER: MacAddr = MacAddr([0x02, 0xaa, 0, 0, 0, 0x01]);

/// Which of `addresses` come in.
fn accepted(card: &Card, rx: &mut impl driver_core::queue::RxQueue, addresses: &[MacAddr]) -> Vec<MacAddr> {
    addresses
        .iter()
        .copied()
        .filter(|&to| {
            card.send(&frame(to, 64, 0));
            !received(rx).is_empty()
        })
        .collect()
}

const ALL: [MacAddr; 4] = [MAC, BROADCAST, GROUP, OTHER];

#[test]
fn own_address_and_broadcast_come_in_and_nothing_else() {
    let card = Card::new();
    let mut started = card.start(&Config::new());
    assert_eq!(accepted(&card, &mut started.rx[0], &ALL), [MAC, BROADCAST]);
    card.assert_no_violations();
}

#[test]
fn another_address_replaces_the_cards() {
    let card = Card::new();
    let mut started = card.start(&Config::new());
    started.control.set_mac(OTHER).unwrap();
    assert_eq!(started.control.mac(), OTHER);
    assert_eq!(accepted(&card, &mut started.rx[0], &ALL), [BROADCAST, OTHER]);
    let error = started.control.set_mac(GROUP).unwrap_err();
    assert_eq!(error.to_string(), "sim:ixgbe: setting its address: 01:00:5e:01:02:03 is no unicast address");
    assert_eq!(started.control.mac(), OTHER);
    assert_eq!(started.control.info().permanent_mac, MAC);
    card.assert_no_violations();
}

#[test]
fn modes_open_and_close() {
    let card = Card::new();
    let mut started = card.start(&Config::new().rx_mode(RxMode::PROMISCUOUS));
    let rx = &mut started.rx[0];
    assert_eq!(accepted(&card, rx, &ALL), ALL);
    started.control.set_rx_mode(RxMode::ALL_MULTICAST).unwrap();
    assert_eq!(accepted(&card, rx, &ALL), [MAC, BROADCAST, GROUP]);
    started.control.set_rx_mode(RxMode::default()).unwrap();
    assert_eq!(accepted(&card, rx, &ALL), [MAC, BROADCAST]);
    card.assert_no_violations();
}

#[test]
fn further_unicast_addresses_replace_one_another() {
    let card = Card::new();
    let mut started = card.start(&Config::new());
    let addresses: Vec<_> = (0..UNICAST_FILTERS).map(|i| MacAddr([0x02, 0xbb, 0, 0, 0, i as u8])).collect();
    started.control.set_unicast_filters(&addresses).unwrap();
    assert_eq!(accepted(&card, &mut started.rx[0], &addresses), addresses);
    started.control.set_unicast_filters(&addresses[100..102]).unwrap();
    assert_eq!(accepted(&card, &mut started.rx[0], &addresses), addresses[100..102]);
    assert_eq!(accepted(&card, &mut started.rx[0], &ALL), [MAC, BROADCAST]);
    card.assert_no_violations();
}

#[test]
fn too_many_or_wrong_addresses_change_nothing() {
    let card = Card::new();
    let mut started = card.start(&Config::new());
    started.control.set_unicast_filters(&[OTHER]).unwrap();
    let many = vec![OTHER; UNICAST_FILTERS + 1];
    let error = started.control.set_unicast_filters(&many).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TooManyAddresses { asked: 128, room: 127 }), "{error}");
    assert!(error.to_string().ends_with("use promiscuous mode"), "{error}");
    assert!(started.control.set_unicast_filters(&[MacAddr([2, 0, 0, 0, 0, 9]), GROUP]).is_err());
    let error = started.control.set_multicast_filters(&[GROUP, OTHER]).unwrap_err();
    assert_eq!(error.to_string(), "sim:ixgbe: setting its multicast filters: 02:aa:00:00:00:01 is no multicast address");
    assert_eq!(accepted(&card, &mut started.rx[0], &ALL), [MAC, BROADCAST, OTHER]);
    card.assert_no_violations();
}

#[test]
fn multicast_addresses_replace_one_another() {
    let card = Card::new();
    let mut started = card.start(&Config::new());
    let groups: Vec<_> = (0..200).map(|i| MacAddr([0x33, 0x33, 0, 0, i, i.wrapping_mul(37)])).collect();
    started.control.set_multicast_filters(&groups).unwrap();
    assert_eq!(accepted(&card, &mut started.rx[0], &groups), groups);
    started.control.set_multicast_filters(&[GROUP]).unwrap();
    // What has the same hash as GROUP comes in too: the low nibble of the last but one byte does not count.
    let same_hash = MacAddr([0x01, 0, 0, 0, 0x0f, 0x03]);
    let near = MacAddr([0x01, 0, 0, 0, 0x10, 0x03]);
    assert_eq!(accepted(&card, &mut started.rx[0], &[GROUP, same_hash, near]), [GROUP, same_hash]);
    started.control.set_multicast_filters(&[]).unwrap();
    assert_eq!(accepted(&card, &mut started.rx[0], &ALL), [MAC, BROADCAST]);
    card.assert_no_violations();
}

/// The card has a table of 4096 bits for what is hashed into it (MTA): with more groups than that others come in, too, and none is lost.
#[test]
fn five_thousand_multicast_addresses_all_come_in() {
    let card = Card::new();
    let mut started = card.start(&Config::new());
    let groups: Vec<_> = (0..5000u16).map(|i| MacAddr([0x01, 0, 0x5e, 0x7f, (i >> 8) as u8, i as u8])).collect();
    started.control.set_multicast_filters(&groups).unwrap();
    assert_eq!(started.control.settings().multicast().len(), 5000);
    assert_eq!(accepted(&card, &mut started.rx[0], &groups), groups);
    assert_eq!(accepted(&card, &mut started.rx[0], &[OTHER]), [], "unicast is filtered as before");
    started.control.set_multicast_filters(&[]).unwrap();
    assert_eq!(accepted(&card, &mut started.rx[0], &groups[..100]), []);
    card.assert_no_violations();
}

#[test]
fn what_was_set_is_remembered_and_what_was_refused_is_not() {
    let card = Card::new();
    let config = Config::new().mtu(4000).rx_queues(2).rx_ring(256).tx_ring(128).rx_mode(RxMode::ALL_MULTICAST).interrupts(true);
    let mut control = card.start(&config).control;
    let at_start = control.settings().clone();
    assert_eq!(
        (at_start.mac(), at_start.mtu(), at_start.rx_mode(), at_start.vectors()),
        (MAC, 4000, RxMode::ALL_MULTICAST, Some(VectorPlan::new(2).with_tx(1)))
    );
    assert_eq!((at_start.rx(), at_start.tx()), (config.rx_config(), config.tx_config()));
    // What was left open is as the card has it.
    let rss = config.rss_config().clone().table(&[0, 1].repeat(64)).types(control.info().rss.types);
    assert_eq!(at_start.rss(), &rss);
    let [one, two, group] = [0x02, 0x06, 0x01].map(|first| MacAddr([first, 0, 0, 0, 0, 9]));
    control.set_mac(one).unwrap();
    control.set_rx_mode(RxMode::PROMISCUOUS).unwrap();
    control.set_unicast_filters(&[two]).unwrap();
    control.set_multicast_filters(&[group]).unwrap();
    control.set_rss(&rss.clone().key([7; 40])).unwrap();
    let mut wanted = at_start.clone();
    wanted.set_mac(one);
    wanted.set_rx_mode(RxMode::PROMISCUOUS);
    wanted.set_unicast(&[two]);
    wanted.set_multicast(&[group]);
    wanted.set_rss(rss.clone().key([7; 40]));
    assert_eq!((control.settings(), control.mac(), control.mtu()), (&wanted, one, 4000));
    // What no card takes.
    control.set_mac(group).unwrap_err();
    control.set_unicast_filters(&[one, group]).unwrap_err();
    control.set_unicast_filters(&[two; UNICAST_FILTERS + 1]).unwrap_err();
    control.set_multicast_filters(&[group, one]).unwrap_err();
    control.set_rss(&rss.clone().table(&[2])).unwrap_err();
    assert_eq!(control.settings(), &wanted);
    // What a stopped card does not take.
    control.stop().unwrap();
    control.set_mac(two).unwrap_err();
    control.set_rx_mode(RxMode::empty()).unwrap_err();
    control.set_unicast_filters(&[]).unwrap_err();
    control.set_multicast_filters(&[]).unwrap_err();
    control.set_rss(&rss).unwrap_err();
    assert_eq!(control.settings(), &wanted);
}
