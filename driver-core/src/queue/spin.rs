//! How long a poller goes on polling before it sleeps.

/// How often a [`Poller`](crate::queue::Poller) polls an empty queue again before it arms the interrupt and sleeps. A sleep costs two changes of context and the interrupt;
/// where the next frame comes sooner than that takes, polling on is cheaper and answers at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Spin {
    /// Never: it sleeps where nothing is there.
    #[default]
    Never,
    /// So many times.
    Polls(u32),
    /// As often as has paid: twice as often where a frame came meanwhile, half as often where none did, but never more than so many times.
    Adaptive {
        /// The most times.
        most: u32,
    },
}

/// The fewest polls that [`Spin::Adaptive`] tries: else it would never find out that spinning pays again.
const LEAST: u32 = 8;

/// A [`Spin`] at work.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spinning {
    /// How often to poll again, the next time.
    polls: u32,
    /// `None`: always as often.
    most: Option<u32>,
}

impl Spinning {
    pub(super) fn new(spin: Spin) -> Self {
        match spin {
            Spin::Never => Self::default(),
            Spin::Polls(polls) => Self { polls, most: None },
            Spin::Adaptive { most } => Self { polls: LEAST.min(most), most: Some(most) },
        }
    }

    pub(super) fn polls(self) -> u32 {
        self.polls
    }

    /// A frame came while it span.
    pub(super) fn found(&mut self) {
        if let Some(most) = self.most {
            self.polls = self.polls.saturating_mul(2).min(most);
        }
    }

    /// None did.
    pub(super) fn in_vain(&mut self) {
        if let Some(most) = self.most {
            self.polls = (self.polls / 2).max(LEAST.min(most));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_spins_as_long_as_it_pays() {
        let mut spin = Spinning::new(Spin::Adaptive { most: 100 });
        let mut polls = |found: bool| {
            if found {
                spin.found();
            } else {
                spin.in_vain();
            }
            spin.polls()
        };
        assert_eq!([true, true, true, true, true].map(&mut polls), [16, 32, 64, 100, 100]);
        assert_eq!([false, false, true, false, false, false, false].map(&mut polls), [50, 25, 50, 25, 12, 8, 8]);
    }

    #[test]
    fn what_is_fixed_stays_and_a_small_bound_holds() {
        for (spin, polls) in [(Spin::Never, 0), (Spin::Polls(5), 5), (Spin::Adaptive { most: 3 }, 3), (Spin::Adaptive { most: 0 }, 0)] {
            let mut spin = Spinning::new(spin);
            for found in [true, false, false, true] {
                assert_eq!(spin.polls(), polls);
                if found {
                    spin.found();
                } else {
                    spin.in_vain();
                }
            }
        }
    }
}
