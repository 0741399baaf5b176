//! A vfio-user server that does harm with what it shares. The event descriptors of interrupts are shared, their flags and counts too: the server may make
//! them block, fill them, and take what was raised.

mod server;

use std::os::fd::OwnedFd;

use driver_core::pci::{Interrupt, PciFunction};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use server::*;
use vfio::UserFunction;

/// Interrupts by their index.
const MSIX_IRQ: u32 = 2;
const ERROR_IRQ: u32 = 3;

fn open() -> (UserFunction, Server) {
    let server = Server::start(Make::default());
    (UserFunction::open(&server.path).unwrap(), server)
}

/// At both ends: they share the flags.
fn make_blocking(event: &OwnedFd) {
    fcntl_setfl(event, fcntl_getfl(event).unwrap() - OFlags::NONBLOCK).unwrap();
}

fn raise(event: &OwnedFd) {
    rustix::io::write(event, &1u64.to_ne_bytes()).unwrap();
}

#[test]
fn a_wait_for_an_interrupt_ends_in_time_though_its_descriptor_blocks() {
    let (mut function, server) = open();
    let mut vector = function.enable_interrupts(1).unwrap().remove(0);
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
