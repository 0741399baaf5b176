//! The simulated virtio card's control queue by a driver of a few lines: what commands do, what they answer, and that the card notes by name those that a driver must not send.

use crate::commands::*;
use driver_core::host::RegSpace;

const BROADCAST: [u8; 6] = [0xff; 6];
const GROUP: [u8; 6] = [1, 0, 0x5e, 0, 0, 7];
const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 2];

#[test]
fn it_is_promiscuous_until_it_is_turned_off_and_looks_at_no_filter_until_then() {
    let mut card = Card::up(FILTERS, 1);
    let all = [(MAC, None), (OTHER, None), (GROUP, None), (BROADCAST, None), (OTHER, Some(5)), (MAC, Some(5)), (MAC, Some(0))];
    assert!(all.iter().all(|&(to, tag)| card.comes_in(to, tag)), "after a reset");
    assert_eq!(card.tell(&[0, 0, 0]), OK);
    let now = all.map(|(to, tag)| card.comes_in(to, tag));
    assert_eq!(now, [true, false, false, true, false, false, false], "VLAN 0 has to be added as well");
    assert_eq!((card.tell(&[0, 0, 1]), card.comes_in(OTHER, Some(5))), (OK, true));
    assert_eq!(card.whats(), [""; 0]);
}

#[test]
fn each_mode_lets_in_or_keeps_out_its_kind() {
    let mut card = Card::up(FILTERS, 1);
    card.tell(&[0, 0, 0]);
    let kinds = [MAC, OTHER, GROUP, BROADCAST];
    let plain = [true, false, false, true];
    for (command, now) in [
        (1, [true, false, true, true]),
        (2, [true, true, false, true]),
        (3, plain),
        (4, [false, false, false, true]),
        (5, [true, false, false, false]),
    ] {
        assert_eq!((card.tell(&[0, command, 1]), kinds.map(|to| card.comes_in(to, None))), (OK, now), "command {command}");
        assert_eq!((card.tell(&[0, command, 0]), kinds.map(|to| card.comes_in(to, None))), (OK, plain), "command {command}");
    }
    assert_eq!(card.whats(), [""; 0]);
}

#[test]
fn addresses_and_vlans_come_and_go() {
    let mut card = Card::up(FILTERS, 1);
    card.tell(&[0, 0, 0]);
    let table = [&[1, 0, 1, 0, 0, 0][..], &OTHER, &[1, 0, 0, 0], &GROUP].concat();
    assert_eq!(card.tell(&table), OK);
    assert_eq!([MAC, OTHER, GROUP].map(|to| card.comes_in(to, None)), [true; 3]);
    assert_eq!((card.tell(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0]), card.comes_in(OTHER, None)), (OK, false));
    let generation = card.bar.read8(21);
    assert_eq!((card.tell(&[&[1, 1][..], &OTHER].concat()), card.comes_in(OTHER, None), card.comes_in(MAC, None)), (OK, true, false));
    assert_eq!((card.bar.read8(21), card.bar.read8(0x2000 + 5)), (generation, 2), "another address, and the same generation");
    assert_eq!((card.tell(&[2, 0, 5, 0]), card.comes_in(OTHER, Some(5)), card.comes_in(OTHER, Some(6))), (OK, true, false));
    assert_eq!((card.tell(&[2, 1, 5, 0]), card.comes_in(OTHER, Some(5))), (OK, false));
    assert_eq!(card.whats(), [""; 0]);
}

#[test]
fn commands_that_a_driver_must_not_send_are_refused_and_noted() {
    let mut card = Card::up(FILTERS, 1);
    for (command, what) in [
        (&[0, 0][..], "a command is too short"),
        (&[0, 0, 1, 1], "a command is too long"),
        (&[0, 0, 2], "a mode that is neither on nor off"),
        (&[9, 0, 1], "a command that there is not"),
        (&[0, 6, 1], "a command that there is not"),
        (&[4, 0, 1, 0], "a command whose feature was not negotiated"),
        (&[6, 1, 1, 0, 0, 0, 1, 0, 0, 0], "a command whose feature was not negotiated"),
        (&[2, 0, 0, 16], "a VLAN beyond 4095"),
        (&[1, 1, 1, 0, 0, 0, 0, 1], "an address that no card can have"),
        (&[1, 1, 0, 0, 0, 0, 0, 0], "an address that no card can have"),
        (&[1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0], "an address in the table of the other kind"),
        (&[1, 0, 2, 0, 0, 0, 2, 0, 0, 0, 0, 1], "a command is too short"),
    ] {
        assert_eq!(card.refused(command), what, "{command:?}");
    }
    assert!(card.comes_in(OTHER, Some(5)), "nothing has changed");
}

#[test]
fn a_command_without_class_or_ack_breaks_the_card() {
    let mut card = Card::up(FILTERS, 1);
    let control = card.control();
    card.put(control, 0, 1, NEXT, 1);
    card.put(control, 1, 1, WRITE, 0);
    card.store(control, AREAS[1] + 4, 0u16);
    card.store(control, AREAS[1] + 2, 1u16);
    card.bar.write16(0x3000 + 8, 2);
    (0..4).for_each(|_| _ = card.device.advance_us(10));
    assert_eq!(card.whats(), ["a command without class and command, or without room for its ack"]);
    assert_eq!((card.bar.read8(20) & 64, card.load::<u16>(control, AREAS[2] + 2)), (64, 0), "DEVICE_NEEDS_RESET, and no answer");
    assert_eq!(card.arrives(&[0xff; 64]), None);
}

#[test]
fn offloads_are_switched_that_were_negotiated() {
    let mut card = Card::up(CTRL_GUEST_OFFLOADS | GUEST_CSUM | GUEST_TSO4, 1);
    let set = |offloads: u64| [&[5, 0][..], &offloads.to_le_bytes()].concat();
    for offloads in [0, GUEST_CSUM, GUEST_CSUM | GUEST_TSO4] {
        assert_eq!(card.tell(&set(offloads)), OK);
    }
    assert_eq!(card.whats(), [""; 0]);
    // GUEST_TSO6, CTRL_VQ, and a bit that is none.
    for offloads in [GUEST_CSUM | 1 << 8, 1 << 17, 1 << 45] {
        assert_eq!(card.refused(&set(offloads)), "an offload is switched on that was not negotiated");
    }
    assert_eq!(card.refused(&set(GUEST_CSUM)[..9]), "a command is too short");
    assert_eq!(card.refused(&[5, 1, 0, 0, 0, 0, 0, 0, 0, 0]), "a command that there is not");
    assert_eq!(Card::up(GUEST_CSUM, 1).refused(&set(GUEST_CSUM)), "a command whose feature was not negotiated");
}

/// struct virtio_net_ctrl_coal.
fn limits(packets: u32, us: u32) -> Vec<u8> {
    [packets.to_le_bytes(), us.to_le_bytes()].concat()
}

/// 5.1.6.5.9 has this sequence of commands as its example.
#[test]
fn the_last_limits_of_a_queue_hold_whichever_command_set_them() {
    let mut card = Card::up(MQ | NOTF_COAL | VQ_NOTF_COAL, 2);
    let of = |class_command: [u8; 2], queue: &[u8], limits: Vec<u8>| [&class_command[..], queue, &limits].concat();
    let ask = |card: &mut Card, queue: u8| card.ask(&[6, 3, queue, 0, 0xaa, 0xaa], 8);
    assert_eq!(card.tell(&of([6, 1], &[], limits(10, 100))), OK);
    assert_eq!(card.coalescing()[..4], [(10, 100), (0, 0), (10, 100), (0, 0)]);
    assert_eq!(card.tell(&of([6, 2], &[0, 0, 0xaa, 0xaa], limits(20, 200))), OK, "what is reserved is ignored");
    assert_eq!(card.coalescing()[..4], [(20, 200), (0, 0), (10, 100), (0, 0)]);
    assert_eq!(ask(&mut card, 0), (limits(20, 200), OK));
    assert_eq!(card.tell(&of([6, 2], &[1, 0, 0, 0], limits(30, 300))), OK);
    assert_eq!(card.coalescing()[..4], [(20, 200), (30, 300), (10, 100), (0, 0)]);
    assert_eq!(card.tell(&of([6, 0], &[], limits(40, 400))), OK);
    assert_eq!(card.coalescing()[..4], [(20, 200), (40, 400), (10, 100), (40, 400)]);
    assert_eq!(ask(&mut card, 1), (limits(40, 400), OK));
    assert_eq!(card.whats(), [""; 0]);
    // Not enabled, and the control queue.
    for queue in [4, 8, 200] {
        assert_eq!(ask(&mut card, queue).1, ERR, "{queue}");
        card.whats();
        assert_eq!(card.refused(&of([6, 2], &[queue, 0, 0, 0], limits(1, 1))), "a queue that is no receive or transmit queue, or not enabled");
    }
    card.bar.write8(20, 0);
    (0..4).for_each(|_| _ = card.device.advance_us(10));
    assert_eq!(card.coalescing()[..4], [(0, 0); 4], "behind a reset");
}
