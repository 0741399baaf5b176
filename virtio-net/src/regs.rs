//! Registers, status and feature bits, with the names of the specification. Sections are those of virtio 1.2.

use driver_core::reg::bitflags;
use driver_core::reg_flags;

/// PCI identification (4.1.2).
pub mod pci {
    /// "Any PCI device with PCI Vendor ID 0x1AF4, and PCI Device ID 0x1000 through 0x107F inclusive is a virtio device."
    pub const VENDOR: u16 = 0x1AF4;
    /// 0x1040 plus the virtio device ID of a network card, which is 1.
    pub const MODERN_DEVICE: u16 = 0x1041;
    /// A network card that also speaks the legacy interface.
    pub const TRANSITIONAL_DEVICE: u16 = 0x1000;

    /// PCI_CAP_ID_VNDR: vendor-specific capability (4.1.4).
    pub const CAP_VENDOR: u8 = 0x09;
    /// Offset of `cap_len` in struct virtio_pci_cap.
    pub const CAP_LEN: u16 = 2;
    /// Offset of `cfg_type`.
    pub const CAP_CFG_TYPE: u16 = 3;
    /// Offset of `bar`.
    pub const CAP_BAR: u16 = 4;
    /// Offset of `offset`.
    pub const CAP_OFFSET: u16 = 8;
    /// Offset of `length`.
    pub const CAP_LENGTH: u16 = 12;
    /// Offset of `notify_off_multiplier`, behind the capability of type [`CFG_NOTIFY`] (4.1.4.4).
    pub const CAP_NOTIFY_OFF_MULTIPLIER: u16 = 16;
    /// Offset of `pci_cfg_data`, behind the capability of type [`CFG_PCI`] (4.1.4.9).
    pub const CAP_PCI_CFG_DATA: u16 = 16;

    /// VIRTIO_PCI_CAP_COMMON_CFG.
    pub const CFG_COMMON: u8 = 1;
    /// VIRTIO_PCI_CAP_NOTIFY_CFG.
    pub const CFG_NOTIFY: u8 = 2;
    /// VIRTIO_PCI_CAP_ISR_CFG.
    pub const CFG_ISR: u8 = 3;
    /// VIRTIO_PCI_CAP_DEVICE_CFG.
    pub const CFG_DEVICE: u8 = 4;
    /// VIRTIO_PCI_CAP_PCI_CFG.
    pub const CFG_PCI: u8 = 5;
}

/// struct virtio_pci_common_cfg (4.1.4.3).
pub mod common {
    use driver_core::reg::{Reg, Ro, Rw};

    use super::Status;
    const S: &str = "4.1.4.3";
    /// Selects which 32 feature bits `device_feature` shows.
    pub const DEVICE_FEATURE_SELECT: Reg<u32, Rw> = Reg::new(0x00, "device_feature_select", S);
    /// Feature bits that the device offers.
    pub const DEVICE_FEATURE: Reg<u32, Ro> = Reg::new(0x04, "device_feature", S);
    /// Selects which 32 feature bits `driver_feature` takes.
    pub const DRIVER_FEATURE_SELECT: Reg<u32, Rw> = Reg::new(0x08, "driver_feature_select", S);
    /// Feature bits that the driver accepts.
    pub const DRIVER_FEATURE: Reg<u32, Rw> = Reg::new(0x0C, "driver_feature", S);
    /// The vector of configuration changes.
    pub const CONFIG_MSIX_VECTOR: Reg<u16, Rw> = Reg::new(0x10, "config_msix_vector", S);
    /// How many queues the device has.
    pub const NUM_QUEUES: Reg<u16, Ro> = Reg::new(0x12, "num_queues", S);
    /// See [`Status`].
    pub const DEVICE_STATUS: Reg<Status, Rw> = Reg::new(0x14, "device_status", S);
    /// Changes each time the device configuration changes.
    pub const CONFIG_GENERATION: Reg<u8, Ro> = Reg::new(0x15, "config_generation", S);
    /// Selects the queue that the fields below are about.
    pub const QUEUE_SELECT: Reg<u16, Rw> = Reg::new(0x16, "queue_select", S);
    /// On reset the largest queue size; 0: no such queue.
    pub const QUEUE_SIZE: Reg<u16, Rw> = Reg::new(0x18, "queue_size", S);
    /// The vector of the queue.
    pub const QUEUE_MSIX_VECTOR: Reg<u16, Rw> = Reg::new(0x1A, "queue_msix_vector", S);
    /// 1: the device uses the queue.
    pub const QUEUE_ENABLE: Reg<u16, Rw> = Reg::new(0x1C, "queue_enable", S);
    /// Where the queue is notified, in units of the notify capability's multiplier.
    pub const QUEUE_NOTIFY_OFF: Reg<u16, Ro> = Reg::new(0x1E, "queue_notify_off", S);
    /// The descriptor table's address, 64 bits.
    pub const QUEUE_DESC: Reg<u64, Rw> = Reg::new(0x20, "queue_desc", S);
    /// The available ring's address, 64 bits.
    pub const QUEUE_DRIVER: Reg<u64, Rw> = Reg::new(0x28, "queue_driver", S);
    /// The used ring's address, 64 bits.
    pub const QUEUE_DEVICE: Reg<u64, Rw> = Reg::new(0x30, "queue_device", S);
    /// What notifications of the queue name it by, with [`Features::NOTIF_CONFIG_DATA`](super::Features::NOTIF_CONFIG_DATA) alone.
    pub const QUEUE_NOTIF_CONFIG_DATA: Reg<u16, Ro> = Reg::new(0x38, "queue_notif_config_data", S);
    /// 1: the queue is reset alone, and 0 when that is over; with [`Features::RING_RESET`](super::Features::RING_RESET) alone.
    pub const QUEUE_RESET: Reg<u16, Rw> = Reg::new(0x3A, "queue_reset", S);
    /// Bytes of the structure as far as this driver uses it with every device.
    pub const LEN_BYTES: u32 = QUEUE_DEVICE.end();

    /// VIRTIO_MSI_NO_VECTOR (4.1.5.1.2).
    pub const NO_VECTOR: u16 = 0xFFFF;
}

/// Registers of a memory mapped device (4.2.2), all of 32 bits.
pub mod mmio {
    use driver_core::reg::{Reg, Ro, Rw, Wo};
    const S: &str = "4.2.2";
    /// [`MAGIC`].
    pub const MAGIC_VALUE: Reg<u32, Ro> = Reg::new(0x000, "MagicValue", S);
    /// 2; 1: a device of the legacy interface.
    pub const VERSION: Reg<u32, Ro> = Reg::new(0x004, "Version", S);
    /// The virtio device ID; 0: there is no device.
    pub const DEVICE_ID: Reg<u32, Ro> = Reg::new(0x008, "DeviceID", S);
    /// Feature bits that the device offers, those that `DeviceFeaturesSel` says.
    pub const DEVICE_FEATURES: Reg<u32, Ro> = Reg::new(0x010, "DeviceFeatures", S);
    /// Selects which 32 of them.
    pub const DEVICE_FEATURES_SEL: Reg<u32, Wo> = Reg::new(0x014, "DeviceFeaturesSel", S);
    /// Feature bits that the driver accepts, those that `DriverFeaturesSel` says.
    pub const DRIVER_FEATURES: Reg<u32, Wo> = Reg::new(0x020, "DriverFeatures", S);
    /// Selects which 32 of them.
    pub const DRIVER_FEATURES_SEL: Reg<u32, Wo> = Reg::new(0x024, "DriverFeaturesSel", S);
    /// Selects the queue that the registers of queues are about.
    pub const QUEUE_SEL: Reg<u32, Wo> = Reg::new(0x030, "QueueSel", S);
    /// The largest size of the queue; 0: no such queue.
    pub const QUEUE_SIZE_MAX: Reg<u32, Ro> = Reg::new(0x034, "QueueSizeMax", S);
    /// Its size.
    pub const QUEUE_SIZE: Reg<u32, Wo> = Reg::new(0x038, "QueueSize", S);
    /// 1: the device uses the queue.
    pub const QUEUE_READY: Reg<u32, Rw> = Reg::new(0x044, "QueueReady", S);
    /// Notifies the device of a queue.
    pub const QUEUE_NOTIFY: Reg<u32, Wo> = Reg::new(0x050, "QueueNotify", S);
    /// Which events the interrupt tells of.
    pub const INTERRUPT_STATUS: Reg<u32, Ro> = Reg::new(0x060, "InterruptStatus", S);
    /// Those that were handled.
    pub const INTERRUPT_ACK: Reg<u32, Wo> = Reg::new(0x064, "InterruptACK", S);
    /// See [`Status`](super::Status).
    pub const STATUS: Reg<u32, Rw> = Reg::new(0x070, "Status", S);
    /// Low and high half of the descriptor area's address.
    pub const QUEUE_DESC: [Reg<u32, Wo>; 2] = [Reg::new(0x080, "QueueDescLow", S), Reg::new(0x084, "QueueDescHigh", S)];
    /// The same of the driver's area.
    pub const QUEUE_DRIVER: [Reg<u32, Wo>; 2] = [Reg::new(0x090, "QueueDriverLow", S), Reg::new(0x094, "QueueDriverHigh", S)];
    /// The same of the device's area.
    pub const QUEUE_DEVICE: [Reg<u32, Wo>; 2] = [Reg::new(0x0A0, "QueueDeviceLow", S), Reg::new(0x0A4, "QueueDeviceHigh", S)];
    /// 1: the queue is reset alone, and 0 when that is over; with [`Features::RING_RESET`](super::Features::RING_RESET) alone.
    pub const QUEUE_RESET: Reg<u32, Rw> = Reg::new(0x0C0, "QueueReset", S);
    /// Changes each time the device configuration changes.
    pub const CONFIG_GENERATION: Reg<u32, Ro> = Reg::new(0x0FC, "ConfigGeneration", S);
    /// Where the device configuration begins.
    pub const CONFIG: u32 = 0x100;

    /// The value of `MagicValue`: "virt".
    pub const MAGIC: u32 = u32::from_le_bytes(*b"virt");
    /// DeviceID of a network card (5.1.1).
    pub const NETWORK_CARD: u32 = 1;
    /// Events in `InterruptStatus`: a buffer was used, the configuration changed.
    pub const EVENTS: u32 = 1 | 2;
}

/// What the notification structure holds (4.1.4.4).
pub mod notify {
    use driver_core::reg::{Reg, Wo};
    /// A queue's notification address, the offset being that of the queue.
    pub const QUEUE_NOTIFY: Reg<u16, Wo> = Reg::new(0, "Queue Notify", "4.1.5.2");
    /// The same with [`Features::NOTIFICATION_DATA`](super::Features::NOTIFICATION_DATA): the next place in the upper half.
    pub const QUEUE_NOTIFY_NEXT: Reg<u32, Wo> = Reg::new(0, "Queue Notify", "4.1.5.2");
}

/// struct virtio_net_config (5.1.4).
pub mod net {
    use driver_core::reg::{Reg, RegArray, Ro};
    const S: &str = "5.1.4";
    /// The address, six bytes, each read alone (4.1.3.1). Valid with [`Features::MAC`](super::Features::MAC).
    pub const MAC: RegArray<u8, Ro> = RegArray::new(0x00, 1, 6, "mac", S);
    /// Valid with [`Features::STATUS`](super::Features::STATUS).
    pub const STATUS: Reg<u16, Ro> = Reg::new(0x06, "status", S);
    /// Valid with [`Features::MTU`](super::Features::MTU).
    pub const MTU: Reg<u16, Ro> = Reg::new(0x0A, "mtu", S);

    /// Valid with [`Features::MQ`](super::Features::MQ) or [`Features::RSS`](super::Features::RSS).
    pub const MAX_VIRTQUEUE_PAIRS: Reg<u16, Ro> = Reg::new(0x08, "max_virtqueue_pairs", S);
    /// Mbit/s. Valid with [`Features::SPEED_DUPLEX`](super::Features::SPEED_DUPLEX), as the next.
    pub const SPEED: Reg<u32, Ro> = Reg::new(0x0C, "speed", S);
    /// [`DUPLEX_HALF`], or 1: full.
    pub const DUPLEX: Reg<u8, Ro> = Reg::new(0x10, "duplex", S);
    /// Bytes. Valid with [`Features::RSS`](super::Features::RSS) or [`Features::HASH_REPORT`](super::Features::HASH_REPORT).
    pub const RSS_MAX_KEY_SIZE: Reg<u8, Ro> = Reg::new(0x11, "rss_max_key_size", S);
    /// Entries. Valid with [`Features::RSS`](super::Features::RSS).
    pub const RSS_MAX_INDIRECTION_TABLE_LENGTH: Reg<u16, Ro> = Reg::new(0x12, "rss_max_indirection_table_length", S);
    /// Valid as the key's size.
    pub const SUPPORTED_HASH_TYPES: Reg<u32, Ro> = Reg::new(0x14, "supported_hash_types", S);

    /// `duplex` of a link of half duplex.
    pub const DUPLEX_HALF: u8 = 0;
    /// VIRTIO_NET_S_LINK_UP.
    pub const S_LINK_UP: u16 = 1;
    /// VIRTIO_NET_S_ANNOUNCE.
    pub const S_ANNOUNCE: u16 = 2;

    /// The receive queue of a pair (5.1.2).
    pub const fn receiveq(pair: u16) -> u16 {
        2 * pair
    }
    /// Its transmit queue.
    pub const fn transmitq(pair: u16) -> u16 {
        2 * pair + 1
    }
}

/// Commands of the control queue (5.1.6.5).
pub mod ctrl {
    /// One command.
    #[derive(Debug, Clone, Copy)]
    #[non_exhaustive]
    pub struct Command {
        /// `class`
        pub class: u8,
        /// `command`
        pub number: u8,
        /// Its name in the specification.
        pub name: &'static str,
    }

    const fn command(class: u8, number: u8, name: &'static str) -> Command {
        Command { class, number, name }
    }

    /// VIRTIO_NET_OK.
    pub const OK: u8 = 0;

    /// 5.1.6.5.1: a byte, 1 or 0.
    pub const RX_PROMISC: Command = command(0, 0, "VIRTIO_NET_CTRL_RX_PROMISC");
    /// The same.
    pub const RX_ALLMULTI: Command = command(0, 1, "VIRTIO_NET_CTRL_RX_ALLMULTI");
    /// 5.1.6.5.2: unicast addresses, then multicast ones, each behind their number of 32 bits.
    pub const MAC_TABLE_SET: Command = command(1, 0, "VIRTIO_NET_CTRL_MAC_TABLE_SET");
    /// An address.
    pub const MAC_ADDR_SET: Command = command(1, 1, "VIRTIO_NET_CTRL_MAC_ADDR_SET");
    /// 5.1.6.5.3: a VLAN of 16 bits.
    pub const VLAN_ADD: Command = command(2, 0, "VIRTIO_NET_CTRL_VLAN_ADD");
    /// The same.
    pub const VLAN_DEL: Command = command(2, 1, "VIRTIO_NET_CTRL_VLAN_DEL");
    /// 5.1.6.5.4: no data.
    pub const ANNOUNCE_ACK: Command = command(3, 0, "VIRTIO_NET_CTRL_ANNOUNCE_ACK");
    /// 5.1.6.5.6: pairs, of 16 bits.
    pub const MQ_VQ_PAIRS_SET: Command = command(4, 0, "VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET");
    /// 5.1.6.5.8: offloads of 64 bits, by the numbers of their features.
    pub const GUEST_OFFLOADS_SET: Command = command(5, 0, "VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET");
    /// 5.1.6.5.9: struct virtio_net_ctrl_coal, of all transmit queues.
    pub const NOTF_COAL_TX_SET: Command = command(6, 0, "VIRTIO_NET_CTRL_NOTF_COAL_TX_SET");
    /// The same of all receive queues.
    pub const NOTF_COAL_RX_SET: Command = command(6, 1, "VIRTIO_NET_CTRL_NOTF_COAL_RX_SET");
    /// The same of one queue: struct virtio_net_ctrl_coal_vq.
    pub const NOTF_COAL_VQ_SET: Command = command(6, 2, "VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET");
    /// 1.4, 5.1.6.5.11: no data; the answer is a bitmap of 64 bits.
    pub const STATS_QUERY: Command = command(8, 0, "VIRTIO_NET_CTRL_STATS_QUERY");
    /// 1.4, 5.1.6.5.11: queues, and of each the kinds that are wanted.
    pub const STATS_GET: Command = command(8, 1, "VIRTIO_NET_CTRL_STATS_GET");
    /// 5.1.6.5.6.4: struct virtio_net_hash_config.
    pub const MQ_HASH_CONFIG: Command = command(4, 2, "VIRTIO_NET_CTRL_MQ_HASH_CONFIG");
    /// 5.1.6.5.7: struct virtio_net_rss_config.
    pub const MQ_RSS_CONFIG: Command = command(4, 1, "VIRTIO_NET_CTRL_MQ_RSS_CONFIG");
}

reg_flags! {
    /// Device status field (2.1).
    pub struct Status: u8 {
        /// The driver has noticed the device.
        const ACKNOWLEDGE = 1;
        /// The driver knows how to drive it.
        const DRIVER = 2;
        /// The driver is set up.
        const DRIVER_OK = 4;
        /// Both agreed on the features.
        const FEATURES_OK = 8;
        /// The device has lost its way and wants a reset.
        const DEVICE_NEEDS_RESET = 64;
        /// The driver has given the device up.
        const FAILED = 128;
    }
}

bitflags! {
    /// Feature bits (2.2, 5.1.3, 6).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Features: u64 {
        /// The device takes frames with a partial checksum.
        const CSUM = 1 << 0;
        /// The driver takes frames with a partial checksum.
        const GUEST_CSUM = 1 << 1;
        /// Offloads can be changed while the device runs.
        const CTRL_GUEST_OFFLOADS = 1 << 2;
        /// The device tells the largest MTU.
        const MTU = 1 << 3;
        /// The device tells its address.
        const MAC = 1 << 5;
        /// The driver takes TCP over IPv4 in one piece.
        const GUEST_TSO4 = 1 << 7;
        /// The driver takes TCP over IPv6 in one piece.
        const GUEST_TSO6 = 1 << 8;
        /// The driver takes such frames with ECN.
        const GUEST_ECN = 1 << 9;
        /// The driver takes UDP in one piece.
        const GUEST_UFO = 1 << 10;
        /// The device cuts TCP over IPv4.
        const HOST_TSO4 = 1 << 11;
        /// The device cuts TCP over IPv6.
        const HOST_TSO6 = 1 << 12;
        /// The device cuts such frames with ECN.
        const HOST_ECN = 1 << 13;
        /// The device cuts UDP.
        const HOST_UFO = 1 << 14;
        /// A received frame may lie in several buffers.
        const MRG_RXBUF = 1 << 15;
        /// The device tells the state of the link.
        const STATUS = 1 << 16;
        /// There is a control queue.
        const CTRL_VQ = 1 << 17;
        /// Receive modes by the control queue.
        const CTRL_RX = 1 << 18;
        /// VLAN filters by the control queue.
        const CTRL_VLAN = 1 << 19;
        /// More receive modes by the control queue.
        const CTRL_RX_EXTRA = 1 << 20;
        /// The driver may have the guest announced.
        const GUEST_ANNOUNCE = 1 << 21;
        /// Several queue pairs.
        const MQ = 1 << 22;
        /// Another address by the control queue.
        const CTRL_MAC_ADDR = 1 << 23;
        /// A descriptor may refer to a table of descriptors (2.7.5.3).
        const INDIRECT_DESC = 1 << 28;
        /// Notifications are suppressed by index (2.7.7, 2.7.10).
        const EVENT_IDX = 1 << 29;
        /// Not a legacy device.
        const VERSION_1 = 1 << 32;
        /// Addresses are those of the platform's IOMMU.
        const ACCESS_PLATFORM = 1 << 33;
        /// Packed rings.
        const RING_PACKED = 1 << 34;
        /// Buffers come back in the order in which they were made available.
        const IN_ORDER = 1 << 35;
        /// Memory is ordered as the platform orders it for devices. This driver's barriers ([`driver_core::barrier`]) do that with every device.
        const ORDER_PLATFORM = 1 << 36;
        /// Single root I/O virtualization.
        const SR_IOV = 1 << 37;
        /// Notifications carry more than the queue's number.
        const NOTIFICATION_DATA = 1 << 38;
        /// The device chooses what a notification carries.
        const NOTIF_CONFIG_DATA = 1 << 39;
        /// A queue can be reset alone.
        const RING_RESET = 1 << 40;
        /// The device tells what it counts (from virtio 1.4).
        const DEVICE_STATS = 1 << 50;
        /// Notifications of one queue are moderated.
        const VQ_NOTF_COAL = 1 << 52;
        /// Notifications are moderated.
        const NOTF_COAL = 1 << 53;
        /// The driver takes UDP over IPv4 in one piece, of datagrams.
        const GUEST_USO4 = 1 << 54;
        /// The same over IPv6.
        const GUEST_USO6 = 1 << 55;
        /// The device cuts UDP by USO.
        const HOST_USO = 1 << 56;
        /// The device hashes received frames.
        const HASH_REPORT = 1 << 57;
        /// `hdr_len` is exact.
        const GUEST_HDRLEN = 1 << 59;
        /// Receive-side scaling.
        const RSS = 1 << 60;
        /// Received segments are coalesced and said to be.
        const RSC_EXT = 1 << 61;
        /// The device stands in for another with the same address.
        const STANDBY = 1 << 62;
        /// The device tells speed and duplex.
        const SPEED_DUPLEX = 1 << 63;
        const _ = !0;
    }
}

impl Features {
    /// What the driver takes where it is offered.
    pub const USED: Self = Self::VERSION_1
        .union(Self::ACCESS_PLATFORM)
        .union(Self::MAC)
        .union(Self::STATUS)
        .union(Self::MTU)
        .union(Self::MRG_RXBUF)
        .union(Self::CSUM)
        .union(Self::GUEST_CSUM)
        .union(Self::GUEST_TSO4)
        .union(Self::GUEST_TSO6)
        .union(Self::GUEST_ECN)
        .union(Self::GUEST_USO4)
        .union(Self::GUEST_USO6)
        .union(Self::HOST_TSO4)
        .union(Self::HOST_TSO6)
        .union(Self::HOST_ECN)
        .union(Self::HOST_USO)
        .union(Self::GUEST_HDRLEN)
        .union(Self::INDIRECT_DESC)
        .union(Self::EVENT_IDX)
        .union(Self::RING_PACKED)
        .union(Self::IN_ORDER)
        .union(Self::RING_RESET)
        .union(Self::CTRL_VQ)
        .union(Self::CTRL_RX)
        .union(Self::CTRL_MAC_ADDR)
        .union(Self::CTRL_VLAN)
        .union(Self::CTRL_GUEST_OFFLOADS)
        .union(Self::DEVICE_STATS)
        .union(Self::GUEST_ANNOUNCE)
        .union(Self::SPEED_DUPLEX)
        .union(Self::MQ)
        .union(Self::RSS)
        .union(Self::HASH_REPORT)
        .union(Self::NOTF_COAL)
        .union(Self::VQ_NOTF_COAL)
        .union(Self::ORDER_PLATFORM)
        .union(Self::NOTIFICATION_DATA)
        .union(Self::NOTIF_CONFIG_DATA);

    /// The names of the bits that are set; those without a name by number.
    pub fn names(self) -> alloc::vec::Vec<alloc::string::String> {
        let named = self.iter_names().map(|(name, _)| alloc::string::String::from(name));
        let unnamed = self.bits() & !Self::all_named().bits();
        let numbers = (0..64).filter(move |bit| unnamed >> bit & 1 != 0).map(|bit| alloc::format!("bit {bit}"));
        named.chain(numbers).collect()
    }

    fn all_named() -> Self {
        Self::all().iter_names().fold(Self::empty(), |all, (_, bit)| all | bit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The constants are typed from the specification; virtio-spec is another reading of it.
    #[test]
    fn feature_bits_agree_with_virtio_spec() {
        use virtio_spec::net::F;
        let pairs = [
            (Features::CSUM, F::CSUM),
            (Features::GUEST_CSUM, F::GUEST_CSUM),
            (Features::MTU, F::MTU),
            (Features::MAC, F::MAC),
            (Features::MRG_RXBUF, F::MRG_RXBUF),
            (Features::STATUS, F::STATUS),
            (Features::CTRL_VQ, F::CTRL_VQ),
            (Features::MQ, F::MQ),
            (Features::INDIRECT_DESC, F::INDIRECT_DESC),
            (Features::EVENT_IDX, F::EVENT_IDX),
            (Features::VERSION_1, F::VERSION_1),
            (Features::ACCESS_PLATFORM, F::ACCESS_PLATFORM),
            (Features::RING_PACKED, F::RING_PACKED),
            (Features::IN_ORDER, F::IN_ORDER),
            (Features::NOTIFICATION_DATA, F::NOTIFICATION_DATA),
            (Features::SPEED_DUPLEX, F::SPEED_DUPLEX),
        ];
        for (ours, theirs) in pairs {
            assert_eq!(u128::from(ours.bits()), u128::from(theirs.bits()), "{ours:?}");
        }
    }

    #[test]
    fn status_bits_agree_with_virtio_spec() {
        use virtio_spec::DeviceStatus as D;
        let pairs = [
            (Status::ACKNOWLEDGE, D::ACKNOWLEDGE),
            (Status::DRIVER, D::DRIVER),
            (Status::DRIVER_OK, D::DRIVER_OK),
            (Status::FEATURES_OK, D::FEATURES_OK),
            (Status::DEVICE_NEEDS_RESET, D::DEVICE_NEEDS_RESET),
            (Status::FAILED, D::FAILED),
        ];
        for (ours, theirs) in pairs {
            assert_eq!(ours.bits(), theirs.bits(), "{ours:?}");
        }
    }

    #[test]
    fn features_without_a_name_are_listed_by_number() {
        let features = Features::MAC | Features::from_bits_retain(1 << 45);
        assert_eq!(features.names(), ["MAC", "bit 45"]);
    }
}
