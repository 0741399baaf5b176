//! The EEPROM chip behind EEC's pins, as software reaches it bit by bit (8.2.3.2.1): 4 KiB with a serial interface, pages of 32 bytes.
//!
//! The instructions are those that all such chips share. Data comes in with the rising clock and goes out with the falling one.

/// EEC's pins: clock, chip select (low: selected), data in, data out.
pub(super) const SK: u32 = 1;
pub(super) const CS: u32 = 1 << 1;
pub(super) const DI: u32 = 1 << 2;
pub(super) const DO: u32 = 1 << 3;

mod instruction {
    pub(super) const WRITE: u8 = 2;
    pub(super) const READ: u8 = 3;
    pub(super) const WRITE_DISABLE: u8 = 4;
    pub(super) const READ_STATUS: u8 = 5;
    pub(super) const WRITE_ENABLE: u8 = 6;
}

/// Bits of the status: a write is going on; writes are enabled.
const STATUS_BUSY: u8 = 1;
const STATUS_WRITE_ENABLED: u8 = 1 << 1;
/// An instruction and two bytes of address.
const HEAD_BYTES: usize = 3;
/// A write wraps around inside its page.
const PAGE_BYTES: usize = 32;
/// How long the chip takes for a write, in microseconds.
const WRITE_US: u64 = 5_000;

/// The chip, without its content.
#[derive(Debug, Clone)]
pub(super) struct Spi {
    pins: u32,
    /// Bits that came in since the chip was selected, and the last eight of them.
    bits: usize,
    byte: u8,
    head: [u8; HEAD_BYTES],
    page: [Option<u8>; PAGE_BYTES],
    /// The byte that goes out, and the bit of it that stands at the pin.
    answer: u8,
    out: bool,
    may_write: bool,
    ready_us: u64,
}

impl Spi {
    pub(super) fn new() -> Self {
        Self { pins: CS, bits: 0, byte: 0, head: [0; HEAD_BYTES], page: [None; PAGE_BYTES], answer: 0, out: false, may_write: false, ready_us: 0 }
    }

    /// The pin data out, at its place in EEC.
    pub(super) fn out(&self) -> u32 {
        u32::from(self.out) * DO
    }

    /// Puts SK, CS and DI to what `pins` says.
    pub(super) fn drive(&mut self, words: &mut [u16], now_us: u64, pins: u32) {
        let before = std::mem::replace(&mut self.pins, pins);
        let (rose, fell) = (pins & !before, before & !pins);
        if rose & CS != 0 {
            self.end(words, now_us);
        }
        if pins & CS != 0 {
            return;
        }
        if fell & CS != 0 {
            (self.bits, self.head, self.page, self.answer) = (0, [0; HEAD_BYTES], [None; PAGE_BYTES], 0);
        }
        if rose & SK != 0 {
            self.byte = self.byte << 1 | u8::from(pins & DI != 0);
            self.bits += 1;
            if self.bits.is_multiple_of(8) {
                self.take_byte(words, now_us);
            }
        } else if fell & SK != 0 {
            self.out = self.answer >> (7 - self.bits % 8) & 1 != 0;
        }
    }

    fn address(&self) -> usize {
        usize::from(u16::from_be_bytes([self.head[1], self.head[2]]))
    }

    /// A byte has come in: it is stored, and the next one to go out is prepared.
    fn take_byte(&mut self, words: &[u16], now_us: u64) {
        let count = self.bits / 8;
        if let Some(byte) = self.head.get_mut(count - 1) {
            *byte = self.byte;
        } else {
            self.page[(self.address() + count - 1 - HEAD_BYTES) % PAGE_BYTES] = Some(self.byte);
        }
        let is_busy = now_us < self.ready_us;
        self.answer = match self.head[0] {
            instruction::READ_STATUS => (u8::from(is_busy) * STATUS_BUSY) | (u8::from(self.may_write) * STATUS_WRITE_ENABLED),
            instruction::READ if count >= HEAD_BYTES && !is_busy => {
                let at = (self.address() + count - HEAD_BYTES) % (2 * words.len());
                words[at / 2].to_le_bytes()[at % 2]
            }
            _ => 0,
        };
    }

    /// The chip is no longer selected, which starts what it was told. While it writes it does nothing else.
    fn end(&mut self, words: &mut [u16], now_us: u64) {
        self.out = false;
        if !self.bits.is_multiple_of(8) || now_us < self.ready_us {
            return;
        }
        match (self.head[0], self.bits / 8) {
            (instruction::WRITE_ENABLE, 1) => self.may_write = true,
            (instruction::WRITE_DISABLE, 1) => self.may_write = false,
            (instruction::WRITE, count) if count > HEAD_BYTES && self.may_write => {
                let first = self.address() / PAGE_BYTES * PAGE_BYTES;
                for (i, byte) in self.page.iter().enumerate().filter_map(|(i, byte)| Some((i, (*byte)?))) {
                    let at = (first + i) % (2 * words.len());
                    let mut bytes = words[at / 2].to_le_bytes();
                    bytes[at % 2] = byte;
                    words[at / 2] = u16::from_le_bytes(bytes);
                }
                (self.may_write, self.ready_us) = (false, now_us + WRITE_US);
            }
            _ => {}
        }
    }
}
