//! What a card's descriptors look like: the constants that a driver gives the ring kernels. The kernels know no card.
//!
//! A ring refuses rules that contradict themselves when it is made, since it decides by them which buffers are the device's. A driver can ask earlier:
//!
//! ```
//! use driver_core::ring::{RxRules, TxRules};
//! const RX: RxRules = RxRules::new(1 << 0).with_end(1 << 1).with_unusual(1 << 29);
//! const TX: TxRules = TxRules::new(1 << 24 | 1 << 25).with_report(1 << 27).with_done(1 << 32).with_lengths(60..=1514);
//! const _: () = assert!(RX.check().is_ok() && TX.check().is_ok());
//! ```

use core::ops::RangeInclusive;

use crate::buf::meta::{LEN_SHIFT, VLAN_VALID};
use crate::ring::error::{RulePart, RulesError};

/// Where the second word of a received frame has the length of its buffer: bits 47:32, in the device's words as in a frame's.
pub(crate) const RX_LENGTH: u64 = 0xffff << LEN_SHIFT;
/// Where the second word of a transmit descriptor has the length of its buffer.
pub(crate) const TX_LENGTH: u64 = 0xffff;

/// Which bits of the two words that a device writes over a receive descriptor say what.
///
/// The words become the frame's own, so the device's layout is that of [`meta`](crate::buf::meta): the length in bits 47:32 of the second. The
/// rules say what a frame does not know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RxRules {
    /// Second word: the bit that the device sets when the descriptor is done.
    pub done: u64,
    /// Second word: all set where the descriptor ends its frame. A frame that neither began nor goes on elsewhere is whole. With 0 every descriptor is a
    /// frame of its own.
    pub end: u64,
    /// Second word: any set where the frame is out of the ordinary (an error) and goes through the scalar path. A frame with a VLAN tag does in any case.
    pub unusual: u64,
    /// Second word: any set where the device says of a frame what has to be looked at once all of it is there. [`RxRing::take`](crate::ring::RxRing::take) does not say of
    /// such a descriptor that the frame ends with it.
    pub marked: u64,
    /// First word: what the device writes there and frames have no use for. It is cleared, and a block with any of it set is taken frame by frame.
    pub dropped: u64,
}

impl RxRules {
    /// Rules by which `done` is the bit that the device sets when a descriptor is done, and each descriptor is a frame.
    pub const fn new(done: u64) -> Self {
        Self { done, end: 0, unusual: 0, marked: 0, dropped: 0 }
    }
    /// Sets [`RxRules::end`].
    #[must_use]
    pub const fn with_end(mut self, end: u64) -> Self {
        self.end = end;
        self
    }
    /// Sets [`RxRules::unusual`].
    #[must_use]
    pub const fn with_unusual(mut self, unusual: u64) -> Self {
        self.unusual = unusual;
        self
    }
    /// Sets [`RxRules::marked`].
    #[must_use]
    pub const fn with_marked(mut self, marked: u64) -> Self {
        self.marked = marked;
        self
    }
    /// Sets [`RxRules::dropped`].
    #[must_use]
    pub const fn with_dropped(mut self, dropped: u64) -> Self {
        self.dropped = dropped;
        self
    }

    /// Whether a ring can tell by these rules which descriptors are done.
    ///
    /// # Errors
    /// [`RulesError`]: `done` is not one bit, or two of `done`, `end`, `unusual` and the length share bits.
    pub const fn check(&self) -> Result<(), RulesError> {
        if !self.done.is_power_of_two() {
            return Err(RulesError::NotOneBit { part: RulePart::Done, bits: self.done });
        }
        all_apart(&[
            (RulePart::Done, self.done),
            (RulePart::End, self.end),
            (RulePart::Unusual, self.unusual | self.marked | VLAN_VALID),
            (RulePart::Length, RX_LENGTH),
        ])
    }
}

/// What a transmit descriptor's second word looks like, and which frames need nothing else. The buffer's length is in its bits 15:0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TxRules {
    /// The word of a whole frame, without lengths and report: type, end of packet, insertion of the check sequence.
    pub command: u64,
    /// The bit that asks for a report.
    pub report: u64,
    /// The bit that the device sets when it is done.
    pub done: u64,
    /// The bit of a descriptor that ends a frame; 0 where each does.
    pub end: u64,
    /// Where the word has the length of the whole frame once more, if it has: that field's lowest bit, 32 to 48.
    pub payload_shift: Option<u32>,
    /// Where a device remembers two contexts, what frames ask of it beside being sent: the bit by which a context descriptor, and those of frames, name the
    /// second; 0 where there are none.
    pub second_context: u64,
    /// The shortest frame that needs no padding, in bytes.
    pub min_bytes: u16,
    /// The longest frame, in bytes.
    pub max_bytes: u16,
}

impl TxRules {
    /// Rules by which `command` is the second word of a frame, but for its length. Report and done bit are still to be said.
    pub const fn new(command: u64) -> Self {
        Self { command, report: 0, done: 0, end: 0, payload_shift: None, second_context: 0, min_bytes: 0, max_bytes: u16::MAX }
    }
    /// Sets [`TxRules::report`].
    #[must_use]
    pub const fn with_report(mut self, report: u64) -> Self {
        self.report = report;
        self
    }
    /// Sets [`TxRules::done`].
    #[must_use]
    pub const fn with_done(mut self, done: u64) -> Self {
        self.done = done;
        self
    }
    /// Sets [`TxRules::end`].
    #[must_use]
    pub const fn with_end(mut self, end: u64) -> Self {
        self.end = end;
        self
    }
    /// Sets [`TxRules::payload_shift`].
    #[must_use]
    pub const fn with_payload_shift(mut self, shift: u32) -> Self {
        self.payload_shift = Some(shift);
        self
    }
    /// Sets [`TxRules::second_context`].
    #[must_use]
    pub const fn with_contexts(mut self, second: u64) -> Self {
        self.second_context = second;
        self
    }
    /// Sets [`TxRules::min_bytes`] and [`TxRules::max_bytes`].
    #[must_use]
    pub const fn with_lengths(mut self, bytes: RangeInclusive<u16>) -> Self {
        (self.min_bytes, self.max_bytes) = (*bytes.start(), *bytes.end());
        self
    }

    /// Whether a ring can tell by these rules which descriptors are done.
    ///
    /// # Errors
    /// [`RulesError`]: `report` or `done` is not one bit, two of them, the lengths and the command share bits, no length fits where the frame's is said to
    /// be, or no frame is long enough.
    pub const fn check(&self) -> Result<(), RulesError> {
        if !self.report.is_power_of_two() {
            return Err(RulesError::NotOneBit { part: RulePart::Report, bits: self.report });
        }
        if !self.done.is_power_of_two() {
            return Err(RulesError::NotOneBit { part: RulePart::Done, bits: self.done });
        }
        let payload = match self.payload_shift {
            None => 0,
            Some(shift @ 32..=48) => 0xffff << shift,
            Some(shift) => return Err(RulesError::PayloadShift { shift }),
        };
        if self.min_bytes > self.max_bytes {
            return Err(RulesError::Lengths { min_bytes: self.min_bytes, max_bytes: self.max_bytes });
        }
        all_apart(&[
            (RulePart::Done, self.done),
            (RulePart::Report, self.report),
            (RulePart::Command, self.command),
            (RulePart::Length, TX_LENGTH),
            (RulePart::PayloadLength, payload),
        ])
    }

    /// What a length is multiplied with to stand in the word's one or two places for it.
    pub(crate) const fn length_factor(&self) -> u64 {
        match self.payload_shift {
            Some(shift) => 1 | 1 << shift,
            None => 1,
        }
    }
}

/// Whether no two parts share a bit.
const fn all_apart(parts: &[(RulePart, u64)]) -> Result<(), RulesError> {
    let mut k = 0;
    while k < parts.len() {
        let mut l = k + 1;
        while l < parts.len() {
            let bits = parts[k].1 & parts[l].1;
            if bits != 0 {
                return Err(RulesError::Overlap { part: parts[k].0, with: parts[l].0, bits });
            }
            l += 1;
        }
        k += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    const RX: RxRules = RxRules::new(1).with_end(2).with_unusual(1 << 20);
    const TX: TxRules = TxRules::new(1 << 24).with_report(1 << 27).with_done(1 << 32).with_payload_shift(46).with_lengths(60..=1514);

    #[test]
    fn receive_rules_that_contradict_themselves_are_named() {
        assert_eq!(RX.check(), Ok(()));
        assert_eq!(RxRules::new(1).check(), Ok(()));
        let not_one = |bits| RulesError::NotOneBit { part: RulePart::Done, bits };
        let overlap = |part, with, bits| RulesError::Overlap { part, with, bits };
        for (rules, error) in [
            (RxRules { done: 0, ..RX }, not_one(0)),
            (RxRules { done: 5, ..RX }, not_one(5)),
            (RX.with_end(3), overlap(RulePart::Done, RulePart::End, 1)),
            (RX.with_unusual(!0), overlap(RulePart::Done, RulePart::Unusual, 1)),
            (RX.with_unusual(!1), overlap(RulePart::End, RulePart::Unusual, 2)),
            (RxRules { done: VLAN_VALID, ..RX }, overlap(RulePart::Done, RulePart::Unusual, VLAN_VALID)),
            (RX.with_unusual(1 << 47), overlap(RulePart::Unusual, RulePart::Length, 1 << 47)),
            (RX.with_end(1 << 32), overlap(RulePart::End, RulePart::Length, 1 << 32)),
            (RxRules { done: 1 << 40, ..RX }, overlap(RulePart::Done, RulePart::Length, 1 << 40)),
        ] {
            assert_eq!(rules.check(), Err(error), "{rules:?}");
        }
    }

    #[test]
    fn transmit_rules_that_contradict_themselves_are_named() {
        assert_eq!(TX.check(), Ok(()));
        let not_one = |part, bits| RulesError::NotOneBit { part, bits };
        let overlap = |part, with, bits| RulesError::Overlap { part, with, bits };
        for (rules, error) in [
            (TX.with_report(0), not_one(RulePart::Report, 0)),
            (TX.with_done(0), not_one(RulePart::Done, 0)),
            (TX.with_done(3 << 32), not_one(RulePart::Done, 3 << 32)),
            // A descriptor that asks for a report would look done at once.
            (TX.with_done(1 << 27), overlap(RulePart::Done, RulePart::Report, 1 << 27)),
            (TX.with_report(1 << 24), overlap(RulePart::Report, RulePart::Command, 1 << 24)),
            (TX.with_done(1 << 15), overlap(RulePart::Done, RulePart::Length, 1 << 15)),
            (TX.with_done(1 << 61), overlap(RulePart::Done, RulePart::PayloadLength, 1 << 61)),
            (TxRules { command: 1, ..TX }, overlap(RulePart::Command, RulePart::Length, 1)),
            (TX.with_payload_shift(31), RulesError::PayloadShift { shift: 31 }),
            (TX.with_payload_shift(49), RulesError::PayloadShift { shift: 49 }),
            (TX.with_payload_shift(u32::MAX), RulesError::PayloadShift { shift: u32::MAX }),
            #[allow(clippy::reversed_empty_ranges, reason = "that is the mistake")]
            (TX.with_lengths(1514..=60), RulesError::Lengths { min_bytes: 1514, max_bytes: 60 }),
        ] {
            assert_eq!(rules.check(), Err(error), "{rules:?}");
        }
    }

    #[test]
    fn an_error_says_what_is_wrong_and_whose_mistake_it_is() {
        let error = format!("{}", TX.with_report(1 << 24).check().unwrap_err());
        let wanted =
            "the rules for a ring's descriptors are wrong: the report bit and the command both claim 0x1000000; correct the driver's constants";
        assert_eq!(error, wanted);
    }

    #[test]
    fn a_length_stands_in_both_places() {
        assert_eq!(60 * TX.length_factor(), 60 | 60 << 46);
        assert_eq!(60 * TxRules::new(0).length_factor(), 60);
    }
}
