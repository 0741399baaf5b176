//! Flow director (7.1.2.7, 8.2.3.21): filters in the receive packet buffer, found by a hash: one that software computes where it adds a filter, and the card for each frame.
//!
//! In perfect mode a filter has the fields themselves, in signature mode a second hash of them.

use super::hash::{Input, hash};
use super::state::{Director, Entry, Filter};
use crate::ixgbe::card::Ixgbe;
use crate::ixgbe::file::name_of;
use crate::ixgbe::interrupt::CAUSE_FLOW_DIRECTOR;
use crate::ixgbe::parse::{Headers, packet_type};
use crate::ixgbe::regs::{
    FDIRCMD, FDIRCTRL, FDIRDIP4M, FDIRFSTAT, FDIRHASH, FDIRHKEY, FDIRIPDA, FDIRIPSA, FDIRLEN, FDIRM, FDIRMATCH, FDIRMISS, FDIRPORT, FDIRSCTPM,
    FDIRSIP4M, FDIRSKEY, FDIRTCPM, FDIRUDPM, FDIRUSTAT, FDIRVLAN, RXPBSIZE,
};
use crate::ixgbe::rss::Hash;
use crate::slot::Slot;

/// FDIRCTRL (8.2.3.21.1).
const PBALLOC: u32 = 3;
const INIT_DONE: u32 = 1 << 3;
const PERFECT_MATCH: u32 = 1 << 4;
const REPORT_STATUS: u32 = 1 << 5 | 1 << 7;
const DROP_Q_SHIFT: u32 = 8;
const FLEX_SHIFT: u32 = 16;
const X550_FILTER_MODE: u32 = 7 << 21;
const MAX_LENGTH_SHIFT: u32 = 24;
const FULL_THRESH_SHIFT: u32 = 28;

/// FDIRCMD (8.2.3.21).
const CMD: u32 = 3;
const CMD_ADD: u32 = 1;
const CMD_REMOVE: u32 = 2;
const CMD_QUERY: u32 = 3;
const FILTER_VALID: u32 = 1 << 2;
const FILTER_UPDATE: u32 = 1 << 3;
const TYPE_SHIFT: u32 = 5;
const CLEARHT: u32 = 1 << 8;
const DROP: u32 = 1 << 9;
const QUEUE_EN: u32 = 1 << 15;
const RX_QUEUE_SHIFT: u32 = 16;
const POOL_SHIFT: u32 = 24;

/// FDIRM (8.2.3.21): what is not compared.
const M_VLAN_ID: u32 = 1;
const M_VLAN_PRIORITY: u32 = 1 << 1;
const M_POOL: u32 = 1 << 2;
const M_L4_TYPE: u32 = 1 << 3;
const M_FLEX: u32 = 1 << 4;

/// Types of flows: UDP, TCP, SCTP or none of them in bits 1:0, and IPv6.
const TYPE_L4: u32 = 3;
const TYPE_UDP: u32 = 1;
const TYPE_TCP: u32 = 2;
const TYPE_SCTP: u32 = 3;
const TYPE_IPV6: u32 = 1 << 2;

/// A tag's canonical format indicator is never compared.
const VLAN_CFI: u32 = 1 << 12;

/// What a filter that matched says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verdict {
    pub(super) queue: Option<u32>,
    /// What stands in the place of the frame's hash.
    pub(super) told: Option<Hash>,
}

impl Ixgbe {
    /// PBALLOC says whether flow director has memory, and so whether it is on.
    pub(in crate::ixgbe) fn has_director(&self) -> bool {
        self.regs.at(FDIRCTRL) & PBALLOC != 0
    }

    fn is_perfect(&self) -> bool {
        self.regs.has(FDIRCTRL, PERFECT_MATCH)
    }

    /// Filters in the smallest memory, and twice as many in each larger one: 2K perfect ones or 8K signatures.
    fn director_slots(&self) -> u32 {
        let least = if self.is_perfect() { 2 << 10 } else { 8 << 10 };
        if self.has_director() { least << ((self.regs.at(FDIRCTRL) & PBALLOC) - 1) } else { 0 }
    }

    /// One or two of them are the table's own.
    fn director_capacity(&self) -> u32 {
        self.director_slots().saturating_sub(if self.is_perfect() { 2 } else { 1 })
    }

    pub(in crate::ixgbe) fn read_fdirfree(&self) -> u32 {
        self.director_capacity().saturating_sub(self.steering.director.count)
    }

    /// The tables are initialized at once (8.2.3.21.1).
    pub(in crate::ixgbe) fn read_fdirctrl(&self) -> u32 {
        self.regs.at(FDIRCTRL) | INIT_DONE
    }

    pub(in crate::ixgbe) fn write_fdirctrl(&mut self, slot: &Slot<'_>, value: u32) {
        self.regs.set(FDIRCTRL, value & !INIT_DONE);
        self.steering.director = Director::default();
        if self.is_x550() && value & X550_FILTER_MODE != 0 {
            slot.violation("flow director's filters of addresses and of tunnels are not modelled", format_args!("FDIRCTRL"), value.into(), "(X550)");
        }
        self.check_director_memory(slot);
        self.note_steering(slot, FDIRCTRL);
    }

    /// Filters lie behind the packet buffers, which have to leave them room.
    pub(in crate::ixgbe) fn check_director_memory(&self, slot: &Slot<'_>) {
        let value = self.regs.at(FDIRCTRL);
        let memory = if self.has_director() { 1 << (15 + (value & PBALLOC)) } else { 0 };
        let buffers: u32 = (0..8).map(|i| self.regs.at(RXPBSIZE + 4 * i) & 0xF_FC00).sum();
        let whole = if self.is_copper() { 384 << 10 } else { 512 << 10 };
        if self.has_director() && buffers + memory > whole {
            slot.violation("flow director's filters and the receive packet buffers overlap", format_args!("FDIRCTRL"), value.into(), "7.1.2.7");
        }
    }

    /// A mask or a key: all filters are found and compared by it.
    pub(in crate::ixgbe) fn write_director_rule(&mut self, slot: &Slot<'_>, offset: u32, value: u32) {
        if self.steering.director.count > 0 && self.regs.at(offset) != value {
            let (name, ..) = name_of(offset);
            slot.violation("a mask or key of flow director was changed while it has filters", format_args!("{name}"), value.into(), "7.1.2.7");
        }
        self.regs.set(offset, value);
    }

    /// A command is done at once, and its bits read as zero from then on (8.2.3.21).
    pub(in crate::ixgbe) fn write_fdircmd(&mut self, slot: &Slot<'_>, value: u32) {
        self.regs.set(FDIRCMD, value & !(CMD | FILTER_VALID));
        if value & CLEARHT != 0 {
            self.steering.director = Director::default();
        }
        if value & CMD == 0 {
            return;
        }
        if !self.has_director() {
            slot.violation("flow director was given a command and has no memory", format_args!("FDIRCMD"), value.into(), "7.1.2.7");
            return;
        }
        let named = self.regs.at(FDIRHASH);
        let bucket = named as u16 & (self.director_slots() - 1) as u16;
        let name = (named >> 16) as u16;
        match value & CMD {
            CMD_ADD => self.add_filter(slot, bucket, name, value),
            CMD_REMOVE => self.remove_filter(bucket, name),
            CMD_QUERY => self.query_filter(bucket, name),
            _ => {}
        }
    }

    fn add_filter(&mut self, slot: &Slot<'_>, bucket: u16, name: u16, command: u32) {
        let kind = command >> TYPE_SHIFT & (TYPE_IPV6 | TYPE_L4);
        let filter = if self.is_perfect() {
            let input = self.filter_input(slot, kind, command >> POOL_SHIFT & 0x3F);
            if self.bucket_of(&input) != bucket {
                slot.violation(
                    "a flow director filter was added under another hash than its fields'",
                    format_args!("FDIRHASH"),
                    bucket.into(),
                    "7.1.2.7",
                );
            }
            Filter::Perfect(input)
        } else {
            Filter::Signature { signature: name & 0x7FFF, kind }
        };
        let most = 2 * (self.regs.at(FDIRCTRL) >> MAX_LENGTH_SHIFT & 0xF) as usize;
        let has_room = self.read_fdirfree() > 0;
        let director = &mut self.steering.director;
        let entries = director.buckets.entry(bucket).or_default();
        let entry = Entry { name, filter, command };
        if let Some(known) = entries.iter_mut().find(|known| known.name == name) {
            if command & FILTER_UPDATE != 0 {
                *known = entry;
            }
            return;
        }
        if !has_room || entries.len() >= most {
            return self.count_half(FDIRFSTAT, 8, 0);
        }
        entries.push(entry);
        director.count += 1;
        let len = entries.len() as u32;
        if len > self.regs.at(FDIRLEN) & 0x3F {
            self.regs.set(FDIRLEN, u32::from(bucket) << 16 | len);
        }
        self.count_half(FDIRUSTAT, 16, 0);
        if self.read_fdirfree() < 16 * (self.regs.at(FDIRCTRL) >> FULL_THRESH_SHIFT) {
            self.interrupts.misc(CAUSE_FLOW_DIRECTOR);
        }
    }

    fn remove_filter(&mut self, bucket: u16, name: u16) {
        let director = &mut self.steering.director;
        let entries = director.buckets.entry(bucket).or_default();
        match entries.iter().position(|entry| entry.name == name) {
            None => self.count_half(FDIRFSTAT, 8, 8),
            Some(at) => {
                entries.remove(at);
                director.count -= 1;
                self.count_half(FDIRUSTAT, 16, 16);
            }
        }
    }

    fn query_filter(&mut self, bucket: u16, name: u16) {
        let found = self.steering.director.buckets.get(&bucket).and_then(|entries| entries.iter().find(|entry| entry.name == name));
        if let Some(entry) = found {
            self.regs.set(FDIRCMD, entry.command & !(CMD | FILTER_UPDATE | CLEARHT) | FILTER_VALID);
        }
    }

    /// One of the counters that share a register, of so many bits; it stays where it is full.
    fn count_half(&mut self, register: u32, bits: u32, shift: u32) {
        let most = (1 << bits) - 1;
        let value = self.regs.at(register);
        if value >> shift & most != most {
            self.regs.set(register, value + (1 << shift));
        }
    }

    fn bucket_of(&self, input: &Input) -> u16 {
        hash(self.regs.at(FDIRHKEY), input) & (self.director_slots() - 1) as u16
    }

    /// The fields of a filter that is being added, as far as they are compared.
    fn filter_input(&self, slot: &Slot<'_>, kind: u32, pool: u32) -> Input {
        if kind & TYPE_IPV6 != 0 {
            slot.violation("perfect filters of IPv6 are not modelled", format_args!("FDIRCMD"), kind.into(), "7.1.2.7");
        }
        let at = |register| self.regs.at(register);
        let (vlan, flex) = (at(FDIRVLAN) & 0xFFFF, (at(FDIRVLAN) >> 16) as u16);
        // FDIRPORT has the destination's port on top, the wire the source's.
        let ports = at(FDIRPORT).rotate_left(16);
        let mut input = [0; 11];
        input[0] = pool << 24 | kind << 16 | vlan;
        (input[1], input[5]) = (at(FDIRIPSA).swap_bytes(), at(FDIRIPDA).swap_bytes());
        (input[9], input[10]) = (ports, u32::from(flex.swap_bytes()) << 16);
        if at(FDIRM) & M_L4_TYPE != 0 && self.port_mask(TYPE_TCP) != 0 {
            slot.violation("flow director compares ports and not the protocol that they are of", format_args!("FDIRM"), at(FDIRM).into(), "8.2.3.21");
        }
        self.masked(input, kind)
    }

    /// The bits of the ports that are compared, source on top. The mask's bits are in the reverse order.
    fn port_mask(&self, l4: u32) -> u32 {
        let register = match l4 {
            TYPE_TCP => FDIRTCPM,
            TYPE_UDP => FDIRUDPM,
            TYPE_SCTP if self.is_x550() => FDIRSCTPM,
            _ => return 0,
        };
        // Reversed whole, the source's half comes on top.
        (!self.regs.at(register)).reverse_bits()
    }

    /// The input with what is not compared taken out; addresses of IPv6 are whole.
    fn masked(&self, mut input: Input, kind: u32) -> Input {
        let m = self.regs.at(FDIRM);
        let off = |bit: u32, field: u32| if m & bit != 0 { field } else { 0 };
        input[0] &= !(off(M_POOL, 0x7F << 24) | off(M_L4_TYPE, TYPE_L4 << 16) | off(M_VLAN_ID, 0xFFF) | off(M_VLAN_PRIORITY, 7 << 13) | VLAN_CFI);
        if kind & TYPE_IPV6 == 0 {
            input[1] &= !self.regs.at(FDIRSIP4M).swap_bytes();
            input[5] &= !self.regs.at(FDIRDIP4M).swap_bytes();
        }
        input[9] &= self.port_mask(kind & TYPE_L4);
        input[10] &= !off(M_FLEX, 0xFFFF << 16);
        input
    }

    /// What the card hashes of a frame, and the flow's type; none where it is not IP.
    fn frame_input(&self, frame: &[u8], headers: &Headers, pool: u32) -> Option<(Input, u32)> {
        let addresses = frame.get(headers.addresses.clone()?)?;
        let l4 = match headers.protocol {
            Some(6) => TYPE_TCP,
            Some(17) => TYPE_UDP,
            Some(132) => TYPE_SCTP,
            _ => 0,
        };
        let is_v4 = headers.has(packet_type::IPV4);
        let kind = l4 | if is_v4 { 0 } else { TYPE_IPV6 };
        let mut input = [0; 11];
        input[0] = pool << 24 | kind << 16 | headers.vlan.map_or(0, u32::from) & !VLAN_CFI;
        let half = addresses.len() / 2;
        for (first, address) in [(1, addresses.get(..half)?), (5, addresses.get(half..)?)] {
            for (word, bytes) in input[first..].iter_mut().zip(address.as_chunks::<4>().0) {
                *word = u32::from_be_bytes(*bytes);
            }
        }
        let has_ports = l4 != TYPE_SCTP || self.is_x550();
        input[9] = headers.l4_ports(frame).filter(|_| has_ports).map_or(0, u32::from_be_bytes);
        let flex_at = 2 * (self.regs.at(FDIRCTRL) >> FLEX_SHIFT & 0x1F) as usize;
        let flex = frame.get(flex_at..).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u16::from_be_bytes(*bytes));
        input[10] = u32::from(flex) << 16;
        Some((input, kind))
    }

    /// Looks for the filter of a frame. Frames that are not IP are none of its business.
    pub(super) fn direct(&mut self, frame: &[u8], headers: &Headers, pool: u32) -> Option<Verdict> {
        if !self.has_director() {
            return None;
        }
        let (input, kind) = self.frame_input(frame, headers, pool)?;
        let input = self.masked(input, kind);
        let (bucket, wanted) = if self.is_perfect() {
            (self.bucket_of(&input), Filter::Perfect(input))
        } else {
            let signature = hash(self.regs.at(FDIRSKEY), &input);
            (self.bucket_of(&input), Filter::Signature { signature, kind })
        };
        let is_v6_perfect = self.is_perfect() && kind & TYPE_IPV6 != 0;
        let found = self.steering.director.buckets.get(&bucket).and_then(|entries| entries.iter().find(|entry| entry.filter == wanted));
        let Some(&Entry { name, command, .. }) = found.filter(|_| !is_v6_perfect) else {
            self.regs.count(FDIRMISS, 1);
            return None;
        };
        self.regs.count(FDIRMATCH, 1);
        let control = self.regs.at(FDIRCTRL);
        let queue = if command & DROP != 0 { control >> DROP_Q_SHIFT & 0x7F } else { command >> RX_QUEUE_SHIFT & 0x7F };
        let told = Hash { rss_type: 0xF, value: u32::from(name) << 16 | u32::from(bucket) };
        Some(Verdict { queue: (command & QUEUE_EN != 0).then_some(queue), told: (control & REPORT_STATUS != 0).then_some(told) })
    }
}
