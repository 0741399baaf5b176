//! What a frame asks of its device, as far as its words and tags say it.

use core::ptr::NonNull;

use crate::buf::frame::handle::{Frame, REQUEST_MASK, TAG_SUM, TAG_VLAN};
use crate::buf::memory::{PoolInner, TAGS};
use crate::buf::meta::{self, Checksum, REQUEST_SHIFT, VLAN_SHIFT, VLAN_VALID};

/// What a frame asks of its device that its words say whole: a checksum, a VLAN tag, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ask {
    /// The tags of a frame that asks for it.
    tags: u64,
    /// The bits of its second word that say what for, and what they are.
    mask: u64,
    wanted: u64,
}

impl Ask {
    /// The tags of a frame in one buffer at home that asks for a checksum alone, as its words say.
    pub(crate) const SUM_TAGS: u64 = TAG_SUM as u64;

    /// Whether `frame` is such a one.
    #[inline(always)]
    pub(crate) fn is_sum_alone(frame: &Frame) -> bool {
        frame.pool_word().addr().get() & TAGS == TAG_SUM
    }

    /// What no frame asks for: no frame has such tags.
    pub(crate) const NONE: Self = Self { tags: u64::MAX, mask: 0, wanted: 0 };

    /// What is set where `start` and `offset` name a checksum's place, and for a VLAN tag; [`Ask::NONE`] where the words have no room for it.
    pub(crate) fn new(checksum: Option<(u16, u16)>, vlan: Option<u16>) -> Self {
        let mut ask = Self { tags: 0, mask: 0, wanted: 0 };
        if let Some((start, offset)) = checksum {
            let Some(request) = meta::request(start, offset) else { return Self::NONE };
            ask = Self { tags: TAG_SUM as u64, mask: REQUEST_MASK, wanted: u64::from(request) << REQUEST_SHIFT };
        }
        if let Some(tag) = vlan {
            ask.tags |= TAG_VLAN as u64;
            ask.mask |= 0xffff << VLAN_SHIFT;
            ask.wanted |= u64::from(tag) << VLAN_SHIFT;
        }
        if ask.tags == 0 { Self::NONE } else { ask }
    }

    /// The bits at [`REQUEST_SHIFT`], where it asks for a checksum.
    pub(crate) fn request(self) -> Option<u16> {
        (self.mask & REQUEST_MASK != 0).then_some((self.wanted >> REQUEST_SHIFT) as u16)
    }

    /// The tag, where it asks for one.
    pub(crate) fn vlan(self) -> Option<u16> {
        (self.mask >> VLAN_SHIFT != 0).then_some((self.wanted >> VLAN_SHIFT) as u16)
    }

    /// The tags of such a frame.
    #[inline(always)]
    pub(crate) const fn tags(&self) -> u64 {
        self.tags
    }

    /// Whether a frame of one buffer at home asks for this and nothing else.
    #[inline(always)]
    pub(crate) fn is_of(&self, frame: &Frame) -> bool {
        (frame.pool_word().addr().get() & TAGS) as u64 == self.tags && frame.words()[1] & self.mask == self.wanted
    }
}

/// Whether a frame with this pool word asks for something that its words say.
#[inline(always)]
pub(crate) fn may_ask(word: NonNull<PoolInner>) -> bool {
    word.addr().get() & (TAG_VLAN | TAG_SUM) != 0
}

impl Frame {
    /// Whether the words say where a checksum is to be filled in.
    #[inline(always)]
    pub(super) fn has_request(&self) -> bool {
        self.has(TAG_SUM)
    }

    /// Asks for a checksum by [`meta::request`].
    #[inline(always)]
    pub(super) fn set_request(&mut self, request: u16) {
        if cfg!(target_endian = "little") {
            let word: *mut u64 = self.asking_word();
            // SAFETY: the 16 bits that `REQUEST_SHIFT` names are the bytes 2 and 3 of the word.
            unsafe { word.cast::<u16>().add(REQUEST_SHIFT as usize / 16).write(request) };
        } else {
            let word = self.asking_word();
            *word = *word & !REQUEST_MASK | u64::from(request) << REQUEST_SHIFT;
        }
        self.set(TAG_SUM, TAG_SUM);
    }

    /// Asks for a VLAN tag, or for none, in a frame without private metadata.
    #[inline(always)]
    pub(super) fn set_tag(&mut self, tag: Option<u16>) {
        let word = self.asking_word();
        *word = *word & !(0xffff << VLAN_SHIFT | VLAN_VALID) | tag.map_or(0, |tag| u64::from(tag) << VLAN_SHIFT | VLAN_VALID);
        self.set(TAG_VLAN, if tag.is_some() { TAG_VLAN } else { 0 });
    }

    /// Asks for no checksum any more.
    pub(super) fn clear_request(&mut self) {
        self.set(TAG_SUM, 0);
    }

    /// Asks for a checksum where `from` does.
    pub(super) fn set_request_as(&mut self, from: &Self) {
        match from.checksum() {
            Checksum::Partial { start, offset } if from.has(TAG_SUM) => self.set_checksum(Checksum::Partial { start, offset }),
            _ => self.clear_request(),
        }
    }
}
