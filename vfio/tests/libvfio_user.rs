//! Against the protocol's reference implementation. `LIBVFIO_USER_SERVER` names the program made of `libvfio_user/server.c`, which says how.

use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use driver_core::host::{Interrupt, PciError, PciFunction, RegSpace};
use vfio::{UserFunction, VfioBar};

/// Registers of the server's BAR 0.
const ADDRESS: u32 = 0x00;
const COPY: u32 = 0x08;
const WORKED: u32 = 0x10;
const FAILED: u32 = 0x14;
const FIRE: u32 = 0x18;

struct Served {
    child: Child,
    path: PathBuf,
    _directory: tempfile::TempDir,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server, where there is one; else the test says that it was not run.
fn served(test: &str, argument: Option<&str>) -> Option<Served> {
    let Some(program) = std::env::var_os("LIBVFIO_USER_SERVER") else {
        println!("NOT RUN: {test}: no LIBVFIO_USER_SERVER is named (vfio/tests/libvfio_user/server.c says how to make it)");
        return None;
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nic.sock");
    let child = Command::new(program).arg(&path).args(argument).spawn().unwrap();
    let served = Served { child, path, _directory: directory };
    let until = Instant::now() + Duration::from_secs(5);
    while !served.path.exists() {
        assert!(Instant::now() < until, "the server makes no socket");
        std::thread::sleep(Duration::from_millis(10));
    }
    Some(served)
}

// What these tests tell their server of memory are regions that they hold, and look into by pointers alone.

fn open_bar(function: &mut UserFunction, index: u8) -> Result<VfioBar, PciError> {
    // SAFETY: as above.
    unsafe { function.open_bar(index) }
}

fn allow_dma(function: &mut UserFunction) {
    // SAFETY: as above.
    unsafe { function.allow_dma() }.unwrap();
}

#[test]
fn libvfio_user_serves_every_command_twice() {
    let Some(served) = served("libvfio_user_serves_every_command_twice", None) else { return };
    for _ in 0..2 {
        let mut function = UserFunction::open(&served.path).unwrap();
        assert_eq!((function.id().unwrap().vendor, function.id().unwrap().device), (0x8086, 0x10fb));
        function.reset().unwrap();
        allow_dma(&mut function);
        let (bar, mapped) = (open_bar(&mut function, 0).unwrap(), open_bar(&mut function, 2).unwrap());
        assert_eq!((bar.len_bytes(), bar.mapped_bytes(), mapped.len_bytes(), mapped.mapped_bytes()), (0x10000, 0, 0x4000, 0x2000));
        mapped.write32(0x1004, 7);
        mapped.write32(0x3004, 8);
        assert_eq!((mapped.read32(0x1004), mapped.read32(0x3004)), (7, 8));
        bar.write64(0x20, 0x1122_3344_5566_7788);
        assert_eq!((bar.read64(0x20), bar.read8(0x21), bar.read16(0x22)), (0x1122_3344_5566_7788, 0x77, 0x5566));
        let mut vectors = function.enable_interrupts(4).unwrap().into_iter().collect::<Vec<_>>();
        for vector in [3, 0, 2] {
            bar.write32(FIRE, vector);
            assert_eq!(vectors[vector as usize].wait(Some(5_000_000)), Ok(1));
        }
        // Which masks all vectors.
        function.reset().unwrap();
        bar.write32(FIRE, 1);
        assert_eq!(vectors[1].wait(Some(5_000_000)), Ok(1));
        allow_dma(&mut function);
        function.disable_interrupts().unwrap();
        let memory = function.dma().allocate(8192).unwrap();
        drop(function.dma().allocate(1 << 21).unwrap());
        bar.write32(WORKED, 0);
        bar.write64(ADDRESS, memory.iova().0 + 4096);
        bar.write32(COPY, 1);
        assert_eq!((bar.read32(WORKED), bar.read32(FAILED)), (1, 0));
    }
}

/// More doorbells than a socket holds, each of which makes the server ask for memory.
#[test]
fn libvfio_user_asks_for_memory_while_it_is_written_to() {
    let Some(served) = served("libvfio_user_asks_for_memory_while_it_is_written_to", None) else { return };
    let mut function = UserFunction::open(&served.path).unwrap();
    allow_dma(&mut function);
    let bar = open_bar(&mut function, 0).unwrap();
    let memory = function.dma().allocate(4096).unwrap();
    // SAFETY: the region is ours, and the device has not been asked yet.
    unsafe { memory.ptr().as_ptr().write_bytes(0x0f, 16) };
    bar.write64(ADDRESS, memory.iova().0);
    (0..5000).for_each(|n| bar.write32(COPY, n));
    assert_eq!((bar.read32(WORKED), bar.read32(FAILED)), (5000, 0), "{:?}", function.pending_event());
    // SAFETY: the device is done, as its register says.
    let bytes = unsafe { std::slice::from_raw_parts(memory.ptr().as_ptr(), 48) };
    assert_eq!((&bytes[..16], &bytes[16..32], &bytes[32..]), (&[0x0f; 16][..], &[0xf0; 16][..], &[0; 16][..]));
}

#[test]
fn libvfio_users_room_for_mappings_is_named_where_it_ends() {
    let Some(served) = served("libvfio_users_room_for_mappings_is_named_where_it_ends", None) else { return };
    let function = UserFunction::open(&served.path).unwrap();
    let mut regions: Vec<_> = (0..16).map(|_| function.dma().allocate(4096).unwrap()).collect();
    let error = function.dma().allocate(4096).unwrap_err().to_string();
    assert!(error.contains("the server refused DMA_MAP") && error.contains(" with 16 mappings in place at vfio-user:/"), "{error}");
    regions.pop();
    assert!(function.dma().allocate(4096).is_ok());
}

#[test]
fn libvfio_users_descriptor_for_reading_alone_is_done_without() {
    let Some(served) = served("libvfio_users_descriptor_for_reading_alone_is_done_without", Some("ro")) else { return };
    let mut function = UserFunction::open(&served.path).unwrap();
    let bar = open_bar(&mut function, 2).unwrap();
    bar.write32(0x1004, 8);
    assert_eq!((bar.mapped_bytes(), bar.read32(0x1004)), (0, 8));
}
