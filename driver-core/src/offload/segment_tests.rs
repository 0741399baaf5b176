//! A frame into segments: what RFC 9293, 791, 8200 and 768 want in each.

use std::vec::Vec;

use crate::buf::frame::Frame;
use crate::buf::meta::{Segmentation, SegmentationKind};
use crate::buf::pool::{BufPool, PoolConfig};
use crate::offload::checksum::{verify_ipv4, verify_transport};
use crate::offload::segment::{Headers, SegmentationError};
use crate::testing::{bytes_of, domain};

fn pool() -> BufPool {
    BufPool::new(&domain().0, PoolConfig::new(64)).unwrap()
}

/// CWR, ACK, PSH and FIN, a sequence number that wraps, an identification that does; `payload` bytes behind 54.
fn tcp4(pool: &BufPool, payload: usize) -> Frame {
    let mut bytes = b"to....from..\x08\0".to_vec();
    bytes.extend([0x45, 0, 0, 0, 0xff, 0xff, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    bytes.extend([0, 80, 0, 81, 0xff, 0xff, 0xff, 0xf0, 0, 0, 0, 7, 0x50, 0x99, 1, 0, 0, 0, 0, 0]);
    bytes.extend((0..payload).map(|k| k as u8));
    let mut frame = pool.frame_from(&bytes).unwrap();
    frame.set_segmentation(Some(cut(100)));
    frame
}

fn cut(mss_bytes: u16) -> Segmentation {
    Segmentation { kind: SegmentationKind::Tcp4, mss_bytes, header_bytes: 54 }
}

#[test]
fn headers_go_on_from_segment_to_segment() {
    let pool = pool();
    let segments: Vec<Frame> = tcp4(&pool, 250).cut(&pool).unwrap();
    let at = |segment: &Frame, at: usize| u16::from_be_bytes([segment.data()[at], segment.data()[at + 1]]);
    let of = |get: &dyn Fn(&Frame) -> u32| segments.iter().map(get).collect::<Vec<_>>();
    assert_eq!(of(&|segment| segment.len() as u32), [154, 154, 104]);
    assert_eq!(of(&|segment| at(segment, 16).into()), [140, 140, 90], "total length");
    assert_eq!(of(&|segment| at(segment, 18).into()), [0xffff, 0, 1], "identification");
    assert_eq!(of(&|segment| u32::from(at(segment, 38)) << 16 | u32::from(at(segment, 40))), [0xffff_fff0, 0x54, 0xb8], "sequence number");
    assert_eq!(of(&|segment| segment.data()[47].into()), [0x90, 0x10, 0x19], "CWR with the first, FIN and PSH with the last");
    assert!(segments.iter().all(|segment| verify_ipv4(segment) == Ok(true) && verify_transport(segment) == Ok(Some(true))));
    let payload: Vec<u8> = segments.iter().flat_map(|segment| segment.data()[54..].to_vec()).collect();
    assert_eq!(payload, (0..250).map(|k| k as u8).collect::<Vec<_>>());
}

#[test]
fn one_segment_keeps_all_flags_and_what_asks_for_nothing_gives_none() {
    let pool = pool();
    let one = tcp4(&pool, 100).cut(&pool).unwrap();
    assert_eq!((one.len(), one[0].data()[47]), (1, 0x99));
    let mut frame = tcp4(&pool, 100);
    frame.set_segmentation(None);
    assert!(frame.cut(&pool).unwrap().is_empty());
}

/// No length of a packet is believed, wherever the frame ends.
#[test]
fn what_is_cut_short_has_no_headers() {
    let pool = pool();
    let whole = bytes_of(&tcp4(&pool, 40));
    for len in 0..=54 {
        let frame = pool.frame_from(&whole[..len]).unwrap();
        let wanted =
            if len < 54 { SegmentationError::Headers(SegmentationKind::Tcp4) } else { SegmentationError::Payload { bytes: 0, max: usize::MAX } };
        assert_eq!(Headers::of(&frame, cut(100)), Err(wanted), "{len} bytes");
    }
    // A fragment, a header that claims to be shorter than any, another version.
    for (at, byte) in [(20, 0x20), (14, 0x44), (14, 0x65), (46, 0x40), (23, 1)] {
        let mut bytes = whole.clone();
        bytes[at] = byte;
        let frame = pool.frame_from(&bytes).unwrap();
        assert_eq!(Headers::of(&frame, cut(100)), Err(SegmentationError::Headers(SegmentationKind::Tcp4)), "byte {at}");
    }
}
