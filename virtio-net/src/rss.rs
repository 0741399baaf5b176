//! How received frames are spread over the pairs of queues (5.1.6.5.6, 5.1.6.5.7).

use alloc::vec::Vec;

use driver_core::device::{ErrorKind, RSS_KEY_BYTES, RssConfig, RssLimits};
use driver_core::host::PciFunction;
use driver_core::offload::RssTypes;

use crate::card::Card;
use crate::ctrl::Ctrl;
use crate::error::HardwareError;
use crate::regs::{Features, ctrl, net};

/// The longest indirection table that is used: a command holds it, and no more tell a few queues apart better.
const MAX_TABLE: u16 = 1024;

/// `hash_types` by their bits (5.1.6.4.3.1), which are those of [`RssTypes`], one by one: asserted below.
fn hash_types(types: RssTypes) -> u32 {
    types.bits()
}

const _: () = {
    let bits = [
        (RssTypes::IPV4, 0),
        (RssTypes::TCP_IPV4, 1),
        (RssTypes::UDP_IPV4, 2),
        (RssTypes::IPV6, 3),
        (RssTypes::TCP_IPV6, 4),
        (RssTypes::UDP_IPV6, 5),
        (RssTypes::IPV6_EX, 6),
        (RssTypes::TCP_IPV6_EX, 7),
        (RssTypes::UDP_IPV6_EX, 8),
    ];
    let mut k = 0;
    while k < bits.len() {
        assert!(bits[k].0.bits() == 1 << bits[k].1);
        k += 1;
    }
};

/// `hash_types` of what is to be hashed, all that the device has where nothing is said of it.
fn types_of(rss: &RssConfig, supported: RssTypes) -> [u8; 4] {
    hash_types(rss.hash_types().unwrap_or(supported) & supported).to_le_bytes()
}

/// struct virtio_net_hash_config (5.1.6.5.6.4).
fn hash_config(rss: &RssConfig, supported: RssTypes) -> Vec<u8> {
    let mut bytes = Vec::from(types_of(rss, supported));
    // Reserved.
    bytes.extend([0; 8]);
    bytes.push(RSS_KEY_BYTES as u8);
    bytes.extend(rss.key_bytes());
    bytes
}

/// struct virtio_net_rss_config, for a device with so many pairs in use.
fn rss_config(rss: &RssConfig, pairs: u16, supported: RssTypes) -> Vec<u8> {
    let table = rss.table_entries().unwrap_or(&[0]);
    let mut bytes = Vec::from(types_of(rss, supported));
    // indirection_table_mask; unclassified_queue, that of what has no hash.
    bytes.extend((table.len() as u16 - 1).to_le_bytes());
    bytes.extend(0u16.to_le_bytes());
    bytes.extend(table.iter().flat_map(|queue| queue.to_le_bytes()));
    // max_tx_vq: devices count receive queues by it, too.
    bytes.extend(pairs.to_le_bytes());
    // All of the key: of a shorter one some devices keep the tail of the one before.
    bytes.push(RSS_KEY_BYTES as u8);
    bytes.extend(rss.key_bytes());
    bytes
}

impl<F: PciFunction> Card<F> {
    /// What the device can hash, and spread by it; nothing where it has neither VIRTIO_NET_F_RSS nor VIRTIO_NET_F_HASH_REPORT.
    pub(crate) fn rss_limits(&self) -> Result<RssLimits, ErrorKind> {
        if !self.takes().intersects(Features::RSS | Features::HASH_REPORT) {
            return Ok(RssLimits::default());
        }
        let (key, table, types) = self.transport.config(|device| {
            (net::RSS_MAX_KEY_SIZE.read(device), net::RSS_MAX_INDIRECTION_TABLE_LENGTH.read(device), net::SUPPORTED_HASH_TYPES.read(device))
        })?;
        // 5.1.4.1: "at least 40", "at least 128".
        if usize::from(key) < RSS_KEY_BYTES {
            return Err(HardwareError::DeviceConfig { what: "rss_max_key_size is below 40" }.into());
        }
        if !self.takes().contains(Features::RSS) {
            return Ok(RssLimits::new(0, 0, RssTypes::from_bits_truncate(types)));
        }
        if table < 128 {
            return Err(HardwareError::DeviceConfig { what: "rss_max_indirection_table_length is below 128" }.into());
        }
        let table = 1 << table.min(MAX_TABLE).ilog2();
        Ok(RssLimits::new(self.max_pairs, table, RssTypes::from_bits_truncate(types)))
    }

    /// How many pairs of queues the device has.
    pub(crate) fn read_max_pairs(&self) -> Result<u16, ErrorKind> {
        if !self.takes().intersects(Features::MQ | Features::RSS) {
            return Ok(1);
        }
        let pairs = self.transport.config(|device| net::MAX_VIRTQUEUE_PAIRS.read(device))?;
        // 5.1.4.1: "between 1 and 0x8000 inclusive".
        if (1..=0x8000).contains(&pairs) {
            Ok(pairs)
        } else {
            Err(HardwareError::DeviceConfig { what: "max_virtqueue_pairs is not 1 to 0x8000" }.into())
        }
    }

    /// Puts so many pairs to use, spreads what is received over them, and has it hashed.
    pub(crate) fn spread(&self, ctrl: &mut Ctrl<F>, features: Features, pairs: u16, rss: &RssConfig) -> Result<(), ErrorKind> {
        let hashes = features.contains(Features::HASH_REPORT);
        if features.contains(Features::RSS) {
            return if pairs == 1 && !hashes {
                Ok(())
            } else {
                ctrl.command(&*self.transport, ctrl::MQ_RSS_CONFIG, &[&rss_config(rss, pairs, self.hash_types)])
            };
        }
        if pairs > 1 {
            ctrl.command(&*self.transport, ctrl::MQ_VQ_PAIRS_SET, &[&pairs.to_le_bytes()])?;
        }
        if hashes { ctrl.command(&*self.transport, ctrl::MQ_HASH_CONFIG, &[&hash_config(rss, self.hash_types)]) } else { Ok(()) }
    }
}
