//! The messages of vfio-user, protocol 0.x, as libvfio-user (`include/vfio-user.h`, `docs/vfio-user.rst`) and QEMU's client speak it.
//!
//! A message is a [`Header`], a fixed body and, where the command has some, data. Descriptors travel beside its first byte (SCM_RIGHTS).

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The protocol that is proposed. What came with later minor versions is not used.
pub(super) const MAJOR: u16 = 0;
pub(super) const MINOR: u16 = 0;

/// Bits of [`Header::flags`].
pub(super) const TYPE_MASK: u32 = 0xf;
pub(super) const TYPE_COMMAND: u32 = 0x0;
pub(super) const TYPE_REPLY: u32 = 0x1;
pub(super) const NO_REPLY: u32 = 1 << 4;
pub(super) const ERROR: u32 = 1 << 5;

/// The most data of this side's commands: a register of 64 bits.
pub(super) const WIDEST_ACCESS_BYTES: u64 = 8;
/// The most data in one message that this side takes (`max_data_xfer_size`), and what a server is believed to take that does not say.
pub(super) const MAX_DATA_BYTES: usize = 1 << 20;
/// The longest message: the most data, its header and body, and room for a reply with its capabilities.
pub(super) const MAX_MESSAGE_BYTES: usize = MAX_DATA_BYTES + 4096;
/// How many descriptors a message may bring (`max_msg_fds`).
pub(super) const MAX_FDS: usize = 16;

/// `enum vfio_user_command`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Version = 1,
    DmaMap = 2,
    DmaUnmap = 3,
    DeviceGetInfo = 4,
    DeviceGetRegionInfo = 5,
    DeviceGetIrqInfo = 7,
    DeviceSetIrqs = 8,
    RegionRead = 9,
    RegionWrite = 10,
    DmaRead = 11,
    DmaWrite = 12,
    DeviceReset = 13,
}

impl Command {
    /// The protocol's name for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Version => "VERSION",
            Self::DmaMap => "DMA_MAP",
            Self::DmaUnmap => "DMA_UNMAP",
            Self::DeviceGetInfo => "DEVICE_GET_INFO",
            Self::DeviceGetRegionInfo => "DEVICE_GET_REGION_INFO",
            Self::DeviceGetIrqInfo => "DEVICE_GET_IRQ_INFO",
            Self::DeviceSetIrqs => "DEVICE_SET_IRQS",
            Self::RegionRead => "REGION_READ",
            Self::RegionWrite => "REGION_WRITE",
            Self::DmaRead => "DMA_READ",
            Self::DmaWrite => "DMA_WRITE",
            Self::DeviceReset => "DEVICE_RESET",
        }
    }
}

/// `struct vfio_user_header`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Header {
    /// Chosen by the sender of a command, and the same in its reply.
    pub(super) id: U16,
    pub(super) command: U16,
    /// Bytes of the whole message, this header included.
    pub(super) size: U32,
    pub(super) flags: U32,
    /// An errno, where `flags` has [`ERROR`].
    pub(super) error: U32,
}
pub(super) const HEADER_BYTES: usize = size_of::<Header>();

/// `struct vfio_user_version`; a JSON text with a NUL at its end follows.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Version {
    pub(super) major: U16,
    pub(super) minor: U16,
}

/// `struct vfio_user_dma_map`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct DmaMap {
    pub(super) argsz: U32,
    pub(super) flags: U32,
    /// Where the memory starts in the descriptor.
    pub(super) offset: U64,
    pub(super) addr: U64,
    pub(super) size: U64,
}
/// `VFIO_USER_F_DMA_REGION_READ` and `VFIO_USER_F_DMA_REGION_WRITE`.
pub(super) const DMA_READ_WRITE: u32 = 0x3;

/// `struct vfio_user_dma_unmap`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct DmaUnmap {
    pub(super) argsz: U32,
    pub(super) flags: U32,
    pub(super) addr: U64,
    pub(super) size: U64,
}

/// `struct vfio_user_device_info`.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct DeviceInfo {
    pub(super) argsz: U32,
    pub(super) flags: U32,
    pub(super) num_regions: U32,
    pub(super) num_irqs: U32,
}

/// `struct vfio_region_info`; capabilities follow.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RegionInfo {
    pub(super) argsz: U32,
    pub(super) flags: U32,
    pub(super) index: U32,
    pub(super) cap_offset: U32,
    pub(super) size: U64,
    pub(super) offset: U64,
}

/// `struct vfio_irq_info`.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct IrqInfo {
    pub(super) argsz: U32,
    pub(super) flags: U32,
    pub(super) index: U32,
    pub(super) count: U32,
}

/// `struct vfio_irq_set`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct IrqSet {
    pub(super) argsz: U32,
    pub(super) flags: U32,
    pub(super) index: U32,
    pub(super) start: U32,
    pub(super) count: U32,
}

/// `struct vfio_user_region_access`; data follows.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RegionAccess {
    pub(super) offset: U64,
    pub(super) region: U32,
    pub(super) count: U32,
}

/// `struct vfio_user_dma_region_access`; data follows.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct DmaAccess {
    pub(super) addr: U64,
    pub(super) count: U64,
}

/// What a server says of itself in its answer to VERSION.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Capabilities {
    /// Descriptors that it takes in one message.
    pub(super) max_msg_fds: usize,
    /// The sizes of pages that it maps, one bit each; 0 where it does not say.
    pub(super) pgsizes: u64,
    /// Mappings that it takes at a time, where it says.
    pub(super) max_dma_maps: Option<u64>,
    /// Bytes of data that it takes in one message (`max_data_xfer_size`).
    pub(super) max_data_bytes: u64,
    /// Which of the reply's descriptors is the socket for the server's own commands; `None`: they come over this side's. `Err`: what makes no sense.
    pub(super) twin_fd_index: Result<Option<usize>, &'static str>,
}

impl Capabilities {
    /// What this side proposes.
    pub(super) fn proposal() -> String {
        format!(
            "{{\"capabilities\":{{\"max_msg_fds\":{MAX_FDS},\"max_data_xfer_size\":{MAX_DATA_BYTES},\"pgsizes\":{},\
             \"twin_socket\":{{\"supported\":true}}}}}}\0",
            rustix::param::page_size()
        )
    }

    /// Reads the JSON text behind [`Version`]. `None`: it is none. An empty one stands for the defaults.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let text = text.strip_suffix(b"\0").unwrap_or(text);
        let all = if text.is_empty() { serde_json::Value::Null } else { serde_json::from_slice(text).ok()? };
        let named = |name: &str| all.get("capabilities").and_then(|capabilities| capabilities.get(name));
        let number = |name| named(name).and_then(serde_json::Value::as_u64);
        let fds = number("max_msg_fds").and_then(|fds| usize::try_from(fds).ok()).unwrap_or(1);
        let twin_fd_index = named("twin_socket").map_or(Ok(None), twin_fd_index);
        Some(Self {
            max_msg_fds: fds.clamp(1, MAX_FDS),
            pgsizes: number("pgsizes").unwrap_or(0),
            max_dma_maps: number("max_dma_maps"),
            max_data_bytes: number("max_data_xfer_size").unwrap_or(MAX_DATA_BYTES as u64),
            twin_fd_index,
        })
    }
}

/// What a server's `twin_socket` says.
fn twin_fd_index(twin: &serde_json::Value) -> Result<Option<usize>, &'static str> {
    match twin.get("supported") {
        None | Some(serde_json::Value::Null | serde_json::Value::Bool(false)) => Ok(None),
        Some(serde_json::Value::Bool(true)) => {
            let index = twin.get("fd_index").and_then(serde_json::Value::as_u64).and_then(|index| usize::try_from(index).ok());
            index.map(Some).ok_or("it has no fd_index, or one that is no number of a descriptor")
        }
        Some(_) => Err("its \"supported\" is neither true nor false"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_protocol() {
        assert_eq!((HEADER_BYTES, size_of::<Version>(), size_of::<DmaMap>(), size_of::<DmaUnmap>()), (16, 4, 32, 24));
        assert_eq!((size_of::<DeviceInfo>(), size_of::<RegionInfo>(), size_of::<IrqInfo>(), size_of::<IrqSet>()), (16, 32, 16, 20));
        assert_eq!((size_of::<RegionAccess>(), size_of::<DmaAccess>()), (16, 16));
    }

    #[test]
    fn capabilities_are_read_or_have_their_defaults() {
        let defaults = Capabilities { max_msg_fds: 1, pgsizes: 0, max_dma_maps: None, max_data_bytes: 1 << 20, twin_fd_index: Ok(None) };
        for text in [&b""[..], b"\0", b"{}", b"{\"capabilities\":{}}\0", b"{\"capabilities\":{\"max_msg_fds\":0,\"pgsizes\":\"x\"}}"] {
            assert_eq!(Capabilities::read(text), Some(defaults.clone()), "{}", String::from_utf8_lossy(text));
        }
        let text = b"{\"capabilities\":{\"max_msg_fds\":8,\"max_data_xfer_size\":1048576,\"pgsizes\":4096,\"migration\":{\"pgsize\":4096}}}\0";
        assert_eq!(Capabilities::read(text), Some(Capabilities { max_msg_fds: 8, pgsizes: 4096, ..defaults.clone() }));
        assert_eq!(Capabilities::read(b"{\"capabilities\":{\"max_msg_fds\":9999}}"), Some(Capabilities { max_msg_fds: MAX_FDS, ..defaults.clone() }));
        let limits = b"{\"capabilities\":{\"max_dma_maps\":16,\"max_data_xfer_size\":4096}}";
        assert_eq!(Capabilities::read(limits), Some(Capabilities { max_dma_maps: Some(16), max_data_bytes: 4096, ..defaults }));
        assert_eq!(Capabilities::read(b"220 mail.example.org\r\n"), None);
        assert_eq!(Capabilities::read(Capabilities::proposal().as_bytes()).map(|c| c.max_msg_fds), Some(MAX_FDS));
    }

    #[test]
    fn a_second_socket_is_announced_with_its_descriptor_or_not_at_all() {
        let read = |twin: &str| Capabilities::read(format!("{{\"capabilities\":{{\"twin_socket\":{twin}}}}}").as_bytes()).unwrap().twin_fd_index;
        for none in ["{}", "null", "true", "{\"supported\":false,\"fd_index\":0}", "{\"supported\":null}", "{\"fd_index\":0}"] {
            assert_eq!(read(none), Ok(None), "{none}");
        }
        assert_eq!(read("{\"supported\":true,\"fd_index\":3}"), Ok(Some(3)));
        for index in ["-1", "0.5", "\"0\"", "null", "1e99"] {
            assert!(read(&format!("{{\"supported\":true,\"fd_index\":{index}}}")).unwrap_err().contains("no fd_index"), "{index}");
        }
        assert!(read("{\"supported\":true}").unwrap_err().contains("no fd_index"));
        assert!(read("{\"supported\":1,\"fd_index\":0}").unwrap_err().contains("neither true nor false"));
    }
}
