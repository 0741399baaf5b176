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
/// A section of the X550's that has no length: word 6 points to it.
const PCIE_GENERAL: usize = 0x160;
/// The PHY's image of the X540 and the X550, to which word 4 points. No checksum of the firmware's covers it.
const PHY_IMAGE: usize = 0x190;

/// Where word 0x26 points: of which thermal sensors the board has.
const SENSORS: usize = 0x1C0;

/// PCI device IDs.
const I82599: u16 = 0x10FB;
const X540: u16 = 0x1528;
const X550: u16 = 0x1563;

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
    if device == I82599 {
        words[0x26] = SENSORS as u16;
        // Two sensors, and the kind of chip; marks 5 degrees below the limits. Then limit, diode and place of each.
        words[SENSORS..SENSORS + 3].copy_from_slice(&[5 << 6 | 2, 1 << 10 | 100, 3 << 10 | 1 << 8 | 85]);
    }
    if matches!(device, X540 | X550) {
        words[0x04] = PHY_IMAGE as u16;
        words[PHY_IMAGE..PHY_IMAGE + 3].copy_from_slice(&[2, 0x1111, 0x2222]);
    }
    if device == X550 {
        (words[0x06], words[0x41]) = (PCIE_GENERAL as u16, 0x0550);
        words[PCIE_GENERAL..PCIE_GENERAL + general_words(0x06)].fill(0x0101);
    }
    words[CHECKSUM_WORD] = checksum(device, &words);
    words
}

/// How long the X550's sections without a length are, 0 where a section begins with its length.
fn general_words(pointer: usize) -> usize {
    match pointer {
        0x06 => 0x24,
        0x07 | 0x08 => 8,
        _ => 0,
    }
}

/// The checksum word: with it, the words that count add up to 0xBABA. These are words 0 to 0x3E (the X550: to 0x41, but for this one) and the sections that words 3 to
/// 0xE point to (the X550: 2 to 0xE; from the X540 on without words 4 and 5).
fn checksum(device: u16, words: &[u16]) -> u16 {
    let (last, first_pointer) = if device == X550 { (0x41, 0x02) } else { (0x3E, 0x03) };
    let header = (0..=last).filter(|&at| at != CHECKSUM_WORD).map(|at| words[at]);
    let counts = |pointer: &usize| !(matches!(device, X540 | X550) && matches!(pointer, 0x04 | 0x05));
    let sections = (first_pointer..0x0F).filter(counts).filter(|&pointer| !matches!(words[pointer], 0 | 0xFFFF)).flat_map(|pointer| {
        let at = usize::from(words[pointer]);
        match if device == X550 { general_words(pointer) } else { 0 } {
            0 => &words[at + 1..at + 1 + usize::from(words[at])],
            len => &words[at..at + len],
        }
    });
    SUM.wrapping_sub(header.chain(sections.copied()).fold(0, u16::wrapping_add))
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

    /// Linux's driver, which checks the sum when it is loaded, says that these are right.
    #[test]
    fn the_later_cards_add_up_otherwise() {
        let sum = |words: &[u16]| words.iter().fold(0u16, |sum, &word| sum.wrapping_add(word));
        let x540 = image(X540, [2; 6]);
        assert_eq!(sum(&x540[..=0x3F]).wrapping_add(sum(&x540[CORE0 + 1..=CORE0 + 4])), 0xBABA, "without the PHY's image");
        let x550 = image(X550, [2; 6]);
        let sections = sum(&x550[CORE0 + 1..=CORE0 + 4]).wrapping_add(sum(&x550[PCIE_GENERAL..PCIE_GENERAL + 0x24]));
        assert_eq!(sum(&x550[..=0x41]).wrapping_add(sections), 0xBABA);
    }
}
