//! What the card is told of addresses, VLANs and pools: all of it follows from the settings, and what differs between two plans is written.

use alloc::vec::Vec;

use driver_core::device::{ErrorKind, Rule, RuleInForce, Settings};
use driver_core::ether::MacAddr;

use crate::filter::addresses::UNICAST_FILTERS;
use crate::filter::place::Place;
use crate::filter::vlan::{ALL_VLANS, VlanTable, vlan_table};
use crate::regs::PFVLVF;

/// Receive addresses that the card has: its own, and others.
pub(super) const ADDRESSES: usize = 1 + UNICAST_FILTERS;
/// A receive address of the first pool alone.
const FIRST_POOL: u64 = 1;

/// Addresses, VLANs and pools.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Plan {
    /// Receive addresses, the card's own first, each with its pools, a bit each. POOL-0: without pools that is the first.
    pub(super) addresses: Vec<(MacAddr, u64)>,
    /// VLANs that come in; `None`: nobody looks at VLANs.
    pub(super) vlans: Option<VlanTable>,
    /// VLANs that lead to other pools than the first, with these.
    pub(super) groups: Vec<(u16, u64)>,
    /// Pools that take frames without a tag.
    pub(super) untagged: u64,
}

/// Why there is no such plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// There are more addresses than places.
    Addresses { asked: usize, room: usize },
    /// There are more VLANs to tell apart than places.
    Vlans,
}

impl From<Unfit> for ErrorKind {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Addresses { asked, room } => Self::TooManyAddresses { asked, room },
            Unfit::Vlans => Self::Unsupported {
                what: "such a VLAN filter beside its rules for destination addresses: it tells 64 VLANs apart where they lead to queues",
                instead: "filter 64 VLANs or fewer, or remove the rules first",
            },
        }
    }
}

impl Plan {
    pub(crate) fn of(settings: &Settings) -> Result<Self, Unfit> {
        let rules = settings.rules();
        let mut plan = Self { addresses: addresses(settings)?, vlans: settings.vlans().map(vlan_table), groups: Vec::new(), untagged: FIRST_POOL };
        let by_vlan = pool_rules(rules).filter_map(|(rule, pool)| Some((rule.wanted_vlan()?, pool)));
        let (by_vlan, plain) = (by_vlan.collect::<Vec<_>>(), plain_pools(rules));
        plan.untagged |= plain;
        let mut ids = settings.vlans().map_or_else(Vec::new, Vec::from);
        if settings.vlans().is_none() && !by_vlan.is_empty() {
            // Frames of every other VLAN are for those that name none.
            if plain != 0 {
                return Err(Unfit::Vlans);
            }
            ids = by_vlan.iter().map(|(id, _)| *id).collect();
            plan.vlans = Some(ALL_VLANS);
        }
        ids.sort_unstable();
        ids.dedup();
        let pools_of = |id| by_vlan.iter().filter(|(of, pool)| *of == id && *pool > 0).fold(plain, |pools, (_, pool)| pools | 1u64 << pool);
        plan.groups = ids.into_iter().map(|id| (id, pools_of(id))).filter(|(_, pools)| *pools != 0).collect();
        if plan.groups.len() > PFVLVF.count() as usize { Err(Unfit::Vlans) } else { Ok(plan) }
    }
}

/// The card's own address, further ones, and those of rules that are neither.
fn addresses(settings: &Settings) -> Result<Vec<(MacAddr, u64)>, Unfit> {
    let rules = settings.rules();
    let mut all: Vec<_> = core::iter::once(settings.mac()).chain(settings.unicast().iter().copied()).map(|mac| (mac, pools_of(mac, rules))).collect();
    let configured = all.len();
    for mac in pool_rules(rules).filter_map(|(rule, _)| rule.wanted_destination_mac()) {
        if all.iter().all(|(known, _)| *known != mac) {
            all.push((mac, pools_of(mac, rules)));
        }
    }
    let room = UNICAST_FILTERS.saturating_sub(all.len() - configured);
    if all.len() > ADDRESSES { Err(Unfit::Addresses { asked: settings.unicast().len(), room }) } else { Ok(all) }
}

/// The pools of a receive address: those of its rules, or the first.
fn pools_of(mac: MacAddr, rules: &[RuleInForce]) -> u64 {
    let pools = pool_rules(rules).filter(|(rule, _)| rule.wanted_destination_mac() == Some(mac)).fold(0, |pools, (_, pool)| pools | 1u64 << pool);
    if pools == 0 { FIRST_POOL } else { pools }
}

/// Pools behind the first that have addresses in whatever VLAN.
fn plain_pools(rules: &[RuleInForce]) -> u64 {
    pool_rules(rules).filter(|(rule, pool)| *pool > 0 && rule.wanted_vlan().is_none()).fold(0, |pools, (_, pool)| pools | 1u64 << pool)
}

/// The rules that are pools', with these.
fn pool_rules(rules: &[RuleInForce]) -> impl Iterator<Item = (&Rule, u16)> {
    rules.iter().filter_map(|entry| match Place::of(entry.place) {
        Place::Pool { pool } => Some((&entry.rule, pool)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use driver_core::device::{Config, DeviceInfo};

    use super::*;

    const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xa]);
    const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xb]);

    fn settings(rules: &[(MacAddr, Option<u16>, u16)], vlans: Option<&[u16]>) -> Settings {
        let mut settings = Settings::new(&Config::new().rx_queues(8).mac_pools(7), &DeviceInfo::new("a", "b", "c", OWN));
        settings.set_vlans(vlans);
        for &(mac, vlan, pool) in rules {
            let rule = Rule::to_queue(pool).destination_mac(mac);
            settings.add_rule(vlan.map_or(rule.clone(), |id| rule.vlan(id)), Place::Pool { pool }.kept());
        }
        settings
    }

    #[test]
    fn addresses_of_rules_come_behind_the_others_once() {
        let mut now = settings(&[(A, None, 3), (B, Some(7), 1), (B, Some(8), 2)], Some(&[7, 8]));
        assert_eq!(Plan::of(&now).unwrap().addresses, [(OWN, 1), (A, 8), (B, 6)]);
        now.set_unicast(&[B]);
        assert_eq!(Plan::of(&now).unwrap().addresses, [(OWN, 1), (B, 6), (A, 8)]);
        now.set_mac(A);
        assert_eq!(Plan::of(&now).unwrap().addresses, [(A, 8), (B, 6)]);
        now.set_unicast(&[OWN; 127]);
        assert_eq!(Plan::of(&now), Err(Unfit::Addresses { asked: 127, room: 126 }));
    }

    #[test]
    fn vlans_lead_to_the_pools_that_take_them() {
        let plan = |rules, vlans| Plan::of(&settings(rules, vlans)).unwrap();
        let plain = plan(&[(A, None, 3)], None);
        assert_eq!((plain.vlans, plain.groups, plain.untagged), (None, Vec::new(), 9), "nobody looks at VLANs");
        let filtered = plan(&[(A, None, 3)], Some(&[8, 7, 7]));
        assert_eq!((filtered.vlans, filtered.groups, filtered.untagged), (Some(vlan_table(&[7, 8])), Vec::from([(7, 8), (8, 8)]), 9));
        let tagged = plan(&[(A, Some(7), 3), (B, Some(7), 2), (B, Some(9), 0)], None);
        assert_eq!((tagged.vlans, tagged.groups, tagged.untagged), (Some(ALL_VLANS), Vec::from([(7, 12)]), 1));
        let both = plan(&[(A, Some(7), 3), (B, None, 2), (A, Some(9), 4)], Some(&[7, 8]));
        assert_eq!((both.vlans, both.groups, both.untagged), (Some(vlan_table(&[7, 8])), Vec::from([(7, 12), (8, 4)]), 5), "9 is filtered");
    }

    #[test]
    fn sixty_four_vlans_are_told_apart() {
        let many: Vec<u16> = (0..65).collect();
        let refused = |rules, vlans| Plan::of(&settings(rules, vlans)) == Err(Unfit::Vlans);
        assert!(refused(&[(A, None, 1)], Some(&many)) && !refused(&[(A, None, 1)], Some(&many[1..])));
        assert!(!refused(&[(A, Some(3), 1)], Some(&many)) && !refused(&[], Some(&many)));
        assert!(refused(&[(A, Some(3), 1), (B, None, 2)], None));
    }
}
