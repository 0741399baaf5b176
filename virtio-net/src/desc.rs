//! What lies in the rings' memory, as words: descriptors (2.7.5), the header of a frame (5.1.6), and the arithmetic of notification suppression
//! (2.7.7.1, 2.7.10.1). Pure functions.

use driver_core::lane::Pair;

/// VIRTQ_DESC_F_NEXT: the buffer goes on in the descriptor `next`.
pub const F_NEXT: u16 = 1;
/// VIRTQ_DESC_F_WRITE: the device writes to the buffer.
pub const F_WRITE: u16 = 2;
/// VIRTQ_DESC_F_INDIRECT: the buffer is a table of descriptors.
pub const F_INDIRECT: u16 = 4;

/// VIRTQ_AVAIL_F_NO_INTERRUPT.
pub const AVAIL_F_NO_INTERRUPT: u16 = 1;
/// VIRTQ_USED_F_NO_NOTIFY.
pub const USED_F_NO_NOTIFY: u16 = 1;

/// A descriptor: address, then length, flags and next.
#[inline(always)]
pub fn descriptor(iova: u64, len_bytes: u32, flags: u16, next: u16) -> Pair {
    Pair::new(iova, u64::from(len_bytes) | u64::from(flags) << 32 | u64::from(next) << 48)
}

/// Whether the other side wants to hear that its index moved from `old` to `new`, having asked for news when it passes `event`:
/// vring_need_event of section 2.7.10. Right across the wrap-around at 65536.
#[inline(always)]
pub const fn need_event(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

/// Bytes of struct virtio_net_hdr with `num_buffers`, which every device of version 1 has.
pub const HEADER_BYTES: usize = 12;

/// VIRTIO_NET_HDR_F_NEEDS_CSUM: the checksum is partial.
pub const HDR_F_NEEDS_CSUM: u8 = 1;
/// VIRTIO_NET_HDR_F_DATA_VALID: the device checked the checksum.
pub const HDR_F_DATA_VALID: u8 = 2;
/// VIRTIO_NET_HDR_GSO_NONE.
pub const HDR_GSO_NONE: u8 = 0;

/// struct virtio_net_hdr (5.1.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Header {
    /// `HDR_F_...`.
    pub flags: u8,
    /// `HDR_GSO_...`.
    pub gso_type: u8,
    /// Bytes of headers.
    pub hdr_len: u16,
    /// Bytes of each segment.
    pub gso_size: u16,
    /// The first byte that the checksum covers.
    pub csum_start: u16,
    /// Where the checksum goes, counted from there.
    pub csum_offset: u16,
    /// Received: how many buffers the frame lies in.
    pub num_buffers: u16,
}

impl Header {
    /// From the bytes before a frame.
    #[inline(always)]
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Self {
        let [flags, gso_type, a, b, c, d, e, f, g, h, i, j] = *bytes;
        let word = |low, high| u16::from_le_bytes([low, high]);
        Self { flags, gso_type, hdr_len: word(a, b), gso_size: word(c, d), csum_start: word(e, f), csum_offset: word(g, h), num_buffers: word(i, j) }
    }

    /// As the device reads it.
    #[inline(always)]
    pub fn encode(self) -> [u8; HEADER_BYTES] {
        let [a, b] = self.hdr_len.to_le_bytes();
        let [c, d] = self.gso_size.to_le_bytes();
        let [e, f] = self.csum_start.to_le_bytes();
        let [g, h] = self.csum_offset.to_le_bytes();
        let [i, j] = self.num_buffers.to_le_bytes();
        [self.flags, self.gso_type, a, b, c, d, e, f, g, h, i, j]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_descriptor_has_the_fields_where_the_specification_puts_them() {
        let [w0, w1] = descriptor(0x1122_3344_5566_7788, 0x0001_0002, F_NEXT | F_WRITE, 0x8001).words();
        assert_eq!(w0, 0x1122_3344_5566_7788);
        assert_eq!(w1.to_le_bytes(), [0x02, 0x00, 0x01, 0x00, 0x03, 0x00, 0x01, 0x80]);
        assert_eq!((F_NEXT, F_WRITE, F_INDIRECT), (1, 2, 4));
    }

    proptest! {
        /// The specification asks for news exactly when the index passes `event`: when the entry `event` is among those from `old` to `new`.
        #[test]
        fn need_event_is_true_when_the_entry_was_passed(event: u16, old: u16, step in 0u16..=32768) {
            let new = old.wrapping_add(step);
            let passed = (0..u32::from(step)).any(|k| old.wrapping_add(k as u16) == event);
            prop_assert_eq!(need_event(event, new, old), passed);
        }

        #[test]
        fn need_event_holds_near_the_wrap_around(event in 65530u32..65546, old in 65530u32..65546, step in 0u32..8) {
            let (event, old) = (event as u16, old as u16);
            let passed = (0..step as u16).any(|k| old.wrapping_add(k) == event);
            prop_assert_eq!(need_event(event, old.wrapping_add(step as u16), old), passed);
        }

        #[test]
        fn headers_survive_the_round_trip(bytes: [u8; HEADER_BYTES]) {
            prop_assert_eq!(Header::decode(&bytes).encode(), bytes);
        }
    }

    #[test]
    fn header_fields_agree_with_virtio_spec() {
        let bytes: [u8; HEADER_BYTES] = core::array::from_fn(|i| i as u8 + 1);
        let ours = Header::decode(&bytes);
        assert_eq!((ours.csum_start, ours.csum_offset, ours.num_buffers), (0x0807, 0x0a09, 0x0c0b));
        assert_eq!(size_of::<virtio_spec::net::Hdr>(), HEADER_BYTES);
        assert_eq!(virtio_spec::net::HdrF::NEEDS_CSUM.bits(), HDR_F_NEEDS_CSUM);
        assert_eq!(virtio_spec::net::HdrF::DATA_VALID.bits(), HDR_F_DATA_VALID);
    }
}
