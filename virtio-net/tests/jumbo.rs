//! Received frames in several buffers (VIRTIO_NET_F_MRG_RXBUF), and frames longer than they may be.

use super::rig::{Rig, bytes_of, numbered, pool, small, start_error, without};
use driver_core::buf::{Batch, BufPool, PoolConfig};
use driver_core::device::{Caps, ConfigError, ErrorKind, NetDevice, Offloads};
use driver_core::queue::{RxQueue, TxQueue, TxState};
use sim::virtio_net::{RxChecksum, VirtioNetOptions as Options};
use virtio_net::Features;

#[test]
fn an_mtu_of_9000_over_buffers_of_2_kb() {
    let mut rig = Rig::new();
    let pool = BufPool::new(&rig.domain(), PoolConfig::new(512)).unwrap();
    let mut parts = rig.parts(&small().mtu(9000).pool(pool.clone()));
    let mut batch = Batch::new(16);
    // Around every number of buffers: the first holds 2048 bytes, each further one 2060.
    let lens = [60, 2047, 2048, 2049, 2060, 2061, 4108, 4109, 4120, 6168, 6169, 8228, 8229, 9014, 9018];
    for (number, &len) in (0..).zip(lens.iter().cycle().take(150)) {
        let mut frame = numbered(number, len);
        if len > 9014 {
            // Only a VLAN header makes a frame longer than the MTU and its header.
            frame[12..14].copy_from_slice(&[0x81, 0x00]);
        }
        rig.send(&frame);
        rig.run_us(20);
        // A budget of one frame is enough, however many buffers it has.
        assert_eq!(parts.rx.poll(&mut batch, 1), 1);
        assert_eq!(bytes_of(&batch.frames()[0]), frame);
        assert_eq!(batch.frames()[0].segments().count(), 1 + (len.max(2048) - 2048).div_ceil(2060));
        assert_eq!(parts.tx.submit(&mut batch), TxState::Running);
        rig.run_us(20);
        assert_eq!(rig.arrived(), [frame]);
    }
    assert!(rig.model(|m| m.counters().merged) > 100);
    drop((parts, batch));
    assert_eq!(pool.available(), 512);
    rig.assert_clean();
}

#[test]
fn many_long_frames_at_once_are_taken_by_a_small_batch() {
    let mut rig = Rig::new();
    let mut parts = rig.parts(&super::rig::any().mtu(9000));
    let frames: Vec<_> = (0..40).map(|number| numbered(number, 9000)).collect();
    frames.iter().for_each(|frame| rig.send(frame));
    rig.run_us(100);
    let mut batch = Batch::new(40);
    assert_eq!(parts.rx.poll(&mut batch, 40), 40);
    assert_eq!(batch.frames().iter().map(bytes_of).collect::<Vec<_>>(), frames);
    drop((parts, batch));
    rig.assert_clean();
}

#[test]
fn a_frame_longer_than_the_mtu_is_counted_and_dropped() {
    let mut rig = Rig::new();
    let pool = BufPool::new(&rig.domain(), PoolConfig::new(512)).unwrap();
    let mut parts = rig.parts(&small().pool(pool.clone()));
    for len in [1519, 2048, 5000, 9018] {
        rig.send(&numbered(0, len));
        rig.send(&numbered(1, 1518));
        rig.run_us(20);
        assert_eq!(parts.receive(), [numbered(1, 1518)]);
    }
    assert_eq!((parts.control.stats().rx_length_errors, parts.rx.counters().errors, parts.rx.fault()), (4, 4, None));
    drop(parts);
    assert_eq!(pool.available(), 512);
    rig.assert_clean();
}

#[test]
fn without_merging_one_large_buffer_holds_the_frame() {
    let mut rig = Rig::with(without(Features::MRG_RXBUF));
    let mut parts = rig.parts(&small().mtu(9000));
    for len in [60, 2048, 9018] {
        rig.send(&numbered(3, len));
        rig.run_us(20);
        assert_eq!(parts.receive(), [numbered(3, len)]);
    }
    assert_eq!(rig.model(|m| m.counters().merged), 0);
    drop(parts);
    rig.assert_clean();
}

#[test]
fn a_merged_frame_keeps_what_its_header_says() {
    let mut rig = Rig::with(Options::default());
    let mut parts = rig.parts(&small().mtu(9000));
    rig.model(|m| m.rx_checksum = RxChecksum::Valid);
    rig.send(&numbered(1, 5000));
    rig.run_us(20);
    let mut batch = Batch::new(4);
    assert_eq!(parts.rx.poll(&mut batch, 4), 1);
    assert_eq!(batch.frames()[0].checksum(), driver_core::buf::Checksum::Good);
    drop((parts, batch));
    rig.assert_clean();
}

#[test]
fn frames_lie_in_one_buffer_where_spreading_is_switched_off() {
    let whole = small().mtu(9000).offloads(Offloads::all() - Offloads::RX_SCATTER);
    let mut rig = Rig::new();
    let mut parts = rig.parts(&whole);
    assert!(parts.pool.data_bytes() >= 9018 && !parts.control.info().used_caps.contains(Caps::RX_SCATTER));
    assert!(!parts.control.kernel().features().contains(Features::MRG_RXBUF));
    let mut batch = Batch::new(4);
    rig.send(&numbered(1, 9014));
    rig.run_us(20);
    assert_eq!(parts.rx.poll(&mut batch, 4), 1);
    assert!(batch.frames()[0].is_linear() && batch.frames()[0].data() == numbered(1, 9014));
    drop((parts, batch));
    rig.assert_clean();
    let error = start_error(rig.open().unwrap(), &whole.pool(pool(&rig, 512)));
    let small = ConfigError::PoolBuffers { buffer_bytes: 2048, min_bytes: 9018 };
    assert!(matches!(error.error().kind(), ErrorKind::Config(found) if *found == small), "{error}");
}
