//! Frames of several buffers.

use super::{Frame, FrameError};
use crate::buf::pool::BufPool;
use crate::host::dma::Iova;

/// Tag protocol identifiers (IEEE 802.1Q, table 9-1).
const VLAN_TAG: [u8; 2] = [0x81, 0x00];
const SERVICE_TAG: [u8; 2] = [0x88, 0xa8];

/// The segments of a frame in order, as byte slices.
#[derive(Debug)]
pub struct Segments<'a>(Option<&'a Frame>);

impl<'a> Iterator for Segments<'a> {
    type Item = &'a [u8];
    fn next(&mut self) -> Option<&'a [u8]> {
        let frame = self.0?;
        self.0 = frame.next_segment();
        Some(frame.data())
    }
}

impl Frame {
    /// The bytes of every segment, first to last.
    pub fn segments(&self) -> Segments<'_> {
        Segments(Some(self))
    }

    /// Where a device finds the segments, first to last, and their lengths in bytes. Meant for drivers, which keep the frame for as long as the
    /// device may use it.
    pub fn dma_segments(&self) -> impl Iterator<Item = (Iova, usize)> {
        core::iter::successors(Some(self), |frame| frame.next_segment()).map(|frame| (frame.iova(), frame.linear_len()))
    }

    pub(super) fn next_segment(&self) -> Option<&Self> {
        self.ext()?.next.as_ref()
    }

    /// Whether an 802.1Q or 802.1ad header follows the addresses. What does not lie in the first segment is not looked at.
    pub fn has_vlan_header(&self) -> bool {
        self.data().get(12..14).is_some_and(|kind| kind == VLAN_TAG || kind == SERVICE_TAG)
    }

    /// Whether all bytes are in one segment.
    #[inline]
    pub fn is_linear(&self) -> bool {
        self.next_segment().is_none()
    }

    /// Puts another frame's bytes behind this one's by chaining its buffers: no copy. Metadata of `other` is lost.
    pub fn append(&mut self, other: Self) {
        self.last_mut().ext_mut().next = Some(other);
    }

    pub(super) fn last_mut(&mut self) -> &mut Self {
        let mut at = self;
        while !at.is_linear() {
            // Not linear, so it has private metadata and a next: `at` stays only where a bug made that untrue.
            match &mut at.ext_mut().next {
                Some(next) => at = next,
                None => unreachable_chain(),
            }
        }
        at
    }

    /// Takes the segments behind the first off and returns them as a frame of their own.
    pub fn split_rest(&mut self) -> Option<Self> {
        self.take_next()
    }

    pub(super) fn take_next(&mut self) -> Option<Self> {
        if self.is_linear() { None } else { self.ext_mut().next.take() }
    }

    /// Cuts the frame to its first `len` bytes (`skb_trim`); buffers that it needs no more return to their pool.
    ///
    /// # Errors
    /// [`FrameError::Short`] where it has fewer.
    pub fn trim(&mut self, len: usize) -> Result<(), FrameError> {
        let have_bytes = self.len();
        if len > have_bytes {
            return Err(FrameError::Short { wanted_bytes: len, have_bytes });
        }
        let mut left = len;
        let mut at = self;
        loop {
            let here = at.linear_len();
            if left <= here {
                at.set_linear_len(left);
                drop(at.take_next());
                return Ok(());
            }
            left -= here;
            match &mut at.ext_mut().next {
                Some(next) => at = next,
                None => unreachable_chain(),
            }
        }
    }

    /// Brings all bytes into the first segment (`skb_linearize`).
    ///
    /// # Errors
    /// [`FrameError::Tailroom`] where its buffer is too small: [`Frame::copy`] into a pool with larger ones, or work on [`Frame::segments`].
    pub fn linearize(&mut self) -> Result<(), FrameError> {
        if self.is_linear() {
            return Ok(());
        }
        let wanted_bytes = self.len() - self.linear_len();
        let have_bytes = self.tailroom();
        if wanted_bytes > have_bytes {
            return Err(FrameError::Tailroom { wanted_bytes, have_bytes });
        }
        if let Some(rest) = self.take_next() {
            for segment in rest.segments() {
                self.put(segment.len())?.copy_from_slice(segment);
            }
        }
        Ok(())
    }

    /// A frame of its own with the same bytes and metadata, in buffers of `pool` (`skb_copy`).
    ///
    /// # Errors
    /// [`FrameError::PoolEmpty`].
    pub fn copy(&self, pool: &BufPool) -> Result<Self, FrameError> {
        let mut copy = pool.take().ok_or(FrameError::PoolEmpty)?;
        for segment in self.segments() {
            copy.extend_from_slice(pool, segment)?;
        }
        copy.copy_meta(self);
        Ok(copy)
    }

    /// Puts `bytes` behind the data, in further buffers of `pool` where the last is full.
    ///
    /// # Errors
    /// [`FrameError::PoolEmpty`]; what was copied until then stays.
    pub fn extend_from_slice(&mut self, pool: &BufPool, mut bytes: &[u8]) -> Result<(), FrameError> {
        loop {
            let last = self.last_mut();
            let (now, later) = bytes.split_at(bytes.len().min(last.tailroom()));
            last.put(now.len())?.copy_from_slice(now);
            if later.is_empty() {
                return Ok(());
            }
            bytes = later;
            let next = pool.take().ok_or(FrameError::PoolEmpty)?;
            last.append(next);
        }
    }

    /// Copies the frame's bytes to the start of `to` and returns how many there were.
    ///
    /// # Errors
    /// [`FrameError::Tailroom`] where `to` is too short; nothing is copied then.
    pub fn copy_to_slice(&self, to: &mut [u8]) -> Result<usize, FrameError> {
        let (wanted_bytes, have_bytes) = (self.len(), to.len());
        if wanted_bytes > have_bytes {
            return Err(FrameError::Tailroom { wanted_bytes, have_bytes });
        }
        let mut rest = to;
        for segment in self.segments() {
            let (now, later) = rest.split_at_mut(segment.len());
            now.copy_from_slice(segment);
            rest = later;
        }
        Ok(wanted_bytes)
    }
}

impl BufPool {
    /// A frame with these bytes, in as many buffers as it needs.
    ///
    /// # Errors
    /// [`FrameError::PoolEmpty`].
    pub fn frame_from(&self, bytes: &[u8]) -> Result<Frame, FrameError> {
        let mut frame = self.take().ok_or(FrameError::PoolEmpty)?;
        frame.extend_from_slice(self, bytes)?;
        Ok(frame)
    }
}

/// A chain whose `is_linear` and `next` disagree: both read the same field of private memory that the frame owns.
#[cold]
fn unreachable_chain() -> ! {
    unreachable!("a segment that is not the last has a next one")
}
