//! What moves a frame's ends.

use crate::buf::frame::chain::unreachable_chain;
use crate::buf::frame::error::FrameError;
use crate::buf::frame::handle::Frame;

impl Frame {
    /// Moves the start of an empty frame `bytes` towards the end, to leave room for headers (`skb_reserve`).
    ///
    /// # Errors
    /// [`FrameError::NotEmpty`], [`FrameError::Tailroom`].
    pub fn reserve(&mut self, bytes: usize) -> Result<(), FrameError> {
        if !self.is_empty() {
            return Err(FrameError::NotEmpty);
        }
        let have_bytes = self.tailroom();
        if bytes > have_bytes {
            return Err(FrameError::Tailroom { wanted_bytes: bytes, have_bytes });
        }
        self.move_start(bytes.cast_signed());
        Ok(())
    }

    /// Puts `bytes` bytes before the data and returns them (`skb_push`). They hold what was there before.
    ///
    /// # Errors
    /// [`FrameError::Headroom`].
    pub fn push(&mut self, bytes: usize) -> Result<&mut [u8], FrameError> {
        let have_bytes = self.headroom();
        if bytes > have_bytes {
            return Err(FrameError::Headroom { wanted_bytes: bytes, have_bytes });
        }
        let len = self.linear_len() + bytes;
        self.move_start(-bytes.cast_signed());
        self.set_linear_len(len);
        Ok(self.data_mut().get_mut(..bytes).unwrap_or_default())
    }

    /// Takes `bytes` bytes off the front (`skb_pull`).
    ///
    /// # Errors
    /// [`FrameError::Short`] where the first segment has fewer.
    pub fn pull(&mut self, bytes: usize) -> Result<(), FrameError> {
        let have_bytes = self.linear_len();
        if bytes > have_bytes {
            return Err(FrameError::Short { wanted_bytes: bytes, have_bytes });
        }
        self.move_start(bytes.cast_signed());
        self.set_linear_len(have_bytes - bytes);
        Ok(())
    }

    /// Puts `bytes` bytes behind the data and returns them (`skb_put`); in a chain, behind the last segment. They hold what was there before.
    ///
    /// # Errors
    /// [`FrameError::Tailroom`].
    #[inline]
    pub fn put(&mut self, bytes: usize) -> Result<&mut [u8], FrameError> {
        if !self.is_plain() {
            return self.put_behind(bytes);
        }
        let len = self.linear_len();
        let have_bytes = self.pool().data_bytes as usize - len;
        if bytes > have_bytes {
            return Err(FrameError::Tailroom { wanted_bytes: bytes, have_bytes });
        }
        self.set_linear_len(len + bytes);
        // SAFETY: the bytes from the data's end on are this frame's own, and as many were seen to be there.
        Ok(unsafe { core::slice::from_raw_parts_mut(self.ptr().as_ptr().add(len), bytes) })
    }

    /// The same for a frame of several segments, or one whose data is not at home.
    #[inline(never)]
    fn put_behind(&mut self, bytes: usize) -> Result<&mut [u8], FrameError> {
        let last = self.last_mut();
        let have_bytes = last.tailroom();
        if bytes > have_bytes {
            return Err(FrameError::Tailroom { wanted_bytes: bytes, have_bytes });
        }
        let len = last.linear_len();
        last.set_linear_len(len + bytes);
        Ok(last.data_mut().get_mut(len..).unwrap_or_default())
    }

    /// Cuts the frame to its first `len` bytes (`skb_trim`); buffers that it needs no more return to their pool.
    ///
    /// # Errors
    /// [`FrameError::Short`] where it has fewer.
    #[inline]
    pub fn trim(&mut self, len: usize) -> Result<(), FrameError> {
        if self.is_linear() && len <= self.linear_len() {
            self.set_linear_len(len);
            return Ok(());
        }
        self.trim_chain(len)
    }

    #[inline(never)]
    fn trim_chain(&mut self, len: usize) -> Result<(), FrameError> {
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
            match at.next_mut() {
                Some(next) => at = next,
                None => unreachable_chain(),
            }
        }
    }
}
