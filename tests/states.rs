//! The table of states for vfio-user, cell by cell: each state comes about on each driver, on a card that a server has, and is told in the same words by the
//! port's event, its queues, its link and its report. Cards of this process are in the drivers' own `states`, kernel VFIO in ci/qemu (`foreign-reset` and its
//! neighbours).

mod common;

use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use barewire::driver_core::device::TxConfig;
use barewire::sim::ixgbe::{Ixgbe, IxgbeOptions};
use barewire::sim::virtio_net::{VirtioNet, VirtioNetOptions};
use barewire::sim::wire::{Wire, peer};
use barewire::sim::{Dma, Legacy, Mishap, Model, Slot, msix::Msix};
use barewire::{Alarm, Batch, Config, DeviceState, Event, Port, QueueFault, Recovery, RecoveryLimits, TxState};
use common::Directory;
use common::ports::until;
use common::served::Served;

/// What is done to a card between two of its steps.
type Act<M> = Box<dyn FnOnce(&mut M, &Slot<'_>) + Send>;

/// A card to which something is done while it runs, wherever it runs.
struct Stage<M> {
    card: M,
    acts: Receiver<Act<M>>,
}

// SAFETY: all accesses to memory are the card's own.
unsafe impl<M: Model> Model for Stage<M> {
    fn config_read(&mut self, slot: &Slot<'_>, offset: u16, width: u8) -> u32 {
        self.card.config_read(slot, offset, width)
    }
    fn config_write(&mut self, slot: &Slot<'_>, offset: u16, width: u8, value: u32) {
        self.card.config_write(slot, offset, width, value);
    }
    fn bar_len_bytes(&self, index: u8) -> Option<usize> {
        self.card.bar_len_bytes(index)
    }
    fn bar_read(&mut self, slot: &Slot<'_>, index: u8, offset: u32, width: u8) -> u64 {
        self.card.bar_read(slot, index, offset, width)
    }
    fn bar_write(&mut self, slot: &Slot<'_>, index: u8, offset: u32, width: u8, value: u64) {
        self.card.bar_write(slot, index, offset, width, value);
    }
    fn reset(&mut self, slot: &Slot<'_>) {
        self.card.reset(slot);
    }
    fn is_bus_master(&self) -> bool {
        self.card.is_bus_master()
    }
    fn msix(&mut self) -> &mut Msix {
        self.card.msix()
    }
    fn legacy(&mut self) -> Legacy {
        self.card.legacy()
    }
    fn step(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, wire: &mut dyn Wire) -> bool {
        for act in self.acts.try_iter() {
            act(&mut self.card, slot);
        }
        self.card.step(slot, dma, wire)
    }
    fn holds_frames(&self) -> bool {
        self.card.holds_frames()
    }
    fn next_event_us(&self) -> Option<u64> {
        self.card.next_event_us()
    }
}

/// A started port on a card that can be acted on, and the far end of its wire.
struct Scene<M> {
    port: Port,
    acts: Sender<Act<M>>,
    far: peer::Peer,
    served: Served,
    /// Where its socket is.
    _directory: Directory,
}

impl<M: Model> Scene<M> {
    fn new(card: M, name: &str, config: &Config) -> Self {
        let ((acts, todo), (near, mut far)) = (mpsc::channel(), peer::pair(256));
        let stage = Box::new(Stage { card, acts: todo });
        let directory = Directory::new(&format!("states-{name}"));
        let served = Served::start(&directory, "card", stage, near);
        let device = barewire::open(&served.spec).unwrap();
        let mut port = device.start(config).unwrap();
        until("a link", || port.control.link().up);
        // A frame goes out, so that there is something to count.
        let mut batch = Batch::new(1);
        batch.push(port.pool.frame_from(&[2; 60]).unwrap()).unwrap();
        assert_eq!(port.tx[0].submit(&mut batch), TxState::Running);
        let mut frame = Vec::new();
        until("the frame", || far.receive(&mut frame));
        until("its count", || port.control.stats().tx_packets == 1);
        assert_eq!((port.event(), port.control.state()), (None, DeviceState::Running));
        Self { port, acts, far, served, _directory: directory }
    }

    fn act(&self, act: impl FnOnce(&mut M, &Slot<'_>) + Send + 'static) {
        self.acts.send(Box::new(act)).unwrap();
    }

    /// A state of the whole device is told by all, the same way and without a change, and its end takes no time.
    fn ends(mut self, state: DeviceState, fault: QueueFault) {
        until("the event", || self.port.event().is_some());
        for _ in 0..3 {
            assert_eq!((self.port.event(), self.port.control.state()), (Some(Event::State(state)), state));
            assert_eq!((self.port.rx[0].fault(), self.port.tx[0].fault()), (Some(fault), Some(fault)));
            assert!(!self.port.control.link().up && !self.port.control.watch().is_running());
        }
        let mut batch = Batch::new(2);
        assert_eq!(self.port.rx[0].poll(&mut batch, 2), 0);
        batch.push(self.port.pool.frame_from(&[2; 60]).unwrap()).unwrap();
        assert_eq!(self.port.tx[0].submit(&mut batch), TxState::Broken(fault));
        assert_eq!(self.port.control.stats().tx_packets, 1, "the last that can be believed");
        let begun = Instant::now();
        let report = self.port.finish();
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        assert_eq!(report.state, state);
        let text = report.check().unwrap_err().to_string();
        assert!(text.ends_with(&state.to_string()), "{text}");
        drop((self.far, self.served));
    }
}

fn ixgbe() -> Ixgbe {
    Ixgbe::new(IxgbeOptions::new())
}

fn virtio() -> VirtioNet {
    VirtioNet::new(VirtioNetOptions::new())
}

#[test]
fn reset_by_somebody_else() {
    let scene = Scene::new(ixgbe(), "reset-ixgbe", &Config::new().recovery(Recovery::Off));
    scene.act(Model::reset);
    scene.ends(DeviceState::Reset, QueueFault::Reset);
    let scene = Scene::new(virtio(), "reset-virtio", &Config::new().recovery(Recovery::Off));
    scene.act(Model::reset);
    scene.ends(DeviceState::Reset, QueueFault::Reset);
}

/// With recovery the program hears of it when it is over.
#[test]
fn reset_by_somebody_else_and_recovered() {
    fn recovers<M: Model>(card: M, name: &str) {
        let mut scene = Scene::new(card, name, &Config::new());
        scene.act(Model::reset);
        let mut told = None;
        until("a recovery", || {
            scene.port.tx[0].reclaim();
            scene.port.rx[0].poll(&mut Batch::new(1), 1);
            told = scene.port.event();
            told.is_some()
        });
        let Some(Event::Recovered(recovered)) = told else { panic!("{told:?}") };
        assert_eq!((recovered.cause, recovered.attempts), (QueueFault::Reset, 1), "{recovered}");
        until("a link", || scene.port.control.link().up);
        let (mut batch, mut frame) = (Batch::new(1), Vec::new());
        while scene.far.receive(&mut frame) {}
        batch.push(scene.port.pool.frame_from(&[3; 60]).unwrap()).unwrap();
        assert_eq!(scene.port.tx[0].submit(&mut batch), TxState::Running);
        until("a frame behind it", || scene.far.receive(&mut frame) && frame == [3; 60]);
        let report = scene.port.finish();
        assert_eq!(report.state, DeviceState::Stopped);
        report.check().unwrap();
        drop((scene.far, scene.served));
    }
    recovers(ixgbe(), "reset-recovered-ixgbe");
    recovers(virtio(), "reset-recovered-virtio");
}

#[test]
fn unplugged() {
    let scene = Scene::new(ixgbe(), "gone-ixgbe", &Config::new());
    scene.act(|card, _| {
        // SAFETY: the fault makes the card do less.
        unsafe { card.faults() }.gone = true;
    });
    scene.ends(DeviceState::Gone, QueueFault::Gone);
    let scene = Scene::new(virtio(), "gone-virtio", &Config::new());
    scene.act(|card, _| {
        // SAFETY: as above.
        unsafe { card.faults() }.gone = true;
    });
    scene.ends(DeviceState::Gone, QueueFault::Gone);
}

#[test]
fn a_server_that_ended() {
    fn ended<M: Model>(card: M, name: &str) {
        let mut scene = Scene::new(card, name, &Config::new());
        scene.served.stop();
        scene.ends(DeviceState::Gone, QueueFault::Gone);
    }
    ended(ixgbe(), "ended-ixgbe");
    ended(virtio(), "ended-virtio");
}

#[test]
fn asks_for_a_reset() {
    let scene = Scene::new(virtio(), "needs-reset", &Config::new().recovery(Recovery::Off));
    scene.act(|card, _| card.lose_its_way());
    scene.ends(DeviceState::NeedsReset, QueueFault::NeedsReset);
}

/// Of one queue: it is told by the event, that queue and the report; the receiver and the link are well.
fn hangs<M: Model>(card: M, name: &str, hang: impl FnOnce(&mut M, &Slot<'_>) + Send + 'static) {
    let mut scene = Scene::new(card, name, &Config::new().tx(TxConfig::new().timeout_us(100_000)).recovery(Recovery::Off));
    scene.act(hang);
    let mut batch = Batch::new(1);
    until("a hung queue", || {
        if batch.is_empty() && scene.port.tx[0].fault().is_none() {
            batch.push(scene.port.pool.frame_from(&[2; 60]).unwrap()).unwrap();
        }
        let _ = scene.port.tx[0].submit(&mut batch);
        scene.port.event().is_some()
    });
    let Some(Event::State(state @ DeviceState::Hung { queue: 0, since_us })) = scene.port.event() else { panic!("{:?}", scene.port.event()) };
    assert_eq!((scene.port.tx[0].fault(), scene.port.rx[0].fault()), (Some(QueueFault::Hung { queue: 0, since_us }), None));
    assert!(scene.port.control.link().up);
    let report = scene.port.finish();
    assert_eq!(report.state, state);
    drop((scene.far, scene.served));
}

#[test]
fn hung() {
    hangs(ixgbe(), "hung-ixgbe", |card, _| {
        // SAFETY: the fault makes the card do less.
        unsafe { card.faults() }.hang_tx = true;
    });
    hangs(virtio(), "hung-virtio", |card, _| card.hold_tx = true);
}

/// The card is reset over the socket, and the program goes on.
#[test]
fn hung_and_recovered() {
    // The second failure is one of its own, however soon it comes.
    let limits = RecoveryLimits::new().settle_us(0);
    let config = Config::new().tx(TxConfig::new().timeout_us(100_000)).recovery(Recovery::Auto(limits));
    let mut scene = Scene::new(ixgbe(), "recovered-ixgbe", &config);
    for mishap in [Mishap::Hang, Mishap::MemoryError] {
        scene.act(move |card, _| assert!(card.suffer(mishap)));
        let (mut batch, mut told) = (Batch::new(1), None);
        until("a recovery", || {
            if batch.is_empty() {
                batch.push(scene.port.pool.frame_from(&[2; 60]).unwrap()).unwrap();
            }
            assert!(matches!(scene.port.tx[0].submit(&mut batch), TxState::Running | TxState::Stopped));
            scene.port.rx[0].poll(&mut Batch::new(1), 1);
            std::thread::sleep(Duration::from_millis(5));
            told = scene.port.event();
            told.is_some()
        });
        let Some(event @ Event::Recovered(recovered)) = told else { panic!("{told:?}") };
        assert!(!event.is_failure() && recovered.attempts == 1, "{recovered}");
        assert_eq!((scene.port.event(), scene.port.control.state()), (None, DeviceState::Running));
        assert!(scene.port.failure().is_none());
        until("a link", || scene.port.control.link().up);
        let mut frame = Vec::new();
        while scene.far.receive(&mut frame) {}
        drop(batch);
        let mut batch = Batch::new(1);
        batch.push(scene.port.pool.frame_from(&[3; 60]).unwrap()).unwrap();
        assert_eq!(scene.port.tx[0].submit(&mut batch), TxState::Running);
        until("a frame behind it", || scene.far.receive(&mut frame) && frame == [3; 60]);
    }
    let lost = scene.port.tx[0].counters().lost;
    let report = scene.port.finish();
    assert_eq!((report.state, report.stats.tx_dropped), (DeviceState::Stopped, lost));
    report.check().unwrap();
    drop((scene.far, scene.served));
}

/// Heat is an event, and no state: the card runs on without a link, and nobody resets it.
#[test]
fn too_hot() {
    let card = Ixgbe::new(IxgbeOptions::new().device(0x1563));
    let mut scene = Scene::new(card, "overheated-ixgbe", &Config::new());
    scene.act(|card, _| assert!(card.suffer(Mishap::Overheat)));
    let mut told = None;
    until("an alarm", || {
        told = scene.port.event();
        told.is_some()
    });
    let event = told.unwrap();
    assert_eq!((event, event.is_failure()), (Event::Alarm(Alarm::Overheated), false));
    assert_eq!(event.to_string(), "the device is too hot, and has shut its link down: see to its cooling, then stop it and start it again");
    for _ in 0..50 {
        assert_eq!((scene.port.event(), scene.port.control.state()), (None, DeviceState::Running));
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(scene.port.failure().is_none() && !scene.port.control.link().up);
    let report = scene.port.finish();
    assert_eq!(report.state, DeviceState::Stopped);
    report.check().unwrap();
    drop((scene.far, scene.served));
}

/// Of one queue as well.
fn breaks<M: Model>(card: M, name: &str, lie: impl FnOnce(&mut M, &Slot<'_>) + Send + 'static) {
    let mut scene = Scene::new(card, name, &Config::new().rx_mode(barewire::RxMode::PROMISCUOUS));
    scene.act(lie);
    let mut batch = Batch::new(8);
    until("a broken queue", || {
        let _ = scene.far.send(&[2; 60]);
        scene.port.rx[0].poll(&mut batch, 8);
        batch.clear();
        scene.port.rx[0].fault().is_some()
    });
    let fault = scene.port.rx[0].fault().unwrap();
    let state = DeviceState::Broken { direction: "receive", queue: 0, fault };
    assert_eq!((scene.port.event(), scene.port.tx[0].fault()), (Some(Event::State(state)), None));
    assert!(scene.port.control.link().up);
    let report = scene.port.finish();
    assert_eq!(report.state, state);
    drop((scene.far, scene.served));
}

#[test]
fn broken_by_what_it_wrote() {
    breaks(ixgbe(), "broken-ixgbe", |card, _| {
        // SAFETY: the driver checks the length.
        unsafe { card.faults() }.rx_length = Some(60_000);
    });
    breaks(virtio(), "broken-virtio", |card, _| {
        // SAFETY: the driver checks the id.
        unsafe { card.faults() }.rx_id = Some(60_000);
    });
}

#[test]
fn stopped() {
    fn stops<M: Model>(card: M, name: &str) {
        let mut scene = Scene::new(card, name, &Config::new());
        scene.port.control.stop().unwrap();
        assert_eq!((scene.port.event(), scene.port.control.state()), (None, DeviceState::Stopped));
        assert_eq!((scene.port.rx[0].fault(), scene.port.tx[0].fault()), (Some(QueueFault::Stopped), Some(QueueFault::Stopped)));
        assert!(!scene.port.control.link().up);
        let report = scene.port.finish();
        assert_eq!(report.state, DeviceState::Stopped);
        report.check().unwrap();
        drop((scene.far, scene.served));
    }
    stops(ixgbe(), "stopped-ixgbe");
    stops(virtio(), "stopped-virtio");
}
