//! A tap device that is deleted takes its card with it, and whoever runs on that card ends.

#[path = "common/namespace.rs"]
mod namespace;

mod common;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use barewire::driver_core::host::PciErrorKind;
use barewire::{Batch, Config, DeviceState, Error, PollError, Poller, Port, QueueFault};
use common::{Directory, example};
use namespace::{has_carrier, in_namespace, ip, soon};

const SENTENCE: &str = "bw0: the device was removed while the wire was in use: make it again and start anew";
/// How long an end may take that is told within a tenth of a second, on a busy machine.
const LIMIT: Duration = Duration::from_secs(5);

/// A tap device that is up and nobody's yet.
fn add_tap() {
    ip("tuntap add dev bw0 mode tap");
    ip("link set bw0 up");
}

/// A program, ended in any case.
struct Program(Option<Child>);

impl Program {
    fn start(mut command: Command) -> Self {
        Self(Some(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()))
    }

    fn is_running(&mut self) -> bool {
        self.0.as_mut().unwrap().try_wait().unwrap().is_none()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn every_program_ends_with_the_tap_and_says_why() {
    if !in_namespace("every_program_ends_with_the_tap_and_says_why") {
        return;
    }
    let directory = Directory::new("deleted-tap");
    let (written, other, socket) = (directory.file("out.pcap"), directory.file("other.pcap"), directory.file("nic.sock"));
    let far = format!("sim:virtio-net,pcap-out={other}");
    let [ixgbe, virtio] = ["sim:ixgbe,tap=bw0", "sim:virtio-net,tap=bw0"];
    let table: [(&str, &[&str]); 9] = [
        ("first", &[ixgbe]),
        ("first", &[virtio]),
        ("respond", &[ixgbe, "--ip", "10.9.0.2/24"]),
        ("respond", &[virtio, "--ip", "10.9.0.2/24", "--interrupts"]),
        ("pktgen", &[ixgbe]),
        ("capture", &[ixgbe, "--write", &written]),
        ("forward", &[ixgbe, &far]),
        ("barewire", &["stats", "sim:ixgbe,tap=bw0", "--seconds", "60"]),
        ("barewire", &["sim", "--device", "ixgbe", "--socket", &socket, "--wire", "tap=bw0,slow-us=1"]),
    ];
    for (name, arguments) in table {
        let what = format!("{name} {arguments:?}");
        add_tap();
        let mut command = if name == "barewire" { Command::new(env!("CARGO_BIN_EXE_barewire")) } else { example(name) };
        command.args(arguments);
        let mut program = Program::start(command);
        soon(&what, || has_carrier("bw0") || !program.is_running());
        // It is plugged in: let it come into its loop.
        std::thread::sleep(Duration::from_millis(300));
        assert!(program.is_running(), "{what}");
        ip("link del bw0");
        let begin = Instant::now();
        while program.is_running() {
            assert!(begin.elapsed() < LIMIT, "{what}: it goes on");
            std::thread::sleep(Duration::from_millis(10));
        }
        let output = program.0.take().unwrap().wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{what}: {stderr}");
        assert!(stderr.lines().last().is_some_and(|line| line.ends_with(SENTENCE)), "{what}: {stderr}");
    }
}

/// What a deleted tap is to a program that looks.
fn assert_gone(mut port: Port, name: &str) {
    soon("the event", || port.event().is_some());
    assert_eq!((port.control.state(), port.control.link().up), (DeviceState::Gone, false), "{name}");
    assert_eq!((port.rx[0].fault(), port.tx[0].fault()), (Some(QueueFault::Gone), Some(QueueFault::Gone)), "{name}");
    let Some(Error::Wire { device, error }) = port.failure() else { panic!("{name}: {:?}", port.failure()) };
    assert!(device == name && error.is_gone() && error.to_string() == SENTENCE, "{device}: {error}");
    let frame = port.pool.frame_from(&[2; 60]).unwrap();
    let mut batch = Batch::new(1);
    batch.push(frame).unwrap();
    let _ = port.tx[0].submit(&mut batch);
    assert_eq!(batch.len(), 1, "{name}: a queue whose device is gone takes nothing");
    drop(batch);
    let text = port.finish().check().unwrap_err().to_string();
    assert_eq!(text, format!("{name}: {SENTENCE}"));
}

#[test]
fn it_is_a_fault_of_the_queues_and_wakes_who_sleeps() {
    if !in_namespace("it_is_a_fault_of_the_queues_and_wakes_who_sleeps") {
        return;
    }
    for name in ["sim:ixgbe,tap=bw0", "sim:virtio-net,tap=bw0"] {
        add_tap();
        let port = barewire::open(name).unwrap().start(&Config::new()).unwrap();
        ip("link del bw0");
        assert_gone(port, name);
        // One that sleeps without a limit, and looks at nothing.
        add_tap();
        let mut port = barewire::open(name).unwrap().start(&Config::new().interrupts(true)).unwrap();
        let (rx, _tx) = port.take_queues().unwrap();
        let mut poller = Poller::new(rx).map_err(|_| "no interrupt").unwrap();
        let sleeper = std::thread::spawn(move || {
            loop {
                let mut batch = Batch::new(64);
                if let Err(error) = poller.next(&mut batch, None) {
                    return error;
                }
            }
        });
        std::thread::sleep(Duration::from_millis(200));
        assert!(!sleeper.is_finished(), "{name}: it sleeps");
        ip("link del bw0");
        soon("the sleeper's end", || sleeper.is_finished());
        let told = sleeper.join().unwrap();
        assert!(matches!(&told, PollError::Interrupt(error) if error.kind == PciErrorKind::Gone), "{name}: {told:?}");
        assert!(port.finish().check().unwrap_err().to_string().ends_with(SENTENCE), "{name}");
    }
}

/// What the kernel's ping says, without fragments: as much as the MTU less the headers of IPv4 and ICMP, 28 bytes, and no byte more.
#[test]
fn a_ping_is_as_long_as_the_mtu_allows_and_no_longer() {
    if !in_namespace("a_ping_is_as_long_as_the_mtu_allows_and_no_longer") {
        return;
    }
    // A virtio device does not look whether the four bytes of a VLAN tag are one.
    for (card, mtu, fits, too_long) in [
        ("sim:ixgbe", "1500", 1472, 1473),
        ("sim:ixgbe", "9000", 8972, 8973),
        ("sim:virtio-net", "1500", 1472, 1477),
        ("sim:virtio-net", "9000", 8972, 8977),
    ] {
        add_tap();
        // The kernel may send more than the card takes.
        ip("link set bw0 mtu 9100");
        ip("addr add 10.9.0.1/24 dev bw0");
        let mut command = example("respond");
        command.args([&format!("{card},tap=bw0"), "--ip", "10.9.0.2/24", "--mtu", mtu]);
        let mut program = Program::start(command);
        let pings = |len: u32, wait: &str| {
            let mut ping = Command::new("ping");
            ping.args(["-c", "1", "-W", wait, "-M", "do", "-s", &len.to_string(), "10.9.0.2"]);
            ping.output().unwrap().status.success()
        };
        soon("an answer", || !program.is_running() || pings(56, "1"));
        assert!(program.is_running());
        assert_eq!([pings(fits, "5"), pings(too_long, "1")], [true, false], "{card} with an MTU of {mtu}");
        drop(program);
        ip("link del bw0");
    }
}
