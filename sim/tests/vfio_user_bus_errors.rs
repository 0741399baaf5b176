//! Clients that take the memory away that they share by descriptors: the server ends their connection, and serves the next one.

#[path = "common/vfio_user.rs"]
mod client;

use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::{Duration, Instant};

use client::*;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::pwrite;
use rustix::mm::{MapFlags, ProtFlags, mmap};
use rustix::process::{Signal, getpid, kill_process};
use sim::ixgbe::{Ixgbe, IxgbeOptions};
use sim::wire::peer::{self, Peer};
use sim::wire::{Sent, Wire};

const RING: u64 = 0x1000;
const SLOTS: u32 = 64;
const BUFFERS: u64 = 1 << 30;
const FILE_BYTES: u64 = 0x10000;
const ENABLE: u32 = 1 << 25;
const FRAME: [u8; 60] = [0xff; 60];

fn served(test: &str) -> (Served, Peer) {
    let (near, far) = peer::pair(64);
    (Served::new(test, Box::new(Ixgbe::new(IxgbeOptions::new().link_up_us(0))), Box::new(near)), far)
}

fn wait_for(client: &mut Client, register: u64, bit: u32) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while client.read32(0, register) & bit == 0 {
        assert!(Instant::now() < deadline, "register {register:#x} is not {bit:#x}");
    }
}

/// A client whose transmit and receive rings lie in one file, and its buffers, `apart` from each other, in another. All but the tails is set.
fn attached(served: &Served, rings: &OwnedFd, buffers: &OwnedFd, buffers_bytes: u64, apart: u64) -> Client {
    let mut client = served.agreed();
    client.ask_with(2, &dma_map(3, 0, 0, FILE_BYTES), &[rings]).good();
    client.ask_with(2, &dma_map(3, 0, BUFFERS, buffers_bytes), &[buffers]).good();
    client.write(7, 4, &[6, 0]);
    wait_for(&mut client, 0x42A4, 1 << 30);
    for slot in 0..u64::from(SLOTS) {
        let at = (BUFFERS + apart * slot % buffers_bytes).to_le_bytes();
        let data = 60 | 3 << 20 | (1 << 29 | 1 << 27 | 1 << 25 | 1 << 24) | 60 << 46u64;
        pwrite(rings, &[at, u64::to_le_bytes(data)].concat(), RING + 16 * slot).unwrap();
        pwrite(rings, &[at, [0; 8]].concat(), 2 * RING + 16 * slot).unwrap();
    }
    for (register, value) in [(0x4A80, 1), (0x5080, 0x702), (0x1014, 1 << 25 | 2), (0x2F00, 2), (0x3000, 1)] {
        client.write32(0, register, value);
    }
    for (block, ring) in [(0x6000, RING), (0x1000, 2 * RING)] {
        for (register, value) in [(0, ring as u32), (4, 0), (8, SLOTS * 16), (0x28, ENABLE)] {
            client.write32(0, block + register, value);
        }
        wait_for(&mut client, block + 0x28, ENABLE);
    }
    client
}

/// A client that does as it should sends a frame, and receives one.
fn assert_serves(served: &Served, far: &mut Peer) {
    let (rings, buffers) = (memfd(FILE_BYTES), memfd(FILE_BYTES));
    pwrite(&buffers, &FRAME, 0).unwrap();
    let mut client = attached(served, &rings, &buffers, FILE_BYTES, 1024);
    let mut frame = Vec::new();
    while far.receive(&mut frame) {}
    client.write32(0, 0x6018, 1);
    client.write32(0, 0x1018, 1);
    assert_eq!(far.send(&FRAME), Sent::Taken);
    let deadline = Instant::now() + Duration::from_secs(60);
    while !far.receive(&mut frame) {
        assert!(Instant::now() < deadline, "a frame leaves the card");
        client.let_the_card_move();
    }
    assert_eq!(frame, FRAME);
    wait_for(&mut client, 0x1010, 1);
}

/// What a client does between all that is right and the tails.
type Harm = fn(&OwnedFd, &OwnedFd);

#[test]
fn a_file_that_becomes_shorter_ends_the_connection_alone() {
    let (served, mut far) = served("truncated");
    let harms: [Harm; 3] = [
        |rings, _| ftruncate(rings, 0).unwrap(),
        |_, buffers| ftruncate(buffers, 0).unwrap(),
        // The first buffers stay.
        |_, buffers| ftruncate(buffers, FILE_BYTES / 2).unwrap(),
    ];
    for (harm, register) in harms.into_iter().flat_map(|harm| [(harm, 0x6018), (harm, 0x1018)]) {
        let (rings, buffers) = (memfd(FILE_BYTES), memfd(FILE_BYTES));
        let mut client = attached(&served, &rings, &buffers, FILE_BYTES, 1024);
        harm(&rings, &buffers);
        client.write32(0, register, SLOTS - 1);
        (0..60).for_each(|_| _ = far.send(&FRAME));
        assert!(client.is_closed(), "register {register:#x}");
        assert_serves(&served, &mut far);
    }
    drop(far);
    assert_eq!(served.stop().1, 12);
}

/// The kernel hands out the pages of a huge-page file when they are touched, unless somebody reserved them.
#[test]
fn huge_pages_that_nobody_reserved_end_the_connection_alone() {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    let field = |name: &str| meminfo.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse::<u64>().ok());
    let (Some(free), Some(page_kb)) = (field("HugePages_Free:"), field("Hugepagesize:")) else {
        return println!("NOT RUN: the kernel has no huge pages");
    };
    if free > 32 {
        return println!("NOT RUN: {free} huge pages are free, more than the test touches");
    }
    let (served, mut far) = served("huge");
    let bytes = (free + 1) * page_kb * 1024;
    let buffers = memfd_create("huge", MemfdFlags::CLOEXEC | MemfdFlags::HUGETLB).unwrap();
    ftruncate(&buffers, bytes).unwrap();
    let rings = memfd(FILE_BYTES);
    let mut client = attached(&served, &rings, &buffers, bytes, page_kb * 1024);
    client.write32(0, 0x6018, SLOTS - 1);
    assert!(client.is_closed());
    assert_serves(&served, &mut far);
}

/// A mapping that was lost and given back keeps nothing of it for the next one in its place.
#[test]
fn what_one_client_lost_is_not_held_against_another() {
    let (served, mut far) = served("again");
    for _ in 0..20 {
        let (rings, buffers) = (memfd(FILE_BYTES), memfd(FILE_BYTES));
        let mut client = attached(&served, &rings, &buffers, FILE_BYTES, 1024);
        ftruncate(&buffers, 0).unwrap();
        client.write32(0, 0x6018, 3);
        assert!(client.is_closed());
    }
    assert_serves(&served, &mut far);
}

const CHILD: &str = "BAREWIRE_BUS_ERROR";

/// The process of a server has other memory too, in which a bus error is one.
#[test]
fn bus_errors_elsewhere_end_the_process_as_before() {
    if let Ok(how) = std::env::var(CHILD) {
        let (served, mut far) = served(&format!("elsewhere-{how}"));
        assert_serves(&served, &mut far);
        if how == "sent" {
            // Rust's own handler lets the first one pass, and is gone then.
            for _ in 0..2 {
                kill_process(getpid(), Signal::BUS).unwrap();
                std::thread::sleep(Duration::from_millis(100));
            }
        } else {
            let file = memfd(4096);
            // SAFETY: no address is asked for, so no mapping of this process is replaced.
            let byte = unsafe { mmap(std::ptr::null_mut(), 4096, ProtFlags::READ, MapFlags::SHARED, &file, 0) }.unwrap();
            ftruncate(&file, 0).unwrap();
            // SAFETY: the mapping is there. That its page is not is what is tested.
            let _ = unsafe { byte.cast::<u8>().read_volatile() };
        }
        std::process::exit(7);
    }
    for how in ["sent", "met"] {
        let program = std::env::current_exe().unwrap();
        let folder = std::env::temp_dir().join(format!("barewire-bus-errors-{}-{how}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut command = Command::new(program);
        command.args(["--exact", "bus_errors_elsewhere_end_the_process_as_before"]).env(CHILD, how);
        // A process that ends by a signal leaves its socket.
        let child = command.env("TMPDIR", &folder).output();
        std::fs::remove_dir_all(&folder).unwrap();
        let child = child.unwrap();
        assert_eq!(child.status.signal(), Some(Signal::BUS.as_raw()), "{how}: {child:?}");
    }
}
