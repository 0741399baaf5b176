//! VIRTIO_NET_F_HASH_REPORT: received frames tell the hash of their flow, as software computes it, behind a header of 20 bytes in both directions.

use super::rig::{Rig, Started, bytes_of, numbered, small, start_error};
use driver_core::buf::{Batch, BufPool, Checksum, PoolConfig, Rss, RssKind};
use driver_core::device::{Caps, Config, ConfigError, ErrorKind, NetDevice, RssConfig};
use driver_core::offload::{FlowTuple, RssTypes};
use driver_core::queue::{RxQueue, TxQueue, TxState};
use sim::virtio_net::{RxChecksum, VirtioNetOptions as Options};
use sim::{Mishap, Model as _};
use virtio_net::{Features, HardwareError};

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;

/// A packet of `len` payload bytes to everybody.
fn packet(is_v6: bool, protocol: u8, from: u16, len: usize) -> Vec<u8> {
    let mut bytes = vec![0xff; 6];
    bytes.extend([2, 0, 0, 0, 0, 9]);
    let total = (20 + len) as u16;
    if is_v6 {
        bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        bytes.extend(total.to_be_bytes());
        bytes.extend([protocol, 64]);
        bytes.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        bytes.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    } else {
        bytes.extend([8, 0, 0x45, 0]);
        bytes.extend((20 + total).to_be_bytes());
        bytes.extend([0, 0, 0x40, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    }
    bytes.extend(from.to_be_bytes());
    bytes.extend([0, 80]);
    // Of a TCP header, its length; of a UDP header, the length and no checksum.
    match protocol {
        UDP => bytes.extend([&total.to_be_bytes()[..], &[0; 14]].concat()),
        _ => bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x10, 1, 0, 0, 0, 0, 0]),
    }
    bytes.extend((0..len).map(|k| k as u8 ^ from as u8));
    bytes
}

/// One of each kind of frame, the last without a flow.
fn kinds(from: u16) -> Vec<Vec<u8>> {
    let mut all: Vec<_> = [false, true].iter().flat_map(|&is_v6| [TCP, UDP, ICMP].map(|protocol| packet(is_v6, protocol, from, 20))).collect();
    all.push(numbered(from.into(), 60));
    all
}

fn hashing() -> Options {
    Options::new().hash_report(true)
}

fn config() -> Config {
    small().rx_hash(true)
}

/// What came on any queue: its bytes, what it tells, and what software says of it.
fn came(rig: &Rig, started: &mut Started) -> Vec<(Vec<u8>, Option<Rss>, Option<Rss>)> {
    rig.run_us(100);
    let rss = started.control.settings().rss().clone();
    let types = rss.hash_types().unwrap_or(started.control.info().rss.types);
    let mut batch = Batch::new(64);
    let mut all = Vec::new();
    for queue in &mut started.rx {
        while queue.poll(&mut batch, 64) > 0 {
            let said = |frame| FlowTuple::of(frame).and_then(|flow| flow.hash(rss.key_bytes(), types));
            all.extend(batch.frames().iter().map(|frame| (bytes_of(frame), frame.rss(), said(frame))));
            batch.clear();
        }
    }
    all
}

/// Frames of all kinds come alone, and in bursts of which blocks are made. Returns what kinds were told of one of each.
fn tell(rig: &mut Rig, started: &mut Started) -> Vec<Option<RssKind>> {
    let mut told = Vec::new();
    for (flow, frame) in kinds(1).into_iter().enumerate() {
        rig.send(&frame);
        let alone = came(rig, started);
        let [(bytes, found, expected)] = alone.as_slice() else { panic!("{} frames", alone.len()) };
        assert_eq!((bytes, found), (&frame, expected), "kind {flow}");
        told.push(found.map(|rss| rss.kind));
    }
    for (kind, told) in told.iter().enumerate() {
        for flow in 0..40 {
            rig.send(&kinds(flow)[kind]);
        }
        let burst = came(rig, started);
        assert_eq!(burst.len(), 40);
        assert!(burst.iter().all(|(_, found, expected)| found == expected), "kind {kind}");
        assert!(burst.iter().all(|(_, found, _)| found.map(|rss| rss.kind) == *told));
    }
    for flow in 0..5 {
        kinds(flow).iter().for_each(|frame| rig.send(frame));
    }
    let mixed = came(rig, started);
    assert!(mixed.len() == 35 && mixed.iter().all(|(_, found, expected)| found == expected));
    told
}

const ALL_TOLD: [Option<RssKind>; 7] =
    [Some(RssKind::Tcp), Some(RssKind::Udp), Some(RssKind::Ip), Some(RssKind::Tcp), Some(RssKind::Udp), Some(RssKind::Ip), None];

#[test]
fn frames_on_one_queue_tell_their_hash() {
    let mut rig = Rig::with(hashing());
    let mut started = rig.start(&config());
    let info = started.control.info();
    assert!(info.used_caps.contains(Caps::RX_HASH) && !info.used_caps.contains(Caps::RSS));
    assert!(started.control.kernel().features().contains(Features::HASH_REPORT));
    assert_eq!(tell(&mut rig, &mut started), ALL_TOLD);
    drop(started);
    rig.assert_clean();
}

#[test]
fn frames_tell_the_hash_that_spreads_them() {
    let mut rig = Rig::with(hashing().pairs(4).rss(true));
    let mut started = rig.start(&config().rx_queues(4).tx_queues(4));
    assert_eq!(tell(&mut rig, &mut started), ALL_TOLD);
    let rss = started.control.settings().rss().clone();
    (0..40).for_each(|flow| rig.send(&packet(false, UDP, flow, 20)));
    rig.run_us(100);
    let mut batch = Batch::new(64);
    for (k, queue) in (0..).zip(&mut started.rx) {
        assert!(queue.poll(&mut batch, 64) > 0);
        assert!(batch.frames().iter().all(|frame| rss.queue_of(frame.rss().unwrap().hash) == Some(k)));
        batch.clear();
    }
    drop(started);
    rig.assert_clean();
}

#[test]
fn frames_tell_it_where_the_device_steers_by_itself() {
    let mut rig = Rig::with(hashing().pairs(2));
    let mut started = rig.start(&config().rx_queues(2).tx_queues(2));
    assert_eq!(tell(&mut rig, &mut started), ALL_TOLD);
    drop(started);
    rig.assert_clean();
}

#[test]
fn with_one_queue_of_a_device_that_spreads_the_command_is_that_of_rss() {
    let mut rig = Rig::with(hashing().pairs(4).rss(true));
    let mut started = rig.start(&config());
    assert_eq!(tell(&mut rig, &mut started), ALL_TOLD);
    drop(started);
    rig.assert_clean();
}

#[test]
fn nobody_pays_for_it_who_does_not_ask() {
    let mut rig = Rig::with(hashing().pairs(4).rss(true));
    let mut started = rig.start(&small().rx_queues(4).tx_queues(4));
    assert!(!started.control.kernel().features().contains(Features::HASH_REPORT));
    assert!(started.control.info().unused_caps().contains(Caps::RX_HASH));
    rig.send(&packet(false, UDP, 1, 20));
    let [(_, found, Some(_))] = came(&rig, &mut started)[..] else { panic!("one frame") };
    assert_eq!(found, None);
    drop(started);
    rig.assert_clean();
}

#[test]
fn a_device_without_it_tells_nothing_and_says_so() {
    let rig = Rig::new();
    let mut started = rig.start(&config());
    assert!(!started.control.info().caps.contains(Caps::RX_HASH));
    assert!(started.control.set_rss(&RssConfig::new()).is_err());
    drop(started);
    rig.assert_clean();
}

#[test]
fn key_and_types_are_set_while_it_runs() {
    let mut rig = Rig::with(hashing());
    let mut started = rig.start(&config().rss(RssConfig::new().types(RssTypes::IPV4)));
    let ip = Some(RssKind::Ip);
    assert_eq!(tell(&mut rig, &mut started), [ip, ip, ip, None, None, None, None]);
    started.control.set_rss(&RssConfig::new().key([7; 40])).unwrap();
    assert_eq!(tell(&mut rig, &mut started), ALL_TOLD, "by another key");
    drop(started);
    rig.assert_clean();
}

/// A command that is refused switches hashes off: the device is told the last one that it took once more.
#[test]
fn what_the_device_refuses_leaves_the_hash_as_it_was() {
    for (options, command) in [(hashing(), "VIRTIO_NET_CTRL_MQ_HASH_CONFIG"), (hashing().pairs(4).rss(true), "VIRTIO_NET_CTRL_MQ_RSS_CONFIG")] {
        let mut rig = Rig::with(options);
        let mut started = rig.start(&config());
        rig.faults(|faults| faults.ctrl_refuse_after = Some((4, 0)));
        let error = started.control.set_rss(&RssConfig::new().key([7; 40])).unwrap_err();
        assert_eq!(error.hardware(), Some(&HardwareError::CommandRefused { command, ack: 1 }));
        assert_eq!(started.control.settings().rss().key_bytes(), RssConfig::new().key_bytes());
        assert_eq!(tell(&mut rig, &mut started), ALL_TOLD, "by the key before");
        drop(started);
        rig.assert_clean();
    }
}

#[test]
fn a_frame_in_several_buffers_tells_its_hash() {
    let mut rig = Rig::with(hashing());
    let mut started = rig.start(&config().mtu(9000));
    for flow in 0..15 {
        rig.send(&packet(false, TCP, flow, 8000));
    }
    let all = came(&rig, &mut started);
    assert_eq!(all.len(), 15);
    for (flow, (bytes, found, expected)) in (0..).zip(&all) {
        assert_eq!((bytes, found), (&packet(false, TCP, flow, 8000), expected));
        assert_eq!(found.map(|rss| rss.kind), Some(RssKind::Tcp));
    }
    drop(started);
    rig.assert_clean();
}

#[test]
fn what_is_told_of_the_checksum_stays_beside_the_hash() {
    let mut rig = Rig::with(hashing());
    let mut started = rig.start(&config());
    let mut batch = Batch::new(16);
    for (said, expected) in
        [(RxChecksum::Valid, Checksum::Good), (RxChecksum::Partial { start: 34, offset: 16 }, Checksum::Partial { start: 34, offset: 16 })]
    {
        rig.model(|model| model.rx_checksum = said);
        (0..9).for_each(|flow| rig.send(&packet(false, TCP, flow, 20)));
        rig.run_us(100);
        assert_eq!(started.rx[0].poll(&mut batch, 16), 9);
        for (flow, frame) in (0..).zip(batch.frames()) {
            let tuple = FlowTuple::v4([10, 0, 0, 1].into(), [10, 0, 0, 2].into()).tcp(flow, 80);
            assert_eq!((frame.checksum(), frame.rss()), (expected, tuple.hash(RssConfig::new().key_bytes(), RssTypes::all())));
        }
        batch.clear();
    }
    drop((started, batch));
    rig.assert_clean();
}

/// A report that there is not tells of no hash.
#[test]
fn a_report_that_there_is_not_tells_nothing() {
    let mut rig = Rig::with(hashing());
    let mut started = rig.start(&config());
    for report in [10, 15, 16, 0xff] {
        rig.faults(|faults| faults.hash_report = Some(report));
        rig.send(&packet(false, UDP, 1, 20));
        let [(_, None, Some(_))] = came(&rig, &mut started)[..] else { panic!("report {report}") };
    }
    drop(started);
    rig.assert_clean();
}

/// What is sent has the longer header too: alone, in bursts, in several buffers, with a checksum to be filled in, and where the headroom has no room for it.
#[test]
fn frames_that_are_sent_arrive_whole() {
    let mut rig = Rig::with(hashing());
    let mut started = rig.start(&config());
    let mut batch = Batch::new(32);
    let mut sent = Vec::new();
    for count in [1, 9, 32] {
        for number in 0..count {
            sent.push(numbered(number, 60 + number as usize));
            batch.push(started.pool.frame_from(sent.last().unwrap()).unwrap()).unwrap();
        }
        assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
        rig.run_us(50);
    }
    let headroom = started.pool.headroom_bytes() as usize;
    for left in [0, 12, 19, 20] {
        let mut frame = started.pool.frame_from(&numbered(left as u32, 60)).unwrap();
        frame.push(headroom - left).unwrap().fill(left as u8);
        frame.append(started.pool.frame_from(&[5; 100]).unwrap());
        sent.push(bytes_of(&frame));
        batch.push(frame).unwrap();
    }
    let mut asks = started.pool.frame_from(&packet(false, TCP, 3, 21)).unwrap();
    asks.set_checksum(Checksum::Partial { start: 34, offset: 16 });
    let mut filled = started.pool.frame_from(&packet(false, TCP, 3, 21)).unwrap();
    filled.set_checksum(Checksum::Partial { start: 34, offset: 16 });
    filled.fill_in_checksum().unwrap();
    sent.push(bytes_of(&filled));
    batch.push(asks).unwrap();
    assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
    rig.run_us(50);
    assert_eq!(rig.arrived(), sent);
    drop((started, batch, filled));
    rig.assert_clean();
}

#[test]
fn a_device_that_was_reset_tells_it_again() {
    let mut rig = Rig::with(hashing());
    let mut started = rig.start(&config());
    started.control.set_rss(&RssConfig::new().key([9; 40])).unwrap();
    assert!(rig.model(|model| model.suffer(Mishap::NeedsReset)));
    let mut batch = Batch::new(64);
    for _ in 0..100 {
        started.control.watch();
        rig.run_us(10_000);
        started.rx[0].poll(&mut batch, 64);
        started.tx[0].reclaim();
        if started.control.recovered().is_some() {
            break;
        }
    }
    assert_eq!(tell(&mut rig, &mut started), ALL_TOLD, "by the key that was set");
    drop((started, batch));
    rig.assert_clean();
}

#[test]
fn buffers_without_room_for_the_longer_header_are_refused_by_name() {
    let mut rig = Rig::with(hashing());
    let short = BufPool::new(&rig.domain(), PoolConfig::new(1024).headroom_bytes(0)).unwrap();
    let error = start_error(rig.open().unwrap(), &config().pool(short));
    let ErrorKind::Config(ConfigError::PoolHeadroom { headroom_bytes: 0, min_bytes: 20 }) = error.error().kind() else { panic!("{error}") };
    drop(error);
    let mut started = rig.start(&config());
    assert_eq!(tell(&mut rig, &mut started), ALL_TOLD);
    drop(started);
    rig.assert_clean();
}
