//! Configuration space, through the kernel, which virtualises parts of it.

use std::ops::Range;
use std::sync::Arc;

use driver_core::host::{PciError, PciErrorKind};
use vfio_bindings::bindings::vfio::VFIO_PCI_CONFIG_REGION_INDEX;

use crate::mapper::Device;
use crate::region::{self, Region};

/// Command register and its bits (PCI Express Base Specification, 7.5.1.1.3).
pub(crate) const COMMAND: u16 = 0x04;
pub(crate) const COMMAND_MEMORY_SPACE: u16 = 1 << 1;
pub(crate) const COMMAND_BUS_MASTER: u16 = 1 << 2;

/// First base address register, and its bit that says I/O space (7.5.1.2.1).
pub(crate) const BASE_ADDRESS_0: u16 = 0x10;
pub(crate) const BASE_ADDRESS_IO: u32 = 1;

/// Capability ID of MSI-X (7.7.2).
pub(crate) const CAPABILITY_MSIX: u8 = 0x11;

/// The configuration space of one device.
#[derive(Debug)]
pub(crate) struct Config {
    device: Arc<Device>,
    region: Region,
}

impl Config {
    pub(crate) fn open(device: Arc<Device>) -> std::io::Result<Self> {
        let region = Region::ask(&device, VFIO_PCI_CONFIG_REGION_INDEX)?;
        Ok(Self { device, region })
    }

    fn error(&self, tried: &str, offset: u16, kind: PciErrorKind) -> PciError {
        PciError::new(&self.device.address().to_string(), &format!("{tried} configuration offset {offset:#x}"), kind)
    }

    fn check(&self, tried: &str, offset: u16, width: u8) -> Result<u64, PciError> {
        let kind = match width {
            1 | 2 | 4 if u64::from(offset) + u64::from(width) <= self.region.len => return Ok(self.region.offset + u64::from(offset)),
            1 | 2 | 4 => PciErrorKind::Argument("the offset is outside configuration space"),
            _ => PciErrorKind::Argument("a configuration access is 1, 2 or 4 bytes wide"),
        };
        Err(self.error(tried, offset, kind))
    }

    fn why(&self, tried: &str, offset: u16, error: &std::io::Error) -> PciError {
        let gone = matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENXIO | libc::EIO));
        self.error(tried, offset, if gone { PciErrorKind::Gone } else { PciErrorKind::Host(error.to_string()) })
    }

    pub(crate) fn read(&self, offset: u16, width: u8) -> Result<u32, PciError> {
        let at = self.check("reading", offset, width)?;
        let value = match width {
            1 => region::read(&self.device, at).map(|bytes: [u8; 1]| bytes[0].into()),
            2 => region::read(&self.device, at).map(|bytes| u16::from_le_bytes(bytes).into()),
            _ => region::read(&self.device, at).map(u32::from_le_bytes),
        };
        value.map_err(|error| self.why("reading", offset, &error))
    }

    pub(crate) fn write(&self, offset: u16, width: u8, value: u32) -> Result<(), PciError> {
        let at = self.check("writing", offset, width)?;
        let written = match width {
            1 => region::write(&self.device, at, (value as u8).to_le_bytes()),
            2 => region::write(&self.device, at, (value as u16).to_le_bytes()),
            _ => region::write(&self.device, at, value.to_le_bytes()),
        };
        written.map_err(|error| self.why("writing", offset, &error))
    }

    /// Sets or clears bits of the command register and leaves the others.
    pub(crate) fn command(&self, bits: u16, on: bool) -> Result<(), PciError> {
        let now = self.read(COMMAND, 2)? as u16;
        let then = if on { now | bits } else { now & !bits };
        if now == then { Ok(()) } else { self.write(COMMAND, 2, then.into()) }
    }
}

/// Where the MSI-X table lies: the BAR, and its bytes there. `capability`: the words at offsets 0 and 4 of the capability (7.7.2.2, 7.7.2.3).
pub(crate) fn msix_table(word0: u32, word4: u32) -> (u8, Range<u64>) {
    const ENTRY_BYTES: u64 = 16;
    let entries = u64::from(word0 >> 16 & 0x7ff) + 1;
    let start = u64::from(word4 & !7);
    ((word4 & 7) as u8, start..start + entries * ENTRY_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(content: &[u8]) -> Config {
        let path = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(path.path(), content).unwrap();
        let file = std::fs::File::options().read(true).write(true).open(path.path()).unwrap();
        let region = Region { len: content.len() as u64 - 16, offset: 16, mappable: Vec::new() };
        Config { device: Arc::new(Device::made_up(file.into(), "01:00.0".parse().unwrap())), region }
    }

    #[test]
    fn accesses_are_little_endian_and_stay_inside() {
        let mut bytes = vec![0xee; 16];
        bytes.extend([0x86, 0x80, 0xfb, 0x10, 0x07, 0x00, 0x10, 0x00]);
        let config = config(&bytes);
        assert_eq!(config.read(0, 4), Ok(0x10fb_8086));
        assert_eq!(config.read(2, 2), Ok(0x10fb));
        assert_eq!(config.read(7, 1), Ok(0));
        for (offset, width) in [(5, 4), (8, 1), (0, 3), (0, 0), (0xffff, 4)] {
            assert!(matches!(config.read(offset, width).unwrap_err().kind, PciErrorKind::Argument(_)), "{offset} {width}");
            assert!(config.write(offset, width, 0).is_err());
        }
        config.write(1, 1, 0x1234_5678).unwrap();
        assert_eq!(config.read(0, 4), Ok(0x10fb_7886));
    }

    #[test]
    fn bus_mastering_leaves_the_other_command_bits() {
        let mut bytes = vec![0; 16];
        bytes.extend([0, 0, 0, 0, 0x03, 0x04, 0, 0]);
        let config = config(&bytes);
        config.command(COMMAND_BUS_MASTER, true).unwrap();
        assert_eq!(config.read(COMMAND, 2), Ok(0x0407));
        config.command(COMMAND_BUS_MASTER, false).unwrap();
        assert_eq!(config.read(COMMAND, 2), Ok(0x0403));
    }

    #[test]
    fn the_vector_table_of_an_82599_is_found() {
        // 64 vectors in BAR 4 at its start, as that datasheet's 9.3.8 has them.
        assert_eq!(msix_table(63 << 16 | 0xa011, 4), (4, 0..1024));
        assert_eq!(msix_table(2 << 16 | 0x4011, 0x1 | 0x8000), (1, 0x8000..0x8030));
    }
}
