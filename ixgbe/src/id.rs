//! Which devices this driver drives, and what their families differ in.

use alloc::format;
use alloc::string::String;
use core::fmt;

use driver_core::device::LinkSpeeds;
use driver_core::host::PciId;

mod boards;

/// Intel.
pub const VENDOR: u16 = 0x8086;

/// The families that this driver knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Family {
    /// 82599: SFP+ or backplane.
    I82599,
    /// X540: 10GBASE-T with a PHY of its own.
    X540,
    /// X550: 10GBASE-T with a PHY of its own, also 2.5 and 5 Gbit/s.
    X550,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::I82599 => "82599",
            Self::X540 => "X540",
            Self::X550 => "X550",
        })
    }
}

/// What the MAC's lanes lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Media {
    /// An SFP+ or QSFP+ cage.
    Sfp,
    /// A backplane, or a cable or PHY that the EEPROM sets up (KX4, KR, CX4, XAUI).
    Backplane,
    /// A copper PHY behind MDIO.
    Copper,
    /// None: it is a virtual function, whose port is its physical function's.
    Shared,
}

/// One entry of the id table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Model {
    /// PCI device id.
    pub device: u16,
    /// Its family.
    pub family: Family,
    /// Its medium.
    pub media: Media,
    /// Its name.
    pub name: &'static str,
}

impl Model {
    /// Size of the receive packet buffer in KB (8.2.3.8.9; X540 datasheet, same section).
    pub const fn rx_packet_buffer_kb(&self) -> u32 {
        match self.family {
            Family::I82599 => 512,
            Family::X540 | Family::X550 => 384,
        }
    }

    /// The speeds that its PHY can be told to offer; nothing where it has none of its own.
    pub const fn link_speeds(&self) -> LinkSpeeds {
        match self.family {
            Family::I82599 => LinkSpeeds::empty(),
            Family::X540 => LinkSpeeds::M100.union(LinkSpeeds::G1).union(LinkSpeeds::G10),
            Family::X550 => LinkSpeeds::all(),
        }
    }

    /// What a function is, for a person: its chip, and the board that this is on where that is a known one.
    pub fn describe(&self, id: &PciId) -> String {
        boards::find(id).map_or_else(|| self.name.into(), |board| format!("{} ({board})", self.name))
    }

    /// The model that a function is, if this driver knows it.
    pub fn find(id: &PciId) -> Option<&'static Self> {
        (id.vendor == VENDOR).then(|| MODELS.iter().find(|model| model.device == id.device)).flatten()
    }
}

const fn model(device: u16, family: Family, media: Media, name: &'static str) -> Model {
    Model { device, family, media, name }
}

/// The id table.
pub const MODELS: &[Model] = &[
    model(0x10f7, Family::I82599, Media::Backplane, "Intel 82599 KX4"),
    model(0x10f8, Family::I82599, Media::Backplane, "Intel 82599 combined backplane"),
    model(0x10f9, Family::I82599, Media::Backplane, "Intel 82599 CX4"),
    model(0x10fb, Family::I82599, Media::Sfp, "Intel 82599ES SFI/SFP+"),
    model(0x10fc, Family::I82599, Media::Backplane, "Intel 82599 XAUI/BX4"),
    model(0x1507, Family::I82599, Media::Sfp, "Intel 82599 SFP+ (EM)"),
    model(0x1514, Family::I82599, Media::Backplane, "Intel 82599 KX4 mezzanine"),
    model(0x1517, Family::I82599, Media::Backplane, "Intel 82599 KR"),
    model(0x151c, Family::I82599, Media::Backplane, "Intel 82599 10GBASE-T"),
    model(0x1529, Family::I82599, Media::Sfp, "Intel 82599 SFP+ (FCoE)"),
    model(0x152a, Family::I82599, Media::Backplane, "Intel 82599 backplane (FCoE)"),
    model(0x154a, Family::I82599, Media::Sfp, "Intel 82599 SFP+ four ports"),
    model(0x154d, Family::I82599, Media::Sfp, "Intel X520 SFP+ two ports"),
    model(0x154f, Family::I82599, Media::Sfp, "Intel 82599 SFP+ (LS)"),
    model(0x1557, Family::I82599, Media::Sfp, "Intel 82599EN SFP+"),
    model(0x1558, Family::I82599, Media::Sfp, "Intel X520 QSFP+"),
    model(0x1528, Family::X540, Media::Copper, "Intel X540-AT2"),
    model(0x1560, Family::X540, Media::Copper, "Intel X540-AT1"),
    model(0x1563, Family::X550, Media::Copper, "Intel X550-AT2"),
    model(0x15d1, Family::X550, Media::Copper, "Intel X550-AT"),
];

/// Relatives that this driver does not drive, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Relative {
    /// Their PCI device ids.
    pub devices: &'static [u16],
    /// Their name.
    pub name: &'static str,
    /// Why they are not driven, and what to do.
    pub why: &'static str,
}

impl Relative {
    /// The relative that a function is, if it is one.
    pub fn find(id: &PciId) -> Option<&'static Self> {
        (id.vendor == VENDOR).then(|| RELATIVES.iter().find(|relative| relative.devices.contains(&id.device))).flatten()
    }
}

/// All of them.
pub const RELATIVES: &[Relative] = &[
    Relative {
        devices: &[0x10b6, 0x10c6, 0x10c7, 0x10c8, 0x10db, 0x10dd, 0x10e1, 0x10ec, 0x10f1, 0x10f4, 0x150b, 0x1508],
        name: "Intel 82598",
        why: "its registers and descriptors are those of an older family: use the kernel's ixgbe",
    },
    Relative {
        devices: &[0x15aa, 0x15ab, 0x15ac, 0x15ad, 0x15ae, 0x15b0],
        name: "Intel X552",
        why: "its PHY and its modules are reached through the system on its chip, whose buses this driver does not speak: use the kernel's ixgbe",
    },
    Relative {
        devices: &[0x15c2, 0x15c3, 0x15c4, 0x15c6, 0x15c7, 0x15c8, 0x15ca, 0x15cc, 0x15ce, 0x15e4, 0x15e5],
        name: "Intel X553",
        why: "its PHY is its firmware's, whose commands for links this driver does not speak: use the kernel's ixgbe",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn id(vendor: u16, device: u16) -> PciId {
        PciId { vendor, device, revision: 1, class: 0x02_00_00, subsystem_vendor: 0, subsystem: 0 }
    }

    #[test]
    fn each_family_is_found_by_its_id() {
        assert_eq!(Model::find(&id(VENDOR, 0x10fb)).map(|m| (m.family, m.media)), Some((Family::I82599, Media::Sfp)));
        assert_eq!(Model::find(&id(VENDOR, 0x1528)).map(|m| m.family), Some(Family::X540));
        assert_eq!(Model::find(&id(VENDOR, 0x1563)).map(|m| m.family), Some(Family::X550));
    }

    #[test]
    fn virtual_functions_and_other_vendors_are_not() {
        assert_eq!(Model::find(&id(VENDOR, 0x10ed)), None);
        assert_eq!(Model::find(&id(0x1af4, 0x10fb)), None);
    }

    #[test]
    fn relatives_are_known_and_not_driven() {
        for relative in RELATIVES {
            for &device in relative.devices {
                assert_eq!(Relative::find(&id(VENDOR, device)), Some(relative), "{device:04x}");
                assert_eq!(Model::find(&id(VENDOR, device)), None, "{device:04x}");
            }
        }
        assert_eq!(Relative::find(&id(VENDOR, 0x10fb)), None);
    }

    #[test]
    fn no_id_is_listed_twice() {
        for (at, model) in MODELS.iter().enumerate() {
            assert!(MODELS[at + 1..].iter().all(|other| other.device != model.device), "{:04x}", model.device);
        }
    }
}
