//! The hash by which flow director finds a filter (7.1.2.7.4): a 32-bit key, of which each set bit adds a window of 16 bits of the input to the sum.
//!
//! The key repeats every 32 bits, and with it each double word of the input goes round in 32 bits; the one with pool, type and VLAN tag is the last, at which the input
//! ends: it does not go round, and what lies beyond it begins with itself.

/// Pool, type and tag; then addresses, ports and flexible bytes, each as it is on the wire.
pub(super) type Input = [u32; 11];

/// The low 15 bits of the hash of `input` by `key`.
pub(super) fn hash(key: u32, input: &Input) -> u16 {
    let [last, others @ ..] = *input;
    let selected = (0..32).filter(|bit| key >> bit & 1 != 0);
    let sum = selected.fold(0, |sum: u32, bit| {
        let windows = others.iter().fold(sum, |sum, word| sum ^ word.rotate_right((bit + 16) % 32));
        windows
            ^ match bit {
                0 => 0,
                1..16 => (last ^ last << 16) >> bit,
                _ => (last ^ last >> 16) >> (bit - 16),
            }
    });
    (sum & 0x7FFF) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the folded form that drivers use: all double words but the last summed up first.
    fn folded(key: u32, input: &Input) -> u16 {
        let high = input[1..].iter().fold(0, |sum, word| sum ^ word);
        let low = high.rotate_right(16);
        let (high, tagged) = (high ^ input[0] ^ input[0] >> 16, low ^ input[0] ^ input[0] << 16);
        let mut sum = 0;
        for bit in 0..16 {
            let low = if bit == 0 { low } else { tagged };
            sum ^= if key >> bit & 1 != 0 { low >> bit } else { 0 };
            sum ^= if key >> (bit + 16) & 1 != 0 { high >> bit } else { 0 };
        }
        (sum & 0x7FFF) as u16
    }

    #[test]
    fn summed_up_first_or_window_by_window() {
        let mut seed = 0x2545_F491u32;
        let mut random = || {
            seed ^= seed << 13;
            seed ^= seed >> 17;
            seed ^= seed << 5;
            seed
        };
        for _ in 0..1000 {
            let input: Input = std::array::from_fn(|_| random());
            let key = random();
            assert_eq!(hash(key, &input), folded(key, &input), "{key:#x} {input:x?}");
        }
    }

    #[test]
    fn one_bit_of_the_key_is_one_window() {
        let input = [0, 0, 0, 0x1234_5678, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(hash(1 << 16, &input), 0x5678);
        assert_eq!(hash(1 << 20, &input), 0x4567);
        assert_eq!(hash(1 << 0, &input), 0x1234);
        assert_eq!(hash(1 << 4, &input), 0x0123, "0x8123 without its upper bit");
    }
}
