//! What both formats' records come to: a frame, or what else became of them.

use std::io;

use super::source::Source;

/// The longest record that libpcap writes (`MAXIMUM_SNAPLEN`). A longer one is damage, not a frame.
const MAX_RECORD_BYTES: u32 = 256 * 1024;
/// `LINKTYPE_ETHERNET`.
pub(super) const ETHERNET: u32 = 1;

/// A frame as it was captured.
#[derive(Default)]
pub(super) struct Frame {
    pub(super) bytes: Vec<u8>,
    /// Its length on the wire.
    pub(super) original: usize,
}

/// What became of one record or block.
pub(super) enum Step {
    Frame,
    /// A block without a frame.
    Other,
    /// A frame of another kind of link.
    Foreign(u32),
    /// It has not come yet.
    Later,
    /// There are no more.
    End,
}

/// Why no further record can be read.
pub(super) struct Damage(pub(super) String);

impl Damage {
    pub(super) fn new(cause: &str) -> Self {
        Self(cause.into())
    }
    pub(super) fn cut() -> Self {
        Self::new("the file ends in the middle of a record")
    }
}

impl Step {
    /// What the end of the bytes means between two records.
    pub(super) fn end(source: &Source) -> Result<Self, Damage> {
        if source.bytes().is_empty() && !source.is_short() { Ok(Self::End) } else { Err(Damage::cut()) }
    }
}

impl From<io::Error> for Damage {
    fn from(error: io::Error) -> Self {
        Self(format!("cannot read on: {error}"))
    }
}

impl Frame {
    /// Takes what was captured of a frame of `original` bytes. A capture can hold more than it says the frame had: then it had what is there.
    pub(super) fn set(&mut self, captured: &[u8], original: u32) {
        self.bytes.clear();
        self.bytes.extend_from_slice(captured);
        self.original = captured.len().max(original as usize);
    }
}

/// A captured length that no capture has is damage.
pub(super) fn check_captured(captured: u32) -> Result<(), Damage> {
    if captured > MAX_RECORD_BYTES {
        return Err(Damage(format!("a record claims {captured} bytes, more than any capture holds ({MAX_RECORD_BYTES})")));
    }
    Ok(())
}

/// Takes off what is there of a frame check sequence at the end of a frame.
pub(super) fn trim_fcs(frame: &mut Frame, fcs_bytes: usize) {
    frame.original = frame.original.saturating_sub(fcs_bytes);
    frame.bytes.truncate(frame.original);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_captured_of_a_frame_check_sequence_is_taken_off() {
        let trimmed = |captured: usize, original| {
            let mut frame = Frame::default();
            frame.set(&vec![0; captured], original);
            trim_fcs(&mut frame, 4);
            frame.bytes.len()
        };
        assert_eq!(trimmed(64, 64), 60);
        assert_eq!(trimmed(62, 64), 60);
        assert_eq!(trimmed(60, 64), 60);
        assert_eq!(trimmed(40, 64), 40);
        assert_eq!(trimmed(64, 60), 60, "a captured length above the original one is believed");
    }
}
