//! Checksums: filled in, computed, verified.

use crate::buf::frame::Frame;
use crate::buf::meta::Checksum;
use crate::offload::crc32c::Crc32c;
use crate::offload::error::OffloadError;
use crate::offload::packet::{Algorithm, IPV4_CHECKSUM, SCTP_CRC, UDP, bytes, ipv4_header, transport};
use crate::offload::sum::{Sum, pieces};

/// What is sent where the sum is zero, which in UDP says that there is none (RFC 768). To a ones' complement sum both are zero.
const MANGLED_ZERO: u16 = 0xffff;

impl Frame {
    /// Whether a stack may take the frame without looking at its transport checksum: its device found it good, or it never crossed a wire.
    pub fn is_checksum_verified(&self) -> bool {
        matches!(self.checksum(), Checksum::Good | Checksum::GoodButUnsure | Checksum::Partial { .. } | Checksum::PartialSctp { .. })
    }

    /// Fills the checksum in where the frame asks for it ([`Checksum::Partial`], [`Checksum::PartialSctp`]), and says whether it did (Linux: `skb_checksum_help`,
    /// `skb_crc32c_csum_help`). Afterwards it is [`Checksum::Good`].
    ///
    /// The sum goes from `start` to the frame's end, and begins with what lies in the checksum's place: the pseudo header's. A sum of zero is
    /// stored as 0xffff, whatever the protocol, since UDP wants it so and to others both are the same.
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
    /// let mut frame = pool.frame_from(&[0, 1, 0, 2, 0, 0])?;
    /// frame.set_checksum(Checksum::Partial { start: 0, offset: 4 });
    /// assert!(frame.is_checksum_verified());
    /// assert!(frame.fill_in_checksum()?);
    /// assert_eq!((frame.data(), frame.checksum()), (&[0, 1, 0, 2, 0xff, 0xfc][..], Checksum::Good));
    /// assert!(!frame.fill_in_checksum()?, "once");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`OffloadError::Place`]; the frame is as it was.
    pub fn fill_in_checksum(&mut self) -> Result<bool, OffloadError> {
        let (start, offset) = match self.checksum() {
            Checksum::Partial { start, offset } => (start, offset),
            Checksum::PartialSctp { start } => (start, SCTP_CRC),
            _ => return Ok(false),
        };
        let (place, len_bytes) = (checksum_place(self)?, self.len());
        let stored = if matches!(self.checksum(), Checksum::PartialSctp { .. }) {
            let crc = crc_of(self, start.into(), place, len_bytes);
            self.store(place, &crc.to_le_bytes()).map_err(|_| OffloadError::Malformed)
        } else {
            let mut sum = Sum::new();
            sum.add_frame(self, start.into(), usize::MAX);
            store_sum(self, place, sum, true)
        };
        stored.map_err(|_| OffloadError::Place { start, offset, len_bytes })?;
        self.set_checksum(Checksum::Good);
        Ok(true)
    }

    /// What is known of the checksum, or what software finds where the device told nothing: [`Checksum::Good`] where the transport checksum
    /// (and that of an IPv4 header) is right, [`Checksum::Bad`] where one is wrong, [`Checksum::Unknown`] where there is none that could be
    /// checked: another protocol, a fragment, UDP over IPv4 without a checksum, lengths that make no sense.
    ///
    /// UDP over IPv6 without a checksum is bad (RFC 8200, section 8.1).
    pub fn verify_checksum(&self) -> Checksum {
        match self.checksum() {
            Checksum::Unknown | Checksum::Complete(_) => {}
            known => return known,
        }
        if verify_ipv4(self) == Ok(false) {
            return Checksum::Bad;
        }
        match verify_transport(self) {
            Ok(Some(true)) => Checksum::Good,
            Ok(Some(false)) => Checksum::Bad,
            Ok(None) | Err(_) => Checksum::Unknown,
        }
    }
}

/// Where a partial checksum goes, from the start of the frame. The place of one that is not partial is 0.
pub(crate) fn checksum_place(frame: &Frame) -> Result<usize, OffloadError> {
    let (start, offset, bytes) = match frame.checksum() {
        Checksum::Partial { start, offset } => (start, offset, 2),
        Checksum::PartialSctp { start } => (start, SCTP_CRC, 4),
        _ => return Ok(0),
    };
    let (place, len_bytes) = (usize::from(start) + usize::from(offset), frame.len());
    if place + bytes > len_bytes { Err(OffloadError::Place { start, offset, len_bytes }) } else { Ok(place) }
}

/// Stores the complement of a sum. `mangles_zero`: zero is not to be sent.
fn store_sum(frame: &mut Frame, place: usize, sum: Sum, mangles_zero: bool) -> Result<(), OffloadError> {
    let checksum = match sum.checksum() {
        0 if mangles_zero => MANGLED_ZERO,
        checksum => checksum,
    };
    frame.store(place, &checksum.to_be_bytes()).map_err(|_| OffloadError::Malformed)
}

/// Computes the checksum of the frame's IPv4 header, and puts it there.
///
/// # Errors
/// [`OffloadError::NotIp`], [`OffloadError::Malformed`]
pub fn fill_ipv4(frame: &mut Frame) -> Result<(), OffloadError> {
    let header = ipv4_header(frame)?;
    let place = header.at + IPV4_CHECKSUM;
    let sum = sum_without(frame, Sum::new(), header.at, header.end, place);
    store_sum(frame, place, sum, false)
}

/// Whether the checksum of the frame's IPv4 header is right.
///
/// # Errors
/// [`OffloadError::NotIp`], [`OffloadError::Malformed`]
pub fn verify_ipv4(frame: &Frame) -> Result<bool, OffloadError> {
    let header = ipv4_header(frame)?;
    let mut sum = Sum::new();
    sum.add_frame(frame, header.at, header.end);
    Ok(sum.checksum() == 0)
}

/// Computes the checksum of the frame's TCP, UDP, SCTP, ICMP or ICMPv6 anew, whatever stands in its place, and puts it there. The frame's metadata stay.
///
/// # Errors
/// [`OffloadError`] of any kind but [`Place`](OffloadError::Place)
pub fn fill_transport(frame: &mut Frame) -> Result<(), OffloadError> {
    let found = transport(frame)?;
    match found.algorithm {
        Algorithm::Crc32c => {
            frame.store(found.place, &crc_of(frame, found.from, found.place, found.to).to_le_bytes()).map_err(|_| OffloadError::Malformed)
        }
        Algorithm::Internet => {
            let sum = sum_without(frame, found.pseudo, found.from, found.to, found.place);
            store_sum(frame, found.place, sum, found.protocol == UDP)
        }
    }
}

/// Whether the checksum of the frame's TCP, UDP, SCTP, ICMP or ICMPv6 is right. `None`: it is UDP over IPv4, and has none.
///
/// # Errors
/// [`OffloadError`] of any kind but [`Place`](OffloadError::Place): there is nothing that could be verified.
pub fn verify_transport(frame: &Frame) -> Result<Option<bool>, OffloadError> {
    let found = transport(frame)?;
    if found.algorithm == Algorithm::Crc32c {
        return Ok(Some(u32::from_le_bytes(bytes(frame, found.place)?) == crc_of(frame, found.from, found.place, found.to)));
    }
    if found.protocol == UDP && bytes(frame, found.place)? == [0, 0] {
        return Ok(found.is_ipv6.then_some(false));
    }
    let mut sum = found.pseudo;
    sum.add_frame(frame, found.from, found.to);
    Ok(Some(sum.checksum() == 0))
}

/// A sum as if there were a zero at `place`.
fn sum_without(frame: &Frame, mut sum: Sum, from: usize, to: usize, place: usize) -> Sum {
    sum.add_frame(frame, from, place);
    sum.add(&[0; 2]);
    sum.add_frame(frame, place + 2, to);
    sum
}

/// The CRC of the bytes `from` to `to`, as if it were zero itself at `place`.
fn crc_of(frame: &Frame, from: usize, place: usize, to: usize) -> u32 {
    let mut crc = Crc32c::new();
    pieces(frame, from, place).for_each(|piece| crc.add(piece));
    crc.add(&[0; 4]);
    pieces(frame, place + 4, to).for_each(|piece| crc.add(piece));
    crc.value()
}
