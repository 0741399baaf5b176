//! A vfio-user server that does harm with what it shares. The event descriptors of interrupts are shared, their flags and counts too: the server may make
//! them block, fill them, and take what was raised.

mod server;

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use driver_core::host::{Interrupt, PciErrorKind, PciFunction, RegSpace};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use server::*;
use vfio::{Event, UserFunction};

/// Interrupts by their index.
const MSIX_IRQ: u32 = 2;
const ERROR_IRQ: u32 = 3;
const REQUEST_IRQ: u32 = 4;

fn open() -> (UserFunction, Server) {
    let server = Server::start(Make::default());
    (UserFunction::open(&server.path).unwrap(), server)
}

/// At both ends: they share the flags.
fn make_blocking(event: &OwnedFd) {
    fcntl_setfl(event, fcntl_getfl(event).unwrap() - OFlags::NONBLOCK).unwrap();
}

#[test]
fn a_wait_for_an_interrupt_ends_in_time_though_its_descriptor_blocks() {
    let (mut function, server) = open();
    let mut vector = function.enable_interrupts(1).unwrap().take(0).unwrap();
    let event = server.event(MSIX_IRQ);
    make_blocking(&event);
    let waited = soon(move || (vector.wait(Some(10_000)), vector));
    // A wait that hangs ends with this, and the test with it.
    raise(&event);
    let (waited, mut vector) = waited.expect("the wait ends");
    assert_eq!((waited, vector.wait(None)), (Ok(0), Ok(1)));
}

#[test]
fn a_reset_ends_though_the_descriptor_of_errors_blocks() {
    let (mut function, server) = open();
    let event = server.event(ERROR_IRQ);
    make_blocking(&event);
    let reset = soon(move || function.reset());
    raise(&event);
    assert_eq!(reset, Some(Ok(())));
}

/// The thread that sees the end of the connection tells of it under the lock that each call takes.
#[test]
fn the_end_of_a_connection_is_seen_though_the_descriptor_of_requests_is_full() {
    let (mut function, server) = open();
    let event = server.event(REQUEST_IRQ);
    make_blocking(&event);
    rustix::io::write(&event, &(u64::MAX - 1).to_ne_bytes()).unwrap();
    open_bar(&mut function, 0).unwrap().write32(CLOSE, 1);
    let until = Instant::now() + Duration::from_secs(30);
    // The request is there already: only looking tells when there is more.
    while function.pending_event() != Some(Event::Gone) {
        assert!(Instant::now() < until, "the end is not seen");
        std::thread::yield_now();
    }
    let read = soon(move || function.config_read(0, 2).map_err(|error| error.kind));
    // A call that hangs ends with this, and the test with it.
    rustix::io::read(&event, &mut [0; 8]).unwrap();
    assert_eq!(read, Some(Err(PciErrorKind::Gone)));
}

/// The server's process may live on when the connection has ended.
#[test]
fn a_server_stays_gone_though_it_takes_what_was_raised() {
    let (mut function, server) = open();
    let (bar, mut vector) = (open_bar(&mut function, 0).unwrap(), function.enable_interrupts(1).unwrap().take(0).unwrap());
    let shared = [MSIX_IRQ, ERROR_IRQ, REQUEST_IRQ].map(|index| server.event(index));
    bar.write32(CLOSE, 1);
    assert_eq!(function.events().wait(Some(30_000_000)), Ok(Some(Event::Gone)));
    for event in &shared {
        // There may be nothing to take.
        let _ = rustix::io::read(event, &mut [0; 8]);
    }
    assert_eq!(vector.wait(Some(0)).map_err(|error| error.kind), Err(PciErrorKind::Gone));
    assert_eq!(function.events().wait(Some(0)), Ok(Some(Event::Gone)));
}

/// Does `f` again and again, while another thread raises the event and takes it back, sometimes before the client has seen to it.
fn while_taken_back(event: &OwnedFd, mut f: impl FnMut()) {
    let enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !enough.load(Ordering::Relaxed) {
                raise(event);
                // The client may have been faster.
                let _ = rustix::io::read(event, &mut [0; 8]);
            }
        });
        let until = Instant::now() + Duration::from_millis(500);
        while Instant::now() < until {
            f();
        }
        enough.store(true, Ordering::Relaxed);
    });
}

#[test]
fn what_a_server_takes_back_ends_no_wait() {
    let (mut function, server) = open();
    let (events, mut vector) = (function.events(), function.enable_interrupts(1).unwrap().take(0).unwrap());
    let limit_us = 50_000;
    let is_early = |before: Instant| before.elapsed() < Duration::from_micros(limit_us);
    let mut early = [0; 2];
    while_taken_back(&server.event(MSIX_IRQ), || {
        let before = Instant::now();
        early[0] += u32::from(vector.wait(Some(limit_us)) == Ok(0) && is_early(before));
    });
    while_taken_back(&server.event(REQUEST_IRQ), || {
        let before = Instant::now();
        early[1] += u32::from(events.wait(Some(limit_us)) == Ok(None) && is_early(before));
    });
    assert_eq!(early, [0, 0], "waits that ended early, with nothing");
}
