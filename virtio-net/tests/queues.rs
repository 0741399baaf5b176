//! Stop and wake, exhaustion of the pool, queues that are dropped alive, threads.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::rig::{Audit, Rig, bytes_of, numbered, pool, small};
use driver_core::buf::Batch;
use driver_core::device::{DeviceState, NetDevice, NetDriver};
use driver_core::host::Clock;
use driver_core::queue::{GateConfig, QueueFault, RxQueue, TxQueue, TxState};
use sim::virtio_net::{VirtioNet as Model, VirtioNetOptions as Options};
use sim::wire::peer;
use sim::{HostClock, Iommu, SimDevice};
use virtio_net::{ErrorKind, Features};

#[test]
fn a_full_queue_stops_keeps_the_order_and_wakes_once() {
    let mut rig = Rig::new();
    let mut parts = rig.parts(&small().gate(GateConfig::default().stop_below(8).wake_at(40)));
    let woken = parts.count_wakes();
    rig.model(|m| m.hold_tx = true);
    let mut batch = Batch::new(200);
    for number in 0..200 {
        batch.push(parts.pool.frame_from(&numbered(number, 60)).unwrap()).unwrap();
    }
    assert_eq!(parts.tx.submit(&mut batch), TxState::Stopped);
    assert_eq!((batch.len(), parts.tx.pending()), (136, 64));
    rig.run_us(50);
    assert_eq!(parts.tx.reclaim(), 0);
    assert_eq!(parts.tx.submit(&mut batch), TxState::Stopped);
    assert_eq!(woken.load(Ordering::Relaxed), 0);
    rig.model(|m| m.hold_tx = false);
    let mut rounds = 0;
    while !batch.is_empty() {
        rig.run_us(20);
        parts.tx.reclaim();
        rounds += 1;
        assert_eq!(woken.load(Ordering::Relaxed), rounds);
        let state = parts.tx.submit(&mut batch);
        assert_eq!(state == TxState::Stopped, !batch.is_empty());
    }
    rig.run_us(20);
    assert_eq!(rig.arrived(), (0..200).map(|number| numbered(number, 60)).collect::<Vec<_>>());
    let counters = parts.tx.counters();
    assert_eq!((counters.stops, counters.wakes, counters.packets), (3, 3, 200));
    drop((parts, batch));
    rig.assert_clean();
}

#[test]
fn a_byte_limit_stops_and_wakes() {
    let mut rig = Rig::new();
    let gate = GateConfig::default().stop_below(2).wake_at(8).byte_limit(5_000);
    let mut parts = rig.parts(&small().gate(gate));
    let mut batch = Batch::new(20);
    for number in 0..20 {
        batch.push(parts.pool.frame_from(&numbered(number, 1000)).unwrap()).unwrap();
    }
    assert_eq!(parts.tx.submit(&mut batch), TxState::Stopped);
    assert_eq!(batch.len(), 14, "six frames are the first to be more than 5000 bytes");
    while !batch.is_empty() {
        rig.run_us(20);
        parts.tx.reclaim();
        let _ = parts.tx.submit(&mut batch);
    }
    rig.run_us(20);
    assert_eq!(rig.arrived().len(), 20);
    drop((parts, batch));
    rig.assert_clean();
}

#[test]
fn a_chain_waits_for_room_and_nothing_overtakes_it() {
    let mut rig = Rig::with(super::rig::without(virtio_net::Features::INDIRECT_DESC));
    let mut parts = rig.parts(&small());
    rig.model(|m| m.hold_tx = true);
    let mut batch = Batch::new(100);
    for number in 0..50 {
        batch.push(parts.pool.frame_from(&numbered(number, 60)).unwrap()).unwrap();
    }
    let mut long = parts.pool.frame_from(&numbered(50, 60)).unwrap();
    for _ in 0..20 {
        long.append(parts.pool.frame_from(&[7; 20]).unwrap());
    }
    batch.push(long).unwrap();
    batch.push(parts.pool.frame_from(&numbered(51, 60)).unwrap()).unwrap();
    assert_eq!(parts.tx.submit(&mut batch), TxState::Stopped);
    assert_eq!(batch.len(), 2);
    rig.model(|m| m.hold_tx = false);
    rig.run_us(50);
    parts.tx.reclaim();
    assert_eq!(parts.tx.submit(&mut batch), TxState::Running);
    rig.run_us(50);
    let arrived = rig.arrived();
    assert_eq!(arrived.len(), 52);
    assert_eq!((arrived[50].len(), &arrived[51]), (460, &numbered(51, 60)));
    drop((parts, batch));
    rig.assert_clean();
}

#[test]
fn an_empty_pool_stalls_the_queue_and_loses_nothing() {
    let mut rig = Rig::new();
    let pool = pool(&rig, 64 + 10);
    let mut parts = rig.parts(&small().pool(pool.clone()));
    let mut batch = Batch::new(64);
    for number in 0..30 {
        rig.send(&numbered(number, 60));
    }
    rig.run_us(20);
    // Each frame taken is replaced, and there are ten to replace with.
    assert_eq!(parts.rx.poll(&mut batch, 64), 10);
    assert_eq!(parts.rx.poll(&mut batch, 64), 0);
    assert!(parts.rx.counters().stalls >= 1);
    let mut seen = Vec::new();
    while seen.len() < 30 {
        let held = batch.len();
        seen.extend(batch.frames().iter().map(bytes_of));
        batch.clear();
        assert!(held > 0);
        parts.rx.poll(&mut batch, 64);
    }
    assert_eq!(seen, (0..30).map(|number| numbered(number, 60)).collect::<Vec<_>>());
    assert_eq!(parts.rx.fault(), None);
    drop((parts, batch));
    assert_eq!(pool.available(), 74);
    rig.assert_clean();
}

#[test]
fn queues_dropped_alive_keep_their_buffers_until_the_device_stopped() {
    let rig = Rig::new();
    let pool = pool(&rig, 256);
    let mut parts = rig.parts(&small().pool(pool.clone()));
    rig.model(|m| m.hold_tx = true);
    let frames: Vec<_> = (0..10).map(|k| numbered(k, 60)).collect();
    parts.send(&frames);
    rig.run_us(20);
    let mappings = rig.device.iommu().mappings();
    drop((parts.rx, parts.tx));
    // The card may still write to the receive buffers and read the frames.
    assert_eq!(pool.available(), 256 - 64 - 10);
    assert_eq!(rig.device.iommu().mappings(), mappings);
    rig.run_us(20);
    parts.control.stop().unwrap();
    assert_eq!(pool.available(), 256);
    assert!(rig.device.iommu().mappings() < mappings);
    drop(parts.control);
    rig.assert_clean();
}

#[test]
fn buffers_leak_where_the_device_does_not_confirm_its_reset() {
    let rig = Rig::new();
    let pool = pool(&rig, 256);
    let mut parts = rig.parts(&small().pool(pool.clone()));
    rig.faults(|faults| faults.reset_stuck = true);
    rig.device.set_has_reset(false);
    assert!(matches!(parts.control.stop().unwrap_err().kind(), ErrorKind::Wait(_)));
    assert_eq!(parts.rx.fault(), Some(QueueFault::Stopped));
    let mappings = rig.device.iommu().mappings();
    drop((parts.rx, parts.tx, parts.control, parts.pool));
    assert_eq!(pool.available(), 256 - 64);
    assert_eq!(rig.device.iommu().mappings(), mappings, "memory that the card may write to stays mapped");
    // The handle's end tries once more, in the middle of the reset that never ends.
    let again = rig.device.take_violations();
    assert!(
        !again.is_empty() && again.iter().all(|violation| violation.to_string().contains("a register was written during the reset")),
        "{again:?}"
    );
}

#[test]
fn a_device_that_does_not_confirm_its_reset_is_reset_by_its_host() {
    let rig = Rig::new();
    let pool = pool(&rig, 256);
    let mut parts = rig.parts(&small().pool(pool.clone()));
    rig.faults(|faults| faults.reset_stuck = true);
    drop(parts.tx);
    parts.control.stop().unwrap();
    drop((parts.rx, parts.control, parts.pool));
    assert_eq!(pool.available(), 256);
    rig.assert_clean();
}

#[test]
fn stop_is_confirmed_and_the_queues_know() {
    let rig = Rig::new();
    let pool = pool(&rig, 256);
    let mut parts = rig.parts(&small().pool(pool.clone()));
    parts.control.stop().unwrap();
    parts.control.stop().unwrap();
    assert_eq!(rig.model(|m| m.status()), 0);
    let mut batch = Batch::new(4);
    batch.push(pool.frame_from(&numbered(1, 60)).unwrap()).unwrap();
    assert_eq!(parts.tx.submit(&mut batch), TxState::Broken(QueueFault::Stopped));
    assert_eq!(parts.rx.poll(&mut batch, 4), 0);
    assert_eq!((parts.rx.fault(), parts.tx.fault()), (Some(QueueFault::Stopped), Some(QueueFault::Stopped)));
    assert!(!parts.control.link().up);
    assert!(matches!(parts.control.set_rx_mode(Default::default()).unwrap_err().kind(), ErrorKind::NotRunning(DeviceState::Stopped)));
    drop((parts, batch));
    assert_eq!(pool.available(), 256);
    rig.assert_clean();
}

#[test]
fn filters_take_what_they_should() {
    use driver_core::device::RxMode;
    use driver_core::ether::MacAddr;
    let rig = Rig::with(super::rig::without(Features::CTRL_VQ));
    let mut control = rig.start(&small()).control;
    let (unicast, group) = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([1, 0, 0x5e, 0, 0, 1]));
    let mut wanted = control.settings().clone();
    control.set_rx_mode(RxMode::all()).unwrap();
    control.set_unicast_filters(&[unicast]).unwrap();
    control.set_multicast_filters(&[group]).unwrap();
    wanted.set_rx_mode(RxMode::all());
    wanted.set_unicast(&[unicast]);
    wanted.set_multicast(&[group]);
    assert_eq!(control.settings(), &wanted);
    let error = control.set_unicast_filters(&[unicast, group]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Address { mac, wanted: "unicast" } if *mac == group), "{error}");
    let error = control.set_multicast_filters(&[unicast]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Address { mac, wanted: "multicast" } if *mac == unicast), "{error}");
    let own = control.mac();
    control.set_mac(own).unwrap();
    let error = control.set_mac(unicast).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{error}");
    assert!(
        error.to_string().starts_with("sim:virtio-net: setting its address: ") && error.to_string().contains("VIRTIO_NET_F_CTRL_MAC_ADDR"),
        "{error}"
    );
    assert_eq!((control.settings(), own), (&wanted, wanted.mac()), "what was refused is not remembered");
    control.stop().unwrap();
    let refused = [control.set_rx_mode(RxMode::empty()), control.set_unicast_filters(&[]), control.set_multicast_filters(&[])];
    assert!(refused.iter().all(|result| matches!(result, Err(error) if matches!(error.kind(), ErrorKind::NotRunning(DeviceState::Stopped)))));
    assert_eq!(control.settings(), &wanted);
    drop(control);
    rig.assert_clean();
}

#[test]
fn queues_on_threads_with_a_live_card() {
    const FRAMES: u32 = 20_000;
    let iommu = Iommu::new();
    let (a, b) = peer::pair(256);
    let clock: Arc<dyn Clock> = Arc::new(HostClock::new());
    let card = |name: &str, wire| SimDevice::new(name, Box::new(Model::new(Options::default())), Box::new(wire), iommu.clone());
    let (sender, receiver) = (card("sim:a", a), card("sim:b", b));
    let live = [sender.run(), receiver.run()];
    let audit = Audit::new();
    let open = |device: &SimDevice| audit.watch(virtio_net::open(device.function(), clock.clone()).unwrap()).start(&super::rig::any()).unwrap();
    let (mut from, mut to) = (open(&sender), open(&receiver));
    let mut tx = from.tx.remove(0);
    let pool = from.pool.clone();
    let sending = std::thread::spawn(move || {
        let mut batch = Batch::new(32);
        let mut next = 0;
        while next < FRAMES || !batch.is_empty() {
            while next < FRAMES && batch.room() > 0 {
                let Some(mut frame) = batch.take_empty(&pool) else { break };
                frame.put(100).unwrap().copy_from_slice(&numbered(next, 100));
                batch.push(frame).unwrap();
                next += 1;
            }
            match tx.submit(&mut batch) {
                TxState::Running => {}
                TxState::Stopped => std::thread::yield_now(),
                state => panic!("{state:?}"),
            }
        }
        while tx.pending() > 0 {
            tx.reclaim();
            std::thread::yield_now();
        }
        tx
    });
    let mut rx = to.rx.remove(0);
    let mut batch = Batch::new(64);
    let start = std::time::Instant::now();
    let (mut seen, mut expected) = (0, 0);
    // SAFETY: the model is asked and nothing more.
    let lost = || unsafe { receiver.with_model(|m: &mut Model| m.counters().dropped) }.unwrap();
    while seen + lost() < u64::from(FRAMES) && start.elapsed().as_secs() < 30 {
        if rx.poll(&mut batch, 64) == 0 {
            std::thread::yield_now();
        }
        for frame in batch.frames() {
            let number = u32::from_be_bytes(frame.data()[14..18].try_into().unwrap());
            assert!(number >= expected, "{number} after {expected}");
            assert_eq!(bytes_of(frame), numbered(number, 100));
            expected = number + 1;
            seen += 1;
        }
        batch.clear();
    }
    drop(sending.join().unwrap());
    assert_eq!(seen + lost(), u64::from(FRAMES));
    assert!(seen > 0);
    drop((rx, batch, from, to));
    for handle in live {
        handle.stop().unwrap();
    }
    for device in [sender, receiver] {
        assert_eq!(device.violations(), []);
    }
}

/// Servers of vfio-user take few mappings, and the IOMMU's memory is dear: what a start lends is the pool and one region of rings.
#[test]
fn the_rings_of_both_queues_share_one_mapping() {
    let rig = Rig::new();
    let before = rig.device.iommu().mappings();
    let parts = rig.parts(&super::rig::any().rx_ring(256).tx_ring(256));
    assert_eq!(rig.device.iommu().mappings() - before, 2);
    let pool_bytes = rig.device.iommu().mapping_bytes().into_iter().max().unwrap();
    let ring_bytes = rig.device.iommu().mapping_bytes().iter().sum::<u64>() - pool_bytes;
    // 2.7: descriptors of 16 bytes, 2 bytes a descriptor in the available ring and 8 in the used ring; a header of 12 bytes a descriptor beside them; and
    // indirect tables, of 32 descriptors each.
    let rings = 256 * (16 + 2 + 8);
    assert!((2 * rings..2 * rings + 256 * (12 + 32 * 16) + 8192).contains(&ring_bytes), "{ring_bytes} bytes");
    drop(parts);
    assert_eq!(rig.device.iommu().mappings(), before);
}
