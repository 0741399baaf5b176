//! Ethernet: addresses and lengths.

use core::fmt;
use core::str::FromStr;

/// A header, in bytes: two addresses and the type of what follows.
pub const HEADER_BYTES: usize = 14;
/// The two addresses that a header begins with, in bytes.
pub const ADDRESSES_BYTES: usize = 12;
/// A VLAN tag in a header (IEEE 802.1Q), in bytes.
pub const VLAN_TAG_BYTES: usize = 4;
/// The frame check sequence, in bytes. No length of a frame has it, unless it says so.
pub const FCS_BYTES: usize = 4;
/// The shortest frame on the wire, in bytes (IEEE 802.3 clause 3.2.8: 64, its check sequence included).
pub const MIN_FRAME_BYTES: usize = 60;
/// The MTU that every device has unless told otherwise, in bytes.
pub const STANDARD_MTU: u32 = 1500;
/// The smallest MTU, in bytes: what IPv4 demands (RFC 791).
pub const MIN_MTU: u32 = 68;

/// How many zeros a frame of `len_bytes` needs behind it for the wire.
#[inline(always)]
pub const fn padding_bytes(len_bytes: usize) -> usize {
    MIN_FRAME_BYTES.saturating_sub(len_bytes)
}

/// The longest frames of an MTU, in bytes.
///
/// ```
/// use driver_core::ether::FrameLimits;
///
/// let limits = FrameLimits::of(1500);
/// assert_eq!((limits.untagged_bytes(), limits.tagged_bytes(), limits.wire_bytes()), (1514, 1518, 1522));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLimits {
    mtu: u32,
    /// VLAN tags that do not count.
    tags: u32,
}

impl FrameLimits {
    /// Of frames that carry up to `mtu` bytes behind their headers.
    pub const fn of(mtu: u32) -> Self {
        Self { mtu, tags: 1 }
    }

    /// The same, of frames that may have an outer VLAN tag besides (IEEE 802.1ad).
    #[must_use]
    pub const fn with_outer_tag(self) -> Self {
        Self { tags: 2, ..self }
    }

    /// The longest frame without a VLAN tag.
    #[inline]
    pub const fn untagged_bytes(self) -> u32 {
        self.mtu.saturating_add(HEADER_BYTES as u32)
    }

    /// The longest frame with a VLAN tag in it, or two where there may be two.
    #[inline]
    pub const fn tagged_bytes(self) -> u32 {
        self.untagged_bytes().saturating_add(self.tags * VLAN_TAG_BYTES as u32)
    }

    /// The longest frame as it is on the wire: with its VLAN tags and the check sequence.
    pub const fn wire_bytes(self) -> u32 {
        self.tagged_bytes().saturating_add(FCS_BYTES as u32)
    }

    /// The longest frame with all VLAN tags that there may be or without one, to be compared with a frame's length.
    #[inline]
    pub const fn longest(self, is_tagged: bool) -> usize {
        (if is_tagged { self.tagged_bytes() } else { self.untagged_bytes() }) as usize
    }

    /// The longest frame with so many VLAN tags; those beyond what there may be count as payload.
    pub const fn longest_with(self, tags: u32) -> usize {
        let free = if tags < self.tags { tags } else { self.tags };
        self.untagged_bytes().saturating_add(free * VLAN_TAG_BYTES as u32) as usize
    }
}

/// A 48-bit Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(clippy::exhaustive_structs, reason = "an address is six bytes")]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// Whether the group bit is set (multicast and broadcast).
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }
    /// Whether a device can have it: neither a group nor all zeros.
    pub fn is_valid_unicast(self) -> bool {
        !self.is_multicast() && self.0 != [0; 6]
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A text that is no Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParseMacAddrError;

impl fmt::Display for ParseMacAddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a MAC address is six hexadecimal bytes with colons, as in 02:00:00:00:00:01")
    }
}
impl core::error::Error for ParseMacAddrError {}

impl FromStr for MacAddr {
    type Err = ParseMacAddrError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().ok_or(ParseMacAddrError)?;
            if part.len() != 2 || part.starts_with('+') {
                return Err(ParseMacAddrError);
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| ParseMacAddrError)?;
        }
        if parts.next().is_some() { Err(ParseMacAddrError) } else { Ok(Self(bytes)) }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn an_mtu_has_three_lengths_and_none_overflows() {
        let lengths = |mtu| {
            let limits = FrameLimits::of(mtu);
            (limits.untagged_bytes(), limits.tagged_bytes(), limits.wire_bytes())
        };
        assert_eq!(lengths(STANDARD_MTU), (1514, 1518, 1522));
        assert_eq!(lengths(9000), (9014, 9018, 9022));
        assert_eq!(lengths(u32::MAX), (u32::MAX, u32::MAX, u32::MAX));
        assert_eq!([false, true].map(|is_tagged| FrameLimits::of(MIN_MTU).longest(is_tagged)), [82, 86]);
        let outer = FrameLimits::of(STANDARD_MTU).with_outer_tag();
        assert_eq!((outer.untagged_bytes(), outer.tagged_bytes(), outer.wire_bytes(), outer.longest(true)), (1514, 1522, 1526, 1522));
        assert_eq!([0, 1, 2, 3].map(|tags| outer.longest_with(tags)), [1514, 1518, 1522, 1522]);
        assert_eq!([0, 1, 2, 3].map(|tags| FrameLimits::of(STANDARD_MTU).longest_with(tags)), [1514, 1518, 1518, 1518]);
    }

    #[test]
    fn what_is_shorter_than_the_wire_takes_is_padded() {
        assert_eq!([0, 14, 59, 60, 61, usize::MAX].map(padding_bytes), [60, 46, 1, 0, 0, 0]);
    }

    #[test]
    fn an_address_is_six_bytes_with_colons() {
        let mac = MacAddr([0x02, 0, 0, 0xab, 0, 0x7f]);
        assert_eq!("02:00:00:AB:00:7f".parse(), Ok(mac));
        assert_eq!(mac.to_string().parse(), Ok(mac));
        for wrong in ["", "02", "02:00:00:ab:00", "02:00:00:ab:00:7f:", "2:0:0:0:0:7", "02:00:00:ab:00:+f", "02-00-00-ab-00-7f", "02:00:00:ab:00:7g"]
        {
            assert_eq!(wrong.parse::<MacAddr>(), Err(ParseMacAddrError), "{wrong}");
        }
        assert!(ParseMacAddrError.to_string().contains("as in 02:00:00:00:00:01"));
    }
}
