//! The ports of one host have their buffers in one pool, where it serves them all.

mod common;

use barewire::driver_core::device::{Caps, ConfigError, ErrorKind, Offloads};
use barewire::sim::wire::peer::{self, Peer};
use barewire::sim::wire::{Sent, Wire};
use barewire::{Batch, BufPool, Config, Device, Error, Host, PoolConfig, Port, TxDrops};
use common::ports::{PROMISCUOUS, until};
use common::{Directory, example};

const IXGBE: &str = "sim:ixgbe";
const VIRTIO: &str = "sim:virtio-net";

fn config() -> Config {
    Config::new().rx_mode(PROMISCUOUS)
}

/// The pool that a device has where it is alone.
fn alone(spec: &str, config: &Config) -> (u32, u32) {
    let port = barewire::open(spec).unwrap().start(config).unwrap();
    (port.pool.len(), port.pool.data_bytes())
}

/// Devices of one host, and the far ends of their wires.
fn open<const DEVICES: usize>(host: &mut Host, specs: [&str; DEVICES]) -> [(Device, Peer); DEVICES] {
    specs.map(|spec| {
        let (near, far) = peer::pair(512);
        (host.plug(spec, Box::new(near)).unwrap(), far)
    })
}

fn start(device: Device) -> Port {
    device.start(&config()).unwrap()
}

/// Sends frames through each port to the other, both ways at once, and counts how many were in the pool of the port that they left by. Both ports end without complaint.
fn swap(ports: [(Port, Peer); 2], frames: u8) -> usize {
    let [(mut a, mut a_far), (mut b, mut b_far)] = ports;
    until("links", || a.control.link().up && b.control.link().up);
    let ((mut a_rx, mut a_tx), (mut b_rx, mut b_tx)) = (a.take_queues().unwrap(), b.take_queues().unwrap());
    for number in 0..frames {
        assert_eq!((a_far.send(&[number; 60]), b_far.send(&[number; 1514])), (Sent::Taken, Sent::Taken));
    }
    let ([mut there, mut back], mut drops) = ([Batch::new(32), Batch::new(32)], TxDrops::new());
    let (mut at_b, mut at_a, mut own, mut frame) = (Vec::new(), Vec::new(), 0, Vec::new());
    until("all frames", || {
        let waiting = [there.len(), back.len()];
        a_rx.poll(&mut there, 32);
        b_rx.poll(&mut back, 32);
        own += there.frames()[waiting[0]..].iter().filter(|frame| b.pool.owns(frame)).count();
        own += back.frames()[waiting[1]..].iter().filter(|frame| a.pool.owns(frame)).count();
        b_tx.submit_or_drop(&mut there, &mut drops).unwrap();
        a_tx.submit_or_drop(&mut back, &mut drops).unwrap();
        for (far, seen) in [(&mut b_far, &mut at_b), (&mut a_far, &mut at_a)] {
            while far.receive(&mut frame) {
                seen.push((frame[0], frame.len()));
            }
        }
        at_b.len() + at_a.len() >= 2 * usize::from(frames)
    });
    for (seen, len) in [(at_b, 60), (at_a, 1514)] {
        assert!(seen.into_iter().eq((0..frames).map(|number| (number, len))));
    }
    assert_eq!((drops.frames(), a_tx.counters().bounced + b_tx.counters().bounced), (0, 0));
    drop((a_rx, a_tx, b_rx, b_tx, there, back));
    for port in [a, b] {
        let report = port.finish();
        assert_eq!((report.accounts.rx_delivered, report.accounts.tx_taken, report.accounts.tx_lost), (frames.into(), frames.into(), 0));
        report.check().unwrap();
    }
    own
}

#[test]
fn two_ports_swap_within_one_pool() {
    for specs in [[IXGBE, IXGBE], [IXGBE, VIRTIO], [VIRTIO, IXGBE], [VIRTIO, VIRTIO]] {
        let mut host = Host::new();
        let [(a, a_far), (b, b_far)] = open(&mut host, specs);
        let [a, b] = [a, b].map(|device| device.start(&config()).unwrap());
        assert!(a.pool.is_same(&b.pool), "{specs:?}");
        let pool = a.pool.clone();
        assert_eq!(swap([(a, a_far), (b, b_far)], 200), 400, "{specs:?}: each frame is the other port's own");
        assert_eq!(pool.available(), pool.len(), "{specs:?}: every buffer is back");
    }
}

/// `forward` opens both of its devices before it starts them.
#[test]
fn the_forwarding_example_shares_a_pool() {
    let directory = Directory::new("pools-forward");
    let [one, other] = ["one", "other"].map(|name| format!("{IXGBE},pcap-out={}", directory.file(&format!("{name}.pcap"))));
    let run = example("forward").args([&one, &other]).args(["--seconds", "0.1"]).env("RUST_LOG", "barewire=info").output().unwrap();
    let (said, (len, data_bytes)) = (String::from_utf8_lossy(&run.stderr), alone(IXGBE, &Config::new()));
    for name in [one, other] {
        let wanted = format!("{name}: shares a pool of {} buffers of {data_bytes} bytes with the devices of its host", 2 * len);
        assert!(said.contains(&wanted), "{wanted}: {run:?}");
    }
}

#[test]
fn it_is_as_large_as_all_that_are_open_need() {
    let queues = config().rx_ring(256).tx_ring(128).rx_queues(3).tx_queues(2);
    for config in [config(), queues, config().mtu(9000), config().mtu(9000).offloads(Offloads::all() - Offloads::RX_SCATTER)] {
        let mut host = Host::new();
        let [(a, _), (closed, _), (b, _), (given, _)] = open(&mut host, [IXGBE; 4]);
        drop(closed);
        let own = given.pool(PoolConfig::new(4096).data_bytes(10 * 1024)).unwrap();
        let given = given.start(&config.clone().pool(own.clone())).unwrap();
        let [a, b] = [a, b].map(|device| device.start(&config).unwrap());
        let (len, data_bytes) = alone(IXGBE, &config);
        assert_eq!((a.pool.len(), a.pool.data_bytes()), (2 * len, data_bytes), "neither for who is gone, nor for who has another");
        assert!(b.pool.is_same(&a.pool) && given.pool.is_same(&own) && !own.is_same(&a.pool));
    }
}

#[test]
fn who_would_not_do_with_it_has_another_and_frames_go_between_them() {
    let in_one_piece = config().mtu(9000).offloads(Offloads::all() - Offloads::RX_SCATTER);
    for other in [config().rx_queues(4), config().rx_ring(4096), in_one_piece] {
        let mut host = Host::new();
        let [(a, a_far), (b, b_far)] = open(&mut host, [IXGBE, IXGBE]);
        let (a, b) = (a.start(&config()).unwrap(), b.start(&other).unwrap());
        assert!(!a.pool.is_same(&b.pool) && (b.pool.len(), b.pool.data_bytes()) == alone(IXGBE, &other), "{other:?}");
        if other.rx_config().queue_count() == 1 {
            assert_eq!(swap([(a, a_far), (b, b_far)], 50), 0);
        }
    }
}

#[test]
fn a_port_that_ends_makes_room_for_one_that_is_opened_later() {
    let mut host = Host::new();
    let late = |host: &mut Host| {
        let [(device, _)] = open(host, [IXGBE]);
        start(device)
    };
    let [(a, _), (b, _)] = open(&mut host, [IXGBE, IXGBE]);
    let (a, b) = (start(a), start(b));
    let pool = b.pool.clone();
    let on_its_own = late(&mut host);
    assert!(a.pool.is_same(&pool) && !on_its_own.pool.is_same(&pool), "nothing was left of it");
    a.finish().check().unwrap();
    let in_its_place = late(&mut host);
    assert!(in_its_place.pool.is_same(&pool));
    // One that is not started at last is as if it had not been there.
    drop(in_its_place);
    let [(refused, _)] = open(&mut host, [IXGBE]);
    refused.start(&config().rx_ring(100)).unwrap_err();
    let again = late(&mut host);
    assert!(again.pool.is_same(&pool));
    for port in [b, on_its_own, again] {
        port.finish().check().unwrap();
    }
    // The last port took it along.
    let [(c, _), (d, _)] = open(&mut host, [IXGBE, IXGBE]);
    let (c, d) = (start(c), start(d));
    assert!(c.pool.is_same(&d.pool) && !c.pool.is_same(&pool));
    assert_eq!(pool.available(), pool.len(), "and every buffer was back");
}

#[test]
fn buffers_that_an_application_keeps_keep_nobody_from_starting() {
    let mut host = Host::new();
    let [(a, _), (b, _)] = open(&mut host, [IXGBE, VIRTIO]);
    let a = start(a);
    let mut kept = Batch::new(a.pool.len() as usize);
    kept.fill(&a.pool, a.pool.available() as usize);
    let b = start(b);
    assert!(!a.pool.is_same(&b.pool) && b.pool.available() > 0);
    drop(kept);
    for port in [a, b] {
        port.finish().check().unwrap();
    }
}

#[test]
fn a_pool_made_for_the_host_serves_all_that_are_started_from_then_on() {
    let jumbo = config().mtu(9000);
    for specs in [[IXGBE, IXGBE], [IXGBE, VIRTIO], [VIRTIO, VIRTIO]] {
        let mut host = Host::new();
        assert!(matches!(host.pool(PoolConfig::new(4096)), Err(Error::NoDomain)));
        let [(a, mut far)] = open(&mut host, [specs[0]]);
        let pool = host.pool(PoolConfig::new(6144).data_bytes(9216)).unwrap();
        let [(b, _), (c, _)] = open(&mut host, [specs[1], IXGBE]);
        let own: BufPool = c.pool(PoolConfig::new(2048)).unwrap();
        let [mut a, b] = [a, b].map(|device| device.start(&jumbo).unwrap());
        let c = c.start(&jumbo.clone().pool(own.clone())).unwrap();
        assert!(a.pool.is_same(&pool) && b.pool.is_same(&pool) && c.pool.is_same(&own), "{specs:?}");
        until("a link", || a.control.link().up);
        let (sent, (mut rx, _tx), mut batch) = (vec![2; 9014], a.take_queues().unwrap(), Batch::new(4));
        assert_eq!(far.send(&sent), Sent::Taken);
        until("the frame", || rx.poll(&mut batch, 4) == 1);
        assert_eq!((batch.frames()[0].is_linear(), batch.frames()[0].data()), (true, &sent[..]), "{specs:?}");
    }
}

#[test]
fn a_device_that_the_hosts_pool_does_not_serve_says_why() {
    let mut host = Host::new();
    let [(a, _), (b, _)] = open(&mut host, [IXGBE, IXGBE]);
    host.pool(PoolConfig::new(700)).unwrap();
    let error = b.start(&config().rx_ring(1024)).unwrap_err();
    let Error::Device(of_device) = &error else { panic!("{error}") };
    assert!(matches!(of_device.kind(), ErrorKind::Config(ConfigError::PoolCount { buffers: 700, .. })), "{error}");
    let error = host.pool(PoolConfig::new(0)).unwrap_err().to_string();
    assert!(error.starts_with("the host's devices: making a pool of buffers: a pool of 0 buffers"), "{error}");
    let a = start(a);
    assert_eq!(a.pool.len(), 700, "what cannot be made replaces nothing");
    assert!(a.control.info().used_caps.contains(Caps::RX_SCATTER));
    let error = Error::NoDomain.to_string();
    assert!(error.contains("open one of them before making the pool"), "{error}");
}
