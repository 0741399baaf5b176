//! Answers ARP, ping and UDP echo over IPv4 and IPv6: smoltcp does the protocols, the queues carry its frames.
//!
//! Packets over IPv4 that come in fragments are put together, four at a time; over IPv6, where smoltcp has no reassembly, fragments stay unanswered.

mod address;
#[path = "../common/mod.rs"]
mod common;
mod echo;
mod nic;
mod screen;

use std::process::ExitCode;
use std::time::Instant as Monotonic;

use barewire::{Config, Error, MacAddr};
use clap::Parser;
use common::{Run, finish, say};
use echo::Echo;
use nic::{Nic, Source};
use screen::Screen;
use smoltcp::iface::{Config as InterfaceConfig, Interface, PollIngressSingleResult, SocketSet};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr, Ipv4Cidr, Ipv6Address, Ipv6Cidr};

/// Answers ARP, ICMP and ICMPv6 echo, neighbour discovery, and UDP echo on port 7, until Ctrl-C.
///
/// A second host with one of its addresses is told. Exit status 1: the device failed; 2: wrong usage.
#[derive(Parser)]
struct Args {
    /// The device: 0000:01:00.0, vfio-user:PATH, or sim:ixgbe or sim:virtio-net with ,key=value options
    device: String,
    /// The IPv4 address and the length of its network's prefix
    #[arg(long, value_name = "ADDR/LEN", value_parser = address::ipv4)]
    ip: Ipv4Cidr,
    /// A further IPv6 address; a link-local one is made from the device's own
    #[arg(long, value_name = "ADDR/LEN", value_parser = address::ipv6)]
    ip6: Option<Ipv6Cidr>,
    /// The longest payload of a frame [default: 1500, or less where the device allows no more]
    #[arg(long, value_name = "BYTES")]
    mtu: Option<u32>,
    /// Sleep until an interrupt where there is nothing to do, instead of polling
    #[arg(long, alias = "wait")]
    interrupts: bool,
}

fn main() -> ExitCode {
    common::main(run)
}

fn run(args: &Args) -> Result<bool, Error> {
    let device = barewire::open(&args.device)?;
    let config = Config::new().interrupts(args.interrupts);
    let config = if let Some(mtu) = args.mtu { config.mtu(mtu) } else { config };
    let mut port = device.start(&config)?;
    for suggested in port.affinity() {
        log::info!("{suggested}");
    }
    let Some((rx, tx)) = port.take_queues() else { unreachable!("a started port has queues") };
    let source = Source::new(rx);
    let hardware = EthernetAddress(port.control.mac().0);
    let ipv6 = [Some(link_local(port.control.mac())), args.ip6].into_iter().flatten().map(|cidr| cidr.address()).collect();
    let screen = Screen::new(hardware, args.ip.address(), ipv6);
    let mut nic = Nic::new(&args.device, source, tx, port.pool.clone(), port.control.mtu(), screen);
    let mut stack = Stack::new(&mut nic, port.control.mac(), args);
    port.control.set_multicast_filters(&stack.multicast_groups())?;
    say(format_args!("{}: {} answers as {}", port.name(), port.control.mac(), stack.addresses()));

    let mut run = Run::new(None);
    run.wait_for_links(&mut [&mut port]);
    nic.probe();
    let mut outcome = Ok(());
    while run.goes_on(&mut [&mut port]) {
        match stack.turn(&mut nic) {
            Ok(worked) => run.rest_unless(worked || args.interrupts),
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
    }
    let totals = port.control.stats();
    let ended = finish([port], &[totals], outcome);
    say(format_args!("refused={} echoed={}", nic.refused.frames(), stack.echo.echoed));
    ended.map(|()| true)
}

/// The protocols.
struct Stack {
    /// What its timers count from: the time of day may be set while it runs.
    start: Monotonic,
    interface: Interface,
    sockets: SocketSet<'static>,
    echo: Echo,
}

impl Stack {
    fn new(nic: &mut Nic, mac: MacAddr, args: &Args) -> Self {
        let hardware = EthernetAddress(mac.0);
        let mut interface = Interface::new(InterfaceConfig::new(HardwareAddress::Ethernet(hardware)), nic, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            let own = [Some(IpCidr::Ipv4(args.ip)), Some(IpCidr::Ipv6(link_local(mac))), args.ip6.map(IpCidr::Ipv6)];
            // smoltcp has room for two unless a feature (in Cargo.toml) asks for more.
            addresses.extend(own.into_iter().flatten());
        });
        let mut sockets = SocketSet::new(Vec::new());
        let echo = Echo::new(&mut sockets);
        Self { start: Monotonic::now(), interface, sockets, echo }
    }

    /// The Ethernet groups that neighbour discovery needs: all nodes, and each address's solicited-node group (RFC 4291 section 2.7.1, RFC 2464 section 7).
    fn multicast_groups(&self) -> Vec<MacAddr> {
        let own = self.interface.ip_addrs().iter().filter_map(|cidr| match cidr {
            IpCidr::Ipv6(cidr) => {
                let [.., a, b, c] = cidr.address().octets();
                Some(MacAddr([0x33, 0x33, 0xff, a, b, c]))
            }
            IpCidr::Ipv4(_) => None,
        });
        [MacAddr([0x33, 0x33, 0, 0, 0, 1])].into_iter().chain(own).collect()
    }

    fn addresses(&self) -> String {
        self.interface.ip_addrs().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    /// One round: what arrived is answered, frame by frame, so that no socket's buffer runs over. Returns whether there was any work.
    fn turn(&mut self, nic: &mut Nic) -> Result<bool, Error> {
        let received = nic.receive_frames()?;
        let now = Instant::from_micros(self.start.elapsed().as_micros() as i64);
        let mut processed = false;
        while self.interface.poll_ingress_single(now, nic, &mut self.sockets) != PollIngressSingleResult::None {
            processed = true;
            self.echo(now);
            self.interface.poll_egress(now, nic, &mut self.sockets);
            self.echo.look_what_left(now, &mut self.sockets);
            nic.send_frames()?;
        }
        self.interface.poll_egress(now, nic, &mut self.sockets);
        self.echo.look_what_left(now, &mut self.sockets);
        let sent = nic.send_frames()?;
        Ok(received || processed || sent)
    }

    /// Has datagrams sent back to where they came from.
    fn echo(&mut self, now: Instant) {
        let own = self.interface.ip_addrs();
        self.echo.turn(now, &mut self.sockets, |address| own.iter().any(|cidr| cidr.address() == address));
    }
}

/// The link-local address with the interface identifier of RFC 4291, appendix A.
fn link_local(mac: MacAddr) -> Ipv6Cidr {
    let [a, b, c, d, e, f] = mac.0;
    let word = |high, low| u16::from_be_bytes([high, low]);
    Ipv6Cidr::new(Ipv6Address::new(0xfe80, 0, 0, 0, word(a ^ 2, b), word(c, 0xff), word(0xfe, d), word(e, f)), 64)
}
