//! A simulated device as the [`PciFunction`] that a driver opens.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use driver_core::host::{Bar, BarError, Clock, DmaDomain, Doorbell, Interrupt, PciError, PciErrorKind, PciFunction, RegSpace, Vectors, WaitWaker};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use crate::chassis::{Chassis, Core, Posted};
use crate::clock::SimClock;
use crate::config::{COMMAND, COMMAND_BUS_MASTER, COMMAND_MEMORY};

/// A device's registers in the hands of one driver: its function, and what is left of it in BARs and doorbells.
struct Claim {
    chassis: Arc<Chassis>,
    /// Whether it is the one that safe code may have: none is given out until this one is gone.
    is_only: bool,
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.is_only {
            self.chassis.claimed.store(false, Ordering::SeqCst);
        }
    }
}

/// A simulated PCI function.
pub struct SimFunction {
    claim: Arc<Claim>,
}

impl SimFunction {
    /// `None`: the function is in use, or a BAR or a doorbell of it is.
    pub(crate) fn claim(chassis: Arc<Chassis>) -> Option<Self> {
        let claimed = chassis.claimed.swap(true, Ordering::SeqCst);
        (!claimed).then(|| Self::new(Claim { chassis, is_only: true }))
    }

    /// One more, whoever has the function already: see [`SimDevice::another_function`](crate::SimDevice::another_function).
    pub(crate) fn beside(chassis: Arc<Chassis>) -> Self {
        Self::new(Claim { chassis, is_only: false })
    }

    fn new(claim: Claim) -> Self {
        let function = Self { claim: Arc::new(claim) };
        function.change_command(COMMAND_MEMORY, 0);
        function
    }

    fn chassis(&self) -> &Arc<Chassis> {
        &self.claim.chassis
    }

    fn change_command(&self, set: u16, clear: u16) {
        self.chassis().access(|core, slot| {
            let command = core.config_read(slot, COMMAND, 2) as u16;
            core.config_write(slot, COMMAND, 2, u32::from(command & !clear | set));
        });
    }

    fn error(&self, tried: &str, kind: PciErrorKind) -> PciError {
        PciError::new(&self.chassis().name, tried, kind)
    }

    fn check_config(&self, tried: &str, offset: u16, width: u8) -> Result<(), PciError> {
        if matches!(width, 1 | 2 | 4) && offset.is_multiple_of(width.into()) && offset < 4096 {
            return Ok(());
        }
        Err(self.error(tried, PciErrorKind::Argument("the offset is not a naturally aligned one below 4096, or the width is not 1, 2 or 4")))
    }
}

// SAFETY: configuration space and BARs go to one model under its lock, in order, and give what it answers; `SimDevice::function` gives out one function at a
// time, until its BARs and doorbells are gone too; the model reaches memory through the IOMMU of this domain alone, and only while its bus master bit is set,
// which `forbid_dma`, `reset` and dropping it clear between two steps; the IOMMU frees no memory during a step.
unsafe impl PciFunction for SimFunction {
    type Bar = SimBar;
    type Interrupt = SimInterrupt;

    fn name(&self) -> &str {
        &self.chassis().name
    }

    fn config_read(&self, offset: u16, width: u8) -> Result<u32, PciError> {
        self.check_config("reading configuration space", offset, width)?;
        Ok(self.chassis().access(|core, slot| core.config_read(slot, offset, width)))
    }

    unsafe fn config_write(&mut self, offset: u16, width: u8, value: u32) -> Result<(), PciError> {
        self.check_config("writing configuration space", offset, width)?;
        self.chassis().access(|core, slot| core.config_write(slot, offset, width, value));
        Ok(())
    }

    unsafe fn open_bar(&mut self, index: u8) -> Result<SimBar, PciError> {
        match self.chassis().access(|core, _| core.model.bar_len_bytes(index)) {
            Some(len_bytes) => Ok(SimBar { claim: Arc::clone(&self.claim), index, len_bytes }),
            None => Err(self.error(&format!("opening BAR {index}"), PciErrorKind::Missing("memory BAR of that number"))),
        }
    }

    fn dma(&self) -> &DmaDomain {
        &self.chassis().domain
    }

    unsafe fn allow_dma(&mut self) -> Result<(), PciError> {
        self.change_command(COMMAND_BUS_MASTER, 0);
        Ok(())
    }

    fn forbid_dma(&mut self) -> Result<(), PciError> {
        self.change_command(0, COMMAND_BUS_MASTER);
        Ok(())
    }

    fn interrupt_count(&self) -> u16 {
        self.chassis().vectors.len() as u16
    }

    fn enable_interrupts(&mut self, count: u16) -> Result<Vectors<SimInterrupt>, PciError> {
        let tried = format!("turning on {count} interrupt vectors");
        if count > self.interrupt_count() {
            return Err(self.error(&tried, PciErrorKind::Missing("so many interrupt vectors")));
        }
        if self.chassis().open_vectors.compare_exchange(0, usize::from(count), Ordering::SeqCst, Ordering::SeqCst).is_err() {
            return Err(self.error(&tried, PciErrorKind::Argument("interrupts are on already: drop the objects that the first call returned")));
        }
        self.chassis().access(|core, slot| core.model.msix().program(slot, count));
        let vectors = (0..usize::from(count)).map(|vector| SimInterrupt { chassis: Arc::clone(self.chassis()), vector, waker: None });
        // What fired while nobody held the vectors is stale.
        let vectors: Vec<_> = vectors.collect();
        vectors.iter().for_each(|interrupt: &SimInterrupt| _ = take(interrupt.event()));
        Ok(Vectors::new(vectors))
    }

    fn reset(&mut self) -> Result<(), PciError> {
        if !self.chassis().has_reset.load(Ordering::Relaxed) {
            return Err(self.error("resetting it", PciErrorKind::Missing("reset: it has to be reset by its own registers, or with the power")));
        }
        self.chassis().access(Core::reset);
        Ok(())
    }
}

impl Drop for SimFunction {
    fn drop(&mut self) {
        self.change_command(0, COMMAND_BUS_MASTER);
    }
}

/// Register access to a simulated BAR. Each access takes the model's lock; it is never in the middle of a step.
#[derive(Clone)]
pub struct SimBar {
    claim: Arc<Claim>,
    index: u8,
    len_bytes: usize,
}

impl SimBar {
    fn is_inside(&self, offset: u32, width: u8) -> bool {
        offset.is_multiple_of(width.into()) && (offset as usize).checked_add(width.into()).is_some_and(|end| end <= self.len_bytes)
    }

    fn read(&self, offset: u32, width: u8) -> u64 {
        if self.is_inside(offset, width) { self.claim.chassis.read(self.index, offset, width) } else { u64::MAX }
    }

    fn write(&self, offset: u32, width: u8, value: u64) {
        if self.is_inside(offset, width) {
            self.claim.chassis.access(|core, slot| core.write(slot, self.index, offset, width, value));
        }
    }
}

impl RegSpace for SimBar {
    fn len_bytes(&self) -> usize {
        self.len_bytes
    }
    fn read8(&self, offset: u32) -> u8 {
        self.read(offset, 1) as u8
    }
    fn read16(&self, offset: u32) -> u16 {
        self.read(offset, 2) as u16
    }
    fn read32(&self, offset: u32) -> u32 {
        self.read(offset, 4) as u32
    }
    fn read64(&self, offset: u32) -> u64 {
        self.read(offset, 8)
    }
    fn write8(&self, offset: u32, value: u8) {
        self.write(offset, 1, value.into());
    }
    fn write16(&self, offset: u32, value: u16) {
        self.write(offset, 2, value.into());
    }
    fn write32(&self, offset: u32, value: u32) {
        self.write(offset, 4, value.into());
    }
    fn write64(&self, offset: u32, value: u64) {
        self.write(offset, 8, value);
    }
}

impl Bar for SimBar {
    type Doorbell = SimDoorbell;

    fn doorbell(&self, offset: u32) -> Result<SimDoorbell, BarError> {
        if self.is_inside(offset, 4) {
            Ok(SimDoorbell { claim: Arc::clone(&self.claim), bar: self.index, offset })
        } else {
            Err(BarError::new(offset, self.len_bytes))
        }
    }
}

/// A register that a data path writes. Writes are posted, as on PCI Express: they do not wait for the model, and reach it before any later access.
pub struct SimDoorbell {
    claim: Arc<Claim>,
    bar: u8,
    offset: u32,
}

impl Doorbell for SimDoorbell {
    fn ring(&self, value: u32) {
        self.claim.chassis.post(Posted { bar: self.bar, width: 4, offset: self.offset, value });
    }
    fn ring16(&self, value: u16) {
        self.claim.chassis.post(Posted { bar: self.bar, width: 2, offset: self.offset, value: value.into() });
    }
}

/// How long a wait rests that only another thread can end.
const REST: Duration = Duration::from_micros(50);
/// How often a stepped card's time passes without an event before a wait without a limit rests.
const PAUSES_BEFORE_REST: u32 = 1000;

/// One interrupt vector: an eventfd.
///
/// While the device is not live, waiting moves the device in the caller's thread, and the timeout counts on the card's clock. Where the device is
/// [stepped](crate::Stepped), it moves all devices of its clock.
pub struct SimInterrupt {
    chassis: Arc<Chassis>,
    vector: usize,
    waker: Option<Arc<SimWaker>>,
}

/// How often an eventfd was written to since it was taken last.
fn take(event: &OwnedFd) -> u64 {
    let mut count = [0; 8];
    match rustix::io::read(event, &mut count) {
        Ok(8) => u64::from_ne_bytes(count),
        _ => 0,
    }
}

impl SimInterrupt {
    fn event(&self) -> &OwnedFd {
        &self.chassis.vectors[self.vector]
    }

    fn is_woken(&self) -> bool {
        self.waker.as_ref().is_some_and(|waker| take(&waker.0) > 0)
    }

    /// How often it fired; 0 where somebody ended the wait, `None` where neither happened yet.
    fn fired(&self) -> Result<Option<u64>, PciError> {
        let fired = take(self.event());
        if self.is_woken() || fired > 0 {
            return Ok(Some(fired));
        }
        let gone = || PciError::new(&self.chassis.name, "waiting for an interrupt", PciErrorKind::Gone);
        if self.chassis.is_removed() { Err(gone()) } else { Ok(None) }
    }

    /// Sleeps until the vector fires, somebody ends the wait, one of `others` becomes readable, or `pause` is over.
    fn sleep(&self, pause: Option<Duration>, others: &[OwnedFd]) {
        let timeout = pause.map(|pause| Timespec { tv_sec: pause.as_secs() as i64, tv_nsec: pause.subsec_nanos().into() });
        let waker = self.waker.as_ref().map_or(self.event(), |waker| &waker.0);
        let all = [self.event(), waker].into_iter().chain(others);
        let _ = poll(&mut all.map(|fd| PollFd::new(fd, PollFlags::IN)).collect::<Vec<_>>(), timeout.as_ref());
    }

    /// Waits by a clock that passes only while the cards are moved: here. Where all that may come comes from the cards themselves, time is not waited for.
    fn wait_stepped(&self, clock: &SimClock, timeout_us: Option<u64>) -> Result<u64, PciError> {
        let end_us = timeout_us.map(|us| clock.now_us().saturating_add(us));
        let mut pauses = 0;
        loop {
            if let Some(fired) = self.fired()? {
                return Ok(fired);
            }
            let left_us = end_us.map(|end_us| end_us.saturating_sub(clock.now_us()));
            if left_us == Some(0) {
                return Ok(0);
            }
            if clock.step() {
                pauses = 0;
                continue;
            }
            let pause_us = clock.quiet_us().min(left_us.unwrap_or(u64::MAX));
            let outside = clock.outside();
            if !outside.is_empty() {
                let start = Instant::now();
                self.sleep(Some(Duration::from_micros(pause_us)), &outside);
                clock.pass_us((start.elapsed().as_micros() as u64).clamp(1, pause_us));
            } else {
                clock.pass_us(pause_us);
                pauses += 1;
                if timeout_us.is_none() && pauses > PAUSES_BEFORE_REST {
                    // Nothing was due for long: another thread has to make it fire.
                    self.sleep(Some(REST), &[]);
                }
            }
        }
    }
}

impl AsFd for SimInterrupt {
    /// Readable when the vector fired, until [`Interrupt::wait`] took that. To be watched, and neither read nor written to. A device that is not live fires
    /// nothing while nobody moves it.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event().as_fd()
    }
}

impl Interrupt for SimInterrupt {
    fn wait(&mut self, timeout_us: Option<u64>) -> Result<u64, PciError> {
        if let Some(clock) = self.chassis.step_clock() {
            return self.wait_stepped(&clock, timeout_us);
        }
        let start = Instant::now();
        let mut stepped_us = 0;
        loop {
            if let Some(fired) = self.fired()? {
                return Ok(fired);
            }
            if self.chassis.is_live() {
                let left = timeout_us.map(|us| Duration::from_micros(us).saturating_sub(start.elapsed()));
                if left.is_some_and(|left| left.is_zero()) {
                    return Ok(0);
                }
                self.sleep(left, &[]);
            } else {
                if timeout_us.is_some_and(|us| stepped_us >= us) {
                    return Ok(0);
                }
                let busy = self.chassis.step(1);
                stepped_us += 1;
                if !busy && timeout_us.is_none() {
                    // Without a limit only another thread can make it fire now.
                    self.sleep(Some(REST), &[]);
                }
            }
        }
    }

    fn waker(&mut self) -> Result<Option<Arc<dyn WaitWaker>>, PciError> {
        let waker = match &self.waker {
            Some(waker) => waker,
            None => {
                let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
                let failed = |error: rustix::io::Errno| {
                    PciError::new(&self.chassis.name, "making a descriptor that ends waits", PciErrorKind::Host(error.to_string()))
                };
                let event = event.map_err(failed)?;
                self.waker.insert(Arc::new(SimWaker(event)))
            }
        };
        Ok(Some(waker.clone()))
    }
}

/// Ends the waits of one vector: an eventfd beside the vector's.
struct SimWaker(OwnedFd);

impl WaitWaker for SimWaker {
    fn wake(&self) {
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
}

impl Drop for SimInterrupt {
    fn drop(&mut self) {
        self.chassis.open_vectors.fetch_sub(1, Ordering::SeqCst);
    }
}
