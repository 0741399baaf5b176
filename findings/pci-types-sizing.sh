#!/bin/bash
# What:    the crate pci_types 0.10.1 (no_std), EndpointHeader::bar() on a function with memory and I/O decoding on, as firmware leaves it.
# Guess:   bar() is a getter; or, since it has to write all ones to learn the size, it switches decoding off meanwhile.
# Happens: it sizes with decoding on, and the command register is never written:
#              memory BAR: 10 <- ffffffff, 14 <- ffffffff, 10 <- fe000000, 14 <- 00000001 (all with decoding on)
#          Between the first write and the last the BAR lies at the top of the address space.
# Matters: another core's, an interrupt handler's or a peer's access to the running device meanwhile goes nowhere, and a function placed at the
#          top of the address space answers for what lives there. Calling bar() "to look" once a driver runs is a race: clear
#          the decode bits of the command register around it, and put them back.
# Source:  PCI Local Bus 3.0, 6.2.5.1, implementation note on sizing: decode is disabled through the command register before all ones are written.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
got=$(crates 'pci_types = "=0.10.1"' <<'RS'
use pci_types::{ConfigRegionAccess, EndpointHeader, PciAddress, PciHeader};
use std::cell::RefCell;
/// A function with a 64-bit memory BAR of 128 KiB at 1fe000000, and what was written.
struct Card(RefCell<[u32; 64]>, RefCell<Vec<String>>);
impl ConfigRegionAccess for &Card {
    unsafe fn read(&self, _: PciAddress, offset: u16) -> u32 { self.0.borrow()[offset as usize / 4] }
    unsafe fn write(&self, _: PciAddress, offset: u16, value: u32) {
        let mut space = self.0.borrow_mut();
        let decoding = if space[1] & 2 == 0 { "off" } else { "on" };
        self.1.borrow_mut().push(format!("{offset:02x} <- {value:08x} decoding {decoding}"));
        space[offset as usize / 4] = if offset == 0x10 { value & 0xfffe_0000 | 4 } else { value };
    }
}
fn main() {
    let mut space = [0; 64];
    (space[0], space[1], space[2], space[4], space[5]) = (0x10fb_8086, 0x0010_0007, 0x0200_0001, 0xfe00_0004, 1);
    let card = Card(RefCell::new(space), RefCell::default());
    let endpoint = EndpointHeader::from_header(PciHeader::new(PciAddress::new(0, 0, 0, 0)), &card).unwrap();
    println!("{:x?}", endpoint.bar(0, &card).unwrap());
    println!("{}", card.1.borrow().join("\n"));
}
RS
)
same "pci_types 0.10.1 sizes a BAR with memory decoding on" "$got" \
"Memory64 { address: 1fe000000, size: 20000, prefetchable: false }
10 <- ffffffff decoding on
14 <- ffffffff decoding on
10 <- fe000000 decoding on
14 <- 00000001 decoding on"
