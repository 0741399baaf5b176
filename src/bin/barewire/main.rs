//! The `barewire` tool: which network functions a machine has, how they are given to this framework, and what keeps one from it.

mod binding;
mod commands;
mod device;
mod doctor;
mod health;
mod list;
mod output;
mod selftest;
mod sim;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use barewire::Error;
use barewire::driver_core::device::LinkSpeeds;
use barewire::sim::wire::spec::OPTIONS as WIRE_OPTIONS;
use barewire::spec::{PCI_OPTIONS, SIM_OPTIONS};
use barewire::vfio::PciAddress;
use barewire::vfio::sysfs::Root;
use clap::{Parser, Subcommand};
use output::{Report, Style};

/// Network cards for programs of the Barewire family: lists them, gives them to VFIO and back, and finds what is in the way.
///
/// Exit status 0: done, and nothing is in the way; 1: it failed, `doctor` found something in the way, or `selftest` something wrong; 2: wrong usage.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Args {
    #[command(subcommand)]
    command: Command,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    /// Look for sys, proc, dev, run, etc and usr below this folder (for tests; what starts a device knows only this machine)
    #[arg(long, global = true, value_name = "DIR", default_value = "/", hide_default_value = true)]
    root: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// List the PCI network functions
    List,
    /// Give a function to vfio-pci, so that programs can open it
    ///
    /// The function is taken from its driver by driver_override, and `unbind` gives it back. Refused where the machine's default route goes through it.
    Bind {
        /// The function, as `barewire list` shows it
        address: PciAddress,
        /// Give the device node to this user (name or number), who then needs no privileges
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// Bind even where the machine loses its default route
        #[arg(long)]
        force: bool,
    },
    /// Give a function back to the driver that it had before `bind`
    Unbind {
        /// The function, as `barewire list` shows it
        address: PciAddress,
    },
    /// Look for everything that keeps a function from being opened, and tell what mends it
    ///
    /// Red: in the way. Warning: everything works without it, but slower, or for one function only; the exit status is 0 all the same.
    Doctor {
        /// The function; without it the machine alone is looked at
        address: Option<PciAddress>,
    },
    /// Start a device and print what its driver reports
    #[command(after_long_help = options(&[("a PCI function", PCI_OPTIONS), ("a simulated card", SIM_OPTIONS), ("a simulated card's wire", WIRE_OPTIONS)]))]
    Info {
        /// The device: 0000:01:00.0, or sim:ixgbe or sim:virtio-net with ,key=value options
        #[arg(value_name = "SPEC")]
        device: String,
        /// How long to wait for a link
        #[arg(long, value_name = "SECONDS", default_value_t = 3.0, value_parser = output::seconds)]
        wait: f64,
        /// Speeds to offer in auto-negotiation, such as 1G+10G; without it all that the device has
        #[arg(long, value_name = "SPEEDS", value_parser = output::speeds)]
        speeds: Option<LinkSpeeds>,
    },
    /// Start a device, receive for a while without a use for what comes, and print its counters
    #[command(after_long_help = options(&[("a PCI function", PCI_OPTIONS), ("a simulated card", SIM_OPTIONS), ("a simulated card's wire", WIRE_OPTIONS)]))]
    Stats {
        /// The device: 0000:01:00.0, or sim:ixgbe or sim:virtio-net with ,key=value options
        #[arg(value_name = "SPEC")]
        device: String,
        /// How long
        #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = output::seconds)]
        seconds: f64,
        /// Print everything that the card and its driver count, by name and per queue, as `ethtool -S` does
        #[arg(long)]
        all: bool,
    },
    /// Start a device and print what its registers hold, by name and field
    ///
    /// A start resets the device: what is printed is how this family's driver sets it up. No register is read that a read changes.
    #[command(after_long_help = options(&[("a PCI function", PCI_OPTIONS), ("a simulated card", SIM_OPTIONS), ("a simulated card's wire", WIRE_OPTIONS)]))]
    Dump {
        /// The device: 0000:01:00.0, or sim:ixgbe with ,key=value options
        #[arg(value_name = "SPEC")]
        device: String,
    },
    /// Start a device and print the words of its EEPROM; exit status 1 where their checksum is wrong
    #[command(after_long_help = options(&[("a PCI function", PCI_OPTIONS), ("a simulated card", SIM_OPTIONS), ("a simulated card's wire", WIRE_OPTIONS)]))]
    Eeprom {
        /// The device: 0000:01:00.0, or sim:ixgbe with ,key=value options
        #[arg(value_name = "SPEC")]
        device: String,
    },
    /// Start a device and print what the module in its cage says of itself: what it is, temperature, power
    #[command(after_long_help = options(&[("a PCI function", PCI_OPTIONS), ("a simulated card", SIM_OPTIONS), ("a simulated card's wire", WIRE_OPTIONS)]))]
    Module {
        /// The device: 0000:01:00.0, or sim:ixgbe with ,key=value options
        #[arg(value_name = "SPEC")]
        device: String,
    },
    /// Test a device, part by part: registers, EEPROM, interrupts, frames that it loops back, and its link
    ///
    /// The parts are those of `ethtool -t` offline: the device is taken from its link meanwhile, and reset behind each. What a device has not is told and is no failure.
    /// Exit status 1 where a part failed.
    #[command(after_long_help = options(&[("a PCI function", PCI_OPTIONS), ("a simulated card", SIM_OPTIONS), ("a simulated card's wire", WIRE_OPTIONS)]))]
    Selftest {
        /// The device: 0000:01:00.0, or sim:ixgbe or sim:virtio-net with ,key=value options
        #[arg(value_name = "SPEC")]
        device: String,
        /// How long to wait for a link
        #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = output::seconds)]
        wait: f64,
    },
    /// Serve a simulated card at a vfio-user socket, for QEMU and other clients, until the process is told to end
    ///
    /// Clients come one after the other; the card is reset between them. Exit status 1 where a driver did what the datasheet forbids.
    ///
    /// Lines on standard input meanwhile: `link down` pulls the card's cable, `link up` plugs it in,
    /// `mishap hang|needs-reset|lie|vanish|memory-error|bus-error|overheat|pf-reset|moved` lets that happen to the card, `help` lists these commands. The end of standard input changes nothing.
    #[command(after_long_help = options(&[("the card", SIM_OPTIONS), ("the wire", WIRE_OPTIONS)]))]
    Sim {
        /// The card: ixgbe or virtio-net, with ,key=value options (card, mac, mtu, hang-tx, defect, partner, cage, rx-checksum, packed, queues, rss)
        #[arg(long, value_name = "CARD")]
        device: String,
        /// Where clients connect
        #[arg(long, value_name = "PATH")]
        socket: PathBuf,
        /// What the card is plugged into: tap=NAME or the like, with ,key=value options
        #[arg(long, value_name = "WIRE")]
        wire: String,
    },
}

/// The options of device specs: key, the value's form, and what it does.
type Options = &'static [(&'static str, &'static str, &'static str)];

/// A table of options for --help.
fn options(kinds: &[(&str, Options)]) -> String {
    let mut text = String::new();
    for (of, options) in kinds {
        let rows = options.iter().map(|(key, form, what)| format!("  {:<30} {what}\n", format!("{key}={form}")));
        text += &format!("Options of {of}:\n{}\n", rows.collect::<String>());
    }
    text + "A comma in a file's name is written \\, (in quotes, for the shell's sake)."
}

fn main() -> ExitCode {
    let args = Args::parse();
    // Warnings of the drivers and of VFIO. RUST_LOG=info shows more.
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let style = Style::of(std::io::stdout().is_terminal());
    match run(&args.command, &Root::at(&args.root), style, args.json) {
        Ok(report) => {
            let text = if args.json { format!("{:#}\n", report.json) } else { report.text };
            let mut out = std::io::stdout().lock();
            match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                    eprintln!("error: cannot write to standard output: {error}");
                    ExitCode::from(1)
                }
                _ => ExitCode::from(u8::from(!report.good)),
            }
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(if matches!(error, Error::Spec(_)) { 2 } else { 1 })
        }
    }
}

fn run(command: &Command, root: &Root, style: Style, json: bool) -> Result<Report, Error> {
    match command {
        Command::List => Ok(list::list(root)),
        Command::Bind { address, user, force } => binding::bind(root, *address, user.clone(), *force),
        Command::Unbind { address } => binding::unbind(root, *address),
        Command::Doctor { address } => Ok(doctor::doctor(root, *address, style)),
        Command::Info { device, wait, speeds } => device::info(device, *wait, *speeds),
        Command::Stats { device, seconds, all } => device::stats(device, *seconds, *all),
        Command::Dump { device } => health::dump(device),
        Command::Eeprom { device } => health::eeprom(device),
        Command::Module { device } => health::module(device),
        Command::Selftest { device, wait } => selftest::selftest(device, *wait),
        Command::Sim { device, socket, wire } => sim::sim(device, socket, wire, json),
    }
}
