//! What a card does not do of the spread that was asked for is named in the log, and it is started, or set, all the same.

use crate::common::Card;
use driver_core::device::{Config, NetDevice, RssConfig};
use driver_core::offload::RssTypes;
use driver_core::testing::Warnings;

#[test]
fn what_is_left_out_is_named() {
    let warnings = Warnings::keep();
    let card = Card::new();
    drop(card.start(&Config::new().rx_queues(16)));
    drop(card.start(&Config::new().rss(RssConfig::new().types(RssTypes::all()))));
    assert_eq!(warnings.take(), [""; 0], "all that was asked for is there, or nothing is spread");

    let left_out = "sim:ixgbe: RSS: the device does not hash IPV6_EX TCP_IPV6_EX UDP_IPV6_EX: of such frames it hashes what else was asked for, or they come to queue 0";
    let mut started = card.start(&Config::new().rx_queues(20).rss(RssConfig::new().types(RssTypes::all())));
    assert_eq!(warnings.take(), ["sim:ixgbe: RSS reaches 16 receive queues of this device: the other 4 get no frame by it", left_out]);

    started.control.set_rss(&RssConfig::new().types(RssTypes::IPV4 | RssTypes::TCP_IPV6_EX)).unwrap();
    let told = warnings.take();
    assert!(told.iter().any(|line| line.contains("does not hash TCP_IPV6_EX: ")), "{told:?}");
    assert_eq!(started.control.settings().rss().hash_types(), Some(RssTypes::IPV4));
    started.control.set_rss(&RssConfig::new().table(&[99])).unwrap_err();
    assert_eq!(warnings.take(), [""; 0], "what is refused is an error, and no warning");
    card.assert_no_violations();
}
