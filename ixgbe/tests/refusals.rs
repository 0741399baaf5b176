//! What a transmit queue does not send, it says, and loses nothing.

use crate::rig::{Rig, number_in, numbered, queue};
use driver_core::buf::{Batch, BufPool, Checksum, Frame, PoolConfig, Segmentation, SegmentationKind, meta};
use driver_core::device::{Config, NetDevice, Offloads};
use driver_core::offload::{OffloadError, SegmentationError};
use driver_core::queue::{QueueFault, Refusal, TxQueue, TxState};
use sim::Iommu;

#[test]
fn a_frame_that_cannot_be_sent_stays_at_the_front_with_a_reason() {
    let mut rig = Rig::new();
    let mut port = rig.start(&Config::new());
    let pool = port.pool.clone();
    let whole = |len| pool.frame_from(&numbered(7, len)).unwrap();
    let with_header = |len| {
        let mut frame = whole(len);
        frame.data_mut()[12..16].copy_from_slice(&[0x81, 0x00, 0, 5]);
        frame
    };
    let mut checksummed = whole(100);
    checksummed.set_checksum(Checksum::Partial { start: 34, offset: 65 });
    let place = OffloadError::Place { start: 34, offset: 65, len_bytes: 100 };
    let mut long = whole(100);
    long.set_segmentation(Some(Segmentation { kind: SegmentationKind::Tcp4, mss_bytes: 20, header_bytes: 54 }));
    // With its tag it has two, and the MTU's longest frame has one.
    let mut tagged = with_header(1515);
    tagged.set_vlan(Some(5));
    let mut scattered = pool.frame_from(&numbered(7, 60)).unwrap();
    for _ in 0..45 {
        scattered.append(pool.frame_from(&[1]).unwrap());
    }
    let mut short = whole(60);
    short.trim(13).unwrap();
    let cases = [
        (pool.take().unwrap(), Refusal::TooShort { len_bytes: 0 }),
        (short, Refusal::TooShort { len_bytes: 13 }),
        (whole(1515), Refusal::TooLong { len_bytes: 1515, max_bytes: 1514 }),
        (with_header(1519), Refusal::TooLong { len_bytes: 1519, max_bytes: 1518 }),
        (checksummed, Refusal::Checksum(place)),
        (long, Refusal::Segmentation(SegmentationError::Headers(SegmentationKind::Tcp4))),
        (tagged, Refusal::TooLong { len_bytes: 1519, max_bytes: 1518 }),
        (scattered, Refusal::TooManySegments { segments: 46, max: 40 }),
    ];
    let mut batch = Batch::new(32);
    for (frame, why) in cases {
        let len = frame.len();
        queue(&mut batch, &pool, 0..10, 60);
        batch.push(frame).unwrap();
        queue(&mut batch, &pool, 10..20, 60);
        assert_eq!(port.tx[0].submit(&mut batch), TxState::Refused(why));
        assert_eq!((batch.len(), batch.frames()[0].len()), (11, len), "those before it went, it and those behind it stay: {why}");
        // The caller decides: here, to do without it.
        drop(batch.pop());
        assert_eq!(port.tx[0].submit(&mut batch), TxState::Running);
        rig.run_us(500);
        let numbers: Vec<u32> = rig.arrived().iter().map(|frame| number_in(frame)).collect();
        assert_eq!(numbers, (0..20).collect::<Vec<_>>());
    }
    assert_eq!(rig.violations(), "");
}

/// A frame whose receive ring took its tag out, which a transmit queue has to put back.
fn untagged(pool: &BufPool, number: u32) -> Frame {
    let mut frame = pool.frame_from(&numbered(number, 60)).unwrap();
    frame.set_received([0, 5 << meta::VLAN_SHIFT | 60 << meta::LEN_SHIFT | meta::VLAN_VALID]).unwrap();
    assert_eq!((frame.vlan(), frame.wants_offload()), (Some(5), true));
    frame
}

/// Bytes with the tag of a VLAN behind the addresses, padded as the wire wants it.
fn tagged_bytes(bytes: &[u8], tag: u16) -> Vec<u8> {
    let mut tagged = bytes.to_vec();
    tagged.splice(12..12, [[0x81, 0x00], tag.to_be_bytes()].concat());
    tagged.resize(tagged.len().max(60), 0);
    tagged
}

/// The three fast paths of a transmit queue, for one frame, for a few, and for blocks, see the tag of a frame that is plain but for it.
#[test]
fn a_frame_that_lost_its_tag_on_receive_gets_it_back() {
    for count in [1, 8, 40] {
        for at in [0, count / 2, count - 1] {
            let mut rig = Rig::new();
            let mut port = rig.start(&Config::default());
            let pool = port.pool.clone();
            let mut batch = Batch::new(64);
            let mut wanted = Vec::new();
            for number in 0..count {
                let bytes = numbered(number, 60);
                wanted.push(if number == at { tagged_bytes(&bytes, 5) } else { bytes.clone() });
                batch.push(if number == at { untagged(&pool, number) } else { pool.frame_from(&bytes).unwrap() }).unwrap();
            }
            assert_eq!(port.tx[0].submit(&mut batch), TxState::Running, "{count} frames, tag at {at}");
            rig.run_us(1_000);
            assert_eq!(rig.arrived(), wanted);
            assert_eq!((port.tx[0].counters().bounced, rig.violations()), (0, String::new()));
        }
    }
}

/// Ones' complement, RFC 1071.
fn sum(bytes: &[u8]) -> u16 {
    let sum: u64 = bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0))).sum();
    // No frame here sums to zero.
    match sum % 0xffff {
        0 => 0xffff,
        sum => sum as u16,
    }
}

/// What the card is not to do, software does: a checksum, a tag, both, of frames in one piece, in several, in memory of another domain, and without headroom.
#[test]
fn checksums_and_tags_are_put_in_by_software() {
    // Nine from abroad; six of each kind that has no room for a tag where it has to be.
    put_in(Offloads::empty(), 9 + 6 + 6);
}

/// The card needs no room for a tag.
#[test]
fn checksums_and_tags_are_put_in_by_the_card() {
    put_in(Offloads::all(), 9);
}

fn put_in(offloads: Offloads, copied: u64) {
    let mut rig = Rig::new();
    let mut port = rig.start(&Config::new().offloads(offloads));
    let stranger = BufPool::new(&Rig::new().domain(), PoolConfig::new(64)).unwrap();
    let tight = BufPool::new(&rig.domain(), PoolConfig::new(64).headroom_bytes(0)).unwrap();
    let mut batch = Batch::new(64);
    let mut wanted = Vec::new();
    for (number, (asks, len)) in
        [(true, false), (false, true), (true, true)].into_iter().flat_map(|asks| [60, 101, 1514].map(|len| (asks, len))).enumerate()
    {
        let bytes = numbered(number as u32, len);
        let mut scattered = port.pool.frame_from(&bytes[..7]).unwrap();
        scattered.append(port.pool.frame_from(&bytes[7..51]).unwrap());
        scattered.append(port.pool.frame_from(&bytes[51..]).unwrap());
        let frames = [port.pool.frame_from(&bytes).unwrap(), scattered, stranger.frame_from(&bytes).unwrap(), tight.frame_from(&bytes).unwrap()];
        for mut frame in frames {
            let (checksum, tag) = asks;
            let mut out = bytes.clone();
            if checksum {
                frame.set_checksum(Checksum::Partial { start: 34, offset: 16 });
                let sum = !sum(&bytes[34..]);
                out[50..52].copy_from_slice(&sum.to_be_bytes());
            }
            if tag {
                frame.set_vlan(Some(0x6123));
                out = tagged_bytes(&out, 0x6123);
            }
            wanted.push(out);
            batch.push(frame).unwrap();
        }
    }
    assert_eq!(port.tx[0].submit(&mut batch), TxState::Running);
    rig.run_us(1_000);
    assert_eq!(rig.arrived(), wanted);
    assert_eq!((port.tx[0].counters().bounced, rig.violations()), (copied, String::new()));
}

#[test]
fn a_vlan_header_makes_the_longest_frame_longer() {
    let mut rig = Rig::new();
    let mut port = rig.start(&Config::new());
    let mut batch = Batch::new(8);
    for (len, kind) in [(1514, [0x08, 0x00]), (1518, [0x81, 0x00]), (1518, [0x88, 0xa8])] {
        let mut bytes = numbered(1, len);
        bytes[12..14].copy_from_slice(&kind);
        batch.push(port.pool.frame_from(&bytes).unwrap()).unwrap();
        assert_eq!(port.tx[0].submit(&mut batch), TxState::Running);
        rig.run_us(500);
        assert_eq!(rig.arrived(), [bytes]);
    }
    assert_eq!(rig.violations(), "");
}

#[test]
fn short_frames_are_padded_with_zeros() {
    let mut rig = Rig::new();
    let mut port = rig.start(&Config::new());
    let mut batch = Batch::new(64);
    let dirty = port.pool.frame_from(&[0xff; 2048]).unwrap();
    batch.push(dirty).unwrap();
    batch.clear();
    for len in 14..60 {
        let mut frame = numbered(1, 60);
        frame.truncate(len);
        batch.push(port.pool.frame_from(&frame).unwrap()).unwrap();
    }
    assert_eq!(port.tx[0].submit(&mut batch), TxState::Running);
    rig.run_us(1_000);
    let arrived = rig.arrived();
    assert_eq!(arrived.len(), 46);
    for (len, frame) in (14..60).zip(arrived) {
        let mut wanted = numbered(1, 60);
        wanted[len..].fill(0);
        assert_eq!(frame, wanted, "{len} bytes");
    }
    assert_eq!(rig.violations(), "");
}

#[test]
fn frames_of_another_domain_are_copied_and_those_of_another_pool_are_not() {
    let iommu = Iommu::new();
    let mut rig = Rig::in_domain(&iommu, 0);
    let mut port = rig.start(&Config::new());
    let sibling = BufPool::new(&rig.domain(), PoolConfig::new(64)).unwrap();
    let stranger = BufPool::new(&Rig::new().domain(), PoolConfig::new(64)).unwrap();
    let mut batch = Batch::new(64);
    queue(&mut batch, &port.pool, 0..9, 60);
    queue(&mut batch, &sibling, 9..20, 200);
    queue(&mut batch, &stranger, 20..30, 300);
    assert_eq!(port.tx[0].submit(&mut batch), TxState::Running);
    assert_eq!(port.tx[0].counters().bounced, 10);
    rig.run_us(1_000);
    let arrived = rig.arrived();
    assert_eq!(rig.violations(), "");
    let wanted: Vec<Vec<u8>> = (0..30)
        .map(|n| {
            numbered(
                n,
                if n < 9 {
                    60
                } else if n < 20 {
                    200
                } else {
                    300
                },
            )
        })
        .collect();
    assert_eq!((arrived.len(), arrived == wanted), (30, true));
    port.control.stop().unwrap();
    drop((port, batch));
    assert_eq!((sibling.available(), stranger.available()), (64, 64));
    assert_eq!(rig.violations(), "");
}

#[test]
fn a_stopped_device_takes_nothing_and_says_so() {
    let rig = Rig::new();
    let mut port = rig.start(&Config::new());
    port.control.stop().unwrap();
    let mut batch = Batch::new(8);
    queue(&mut batch, &port.pool, 0..3, 60);
    assert_eq!(port.tx[0].submit(&mut batch), TxState::Broken(QueueFault::Stopped));
    assert_eq!(batch.len(), 3);
    assert_eq!(rig.violations(), "");
}
