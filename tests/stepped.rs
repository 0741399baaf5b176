//! Simulated cards that their program's calls move: the same each time, with waits, interrupts and rates in simulated time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use barewire::sim::wire::peer;
use barewire::sim::wire::traffic::{Flow, FlowTotals, TrafficConfig, pair};
use barewire::sim::wire::{Sent, Wire};
use barewire::{Batch, Config, FrameView, Host, PollWith, Poller, Port, RxMode, RxQueue, Stats, TxDrops, TxQueue, TxState, Verdict, WhenFull};

/// What simulated time is compared with: no test waits so long.
const LONG: Duration = Duration::from_secs(20);

/// Two ports of one host that stand in the way of frames, and what becomes of these.
struct Pair {
    host: Host,
    ports: [Port; 2],
    flows: [Arc<Flow>; 2],
}

impl Pair {
    fn new(kind: &str, seeds: Option<[u64; 2]>, config: &TrafficConfig) -> Self {
        let mut host = Host::stepped();
        let ([a, b], flows) = pair(config, host.clock()).unwrap();
        let mut open = |wire, at: usize| {
            let seed = seeds.map_or(String::new(), |seeds| format!(",seed={}", seeds[at]));
            host.plug(&format!("{kind},mac=02:00:00:00:00:0{}{seed}", at + 1), Box::new(wire)).unwrap()
        };
        let (a, b) = (open(a, 0), open(b, 1));
        let config = Config::new().rx_mode(RxMode::all());
        let ports = [a.start(&config).unwrap(), b.start(&config).unwrap()];
        Self { host, ports, flows }
    }

    /// Forwards both ways: `rounds` times with the generators, and until nothing came for some time.
    fn forward(mut self, rounds: usize) -> (FlowTotals, [Stats; 2], u64) {
        let [a, b] = self.ports.each_mut().map(|port| port.take_queues().unwrap());
        self.ports[0].sleep_us(1000);
        assert!(self.ports.iter_mut().all(|port| port.control.link().up));
        let begin_us = self.host.clock().now_us();
        let (mut ways, mut round, mut idle) = ([(a.0, b.1, Batch::new(32)), (b.0, a.1, Batch::new(32))], 0, 0);
        while idle < 200 {
            round += 1;
            if round == rounds {
                self.flows.iter().for_each(|flow| flow.stop());
            }
            let mut moved = 0;
            for (rx, tx, batch) in &mut ways {
                moved += rx.poll(batch, 32);
                moved += tx.submit_or_drop(batch, &mut TxDrops::new()).unwrap();
            }
            idle = if moved > 0 { 0 } else { idle + 1 };
        }
        let totals = self.flows.each_ref().map(|flow| flow.totals());
        let took_us = self.host.clock().now_us() - begin_us;
        let stats = self.ports.each_mut().map(|port| port.control.stats());
        for port in self.ports {
            port.finish().check().unwrap();
        }
        (totals[0] + totals[1], stats, took_us)
    }
}

/// Everything that is counted, and how much time passed.
#[test]
fn the_same_seed_gives_the_same_counters() {
    let flood = |seeds| {
        let mut config = TrafficConfig::default();
        config.flood = true;
        Pair::new("sim:ixgbe", seeds, &config).forward(2000)
    };
    let first = flood(Some([7, 8]));
    let (totals, [a, b], _) = first;
    assert!(totals.intact > 80_000 && totals.corrupted + totals.reordered + totals.duplicated == 0, "{totals:?}");
    assert!(a.rx_missed_errors > 0 && b.rx_missed_errors > 0, "uneven turns let a flood overrun the cards: {a}, {b}");
    assert_eq!(flood(Some([7, 8])), first);
    assert_ne!(flood(Some([7, 9])), first, "another seed is another run");
    assert_eq!(flood(None), flood(None));
}

#[test]
fn both_drivers_lose_nothing() {
    for kind in ["sim:ixgbe", "sim:virtio-net"] {
        for seeds in [None, Some([1, 2]), Some([3, 4])] {
            let mut config = TrafficConfig::default();
            (config.count, config.frame_bytes) = (Some(20_000), 1514);
            let (totals, ..) = Pair::new(kind, seeds, &config).forward(usize::MAX);
            assert_eq!((totals.intact, totals.corrupted, totals.reordered, totals.duplicated), (40_000, 0, 0, 0), "{kind} {seeds:?}");
        }
    }
}

/// A queue that is moved hands its ring on: no frame is made of what a hook sends.
#[test]
fn hooks_judge_in_place_what_moved_cards_received() {
    for kind in ["sim:ixgbe", "sim:virtio-net"] {
        let mut config = TrafficConfig::default();
        config.count = Some(20_000);
        let Pair { mut ports, flows, .. } = Pair::new(kind, None, &config);
        let [mut a, mut b] = ports.each_mut().map(|port| port.take_queues().unwrap());
        ports[0].sleep_us(1000);
        let (mut batch, mut idle) = (Batch::new(32), 0);
        let mut pass_on = |_: &mut FrameView<'_>| Verdict::Tx;
        while idle < 2000 {
            let mut moved = 0;
            for (rx, tx) in [(&mut a.0, &mut b.1), (&mut b.0, &mut a.1)] {
                moved += rx.poll_with(&mut pass_on, &mut [&mut **tx], WhenFull::HandUp, &mut batch, 32);
                moved += tx.submit_or_drop(&mut batch, &mut TxDrops::new()).unwrap();
            }
            idle = if moved > 0 { 0 } else { idle + 1 };
        }
        let totals = flows[0].totals() + flows[1].totals();
        let (sent, in_place) =
            (a.0.counters().hook.sent + b.0.counters().hook.sent, ports.each_mut().map(|port| port.control.accounts().rx_in_place));
        assert_eq!((totals.intact, totals.corrupted, totals.reordered, totals.duplicated), (40_000, 0, 0, 0), "{kind}");
        assert_eq!(sent, 40_000, "{kind}");
        assert_eq!(sent, in_place.iter().sum::<u64>(), "{kind}: each lay where the card put it");
        drop((a, b, batch));
        ports.into_iter().for_each(|port| port.finish().check().unwrap());
    }
}

#[test]
fn a_rate_is_kept_in_simulated_time() {
    let mut config = TrafficConfig::default();
    (config.count, config.rate_pps) = (Some(1000), Some(100_000));
    let (totals, _, took_us) = Pair::new("sim:ixgbe", None, &config).forward(usize::MAX);
    assert_eq!(totals.intact, 2000);
    assert!((9_000..20_000).contains(&took_us), "1000 frames at 100 kHz take 10 ms, and not {took_us} us");
}

/// A started card, and the far end of its wire.
fn on_a_wire(spec: &str, config: &Config) -> (Host, Port, peer::Peer) {
    let (near, far) = peer::pair(4096);
    let mut host = Host::stepped();
    let port = host.plug(spec, Box::new(near)).unwrap().start(config).unwrap();
    (host, port, far)
}

#[test]
fn a_poller_sleeps_in_simulated_time() {
    for spec in ["sim:ixgbe", "sim:virtio-net"] {
        let (host, mut port, mut far) = on_a_wire(spec, &Config::new().interrupts(true).rx_mode(RxMode::all()));
        let begin = Instant::now();
        port.sleep_us(1000);
        assert!(port.control.link().up, "{spec}");
        let (rx, _tx) = port.take_queues().unwrap();
        let (mut poller, mut batch) = (Poller::new(rx).unwrap(), Batch::new(64));
        let before_us = host.clock().now_us();
        assert_eq!(poller.next(&mut batch, Some(20_000_000)).unwrap(), 0, "{spec}: nothing comes");
        assert!((20_000_000..20_100_000).contains(&(host.clock().now_us() - before_us)), "{spec}");
        for frames in 1..10 {
            for _ in 0..frames {
                assert_eq!(far.send(&[0xff; 60]), Sent::Taken);
            }
            let mut came = 0;
            while came < frames {
                let more = poller.next(&mut batch, Some(20_000_000)).unwrap();
                assert!(more > 0, "{spec}: {came} of {frames} woke it");
                came += more;
                batch.clear();
            }
        }
        assert!(begin.elapsed() < LONG, "simulated time is not waited for");
        drop(poller);
        port.finish().check().unwrap();
    }
}

#[test]
fn a_full_transmit_queue_is_waited_for() {
    for (spec, interrupts) in [("sim:ixgbe", true), ("sim:ixgbe", false), ("sim:virtio-net", true), ("sim:virtio-net", false)] {
        let (_host, mut port, mut far) = on_a_wire(spec, &Config::new().interrupts(interrupts));
        let (_rx, mut tx) = port.take_queues().unwrap();
        let (mut batch, mut arrived, mut frame) = (Batch::new(64), 0, Vec::new());
        for _ in 0..100 {
            for _ in batch.len()..64 {
                batch.push(port.pool.frame_from(&[2; 60]).unwrap()).unwrap();
            }
            while tx.submit(&mut batch) == TxState::Stopped {
                assert!(tx.wait_for_room(Some(1_000_000)).unwrap(), "{spec}");
            }
            while far.receive(&mut frame) {
                arrived += 1;
            }
        }
        while !port.is_output_over(&mut *tx) {}
        while far.receive(&mut frame) {
            arrived += 1;
        }
        assert_eq!(arrived, tx.counters().packets, "{spec}");
        drop((tx, batch));
        port.finish().check().unwrap();
    }
}

/// Without a poll, a sleep or a wait: reads of registers are the last resort.
#[test]
fn a_program_that_only_looks_at_its_link_sees_it_come_up() {
    for spec in ["sim:ixgbe", "sim:virtio-net"] {
        let (_host, mut port, _far) = on_a_wire(spec, &Config::new());
        let looks = (0..1_000_000).find(|_| port.control.link().up);
        assert!(looks.is_some(), "{spec}");
    }
}

#[test]
fn frames_leave_without_a_poll() {
    for spec in ["sim:ixgbe", "sim:virtio-net"] {
        let (_host, mut port, mut far) = on_a_wire(spec, &Config::new());
        port.sleep_us(1000);
        let (_rx, mut tx) = port.take_queues().unwrap();
        let (mut batch, mut frame, mut arrived) = (Batch::new(4), Vec::new(), 0);
        for number in 1..=50 {
            batch.push(port.pool.frame_from(&[2; 60]).unwrap()).unwrap();
            assert_eq!(tx.submit(&mut batch), TxState::Running, "{spec}");
            while far.receive(&mut frame) {
                arrived += 1;
            }
            assert_eq!(arrived, if number == 1 { 0 } else { number }, "{spec}: each call but the first moves the card");
        }
        drop((tx, batch));
        port.finish().check().unwrap();
    }
}

#[test]
fn a_cards_spec_says_what_moves_it() {
    let link = |mut host: Host, spec: &str| {
        let (near, _far) = peer::pair(4);
        let mut port = host.plug(spec, Box::new(near)).unwrap().start(&Config::new()).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        let moved = port.control.link().up;
        let begin = Instant::now();
        while !port.control.link().up {
            assert!(begin.elapsed() < LONG, "{spec}");
            port.sleep_us(100);
        }
        port.finish().check().unwrap();
        moved
    };
    assert!(!link(Host::stepped(), "sim:ixgbe") && !link(Host::new(), "sim:ixgbe,run=stepped"));
    // A card with a thread may be slow on a busy machine.
    let eventually = |host: fn() -> Host, spec| (0..20).any(|_| link(host(), spec));
    assert!(eventually(Host::new, "sim:ixgbe") && eventually(Host::stepped, "sim:ixgbe,run=threads"));
}
