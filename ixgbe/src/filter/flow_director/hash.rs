//! The hash by which flow director finds its filters (7.1.2.7; HASH-FOLDED).

/// Keys of which others' drivers say that they spread well; any would do.
pub(super) const BUCKET_KEY: u32 = 0x3dad_14e2;
pub(super) const SIGNATURE_KEY: u32 = 0x174d_3614;

/// The hash of a flow by a key, 15 bits: `tagged` has the flow's type in 23:16 and its VLAN tag below, `rest` is the sum (exclusive or) of all other double words:
/// addresses, ports with the source's above, flexible bytes above, each as it is on the wire.
///
/// Each bit of the key that is set adds 16 bits of the input: those of its upper half begin in the lower half of a double word, and those of its lower half in the upper.
pub(super) fn hash(key: u32, tagged: u32, rest: u32) -> u16 {
    let from_low = rest ^ tagged ^ tagged >> 16;
    let from_high = rest.rotate_right(16);
    let window = |key_bit: u32| match key_bit {
        // Where the input begins there is nothing before it.
        0 => from_high,
        1..16 => (from_high ^ tagged ^ tagged << 16) >> key_bit,
        _ => from_low >> (key_bit - 16),
    };
    let sum = (0..32).filter(|bit| key >> bit & 1 != 0).fold(0, |sum, bit| sum ^ window(bit));
    (sum & 0x7fff) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed by the folded form of another driver: TCP 10.0.0.1:1000 to 10.0.0.2:80, without and with 0x0800 as flexible bytes.
    #[test]
    fn hashes_are_those_that_others_compute() {
        let rest = 0x0a00_0001 ^ 0x0a00_0002 ^ (1000 << 16 | 80);
        assert_eq!(hash(BUCKET_KEY, 2 << 16, rest) & 0x1fff, 0x16ce);
        assert_eq!((hash(BUCKET_KEY, 2 << 16, rest ^ 0x0800_0000), hash(SIGNATURE_KEY, 2 << 16, rest ^ 0x0800_0000)), (0x32bc, 0x5a75));
    }
}
