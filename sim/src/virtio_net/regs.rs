//! Where things lie, typed from virtio 1.3; bits come from the kernel's headers by rust-vmm's `virtio-bindings`.

pub(super) use virtio_bindings::virtio_config::{
    VIRTIO_CONFIG_S_ACKNOWLEDGE, VIRTIO_CONFIG_S_DRIVER, VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_FAILED, VIRTIO_CONFIG_S_FEATURES_OK,
    VIRTIO_CONFIG_S_NEEDS_RESET, VIRTIO_F_ACCESS_PLATFORM, VIRTIO_F_IN_ORDER, VIRTIO_F_NOTIFICATION_DATA, VIRTIO_F_RING_PACKED, VIRTIO_F_VERSION_1,
};
pub(super) use virtio_bindings::virtio_net::{
    VIRTIO_NET_F_CSUM, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, VIRTIO_NET_F_CTRL_MAC_ADDR, VIRTIO_NET_F_CTRL_RX, VIRTIO_NET_F_CTRL_RX_EXTRA,
    VIRTIO_NET_F_CTRL_VLAN, VIRTIO_NET_F_CTRL_VQ, VIRTIO_NET_F_GUEST_ANNOUNCE, VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_ECN,
    VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_USO4, VIRTIO_NET_F_GUEST_USO6, VIRTIO_NET_F_HASH_REPORT,
    VIRTIO_NET_F_HOST_ECN, VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_HOST_USO, VIRTIO_NET_F_MAC, VIRTIO_NET_F_MQ,
    VIRTIO_NET_F_MRG_RXBUF, VIRTIO_NET_F_MTU, VIRTIO_NET_F_RSS, VIRTIO_NET_F_STATUS, VIRTIO_NET_HDR_F_DATA_VALID, VIRTIO_NET_HDR_F_NEEDS_CSUM,
    VIRTIO_NET_HDR_GSO_ECN, VIRTIO_NET_HDR_GSO_NONE, VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_HDR_GSO_TCPV6, VIRTIO_NET_HDR_GSO_UDP_L4,
    VIRTIO_NET_S_ANNOUNCE, VIRTIO_NET_S_LINK_UP,
};
pub(super) use virtio_bindings::virtio_ring::{
    VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC, VRING_AVAIL_ALIGN_SIZE, VRING_AVAIL_F_NO_INTERRUPT, VRING_DESC_ALIGN_SIZE,
    VRING_DESC_F_INDIRECT, VRING_DESC_F_NEXT, VRING_DESC_F_WRITE, VRING_USED_ALIGN_SIZE, VRING_USED_F_NO_NOTIFY,
};

/// Features that the kernel's headers do not name (6).
pub(super) const VIRTIO_F_NOTIF_CONFIG_DATA: u32 = 39;
pub(super) const VIRTIO_F_RING_RESET: u32 = 40;

/// A feature bit by its number.
pub(super) const fn bit(number: u32) -> u64 {
    1 << number
}

/// The BAR of the structures, and their places in it.
pub(super) const STRUCTURES_BAR: u8 = 4;
pub(super) const STRUCTURES_BYTES: usize = 0x4000;
pub(super) const COMMON_AT: u32 = 0x0000;
pub(super) const ISR_AT: u32 = 0x1000;
pub(super) const DEVICE_AT: u32 = 0x2000;
pub(super) const NOTIFY_AT: u32 = 0x3000;
pub(super) const STRUCTURE_BYTES: u32 = 0x1000;

/// The BAR of a memory mapped device's block of registers (4.2.2), and how much of it there is.
pub(super) const BLOCK_BAR: u8 = 0;
pub(super) const BLOCK_BYTES: usize = 0x200;

/// What such a block remembers beside the card.
#[derive(Debug, Clone, Default)]
pub(super) struct Block {
    /// How many of MagicValue, Version and DeviceID were read in this order, once.
    pub(super) probed: u32,
    /// DeviceFeaturesSel and DriverFeaturesSel were written since the reset.
    pub(super) selected: [bool; 2],
}

/// struct virtio_pci_common_cfg (4.1.4.3): le32, le32, le32, le32, le16, le16, u8, u8, then the queue's fields.
pub(super) mod common {
    pub(in super::super) const DEVICE_FEATURE_SELECT: u32 = 0;
    pub(in super::super) const DEVICE_FEATURE: u32 = 4;
    pub(in super::super) const DRIVER_FEATURE_SELECT: u32 = 8;
    pub(in super::super) const DRIVER_FEATURE: u32 = 12;
    pub(in super::super) const MSIX_CONFIG: u32 = 16;
    pub(in super::super) const NUM_QUEUES: u32 = 18;
    pub(in super::super) const STATUS: u32 = 20;
    pub(in super::super) const GENERATION: u32 = 21;
    pub(in super::super) const QUEUE_SELECT: u32 = 22;
    pub(in super::super) const QUEUE_SIZE: u32 = 24;
    pub(in super::super) const QUEUE_MSIX: u32 = 26;
    pub(in super::super) const QUEUE_ENABLE: u32 = 28;
    pub(in super::super) const QUEUE_NOTIFY_OFF: u32 = 30;
    /// Three addresses of two 32-bit halves each: descriptors, driver area, device area.
    pub(in super::super) const QUEUE_ADDRESSES: u32 = 32;
    /// queue_notif_config_data, with VIRTIO_F_NOTIF_CONFIG_DATA alone.
    pub(in super::super) const QUEUE_NOTIF_CONFIG_DATA: u32 = 56;
    /// queue_reset, with VIRTIO_F_RING_RESET alone.
    pub(in super::super) const QUEUE_RESET: u32 = 58;
    pub(in super::super) const END: u32 = 60;

    /// The width in bytes that a field has, `None` where no field begins.
    pub(in super::super) fn width(offset: u32) -> Option<u8> {
        match offset {
            0 | 4 | 8 | 12 => Some(4),
            16 | 18 => Some(2),
            20 | 21 => Some(1),
            22..=30 if offset.is_multiple_of(2) => Some(2),
            32..=52 if offset.is_multiple_of(4) => Some(4),
            56 | 58 => Some(2),
            _ => None,
        }
    }
}

/// Classes of commands (5.1.6.5).
pub(super) const CLASS_RX: u8 = 0;
pub(super) const CLASS_MAC: u8 = 1;
pub(super) const CLASS_VLAN: u8 = 2;
pub(super) const CLASS_ANNOUNCE: u8 = 3;
pub(super) const CLASS_MQ: u8 = 4;
pub(super) const CLASS_GUEST_OFFLOADS: u8 = 5;
pub(super) const CLASS_NOTF_COAL: u8 = 6;

/// Numbers of features that the kernel's headers of `virtio-bindings` may lack.
pub(super) const VIRTIO_NET_F_VQ_NOTF_COAL: u32 = 52;
pub(super) const VIRTIO_NET_F_NOTF_COAL: u32 = 53;

/// VIRTIO_NET_F_GUEST_HDRLEN, which the kernel's headers lack.
pub(super) const VIRTIO_NET_F_GUEST_HDRLEN: u32 = 59;

/// VIRTIO_NET_F_DEVICE_STATS, and its class of commands, from virtio 1.4.
pub(super) const VIRTIO_NET_F_DEVICE_STATS: u32 = 50;
pub(super) const CLASS_STATS: u8 = 8;

/// Pairs of queues that a card may have.
pub(super) const MAX_PAIRS: usize = 8;

/// VIRTIO_MSI_NO_VECTOR (4.1.5.1.2).
pub(super) const NO_VECTOR: u16 = 0xffff;
