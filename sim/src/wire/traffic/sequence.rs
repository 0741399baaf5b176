//! The order in which numbered frames arrive.

use std::collections::VecDeque;

/// Gaps that are remembered. A frame that fills an older one counts as arriving again.
const MAX_GAPS: usize = 1024;

/// What an arriving number means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// The one expected.
    Next,
    /// Later than expected: this many before it are missing.
    Ahead(u64),
    /// Was missing.
    Late,
    /// Has arrived before.
    Again,
}

/// Which numbers have arrived. Costs one comparison while they arrive in order.
#[derive(Debug)]
pub(super) struct Sequence {
    expected: u64,
    /// Numbers below `expected` that have not arrived: first and end, in order, never touching.
    gaps: VecDeque<(u64, u64)>,
}

impl Sequence {
    pub(super) fn new() -> Self {
        Self { expected: 0, gaps: VecDeque::with_capacity(MAX_GAPS + 1) }
    }

    #[inline]
    pub(super) fn arrived(&mut self, number: u64) -> Order {
        if number == self.expected {
            self.expected += 1;
            return Order::Next;
        }
        self.out_of_order(number)
    }

    #[cold]
    fn out_of_order(&mut self, number: u64) -> Order {
        if number > self.expected {
            let skipped = number - self.expected;
            self.gaps.push_back((self.expected, number));
            self.expected = number.saturating_add(1);
            self.forget_oldest();
            return Order::Ahead(skipped);
        }
        let at = self.gaps.partition_point(|&(_, end)| end <= number);
        let Some(&(first, end)) = self.gaps.get(at).filter(|&&(first, _)| first <= number) else { return Order::Again };
        self.gaps.remove(at);
        if number + 1 < end {
            self.gaps.insert(at, (number + 1, end));
        }
        if first < number {
            self.gaps.insert(at, (first, number));
        }
        self.forget_oldest();
        Order::Late
    }

    fn forget_oldest(&mut self) {
        if self.gaps.len() > MAX_GAPS {
            self.gaps.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn in_order_ahead_late_and_again() {
        let mut sequence = Sequence::new();
        let orders = [0, 1, 5, 3, 3, 2, 4, 4, 6, 0].map(|number| sequence.arrived(number));
        use Order::{Again, Ahead, Late, Next};
        assert_eq!(orders, [Next, Next, Ahead(3), Late, Again, Late, Late, Again, Next, Again]);
    }

    #[test]
    fn more_gaps_than_are_remembered() {
        let mut sequence = Sequence::new();
        let skipped = (0..2 * MAX_GAPS as u64).map(|n| sequence.arrived(2 * n + 1)).filter(|order| *order == Order::Ahead(1)).count();
        assert_eq!(skipped, 2 * MAX_GAPS);
        assert_eq!(sequence.gaps.len(), MAX_GAPS);
        assert_eq!(sequence.arrived(0), Order::Again, "forgotten");
        assert_eq!(sequence.arrived(4 * MAX_GAPS as u64 - 2), Order::Late);
    }

    proptest! {
        #[test]
        fn agrees_with_a_set_of_all_numbers(numbers in proptest::collection::vec(0u64..300, 0..400)) {
            let (mut sequence, mut arrived, mut top) = (Sequence::new(), HashSet::new(), 0);
            for number in numbers {
                let order = match (arrived.insert(number), number) {
                    (false, _) => Order::Again,
                    (true, n) if n == top => Order::Next,
                    (true, n) if n > top => Order::Ahead(n - top),
                    (true, _) => Order::Late,
                };
                top = top.max(number + 1);
                prop_assert_eq!(sequence.arrived(number), order);
            }
        }
    }
}
