//! Opens a function by its group, again and again in one domain, and lives on each time the card is unplugged: lets go of the function when the host asks
//! for it, waits until the function is gone, gives its memory back then, and says what the process still holds.
//!
//!     outlives ADDRESS ROUNDS
//!
//! Between two rounds somebody plugs the card in and binds it to vfio-pci.

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use vfio::sysfs::Root;
use vfio::{Domain, Event, PciAddress, Way};

/// As much as a device takes that is configured as by default.
const REGION_BYTES: usize = 4_500_000;
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// What the crates log goes to standard error, where nothing but mishaps belongs.
struct Stderr;

impl log::Log for Stderr {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        eprintln!("{}: {}", record.level(), record.args());
    }
    fn flush(&self) {}
}

fn main() -> ExitCode {
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(log::LevelFilter::Warn);
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("outlives: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, rounds] = arguments.as_slice() else { return Err("usage: outlives ADDRESS ROUNDS".into()) };
    let (address, rounds): (PciAddress, u32) = (address.parse()?, rounds.parse()?);
    let root = Root::system();
    let domain = Domain::for_function(&root, address, Some(Way::Group))?;
    for round in 1..=rounds {
        // The node comes a moment after the driver.
        let has_node = || root.group_node(address).is_some_and(|node| node.exists());
        wait(|| root.driver(address).as_deref() == Some("vfio-pci") && has_node(), "the function is not bound to vfio-pci, or has no node")?;
        let function = domain.open(address)?;
        let region = domain.dma().allocate(REGION_BYTES)?;
        println!("round {round}: open, {}", held()?);
        let event = function.events().wait(Some(PATIENCE.as_micros() as u64))?;
        if event != Some(Event::RemovalRequested) {
            return Err(format!("{event:?} in place of a request for the function's return").into());
        }
        drop(function);
        wait(|| !root.has_function(address), "the function does not go")?;
        drop(region);
        println!("round {round}: gone, {}", held()?);
    }
    Ok(())
}

fn wait(done: impl Fn() -> bool, otherwise: &str) -> Result<(), Box<dyn Error>> {
    let begin = Instant::now();
    while !done() {
        if begin.elapsed() > PATIENCE {
            return Err(otherwise.into());
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Memory that the process has locked, and all that it has.
fn held() -> Result<String, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kib = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().nth(1)).unwrap_or("?").to_owned();
    Ok(format!("{} KiB locked, {} KiB resident", kib("VmLck"), kib("VmRSS")))
}
