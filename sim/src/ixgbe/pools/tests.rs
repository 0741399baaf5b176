//! Which pools a frame goes to, and which way, by the registers alone.

use super::Ways;
use crate::ixgbe::card::Ixgbe;
use crate::ixgbe::options::IxgbeOptions;
use crate::ixgbe::parse::parse;
use crate::ixgbe::stats::Cast;
use crate::ixgbe::tags::TagTypes;
use crate::slot::Slot;
use crate::violation::Violations;

const A: [u8; 6] = [2, 0, 0, 0, 0, 0xA];
const B: [u8; 6] = [2, 0, 0, 0, 0, 0xB];
const NOBODY: [u8; 6] = [2, 0, 0, 0, 0, 0xC];
const ALL: [u8; 6] = [0xFF; 6];

/// 64 pools, of which 1 has address A and 2 address B; the first is for everything else, and for broadcast; frames are switched.
fn card() -> Ixgbe {
    let mut card = Ixgbe::new(IxgbeOptions::default());
    let address = |index: u32, [a, b, c, d, e, f]: [u8; 6], pools: u32| {
        let (low, high) = (u32::from_le_bytes([a, b, c, d]), 1 << 31 | u32::from_le_bytes([e, f, 0, 0]));
        [(0xA200 + 8 * index, low), (0xA204 + 8 * index, high), (0xA600 + 8 * index, pools), (0xA604 + 8 * index, 0)]
    };
    let pools = [(0x51B0, 1 | 1 << 30), (0x51E0, !0), (0x51E4, !0), (0x8110, !0), (0x8114, !0), (0x8220, 1)];
    // MRQC, MTQC, FCTRL's and VMOLR's broadcast; frames without a tag.
    let modes = [(0x5818, 8), (0x8120, 6), (0x5080, 1 << 10), (0xF000, 3 << 24 | 1 << 27), (0xF004, 1 << 24), (0xF008, 1 << 24)];
    // The receiver is on, and the link is up.
    let writes = [&pools[..], &modes[..], &address(1, A, 2), &address(2, B, 4), &[(0x3000, 1)]].concat();
    writes.into_iter().for_each(|(offset, value)| card.regs.set(offset, value));
    card.link.up = true;
    card
}

fn frame(to: [u8; 6], from: [u8; 6], tag: Option<u16>) -> Vec<u8> {
    let mut frame = [to, from].concat();
    if let Some(tag) = tag {
        frame.extend([0x81, 0x00]);
        frame.extend(tag.to_be_bytes());
    }
    frame.resize(60, 0);
    frame
}

fn received(card: &Ixgbe, frame: &[u8]) -> u64 {
    card.pools_of_received(frame, Cast::of(frame), &parse(frame, TagTypes { inner: 0x8100, outer: None }))
}

/// VLAN 7 has pool 2 alone.
fn with_vlan(card: &mut Ixgbe) {
    [(0xF100, 1 << 31 | 7), (0xF200, 4), (0x5088, 0x8100 | 1 << 30)].into_iter().for_each(|(offset, value)| card.regs.set(offset, value));
}

#[test]
fn received_by_address_and_then_by_vlan() {
    let mut card = card();
    let [to_a, to_b, to_nobody, to_all] = [A, B, NOBODY, ALL].map(|to| received(&card, &frame(to, NOBODY, None)));
    assert_eq!([to_a, to_b, to_nobody, to_all], [2, 4, 1, 1]);
    with_vlan(&mut card);
    let tagged = |card: &Ixgbe, id| [A, B].map(|to| received(card, &frame(to, NOBODY, Some(id))));
    assert_eq!((tagged(&card, 7), tagged(&card, 8)), ([1, 4], [1, 1]), "what no pool of the address takes, the default one has");
    card.regs.set(0x51B0, 1 | 1 << 29 | 1 << 30);
    assert_eq!((tagged(&card, 7), received(&card, &frame(NOBODY, A, None))), ([0, 4], 0), "there is no default pool");
    card.regs.set(0x51E0, !4);
    assert_eq!(tagged(&card, 7), [0, 0], "pool 2 does not receive");
}

#[test]
fn a_frame_for_several_pools_goes_to_one_where_none_is_replicated() {
    let mut card = card();
    (0xF004..=0xF008).step_by(4).for_each(|offset| card.regs.set(offset, 3 << 24 | 1 << 27));
    assert_eq!(received(&card, &frame(ALL, NOBODY, None)), 7);
    card.regs.set(0x51B0, 1);
    assert_eq!(received(&card, &frame(ALL, NOBODY, None)), 1);
}

#[test]
fn what_comes_back_from_a_switch_is_pruned_where_its_pool_asks_for_that() {
    let mut card = card();
    (0xF004..=0xF008).step_by(4).for_each(|offset| card.regs.set(offset, 1 << 24 | 1 << 27));
    card.regs.set(0x50B0, 2);
    assert_eq!([A, B].map(|from| received(&card, &frame(ALL, from, None))), [5, 7]);
}

/// Queues 2 and 3 are pool 1's, 4 and 5 pool 2's.
#[test]
fn sent_between_pools_or_to_the_wire() {
    let mut card = card();
    let ways = |card: &mut Ixgbe, to, tag| card.ways_of(&frame(to, A, tag), 2);
    let here = |pools| Ways { pools, to_wire: false };
    assert_eq!([B, A, NOBODY, ALL].map(|to| ways(&mut card, to, None)), [here(4), here(0), Ways::WIRE, Ways { pools: 1, to_wire: true }]);
    card.regs.set(0x5180, 2);
    assert_eq!(ways(&mut card, A, None), here(2), "the pool has what it sends to itself");
    with_vlan(&mut card);
    assert_eq!((ways(&mut card, B, Some(7)), ways(&mut card, B, Some(8))), (here(4), here(0)));
    card.link.up = false;
    assert_eq!(ways(&mut card, B, None), Ways::WIRE, "nothing is switched without a link");
    card.link.up = true;
    card.regs.set(0x8220, 0);
    assert_eq!(ways(&mut card, B, None), Ways::WIRE);
    card.regs.set(0x8110, !2);
    assert_eq!([2, 4].map(|queue| card.may_send(queue)), [false, true]);
}

#[test]
fn what_is_not_a_pools_own_is_not_sent_where_that_is_looked_at() {
    let mut card = card();
    with_vlan(&mut card);
    let spoofed = |card: &mut Ixgbe, from, tag, queue| !card.ways_of(&frame(NOBODY, from, tag), queue).to_wire;
    assert!(!spoofed(&mut card, B, None, 2) && !spoofed(&mut card, A, Some(7), 2), "nobody looks");
    // Both checks, of pools 1 and 2.
    card.regs.set(0x8200, 6 | 6 << 8);
    assert_eq!(
        [(A, None, 2), (B, None, 2), (A, Some(7), 2), (B, Some(7), 4), (B, Some(8), 5)]
            .map(|(from, tag, queue)| spoofed(&mut card, from, tag, queue)),
        [false, true, true, false, true]
    );
    assert_eq!(card.regs.at(0x8780), 3, "SSVPC");
}

#[test]
fn queues_and_pools_have_to_agree_when_the_receiver_is_turned_on() {
    for (mrqc, mtqc, pfvtctl, is_said) in
        [(8, 6, 1, false), (11, 6, 1, false), (10, 10, 1, false), (1, 0, 0, false), (10, 6, 1, true), (8, 6, 0, true), (1, 0, 1, true)]
    {
        let (mut card, violations) = (card(), Violations::default());
        [(0x5818, mrqc), (0x8120, mtqc), (0x51B0, pfvtctl)].into_iter().for_each(|(offset, value)| card.regs.set(offset, value));
        card.check_pools(&Slot::new(0, true, &violations, &|_| {}));
        assert_eq!(violations.total() > 0, is_said, "{mrqc} {mtqc} {pfvtctl}");
    }
}
