//! A device whose control queue, device configuration and capabilities say anything, and a program that goes on asking it for things all the same.
//!
//! One input of bytes is one story: which device it is, how it lies, what the program does. Tests take random bytes, fuzzing (`fuzz/fuzz_targets/control.rs`) takes what covers more.

use driver_core::buf::{Batch, BufPool, PoolConfig};
use driver_core::device::{Caps, Config, DeviceState, Moderation, NetDevice, RssConfig, RxMode, Settings, TxConfig};
use driver_core::ether::MacAddr;
use driver_core::queue::{RxQueue, TxQueue};
use driver_core::testing::{Input, Liar};
use sim::virtio_net::{Faults, VirtioNet as Model, VirtioNetOptions as Options};
use sim::{Iommu, Mishap, Model as _, SimFunction, Testbed};
use virtio_net::Started;

type Function = driver_core::testing::Lying<SimFunction>;

const BUFFERS: u32 = 600;
/// Longer input is cut.
const MAX_INPUT: usize = 512;
/// A frame to everybody.
const FRAME: [u8; 60] = [0xff; 60];
/// The card's capabilities.
const CAPABILITIES: (u16, u16) = (0x40, 0x90);
/// Bytes of the device configuration.
const CONFIG_BYTES: u8 = 24;

/// How far a story came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reached {
    /// The device was opened, and started.
    pub(crate) opened: bool,
    pub(crate) started: bool,
    /// What was asked for and done, and what was refused.
    pub(crate) done: u32,
    pub(crate) refused: u32,
    /// Frames that came.
    pub(crate) received: u32,
}

/// What `input` says.
///
/// # Panics
/// Where a call that fails changes what is remembered, a buffer is lost, or the device does not work when it is honest again.
pub(crate) fn hostile_control(input: &[u8]) -> Reached {
    let mut input = Input::of(input, MAX_INPUT);
    let mut reached = Reached::default();
    let bed = Testbed::new("sim:virtio-net", Box::new(Model::new(options(input.byte().unwrap_or(0)))), &Iommu::new());
    let pool = BufPool::new(&bed.domain(), PoolConfig::new(BUFFERS)).expect("a pool");
    let liar = Liar::default();
    let lies = input.byte().unwrap_or(0);
    for _ in 0..lies & 7 {
        let Some((at, byte)) = input.byte().zip(input.byte()) else { break };
        faults(&bed, |faults| faults.config_bytes.push((at % CONFIG_BYTES, byte)));
    }
    for _ in 0..lies >> 3 & 3 {
        let Some((at, value)) = input.byte().zip(input.word()) else { break };
        liar.lies().config.insert(CAPABILITIES.0 + u16::from(at) % CAPABILITIES.1, Some(value));
    }
    if let Ok(device) = virtio_net::open(liar.over(bed.device.function()), bed.clock.clone()) {
        reached.opened = true;
        let how = input.byte().unwrap_or(0);
        if let Ok(started) = device.start(&config(how, &pool)) {
            reached.started = true;
            let mut story = Story { bed: &bed, started, reached: &mut reached };
            while story.step(&mut input).is_some() {}
            honest(&bed, &liar);
            story.end();
        }
    }
    assert_eq!(pool.available(), pool.len(), "buffers lost");
    honest(&bed, &liar);
    works(&bed, &liar, &pool);
    reached
}

fn options(how: u8) -> Options {
    let options = Options::new().packed(how & 1 != 0).pairs(1 + u16::from(how >> 1 & 3)).rss(how & 8 != 0).hash_report(how & 16 != 0);
    let options = options.device_stats(how & 32 != 0).vq_notf_coal(true).notf_coal(how & 64 != 0);
    options.guest_offloads(true).large_receive(how & 128 != 0).segmentation(true)
}

fn config(how: u8, pool: &BufPool) -> Config {
    let queues = 1 + u16::from(how & 3);
    let config = Config::new().rx_queues(queues).tx(TxConfig::new().queues(queues).ring(64).timeout_us(300_000)).rx_ring(64).pool(pool.clone());
    let config = if how & 8 != 0 { config.vlan_filter(&[7]) } else { config };
    config.interrupts(how & 4 != 0).rx_hash(how & 16 != 0).rx_coalescing(how & 32 != 0).rx_mode(RxMode::PROMISCUOUS)
}

fn faults(bed: &Testbed, change: impl FnOnce(&mut Faults)) {
    // SAFETY: the card moves in this thread alone, and nobody holds a reference to a frame's bytes over a step; no test exchanges the model.
    unsafe { bed.device.with_model(|model: &mut Model| change(model.faults())) }.expect("the model");
}

/// From here on nothing is a lie.
fn honest(bed: &Testbed, liar: &Liar) {
    liar.lies().config.clear();
    faults(bed, |faults| *faults = Faults::default());
    _ = bed.device.take_violations();
}

/// A device that lied works when it does not, for whoever opens it then.
fn works(bed: &Testbed, liar: &Liar, pool: &BufPool) {
    let device = virtio_net::open(liar.over(bed.device.function()), bed.clock.clone()).expect("it is opened");
    let mut started = device.start(&config(0, pool)).map_err(|error| error.to_string()).expect("it starts");
    bed.run_us(1_000);
    drop(bed.arrived());
    let mut batch = Batch::new(64);
    bed.send(&FRAME);
    bed.run_us(100);
    started.rx[0].poll(&mut batch, 64);
    assert!(batch.frames().last().is_some_and(|frame| frame.data() == FRAME), "a frame comes");
    _ = started.tx[0].submit(&mut batch);
    bed.run_us(100);
    assert!(bed.arrived().iter().any(|bytes| bytes == &FRAME), "and goes");
    drop((started, batch));
    assert!(bed.device.take_violations().is_empty());
    assert_eq!(pool.available(), pool.len(), "buffers lost by an honest device");
}

struct Story<'a> {
    bed: &'a Testbed,
    started: Started<Function>,
    reached: &'a mut Reached,
}

impl Story<'_> {
    /// Does the next thing that the input says; `None` at its end.
    fn step(&mut self, input: &mut Input<'_>) -> Option<()> {
        let what = input.byte()?;
        match what & 15 {
            0..=8 => self.ask(what & 15, input.byte()?),
            9 => _ = self.started.control.xstats(),
            10 => _ = self.started.control.link(),
            11 => self.watch(),
            12 => self.exchange(),
            13 => faults(self.bed, |faults| faults.config_bytes.clear()),
            14 => self.lie(input.byte()?, input.byte()?, input.word()?),
            // SAFETY: no test exchanges the model.
            _ => _ = unsafe { self.bed.device.with_model(|model: &mut Model| model.suffer(Mishap::NeedsReset)) },
        }
        Some(())
    }

    /// A setter: what is refused is as it was.
    fn ask(&mut self, what: u8, how: u8) {
        let control = &mut self.started.control;
        let before: Settings = control.settings().clone();
        let addresses = |first: u8| -> Vec<MacAddr> { (0..how % 9).map(|number| MacAddr([first, 0, 0x5e, 0, how, number])).collect() };
        let outcome = match what {
            0 => control.set_rx_mode(RxMode::from_bits_truncate(how.into())),
            1 => control.set_unicast_filters(&addresses(2)),
            2 => control.set_multicast_filters(&addresses(1)),
            3 => control.set_vlan_filter(Some([u16::from(how)].as_slice()).filter(|_| how & 1 == 0)),
            4 => control.set_rss(&RssConfig::new().table(&[u16::from(how & 3)])),
            5 => control.set_moderation(Moderation::Fixed { us: how.into() }),
            6 => control.set_mac(MacAddr([2, 0, 0, 0, 0, how])),
            7 => control.set_rx_offloads(Caps::RX_CHECKSUM),
            _ => control.set_rx_offloads(Caps::empty()),
        };
        match outcome {
            Ok(()) => self.reached.done += 1,
            Err(_) => {
                self.reached.refused += 1;
                assert_eq!(control.settings(), &before, "what was refused is remembered");
            }
        }
    }

    fn lie(&mut self, about: u8, byte: u8, word: u32) {
        faults(self.bed, |faults| match about % 13 {
            0 => faults.ctrl_id = Some(word),
            1 => faults.ctrl_len = Some(word),
            2 => faults.ctrl_silent = byte & 1 != 0,
            3 => faults.ctrl_refuse = Some(byte % 9).filter(|_| word & 1 != 0),
            4 => faults.ctrl_refuse_after = Some((byte % 9, word % 4)),
            5 => faults.stats_byte = Some((word as usize % 170, byte)),
            6 => faults.stats_bytes = Some(word % 200),
            7 => faults.restless = byte & 1 != 0,
            8 => faults.mac_changes = word % 8,
            9 => faults.queue_size = Some(word as u16).filter(|_| byte & 1 != 0),
            10 => faults.refuse_features = byte & 1 != 0,
            11 => faults.max_pairs = Some(word as u16),
            _ => faults.config_bytes.push((byte % CONFIG_BYTES, word as u8)),
        });
    }

    fn poll(&mut self) {
        let mut batch = Batch::new(64);
        for rx in &mut self.started.rx {
            self.reached.received += rx.poll(&mut batch, 64) as u32;
            batch.clear();
        }
        self.started.tx.iter_mut().for_each(|tx| _ = tx.reclaim());
    }

    /// A program that looks at its device: a recovery that is under way goes on.
    fn watch(&mut self) {
        self.started.control.watch();
        self.poll();
        self.bed.run_us(2_000);
    }

    fn exchange(&mut self) {
        self.bed.send(&FRAME);
        let mut batch = Batch::new(4);
        if let Ok(frame) = self.started.pool.frame_from(&FRAME) {
            _ = batch.push(frame);
        }
        let queue = self.started.tx.len() - 1;
        _ = self.started.tx[queue].submit(&mut batch);
        self.bed.run_us(100);
        drop(self.bed.arrived());
        self.poll();
    }

    /// The device is stopped, or set up again, now that it does not lie.
    fn end(mut self) {
        for _ in 0..3 {
            self.watch();
        }
        let state = self.started.control.state();
        if state == DeviceState::Running {
            self.exchange();
        }
        _ = self.started.control.stop();
    }
}
