//! Interrupts by MSI-X: one vector a receive queue, one a transmit queue where the function has as many (31 pairs), and the control vector for the link and all
//! else, which with 64 receive queues is the last queue's too (4.6.6.2, 7.3.1).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use driver_core::barrier;
use driver_core::device::{ErrorKind, Moderation, Pace};
use driver_core::host::{Bar, VectorPlan};
use driver_core::reg::NoSuchRegister;

use crate::card::Card;
use crate::layout::Layout;
use crate::regs::places::Places;
use crate::regs::*;

/// EITR.ITR_INTERVAL (8.2.3.5.12): nine bits from bit 3 on. ITR-UNIT: of 2 us at 10 and 1 Gbit/s, and of 20 us at 100 Mbit/s.
const ITR_SHIFT: u32 = 3;
const ITR_UNIT_US: u32 = 2;
/// The longest interval that EITR counts.
pub(crate) const MAX_MODERATION_US: u32 = 511 * ITR_UNIT_US;
impl<B: Bar> Card<B> {
    /// 4.6.6.2, "Operating with MSI-X". The queues' vectors stay masked until their queues are armed; the control vector is let through at once.
    pub(crate) fn init_interrupts(&self, plan: VectorPlan, layout: Layout, moderation: Moderation) -> Result<(), ErrorKind> {
        let bar = &self.bar;
        // "The software driver associates between interrupt causes and MSI-X vectors [...] by programming the IVAR[n] and IVAR_MISC registers"
        self.allocate_vectors(plan, layout);
        // 8.2.3.5.17: the TCP timer in bits 7:0, all else in 15:8.
        IVAR_MISC.write(bar, (IVAR_VALID | u32::from(plan.control())) << 8);
        // "EIAC[n] registers should be set to auto clear for transmit and receive interrupt causes [...]. The EIAC bits that control the other and
        // TCP timer interrupt causes should be set to 0b"
        let queues = plan.all_queues().fold(0, |vectors, vector| vectors | 1u64 << vector);
        EIAC.write(bar, Eicr::from_bits_retain(queues as u32) & Eicr::RTXQ);
        // "Set the auto mask in the EIAM and EIAM[n] registers": a queue's vector is masked when it fires, until `arm` lets it through again.
        EIAM_EX.at(0)?.write(bar, queues as u32);
        EIAM_EX.at(1)?.write(bar, (queues >> 32) as u32);
        // "Set the interrupt throttling in EITR[n] and GPIE"
        self.moderate(plan, moderation)?;
        GPIE.modify(bar, |v| v | Gpie::MULTIPLE_MSIX | Gpie::PBA_SUPPORT | Gpie::OCD | Gpie::EIAME);
        // Old causes would fire at once.
        EICR.write(bar, Eicr::from_bits_retain(u32::MAX));
        // "Software enables the required interrupt causes by setting the EIMS[n] registers."
        EIMS.write(bar, self.other_causes());
        self.flush();
        Ok(())
    }

    /// 8.2.3.5.16: receive queue 2n in bits 7:0, transmit queue 2n in 15:8, then the same of 2n+1.
    pub(crate) fn allocate_vectors(&self, plan: VectorPlan, layout: Layout) {
        let receives: Vec<_> = (0..).map_while(|queue| Some((layout.queue(queue), plan.rx(queue)?))).collect();
        let rx = |queue| receives.iter().find(|(at, _)| *at == queue).map(|(_, vector)| *vector);
        for (pair, ivar) in (0..).zip(self.places.ivar.iter()) {
            let entry = |vector: Option<u16>| vector.map_or(0, |vector| IVAR_VALID | u32::from(vector));
            let entries = [rx(2 * pair), plan.tx(2 * pair), rx(2 * pair + 1), plan.tx(2 * pair + 1)].map(entry);
            if entries != [0; 4] {
                ivar.write(&self.bar, entries.iter().rev().fold(0, |all, entry| all << 8 | entry));
            }
        }
    }

    /// How far apart interrupts are at the start.
    pub(crate) fn moderate(&self, plan: VectorPlan, moderation: Moderation) -> Result<(), ErrorKind> {
        for vector in plan.all_queues() {
            set_interval(&self.bar, self.places, vector, moderation.first_us())?;
        }
        if plan.all_queues().all(|vector| vector != plan.control()) {
            set_interval(&self.bar, self.places, plan.control(), 0)?;
        }
        Ok(())
    }

    /// 7.3.2: how far apart the transmit queues' interrupts are from now on. The receive queues do it for themselves, when they are armed ([`RxVector::keep_apart`]).
    pub(crate) fn moderate_transmit(&self, plan: VectorPlan, moderation: Moderation) -> Result<(), ErrorKind> {
        for vector in plan.all_queues().skip(plan.all_rx().count()) {
            set_interval(&self.bar, self.places, vector, moderation.first_us())?;
        }
        Ok(())
    }

    /// Takes the other causes that are pending, and lets them through again.
    pub(crate) fn take_other_causes(&self) -> Eicr {
        // With GPIE.OCD set a read clears bits 29:16 and leaves the queues' alone (8.2.3.5.1).
        let causes = EICR.read(&self.bar) - Eicr::RTXQ;
        EIMS.write(&self.bar, self.other_causes());
        causes
    }

    /// OTHER-VECTOR: what the control vector tells of.
    fn other_causes(&self) -> Eicr {
        Eicr::LSC | self.own_causes()
    }
}

/// Lets a queue's vector fire: once, since it masks itself.
fn let_through(bar: &impl Bar, places: &Places, vector: u16) {
    // 8.2.3.5.8: a port's EIMS has bits of the vectors 0 to 15 alone.
    if let Ok(mask) = places.eims.at(u32::from(vector) / 32) {
        mask.write(bar, 1 << (vector % 32));
    }
}

/// Fires a queue's vector, so that who sleeps on it comes by.
pub(crate) fn fire(bar: &impl Bar, places: &Places, vector: u16) {
    let_through(bar, places, vector);
    if let Ok(cause) = places.eics.at(u32::from(vector) / 32) {
        cause.write(bar, 1 << (vector % 32));
    }
}

pub(crate) fn set_interval(bar: &impl Bar, places: &Places, vector: u16, interval_us: u32) -> Result<(), NoSuchRegister> {
    let interval = interval_us.min(MAX_MODERATION_US).div_ceil(ITR_UNIT_US) << ITR_SHIFT;
    places.eitr(vector)?.write(bar, interval | EITR_CNT_WDIS);
    Ok(())
}

/// A receive queue's vector, if it has one.
///
/// Of 32 bits: with a narrower one in the queue the compiler has 3 more instructions a frame where frames come one by one from two ports (`ci/bench`'s
/// both-ways).
#[derive(Debug, Clone, Copy)]
pub(crate) struct RxVector(u32);

impl RxVector {
    const NONE: u32 = u32::MAX;

    pub(crate) fn new(number: Option<u16>) -> Self {
        Self(number.map_or(Self::NONE, u32::from))
    }

    /// Keeps its interrupts as far apart as is best at the rate at which `frames` came so far, or as was set.
    pub(crate) fn keep_apart(self, bar: &impl Bar, places: &Places, paced: &mut Paced, frames: u64, now_us: u64) {
        if self.0 != Self::NONE
            && let Some(interval_us) = paced.change(frames, now_us)
            && let Err(missing) = set_interval(bar, places, self.0 as u16, interval_us)
        {
            log::error!("{missing}");
        }
    }

    /// Lets it fire: once, since it masks itself.
    pub(crate) fn let_through(self, bar: &impl Bar, places: &Places) {
        if self.0 != Self::NONE {
            let_through(bar, places, self.0 as u16);
        }
    }
}

/// How far apart the interrupts of receive queues are, as it was set last: what the control handle writes and the queues read when they are armed.
#[derive(Debug)]
pub(crate) struct Intervals(AtomicU32);

impl Intervals {
    /// No interval: as the queues find it.
    const ADAPTIVE: u32 = u32::MAX;

    pub(crate) fn new(moderation: Moderation) -> Self {
        let intervals = Self(AtomicU32::new(Self::ADAPTIVE));
        intervals.set(moderation);
        intervals
    }

    pub(crate) fn set(&self, moderation: Moderation) {
        let interval_us = if let Moderation::Fixed { us } = moderation { us.min(MAX_MODERATION_US) } else { Self::ADAPTIVE };
        self.0.store(interval_us, Ordering::Relaxed);
    }
}

/// A receive queue's interval: found by its frames' rate, or as it was set. Only the queue writes its vector's EITR once it runs, so that no two threads do.
#[derive(Debug)]
pub(crate) struct Paced {
    wanted: Arc<Intervals>,
    pace: Pace,
    /// What EITR was written with.
    written_us: u32,
}

impl Paced {
    /// Of a queue with a ring of so many descriptors, before it runs.
    pub(crate) fn new(wanted: Arc<Intervals>, ring: u32) -> Self {
        Self { wanted, pace: Pace::new(ring), written_us: u32::MAX }
    }

    /// The card was reset, and EITR with it.
    pub(crate) fn forget(&mut self) {
        self.written_us = u32::MAX;
    }

    /// The interval that is to be written, where it is another than is there: `frames` came so far, and it is `now_us`.
    fn change(&mut self, frames: u64, now_us: u64) -> Option<u32> {
        let interval_us = match self.wanted.0.load(Ordering::Relaxed) {
            Intervals::ADAPTIVE => self.pace.interval_us(frames, now_us),
            fixed_us => fixed_us,
        };
        (core::mem::replace(&mut self.written_us, interval_us) != interval_us).then_some(interval_us)
    }
}

/// A transmit queue's vector, masked until somebody waits for room.
#[derive(Debug)]
pub(crate) struct TxVector {
    number: u16,
    /// It was let through, and not masked since but perhaps by itself.
    is_armed: bool,
}

impl TxVector {
    pub(crate) fn new(number: u16) -> Self {
        Self { number, is_armed: false }
    }

    fn bit(&self) -> u32 {
        1 << (self.number % 32)
    }

    /// Lets the vector fire at the next report. One that was written before fires nothing: who arms looks at the ring behind this.
    pub(crate) fn arm(&mut self, bar: &impl Bar, places: &Places) {
        // The causes of reports since the last time, which would fire at once: no descriptor that is still to come. Above 15 they have no bit here, and such a
        // vector may wake its queue for nothing.
        places.eicr.write(bar, Eicr::from_bits_retain(1u32.checked_shl(self.number.into()).unwrap_or(0)) & Eicr::RTXQ);
        let_through(bar, places, self.number);
        // The writes must have reached the card before the look at the ring: a report that comes after that look fires the interrupt.
        let _flushed = STATUS.read(bar);
        barrier::store_then_load();
        self.is_armed = true;
    }

    /// It is masked, and not by the queue.
    pub(crate) fn forget(&mut self) {
        self.is_armed = false;
    }

    /// Masks the vector, where it was armed.
    pub(crate) fn disarm(&mut self, bar: &impl Bar, places: &Places) {
        if core::mem::take(&mut self.is_armed)
            && let Ok(mask) = places.eimc.at(u32::from(self.number) / 32)
        {
            mask.write(bar, self.bit());
        }
    }
}
