//! Which processor is best told of which queue.

use std::fmt;
use std::fs;
use std::io;

#[cfg(feature = "vfio")]
use vfio::PciAddress;
#[cfg(feature = "vfio")]
use vfio::sysfs::{Root, irqs};

use driver_core::device::NetDevice;

/// A queue, and the processor that is best told of it: the one on which the queue's thread is to run. Both queues of a pair have the same.
///
/// Its text says how the host's interrupt is led there. What the host's kernel does with its interrupts is root's to say, and not that of a program that
/// drives a device: [`apply`](Affinity::apply) does it where the program is root.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Affinity {
    /// The device's name.
    pub device: String,
    /// `receive` or `transmit`.
    pub direction: &'static str,
    /// The queue's number.
    pub queue: u16,
    /// The vector that tells of it.
    pub vector: u16,
    /// The processor.
    pub cpu: u16,
    /// The host's number of the interrupt; `None`: it has none, as for a simulated card and one behind vfio-user.
    pub irq: Option<u32>,
}

impl Affinity {
    /// Has the host's interrupt taken by the suggested processor, as root. What balances interrupts on the host (`irqbalance`) may move it again.
    ///
    /// # Errors
    /// The host has no such interrupt, or does not let this process move it: with what to do in its place.
    pub fn apply(&self) -> io::Result<()> {
        let Some(irq) = self.irq else { return Err(io::Error::new(io::ErrorKind::NotFound, self.to_string())) };
        self.lead(irq).map_err(|error| io::Error::new(error.kind(), format!("{error}; as root: {self}")))
    }

    #[cfg(feature = "vfio")]
    fn lead(&self, irq: u32) -> io::Result<()> {
        irqs::lead(&Root::system(), irq, self.cpu)
    }

    #[cfg(not(feature = "vfio"))]
    fn lead(&self, _: u32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl fmt::Display for Affinity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device, direction, queue, vector, cpu, irq } = self;
        write!(f, "{device}: {direction} queue {queue} by processor {cpu}: ")?;
        match irq {
            Some(irq) => write!(f, "echo {cpu} >/proc/irq/{irq}/smp_affinity_list"),
            None => write!(f, "the host has no interrupt for vector {vector}; run the queue's thread there"),
        }
    }
}

/// Those of a started device; none where it was started without interrupts.
pub(crate) fn of(control: &dyn NetDevice) -> Vec<Affinity> {
    let (device, settings, cpus) = (&control.info().name, control.settings(), allowed());
    let Some(plan) = settings.vectors() else { return Vec::new() };
    let irq_of = host_irqs(device);
    let suggest = |direction, queue, vector: u16| {
        let cpu = *cpus.get(usize::from(plan.processor(vector, cpus.len().try_into().unwrap_or(u16::MAX))?))?;
        Some(Affinity { device: device.clone(), direction, queue, vector, cpu, irq: irq_of(vector) })
    };
    let rx = (0..settings.rx().queue_count()).filter_map(|queue| suggest("receive", queue, plan.rx(queue)?));
    rx.chain((0..settings.tx().queue_count()).filter_map(|queue| suggest("transmit", queue, plan.tx(queue)?))).collect()
}

/// The host's interrupt for a vector of the device.
#[cfg(feature = "vfio")]
fn host_irqs(device: &str) -> impl Fn(u16) -> Option<u32> {
    let irqs = device.parse::<PciAddress>().map(|address| irqs::of_function(&Root::system(), address)).unwrap_or_default();
    move |vector| irqs.iter().find(|irq| irq.vector == vector).map(|irq| irq.number)
}

#[cfg(not(feature = "vfio"))]
fn host_irqs(_: &str) -> impl Fn(u16) -> Option<u32> {
    |_| None
}

/// The processors that this process may run on.
fn allowed() -> Vec<u16> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let cpus = cpus_in(status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default());
    // Without procfs at least as many as there are.
    if cpus.is_empty() { (0..std::thread::available_parallelism().map_or(1, |count| count.get() as u16)).collect() } else { cpus }
}

/// The numbers of a list such as `0-3,8,10-11`.
fn cpus_in(list: &str) -> Vec<u16> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<u16>().ok()?..=last.parse().ok()?)
    };
    list.trim().split(',').filter_map(range).flatten().collect()
}

#[cfg(all(test, feature = "sim", feature = "ixgbe"))]
mod tests {
    use super::*;
    use crate::{Config, open};

    #[test]
    fn lists_of_processors_are_read() {
        assert_eq!(cpus_in("\t0-3,8,10-11\n"), [0, 1, 2, 3, 8, 10, 11]);
        assert_eq!((cpus_in("5"), cpus_in(""), cpus_in("x,7-y,9")), (vec![5], vec![], vec![9]));
        assert!(!allowed().is_empty());
    }

    #[test]
    fn both_queues_of_a_pair_have_the_same_processor() {
        let config = Config::new().rx_queues(5).tx_queues(5).rx_ring(64).tx_ring(64);
        let port = open("sim:ixgbe").unwrap().start(&config.clone().interrupts(true)).unwrap();
        let (suggested, cpus) = (port.affinity(), allowed());
        let wanted: Vec<_> = [("receive", 0), ("transmit", 5)]
            .into_iter()
            .flat_map(|(direction, first)| (0..5).map(move |queue| (direction, queue, first + queue)))
            .map(|(direction, queue, vector)| (direction, queue, vector, cpus[usize::from(queue) % cpus.len()], None))
            .collect();
        assert_eq!(suggested.iter().map(|a| (a.direction, a.queue, a.vector, a.cpu, a.irq)).collect::<Vec<_>>(), wanted);
        let error = suggested[6].apply().unwrap_err().to_string();
        let cpu = suggested[6].cpu;
        assert_eq!(
            error,
            format!("sim:ixgbe: transmit queue 1 by processor {cpu}: the host has no interrupt for vector 6; run the queue's thread there")
        );
        assert!(open("sim:ixgbe").unwrap().start(&config).unwrap().affinity().is_empty(), "without interrupts there is none to lead");
    }

    #[test]
    fn what_the_host_does_not_let_go_is_told_with_what_to_do() {
        let of = Affinity { device: "0000:01:00.0".into(), direction: "receive", queue: 3, vector: 3, cpu: 1, irq: Some(u32::MAX) };
        assert_eq!(of.to_string(), "0000:01:00.0: receive queue 3 by processor 1: echo 1 >/proc/irq/4294967295/smp_affinity_list");
        let error = of.apply().unwrap_err().to_string();
        assert!(error.ends_with(&format!("; as root: {of}")), "{error}");
    }
}
