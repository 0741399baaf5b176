//! `vfio-user:PATH`: simulated cards served at sockets, driven as devices that another process has.

mod common;

#[cfg(feature = "cli")]
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use barewire::sim::Model;
use barewire::sim::wire::{Sent, Wire, peer};
use barewire::{Batch, Config, DeviceState, Error, Event, Host, Port, Spec};
use common::ports::{self, PROMISCUOUS, until};
use common::served::Served;
use common::{Directory, example};

/// The model of `sim:ixgbe` and the like.
fn model(card: &str) -> Box<dyn Model> {
    match card.parse() {
        Ok(Spec::Sim(spec)) => spec.model([2, 0, 0, 0, 0, 0x42]),
        other => panic!("{card}: {other:?}"),
    }
}

fn start(host: &mut Host, served: &Served, config: &Config) -> Port {
    let mut port = host.open(&served.spec).unwrap().start(config).unwrap();
    assert_eq!(port.name(), served.spec);
    until("a link", || port.control.link().up);
    port
}

/// Frames of all lengths with a pattern of their own.
fn frames() -> Vec<Vec<u8>> {
    let frame = |n: u8| (0..60 + 30 * usize::from(n)).map(|i| if i == 0 { 2 } else { (i as u8).wrapping_mul(7).wrapping_add(n) }).collect();
    (0..40).map(frame).collect()
}

fn forward(from: &str, to: &str) {
    let directory = Directory::new(&format!("vfio-user-{}-{}", from.replace([':', '='], "-"), to.replace([':', '='], "-")));
    let ((a_near, a_far), (b_near, b_far)) = (peer::pair(64), peer::pair(64));
    let (served_a, served_b) = (Served::start(&directory, "a", model(from), a_near), Served::start(&directory, "b", model(to), b_near));
    let (mut host, config) = (Host::new(), Config::new().rx_mode(PROMISCUOUS));
    let (a, b) = (start(&mut host, &served_a, &config), start(&mut host, &served_b, &config));
    ports::forward((a, a_far), (b, b_far), &frames());
}

#[test]
fn frames_cross_between_two_servers_without_a_copy() {
    forward("sim:ixgbe", "sim:ixgbe,card=x540");
    forward("sim:ixgbe,card=x540-vf", "sim:ixgbe,card=x550-vf");
    forward("sim:virtio-net", "sim:virtio-net");
    forward("sim:ixgbe", "sim:virtio-net");
}

#[test]
fn an_interrupt_wakes_the_program() {
    for card in ["sim:ixgbe", "sim:virtio-net"] {
        let directory = Directory::new(&format!("vfio-user-interrupt-{}", &card[4..]));
        let (near, mut far) = peer::pair(64);
        let served = Served::start(&directory, "nic", model(card), near);
        let config = Config::new().rx_mode(PROMISCUOUS).interrupts(true);
        let mut port = start(&mut Host::new(), &served, &config);
        let (mut rx, _tx) = port.take_queues().unwrap();
        let mut batch = Batch::new(8);
        for frame in &frames()[..5] {
            // What is left of the frame before.
            while rx.interrupt().unwrap().wait(Some(0)).unwrap() > 0 {}
            assert!(!rx.arm(), "nothing is there yet");
            assert_eq!(far.send(frame), Sent::Taken);
            assert!(rx.interrupt().unwrap().wait(Some(10_000_000)).unwrap() > 0, "{card}");
            until("the frame", || rx.poll(&mut batch, 8) == 1);
            assert_eq!(batch.pop().unwrap().data(), frame);
        }
    }
}

#[test]
fn a_server_is_opened_again_and_again() {
    let directory = Directory::new("vfio-user-again");
    let (near, _far) = peer::pair(4);
    let served = Served::start(&directory, "nic", model("sim:ixgbe"), near);
    for _ in 0..3 {
        start(&mut Host::new(), &served, &Config::new()).finish().check().unwrap();
    }
}

#[test]
fn a_server_that_ends_is_an_event_and_the_port_still_ends() {
    let directory = Directory::new("vfio-user-gone");
    let (near, _far) = peer::pair(4);
    let mut served = Served::start(&directory, "nic", model("sim:ixgbe"), near);
    let mut port = start(&mut Host::new(), &served, &Config::new());
    assert_eq!(port.event(), None);
    served.stop();
    until("the event", || port.event() == Some(Event::State(DeviceState::Gone)));
    let (mut rx, mut batch) = (port.rx.remove(0), Batch::new(8));
    assert_eq!(rx.poll(&mut batch, 8), 0);
    drop(rx);
    let begun = Instant::now();
    drop(port);
    assert!(begun.elapsed() < Duration::from_secs(5));
    let Err(Error::Vfio(error)) = barewire::open(&served.spec) else { panic!("the server has ended") };
    assert!(error.to_string().contains("there is nothing at"), "{error}");
}

#[test]
fn devices_of_other_kinds_share_no_memory_with_a_server() {
    let directory = Directory::new("vfio-user-kinds");
    let (near, _far) = peer::pair(4);
    let served = Served::start(&directory, "nic", model("sim:ixgbe"), near);
    let mut host = Host::new();
    let _device = host.open(&served.spec).unwrap();
    for (spec, kind) in [("sim:ixgbe", "a simulated card"), ("ffff:ff:1f.7", "a PCI function")] {
        let error = host.open(spec).unwrap_err();
        let wanted = format!("{spec}: {kind} cannot share memory with {}; open it by a host of its own", served.spec);
        assert!(matches!(error, Error::NotSharable { .. }) && error.to_string().starts_with(&wanted), "{error}");
    }
}

/// An ARP request for 10.9.0.2 from 10.9.0.1 (RFC 826).
fn arp_request() -> Vec<u8> {
    let ours = [2, 0, 0, 0, 0, 0x77];
    [&[0xff; 6][..], &ours, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &ours, &[10, 9, 0, 1], &[0; 6], &[10, 9, 0, 2]].concat()
}

#[test]
fn respond_answers_from_another_process() {
    for card in ["sim:ixgbe", "sim:virtio-net"] {
        let directory = Directory::new(&format!("vfio-user-respond-{}", &card[4..]));
        let (near, mut far) = peer::pair(64);
        let served = Served::start(&directory, "nic", model(card), near);
        let mut command = example("respond");
        command.args([&served.spec, "--ip", "10.9.0.2/24"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut respond = command.spawn().unwrap();
        let (mut answer, mut asked) = (Vec::new(), Instant::now());
        let begun = asked;
        // Until its link is up, frames are lost as on any cable.
        let answered = loop {
            if far.receive(&mut answer) && answer[..6] == [2, 0, 0, 0, 0, 0x77] {
                break true;
            }
            if begun.elapsed() > Duration::from_secs(20) {
                break false;
            }
            if asked.elapsed() > Duration::from_millis(50) {
                far.send(&arp_request());
                asked = Instant::now();
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        if answered {
            assert!(std::process::Command::new("kill").args(["-INT", &respond.id().to_string()]).status().unwrap().success());
        } else {
            respond.kill().unwrap();
        }
        let ended = respond.wait_with_output().unwrap();
        assert!(answered && ended.status.success(), "{card}: {ended:?}");
        let reply = [&[2, 0, 0, 0, 0, 0x77, 2, 0, 0, 0, 0, 0x42, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 0x42][..], &[10, 9, 0, 2]].concat();
        assert_eq!(answer[..32], reply);
    }
}

/// The tool at both ends: `barewire sim` serves, `barewire info` opens.
#[cfg(feature = "cli")]
#[test]
fn the_tool_opens_what_the_tool_serves() {
    let directory = Directory::new("vfio-user-tool");
    let (socket, wire) = (directory.file("nic"), format!("dgram={}:{}", directory.file("local"), directory.file("remote")));
    let tool = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_barewire"));
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let server = tool(&["sim", "--device", "ixgbe,mac=02:00:00:00:00:07", "--socket", &socket, "--wire", &wire]);
    until("the socket", || Path::new(&socket).exists());
    let info = tool(&["info", &format!("vfio-user:{socket}")]).wait_with_output().unwrap();
    assert!(std::process::Command::new("kill").args(["-INT", &server.id().to_string()]).status().unwrap().success());
    let served = server.wait_with_output().unwrap();
    let text = String::from_utf8(info.stdout.clone()).unwrap();
    assert!(info.status.success() && text.contains("02:00:00:00:00:07") && text.contains("82599"), "{info:?}");
    assert!(served.status.success(), "no client did what the datasheet forbids: {served:?}");
}

#[cfg(feature = "cli")]
#[test]
fn a_second_client_and_one_whose_server_is_killed_are_told_at_once() {
    // Of a busy machine; what waits for a limit waits for five seconds.
    const AT_ONCE: Duration = Duration::from_secs(3);
    let directory = Directory::new("vfio-user-others");
    let (socket, wire) = (directory.file("nic"), format!("dgram={}:{}", directory.file("local"), directory.file("remote")));
    let spec = format!("vfio-user:{socket}");
    let serve = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_barewire"));
        command.args(["sim", "--device", "ixgbe", "--socket", &socket, "--wire", &wire]).stdin(Stdio::null()).stdout(Stdio::piped());
        Ended(command.spawn().unwrap())
    };
    let start = || {
        let mut command = example("respond");
        command.args([&spec, "--ip", "10.9.0.2/24"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut respond = Ended(command.spawn().unwrap());
        let mut line = String::new();
        BufReader::new(respond.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("answers as 10.9.0.2/24"), "{line}");
        respond
    };
    let told = |wanted: &str| {
        let begun = Instant::now();
        let outcome = common::run("pktgen", &[&spec, "--count", "1"]);
        assert!(begun.elapsed() < AT_ONCE, "{:?}: {outcome:?}", begun.elapsed());
        assert!(outcome.status == Some(1) && outcome.stderr.contains(wanted), "{outcome:?}");
    };
    let mut server = serve();
    until("the socket", || Path::new(&socket).exists());
    let mut first = start();
    told("the server serves another client, and one at a time. To mend it: end the server's other client first");
    // Whose client was killed serves the next.
    first.0.kill().unwrap();
    first.0.wait().unwrap();
    let mut next = start();
    server.0.kill().unwrap();
    server.0.wait().unwrap();
    let begun = Instant::now();
    assert_eq!(next.0.wait().unwrap().code(), Some(1));
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    // It left its socket behind.
    told("no server listens at");
    let _server = serve();
    until("an answer", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    start();
}

/// A process that ends with the test.
#[cfg(feature = "cli")]
struct Ended(std::process::Child);

#[cfg(feature = "cli")]
impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
