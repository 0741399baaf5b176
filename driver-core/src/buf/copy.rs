//! Bytes into frames, with buffers of a pool.

use crate::buf::frame::error::FrameError;
use crate::buf::frame::handle::Frame;
use crate::buf::pool::BufPool;

impl Frame {
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
