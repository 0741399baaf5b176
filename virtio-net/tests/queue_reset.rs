//! Devices whose queues are reset alone (VIRTIO_F_RING_RESET): a queue that goes gives its buffers back at once, and one that hangs is set up again while the others work.

use super::rig::{Parts, Rig, Started, numbered, pool, small};
use super::ward::{self, Ward};
use driver_core::buf::Batch;
use driver_core::device::{DeviceState, NetDevice, NetDriver};
use driver_core::queue::{QueueFault, RxQueue, TxQueue, TxState};
use sim::Mishap;
use sim::virtio_net::VirtioNetOptions as Options;
use virtio_net::Features;

fn options() -> Options {
    Options::new().ring_reset(true)
}

/// Started over PCI, and memory mapped.
fn both_ways(pairs: u16) -> [(Rig, Started); 2] {
    [false, true].map(|mmio| {
        let rig = Rig::with(options().pairs(pairs).mmio(mmio));
        let config = small().rx_queues(pairs).tx_queues(pairs).pool(pool(&rig, 512));
        let started = match mmio {
            true => rig.audit.watch(virtio_net::open_mmio(rig.device.function(), rig.clock.clone()).unwrap().unwrap()).start(&config).unwrap(),
            false => rig.start(&config),
        };
        assert!(started.control.info().features.iter().any(|name| name == "RING_RESET"));
        (rig, started)
    })
}

#[test]
fn a_queue_that_goes_gives_its_buffers_back_while_the_others_work() {
    for (mut rig, mut started) in both_ways(2) {
        let lent = 512 - started.pool.available();
        rig.model(|model| model.hold_tx = true);
        let mut batch = Batch::new(8);
        (0..5).for_each(|number| batch.push(started.pool.frame_from(&numbered(number, 60)).unwrap()).unwrap());
        assert_eq!(started.tx[1].submit(&mut batch), TxState::Running);
        rig.run_us(50);
        drop((started.rx.pop(), started.tx.pop(), batch));
        assert_eq!(512 - started.pool.available(), lent / 2, "what the first pair has");
        let accounts = started.control.accounts();
        assert_eq!((accounts.tx_taken, accounts.tx_lost), (5, 5), "as far as anybody knows");
        drop(rig.arrived());
        rig.model(|model| model.hold_tx = false);
        for number in 0..200 {
            rig.run_us(10_000);
            assert_eq!(started.control.watch(), DeviceState::Running, "a queue that is off is the driver's own doing");
            rig.send(&numbered(number, 60));
            rig.run_us(50);
            let mut batch = Batch::new(4);
            assert_eq!(started.rx[0].poll(&mut batch, 4), 1, "what was to go to the other pair, too");
            assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
            rig.run_us(50);
            assert_eq!(rig.arrived(), [numbered(number, 60)]);
        }
        rig.audit.excuse("frames that left the card, which kept their buffers");
        let pool = started.pool.clone();
        drop(started);
        assert_eq!(pool.available(), 512);
        rig.assert_clean();
    }
}

#[test]
fn a_queue_whose_reset_does_not_end_keeps_its_buffers_until_the_device_stopped() {
    for (rig, mut started) in both_ways(1) {
        let before = started.pool.available();
        rig.faults(|faults| faults.queue_reset_stuck = true);
        drop(started.rx.pop());
        assert_eq!(started.pool.available(), before, "the device may write to them");
        assert_eq!(started.control.watch(), DeviceState::Running);
        started.control.stop().unwrap();
        drop(started.tx.pop());
        assert_eq!(started.pool.available(), 512);
        drop(started);
        rig.assert_clean();
    }
}

/// A card that is told to lose what it sent, and a device on it.
fn ward() -> Ward {
    let rig = Rig::with(options());
    let parts = rig.parts(&ward::config().interrupts(true));
    Ward::of(rig, parts)
}

fn xstat(parts: &mut Parts, name: &str) -> u64 {
    parts.control.xstats().iter().find(|xstat| xstat.name == name).map(|xstat| xstat.value).unwrap()
}

#[test]
fn a_transmit_queue_that_hangs_is_reset_alone() {
    let mut ward = ward();
    for round in 1..=3 {
        ward.exchange();
        let enabled = ward.rig.model(|model| model.counters().enabled);
        ward.suffer(Mishap::Hang);
        ward.submit(10);
        // The receiver works on: its ring is not emptied.
        ward.rig.run_us(50);
        (0..5).for_each(|number| ward.rig.send(&numbered(number, 60)));
        let recovered = ward.until_recovered();
        assert!(matches!(recovered.cause, QueueFault::Hung { queue: 0, .. }), "{recovered}");
        assert_eq!((recovered.attempts, recovered.lost), (1, 10), "{recovered}");
        assert_eq!(ward.rig.model(|model| model.counters().enabled), enabled + 1, "one queue, and not the device");
        let told = ["resets", "recoveries", "tx_q0_lost", "rx_q0_lost"].map(|name| xstat(&mut ward.parts, name));
        assert_eq!(told, [round, round, 10 * round, 0]);
    }
    ward.exchange();
    // A queue that stands at another count than the device's hangs no more than before.
    for _ in 0..1_000 {
        ward.turn();
    }
    assert_eq!(ward.parts.control.recovered(), None);
    ward.rig.audit.excuse("frames that left the card that hung");
    ward.ends();
}

/// 2.6.1.2.2, 4.1.4.3.2: what a reset has taken from the queue it is given once more.
#[test]
fn size_areas_and_vector_are_as_they_were() {
    let mut ward = ward();
    ward.exchange();
    let before = ward.rig.model(|model| model.queue_set_up(1)).unwrap();
    assert!(before.0 == 64 && before.1 != 0xffff, "{before:?}");
    ward.suffer(Mishap::Hang);
    ward.submit(3);
    ward.until_recovered();
    assert_eq!(ward.rig.model(|model| model.queue_set_up(1)), Some(before));
    ward.exchange();
    ward.rig.audit.excuse("frames that left the card that hung");
    ward.ends();
}

#[test]
fn where_that_does_not_end_the_device_is_reset() {
    let mut ward = ward();
    ward.exchange();
    ward.rig.faults(|faults| faults.queue_reset_stuck = true);
    let enabled = ward.rig.model(|model| model.counters().enabled);
    ward.suffer(Mishap::Hang);
    ward.submit(10);
    let recovered = ward.until_recovered();
    assert_eq!((recovered.attempts, recovered.lost), (2, 10), "{recovered}");
    let all = if ward.parts.control.kernel().features().contains(Features::CTRL_VQ) { 3 } else { 2 };
    assert_eq!(ward.rig.model(|model| model.counters().enabled), enabled + all);
    ward.exchange();
    ward.rig.audit.excuse("frames that left the card that hung");
    ward.ends();
}

/// A card that sends nothing whatever is reset of it but all: its queue is reset alone twice, and then the device.
#[test]
fn where_that_is_in_vain_twice_the_device_is_reset() {
    let mut ward = ward();
    ward.exchange();
    let enabled = |ward: &Ward| ward.rig.model(|model| model.counters().enabled);
    let all = if ward.parts.control.kernel().features().contains(Features::CTRL_VQ) { 3 } else { 2 };
    let mut before = enabled(&ward);
    ward.rig.model(|model| model.hold_tx = true);
    for (round, more) in [1, 1, all, 1].into_iter().enumerate() {
        ward.submit(4);
        let recovered = ward.until_recovered();
        assert_eq!((recovered.attempts, recovered.lost), (1, 4), "round {round}: {recovered}");
        assert_eq!(enabled(&ward), before + more, "round {round}");
        before += more;
        // Longer than what is one recovery.
        for _ in 0..2_000 {
            ward.turn();
        }
    }
    ward.rig.model(|model| model.hold_tx = false);
    ward.exchange();
    ward.rig.audit.excuse("frames of a card that held them");
    ward.ends();
}
