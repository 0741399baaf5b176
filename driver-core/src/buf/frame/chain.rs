//! Frames of several buffers.

use core::ptr::NonNull;

use crate::buf::frame::error::FrameError;
use crate::buf::frame::handle::Frame;
use crate::buf::meta::Words;
use crate::buf::pool::BufPool;
use crate::host::dma::{DmaDomain, Iova};

/// Tag protocol identifiers (IEEE 802.1Q, table 9-1).
const VLAN_TAG: [u8; 2] = [0x81, 0x00];
const SERVICE_TAG: [u8; 2] = [0x88, 0xa8];

/// The segments of a frame in order, as byte slices.
///
/// ```
/// # #[cfg(not(feature = "testing"))]
/// # fn main() {}
/// # #[cfg(feature = "testing")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use driver_core::buf::{BufPool, PoolConfig};
///
/// let (domain, _) = driver_core::testing::domain(); // a driver has it from its device
/// let pool = BufPool::new(&domain, PoolConfig::new(64))?;
/// let mut frame = pool.frame_from(b"headers, ")?;
/// frame.append(pool.frame_from(b"payload")?);
/// assert_eq!((frame.len(), frame.data()), (16, &b"headers, "[..]));
/// assert_eq!(frame.segments().collect::<Vec<_>>(), [&b"headers, "[..], b"payload"]);
///
/// let payload = frame.split_rest().ok_or("one segment")?;
/// frame.append(payload);
/// frame.linearize()?;
/// assert_eq!(frame.data(), b"headers, payload");
/// # Ok(())
/// # }
/// ```
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

    /// The length of the whole frame in bytes.
    #[inline]
    #[allow(clippy::len_without_is_empty, reason = "below")]
    pub fn len(&self) -> usize {
        if self.has_next() { self.segments().map(<[u8]>::len).sum() } else { self.linear_len() }
    }

    /// Whether the frame has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where a device finds the segments, first to last, and their lengths in bytes. Meant for drivers, which keep the frame for as long as the
    /// device may use it.
    pub fn dma_segments(&self) -> impl Iterator<Item = (Iova, usize)> {
        core::iter::successors(Some(self), |frame| frame.next_segment()).map(|frame| (frame.iova(), frame.linear_len()))
    }

    /// Whether `domain`'s devices can reach every segment.
    pub fn all_reachable(&self, domain: &DmaDomain) -> bool {
        core::iter::successors(Some(self), |frame| frame.next_segment()).all(|frame| frame.is_reachable(domain))
    }

    /// Whether an 802.1Q or 802.1ad header follows the addresses. What does not lie in the first segment is not looked at.
    pub fn has_vlan_header(&self) -> bool {
        self.data().get(12..14).is_some_and(|kind| kind == VLAN_TAG || kind == SERVICE_TAG)
    }

    /// Whether it begins with a VLAN tag of EtherType `kind`. What does not lie in the first segment is not looked at.
    pub fn begins_with_tag(&self, kind: u16) -> bool {
        self.data().get(12..14) == Some(&kind.to_be_bytes())
    }

    /// How many VLAN tags follow the addresses, up to two, where the frame may have an outer one of EtherType `outer`; else up to one.
    pub fn vlan_headers(&self, outer: Option<u16>) -> u32 {
        match outer {
            Some(outer) if self.begins_with_tag(outer) => {
                1 + u32::from(self.data().get(16..18).is_some_and(|kind| kind == VLAN_TAG || kind == SERVICE_TAG))
            }
            _ => u32::from(self.has_vlan_header()),
        }
    }

    /// Whether all bytes are in one segment.
    #[inline]
    pub fn is_linear(&self) -> bool {
        !self.has_next()
    }

    /// Puts another frame's bytes behind this one's by chaining its buffers: no copy. Metadata of `other` is lost.
    pub fn append(&mut self, other: Self) {
        self.last_mut().set_next(other);
    }

    pub(crate) fn last_mut(&mut self) -> &mut Self {
        let mut at = self;
        while !at.is_linear() {
            match at.next_mut() {
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

    /// Copies the `to.len()` bytes at byte `at` of the frame to `to`, wherever its segments end (`skb_copy_bits`).
    ///
    /// # Errors
    /// [`FrameError::Short`] where the frame ends before; nothing is copied then.
    pub fn load(&self, at: usize, to: &mut [u8]) -> Result<(), FrameError> {
        self.check_range(at, to.len())?;
        let (mut skip, mut rest) = (at, to);
        for segment in self.segments() {
            let Some(here) = segment.get(skip..) else {
                skip -= segment.len();
                continue;
            };
            let (now, later) = rest.split_at_mut(rest.len().min(here.len()));
            now.copy_from_slice(&here[..now.len()]);
            (skip, rest) = (0, later);
        }
        Ok(())
    }

    /// Writes `from` over the bytes at byte `at` of the frame, wherever its segments end (`skb_store_bits`).
    ///
    /// # Errors
    /// [`FrameError::Short`] where the frame ends before; nothing is written then.
    pub fn store(&mut self, at: usize, from: &[u8]) -> Result<(), FrameError> {
        self.check_range(at, from.len())?;
        let (mut skip, mut rest) = (at, from);
        let mut segment = Some(self);
        while let Some(frame) = segment {
            let here = frame.data_mut();
            let len = here.len();
            if let Some(here) = here.get_mut(skip..) {
                let (now, later) = rest.split_at(rest.len().min(here.len()));
                here[..now.len()].copy_from_slice(now);
                (skip, rest) = (0, later);
            } else {
                skip -= len;
            }
            segment = frame.next_mut();
        }
        Ok(())
    }

    /// Whether the frame has bytes `at` to `at + len`.
    fn check_range(&self, at: usize, len: usize) -> Result<(), FrameError> {
        let (wanted_bytes, have_bytes) = (at.saturating_add(len), self.len());
        if wanted_bytes > have_bytes { Err(FrameError::Short { wanted_bytes, have_bytes }) } else { Ok(()) }
    }
}

/// How far a frame reaches, seen in one walk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    /// Bytes of the whole frame.
    pub(crate) bytes: usize,
    /// Segments that have bytes.
    pub(crate) filled: usize,
    /// The last one has none.
    pub(crate) ends_empty: bool,
    /// A device reaches all segments.
    pub(crate) is_reachable: bool,
}

impl Frame {
    /// How far the frame reaches, for devices of the domain of `pool`.
    #[inline]
    pub(crate) fn extent(&self, pool: &BufPool) -> Extent {
        let mut extent = Extent { bytes: 0, filled: 0, ends_empty: false, is_reachable: true };
        let mut at = Some(self);
        while let Some(segment) = at {
            let len = segment.linear_len();
            extent.bytes += len;
            extent.ends_empty = len == 0;
            extent.filled += usize::from(len > 0);
            extent.is_reachable &= pool.owns(segment) || segment.is_reachable(pool.domain());
            at = segment.next_segment();
        }
        extent
    }
}

/// A chain that grows at its end.
pub(crate) struct Growing {
    frame: Frame,
    /// The last segment, where it is not the first.
    last: Option<NonNull<Frame>>,
    pub(crate) bytes: usize,
    pub(crate) segments: usize,
}

// SAFETY: `last` is a segment of `frame`, which owns it, and any thread may own that.
unsafe impl Send for Growing {}
// SAFETY: nothing is reached through `&Growing`.
unsafe impl Sync for Growing {}

impl Growing {
    /// Of one segment of `bytes` bytes.
    #[inline(always)]
    pub(crate) fn new(frame: Frame, bytes: usize) -> Self {
        debug_assert!(frame.is_linear());
        Self { frame, last: None, bytes, segments: 1 }
    }

    /// Of `segments` segments with `bytes` bytes that [`Frame::write_segment`] wrote from `first` on, at least one, of which the last may say that one more follows.
    ///
    /// # Safety
    /// They were, each where the one before links to, and the caller forgets `first`.
    pub(crate) unsafe fn of_written(first: NonNull<Frame>, bytes: usize, segments: usize) -> Self {
        let mut last = first;
        for _ in 1..segments {
            // SAFETY: the caller's: another one was linked behind it.
            last = unsafe { last.as_mut() }.next_mut().map_or(last, NonNull::from);
        }
        // SAFETY: the caller's. A segment that is not the first stays where it is.
        unsafe {
            last.as_mut().unlink();
            Self { frame: first.read(), last: (segments > 1).then_some(last), bytes, segments }
        }
    }

    /// What the device says of the frame so far.
    #[inline(always)]
    pub(crate) fn view_words(&self) -> Words {
        self.frame.view_words()
    }

    /// Says of the frame what the words of `segment` say.
    #[cold]
    #[inline(never)]
    pub(crate) fn say(&mut self, segment: &Frame) {
        self.frame.set_words_without_len(*segment.words());
    }

    /// Puts a segment of `bytes` bytes behind the last.
    #[inline(always)]
    pub(crate) fn append(&mut self, segment: Frame, bytes: usize) {
        debug_assert!(segment.is_linear());
        self.bytes = self.bytes.saturating_add(bytes);
        self.segments += 1;
        let last = match self.last {
            // SAFETY: the last segment stays where it is as long as nobody takes the chain apart, and the frame is reached through here alone.
            Some(mut last) => unsafe { last.as_mut() },
            None => &mut self.frame,
        };
        self.last = Some(last.set_next(segment));
    }

    /// The frame.
    #[inline(always)]
    pub(crate) fn into_frame(self) -> Frame {
        self.frame
    }
}

/// A chain whose `is_linear` and `next` disagree: both read the same field of private memory that the frame owns.
#[cold]
pub(super) fn unreachable_chain() -> ! {
    unreachable!("a segment that is not the last has a next one")
}
