//! Interrupt vectors: which one tells of what, and how they are handed out.

use alloc::vec::{self, Vec};
use core::fmt;
use core::iter::Flatten;

/// Which interrupt vector tells of what, for every driver: receive queue `i` has vector `i`, behind them each transmit queue has one, and the last one, the
/// control vector, tells of the link, of errors and of whatever else is no queue's.
///
/// Where a function has too few ([`VectorPlan::within`]), transmit queues go without: who waits for room looks again by time. A device that can tell of a
/// receive queue and of all else by one vector does with one less still: then whoever waits for the last queue is woken by a link that comes or goes as well,
/// and the control handle has no interrupt of its own.
///
/// ```
/// use driver_core::host::VectorPlan;
/// let plan = VectorPlan::new(2).with_tx(1);
/// assert_eq!((plan.rx(0), plan.rx(1), plan.rx(2)), (Some(0), Some(1), None));
/// assert_eq!((plan.tx(0), plan.tx(1)), (Some(2), None));
/// assert_eq!((plan.control(), plan.count()), (3, 4));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VectorPlan {
    /// With those of the transmit queues at most [`MOST_QUEUES`], so that the control vector and the count are numbers of 16 bits too.
    rx_queues: u16,
    /// Transmit queues that have a vector: all of them, or none.
    tx_queues: u16,
    /// The control vector is that of the last receive queue.
    shares_control: bool,
}

/// More queues than any function has vectors for (MSI-X: 2048).
const MOST_QUEUES: u16 = u16::MAX - 1;

impl VectorPlan {
    /// The plan for a device with so many receive queues, of which no transmit queue has a vector. More than 65534 count as 65534: no function has as many
    /// vectors.
    pub const fn new(rx_queues: u16) -> Self {
        Self { rx_queues: if rx_queues < MOST_QUEUES { rx_queues } else { MOST_QUEUES }, tx_queues: 0, shares_control: false }
    }

    /// The same with a vector for each of so many transmit queues. As many as there are numbers left.
    pub const fn with_tx(self, tx_queues: u16) -> Self {
        let left = MOST_QUEUES - self.rx_queues;
        Self { tx_queues: if tx_queues < left { tx_queues } else { left }, ..self }
    }

    /// The plan for a function with `available` vectors and a device that may tell of a receive queue and of all else by one: this plan where they are enough;
    /// else the same without vectors of transmit queues; where one is missing still, with a control vector that is the last receive queue's too. `None` where
    /// they are fewer than that.
    ///
    /// ```
    /// use driver_core::host::VectorPlan;
    /// let plan = VectorPlan::new(1).with_tx(1);
    /// assert_eq!(plan.within(2), Some(VectorPlan::new(1)));
    /// let one = plan.within(1).unwrap();
    /// assert_eq!((one.rx(0), one.tx(0), one.control(), one.count()), (Some(0), None, 0, 1));
    /// assert_eq!(VectorPlan::new(2).within(1), None);
    /// ```
    pub const fn within(self, available: u16) -> Option<Self> {
        if available >= self.count() {
            return Some(self);
        }
        let without = Self { tx_queues: 0, ..self };
        match self.rx_queues {
            _ if available >= without.count() => Some(without),
            queues if queues > 0 && available >= queues => Some(Self { shares_control: true, ..without }),
            _ => None,
        }
    }

    /// How many vectors it takes: what [`PciFunction::enable_interrupts`](crate::host::PciFunction::enable_interrupts) is asked for.
    pub const fn count(self) -> u16 {
        let queues = self.rx_queues + self.tx_queues;
        if self.shares_control { queues } else { queues + 1 }
    }

    /// The vector of receive queue `queue`, `None` where the device has no such queue.
    pub const fn rx(self, queue: u16) -> Option<u16> {
        if queue < self.rx_queues { Some(queue) } else { None }
    }

    /// The vector of transmit queue `queue`, `None` where it has none.
    pub const fn tx(self, queue: u16) -> Option<u16> {
        if queue < self.tx_queues { Some(self.rx_queues + queue) } else { None }
    }

    /// The vectors of the receive queues, in the order of the queues.
    pub fn all_rx(self) -> impl Iterator<Item = u16> {
        0..self.rx_queues
    }

    /// The vectors of all queues, those of the receive queues first.
    pub fn all_queues(self) -> impl Iterator<Item = u16> {
        0..self.rx_queues + self.tx_queues
    }

    /// On which of `processors` a vector is best taken, by the number of its queue: the two of a pair on one, where the pair's thread runs. `None`: it is no
    /// queue's, or there are no processors.
    ///
    /// ```
    /// use driver_core::host::VectorPlan;
    /// let plan = VectorPlan::new(3).with_tx(3);
    /// assert_eq!([0, 1, 2, 3, 4, 5, 6].map(|vector| plan.processor(vector, 2)), [Some(0), Some(1), Some(0), Some(0), Some(1), Some(0), None]);
    /// ```
    pub const fn processor(self, vector: u16, processors: u16) -> Option<u16> {
        let queue = if vector < self.rx_queues { vector } else { vector - self.rx_queues };
        if processors > 0 && vector < self.rx_queues + self.tx_queues { Some(queue % processors) } else { None }
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

    /// The same vectors, each made into something else.
    pub fn map<J>(self, mut make: impl FnMut(I) -> J) -> Vectors<J> {
        Vectors { vectors: self.vectors.into_iter().map(|vector| vector.map(&mut make)).collect() }
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
    fn transmit_queues_have_vectors_behind_the_receive_queues_where_there_are_enough() {
        for (rx_queues, tx_queues) in [(1, 1), (2, 5), (16, 16)] {
            let (plan, bare) = (VectorPlan::new(rx_queues).with_tx(tx_queues), VectorPlan::new(rx_queues));
            assert_eq!((plan.count(), plan.control()), (rx_queues + tx_queues + 1, rx_queues + tx_queues));
            assert!((0..rx_queues).map(|queue| plan.rx(queue)).chain((0..tx_queues).map(|queue| plan.tx(queue))).eq(plan.all_queues().map(Some)));
            assert_eq!((plan.tx(tx_queues), bare.tx(0)), (None, None));
            assert_eq!((plan.within(plan.count()), plan.within(plan.count() - 1)), (Some(plan), Some(bare)));
            assert_eq!((plan.within(rx_queues + 1), plan.within(rx_queues)), (Some(bare), bare.within(rx_queues)));
        }
        let most = VectorPlan::new(u16::MAX).with_tx(u16::MAX);
        assert_eq!((most.count(), most.tx(0)), (u16::MAX, None));
        assert_eq!(VectorPlan::new(1).with_tx(u16::MAX).count(), u16::MAX);
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
