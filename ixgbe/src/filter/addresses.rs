//! Which frames come in: receive addresses, the multicast hash table, promiscuous modes (7.1.1.1, 8.2.3.7).

use alloc::vec;

use driver_core::device::{ErrorKind, RxMode};
use driver_core::ether::MacAddr;
use driver_core::host::Bar;

use crate::card::Card;
use crate::regs::*;

/// Unicast addresses beside the card's own: receive addresses 1 to 127.
pub const UNICAST_FILTERS: usize = 127;

/// RAL and RAH hold the address in the order of the wire, first byte in the lowest bits (8.2.3.7.8).
pub(crate) fn mac_from_registers(low: u32, high: Rah) -> MacAddr {
    let [a, b, c, d] = low.to_le_bytes();
    let [e, f, _, _] = high.bits().to_le_bytes();
    MacAddr([a, b, c, d, e, f])
}

/// RAL and the address part of RAH.
pub(crate) fn mac_to_registers(MacAddr([a, b, c, d, e, f]): MacAddr) -> (u32, u32) {
    (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, 0, 0]))
}

/// Which bit of MTA an address selects with MCSTCTRL.MO = 00b: bits 47:36 of the address, its last byte being bits 47:40 (8.2.3.7.3).
pub(crate) fn multicast_hash(MacAddr([_, _, _, _, e, f]): MacAddr) -> u16 {
    u16::from(f) << 4 | u16::from(e) >> 4
}

/// The hash table that lets `addresses` through.
pub(crate) fn multicast_table(addresses: &[MacAddr]) -> vec::Vec<u32> {
    let mut table = vec![0; MTA.count() as usize];
    for &address in addresses {
        let hash = multicast_hash(address);
        // 8.2.3.7.7: bits 11:5 of the hash select the register, bits 4:0 the bit. 7 bits always find one of 128 registers.
        if let Some(word) = table.get_mut(usize::from(hash >> 5)) {
            *word |= 1u32 << (hash & 31);
        }
    }
    table
}

impl<B: Bar> Card<B> {
    /// Sets or clears one receive address, with its pools. It never matches half-written: it is off while it changes.
    pub(super) fn set_receive_address(&self, index: u32, entry: Option<(MacAddr, u64)>) -> Result<(), ErrorKind> {
        let (low, high) = (RAL.at(index)?, RAH.at(index)?);
        let keep = high.read(&self.bar) - (Rah::AV | Rah::ADDRESS);
        high.write(&self.bar, keep);
        let (mac, pools) = entry.unwrap_or((MacAddr([0; 6]), 0));
        let (ral, rah) = mac_to_registers(mac);
        low.write(&self.bar, ral);
        self.set_pools(index, pools)?;
        if entry.is_some() {
            high.write(&self.bar, keep | Rah::from_bits_retain(rah) | Rah::AV);
        }
        Ok(())
    }

    /// The pools of a receive address.
    pub(super) fn set_pools(&self, index: u32, pools: u64) -> Result<(), ErrorKind> {
        MPSAR.at(2 * index)?.write(&self.bar, pools as u32);
        MPSAR.at(2 * index + 1)?.write(&self.bar, (pools >> 32) as u32);
        Ok(())
    }

    /// Replaces the multicast addresses. They are hashed into 4096 bits: any number fits, and others with the same hash come in too.
    pub(crate) fn set_multicast(&self, addresses: &[MacAddr]) {
        // "Set up the Multicast Table Array (MTA) registers. This entire table should be zeroed and only the desired multicast addresses should be permitted
        // [...]. Set the MCSTCTRL.MFE bit if multicast filtering is required." TABLES-UNREAD: without that bit nobody reads the table.
        if !addresses.is_empty() {
            for (register, word) in MTA.iter().zip(multicast_table(addresses)) {
                register.write(&self.bar, word);
            }
        }
        MCSTCTRL.modify(&self.bar, |v| {
            let v = v - (Mcstctrl::MO | Mcstctrl::MFE);
            if addresses.is_empty() { v } else { v | Mcstctrl::MFE }
        });
    }

    /// Broadcast always; every multicast frame, every frame, as asked. FILTER-LIVE: the receiver stays on.
    pub(crate) fn set_mode(&self, mode: RxMode) {
        FCTRL.modify(&self.bar, |v| {
            let mut v = (v | Fctrl::BAM) - (Fctrl::UPE | Fctrl::MPE);
            v.set(Fctrl::UPE, mode.contains(RxMode::PROMISCUOUS));
            v.set(Fctrl::MPE, !mode.is_empty());
            v
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_hold_the_address_in_wire_order() {
        let mac = MacAddr([0x00, 0x1b, 0x21, 0xaa, 0xbb, 0xcc]);
        assert_eq!(mac_to_registers(mac), (0xaa21_1b00, 0xccbb));
        assert_eq!(mac_from_registers(0xaa21_1b00, Rah::from_bits_retain(0x8000_ccbb)), mac);
    }

    #[test]
    fn the_multicast_hash_is_the_datasheets_example_of_offset_0() {
        // Address 01:aa:00:12:34:56 has bits 47:36 = 0x563 (table of 8.2.3.7.3: the last byte, then the high half of the one before).
        let hash = multicast_hash(MacAddr([0x01, 0xaa, 0x00, 0x12, 0x34, 0x56]));
        assert_eq!(hash, 0x563);
    }

    #[test]
    fn each_address_sets_one_bit_and_neighbours_share_registers() {
        let table = multicast_table(&[MacAddr([1, 0, 0x5e, 0, 0, 0x01]), MacAddr([0x33, 0x33, 0, 0, 0, 0x01]), MacAddr([1, 0, 0x5e, 0, 0xf0, 0xff])]);
        assert_eq!(table.len(), 128);
        // 0x010: register 0, bit 16, for both of the first; 0xfff: register 127, bit 31.
        assert_eq!((table[0], table[127]), (1 << 16, 1 << 31));
        assert_eq!(table.iter().map(|word| word.count_ones()).sum::<u32>(), 2);
    }
}
