//! The control queue (5.1.6.5): commands, each a chain of a class, a command, its data, and an ack byte that the card writes.

use super::coalesce::needed;
use super::flow::{KEY_BYTES, hash};
use super::queue::{Chain, Entry, Lie};
use super::regs::*;
use super::sets::{Limits, RSS_TABLE};
use super::{VirtioNet, receiveq, transmitq};
use crate::dma::Dma;
use crate::memory::DmaFault;
use crate::slot::Slot;

/// `class` and `command`.
const HEADER_BYTES: usize = 2;
/// The most that a command may hold: more than any does.
const LONGEST_BYTES: usize = 1 << 16;
/// Further addresses of one kind that the card tells apart; with more it takes all of the kind, as QEMU's.
const TABLE: usize = 64;

/// What VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET switches, of what the card has.
const OFFLOADS: u64 = bit(VIRTIO_NET_F_GUEST_CSUM)
    | bit(VIRTIO_NET_F_GUEST_TSO4)
    | bit(VIRTIO_NET_F_GUEST_TSO6)
    | bit(VIRTIO_NET_F_GUEST_ECN)
    | bit(VIRTIO_NET_F_GUEST_USO4)
    | bit(VIRTIO_NET_F_GUEST_USO6);

/// What a command comes to.
type Done = Result<(), &'static str>;

/// A command's data, taken bit by bit.
struct Data<'a>(&'a [u8]);

impl<'a> Data<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], &'static str> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("a command is too short")?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self, bytes: usize) -> Result<usize, &'static str> {
        Ok(self.bytes(bytes)?.iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    }

    fn end(self) -> Done {
        if self.0.is_empty() { Ok(()) } else { Err("a command is too long") }
    }
}

impl VirtioNet {
    /// Does what the control queue asks for. Returns whether something moved.
    pub(super) fn obey(&mut self, slot: &Slot<'_>, dma: &Dma<'_>) -> bool {
        let control = self.control();
        if !self.queues[control].notified || !self.queues[control].enabled || self.faults.ctrl_silent {
            return false;
        }
        self.try_obey(slot, dma, control).unwrap_or_else(|fault| {
            self.queues[control].dead |= !fault.is_passing();
            !fault.is_passing()
        })
    }

    fn try_obey(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, control: usize) -> Result<bool, DmaFault> {
        let rules = self.rules();
        self.queues[control].want_notification(dma, rules, false)?;
        if self.queues[control].waiting(slot, dma, rules)? == 0 {
            self.queues[control].want_notification(dma, rules, true)?;
            if self.queues[control].waiting(slot, dma, rules)? == 0 {
                self.queues[control].notified = false;
                return Ok(false);
            }
        }
        let chain = self.queues[control].take(slot, dma, rules)?;
        if self.queues[control].dead {
            return Ok(true);
        }
        let (mut command, mut room, mut first) = (Vec::new(), None, None);
        for piece in &chain.pieces {
            if piece.writable {
                first = first.or(Some(piece.at));
                room = Some(piece.at.offset(u64::from(piece.len) - 1));
            } else if command.len() + piece.len as usize <= LONGEST_BYTES {
                dma.append(piece.at, piece.len as usize, &mut command)?;
            }
        }
        let (Some(ack), Some(first), Some((&[class, number], data))) = (room, first, command.split_first_chunk::<HEADER_BYTES>()) else {
            slot.violation("a command without class and command, or without room for its ack", format_args!("the control queue"), 0, "5.1.6.5");
            self.queues[control].dead = true;
            return Ok(true);
        };
        let once = self.is_refused_later(class);
        self.ctrl.answer.clear();
        let done = if once || self.faults.ctrl_refuse == Some(class) { Err("") } else { self.command(class, number, data) };
        match done {
            Ok(()) => self.counters.commands += 1,
            Err(why) => {
                self.counters.refused += 1;
                if class == CLASS_MQ {
                    self.ctrl.steering.switch_off();
                }
                if !why.is_empty() {
                    slot.violation(why, format_args!("class {class}, command {number}"), data.len() as u64, "5.1.6.5");
                }
            }
        }
        let code = u8::from(done.is_err());
        let written = if class == CLASS_STATS && done.is_ok() {
            write_answer(dma, &chain, &self.stats_answer(code))?
        } else {
            let answered = write_answer(dma, &chain, &self.ctrl.answer)?;
            dma.write(if class == CLASS_STATS { first } else { ack }, &[code])?;
            answered + 1
        };
        let entry = chain.entry(self.faults.ctrl_len.take().unwrap_or(written));
        self.finish(slot, dma, control, entry)?;
        Ok(true)
    }

    /// What is answered to a command of VIRTIO_NET_CTRL_STATS: the ack comes first (1.4, 5.1.6.5).
    fn stats_answer(&mut self, code: u8) -> Vec<u8> {
        let mut answer = [&[code][..], &self.ctrl.answer].concat();
        if let Some((at, byte)) = self.faults.stats_byte
            && let Some(place) = answer.get_mut(at + 1)
        {
            *place = byte;
        }
        answer.truncate(self.faults.stats_bytes.map_or(usize::MAX, |bytes| bytes as usize));
        answer
    }

    /// Whether it is this command's turn to be refused, behind others of its class.
    fn is_refused_later(&mut self, class: u8) -> bool {
        match &mut self.faults.ctrl_refuse_after {
            Some((of, 0)) if *of == class => self.faults.ctrl_refuse_after.take().is_some(),
            Some((of, left)) if *of == class => {
                *left -= 1;
                false
            }
            _ => false,
        }
    }

    fn finish(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, control: usize, mut entry: Entry) -> Result<(), DmaFault> {
        if let Some(id) = self.faults.ctrl_id.take() {
            entry.id = id;
        }
        let rules = self.rules();
        self.queues[control].give_back(dma, rules, &[entry], Lie::default())?;
        self.signal(slot, dma, control);
        Ok(())
    }

    /// One command. An error that is not empty is what a driver must not do; QEMU's card refuses the same.
    fn command(&mut self, class: u8, command: u8, data: &[u8]) -> Done {
        let needed = match (class, command) {
            (CLASS_RX, 0 | 1) | (CLASS_MAC, 0) => VIRTIO_NET_F_CTRL_RX,
            (CLASS_RX, 2..=5) => VIRTIO_NET_F_CTRL_RX_EXTRA,
            (CLASS_MAC, 1) => VIRTIO_NET_F_CTRL_MAC_ADDR,
            (CLASS_VLAN, 0 | 1) => VIRTIO_NET_F_CTRL_VLAN,
            (CLASS_ANNOUNCE, 0) => VIRTIO_NET_F_GUEST_ANNOUNCE,
            (CLASS_MQ, 0) => VIRTIO_NET_F_MQ,
            (CLASS_MQ, 1) => VIRTIO_NET_F_RSS,
            (CLASS_MQ, 2) => VIRTIO_NET_F_HASH_REPORT,
            (CLASS_GUEST_OFFLOADS, 0) => VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
            (CLASS_NOTF_COAL, 0..=3) => needed(command),
            (CLASS_STATS, 0 | 1) => VIRTIO_NET_F_DEVICE_STATS,
            _ => return Err("a command that there is not"),
        };
        if !self.has(needed) || !self.has(VIRTIO_NET_F_CTRL_VQ) {
            return Err("a command whose feature was not negotiated");
        }
        let mut data = Data(data);
        match (class, command) {
            (CLASS_RX, _) => self.set_mode(command, data.number(1)?)?,
            (CLASS_MAC, 0) => self.set_table(&mut data)?,
            (CLASS_MAC, _) => self.set_address(&mut data)?,
            (CLASS_VLAN, _) => {
                let id = data.number(2)?;
                let vlan = self.ctrl.filter.vlans.as_mut().and_then(|vlans| vlans.get_mut(id));
                *vlan.ok_or("a VLAN beyond 4095")? = command == 0;
            }
            (CLASS_ANNOUNCE, _) => self.ctrl.announces = false,
            (CLASS_GUEST_OFFLOADS, _) => self.set_offloads(&mut data)?,
            (CLASS_STATS, 0) => self.ctrl.answer = self.supported_stats(),
            (CLASS_STATS, _) => self.tell_stats(&mut data)?,
            (CLASS_NOTF_COAL, _) => self.set_coalescing(command, &mut data)?,
            (_, 0) => self.set_pairs(&mut data)?,
            (_, 1) => self.set_rss(&mut data)?,
            _ => self.set_hash(&mut data)?,
        }
        data.end()
    }

    /// struct virtio_net_ctrl_coal, behind the queue's index and what is reserved where it is one queue's. Of that which is asked for, the driver leaves the room.
    fn set_coalescing(&mut self, command: u8, data: &mut Data<'_>) -> Done {
        let queue = if command >= 2 { Some(data.number(4)? & 0xffff) } else { None };
        if command == 3 {
            let Limits { max_packets, max_usecs } = self.coalesce_queue(queue.unwrap_or(usize::MAX), None)?;
            self.ctrl.answer = [max_packets.to_le_bytes(), max_usecs.to_le_bytes()].concat();
            return Ok(());
        }
        let limits = Limits { max_packets: data.number(4)? as u32, max_usecs: data.number(4)? as u32 };
        match queue {
            None => self.coalesce_all(command, limits),
            Some(queue) => self.coalesce_queue(queue, Some(limits)).map(drop)?,
        }
        Ok(())
    }

    /// struct virtio_net_ctrl_queue_stats: queues, each with what is reserved, and types.
    fn tell_stats(&mut self, data: &mut Data<'_>) -> Done {
        let mut reply = Vec::new();
        while !data.0.is_empty() {
            let queue = data.number(2)?;
            data.bytes(6)?;
            let types = data.number(8)? as u64;
            reply.extend(self.stats_of(queue, types)?);
        }
        self.ctrl.answer = reply;
        Ok(())
    }

    /// 5.1.6.5.8: of the offloads that were negotiated those that are on from here.
    fn set_offloads(&mut self, data: &mut Data<'_>) -> Done {
        let wanted = data.number(8)? as u64;
        if wanted & !(self.driver_features & OFFLOADS) != 0 {
            return Err("an offload is switched on that was not negotiated");
        }
        self.ctrl.offloads_off = !wanted & OFFLOADS;
        Ok(())
    }

    fn set_mode(&mut self, command: u8, value: usize) -> Done {
        let modes = &mut self.ctrl.filter.modes;
        let mode = match command {
            0 => &mut modes.promiscuous,
            1 => &mut modes.all_multicast,
            2 => &mut modes.all_unicast,
            3 => &mut modes.no_multicast,
            4 => &mut modes.no_unicast,
            _ => &mut modes.no_broadcast,
        };
        if value > 1 {
            return Err("a mode that is neither on nor off");
        }
        *mode = value == 1;
        Ok(())
    }

    /// 5.1.6.5.2: first the addresses that are no multicast ones, then those that are.
    fn set_table(&mut self, data: &mut Data<'_>) -> Done {
        let mut tables = [Vec::new(), Vec::new()];
        for (table, is_multicast) in tables.iter_mut().zip([false, true]) {
            for _ in 0..data.number(4)? {
                let address: [u8; 6] = data.bytes(6)?.try_into().map_err(|_| "a command is too short")?;
                if (address[0] & 1 != 0) != is_multicast || address == [0; 6] {
                    return Err("an address in the table of the other kind");
                }
                table.push(address);
            }
        }
        let filter = &mut self.ctrl.filter;
        let [unicast, multicast] = tables;
        // More than it tells apart: all of the kind.
        (filter.overflow_unicast, filter.overflow_multicast) = (unicast.len() > TABLE, multicast.len() > TABLE);
        (filter.unicast, filter.multicast) = (unicast, multicast);
        Ok(())
    }

    fn set_address(&mut self, data: &mut Data<'_>) -> Done {
        let mac: [u8; 6] = data.bytes(6)?.try_into().map_err(|_| "a command is too short")?;
        if mac[0] & 1 != 0 || mac == [0; 6] {
            return Err("an address that no card can have");
        }
        // The generation stays, as with QEMU.
        (self.mac, self.ctrl.mac_was_set) = (mac, true);
        Ok(())
    }

    /// That the queues of so many pairs are set up (5.1.6.5.6.1).
    fn check_pairs(&self, pairs: usize) -> Done {
        if pairs == 0 || pairs > self.pairs.len() {
            return Err("no pairs, or more than the card has");
        }
        let is_set_up = |queue: usize| self.queues.get(queue).is_some_and(|queue| queue.enabled);
        if (0..pairs).all(|pair| is_set_up(receiveq(pair)) && is_set_up(transmitq(pair))) {
            Ok(())
        } else {
            Err("pairs are enabled whose queues are not")
        }
    }

    fn set_pairs(&mut self, data: &mut Data<'_>) -> Done {
        let pairs = data.number(2)?;
        self.check_pairs(pairs)?;
        self.ctrl.steering.switch_off();
        self.ctrl.steering.pairs = pairs;
        Ok(())
    }

    /// struct virtio_net_rss_config (5.1.6.5.7.1).
    fn set_rss(&mut self, data: &mut Data<'_>) -> Done {
        let (types, mask, unclassified) = (data.number(4)? as u32, data.number(2)?, data.number(2)?);
        if !(mask + 1).is_power_of_two() || mask >= usize::from(RSS_TABLE) {
            return Err("an indirection table that is no power of two, or too long");
        }
        let mut table = Vec::new();
        for _ in 0..=mask {
            table.push(data.number(2)? as u16);
        }
        let pairs = data.number(2)?;
        self.check_pairs(pairs)?;
        // Receive queues are numbered by pairs here.
        if table.iter().chain([&(unclassified as u16)]).any(|&queue| usize::from(queue) >= pairs) {
            return Err("an indirection table that names a queue which is not enabled");
        }
        self.set_key(types, data)?;
        let steering = &mut self.ctrl.steering;
        (steering.table, steering.unclassified, steering.pairs) = (table, unclassified as u16, pairs);
        Ok(())
    }

    /// struct virtio_net_hash_config (5.1.6.5.6.4).
    fn set_hash(&mut self, data: &mut Data<'_>) -> Done {
        let types = data.number(4)? as u32;
        if data.bytes(8)?.iter().any(|&byte| byte != 0) {
            return Err("what is reserved is not zero");
        }
        self.set_key(types, data)
    }

    /// Types, and a key whose tail stays where a shorter one comes, as with QEMU.
    fn set_key(&mut self, types: u32, data: &mut Data<'_>) -> Done {
        let length = data.number(1)?;
        let key = data.bytes(length)?;
        if types & !hash::ALL != 0 {
            return Err("types of hashes that the card does not have");
        }
        if length > KEY_BYTES || types != 0 && length == 0 {
            return Err("a key that is too long, or none");
        }
        let reports = self.has(VIRTIO_NET_F_HASH_REPORT) && types != 0;
        let steering = &mut self.ctrl.steering;
        (steering.types, steering.reports) = (types, reports);
        steering.key.0.iter_mut().zip(key).for_each(|(byte, &new)| *byte = new);
        Ok(())
    }
}

/// Writes what a command answers into what the device may write, before the ack. Returns how many bytes.
fn write_answer(dma: &Dma<'_>, chain: &Chain, mut answer: &[u8]) -> Result<u32, DmaFault> {
    let mut written = 0;
    for piece in chain.pieces.iter().filter(|piece| piece.writable) {
        let (now, later) = answer.split_at(answer.len().min(piece.len as usize));
        dma.write(piece.at, now)?;
        written += now.len() as u32;
        answer = later;
    }
    Ok(written)
}
