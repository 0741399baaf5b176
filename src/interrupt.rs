//! The interrupts of a started device by their descriptors, for event loops.

use std::any::Any;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

use driver_core::host::{self, PciError};

/// The interrupt of a queue or of a link, by its descriptor: for `epoll`, `poll`, and what stands on them.
///
/// The order in which nothing is lost: poll until nothing comes; [`arm`](crate::RxQueue::arm); where that says `true`, poll again; wait until the descriptor is
/// readable; [`acknowledge`](Interrupt::acknowledge); poll. For a transmit queue it is the same with [`TxQueue::arm`](crate::TxQueue::arm) and `submit`.
///
/// The descriptor is the vector's own: to be watched, and neither read, written nor set otherwise. An event loop that wants one to keep takes a duplicate
/// ([`BorrowedFd::try_clone_to_owned`]), which tells the same; the queue then stays free to be polled. It does not become readable when a device goes: watch
/// [`Port::events_fd`](crate::Port::events_fd) as well, or call [`Port::event`](crate::Port::event) a few times a second.
///
/// ```
/// use std::os::fd::AsFd;
///
/// use barewire::{Batch, Config, Interrupt};
/// use rustix::event::{PollFd, PollFlags, Timespec, poll};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut port = barewire::open("sim:ixgbe")?.start(&Config::new().interrupts(true))?;
/// let (mut rx, _tx) = port.take_queues().expect("a started port has queues");
/// // What an event loop registers once, such as tokio's `AsyncFd`.
/// let readable = Interrupt::of(rx.interrupt().expect("it was asked for")).expect("the hosts here have descriptors").as_fd().try_clone_to_owned()?;
///
/// let mut batch = Batch::new(64);
/// let some_time = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
/// for _ in 0..3 {
///     while rx.poll(&mut batch, 64) > 0 || rx.arm() {
///         batch.clear(); // here the frames are used
///     }
///     if poll(&mut [PollFd::new(&readable, PollFlags::IN)], Some(&some_time))? > 0 {
///         Interrupt::of(rx.interrupt().expect("as above")).expect("as above").acknowledge()?;
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Interrupt<'a>(Kind<'a>);

enum Kind<'a> {
    #[cfg(feature = "sim")]
    Sim(&'a mut sim::SimInterrupt),
    #[cfg(feature = "vfio")]
    Vfio(&'a mut vfio::VfioInterrupt),
}

impl<'a> Interrupt<'a> {
    /// Of what [`RxQueue::interrupt`](crate::RxQueue::interrupt), [`TxQueue::interrupt`](crate::TxQueue::interrupt) or
    /// [`NetDevice::link_interrupt`](crate::NetDevice::link_interrupt) gave. `None`: it is that of another host than those of this crate.
    pub fn of(interrupt: &'a mut dyn host::Interrupt) -> Option<Self> {
        let any: &'a mut dyn Any = interrupt;
        #[cfg(feature = "sim")]
        if any.is::<sim::SimInterrupt>() {
            return any.downcast_mut().map(Kind::Sim).map(Self);
        }
        #[cfg(feature = "vfio")]
        if any.is::<vfio::VfioInterrupt>() {
            return any.downcast_mut().map(Kind::Vfio).map(Self);
        }
        None
    }

    /// Takes what fired, so that the descriptor is readable no more until the vector fires again. Returns how often it fired. To be called before the queue is
    /// looked at, and never between that look and the next wait: what fires in between would be forgotten.
    ///
    /// # Errors
    /// [`PciError`]: the function is gone.
    pub fn acknowledge(&mut self) -> Result<u64, PciError> {
        use host::Interrupt as _;
        match &mut self.0 {
            #[cfg(feature = "sim")]
            Kind::Sim(interrupt) => interrupt.wait(Some(0)),
            #[cfg(feature = "vfio")]
            Kind::Vfio(interrupt) => interrupt.wait(Some(0)),
        }
    }
}

impl AsFd for Interrupt<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            #[cfg(feature = "sim")]
            Kind::Sim(interrupt) => interrupt.as_fd(),
            #[cfg(feature = "vfio")]
            Kind::Vfio(interrupt) => interrupt.as_fd(),
        }
    }
}

impl fmt::Debug for Interrupt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Interrupt({:?})", self.as_fd())
    }
}
