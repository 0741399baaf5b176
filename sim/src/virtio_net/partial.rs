//! Checksums as a kernel leaves them to the card, when it sends a frame that crosses no wire: to its own tap, or to a guest beside it.

/// EtherTypes and IP protocols.
const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Takes the checksum of UDP or TCP out of a frame, where it is right, and leaves the pseudo header's sum in its place. Returns csum_start and csum_offset.
///
/// Left alone is what a kernel would not leave to a card: fragments, tagged frames, IPv6 with extension headers, and a checksum that is wrong or zero.
pub(super) fn take_out(frame: &mut [u8]) -> Option<(u16, u16)> {
    let word = |at: usize| frame.get(at..at + 2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
    let kind: [u8; 2] = frame.get(12..14)?.try_into().ok()?;
    let (start, end, protocol, addresses) = match kind {
        IPV4 if word(20)? & 0x3fff == 0 => (14 + usize::from(frame[14] & 15) * 4, 14 + usize::from(word(16)?), *frame.get(23)?, frame.get(26..34)?),
        IPV6 => (54, 54 + usize::from(word(18)?), *frame.get(20)?, frame.get(22..54)?),
        _ => return None,
    };
    let offset = match protocol {
        TCP => 16,
        UDP => 6,
        _ => return None,
    };
    let (segment, padding) = (frame.get(start..end)?, frame.get(end..)?);
    let place = start + offset;
    let is_cut = segment.len() < offset + 2 || protocol == UDP && usize::from(word(start + 4)?) != segment.len();
    // The card sums to the frame's end.
    if is_cut || word(place)? == 0 || padding.iter().any(|&byte| byte != 0) {
        return None;
    }
    let pseudo = folded(sum(addresses) + u64::from(protocol) + segment.len() as u64);
    if folded(u64::from(pseudo) + sum(segment)) != 0xffff {
        return None;
    }
    frame.get_mut(place..place + 2)?.copy_from_slice(&pseudo.to_be_bytes());
    Some((start as u16, offset as u16))
}

/// The ones' complement sum from `start` to the end, complemented, at `place`.
pub(super) fn with_checksum(mut frame: Vec<u8>, start: usize, place: usize) -> Vec<u8> {
    let mut sum = frame[start..].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0))).sum::<u32>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    frame[place..place + 2].copy_from_slice(&(!sum as u16).to_be_bytes());
    frame
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0))).sum()
}

fn folded(sum: u64) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}
