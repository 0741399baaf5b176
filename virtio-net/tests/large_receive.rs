//! Received segments that the device put together (VIRTIO_NET_F_GUEST_TSO4, TSO6, ECN, USO4, USO6).

use super::rig::{Parts, Rig, bytes_of, numbered, small};
use crate::packets::{Packet, TCP, UDP, cut_by_software};
use driver_core::buf::{Batch, BufPool, Checksum, PoolConfig};
use driver_core::device::{Caps, Config, NetDevice, Offloads, RxMode};
use driver_core::queue::{RxQueue, TxQueue, TxState};
use proptest::prelude::*;
use sim::virtio_net::{Faults, VirtioNetOptions as Options};
use virtio_net::Features;

/// TCP's flags, from the start of its header, and CWR among them (RFC 3168).
const FLAGS: usize = 13;
const CWR: u8 = 0x80;
const LARGE: Features =
    Features::GUEST_TSO4.union(Features::GUEST_TSO6).union(Features::GUEST_ECN).union(Features::GUEST_USO4).union(Features::GUEST_USO6);

fn options() -> Options {
    Options::new().segmentation(true).large_receive(true)
}

fn large() -> Config {
    small().rx_coalescing(true)
}

/// The segments of a packet, as a device that cuts would send them.
fn segments(packet: &Packet, mss: u16, flags: Option<u8>) -> Vec<Vec<u8>> {
    let mut frame = packet.in_pieces(&crate::packets::pool(), packet.header_bytes(), 2048);
    if let Some(flags) = flags {
        frame.data_mut()[packet.l4_at() + FLAGS] = flags;
    }
    frame.set_segmentation(Some(packet.cut(mss)));
    cut_by_software(&frame)
}

fn receive(rig: &mut Rig, parts: &mut Parts, frames: &[Vec<u8>]) -> Batch {
    frames.iter().for_each(|frame| rig.send(frame));
    rig.run_us(200);
    let mut batch = Batch::new(64);
    parts.rx.poll(&mut batch, 64);
    batch
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.min(48), failure_persistence: None, ..ProptestConfig::default() })]

    /// TCP and UDP over IPv4 and IPv6: one frame comes up that says how it is cut again, and sent on it leaves as it came.
    #[test]
    fn segments_come_up_as_one_frame_and_leave_as_they_came(
        is_tcp: bool,
        is_ipv6: bool,
        tcp_options in 0usize..11,
        mss in 500u16..1380,
        count in 2usize..30,
        short in 0usize..400,
        has_ecn: bool,
    ) {
        let protocol = if is_tcp { TCP } else { UDP };
        let packet = Packet { tcp_options, ..Packet::new(protocol, is_ipv6, usize::from(mss) * count - short) };
        let mut rig = Rig::with(options());
        let mut parts = rig.parts(&large());
        let sent = segments(&packet, mss, (is_tcp && has_ecn).then_some(0x18 | CWR));
        let mut batch = receive(&mut rig, &mut parts, &sent);
        prop_assert_eq!(batch.len(), 1);
        let frame = &batch.frames()[0];
        prop_assert_eq!(frame.coalesced(), Some(count as u16));
        prop_assert_eq!(frame.segmentation(), Some(packet.cut(mss)));
        prop_assert_eq!(frame.checksum(), packet.partial());
        prop_assert_eq!(&bytes_of(frame)[packet.header_bytes()..], &packet.payload[..]);
        prop_assert_eq!((parts.rx.counters().packets, parts.rx.counters().coalesced), (1, count as u64 - 1));
        prop_assert_eq!(parts.tx.submit(&mut batch), TxState::Running);
        rig.run_us(200);
        prop_assert!(rig.arrived() == sent);
        drop((parts, batch));
        rig.assert_clean();
    }
}

/// Buffers of 2 KiB and of 16, up to the longest packet that IP describes.
#[test]
fn the_longest_packet_comes_up() {
    for (is_ipv6, headers) in [(false, 40), (true, 60)] {
        for data_bytes in [2048, 16_384] {
            let mut rig = Rig::with(options());
            let pool = BufPool::new(&rig.domain(), PoolConfig::new(256).data_bytes(data_bytes)).unwrap();
            let mut parts = rig.parts(&large().pool(pool.clone()));
            let packet = Packet::new(TCP, is_ipv6, 65_535 - headers);
            let batch = receive(&mut rig, &mut parts, &segments(&packet, 1400, None));
            assert_eq!((batch.len(), batch.frames()[0].len()), (1, 65_549));
            assert_eq!(&bytes_of(&batch.frames()[0])[packet.header_bytes()..], &packet.payload[..]);
            drop((parts, batch));
            assert_eq!(pool.available(), 256);
            rig.assert_clean();
        }
    }
}

/// A frame between segments, and one that is none, come as they are and in their places.
#[test]
fn other_frames_stay_between() {
    let mut rig = Rig::with(options());
    let mut parts = rig.parts(&large());
    let first = segments(&Packet::new(TCP, false, 3000), 1000, Some(0x10));
    let mut sent = vec![numbered(1, 60)];
    sent.extend(first.clone());
    sent.extend([numbered(2, 1514), first[0].clone(), numbered(3, 60)]);
    let batch = receive(&mut rig, &mut parts, &sent);
    let seen: Vec<_> = batch.frames().iter().map(|frame| (frame.len(), frame.coalesced())).collect();
    assert_eq!(seen, [(60, None), (3054, Some(3)), (1514, None), (1054, None), (60, None)]);
    assert_eq!(bytes_of(&batch.frames()[3]), first[0], "a segment alone is a frame as any");
    assert!(batch.frames()[3].segmentation().is_none());
    drop((parts, batch));
    rig.assert_clean();
}

/// What the device does not offer, or cannot do without, it is not asked for: segments come one by one.
#[test]
fn what_is_not_asked_for_is_not_done() {
    let scatter = Offloads::all() - Offloads::RX_SCATTER;
    let sums = Offloads::all() - Offloads::RX_CHECKSUM;
    let table = [
        (options(), small()),
        (options().large_receive(false), large()),
        (options().without(Features::MRG_RXBUF.bits()), large()),
        (options().without(Features::GUEST_CSUM.bits()), large()),
        (options(), large().offloads(scatter)),
        (options(), large().offloads(sums)),
        // 32 buffers of 2 KiB hold all but 26 bytes of a large frame and its header.
        (options(), large().rx_ring(32)),
    ];
    for (index, (options, config)) in table.into_iter().enumerate() {
        let mut rig = Rig::with(options);
        let mut parts = rig.parts(&config);
        assert_eq!(parts.control.kernel().features() & LARGE, Features::empty(), "{index}");
        assert!(!parts.control.info().used_caps.contains(Caps::RX_COALESCING), "{index}");
        let sent = segments(&Packet::new(TCP, false, 3000), 1000, None);
        let batch = receive(&mut rig, &mut parts, &sent);
        assert_eq!(batch.frames().iter().map(bytes_of).collect::<Vec<_>>(), sent, "{index}");
        assert!(batch.frames().iter().all(|frame| frame.coalesced().is_none() && frame.segmentation().is_none()));
        drop((parts, batch));
        rig.assert_clean();
    }
}

/// Of each kind that the device does not offer segments come one by one, and of the others not.
#[test]
fn each_kind_is_taken_by_itself() {
    let kinds = [
        (Features::GUEST_TSO4, TCP, false, 0x18),
        (Features::GUEST_TSO6, TCP, true, 0x18),
        (Features::GUEST_USO4, UDP, false, 0),
        (Features::GUEST_USO6, UDP, true, 0),
        (Features::GUEST_ECN, TCP, true, 0x18 | CWR),
    ];
    for (missing, ..) in kinds {
        let mut rig = Rig::with(options().without(missing.bits()));
        let mut parts = rig.parts(&large());
        assert_eq!(parts.control.kernel().features() & LARGE, LARGE - missing);
        assert!(parts.control.info().used_caps.contains(Caps::RX_COALESCING));
        for (feature, protocol, is_ipv6, flags) in kinds {
            let sent = segments(&Packet::new(protocol, is_ipv6, 3000), 1000, (protocol == TCP).then_some(flags));
            let batch = receive(&mut rig, &mut parts, &sent);
            let is_off = feature == missing || missing == Features::GUEST_TSO6 && feature == Features::GUEST_ECN;
            // With CWR it is the first segment alone that is not joined.
            let wanted = match is_off {
                true if feature == Features::GUEST_ECN && missing == feature => 2,
                true => 3,
                false => 1,
            };
            assert_eq!(batch.len(), wanted, "{missing:?} {feature:?}");
        }
        drop(parts);
        rig.assert_clean();
    }
}

/// A header that does not fit its frame is an error of that frame alone; hdr_len is believed by nobody (5.1.6.4.2).
#[test]
fn what_a_header_says_is_held_to_its_frame() {
    type Lie = fn(&mut Faults);
    let table: [(Lie, bool); 12] = [
        (|faults| faults.hdr_len = Some(0), true),
        (|faults| faults.hdr_len = Some(65_535), true),
        (|faults| faults.gso_size = Some(0), false),
        (|faults| faults.gso_type = Some(0), false),
        (|faults| faults.gso_type = Some(2), false),
        (|faults| faults.gso_type = Some(3), false),
        (|faults| faults.gso_type = Some(4), false),
        (|faults| faults.gso_type = Some(5), false),
        (|faults| faults.gso_type = Some(0xff), false),
        (|faults| faults.csum_start = Some(65_000), false),
        (|faults| faults.csum_start = Some(36), false),
        (|faults| faults.rx_flags = Some(0), false),
    ];
    for (index, (lie, is_good)) in table.into_iter().enumerate() {
        let mut rig = Rig::with(options());
        let pool = super::rig::pool(&rig, 512);
        let mut parts = rig.parts(&large().pool(pool.clone()));
        let packet = Packet::new(TCP, false, 9000);
        rig.faults(lie);
        let batch = receive(&mut rig, &mut parts, &segments(&packet, 1000, None));
        assert_eq!(batch.len(), usize::from(is_good), "{index}");
        assert!(batch.frames().iter().all(|frame| frame.segmentation() == Some(packet.cut(1000)) && frame.coalesced() == Some(9)));
        assert_eq!((parts.rx.counters().errors, parts.rx.fault()), (u64::from(!is_good), None), "{index}");
        drop(batch);
        let batch = receive(&mut rig, &mut parts, &segments(&packet, 1000, None));
        assert_eq!(batch.len(), 1, "the next is as any: {index}");
        drop((parts, batch));
        assert_eq!(pool.available(), 512);
        rig.assert_clean();
    }
}

/// 5.1.6.4.1: a frame whose first segment has CWR is marked so, or refused: a device that leaves the mark out makes another frame of it.
#[test]
fn congestion_answered_is_said_by_the_device() {
    for (offered, wanted) in [(true, vec![Some(3)]), (false, vec![None, Some(2)])] {
        let missing = if offered { Features::empty() } else { Features::GUEST_ECN };
        let mut rig = Rig::with(options().without(missing.bits()));
        let mut parts = rig.parts(&large());
        let sent = segments(&Packet::new(TCP, false, 3000), 1000, Some(0x18 | CWR));
        let mut batch = receive(&mut rig, &mut parts, &sent);
        assert_eq!(batch.frames().iter().map(driver_core::buf::Frame::coalesced).collect::<Vec<_>>(), wanted);
        assert_eq!(parts.tx.submit(&mut batch), TxState::Running);
        rig.run_us(100);
        assert_eq!(rig.arrived(), sent, "the first segment alone has it");
        drop((parts, batch));
        rig.assert_clean();
    }
}

/// Segments that the device vouches for, and whose checksum is not partial.
#[test]
fn a_large_frame_may_have_a_checksum_that_was_checked() {
    let mut rig = Rig::with(options());
    let mut parts = rig.parts(&large());
    rig.faults(|faults| faults.rx_flags = Some(2));
    let packet = Packet::new(TCP, true, 5000);
    let batch = receive(&mut rig, &mut parts, &segments(&packet, 1000, None));
    assert_eq!((batch.frames()[0].checksum(), batch.frames()[0].segmentation()), (Checksum::Good, Some(packet.cut(1000))));
    drop((parts, batch));
    rig.assert_clean();
}

/// Frames that were not put together are as long as the MTU allows, and no longer.
#[test]
fn a_long_frame_that_is_none_of_segments_is_an_error() {
    let mut rig = Rig::with(options());
    let mut parts = rig.parts(&large().rx_mode(RxMode::PROMISCUOUS));
    let batch = receive(&mut rig, &mut parts, &[numbered(1, 1514), numbered(2, 1519), numbered(3, 5000), numbered(4, 1514)]);
    assert_eq!(batch.frames().iter().map(bytes_of).collect::<Vec<_>>(), [numbered(1, 1514), numbered(4, 1514)]);
    assert_eq!((parts.control.stats().rx_length_errors, parts.rx.fault()), (2, None));
    drop((parts, batch));
    rig.assert_clean();
}
