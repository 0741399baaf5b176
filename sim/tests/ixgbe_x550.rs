//! What the X540 and the X550 have and the 82599 has not: a smaller packet buffer, and the X550's firmware that takes commands.

use crate::common::{Card, MAC};
use sim::ixgbe::IxgbeOptions;

const HICR: u32 = 0x15F00;
const RAM: u32 = 0x15800;
const EN: u32 = 1;
const C: u32 = 2;
const SV: u32 = 4;

fn card(device: u16) -> Card {
    let card = Card::with(IxgbeOptions::new().device(device));
    card.device.advance_us(1000);
    card
}

/// Takes the semaphores that a command wants, gives it, and waits for its end.
fn command(card: &Card, words: &[u32]) -> u32 {
    // SWSM.SMBI, then SW_FW_SYNC with its register semaphore: the host interface and the EEPROM.
    assert_eq!(card.r(0x10140) & 1, 0);
    let sync = card.r(0x10160);
    card.w(0x10160, sync | 1 << 10 | 1);
    for (at, &word) in (0..).zip(words) {
        card.w(RAM + 4 * at, word);
    }
    card.w(HICR, card.r(HICR) | C);
    assert_eq!(card.r(HICR), EN | C, "under way, and no status yet");
    card.device.advance_us(20);
    assert_eq!(card.r(HICR), EN | SV);
    card.w(0x10160, 0);
    card.w(0x10140, 0);
    card.r(RAM) >> 16 & 0xFF
}

/// A command's header: its number, the length of what follows, and a checksum that nobody looks at.
fn header(number: u32, len: u32) -> u32 {
    number | len << 16 | 0xFF << 24
}

fn read(card: &Card, word: u16, words: u16) -> Vec<u16> {
    assert_eq!(command(card, &[header(0x31, 6), (u32::from(word) * 2).to_be(), u32::from((words * 2).to_be())]), 1);
    (0..u32::from(words)).map(|i| (card.r(RAM + 12 + i / 2 * 4) >> (16 * (i % 2))) as u16).collect()
}

#[test]
fn the_firmware_reads_the_eeprom() {
    let card = card(0x1563);
    let words = read(&card, 0, 0x42);
    assert_eq!(words[0x2D..0x2F], [0x1563, 0x8000], "the version of the firmware");
    let core = words[0x09];
    let address = read(&card, core + 1, 3);
    assert_eq!(address.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>(), MAC);
    assert_eq!(read(&card, 0xFFF0, 2), [0xFFFF, 0xFFFF], "beyond the end");
    card.expect_violations(&[]);
}

#[test]
fn the_firmware_writes_a_word_that_lasts_over_a_reset() {
    let card = card(0x1563);
    assert_eq!(command(&card, &[header(0x33, 10), (0x300u32 * 2).to_be(), u32::from(2u16.to_be()), 0xBEEF]), 1);
    assert_eq!(command(&card, &[header(0x36, 0)]), 1);
    card.w(0, 1 << 26);
    card.device.advance_us(1000);
    assert_eq!(read(&card, 0x2FF, 3), [0xFFFF, 0xBEEF, 0xFFFF]);
    card.expect_violations(&[]);
}

#[test]
fn the_receiver_is_turned_off_by_command() {
    let card = card(0x1563);
    card.enable_receive();
    assert_eq!(card.r(0x3000) & 1, 1);
    assert_eq!(command(&card, &[header(0xDE, 1)]), 1);
    assert_eq!(card.r(0x3000) & 1, 0);
}

#[test]
fn an_unknown_command_is_refused() {
    let card = card(0x1563);
    assert_eq!(command(&card, &[header(0x77, 0)]), 0x80);
    assert_eq!(command(&card, &[header(0x33, 10), u32::MAX, u32::from(2u16.to_be()), 0]), 0x80, "a word that is not there");
}

#[test]
fn a_command_without_the_semaphore_is_a_violation() {
    let card = card(0x1563);
    card.w(RAM, header(0xDD, 0));
    card.w(HICR, C);
    card.expect_violations(&["a command was given without SW_FW_SYNC.SW_MNG_SM"]);
}

#[test]
fn other_cards_take_no_commands() {
    for device in [0x10FB, 0x1528] {
        let card = card(device);
        assert_eq!(card.r(HICR) & EN, 0);
        card.w(HICR, C);
        card.device.advance_us(1000);
        assert_eq!(card.r(HICR) & SV, 0, "{device:#x}");
    }
}

#[test]
fn the_copper_cards_have_the_smaller_packet_buffer() {
    assert_eq!([0x10FB, 0x1528, 0x1563].map(|device| card(device).r(0x3C00) >> 10), [512, 384, 384]);
}

#[test]
fn registers_of_its_own() {
    let card = card(0x1563);
    // ETAG_ETYPE, whose valid bit turns on what the model lacks, and the X550's I2CCTL.
    for (offset, value) in [(0x5084, 0x893F), (0x15F5C, 0x4600)] {
        card.w(offset, value);
        assert_eq!(card.r(offset), value);
    }
    card.expect_violations(&[]);
    card.w(0x5084, 1 << 31 | 0x893F);
    card.expect_violations(&["E-tags are not modelled"]);
}
