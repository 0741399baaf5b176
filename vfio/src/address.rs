//! Where a PCI function sits.

use std::fmt;
use std::str::FromStr;

/// Domain, bus, device and function: `0000:01:00.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_structs, reason = "plain data: the four numbers that a PCI address has")]
pub struct PciAddress {
    /// Domain (segment). More than 16 bits occur behind Intel's VMD.
    pub domain: u32,
    /// Bus.
    pub bus: u8,
    /// Device on the bus, 0 to 31.
    pub device: u8,
    /// Function of the device, 0 to 7.
    pub function: u8,
}

/// The text is no PCI address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PciAddressError(String);

impl fmt::Display for PciAddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is no PCI address: write domain:bus:device.function in hexadecimal as lspci -D prints it, for example 0000:01:00.0", self.0)
    }
}
impl std::error::Error for PciAddressError {}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:02x}:{:02x}.{:x}", self.domain, self.bus, self.device, self.function)
    }
}

impl FromStr for PciAddress {
    type Err = PciAddressError;

    /// Reads `0000:01:00.0`, and `01:00.0` in domain 0.
    fn from_str(text: &str) -> Result<Self, PciAddressError> {
        parse(text).ok_or_else(|| PciAddressError(text.into()))
    }
}

fn parse(text: &str) -> Option<PciAddress> {
    let hex = |digits: &str, most: usize, limit: u32| {
        let plain = !digits.is_empty() && digits.len() <= most && digits.bytes().all(|b| b.is_ascii_hexdigit());
        plain.then(|| u32::from_str_radix(digits, 16).ok()).flatten().filter(|&value| value <= limit)
    };
    let (place, function) = text.split_once('.')?;
    let (bus, device) = place.rsplit_once(':')?;
    let (domain, bus) = bus.split_once(':').unwrap_or(("0", bus));
    Some(PciAddress {
        domain: hex(domain, 8, u32::MAX)?,
        bus: hex(bus, 2, 0xff)? as u8,
        device: hex(device, 2, 0x1f)? as u8,
        function: hex(function, 1, 7)? as u8,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written_as_lspci_does() {
        for (text, full) in [("0000:01:00.0", "0000:01:00.0"), ("af:1f.7", "0000:af:1f.7"), ("10000:e1:00.1", "10000:e1:00.1")] {
            assert_eq!(text.parse::<PciAddress>().unwrap().to_string(), full);
        }
        for wrong in ["", "eth0", "0000:01:00", "0000:01:20.0", "0000:01:00.8", "0000:001:00.0", "+1:00.0", "../x:00.0", "1:2:3:4.0", "01:00.0/x"] {
            assert!(wrong.parse::<PciAddress>().is_err(), "{wrong}");
        }
    }
}
