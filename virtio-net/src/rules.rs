//! Which received frames are ordinary, by what was negotiated (5.1.6.4).

use driver_core::ether;
use driver_core::ring::Ordinary;
use driver_core::ring::split::HookRules;

use crate::desc::{DATA_VALID_SHIFT, HDR_F_DATA_VALID, HDR_F_NEEDS_CSUM, HDR_GSO_NONE, NET_HDR_BYTES};
use crate::regs::Features;

/// What was negotiated, as far as a received frame is judged by it.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub(crate) mrg_rxbuf: bool,
    pub(crate) guest_csum: bool,
    /// Which bits of num_buffers count: all or, without VIRTIO_NET_F_MRG_RXBUF, none.
    buffers_mask: u16,
    /// Which bits of the header's first two bytes say that the checksum is good.
    valid_mask: u16,
    /// The longest used length of a frame in one buffer, header included.
    max_used_bytes: u32,
}

impl Rules {
    pub(crate) fn new(features: Features, max_used_bytes: u32) -> Self {
        let (mrg_rxbuf, guest_csum) = (features.contains(Features::MRG_RXBUF), features.contains(Features::GUEST_CSUM));
        Self {
            mrg_rxbuf,
            guest_csum,
            buffers_mask: if mrg_rxbuf { u16::MAX } else { 0 },
            valid_mask: if guest_csum { HDR_F_DATA_VALID.into() } else { 0 },
            max_used_bytes,
        }
    }

    /// The shortest and the longest used length of an ordinary frame.
    #[inline(always)]
    pub(crate) fn used_bytes<const HEADER: usize>(&self) -> (u32, u32) {
        // The shortest frame that is handed up is an Ethernet header.
        ((HEADER + ether::HEADER_BYTES) as u32, self.max_used_bytes)
    }

    /// [`Rules::known`](Ordinary::known) by the bits of the header's first eight and next four bytes.
    #[inline(always)]
    pub(crate) fn of_hooks<const HEADER: usize>(self) -> HookRules {
        HookRules {
            used_bytes: self.used_bytes::<HEADER>(),
            clear: u64::from(HDR_F_NEEDS_CSUM) | 0xff << 8,
            looked_at: u32::from(self.buffers_mask) << 16,
            wanted: (1 & u32::from(self.buffers_mask)) << 16,
            known: self.valid_mask.into(),
            known_shift: DATA_VALID_SHIFT,
        }
    }
}

impl<const HEADER: usize> Ordinary<HEADER> for Rules {
    /// Whether a frame is ordinary by its header: whole in one buffer, not segmented, and nothing known of its checksum but perhaps that it is good,
    /// which the returned bits say.
    #[inline(always)]
    fn known(&self, header: &[u8; HEADER]) -> Option<u32> {
        /// `flags` and `gso_type` in the header's first two bytes.
        const UNUSUAL: u16 = (HDR_F_NEEDS_CSUM as u16) | 0xff << 8;
        let &[a, b, .., e, f] = header.first_chunk::<NET_HDR_BYTES>()?;
        let (first, buffers) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([e, f]));
        const { assert!(HDR_GSO_NONE == 0) };
        if first & UNUSUAL != 0 || (buffers ^ 1) & self.buffers_mask != 0 {
            return None;
        }
        Some(u32::from(first & self.valid_mask) << DATA_VALID_SHIFT)
    }
}
