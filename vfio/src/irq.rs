//! Interrupt vectors and device events as event descriptors.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use driver_core::host::{Interrupt, PciError, PciErrorKind, WaitWaker};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll, eventfd, poll};
use rustix::io::{Errno, ReadWriteFlags, preadv2, read, retry_on_intr};
use vfio_bindings::bindings::vfio::{VFIO_PCI_ERR_IRQ_INDEX, VFIO_PCI_REQ_IRQ_INDEX};

use crate::ioctl;
use crate::mapper::Device;

/// A new event descriptor, not blocking, closed on exec.
pub(crate) fn event() -> io::Result<OwnedFd> {
    Ok(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?)
}

/// Takes what is pending: how often the event was raised. Never waits: a vfio-user server has the descriptor too, and may have turned `O_NONBLOCK` off.
fn take(fd: &OwnedFd) -> io::Result<u64> {
    let mut count = [0; 8];
    let nowhere = u64::MAX;
    let taken = match retry_on_intr(|| preadv2(fd, &mut [IoSliceMut::new(&mut count)], nowhere, ReadWriteFlags::NOWAIT)) {
        // Linux before 5.8 knows no such read of an event. There the flag is trusted.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => retry_on_intr(|| read(fd, &mut count)),
        other => other,
    };
    match taken {
        Ok(_) => Ok(u64::from_ne_bytes(count)),
        Err(Errno::AGAIN) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// Something that happened to the device and not to one of its queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The device reported an error that it does not recover from by itself (PCI Express AER). Reset it, or give it up.
    Failed,
    /// The host wants the device back: unplugged, or its driver unbound. Drop the function soon; the host waits for it.
    RemovalRequested,
    /// The vfio-user server went away, and the device with it. Drop the function, and open it anew when the server is back.
    Gone,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failed => "the device reported a fatal error",
            Self::RemovalRequested => "the host asks for the device back (unplugged, or its driver is being unbound)",
            Self::Gone => "the vfio-user server that serves the device is gone",
        })
    }
}

/// The events of one function. Clones see the same ones; an event stays until a reset took its reason away.
#[derive(Debug, Clone)]
pub struct Events(Arc<EventFds>);

#[derive(Debug)]
struct EventFds {
    name: String,
    failed: OwnedFd,
    requested: OwnedFd,
    /// Of this process alone. The other two a vfio-user server has as well: it could take from them what it must not, and fill them so that raising waits.
    gone: OwnedFd,
    /// Readable when one of the three is.
    any: OwnedFd,
}

impl Events {
    /// Turns on what the device has of the error and request interrupts.
    pub(crate) fn listen(device: &Device) -> io::Result<Self> {
        let events = Self::of_server(&device.address().to_string())?;
        for (index, fd) in events.interrupts() {
            // The error interrupt exists on PCI Express functions alone.
            let has = ioctl::irq_info(device.fd(), index).is_ok_and(|info| info.count > 0);
            if has && let Err(error) = ioctl::set_irqs(device.fd(), index, &[fd]) {
                log::warn!("{}: event interrupt {index} cannot be turned on: {error}", device.address());
            }
        }
        Ok(events)
    }

    /// Events that nothing raises yet.
    pub(crate) fn of_server(name: &str) -> io::Result<Self> {
        let (failed, requested, gone) = (event()?, event()?, event()?);
        let any = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for fd in [&failed, &requested, &gone] {
            epoll::add(&any, fd, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
        }
        Ok(Self(Arc::new(EventFds { name: name.into(), failed, requested, gone, any })))
    }

    /// The interrupts of a device that raise events, each with its descriptor.
    pub(crate) fn interrupts(&self) -> [(u32, BorrowedFd<'_>); 2] {
        [(VFIO_PCI_ERR_IRQ_INDEX, self.0.failed.as_fd()), (VFIO_PCI_REQ_IRQ_INDEX, self.0.requested.as_fd())]
    }

    /// The device does not come back.
    pub(crate) fn raise_gone(&self) {
        if let Err(error) = rustix::io::write(&self.0.gone, &1u64.to_ne_bytes()) {
            log::debug!("{}: {error}", self.0.name);
        }
    }

    /// What has happened, the gravest first.
    pub fn pending(&self) -> Option<Event> {
        self.look().unwrap_or(None)
    }

    fn look(&self) -> io::Result<Option<Event>> {
        let EventFds { failed, requested, gone, .. } = &*self.0;
        Ok(match ready([gone.as_fd(), requested.as_fd(), failed.as_fd()], end_of(Some(0)))? {
            [true, ..] => Some(Event::Gone),
            [_, true, _] => Some(Event::RemovalRequested),
            [.., true] => Some(Event::Failed),
            _ => None,
        })
    }

    /// Waits until something happens, at most `timeout_us` (`None`: without limit).
    ///
    /// # Errors
    /// [`PciError`] where the system cannot wait.
    pub fn wait(&self, timeout_us: Option<u64>) -> Result<Option<Event>, PciError> {
        let until = end_of(timeout_us);
        let failed = |error| host(&self.0.name, "waiting for an event", &error);
        loop {
            ready([self.0.any.as_fd()], until).map_err(failed)?;
            let event = self.look().map_err(failed)?;
            // A vfio-user server may have taken back what it raised: that ends no wait.
            if event.is_some() || is_over(until) {
                return Ok(event);
            }
        }
    }

    /// Forgets an error, after a reset.
    pub(crate) fn clear_failed(&self) {
        if let Err(error) = take(&self.0.failed) {
            log::debug!("{}: {error}", self.0.name);
        }
    }
}

impl AsFd for Events {
    /// Readable while an event is pending.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.any.as_fd()
    }
}

fn host(name: &str, tried: &str, error: &io::Error) -> PciError {
    PciError::new(name, tried, PciErrorKind::Host(error.to_string()))
}

/// When a wait of so many microseconds is over; `None`: never.
fn end_of(timeout_us: Option<u64>) -> Option<Instant> {
    timeout_us.map(|us| Instant::now() + Duration::from_micros(us))
}

fn is_over(until: Option<Instant>) -> bool {
    until.is_some_and(|until| until <= Instant::now())
}

/// Waits until one of the descriptors is readable or has ended, and says which; none where the time was over.
pub(crate) fn ready<const N: usize>(fds: [BorrowedFd<'_>; N], until: Option<Instant>) -> io::Result<[bool; N]> {
    poll_until(fds, PollFlags::IN, until)
}

/// Waits until a socket takes more, or has ended. `false`: the time was over.
pub(crate) fn has_room(socket: BorrowedFd<'_>, until: Instant) -> io::Result<bool> {
    poll_until([socket], PollFlags::OUT, Some(until)).map(|[has_room]| has_room)
}

fn poll_until<const N: usize>(fds: [BorrowedFd<'_>; N], flags: PollFlags, until: Option<Instant>) -> io::Result<[bool; N]> {
    loop {
        let mut polled = fds.map(|fd| PollFd::from_borrowed_fd(fd, flags));
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let left = left.map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() });
        match poll(&mut polled, left.as_ref()) {
            Ok(_) => return Ok(polled.map(|fd| !fd.revents().is_empty())),
            // A signal: the time that is left is waited for again.
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// One MSI-X or MSI vector.
#[derive(Debug)]
pub struct VfioInterrupt {
    fired: OwnedFd,
    events: Events,
    waker: Option<Arc<EventWaker>>,
}

impl VfioInterrupt {
    pub(crate) fn new(events: Events) -> io::Result<Self> {
        Ok(Self { fired: event()?, events, waker: None })
    }
}

impl AsFd for VfioInterrupt {
    /// Readable when the vector fired, until [`Interrupt::wait`] took that. To be watched, and neither read nor written to. It does not become readable when the
    /// device goes: watch [`Events`] as well.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fired.as_fd()
    }
}

impl Interrupt for VfioInterrupt {
    /// As the trait says; a device that failed or is wanted back ends the wait with [`PciErrorKind::Gone`].
    fn wait(&mut self, timeout_us: Option<u64>) -> Result<u64, PciError> {
        let name = &self.events.0.name;
        let until = end_of(timeout_us);
        let failed = |error| host(name, "waiting for an interrupt", &error);
        loop {
            let waker = self.waker.as_ref().map_or(self.fired.as_fd(), |waker| waker.0.as_fd());
            let [fired, happened, woken] = ready([self.fired.as_fd(), self.events.as_fd(), waker], until).map_err(failed)?;
            if happened && self.events.look().map_err(failed)?.is_some() {
                return Err(PciError::new(name, "waiting for an interrupt", PciErrorKind::Gone));
            }
            let taken = |event| take(event).map_err(|error| host(name, "taking an interrupt", &error));
            let count = if fired { taken(&self.fired)? } else { 0 };
            let woken = match &self.waker {
                Some(waker) if woken => taken(&waker.0)? > 0,
                _ => false,
            };
            // As with events: what was taken back ends no wait.
            if woken || count > 0 || is_over(until) {
                return Ok(count);
            }
        }
    }

    fn waker(&mut self) -> Result<Option<Arc<dyn WaitWaker>>, PciError> {
        let waker = match &self.waker {
            Some(waker) => waker,
            None => {
                let event = event().map_err(|error| host(&self.events.0.name, "making a descriptor that ends waits", &error))?;
                self.waker.insert(Arc::new(EventWaker(event)))
            }
        };
        Ok(Some(waker.clone()))
    }
}

/// Ends the waits of one vector. An event of this process alone: that of the vector a vfio-user server has as well, and could fill so that writing to it waits.
#[derive(Debug)]
struct EventWaker(OwnedFd);

impl WaitWaker for EventWaker {
    fn wake(&self) {
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raise(fd: &OwnedFd) {
        rustix::io::write(fd, &1u64.to_ne_bytes()).unwrap();
    }

    fn interrupt() -> VfioInterrupt {
        let null = std::fs::File::open("/dev/null").unwrap();
        let device = Device::made_up(null.into(), "01:00.0".parse().unwrap());
        VfioInterrupt::new(Events::listen(&device).unwrap()).unwrap()
    }

    #[test]
    fn nothing_is_taken_at_once_where_the_descriptor_blocks() {
        let (sender, taken) = std::sync::mpsc::channel();
        let blocking = Arc::new(eventfd(0, EventfdFlags::CLOEXEC).unwrap());
        let fd = Arc::clone(&blocking);
        std::thread::spawn(move || sender.send(take(&fd).unwrap()));
        assert_eq!(taken.recv_timeout(Duration::from_secs(30)), Ok(0));
        raise(&blocking);
        assert_eq!(take(&blocking).unwrap(), 1);
    }

    #[test]
    fn a_wait_counts_and_takes_what_fired() {
        let mut interrupt = interrupt();
        assert_eq!(interrupt.wait(Some(0)), Ok(0));
        raise(&interrupt.fired);
        raise(&interrupt.fired);
        assert_eq!(interrupt.wait(None), Ok(2));
        let before = Instant::now();
        assert_eq!(interrupt.wait(Some(20_000)), Ok(0));
        assert!(before.elapsed() >= Duration::from_millis(20));
    }

    #[test]
    fn a_wait_is_ended_from_elsewhere_and_what_fired_is_told() {
        let mut interrupt = interrupt();
        let waker = interrupt.waker().unwrap().unwrap();
        // Before the wait: however often, it ends one.
        waker.wake();
        waker.wake();
        assert_eq!((interrupt.wait(None), interrupt.wait(Some(1000))), (Ok(0), Ok(0)));
        // Beside the vector: what fired is not lost.
        raise(&interrupt.fired);
        interrupt.waker().unwrap().unwrap().wake();
        assert_eq!((interrupt.wait(None), interrupt.wait(Some(0))), (Ok(1), Ok(0)));
        // During the wait.
        let begun = Instant::now();
        let waiter = std::thread::spawn(move || interrupt.wait(Some(60_000_000)));
        std::thread::sleep(Duration::from_millis(20));
        waker.wake();
        assert_eq!(waiter.join().unwrap(), Ok(0));
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_device_that_goes_ends_every_wait() {
        let mut interrupt = interrupt();
        let events = interrupt.events.clone();
        assert_eq!(events.pending(), None);
        assert_eq!(events.wait(Some(1000)), Ok(None));
        let waiter = std::thread::spawn(move || interrupt.wait(Some(10_000_000)));
        raise(&events.0.requested);
        assert_eq!(waiter.join().unwrap().unwrap_err().kind, PciErrorKind::Gone);
        assert_eq!(events.wait(None), Ok(Some(Event::RemovalRequested)));
    }

    #[test]
    fn a_server_that_goes_is_gone_for_good() {
        let events = Events::of_server("vfio-user:x").unwrap();
        let mut interrupt = VfioInterrupt::new(events.clone()).unwrap();
        assert_eq!(events.pending(), None);
        events.raise_gone();
        events.clear_failed();
        assert_eq!((events.pending(), events.wait(None)), (Some(Event::Gone), Ok(Some(Event::Gone))));
        let error = interrupt.wait(None).unwrap_err();
        assert_eq!((error.function.as_str(), error.kind), ("vfio-user:x", PciErrorKind::Gone));
    }

    #[test]
    fn an_error_lasts_until_it_is_cleared_by_a_reset() {
        let mut interrupt = interrupt();
        raise(&interrupt.events.0.failed);
        assert_eq!(interrupt.events.pending(), Some(Event::Failed));
        assert!(interrupt.wait(Some(0)).is_err() && interrupt.wait(Some(0)).is_err());
        interrupt.events.clear_failed();
        assert_eq!(interrupt.wait(Some(0)), Ok(0));
    }
}
