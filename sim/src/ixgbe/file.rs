//! The register file: a word for each register, its access, and its name.

use super::regs::{Access, MAP, Row};

/// Registers fill the first 128 KiB of BAR0 (8.1); flash follows.
pub(super) const CSR_BYTES: u32 = 0x2_0000;
const WORDS: usize = CSR_BYTES as usize / 4;

/// The plain part of BAR0: what was written, and counters.
pub(super) struct RegFile {
    /// Of a fixed length, so that a register whose offset is known costs no test.
    words: Box<[u32; WORDS]>,
    access: Box<[Access]>,
}

impl RegFile {
    pub(super) fn new() -> Self {
        let mut file = Self { words: Box::new([0; WORDS]), access: vec![Access::Reserved; WORDS].into() };
        for (offset, row) in rows() {
            file.access[offset as usize / 4] = row.access;
        }
        file.reset();
        file
    }

    /// Every register to its value after reset.
    pub(super) fn reset(&mut self) {
        for (offset, row) in rows() {
            self.words[offset as usize / 4] = row.reset;
        }
    }

    #[inline]
    pub(super) fn access(&self, offset: u32) -> Access {
        self.access.get(offset as usize / 4).copied().unwrap_or(Access::Reserved)
    }

    #[inline]
    pub(super) fn at(&self, offset: u32) -> u32 {
        self.words.get(offset as usize / 4).copied().unwrap_or(0)
    }

    #[inline]
    pub(super) fn set(&mut self, offset: u32, value: u32) {
        if let Some(word) = self.words.get_mut(offset as usize / 4) {
            *word = value;
        }
    }

    #[inline]
    pub(super) fn has(&self, offset: u32, bits: u32) -> bool {
        self.at(offset) & bits == bits
    }

    pub(super) fn change(&mut self, offset: u32, bits: u32, on: bool) {
        let value = self.at(offset);
        self.set(offset, if on { value | bits } else { value & !bits });
    }

    /// Counts `n` more. Counters stick at their highest value (8.2.3.23).
    #[inline]
    pub(super) fn count(&mut self, offset: u32, n: u32) {
        if let Some(word) = self.words.get_mut(offset as usize / 4) {
            *word = word.saturating_add(n);
        }
    }

    /// Reads and clears.
    pub(super) fn take(&mut self, offset: u32) -> u32 {
        let value = self.at(offset);
        self.set(offset, 0);
        value
    }
}

fn rows() -> impl Iterator<Item = (u32, &'static Row)> {
    MAP.iter().flat_map(|row| (0..row.count).map(move |i| (row.first + i * row.stride, row)))
}

/// The name, the index in its array, and the section of the register at `offset`.
pub(super) fn name_of(offset: u32) -> (&'static str, u32, &'static str) {
    let queue_register = |low: &[(u32, &'static str, &'static str)], queue: u32| {
        let found = low.iter().find(|(at, ..)| *at == offset % 0x40);
        found.map_or(("reserved", queue, "8.2.2"), |&(_, name, section)| (name, queue, section))
    };
    match offset {
        0x01000..0x02000 => queue_register(RX_NAMES, (offset - 0x01000) / 0x40),
        0x0D000..0x0E000 => queue_register(RX_NAMES, 64 + (offset - 0x0D000) / 0x40),
        0x06000..0x08000 => queue_register(TX_NAMES, (offset - 0x06000) / 0x40),
        _ => {
            let holds =
                |row: &&Row| offset >= row.first && (offset - row.first).is_multiple_of(row.stride) && (offset - row.first) / row.stride < row.count;
            MAP.iter().find(holds).map_or(("reserved", offset, "8.2.2"), |row| (row.name, (offset - row.first) / row.stride, row.section))
        }
    }
}

/// Receive queue registers by offset in the queue's block of 64 bytes.
const RX_NAMES: &[(u32, &str, &str)] = &[
    (0x00, "RDBAL", "8.2.3.8.1"),
    (0x04, "RDBAH", "8.2.3.8.2"),
    (0x08, "RDLEN", "8.2.3.8.3"),
    (0x0C, "DCA_RXCTRL", "8.2.3.11.1"),
    (0x10, "RDH", "8.2.3.8.4"),
    (0x14, "SRRCTL", "8.2.3.8.7"),
    (0x18, "RDT", "8.2.3.8.5"),
    (0x28, "RXDCTL", "8.2.3.8.6"),
    (0x2C, "RSCCTL", "8.2.3.8.13"),
    (0x30, "QPRC/QPRDC", "8.2.3.23"),
    (0x34, "QBRC_L", "8.2.3.23"),
    (0x38, "QBRC_H", "8.2.3.23"),
];

/// Transmit queue registers likewise.
const TX_NAMES: &[(u32, &str, &str)] = &[
    (0x00, "TDBAL", "8.2.3.9.5"),
    (0x04, "TDBAH", "8.2.3.9.6"),
    (0x08, "TDLEN", "8.2.3.9.7"),
    (0x0C, "DCA_TXCTRL", "8.2.3.11.2"),
    (0x10, "TDH", "8.2.3.9.8"),
    (0x18, "TDT", "8.2.3.9.9"),
    (0x28, "TXDCTL", "8.2.3.9.10"),
    (0x30, "QPTC", "8.2.3.23"),
    (0x38, "TDWBAL", "8.2.3.9.11"),
    (0x3C, "TDWBAH", "8.2.3.9.12"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_register_is_described_twice() {
        let mut offsets: Vec<_> = rows().map(|(offset, row)| (offset, row.name)).collect();
        offsets.sort_unstable();
        let twice: Vec<_> = offsets.windows(2).filter(|pair| pair[0].0 == pair[1].0).collect();
        assert!(twice.is_empty(), "{twice:x?}");
        assert!(offsets.iter().all(|(offset, _)| offset % 4 == 0 && *offset < CSR_BYTES));
    }

    #[test]
    fn names() {
        assert_eq!(name_of(0x0D040 + 0x18), ("RDT", 65, "8.2.3.8.5"));
        assert_eq!(name_of(0x05204), ("MTA", 1, "8.2.3.7.7"));
        assert_eq!(name_of(0x1FFFC).0, "reserved");
    }
}
