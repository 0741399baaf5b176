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
        self.insert_vlan_behind(None)
    }

    /// The same behind an outer tag of EtherType `outer`, where the frame has one there.
    ///
    /// # Errors
    /// As [`Frame::insert_vlan`]; [`FrameError::Short`] also where the first segment does not hold the outer tag.
    pub fn insert_vlan_behind(&mut self, outer: Option<u16>) -> Result<bool, FrameError> {
        let Some(tag) = self.vlan() else { return Ok(false) };
        let (place, have_bytes) = (self.tag_place(outer), self.linear_len());
        if have_bytes < place {
            return Err(FrameError::Short { wanted_bytes: place, have_bytes });
        }
        self.push(VLAN_TAG_BYTES)?;
        let data = self.data_mut();
        data.copy_within(VLAN_TAG_BYTES..VLAN_TAG_BYTES + place, 0);
        data[place..place + VLAN_TAG_BYTES].copy_from_slice(&header(tag));
        self.tag_is_in();
        Ok(true)
    }

    /// Where its tag goes: behind the addresses, or an outer tag of this EtherType.
    fn tag_place(&self, outer: Option<u16>) -> usize {
        let mut kind = [0; 2];
        let has_outer = outer.is_some_and(|outer| self.load(ADDRESSES_BYTES, &mut kind).is_ok() && u16::from_be_bytes(kind) == outer);
        ADDRESSES_BYTES + if has_outer { VLAN_TAG_BYTES } else { 0 }
    }

    /// A copy in buffers of `pool` that has the tag in it, where the frame asks for one: for frames without room for it, or in several pieces.
    ///
    /// # Errors
    /// [`FrameError::PoolEmpty`], [`FrameError::Short`] where the frame has no two addresses.
    pub fn copy_with_vlan(&self, pool: &BufPool) -> Result<Self, FrameError> {
        self.copy_with_vlan_behind(None, pool)
    }

    /// The same with the tag behind an outer one of EtherType `outer`, where the frame has one there.
    ///
    /// # Errors
    /// As [`Frame::copy_with_vlan`].
    pub fn copy_with_vlan_behind(&self, outer: Option<u16>, pool: &BufPool) -> Result<Self, FrameError> {
        let place = self.tag_place(outer);
        let (Some(tag), mut before) = (self.vlan(), [0; ADDRESSES_BYTES + VLAN_TAG_BYTES]) else { return self.copy(pool) };
        let before = &mut before[..place];
        self.load(0, before)?;
        let mut copy = pool.frame_from(before)?;
        copy.extend_from_slice(pool, &header(tag))?;
        let mut skip = place;
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
