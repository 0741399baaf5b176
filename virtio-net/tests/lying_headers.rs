//! Headers of received frames that make no sense: such a frame comes with its bytes as they are or is an error by itself, and the next one comes.

use super::rig::{Rig, bytes_of, numbered, small};
use driver_core::buf::{Batch, Checksum};
use driver_core::device::NetDevice;
use driver_core::queue::RxQueue;
use proptest::prelude::*;

const FRAME_BYTES: usize = 200;

/// A header of one buffer by its fields, of which each is anything, and a place of the checksum often near the frame's end.
fn headers() -> impl Strategy<Value = [u8; 12]> {
    let place = prop_oneof![any::<u16>(), 0..FRAME_BYTES as u16 + 4, Just(u16::MAX)];
    let kinds = (prop_oneof![any::<u8>(), 0..4u8], prop_oneof![Just(0u8), Just(0u8), any::<u8>()]);
    (kinds, any::<[u8; 4]>(), place.clone(), prop_oneof![place, 0..20u16]).prop_map(|((flags, gso_type), lengths, start, offset)| {
        let mut header = [flags, gso_type, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
        header[2..6].copy_from_slice(&lengths);
        header[6..8].copy_from_slice(&start.to_le_bytes());
        header[8..10].copy_from_slice(&offset.to_le_bytes());
        header
    })
}

/// What is to be said of the checksum of a frame with this header, by 5.1.6.4.2; `None`: the header makes no sense.
fn checksum(header: [u8; 12]) -> Option<Checksum> {
    let [start, offset] = [6, 8].map(|at| u16::from_le_bytes([header[at], header[at + 1]]));
    match header[0] & 3 {
        // Segments were not negotiated.
        _ if header[1] != 0 => None,
        0 => Some(Checksum::Unknown),
        2 => Some(Checksum::Good),
        _ if usize::from(start) + usize::from(offset) + 2 <= FRAME_BYTES => Some(Checksum::Partial { start, offset }),
        _ => None,
    }
}

proptest! {
    #[test]
    fn a_header_that_makes_no_sense_costs_its_own_frame_at_most(headers in prop::collection::vec(headers(), 1..20)) {
        let mut rig = Rig::new();
        let mut parts = rig.parts(&small());
        let (mut batch, mut errors) = (Batch::new(4), 0);
        let sent = numbered(1, FRAME_BYTES);
        for header in headers {
            rig.faults(|faults| faults.rx_header = Some(header));
            rig.send(&sent);
            rig.run_us(20);
            let expected = checksum(header);
            errors += u64::from(expected.is_none());
            parts.rx.poll(&mut batch, 4);
            prop_assert_eq!(batch.len(), usize::from(expected.is_some()), "{:?}", header);
            if let (Some(frame), Some(expected)) = (batch.frames_mut().first_mut(), expected) {
                prop_assert_eq!((bytes_of(frame), frame.checksum()), (sent.clone(), expected));
                // Whatever it says, the sum goes nowhere but to its place.
                if let (Ok(_), Checksum::Partial { start, offset }) = (frame.fill_in_checksum(), expected) {
                    let (at, filled) = (usize::from(start + offset), bytes_of(frame));
                    prop_assert!(filled[..at] == sent[..at] && filled[at + 2..] == sent[at + 2..]);
                }
            }
            batch.clear();
            rig.send(&numbered(2, 60));
            rig.run_us(20);
            prop_assert_eq!(parts.receive(), [numbered(2, 60)]);
        }
        prop_assert_eq!((parts.control.stats().rx_frame_errors, parts.rx.fault()), (errors, None));
        drop((parts, batch));
        rig.assert_clean();
    }
}
