//! The SYN filter: TCP segments that open a connection (7.1.2.4).

use alloc::format;
use alloc::vec::Vec;

use driver_core::device::{ErrorKind, Rule, RuleRefusal, Settings};
use driver_core::host::Bar;

use crate::card::Card;
use crate::filter::place::{Place, SYN, layer_2_fields, layer_3_fields, other_field, queue_of, refuse};
use crate::regs::*;

pub(super) fn candidates(rule: &Rule, now: &Settings) -> Result<Vec<Place>, RuleRefusal> {
    let used = now.rules().iter().filter(|other| matches!(Place::of(other.place), Place::Syn { .. })).count();
    let refuse = |why| refuse(SYN, why, used, 1);
    if !rule.wants_syn() {
        return refuse("compares TCP's SYN, which the rule does not name".into());
    }
    if rule.wanted_ethertype().is_some() {
        return refuse("takes segments of IPv4 and IPv6 alike, and does not compare the EtherType or an address".into());
    }
    let ports_and_others = layer_3_fields(rule).map(|(is_set, name)| (is_set && name != "the protocol", name));
    if let Some(field) = other_field(&layer_2_fields(rule)).or(other_field(&ports_and_others)) {
        return refuse(format!("compares TCP's SYN alone, and not {field}"));
    }
    if queue_of(rule).is_none() {
        return refuse("sends to a queue, and neither drops nor lets pass".into());
    }
    if used > 0 {
        return refuse("is in use".into());
    }
    Ok(Vec::from([Place::Syn { is_first: true }, Place::Syn { is_first: false }]))
}

impl<B: Bar> Card<B> {
    pub(super) fn write_syn(&self, is_first: bool, rule: &Rule) -> Result<(), ErrorKind> {
        let queue = queue_of(rule).unwrap_or_default();
        SYNQF.write(&self.bar, SYNQF_ENABLE | queue << SYNQF_QUEUE_SHIFT | if is_first { SYNQF_FIRST } else { 0 });
        Ok(())
    }
}
