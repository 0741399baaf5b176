//! Regions of a device's descriptor: what may be mapped, and reads and writes of what may not.

use std::io;
use std::ops::Range;

use vfio_bindings::bindings::vfio::*;

use crate::ioctl;
use crate::mapper::Device;

/// One region of a device: a BAR, the configuration space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Region {
    /// Length in bytes; 0 where the device has none.
    pub(crate) len: u64,
    /// Where it starts in the device's descriptor.
    pub(crate) offset: u64,
    /// The byte ranges that may be mapped, sorted, not touching.
    pub(crate) mappable: Vec<Range<u64>>,
}

impl Region {
    /// Asks the kernel. Index as in `VFIO_PCI_*_REGION_INDEX`.
    pub(crate) fn ask(device: &Device, index: u32) -> io::Result<Self> {
        let info = ioctl::region_info(device.fd(), index)?;
        let first = if info.head.flags & VFIO_REGION_INFO_FLAG_CAPS != 0 { info.head.cap_offset } else { 0 };
        let sparse = ioctl::capabilities(&info.bytes, first).find(|(id, _)| u32::from(*id) == VFIO_REGION_INFO_CAP_SPARSE_MMAP);
        let areas = sparse.map(|(_, capability)| ioctl::pairs(capability));
        let may_map = info.head.flags & VFIO_REGION_INFO_FLAG_MMAP != 0;
        Ok(Self { len: info.head.size, offset: info.head.offset, mappable: if may_map { mappable(info.head.size, areas) } else { Vec::new() } })
    }

    /// Takes a range out of what is mapped, in whole pages.
    pub(crate) fn exclude(&mut self, range: &Range<u64>) {
        let page = rustix::param::page_size() as u64;
        if range.is_empty() {
            return;
        }
        let (first, end) = (range.start / page * page, range.end.next_multiple_of(page));
        let inclusive: Vec<_> = self.mappable.iter().map(|area| (area.start, area.end - 1)).collect();
        self.mappable = crate::limits::without(&inclusive, &[(first, end - 1)]).into_iter().map(|(first, last)| first..last + 1).collect();
    }
}

/// The areas of a sparse region as ranges inside it; the whole where it is not sparse.
pub(crate) fn mappable(len: u64, areas: Option<Vec<(u64, u64)>>) -> Vec<Range<u64>> {
    let areas = areas.unwrap_or_else(|| vec![(0, len)]);
    let range = |(offset, size): (u64, u64)| offset.min(len)..offset.saturating_add(size).min(len);
    let mut ranges: Vec<_> = areas.into_iter().map(range).filter(|range| !range.is_empty()).collect();
    ranges.sort_by_key(|range| range.start);
    ranges
}

/// Reads `N` bytes of a device's descriptor.
pub(crate) fn read<const N: usize>(device: &Device, at: u64) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    match rustix::io::retry_on_intr(|| rustix::io::pread(device.fd(), &mut bytes, at))? {
        n if n == N => Ok(bytes),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Writes `N` bytes of a device's descriptor.
pub(crate) fn write<const N: usize>(device: &Device, at: u64, bytes: [u8; N]) -> io::Result<()> {
    match rustix::io::retry_on_intr(|| rustix::io::pwrite(device.fd(), &bytes, at))? {
        n if n == N => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "a list of one range is meant")]
mod tests {
    use super::*;

    #[test]
    fn sparse_areas_are_kept_inside_the_region() {
        assert_eq!(mappable(0x4000, None), [0..0x4000]);
        assert_eq!(mappable(0, None), []);
        assert_eq!(mappable(0x4000, Some(vec![(0x3000, 0x9000), (0, 0x1000), (0x8000, 0x1000)])), [0..0x1000, 0x3000..0x4000]);
        assert_eq!(mappable(0x4000, Some(vec![])), []);
    }

    #[test]
    fn the_page_of_a_vector_table_is_left_out() {
        let page = rustix::param::page_size() as u64;
        let mut region = Region { len: 8 * page, offset: 0, mappable: vec![0..8 * page] };
        region.exclude(&(2 * page + 0x80..2 * page + 0xc0));
        assert_eq!(region.mappable, [0..2 * page, 3 * page..8 * page]);
        region.exclude(&(0..page + 1));
        assert_eq!(region.mappable, [3 * page..8 * page]);
        region.exclude(&(5..5));
        assert_eq!(region.mappable, [3 * page..8 * page]);
    }
}
