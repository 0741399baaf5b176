//! The ways in.

use std::fmt;
use std::str::FromStr;

/// How VFIO is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Way {
    /// The device node `/dev/vfio/devices/vfioN` with `/dev/iommu`. Linux 6.6 and later, where it was built in.
    Iommufd,
    /// The group `/dev/vfio/N` with a type1v2 container.
    Group,
    /// The group `/dev/vfio/noiommu-N`: the device sees physical addresses and may overwrite any memory of the machine. Never chosen unasked.
    NoIommu,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Iommufd => "iommufd",
            Self::Group => "group",
            Self::NoIommu => "noiommu",
        })
    }
}

impl FromStr for Way {
    type Err = WayError;

    fn from_str(text: &str) -> Result<Self, WayError> {
        let ways = [Self::Iommufd, Self::Group, Self::NoIommu];
        ways.into_iter().find(|way| way.to_string() == text).ok_or_else(|| WayError(text.into()))
    }
}

/// A text that names no [`Way`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WayError(String);

impl fmt::Display for WayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is no way to reach VFIO: write iommufd, group or noiommu", self.0)
    }
}

impl std::error::Error for WayError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_have_names() {
        for way in [Way::Iommufd, Way::Group, Way::NoIommu] {
            assert_eq!(way.to_string().parse(), Ok(way));
        }
        assert!("vfio".parse::<Way>().unwrap_err().to_string().contains("iommufd, group or noiommu"));
    }
}
