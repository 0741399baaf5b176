//! EtherType filters: frames of one type that is not IP (7.1.2.3).

use alloc::format;
use alloc::vec::Vec;

use driver_core::device::{ErrorKind, Rule, RuleAction, RuleRefusal, Settings, Timestamps};
use driver_core::host::Bar;

use crate::card::Card;
use crate::filter::place::{ETHERTYPE, Place, layer_2_fields, layer_3_fields, other_field, queue_of, refuse};
use crate::ptp::{PTP_ETHERTYPE, PTP_FILTER};
use crate::regs::*;

const ROOM: u8 = 8;
/// The last place is that of PTP's frames, where they are stamped: for another rule there is none less.
fn room(now: &Settings) -> u8 {
    if now.timestamps() == Timestamps::Off { ROOM } else { PTP_FILTER }
}
/// Below it, the field is the frame's length (IEEE 802.3, 3.2.6).
const LEAST_TYPE: u16 = 0x0600;

pub(super) fn candidates(rule: &Rule, now: &Settings) -> Result<Vec<Place>, RuleRefusal> {
    let taken = |index| now.rules().iter().any(|other| matches!(Place::of(other.place), Place::EtherType { index: at } if at == index));
    let room = room(now);
    let used = (0..room).filter(|&index| taken(index)).count();
    let refuse = |why| refuse(ETHERTYPE, why, used, room.into());
    let Some(ethertype) = rule.wanted_ethertype().filter(|_| !rule.is_ip()) else {
        return refuse("compare the EtherType alone, of frames that are not IP".into());
    };
    if let Some(field) = other_field(&layer_2_fields(rule)).or(other_field(&layer_3_fields(rule))) {
        return refuse(format!("compare the EtherType alone, and not {field}"));
    }
    if ethertype < LEAST_TYPE {
        return refuse(format!("compare types from {LEAST_TYPE:#06x} on: {ethertype:#06x} is a length"));
    }
    if rule.action() == RuleAction::Drop {
        return refuse("send to a queue or let pass, and do not drop".into());
    }
    // "Two EtherType filters" of one type are one too many: PTP's has a queue then.
    if room == PTP_FILTER && ethertype == PTP_ETHERTYPE && !taken(PTP_FILTER) {
        return Ok(Vec::from([Place::EtherType { index: PTP_FILTER }]));
    }
    match (0..room).find(|&index| !taken(index)) {
        Some(index) => Ok(Vec::from([Place::EtherType { index }])),
        None => refuse("are all in use".into()),
    }
}

impl<B: Bar> Card<B> {
    /// The queue before the filter that sends there.
    pub(super) fn write_ethertype(&self, index: u8, rule: &Rule) -> Result<(), ErrorKind> {
        let (filter, queue) = (ETQF.at(index.into())?, ETQS.at(index.into())?);
        queue.write(&self.bar, queue_of(rule).map_or(0, |queue| ETQS_QUEUE_EN | queue << ETQS_QUEUE_SHIFT));
        let ethertype = rule.wanted_ethertype().unwrap_or_default();
        let stamped = if ethertype == PTP_ETHERTYPE { ETQF_1588 } else { 0 };
        filter.write(&self.bar, ETQF_FILTER_ENABLE | stamped | u32::from(ethertype));
        Ok(())
    }

    pub(super) fn clear_ethertype(&self, index: u8) -> Result<(), ErrorKind> {
        ETQF.at(index.into())?.write(&self.bar, 0);
        ETQS.at(index.into())?.write(&self.bar, 0);
        Ok(())
    }
}
