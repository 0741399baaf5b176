//! A vfio-user server as QEMU's, made with libvfio-user: it models the whole function, masks its vectors, and has little room.

mod server;

use std::time::{Duration, Instant};

use driver_core::host::{Interrupt, PciErrorKind, PciFunction, RegSpace, Vectors};
use server::*;
use vfio::{Cause, Event, ServerCause, UserDomain, UserFunction, VfioInterrupt};

fn open(make: Make) -> (UserFunction, Server) {
    let server = Server::start(make);
    (UserFunction::open(&server.path).unwrap(), server)
}

/// Each vector's message arrives, once.
#[track_caller]
fn assert_arrive(bar: &impl RegSpace, vectors: &mut [VfioInterrupt]) {
    for fired in (0..vectors.len()).rev() {
        bar.write32(FIRE, fired as u32);
        assert_eq!(vectors[fired].wait(Some(5_000_000)), Ok(1), "vector {fired}");
    }
    assert!(vectors.iter_mut().all(|vector| vector.wait(Some(0)) == Ok(0)));
}

fn all(vectors: Vectors<VfioInterrupt>) -> Vec<VfioInterrupt> {
    vectors.into_iter().collect()
}

/// Vector Control of the table's first entry, in BAR 2.
const CONTROL: u32 = 0x300c;

#[test]
fn vectors_that_the_table_masks_are_opened() {
    let (mut function, server) = open(Make::like_qemu());
    let bar = open_bar(&mut function, 0).unwrap();
    let table = open_bar(&mut function, 2).unwrap();
    // A bit that is the server's own.
    table.write32(CONTROL + 16, 0x0001_0001);
    let mut vectors = all(function.enable_interrupts(2).unwrap());
    assert_arrive(&bar, &mut vectors);
    let controls = [0, 16, 32].map(|entry| table.read32(CONTROL + entry));
    assert_eq!(controls, [0, 0x0001_0000, 1], "those in use, and nothing but the mask");
    let waited = |seen: &Seen| seen.command == REGION_WRITE && u32_at(&seen.body, 8) == 2 && seen.flags == 0;
    assert_eq!(server.seen.lock().unwrap().iter().filter(|seen| waited(seen)).count(), 2, "the client waits until they are open");
}

#[test]
fn vectors_that_are_on_are_opened_again_after_a_reset() {
    let (mut function, server) = open(Make::like_qemu());
    let bar = open_bar(&mut function, 0).unwrap();
    function.reset().unwrap();
    let mut vectors = all(function.enable_interrupts(3).unwrap());
    for _ in 0..2 {
        assert_arrive(&bar, &mut vectors);
        function.reset().unwrap();
        assert_eq!(function.config_read(MSIX + 2, 2), Ok(0x8002), "MSI-X is on again");
    }
    assert_arrive(&bar, &mut vectors);
    function.disable_interrupts().unwrap();
    function.reset().unwrap();
    assert_eq!((function.config_read(MSIX + 2, 2), server.seen(RESET).len()), (Ok(0x0002), 4), "and off where they were off");
}

/// What fires while a vector is masked is sent when it is opened.
#[test]
fn what_was_pending_arrives() {
    let (mut function, _server) = open(Make::like_qemu());
    let bar = open_bar(&mut function, 0).unwrap();
    bar.write32(FIRE, 0);
    let mut vectors = all(function.enable_interrupts(1).unwrap());
    assert_eq!(vectors[0].wait(Some(5_000_000)), Ok(1));
}

#[test]
fn a_function_mask_is_taken_off() {
    let (mut function, _server) = open(Make::like_qemu());
    let bar = open_bar(&mut function, 0).unwrap();
    config_write(&mut function, MSIX + 2, 2, 0x4002).unwrap();
    assert_arrive(&bar, &mut all(function.enable_interrupts(3).unwrap()));
    assert_eq!(function.config_read(MSIX + 2, 2), Ok(0x8002));
}

fn is_table(seen: &Seen) -> bool {
    matches!(seen.command, REGION_READ | REGION_WRITE) && u32_at(&seen.body, 8) == 2
}

#[test]
fn vectors_that_are_masked_by_command_are_opened_by_command() {
    let hook: Hook = Box::new(|seen| is_table(seen).then_some(Instead::Error(22)));
    let (mut function, server) = open(Make { is_maskable: true, hook, ..Make::like_qemu() });
    let bar = open_bar(&mut function, 0).unwrap();
    assert_arrive(&bar, &mut all(function.enable_interrupts(3).unwrap()));
    let unmasked = Seen { command: SET_IRQS, flags: 0, body: words(&[20, 0x11, 2, 0, 3]), fds: 0 };
    assert_eq!(server.seen(SET_IRQS).last(), Some(&unmasked));
}

/// A server that never masks is not told to unmask.
#[test]
fn open_vectors_are_left_as_they_are() {
    let (mut function, server) = open(Make { areas: vec![(0x1000, 0x1000)], ..Make::default() });
    let bar = open_bar(&mut function, 0).unwrap();
    assert_arrive(&bar, &mut all(function.enable_interrupts(3).unwrap()));
    assert!(server.seen(REGION_WRITE).iter().all(|write| !is_table(write)));
    assert!(server.seen(SET_IRQS).iter().all(|set| u32_at(&set.body, 4) & 1 << 4 == 0));
}

/// A table that cannot be used leaves a device that can be polled.
#[test]
fn vectors_that_cannot_be_opened_are_no_error() {
    let ones = Box::new(|seen: &Seen| (seen.command == REGION_READ && is_table(seen)).then(|| Instead::Body([&seen.body[..], &[0xff; 4]].concat())));
    let refused = Box::new(|seen: &Seen| (seen.command == REGION_WRITE && is_table(seen)).then_some(Instead::Error(1)));
    let unanswered: [Hook; 2] = [ones, refused];
    for hook in unanswered {
        let (mut function, _server) = open(Make { hook, ..Make::like_qemu() });
        assert_eq!(function.enable_interrupts(3).unwrap().left(), 3);
    }
    let (mut function, _server) = open(Make { hook: Box::new(|seen| is_table(seen).then_some(Instead::Close)), ..Make::like_qemu() });
    assert_eq!(function.enable_interrupts(3).unwrap_err().kind, PciErrorKind::Gone);
}

const SIX_MAPS: &str = "{\"capabilities\":{\"max_msg_fds\":8,\"max_dma_maps\":6}}\0";

#[test]
fn no_more_is_mapped_than_the_server_says_that_it_takes() {
    let (a, b) = (Server::start(Make::default()), Server::start(Make { capabilities: SIX_MAPS, most_maps: 6, ..Make::default() }));
    let domain = UserDomain::new();
    let (_first, second) = (domain.open(&a.path).unwrap(), domain.open(&b.path).unwrap());
    let mut regions: Vec<_> = (0..6).map(|_| domain.dma().allocate(4096).unwrap()).collect();
    for _ in 0..2 {
        let error = domain.dma().allocate(4096).unwrap_err().to_string();
        let wanted =
            format!("the server vfio-user:{} takes at most 6 mappings at a time (max_dma_maps), and 7 are needed. To mend it: ", b.path.display());
        assert!(error.contains(&wanted) && error.contains("fewer and larger regions") && error.lines().count() == 1, "{error}");
    }
    assert_eq!((a.seen(DMA_MAP).len(), b.seen(DMA_MAP).len()), (6, 6), "nobody was asked for the seventh");
    let (iova, len) = (regions[5].iova(), second.dma().allocate(4096).is_err());
    regions.pop();
    assert_eq!((domain.dma().allocate(4096).unwrap().iova(), len), (iova, true), "one that was given back makes room");
    // A server that is gone does not limit the others.
    regions.push(domain.dma().allocate(4096).unwrap());
    let mut second = second;
    open_bar(&mut second, 0).unwrap().write32(CLOSE, 1);
    assert_eq!(second.events().wait(Some(30_000_000)), Ok(Some(Event::Gone)));
    assert!(domain.dma().allocate(4096).is_ok());
}

#[test]
fn a_server_with_less_room_than_the_domain_needs_is_not_opened() {
    let (a, b) = (Server::start(Make::default()), Server::start(Make { capabilities: SIX_MAPS, ..Make::default() }));
    let domain = UserDomain::new();
    let first = domain.open(&a.path).unwrap();
    let _regions: Vec<_> = (0..7).map(|_| first.dma().allocate(4096).unwrap()).collect();
    let error = domain.open(&b.path).unwrap_err();
    let Cause::Server(ServerCause::MapLimit { limit, needed, .. }) = *error.cause else { panic!("{error}") };
    assert_eq!((limit, needed), (6, 7));
    assert!(error.to_string().contains("mapping the memory of the domain: the server vfio-user:"), "{error}");
    assert_eq!(b.join().iter().filter(|seen| seen.command == DMA_MAP).count(), 0, "nothing was mapped in vain");
}

/// libvfio-user answers EINVAL, which tells nothing.
#[test]
fn a_limit_that_the_server_does_not_tell_is_named_when_it_is_met() {
    let (function, server) = open(Make::like_qemu());
    let _regions: Vec<_> = (0..16).map(|_| function.dma().allocate(4096).unwrap()).collect();
    let error = function.dma().allocate(4096).unwrap_err().to_string();
    let wanted = format!("refused DMA_MAP: Invalid argument (os error 22), with 16 mappings in place at vfio-user:{}", server.path.display());
    assert!(error.contains(&wanted) && error.contains("max_dma_maps") && error.lines().count() == 1, "{error}");
}

#[test]
fn a_server_that_takes_less_than_a_register_at_a_time_is_not_opened() {
    for bytes in [0, 4, 7] {
        let capabilities: &'static str = format!("{{\"capabilities\":{{\"max_data_xfer_size\":{bytes}}}}}\0").leak();
        let server = Server::start(Make { capabilities, ..Make::default() });
        let error = UserFunction::open(&server.path).unwrap_err().to_string();
        assert!(error.contains(&format!("takes at most {bytes} bytes of data in a message (max_data_xfer_size)")), "{error}");
    }
    open(Make { capabilities: "{\"capabilities\":{\"max_data_xfer_size\":8}}\0", ..Make::default() });
}

/// A server that reads a long answer slowly: another command's wait has the same limit as if nothing else were on its way.
#[test]
fn the_answer_limit_holds_while_a_long_answer_is_drained() {
    type Wait = fn(&mut UserFunction, &vfio::VfioBar);
    let waits: [Wait; 2] = [|function, _| assert!(function.config_read(0, 4).is_err()), |_, bar| bar.write32(0x20, 1)];
    for wait in waits {
        let server = Server::start(Make::default());
        let limit = Duration::from_millis(700);
        let mut function = UserDomain::with_answer_limit(limit).open(&server.path).unwrap();
        let bar = open_bar(&mut function, 0).unwrap();
        // At 100 KiB a second it would take 10 s.
        let region = function.dma().allocate(1 << 20).unwrap();
        bar.write32(DRAIN, 1);
        // The answer is on its way.
        std::thread::sleep(limit / 4);
        let before = Instant::now();
        wait(&mut function, &bar);
        assert!(before.elapsed() < 3 * limit, "{:?}", before.elapsed());
        assert_eq!(function.events().wait(Some(30_000_000)), Ok(Some(Event::Gone)));
        drop((region, bar, function));
        server.join();
    }
}

/// Everything that a driver asks of a function before it starts.
fn ask_all(path: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
    let mut function = UserDomain::with_answer_limit(Duration::from_secs(60)).open(path)?;
    function.id()?;
    drop(open_bar(&mut function, 0)?);
    // SAFETY: the device was told of no memory.
    unsafe { function.allow_dma() }?;
    drop(function.dma().allocate(4096)?);
    function.enable_interrupts(2)?;
    function.reset()?;
    function.forbid_dma()?;
    function.disable_interrupts()?;
    Ok(())
}

/// Whatever was asked last: at once, in a sentence that says what to do with this server, and not with a machine or a kernel.
#[test]
fn a_server_that_ends_is_told_in_one_sentence() {
    for commands in 1.. {
        let mut left = commands;
        let ends = move |_: &Seen| {
            left -= 1;
            (left < 0).then_some(Instead::Close)
        };
        let server = Server::start(Make { hook: Box::new(ends), ..Make::like_qemu() });
        let before = Instant::now();
        let Err(error) = ask_all(&server.path) else {
            assert!(commands > 30, "all of it takes {commands} commands");
            return;
        };
        let error = error.to_string();
        let says = ["the server is gone: it closed the connection", "start it again"].map(|part| error.contains(part));
        assert!(says == [true; 2] && error.matches("vfio-user:").count() <= 2, "after {commands} commands: {error}");
        assert!(!["dmesg", "hypervisor", "machine", "kernel"].iter().any(|word| error.contains(word)) && error.lines().count() == 1, "{error}");
        assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
    }
}
