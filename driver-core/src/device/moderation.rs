//! How far apart a queue's interrupts are: fixed, or by the rate of its frames.

/// How soon one interrupt of a queue may follow another. A queue that is busy is polled and needs none; this bounds how often one wakes that is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Moderation {
    /// By the rate of the queue's frames, as [`Pace`] finds it: soon where frames are few, so that none waits; in larger steps where each interrupt brings many.
    #[default]
    Adaptive,
    /// So many microseconds apart at least, rounded up to what the device can count; 0: as often as it has something to tell.
    Fixed {
        /// The interval in microseconds.
        us: u32,
    },
}

impl Moderation {
    /// The interval that queues begin with, in microseconds.
    pub const fn first_us(self) -> u32 {
        match self {
            Self::Adaptive => CLASSES[0].interval_us,
            Self::Fixed { us } => us,
        }
    }
}

/// How far apart interrupts are up to a rate.
struct Class {
    interval_us: u32,
    /// From so many frames a second on the next class is better.
    most_rate: u64,
}

/// Where frames come one by one every interrupt is a frame's, and there are no more than some ten thousand of them; a processor that is woken 20,000 times a second
/// has the better part of its time left; and from some hundred thousand frames on even 8,000 interrupts a second find dozens each.
const CLASSES: [Class; 3] =
    [Class { interval_us: 10, most_rate: 20_000 }, Class { interval_us: 50, most_rate: 200_000 }, Class { interval_us: 125, most_rate: u64::MAX }];
/// The rate is that of at least so long a time, in microseconds: within less, two frames that came together would count for a storm.
const WINDOW_US: u64 = 1_000;

/// Finds the interval between a receive queue's interrupts by the rate of its frames. To be asked whenever the queue is armed.
///
/// ```
/// use driver_core::device::Pace;
///
/// let mut pace = Pace::new(512);
/// assert_eq!(pace.interval_us(0, 0), 10);
/// // A hundred frames in 2 ms are 50,000 a second.
/// assert_eq!(pace.interval_us(100, 2_000), 50);
/// assert_eq!(pace.interval_us(101, 60_000), 10, "and few again");
/// ```
#[derive(Debug, Clone)]
pub struct Pace {
    /// Descriptors of the ring.
    ring: u32,
    /// The queue's frames, and the time, when the rate was found last.
    frames: u64,
    at_us: u64,
    class: usize,
    interval_us: u32,
}

impl Pace {
    /// For a queue with a ring of so many descriptors, which has received nothing yet.
    pub const fn new(ring: u32) -> Self {
        Self { ring, frames: 0, at_us: 0, class: 0, interval_us: CLASSES[0].interval_us }
    }

    /// The interval that is best now, in microseconds: `frames` came since the start, and it is `now_us`.
    pub fn interval_us(&mut self, frames: u64, now_us: u64) -> u32 {
        let elapsed_us = now_us.saturating_sub(self.at_us);
        if elapsed_us >= WINDOW_US {
            let rate = frames.saturating_sub(self.frames).saturating_mul(1_000_000) / elapsed_us;
            (self.frames, self.at_us) = (frames, now_us);
            self.follow(rate);
        }
        self.interval_us
    }

    fn follow(&mut self, rate: u64) {
        while rate > CLASSES[self.class].most_rate {
            self.class += 1;
        }
        // Down again somewhat below the place where it went up: a rate right there would change it each time.
        while self.class > 0 && rate < CLASSES[self.class - 1].most_rate * 3 / 4 {
            self.class -= 1;
        }
        // What comes meanwhile must not fill more than half of the ring.
        let half_ring_us = (u64::from(self.ring / 2) * 1_000_000).checked_div(rate).unwrap_or(u64::MAX);
        self.interval_us = u64::from(CLASSES[self.class].interval_us).min(half_ring_us) as u32;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The interval after frames at `rate` a second for `ms`, the queue being armed every 100 us.
    fn run(pace: &mut Pace, from: &mut (u64, u64), rate: u64, ms: u64) -> u32 {
        let (frames, start_us) = *from;
        let mut last = 0;
        for step in 1..=ms * 10 {
            *from = (frames + rate * step / 10_000, start_us + step * 100);
            last = pace.interval_us(from.0, from.1);
        }
        last
    }

    #[test]
    fn intervals_follow_the_rate_up_and_down() {
        let (mut pace, mut at) = (Pace::new(4096), (0, 0));
        let found = [100, 10_000, 50_000, 150_000, 1_000_000, 150_000, 100_000, 16_000, 14_000, 0].map(|rate| run(&mut pace, &mut at, rate, 5));
        assert_eq!(found, [10, 10, 50, 50, 125, 125, 50, 50, 10, 10], "on the way down each class is kept a little longer");
    }

    #[test]
    fn at_the_rate_of_the_line_half_a_ring_is_the_bound() {
        for (ring, interval) in [(64, 2), (512, 17), (4096, 125)] {
            assert_eq!(run(&mut Pace::new(ring), &mut (0, 0), 14_880_952, 5), interval, "{ring}");
        }
    }

    #[test]
    fn two_frames_together_are_no_storm() {
        let mut pace = Pace::new(512);
        pace.interval_us(0, 10_000);
        assert_eq!(pace.interval_us(30, 10_100), 10, "30 frames in 100 us, and no more");
        assert_eq!(pace.interval_us(30, 20_000), 10);
    }

    #[test]
    fn what_queues_begin_with() {
        assert_eq!([Moderation::default(), Moderation::Fixed { us: 0 }, Moderation::Fixed { us: 300 }].map(Moderation::first_us), [10, 0, 300]);
    }

    proptest! {
        #[test]
        fn whatever_it_is_told_the_interval_is_short_and_the_ring_has_room(ring in 1_u32..=32_768, told in proptest::collection::vec((any::<u64>(), any::<u64>()), 1..20)) {
            let mut pace = Pace::new(ring);
            for (frames, now_us) in told {
                prop_assert!(pace.interval_us(frames, now_us) <= 125);
            }
        }
    }
}
