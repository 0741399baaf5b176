//! Which functions are opened, what is known of them then, and what is said of the others.

use crate::common::{Card, I82599, Liar, MAC, X540, X550};
use driver_core::device::{Config, NetDevice};
use driver_core::host::RegSpace;
use ixgbe::{ErrorKind, HardwareError};

#[test]
fn a_card_of_each_family_is_reset_and_identified() {
    for (device, model) in
        [(I82599, "Intel 82599ES SFI/SFP+ (Intel Ethernet Server Adapter X520-2)"), (X540, "Intel X540-AT2"), (X550, "Intel X550-AT2")]
    {
        let card = Card::of(device);
        let opened = card.open().unwrap();
        let info = opened.info();
        assert_eq!((info.model.as_str(), info.driver, info.name.as_str()), (model, "ixgbe", "sim:ixgbe"));
        assert_eq!((info.permanent_mac, info.max_mtu, info.ring_limits.clone()), (MAC, 9710, 64..=4096));
        assert_eq!((info.max_rx_queues, info.max_tx_queues), (64, 64));
        card.assert_no_violations();
    }
}

#[test]
fn another_card_is_refused_by_name() {
    let (card, liar) = (Card::new(), Liar::default());
    liar.lies().id = Some(0x10d3_8086);
    let error = ixgbe::open(card.lying(&liar), card.clock.clone()).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error.kind(), ErrorKind::UnknownId { id, .. } if id.device == 0x10d3));
    for part in ["sim:ixgbe", "8086:10d3", "82599", "X540", "X550"] {
        assert!(text.contains(part), "{text}");
    }
    card.assert_no_violations();
}

#[test]
fn a_relative_is_refused_by_its_name() {
    for (device, name) in [(0x10c6_u32, "82598"), (0x15ad, "X552"), (0x15c8, "X553")] {
        let (card, liar) = (Card::new(), Liar::default());
        liar.lies().id = Some(device << 16 | 0x8086);
        let error = ixgbe::open(card.lying(&liar), card.clock.clone()).unwrap_err();
        assert!(matches!(error.hardware(), Some(HardwareError::NotDriven { .. })), "{error}");
        let text = error.to_string();
        assert!(
            text.contains(&format!("it is an Intel {name}, which this driver does not drive: ")) && text.ends_with("use the kernel's ixgbe"),
            "{text}"
        );
        card.assert_no_violations();
    }
}

#[test]
fn a_bar_mapped_in_part_is_refused() {
    let (card, liar) = (Card::new(), Liar::default());
    liar.lies().bar_len = Some(0x1_0000);
    let error = ixgbe::open(card.lying(&liar), card.clock.clone()).unwrap_err();
    assert_eq!(error.hardware(), Some(&HardwareError::SmallBar { len_bytes: 0x1_0000 }));
    assert_eq!((error.function(), error.step()), ("sim:ixgbe", "opening"));
}

#[test]
fn a_card_left_running_is_stopped_before_it_is_reset() {
    let (card, liar) = (Card::new(), Liar::default());
    let mut left = card.start(&Config::new());
    assert!(left.control.link().up);
    // As if its process had died: the queues stay on and the memory mapped.
    let opened = ixgbe::open(card.lying_beside(&liar), card.clock.clone()).unwrap();
    assert_eq!(liar.lies().dma, [false], "bus mastering goes off, and comes on with the next start");
    let bar = card.registers();
    assert_eq!((bar.read32(0x1028) >> 25 & 1, bar.read32(0x6028) >> 25 & 1, bar.read32(0x3000) & 1), (0, 0, 0));
    drop((opened, left));
    card.assert_no_violations();
}

#[test]
fn a_card_is_opened_again_after_it_was_closed() {
    let card = Card::new();
    for _ in 0..2 {
        drop(card.open().unwrap());
    }
    card.assert_no_violations();
}

#[test]
fn an_address_that_is_no_unicast_address_is_refused() {
    let (card, liar) = (Card::new(), Liar::default());
    liar.stick(0xa200, 0x01);
    let error = ixgbe::open(card.lying(&liar), card.clock.clone()).unwrap_err();
    assert!(error.to_string().contains("03:00:00:82:59:90 is no unicast address"), "{error}");
}
