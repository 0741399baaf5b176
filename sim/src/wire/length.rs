//! How long a frame may be.

/// The longest frame that a wire carries, in bytes: 16 KiB, above what any card here takes.
pub const MAX_FRAME_BYTES: usize = 16 * 1024;
/// The shortest frame that a wire carries, in bytes: an Ethernet header. A card pads what it sends to 60.
pub const MIN_FRAME_BYTES: usize = 14;
