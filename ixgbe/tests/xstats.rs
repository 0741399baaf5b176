//! Everything the chips count, by name and per queue, added up over counters that are narrow and cleared by reading.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::common::{Card, I82599, MAC, PEER, Started, X540, X550, frame, received, transmit};
use driver_core::buf::Batch;
use driver_core::device::{Config, NetDevice, NetDriver};
use driver_core::ether::MacAddr;
use driver_core::host::{Clock, PciFunction};
use driver_core::queue::{RxQueue, TxState};
use driver_core::testing::Liar;
use sim::ixgbe::Ixgbe as Model;

fn by_name(control: &mut impl NetDevice) -> BTreeMap<String, u64> {
    let all = control.xstats();
    let named: BTreeMap<_, _> = all.iter().map(|xstat| (xstat.name.to_string(), xstat.value)).collect();
    assert_eq!(named.len(), all.len(), "a name twice");
    named
}

/// A clock that a test puts forward, so that half a minute need not be simulated.
struct Leaping {
    below: Arc<dyn Clock>,
    ahead_us: AtomicU64,
}

impl Leaping {
    fn over(card: &Card) -> Arc<Self> {
        Arc::new(Self { below: card.clock.clone(), ahead_us: AtomicU64::new(0) })
    }

    fn pass_s(&self, seconds: u64) {
        self.ahead_us.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
    }
}

impl Clock for Leaping {
    fn now_us(&self) -> u64 {
        self.below.now_us() + self.ahead_us.load(Ordering::Relaxed)
    }
    fn sleep_us(&self, us: u64) {
        self.below.sleep_us(us);
    }
}

fn with_model(card: &Card, act: impl FnOnce(&mut Model)) {
    // SAFETY: the card moves in the test's own thread, and counting makes it access nothing.
    unsafe { card.device.with_model(act) }.unwrap();
}

/// Frames of 9600 bytes that a queue receives and sends in 25 s at 10 Gbit/s, nearly: 2^35 octets.
const FRAMES: u32 = 3_250_000;
const LEN: usize = 9600;

/// Traffic of 25 s, both ways, as far as counters go.
fn traffic_of_25_s(card: &Card, clock: &Leaping) {
    with_model(card, |model| {
        model.count_received(0, FRAMES, LEN);
        model.count_sent(0, FRAMES, LEN);
    });
    clock.pass_s(25);
}

/// A card of which somebody looks after each 25 s of traffic, for long enough that its counters of octets would be full three times.
fn octets_when(config: &Config, mut look: impl FnMut(&mut Started)) -> (BTreeMap<String, u64>, u64) {
    let card = Card::new();
    card.audit.excuse("it counts frames that nobody moves");
    let clock = Leaping::over(&card);
    let mut started = card.audit.watch(ixgbe::open(card.device.function(), clock.clone()).unwrap()).start(config).unwrap();
    let rounds = 8;
    for _ in 0..rounds {
        traffic_of_25_s(&card, &clock);
        look(&mut started);
    }
    let total = rounds * u64::from(FRAMES) * LEN as u64;
    assert!(total > 3 << 36, "{total}");
    let counted = by_name(&mut started.control);
    let stats = started.control.stats();
    assert_eq!((stats.rx_bytes, stats.rx_packets), (counted["rx_q0_bytes"], counted["rx_q0_packets"]));
    (counted, total)
}

#[track_caller]
fn assert_exact((counted, total): (BTreeMap<String, u64>, u64)) {
    let with_fcs = total / LEN as u64 * (LEN as u64 + 4);
    for (name, octets) in [
        ("rx_q0_bytes", total),
        ("tx_q0_bytes", total),
        ("rx_dma_octets", total),
        ("tx_dma_octets", total),
        ("rx_good_octets", with_fcs),
        ("rx_total_octets", with_fcs),
        ("rx_unfiltered_octets", with_fcs),
        ("tx_good_octets", with_fcs),
        ("rx_size_1024_to_max_packets", total / LEN as u64),
        ("tx_q0_packets", total / LEN as u64),
    ] {
        assert_eq!(counted[name], octets, "{name}");
    }
}

#[test]
fn octets_are_exact_where_the_control_handle_is_looked_at_every_25_s() {
    assert_exact(octets_when(&Config::new(), |started| assert!(started.control.watch().is_running())));
    assert_exact(octets_when(&Config::new(), |started| _ = started.control.link()));
    assert_exact(octets_when(&Config::new(), |started| _ = started.control.stats()));
    assert_exact(octets_when(&Config::new(), |started| _ = started.control.xstats()));
}

#[test]
fn octets_are_exact_where_a_queue_is_idle_or_armed_and_nobody_has_the_control_handle() {
    let mut batch = Batch::new(64);
    assert_exact(octets_when(&Config::new(), |started| (0..250).for_each(|_| assert_eq!(started.rx[0].poll(&mut batch, 64), 0))));
    assert_exact(octets_when(&Config::new(), |started| (0..250).for_each(|_| assert_eq!(started.rx[0].poll(&mut batch, 1), 0))));
    assert_exact(octets_when(&Config::new().interrupts(true), |started| assert!(!started.rx[0].arm())));
}

#[test]
fn octets_that_nobody_reads_are_lost_as_on_the_card() {
    let (counted, total) = octets_when(&Config::new(), |_| {});
    assert_eq!(counted["rx_q0_bytes"], (1 << 36) - 1, "of {total}");
    assert_eq!(counted["rx_q0_packets"], 8 * u64::from(FRAMES), "frames have 32 bits");
}

#[test]
fn frames_are_exact_beyond_32_bits() {
    let card = Card::new();
    card.audit.excuse("it counts frames that nobody moves");
    let clock = Leaping::over(&card);
    let mut started = card.audit.watch(ixgbe::open(card.device.function(), clock.clone()).unwrap()).start(&Config::new()).unwrap();
    for _ in 0..12 {
        // 14.88 million a second.
        with_model(&card, |model| model.count_received(0, 372_000_000, 60));
        clock.pass_s(25);
        started.control.watch();
    }
    let counted = by_name(&mut started.control);
    for name in ["rx_q0_packets", "rx_good_packets", "rx_total_packets", "rx_unfiltered_packets", "rx_dma_packets", "rx_size_64_packets"] {
        assert_eq!(counted[name], 12 * 372_000_000, "{name}");
    }
}

#[test]
fn a_look_before_time_reads_no_counter() {
    let (card, liar) = (Card::new(), Liar::default());
    let clock = Leaping::over(&card);
    let mut started = ixgbe::open(card.lying(&liar), clock.clone()).unwrap().start(&Config::new()).unwrap();
    let mut reads = |seconds: u64| {
        clock.pass_s(seconds);
        let before = liar.lies().accesses.0;
        started.control.watch();
        liar.lies().accesses.0 - before
    };
    assert!(reads(1) < 10);
    assert!(reads(18) < 10);
    assert!(reads(1) > 100, "20 s");
    assert!(reads(1) < 10);
    drop(started);
}

#[test]
fn a_stopped_cards_queue_reads_none_of_its_registers() {
    let (card, liar) = (Card::new(), Liar::default());
    let clock = Leaping::over(&card);
    let mut started = ixgbe::open(card.lying(&liar), clock.clone()).unwrap().start(&Config::new().interrupts(true)).unwrap();
    started.control.stop().unwrap();
    let before = liar.lies().accesses;
    clock.pass_s(100);
    let mut batch = Batch::new(8);
    (0..1000).for_each(|_| _ = started.rx[0].poll(&mut batch, 8));
    let _nothing = started.rx[0].arm();
    assert_eq!(liar.lies().accesses, before);
}

#[test]
fn each_chip_has_the_counters_that_it_has() {
    let names = |device: u16| {
        let card = Card::of(device);
        let mut started = card.start(&Config::new());
        by_name(&mut started.control).into_keys().collect::<BTreeSet<_>>()
    };
    let [i82599, x540, x550] = [I82599, X540, X550].map(names);
    let not_in = |one: &BTreeSet<String>, other: &BTreeSet<String>| {
        one.difference(other).map(|name| name.split('_').next().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    assert!(i82599.is_subset(&x540) && !x540.is_subset(&i82599));
    assert_eq!(not_in(&x540, &i82599), ["bmc", "os2bmc"].map(String::from).into());
    assert_eq!(x540.difference(&x550).count(), 7, "FCoE");
    assert!(x540.difference(&x550).all(|name| name.contains("fcoe")) && x550.is_subset(&x540));
    assert!(x540.len() > 140, "{}", x540.len());
}

#[test]
fn frames_are_counted_by_kind_and_size_both_ways() {
    for device in [I82599, X540, X550] {
        let card = Card::of(device);
        let mut started = card.start(&Config::new());
        let [everybody, group] = [MacAddr([0xff; 6]), MacAddr([1, 0, 0x5e, 0, 0, 1])];
        started.control.set_multicast_filters(&[group]).unwrap();
        for (to, len) in [(MAC, 60), (MAC, 61), (everybody, 200), (group, 400), (MAC, 900), (MAC, 1514), (PEER, 1000)] {
            card.send(&frame(to, len, 0));
            assert_eq!(transmit(&mut started.tx[0], &started.pool, &frame(to, len, 0)), TxState::Running);
        }
        // Too long by one.
        card.send(&frame(MAC, 1515, 0));
        card.run_us(100);
        assert_eq!(received(&mut started.rx[0]).len(), 6);
        let counted = by_name(&mut started.control);
        let sizes = ["64", "65_to_127", "128_to_255", "256_to_511", "512_to_1023", "1024_to_max"];
        assert_eq!(sizes.map(|size| counted[&format!("rx_size_{size}_packets")]), [1, 1, 1, 1, 2, 1], "the filter drops after this is counted");
        assert_eq!(sizes.map(|size| counted[&format!("tx_size_{size}_packets")]), [1, 1, 1, 1, 2, 1]);
        let octets = 60 + 61 + 200 + 400 + 900 + 1514;
        for (name, value) in [
            ("rx_good_packets", 6),
            ("rx_good_octets", octets + 6 * 4),
            ("rx_broadcast_packets", 1),
            ("rx_multicast_packets", 1),
            ("rx_unfiltered_packets", 7),
            ("rx_total_packets", 8),
            ("rx_oversize_errors", 1),
            ("rx_q0_packets", 6),
            ("rx_q0_bytes", octets),
            ("rx_q0_dropped", 0),
            ("rx_q0_delivered", 6),
            ("tx_good_packets", 7),
            ("tx_good_octets", octets + 1000 + 7 * 4),
            ("tx_total_packets", 7),
            ("tx_broadcast_packets", 1),
            ("tx_multicast_packets", 1),
            ("tx_q0_packets", 7),
            ("tx_q0_bytes", octets + 1000),
            ("tx_q0_taken", 7),
        ] {
            assert_eq!(counted[name], value, "{device:04x}: {name}");
        }
        let is_named = |name: &str| name.contains("_size_") || name.contains("octets") || name.contains("dma") || name.ends_with("doorbells");
        let others: Vec<_> = counted.iter().filter(|(name, value)| **value != 0 && !is_named(name)).collect();
        assert_eq!(others.len(), 16, "{others:?}");
        card.assert_no_violations();
    }
}

/// Every queue counts in registers of its own, and their sum is the port's.
#[test]
fn queues_count_for_themselves() {
    for queues in [2, 16] {
        let card = Card::new();
        let mut started = card.start(&Config::new().rx_queues(queues).tx_queues(queues).rx_ring(64));
        let n = usize::from(queues);
        for queue in 0..n {
            for _ in 0..=queue {
                assert_eq!(transmit(&mut started.tx[queue], &started.pool, &frame(PEER, 100, 0)), TxState::Running);
            }
        }
        // No IP: all of them belong to queue 0, which has 63 descriptors for the card.
        (0..70).for_each(|seed| card.send(&frame(MAC, 64, seed)));
        let counted = by_name(&mut started.control);
        let each = |direction: &str, what: &str| (0..n).map(|queue| counted[&format!("{direction}_q{queue}_{what}")]).collect::<Vec<_>>();
        let grows: Vec<u64> = (1..=n as u64).collect();
        assert_eq!((each("tx", "packets"), each("tx", "taken")), (grows.clone(), grows.clone()));
        assert_eq!(each("tx", "bytes"), grows.iter().map(|frames| frames * 100).collect::<Vec<_>>());
        let stats = started.control.stats();
        assert_eq!((each("rx", "packets")[0], each("rx", "dropped")[0], stats.rx_missed_errors), (63, 7, 7));
        assert_eq!((each("rx", "packets").iter().sum::<u64>(), each("tx", "packets").iter().sum::<u64>()), (stats.rx_packets, stats.tx_packets));
        assert_eq!(each("rx", "delivered")[0], 0, "nobody has polled");
        assert_eq!(received(&mut started.rx[0]).len(), 63);
        assert_eq!(by_name(&mut started.control)["rx_q0_delivered"], 63);
        assert!(!counted.contains_key(&format!("rx_q{n}_packets")));
        card.assert_no_violations();
    }
}

#[test]
fn a_card_that_stopped_or_went_away_keeps_its_counters() {
    for ends in ["stopped", "gone", "reset"] {
        let card = Card::new();
        let mut started = card.start(&Config::new());
        card.send(&frame(MAC, 300, 0));
        assert_eq!(received(&mut started.rx[0]).len(), 1);
        let before = by_name(&mut started.control);
        match ends {
            "stopped" => started.control.stop().unwrap(),
            "gone" => card.faults(|faults| faults.gone = true),
            // SAFETY: a reset makes the card access less.
            _ => unsafe { card.device.another_function() }.reset().unwrap(),
        }
        assert_eq!((before["rx_size_256_to_511_packets"], before["rx_q0_bytes"]), (1, 300));
        assert_eq!(by_name(&mut started.control), before, "{ends}");
    }
}

/// COUNTERS-LEFT: a reset leaves them, for all that the datasheet says.
#[test]
fn what_was_counted_before_the_start_is_not() {
    let card = Card::new();
    let opened = card.open().unwrap();
    with_model(&card, |model| {
        model.count_received(0, 5, 100);
        model.count_sent(0, 3, 600);
    });
    let mut started = card.audit.watch(opened).start(&Config::new()).unwrap();
    let counted = by_name(&mut started.control);
    let left: Vec<_> = counted.iter().filter(|(name, value)| **value != 0 && !name.ends_with("doorbells")).collect();
    assert!(left.is_empty(), "{left:?}");
}
