//! What a frame asks of whoever sends it.

use bitflags::bitflags;

use crate::buf::frame::Frame;
use crate::buf::meta::Checksum;

bitflags! {
    /// What a frame asks of whoever sends it, beside sending its bytes.
    ///
    /// A driver says what of it the device does (`TxKernel::offload`). Of what is left, its queue does the work of [`Work::SOFTWARE`] itself, unless that was
    /// switched off, and refuses a frame that asks for more.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Work: u8 {
        /// Fill in a checksum ([`Checksum::Partial`]).
        const CHECKSUM = 1 << 0;
        /// Put in a VLAN tag.
        const VLAN = 1 << 1;
        /// Cut it into many.
        const SEGMENTATION = 1 << 2;
        /// Fill in SCTP's CRC32c ([`Checksum::PartialSctp`]).
        const SCTP_CRC = 1 << 3;
    }
}

impl Work {
    /// What software does where the device does not.
    pub const SOFTWARE: Self = Self::CHECKSUM.union(Self::VLAN).union(Self::SCTP_CRC).union(Self::SEGMENTATION);

    /// What `frame` asks for.
    pub fn of(frame: &Frame) -> Self {
        if frame.asks_for_nothing() {
            return Self::empty();
        }
        let mut work = Self::empty();
        work.set(Self::CHECKSUM, matches!(frame.checksum(), Checksum::Partial { .. }));
        work.set(Self::SCTP_CRC, matches!(frame.checksum(), Checksum::PartialSctp { .. }));
        work.set(Self::VLAN, frame.vlan().is_some());
        work.set(Self::SEGMENTATION, frame.segmentation().is_some());
        work
    }
}
