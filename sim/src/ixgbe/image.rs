//! The EEPROM's content (6).

/// The checksum's word (6.3.2.3), and the sum of all words that count.
pub(super) const CHECKSUM_WORD: usize = 0x3F;
const SUM: u16 = 0xBABA;
const WORDS: usize = 2048;
/// Where the model keeps the section of core 0, to which word 9 points.
const CORE0: usize = 0x100;
/// Where word 0xF points: the firmware's sections, of which one holds its version; and the list of module settings behind word 0x2B.
const FIRMWARE: usize = 0x120;
const PATCH: usize = 0x130;
const PHY_INIT: usize = 0x140;
const PHY_INIT_WORDS: usize = 0x150;

/// The address in the section of core 0; zeros where there is no such section.
pub(super) fn address(words: &[u16]) -> [u8; 6] {
    let section = usize::from(words[0x09]);
    let mut address = [0; 6];
    for (pair, word) in address.as_chunks_mut::<2>().0.iter_mut().zip(words.get(section + 1..).unwrap_or_default()) {
        *pair = word.to_le_bytes();
    }
    address
}

/// The content for a card with this address.
pub(super) fn image(device: u16, mac: [u8; 6]) -> Vec<u16> {
    let mut words = vec![0xFFFF; WORDS];
    words[..0x42].fill(0);
    words[0x00] = 0x0040;
    // Pointers to sections that are not there.
    for pointer in [0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x17, 0x1B, 0x26, 0x27, 0x28, 0x37] {
        words[pointer] = 0xFFFF;
    }
    words[0x09] = CORE0 as u16;
    // Part number: without the pointer guard it is a plain number.
    (words[0x15], words[0x16]) = (0xE669, 0x0001);
    words[0x18] = 0x0100;
    words[0x29] = 0x0100;
    // Any SFP+ module will do.
    words[0x2C] = 0x0001;
    (words[0x2D], words[0x2E]) = (device, 0x8000);
    words[0x2F] = 0x0100;
    words[CORE0] = 4;
    for (word, pair) in words[CORE0 + 1..].iter_mut().zip(mac.as_chunks::<2>().0) {
        *word = u16::from_le_bytes(*pair);
    }
    words[CORE0 + 4] = 0;
    // Firmware 6, without the link settings that would take AUTOC under its semaphore.
    words[0x0F] = FIRMWARE as u16;
    words[FIRMWARE + 4] = PATCH as u16;
    words[PATCH + 7] = 6;
    // Settings of each kind of module: passive cables and optics, port 0 and port 1; one word for CORECTL.
    words[0x2B] = PHY_INIT as u16;
    words[PHY_INIT] = 8;
    for (pair, kind) in words[PHY_INIT + 1..].as_chunks_mut::<2>().0.iter_mut().zip([3, 4, 5, 6]) {
        *pair = [kind, PHY_INIT_WORDS as u16];
    }
    (words[PHY_INIT_WORDS], words[PHY_INIT_WORDS + 1]) = (1, 0x0001);
    words[CHECKSUM_WORD] = checksum(&words);
    words
}

/// The checksum word: with it, words 0 to 0x3F and the sections that words 3 to 0xE point to add up to 0xBABA.
fn checksum(words: &[u16]) -> u16 {
    let header = words[..CHECKSUM_WORD].iter();
    let sections = words[0x03..0x0F].iter().filter(|pointer| !matches!(**pointer, 0 | 0xFFFF)).flat_map(|&pointer| {
        let at = usize::from(pointer);
        words[at + 1..].iter().take(words[at].into())
    });
    SUM.wrapping_sub(header.chain(sections).fold(0, |sum, &word| sum.wrapping_add(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up() {
        let words = image(0x10FB, [2, 0, 0, 0x12, 0x34, 0x56]);
        let mut sum = 0u16;
        for word in &words[..=0x3F] {
            sum = sum.wrapping_add(*word);
        }
        for word in &words[CORE0 + 1..=CORE0 + 4] {
            sum = sum.wrapping_add(*word);
        }
        assert_eq!(sum, 0xBABA);
    }
}
