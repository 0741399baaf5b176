//! A simulated virtio card of several queues, by its spec.

use barewire::Host;
use barewire::driver_core::device::{Caps, Config};

#[test]
fn a_spec_says_how_many_queues_a_virtio_card_has_and_whether_it_spreads_by_hashes() {
    for (spec, queues, spreads) in
        [("sim:virtio-net", 1, false), ("sim:virtio-net,queues=4", 4, false), ("sim:virtio-net,queues=8,rss=on,packed=on", 8, true)]
    {
        let mut host = Host::new();
        let device = host.open(spec).unwrap();
        let info = device.info();
        assert_eq!((info.max_rx_queues, info.max_tx_queues, info.caps.contains(Caps::RSS)), (queues, queues, spreads), "{spec}");
        let port = device.start(&Config::new().rx_queues(queues).tx_queues(queues)).unwrap();
        assert_eq!((port.rx.len(), port.tx.len()), (queues.into(), queues.into()), "{spec}");
    }
}

#[test]
fn a_spec_says_what_else_a_virtio_card_does() {
    for (option, adds) in [
        ("hashes", Caps::RX_HASH),
        ("segmentation", Caps::TX_SEGMENTATION | Caps::RX_COALESCING),
        ("moderation", Caps::empty()),
        ("segmentation=off,hashes", Caps::RX_HASH),
    ] {
        let mut host = Host::new();
        let plain = host.open("sim:virtio-net").unwrap().info().clone();
        let info = host.open(&format!("sim:virtio-net,{option}=on")).unwrap().info().clone();
        assert_eq!((info.caps - plain.caps, info.max_moderation_us > 0), (adds, option == "moderation"), "{option}");
    }
}
