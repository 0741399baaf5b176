//! Interrupt vectors: which one tells of what, and how they are handed out.

use alloc::vec::{self, Vec};
use core::fmt;
use core::iter::Flatten;

/// Which interrupt vector tells of what, for every driver: receive queue `i` has vector `i`, and the last one, the control vector, tells of the link, of errors
/// and of whatever else is no queue's. Transmit queues have none: whoever sends looks for what was sent when it sends again.
///
/// A device that can tell of a queue and of all else by one vector does with one less ([`VectorPlan::within`]): then whoever waits for the last queue is
/// woken by a link that comes or goes as well, and the control handle has no interrupt of its own.
///
/// ```
/// use driver_core::host::VectorPlan;
/// let plan = VectorPlan::new(2);
/// assert_eq!((plan.rx(0), plan.rx(1), plan.rx(2)), (Some(0), Some(1), None));
/// assert_eq!((plan.control(), plan.count()), (2, 3));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VectorPlan {
    /// At most [`MOST_RX_QUEUES`], so that the control vector and the count are numbers of 16 bits too.
    rx_queues: u16,
    /// The control vector is that of the last receive queue.
    shares_control: bool,
}

/// More queues than any function has vectors for (MSI-X: 2048).
const MOST_RX_QUEUES: u16 = u16::MAX - 1;

impl VectorPlan {
    /// The plan for a device with so many receive queues. More than 65534 count as 65534: no function has as many vectors.
    pub const fn new(rx_queues: u16) -> Self {
        Self { rx_queues: if rx_queues < MOST_RX_QUEUES { rx_queues } else { MOST_RX_QUEUES }, shares_control: false }
    }

    /// The plan for a function with `available` vectors and a device that may tell of a queue and of all else by one: this plan where they are enough; where
    /// one is missing, the same with a control vector that is the last receive queue's too. `None` where they are fewer still.
    ///
    /// ```
    /// use driver_core::host::VectorPlan;
    /// let one = VectorPlan::new(1).within(1).unwrap();
    /// assert_eq!((one.rx(0), one.control(), one.count()), (Some(0), 0, 1));
    /// assert_eq!(VectorPlan::new(2).within(1), None);
    /// ```
    pub const fn within(self, available: u16) -> Option<Self> {
        match self.rx_queues {
            _ if available >= self.count() => Some(self),
            queues if queues > 0 && available >= queues => Some(Self { shares_control: true, ..self }),
            _ => None,
        }
    }

    /// How many vectors it takes: what [`PciFunction::enable_interrupts`](crate::host::PciFunction::enable_interrupts) is asked for.
    pub const fn count(self) -> u16 {
        if self.shares_control { self.rx_queues } else { self.rx_queues + 1 }
    }

    /// The vector of receive queue `queue`, `None` where the device has no such queue.
    pub const fn rx(self, queue: u16) -> Option<u16> {
        if queue < self.rx_queues { Some(queue) } else { None }
    }

    /// The vectors of the receive queues, in the order of the queues.
    pub fn all_rx(self) -> impl Iterator<Item = u16> {
        0..self.rx_queues
    }

    /// The vector of everything that is no queue's.
    pub const fn control(self) -> u16 {
        self.count() - 1
    }
}

/// The interrupt vectors that a function turned on, to be taken out one by one: each goes to whoever waits for it.
///
/// A vector that nobody took goes with this.
///
/// ```
/// use driver_core::host::Vectors;
/// let mut vectors = Vectors::new(["queue", "control"]);
/// assert_eq!(vectors.take(1), Some("control"));
/// assert_eq!(vectors.take(1), None);
/// assert_eq!(vectors.take(0), Some("queue"));
/// ```
pub struct Vectors<I> {
    /// By number. `None`: taken out.
    vectors: Vec<Option<I>>,
}

impl<I> Vectors<I> {
    /// `vectors` in the order of their numbers, from 0 on.
    pub fn new(vectors: impl IntoIterator<Item = I>) -> Self {
        Self { vectors: vectors.into_iter().map(Some).collect() }
    }

    /// Takes a vector out; `None` where it was taken before or there is none of that number.
    pub fn take(&mut self, vector: u16) -> Option<I> {
        self.vectors.get_mut(usize::from(vector))?.take()
    }

    /// How many are left.
    pub fn left(&self) -> usize {
        self.vectors.iter().flatten().count()
    }
}

impl<I> Default for Vectors<I> {
    /// None at all, as for a device that is polled.
    fn default() -> Self {
        Self { vectors: Vec::new() }
    }
}

impl<I> IntoIterator for Vectors<I> {
    type Item = I;
    type IntoIter = VectorsIter<I>;

    /// Those that are left, in the order of their numbers.
    fn into_iter(self) -> VectorsIter<I> {
        VectorsIter(self.vectors.into_iter().flatten())
    }
}

impl<I> fmt::Debug for Vectors<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vectors({} of {} left)", self.left(), self.vectors.len())
    }
}

/// The vectors that were left, one after the other.
pub struct VectorsIter<I>(Flatten<vec::IntoIter<Option<I>>>);

impl<I> Iterator for VectorsIter<I> {
    type Item = I;

    fn next(&mut self) -> Option<I> {
        self.0.next()
    }
}

impl<I> fmt::Debug for VectorsIter<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VectorsIter").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_receive_queue_has_a_vector_and_the_last_one_is_for_the_rest() {
        for rx_queues in [0, 1, 16, 2047, u16::MAX - 1] {
            let plan = VectorPlan::new(rx_queues);
            assert_eq!(plan.count(), rx_queues + 1);
            assert_eq!(plan.control(), rx_queues);
            assert_eq!(plan.all_rx().size_hint(), (rx_queues.into(), Some(rx_queues.into())));
            assert!((0..rx_queues).take(20).map(|queue| plan.rx(queue)).eq(plan.all_rx().take(20).map(Some)));
            assert_eq!(plan.rx(rx_queues.wrapping_sub(1)), rx_queues.checked_sub(1));
            assert_eq!(plan.rx(rx_queues), None, "the control vector is no queue's");
        }
        assert_eq!(VectorPlan::new(u16::MAX), VectorPlan::new(u16::MAX - 1));
    }

    #[test]
    fn where_one_vector_is_missing_the_last_queue_shares_its_own() {
        for rx_queues in [1, 3, 2047] {
            let plan = VectorPlan::new(rx_queues);
            assert_eq!((plan.within(rx_queues + 1), plan.within(u16::MAX)), (Some(plan), Some(plan)));
            let shared = plan.within(rx_queues).unwrap();
            assert_eq!((shared.count(), Some(shared.control())), (rx_queues, shared.rx(rx_queues - 1)));
            assert!(shared.all_rx().eq(plan.all_rx()));
            assert_eq!((shared.within(rx_queues), plan.within(rx_queues - 1)), (Some(shared), None));
        }
        assert_eq!((VectorPlan::new(0).within(0), VectorPlan::new(0).within(1)), (None, Some(VectorPlan::new(0))));
    }

    #[test]
    fn a_vector_is_had_once_and_in_any_order() {
        let mut vectors = Vectors::new("abcd".chars());
        assert_eq!((vectors.take(3), vectors.take(1), vectors.left()), (Some('d'), Some('b'), 2));
        for none in [1, 3, 4, u16::MAX] {
            assert_eq!(vectors.take(none), None);
        }
        assert_eq!(vectors.into_iter().collect::<Vec<_>>(), ['a', 'c']);
        assert_eq!(Vectors::<char>::default().take(0), None);
    }
}
