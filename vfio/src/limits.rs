//! Which device addresses can be used.

/// What the IOMMU takes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The smallest page that it maps.
    pub page_bytes: u64,
    /// First and last address of the ranges that all functions of the domain can use. Empty in no-IOMMU mode.
    pub ranges: Vec<(u64, u64)>,
    /// How many more mappings the kernel allows, where it says so.
    pub mappings_left: Option<u64>,
}

impl Limits {
    /// From the bitmap of page sizes.
    pub(crate) fn from_page_sizes(bitmap: u64) -> Self {
        let page_bytes = if bitmap == 0 { 4096 } else { 1 << bitmap.trailing_zeros() };
        Self { page_bytes, ranges: Vec::new(), mappings_left: None }
    }
}

/// `ranges` (first and last address) without `holes`.
pub(crate) fn without(ranges: &[(u64, u64)], holes: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut rest = ranges.to_vec();
    for &(hole_first, hole_last) in holes {
        let cut = |(first, last): (u64, u64)| {
            let before = (first < hole_first).then(|| (first, last.min(hole_first - 1)));
            let after = (last > hole_last).then(|| (first.max(hole_last + 1), last));
            let pieces = if hole_last < first || last < hole_first { [Some((first, last)), None] } else { [before, after] };
            pieces.into_iter().flatten()
        };
        rest = rest.into_iter().flat_map(cut).collect();
    }
    rest
}
