//! A BAR of plain memory.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::host::bar::{Bar, BarError, Doorbell, RegSpace};

type OnRead = Arc<dyn Fn(&PlainBar, u32) -> u32 + Send + Sync>;
type OnWrite = Arc<dyn Fn(&PlainBar, u32) + Send + Sync>;

/// Registers in plain memory, all zero at first: what is written is read again, and all accesses are remembered. Where a card does more than to remember,
/// the test says so:
///
/// | call | what the register does |
/// | --- | --- |
/// | [`set`](Self::set) | reads so from now on |
/// | [`set_clearing`](Self::set_clearing) | reads so once, and 0 after that (a counter that is cleared by reading) |
/// | [`stick`](Self::stick), [`clear`](Self::clear) | these bits read 1, or 0, whatever is written |
/// | [`on_read`](Self::on_read), [`on_write`](Self::on_write) | whatever the test has it do |
///
/// An access beyond the end or out of alignment behaves as [`RegSpace`] has it. A `PlainBar` is a handle: its clones are the same registers.
///
/// ```
/// use driver_core::host::RegSpace;
/// use driver_core::testing::PlainBar;
///
/// // CTRL at 0, whose reset bit clears itself; STATUS at 8.
/// let bar = PlainBar::new(0x1000);
/// bar.on_write(0, |bar, value| bar.set(0, value & !(1 << 26)));
/// bar.set(8, 0x80000);
/// bar.write32(0, 1 << 26 | 4);
/// assert_eq!((bar.read32(0), bar.read16(10), bar.read32(0x1000)), (4, 8, u32::MAX));
/// assert_eq!(bar.writes(), [(0, 1 << 26 | 4)]);
/// ```
#[derive(Clone)]
pub struct PlainBar(Arc<Mutex<State>>);

struct State {
    words: Vec<u32>,
    /// Bits that read 1, and bits that read 0, by the word's offset, as all that follows.
    stuck: HashMap<u32, (u32, u32)>,
    on_read: HashMap<u32, OnRead>,
    on_write: HashMap<u32, OnWrite>,
    accesses: Vec<Access>,
}

/// One access to a [`PlainBar`]. Those of 64 bits are two of 32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "nothing else can be done to a register")]
pub enum Access {
    /// A read.
    Read {
        /// Where, in bytes from the start.
        offset: u32,
        /// How wide, in bytes.
        len_bytes: u32,
    },
    /// A write, by a doorbell or not.
    Write {
        /// Where, in bytes from the start.
        offset: u32,
        /// How wide, in bytes.
        len_bytes: u32,
        /// What.
        value: u32,
    },
}

impl PlainBar {
    /// A BAR of `len_bytes`, rounded up to whole words of 32 bits. Of 0 bytes: one behind which nobody answers.
    pub fn new(len_bytes: usize) -> Self {
        let (stuck, on_read, on_write) = Default::default();
        Self(Arc::new(Mutex::new(State { words: vec![0; len_bytes.div_ceil(4)], stuck, on_read, on_write, accesses: Vec::new() })))
    }

    /// A hook that panicked leaves registers as good as any.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The word at `offset` as it is stored, whatever reads of it answer; all ones where there is none. No access is remembered, and no hook called.
    pub fn get(&self, offset: u32) -> u32 {
        self.state().words.get(offset as usize / 4).copied().unwrap_or(u32::MAX)
    }

    /// Stores the word at `offset`, as the card does: no access is remembered, and no hook called. Where there is none it is lost.
    pub fn set(&self, offset: u32, value: u32) {
        if let Some(word) = self.state().words.get_mut(offset as usize / 4) {
            *word = value;
        }
    }

    /// The next read of the word at `offset` answers `value`, those after it 0.
    pub fn set_clearing(&self, offset: u32, value: u32) {
        self.set(offset, value);
        self.on_read(offset, move |bar, value| {
            bar.set(offset, 0);
            value
        });
    }

    /// These bits of the word at `offset` read 1 from now on.
    pub fn stick(&self, offset: u32, bits: u32) {
        let mut state = self.state();
        let (ones, zeros) = state.stuck.entry(offset & !3).or_default();
        (*ones, *zeros) = (*ones | bits, *zeros & !bits);
    }

    /// These bits of the word at `offset` read 0 from now on.
    pub fn clear(&self, offset: u32, bits: u32) {
        let mut state = self.state();
        let (ones, zeros) = state.stuck.entry(offset & !3).or_default();
        (*ones, *zeros) = (*ones & !bits, *zeros | bits);
    }

    /// Reads of the word at `offset` answer what `answer` makes of the stored word, before bits that [`stick`](Self::stick).
    pub fn on_read(&self, offset: u32, answer: impl Fn(&Self, u32) -> u32 + Send + Sync + 'static) {
        self.state().on_read.insert(offset & !3, Arc::new(answer));
    }

    /// Calls `act` behind every write to the word at `offset`, with the word as it is then.
    pub fn on_write(&self, offset: u32, act: impl Fn(&Self, u32) + Send + Sync + 'static) {
        self.state().on_write.insert(offset & !3, Arc::new(act));
    }

    /// All accesses until now, oldest first, those that nobody answers included.
    pub fn accesses(&self) -> Vec<Access> {
        self.state().accesses.clone()
    }

    /// Offset and value of all writes until now, oldest first.
    pub fn writes(&self) -> Vec<(u32, u32)> {
        let write = |access| match access {
            Access::Write { offset, value, .. } => Some((offset, value)),
            Access::Read { .. } => None,
        };
        self.accesses().into_iter().filter_map(write).collect()
    }

    /// What was written to the word at `offset` until now, oldest first.
    pub fn writes_to(&self, offset: u32) -> Vec<u32> {
        self.writes().into_iter().filter(|&(at, _)| at & !3 == offset & !3).map(|(_, value)| value).collect()
    }

    /// Forgets the accesses until now.
    pub fn forget(&self) {
        self.state().accesses.clear();
    }

    fn read(&self, offset: u32, len_bytes: u32) -> u32 {
        let all_ones = u32::MAX >> (32 - 8 * len_bytes);
        let (word, hook) = {
            let mut state = self.state();
            state.accesses.push(Access::Read { offset, len_bytes });
            let Some(word) = state.words.get(offset as usize / 4).copied().filter(|_| offset.is_multiple_of(len_bytes)) else { return all_ones };
            (word, state.on_read.get(&(offset & !3)).cloned())
        };
        // Outside of the lock: a hook reads and sets registers.
        let word = hook.map_or(word, |answer| answer(self, word));
        let (ones, zeros) = self.state().stuck.get(&(offset & !3)).copied().unwrap_or_default();
        ((word | ones) & !zeros) >> (8 * (offset & 3)) & all_ones
    }

    fn write(&self, offset: u32, len_bytes: u32, value: u32) {
        let (word, hook) = {
            let mut state = self.state();
            state.accesses.push(Access::Write { offset, len_bytes, value });
            let Some(word) = state.words.get_mut(offset as usize / 4).filter(|_| offset.is_multiple_of(len_bytes)) else { return };
            let shift = 8 * (offset & 3);
            let mask = (u32::MAX >> (32 - 8 * len_bytes)) << shift;
            *word = *word & !mask | value << shift & mask;
            (*word, state.on_write.get(&(offset & !3)).cloned())
        };
        if let Some(act) = hook {
            act(self, word);
        }
    }
}

impl RegSpace for PlainBar {
    fn len_bytes(&self) -> usize {
        4 * self.state().words.len()
    }
    fn read8(&self, offset: u32) -> u8 {
        self.read(offset, 1) as u8
    }
    fn read16(&self, offset: u32) -> u16 {
        self.read(offset, 2) as u16
    }
    fn read32(&self, offset: u32) -> u32 {
        self.read(offset, 4)
    }
    fn write8(&self, offset: u32, value: u8) {
        self.write(offset, 1, value.into());
    }
    fn write16(&self, offset: u32, value: u16) {
        self.write(offset, 2, value.into());
    }
    fn write32(&self, offset: u32, value: u32) {
        self.write(offset, 4, value);
    }
}

impl Bar for PlainBar {
    type Doorbell = Box<PlainDoorbell>;

    fn doorbell(&self, offset: u32) -> Result<Box<PlainDoorbell>, BarError> {
        let len_bytes = self.len_bytes();
        if offset as usize >= len_bytes || !offset.is_multiple_of(4) {
            return Err(BarError::new(offset, len_bytes));
        }
        Ok(Box::new(PlainDoorbell { bar: self.clone(), offset }))
    }
}

impl fmt::Debug for PlainBar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PlainBar({:#x} bytes, {} accesses)", self.len_bytes(), self.state().accesses.len())
    }
}

/// One register of a [`PlainBar`].
#[derive(Debug)]
pub struct PlainDoorbell {
    bar: PlainBar,
    offset: u32,
}

impl Doorbell for Box<PlainDoorbell> {
    fn ring(&self, value: u32) {
        self.bar.write32(self.offset, value);
    }
    fn ring16(&self, value: u16) {
        self.bar.write16(self.offset, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrow_accesses_reach_their_part_of_a_word() {
        let bar = PlainBar::new(6);
        assert_eq!(bar.len_bytes(), 8, "whole words");
        bar.write32(4, 0x4433_2211);
        bar.write8(5, 0xaa);
        bar.write16(6, 0xbbcc);
        assert_eq!((bar.read32(4), bar.read16(4), bar.read8(7), bar.read64(0)), (0xbbcc_aa11, 0xaa11, 0xbb, 0xbbcc_aa11 << 32));
        bar.doorbell(4).unwrap().ring16(7);
        assert_eq!(bar.get(4), 0xbbcc_0007);
        assert_eq!(bar.writes(), [(4, 0x4433_2211), (5, 0xaa), (6, 0xbbcc), (4, 7)]);
    }

    #[test]
    fn nobody_answers_beyond_the_end_and_out_of_alignment() {
        let bar = PlainBar::new(8);
        for offset in [2, 7, 8, u32::MAX] {
            bar.write32(offset, 0x1234_5678);
            assert_eq!((bar.read32(offset), bar.doorbell(offset).unwrap_err()), (u32::MAX, BarError::new(offset, 8)), "{offset}");
        }
        assert_eq!((bar.read16(3), bar.read16(4), bar.read8(8), bar.read64(0)), (u16::MAX, 0, u8::MAX, 0));
        bar.set(8, 1);
        assert_eq!((bar.get(8), PlainBar::new(0).read32(0)), (u32::MAX, u32::MAX));
    }

    #[test]
    fn a_register_does_as_it_is_told() {
        let bar = PlainBar::new(0x20);
        bar.set_clearing(0, 9);
        assert_eq!((bar.read32(0), bar.read32(0)), (9, 0));
        bar.stick(4, 0xf0);
        bar.clear(4, 0x30);
        bar.write32(4, 0x1f);
        assert_eq!((bar.read32(4), bar.get(4)), (0xcf, 0x1f), "what is written is kept");
        bar.on_read(8, |bar, value| value + bar.get(4));
        bar.on_write(8, |bar, value| bar.set(12, value));
        bar.write16(10, 1);
        assert_eq!((bar.read32(8), bar.get(12)), (0x1_001f, 0x1_0000), "the whole word, however narrow the write");
    }

    #[test]
    fn what_the_test_itself_does_is_no_access() {
        let bar = PlainBar::new(8);
        bar.set(0, 5);
        let _ = bar.get(0);
        bar.write8(1, 2);
        let _ = bar.read32(0);
        bar.write32(4, 3);
        let accesses = [
            Access::Write { offset: 1, len_bytes: 1, value: 2 },
            Access::Read { offset: 0, len_bytes: 4 },
            Access::Write { offset: 4, len_bytes: 4, value: 3 },
        ];
        assert_eq!((bar.accesses(), bar.writes_to(4)), (accesses.to_vec(), vec![3]));
        bar.forget();
        assert_eq!(bar.accesses(), []);
    }
}
