//! Flows are spread by a hash and a table (5.1.6.5.7), set by the same calls as with every other driver.

use super::rig::{Rig, Started, small};
use driver_core::device::{Caps, NetDevice, RssConfig};
use driver_core::offload::{RssTypes, toeplitz};
use driver_core::testing::received;
use sim::virtio_net::VirtioNetOptions as Options;
use virtio_net::{Features, HardwareError};

fn card() -> Options {
    Options::new().pairs(4).rss(true)
}

/// A UDP frame over IPv4 from port `from`.
fn udp(from: u16) -> Vec<u8> {
    let mut bytes = vec![0xff; 6];
    bytes.extend([2, 0, 0, 0, 0, 9, 8, 0]);
    bytes.extend([0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    bytes.extend(from.to_be_bytes());
    bytes.extend([0, 80, 0, 26, 0, 0]);
    bytes.extend([7; 18]);
    bytes
}

/// Sends `count` flows, and says on which queues they came.
fn spread(rig: &mut Rig, started: &mut Started, count: u16) -> Vec<Vec<Vec<u8>>> {
    for flow in 0..count {
        rig.send(&udp(flow));
        rig.run_us(5);
    }
    rig.run_us(50);
    started.rx.iter_mut().map(received).collect()
}

/// What a flow hashes to, as applications compute it.
fn hash_of(flow: u16, rss: &RssConfig) -> u32 {
    let [high, low] = flow.to_be_bytes();
    toeplitz(rss.key_bytes(), &[10, 0, 0, 1, 10, 0, 0, 2, high, low, 0, 80])
}

#[test]
fn flows_spread_by_the_table_and_stay_where_they_are() {
    let mut rig = Rig::with(card());
    let mut started = rig.start(&small().rx_queues(4).tx_queues(4));
    assert!(started.control.info().used_caps.contains(Caps::RSS));
    assert_eq!((started.control.info().rss.queues, started.control.info().rss.table_len), (4, 128));
    let first = spread(&mut rig, &mut started, 100);
    assert_eq!(first.iter().map(Vec::len).sum::<usize>(), 100);
    assert!(first.iter().all(|frames| !frames.is_empty()));
    assert_eq!(spread(&mut rig, &mut started, 100), first);
    let rss = started.control.settings().rss().clone();
    for (queue, frames) in (0..).zip(&first) {
        for bytes in frames {
            let flow = u16::from_be_bytes([bytes[34], bytes[35]]);
            assert_eq!(rss.queue_of(hash_of(flow, &rss)), Some(queue), "flow {flow}");
        }
    }
    drop(started);
    rig.assert_clean();
}

#[test]
fn tables_keys_and_types_are_set_while_it_runs() {
    let mut rig = Rig::with(card());
    let mut started = rig.start(&small().rx_queues(4).tx_queues(4).rss(RssConfig::new().table(&[2])));
    let counts = |rig: &mut Rig, started: &mut Started| spread(rig, started, 40).iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(counts(&mut rig, &mut started), [0, 0, 40, 0]);
    started.control.set_rss(&RssConfig::new().table(&[3, 1])).unwrap();
    let by_first_key = spread(&mut rig, &mut started, 40);
    let two: Vec<_> = by_first_key.iter().map(Vec::len).collect();
    assert!(two[0] == 0 && two[2] == 0 && two[1] > 0 && two[3] > 0, "{two:?}");
    started.control.set_rss(&RssConfig::new().table(&[3, 1]).key([7; 40])).unwrap();
    assert_ne!(spread(&mut rig, &mut started, 40), by_first_key, "another key");
    // Of types that are not asked for there is no hash, and such frames come to the first queue.
    started.control.set_rss(&RssConfig::new().table(&[3, 1]).types(RssTypes::TCP_IPV4)).unwrap();
    assert_eq!(counts(&mut rig, &mut started), [40, 0, 0, 0]);
    started.control.set_rss(&RssConfig::new().table(&[3, 1]).types(RssTypes::IPV4)).unwrap();
    let one = counts(&mut rig, &mut started);
    assert!(one[1] == 40 || one[3] == 40, "all of one address: {one:?}");
    drop(started);
    rig.assert_clean();
}

/// A device that refuses one spreads nothing any more: it is told the one before once more.
#[test]
fn what_the_device_refuses_leaves_it_as_it_was() {
    let mut rig = Rig::with(card());
    let mut started = rig.start(&small().rx_queues(4).tx_queues(4).rss(RssConfig::new().table(&[2])));
    rig.faults(|faults| faults.ctrl_refuse_after = Some((4, 0)));
    let error = started.control.set_rss(&RssConfig::new().table(&[1])).unwrap_err();
    assert_eq!(error.hardware(), Some(&HardwareError::CommandRefused { command: "VIRTIO_NET_CTRL_MQ_RSS_CONFIG", ack: 1 }));
    let counts: Vec<_> = spread(&mut rig, &mut started, 40).iter().map(Vec::len).collect();
    assert_eq!(counts, [0, 0, 40, 0]);
    assert_eq!(started.control.settings().rss().table_entries().map(|table| table[0]), Some(2), "and so it is remembered");
    drop(started);
    rig.assert_clean();
}

#[test]
fn a_table_that_names_a_queue_which_is_not_open_is_refused() {
    let rig = Rig::with(card());
    let mut started = rig.start(&small().rx_queues(2).tx_queues(2));
    let before = rig.model(|m| m.counters().commands);
    assert!(started.control.set_rss(&RssConfig::new().table(&[2])).is_err());
    assert!(started.control.set_rss(&RssConfig::new().table(&[0, 1, 0])).is_err());
    assert_eq!(rig.model(|m| m.counters().commands), before, "the device is not asked");
    drop(started);
    rig.assert_clean();
}

#[test]
fn a_device_without_it_says_so() {
    let rig = Rig::with(Options::new().pairs(4));
    let mut started = rig.start(&small().rx_queues(4).tx_queues(4));
    assert!(!started.control.info().used_caps.contains(Caps::RSS));
    assert!(!started.control.kernel().features().contains(Features::RSS));
    assert!(started.control.set_rss(&RssConfig::new()).is_err());
    drop(started);
    rig.assert_clean();
}

#[test]
fn limits_that_no_device_may_have_are_refused_by_name() {
    for (fault, what) in [(true, "rss_max_key_size is below 40"), (false, "rss_max_indirection_table_length is below 128")] {
        let rig = Rig::with(card());
        rig.faults(|faults| if fault { faults.rss_key_size = Some(39) } else { faults.rss_table = Some(127) });
        let error = rig.open().unwrap_err();
        assert!(matches!(error.hardware(), Some(HardwareError::DeviceConfig { what: told, .. }) if *told == what), "{error}");
    }
}
