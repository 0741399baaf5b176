//! What a device is to do in the stack's place.

use bitflags::bitflags;

bitflags! {
    /// Work that a device does in the stack's place, to be switched off where it is not wanted. What a device cannot do it leaves alone: see
    /// [`Caps`](crate::device::caps::Caps) in its [`DeviceInfo`](crate::device::info::DeviceInfo).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Offloads: u32 {
        /// Received frames tell what the device found of their checksums ([`Frame::checksum`](crate::buf::frame::Frame::checksum)). Without it they
        /// tell nothing.
        const RX_CHECKSUM = 1 << 0;
        /// The device fills in checksums of frames that ask for it. Without it software does, unless
        /// [`Config::software`](crate::device::config::Config::software) says otherwise.
        const TX_CHECKSUM = 1 << 1;
        /// A received frame may lie in several buffers. Without it each lies in one: buffers of the device's own pool are as large as the longest frame, and
        /// those of a pool that it is given have to be.
        const RX_SCATTER = 1 << 2;
        /// The device puts VLAN tags into frames that ask for it. Without it software does, as for checksums.
        const TX_VLAN_INSERT = 1 << 3;
        /// The device cuts frames that ask for it ([`Frame::set_segmentation`](crate::buf::Frame::set_segmentation)). Without it software does, as for checksums.
        const TX_SEGMENTATION = 1 << 4;
        /// The device fills in SCTP's CRC of frames that ask for it. Without it software does, as for checksums.
        const TX_SCTP_CRC = 1 << 5;
    }
}
