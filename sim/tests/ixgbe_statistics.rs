//! Statistics of much traffic (8.2.3.23): how wide counters are, that they stay where they are full, and what a read clears. By raw register access.

use crate::common::Card;

const FULL_36: u64 = (1 << 36) - 1;

fn octets(card: &Card, low: u32) -> u64 {
    u64::from(card.r(low)) | u64::from(card.r(low + 4)) << 32
}

/// 6.5 million frames of 9600 bytes: 50 s at 10 Gbit/s, and a little less than 36 bits hold.
fn fifty_seconds(card: &Card) {
    card.model(|model| {
        model.count_received(0, 6_500_000, 9600);
        model.count_sent(0, 6_500_000, 9600);
    });
}

#[test]
fn octets_have_36_bits_and_stay_where_they_are_full() {
    let card = Card::up();
    let (bare, with_fcs) = (6_500_000 * 9600, 6_500_000 * 9604);
    // GORC, GOTC, TOR, RXNFGBC; RXDGBC, TXDGBC, QBRC, QBTC.
    let pairs = [0x4088, 0x4090, 0x40C0, 0x41B4].map(|low| (low, with_fcs)).into_iter();
    let pairs: Vec<_> = pairs.chain([0x2F54, 0x87A4, 0x1034, 0x8700].map(|low| (low, bare))).collect();
    fifty_seconds(&card);
    for &(low, value) in &pairs {
        assert_eq!(octets(&card, low), value, "{low:#x}");
        assert_eq!(octets(&card, low), 0, "{low:#x}");
    }
    (0..2).for_each(|_| fifty_seconds(&card));
    for &(low, _) in &pairs {
        assert_eq!(octets(&card, low), FULL_36, "{low:#x}: no wrap");
        assert_eq!(octets(&card, low), 0, "{low:#x}: what came beyond is lost");
    }
    fifty_seconds(&card);
    for &(low, value) in &pairs {
        assert_eq!(octets(&card, low), value, "{low:#x}: it counts on");
    }
}

#[test]
fn frames_have_32_bits_and_stay_where_they_are_full() {
    let card = Card::up();
    card.model(|model| {
        for _ in 0..2 {
            model.count_received(0, 3_000_000_000, 60);
            model.count_sent(0, 3_000_000_000, 60);
        }
    });
    // TPR, PRC64, RXNFGPC, GPRC, RXDGPC, QPRC; TPT, GPTC, PTC64, TXDGPC, QPTC.
    for offset in [0x40D0, 0x405C, 0x41B0, 0x4074, 0x2F50, 0x1030, 0x40D4, 0x4080, 0x40D8, 0x87A0, 0x8680] {
        assert_eq!([card.r(offset), card.r(offset)], [u32::MAX, 0], "{offset:#x}");
    }
}

/// The high half is of the moment at which the low one was read.
#[test]
fn the_low_half_latches_the_high_one() {
    let card = Card::up();
    card.model(|model| model.count_received(0, 1_000_000, 4000));
    assert_eq!(card.r(0x1034), 4_000_000_000_u64 as u32);
    card.model(|model| model.count_received(0, 1_000_000, 4000));
    assert_eq!(card.r(0x1038), 0, "not the bit that came meanwhile");
    assert_eq!(octets(&card, 0x1034), 4_000_000_000, "which is not lost");
}

#[test]
fn frames_sent_by_a_queue_are_read_in_two_places() {
    let card = Card::up();
    // Transmit queue 9 counts in set 3; queue 20 has no set of its own there.
    card.w(0x8608, 3 << 8);
    card.model(|model| model.count_sent(9, 5, 60));
    assert_eq!([card.r(0x8680 + 3 * 4), card.r(0x6030 + 3 * 0x40)], [5, 0]);
    card.model(|model| model.count_sent(9, 6, 60));
    assert_eq!([card.r(0x6030 + 3 * 0x40), card.r(0x8680 + 3 * 4)], [6, 0], "where Linux and DPDK look");
    card.model(|model| model.count_sent(9, 7, 60));
    assert_eq!((card.r(0x6030 + 35 * 0x40), octets(&card, 0x8700 + 3 * 8)), (0, 18 * 60), "no set 35, and QBTC is elsewhere");
    card.expect_violations(&[]);
}
