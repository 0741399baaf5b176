//! How a device is started, and what every driver checks of that first.

use alloc::vec::Vec;
use core::ops::RangeInclusive;

use crate::buf::pool::BufPool;
use crate::device::caps::Caps;
use crate::device::clock::Timestamps;
use crate::device::flow_control::FlowControl;
use crate::device::info::{DeviceInfo, RxMode};
use crate::device::link::LinkSpeeds;
use crate::device::mac_pools::MacPools;
use crate::device::moderation::Moderation;
use crate::device::offloads::Offloads;
use crate::device::recovery::Recovery;
use crate::device::rss::{RssConfig, RssLimits};
use crate::device::rule::{FlowTable, Rule};
use crate::ether::MIN_MTU;
use crate::host::dma::DmaDomain;
use crate::host::vectors::VectorPlan;
use crate::queue::gate::{GateConfig, TxGate};

mod error;
mod sides;

pub use error::ConfigError;
pub use sides::{RxConfig, TxConfig};

/// How to start a device: what is not set stays as [`Config::new`] has it.
///
/// Each setter takes the configuration and gives it back. What is set is read by names that say what is counted: `mtu(9000)` and
/// [`mtu_bytes`](Config::mtu_bytes), `ring(1024)` and [`ring_len`](RxConfig::ring_len).
///
/// ```
/// use driver_core::device::{Config, Offloads, RssConfig, RxConfig, RxMode};
///
/// let config = Config::new()
///     .mtu(9000)
///     .rx(RxConfig::new().queues(4).ring(1024).mode(RxMode::PROMISCUOUS))
///     .tx_queues(4)
///     .rss(RssConfig::new().key([0x5a; 40]))
///     .offloads(Offloads::all() - Offloads::RX_CHECKSUM);
/// assert_eq!((config.mtu_bytes(), config.rx_config().queue_count(), config.tx_config().queue_count()), (Some(9000), 4, 4));
/// assert!(!config.wants_interrupts() && config.given_pool().is_none(), "not set: as `Config::new` has it");
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    mtu: Option<u32>,
    rx: RxConfig,
    tx: TxConfig,
    rss: RssConfig,
    offloads: Offloads,
    strips_vlan: bool,
    double_vlan: Option<u16>,
    coalesces: bool,
    splits_headers: bool,
    software: Caps,
    pool: Option<BufPool>,
    interrupts: bool,
    moderation: Moderation,
    flow_control: FlowControl,
    recovery: Recovery,
    flow_table: FlowTable,
    rules: Vec<Rule>,
    vlans: Option<Vec<u16>>,
    link_speeds: Option<LinkSpeeds>,
    timestamps: Timestamps,
    packed_queues: bool,
    in_order: bool,
    hashes: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

impl Config {
    /// An MTU of 1500 bytes or the device's where that is smaller, one receive and one transmit queue of 512 descriptors, no further frames than those for
    /// the device, every offload, what the device does not do of [`Caps::SOFTWARE`] in software, no interrupts, no pool, and recovery of a device that fails.
    pub fn new() -> Self {
        Self {
            mtu: None,
            rx: RxConfig::new(),
            tx: TxConfig::new(),
            rss: RssConfig::new(),
            offloads: Offloads::all(),
            strips_vlan: false,
            double_vlan: None,
            coalesces: false,
            splits_headers: false,
            software: Caps::SOFTWARE,
            pool: None,
            interrupts: false,
            moderation: Moderation::default(),
            flow_control: FlowControl::empty(),
            recovery: Recovery::default(),
            flow_table: FlowTable::Off,
            rules: Vec::new(),
            vlans: None,
            link_speeds: None,
            timestamps: Timestamps::Off,
            packed_queues: true,
            in_order: true,
            hashes: false,
        }
    }

    /// The largest payload of a frame in bytes; the frame itself has 14 more, and 4 more for a VLAN tag (see [`FrameLimits`](crate::ether::FrameLimits)).
    pub fn mtu(self, bytes: u32) -> Self {
        Self { mtu: Some(bytes), ..self }
    }
    /// The receive side.
    pub fn rx(self, rx: RxConfig) -> Self {
        Self { rx, ..self }
    }
    /// The transmit side.
    pub fn tx(self, tx: TxConfig) -> Self {
        Self { tx, ..self }
    }
    /// How flows are spread over several receive queues.
    pub fn rss(self, rss: RssConfig) -> Self {
        Self { rss, ..self }
    }
    /// What the device may do in the stack's place, where it can.
    pub fn offloads(self, offloads: Offloads) -> Self {
        Self { offloads, ..self }
    }
    /// Whether the device takes the VLAN tags of received frames out, into their metadata ([`Frame::vlan`](crate::buf::Frame::vlan)); not unless asked for. A frame
    /// that is sent on has its tag put back. Of a device that cannot, tags stay in the frames, and a warning says so.
    pub fn rx_vlan_strip(self, wanted: bool) -> Self {
        Self { strips_vlan: wanted, ..self }
    }
    /// Every frame on the device's wire has an outer VLAN tag of EtherType `outer` (QinQ; 0x88a8 is IEEE 802.1ad's, 0x8100 and 0x9100 are in use too), behind which
    /// the device looks. The outer tag stays in the frames' bytes, both ways. What is said of VLANs elsewhere is then said of the *inner* tag, of EtherType 0x8100: the one
    /// that is taken out ([`Config::rx_vlan_strip`]) and put in ([`Frame::vlan`](crate::buf::Frame::vlan)), that [`Config::vlan_filter`] and rules compare. Frames may be
    /// four bytes longer. Off unless this is called.
    ///
    /// A received frame without its outer tag comes up as bytes: nothing is taken out of it, and no checksum, hash or rule looked at. One that is to be sent without it
    /// has its checksum and its tag put in by software, and is not cut. Devices that are sent each other's frames all are to have it or none: another would put the inner
    /// tag before the outer one.
    ///
    /// Of a device that cannot, frames are as they are without it, and a warning says so.
    pub fn double_vlan(self, outer: u16) -> Self {
        Self { double_vlan: Some(outer), ..self }
    }
    /// Whether the device puts received segments of a TCP connection together into frames of up to 64 KiB (Linux: `large-receive-offload`); not unless asked for. Such
    /// a frame says of how many segments it is ([`Frame::coalesced`](crate::buf::Frame::coalesced)) and how it would be cut again
    /// ([`Frame::segmentation`](crate::buf::Frame::segmentation)), so that it can be sent on by a device that cuts. It comes up later than its first segment did:
    /// as late as an interrupt would. Of a device that cannot, or that stamps frames or has pools of addresses ([`Config::timestamps`], [`Config::mac_pools`]), segments come one by one, and a warning
    /// says so.
    ///
    /// All frames of such a device take a longer way through the driver, for which segments that come together are to make up.
    pub fn rx_coalescing(self, wanted: bool) -> Self {
        Self { coalesces: wanted, ..self }
    }
    /// Whether received frames tell the hash of their flow ([`Frame::rss`](crate::buf::Frame::rss)), by the key and the types of [`Config::rss`], on one queue too; not
    /// unless asked for. A device that tells it only where it spreads by it does so in any case, and where it does not a warning says so:
    /// [`FlowTuple::hash`](crate::offload::FlowTuple::hash) computes it.
    pub fn rx_hash(self, wanted: bool) -> Self {
        Self { hashes: wanted, ..self }
    }
    /// Whether the device puts the headers of received frames into buffers of their own, the first of each frame, which says how long they are
    /// ([`Frame::split_header_bytes`](crate::buf::Frame::split_header_bytes)): so that payload begins where a buffer begins. Not unless asked for. Each descriptor has two
    /// buffers then, and frames take a longer way through the driver. Of a device that cannot, or that stamps frames or puts segments together
    /// ([`Config::timestamps`], [`Config::rx_coalescing`]), frames
    /// come in one piece, and a warning says so.
    pub fn header_split(self, wanted: bool) -> Self {
        Self { splits_headers: wanted, ..self }
    }
    /// What transmit queues may do in software where the device does not, or is not to: of [`Caps::SOFTWARE`], which it is unless this is called. A frame
    /// that asks for what neither does is refused by name ([`Refusal::SwitchedOff`](crate::queue::Refusal::SwitchedOff)) and not touched: who counts on the
    /// device finds out that it is on its own.
    ///
    /// ```
    /// use driver_core::device::{Caps, Config};
    ///
    /// // The device puts VLAN tags in, or nobody; checksums are filled in by software where the device does not.
    /// let config = Config::new().software(Caps::SOFTWARE - Caps::TX_VLAN_INSERT);
    /// assert_eq!(config.wanted_software(), Caps::TX_CHECKSUM | Caps::TX_SCTP_CRC | Caps::TX_SEGMENTATION);
    /// ```
    pub fn software(self, caps: Caps) -> Self {
        Self { software: caps & Caps::SOFTWARE, ..self }
    }
    /// Where buffers come from, in place of a pool of the device's own, which is in its own domain and large enough to fill every ring
    /// ([`NetDriver::pool_config`](crate::device::NetDriver::pool_config)). Devices that are given the same one share it.
    pub fn pool(self, pool: BufPool) -> Self {
        Self { pool: Some(pool), ..self }
    }
    /// Whether receive queues get an interrupt each, to be waited on by [`Poller`](crate::queue::poller::Poller), and the link one more. Transmit queues
    /// get one as well, for who waits for room, where the function has as many vectors.
    pub fn interrupts(self, wanted: bool) -> Self {
        Self { interrupts: wanted, ..self }
    }
    /// What becomes of a device that fails. It is recovered unless this is called, where its driver can ([`Caps::RECOVERY`]).
    pub fn recovery(self, recovery: Recovery) -> Self {
        Self { recovery, ..self }
    }

    /// How far apart a queue's interrupts are at least. A device that cannot tell them apart by itself ([`DeviceInfo::max_moderation_us`] is 0) sends them as they come,
    /// and the log says so where a fixed interval was asked for.
    pub fn moderation(self, moderation: Moderation) -> Self {
        Self { moderation, ..self }
    }

    /// Which pause frames are obeyed and sent; none, unless this is called. A device that cannot goes without ([`Caps::FLOW_CONTROL`]), and the log says so.
    pub fn flow_control(self, flow_control: FlowControl) -> Self {
        Self { flow_control, ..self }
    }

    /// A table of flows in the device's memory, where it has one, for more rules than its filters hold.
    pub fn flow_table(self, table: FlowTable) -> Self {
        Self { flow_table: table, ..self }
    }
    /// Rules for received frames that hold from the start; more can be added while the device runs ([`NetDevice::add_rule`](crate::device::NetDevice::add_rule)).
    pub fn rules(self, rules: &[Rule]) -> Self {
        Self { rules: rules.into(), ..self }
    }
    /// Of frames with a VLAN tag only those of these VLANs come in, where the device filters; without a call those of every VLAN.
    pub fn vlan_filter(self, ids: &[u16]) -> Self {
        Self { vlans: Some(ids.into()), ..self }
    }

    /// The speeds that it offers in auto-negotiation, of those that it can ([`DeviceInfo::link_speeds`]); without a call all of these.
    pub fn link_speeds(self, speeds: LinkSpeeds) -> Self {
        Self { link_speeds: Some(speeds), ..self }
    }
    /// Which frames the device stamps by its own clock; none, unless this is called, and its clock stands still. What the device cannot do of it is left out
    /// ([`Caps::TIMESTAMPS`], [`Caps::TIMESTAMPS_ALL`]), and the log says so. A frame with a stamp takes the way of a frame that is out of the ordinary.
    pub fn timestamps(self, timestamps: Timestamps) -> Self {
        Self { timestamps, ..self }
    }
    /// Whether a virtio device that offers packed queues (VIRTIO_F_RING_PACKED) is driven by them, as it is without a call; else by split ones.
    pub fn packed_queues(self, wanted: bool) -> Self {
        Self { packed_queues: wanted, ..self }
    }
    /// Whether a virtio device that offers to use buffers in the order in which it gets them (VIRTIO_F_IN_ORDER) is held to it, as it is without a call; else it may use
    /// them in any order.
    pub fn in_order(self, wanted: bool) -> Self {
        Self { in_order: wanted, ..self }
    }

    /// How many of the receive queues, the last ones, have frames of destination addresses of their own alone, which [`Rule::destination_mac`] gives them; the first
    /// ones share all other frames, spread over them by hash where they are several. None, unless this is called. [`DeviceInfo::mac_pools`] says how many there can
    /// be of both; a device that has none is not started.
    ///
    /// ```
    /// use driver_core::device::Config;
    ///
    /// // Queues 0 and 1 share what queues 2, 3 and 4 have no address for.
    /// let config = Config::new().rx_queues(5).mac_pools(3);
    /// assert_eq!((config.rx_config().spread_queues(), config.rx_config().mac_pool_count()), (2, 3));
    /// ```
    pub fn mac_pools(mut self, count: u16) -> Self {
        self.rx.mac_pools = count;
        self
    }
    /// As [`RxConfig::queues`].
    pub fn rx_queues(mut self, count: u16) -> Self {
        self.rx.queues = count;
        self
    }
    /// As [`TxConfig::queues`].
    pub fn tx_queues(mut self, count: u16) -> Self {
        self.tx.queues = count;
        self
    }
    /// As [`RxConfig::ring`].
    pub fn rx_ring(mut self, len: u32) -> Self {
        self.rx.ring = len;
        self
    }
    /// As [`TxConfig::ring`].
    pub fn tx_ring(mut self, len: u32) -> Self {
        self.tx.ring = len;
        self
    }
    /// As [`RxConfig::mode`].
    pub fn rx_mode(mut self, mode: RxMode) -> Self {
        self.rx.mode = mode;
        self
    }
    /// As [`TxConfig::gate`].
    pub fn gate(mut self, gate: GateConfig) -> Self {
        self.tx.gate = gate;
        self
    }

    /// See [`Config::mtu`]; `None`: 1500 bytes, or the device's where that is smaller.
    pub fn mtu_bytes(&self) -> Option<u32> {
        self.mtu
    }
    /// The receive side.
    pub fn rx_config(&self) -> &RxConfig {
        &self.rx
    }
    /// The transmit side.
    pub fn tx_config(&self) -> &TxConfig {
        &self.tx
    }
    /// See [`Config::rss`].
    pub fn rss_config(&self) -> &RssConfig {
        &self.rss
    }
    /// See [`Config::offloads`].
    pub fn wanted_offloads(&self) -> Offloads {
        self.offloads
    }
    /// See [`Config::rx_vlan_strip`].
    pub fn wants_rx_vlan_strip(&self) -> bool {
        self.strips_vlan
    }
    /// See [`Config::double_vlan`].
    pub fn wanted_double_vlan(&self) -> Option<u16> {
        self.double_vlan
    }
    /// See [`Config::rx_coalescing`].
    pub fn wants_rx_coalescing(&self) -> bool {
        self.coalesces
    }
    /// See [`Config::rx_hash`].
    pub fn wants_rx_hash(&self) -> bool {
        self.hashes
    }
    /// See [`Config::header_split`].
    pub fn wants_header_split(&self) -> bool {
        self.splits_headers
    }
    /// See [`Config::software`].
    pub fn wanted_software(&self) -> Caps {
        self.software
    }
    /// The pool that was given.
    pub fn given_pool(&self) -> Option<&BufPool> {
        self.pool.as_ref()
    }
    /// See [`Config::flow_table`].
    pub fn wanted_flow_table(&self) -> FlowTable {
        self.flow_table
    }
    /// See [`Config::rules`].
    pub fn wanted_rules(&self) -> &[Rule] {
        &self.rules
    }
    /// See [`Config::vlan_filter`].
    pub fn wanted_vlans(&self) -> Option<&[u16]> {
        self.vlans.as_deref()
    }
    /// See [`Config::link_speeds`].
    pub fn wanted_link_speeds(&self) -> Option<LinkSpeeds> {
        self.link_speeds
    }
    /// See [`Config::interrupts`].
    pub fn wants_interrupts(&self) -> bool {
        self.interrupts
    }
    /// See [`Config::flow_control`].
    pub fn wanted_flow_control(&self) -> FlowControl {
        self.flow_control
    }
    /// See [`Config::moderation`].
    pub fn wanted_moderation(&self) -> Moderation {
        self.moderation
    }
    /// See [`Config::timestamps`].
    pub fn wanted_timestamps(&self) -> Timestamps {
        self.timestamps
    }
    /// See [`Config::recovery`].
    pub fn wanted_recovery(&self) -> Recovery {
        self.recovery
    }
    /// See [`Config::in_order`].
    pub fn wants_in_order(&self) -> bool {
        self.in_order
    }
    /// See [`Config::packed_queues`].
    pub fn wants_packed_queues(&self) -> bool {
        self.packed_queues
    }
}

/// What a device allows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The most receive queues.
    pub rx_queues: u16,
    /// The most transmit queues.
    pub tx_queues: u16,
    /// Descriptors in a ring.
    pub ring: RangeInclusive<u32>,
    /// The MTU in bytes.
    pub mtu: RangeInclusive<u32>,
    /// Interrupt vectors that the function has.
    pub vectors: u16,
    /// What it can do of receive side scaling.
    pub rss: RssLimits,
    /// The longest interval between interrupts in microseconds; 0: it keeps none.
    pub moderation_us: u32,
    /// The speeds that it can offer; nothing where its driver does not decide.
    pub link_speeds: LinkSpeeds,
    /// How its receive queues can be shared out between addresses of their own and all else.
    pub mac_pools: &'static [MacPools],
}

impl Limits {
    /// Those that the device tells, and as many interrupt vectors as the function has.
    pub fn of(info: &DeviceInfo, vectors: u16) -> Self {
        let (ring, mtu) = (info.ring_limits.clone(), MIN_MTU..=info.max_mtu);
        Self {
            rx_queues: info.max_rx_queues,
            tx_queues: info.max_tx_queues,
            ring,
            mtu,
            vectors,
            rss: info.rss,
            moderation_us: info.max_moderation_us,
            link_speeds: info.link_speeds,
            mac_pools: info.mac_pools,
        }
    }
}

/// Checks everything of `config` that does not depend on a pool's buffers.
///
/// # Errors
/// [`ConfigError`], the first that is found.
pub fn check(config: &Config, domain: &DmaDomain, limits: &Limits) -> Result<(), ConfigError> {
    let Config { rx, tx, .. } = config;
    for (direction, asked, max) in [("receive", rx.queues, limits.rx_queues), ("transmit", tx.queues, limits.tx_queues)] {
        if !(1..=max).contains(&asked) {
            return Err(ConfigError::Queues { direction, asked, max });
        }
    }
    for (direction, asked) in [("receive", rx.ring), ("transmit", tx.ring)] {
        if !asked.is_power_of_two() || !limits.ring.contains(&asked) {
            let (&min, &max) = (limits.ring.start(), limits.ring.end());
            return Err(ConfigError::Ring { direction, asked, min, max });
        }
    }
    if let Some(asked) = config.mtu.filter(|mtu| !limits.mtu.contains(mtu)) {
        let (&min, &max) = (limits.mtu.start(), limits.mtu.end());
        return Err(ConfigError::Mtu { asked, min, max });
    }
    TxGate::new(tx.gate, tx.ring).map_err(ConfigError::Gate)?;
    if config.pool.as_ref().is_some_and(|pool| !pool.domain().is_same(domain)) {
        return Err(ConfigError::PoolDomain);
    }
    if let Some(asked) = config.double_vlan.filter(|&outer| !names_a_tag(outer)) {
        return Err(ConfigError::OuterVlan { asked });
    }
    check_mac_pools(rx, limits.mac_pools)?;
    config.rss.check(&limits.rss, rx.spread_queues()).map_err(ConfigError::Rss)?;
    check_moderation(config.moderation, limits.moderation_us)?;
    if let Some(asked) = config.link_speeds.filter(|_| !limits.link_speeds.is_empty()) {
        check_link_speeds(asked, limits.link_speeds)?;
    }
    if config.interrupts && VectorPlan::new(rx.queues).within(limits.vectors).is_none() {
        return Err(ConfigError::Vectors { available: limits.vectors, needed: rx.queues });
    }
    Ok(())
}

/// Whether it may be the EtherType of a tag: no length (IEEE 802.3 clause 3.2.6), and no protocol that frames without a tag have.
const fn names_a_tag(kind: u16) -> bool {
    const IPV4: u16 = 0x0800;
    const ARP: u16 = 0x0806;
    const IPV6: u16 = 0x86dd;
    kind >= 0x0600 && !matches!(kind, IPV4 | ARP | IPV6)
}

/// That the device can share its receive queues out so.
fn check_mac_pools(rx: &RxConfig, has: &'static [MacPools]) -> Result<(), ConfigError> {
    let (asked, spread) = (rx.mac_pools, rx.spread_queues());
    if asked == 0 || has.iter().any(|way| way.has(asked, spread)) { Ok(()) } else { Err(ConfigError::MacPools { asked, spread, has }) }
}

/// That something is left of what is to be offered.
pub(crate) fn check_link_speeds(asked: LinkSpeeds, has: LinkSpeeds) -> Result<(), ConfigError> {
    if asked.intersects(has) { Ok(()) } else { Err(ConfigError::LinkSpeeds { asked, has }) }
}

/// That a device which keeps intervals of up to `max_us` keeps this one.
pub(crate) fn check_moderation(asked: Moderation, max_us: u32) -> Result<(), ConfigError> {
    match asked {
        Moderation::Fixed { us: asked_us } if max_us > 0 && asked_us > max_us => Err(ConfigError::Moderation { asked_us, max_us }),
        _ => Ok(()),
    }
}
