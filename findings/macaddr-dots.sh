#!/bin/bash
# What:    the crate macaddr 1.0.1, MacAddr6 with {:#}, and its parser on what that wrote.
# Guess:   {:#} gives the dotted form that switches print, 0211.2233.4455.
# Happens: four groups of three digits, for MacAddr8 four groups of four. The parser takes the switches' form alone, not that of {:#}:
#              six bytes 021.122.334.455
#              read back Err(InvalidCharacter('.', 4))
#              0211.2233.4455 Ok(MacAddr6([2, 17, 34, 51, 68, 85]))
#              eight bytes 0211.2233.4455.6677
# Matters: configuration or state written with {:#} cannot be read by the same crate, and the address cannot be pasted into a switch's filter.
#          One that is to be read again goes out with {} or {:-}.
# Source:  the crate's change log gives {:#} as the period-separated form, and ParseError lists the period among the characters allowed.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
got=$(crates 'macaddr = "=1.0.1"' <<'RS'
use macaddr::{MacAddr6, MacAddr8};
fn main() {
    println!("six bytes {:#}", MacAddr6::new(2, 0x11, 0x22, 0x33, 0x44, 0x55));
    println!("read back {:?}", "021.122.334.455".parse::<MacAddr6>());
    println!("0211.2233.4455 {:?}", "0211.2233.4455".parse::<MacAddr6>());
    println!("eight bytes {:#}", MacAddr8::new(2, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77));
}
RS
)
same "macaddr 1.0.1 cannot read back the dotted MAC address that it writes" "$got" \
"six bytes 021.122.334.455
read back Err(InvalidCharacter('.', 4))
0211.2233.4455 Ok(MacAddr6([2, 17, 34, 51, 68, 85]))
eight bytes 0211.2233.4455.6677"
