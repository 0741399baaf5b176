//! What is read, what it is called, and what it adds up to.

use std::collections::{BTreeMap, BTreeSet};

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use driver_core::host::Clock;
use driver_core::queue::core::Totals;
use driver_core::testing::{PlainBar, SleepClock};

use super::counters::{Counters, Queues};
use super::{Counting, Look};
use crate::card::Card;
use crate::id::Family;
use crate::layout::Layout;
use crate::regs::*;

const ALL: Queues = Queues { rx: 16, tx: 16, has_drops: false, layout: Layout::PLAIN };

#[test]
fn counters_add_up_over_reads_that_clear() {
    let bar = PlainBar::new(BAR_BYTES);
    let mut counters = Counters::default();
    for _ in 0..2 {
        bar.set_clearing(QPRC.at(0).unwrap().offset(), 10);
        bar.set_clearing(QPRC.at(15).unwrap().offset(), 5);
        bar.set_clearing(QBRC_L.at(0).unwrap().offset(), 0xffff_ffff);
        bar.set_clearing(QBRC_H.at(0).unwrap().offset(), 0xf);
        bar.set_clearing(RXMPC.at(0).unwrap().offset(), 3);
        bar.set_clearing(QPRDC.at(1).unwrap().offset(), 4);
        counters.update(&bar, Family::I82599, ALL, Look::Whole);
    }
    counters.update(&bar, Family::I82599, ALL, Look::Whole);
    let stats = counters.stats();
    assert_eq!((stats.rx_packets, stats.rx_bytes, stats.rx_missed_errors), (30, 2 * 0xf_ffff_ffff, 14));
    assert_eq!(stats.rx_errors, 0);
}

#[test]
fn sent_bytes_have_no_check_sequence() {
    let bar = PlainBar::new(BAR_BYTES);
    bar.set_clearing(GPTC.offset(), 2);
    bar.set_clearing(GOTCL.offset(), 64 + 1518);
    let mut counters = Counters::default();
    counters.update(&bar, Family::I82599, ALL, Look::Whole);
    assert_eq!((counters.stats().tx_packets, counters.stats().tx_bytes), (2, 60 + 1514));
}

#[test]
fn errors_are_summed_from_their_kinds() {
    let bar = PlainBar::new(BAR_BYTES);
    for (register, value) in [(CRCERRS, 1), (RLEC, 2), (RUC, 4), (RFC, 8), (ROC, 16), (RJC, 32), (ILLERRC, 64), (ERRBC, 128), (MPRC, 9)] {
        bar.set_clearing(register.offset(), value);
    }
    let mut counters = Counters::default();
    counters.update(&bar, Family::I82599, ALL, Look::Whole);
    let stats = counters.stats();
    assert_eq!((stats.rx_crc_errors, stats.rx_length_errors, stats.rx_frame_errors), (1, 62, 192));
    assert_eq!((stats.rx_errors, stats.multicast), (255, 9));
}

/// Names and offsets, typed once more, from the headers of other drivers.
const ELSEWHERE: &[(&str, u32)] = &[
    ("rx_crc_errors", 0x4000),
    ("rx_illegal_byte_errors", 0x4004),
    ("rx_error_bytes", 0x4008),
    ("rx_mac_short_packet_dropped", 0x4010),
    ("mac_local_errors", 0x4034),
    ("mac_remote_errors", 0x4038),
    ("rx_length_field_errors", 0x4040),
    ("rx_size_64_packets", 0x405c),
    ("rx_size_65_to_127_packets", 0x4060),
    ("rx_size_128_to_255_packets", 0x4064),
    ("rx_size_256_to_511_packets", 0x4068),
    ("rx_size_512_to_1023_packets", 0x406c),
    ("rx_size_1024_to_max_packets", 0x4070),
    ("rx_good_packets", 0x4074),
    ("rx_broadcast_packets", 0x4078),
    ("rx_multicast_packets", 0x407c),
    ("tx_good_packets", 0x4080),
    ("rx_good_octets", 0x4088),
    ("tx_good_octets", 0x4090),
    ("rx_undersize_errors", 0x40a4),
    ("rx_fragment_errors", 0x40a8),
    ("rx_oversize_errors", 0x40ac),
    ("rx_jabber_errors", 0x40b0),
    ("rx_management_packets", 0x40b4),
    ("rx_management_dropped", 0x40b8),
    ("tx_management_packets", 0xcf90),
    ("rx_total_octets", 0x40c0),
    ("rx_total_packets", 0x40d0),
    ("tx_total_packets", 0x40d4),
    ("tx_size_64_packets", 0x40d8),
    ("tx_size_65_to_127_packets", 0x40dc),
    ("tx_size_128_to_255_packets", 0x40e0),
    ("tx_size_256_to_511_packets", 0x40e4),
    ("tx_size_512_to_1023_packets", 0x40e8),
    ("tx_size_1024_to_max_packets", 0x40ec),
    ("tx_multicast_packets", 0x40f0),
    ("tx_broadcast_packets", 0x40f4),
    ("rx_l3_l4_xsum_error", 0x4120),
    ("rx_unfiltered_packets", 0x41b0),
    ("rx_unfiltered_octets", 0x41b4),
    ("rx_dma_packets", 0x2f50),
    ("rx_dma_octets", 0x2f54),
    ("rx_dma_duplicated_packets", 0x2f5c),
    ("rx_dma_duplicated_octets", 0x2f60),
    ("rx_dma_loopback_packets", 0x2f68),
    ("rx_dma_loopback_octets", 0x2f6c),
    ("rx_dma_duplicated_loopback_packets", 0x2f74),
    ("rx_dma_duplicated_loopback_octets", 0x2f78),
    ("tx_dma_packets", 0x87a0),
    ("tx_dma_octets", 0x87a4),
    ("tx_switch_security_dropped", 0x8780),
    ("rx_xon_packets", 0x41a4),
    ("rx_xoff_packets", 0x41a8),
    ("tx_xon_packets", 0x3f60),
    ("tx_xoff_packets", 0x3f68),
    ("flow_director_matched_filters", 0xee58),
    ("flow_director_missed_filters", 0xee5c),
    ("rx_fcoe_crc_errors", 0x5118),
    ("rx_fcoe_dropped", 0x241c),
    ("rx_fcoe_last_errors", 0x2424),
    ("rx_fcoe_packets", 0x2428),
    ("rx_fcoe_dwords", 0x242c),
    ("tx_fcoe_packets", 0x8784),
    ("tx_fcoe_dwords", 0x8788),
    ("os2bmc_rx_by_bmc", 0x41c4),
    ("os2bmc_tx_by_bmc", 0x41c0),
    ("os2bmc_tx_by_host", 0x87b0),
    ("os2bmc_rx_by_host", 0x2f90),
    ("bmc_rx_unicast_packets", 0x4180),
    ("bmc_rx_multicast_packets", 0x4184),
    ("bmc_rx_broadcast_packets", 0x4188),
    ("bmc_tx_unicast_packets", 0x418c),
    ("bmc_tx_multicast_packets", 0x4190),
    ("bmc_tx_broadcast_packets", 0x4194),
    ("bmc_rx_crc_errors", 0x4198),
    ("bmc_rx_xon_packets", 0x419c),
    ("bmc_rx_xoff_packets", 0x41e0),
    ("bmc_tx_xon_packets", 0x41e4),
    ("bmc_tx_xoff_packets", 0x41e8),
];
/// The same of several of a kind: the first offset and the distance.
const KINDS_ELSEWHERE: &[(&str, &str, u32)] = &[
    ("rx_priority", "_dropped", 0x3fa0),
    ("rx_priority", "_xon_packets", 0x4140),
    ("rx_priority", "_xoff_packets", 0x4160),
    ("tx_priority", "_xon_packets", 0x3f00),
    ("tx_priority", "_xoff_packets", 0x3f20),
    ("tx_priority", "_xon_to_xoff_packets", 0x3240),
];
const QUEUES_ELSEWHERE: &[(&str, &str, u32, u32)] = &[
    ("rx_q", "_packets", 0x1030, 0x40),
    ("rx_q", "_bytes", 0x1034, 0x40),
    ("rx_q", "_dropped", 0x1430, 0x40),
    ("tx_q", "_packets", 0x8680, 4),
    ("tx_q", "_bytes", 0x8700, 8),
];

#[test]
fn each_name_is_the_register_that_others_know_by_it() {
    let bar = PlainBar::new(BAR_BYTES);
    let mut wanted: BTreeMap<String, u64> = BTreeMap::new();
    let mut fill = |name: String, offset: u32| {
        let value = wanted.len() as u32 + 1;
        bar.set_clearing(offset, value);
        wanted.insert(name, value.into());
    };
    ELSEWHERE.iter().for_each(|&(name, offset)| fill(name.into(), offset));
    let kinds = KINDS_ELSEWHERE.iter().map(|&(before, after, first)| (before, after, first, 4, 8));
    let queues = QUEUES_ELSEWHERE.iter().map(|&(before, after, first, stride)| (before, after, first, stride, 16));
    for (before, after, first, stride, count) in kinds.chain(queues) {
        (0..count).for_each(|at| fill(format!("{before}{at}{after}"), first + at * stride));
    }
    for (offset, lower, upper) in [
        (0xee50, "flow_director_added_filters", "flow_director_removed_filters"),
        (0xee54, "flow_director_filter_add_errors", "flow_director_filter_remove_errors"),
    ] {
        bar.set_clearing(offset, 7 << 16 | 5);
        wanted.extend([(lower.into(), 5), (upper.into(), 7)]);
    }
    let mut counters = Counters::default();
    assert_eq!(counters.update(&bar, Family::X540, ALL, Look::Whole), None);
    let all = counters.xstats(Family::X540, ALL, &[Totals::default(); 16], &[Totals::default(); 16]);
    let counted: BTreeMap<String, u64> = all.iter().map(|xstat| (xstat.name.to_string(), xstat.value)).collect();
    assert_eq!((&counted, counted.len()), (&wanted, all.len()));
    assert_eq!(counters.update(&bar, Family::X540, ALL, Look::Whole), None);
    assert_eq!(counters.xstats(Family::X540, ALL, &[], &[]), all[..counted.len() - 16 * 5], "reading cleared all");
}

#[test]
fn registers_that_a_card_has_not_are_not_read() {
    let read = |family: Family, look: Look| {
        let bar = PlainBar::new(BAR_BYTES);
        Counters::default().update(&bar, family, Queues { rx: 1, tx: 1, has_drops: false, layout: Layout::PLAIN }, look);
        bar.accesses().iter().map(|access| format!("{access:?}")).collect::<BTreeSet<_>>()
    };
    let [i82599, x540, x550] = [Family::I82599, Family::X540, Family::X550].map(|family| read(family, Look::Whole));
    assert_eq!((x540.difference(&i82599).count(), i82599.difference(&x540).count()), (15, 0), "the management controller's");
    assert_eq!((x540.difference(&x550).count(), x550.difference(&x540).count()), (7, 0), "FCoE's");
    assert!(read(Family::X550, Look::Brief).len() < 40);
}

#[test]
fn a_full_counter_is_named() {
    for (offset, wanted) in [(0x4074, Some("GPRC")), (0x1030, Some("QPRC")), (0x5118, None)] {
        let bar = PlainBar::new(BAR_BYTES);
        bar.set_clearing(offset, if offset == 0x5118 { 0xffff } else { u32::MAX });
        assert_eq!(Counters::default().update(&bar, Family::I82599, ALL, Look::Whole), wanted);
    }
    let bar = PlainBar::new(BAR_BYTES);
    bar.set_clearing(0x4088, u32::MAX);
    bar.set_clearing(0x408c, 0xe);
    let mut counters = Counters::default();
    assert_eq!(counters.update(&bar, Family::I82599, ALL, Look::Whole), None);
    bar.set_clearing(0x4088, u32::MAX);
    bar.set_clearing(0x408c, 0xf);
    assert_eq!(counters.update(&bar, Family::I82599, ALL, Look::Whole), Some("GORCL"));
}

/// Queues beyond the sixteenth count in the sets of others: nobody's sum is wrong, and no set is taken for one queue's.
#[test]
fn sets_that_several_queues_share_have_names_of_their_own() {
    let bar = PlainBar::new(BAR_BYTES);
    bar.set_clearing(0x1030, 10);
    let mut counters = Counters::default();
    counters.update(&bar, Family::I82599, Queues { rx: 17, tx: 1, has_drops: false, layout: Layout::PLAIN }, Look::Whole);
    assert_eq!(counters.stats().rx_packets, 10);
    let of = |rx: usize| counters.xstats(Family::I82599, ALL, &std::vec![Totals::default(); rx], &[Totals::default()]);
    let names =
        |rx: usize, what: &str| of(rx).iter().filter(|xstat| xstat.name.starts_with(what)).map(|xstat| xstat.name.clone()).collect::<Vec<_>>();
    assert_eq!((names(16, "rx_q0_"), names(16, "rx_set").len()), (["rx_q0_packets", "rx_q0_bytes", "rx_q0_dropped"].map(Into::into).to_vec(), 0));
    assert_eq!((names(17, "rx_q").len(), names(17, "rx_set").len()), (0, 16 * 3));
    assert!(of(17).iter().any(|xstat| xstat.name == "rx_set0_packets" && xstat.value == 10));
    assert!(of(17).iter().any(|xstat| xstat.name == "tx_q0_packets"));
}

/// A queue on another thread may be in the middle of its poll when the control handle begins to stop the card.
#[test]
fn a_card_that_is_being_stopped_is_read_by_its_control_handle_alone() {
    let (bar, clock) = (PlainBar::new(BAR_BYTES), Arc::new(SleepClock::default()));
    let model = &crate::id::MODELS[0];
    let counting = Counting::of(&Card::new(bar.clone(), clock.clone(), model, "card"), ALL);
    let reads = |act: &dyn Fn()| {
        clock.sleep_us(20_000_000);
        bar.forget();
        act();
        bar.accesses().len()
    };
    assert!(reads(&|| counting.read_if_due()) > 100);
    counting.close();
    assert_eq!(reads(&|| counting.read_if_due()), 0);
    assert!(reads(&|| counting.read(Look::Brief)) > 100, "what was left for 20 s is read whole");
}
