//! Which card the model is, and how it may misbehave.

use super::regs::*;

/// Which card the model is: one with the features that it knows but packed queues and their order, several pairs of queues, hashes and standby, which QEMU's card does not offer by itself
/// either, until told otherwise.
///
/// ```
/// use sim::virtio_net::{VirtioNet, VirtioNetOptions};
/// let card = VirtioNet::new(VirtioNetOptions::new().mtu(1500).queue_size(1024));
/// ```
#[derive(Debug, Clone)]
pub struct VirtioNetOptions {
    pub(super) device: u16,
    pub(super) mac: [u8; 6],
    pub(super) mtu: u16,
    pub(super) features: u64,
    pub(super) queue_size: u16,
    pub(super) notify_off_multiplier: u32,
    pub(super) has_window: bool,
    pub(super) has_bar: bool,
    pub(super) reset_us: u64,
    /// `None`: two for each pair, one for the control queue, and one for changes of the configuration.
    pub(super) vectors: Option<u16>,
    pub(super) pairs: usize,
    pub(super) rx_checksum: RxChecksum,
    pub(super) used_ids: UsedIds,
    pub(super) says_write: bool,
    pub(super) mmio: bool,
    pub(super) skips: bool,
}

impl VirtioNetOptions {
    /// A card with all features that the model knows but packed queues.
    pub fn new() -> Self {
        Self::default()
    }

    /// PCI device ID: 0x1041, or 0x1000 for a transitional card.
    #[must_use]
    pub fn device(self, device: u16) -> Self {
        Self { device, ..self }
    }

    /// The address that it tells.
    #[must_use]
    pub fn mac(self, mac: [u8; 6]) -> Self {
        Self { mac, ..self }
    }

    /// The MTU that it tells, in bytes.
    #[must_use]
    pub fn mtu(self, mtu: u16) -> Self {
        Self { mtu, ..self }
    }

    /// These features it does not offer.
    #[must_use]
    pub fn without(self, features: u64) -> Self {
        Self { features: self.features & !features, ..self }
    }

    /// These features it offers too, those among them that it does not have.
    #[must_use]
    pub fn with(self, features: u64) -> Self {
        Self { features: self.features | features, ..self }
    }

    /// Whether it offers VIRTIO_F_RING_PACKED; without a call it does not.
    #[must_use]
    pub fn packed(self, offered: bool) -> Self {
        self.offer(VIRTIO_F_RING_PACKED, offered)
    }

    /// Whether it offers VIRTIO_F_IN_ORDER: buffers are used in the order in which they came.
    #[must_use]
    pub fn in_order(self, offered: bool) -> Self {
        self.offer(VIRTIO_F_IN_ORDER, offered)
    }

    /// Whether with VIRTIO_F_IN_ORDER one used entry, or descriptor, stands for all buffers that were used in one go up to its own, as DPDK's do of what was sent; else
    /// each has its own, as with QEMU. Received buffers are skipped where they are full.
    #[must_use]
    pub fn skips(self, skips: bool) -> Self {
        Self { skips, ..self }
    }

    /// Whether it offers VIRTIO_F_RING_RESET: a queue can be reset alone, which takes as long as a reset of the card.
    #[must_use]
    pub fn ring_reset(self, offered: bool) -> Self {
        self.offer(VIRTIO_F_RING_RESET, offered)
    }

    /// Whether it offers VIRTIO_F_NOTIFICATION_DATA: notifications say how far their queue is.
    #[must_use]
    pub fn notification_data(self, offered: bool) -> Self {
        self.offer(VIRTIO_F_NOTIFICATION_DATA, offered)
    }

    /// Whether it offers VIRTIO_F_NOTIF_CONFIG_DATA: notifications name their queue by a number of the card's own.
    #[must_use]
    pub fn notif_config_data(self, offered: bool) -> Self {
        self.offer(VIRTIO_F_NOTIF_CONFIG_DATA, offered)
    }

    /// Whether it offers to cut TCP over IPv4 and IPv6, with ECN, and UDP (VIRTIO_NET_F_HOST_TSO4, TSO6, ECN, USO), and wants hdr_len exact
    /// (VIRTIO_NET_F_GUEST_HDRLEN); without a call it does not, as QEMU's card where what is behind it takes no header.
    #[must_use]
    pub fn segmentation(self, offered: bool) -> Self {
        let all = [VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_HOST_ECN, VIRTIO_NET_F_HOST_USO, VIRTIO_NET_F_GUEST_HDRLEN];
        all.into_iter().fold(self, |options, number| options.offer(number, offered))
    }

    /// Whether it offers to put received segments together (VIRTIO_NET_F_GUEST_TSO4, TSO6, ECN, USO4, USO6), and does so with those that come one behind the
    /// other; without a call it does not.
    #[must_use]
    pub fn large_receive(self, offered: bool) -> Self {
        let all = [VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_ECN, VIRTIO_NET_F_GUEST_USO4, VIRTIO_NET_F_GUEST_USO6];
        all.into_iter().fold(self, |options, number| options.offer(number, offered))
    }

    /// Whether it offers VIRTIO_NET_F_CTRL_GUEST_OFFLOADS: what it does for received frames is switched by a command; without a call it does not.
    #[must_use]
    pub fn guest_offloads(self, offered: bool) -> Self {
        self.offer(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, offered)
    }

    /// Whether it offers VIRTIO_NET_F_DEVICE_STATS of virtio 1.4: a command tells what it counts of each queue; without a call it does not.
    #[must_use]
    pub fn device_stats(self, offered: bool) -> Self {
        self.offer(VIRTIO_NET_F_DEVICE_STATS, offered)
    }

    fn offer(self, number: u32, offered: bool) -> Self {
        let others = self.features & !bit(number);
        Self { features: if offered { others | bit(number) } else { others }, ..self }
    }

    /// Which of a chain's buffer IDs it gives back in a packed queue.
    #[must_use]
    pub fn used_ids(self, used_ids: UsedIds) -> Self {
        Self { used_ids, ..self }
    }

    /// Whether the used descriptors of a packed queue say that their buffers were written to (2.8.3), as DPDK's do and QEMU's do not.
    #[must_use]
    pub fn says_write(self, says_write: bool) -> Self {
        Self { says_write, ..self }
    }

    /// The largest size of a queue.
    #[must_use]
    pub fn queue_size(self, queue_size: u16) -> Self {
        Self { queue_size, ..self }
    }

    /// notify_off_multiplier (4.1.4.4): 0, or a power of two.
    #[must_use]
    pub fn notify_off_multiplier(self, notify_off_multiplier: u32) -> Self {
        Self { notify_off_multiplier, ..self }
    }

    /// Whether there is the PCI access window of section 4.1.4.9.
    #[must_use]
    pub fn has_window(self, has_window: bool) -> Self {
        Self { has_window, ..self }
    }

    /// Whether the BAR of the structures can be mapped; else only the window leads to them.
    #[must_use]
    pub fn has_bar(self, has_bar: bool) -> Self {
        Self { has_bar, ..self }
    }

    /// Whether its registers are those of a memory mapped device (4.2), in BAR 0, and it has no structures of a PCI device, and one interrupt.
    #[must_use]
    pub fn mmio(self, mmio: bool) -> Self {
        Self { mmio, ..self }
    }

    /// How long a reset takes, in microseconds.
    #[must_use]
    pub fn reset_us(self, reset_us: u64) -> Self {
        Self { reset_us, ..self }
    }

    /// What it says of the checksum of frames that it delivers. Only with VIRTIO_NET_F_GUEST_CSUM.
    #[must_use]
    pub fn rx_checksum(self, rx_checksum: RxChecksum) -> Self {
        Self { rx_checksum, ..self }
    }

    /// How many pairs of queues it has, 1 to 8; with more than one it offers VIRTIO_NET_F_MQ.
    ///
    /// # Panics
    /// Where it is another number.
    #[must_use]
    pub fn pairs(self, pairs: u16) -> Self {
        assert!((1..=MAX_PAIRS).contains(&pairs.into()), "a card of this model has 1 to {MAX_PAIRS} pairs of queues");
        Self { pairs: pairs.into(), ..self }.offer(VIRTIO_NET_F_MQ, pairs > 1)
    }

    /// Whether it offers VIRTIO_NET_F_RSS: flows are spread by a table; without a call it does not.
    #[must_use]
    pub fn rss(self, offered: bool) -> Self {
        self.offer(VIRTIO_NET_F_RSS, offered)
    }

    /// Whether it offers VIRTIO_NET_F_HASH_REPORT: frames come with their hash; without a call it does not.
    #[must_use]
    pub fn hash_report(self, offered: bool) -> Self {
        self.offer(VIRTIO_NET_F_HASH_REPORT, offered)
    }

    /// Whether it offers VIRTIO_NET_F_NOTF_COAL: notifications wait for more frames, of all queues of a direction; without a call it does not.
    #[must_use]
    pub fn notf_coal(self, offered: bool) -> Self {
        self.offer(VIRTIO_NET_F_NOTF_COAL, offered)
    }

    /// Whether it offers VIRTIO_NET_F_VQ_NOTF_COAL: the same of one queue; without a call it does not.
    #[must_use]
    pub fn vq_notf_coal(self, offered: bool) -> Self {
        self.offer(VIRTIO_NET_F_VQ_NOTF_COAL, offered)
    }

    /// How many MSI-X vectors it has: 1 to two more than its pairs have queues. Without a call so many.
    ///
    /// # Panics
    /// Where it is another number.
    #[must_use]
    pub fn vectors(self, vectors: u16) -> Self {
        assert!((1..=2 * MAX_PAIRS as u16 + 2).contains(&vectors), "a card of this model has 1 to {} vectors", 2 * MAX_PAIRS + 2);
        Self { vectors: Some(vectors), ..self }
    }

    pub(super) fn vector_count(&self) -> u16 {
        if self.mmio {
            return 1;
        }
        self.vectors.unwrap_or(2 * self.pairs as u16 + 2)
    }
}

impl Default for VirtioNetOptions {
    fn default() -> Self {
        /// VIRTIO_NET_F_SPEED_DUPLEX, which the kernel's headers have under the same number.
        const SPEED_DUPLEX: u32 = 63;
        let features = [
            VIRTIO_NET_F_CSUM,
            VIRTIO_NET_F_GUEST_CSUM,
            VIRTIO_NET_F_MTU,
            VIRTIO_NET_F_MAC,
            VIRTIO_NET_F_MRG_RXBUF,
            VIRTIO_NET_F_STATUS,
            VIRTIO_NET_F_CTRL_VQ,
            VIRTIO_NET_F_CTRL_RX,
            VIRTIO_NET_F_CTRL_VLAN,
            VIRTIO_NET_F_CTRL_RX_EXTRA,
            VIRTIO_NET_F_GUEST_ANNOUNCE,
            VIRTIO_NET_F_CTRL_MAC_ADDR,
            VIRTIO_RING_F_INDIRECT_DESC,
            VIRTIO_RING_F_EVENT_IDX,
            VIRTIO_F_VERSION_1,
            VIRTIO_F_ACCESS_PLATFORM,
            SPEED_DUPLEX,
        ];
        Self {
            device: 0x1041,
            mac: [0x02, 0x00, 0x00, 0x1a, 0xf4, 0x41],
            mtu: 9000,
            features: features.into_iter().fold(0, |all, number| all | bit(number)),
            queue_size: 256,
            notify_off_multiplier: 4,
            has_window: true,
            has_bar: true,
            reset_us: 5,
            vectors: None,
            pairs: 1,
            rx_checksum: RxChecksum::None,
            used_ids: UsedIds::default(),
            says_write: true,
            mmio: false,
            skips: true,
        }
    }
}

/// Which buffer ID of a chain in a packed queue is the chain's. A driver that writes it into every descriptor sees no difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum UsedIds {
    /// That of its first descriptor, as with QEMU 7.2.
    First,
    /// That of its last descriptor, as the specification has it (2.8.6), and QEMU 11.1.
    #[default]
    Last,
}

/// What the card says of the checksum of frames that it delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum RxChecksum {
    /// Nothing.
    #[default]
    None,
    /// That it is good.
    Valid,
    /// That it is partial: the place of the sum, and of the checksum behind it.
    Partial {
        /// csum_start
        start: u16,
        /// csum_offset
        offset: u16,
    },
    /// That it is partial where it is UDP's or TCP's and right, and nothing else: the card takes it out and leaves the pseudo header's sum in its
    /// place, as if a kernel had sent the frame to its own tap.
    Local,
}

/// Ways in which the card misbehaves, for tests of a driver's reaction: see [`VirtioNet::faults`](crate::virtio_net::VirtioNet::faults).
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Faults {
    /// A reset never ends.
    pub reset_stuck: bool,
    /// The reset of a queue alone never ends.
    pub queue_reset_stuck: bool,
    /// FEATURES_OK does not stay set.
    pub refuse_features: bool,
    /// This vector is not taken.
    pub refuse_vector: Option<u16>,
    /// The address changes in the middle of so many reads of it.
    pub mac_changes: u32,
    /// The configuration's generation changes at each look.
    pub restless: bool,
    /// The queues have this size, as the card tells.
    pub queue_size: Option<u16>,
    /// The id of the next used receive buffer.
    pub rx_id: Option<u32>,
    /// The next used receive buffer is used twice.
    pub rx_twice: bool,
    /// The used length of the next receive buffer.
    pub rx_len: Option<u32>,
    /// num_buffers of the next frame.
    pub num_buffers: Option<u16>,
    /// flags of the next frame, whatever was negotiated.
    pub rx_flags: Option<u8>,
    /// gso_type of the next frame.
    pub gso_type: Option<u8>,
    /// The whole header of the next frame, in place of flags, gso_type, num_buffers and all else.
    pub rx_header: Option<[u8; 12]>,
    /// hash_report of the next frame.
    pub hash_report: Option<u16>,
    /// gso_size of the next frame.
    pub gso_size: Option<u16>,
    /// hdr_len of the next frame.
    pub hdr_len: Option<u16>,
    /// csum_start of the next frame.
    pub csum_start: Option<u16>,
    /// So much is added to the receive queue's used index, once.
    pub rx_jump: u16,
    /// The id of the next used transmit chain.
    pub tx_id: Option<u32>,
    /// The next used transmit chain is used twice.
    pub tx_twice: bool,
    /// So much is added to the transmit queue's used index, once.
    pub tx_jump: u16,
    /// The next used descriptors of a packed receive queue have the marks of the other round.
    pub rx_wrap: bool,
    /// The same of the transmit queue.
    pub tx_wrap: bool,
    /// Commands of the control queue are never answered.
    pub ctrl_silent: bool,
    /// Commands of this class are refused.
    pub ctrl_refuse: Option<u8>,
    /// max_virtqueue_pairs, as the card tells.
    pub max_pairs: Option<u16>,
    /// rss_max_key_size, as the card tells.
    pub rss_key_size: Option<u8>,
    /// rss_max_indirection_table_length, as the card tells.
    pub rss_table: Option<u16>,
    /// The next command of this class is refused behind so many that are not.
    pub ctrl_refuse_after: Option<(u8, u32)>,
    /// The id of the next used command.
    pub ctrl_id: Option<u32>,
    /// Of answers to VIRTIO_NET_CTRL_STATS the byte at this place, behind the ack, is this one.
    pub stats_byte: Option<(usize, u8)>,
    /// Of answers to VIRTIO_NET_CTRL_STATS so many bytes are written, with the ack.
    pub stats_bytes: Option<u32>,
    /// The used length of the next command.
    pub ctrl_len: Option<u32>,
    /// Bytes of the device configuration that read as these.
    pub config_bytes: Vec<(u8, u8)>,
    /// The messages of this vector are lost.
    pub lost_vector: Option<u16>,
    /// MagicValue of a memory mapped card.
    pub magic: Option<u32>,
    /// Its Version.
    pub version: Option<u32>,
    /// Its DeviceID.
    pub device_id: Option<u32>,
    /// Bits that its InterruptStatus has beside those of events.
    pub isr: u32,
    /// Bit 12 of queues' addresses stays 0.
    pub stuck_address: bool,
    /// The card was unplugged: registers and configuration space read all ones, nothing moves.
    pub gone: bool,
}
