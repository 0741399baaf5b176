//! The address of a device that tells none (5.1.4.2).

use driver_core::ether::MacAddr;

/// An address for a device without VIRTIO_NET_F_MAC: "the driver SHOULD generate a random local MAC" (5.1.4.2). Local, unicast, and made of the
/// function's name and the time, so that two devices differ.
pub(crate) fn local_mac(name: &str, now_us: u64) -> MacAddr {
    // FNV-1a.
    let bytes = name.bytes().chain(now_us.to_le_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let [a, b, c, d, e, ..] = hash.to_be_bytes();
    MacAddr([0x02, a, b, c, d, e])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_up_address_is_local_and_unicast_and_differs_between_devices() {
        let a = local_mac("0000:01:00.0", 5);
        assert!(a.is_valid_unicast() && a.0[0] & 2 != 0);
        assert_ne!(a, local_mac("0000:01:00.1", 5));
        assert_ne!(a, local_mac("0000:01:00.0", 6));
    }
}
