//! The boards that chips sit on, by subsystem: Intel's own and other makers', as the public list of PCI ids has them. They differ in nothing that a driver sees.

use driver_core::host::PciId;

/// One board.
struct Board {
    device: u16,
    vendor: u16,
    subsystem: u16,
    name: &'static str,
}

const fn board(device: u16, vendor: u16, subsystem: u16, name: &'static str) -> Board {
    Board { device, vendor, subsystem, name }
}

/// The name of the board that a function is on, where it is a known one.
pub(super) fn find(id: &PciId) -> Option<&'static str> {
    BOARDS
        .iter()
        .find(|board| (board.device, board.vendor, board.subsystem) == (id.device, id.subsystem_vendor, id.subsystem))
        .map(|board| board.name)
}

const BOARDS: &[Board] = &[
    board(0x10f7, 0x108e, 0x7b12, "Oracle Dual 10GbE PCIe 2.0 FEM"),
    board(0x10f7, 0x8086, 0x000d, "Intel Ethernet Mezzanine Adapter X520-KX4-2"),
    board(0x10f8, 0x1028, 0x1f63, "Dell 10GbE 2P X520k bNDC"),
    board(0x10f8, 0x103c, 0x17d2, "HP Ethernet 10Gb 2-port 560M Adapter"),
    board(0x10f8, 0x103c, 0x18d0, "HP Ethernet 10Gb 2-port 560FLB Adapter"),
    board(0x10f8, 0x1059, 0x0111, "Kontron T4007 10GbE interface"),
    board(0x10f8, 0x1059, 0x0130, "Kontron T4009 10GbE interface"),
    board(0x10f8, 0x8086, 0x000c, "Intel Ethernet X520 10GbE Dual Port KX4-KR Mezz"),
    board(0x10fb, 0x1028, 0x1f72, "Dell Ethernet 10G 4P X520/I350 rNDC"),
    board(0x10fb, 0x103c, 0x17d0, "HP Ethernet 10Gb 2-port 560FLR-SFP+ Adapter"),
    board(0x10fb, 0x103c, 0x17d2, "HP Ethernet 10Gb 2-port 560M Adapter"),
    board(0x10fb, 0x103c, 0x17d3, "HP Ethernet 10Gb 2-port 560SFP+ Adapter"),
    board(0x10fb, 0x103c, 0x211b, "HP Ethernet 10Gb 1-port P560FLR-SFP+ Adapter"),
    board(0x10fb, 0x103c, 0x2147, "HP Ethernet 10Gb 1-port 561i Adapter"),
    board(0x10fb, 0x103c, 0x2159, "HP Ethernet 10Gb 2-port 562i Adapter"),
    board(0x10fb, 0x108e, 0x7b11, "Oracle Ethernet Server Adapter X520-2"),
    board(0x10fb, 0x1170, 0x004c, "Inventec 82599 DP 10G Mezzanine Adapter"),
    board(0x10fb, 0x1374, 0x1a08, "Silicom PE310G4SPI9/PE310G4SPI9L/PE310G4SPI9LA Quad Port Fiber 10 Gigabit Ethernet PCI Express Server Adapter"),
    board(0x10fb, 0x15d9, 0x0611, "Supermicro AOC-STGN-i2S"),
    board(0x10fb, 0x1734, 0x11a9, "Fujitsu board"),
    board(0x10fb, 0x17aa, 0x1071, "Lenovo ThinkServer X520-2 AnyFabric"),
    board(0x10fb, 0x17aa, 0x4007, "Lenovo board"),
    board(0x10fb, 0x17aa, 0x402b, "Lenovo 82599ES 10Gb 2-port Server Adapter X520-DA2"),
    board(0x10fb, 0x17aa, 0x402f, "Lenovo FPGA Card XC7VX690T-3FFG1157E"),
    board(0x10fb, 0x18d4, 0x0c09, "Celestica 82599ES 10Gb 2-port SFP+ OCP Mezz Card MOP81-I-10GS2"),
    board(0x10fb, 0x193d, 0x1004, "H3C 560F-B"),
    board(0x10fb, 0x1bd4, 0x001b, "Inspur 10G SFP+ DP ER102Fi4 Rack Adapter"),
    board(0x10fb, 0x1bd4, 0x002f, "Inspur 10G SFP+ DP EP102Fi4A Adapter"),
    board(0x10fb, 0x1bd4, 0x0032, "Inspur 10G SFP+ DP EP102Fi4 Adapter"),
    board(0x10fb, 0x1bd4, 0x0067, "Inspur F102I82599"),
    board(0x10fb, 0x8086, 0x0002, "Intel Ethernet Server Adapter X520-DA2"),
    board(0x10fb, 0x8086, 0x0003, "Intel Ethernet Server Adapter X520-2"),
    board(0x10fb, 0x8086, 0x0006, "Intel Ethernet Server Adapter X520-1"),
    board(0x10fb, 0x8086, 0x0008, "Intel Ethernet OCP Server Adapter X520-2"),
    board(0x10fb, 0x8086, 0x000a, "Intel Ethernet Server Adapter X520-1"),
    board(0x10fb, 0x8086, 0x000c, "Intel Ethernet Server Adapter X520-2"),
    board(0x10fb, 0x8086, 0x10a6, "Intel 82599ES 10Gb 2 port Server Adapter X520-DA2"),
    board(0x10fb, 0x8086, 0x7a11, "Intel Ethernet Server Adapter X520-2"),
    board(0x10fb, 0x8086, 0x7a12, "Intel Ethernet Server Adapter X520-2"),
    board(0x1514, 0x8086, 0x000b, "Intel Ethernet X520 10GbE Dual Port KX4 Mezz"),
    board(0x1517, 0x1137, 0x006a, "Cisco UCS CNA M61KR-I Intel Converged Network Adapter"),
    board(0x151c, 0x108e, 0x7b13, "Oracle Dual 10GBASE-T LP"),
    board(0x1528, 0x1028, 0x1f61, "Dell Ethernet 10G 4P X540/I350 rNDC"),
    board(0x1528, 0x103c, 0x192d, "HP 561FLR-T 2-port 10Gb Ethernet Adapter"),
    board(0x1528, 0x103c, 0x2004, "HP Ethernet 10Gb 2-port 561i Adapter"),
    board(0x1528, 0x103c, 0x211a, "HP Ethernet 10Gb 2-port 561T Adapter"),
    board(0x1528, 0x108e, 0x4853, "Oracle board"),
    board(0x1528, 0x108e, 0x7b14, "Oracle Dual Port 10 GbE PCIe 2.0 ExpressModule, Base-T"),
    board(0x1528, 0x108e, 0x7b15, "Oracle Dual Port 10 GbE PCIe 2.0 Low Profile Adapter, Base-T"),
    board(0x1528, 0x1137, 0x00bf, "Cisco Ethernet Converged Network Adapter X540-T2"),
    board(0x1528, 0x1170, 0x0052, "Inventec board"),
    board(0x1528, 0x15d9, 0x0734, "Supermicro AOC-STG-I2T"),
    board(0x1528, 0x17aa, 0x1073, "Lenovo ThinkServer X540-T2 AnyFabric"),
    board(0x1528, 0x17aa, 0x4006, "Lenovo board"),
    board(0x1528, 0x1bd4, 0x001a, "Inspur 10G base-T DP ER102Ti3 Rack Adapter"),
    board(0x1528, 0x1bd4, 0x0033, "Inspur 10G base-T DP EP102Ti3 Adapter"),
    board(0x1528, 0x1bd4, 0x0034, "Inspur 10G base-T DP EP102Ti3A Adapter"),
    board(0x1528, 0x8086, 0x0001, "Intel Ethernet Converged Network Adapter X540-T2"),
    board(0x1528, 0x8086, 0x0002, "Intel Ethernet Converged Network Adapter X540-T1"),
    board(0x1528, 0x8086, 0x001a, "Intel Ethernet Converged Network Adapter X540-T2"),
    board(0x1528, 0x8086, 0x00a2, "Intel Ethernet Converged Network Adapter X540-T1"),
    board(0x1528, 0x8086, 0x1f61, "Intel Ethernet 10G 4P X540/I350 rNDC"),
    board(0x1528, 0x8086, 0x5003, "Intel Ethernet 10G 2P X540-t Adapter"),
    board(0x1528, 0x8086, 0x5004, "Intel Ethernet 10G 2P X540-t Adapter"),
    board(0x154a, 0x8086, 0x011a, "Intel Ethernet Converged Network Adapter X520-4"),
    board(0x154a, 0x8086, 0x011b, "Intel Ethernet Converged Network Adapter X520-4"),
    board(0x154a, 0x8086, 0x011c, "Intel Ethernet Converged Network Adapter X520-4"),
    board(0x154d, 0x8086, 0x7b11, "Intel 10GbE 2P X520 Adapter"),
    board(0x1557, 0x17aa, 0x4008, "Lenovo board"),
    board(0x1557, 0x1bd4, 0x001c, "Inspur 10G SFP+ SP ER101Fi4 Rack Adapter"),
    board(0x1557, 0x1bd4, 0x0030, "Inspur 10G SFP+ SP EP101Fi4A Adapter"),
    board(0x1557, 0x8086, 0x0001, "Intel Ethernet OCP Server Adapter X520-1"),
    board(0x1558, 0x8086, 0x011a, "Intel Ethernet Converged Network Adapter X520-Q1"),
    board(0x1558, 0x8086, 0x011b, "Intel Ethernet Converged Network Adapter X520-Q1"),
    board(0x1563, 0x1028, 0x1fa8, "Dell Ethernet 10G 4P X550/I350 rNDC"),
    board(0x1563, 0x1028, 0x1fa9, "Dell Ethernet 10G 4P X550 rNDC"),
    board(0x1563, 0x1137, 0x02b2, "Cisco X550-TX 10 Gig LOM"),
    board(0x1563, 0x1137, 0x02b3, "Cisco X550-TX 10 Gig LOM"),
    board(0x1563, 0x1170, 0x0001, "Inventec Ethernet Controller X550-T2 OCP card"),
    board(0x1563, 0x14c0, 0x1201, "Compal X550 10Gb 2P RJ45 OCP Mezz"),
    board(0x1563, 0x1590, 0x00d1, "HPE Ethernet 10Gb 2-port 562T Adapter"),
    board(0x1563, 0x1590, 0x00d2, "HPE Ethernet 10Gb 2-port 562FLR-T Adapter"),
    board(0x1563, 0x16b8, 0x7217, "Sonnet Twin10G Thunderbolt 3 Edition"),
    board(0x1563, 0x18d4, 0x0c08, "Celestica X550 10Gb 2-port RJ45 OCP Mezz Card MOP81-I-10GT2"),
    board(0x1563, 0x193d, 0x1008, "H3C 560T-B"),
    board(0x1563, 0x193d, 0x1009, "H3C 560T-L"),
    board(0x1563, 0x193d, 0x1011, "H3C UN-NIC-ETH563T-sL-2P"),
    board(0x1563, 0x8086, 0x0001, "Intel Ethernet Converged Network Adapter X550-T2"),
    board(0x1563, 0x8086, 0x001a, "Intel Ethernet Converged Network Adapter X550-T2"),
    board(0x1563, 0x8086, 0x001b, "Intel Ethernet Server Adapter X550-T2 for OCP"),
    board(0x1563, 0x8086, 0x001d, "Intel Ethernet 10G 2P X550-t Adapter"),
    board(0x1563, 0x8086, 0x0022, "Intel Ethernet Converged Network Adapter X550-T2"),
    board(0x15d1, 0x8086, 0x0002, "Intel Ethernet Converged Network Adapter X550-T1"),
    board(0x15d1, 0x8086, 0x001b, "Intel Ethernet Server Adapter X550-T1 for OCP"),
    board(0x15d1, 0x8086, 0x0021, "Intel Ethernet Converged Network Adapter X550-T1"),
    board(0x15d1, 0x8086, 0x00a2, "Intel Ethernet Converged Network Adapter X550-T1"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{MODELS, VENDOR};

    #[test]
    fn boards_are_listed_once_and_are_of_chips_that_are_driven() {
        for (at, board) in BOARDS.iter().enumerate() {
            let same = |other: &Board| (other.device, other.vendor, other.subsystem) == (board.device, board.vendor, board.subsystem);
            assert!(!BOARDS[at + 1..].iter().any(same), "{}", board.name);
            assert!(MODELS.iter().any(|model| model.device == board.device), "{:04x}", board.device);
        }
    }

    #[test]
    fn a_board_is_found_by_its_chip_and_its_maker() {
        let id = |subsystem_vendor, subsystem| PciId { vendor: VENDOR, device: 0x10fb, revision: 1, class: 0x02_0000, subsystem_vendor, subsystem };
        assert_eq!(find(&id(0x8086, 0x0003)), Some("Intel Ethernet Server Adapter X520-2"));
        assert_eq!(find(&id(0x15d9, 0x0611)), Some("Supermicro AOC-STGN-i2S"));
        assert_eq!(find(&id(0x1234, 0x0003)), None);
    }
}
