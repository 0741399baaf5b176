//! The commands of the protocol as functions of a connection.

use std::os::fd::{BorrowedFd, OwnedFd};

use vfio_bindings::bindings::vfio::*;
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U32, U64};

use super::cause::ServerCause;
use super::connection::Connection;
use super::memory::Memory;
use super::wire::{Command, DMA_READ_WRITE, DeviceInfo, DmaMap, DmaUnmap, IrqInfo, IrqSet, RegionAccess, RegionInfo};
use crate::ioctl;
use crate::region::{Region, mappable};

/// No list of capabilities is anywhere near this long.
const LARGEST_REGION_INFO_BYTES: u32 = 1 << 16;

/// Interrupts of a kind.
pub(super) struct Irqs {
    pub(super) count: u32,
    /// They are masked and unmasked by command.
    pub(super) is_maskable: bool,
}

fn size<T>() -> U32 {
    U32::new(size_of::<T>() as u32)
}

impl Connection {
    /// Whether the server takes so many mappings more. One that is gone is found so when it is asked.
    pub(super) fn check_room(&self, mappings: u64) -> Result<(), ServerCause> {
        let needed = self.mapped() + mappings;
        match self.capabilities().max_dma_maps {
            Some(limit) if needed > limit && !self.is_lost() => Err(ServerCause::MapLimit { server: self.name().into(), limit, needed }),
            _ => Ok(()),
        }
    }

    /// Lets the server reach memory.
    pub(super) fn dma_map(&self, iova: u64, memory: &Memory) -> Result<(), ServerCause> {
        self.check_room(1)?;
        let (addr, len) = (U64::new(iova), U64::new(memory.len() as u64));
        let body = DmaMap { argsz: size::<DmaMap>(), flags: U32::new(DMA_READ_WRITE), offset: U64::new(0), addr, size: len };
        match self.call(Command::DmaMap, body.as_bytes(), &[memory.fd()]) {
            Ok(_) => {
                self.count_mapped(1);
                Ok(())
            }
            Err(ServerCause::Refused { errno, .. }) => Err(ServerCause::MapRefused { server: self.name().into(), mapped: self.mapped(), errno }),
            Err(cause) => Err(cause),
        }
    }

    /// Takes memory from the server. Its reply comes when it uses it no more.
    pub(super) fn dma_unmap(&self, iova: u64, len: u64) -> Result<(), ServerCause> {
        let body = DmaUnmap { argsz: size::<DmaUnmap>(), flags: U32::new(0), addr: U64::new(iova), size: U64::new(len) };
        self.call(Command::DmaUnmap, body.as_bytes(), &[])?;
        self.count_mapped(-1);
        Ok(())
    }

    pub(super) fn device_info(&self) -> Result<DeviceInfo, ServerCause> {
        let body = DeviceInfo { argsz: size::<DeviceInfo>(), ..DeviceInfo::default() };
        Ok(self.call(Command::DeviceGetInfo, body.as_bytes(), &[])?.read(Command::DeviceGetInfo)?.0)
    }

    /// A region, and its descriptor where it can be mapped.
    pub(super) fn region(&self, index: u32) -> Result<(Region, Option<OwnedFd>), ServerCause> {
        // Room for some sparse areas at once: most servers need not be asked twice.
        let mut room = 1024;
        loop {
            let body = RegionInfo { argsz: U32::new(room), index: U32::new(index), ..RegionInfo::default() };
            let reply = self.call(Command::DeviceGetRegionInfo, body.as_bytes(), &[])?;
            let (info, _) = reply.read::<RegionInfo>(Command::DeviceGetRegionInfo)?;
            if info.argsz.get() > room && room < LARGEST_REGION_INFO_BYTES {
                room = info.argsz.get().min(LARGEST_REGION_INFO_BYTES);
                continue;
            }
            let (flags, len) = (info.flags.get(), info.size.get());
            let first = if flags & VFIO_REGION_INFO_FLAG_CAPS != 0 { info.cap_offset.get() } else { 0 };
            let sparse = ioctl::capabilities(&reply.body, first).find(|(id, _)| u32::from(*id) == VFIO_REGION_INFO_CAP_SPARSE_MMAP);
            let areas = sparse.map(|(_, capability)| ioctl::pairs(capability));
            let fd = reply.fds.into_iter().next().filter(|_| flags & VFIO_REGION_INFO_FLAG_MMAP != 0);
            let mappable = if fd.is_some() { mappable(len, areas) } else { Vec::new() };
            return Ok((Region { len, offset: info.offset.get(), mappable }, fd));
        }
    }

    /// What interrupts of a kind there are.
    pub(super) fn irq_info(&self, index: u32) -> Result<Irqs, ServerCause> {
        let body = IrqInfo { argsz: size::<IrqInfo>(), index: U32::new(index), ..IrqInfo::default() };
        let reply = self.call(Command::DeviceGetIrqInfo, body.as_bytes(), &[])?;
        let (info, _) = reply.read::<IrqInfo>(Command::DeviceGetIrqInfo)?;
        Ok(Irqs { count: info.count.get(), is_maskable: info.flags.get() & VFIO_IRQ_INFO_MASKABLE != 0 })
    }

    /// Opens the first vectors of an interrupt.
    pub(super) fn unmask_irqs(&self, index: u32, count: u32) -> Result<(), ServerCause> {
        let flags = U32::new(VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK);
        let body = IrqSet { argsz: size::<IrqSet>(), flags, index: U32::new(index), start: U32::new(0), count: U32::new(count) };
        self.call(Command::DeviceSetIrqs, body.as_bytes(), &[]).map(drop)
    }

    /// Vectors 0 and on of an interrupt trigger these event descriptors. None: the interrupt is turned off, as it is where not all could be set.
    pub(super) fn set_irqs(&self, index: u32, eventfds: &[BorrowedFd<'_>]) -> Result<(), ServerCause> {
        let set = |data: u32, start: usize, fds: &[BorrowedFd<'_>]| {
            let flags = U32::new(data | VFIO_IRQ_SET_ACTION_TRIGGER);
            let (start, count) = (U32::new(start as u32), U32::new(fds.len() as u32));
            let body = IrqSet { argsz: size::<IrqSet>(), flags, index: U32::new(index), start, count };
            self.call(Command::DeviceSetIrqs, body.as_bytes(), fds).map(drop)
        };
        if eventfds.is_empty() {
            return set(VFIO_IRQ_SET_DATA_NONE, 0, &[]);
        }
        let at_once = self.capabilities().max_msg_fds;
        for (i, fds) in eventfds.chunks(at_once).enumerate() {
            if let Err(cause) = set(VFIO_IRQ_SET_DATA_EVENTFD, i * at_once, fds) {
                if i > 0
                    && let Err(cause) = set(VFIO_IRQ_SET_DATA_NONE, 0, &[])
                {
                    log::warn!("{}: the vectors below {} of interrupt {index} stay on: {cause}", self.name(), i * at_once);
                }
                return Err(cause);
            }
        }
        Ok(())
    }

    pub(super) fn reset(&self) -> Result<(), ServerCause> {
        self.call(Command::DeviceReset, &[], &[]).map(drop)
    }

    /// Reads `N` bytes of a region.
    pub(crate) fn region_read<const N: usize>(&self, index: u32, at: u64) -> Result<[u8; N], ServerCause> {
        let body = RegionAccess { offset: U64::new(at), region: U32::new(index), count: U32::new(N as u32) };
        let reply = self.call(Command::RegionRead, body.as_bytes(), &[])?;
        let (access, data) = reply.read::<RegionAccess>(Command::RegionRead)?;
        let data = if access.count.get() as usize == N { data.first_chunk() } else { None };
        // A read that is answered in part is refused: what is missing would be made up.
        data.copied().ok_or(ServerCause::Refused { command: Command::RegionRead.name(), errno: 0 })
    }

    /// Sets and clears bits of a 16-bit configuration register and leaves the others.
    pub(super) fn change(&self, offset: u16, set: u16, clear: u16) -> Result<(), ServerCause> {
        let (index, at) = (VFIO_PCI_CONFIG_REGION_INDEX, offset.into());
        let now = u16::from_le_bytes(self.region_read(index, at)?);
        let then = now & !clear | set;
        if now == then { Ok(()) } else { self.region_write(index, at, &then.to_le_bytes()) }
    }

    /// Writes up to eight bytes of a region and waits until the server took them.
    pub(super) fn region_write(&self, index: u32, at: u64, bytes: &[u8]) -> Result<(), ServerCause> {
        let (message, len) = write(index, at, bytes);
        self.call(Command::RegionWrite, &message[..len], &[]).map(drop)
    }

    /// Writes up to eight bytes of a region without waiting.
    pub(crate) fn region_post(&self, index: u32, at: u64, bytes: &[u8]) -> Result<(), ServerCause> {
        let (message, len) = write(index, at, bytes);
        self.post(Command::RegionWrite, &message[..len])
    }
}

/// The body of a write of up to eight bytes, and its length.
fn write(index: u32, at: u64, bytes: &[u8]) -> ([u8; 24], usize) {
    const HEAD: usize = size_of::<RegionAccess>();
    let mut message = [0; HEAD + 8];
    let bytes = &bytes[..bytes.len().min(8)];
    let head = RegionAccess { offset: U64::new(at), region: U32::new(index), count: U32::new(bytes.len() as u32) };
    message[..HEAD].copy_from_slice(head.as_bytes());
    message[HEAD..HEAD + bytes.len()].copy_from_slice(bytes);
    (message, HEAD + bytes.len())
}
