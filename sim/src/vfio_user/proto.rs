//! Messages of the vfio-user protocol, version 0.1 (docs/vfio-user.rst of libvfio-user), little endian. Structures that the protocol takes from VFIO are
//! those of linux/vfio.h.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Commands.
pub(super) mod command {
    pub(crate) const VERSION: u16 = 1;
    pub(crate) const DMA_MAP: u16 = 2;
    pub(crate) const DMA_UNMAP: u16 = 3;
    pub(crate) const DEVICE_GET_INFO: u16 = 4;
    pub(crate) const DEVICE_GET_REGION_INFO: u16 = 5;
    pub(crate) const DEVICE_GET_REGION_IO_FDS: u16 = 6;
    pub(crate) const DEVICE_GET_IRQ_INFO: u16 = 7;
    pub(crate) const DEVICE_SET_IRQS: u16 = 8;
    pub(crate) const REGION_READ: u16 = 9;
    pub(crate) const REGION_WRITE: u16 = 10;
    pub(crate) const DMA_READ: u16 = 11;
    pub(crate) const DMA_WRITE: u16 = 12;
    pub(crate) const DEVICE_RESET: u16 = 13;
    pub(crate) const DIRTY_PAGES: u16 = 14;
    pub(crate) const REGION_WRITE_MULTI: u16 = 15;
    pub(crate) const DEVICE_FEATURE: u16 = 16;
    pub(crate) const MIG_DATA_WRITE: u16 = 18;
}

/// Flags: the type of the message.
pub(super) const TYPE_MASK: u32 = 0xf;
pub(super) const TYPE_COMMAND: u32 = 0;
pub(super) const TYPE_REPLY: u32 = 1;
/// Flags: the sender wants no reply.
pub(super) const NO_REPLY: u32 = 1 << 4;
/// Flags of a reply: the command failed, and the error field says why.
pub(super) const ERROR: u32 = 1 << 5;

/// The most data that one message carries, and so what a client may read or write of a region at once.
pub(super) const MAX_DATA_BYTES: usize = 1 << 20;
/// The most descriptors that come with one message. QEMU refuses a server that says more.
pub(super) const MAX_DESCRIPTORS: usize = 16;
/// The most DMA mappings at a time, as QEMU assumes where a server does not say.
pub(super) const MAX_DMA_MAPS: usize = 65535;
/// The longest message: a header, the head of a region access, and data.
pub(super) const MAX_MESSAGE_BYTES: usize = HEADER_BYTES + size_of::<RegionAccess>() + MAX_DATA_BYTES;
pub(super) const HEADER_BYTES: usize = size_of::<Header>();

/// Derives what every message needs.
macro_rules! message {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
        #[repr(C)]
        pub(super) struct $name {
            $(pub(super) $field: $type,)*
        }
    };
}

message!(
    /// In front of every message. `size` counts it too.
    Header { id: U16, command: U16, size: U32, flags: U32, error: U32 }
);
message!(
    /// VERSION: JSON with a terminating zero follows.
    Version { major: U16, minor: U16 }
);
message!(
    /// DMA_MAP; `offset` is that of the descriptor which may come along.
    DmaMap { argsz: U32, flags: U32, offset: U64, address: U64, size: U64 }
);
message!(
    /// DMA_UNMAP and its reply.
    DmaUnmap { argsz: U32, flags: U32, address: U64, size: U64 }
);
message!(
    /// struct vfio_device_info without capabilities.
    DeviceInfo { argsz: U32, flags: U32, num_regions: U32, num_irqs: U32 }
);
message!(
    /// struct vfio_region_info without capabilities.
    RegionInfo { argsz: U32, flags: U32, index: U32, cap_offset: U32, size: U64, offset: U64 }
);
message!(
    /// struct vfio_irq_info.
    IrqInfo { argsz: U32, flags: U32, index: U32, count: U32 }
);
message!(
    /// struct vfio_irq_set: `count` bytes follow where `flags` has DATA_BOOL.
    IrqSet { argsz: U32, flags: U32, index: U32, start: U32, count: U32 }
);
message!(
    /// REGION_READ and REGION_WRITE: the data follow.
    RegionAccess { offset: U64, region: U32, count: U32 }
);
message!(
    /// One of the writes of REGION_WRITE_MULTI, of at most 8 bytes. Their number, of 64 bits, is in front of them, and is the reply.
    OneWrite { access: RegionAccess, data: [u8; 8] }
);
message!(
    /// DMA_READ and DMA_WRITE: the data follow.
    DmaAccess { address: U64, count: U64 }
);

/// DMA_MAP: the device may read, or write.
pub(super) const DMA_MAP_READ: u32 = 1 << 0;
pub(super) const DMA_MAP_WRITE: u32 = 1 << 1;
/// DMA_MAP: how a client means the descriptor to be used. One that comes along is mapped in any case.
pub(super) const DMA_MAP_HINTS: u32 = 3 << 2;
/// DMA_UNMAP: report what was written, which takes dirty page logging.
pub(super) const DMA_UNMAP_GET_DIRTY_BITMAP: u32 = 1 << 0;
/// DMA_UNMAP: everything; address and size are zero.
pub(super) const DMA_UNMAP_ALL: u32 = 1 << 1;

/// DEVICE_GET_INFO: the device can be reset, and is a PCI device.
pub(super) const DEVICE_RESETTABLE: u32 = 1 << 0;
pub(super) const DEVICE_PCI: u32 = 1 << 1;

/// DEVICE_GET_REGION_INFO: the region can be read, and written.
pub(super) const REGION_READABLE: u32 = 1 << 0;
pub(super) const REGION_WRITABLE: u32 = 1 << 1;

/// Regions of a PCI device: six BARs, the expansion ROM, configuration space, VGA.
pub(super) const REGIONS: u32 = 9;
pub(super) const BARS: u32 = 6;
pub(super) const CONFIG_REGION: u32 = 7;
pub(super) const CONFIG_BYTES: u64 = 4096;

/// Interrupt types of a PCI device: INTx, MSI, MSI-X, errors, requests to give the device back.
pub(super) const IRQ_TYPES: usize = 5;
pub(super) const INTX: usize = 0;
pub(super) const MSI: usize = 1;
pub(super) const MSIX: usize = 2;

/// DEVICE_GET_IRQ_INFO: signalled by eventfd, can be masked, masks itself when it fires.
pub(super) const IRQ_EVENTFD: u32 = 1 << 0;
pub(super) const IRQ_MASKABLE: u32 = 1 << 1;
pub(super) const IRQ_AUTOMASKED: u32 = 1 << 2;

/// DEVICE_SET_IRQS: what comes along.
pub(super) const DATA_NONE: u32 = 1 << 0;
pub(super) const DATA_BOOL: u32 = 1 << 1;
pub(super) const DATA_EVENTFD: u32 = 1 << 2;
/// DEVICE_SET_IRQS: what is done.
pub(super) const ACTION_MASK: u32 = 1 << 3;
pub(super) const ACTION_UNMASK: u32 = 1 << 4;
pub(super) const ACTION_TRIGGER: u32 = 1 << 5;

/// The whole of a payload as `T`; `None` where it has another length.
pub(super) fn whole<T: FromBytes + KnownLayout + Immutable + Unaligned>(payload: &[u8]) -> Option<T> {
    T::read_from_bytes(payload).ok()
}

/// The head of a payload as `T`, and what follows.
pub(super) fn head<T: FromBytes + KnownLayout + Immutable + Unaligned>(payload: &[u8]) -> Option<(T, &[u8])> {
    T::read_from_prefix(payload).ok()
}
