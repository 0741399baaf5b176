//! Eight pairs of queues under load, each on a thread of its own: their card hangs, and the threads go on without having been told. They poll without a pause, or
//! sleep on their queues' interrupts. The card's time is simulated, so that no thread is late only because the machine has other work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Card, MAC, PEER};
use driver_core::buf::Batch;
use driver_core::device::{Config, DeviceState, NetDevice, NetDriver, Recovered, Recovery, RecoveryLimits, RxMode, TxConfig};
use driver_core::host::Clock;
use driver_core::queue::{Poller, QueueFault, RxQueue, TxQueue, TxState};
use sim::ixgbe::Ixgbe as Model;
use sim::{Mishap, SimClock};

const QUEUES: u16 = 8;
const ROUNDS: usize = 3;
/// All in microseconds, and shorter than usual, since simulated time passes step by step: how long a queue may stand still, how often the program looks, how long a
/// recovered card has to work.
const HANG_US: u64 = 50_000;
const WATCH_US: u64 = 20_000;
const SETTLE_US: u64 = 10_000;
/// How long a step of the test may take, on a machine that has other work.
const LIMIT: Duration = Duration::from_secs(120);

/// The card's clock, by which sleeps as long as those of who waits for other threads give these a millisecond of the machine's time. Waits for registers are shorter.
#[derive(Debug)]
struct Patient(Arc<SimClock>);

impl Clock for Patient {
    fn now_us(&self) -> u64 {
        self.0.now_us()
    }
    fn sleep_us(&self, us: u64) {
        self.0.sleep_us(us);
        if us >= 100 {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A frame of a flow.
fn udp(flow: u16) -> Vec<u8> {
    let ip = [0x08, 0x00, 0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    let [high, low] = flow.to_be_bytes();
    [&MAC.0[..], &PEER.0, &ip, &[high, low, 0, 7, 0, 26, 0, 0], &[0; 18]].concat()
}

/// What the threads tell.
#[derive(Default)]
struct Told {
    stop: AtomicBool,
    /// Frames that each of them received, and so sends back.
    received: [AtomicU64; QUEUES as usize],
}

/// Sends back what comes, until it is told to stop. No fault is ever told, and what the transmit queue has no room for waits.
fn work(mut rx: impl RxQueue, mut tx: impl TxQueue, told: &Told, queue: usize) {
    let mut batch = Batch::new(64);
    let sleeps = rx.interrupt().is_some();
    let turn = |batch: &mut Batch, came: usize, rx_fault: Option<QueueFault>, tx: &mut dyn TxQueue| {
        assert_eq!((rx_fault, tx.fault()), (None, None), "queues pause, and are not told a fault");
        told.received[queue].fetch_add(came as u64, Ordering::Relaxed);
        let state = tx.submit(batch);
        assert!(matches!(state, TxState::Running | TxState::Stopped), "{state:?}");
        state
    };
    if sleeps {
        let mut poller = Poller::new(rx).unwrap();
        while !told.stop.load(Ordering::Relaxed) {
            // Much longer than a recovery takes: who is not woken is late.
            let came = poller.next(&mut batch, Some(2_000_000)).unwrap();
            let fault = poller.queue().fault();
            if turn(&mut batch, came, fault, &mut tx) == TxState::Stopped {
                // What is not sent keeps the batch full, and a full batch is no reason to sleep on the receiver's interrupt.
                thread::sleep(Duration::from_micros(200));
            }
        }
        return;
    }
    while !told.stop.load(Ordering::Relaxed) {
        let came = rx.poll(&mut batch, 32);
        let _ = turn(&mut batch, came, rx.fault(), &mut tx);
        if came == 0 {
            // The card's thread needs the processor as well.
            thread::sleep(Duration::from_micros(200));
        }
    }
}

struct Lab {
    card: Card,
    flow: u16,
    /// Frames that came out of the card.
    back: u64,
    looked_us: u64,
}

impl Lab {
    /// Traffic for a while.
    fn load(&mut self, control: &mut impl NetDevice) -> Option<Recovered> {
        for _ in 0..20 {
            for _ in 0..16 {
                self.flow = (self.flow + 1) % 512;
                self.card.send_within(&udp(self.flow), 0);
            }
            self.card.run_us(100);
            self.back += self.card.arrived().len() as u64;
            thread::yield_now();
        }
        let now_us = self.card.clock.now_us();
        if now_us < self.looked_us + WATCH_US {
            return None;
        }
        self.looked_us = now_us;
        let state = control.watch();
        assert!(matches!(state, DeviceState::Running | DeviceState::Recovering { .. }), "{state}");
        control.recovered()
    }

    /// Traffic until `done`.
    fn load_until(&mut self, control: &mut impl NetDevice, what: &str, mut done: impl FnMut(&Self, Option<Recovered>) -> bool) {
        let begin = Instant::now();
        loop {
            let recovered = self.load(control);
            if done(self, recovered) {
                return;
            }
            assert!(begin.elapsed() < LIMIT, "{what} takes for ever");
        }
    }

    fn hang(&self) {
        // SAFETY: the mishap makes the card do less.
        assert!(unsafe { self.card.device.with_model(|model: &mut Model| sim::Model::suffer(model, Mishap::Hang)) }.unwrap());
    }
}

fn recovers_under_load(interrupts: bool) {
    let card = Card::new();
    let config = Config::new().rx_queues(QUEUES).rx_mode(RxMode::PROMISCUOUS).interrupts(interrupts);
    let config = config.tx(TxConfig::new().queues(QUEUES).timeout_us(HANG_US)).recovery(Recovery::Auto(RecoveryLimits::new().settle_us(SETTLE_US)));
    let device = card.audit.watch(ixgbe::open(card.device.function(), Arc::new(Patient(card.clock.clone()))).unwrap());
    let mut started = device.start(&config).unwrap();
    card.run_us(2_000);
    let (mut lab, told) = (Lab { card, flow: 0, back: 0, looked_us: 0 }, Told::default());
    let pairs: Vec<_> = started.rx.drain(..).zip(started.tx.drain(..)).collect();
    thread::scope(|scope| {
        let told = &told;
        for (queue, (rx, tx)) in pairs.into_iter().enumerate() {
            scope.spawn(move || work(rx, tx, told, queue));
        }
        // A panic here ends the threads as well.
        let _end = Ending(told);
        let control = &mut started.control;
        for round in 0..ROUNDS {
            let before: Vec<u64> = told.received.iter().map(|received| received.load(Ordering::Relaxed)).collect();
            let all_moved = || told.received.iter().zip(&before).all(|(now, before)| now.load(Ordering::Relaxed) > before + 10);
            let back = lab.back;
            lab.load_until(control, "traffic on all queues", |lab, _| lab.back > back + 1000 && all_moved());
            lab.hang();
            let mut seen = None;
            lab.load_until(control, "a recovery", |_, recovered| {
                seen = seen.or(recovered);
                seen.is_some()
            });
            let recovered = seen.unwrap();
            assert!(matches!(recovered.cause, QueueFault::Hung { .. }) && recovered.attempts == 1, "round {round}: {recovered}");
            assert!(recovered.took_us < 1_000_000, "round {round}: {recovered}");
        }
        let before: Vec<u64> = told.received.iter().map(|received| received.load(Ordering::Relaxed)).collect();
        let back = lab.back;
        lab.load_until(control, "traffic behind the last", |lab, _| {
            lab.back > back + 1000 && told.received.iter().zip(&before).all(|(now, before)| now.load(Ordering::Relaxed) > before + 10)
        });
    });
    started.control.stop().unwrap();
    let (pool, accounts) = (started.pool.clone(), started.control.accounts());
    drop(started);
    assert!(accounts.is_final && accounts.tx_lost > 0, "{accounts:?}");
    accounts.check().unwrap();
    assert_eq!(pool.available(), pool.len(), "every buffer is back");
    lab.card.assert_no_violations();
}

struct Ending<'a>(&'a Told);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

#[test]
fn threads_that_poll() {
    recovers_under_load(false);
}

#[test]
fn threads_that_sleep_on_interrupts() {
    recovers_under_load(true);
}
