//! A simulated virtual function, with its physical function's driver and the far end of its wire in the test's hands.
#![allow(unreachable_pub)]

use std::ops::Deref;

use driver_core::buf::Batch;
use driver_core::device::{Config, NetDevice, NetDriver};
use driver_core::host::Clock;
use driver_core::queue::{RxQueue, TxQueue, TxState};
use driver_core::testing::{Audit, Audited, fill, received};
use ixgbe::vf::IxgbeVf;
use sim::ixgbe::{Faults, IxgbeOptions, IxgbeVf as Model, PfManner, PfOptions};
use sim::{Iommu, Mishap, Model as _, SimFunction, Testbed};

pub const I82599: u16 = 0x10ed;
pub const X540: u16 = 0x1515;
pub const X550: u16 = 0x1565;
pub const ALL: [u16; 3] = [I82599, X540, X550];
/// The address that the physical function gives.
pub const MAC: [u8; 6] = [0x02, 0, 0, 0, 0x0f, 0x01];

pub type Started = driver_core::device::Started<Audited<IxgbeVf<SimFunction>>>;

/// The function on its port's wire.
pub struct Vf {
    bed: Testbed,
    pub audit: Audit,
}

impl Vf {
    pub fn of(device: u16) -> Self {
        Self::with(device, |_| ())
    }

    /// One whose physical function's driver is set otherwise.
    pub fn with(device: u16, change: impl FnOnce(&mut PfOptions)) -> Self {
        let mut pf = PfOptions::default();
        change(&mut pf);
        let model = Model::new(IxgbeOptions::new().device(device).mac(MAC), pf);
        Self { bed: Testbed::new("sim:vf", Box::new(model), &Iommu::new()), audit: Audit::new() }
    }

    pub fn open(&self) -> Result<IxgbeVf<SimFunction>, ixgbe::Error> {
        ixgbe::vf::open(self.device.function(), self.clock.clone())
    }

    /// Opened and started, with the link up; every frame is accounted for at the test's end.
    pub fn start(&self, config: &Config) -> Started {
        let started = self.audit.watch(self.open().unwrap()).start(config).unwrap();
        self.run_us(5_000);
        started
    }

    fn model<R>(&self, act: impl FnOnce(&mut Model) -> R) -> R {
        // SAFETY: the model stays the same one.
        unsafe { self.device.with_model(act) }.unwrap()
    }

    pub fn pf(&self, change: impl FnOnce(&mut PfOptions)) {
        self.model(|model| change(model.pf()));
    }

    pub fn manner(&self, manner: PfManner) {
        self.pf(|pf| pf.manner = manner);
    }

    pub fn suffer(&self, mishap: Mishap) {
        assert!(self.model(|model| model.suffer(mishap)));
    }

    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        // SAFETY: the card moves in the test's own thread, and no test holds a reference to a frame's bytes over a step.
        self.model(|model| change(unsafe { model.faults() }));
    }

    /// What a queue has of frames that the far end sends, each as long as it is.
    pub fn received(&self, started: &mut Started, queue: usize) -> Vec<Vec<u8>> {
        self.run_us(200);
        received(&mut started.rx[queue])
    }

    /// Whether a frame that the far end sends comes in, at whatever queue.
    pub fn takes(&self, started: &mut Started, frame: &[u8]) -> bool {
        self.send(frame);
        let queues = started.rx.len();
        (0..queues).any(|queue| !self.received(started, queue).is_empty())
    }

    /// `count` frames each way over each pair of queues, every byte compared.
    pub fn exchange(&self, started: &mut Started, count: u8) {
        let pool = started.pool.clone();
        for queue in 0..started.tx.len() {
            let mut batch = Batch::new(64);
            let sent: Vec<Vec<u8>> = (0..count).map(|k| frame_to([2, 0, 0, 0, 0, 9], 60 + usize::from(k) * 5, k)).collect();
            fill(&mut batch, &pool, &sent);
            assert_eq!(started.tx[queue].submit(&mut batch), TxState::Running);
            assert!(batch.is_empty());
            self.run_us(500);
            assert_eq!(self.arrived(), sent, "sent by queue {queue}");
        }
        let sent: Vec<Vec<u8>> = (0..count).map(|k| frame_to(started.control.settings().mac().0, 64 + usize::from(k) * 7, k)).collect();
        sent.iter().for_each(|bytes| self.send(bytes));
        let mut got: Vec<_> = (0..started.rx.len()).flat_map(|queue| self.received(started, queue)).collect();
        got.sort_by_key(|frame| frame[14]);
        assert_eq!(got, sent, "received");
    }

    /// Looks at the device as a program does, ten times a second, for `us`.
    pub fn watch_for_us(&self, started: &mut Started, us: u64) {
        let until_us = self.clock.now_us() + us;
        let mut batch = Batch::new(64);
        while self.clock.now_us() < until_us {
            started.control.watch();
            for queue in &mut started.rx {
                queue.poll(&mut batch, 64);
                batch.clear();
            }
            for queue in &mut started.tx {
                let _ = queue.submit(&mut batch);
            }
            self.run_us(50_000);
        }
    }
}

impl Drop for Vf {
    /// The end of every test: what left the function is what was taken and not given up.
    fn drop(&mut self) {
        self.audit.saw_on_wire(self.bed.count_arrived());
    }
}

impl Deref for Vf {
    type Target = Testbed;

    fn deref(&self) -> &Testbed {
        &self.bed
    }
}

/// A frame for `to` of `len` bytes, numbered `k` in its first byte behind the header.
pub fn frame_to(to: [u8; 6], len: usize, k: u8) -> Vec<u8> {
    let mut frame = vec![k; len];
    frame[..6].copy_from_slice(&to);
    frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 0xee]);
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    frame
}
