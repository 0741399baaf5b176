//! The in-process adapter: a model with its wire, stepped by hand or on a thread of its own.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use driver_core::host::DmaDomain;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::OwnedFd;

use crate::config::{COMMAND, COMMAND_MEMORY};
use crate::function::SimFunction;
use crate::iommu::Iommu;
use crate::model::{Host, Model};
use crate::violation::{Violation, Violations};
use crate::wire::{Wire, WireError};

/// How many steps the live thread makes before it looks whether a driver waits for the model's lock.
pub(crate) const STEPS_PER_TURN: usize = 2;
/// How often an idle live thread yields before it sleeps: a driver in the middle of a burst is answered without a system call.
pub(crate) const IDLE_YIELDS: u32 = 64;
/// A yield that took longer than this, in microseconds, let another thread run.
pub(crate) const CROWDED_YIELD_US: u64 = 20;
/// How long an idle live thread sleeps where its wire has no descriptor to sleep on.
pub(crate) const POLL_SLEEP: Duration = Duration::from_micros(100);
/// How long it sleeps where every event has a descriptor: only a carrier change comes without one.
pub(crate) const EVENT_SLEEP: Duration = Duration::from_millis(10);

/// A register write that was posted and has not reached the model yet.
pub(crate) struct Posted {
    pub(crate) bar: u8,
    pub(crate) width: u8,
    pub(crate) offset: u32,
    pub(crate) value: u32,
}

/// What the model's lock guards.
pub(crate) struct Core {
    pub(crate) model: Box<dyn Model>,
    wire: Box<dyn Wire>,
    now_us: u64,
    /// The buffer that posted writes are swapped into, kept to save the allocation.
    arriving: Vec<Posted>,
}

pub(crate) struct Shared {
    pub(crate) name: String,
    pub(crate) domain: DmaDomain,
    iommu: Arc<Iommu>,
    core: Mutex<Core>,
    /// Threads that wait for the lock of `core`; the live thread lets them pass.
    waiters: AtomicUsize,
    posted: Mutex<Vec<Posted>>,
    has_posted: AtomicBool,
    violations: Violations,
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
}

fn relock<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Takes the model's lock for an access, after everything that was posted before.
    pub(crate) fn access<R>(&self, f: impl FnOnce(&mut Core, &Host<'_>) -> R) -> R {
        self.waiters.fetch_add(1, Ordering::SeqCst);
        let mut core = relock(&self.core);
        self.waiters.fetch_sub(1, Ordering::SeqCst);
        self.deliver_posted(&mut core);
        let result = self.with_host(&mut core, f);
        drop(core);
        self.wake();
        result
    }

    /// Queues a write: it reaches the model before any later access, and at the latest with the next step.
    pub(crate) fn post(&self, write: Posted) {
        relock(&self.posted).push(write);
        self.has_posted.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Wakes the live thread where it sleeps.
    fn wake(&self) {
        if self.sleeping.swap(false, Ordering::SeqCst) {
            let _ = rustix::io::write(&self.kick, &1u64.to_ne_bytes());
        }
    }

    fn with_host<R>(&self, core: &mut Core, f: impl FnOnce(&mut Core, &Host<'_>) -> R) -> R {
        let interrupt = |vector: u16| {
            if let Some(fd) = self.vectors.get(usize::from(vector)) {
                let _ = rustix::io::write(fd, &1u64.to_ne_bytes());
            }
        };
        let carrier = core.wire.carrier() && self.carrier.load(Ordering::Relaxed);
        let host = Host { now_us: core.now_us, carrier, violations: &self.violations, interrupt: &interrupt };
        f(core, &host)
    }

    fn deliver_posted(&self, core: &mut Core) {
        if !self.has_posted.swap(false, Ordering::SeqCst) {
            return;
        }
        let mut arriving = std::mem::take(&mut core.arriving);
        std::mem::swap(&mut arriving, &mut relock(&self.posted));
        self.with_host(core, |core, host| {
            for write in arriving.drain(..) {
                core.write(host, write.bar, write.offset, write.width, write.value.into());
            }
        });
        core.arriving = arriving;
    }

    fn step_at(&self, core: &mut Core, now_us: u64) -> bool {
        core.now_us = core.now_us.max(now_us);
        self.deliver_posted(core);
        let busy = self.with_host(core, |core, host| {
            let memory = self.iommu.hold();
            let dma = memory.device(core.model.is_bus_master(), &self.violations);
            core.model.step(host, &dma, &mut *core.wire)
        });
        busy || self.has_posted.load(Ordering::Relaxed)
    }

    /// One step in the caller's thread; the card's clock advances by `us`.
    pub(crate) fn step(&self, us: u64) -> bool {
        let mut core = relock(&self.core);
        let now_us = core.now_us + us;
        self.step_at(&mut core, now_us)
    }

    pub(crate) fn is_live(&self) -> bool {
        self.live.load(Ordering::Relaxed)
    }

    fn run(&self) {
        let base_us = relock(&self.core).now_us;
        let start = Instant::now();
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
    fn decodes_memory(&mut self, host: &Host<'_>) -> bool {
        self.model.config_read(host, COMMAND, 2) & u32::from(COMMAND_MEMORY) != 0
    }

    pub(crate) fn write(&mut self, host: &Host<'_>, bar: u8, offset: u32, width: u8, value: u64) {
        if self.decodes_memory(host) {
            self.model.bar_write(host, bar, offset, width, value);
        }
    }

    pub(crate) fn read(&mut self, host: &Host<'_>, bar: u8, offset: u32, width: u8) -> u64 {
        if self.decodes_memory(host) { self.model.bar_read(host, bar, offset, width) } else { u64::MAX }
    }
}

/// A model in this process, with its wire and its IOMMU. Cloning gives another handle to the same device.
///
/// As made it stands still: [`SimDevice::step`] moves it in the caller's thread, deterministically; [`SimDevice::run`] moves it on a thread of its own.
#[derive(Clone)]
pub struct SimDevice {
    shared: Arc<Shared>,
}

impl fmt::Debug for SimDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimDevice({})", self.shared.name)
    }
}

impl SimDevice {
    /// A device that a person calls `name`. Devices with the same `iommu` share one DMA domain.
    ///
    /// # Panics
    /// Where the process may open no more file descriptors (each device takes one for each interrupt vector, and one more).
    pub fn new(name: &str, mut model: Box<dyn Model>, wire: Box<dyn Wire>, iommu: Arc<Iommu>) -> Self {
        let event = || eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).expect("an eventfd: raise the limit of open files (ulimit -n)");
        let vectors = (0..model.msix().count()).map(|_| event()).collect();
        let shared = Shared {
            name: name.into(),
            domain: iommu.domain(),
            iommu,
            core: Mutex::new(Core { model, wire, now_us: 0, arriving: Vec::new() }),
            waiters: AtomicUsize::new(0),
            posted: Mutex::new(Vec::new()),
            has_posted: AtomicBool::new(false),
            violations: Violations::default(),
            carrier: AtomicBool::new(true),
            vectors,
            open_vectors: AtomicUsize::new(0),
            claimed: AtomicBool::new(false),
            has_reset: AtomicBool::new(true),
            kick: event(),
            sleeping: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            live: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The device's name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The function that a driver opens. Memory decoding is on, bus mastering is off, as a host leaves it for a user-space driver.
    ///
    /// # Panics
    /// Where it was given out before and is not gone yet, with its BARs and doorbells: two drivers of one card make it write where the other's frames are.
    pub fn function(&self) -> SimFunction {
        let function = SimFunction::claim(Arc::clone(&self.shared));
        function.unwrap_or_else(|| panic!("{} has a driver: drop its function, its control handle and its queues first", self.name()))
    }

    /// One more function beside the one that a driver has, for tests that look at registers and misuse them. As any function it forbids DMA when it is
    /// dropped.
    ///
    /// # Safety
    /// What is done with it makes the card access no memory but what is lent to it, and keeps it from none that a driver was told of: nobody opens it with a
    /// driver while another one has buffers in the card's hands.
    pub unsafe fn another_function(&self) -> SimFunction {
        SimFunction::beside(Arc::clone(&self.shared))
    }

    /// The memory that the device reaches.
    pub fn dma(&self) -> &DmaDomain {
        &self.shared.domain
    }

    /// One step in the caller's thread; the card's clock advances by a microsecond. Returns whether the card did something.
    pub fn step(&self) -> bool {
        self.shared.step(1)
    }

    /// Advances the card's clock by `us` and makes one step. Returns whether the card did something.
    pub fn advance_us(&self, us: u64) -> bool {
        self.shared.step(us)
    }

    /// Steps until the card has nothing to do, at most `limit` times. Returns the number of steps made.
    pub fn settle(&self, limit: usize) -> usize {
        (0..limit).find(|_| !self.step()).map_or(limit, |made| made + 1)
    }

    /// Moves the device on a thread of its own until the returned handle is stopped or dropped.
    ///
    /// # Panics
    /// Where the device runs already, or the process may start no thread.
    pub fn run(&self) -> Live {
        assert!(!self.shared.live.swap(true, Ordering::SeqCst), "{} runs already: stop the handle that its first run() gave", self.name());
        self.shared.stop.store(false, Ordering::SeqCst);
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name(self.name().into()).spawn(move || shared.run()).expect("a thread for the simulated device");
        Live { shared: Arc::clone(&self.shared), thread: Some(thread) }
    }

    /// What the driver did that the datasheet forbids, oldest first; a bounded number is kept.
    pub fn violations(&self) -> Vec<Violation> {
        self.shared.access(|_, _| ());
        self.shared.violations.to_vec()
    }

    /// Takes the violations seen so far: for tests that provoke one.
    pub fn take_violations(&self) -> Vec<Violation> {
        self.shared.access(|_, _| ());
        self.shared.violations.take()
    }

    /// Pulls the cable, or plugs it in. The card notices with its next step.
    pub fn set_carrier(&self, on: bool) {
        self.shared.carrier.store(on, Ordering::Relaxed);
        self.shared.wake();
    }

    /// Whether the wire will never deliver a frame any more, and all that it delivered left the card.
    pub fn wire_finished(&self) -> bool {
        self.shared.access(|core, _| core.wire.is_finished() && !core.model.holds_frames())
    }

    /// The wire's first error so far, if any; see [`Wire::error`].
    pub fn wire_error(&self) -> Option<WireError> {
        self.shared.access(|core, _| core.wire.error())
    }

    /// Writes out what the wire buffers.
    ///
    /// # Errors
    /// [`WireError`]: the first error since the wire was made.
    pub fn flush_wire(&self) -> Result<(), WireError> {
        self.shared.access(|core, _| core.wire.flush())
    }

    /// The device's IOMMU.
    pub fn iommu(&self) -> &Arc<Iommu> {
        &self.shared.iommu
    }

    /// Whether a host can reset the function (function-level reset). It can, until told otherwise; there are cards that cannot be reset from outside.
    pub fn set_has_reset(&self, has_reset: bool) {
        self.shared.has_reset.store(has_reset, Ordering::Relaxed);
    }

    /// Runs `f` on the model, `None` where it is not an `M`: for tests, and for fault injection.
    pub fn with_model<M: Model, R>(&self, f: impl FnOnce(&mut M) -> R) -> Option<R> {
        self.shared.access(|core, _| {
            let model: &mut dyn Any = &mut *core.model;
            model.downcast_mut::<M>().map(f)
        })
    }
}

/// A device that moves on a thread of its own. Dropping it stops the thread and flushes the wire.
#[must_use = "the device stops when this handle is dropped"]
pub struct Live {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Live({})", self.shared.name)
    }
}

impl Live {
    /// Stops the thread and flushes the wire.
    ///
    /// # Errors
    /// [`WireError`]: the first error of the wire.
    pub fn stop(mut self) -> Result<(), WireError> {
        self.join()
    }

    fn join(&mut self) -> Result<(), WireError> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        self.shared.stop.store(true, Ordering::SeqCst);
        let _ = rustix::io::write(&self.shared.kick, &1u64.to_ne_bytes());
        let joined = thread.join();
        self.shared.live.store(false, Ordering::SeqCst);
        if joined.is_err() {
            log::error!("{}: the device's thread panicked", self.shared.name);
        }
        self.shared.access(|core, _| core.wire.flush())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Err(error) = self.join() {
            log::error!("{}: {error}", self.shared.name);
        }
    }
}
