//! A VLAN tag into a frame (IEEE 802.1Q, clause 9).

use crate::buf::frame::{Frame, FrameError};
use crate::buf::meta::Checksum;
use crate::buf::pool::BufPool;
use crate::ether::{ADDRESSES_BYTES, VLAN_TAG_BYTES};

/// Tag protocol identifier of a customer's tag.
const TPID: [u8; 2] = [0x81, 0x00];

impl Frame {
    /// Puts the VLAN tag that the frame asks for ([`Frame::vlan`]) between its addresses and its type, and says whether it asked for one. Where the
    /// frame has a tag there already, the new one is the outer. A checksum to be filled in moves with its bytes.
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
    /// let mut frame = pool.frame_from(b"to....from..\x08\x00payload")?;
    /// frame.set_vlan(Some(5));
    /// assert!(frame.insert_vlan()?);
    /// assert_eq!((frame.data(), frame.vlan()), (&b"to....from..\x81\x00\x00\x05\x08\x00payload"[..], None));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`FrameError::Headroom`] where there is no room for 4 bytes before the data, [`FrameError::Short`] where its first segment does not hold the
    /// addresses. The frame is as it was.
    pub fn insert_vlan(&mut self) -> Result<bool, FrameError> {
        let Some(tag) = self.vlan() else { return Ok(false) };
        let have_bytes = self.linear_len();
        if have_bytes < ADDRESSES_BYTES {
            return Err(FrameError::Short { wanted_bytes: ADDRESSES_BYTES, have_bytes });
        }
        self.push(VLAN_TAG_BYTES)?;
        let data = self.data_mut();
        data.copy_within(VLAN_TAG_BYTES..VLAN_TAG_BYTES + ADDRESSES_BYTES, 0);
        data[ADDRESSES_BYTES..ADDRESSES_BYTES + VLAN_TAG_BYTES].copy_from_slice(&header(tag));
        self.tag_is_in();
        Ok(true)
    }

    /// A copy in buffers of `pool` that has the tag in it, where the frame asks for one: for frames without room for it, or in several pieces.
    ///
    /// # Errors
    /// [`FrameError::PoolEmpty`], [`FrameError::Short`] where the frame has no two addresses.
    pub fn copy_with_vlan(&self, pool: &BufPool) -> Result<Self, FrameError> {
        let (Some(tag), mut addresses) = (self.vlan(), [0; ADDRESSES_BYTES]) else { return self.copy(pool) };
        self.load(0, &mut addresses)?;
        let mut copy = pool.frame_from(&addresses)?;
        copy.extend_from_slice(pool, &header(tag))?;
        let mut skip = ADDRESSES_BYTES;
        for segment in self.segments() {
            copy.extend_from_slice(pool, segment.get(skip..).unwrap_or_default())?;
            skip = skip.saturating_sub(segment.len());
        }
        copy.copy_meta(self);
        copy.tag_is_in();
        copy.set_split_header_bytes(None);
        Ok(copy)
    }

    /// What the metadata say once the tag is in the frame.
    fn tag_is_in(&mut self) {
        const MORE: u16 = VLAN_TAG_BYTES as u16;
        self.set_vlan(None);
        match self.checksum() {
            Checksum::Partial { start, offset } => self.set_checksum(Checksum::Partial { start: start.saturating_add(MORE), offset }),
            Checksum::PartialSctp { start } => self.set_checksum(Checksum::PartialSctp { start: start.saturating_add(MORE) }),
            // The sum covers the tag now.
            Checksum::Complete(_) => self.set_checksum(Checksum::Unknown),
            _ => {}
        }
        if let Some(mut cut) = self.segmentation() {
            cut.header_bytes = cut.header_bytes.saturating_add(MORE);
            self.set_segmentation(Some(cut));
        }
        if let Some(bytes) = self.split_header_bytes() {
            self.set_split_header_bytes(Some(bytes.saturating_add(MORE)));
        }
    }
}

fn header(tag: u16) -> [u8; VLAN_TAG_BYTES] {
    let ([a, b], [c, d]) = (TPID, tag.to_be_bytes());
    [a, b, c, d]
}
