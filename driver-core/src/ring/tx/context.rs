//! Frames that ask for more than to be sent, of a device that is told by a descriptor of its own, the context, what the frames behind it need.
//!
//! A device remembers two contexts, and the ring what it was told last: as long as frames ask for what one of them says, they take a descriptor each, and
//! those whose words say all that they ask for go in blocks of 8.

use alloc::boxed::Box;
use core::ptr::NonNull;

use crate::buf::frame::{Ask, Frame};
use crate::buf::meta::{REQUEST_SHIFT, VLAN_SHIFT};
use crate::ring::lane::{LengthLanes, Pair};
use crate::ring::rules::TxRules;

/// How many contexts a device remembers.
const CONTEXTS: usize = 2;

/// What frames need of their device: the driver's reading of what they ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "plain data, which a driver makes of each frame that asks")]
pub struct TxContext {
    /// The context descriptor, without the bit that names the second ([`TxRules::second_context`](crate::ring::TxRules::second_context)).
    pub words: [u64; 2],
    /// What the second word of each descriptor of such a frame has beside the command.
    pub more: u64,
    /// The shortest frame that what the context says fits into, in bytes.
    pub min_bytes: u16,
}

/// A context that the device was told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    pub(super) context: TxContext,
    pub(super) asking: Asking,
}

/// What the device was told.
#[derive(Debug)]
pub(super) struct Contexts {
    pub(super) told: [Option<Told>; CONTEXTS],
    /// The one that was used last.
    pub(super) last: usize,
}

impl Contexts {
    /// Nothing yet.
    pub(super) const fn new() -> Self {
        Self { told: [None; CONTEXTS], last: 0 }
    }

    /// For a ring with these rules.
    pub(super) fn of(rules: TxRules) -> Option<Box<Self>> {
        (rules.second_context != 0).then(|| Box::new(Self::new()))
    }

    /// How the frame goes, where it asks for what was told and nothing else.
    #[inline(always)]
    pub(super) fn asked_for(&mut self, frame: &Frame) -> Option<&Asking> {
        let is_asked = |at: usize| self.told.get(at).is_some_and(|told| told.as_ref().is_some_and(|told| told.asking.ask.is_of(frame)));
        if !is_asked(self.last) {
            let other = CONTEXTS - 1 - self.last;
            if !is_asked(other) {
                return None;
            }
            self.last = other;
        }
        self.told.get(self.last).and_then(|told| told.as_ref()).map(|told| &told.asking)
    }

    pub(super) fn position(&self, words: [u64; 2]) -> Option<usize> {
        self.told.iter().position(|told| told.is_some_and(|told| told.context.words == words))
    }
}

/// How frames go that ask for what the device was told, and whose words say all of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking {
    pub(super) ask: Ask,
    /// What a descriptor of such a frame has beside the command.
    pub(super) more: u64,
    pub(super) min_bytes: u16,
    /// What makes words of their lengths.
    pub(super) lengths: LengthLanes,
    /// What frames say of the checksum's place and of the tag, where they ask for these.
    pub(super) request: Option<LengthLanes>,
    pub(super) tag: Option<LengthLanes>,
}

impl Asking {
    /// Whether eight frames that ask for such things ask for these.
    ///
    /// # Safety
    /// A block of frames is at `frames`.
    #[inline(always)]
    pub(super) unsafe fn is_asked_by(&self, frames: NonNull<Frame>) -> bool {
        let all_say = |shift: u32, wanted: &LengthLanes| {
            // SAFETY: the caller's; a frame's second word begins at its byte 24.
            wanted.all_within(core::array::from_fn(|k| unsafe { frames.add(k).cast::<u16>().add(12 + shift as usize / 16).read() }))
        };
        self.request.as_ref().is_none_or(|wanted| all_say(REQUEST_SHIFT, wanted))
            && self.tag.as_ref().is_none_or(|wanted| all_say(VLAN_SHIFT, wanted))
    }

    /// What makes of such a frame's {pointer, pool and tags} {IOVA, 0}, where `key` does so for a plain one's.
    #[inline(always)]
    pub(super) fn key(&self, key: Pair) -> Pair {
        key.plus(Pair::new(0, self.ask.tags().wrapping_neg()))
    }
}
