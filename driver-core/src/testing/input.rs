//! Stories out of bytes.

/// Bytes that say what becomes of a device, taken from the front: tests take random ones, fuzzing those that cover more. `None`: the story is over.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// The first `most` of `bytes`.
    pub fn of(bytes: &'a [u8], most: usize) -> Self {
        Self(&bytes[..bytes.len().min(most)])
    }

    /// The next byte.
    pub fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// The next four, little-endian.
    pub fn word(&mut self) -> Option<u32> {
        let (first, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*first))
    }
}
