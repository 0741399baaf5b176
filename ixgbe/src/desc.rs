//! Advanced descriptors: receive write-back (7.1.6.2) and transmit data (7.2.3.2.4), as the two 64-bit words that they are in memory.
//!
//! The read format of a receive descriptor (7.1.6.1) is the buffer's address in word 0 and 0 in word 1 (no header buffer), so that the done bit of
//! a descriptor that the card has not touched is clear. Of a transmit descriptor word 0 is the buffer's address, and word 1 is made here.

use driver_core::buf::meta;
use driver_core::ether::MIN_FRAME_BYTES;
use driver_core::ring::{RxRules, TxRules};

/// A frame's words decode from the card's as they are: the layout is the card's. Of the bits that a frame has no use for HDR_LEN alone is taken out
/// ([`rx_rules`]), since the queue's number takes its place.
const _: () = {
    assert!(rx::RSS_TYPE == meta::KIND_MASK && rx::RSS_TYPE_FLOW_DIRECTOR == meta::KIND_MARK && rx::PACKET_UDP == meta::UDP);
    assert!(rx::RSCCNT == 0xf << meta::COALESCED_SHIFT && rx::HDR_LEN == 0x3ff << meta::QUEUE_SHIFT && rx::RSS_HASH == !0 << meta::VALUE_SHIFT);
    assert!(rx::FLM == meta::FLOW_MATCH && rx::VP == meta::VLAN_VALID && rx::L4CS == meta::L4_CHECKED && rx::IPCS == meta::IP_CHECKED);
    assert!(rx::L4E == meta::L4_BAD && rx::IPE == meta::IP_BAD);
    assert!(rx::PKT_LEN == 0xffff << meta::LEN_SHIFT && rx::VLAN_TAG == 0xffff << meta::VLAN_SHIFT);
};

/// Receive write-back, word 1 (7.1.6.2): extended status in 19:0, extended error in 31:20, PKT_LEN in 47:32, VLAN tag in 63:48.
pub mod rx {
    /// Word 0: what the hash covers.
    pub const RSS_TYPE: u64 = 0xf;
    /// RSS type of a frame whose hash's place has what flow director says of it.
    pub const RSS_TYPE_FLOW_DIRECTOR: u64 = 0xf;
    /// Word 0, packet type: UDP.
    pub const PACKET_UDP: u64 = 1 << 9;
    /// Word 0: of a large receive, one more than the segments that start in this descriptor (RSC-COUNT).
    pub const RSCCNT: u64 = 0xf << 17;
    /// Word 0: the hash.
    pub const RSS_HASH: u64 = !0 << 32;
    /// Word 0, HDR_LEN: how many bytes went to a header buffer, which this driver never gives.
    pub const HDR_LEN: u64 = 0x3ff << 21;
    /// Word 0, SPH: the card found headers.
    pub const SPH: u64 = 1 << 31;
    /// Where word 1 has the next descriptor of a large receive, in one that is not its last (NEXTP).
    pub const NEXTP_SHIFT: u32 = 4;
    /// Word 1, HBO: the headers are longer than their buffer.
    pub const HBO: u64 = 1 << 23;
    /// Descriptor done.
    pub const DD: u64 = 1 << 0;
    /// End of packet: the frame's last descriptor.
    pub const EOP: u64 = 1 << 1;
    /// A flow director filter matched.
    pub const FLM: u64 = 1 << 2;
    /// VLAN packet. Set for a tagged frame whether or not the tag was stripped (VP-UNSTRIPPED).
    pub const VP: u64 = 1 << 3;
    /// The UDP checksum was checked.
    pub const UDPCS: u64 = 1 << 4;
    /// The L4 checksum was checked ("L4I").
    pub const L4CS: u64 = 1 << 5;
    /// The IPv4 header checksum was checked.
    pub const IPCS: u64 = 1 << 6;
    /// Received by an inexact filter ("PIF"): the multicast or unicast hash table.
    pub const PIF: u64 = 1 << 7;
    /// TSIP: a time stamp lies behind the frame (X550; STAMP-IN-PACKET).
    pub const TSIP: u64 = 1 << 15;
    /// TS: a time stamp of the frame lies in RXSTMPL and RXSTMPH.
    pub const TS: u64 = 1 << 16;
    /// A MAC error: bad check sequence, length, symbol. Such frames come only where FCTRL.SBP asks for them.
    pub const RXE: u64 = 1 << 29;
    /// What makes a frame bad. A wrong checksum does not: the stack above may think otherwise.
    pub const ERRORS: u64 = RXE;
    /// The L4 checksum is wrong ("L4E").
    pub const L4E: u64 = 1 << 30;
    /// The IPv4 header checksum is wrong.
    pub const IPE: u64 = 1 << 31;

    /// The length of what is in the buffer.
    pub const PKT_LEN: u64 = 0xffff << 32;
    /// The VLAN tag.
    pub const VLAN_TAG: u64 = 0xffff << 48;

    /// What the card says of checksums.
    pub const VERDICTS: u64 = UDPCS | L4CS | IPCS | L4E | IPE;

    /// The length that the card wrote, in bytes.
    #[inline(always)]
    pub const fn len(word1: u64) -> u16 {
        (word1 >> 32) as u16
    }
    /// The stripped VLAN tag, which is there where [`VP`] is and RXDCTL.VME asked for it.
    #[inline(always)]
    pub const fn vlan_tag(word1: u64) -> u16 {
        (word1 >> 48) as u16
    }
    /// Whether the descriptor is done.
    #[inline(always)]
    pub const fn is_done(word1: u64) -> bool {
        word1 & DD != 0
    }
    /// Whether it is the frame's last.
    #[inline(always)]
    pub const fn is_last(word1: u64) -> bool {
        word1 & EOP != 0
    }
    /// Whether the frame is bad.
    #[inline(always)]
    pub const fn is_bad(word1: u64) -> bool {
        word1 & ERRORS != 0
    }
    /// The word without [`VP`] and the tag's place: what a frame keeps when its tag was not stripped.
    #[inline(always)]
    pub const fn without_vlan(word1: u64) -> u64 {
        word1 & !VP & u64::MAX >> 16
    }
}

/// What [`RxRing`](driver_core::ring::RxRing) takes in blocks: whole frames without error, VLAN tag, time stamp, or any of the bits that are to be `hidden`.
pub const fn rx_rules(hidden: u64) -> RxRules {
    RxRules::new(rx::DD)
        .with_end(rx::EOP)
        .with_unusual(rx::ERRORS | rx::VP | rx::TS | rx::TSIP | hidden)
        .with_marked(rx::TS | rx::TSIP)
        .with_dropped(rx::HDR_LEN)
}

/// Transmit data descriptor, word 1 (7.2.3.2.4): DTALEN in 15:0, DTYP in 23:20, DCMD in 31:24, STA in 35:32, POPTS in 45:40, PAYLEN in 63:46.
pub mod tx {
    /// MAC: the card stamps the frame ("1588").
    pub const STAMPED: u64 = 1 << 19;
    /// DTYP 0011b: advanced data descriptor.
    pub const DTYP_DATA: u64 = 3 << 20;
    /// End of packet.
    pub const EOP: u64 = 1 << 24;
    /// Insert the check sequence.
    pub const IFCS: u64 = 1 << 25;
    /// Report status.
    pub const RS: u64 = 1 << 27;
    /// Descriptor extension: this is an advanced descriptor.
    pub const DEXT: u64 = 1 << 29;
    /// VLAN insertion enable: the context's tag goes between addresses and type.
    pub const VLE: u64 = 1 << 30;
    /// Transmit segmentation enable: the frame is cut as the context says.
    pub const TSE: u64 = 1 << 31;
    /// Write-back: done. Only where RS asked for it.
    pub const DD: u64 = 1 << 32;
    /// IDX: the context that the frame, or this context descriptor, means is the second.
    pub const IDX_1: u64 = 1 << 36;
    /// POPTS.IXSM: insert the IPv4 header's checksum.
    pub const IXSM: u64 = 1 << 40;
    /// POPTS.TXSM: insert the checksum of the transport that the context names.
    pub const TXSM: u64 = 1 << 41;
    /// Where PAYLEN is.
    pub const PAYLEN_SHIFT: u32 = 46;
    /// The largest PAYLEN, 18 bits.
    pub const PAYLEN_MAX: u32 = (1 << 18) - 1;
    /// The most descriptors of one frame (7.2.1.1: "A packet can span up to 40 buffers").
    pub const MAX_SEGMENTS: usize = 40;

    /// Everything of a data descriptor but its lengths, end of packet and report.
    pub const DATA: u64 = DTYP_DATA | IFCS | DEXT;

    /// Word 1 of one segment: its length in bytes, the frame's, and whether it is the frame's last. Without RS.
    #[inline(always)]
    pub const fn data_word(len_bytes: u16, frame_bytes: u32, last: bool) -> u64 {
        let end = if last { EOP } else { 0 };
        DATA | end | len_bytes as u64 | (frame_bytes as u64) << PAYLEN_SHIFT
    }
}

/// Transmit context descriptor (7.2.3.2.3). Word 0: IPLEN in 8:0, MACLEN in 15:9, VLAN in 31:16. Word 1: TUCMD in 19:9, DTYP in 23:20, IDX in 38:36, L4LEN in
/// 47:40, MSS in 63:48.
pub mod context {
    use driver_core::ring::TxContext;

    /// DTYP 0010b: advanced context descriptor.
    pub const DTYP_CONTEXT: u64 = 2 << 20;
    /// Where MACLEN is.
    pub const MACLEN_SHIFT: u32 = 9;
    /// The largest IPLEN, 9 bits.
    pub const IPLEN_MAX: u16 = 0x1ff;
    /// Where VLAN is.
    pub const VLAN_SHIFT: u32 = 16;
    /// TUCMD.L4T 00b: UDP.
    pub const L4T_UDP: u64 = 0;
    /// TUCMD.L4T 01b: TCP.
    pub const L4T_TCP: u64 = 1 << 11;
    /// TUCMD.L4T 10b: SCTP.
    pub const L4T_SCTP: u64 = 2 << 11;
    /// TUCMD.IPV4: the packet is IPv4, and not IPv6.
    pub const IPV4: u64 = 1 << 10;
    /// Where L4LEN is: the bytes of the transport's header.
    pub const L4LEN_SHIFT: u32 = 40;
    /// Where MSS is: the bytes of payload in each segment.
    pub const MSS_SHIFT: u32 = 48;

    /// A context without anything but where the network header and the transport begin: `mac_bytes` and `mac_bytes + ip_bytes` from the frame's start.
    pub const fn new(mac_bytes: u16, ip_bytes: u16) -> TxContext {
        let places = (mac_bytes as u64) << MACLEN_SHIFT | ip_bytes as u64;
        TxContext { words: [places, DTYP_CONTEXT | super::tx::DEXT], more: 0, min_bytes: 0 }
    }
}

/// What [`TxRing`](driver_core::ring::TxRing) sends in blocks: whole frames of one buffer, up to `max_bytes` bytes.
pub const fn tx_rules(max_bytes: u16) -> TxRules {
    TxRules::new(tx::DATA | tx::EOP)
        .with_report(tx::RS)
        .with_done(tx::DD)
        .with_end(tx::EOP)
        .with_payload_shift(tx::PAYLEN_SHIFT)
        .with_contexts(tx::IDX_1)
        .with_lengths(MIN_FRAME_BYTES as u16..=max_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RX_RULES: RxRules = rx_rules(0);
    const WHOLE: u64 = RX_RULES.done | RX_RULES.end;

    /// A write-back typed in from figure 7-9, field by field: VLAN tag, length, errors, status.
    fn write_back(tag: u16, len: u16, error: u32, status: u32) -> u64 {
        u64::from(tag) << 48 | u64::from(len) << 32 | u64::from(error) << 20 | u64::from(status)
    }

    #[test]
    fn an_untouched_descriptor_is_not_done() {
        // What the driver writes: no header buffer, whose address would lie where the done bit will be.
        assert!(!rx::is_done(0) && !rx::is_last(0));
    }

    #[test]
    fn a_whole_good_frame_is_ordinary() {
        let word = write_back(0, 1514, 0, 0b110_0011);
        assert_eq!((rx::len(word), rx::is_done(word), rx::is_last(word), rx::is_bad(word)), (1514, true, true, false));
        assert_eq!(word & (WHOLE | RX_RULES.unusual), WHOLE);
    }

    #[test]
    fn a_first_part_a_bad_frame_and_a_tagged_frame_are_not() {
        for (error, status) in [(0, 0b01), (0x200, 0b11), (0, 0b1011)] {
            let word = write_back(0x1234, 64, error, status);
            assert_ne!(word & (WHOLE | RX_RULES.unusual), WHOLE, "{error:#x} {status:#b}");
        }
        assert!(rx::is_bad(write_back(0, 64, 0x200, 0b11)));
    }

    #[test]
    fn a_wrong_checksum_is_handed_up_with_the_frame() {
        let word = write_back(0, 60, 0xc00, 0b110_0011);
        assert_eq!(word & rx::L4E, rx::L4E);
        assert_eq!(word & rx::IPE, rx::IPE);
        assert_eq!(word & RX_RULES.unusual, 0);
        assert_eq!(word & meta::L4_BAD, rx::L4E);
        assert_eq!(word & meta::IP_BAD, rx::IPE);
    }

    #[test]
    fn a_verdict_that_is_to_be_hidden_is_out_of_the_ordinary() {
        let rules = rx_rules(rx::VERDICTS);
        for (error, status) in [(0x400, 0b011), (0x800, 0b011), (0, 0b1_0011), (0, 0b10_0011), (0, 0b100_0011)] {
            let word = write_back(0, 60, error, status);
            assert_ne!(word & rules.unusual, 0, "{error:#x} {status:#b}");
            assert_eq!(word & !rx::VERDICTS, write_back(0, 60, 0, 0b11));
        }
        assert_eq!(write_back(0xffff, 0xffff, 0, 0b11) & rules.unusual, 0);
    }

    #[test]
    fn a_tag_that_stayed_in_the_frame_is_no_metadata() {
        let word = write_back(0xabcd, 64, 0, 0b1011);
        assert_eq!(rx::vlan_tag(word), 0xabcd);
        assert_eq!(rx::without_vlan(word), write_back(0, 64, 0, 0b11));
    }

    #[test]
    fn a_single_buffer_frame_has_the_datasheets_words() {
        // DCMD: DEXT 0x20, IFCS 0x02, EOP 0x01; DTYP 3; both lengths 60.
        assert_eq!(tx::data_word(60, 60, true), 60 << 46 | 0x23 << 24 | 0x3 << 20 | 60);
        let rules = tx_rules(1518);
        assert_eq!(rules.command | 60 | 60 << 46, tx::data_word(60, 60, true));
        assert_eq!(rules.command & (rules.report | rules.done), 0);
    }

    #[test]
    fn the_rules_are_such_that_a_ring_takes_them() {
        assert_eq!(RX_RULES.check(), Ok(()));
        assert_eq!(tx_rules(MIN_FRAME_BYTES as u16).check(), Ok(()));
        assert_eq!(tx_rules(u16::MAX).check(), Ok(()));
    }

    #[test]
    fn only_the_last_segment_ends_the_frame() {
        let word = tx::data_word(2048, 9014, false);
        assert_eq!(word & tx::EOP, 0);
        assert_eq!(word >> tx::PAYLEN_SHIFT, 9014);
        assert_eq!(word & 0xffff, 2048);
        assert_eq!(tx::data_word(822, 9014, true) & tx::EOP, tx::EOP);
    }

    #[test]
    fn the_largest_frame_fits_its_fields() {
        const { assert!(driver_core::ether::FrameLimits::of(crate::config::MAX_MTU).tagged_bytes() <= tx::PAYLEN_MAX) }
        assert_eq!(tx::data_word(u16::MAX, tx::PAYLEN_MAX, true) >> tx::PAYLEN_SHIFT, u64::from(tx::PAYLEN_MAX));
    }
}
