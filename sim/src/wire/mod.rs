//! Wires: what a simulated card's port is plugged into.
//!
//! | wire | far end | lossless |
//! | --- | --- | --- |
//! | [`peer`] | another simulated port | no: a card without descriptors drops, as a real one does |
//! | [`pcap`] | capture files, in and out | yes: a file waits |
//! | [`tap`] | the Linux network stack | no |
//! | [`dgram`] | unix datagrams, as QEMU's `-netdev dgram` | no |
//! | [`traffic`] | a frame generator and checker | yes, unless it floods |
//! | [`impair`] | wraps a wire: loss, duplication, reordering, delay | as the wire inside |
//! | [`slow`] | wraps a wire: a rate in frames | as the wire inside |
//!
//! [`spec::WireSpec`] makes one from the `key=value` options of a device spec.

pub mod dgram;
mod error;
pub mod impair;
mod length;
pub mod pcap;
pub mod peer;
pub(crate) mod random;
pub mod slow;
pub mod spec;
pub mod tap;
#[cfg(test)]
mod testing;
pub mod traffic;

pub use error::WireError;
pub use length::{MAX_FRAME_BYTES, MIN_FRAME_BYTES};

/// One end of a wire: what a card's port is plugged into. Frames are whole Ethernet frames without preamble and frame check sequence.
pub trait Wire: Send {
    /// A frame leaves the card. `Sent::Busy`: the wire cannot take it now, nothing happened, try again later (a real wire has a rate).
    fn send(&mut self, frame: &[u8]) -> Sent;
    /// The next frame that arrives at the card, if one is there. `frame` is cleared and filled.
    fn receive(&mut self, frame: &mut Vec<u8>) -> bool;
    /// Whether there is a carrier.
    fn carrier(&self) -> bool {
        true
    }
    /// Whether no frame will ever arrive any more (a capture file that was read through).
    fn is_finished(&self) -> bool {
        false
    }
    /// Whether what the wire is plugged into is gone for good (a tap device that was deleted): its card is taken off its bus then, since nobody who waits
    /// for frames, or for room, would be told otherwise.
    fn is_gone(&self) -> bool {
        false
    }
    /// Whether frames wait at the far end until the card has room: true means "do not call `receive` unless a descriptor is free".
    /// Frames of a wire that is not lossless come when they come, and a card without a free descriptor drops and counts them.
    fn is_lossless(&self) -> bool {
        false
    }
    /// A descriptor that becomes readable when a frame may have arrived, so that an idle card can sleep; None: poll it.
    /// Ask again before each sleep: a wire that holds frames back says None until they are through.
    fn fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }
    /// The first error so far, if any. It changes nothing, so it may be asked at any time; what is still buffered may yet fail.
    fn error(&self) -> Option<WireError> {
        None
    }
    /// Writes out what is buffered (capture files) and reports the first error that occurred, if any. Called when the device stops.
    ///
    /// # Errors
    /// What went wrong since the wire was made. It is told again at each call.
    fn flush(&mut self) -> Result<(), WireError> {
        Ok(())
    }
}

/// What became of a frame given to [`Wire::send`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a wire takes a frame or not, and whoever sends must know which")]
pub enum Sent {
    /// The frame is on the wire (which may still lose it).
    Taken,
    /// The wire had no room, nothing happened: try again later.
    Busy,
}
