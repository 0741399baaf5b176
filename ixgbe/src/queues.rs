//! The hardware queues: setting one up, turning it on and off (4.6.7, 4.6.8).

use driver_core::device::ErrorKind;
use driver_core::host::{Bar, Clock, Iova};
use driver_core::queue::core::Left;
use driver_core::reg::wait_until;
use driver_core::ring::DESC_BYTES;

use crate::card::Card;
use crate::config::MAX_RING;
use crate::regs::places::Places;
use crate::regs::*;
use crate::rx::whole::Manner;

/// NO-LIMITS: how long a queue may take to turn on or off. The drivers in the field wait 10 ms.
const ENABLE_US: u64 = 100_000;
/// 4.6.7.1.2: "Once the RXDCTL.ENABLE bit is cleared the driver should wait additional amount of time (~100 us) before releasing the memory".
const RX_SETTLE_US: u64 = 100;
/// How long frames that were handed over may take to go out before their queues are turned off.
const DRAIN_US: u64 = 20_000;
/// How long a queue is waited for after another did not turn off: what it is for is Master Disable, and the reset.
const NO_MORE_US: u64 = 1_000;
/// 7.2.3.4.1: fetch descriptors ahead while fewer than 32 are on the card, four (a cache line of them) at a time. 8.2.3.9.10: "HTHRESH should be
/// given a non-zero value each time PTHRESH is used". WTHRESH-0: it stays 0.
const THRESHOLDS: Txdctl = Txdctl::from_bits_retain(32 | 4 << 8);

/// Where a ring lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RingAt {
    /// Its first descriptor, for the device; a multiple of 128 (8.2.3.8.1, 8.2.3.9.5).
    pub(crate) iova: Iova,
    /// How many descriptors there are.
    pub(crate) len: u32,
}

impl RingAt {
    fn low(self) -> u32 {
        self.iova.0 as u32
    }
    fn high(self) -> u32 {
        (self.iova.0 >> 32) as u32
    }
    fn len_bytes(self) -> u32 {
        self.len * DESC_BYTES as u32
    }
}

/// What a receive queue is set up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RxSetup {
    /// Which of the card's queues it is.
    pub(crate) queue: u16,
    pub(crate) ring: RingAt,
    /// What the tail register says when all buffers but one are the card's.
    pub(crate) tail: u32,
    /// Size of each buffer in KB, 1 to 16.
    pub(crate) buffer_kb: u32,
    /// Drop frames for which no descriptor is free, rather than hold up the other queues.
    pub(crate) drop: bool,
    /// Take VLAN tags out of frames (7.4.1).
    pub(crate) strip: bool,
    /// What it does with frames.
    pub(crate) manner: Manner,
}

impl<B: Bar> Card<B> {
    /// 4.6.7, "The following should be done per each receive queue": everything but the tail, which [`Card::start_rx`] writes.
    pub(crate) fn setup_rx(&self, setup: &RxSetup) -> Result<(), ErrorKind> {
        let Self { bar, places, .. } = self;
        let queue = u32::from(setup.queue);
        // "Program the descriptor base address with the address of the region"
        places.rdbal.at(queue)?.write(bar, setup.ring.low());
        places.rdbah.at(queue)?.write(bar, setup.ring.high());
        // "Set the length register to the size of the descriptor ring"
        places.rdlen.at(queue)?.write(bar, setup.ring.len_bytes());
        places.rdh.at(queue)?.write(bar, 0);
        places.rdt.at(queue)?.write(bar, 0);
        // "Program SRRCTL associated with this queue according to the size of the buffers and the required header control"
        let mut srrctl = setup.manner.srrctl() | Srrctl::from_bits_retain(setup.buffer_kb & Srrctl::BSIZEPACKET.bits());
        srrctl.set(Srrctl::DROP_EN, setup.drop);
        places.srrctl.at(queue)?.write(bar, srrctl);
        // "Program RSC mode for the queue via the RSCCTL register"
        places.rscctl.at(queue)?.write(bar, setup.manner.rscctl(setup.buffer_kb));
        // "clear bit 12 of the DCA_RXCTRL[n] register"; IN-ORDER: no relaxed ordering, since the done bit vouches for the frame's bytes.
        let unwanted = DcaRxctrl::RESERVED_12 | DcaRxctrl::DATA_WRITE_RO_EN | DcaRxctrl::HEAD_WRITE_RO_EN;
        places.dca_rxctrl.at(queue)?.modify(bar, |v| v - unwanted);
        Ok(())
    }

    /// 4.6.7: the queue on, then its buffers to the card.
    pub(crate) fn start_rx(&self, setup: &RxSetup) -> Result<(), ErrorKind> {
        let (places, queue) = (self.places, u32::from(setup.queue));
        let control = places.rxdctl.at(queue)?;
        // "Program RXDCTL with appropriate values including the queue Enable bit"
        control.modify(&self.bar, |v| {
            let mut v = v | Rxdctl::ENABLE;
            v.set(Rxdctl::VME, setup.strip);
            v
        });
        // "Poll the RXDCTL register until the Enable bit is set. The tail should not be bumped before this bit was read as 1b."
        self.wait(control, "a receive queue to turn on (ENABLE)", ENABLE_US, |v| v.contains(Rxdctl::ENABLE))?;
        // "Bump the tail pointer (RDT) to enable descriptors fetching by setting it to the ring length minus one."
        places.rdt.at(queue)?.write(&self.bar, setup.tail);
        Ok(())
    }

    /// 4.6.8, "The following steps should be done once per transmit queue".
    pub(crate) fn setup_tx(&self, index: u16, ring: RingAt) -> Result<(), ErrorKind> {
        let Self { bar, places, .. } = self;
        let queue = u32::from(index);
        // "Program the descriptor base address with the address of the region"
        places.tdbal.at(queue)?.write(bar, ring.low());
        places.tdbah.at(queue)?.write(bar, ring.high());
        // "Set the length register to the size of the descriptor ring"
        places.tdlen.at(queue)?.write(bar, ring.len_bytes());
        places.tdh.at(queue)?.write(bar, 0);
        places.tdt.at(queue)?.write(bar, 0);
        // "If needed, set TDWBAL/TWDBAH to enable head write back": off since the reset. The done bit of descriptors with RS is read instead.
        // IN-ORDER: a done bit must not overtake the one before it.
        places.dca_txctrl.at(queue)?.modify(bar, |v| v - DcaTxctrl::DESC_WRITE_BACK_RO_EN);
        // "Program the TXDCTL register with the desired TX descriptor write back policy"
        places.txdctl.at(queue)?.write(bar, THRESHOLDS);
        Ok(())
    }

    /// 4.6.8: "Enable the queue using TXDCTL.ENABLE. Poll the TXDCTL register until the Enable bit is set." DMATXCTL.TE is set by then.
    pub(crate) fn start_tx(&self, index: u16) -> Result<(), ErrorKind> {
        let control = self.places.txdctl.at(index.into())?;
        control.write(&self.bar, THRESHOLDS | Txdctl::ENABLE);
        self.wait(control, "a transmit queue to turn on (ENABLE)", ENABLE_US, |v| v.contains(Txdctl::ENABLE))?;
        Ok(())
    }
}

impl<B: Bar> Card<B> {
    /// Turns off what is on of `queues` of either direction, whoever turned it on: what is not confirmed here, whatever follows has to confirm. Tells `left` of each
    /// transmit queue that was on what it left, unsent.
    ///
    /// # Errors
    /// The card is gone. What else does not turn off is a warning.
    pub(crate) fn stop_queues(&self, queues: u16, mut left: impl FnMut(u16, Left)) -> Result<(), ErrorKind> {
        let Self { bar, places, clock, .. } = self;
        let mut patience = Patience::new();
        for index in 0..queues {
            let rx = stop_rx(bar, places, &**clock, index, &patience);
            let tx = stop_tx(bar, places, &**clock, index, &mut patience);
            let unsent = tx.as_ref().map_or_else(|_| unsent(bar, places, index).ok(), |unsent| *unsent);
            unsent.into_iter().for_each(|unsent| left(index, unsent));
            for error in [rx, tx.map(drop)].into_iter().filter_map(Result::err) {
                log::warn!("{}: {error}", self.name);
                patience.lose();
                if error.is_gone() {
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

/// How long queues that are turned off one behind the other are waited for.
#[derive(Debug)]
pub(crate) struct Patience {
    /// For what is on the way, in microseconds: of all of them together.
    drain_us: u64,
    /// For ENABLE to clear, in microseconds.
    turn_off_us: u64,
}

impl Patience {
    pub(crate) const fn new() -> Self {
        Self { drain_us: DRAIN_US, turn_off_us: ENABLE_US }
    }

    /// A queue did not turn off. The others have no better reason to.
    pub(crate) fn lose(&mut self) {
        self.turn_off_us = NO_MORE_US;
    }
}

/// 4.6.7.1.2: turns a receive queue off. When it returns without error the card writes to neither the ring nor its buffers any more.
pub(crate) fn stop_rx(bar: &impl Bar, places: &Places, clock: &dyn Clock, index: u16, patience: &Patience) -> Result<(), ErrorKind> {
    let control = places.rxdctl.at(index.into())?;
    if !control.read(bar).contains(Rxdctl::ENABLE) {
        // Whoever cleared it, on another thread perhaps, may not have waited yet.
        clock.sleep_us(RX_SETTLE_US);
        return Ok(());
    }
    // "Disable the queue by clearing the RXDCTL.ENABLE bit."
    control.modify(bar, |v| v - Rxdctl::ENABLE);
    // "The 82599 clears the RXDCTL.ENABLE bit only after all pending memory accesses to the descriptor ring are done."
    wait_until(bar, control, "a receive queue to turn off (ENABLE clear)", clock, patience.turn_off_us, |v| !v.contains(Rxdctl::ENABLE))?;
    clock.sleep_us(RX_SETTLE_US);
    Ok(())
}

/// 4.6.8.1.2: lets what was handed over go out, within limits, and turns a transmit queue off. When it returns without error the card reads
/// neither the ring nor its buffers any more. Returns what is left, unsent; `None` where the queue was off already.
pub(crate) fn stop_tx(bar: &impl Bar, places: &Places, clock: &dyn Clock, index: u16, patience: &mut Patience) -> Result<Option<Left>, ErrorKind> {
    let control = places.txdctl.at(index.into())?;
    if !control.read(bar).contains(Txdctl::ENABLE) {
        return Ok(None);
    }
    let mut left = None;
    let (tail, begun_us) = (places.tdt.at(index.into())?.read(bar), clock.now_us());
    let head = places.tdh.at(index.into())?;
    // Without a link nothing goes out: what is left then is given up with the queue.
    if let Err(wait) = wait_until(bar, head, "a transmit queue to drain (TDH = TDT)", clock, patience.drain_us, |head: u32| head == tail) {
        if wait.is_all_ones() {
            return Err(wait.into());
        }
        let unsent = unsent(bar, places, index)?;
        log::warn!("{} descriptors were not sent before their queue stopped: {wait}", unsent.descriptors);
        left = Some(unsent);
    }
    patience.drain_us = patience.drain_us.saturating_sub(clock.now_us().saturating_sub(begun_us));
    control.modify(bar, |v| v - Txdctl::ENABLE);
    wait_until(bar, control, "a transmit queue to turn off (ENABLE clear)", clock, patience.turn_off_us, |v| !v.contains(Txdctl::ENABLE))?;
    Ok(Some(left.unwrap_or(Left { descriptors: 0, tail })))
}

/// What a transmit queue has not sent of what it was given.
pub(crate) fn unsent(bar: &impl Bar, places: &Places, index: u16) -> Result<Left, ErrorKind> {
    let (head, tail) = (places.tdh.at(index.into())?.read(bar), places.tdt.at(index.into())?.read(bar));
    // A length that is none, or longer than any ring, is a lie, and what comes of it no more than a number.
    let len = (places.tdlen.at(index.into())?.read(bar) / DESC_BYTES as u32).clamp(1, MAX_RING);
    Ok(Left { descriptors: tail.wrapping_sub(head) % len, tail })
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use driver_core::device::Bug;
    use driver_core::testing::{FakeClock, PlainBar};

    use super::*;
    use crate::regs::places::PORT;

    #[test]
    fn a_queue_that_the_card_does_not_have_is_a_fault_of_the_driver() {
        let error = stop_tx(&PlainBar::new(BAR_BYTES), &PORT, &FakeClock::new(), 500, &mut Patience::new()).unwrap_err();
        assert!(matches!(error, ErrorKind::Bug(Bug::Register(missing)) if (missing.name, missing.index) == ("TXDCTL", 500)), "{error:?}");
        let wanted = "TXDCTL[500] does not exist: the card has 64 of them; this is a fault of the driver and not of the device: please report it with this line";
        assert_eq!(format!("{error}"), wanted);
    }
}
