//! Interrupts without MSI-X behind a vfio-user socket: INTA# as a level that masks itself, and MSI.

#[path = "common/vfio_user.rs"]
mod client;

use std::time::{Duration, Instant};

use client::*;
use sim::ixgbe::{Ixgbe, IxgbeOptions};
use sim::wire::peer;

const EICR: u64 = 0x800;
const EICS: u64 = 0x808;
const EIMS: u64 = 0x880;
const EIMC: u64 = 0x888;
const COMMAND: u64 = 4;
const STATUS: u64 = 6;
const MSI_CONTROL: u64 = 0x52;
const MSI_MASK: u64 = 0x60;

const INTX: u32 = 0;
const MSI: u32 = 1;
/// SET_IRQS: eventfds to trigger; nothing to trigger (with a count of 0: off); unmask; mask.
const TRIGGER_EVENTFD: u32 = 0x24;
const TRIGGER_NONE: u32 = 0x21;
const UNMASK_NONE: u32 = 0x11;
const UNMASK_EVENTFD: u32 = 0x14;

fn served(test: &str) -> (Served, Client) {
    // The far end is gone: no carrier, and no cause but those that a test sets.
    let card = Box::new(Ixgbe::new(IxgbeOptions::default()));
    let served = Served::new(test, card, Box::new(peer::pair(16).0));
    let mut client = served.agreed();
    client.write(7, COMMAND, &[6, 0]);
    client.let_the_card_move();
    client.read32(0, EICR);
    client.write32(0, EIMS, 0xF);
    (served, client)
}

/// How often an eventfd is signalled before the card has moved on.
fn soon(client: &mut Client, event: &std::os::fd::OwnedFd) -> u64 {
    client.let_the_card_move();
    fired(event)
}

fn shows_interrupt(client: &mut Client) -> bool {
    client.read(7, STATUS, 2)[0] & 8 != 0
}

#[test]
fn the_line_is_a_level_that_masks_itself() {
    let (served, mut client) = served("intx");
    let line = event();
    client.set_irqs(TRIGGER_EVENTFD, INTX, 0, 1, &[], &[&line]).good();
    assert_eq!((soon(&mut client, &line), shows_interrupt(&mut client)), (0, false));
    client.write32(0, EICS, 1 << 2);
    assert_eq!((soon(&mut client, &line), shows_interrupt(&mut client)), (1, true));
    client.write32(0, EICS, 1 << 3);
    assert_eq!(soon(&mut client, &line), 0, "masked until the client unmasks it");
    client.set_irqs(UNMASK_NONE, INTX, 0, 1, &[], &[]).good();
    assert_eq!(soon(&mut client, &line), 1, "nobody took the cause: asserted still");
    assert_eq!(client.read32(0, EICR), 1 << 2 | 1 << 3);
    client.set_irqs(UNMASK_NONE, INTX, 0, 1, &[], &[]).good();
    assert_eq!((soon(&mut client, &line), shows_interrupt(&mut client)), (0, false), "taken");
    client.write32(0, EICS, 1);
    assert_eq!(soon(&mut client, &line), 1);
    drop(client);
    assert_eq!(served.stop().0, Vec::<String>::new());
}

/// KVM unmasks the line by a descriptor of its own when the guest has acknowledged it, and QEMU hears nothing of it.
#[test]
fn the_line_is_unmasked_by_a_descriptor() {
    let (served, mut client) = served("intx-unmask");
    let (line, unmask) = (event(), event());
    client.set_irqs(TRIGGER_EVENTFD, INTX, 0, 1, &[], &[&line]).good();
    client.set_irqs(UNMASK_EVENTFD, INTX, 0, 1, &[], &[&unmask]).good();
    let acknowledge = || rustix::io::write(&unmask, &1u64.to_ne_bytes()).unwrap();
    client.write32(0, EICS, 1 << 2);
    assert_eq!(soon(&mut client, &line), 1);
    acknowledge();
    // No command comes that would wake the card.
    let deadline = Instant::now() + Duration::from_secs(20);
    let again = std::iter::repeat_with(|| fired(&line)).find(|&count| count > 0 || Instant::now() > deadline);
    assert_eq!(again, Some(1), "asserted still");
    client.read32(0, EICR);
    acknowledge();
    assert_eq!(soon(&mut client, &line), 0);
    client.write32(0, EICS, 1 << 3);
    assert_eq!(soon(&mut client, &line), 1, "unmasked for the next");
    client.set_irqs(UNMASK_EVENTFD, INTX, 0, 1, &[], &[]).good();
    acknowledge();
    assert_eq!(soon(&mut client, &line), 0, "taken away, it unmasks nothing");
    drop(client);
    assert_eq!(served.stop().0, Vec::<String>::new());
}

#[test]
fn a_masked_cause_does_not_assert_the_line() {
    let (served, mut client) = served("intx-mask");
    let line = event();
    client.set_irqs(TRIGGER_EVENTFD, INTX, 0, 1, &[], &[&line]).good();
    client.write32(0, EIMC, 1);
    client.write32(0, EICS, 1);
    assert_eq!((soon(&mut client, &line), shows_interrupt(&mut client)), (0, false));
    client.write32(0, EIMS, 1);
    assert_eq!(soon(&mut client, &line), 1, "the mask opens on it");
    client.write32(0, EIMC, 1);
    client.set_irqs(UNMASK_NONE, INTX, 0, 1, &[], &[]).good();
    assert_eq!((soon(&mut client, &line), shows_interrupt(&mut client)), (0, false));
    drop(client);
    assert_eq!(served.stop().0, Vec::<String>::new());
}

#[test]
fn the_command_register_keeps_the_line_silent() {
    let (served, mut client) = served("intx-disable");
    let line = event();
    client.set_irqs(TRIGGER_EVENTFD, INTX, 0, 1, &[], &[&line]).good();
    client.write(7, COMMAND, &[6, 4]);
    client.write32(0, EICS, 1);
    assert_eq!((soon(&mut client, &line), shows_interrupt(&mut client)), (0, true), "the status shows it all the same");
    assert_eq!(client.read(7, COMMAND, 4)[2] & 8, 8, "read as one word, too");
    client.write(7, COMMAND, &[6, 0]);
    assert_eq!(soon(&mut client, &line), 1);
    drop(client);
    assert_eq!(served.stop().0, Vec::<String>::new());
}

#[test]
fn msi_is_a_message_for_each_cause() {
    let (served, mut client) = served("msi");
    let (line, message) = (event(), event());
    client.set_irqs(TRIGGER_EVENTFD, INTX, 0, 1, &[], &[&line]).good();
    client.set_irqs(TRIGGER_EVENTFD, MSI, 0, 1, &[], &[&message]).good();
    assert_eq!(client.read(7, MSI_CONTROL, 1)[0] & 1, 1, "turned on as the kernel does for a client of its own");
    client.write32(0, EICS, 1);
    assert_eq!((soon(&mut client, &message), fired(&line), shows_interrupt(&mut client)), (1, 0, false));
    client.write32(0, EICS, 2);
    assert_eq!(soon(&mut client, &message), 1, "a message each: nothing has to be taken in between");
    client.write(7, MSI_MASK, &[1]);
    client.write32(0, EICS, 4);
    assert_eq!(soon(&mut client, &message), 0);
    client.write(7, MSI_MASK, &[0]);
    assert_eq!(soon(&mut client, &message), 1, "pending behind the mask of the capability");
    client.ask(13, &[]).good();
    assert_eq!(client.read(7, MSI_CONTROL, 1)[0] & 1, 1, "a reset for the client leaves it on");
    client.set_irqs(TRIGGER_NONE, MSI, 0, 0, &[], &[]).good();
    assert_eq!(client.read(7, MSI_CONTROL, 1)[0] & 1, 0);
    drop(client);
    assert_eq!(served.stop().0, Vec::<String>::new());
}
