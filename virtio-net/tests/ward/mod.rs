//! A device with one program on one thread, which polls its queues, looks at the device ten times a second, and expects it to work again when it failed.
#![allow(unreachable_pub)]

use driver_core::buf::Batch;
use driver_core::device::{Config, DeviceState, NetDevice, Recovered, TxConfig};
use driver_core::host::Clock;
use driver_core::queue::{RxQueue, TxQueue, TxState};
use sim::{Mishap, Model as _};

use super::rig::{Parts, Rig, numbered, small};

/// For how long a transmit queue may stand still: shorter than usual, since simulated time passes step by step.
const HANG_US: u64 = 300_000;
/// How often the program looks at the device.
pub const WATCH_US: u64 = 100_000;

/// How these tests start their devices.
pub fn config() -> Config {
    small().tx(TxConfig::new().ring(64).timeout_us(HANG_US))
}

/// A program on one thread, which looks at its device ten times a second.
pub struct Ward {
    pub rig: Rig,
    pub parts: Parts,
    watch_us: u64,
}

impl Ward {
    pub fn new(config: &Config) -> Self {
        let rig = Rig::new();
        let parts = rig.parts(config);
        Self::of(rig, parts)
    }

    pub fn of(rig: Rig, parts: Parts) -> Self {
        Self { rig, parts, watch_us: 0 }
    }

    pub fn suffer(&self, mishap: Mishap) {
        assert!(self.rig.model(|model| model.suffer(mishap)));
    }

    /// Half a millisecond. Returns how many frames came.
    pub fn turn(&mut self) -> usize {
        self.rig.run_us(500);
        let came = self.parts.receive().len();
        self.parts.tx.reclaim();
        assert_eq!((self.parts.rx.fault(), self.parts.tx.fault()), (None, None), "queues pause, and are not told a fault");
        if self.rig.clock.now_us() >= self.watch_us {
            self.watch_us = self.rig.clock.now_us() + WATCH_US;
            self.parts.control.watch();
        }
        came
    }

    pub fn submit(&mut self, count: u64) {
        let mut batch = Batch::new(64);
        for number in 0..count {
            batch.push(self.parts.pool.frame_from(&numbered(number as _, 60)).unwrap()).unwrap();
        }
        let state = self.parts.tx.submit(&mut batch);
        assert!(matches!(state, TxState::Running) && batch.is_empty(), "{state:?}");
    }

    pub fn until_recovered(&mut self) -> Recovered {
        let begun_us = self.rig.clock.now_us();
        loop {
            self.turn();
            if let Some(recovered) = self.parts.control.recovered() {
                assert_eq!(self.parts.control.state(), DeviceState::Running);
                return recovered;
            }
            assert!(self.rig.clock.now_us() - begun_us < 5_000_000, "it takes for ever: {}", self.parts.control.state());
        }
    }

    /// A frame goes in, and one out.
    pub fn exchange(&mut self) {
        drop(self.rig.arrived());
        self.rig.send(&numbered(7, 60));
        self.submit(1);
        let (mut came, mut went) = (0, 0);
        for _ in 0..10 {
            came += self.turn();
            went += self.rig.arrived().len();
        }
        assert_eq!((came, went), (1, 1), "traffic");
    }

    pub fn ends(self) {
        let Self { rig, parts, .. } = self;
        let pool = parts.pool.clone();
        let Parts { mut control, rx, tx, pool: own } = parts;
        control.stop().unwrap();
        drop((rx, tx, own));
        control.accounts().check().unwrap();
        drop(control);
        assert_eq!(pool.available(), pool.len(), "every buffer is back");
        rig.assert_clean();
    }
}
