//! How a person names a PCI function.

use vfio::{PciAddress, Way};

use super::hints::unknown_option;

/// The options of a PCI function: key, the value's form, and what it does.
pub const PCI_OPTIONS: &[(&str, &str, &str)] =
    &[("way", "iommufd|group|noiommu", "how VFIO is reached; the best there is where it is not said, and noiommu only where it is")];

/// A PCI function and how it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PciSpec {
    /// Where it is.
    pub address: PciAddress,
    /// How VFIO is reached; `None`: the best way there is.
    pub way: Option<Way>,
}

impl PciSpec {
    pub(super) fn parse(spec: &str) -> Result<Self, String> {
        let (address, options) = spec.split_once(',').unwrap_or((spec, ""));
        // The error shows the spec itself.
        let wrong = |_| "no PCI address: write domain:bus:device.function in hexadecimal as lspci -D prints it, for example 0000:01:00.0".to_owned();
        let mut spec = Self { address: address.parse().map_err(wrong)?, way: None };
        for option in options.split(',').filter(|option| !option.is_empty()) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            let Some((_, form, _)) = PCI_OPTIONS.iter().find(|(known, ..)| *known == key) else { return Err(unknown_option(key, PCI_OPTIONS)) };
            if spec.way.is_some() {
                return Err(format!("{key} is given twice: give it once"));
            }
            match value {
                "" => return Err(format!("{key}: the value is missing: {key}={form}")),
                value => spec.way = Some(value.parse().map_err(|_| format!("{key}={value}: no such {key}; give {key}={form}"))?),
            }
        }
        Ok(spec)
    }
}
