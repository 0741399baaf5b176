//! Eventfds of a vfio-user client that keep nothing running but the client: both ends share the descriptor's flags and its counter.

#[path = "common/vfio_user.rs"]
mod client;

use std::io::IoSliceMut;
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::time::Duration;

use client::*;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{ReadWriteFlags, preadv2, read, write};
use sim::ixgbe::{Ixgbe, IxgbeOptions};
use sim::wire::peer;

const INTX: u32 = 0;
const MSIX: u32 = 2;
/// SET_IRQS: eventfds to trigger, a trigger by hand, mask, and a descriptor that unmasks.
const TRIGGER_EVENTFD: u32 = 0x24;
const TRIGGER_NONE: u32 = 0x21;
const MASK_NONE: u32 = 0x09;
const UNMASK_EVENTFD: u32 = 0x14;

fn served(test: &str) -> Served {
    Served::new(test, Box::new(Ixgbe::new(IxgbeOptions::default())), Box::new(peer::pair(16).0))
}

fn make_blocking(event: &OwnedFd) {
    fcntl_setfl(event, fcntl_getfl(event).unwrap() - OFlags::NONBLOCK).unwrap();
}

/// Whether the server answers a command. One that waits for its client would do so for ever.
fn answers(client: &mut Client) -> bool {
    client.command(4, 0, &words(&[16, 0, 0, 0]), &[]);
    client.receive().is_some()
}

#[test]
fn a_full_eventfd_that_was_made_blocking_is_not_waited_for() {
    let served = served("full");
    let mut client = served.agreed();
    let vector = event();
    client.set_irqs(TRIGGER_EVENTFD, MSIX, 0, 1, &[], &[&vector]).good();
    make_blocking(&vector);
    write(&vector, &(u64::MAX - 1).to_ne_bytes()).unwrap();
    client.command(8, NO_REPLY, &words(&[20, TRIGGER_NONE, MSIX, 0, 1]), &[]);
    let alive = answers(&mut client);
    // Frees a server that waits, so that the test ends.
    read(&vector, &mut [0; 8]).unwrap();
    assert!(alive, "the server waits for a client to empty its eventfd");
}

#[test]
fn a_descriptor_that_unmasks_and_was_made_blocking_is_not_waited_for() {
    let served = served("unmask");
    let mut client = served.agreed();
    let (line, unmask) = (event(), event());
    client.set_irqs(TRIGGER_EVENTFD, INTX, 0, 1, &[], &[&line]).good();
    client.set_irqs(UNMASK_EVENTFD, INTX, 0, 1, &[], &[&unmask]).good();
    make_blocking(&unmask);
    client.set_irqs(MASK_NONE, INTX, 0, 1, &[], &[]).good();
    // The server looks at the descriptor now, and not only after the next command.
    std::thread::sleep(Duration::from_millis(50));
    let alive = answers(&mut client);
    // As above.
    write(&unmask, &1u64.to_ne_bytes()).unwrap();
    assert!(alive, "the server waits for a client to signal its eventfd");
}

/// Makes the server look at the descriptor, which it does at least before each 64 commands.
fn look(client: &mut Client) {
    (0..128).for_each(|_| _ = client.ask(4, &words(&[16, 0, 0, 0])).good());
}

/// KVM signals the descriptor at each end of interrupt of a line that several devices share.
#[test]
fn an_unmasking_of_an_open_line_does_not_undo_a_later_mask() {
    let served = served("stale");
    let mut client = served.agreed();
    let (line, unmask) = (event(), event());
    client.set_irqs(TRIGGER_EVENTFD, INTX, 0, 1, &[], &[&line]).good();
    client.set_irqs(UNMASK_EVENTFD, INTX, 0, 1, &[], &[&unmask]).good();
    // Long before the mask, and just before it.
    for pause in [Duration::from_millis(50), Duration::ZERO] {
        write(&unmask, &1u64.to_ne_bytes()).unwrap();
        std::thread::sleep(pause);
        client.set_irqs(MASK_NONE, INTX, 0, 1, &[], &[]).good();
        client.set_irqs(TRIGGER_NONE, INTX, 0, 1, &[], &[]).good();
        look(&mut client);
        assert_eq!(fired(&line), 0, "masked after the unmasking, and not unmasked since");
        write(&unmask, &1u64.to_ne_bytes()).unwrap();
        look(&mut client);
        assert_eq!(fired(&line), 1, "unmasked");
    }
}

/// Empties a counter, without waiting where it blocks.
fn empty(event: &OwnedFd) {
    let _ = preadv2(event, &mut [IoSliceMut::new(&mut [0; 8])], u64::MAX, ReadWriteFlags::NOWAIT);
}

/// Also between a look of the server's and its write.
#[test]
fn an_eventfd_that_is_filled_at_any_moment_is_not_waited_for() {
    let served = served("race");
    let mut client = served.agreed();
    let vector = event();
    client.set_irqs(TRIGGER_EVENTFD, MSIX, 0, 1, &[], &[&vector]).good();
    make_blocking(&vector);
    std::thread::scope(|scope| {
        let vector = &vector;
        let (ask, asked) = mpsc::channel::<u32>();
        let (tell, filled) = mpsc::channel();
        scope.spawn(move || {
            for delay in asked {
                (0..delay).for_each(|_| std::hint::spin_loop());
                empty(vector);
                // Waits itself where the server was faster.
                write(vector, &(u64::MAX - 1).to_ne_bytes()).unwrap();
                tell.send(()).unwrap();
            }
        });
        for round in 0..2000 {
            ask.send(round % 200 * 50).unwrap();
            (0..60).for_each(|_| _ = client.command(8, NO_REPLY, &words(&[20, TRIGGER_NONE, MSIX, 0, 1]), &[]));
            while filled.recv_timeout(Duration::from_millis(2)) == Err(mpsc::RecvTimeoutError::Timeout) {
                empty(vector);
            }
            let alive = answers(&mut client);
            empty(vector);
            if !alive {
                // Ends the other thread, and the server's wait with the vector.
                drop(ask);
                panic!("round {round}: the server waits for a client to empty its eventfd");
            }
        }
    });
}

/// With a client that never lets go of it.
#[test]
fn a_server_with_a_full_blocking_eventfd_stops_and_serves_the_next_client() {
    let served = served("stop");
    for _ in 0..2 {
        let mut client = served.agreed();
        let vector = event();
        client.set_irqs(TRIGGER_EVENTFD, MSIX, 0, 1, &[], &[&vector]).good();
        make_blocking(&vector);
        write(&vector, &(u64::MAX - 1).to_ne_bytes()).unwrap();
        (0..100).for_each(|_| _ = client.command(8, NO_REPLY, &words(&[20, TRIGGER_NONE, MSIX, 0, 1]), &[]));
        assert!(answers(&mut client));
    }
    let (sender, stopped) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(served.stop().1));
    assert_eq!(stopped.recv_timeout(Duration::from_secs(30)), Ok(2));
}
