//! The records of a pcap file (draft-ietf-opsawg-pcap).

use pcap_parser::{PcapHeader, parse_pcap_header};

use super::frame::{Damage, Frame, Step, check_captured, trim_fcs};
use super::source::{Have, Source};

const HEADER_BYTES: usize = 24;
/// A record's header: seconds, fraction, captured length, original length.
const RECORD_HEADER_BYTES: usize = 16;
/// The record's header of the format that Alexey Kuznetzov's patched libpcap wrote has 8 bytes more.
const MODIFIED_RECORD_HEADER_BYTES: usize = 24;

/// What the header of a file says about its records.
pub(super) struct Records {
    header: PcapHeader,
    pub(super) link_type: u32,
    fcs_bytes: usize,
}

impl Records {
    /// Reads the file's header. `None`: it has not come yet.
    pub(super) fn open(source: &mut Source) -> Result<Option<Self>, Damage> {
        match source.want(HEADER_BYTES)? {
            Have::All => {}
            Have::NotYet => return Ok(None),
            Have::End => return Err(Damage::cut()),
        }
        let (_, header) = parse_pcap_header(source.bytes()).map_err(|_| Damage::new("its fields make no sense"))?;
        source.skip(HEADER_BYTES as u64);
        let (link_type, fcs_bytes) = split_link_type(header.network.0.cast_unsigned());
        Ok(Some(Self { header, link_type, fcs_bytes }))
    }

    /// Reads one record. Its header is decoded here: pcap-parser 0.17 gives a record only with all its data, of which a damaged length may claim 4 GiB.
    pub(super) fn read(&self, source: &mut Source, frame: &mut Frame) -> Result<Step, Damage> {
        let header_bytes = if self.header.is_modified_format() { MODIFIED_RECORD_HEADER_BYTES } else { RECORD_HEADER_BYTES };
        match source.want(header_bytes)? {
            Have::All => {}
            Have::NotYet => return Ok(Step::Later),
            Have::End => return Step::end(source),
        }
        let [captured, original] = [8, 12].map(|at| {
            let bytes = source.bytes()[at..].first_chunk::<4>().copied().unwrap_or_default();
            if self.header.is_bigendian() { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
        });
        check_captured(captured)?;
        let len = header_bytes + captured as usize;
        match source.want(len)? {
            Have::All => {}
            Have::NotYet => return Ok(Step::Later),
            Have::End => return Err(Damage::cut()),
        }
        frame.set(&source.bytes()[header_bytes..len], original);
        trim_fcs(frame, self.fcs_bytes);
        source.skip(len as u64);
        Ok(Step::Frame)
    }
}

/// Parts a pcap header's link type field into link type and frame check sequence length in bytes
/// (draft-ietf-opsawg-pcap, section 4: bits 28 to 31 count 16-bit words where bit 26 is set).
fn split_link_type(field: u32) -> (u32, usize) {
    let fcs_words = if field & 1 << 26 == 0 { 0 } else { field >> 28 };
    (field & 0xffff, fcs_words as usize * 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_type_field_with_frame_check_sequence() {
        assert_eq!(split_link_type(1), (1, 0));
        assert_eq!(split_link_type(0x2400_0001), (1, 4));
        assert_eq!(split_link_type(0x2000_0001), (1, 0), "length without the bit that says it is valid");
    }
}
