//! Flow director: thousands of flows in a part of the receive packet buffer (7.1.2.7), by their fields under one mask for all, or by two hashes.

mod fields;
mod hash;

use alloc::format;
use alloc::vec::Vec;

use driver_core::device::{ErrorKind, FlowRoom, FlowTable, Rule, RuleAction, RuleError, RuleInForce, RuleRefusal, Settings};
use driver_core::host::Bar;

use crate::card::Card;
use crate::config::DROP_QUEUE;
use crate::filter::place::{FLOW_DIRECTOR, Place, queue_of, refuse};
use crate::id::Family;
use crate::regs::*;

use fields::{Fields, Mask, unfit_for_hash, unfit_for_match};
use hash::{BUCKET_KEY, SIGNATURE_KEY, hash};

/// Half of the longest list of filters with one hash: what the drivers in the field take.
const MAX_LENGTH: u32 = 10;
/// NO-LIMITS: a command takes microseconds, the table's initialization 60 us at 10 Gbit/s and 6 ms at 100 Mbit/s.
const COMMAND_US: u64 = 1_000;
const INIT_US: u64 = 100_000;

/// How many KB of the packet buffer a table takes.
pub(crate) fn memory_kb(table: FlowTable) -> u32 {
    match table {
        FlowTable::Exact(room) | FlowTable::Hashed(room) => match room {
            FlowRoom::Medium => 128,
            FlowRoom::Large => 256,
            _ => 64,
        },
        _ => 0,
    }
}

/// How many filters it holds: 32 bytes each, or 8; two are the card's own, or one.
fn room(table: FlowTable) -> u32 {
    match table {
        FlowTable::Exact(_) => memory_kb(table) * 32 - 2,
        FlowTable::Hashed(_) => memory_kb(table) * 128 - 1,
        _ => 0,
    }
}

fn is_hashed(table: FlowTable) -> bool {
    matches!(table, FlowTable::Hashed(_))
}

fn flows(now: &[RuleInForce]) -> impl Iterator<Item = (u16, &RuleInForce)> {
    now.iter().filter_map(|rule| match Place::of(rule.place) {
        Place::FlowDirector { index } => Some((index, rule)),
        _ => None,
    })
}

pub(super) fn candidates(rule: &Rule, now: &Settings) -> Result<Vec<Place>, RuleRefusal> {
    let table = now.flow_table();
    let used = flows(now.rules()).count();
    let refuse = |why| refuse(FLOW_DIRECTOR, why, used, room(table));
    let unfit = match table {
        FlowTable::Exact(_) => unfit_for_match(rule),
        FlowTable::Hashed(_) if rule.action() == RuleAction::Drop => {
            Some("in the mode of hashes sends to a queue or lets pass, and does not drop: another flow might have the same".into())
        }
        FlowTable::Hashed(_) => unfit_for_hash(rule),
        _ => Some("is off: start the card with `Config::flow_table`".into()),
    };
    if let Some(why) = unfit {
        return refuse(why);
    }
    if let Some((_, first)) = flows(now.rules()).next() {
        let [mask, wanted] = [&first.rule, rule].map(|rule| Mask::of(rule, is_hashed(table)));
        if mask != wanted {
            let why = format!(
                "has one mask for all, which {} set ({mask}), and not this one ({wanted}): write the rule with that mask, or remove the others first",
                first.id
            );
            return refuse(why);
        }
    }
    let mut taken: Vec<u16> = flows(now.rules()).map(|(index, _)| index).collect();
    taken.sort_unstable();
    let free = (0..).zip(&taken).find(|(free, taken)| free != *taken).map_or(taken.len() as u16, |(free, _)| free);
    if u32::from(free) >= room(table) { refuse("is full".into()) } else { Ok(Vec::from([Place::FlowDirector { index: free }])) }
}

impl<B: Bar> Card<B> {
    /// The memory is what RXPBSIZE has left; behind a reset, before the receiver is on.
    pub(super) fn init_flow_director(&self, table: FlowTable) -> Result<(), ErrorKind> {
        let bar = &self.bar;
        FDIRHKEY.write(bar, BUCKET_KEY);
        FDIRSKEY.write(bar, SIGNATURE_KEY);
        let memory = match memory_kb(table) {
            256 => Fdirctrl::PBALLOC_256K,
            128 => Fdirctrl::PBALLOC_128K,
            _ => Fdirctrl::PBALLOC_64K,
        };
        let mode = if matches!(table, FlowTable::Exact(_)) { Fdirctrl::PERFECT_MATCH } else { Fdirctrl::empty() };
        let limits = Fdirctrl::from_bits_retain(DROP_QUEUE << FDIRCTRL_DROP_Q_SHIFT | MAX_LENGTH << FDIRCTRL_MAX_LENGTH_SHIFT);
        FDIRCTRL.write(bar, memory | mode | limits);
        self.wait(FDIRCTRL, "flow director's table (INIT_DONE)", INIT_US, |v| v.contains(Fdirctrl::INIT_DONE))?;
        Ok(())
    }

    /// The mask comes with the first rule, and stays until there is none.
    fn set_flow_mask(&self, mask: Mask) {
        let bar = &self.bar;
        FDIRM.write(bar, mask.fields());
        FDIRSIP4M.write(bar, !mask.source);
        FDIRDIP4M.write(bar, !mask.destination);
        FDIRTCPM.write(bar, mask.ports());
        FDIRUDPM.write(bar, mask.ports());
        // SCTP-PORTS: the other families do not compare them.
        if self.model.family == Family::X550 {
            FDIRSCTPM.write(bar, mask.ports());
        }
    }

    /// Adds a filter, and looks whether it is there.
    pub(super) fn add_flow(&self, index: u16, rule: &Rule, is_first: bool, table: FlowTable) -> Result<(), ErrorKind> {
        let bar = &self.bar;
        let fields = Fields::of(rule);
        if is_first {
            self.set_flow_mask(Mask::of(rule, is_hashed(table)));
        }
        if matches!(table, FlowTable::Exact(_)) {
            FDIRIPSA.write(bar, fields.source);
            FDIRIPDA.write(bar, fields.destination);
            FDIRPORT.write(bar, u32::from(fields.destination_port) << 16 | u32::from(fields.source_port));
            FDIRVLAN.write(bar, fields.vlan);
        }
        let mut command = Fdircmd::CMD_ADD | Fdircmd::FILTER_UPDATE | Fdircmd::LAST;
        command.set(Fdircmd::QUEUE_EN, rule.action() != RuleAction::Pass);
        command.set(Fdircmd::DROP, rule.action() == RuleAction::Drop);
        let target = queue_of(rule).unwrap_or(DROP_QUEUE) << FDIRCMD_QUEUE_SHIFT | fields.kind << FDIRCMD_TYPE_SHIFT;
        let name = flow_name(index, &fields, table);
        self.command_flow(name, command | Fdircmd::from_bits_retain(target))?;
        if self.command_flow(name, Fdircmd::CMD_QUERY)?.contains(Fdircmd::FILTER_VALID) {
            return Ok(());
        }
        let why = format!("holds {} filters with one hash, and has as many with this rule's", 2 * MAX_LENGTH);
        Err(RuleError::NoTable(Vec::from([RuleRefusal { table: FLOW_DIRECTOR, why, free: FDIRFREE.read(bar) & 0xffff, room: room(table) }])).into())
    }

    pub(super) fn remove_flow(&self, index: u16, rule: &Rule, table: FlowTable) -> Result<(), ErrorKind> {
        self.command_flow(flow_name(index, &Fields::of(rule), table), Fdircmd::CMD_REMOVE)?;
        Ok(())
    }

    /// Gives a command for the filter of this name, and waits until it is done.
    fn command_flow(&self, name: u32, command: Fdircmd) -> Result<Fdircmd, ErrorKind> {
        FDIRHASH.write(&self.bar, name);
        FDIRCMD.write(&self.bar, command);
        Ok(self.wait(FDIRCMD, "flow director's command (CMD clear)", COMMAND_US, |v| !v.intersects(Fdircmd::CMD))?)
    }
}

/// What FDIRHASH names a filter by: the hash that finds it, and software's index, or the signature.
fn flow_name(index: u16, fields: &Fields, table: FlowTable) -> u32 {
    let (tagged, rest) = fields.hashed();
    let bucket = u32::from(hash(BUCKET_KEY, tagged, rest));
    match table {
        FlowTable::Exact(_) => bucket & 0x1fff | u32::from(index) << FDIRHASH_NAME_SHIFT,
        _ => bucket | u32::from(hash(SIGNATURE_KEY, tagged, rest)) << FDIRHASH_NAME_SHIFT,
    }
}
