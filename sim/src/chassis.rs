//! What is in one box with a model in this process: its wire, its lock, its interrupt vectors, and what moves it: its thread's signals, or the clock that its
//! program's calls advance.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use driver_core::host::DmaDomain;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::OwnedFd;

use crate::clock::SimClock;
use crate::config::{COMMAND, COMMAND_BUS_MASTER, COMMAND_MEMORY};
use crate::iommu::Iommu;
use crate::model::Model;
use crate::pace::{CROWDED_YIELD_US, EVENT_SLEEP, IDLE_YIELDS, POLL_SLEEP, STEPS_PER_TURN};
use crate::schedule::{READS_BETWEEN_STEPS, Schedule};
use crate::slot::Slot;
use crate::violation::Violations;
use crate::wire::Wire;

/// A register write that was posted and has not reached the model yet.
pub(crate) struct Posted {
    pub(crate) bar: u8,
    pub(crate) width: u8,
    pub(crate) offset: u32,
    pub(crate) value: u32,
}

/// How many writes are posted before one waits until they have reached the model.
const MOST_POSTED: usize = 4096;

/// What the model's lock guards.
pub(crate) struct Core {
    pub(crate) model: Box<dyn Model>,
    pub(crate) wire: Box<dyn Wire>,
    now_us: u64,
    /// While the card moves on a thread of its own: since when, and what `now_us` was then. Registers are read between two steps, and the card's time goes on.
    live_since: Option<(u64, Instant)>,
    /// The function was taken off its bus: the model neither moves nor is asked any more.
    is_removed: bool,
    /// The buffer that posted writes are swapped into, kept to save the allocation.
    arriving: Vec<Posted>,
    /// When it moves, where its program's calls move it.
    schedule: Option<Schedule>,
    /// How often a driver read a register since the last step.
    reads: u32,
}

/// A model in its housing in this process, which all handles of the device share.
pub(crate) struct Chassis {
    pub(crate) name: String,
    pub(crate) domain: DmaDomain,
    pub(crate) iommu: Arc<Iommu>,
    core: Mutex<Core>,
    /// Threads that wait for the lock of `core`; the live thread lets them pass.
    waiters: AtomicUsize,
    posted: Mutex<Vec<Posted>>,
    has_posted: AtomicBool,
    /// As [`Core::is_removed`], for who waits and has not the lock.
    removed: AtomicBool,
    pub(crate) violations: Violations,
    carrier: AtomicBool,
    /// One eventfd for each vector.
    pub(crate) vectors: Vec<OwnedFd>,
    pub(crate) open_vectors: AtomicUsize,
    /// A driver has the function.
    pub(crate) claimed: AtomicBool,
    pub(crate) has_reset: AtomicBool,
    kick: OwnedFd,
    sleeping: AtomicBool,
    stop: AtomicBool,
    live: AtomicBool,
    /// Something was given to it to send since its program's calls moved it.
    unmoved: AtomicBool,
}

fn relock<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Chassis {
    /// # Errors
    /// The process may open no more file descriptors.
    pub(crate) fn new(name: &str, mut model: Box<dyn Model>, wire: Box<dyn Wire>, iommu: Arc<Iommu>) -> io::Result<Self> {
        let event = || eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let vectors = (0..model.msix().count()).map(|_| event()).collect::<Result<_, _>>()?;
        Ok(Self {
            name: name.into(),
            domain: iommu.domain(),
            iommu,
            core: Mutex::new(Core { model, wire, now_us: 0, live_since: None, is_removed: false, arriving: Vec::new(), schedule: None, reads: 0 }),
            waiters: AtomicUsize::new(0),
            posted: Mutex::new(Vec::new()),
            has_posted: AtomicBool::new(false),
            removed: AtomicBool::new(false),
            violations: Violations::default(),
            carrier: AtomicBool::new(true),
            vectors,
            open_vectors: AtomicUsize::new(0),
            claimed: AtomicBool::new(false),
            has_reset: AtomicBool::new(true),
            kick: event()?,
            sleeping: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            live: AtomicBool::new(false),
            unmoved: AtomicBool::new(false),
        })
    }

    /// Takes the model's lock for an access, after everything that was posted before.
    pub(crate) fn access<R>(&self, f: impl FnOnce(&mut Core, &Slot<'_>) -> R) -> R {
        self.waiters.fetch_add(1, Ordering::SeqCst);
        let mut core = relock(&self.core);
        self.waiters.fetch_sub(1, Ordering::SeqCst);
        if let Some((base_us, start)) = core.live_since {
            core.now_us = core.now_us.max(base_us + start.elapsed().as_micros() as u64);
        }
        self.deliver_posted(&mut core);
        let result = self.with_slot(&mut core, f);
        drop(core);
        self.wake();
        result
    }

    /// Queues a write: it reaches the model before any later access, and at the latest with the next step.
    /// One more than a bus buffers waits for the model, as on a bus.
    pub(crate) fn post(&self, write: Posted) {
        let waiting = {
            let mut posted = relock(&self.posted);
            posted.push(write);
            posted.len()
        };
        self.has_posted.store(true, Ordering::SeqCst);
        self.wake();
        if waiting >= MOST_POSTED {
            self.access(|_, _| ());
        }
    }

    /// Wakes the live thread where it sleeps. What it is woken for was changed under the lock of `core`, or is `SeqCst` as `sleeping` is: either it sees the
    /// change before it sleeps, or this sees that it sleeps.
    fn wake(&self) {
        if self.sleeping.load(Ordering::SeqCst) && self.sleeping.swap(false, Ordering::SeqCst) {
            let _ = rustix::io::write(&self.kick, &1u64.to_ne_bytes());
        }
    }

    fn with_slot<R>(&self, core: &mut Core, f: impl FnOnce(&mut Core, &Slot<'_>) -> R) -> R {
        let interrupt = |vector: u16| {
            if let Some(fd) = self.vectors.get(usize::from(vector)) {
                let _ = rustix::io::write(fd, &1u64.to_ne_bytes());
            }
        };
        let carrier = !core.is_removed && core.wire.carrier() && self.carrier.load(Ordering::SeqCst);
        let slot = Slot::new(core.now_us, carrier, &self.violations, &interrupt);
        f(core, &slot)
    }

    fn deliver_posted(&self, core: &mut Core) {
        if !self.has_posted.swap(false, Ordering::SeqCst) {
            return;
        }
        let mut arriving = std::mem::take(&mut core.arriving);
        std::mem::swap(&mut arriving, &mut relock(&self.posted));
        self.with_slot(core, |core, slot| {
            for write in arriving.drain(..) {
                core.write(slot, write.bar, write.offset, write.width, write.value.into());
            }
        });
        core.arriving = arriving;
    }

    fn step_at(&self, core: &mut Core, now_us: u64) -> bool {
        core.now_us = core.now_us.max(now_us);
        core.reads = 0;
        self.deliver_posted(core);
        if core.is_removed {
            return false;
        }
        let busy = self.with_slot(core, |core, slot| {
            let memory = self.iommu.hold();
            // SAFETY: whoever wrote the model vouches that it accesses nothing but what it was lent (`Model`).
            let dma = unsafe { memory.device(core.model.is_bus_master(), &self.violations) };
            core.model.step(slot, &dma, &mut *core.wire)
        });
        if core.wire.is_gone() {
            self.remove(core);
        }
        busy || self.has_posted.load(Ordering::Relaxed)
    }

    /// Takes the function off its bus, for good, between two steps: it reaches no memory any more. Who waits for an interrupt is woken and told.
    fn remove(&self, core: &mut Core) {
        core.is_removed = true;
        self.removed.store(true, Ordering::SeqCst);
        for vector in &self.vectors {
            let _ = rustix::io::write(vector, &1u64.to_ne_bytes());
        }
    }

    /// Whether the function was taken off its bus.
    pub(crate) fn is_removed(&self) -> bool {
        self.removed.load(Ordering::SeqCst)
    }

    /// One step in the caller's thread; the card's clock advances by `us`.
    pub(crate) fn step(&self, us: u64) -> bool {
        let mut core = relock(&self.core);
        let now_us = core.now_us.saturating_add(us);
        self.step_at(&mut core, now_us)
    }

    /// A sleep of `us` microseconds that ends at `now_us`: the card's own clock goes on by as much, or to that moment where both are one.
    pub(crate) fn move_on(&self, us: u64, now_us: u64) -> bool {
        let mut core = relock(&self.core);
        let now_us = if core.schedule.is_some() { now_us } else { core.now_us.saturating_add(us) };
        self.step_at(&mut core, now_us)
    }

    /// Its program looks for frames: as many steps as the schedule wants. Returns whether the card did something.
    pub(crate) fn turn(&self, clock: &SimClock) -> bool {
        let mut core = relock(&self.core);
        let steps = core.schedule.as_mut().map_or(0, Schedule::turn);
        self.unmoved.store(false, Ordering::Relaxed);
        (0..steps).fold(false, |busy, _| self.step_at(&mut core, clock.tick()) || busy)
    }

    /// Its program gave it something to send. The next look for frames moves it; where none came since the last time, it moves now.
    pub(crate) fn given(&self, clock: &SimClock) {
        if self.unmoved.load(Ordering::Relaxed) {
            self.turn(clock);
        }
        self.unmoved.store(true, Ordering::Relaxed);
    }

    /// Lets the program's calls move it from now on (`None`: no more).
    pub(crate) fn set_schedule(&self, schedule: Option<Schedule>) {
        relock(&self.core).schedule = schedule;
    }

    /// The clock by which its program's calls move it, where they do.
    pub(crate) fn step_clock(&self) -> Option<Arc<SimClock>> {
        relock(&self.core).schedule.as_ref().and_then(Schedule::clock)
    }

    /// When the model's next timer expires.
    pub(crate) fn next_event_us(&self) -> Option<u64> {
        relock(&self.core).model.next_event_us()
    }

    /// What becomes readable when a frame comes from outside of this program.
    pub(crate) fn wire_fd(&self) -> Option<OwnedFd> {
        relock(&self.core).wire.fd().and_then(|fd| fd.try_clone_to_owned().ok())
    }

    /// A driver's read of a register. Who does nothing but read, as a program that waits for a link, sees the card move, too.
    pub(crate) fn read(&self, bar: u8, offset: u32, width: u8) -> u64 {
        let (value, reads) = self.access(|core, slot| {
            core.reads = core.reads.saturating_add(1);
            (core.read(slot, bar, offset, width), core.reads)
        });
        if reads > READS_BETWEEN_STEPS {
            self.look();
        }
        value
    }

    #[cold]
    fn look(&self) {
        let Some(clock) = self.step_clock() else { return };
        let now_us = clock.tick();
        self.step_at(&mut relock(&self.core), now_us);
    }

    /// Pulls the cable, or plugs it in.
    pub(crate) fn set_carrier(&self, on: bool) {
        self.carrier.store(on, Ordering::SeqCst);
        self.wake();
    }

    /// Whether the device may move on a thread of its own from now on: not where it does already.
    pub(crate) fn go_live(&self) -> bool {
        let is_first = !self.live.swap(true, Ordering::SeqCst);
        if is_first {
            self.stop.store(false, Ordering::SeqCst);
        }
        is_first
    }

    /// Makes [`Chassis::run`] return soon.
    pub(crate) fn ask_to_stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = rustix::io::write(&self.kick, &1u64.to_ne_bytes());
    }

    /// The thread is gone.
    pub(crate) fn rest(&self) {
        self.live.store(false, Ordering::SeqCst);
    }

    pub(crate) fn is_live(&self) -> bool {
        self.live.load(Ordering::Relaxed)
    }

    /// Moves the device until it is asked to stop.
    pub(crate) fn run(&self) {
        let start = Instant::now();
        let base_us = {
            let mut core = relock(&self.core);
            core.live_since = Some((core.now_us, start));
            core.now_us
        };
        let now_us = || base_us + start.elapsed().as_micros() as u64;
        let (mut idle, mut wire_ready) = (0, false);
        while !self.stop.load(Ordering::Relaxed) {
            let mut busy = false;
            {
                let mut core = relock(&self.core);
                for _ in 0..STEPS_PER_TURN {
                    busy |= self.step_at(&mut core, now_us());
                }
            }
            // The lock is not fair: without this a driver could wait for many turns.
            for _ in 0..1000 {
                if self.waiters.load(Ordering::SeqCst) == 0 {
                    break;
                }
                std::thread::yield_now();
            }
            if busy {
                (idle, wire_ready) = (0, false);
                continue;
            }
            if idle < IDLE_YIELDS {
                let before_us = now_us();
                std::thread::yield_now();
                // Where others want the processor, yielding costs a time slice; who sleeps is woken sooner.
                idle = if now_us() - before_us > CROWDED_YIELD_US { IDLE_YIELDS } else { idle + 1 };
            } else {
                // A wire whose frames the card cannot take stays readable: do not spin on it.
                wire_ready = self.sleep(now_us(), !wire_ready);
            }
        }
        relock(&self.core).live_since = None;
    }

    /// Sleeps until a register is accessed, the wire has a frame (where `watch_wire`), or a timer of the model expires.
    /// Returns whether the wire has a frame.
    fn sleep(&self, now_us: u64, watch_wire: bool) -> bool {
        self.sleeping.store(true, Ordering::SeqCst);
        let (wire_fd, next_us) = {
            let mut core = relock(&self.core);
            // Whatever was accessed before `sleeping` was set woke nobody: look once more.
            if self.step_at(&mut core, now_us) || self.stop.load(Ordering::SeqCst) {
                self.sleeping.store(false, Ordering::SeqCst);
                return false;
            }
            let fd = core.wire.fd().filter(|_| watch_wire).and_then(|fd| fd.try_clone_to_owned().ok());
            (fd, core.model.next_event_us())
        };
        let longest = if wire_fd.is_some() { EVENT_SLEEP } else { POLL_SLEEP };
        let pause = next_us.map_or(longest, |next_us| longest.min(Duration::from_micros(next_us.saturating_sub(now_us).max(1))));
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(pause.subsec_nanos()) };
        let mut fds = vec![PollFd::new(&self.kick, PollFlags::IN)];
        fds.extend(wire_fd.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        // An interrupted or failed poll is an early wake-up.
        let _ = poll(&mut fds, Some(&timeout));
        let wire_ready = fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
        self.sleeping.store(false, Ordering::SeqCst);
        let _ = rustix::io::read(&self.kick, &mut [0u8; 8]);
        wire_ready
    }
}

impl Core {
    /// A function off its bus answers to nothing: reads are all ones (PCI Local Bus Specification 3.0, 6.2.1), writes are lost.
    pub(crate) fn config_read(&mut self, slot: &Slot<'_>, offset: u16, width: u8) -> u32 {
        if self.is_removed { u32::MAX >> (32 - 8 * u32::from(width)) } else { self.model.config_read(slot, offset, width) }
    }

    pub(crate) fn config_write(&mut self, slot: &Slot<'_>, offset: u16, width: u8, value: u32) {
        if !self.is_removed {
            self.model.config_write(slot, offset, width, value);
        }
    }

    /// Resets the function, where it is on its bus. A host saves and restores what it owns: decoding and the interrupt table. DMA waits for the driver.
    pub(crate) fn reset(&mut self, slot: &Slot<'_>) {
        let (command, msix) = (self.config_read(slot, COMMAND, 2), self.model.msix().clone());
        if !self.is_removed {
            self.model.reset(slot);
            self.config_write(slot, COMMAND, 2, command & !u32::from(COMMAND_BUS_MASTER));
            *self.model.msix() = msix;
        }
    }

    fn decodes_memory(&mut self, slot: &Slot<'_>) -> bool {
        !self.is_removed && self.config_read(slot, COMMAND, 2) & u32::from(COMMAND_MEMORY) != 0
    }

    pub(crate) fn write(&mut self, slot: &Slot<'_>, bar: u8, offset: u32, width: u8, value: u64) {
        if self.decodes_memory(slot) {
            self.model.bar_write(slot, bar, offset, width, value);
        }
    }

    pub(crate) fn read(&mut self, slot: &Slot<'_>, bar: u8, offset: u32, width: u8) -> u64 {
        if self.decodes_memory(slot) { self.model.bar_read(slot, bar, offset, width) } else { u64::MAX }
    }
}
