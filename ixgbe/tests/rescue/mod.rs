//! A card with one program on one thread, which polls its queues, looks at the device ten times a second, and expects it to work again when it failed.
#![allow(unreachable_pub)]

use driver_core::buf::Batch;
use driver_core::device::{Config, DeviceState, NetDevice, Recovered, TxConfig};
use driver_core::host::Clock;
use driver_core::queue::{RxQueue, TxQueue, TxState};
use sim::Mishap;
use sim::ixgbe::Ixgbe as Model;

use crate::common::{Card, MAC, PEER, Started, frame};

/// For how long a transmit queue may stand still: shorter than usual, since simulated time passes step by step.
pub const HANG_US: u64 = 300_000;
/// How often the program looks at the device.
const WATCH_US: u64 = 100_000;
/// The most that a program does without traffic, from the moment when it was told what failed.
pub const WITHIN_US: u64 = 1_000_000;

/// How these tests start their cards.
pub fn config() -> Config {
    Config::new().tx(TxConfig::new().timeout_us(HANG_US))
}

/// A card with its program.
pub struct Ward {
    pub port: Started,
    pub card: Card,
    batch: Batch,
    watch_us: u64,
    /// Frames that came up.
    pub received: u64,
    /// Frames that the queues took.
    pub taken: u64,
}

impl Ward {
    /// An 82599, started.
    pub fn new(config: &Config) -> Self {
        Self::of(crate::common::I82599, config)
    }

    /// A card of this PCI device id, started.
    pub fn of(device: u16, config: &Config) -> Self {
        let card = Card::of(device);
        let port = card.start(config);
        Self { port, card, batch: Batch::new(256), watch_us: 0, received: 0, taken: 0 }
    }

    pub fn suffer(&self, mishap: Mishap) {
        // SAFETY: the mishaps make the card do less, and no test holds a reference to a frame's bytes over a step.
        assert!(unsafe { self.card.device.with_model(|model: &mut Model| sim::Model::suffer(model, mishap)) }.unwrap());
    }

    /// Half a millisecond of the program: every queue is called, and now and then the device is looked at.
    pub fn turn(&mut self) {
        self.card.run_us(500);
        for rx in &mut self.port.rx {
            self.received += rx.poll(&mut self.batch, 64) as u64;
            self.batch.clear();
            assert_eq!(rx.fault(), None, "queues pause, and are not told a fault");
        }
        for tx in &mut self.port.tx {
            tx.reclaim();
            assert_eq!(tx.fault(), None, "queues pause, and are not told a fault");
        }
        if self.card.clock.now_us() >= self.watch_us {
            self.watch_us = self.card.clock.now_us() + WATCH_US;
            self.port.control.watch();
        }
    }

    /// Frames for every transmit queue, `each` for one, until it takes no more.
    pub fn submit(&mut self, each: usize) {
        for tx in &mut self.port.tx {
            for _ in 0..each {
                self.batch.push(self.port.pool.frame_from(&frame(PEER, 60, 1)).unwrap()).unwrap();
            }
            let state = tx.submit(&mut self.batch);
            assert!(matches!(state, TxState::Running | TxState::Stopped), "{state:?}");
            self.taken += (each - self.batch.len()) as u64;
            self.batch.clear();
        }
    }

    /// The program goes on, with frames for the queues that pause, until the device has been recovered. Returns that, and how long it took from now on.
    pub fn until_recovered(&mut self) -> (Recovered, u64) {
        let begun_us = self.card.clock.now_us();
        loop {
            self.turn();
            let now_us = self.card.clock.now_us();
            if let Some(recovered) = self.port.control.recovered() {
                assert_eq!(self.port.control.state(), DeviceState::Running);
                return (recovered, now_us - begun_us);
            }
            let state = self.port.control.state();
            assert!(matches!(state, DeviceState::Running | DeviceState::Recovering { .. }), "{state}");
            assert!(now_us - begun_us < 20_000_000, "it takes for ever: {state}");
        }
    }

    pub fn wait_for_link(&mut self) {
        let begun_us = self.card.clock.now_us();
        while !self.port.control.link().up {
            self.turn();
            assert!(self.card.clock.now_us() - begun_us < WITHIN_US, "the link does not come up");
        }
    }

    /// A frame comes in, and out of every queue one goes.
    pub fn exchange(&mut self) {
        let begun_us = self.card.clock.now_us();
        self.wait_for_link();
        drop(self.card.arrived());
        let received = self.received;
        self.card.send(&frame(MAC, 60, 7));
        self.submit(1);
        let mut sent = 0;
        while self.received == received || sent < self.port.tx.len() {
            self.turn();
            sent += self.card.arrived().len();
            assert!(self.card.clock.now_us() - begun_us < WITHIN_US, "no traffic: {} received, {sent} sent", self.received - received);
        }
    }

    /// The program ends.
    pub fn into_parts(self) -> (Started, Card) {
        (self.port, self.card)
    }

    /// The end: everything comes back, and the card has seen nothing that is forbidden.
    pub fn ends(self) {
        let Self { mut port, card, batch, .. } = self;
        port.control.stop().unwrap();
        drop((port.rx, port.tx, batch));
        port.control.accounts().check().unwrap();
        assert_eq!(port.pool.available(), port.pool.len(), "every buffer is back");
        drop(port.control);
        card.assert_no_violations();
    }
}
