//! EtherType filters: ETQF and ETQS (7.1.2.3, 8.2.3.7.21, 8.2.3.7.22).

/// ETQF: the type in the lowest bits, and the filter is on.
const ETQF_ETYPE: u32 = 0xFFFF;
const ETQF_FILTER_ENABLE: u32 = 1 << 31;
/// ETQS: a queue is chosen, and which.
const ETQS_QUEUE_EN: u32 = 1 << 31;
const ETQS_RX_QUEUE_SHIFT: u32 = 16;

/// Types that the card parses itself, so that no filter may take them.
const IPV4: u32 = 0x0800;
const IPV6: u32 = 0x86DD;

pub(super) fn is_on(etqf: u32) -> bool {
    etqf & ETQF_FILTER_ENABLE != 0
}

pub(super) fn matches(etqf: u32, ethertype: Option<u16>) -> bool {
    is_on(etqf) && ethertype.is_some_and(|ethertype| u32::from(ethertype) == etqf & ETQF_ETYPE)
}

/// The queue that a filter which matched sends to, where it does.
pub(super) fn queue(etqs: u32) -> Option<u32> {
    (etqs & ETQS_QUEUE_EN != 0).then_some(etqs >> ETQS_RX_QUEUE_SHIFT & 0x7F)
}

/// The packet type of the write-back (7.1.6.2): bit 11 says that it is layer 2's, bits 2:0 which filter matched.
pub(super) fn packet_type(index: u32) -> u32 {
    1 << 15 | index << 4
}

/// What is wrong with a filter beside the others.
pub(super) fn unfit(etqf: u32, mut others: impl Iterator<Item = u32>) -> Option<&'static str> {
    let ethertype = etqf & ETQF_ETYPE;
    if !is_on(etqf) {
        None
    } else if matches!(ethertype, IPV4 | IPV6) {
        Some("an EtherType filter takes IP packets, which go through the filters of layer 3 and 4")
    } else if others.any(|other| is_on(other) && other & ETQF_ETYPE == ethertype) {
        Some("two EtherType filters match the same type")
    } else {
        None
    }
}
