//! The header of a frame (5.1.6), as bytes. Pure functions.

use driver_core::buf::meta;

/// Bytes of struct virtio_net_hdr with `num_buffers`, which every device of version 1 has.
pub const NET_HDR_BYTES: usize = 12;

/// The same with `hash_value`, `hash_report` and `padding_reserved`, where VIRTIO_NET_F_HASH_REPORT was negotiated: before frames of both directions.
pub const HASH_HDR_BYTES: usize = 20;

/// VIRTIO_NET_HDR_F_NEEDS_CSUM: the checksum is partial.
pub const HDR_F_NEEDS_CSUM: u8 = 1;
/// VIRTIO_NET_HDR_F_DATA_VALID: the device checked the checksum.
pub const HDR_F_DATA_VALID: u8 = 2;
/// How far VIRTIO_NET_HDR_F_DATA_VALID is shifted to become what a frame's second word says of it: the checksum was checked, and nothing says that
/// it is bad. The rest of the two words is the length, and zero: what else a header tells, the frame keeps in private memory.
pub const DATA_VALID_SHIFT: u32 = 4;
const _: () = assert!((HDR_F_DATA_VALID as u64) << DATA_VALID_SHIFT == meta::L4_CHECKED);
/// VIRTIO_NET_HDR_GSO_NONE.
pub const HDR_GSO_NONE: u8 = 0;
/// VIRTIO_NET_HDR_GSO_TCPV4.
pub const HDR_GSO_TCPV4: u8 = 1;
/// VIRTIO_NET_HDR_GSO_TCPV6.
pub const HDR_GSO_TCPV6: u8 = 4;
/// VIRTIO_NET_HDR_GSO_UDP_L4.
pub const HDR_GSO_UDP_L4: u8 = 5;
/// VIRTIO_NET_HDR_GSO_ECN, a bit beside the type.
pub const HDR_GSO_ECN: u8 = 0x80;

/// struct virtio_net_hdr (5.1.6), but for the hash, which [`driver_core::ring::flow_hash`] reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::exhaustive_structs, reason = "plain data: the fields that the specification gives it")]
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
    /// From the bytes before a frame, those of a header with a hash too.
    #[inline(always)]
    pub fn decode(bytes: &[u8]) -> Self {
        let Some(&[flags, gso_type, a, b, c, d, e, f, g, h, i, j]) = bytes.first_chunk() else { return Self::default() };
        let word = |low, high| u16::from_le_bytes([low, high]);
        Self { flags, gso_type, hdr_len: word(a, b), gso_size: word(c, d), csum_start: word(e, f), csum_offset: word(g, h), num_buffers: word(i, j) }
    }

    /// Of a frame whose checksum the device fills in: where the sum begins, and where it goes, counted from there.
    ///
    /// 5.1.6.2: "If the driver negotiated VIRTIO_NET_F_CSUM, it can skip checksumming the packet: flags has the VIRTIO_NET_HDR_F_NEEDS_CSUM set, csum_start is set to the
    /// offset within the packet to begin checksumming, and csum_offset indicates how many bytes after the csum_start the new (16 bit ones' complement) checksum is placed by
    /// the device."
    pub fn to_fill_in(start: u16, offset: u16) -> Self {
        Self { flags: HDR_F_NEEDS_CSUM, csum_start: start, csum_offset: offset, ..Self::default() }
    }

    /// As the device reads it, with a hash of none where there is one in the header.
    #[inline(always)]
    pub fn encode_in<const HEADER: usize>(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes.iter_mut().zip(self.encode()).for_each(|(byte, of)| *byte = of);
        bytes
    }

    /// As the device reads it.
    #[inline(always)]
    pub fn encode(self) -> [u8; NET_HDR_BYTES] {
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

    proptest! {
        #[test]
        fn headers_survive_the_round_trip(bytes: [u8; NET_HDR_BYTES]) {
            prop_assert_eq!(Header::decode(&bytes).encode(), bytes);
        }
    }

    #[test]
    fn header_fields_agree_with_virtio_spec() {
        let bytes: [u8; NET_HDR_BYTES] = core::array::from_fn(|i| i as u8 + 1);
        let ours = Header::decode(&bytes);
        assert_eq!((ours.csum_start, ours.csum_offset, ours.num_buffers), (0x0807, 0x0a09, 0x0c0b));
        assert_eq!(size_of::<virtio_spec::net::Hdr>(), NET_HDR_BYTES);
        assert_eq!(virtio_spec::net::HdrF::NEEDS_CSUM.bits(), HDR_F_NEEDS_CSUM);
        assert_eq!(virtio_spec::net::HdrF::DATA_VALID.bits(), HDR_F_DATA_VALID);
    }
}
