//! What several calls settled.

use crate::ring::verdict::{Settled, SettledRest};

/// Adds what one call settled.
pub(super) fn add(sum: &mut Settled, settled: &Settled) {
    let &Settled { sent, dropped, has_rest, rest, bytes, sent_bytes, .. } = settled;
    let SettledRest { passed, aborted, redirected, full, full_dropped, no_buffer, whole, whole_passed } = rest;
    sum.sent += sent;
    sum.dropped += dropped;
    sum.has_rest |= has_rest;
    sum.bytes += bytes;
    sum.sent_bytes += sent_bytes;
    let to = &mut sum.rest;
    to.passed += passed;
    to.aborted += aborted;
    to.redirected += redirected;
    to.full += full;
    to.full_dropped += full_dropped;
    to.no_buffer += no_buffer;
    to.whole += whole;
    to.whole_passed += whole_passed;
}
