//! Notifications that say how far their queue is, and those that name it by the device's own number (VIRTIO 1.3, 2.9 and 4.1.5.2). The card notes a place that cannot be the next,
//! and one that tells of more than is there.

use super::rig::{Rig, numbered, small, start_error, without};
use driver_core::buf::Batch;
use driver_core::queue::{RxQueue, TxQueue, TxState};
use sim::virtio_net::VirtioNetOptions as Options;
use virtio_net::{Features, HardwareError};

/// Every form that a notification may have: 16 bits or 32, by the queue's number or the card's; a card that can be reached by its BAR or the window alone.
fn forms() -> impl Iterator<Item = (Options, Features)> {
    [(false, false), (true, false), (false, true), (true, true)].into_iter().flat_map(|(data, config)| {
        [(Features::empty(), 4), (Features::EVENT_IDX, 0), (Features::INDIRECT_DESC, 8)].map(|(left_out, multiplier)| {
            let mut wanted = Features::empty();
            wanted.set(Features::NOTIFICATION_DATA, data);
            wanted.set(Features::NOTIF_CONFIG_DATA, config);
            (without(left_out).notification_data(data).notif_config_data(config).notify_off_multiplier(multiplier), wanted)
        })
    })
}

#[test]
fn every_form_of_notification_is_understood_round_after_round() {
    for (options, wanted) in forms() {
        let mut rig = Rig::with(options);
        let mut parts = rig.parts(&super::rig::any().rx_ring(8).tx_ring(64).mtu(9000));
        let both = Features::NOTIFICATION_DATA | Features::NOTIF_CONFIG_DATA;
        assert_eq!(parts.control.kernel().features() & both, wanted);
        let mut batch = Batch::new(16);
        // More than two rounds of either ring; long frames are chains. The card runs out of buffers each time, and hears of new ones.
        for round in 0..60 {
            for number in 0..12 {
                rig.send(&numbered(number, 60));
            }
            rig.run_us(20);
            let came = parts.rx.poll(&mut batch, 8);
            assert!(came > 0, "round {round}, {wanted:?}");
            assert_eq!(parts.tx.submit(&mut batch), TxState::Running);
            rig.run_us(20);
            assert_eq!(rig.arrived().len(), came, "round {round}, {wanted:?}");
            parts.send(&[numbered(round, 5000)]);
            rig.run_us(20);
            assert_eq!(rig.arrived(), [numbered(round, 5000)], "round {round}, {wanted:?}");
            rig.run_us(20);
            while parts.rx.poll(&mut batch, 8) > 0 {
                while let Some(frame) = batch.pop() {
                    batch.recycle(frame);
                }
            }
        }
        let [rx, tx, ..] = rig.model(|m| m.counters().notifications);
        assert!(rx > 10 && tx > 10, "{rx} and {tx} notifications, {wanted:?}");
        drop((parts, batch));
        rig.assert_clean();
    }
}

/// Past the 16th bit of a split queue's index, and all rounds of a packed one.
#[test]
fn places_wrap_around_as_indexes_do() {
    let mut rig = Rig::with(Options::new().notification_data(true));
    let mut parts = rig.parts(&super::rig::any().rx_ring(8).tx_ring(64));
    let mut batch = Batch::new(8);
    for round in 0..66_000 / 8 {
        (0..8).for_each(|_| rig.send(&numbered(1, 60)));
        rig.device.step();
        assert_eq!(parts.rx.poll(&mut batch, 8), 8, "round {round}");
        assert_eq!(parts.tx.submit(&mut batch), TxState::Running);
        rig.device.step();
        rig.device.step();
        assert_eq!(rig.arrived().len(), 8, "round {round}");
    }
    drop((parts, batch));
    rig.assert_clean();
}

#[test]
fn the_window_carries_notifications_of_32_bits_too() {
    let mut rig = Rig::with(Options::new().has_bar(false).notification_data(true).notif_config_data(true));
    let mut parts = rig.parts(&small());
    for number in 0..200 {
        parts.send(&[numbered(number, 60)]);
        rig.run_us(20);
        assert_eq!(rig.arrived(), [numbered(number, 60)]);
    }
    drop(parts);
    rig.assert_clean();
}

/// With a multiplier of 2 the second queue's address is aligned to 16 bits alone: no device may have both, and 32 bits would be lost there.
#[test]
fn an_address_that_32_bits_do_not_fit_is_an_error() {
    let rig = Rig::with(Options::new().notification_data(true).notify_off_multiplier(2));
    let error = start_error(rig.open().unwrap(), &small());
    assert!(matches!(error.error().hardware(), Some(HardwareError::NotifyAddress { queue: 1, .. })), "{error}");
    rig.assert_clean();
}
