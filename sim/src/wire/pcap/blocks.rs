//! The blocks of a pcapng file (draft-ietf-opsawg-pcapng).
//!
//! pcap-parser decodes the blocks, and nothing else is trusted to: its blocks are tolerant where the format is (no end-of-options mark, text of any
//! coding, options of any length), which pcap-file 2.0.0 and 3.0.0-rc1 are not: they refuse all of these, and blocks of more than 8 MB. Around
//! pcap-parser 0.17 stand the framing (it wants a block whole, whatever length it claims, where most are skipped here), the obsolete packet block (it
//! knows none), numbers in options (read as little-endian always), and the padding (which it counts in the data of packets).

use pcap_parser::{Block, PcapNGOption, parse_block_be, parse_block_le};

use super::frame::{Damage, ETHERNET, Frame, Step, check_captured, trim_fcs};
use super::source::{Have, Source};

// Block types (sections 4.1 to 4.4 and appendix A).
pub(super) const SECTION_HEADER_BLOCK: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION_BLOCK: u32 = 1;
const PACKET_BLOCK: u32 = 2;
const SIMPLE_PACKET_BLOCK: u32 = 3;
const ENHANCED_PACKET_BLOCK: u32 = 6;

// Option codes (sections 3.5, 4.2 and 4.3; pack_flags has epb_flags' code and layout).
const OPT_ENDOFOPT: u16 = 0;
const IF_FCSLEN: u16 = 13;
const EPB_FLAGS: u16 = 2;

const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
/// Block type, total length, total length again.
const FRAMING_BYTES: u32 = 12;
/// The longest block that is read whole, as Wireshark has it. Blocks that hold nothing of ours may have any length.
const MAX_BLOCK_BYTES: u32 = 16 * 1024 * 1024;
/// The fields of enhanced and obsolete packet blocks before their data.
const PACKET_HEADER_BYTES: usize = 20;

/// A section of the file: its byte order and its interfaces.
#[derive(Default)]
pub(super) struct Section {
    is_big_endian: bool,
    interfaces: Vec<Interface>,
    /// A block's total length that must come next, after what was skipped of it.
    trailer: Option<u32>,
}

struct Interface {
    link_type: u32,
    snaplen: u32,
    fcs_bytes: usize,
}

/// A packet block's fields, whatever its kind.
struct Packet<'a> {
    interface: usize,
    captured: u32,
    original: u32,
    data: &'a [u8],
    /// `epb_flags`.
    flags: u32,
}

impl Section {
    /// Reads one block.
    pub(super) fn read(&mut self, source: &mut Source, frame: &mut Frame) -> Result<Step, Damage> {
        if let Some(len) = self.trailer {
            return self.read_trailer(source, len);
        }
        match source.want(FRAMING_BYTES as usize)? {
            Have::All => {}
            Have::NotYet => return Ok(Step::Later),
            Have::End => return Step::end(source),
        }
        let is_section = word(source.bytes(), 0, true) == SECTION_HEADER_BLOCK;
        if is_section {
            self.is_big_endian = match word(source.bytes(), 8, true) {
                BYTE_ORDER_MAGIC => true,
                order if order == BYTE_ORDER_MAGIC.swap_bytes() => false,
                order => return Err(Damage(format!("a section's byte order reads {order:#010x}, not {BYTE_ORDER_MAGIC:#010x} in either order"))),
            };
        }
        let [kind, len] = [0, 4].map(|at| word(source.bytes(), at, self.is_big_endian));
        if len < FRAMING_BYTES || len % 4 != 0 {
            return Err(Damage(format!("a block claims {len} bytes: a multiple of 4 from {FRAMING_BYTES} on is possible")));
        }
        if !matches!(kind, SECTION_HEADER_BLOCK | INTERFACE_DESCRIPTION_BLOCK | PACKET_BLOCK | SIMPLE_PACKET_BLOCK | ENHANCED_PACKET_BLOCK) {
            source.skip(u64::from(len) - 4);
            self.trailer = Some(len);
            return Ok(Step::Other);
        }
        if len > MAX_BLOCK_BYTES {
            return Err(Damage(format!("a block of type {kind} claims {len} bytes, more than any holds ({MAX_BLOCK_BYTES})")));
        }
        match source.want(len as usize)? {
            Have::All => {}
            Have::NotYet => return Ok(Step::Later),
            Have::End => return Err(Damage::cut()),
        }
        let block = &source.bytes()[..len as usize];
        check_trailer(word(block, len as usize - 4, self.is_big_endian), len)?;
        let step = self.block(kind, block, frame)?;
        source.skip(len.into());
        Ok(step)
    }

    /// Reads the end of a block that was skipped.
    fn read_trailer(&mut self, source: &mut Source, len: u32) -> Result<Step, Damage> {
        match source.want(4)? {
            Have::All => {}
            Have::NotYet => return Ok(Step::Later),
            Have::End => return Err(Damage::cut()),
        }
        check_trailer(word(source.bytes(), 0, self.is_big_endian), len)?;
        source.skip(4);
        self.trailer = None;
        Ok(Step::Other)
    }

    /// Decodes a whole block.
    fn block(&mut self, kind: u32, block: &[u8], frame: &mut Frame) -> Result<Step, Damage> {
        if kind == PACKET_BLOCK {
            let packet = self.packet_block(block)?;
            return self.packet(&packet, frame, None);
        }
        let parsed = if self.is_big_endian { parse_block_be(block) } else { parse_block_le(block) };
        match parsed {
            Ok((_, Block::SectionHeader(section))) if section.major_version != 1 => {
                Err(Damage(format!("a section is of version {}.{}, which is not known", section.major_version, section.minor_version)))
            }
            Ok((_, Block::SectionHeader(_))) => {
                self.interfaces.clear();
                Ok(Step::Other)
            }
            Ok((_, Block::InterfaceDescription(described))) => {
                let fcs_bytes = option(&described.options, IF_FCSLEN).and_then(|value| value.first()).map_or(0, |len| fcs_bytes(*len));
                let link_type = u32::from(described.linktype.0 as u16);
                self.interfaces.push(Interface { link_type, snaplen: described.snaplen, fcs_bytes });
                Ok(Step::Other)
            }
            Ok((_, Block::EnhancedPacket(packet))) => {
                let flags = option(&packet.options, EPB_FLAGS).filter(|value| value.len() == 4).map_or(0, |value| word(value, 0, self.is_big_endian));
                let packet = Packet { interface: packet.if_id as usize, captured: packet.caplen, original: packet.origlen, data: packet.data, flags };
                self.packet(&packet, frame, None)
            }
            Ok((_, Block::SimplePacket(packet))) => {
                // It has no captured length: what was captured ends with the data, or where the interface's snapshot length has cut it.
                let room = u32::try_from(packet.data.len()).unwrap_or(u32::MAX);
                let snaplen = self.interfaces.first().map_or(0, |interface| interface.snaplen);
                let captured = packet.origlen.min(room).min(if snaplen == 0 { u32::MAX } else { snaplen });
                let packet = Packet { interface: 0, captured, original: packet.origlen, data: packet.data, flags: 0 };
                self.packet(&packet, frame, Some(room))
            }
            Ok(_) => Ok(Step::Other),
            Err(_) => Err(damaged(kind, block.len())),
        }
    }

    /// The obsolete packet block: interface and drop count in 16 bits each, and then as the enhanced one.
    fn packet_block<'a>(&self, block: &'a [u8]) -> Result<Packet<'a>, Damage> {
        let body = &block[8..block.len() - 4];
        let Some((header, data)) = body.split_at_checked(PACKET_HEADER_BYTES) else { return Err(too_short()) };
        let first = word(header, 0, self.is_big_endian);
        let interface = if self.is_big_endian { first >> 16 } else { first & 0xffff };
        let captured = word(header, 12, self.is_big_endian);
        let options = data.get((captured as usize).next_multiple_of(4)..).unwrap_or_default();
        let flags = self.flags(options);
        Ok(Packet { interface: interface as usize, captured, original: word(header, 16, self.is_big_endian), data, flags })
    }

    /// The flags in an option list.
    fn flags(&self, mut options: &[u8]) -> u32 {
        let half = |bytes: [u8; 2]| if self.is_big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) };
        while let Some((&[a, b, c, d], rest)) = options.split_first_chunk::<4>() {
            let (code, len) = (half([a, b]), usize::from(half([c, d])));
            match code {
                OPT_ENDOFOPT => break,
                EPB_FLAGS if len == 4 && rest.len() >= 4 => return word(rest, 0, self.is_big_endian),
                _ => options = rest.get(len.next_multiple_of(4)..).unwrap_or_default(),
            }
        }
        0
    }

    fn packet(&self, packet: &Packet<'_>, frame: &mut Frame, room: Option<u32>) -> Result<Step, Damage> {
        check_captured(room.unwrap_or(packet.captured))?;
        let Some(interface) = self.interfaces.get(packet.interface) else {
            return Err(Damage(format!("a packet names interface {}, which is not described before", packet.interface)));
        };
        let bytes = packet.data.get(..packet.captured as usize);
        let bytes = bytes.ok_or_else(|| Damage(format!("a packet block is too short for its {} bytes of data", packet.captured)))?;
        if interface.link_type != ETHERNET {
            return Ok(Step::Foreign(interface.link_type));
        }
        frame.set(bytes, packet.original);
        // Bits 5 to 8 of epb_flags: the length in bytes, where it is known for this packet.
        let told = (packet.flags >> 5 & 0xf) as usize;
        trim_fcs(frame, if told == 0 { interface.fcs_bytes } else { told });
        Ok(Step::Frame)
    }
}

/// The frame check sequence's length that `if_fcslen` says. The format's drafts have counted bits and bytes, and readers take bytes; Ethernet's
/// has 4 of them, and what is too much for any link's counts bits.
fn fcs_bytes(told: u8) -> usize {
    usize::from(if told > 8 { told / 8 } else { told })
}

/// An option's value without its padding.
fn option<'a>(options: &'a [PcapNGOption<'_>], code: u16) -> Option<&'a [u8]> {
    let before_end = options.iter().take_while(|option| option.code.0 != OPT_ENDOFOPT);
    before_end.filter(|option| option.code.0 == code).find_map(|option| option.as_bytes().ok())
}

fn check_trailer(found: u32, len: u32) -> Result<(), Damage> {
    if found == len { Ok(()) } else { Err(Damage(format!("a block claims {len} bytes at its beginning and {found} at its end"))) }
}

fn too_short() -> Damage {
    Damage::new("a packet block is shorter than its own header")
}

/// What is wrong with a block that its decoder refused; `len` bytes of it are there, all that it claims.
fn damaged(kind: u32, len: usize) -> Damage {
    match kind {
        ENHANCED_PACKET_BLOCK if len >= FRAMING_BYTES as usize + PACKET_HEADER_BYTES => Damage::new("a packet block is too short for its data"),
        ENHANCED_PACKET_BLOCK | SIMPLE_PACKET_BLOCK => too_short(),
        _ => Damage(format!("a block of type {kind} makes no sense")),
    }
}

/// The 32-bit number at `at`; 0 beyond the end.
fn word(bytes: &[u8], at: usize, is_big_endian: bool) -> u32 {
    let bytes = bytes.get(at..).and_then(|bytes| bytes.first_chunk()).copied().unwrap_or_default();
    if is_big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_check_sequences_in_bytes_and_in_bits() {
        assert_eq!([0, 2, 4, 16, 32].map(fcs_bytes), [0, 2, 4, 2, 4]);
    }
}
