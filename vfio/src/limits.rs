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

/// What starting `functions` functions locks at most, in bytes, where the largest region of one of them, its buffers, has `largest_bytes`: beside it come the
/// rings and small areas of the device, which take less than an eighth of the buffers and 1 MiB with the drivers of this family.
///
/// So the first mapping that fails for the limit on locked memory tells what all that are still to come will need.
pub const fn start_bytes(largest_bytes: u64, functions: u64) -> u64 {
    const SMALL_AREAS_BYTES: u64 = 1 << 20;
    let one = largest_bytes.saturating_add(largest_bytes / 8 + SMALL_AREAS_BYTES);
    one.saturating_mul(if functions == 0 { 1 } else { functions })
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
