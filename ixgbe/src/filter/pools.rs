//! Pools: a destination's Ethernet address, alone or with a VLAN, chooses a queue (7.10.3.2, 7.10.3.3).
//!
//! A frame goes to the pools of its receive address (MPSAR); where VLANs are filtered, to those of them that are in its VLAN (PFVLVF), or take frames without a tag
//! (PFVML2FLT.AUPE); and to the first pool where none is left.

use alloc::format;
use alloc::vec::Vec;

use driver_core::device::{ErrorKind, Rule, RuleInForce, RuleRefusal, Settings};
use driver_core::host::Bar;

use crate::card::Card;
use crate::filter::place::{POOLS, Place, layer_2_fields, layer_3_fields, other_field, queue_of, refuse};
use crate::filter::plan::{ADDRESSES, Plan, Unfit};
use crate::layout::Layout;
use crate::regs::*;

/// The one place for a rule: its queue's pool.
pub(super) fn candidates(rule: &Rule, now: &Settings) -> Result<Vec<Place>, RuleRefusal> {
    let layout = Layout::of(now);
    if !layout.has_pools() {
        return refuse(POOLS, "are off: start the card with `Config::mac_pools`", 0, 0);
    }
    // What holds was planned before it was taken.
    let used = Plan::of(now).map_or(ADDRESSES, |plan| plan.addresses.len());
    let refuse = |why| refuse(POOLS, why, used, ADDRESSES as u32);
    let Some(mac) = rule.wanted_destination_mac() else {
        return refuse(
            "compare the destination's Ethernet address, which the rule does not name, and the other tables are not used beside them".into(),
        );
    };
    if !mac.is_valid_unicast() {
        return refuse(format!("compare unicast addresses, and not {mac}"));
    }
    if let Some(field) = unfit_field(rule) {
        return refuse(format!("compare the destination's Ethernet address, alone or with the VLAN id, and not {field}"));
    }
    let open = now.rx().queue_count();
    let Some(queue) = queue_of(rule).map(|queue| queue as u16) else { return refuse("send to a queue, and neither drop nor let pass".into()) };
    if queue < layout.spread() && layout.spread() > 1 {
        let first = layout.spread();
        return refuse(format!("send to the queues {first} to {}: what goes to those before is spread by hash", open - 1));
    }
    if let Some(other) = now.rules().iter().find(|other| other.rule.overlaps(rule)) {
        return refuse(format!("send an address to one queue, and {} has frames of it", other.id));
    }
    let pool = layout.pool(queue);
    if let Some(other) = now.rules().iter().find(|other| pool > 0 && is_in(other, pool) && other.rule.wanted_vlan() != rule.wanted_vlan()) {
        return refuse(format!("give a queue one VLAN for all of its addresses, or none, and {} has another", other.id));
    }
    let place = Place::Pool { pool };
    let mut then = now.clone();
    then.add_rule(rule.clone(), place.kept());
    match Plan::of(&then) {
        Ok(_) => Ok(Vec::from([place])),
        Err(Unfit::Addresses { .. }) => refuse("are all in use".into()),
        Err(Unfit::Vlans) => refuse(
            "tell 64 VLANs apart: beside rules without a VLAN, those with one want a VLAN filter (`NetDevice::set_vlan_filter`) of no more".into(),
        ),
    }
}

/// Whether a rule is a pool's.
fn is_in(rule: &RuleInForce, pool: u16) -> bool {
    Place::of(rule.place) == Place::Pool { pool }
}

/// The first field beside those that pools compare.
fn unfit_field(rule: &Rule) -> Option<&'static str> {
    let [_, _, vlan_priority] = layer_2_fields(rule);
    let others = [vlan_priority, (rule.wants_syn(), "TCP's SYN"), (rule.wanted_ethertype().is_some(), "the EtherType")];
    other_field(&layer_3_fields(rule)).or(other_field(&others))
}

impl<B: Bar> Card<B> {
    /// 4.6.11.3.3, and the tables that PFVTCTL.VT_Ena has the receiver read (TABLES-UNREAD): before the receiver is on.
    pub(super) fn init_pools(&self, layout: Layout, plan: &Plan) -> Result<(), ErrorKind> {
        let bar = &self.bar;
        GCR_EXT.modify(bar, |v| (v - GcrExt::VT_MODE) | layout.vt_mode());
        if !layout.has_pools() {
            PFVTCTL.modify(bar, |v| v - Pfvtctl::VT_ENA);
            return Ok(());
        }
        for register in PFUTA.iter() {
            register.write(bar, 0);
        }
        for (index, register) in (0..).zip(PFVLVF.iter()) {
            register.write(bar, 0);
            PFVLVFB.at(2 * index)?.write(bar, 0);
            PFVLVFB.at(2 * index + 1)?.write(bar, 0);
        }
        self.write_groups(plan, &Plan::default())?;
        for pool in 0..layout.pool_count() {
            self.write_pool_filter(pool, plan)?;
        }
        // POOL-SWITCH: what transmit queues send goes to the wire.
        PFDTXGSWC.write(bar, 0);
        for register in PFVFRE.iter().chain(PFVFTE.iter()) {
            register.write(bar, u32::MAX);
        }
        // POOL-DEFAULT: the first pool has what no other has.
        PFVTCTL.modify(bar, |v| (v - (Pfvtctl::DEF_PL | Pfvtctl::DIS_DEF_POOL)) | Pfvtctl::RPL_EN | Pfvtctl::VT_ENA);
        Ok(())
    }

    /// What comes into a pool beside its addresses: into the first one what is for several; frames without a tag where the plan says so.
    fn write_pool_filter(&self, pool: u16, plan: &Plan) -> Result<(), ErrorKind> {
        let mut filter = if pool == 0 { Pfvml2flt::ROMPE | Pfvml2flt::BAM } else { Pfvml2flt::empty() };
        filter.set(Pfvml2flt::AUPE, plan.untagged >> pool & 1 != 0);
        PFVML2FLT.at(pool.into())?.write(&self.bar, filter);
        Ok(())
    }

    /// The VLANs that lead to pools, where they are others than before. None matches half-written: it is off while it changes.
    fn write_groups(&self, plan: &Plan, before: &Plan) -> Result<(), ErrorKind> {
        let bar = &self.bar;
        let used = plan.groups.len().max(before.groups.len());
        for (at, index) in (0..used).zip(0..) {
            let (new, old) = (plan.groups.get(at), before.groups.get(at));
            if new == old {
                continue;
            }
            let filter = PFVLVF.at(index)?;
            filter.write(bar, 0);
            let &(id, pools) = new.unwrap_or(&(0, 0));
            PFVLVFB.at(2 * index)?.write(bar, pools as u32);
            PFVLVFB.at(2 * index + 1)?.write(bar, (pools >> 32) as u32);
            if new.is_some() {
                filter.write(bar, PFVLVF_VI_EN | u32::from(id));
            }
        }
        Ok(())
    }

    /// VLANs and pools from one plan to the next. FILTER-LIVE: the receiver is on.
    pub(super) fn change_pools(&self, layout: Layout, plan: &Plan, before: &Plan) -> Result<(), ErrorKind> {
        self.write_groups(plan, before)?;
        for pool in 0..layout.pool_count() {
            if (plan.untagged ^ before.untagged) >> pool & 1 != 0 {
                self.write_pool_filter(pool, plan)?;
            }
        }
        Ok(())
    }
}
