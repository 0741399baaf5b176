//! A model with its wire and its clock, apart from any client.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::cable::{Cable, Pulled};
use super::irq::Irqs;
use super::mishaps::Mishaps;
use super::proto::{BARS, CONFIG_BYTES, CONFIG_REGION, IrqSet, MSIX};
use crate::config::{COMMAND, COMMAND_MEMORY};
use crate::dma::{Dma, Remote};
use crate::memory::Window;
use crate::model::Model;
use crate::pace::{EVENT_SLEEP, POLL_SLEEP};
use crate::slot::Slot;
use crate::violation::Violations;
use crate::wire::Wire;

/// The BARs in configuration space.
const BAR_REGISTERS: std::ops::Range<u16> = 0x10..0x28;

pub(super) struct Card {
    model: Box<dyn Model>,
    pub(super) wire: Box<dyn Wire>,
    pub(super) cable: Cable,
    pub(super) mishaps: Mishaps,
    pub(super) violations: Arc<Violations>,
    start: Instant,
    /// The wire was readable when the card last slept, and the card took nothing: do not spin on it.
    wire_waits: bool,
}

/// The accesses that a range of a region is split into: offsets and widths, each naturally aligned and at most `widest` bytes.
fn pieces(offset: u64, count: usize, widest: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let aligned = 1 << at.trailing_zeros().min(3);
        let left = count - done;
        let width = if left == 0 { return None } else { widest.min(aligned).min(1 << left.ilog2().min(3)) };
        done += width;
        Some((at, done - width, width))
    })
}

impl Card {
    /// # Errors
    /// No descriptor for the cable.
    pub(super) fn new(model: Box<dyn Model>, wire: Box<dyn Wire>) -> io::Result<Self> {
        let cable = Cable::new()?;
        let mishaps = Mishaps::new(cable.event());
        Ok(Self { model, wire, cable, mishaps, violations: Arc::default(), start: Instant::now(), wire_waits: false })
    }

    fn now_us(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    /// Lets the model do something, with interrupts to `irqs`.
    pub(super) fn with<R>(&mut self, irqs: Option<&Irqs>, f: impl FnOnce(&mut dyn Model, &mut dyn Wire, &Slot<'_>) -> R) -> R {
        let interrupt = |vector: u16| {
            if let Some(irqs) = irqs {
                irqs.fire(MSIX, vector.into());
            }
        };
        let is_plugged_in = self.cable.is_plugged_in();
        let carrier = is_plugged_in && self.wire.carrier();
        let slot = Slot::new(self.now_us(), carrier, &self.violations, &interrupt);
        let result =
            if is_plugged_in { f(&mut *self.model, &mut *self.wire, &slot) } else { f(&mut *self.model, &mut Pulled(&mut *self.wire), &slot) };
        if let Some(irqs) = irqs {
            irqs.follow_legacy(self.model.legacy());
        }
        result
    }

    /// The interrupts that the model has.
    pub(super) fn irqs(&mut self) -> Irqs {
        self.with(None, |model, _, slot| Irqs::new(model, slot))
    }

    /// Bytes of a region; 0: there is none of that number.
    pub(super) fn region_bytes(&self, region: u32) -> u64 {
        match region {
            _ if region < BARS => self.model.bar_len_bytes(region as u8).unwrap_or(0) as u64,
            CONFIG_REGION => CONFIG_BYTES,
            _ => 0,
        }
    }

    /// Reads a range that lies inside a region.
    pub(super) fn read(&mut self, irqs: &Irqs, region: u32, offset: u64, into: &mut [u8]) {
        self.with(Some(irqs), |model, _, slot| {
            let decodes = region == CONFIG_REGION || model.config_read(slot, COMMAND, 2) & u32::from(COMMAND_MEMORY) != 0;
            // A register is read whole: 8 bytes at once only where the client did that.
            let widest = if region != CONFIG_REGION && into.len() == 8 { 8 } else { 4 };
            for (at, from, width) in pieces(offset, into.len(), widest) {
                let value = match region {
                    CONFIG_REGION => model.config_read(slot, at as u16, width as u8).into(),
                    _ if decodes => model.bar_read(slot, region as u8, at as u32, width as u8),
                    _ => u64::MAX,
                };
                into[from..from + width].copy_from_slice(&value.to_le_bytes()[..width]);
            }
        });
    }

    /// Writes a range that lies inside a region.
    pub(super) fn write(&mut self, irqs: &Irqs, region: u32, offset: u64, from: &[u8]) {
        self.with(Some(irqs), |model, _, slot| {
            let decodes = region == CONFIG_REGION || model.config_read(slot, COMMAND, 2) & u32::from(COMMAND_MEMORY) != 0;
            let widest = if region != CONFIG_REGION && from.len() == 8 { 8 } else { 4 };
            for (at, first, width) in pieces(offset, from.len(), widest) {
                let mut bytes = [0; 8];
                bytes[..width].copy_from_slice(&from[first..first + width]);
                let value = u64::from_le_bytes(bytes);
                match region {
                    CONFIG_REGION => model.config_write(slot, at as u16, width as u8, value as u32),
                    _ if decodes => model.bar_write(slot, region as u8, at as u32, width as u8, value),
                    _ => {}
                }
            }
            // The write may have been a function-level reset.
            if region == CONFIG_REGION {
                irqs.follow(model, slot);
            }
        });
    }

    /// DEVICE_SET_IRQS. What the model sends meanwhile reaches eventfds when `irqs` is in its new state.
    ///
    /// # Errors
    /// As [`Irqs::set`].
    pub(super) fn set_irqs(&mut self, irqs: &mut Irqs, set: &IrqSet, data: &[u8], descriptors: Vec<OwnedFd>) -> Result<(), Errno> {
        let sent = RefCell::new(Vec::new());
        let interrupt = |vector: u16| sent.borrow_mut().push(vector);
        let carrier = self.cable.is_plugged_in() && self.wire.carrier();
        let slot = Slot::new(self.now_us(), carrier, &self.violations, &interrupt);
        let result = irqs.set(&mut *self.model, &slot, set, data, descriptors);
        sent.take().into_iter().for_each(|vector| irqs.fire(MSIX, vector.into()));
        irqs.follow_legacy(self.model.legacy());
        result
    }

    /// Resets the function for a client: what a host saves and restores around a reset stays.
    pub(super) fn reset_for(&mut self, irqs: &Irqs) {
        self.with(Some(irqs), |model, _, slot| {
            let bars: Vec<_> = BAR_REGISTERS.step_by(4).map(|at| (at, model.config_read(slot, at, 4))).collect();
            let command = model.config_read(slot, COMMAND, 2);
            let controls: Vec<_> = irqs.controls_in_use().map(|at| (at, model.config_read(slot, at, 2))).collect();
            model.reset(slot);
            bars.into_iter().for_each(|(at, value)| model.config_write(slot, at, 4, value));
            model.config_write(slot, COMMAND, 2, command);
            controls.into_iter().for_each(|(at, value)| model.config_write(slot, at, 2, value));
            irqs.follow(model, slot);
        });
    }

    /// Resets the function as power does.
    pub(super) fn reset(&mut self) {
        self.with(None, |model, _, slot| model.reset(slot));
    }

    /// One step; `windows` and `remote` are the memory that the card may reach (see [`Dma::new`]).
    pub(super) fn step(&mut self, irqs: Option<&Irqs>, windows: &[Window], remote: Option<&dyn Remote>) -> bool {
        for mishap in self.mishaps.take() {
            if !self.model.suffer(mishap) {
                log::warn!("this card cannot have the mishap {}", mishap.word());
            }
        }
        let violations = Arc::clone(&self.violations);
        let dma = Dma::new(windows, remote, self.model.is_bus_master(), &violations);
        let busy = self.with(irqs, |model, wire, slot| model.step(slot, &dma, wire));
        self.wire_waits &= !busy;
        busy
    }

    /// Sleeps until one of `fds` is readable, the cable is moved, the wire has a frame, or a timer of the model expires.
    pub(super) fn sleep(&mut self, fds: &[BorrowedFd<'_>]) {
        let wire: Option<OwnedFd> = self.wire.fd().filter(|_| !self.wire_waits).and_then(|fd| fd.try_clone_to_owned().ok());
        let longest = if wire.is_some() { EVENT_SLEEP } else { POLL_SLEEP };
        let now_us = self.now_us();
        let until = |next_us: u64| longest.min(Duration::from_micros(next_us.saturating_sub(now_us).max(1)));
        let pause = self.model.next_event_us().map_or(longest, until);
        let timeout = Timespec { tv_sec: 0, tv_nsec: pause.subsec_nanos().into() };
        let all = wire.iter().map(AsFd::as_fd).chain(fds.iter().copied()).chain([self.cable.fd()]);
        let mut polled: Vec<_> = all.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        // An interrupted or failed poll is an early wake-up.
        let _ = poll(&mut polled, Some(&timeout));
        self.wire_waits = wire.is_some() && polled.first().is_some_and(|fd| !fd.revents().is_empty());
        self.cable.rest();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ixgbe::{Ixgbe, IxgbeOptions};
    use crate::wire::dgram::Dgram;
    use crate::wire::{Sent, peer};

    #[test]
    fn a_moved_cable_ends_a_sleep_once() {
        let [near, far] = ["near", "far"].map(|end| std::env::temp_dir().join(format!("barewire-cable-{}-{end}", std::process::id())));
        let wire = Dgram::open(&near, &far).unwrap();
        let mut card = Card::new(Box::new(Ixgbe::new(IxgbeOptions::default())), Box::new(wire)).unwrap();
        let nothing = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
        // Until no timer of the card's is left that would end a sleep.
        while card.step(None, &[], None) || card.model.next_event_us().is_some() {}
        let cable = card.cable.clone();
        let mut slept = || {
            let start = Instant::now();
            card.sleep(&[nothing.as_fd(); 2]);
            start.elapsed()
        };
        assert!(slept() >= EVENT_SLEEP / 2, "nothing wakes it");
        let woken: Duration = (0..20)
            .map(|_| {
                cable.pull();
                slept()
            })
            .sum();
        assert!(woken < 10 * EVENT_SLEEP, "20 sleeps took {woken:?}");
        assert!(slept() >= EVENT_SLEEP / 2, "nothing wakes it any more");
    }

    #[test]
    fn a_model_never_reaches_the_wire_of_a_pulled_cable() {
        let (near, mut far) = peer::pair(1);
        let mut card = Card::new(Box::new(Ixgbe::new(IxgbeOptions::default())), Box::new(near)).unwrap();
        let send = |card: &mut Card| card.with(None, |_, wire, slot| (wire.send(&[0; 60]), slot.carrier()));
        card.cable.pull();
        assert_eq!(send(&mut card), (Sent::Taken, false));
        assert!(!far.receive(&mut Vec::new()));
        card.cable.plug_in();
        assert_eq!(send(&mut card), (Sent::Taken, true));
        assert!(far.receive(&mut Vec::new()));
    }
}
