//! `ixy-forward ADDRESS ADDRESS`: what one 82599 receives goes out of the other, both ways, until the process is ended.
//!
//! It works as ixy does: root, a BAR that sysfs maps, physical addresses out of `/proc/self/pagemap`, and no IOMMU. So it is for a guest without one.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::process::ExitCode;
use std::ptr::{self, NonNull};
use std::time::Duration;

use ixgbe_driver::{IxgbeDevice, IxgbeHal, IxgbeNetBuf, MemPool, NicDevice, PhysAddr};

const PAGE_BYTES: usize = 4096;
/// Descriptors in a ring: one page of them, since two pages need not lie side by side in physical memory.
const RING: usize = PAGE_BYTES / 16;
const BUFFERS: usize = 2048;
const BUFFER_BYTES: usize = 2048;
const BATCH: usize = 32;
/// The Command register of configuration space, with its bits for memory accesses and bus mastering.
const COMMAND: u64 = 4;
const COMMAND_MEMORY_AND_MASTER: u16 = 1 << 1 | 1 << 2;

/// The process as ixy's platform.
struct Process;

/// Anonymous or, with `file`, that file's memory.
fn map(bytes: usize, file: Option<&File>) -> io::Result<NonNull<u8>> {
    let (flags, fd) = match file {
        None => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE | libc::MAP_LOCKED, -1),
        Some(file) => (libc::MAP_SHARED, file.as_raw_fd()),
    };
    // SAFETY: the kernel finds a place that nobody has.
    let at = unsafe { libc::mmap(ptr::null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, fd, 0) };
    if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(NonNull::new(at.cast()).expect("no mapping lies at 0")) }
}

/// Where the byte at this address lies in physical memory (Documentation/admin-guide/mm/pagemap.rst: 8 bytes a page, its frame in bits 0 to 54).
fn physical(at: usize) -> io::Result<usize> {
    let mut entry = [0; 8];
    File::open("/proc/self/pagemap")?.read_exact_at(&mut entry, (at / PAGE_BYTES * 8) as u64)?;
    match u64::from_le_bytes(entry) & ((1 << 55) - 1) {
        0 => Err(io::Error::other("the kernel does not say where memory lies: run as root")),
        frame => Ok(frame as usize * PAGE_BYTES + at % PAGE_BYTES),
    }
}

// SAFETY: memory is mapped, locked and never given back; its addresses are what the kernel says.
unsafe impl IxgbeHal for Process {
    fn dma_alloc(size: usize) -> (PhysAddr, NonNull<u8>) {
        let at = map(size.next_multiple_of(PAGE_BYTES), None).expect("memory for the card");
        (physical(at.as_ptr() as usize).expect("a physical address"), at)
    }
    unsafe fn dma_dealloc(_: PhysAddr, _: NonNull<u8>, _: usize) -> i32 {
        0
    }
    unsafe fn mmio_phys_to_virt(_: PhysAddr, _: usize) -> NonNull<u8> {
        unreachable!("the driver is given the BAR where it is mapped")
    }
    unsafe fn mmio_virt_to_phys(at: NonNull<u8>, _: usize) -> PhysAddr {
        physical(at.as_ptr() as usize).expect("a physical address")
    }
    fn wait_until(duration: Duration) -> Result<(), &'static str> {
        // The driver's waits are for a real card's link.
        std::thread::sleep(duration.min(Duration::from_millis(100)));
        Ok(())
    }
}

type Card = IxgbeDevice<Process, RING>;

fn open(address: &str) -> io::Result<Card> {
    let folder = format!("/sys/bus/pci/devices/{address}");
    let config = OpenOptions::new().read(true).write(true).open(format!("{folder}/config"))?;
    let mut command = [0; 2];
    config.read_exact_at(&mut command, COMMAND)?;
    config.write_all_at(&(u16::from_le_bytes(command) | COMMAND_MEMORY_AND_MASTER).to_le_bytes(), COMMAND)?;
    let bar = OpenOptions::new().read(true).write(true).open(format!("{folder}/resource0"))?;
    let bytes = bar.metadata()?.len() as usize;
    let base = map(bytes, Some(&bar))?.as_ptr() as usize;
    let failed = |error| io::Error::other(format!("{address}: {error:?}"));
    let pool = MemPool::allocate::<Process>(BUFFERS, BUFFER_BYTES).map_err(failed)?;
    let card = Card::init(base, bytes, 1, 1, &pool).map_err(failed)?;
    let mac = card.get_mac_addr().map(|byte| format!("{byte:02x}")).join(":");
    println!("{address}: {mac}, {} Mbit/s", card.get_link_speed());
    Ok(card)
}

/// Takes a batch from one card and hands the other what it has room for; the rest waits in `held`.
fn forward(from: &mut Card, to: &mut Card, held: &mut VecDeque<IxgbeNetBuf>) {
    if held.len() < BATCH {
        // Where nothing has come, that is an error of this driver's.
        let _ = from.receive_packets(0, BATCH, |frame| held.push_back(frame));
    }
    to.recycle_tx_buffers(0).expect("queue 0 is there");
    while to.can_send(0).expect("queue 0 is there") {
        let Some(frame) = held.pop_front() else { break };
        to.send(0, frame).expect("there is room");
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [left, right] = arguments.as_slice() else {
        eprintln!("usage: ixy-forward ADDRESS ADDRESS");
        return ExitCode::from(2);
    };
    let (mut left, mut right) = match open(left).and_then(|left| Ok((left, open(right)?))) {
        Ok(cards) => cards,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let (mut to_right, mut to_left) = (VecDeque::new(), VecDeque::new());
    loop {
        forward(&mut left, &mut right, &mut to_right);
        forward(&mut right, &mut left, &mut to_left);
    }
}
