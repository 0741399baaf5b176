//! How a device is set now: the one place that a start, the setters of its control handle and a restart read.

use alloc::vec::Vec;

use crate::device::caps::Caps;
use crate::device::clock::Timestamps;
use crate::device::config::{Config, RxConfig, TxConfig};
use crate::device::flow_control::FlowControl;
use crate::device::info::{DeviceInfo, RxMode};
use crate::device::link::LinkSpeeds;
use crate::device::moderation::Moderation;
use crate::device::offloads::Offloads;
use crate::device::recovery::Recovery;
use crate::device::rss::RssConfig;
use crate::device::rule::{FlowTable, Rule, RuleId, RuleInForce, RulePlace};
use crate::ether::{FrameLimits, MacAddr, STANDARD_MTU};
use crate::host::vectors::VectorPlan;
use crate::offload::Work;

/// Everything that a device was told by its configuration and by the setters since.
///
/// A driver's `start` makes it from the configuration and sets the device up by it; its control handle keeps it, and writes to it what the device has taken,
/// never what it refused. A device that lost its state is set up anew by the same value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    mac: MacAddr,
    mtu: u32,
    rx: RxConfig,
    tx: TxConfig,
    rss: RssConfig,
    offloads: Offloads,
    strips_vlan: bool,
    double_vlan: Option<u16>,
    coalesces: bool,
    splits_headers: bool,
    software: Caps,
    interrupts: bool,
    moderation: Moderation,
    flow_control: FlowControl,
    recovery: Recovery,
    /// Interrupt vectors that the function has.
    available_vectors: u16,
    unicast: Vec<MacAddr>,
    multicast: Vec<MacAddr>,
    flow_table: FlowTable,
    vlans: Option<Vec<u16>>,
    timestamps: Timestamps,
    rules: Vec<RuleInForce>,
    next_rule: u32,
    link_speeds: LinkSpeeds,
}

impl Settings {
    /// What `config` asks for, of a device that starts with its permanent address and without further ones. Where no MTU was asked for it is the
    /// standard's 1500 bytes, or the device's where that is smaller.
    pub fn new(config: &Config, info: &DeviceInfo) -> Self {
        // Frames that are stamped come one by one, and in one piece.
        let timestamps = config.wanted_timestamps().on(info.caps);
        let coalesces = config.wants_rx_coalescing()
            && info.caps.contains(Caps::RX_COALESCING)
            && timestamps == Timestamps::Off
            && config.rx_config().mac_pool_count() == 0;
        let flow_control = if info.caps.contains(Caps::FLOW_CONTROL) { config.wanted_flow_control() } else { FlowControl::empty() };
        Self {
            mac: info.permanent_mac,
            mtu: config.mtu_bytes().unwrap_or(STANDARD_MTU.min(info.max_mtu)),
            rx: config.rx_config().clone(),
            tx: config.tx_config().clone(),
            rss: config.rss_config().on(&info.rss, config.rx_config().spread_queues()),
            offloads: config.wanted_offloads(),
            strips_vlan: config.wants_rx_vlan_strip() && info.caps.contains(Caps::RX_VLAN_STRIP),
            double_vlan: config.wanted_double_vlan().filter(|_| info.caps.contains(Caps::DOUBLE_VLAN)),
            coalesces,
            splits_headers: config.wants_header_split() && info.caps.contains(Caps::HEADER_SPLIT) && timestamps == Timestamps::Off && !coalesces,
            software: config.wanted_software(),
            interrupts: config.wants_interrupts(),
            moderation: config.wanted_moderation(),
            flow_control,
            recovery: if info.caps.contains(Caps::RECOVERY) { config.wanted_recovery() } else { Recovery::Off },
            available_vectors: u16::MAX,
            unicast: Vec::new(),
            multicast: Vec::new(),
            flow_table: config.wanted_flow_table(),
            vlans: config.wanted_vlans().map(Vec::from),
            timestamps,
            rules: Vec::new(),
            next_rule: 0,
            link_speeds: config.wanted_link_speeds().map_or(info.link_speeds, |asked| asked & info.link_speeds),
        }
    }

    /// The device's address.
    pub fn mac(&self) -> MacAddr {
        self.mac
    }
    /// The MTU in bytes.
    pub fn mtu(&self) -> u32 {
        self.mtu
    }
    /// The longest frames of the MTU.
    pub fn limits(&self) -> FrameLimits {
        if self.double_vlan.is_some() { FrameLimits::of(self.mtu).with_outer_tag() } else { FrameLimits::of(self.mtu) }
    }
    /// The receive queues, their rings and the receive mode.
    pub fn rx(&self) -> &RxConfig {
        &self.rx
    }
    /// The transmit queues, their rings and their gates.
    pub fn tx(&self) -> &TxConfig {
        &self.tx
    }
    /// How flows are spread over several receive queues: where they are, with the device's whole table, and with no type that it does not hash.
    pub fn rss(&self) -> &RssConfig {
        &self.rss
    }
    /// What the device may do in the stack's place.
    pub fn offloads(&self) -> Offloads {
        self.offloads
    }
    /// Whether VLAN tags are taken out of received frames, which the device can.
    pub fn strips_vlan(&self) -> bool {
        self.strips_vlan
    }
    /// The EtherType of the outer VLAN tag of every frame, behind which the device looks.
    pub fn double_vlan(&self) -> Option<u16> {
        self.double_vlan
    }
    /// Whether received segments are put together, which the device can.
    pub fn coalesces(&self) -> bool {
        self.coalesces
    }
    /// Whether headers of received frames go to buffers of their own, which the device can.
    pub fn splits_headers(&self) -> bool {
        self.splits_headers
    }
    /// What transmit queues may do in software, in the words of devices.
    pub fn software(&self) -> Caps {
        self.software
    }
    /// The same, in the words of frames.
    pub fn software_work(&self) -> Work {
        let mut work = Work::empty();
        work.set(Work::CHECKSUM, self.software.contains(Caps::TX_CHECKSUM));
        work.set(Work::VLAN, self.software.contains(Caps::TX_VLAN_INSERT));
        work.set(Work::SCTP_CRC, self.software.contains(Caps::TX_SCTP_CRC));
        work.set(Work::SEGMENTATION, self.software.contains(Caps::TX_SEGMENTATION));
        work
    }
    /// Which interrupt vector tells of what, as far as the function has them ([`VectorPlan::within`]); `None`: none is used.
    pub fn vectors(&self) -> Option<VectorPlan> {
        let plan = VectorPlan::new(self.rx.queue_count()).with_tx(self.tx.queue_count());
        plan.within(self.available_vectors).filter(|_| self.interrupts)
    }
    /// Which pause frames are obeyed and sent.
    pub fn flow_control(&self) -> FlowControl {
        self.flow_control
    }
    /// Whether receive queue `queue`, started as the device is set now, drops frames for which it has no buffers.
    pub fn drops(&self, queue: u16) -> bool {
        self.rx.when_full(queue).drops(self.rx.queue_count(), self.flow_control)
    }
    /// Which frames the device stamps, which it can.
    pub fn timestamps(&self) -> Timestamps {
        self.timestamps
    }
    /// How far apart a queue's interrupts are at least.
    pub fn moderation(&self) -> Moderation {
        self.moderation
    }
    /// What becomes of the device where it fails: [`Recovery::Off`] where its driver cannot recover it.
    pub fn recovery(&self) -> Recovery {
        self.recovery
    }
    /// Which frames come in beside those for the device.
    pub fn rx_mode(&self) -> RxMode {
        self.rx.rx_mode()
    }
    /// The further unicast addresses that come in.
    pub fn unicast(&self) -> &[MacAddr] {
        &self.unicast
    }
    /// The multicast addresses that come in.
    pub fn multicast(&self) -> &[MacAddr] {
        &self.multicast
    }
    /// The table of flows that it was started with.
    pub fn flow_table(&self) -> FlowTable {
        self.flow_table
    }
    /// The VLANs that come in; `None`: every one.
    pub fn vlans(&self) -> Option<&[u16]> {
        self.vlans.as_deref()
    }
    /// The speeds that it offers in auto-negotiation; nothing where its driver does not decide.
    pub fn link_speeds(&self) -> LinkSpeeds {
        self.link_speeds
    }
    /// The rules that hold, in the order in which they were added.
    pub fn rules(&self) -> &[RuleInForce] {
        &self.rules
    }

    /// The device has this address now.
    pub fn set_mac(&mut self, mac: MacAddr) {
        self.mac = mac;
    }
    /// Its receiver is in this mode now.
    pub fn set_rx_mode(&mut self, mode: RxMode) {
        self.rx = self.rx.clone().mode(mode);
    }
    /// These further unicast addresses come in now.
    pub fn set_unicast(&mut self, addresses: &[MacAddr]) {
        self.unicast = addresses.into();
    }
    /// These multicast addresses come in now.
    pub fn set_multicast(&mut self, addresses: &[MacAddr]) {
        self.multicast = addresses.into();
    }
    /// These VLANs come in now; `None`: every one.
    pub fn set_vlans(&mut self, ids: Option<&[u16]>) {
        self.vlans = ids.map(Vec::from);
    }
    /// The device has this rule now. Returns its number.
    pub fn add_rule(&mut self, rule: Rule, place: RulePlace) -> RuleId {
        let id = RuleId(self.next_rule);
        self.next_rule += 1;
        self.rules.push(RuleInForce::new(id, rule, place));
        id
    }
    /// It has not any more.
    pub fn remove_rule(&mut self, id: RuleId) {
        self.rules.retain(|rule| rule.id != id);
    }
    /// The function has so many interrupt vectors.
    pub fn set_available_vectors(&mut self, available: u16) {
        self.available_vectors = available;
    }
    /// These pause frames are obeyed and sent now.
    pub fn set_flow_control(&mut self, flow_control: FlowControl) {
        self.flow_control = flow_control;
    }
    /// Interrupts are so far apart now.
    pub fn set_moderation(&mut self, moderation: Moderation) {
        self.moderation = moderation;
    }
    /// These speeds are offered now.
    pub fn set_link_speeds(&mut self, speeds: LinkSpeeds) {
        self.link_speeds = speeds;
    }
    /// Of RX_CHECKSUM and RX_COALESCING the device does these now.
    pub fn set_rx_offloads(&mut self, wanted: Caps) {
        self.offloads.set(Offloads::RX_CHECKSUM, wanted.contains(Caps::RX_CHECKSUM));
        self.coalesces = wanted.contains(Caps::RX_COALESCING);
    }
    /// Flows are spread so now.
    pub fn set_rss(&mut self, rss: RssConfig) {
        self.rss = rss;
    }
    /// Its rings have so many descriptors, which may be fewer than were asked for.
    pub fn set_ring_lens(&mut self, rx: u32, tx: u32) {
        self.rx = self.rx.clone().ring(rx);
        self.tx = self.tx.clone().ring(tx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_what_was_configured_until_something_is_set() {
        let config = Config::new()
            .mtu(9000)
            .rx_queues(3)
            .tx_ring(64)
            .rx_mode(RxMode::PROMISCUOUS)
            .interrupts(true)
            .offloads(Offloads::TX_CHECKSUM)
            .rx_vlan_strip(true)
            .software(Caps::all() - Caps::TX_CHECKSUM - Caps::TX_SCTP_CRC - Caps::TX_SEGMENTATION);
        let [mac, other, group] = [2, 4, 1].map(|first| MacAddr([first, 0, 0, 0, 0, 1]));
        let mut info = DeviceInfo::new("test", "test", "a test's", mac);
        info.max_mtu = 9710;
        let start = Settings::new(&config, &info);
        assert_eq!(
            (start.mac(), start.mtu(), start.limits().untagged_bytes(), start.vectors()),
            (mac, 9000, 9014, Some(VectorPlan::new(3).with_tx(1)))
        );
        assert_eq!((start.rx(), start.tx(), start.rss()), (config.rx_config(), config.tx_config(), config.rss_config()));
        assert_eq!((start.rx_mode(), start.offloads()), (RxMode::PROMISCUOUS, Offloads::TX_CHECKSUM));
        assert!(!start.strips_vlan(), "this device does not");
        assert_eq!((start.software(), start.software_work()), (Caps::TX_VLAN_INSERT, Work::VLAN), "what software cannot do it is not to do");
        assert_eq!(Settings::new(&Config::new(), &info).software_work(), Work::SOFTWARE);
        assert!(start.unicast().is_empty() && start.multicast().is_empty());
        let mut few = start.clone();
        few.set_available_vectors(4);
        assert_eq!(few.vectors(), Some(VectorPlan::new(3)), "transmit queues go without");
        assert_eq!(Settings::new(&Config::new(), &info).vectors(), None);
        let mut now = start.clone();
        now.set_mac(other);
        now.set_rx_mode(RxMode::ALL_MULTICAST);
        now.set_unicast(&[mac]);
        now.set_multicast(&[group]);
        now.set_ring_lens(256, 32);
        assert_eq!((now.mac(), now.rx_mode(), now.unicast(), now.multicast()), (other, RxMode::ALL_MULTICAST, &[mac][..], &[group][..]));
        assert_eq!((now.rx().queue_count(), now.rx().ring_len(), now.tx().ring_len()), (3, 256, 32));
        assert_eq!((now.mtu(), now.tx().gate_config(), now.rss()), (start.mtu(), start.tx().gate_config(), start.rss()));
    }

    #[test]
    fn without_an_mtu_it_is_what_the_device_allows_up_to_the_standards() {
        let mut info = DeviceInfo::new("test", "test", "a test's", MacAddr([2, 0, 0, 0, 0, 1]));
        for (max_mtu, mtu) in [(9710, 1500), (1500, 1500), (1280, 1280), (68, 68)] {
            info.max_mtu = max_mtu;
            assert_eq!(Settings::new(&Config::new(), &info).mtu(), mtu);
        }
    }
}
