//! Which frames come in (7.1.1), and which queue those go to that a rule names (7.1.2). Where none does, [`rss`](crate::rss) spreads them.
//!
//! A rule goes to the table that fits it best. The card looks at the tables in this order, and the first match decides:
//!
//! | table | places | what it compares |
//! | --- | --- | --- |
//! | [`ethertype`] | 8 | the EtherType of frames that are not IP |
//! | [`syn`] | 1 | TCP's SYN; before the 5-tuples or behind them |
//! | [`five_tuple`] | 128 | whole addresses, protocol and ports of IPv4, by priority |
//! | [`flow_director`] | thousands | IPv4 addresses, ports and VLAN by one mask for all, or two hashes |
//!
//! Or, where queues are in pools, at none of them: [`pools`] goes by the destination's Ethernet address and the VLAN.

mod addresses;
mod ethertype;
mod five_tuple;
mod flow_director;
mod place;
mod plan;
mod pools;
mod syn;
mod vlan;

use alloc::vec::Vec;

use driver_core::device::{ErrorKind, FlowTable, Rule, RuleError, RuleInForce, RulePlace, RuleRefusal, Settings};
use driver_core::ether::MacAddr;
use driver_core::host::Bar;

use crate::card::Card;
use crate::filter::place::Place;
use crate::filter::plan::Plan;
use crate::layout::Layout;
use crate::regs::*;

pub use addresses::UNICAST_FILTERS;
pub(crate) use addresses::{mac_from_registers, mac_to_registers};
pub(crate) use flow_director::memory_kb;

/// The places of one table for a rule.
type Candidates = fn(&Rule, &Settings) -> Result<Vec<Place>, RuleRefusal>;

/// The place for a rule, beside those that hold.
pub(crate) fn place(rule: &Rule, now: &Settings) -> Result<RulePlace, RuleError> {
    let has_pools = Layout::of(now).has_pools();
    let others: [Candidates; 4] = [ethertype::candidates, syn::candidates, five_tuple::candidates, flow_director::candidates];
    // Without pools, who asks for an address hears of them.
    let pools = (has_pools || rule.wanted_destination_mac().is_some()).then_some(pools::candidates as Candidates);
    let (mut refusals, mut misplaced) = (Vec::new(), None);
    for candidates in others.into_iter().filter(|_| !has_pools).chain(pools) {
        match candidates(rule, now) {
            Err(refusal) => refusals.push(refusal),
            Ok(places) => match first_in_order(rule, &places, now.rules()) {
                Ok(place) => return Ok(place.kept()),
                Err(error) => misplaced = misplaced.or(Some(error)),
            },
        }
    }
    Err(misplaced.unwrap_or(RuleError::NoTable(refusals)))
}

/// The first of some places at which a rule stands as its priority says to all rules that frames of it are in, too.
fn first_in_order(rule: &Rule, places: &[Place], others: &[RuleInForce]) -> Result<Place, RuleError> {
    let mut refused = None;
    for &place in places {
        match others.iter().filter(|other| other.rule.overlaps(rule)).find_map(|other| disorder(rule, place, other)) {
            None => return Ok(place),
            Some(error) => refused = refused.or(Some(error)),
        }
    }
    Err(refused.unwrap_or(RuleError::NoTable(Vec::new())))
}

/// What is wrong with a rule at `place`, beside another that has frames in common with it.
fn disorder(rule: &Rule, place: Place, other: &RuleInForce) -> Option<RuleError> {
    let order = |why| Some(RuleError::Order { other: other.id, why });
    let (mine, its) = (place.rank(), Place::of(other.place).rank());
    match (rule.wanted_priority(), other.rule.wanted_priority()) {
        (Some(a), Some(b)) if a == b => order("both have one priority: give them two"),
        (Some(a), Some(b)) if mine != its && (a > b) != (mine > its) => {
            order("the card looks at EtherType filters first, then at those of SYN and five-tuples by priority, then at flow director")
        }
        _ if mine == its => order("the card has one place for both of them in its order: remove the other, or give the rules priorities from 1 to 7"),
        _ => None,
    }
}

/// Gives the rules that a card is started with their places.
pub(crate) fn place_all(rules: &[Rule], settings: &mut Settings) -> Result<(), RuleError> {
    for rule in rules {
        rule.check_with(settings.rx().queue_count())?;
        let place = place(rule, settings)?;
        settings.add_rule(rule.clone(), place);
    }
    Ok(())
}

impl<B: Bar> Card<B> {
    /// 4.6.7: "Initialize the following register tables before receive and transmit is enabled". Addresses, VLANs, pools and mode become those of `settings`.
    pub(crate) fn init_filters(&self, settings: &Settings) -> Result<(), ErrorKind> {
        let plan = Plan::of(settings)?;
        // "Receive Address (RAL[n] and RAH[n]) for used addresses", "Receive Address High (RAH[n].VAL = 0b) for unused addresses",
        // "MAC Pool Select Array (MPSAR[n])"
        for (index, &entry) in (0..).zip(&plan.addresses) {
            self.set_receive_address(index, Some(entry))?;
        }
        for register in RAH.iter().skip(plan.addresses.len()) {
            register.write(&self.bar, Rah::empty());
        }
        // TABLES-UNREAD: "VLAN Filter Table Array (VFTA[n])" is read by VFE alone, which goes on behind it; "Unicast Table Array (PFUTA)", "VLAN Pool Filter (PFVLVF[n])" and "VLAN Pool
        // Filter Bitmap (PFVLVFB[n])" by VT_Ena.
        self.set_vlans(plan.vlans.as_ref());
        self.init_pools(Layout::of(settings), &plan)?;
        self.set_multicast(settings.multicast());
        // FILTERS-OFF: five-tuple and Ethertype filters have no specified value after reset.
        for register in FTQF.iter() {
            register.write(&self.bar, 0);
        }
        for register in ETQF.iter() {
            register.write(&self.bar, 0);
        }
        self.set_mode(settings.rx_mode());
        Ok(())
    }

    /// Tells the card what a setting changes of addresses, VLANs and pools; `now`: as they are.
    pub(crate) fn change_filters(&self, now: &Settings, change: impl FnOnce(&mut Settings)) -> Result<(), ErrorKind> {
        let (before, mut then) = (Plan::of(now)?, now.clone());
        change(&mut then);
        let plan = Plan::of(&then)?;
        self.change_addresses(&plan.addresses, &before.addresses)?;
        let layout = Layout::of(now);
        if layout.has_pools() {
            self.change_pools(layout, &plan, &before)?;
        }
        if plan.vlans != before.vlans {
            self.set_vlans(plan.vlans.as_ref());
        }
        Ok(())
    }

    /// Those behind one that comes or goes move: in the order in which each is somewhere at any time.
    fn change_addresses(&self, now: &[(MacAddr, u64)], before: &[(MacAddr, u64)]) -> Result<(), ErrorKind> {
        let count = now.len().max(before.len());
        for step in 0..count {
            let at = if now.len() > before.len() { count - 1 - step } else { step };
            let index = at as u32;
            match (now.get(at).copied(), before.get(at).copied()) {
                (new, old) if new == old => {}
                (Some((mac, pools)), Some((as_before, _))) if mac == as_before => self.set_pools(index, pools)?,
                (new, _) => self.set_receive_address(index, new)?,
            }
        }
        Ok(())
    }

    /// Flow director's table and all rules: behind a reset, before the receiver is on.
    pub(crate) fn init_rules(&self, settings: &Settings) -> Result<(), ErrorKind> {
        SYNQF.write(&self.bar, 0);
        if settings.flow_table() != FlowTable::Off {
            self.init_flow_director(settings.flow_table())?;
        }
        for (at, rule) in settings.rules().iter().enumerate() {
            let before = settings.rules().get(..at).unwrap_or_default();
            self.write_rule(&rule.rule, rule.place, before, settings.flow_table())?;
        }
        Ok(())
    }

    /// Puts a rule in its place, beside those that hold.
    pub(crate) fn add_rule(&self, rule: &Rule, place: RulePlace, now: &Settings) -> Result<(), ErrorKind> {
        match Place::of(place) {
            Place::Pool { .. } => self.change_filters(now, |then| {
                then.add_rule(rule.clone(), place);
            }),
            _ => self.write_rule(rule, place, now.rules(), now.flow_table()),
        }
    }

    /// The same of the tables that have a place for each rule.
    fn write_rule(&self, rule: &Rule, place: RulePlace, before: &[RuleInForce], table: FlowTable) -> Result<(), ErrorKind> {
        match Place::of(place) {
            Place::EtherType { index } => self.write_ethertype(index, rule),
            Place::Syn { is_first } => self.write_syn(is_first, rule),
            Place::FiveTuple { index, priority } => self.write_five_tuple(index, priority, rule),
            Place::FlowDirector { index } => {
                let is_first = !before.iter().any(|rule| matches!(Place::of(rule.place), Place::FlowDirector { .. }));
                self.add_flow(index, rule, is_first, table)
            }
            // It was planned with the addresses.
            Place::Pool { .. } => Ok(()),
        }
    }

    /// Empties a rule's place.
    pub(crate) fn clear_rule(&self, rule: &RuleInForce, now: &Settings) -> Result<(), ErrorKind> {
        match Place::of(rule.place) {
            Place::EtherType { index } => self.clear_ethertype(index),
            Place::Syn { .. } => {
                SYNQF.write(&self.bar, 0);
                Ok(())
            }
            Place::FiveTuple { index, .. } => self.clear_five_tuple(index),
            Place::FlowDirector { index } => self.remove_flow(index, &rule.rule, now.flow_table()),
            Place::Pool { .. } => self.change_filters(now, |then| then.remove_rule(rule.id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;

    use driver_core::testing::{FakeClock, PlainBar};

    use super::*;
    use crate::id::MODELS;

    /// Whether an address counts, at whatever place.
    fn matches(bar: &PlainBar, mac: MacAddr) -> bool {
        RAL.iter().zip(RAH.iter()).any(|(low, high)| {
            let high = high.read(bar);
            high.contains(Rah::AV) && mac_from_registers(low.read(bar), high) == mac
        })
    }

    #[test]
    fn addresses_that_move_are_somewhere_at_any_time() {
        let list = |last: &[u8]| last.iter().map(|&last| (MacAddr([2, 0, 0, 0, 0, last]), 1u64)).collect::<Vec<_>>();
        for (before, now) in [(list(&[1, 7, 8]), list(&[1, 2, 3, 7, 8])), (list(&[1, 2, 3, 7, 8]), list(&[1, 7, 8])), (list(&[1, 7]), list(&[1, 7]))]
        {
            let bar = PlainBar::new(BAR_BYTES);
            let card = Card::new(bar.clone(), Arc::new(FakeClock::new()), &MODELS[0], "test");
            card.change_addresses(&before, &[]).unwrap();
            let stay: Vec<_> = before.iter().filter(|entry| now.contains(entry)).map(|(mac, _)| *mac).collect();
            for high in RAH.iter() {
                let stay = stay.clone();
                bar.on_write(high.offset(), move |bar, _| stay.iter().for_each(|&mac| assert!(matches(bar, mac), "{mac} is nowhere")));
            }
            card.change_addresses(&now, &before).unwrap();
            assert!(now.iter().all(|(mac, _)| matches(&bar, *mac)));
            assert_eq!(RAH.iter().filter(|high| high.read(&bar).contains(Rah::AV)).count(), now.len());
        }
    }
}
