//! Interrupts of a client: which eventfd is signalled for what.

use std::cell::Cell;
use std::io::IoSliceMut;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, ReadWriteFlags, preadv2};

use super::bell;
use super::proto::*;
use crate::model::{Legacy, Model};
use crate::slot::Slot;

/// Capabilities of PCI configuration space.
const CAPABILITIES: u16 = 0x34;
const INTERRUPT_PIN: u16 = 0x3d;
const CAPABILITY_MSI: u32 = 0x05;
const CAPABILITY_MSIX: u32 = 0x11;
/// Message Control of MSI, and of MSI-X.
const MSI_ENABLE: u32 = 1;
const MSIX_ENABLE: u32 = 1 << 15;

#[derive(Default)]
struct Vector {
    event: Option<OwnedFd>,
    masked: Cell<bool>,
    /// It fired while it was masked.
    pending: Cell<bool>,
}

/// A card's interrupts, as a client sees them.
#[derive(Default)]
pub(super) struct Irqs {
    types: [Vec<Vector>; IRQ_TYPES],
    /// Where Message Control of MSI and of MSI-X lie, and the bits that turn them on; `None`: there is no such capability.
    controls: [Option<(u16, u32)>; IRQ_TYPES],
    /// Interrupts are kept back: what they tell of is still on its way.
    held: Cell<bool>,
    /// Unmasks INTA# when the client, or KVM for it, signals it.
    unmask: Option<OwnedFd>,
}

/// The offset of a capability; 0: there is none.
fn capability(model: &mut dyn Model, slot: &Slot<'_>, id: u32) -> u16 {
    let mut at = model.config_read(slot, CAPABILITIES, 1) as u16 & 0xfc;
    // A list of at most as many as fit below 256, whatever the model says.
    for _ in 0..48 {
        if at == 0 || model.config_read(slot, at, 1) == id {
            return at;
        }
        at = model.config_read(slot, at + 1, 1) as u16 & 0xfc;
    }
    0
}

impl Irqs {
    /// Those of `model`, without a descriptor.
    pub(super) fn new(model: &mut dyn Model, slot: &Slot<'_>) -> Self {
        let pin = model.config_read(slot, INTERRUPT_PIN, 1);
        let msi_at = capability(model, slot, CAPABILITY_MSI);
        let msi = if msi_at == 0 { 0 } else { 1 << (model.config_read(slot, msi_at + 2, 2) >> 1 & 7).min(5) };
        let msix_at = capability(model, slot, CAPABILITY_MSIX);
        let msix = if msix_at == 0 { 0 } else { model.msix().count() };
        let control = |at: u16, enable: u32| (at != 0).then_some((at + 2, enable));
        // The models report no errors by interrupt, and never ask for the device back; clients want a place for both.
        let counts = [usize::from(pin != 0), msi, msix.into(), 1, 1];
        let controls = [None, control(msi_at, MSI_ENABLE), control(msix_at, MSIX_ENABLE), None, None];
        Self { types: counts.map(|count| (0..count).map(|_| Vector::default()).collect()), controls, held: Cell::new(false), unmask: None }
    }

    /// DEVICE_GET_IRQ_INFO.
    ///
    /// # Errors
    /// EINVAL: there is no such type, or the message is too short.
    pub(super) fn info(&self, request: IrqInfo) -> Result<IrqInfo, Errno> {
        let index = request.index.get() as usize;
        let vectors = self.types.get(index).ok_or(Errno::INVAL)?;
        if (request.argsz.get() as usize) < size_of::<IrqInfo>() {
            return Err(Errno::INVAL);
        }
        let flags = match index {
            _ if vectors.is_empty() => 0,
            INTX => IRQ_EVENTFD | IRQ_MASKABLE | IRQ_AUTOMASKED,
            _ => IRQ_EVENTFD,
        };
        let (argsz, count) = (size_of::<IrqInfo>() as u32, vectors.len() as u32);
        Ok(IrqInfo { argsz: argsz.into(), flags: flags.into(), index: request.index, count: count.into() })
    }

    /// DEVICE_SET_IRQS.
    ///
    /// # Errors
    /// EINVAL for what cannot be, EOPNOTSUPP where a descriptor would mask or unmask.
    pub(super) fn set(&mut self, model: &mut dyn Model, slot: &Slot<'_>, set: &IrqSet, data: &[u8], descriptors: Vec<OwnedFd>) -> Result<(), Errno> {
        // What was signalled before the command was sent comes before it.
        self.take_unmask();
        let (flags, index) = (set.flags.get(), set.index.get() as usize);
        let (kind, action) = (flags & (DATA_NONE | DATA_BOOL | DATA_EVENTFD), flags & (ACTION_MASK | ACTION_UNMASK | ACTION_TRIGGER));
        let vectors = self.types.get_mut(index).ok_or(Errno::INVAL)?;
        let (start, count) = (set.start.get() as usize, set.count.get() as usize);
        let range = start..start.checked_add(count).filter(|&end| end <= vectors.len()).ok_or(Errno::INVAL)?;
        let data_fits = data.len() == if kind == DATA_BOOL { count } else { 0 };
        let descriptors_fit = descriptors.is_empty() || kind == DATA_EVENTFD && descriptors.len() == count;
        if kind.count_ones() != 1
            || action.count_ones() != 1
            || flags != kind | action
            || (set.argsz.get() as usize) < size_of::<IrqSet>() + data.len()
            || !data_fits
            || !descriptors_fit
        {
            return Err(Errno::INVAL);
        }
        let chosen = |at: usize| kind == DATA_NONE || data.get(at - start).is_some_and(|&byte| byte != 0);
        match (action, kind) {
            (ACTION_TRIGGER, DATA_NONE | DATA_EVENTFD) if count == 0 => {
                vectors.fill_with(Vector::default);
                if index == INTX {
                    self.unmask = None;
                }
                self.enable_messages(model, slot, index, false);
            }
            (ACTION_TRIGGER, DATA_EVENTFD) => {
                if !descriptors.iter().all(is_eventfd) {
                    return Err(Errno::INVAL);
                }
                let mut events = descriptors.into_iter();
                // Without descriptors: these are not signalled any more.
                for vector in &mut vectors[range] {
                    vector.event = events.next();
                }
                self.enable_messages(model, slot, index, true);
            }
            (ACTION_TRIGGER, _) => range.filter(|&at| chosen(at)).for_each(|at| self.fire(index, at)),
            (ACTION_UNMASK, DATA_EVENTFD) if index == INTX => self.unmask = descriptors.into_iter().next().map(unmasking).transpose()?,
            (_, DATA_EVENTFD) if !descriptors.is_empty() => return Err(Errno::OPNOTSUPP),
            (_, DATA_EVENTFD) => {}
            _ => {
                for at in range.filter(|&at| chosen(at)) {
                    vectors[at].masked.set(action == ACTION_MASK);
                    if action == ACTION_UNMASK && !self.held.get() && vectors[at].pending.take() {
                        vectors[at].signal();
                    }
                }
            }
        }
        self.follow(model, slot);
        Ok(())
    }

    /// Unmasks INTA# where its descriptor was signalled. For an open line that means nothing and is forgotten: KVM signals at each end of interrupt of
    /// a line that several devices share.
    pub(super) fn take_unmask(&self) {
        let (Some(unmask), [line]) = (&self.unmask, &self.types[INTX][..]) else { return };
        if take(unmask) == Ok(8) && line.masked.replace(false) && !self.held.get() && line.pending.take() {
            line.signal();
        }
    }

    /// What [`Irqs::take_unmask`] waits for.
    pub(super) fn unmask(&self) -> Option<BorrowedFd<'_>> {
        self.unmask.as_ref().map(OwnedFd::as_fd)
    }

    /// An interrupt: the eventfd is signalled now, or when it is unmasked.
    pub(super) fn fire(&self, index: usize, at: usize) {
        let Some(vector) = self.types.get(index).and_then(|vectors| vectors.get(at)) else { return };
        if vector.masked.get() || self.held.get() {
            vector.pending.set(true);
        } else {
            vector.signal();
        }
    }

    /// Keeps interrupts back.
    pub(super) fn hold(&self) {
        self.held.set(true);
    }

    /// Signals those that were kept back. INTA# follows with the next [`Irqs::follow_legacy`].
    pub(super) fn release(&self) {
        if self.held.replace(false) {
            let open = self.types.iter().flatten().filter(|vector| !vector.masked.get());
            open.filter(|vector| vector.pending.take()).for_each(Vector::signal);
        }
    }

    /// Interrupts without MSI-X. INTA# is a level: it masks itself when it is signalled, and is signalled again when the client unmasks it and it is
    /// still asserted.
    pub(super) fn follow_legacy(&self, legacy: Legacy) {
        if legacy.msi {
            self.fire(MSI, 0);
        }
        let asserted = legacy.intx && !self.held.get();
        if let Some(vector) = self.types[INTX].first().filter(|vector| asserted && vector.event.is_some() && !vector.masked.get()) {
            vector.masked.set(true);
            vector.signal();
        }
    }

    /// Brings the model's table in line: entries with an eventfd are open, as an operating system would leave them. To be called after whatever may
    /// have changed the table.
    pub(super) fn follow(&self, model: &mut dyn Model, slot: &Slot<'_>) {
        for (at, vector) in self.types[MSIX].iter().enumerate() {
            model.msix().set_masked(slot, at as u16, vector.event.is_none() || vector.masked.get());
        }
    }

    /// Where Message Control lies of what the client gave descriptors for: MSI, MSI-X.
    pub(super) fn controls_in_use(&self) -> impl Iterator<Item = u16> {
        let in_use = |vectors: &[Vector]| vectors.iter().any(|vector| vector.event.is_some());
        self.types.iter().zip(self.controls).filter(move |(vectors, _)| in_use(vectors)).filter_map(|(_, control)| Some(control?.0))
    }

    /// Turns MSI or MSI-X on or off in configuration space, as the kernel does for a client of its own.
    fn enable_messages(&self, model: &mut dyn Model, slot: &Slot<'_>, index: usize, on: bool) {
        let Some((at, enable)) = self.controls[index] else { return };
        let control = model.config_read(slot, at, 2);
        model.config_write(slot, at, 2, if on { control | enable } else { control & !enable });
    }
}

impl Vector {
    fn signal(&self) {
        self.event.iter().for_each(bell::ring);
    }
}

/// Takes what an eventfd counted, if anything. It never waits, whoever else reads it and whatever the client makes of the descriptor's flags.
fn take(event: &OwnedFd) -> Result<usize, Errno> {
    // An offset of -1 is none: an eventfd has no place to read at.
    preadv2(event, &mut [IoSliceMut::new(&mut [0; 8])], u64::MAX, ReadWriteFlags::NOWAIT)
}

/// A descriptor that [`Irqs::take_unmask`] can take from. What it counted so far means nothing.
fn unmasking(descriptor: OwnedFd) -> Result<OwnedFd, Errno> {
    if !is_eventfd(&descriptor) {
        return Err(Errno::INVAL);
    }
    match take(&descriptor) {
        // Linux before 5.8 knows no such reads of eventfds: the client is to unmask by message.
        Err(Errno::OPNOTSUPP) => Err(Errno::OPNOTSUPP),
        _ => Ok(descriptor),
    }
}

/// Whether a descriptor is an eventfd: a write of 8 bytes to anything else might block, or do harm.
fn is_eventfd(descriptor: &OwnedFd) -> bool {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}", descriptor.as_fd().as_raw_fd());
    rustix::fs::readlink(path, Vec::new()).is_ok_and(|target| target.to_bytes().starts_with(b"anon_inode:[eventfd]"))
}
