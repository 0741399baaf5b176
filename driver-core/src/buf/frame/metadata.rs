//! What is known of a frame, and what is wanted: its metadata, from wherever the frame keeps it.

use core::fmt;

use crate::buf::frame::error::FrameError;
use crate::buf::frame::handle::Frame;
use crate::buf::meta::{self, Checksum, FlowMatch, LEN_SHIFT, Meta, Rss, Segmentation, Stamp, Words};

impl Frame {
    /// The decoded metadata, from wherever the frame keeps it.
    fn meta<T>(&self, of_words: impl FnOnce(&Words) -> T, of_meta: impl FnOnce(&Meta) -> T) -> T {
        match self.private_meta() {
            Some(meta) => of_meta(meta),
            None => of_words(self.words()),
        }
    }

    /// What is known about the checksum.
    pub fn checksum(&self) -> Checksum {
        if self.has_request() { meta::requested(self.words()) } else { self.meta(meta::checksum, |m| m.checksum) }
    }
    /// Says what is known about the checksum, or asks the device to fill it in.
    ///
    /// ```
    /// # #[cfg(not(feature = "testing"))]
    /// # fn main() {}
    /// # #[cfg(feature = "testing")]
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use driver_core::buf::{BufPool, Checksum, PoolConfig};
    ///
    /// let (domain, _) = driver_core::testing::domain(); // a driver has it from its device
    /// let pool = BufPool::new(&domain, PoolConfig::new(64))?;
    /// let mut frame = pool.frame_from(&[0; 60])?;
    /// assert_eq!((frame.checksum(), frame.wants_offload()), (Checksum::Unknown, false));
    /// // TCP over IPv4 without options: the sum begins behind 14 + 20 bytes, and goes to byte 16 of the TCP header.
    /// frame.set_checksum(Checksum::Partial { start: 34, offset: 16 });
    /// assert!(frame.wants_offload());
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn set_checksum(&mut self, checksum: Checksum) {
        // What is asked for of each frame that is sent stays in its words, as a rule.
        if let Checksum::Partial { start, offset } = checksum
            && let Some(request) = meta::request(start, offset)
        {
            return self.set_request(request);
        }
        self.set_checksum_apart(checksum);
    }

    #[inline(never)]
    fn set_checksum_apart(&mut self, checksum: Checksum) {
        self.clear_request();
        self.meta_mut().checksum = checksum;
    }

    /// How the frame is to be cut, or was put together.
    pub fn segmentation(&self) -> Option<Segmentation> {
        self.meta(|_| None, |m| m.segmentation)
    }
    /// Asks for segmentation.
    pub fn set_segmentation(&mut self, segmentation: Option<Segmentation>) {
        self.meta_mut().segmentation = segmentation;
    }

    /// The VLAN tag (priority and identifier) that the device took out, or is to put in.
    pub fn vlan(&self) -> Option<u16> {
        self.meta(meta::vlan, |m| m.vlan)
    }
    /// Asks for a VLAN tag.
    #[inline]
    pub fn set_vlan(&mut self, tag: Option<u16>) {
        if self.has_meta() { self.meta_mut().vlan = tag } else { self.set_tag(tag) }
    }

    /// The flow hash.
    pub fn rss(&self) -> Option<Rss> {
        self.meta(meta::rss, |m| m.rss)
    }

    /// Which of the device's flow filters matched it, if one did.
    pub fn flow_match(&self) -> Option<FlowMatch> {
        self.meta(meta::flow_match, |m| m.flow_match)
    }
    /// Says that a flow filter matched.
    pub fn set_flow_match(&mut self, flow_match: Option<FlowMatch>) {
        self.meta_mut().flow_match = flow_match;
    }

    /// How many received segments the device put together in this frame (receive side coalescing), where that is more than one.
    pub fn coalesced(&self) -> Option<u16> {
        self.meta(meta::coalesced, |m| m.coalesced)
    }
    /// Says how many segments it was put together from.
    pub fn set_coalesced(&mut self, segments: Option<u16>) {
        self.meta_mut().coalesced = segments;
    }

    /// How many bytes of headers the device found and put apart at the front (header split), where it did.
    pub fn split_header_bytes(&self) -> Option<u16> {
        self.meta(|_| None, |m| m.split_header_bytes)
    }
    /// Says how many bytes of headers lie apart.
    pub fn set_split_header_bytes(&mut self, bytes: Option<u16>) {
        self.meta_mut().split_header_bytes = bytes;
    }

    /// The receive queue that it came from.
    pub fn rx_queue(&self) -> u16 {
        self.meta(meta::queue, |m| m.queue)
    }

    /// When it arrived, in nanoseconds of the device's clock, where the device says so.
    pub fn timestamp_ns(&self) -> Option<u64> {
        match self.private_meta()?.stamp {
            Stamp::Arrived(ns) => Some(ns),
            _ => None,
        }
    }
    /// Says when it arrived.
    pub fn set_timestamp_ns(&mut self, at: Option<u64>) {
        self.meta_mut().stamp = at.map_or(Stamp::None, Stamp::Arrived);
    }

    /// Asks the device to stamp it when it is sent, and to tell of it by `id` ([`HardwareClock::take_sent`](crate::device::HardwareClock::take_sent)). A device without a
    /// clock, or whose clock stands still, sends it all the same and tells nothing. The stamp of its own arrival is forgotten.
    pub fn ask_for_timestamp(&mut self, id: Option<u32>) {
        self.meta_mut().stamp = id.map_or(Stamp::None, Stamp::Wanted);
    }
    /// By what it asks for a stamp, where it does.
    pub fn asked_timestamp(&self) -> Option<u32> {
        match self.private_meta()?.stamp {
            Stamp::Wanted(id) => Some(id),
            _ => None,
        }
    }

    /// Whether a transmit queue has to do more with it than send its bytes.
    pub fn wants_offload(&self) -> bool {
        // A frame that is forwarded carries what its receiver found: a stripped tag has to be put back, a checked checksum needs nothing.
        self.segmentation().is_some() || self.vlan().is_some() || matches!(self.checksum(), Checksum::Partial { .. } | Checksum::PartialSctp { .. })
    }

    /// For drivers that fill a buffer by DMA: sets the words that the device wrote, in the layout of [`meta`], after checking that their length fits
    /// behind the frame's start. The frame is what they say: metadata that it had, and segments behind its first, are gone.
    ///
    /// # Errors
    /// [`FrameError::Tailroom`] where the device claims more than it was lent.
    pub fn set_received(&mut self, words: Words) -> Result<(), FrameError> {
        let wanted_bytes = usize::from((words[1] >> LEN_SHIFT) as u16);
        let have_bytes = self.tailroom() + self.linear_len();
        if wanted_bytes > have_bytes {
            return Err(FrameError::Tailroom { wanted_bytes, have_bytes });
        }
        self.drop_private();
        // SAFETY: the length was compared with the room behind the frame's start.
        unsafe { self.set_words(words) };
        Ok(())
    }

    pub(crate) fn copy_meta(&mut self, from: &Self) {
        match from.private_meta() {
            Some(meta) => *self.meta_mut() = *meta,
            None if self.has_meta() => *self.meta_mut() = Meta::from_words(from.words()),
            None => self.set_words_without_len(*from.words()),
        }
        self.set_request_as(from);
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("len", &self.len())
            .field("segments", &self.segments().count())
            .field("checksum", &self.checksum())
            .field("vlan", &self.vlan())
            .field("rss", &self.rss())
            .finish_non_exhaustive()
    }
}
