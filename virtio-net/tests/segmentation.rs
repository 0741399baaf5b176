//! Segmentation by the device: what leaves it is what software cuts, and what it does not cut is refused for software to cut.

use super::rig::{Parts, Rig, bytes_of, small};
use crate::packets::{Packet, TCP, UDP, cut_by_software};
use driver_core::buf::{Batch, Frame, PoolConfig};
use driver_core::device::{Caps, Config, NetDevice, Offloads};
use driver_core::offload::{SegmentationError, Work};
use driver_core::queue::{Refusal, TxQueue, TxState};
use proptest::prelude::*;
use sim::virtio_net::VirtioNetOptions as Options;
use virtio_net::Features;

/// TCP's flags, from the start of its header, and CWR among them (RFC 3168).
const FLAGS: usize = 13;
const CWR: u8 = 0x80;

/// What the device does not cut nobody does.
const NOBODY: TxState = TxState::Refused(Refusal::SwitchedOff(Work::SEGMENTATION));

/// Software cuts nothing.
fn alone(config: Config) -> Config {
    config.software(Caps::SOFTWARE - Caps::TX_SEGMENTATION)
}

fn submit(parts: &mut Parts, frame: Frame) -> TxState {
    let mut batch = Batch::new(1);
    batch.push(frame).unwrap();
    parts.tx.submit(&mut batch)
}

/// Sends the frame, and holds what leaves to what software makes of it. No device pads what is short.
fn sent_as_by_software(rig: &mut Rig, parts: &mut Parts, frame: Frame) -> usize {
    let wanted = cut_by_software(&frame);
    assert_eq!(submit(parts, frame), TxState::Running);
    rig.run_us(200);
    let sent = rig.arrived();
    assert_eq!(sent.len(), wanted.len());
    for (index, (sent, mut wanted)) in sent.iter().zip(wanted).enumerate() {
        wanted.truncate(sent.len().max(wanted.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)));
        assert_eq!(*sent, wanted, "segment {index}");
    }
    sent.len()
}

prop_compose! {
    fn to_cut()(
        is_tcp: bool,
        is_ipv6: bool,
        options in 0usize..4,
        tcp_options in 0usize..11,
        tag_in_frame in prop::option::weighted(0.2, any::<u16>()),
        len in 1usize..20_000,
        seed: u8,
    ) -> Packet {
        // Not a zero: padding is told from payload by it.
        let payload = (0..len).map(|k| ((k * 3 + k / 256) as u8 ^ seed) | 1).collect();
        Packet { protocol: if is_tcp { TCP } else { UDP }, is_ipv6, options, tcp_options, tag_in_frame, payload }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.min(64), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn segments_are_those_that_software_cuts(
        packet in to_cut(),
        mss in 60u16..1380,
        (more, each) in (0usize..600, 700usize..2048),
        tag in prop::option::weighted(0.4, any::<u16>()),
        asks_for_sum: bool,
        exact: bool,
        indirect: bool,
    ) {
        let mut left_out = Features::empty();
        left_out.set(Features::GUEST_HDRLEN, !exact);
        left_out.set(Features::INDIRECT_DESC, !indirect);
        let mut rig = Rig::with(Options::new().segmentation(true).without(left_out.bits()));
        let mut parts = rig.parts(&small());
        let mut frame = packet.in_pieces(&parts.pool, packet.header_bytes() + more, each);
        frame.set_segmentation(Some(packet.cut(mss)));
        frame.set_vlan(tag);
        if asks_for_sum {
            frame.set_checksum(packet.partial());
        }
        prop_assert_eq!(sent_as_by_software(&mut rig, &mut parts, frame), packet.payload.len().div_ceil(mss.into()));
        drop(parts);
        rig.assert_clean();
    }
}

/// The longest packet that IP describes, and one byte more, in buffers of 16 KiB and of 2 KiB, full ones and such that are not; in tables and in the queue itself.
#[test]
fn a_packet_has_as_many_bytes_as_its_length_can_say() {
    let buffers = [(16_384, 16_000), (2048, 2048), (2048, 1100)];
    for (k, (data_bytes, each)) in buffers.repeat(4).into_iter().enumerate() {
        let missing = if k < 6 { Features::empty() } else { Features::INDIRECT_DESC };
        let mut rig = Rig::with(Options::new().segmentation(true).without(missing.bits()));
        let pool = driver_core::buf::BufPool::new(&rig.domain(), PoolConfig::new(256).data_bytes(data_bytes)).unwrap();
        let mut parts = rig.parts(&alone(small()).tx_ring(128).pool(pool));
        let is_ipv6 = k / 3 % 2 == 1;
        let headers = if is_ipv6 { 60 } else { 40 };
        for (payload, is_sent) in [(65_535 - headers, true), (65_536 - headers, false)] {
            let packet = Packet { payload: vec![7; payload], ..Packet::new(TCP, is_ipv6, 0) };
            let mut frame = packet.in_pieces(&parts.pool, each, each);
            frame.set_segmentation(Some(packet.cut(1400)));
            if is_sent {
                assert_eq!(sent_as_by_software(&mut rig, &mut parts, frame), payload.div_ceil(1400));
            } else {
                assert_eq!(submit(&mut parts, frame), NOBODY);
            }
        }
        drop(parts);
        rig.assert_clean();
    }
}

/// A device cuts what it offers to cut, and only where checksums and segmentation are left to it; the rest software cuts, into the same frames.
#[test]
fn what_the_device_does_not_cut_is_cut_by_software() {
    let (no_sums, no_cuts) = (Offloads::all() - Offloads::TX_CHECKSUM, Offloads::all() - Offloads::TX_SEGMENTATION);
    let (tso4, tso6, uso) = (Features::HOST_TSO4, Features::HOST_TSO6, Features::HOST_USO);
    let all = tso4 | tso6 | uso;
    let table = [
        (Features::empty(), Offloads::all(), all),
        (tso4, Offloads::all(), all - tso4),
        (tso6, Offloads::all(), all - tso6),
        (uso, Offloads::all(), all - uso),
        (tso4 | tso6, Offloads::all(), uso),
        (Features::CSUM, Offloads::all(), Features::empty()),
        (Features::empty(), no_sums, Features::empty()),
        (Features::empty(), no_cuts, Features::empty()),
    ];
    for (missing, offloads, does) in table {
        let mut rig = Rig::with(Options::new().segmentation(true).without(missing.bits()));
        let parts = rig.parts(&small().offloads(offloads));
        let features = parts.control.kernel().features();
        assert_eq!(features & all, does);
        assert_eq!(features.contains(Features::HOST_ECN), does.intersects(tso4 | tso6), "5.1.3.1");
        assert_eq!(parts.control.info().used_caps.contains(Caps::TX_SEGMENTATION), !does.is_empty());
        assert_eq!(parts.control.info().software_caps().contains(Caps::TX_SEGMENTATION), does.is_empty());
        drop(parts);
        for (feature, protocol, is_ipv6) in [(tso4, TCP, false), (tso6, TCP, true), (uso, UDP, false), (uso, UDP, true)] {
            let packet = Packet { payload: vec![5; 3000], ..Packet::new(protocol, is_ipv6, 0) };
            if does.contains(feature) {
                let mut parts = rig.parts(&small().offloads(offloads));
                rig.run_us(5_000);
                let mut frame = packet.in_pieces(&parts.pool, 2000, 2000);
                frame.set_segmentation(Some(packet.cut(1000)));
                assert_eq!(sent_as_by_software(&mut rig, &mut parts, frame), 3);
                continue;
            }
            // By the queue, or where it is not to by whoever has the frame.
            for is_alone in [false, true] {
                let config = small().offloads(offloads);
                let mut parts = rig.parts(&if is_alone { alone(config) } else { config });
                rig.run_us(5_000);
                let mut frame = packet.in_pieces(&parts.pool, 2000, 2000);
                frame.set_segmentation(Some(packet.cut(1000)));
                let wanted = cut_by_software(&frame);
                let mut batch = Batch::new(4);
                batch.push(frame).unwrap();
                if is_alone {
                    assert_eq!(parts.tx.submit(&mut batch), NOBODY);
                    let frame = batch.pop().unwrap();
                    assert_eq!(bytes_of(&frame), packet.bytes(), "it is as it was");
                    frame.cut(&parts.pool).unwrap().into_iter().for_each(|segment| batch.push(segment).unwrap());
                }
                assert_eq!(parts.tx.submit(&mut batch), TxState::Running);
                rig.run_us(50);
                assert_eq!(rig.arrived(), wanted);
                assert_eq!(parts.control.stats().tx_packets, 3);
            }
        }
        rig.assert_clean();
    }
}

/// TCP whose sender answers a mark of congestion goes to a device alone that knows what to do with CWR: the first segment keeps it.
#[test]
fn a_device_without_ecn_cuts_no_tcp_that_has_it() {
    for (knows, is_ipv6) in [(true, false), (true, true), (false, false), (false, true)] {
        let missing = if knows { Features::empty() } else { Features::HOST_ECN };
        let mut rig = Rig::with(Options::new().segmentation(true).without(missing.bits()));
        let mut parts = rig.parts(&alone(small()));
        let packet = Packet { payload: vec![5; 3000], ..Packet::new(TCP, is_ipv6, 0) };
        for flags in [0x18 | CWR, 0x18] {
            let mut frame = packet.in_pieces(&parts.pool, 2000, 2000);
            frame.data_mut()[packet.l4_at() + FLAGS] = flags;
            frame.set_segmentation(Some(packet.cut(1000)));
            if knows || flags & CWR == 0 {
                assert_eq!(sent_as_by_software(&mut rig, &mut parts, frame), 3);
            } else {
                assert_eq!(submit(&mut parts, frame), NOBODY);
            }
        }
        drop(parts);
        rig.assert_clean();
    }
}

/// Frames before and behind it leave in order, whatever they ask for.
#[test]
fn a_frame_that_is_cut_goes_between_others() {
    let mut rig = Rig::with(Options::new().segmentation(true));
    let mut parts = rig.parts(&small());
    let (packet, other) = (Packet { payload: vec![9; 3000], ..Packet::new(TCP, true, 0) }, Packet::new(TCP, false, 50));
    let mut wanted = Vec::new();
    let mut batch = Batch::new(16);
    for k in 0..16 {
        let is_cut = k % 5 == 3;
        let mut frame = if is_cut { packet.in_pieces(&parts.pool, 1000, 1000) } else { other.in_pieces(&parts.pool, 2048, 2048) };
        if is_cut {
            frame.set_segmentation(Some(packet.cut(1000)));
            wanted.extend(cut_by_software(&frame));
        } else {
            frame.set_checksum(other.partial());
            wanted.push(crate::packets::by_software(&other.bytes(), Some(other.partial()), None));
        }
        batch.push(frame).unwrap();
    }
    assert_eq!(parts.tx.submit(&mut batch), TxState::Running);
    rig.run_us(200);
    assert_eq!(rig.arrived(), wanted);
    assert_eq!(parts.control.stats().tx_packets, wanted.len() as u64);
    drop((parts, batch));
    rig.assert_clean();
}

#[test]
fn what_is_wrong_is_refused_by_name_and_loses_nothing() {
    let mut rig = Rig::with(Options::new().segmentation(true));
    let mut parts = rig.parts(&Config::new());
    let packet = Packet::new(TCP, false, 3000);
    let cut = packet.cut(1000);
    let mut other = cut;
    (other.kind, other.header_bytes) = (Packet::new(UDP, false, 0).cut(1000).kind, 42);
    let mut longer = cut;
    longer.header_bytes += 1;
    let mut none = cut;
    none.mss_bytes = 0;
    let table = [
        (other, SegmentationError::Headers(other.kind)),
        (longer, SegmentationError::HeaderBytes { said: 55, found: 54 }),
        (none, SegmentationError::NoBytes),
    ];
    for (asked, why) in table {
        let mut frame = packet.in_pieces(&parts.pool, 2000, 2000);
        frame.set_segmentation(Some(asked));
        let mut batch = Batch::new(1);
        batch.push(frame).unwrap();
        assert_eq!(parts.tx.submit(&mut batch), TxState::Refused(Refusal::Segmentation(why)));
        assert_eq!(bytes_of(&batch.frames()[0]), packet.bytes());
    }
    drop(parts);
    rig.run_us(50);
    assert!(rig.arrived().is_empty());
    rig.assert_clean();
}
