//! The choice of a receive queue (7.1.2): EtherType, SYN and 5-tuple filters, flow director, and spreading by hash where none of them decides.

mod director;
mod ether_type;
mod five_tuple;
mod hash;
pub(super) mod state;
mod syn;

use super::card::Ixgbe;
use super::parse::Headers;
use super::regs::{ETQF, ETQS, FDIRCTRL, L34TIMIR, SAQF, SYNQF};
use super::rss::Hash;
use crate::slot::Slot;
use director::Verdict;

/// Where a frame goes, and what its write-back says of the way.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Route {
    pub queue: u32,
    pub hash: Hash,
    /// Bits 16:4 of the write-back where an EtherType filter matched.
    pub packet_type: Option<u32>,
    /// Flow director matched (FLM).
    pub is_flow: bool,
}

impl Ixgbe {
    /// Looks behind a write to the register at `offset`.
    pub(super) fn note_steering(&mut self, slot: &Slot<'_>, offset: u32) {
        match offset {
            SAQF..0x0E800 | L34TIMIR..0x0EA00 => self.steering.five_tuples = five_tuple::load(&self.regs),
            ETQF..0x05148 => self.check_ether_types(slot, offset),
            _ => {}
        }
        if matches!(offset, SAQF..0x0E800 | L34TIMIR..0x0EA00 | ETQF..0x05148 | ETQS..0x0EC20 | SYNQF | FDIRCTRL) {
            let has_types = (0..8).any(|i| ether_type::is_on(self.regs.at(ETQF + 4 * i)));
            self.steering.is_on = has_types || !self.steering.five_tuples.is_empty() || syn::is_on(self.regs.at(SYNQF)) || self.has_director();
        }
    }

    /// The receive queue of a frame, in its pool where it has one, and its hash.
    #[inline]
    pub(super) fn route(&mut self, slot: &Slot<'_>, frame: &[u8], headers: &Headers, pool: Option<u32>) -> Route {
        let (queue, hash) = self.spread(frame, headers, pool);
        let spread = Route { queue, hash, ..Route::default() };
        if !self.steering.is_on {
            return spread;
        }
        let route = self.steer(slot, frame, headers, spread, pool.unwrap_or(0));
        // What a card makes of it is not written anywhere.
        if pool.is_some_and(|pool| self.pool_of(route.queue) != pool) {
            slot.violation("a filter sends a pool's frame to a queue of another pool", format_args!("RX queue {}", route.queue), 0, "7.1.2.2");
            return spread;
        }
        route
    }

    /// In the order of 7.1.2.1: EtherType, then 5-tuple and SYN as SYNQF ranks them, then flow director.
    fn steer(&mut self, slot: &Slot<'_>, frame: &[u8], headers: &Headers, spread: Route, pool: u32) -> Route {
        if let Some((index, queue)) = self.ether_type(headers) {
            return Route { queue: queue.unwrap_or(spread.queue), packet_type: Some(ether_type::packet_type(index)), ..spread };
        }
        let syn = syn::queue(self.regs.at(SYNQF), frame, headers);
        let five_tuple = five_tuple::queue(&self.steering.five_tuples, slot, frame, headers, pool);
        let ranked = if syn::is_first(self.regs.at(SYNQF)) { syn.or(five_tuple) } else { five_tuple.or(syn) };
        if let Some(queue) = ranked {
            return Route { queue, ..spread };
        }
        match self.direct(frame, headers, pool) {
            None => spread,
            Some(Verdict { queue, told }) => {
                Route { queue: queue.unwrap_or(spread.queue), hash: told.unwrap_or(spread.hash), is_flow: true, ..spread }
            }
        }
    }

    /// An enabled EtherType filter that matches, and the queue that it is to go to.
    fn ether_type(&self, headers: &Headers) -> Option<(u32, Option<u32>)> {
        let index = (0..8).find(|i| ether_type::matches(self.regs.at(ETQF + 4 * i), headers.ethertype))?;
        Some((index, ether_type::queue(self.regs.at(ETQS + 4 * index))))
    }

    fn check_ether_types(&self, slot: &Slot<'_>, offset: u32) {
        let written = self.regs.at(offset);
        let index = (offset - ETQF) / 4;
        let others = (0..8).filter(|&i| i != index).map(|i| self.regs.at(ETQF + 4 * i));
        if let Some(what) = ether_type::unfit(written, others) {
            slot.violation(what, format_args!("ETQF[{index}]"), written.into(), "7.1.2.3");
        }
    }
}
