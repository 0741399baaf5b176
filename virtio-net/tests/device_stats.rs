//! What the device counts by itself (VIRTIO_NET_F_DEVICE_STATS, virtio 1.4), beside what the queues count; and replies that are wrong.

use super::rig::{Parts, Rig, numbered, small, start_error};
use crate::packets::{self, Packet, TCP};
use driver_core::buf::Batch;
use driver_core::device::{Config, DeviceState, NetDevice};
use driver_core::queue::{TxQueue, TxState};
use sim::virtio_net::{Faults, RxChecksum, VirtioNetOptions as Options};
use virtio_net::HardwareError;

/// VIRTIO_NET_CTRL_STATS.
const CLASS: u8 = 8;

fn options() -> Options {
    Options::new().device_stats(true).rx_checksum(RxChecksum::Valid)
}

/// The counter of that name.
fn of(parts: &mut Parts, name: &str) -> u64 {
    let all = parts.control.xstats();
    all.iter().find(|xstat| xstat.name == name).unwrap_or_else(|| panic!("{name} is not among {all:?}")).value
}

fn send(rig: &Rig, parts: &mut Parts, count: u32, bytes: usize) {
    let mut batch = Batch::new(64);
    (0..count).for_each(|number| batch.push(parts.pool.frame_from(&numbered(number as _, bytes)).unwrap()).unwrap());
    assert_eq!(parts.tx.submit(&mut batch), TxState::Running);
    rig.run_us(200);
}

#[test]
fn counters_begin_with_the_start_and_go_on_behind_a_reset() {
    let mut rig = Rig::with(options());
    for _ in 0..2 {
        let mut parts = rig.parts(&small());
        assert_eq!(["rx_q0_device_packets", "tx_q0_device_bytes", "rx_q0_device_csum_valid"].map(|name| of(&mut parts, name)), [0; 3]);
        for round in 1..=2 {
            (0..5).for_each(|number| rig.send(&numbered(number, 100)));
            rig.run_us(100);
            assert_eq!(parts.receive().len(), 5);
            send(&rig, &mut parts, 3, 60);
            let names = [
                "rx_q0_device_packets",
                "rx_q0_device_bytes",
                "rx_q0_device_csum_valid",
                "tx_q0_device_packets",
                "tx_q0_device_bytes",
                "rx_q0_packets",
            ];
            assert_eq!(names.map(|name| of(&mut parts, name)), [5, 500, 5, 3, 180, 5].map(|count| count * round), "{names:?}");
            super::recovers::recovers_from_needs_reset(&rig, &mut parts);
        }
        assert_eq!(of(&mut parts, "device_stats_errors"), 0);
        drop(parts);
    }
    rig.assert_clean();
}

#[test]
fn frames_that_found_no_buffer_are_missed() {
    let mut rig = Rig::with(options());
    let mut parts = rig.parts(&small());
    (0..70).for_each(|number| rig.send(&numbered(number, 60)));
    rig.run_us(500);
    let stats = parts.control.stats();
    assert_eq!((stats.rx_missed_errors, stats.uncounted.contains(&"rx_missed_errors")), (6, false), "of 70 with 64 buffers");
    assert_eq!((of(&mut parts, "rx_q0_device_drops"), of(&mut parts, "rx_q0_device_drop_overruns")), (6, 6));
    parts.receive();
    drop(parts);
    rig.assert_clean();
    let rig = Rig::new();
    let mut parts = rig.parts(&small());
    assert!(parts.control.stats().uncounted.contains(&"rx_missed_errors"));
    assert!(parts.control.xstats().iter().all(|xstat| !xstat.name.contains("device")));
    drop(parts);
    rig.assert_clean();
}

#[test]
fn segments_checksums_commands_and_every_queue_are_told() {
    let mut rig = Rig::with(options().segmentation(true).large_receive(true).pairs(4).rss(true));
    let mut started = rig.start(&Config::new().rx_queues(3).tx_queues(2).rx_ring(64).tx_ring(64).rx_coalescing(true));
    let packet = Packet::new(TCP, false, 3000);
    let mut frame = packet.in_pieces(&packets::pool(), packet.header_bytes(), 2048);
    let mut batch = Batch::new(8);
    frame.set_segmentation(Some(packet.cut(1000)));
    batch.push(frame).unwrap();
    assert_eq!(started.tx[1].submit(&mut batch), TxState::Running);
    rig.run_us(200);
    assert_eq!(rig.arrived().len(), 3);
    let all = started.control.xstats();
    let of = |name: &str| all.iter().find(|xstat| xstat.name == name).map(|xstat| xstat.value);
    let names = [
        "gso_packets",
        "gso_bytes",
        "gso_segments",
        "gso_segments_bytes",
        "gso_packets_noseg",
        "needs_csum",
        "packets",
        "packets_allowance_exceeded",
    ];
    assert_eq!(names.map(|name| of(&format!("tx_q1_device_{name}")).unwrap()), [1, 3054, 3, 3 * 1054, 0, 1, 3, 0]);
    assert_eq!(of("tx_q0_device_gso_packets"), Some(0));
    assert!(of("rx_q2_device_gso_bytes_coalesced").is_some() && of("rx_q3_device_packets").is_none() && of("tx_q2_device_packets").is_none());
    // Those for three and two queues, of which the last was asked about the control queue itself.
    assert_eq!((of("ctrl_device_commands"), of("ctrl_device_commands_ok")), (Some(6), Some(6)));
    drop((started, batch));
    rig.assert_clean();
}

type Lie = fn(&mut Faults);

/// What is said of a receive queue's first kind of statistics is wrong, or there is more or less than that.
const LIES: [Lie; 9] = [
    |faults| faults.stats_byte = Some((0, 9)),
    |faults| faults.stats_byte = Some((0, 1)),
    |faults| faults.stats_byte = Some((2, 1)),
    |faults| faults.stats_byte = Some((3, 0x80)),
    |faults| faults.stats_byte = Some((6, 0)),
    |faults| faults.stats_byte = Some((6, 55)),
    |faults| faults.stats_byte = Some((7, 0xff)),
    |faults| faults.stats_bytes = Some(30),
    |faults| faults.stats_bytes = Some(60),
];

#[test]
fn a_reply_that_is_wrong_changes_nothing_and_is_counted() {
    for lie in LIES.into_iter().chain([
        (|faults: &mut Faults| faults.ctrl_len = Some(0)) as Lie,
        |faults| faults.ctrl_len = Some(1),
        |faults| faults.ctrl_len = Some(57),
        |faults| faults.ctrl_len = Some(u32::MAX),
        |faults| faults.ctrl_refuse_after = Some((CLASS, 0)),
    ]) {
        let mut rig = Rig::with(options());
        let mut parts = rig.parts(&small());
        rig.send(&numbered(1, 60));
        rig.run_us(100);
        assert_eq!(of(&mut parts, "rx_q0_device_packets"), 1);
        rig.send(&numbered(2, 60));
        rig.run_us(100);
        rig.faults(lie);
        assert_eq!(of(&mut parts, "rx_q0_device_packets"), 1);
        rig.faults(|faults| (faults.stats_byte, faults.stats_bytes) = (None, None));
        assert_eq!((of(&mut parts, "rx_q0_device_packets"), of(&mut parts, "device_stats_errors")), (2, 1), "the next is good");
        assert_eq!(parts.control.state(), DeviceState::Running);
        assert_eq!(parts.receive().len(), 2);
        drop(parts);
        rig.assert_clean();
    }
}

#[test]
fn a_device_whose_statistics_make_no_sense_at_the_start_is_refused_by_name() {
    for (index, lie) in LIES.into_iter().enumerate() {
        let rig = Rig::with(options());
        let device = rig.open().unwrap();
        rig.faults(lie);
        let error = start_error(device, &small());
        let text = error.to_string();
        assert!(text.contains("its statistics of queue 0 make no sense"), "{index}: {text}");
        assert!(matches!(error.error().hardware(), Some(HardwareError::Statistics { queue: 0, .. })), "{index}: {text}");
    }
}

#[test]
fn an_answer_that_never_comes_is_a_stuck_control_queue() {
    let rig = Rig::with(options());
    let mut parts = rig.parts(&small());
    rig.faults(|faults| faults.ctrl_silent = true);
    assert_eq!(of(&mut parts, "device_stats_errors"), 1);
    assert_eq!(of(&mut parts, "device_stats_errors"), 1, "it is not asked again");
    rig.faults(|faults| faults.ctrl_silent = false);
    drop(parts);
    rig.assert_clean();
}
