#!/bin/bash
# What:    the crate pcap-parser 0.17.0, InterfaceDescriptionBlock::ts_resolution with if_tsresol of both kinds.
# Guess:   9 gives 10^9 units a second, 0x94 (top bit set, 20) gives 2^20.
# Happens: every value with the top bit set is "invalid", the code for 2^n notwithstanding:
#              09 -> Some(1000000000)
#              94 -> None
#              a0 -> None
#          (the bound of 63 is held against the byte before its top bit is taken off)
# Matters: capture hardware that counts in binary fractions of a second (2^-32 as in NTP) writes such files; who falls back on microseconds for
#          None reads them a thousand times too far in the future, and decode_ts divides by what it is given.
# Source:  draft-ietf-opsawg-pcapng, if_tsresol: if the most significant bit is 1, the remaining bits are the resolution as a negative power
#          of 2. Its example 0x8A is 1/1024 s.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
got=$(crates 'pcap-parser = "=0.17.0"' <<'RS'
use pcap_parser::{Block, PcapBlockOwned, PcapNGReader, traits::PcapReaderIterator};
fn main() {
    for resolution in [9u8, 0x94, 0xa0] {
        let mut file = vec![10, 13, 13, 10, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0];
        file.extend([0xff; 8]);
        file.extend([28, 0, 0, 0]);
        file.extend([1, 0, 0, 0, 32, 0, 0, 0, 1, 0, 0, 0, 0, 0, 4, 0]);
        file.extend([9, 0, 1, 0, resolution, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0, 0]);
        let mut reader = PcapNGReader::new(65536, &file[..]).unwrap();
        while let Ok((length, block)) = reader.next() {
            if let PcapBlockOwned::NG(Block::InterfaceDescription(interface)) = block {
                println!("{resolution:02x} -> {:?}", interface.ts_resolution());
            }
            reader.consume(length);
        }
    }
}
RS
)
same "pcap-parser 0.17.0 calls every binary time stamp resolution invalid" "$got" \
"09 -> Some(1000000000)
94 -> None
a0 -> None"
