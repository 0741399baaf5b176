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

mod addresses;
mod ethertype;
mod five_tuple;
mod flow_director;
mod place;
mod syn;
mod vlan;

use alloc::vec::Vec;

use driver_core::device::{ErrorKind, FlowTable, Rule, RuleError, RuleInForce, RulePlace, Settings};
use driver_core::host::Bar;

use crate::card::Card;
use crate::filter::place::Place;
use crate::regs::SYNQF;

pub use addresses::UNICAST_FILTERS;
pub(crate) use addresses::{mac_from_registers, mac_to_registers};
pub(crate) use flow_director::memory_kb;

/// The place for a rule, beside those that hold.
pub(crate) fn place(rule: &Rule, now: &Settings) -> Result<RulePlace, RuleError> {
    let tables = [ethertype::candidates, syn::candidates, five_tuple::candidates, flow_director::candidates];
    let (mut refusals, mut misplaced) = (Vec::new(), None);
    for candidates in tables {
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

    /// Puts a rule in its place, beside those that are there.
    pub(crate) fn write_rule(&self, rule: &Rule, place: RulePlace, before: &[RuleInForce], table: FlowTable) -> Result<(), ErrorKind> {
        match Place::of(place) {
            Place::EtherType { index } => self.write_ethertype(index, rule),
            Place::Syn { is_first } => self.write_syn(is_first, rule),
            Place::FiveTuple { index, priority } => self.write_five_tuple(index, priority, rule),
            Place::FlowDirector { index } => {
                let is_first = !before.iter().any(|rule| matches!(Place::of(rule.place), Place::FlowDirector { .. }));
                self.add_flow(index, rule, is_first, table)
            }
        }
    }

    /// Empties a rule's place.
    pub(crate) fn clear_rule(&self, rule: &RuleInForce, table: FlowTable) -> Result<(), ErrorKind> {
        match Place::of(rule.place) {
            Place::EtherType { index } => self.clear_ethertype(index),
            Place::Syn { .. } => {
                SYNQF.write(&self.bar, 0);
                Ok(())
            }
            Place::FiveTuple { index, .. } => self.clear_five_tuple(index),
            Place::FlowDirector { index } => self.remove_flow(index, &rule.rule, table),
        }
    }
}
