//! Whether there is a link (4.6.4).

use alloc::string::{String, ToString};

use driver_core::device::Flaw;
use driver_core::host::Bar;

use crate::card::Card;

/// How often the link is looked at, in microseconds.
const EVERY_US: u64 = 10_000;

impl<B: Bar> Card<B> {
    /// Starts the link of a card that was reset, and waits for it for at most `limit_us`.
    pub(super) fn test_link(&mut self, limit_us: u64) -> Result<String, Flaw> {
        self.start_link(self.model.link_speeds())?;
        let begun_us = self.clock.now_us();
        let mut slept_us = 0;
        loop {
            let link = self.link();
            if link.up {
                return Ok(link.to_string());
            }
            let waited_us = self.clock.now_us().saturating_sub(begun_us).max(slept_us);
            if waited_us >= limit_us {
                return Err(Flaw::NoLink { report: self.link_report()?, waited_us });
            }
            let pause_us = EVERY_US.min(limit_us - waited_us);
            self.clock.sleep_us(pause_us);
            slept_us += pause_us;
        }
    }
}
