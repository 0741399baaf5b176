//! One client: its commands, and what it lent.

use std::cell::{Cell, RefCell};
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use serde_json::{Map, Value, json};
use zerocopy::IntoBytes;
use zerocopy::little_endian::U64;

use super::asking::{Asking, Layout, Terms, Unanswered};
use super::bus_error;
use super::card::Card;
use super::channel::{Channel, Closed, Message};
use super::irq::Irqs;
use super::memory::AddressSpace;
use super::proto::*;
use super::stopper::Stopper;

/// How many commands are served before the card moves on.
const COMMANDS_PER_TURN: usize = 64;

pub(super) struct Session {
    channel: RefCell<Channel>,
    space: AddressSpace,
    irqs: Irqs,
    /// `None` until VERSION has come.
    terms: Option<Cell<Terms>>,
    next_id: Cell<u16>,
    /// DMA writes that the client has not answered.
    posted: RefCell<Unanswered>,
    /// Bus errors that were looked at: [`bus_error::losses`].
    losses: u64,
}

/// What a reply carries behind its header.
type Reply = Result<Vec<u8>, Errno>;

impl Session {
    /// # Errors
    /// The socket cannot be used.
    pub(super) fn new(card: &mut Card, stream: UnixStream, stopper: Stopper) -> std::io::Result<Self> {
        let channel = RefCell::new(Channel::new(stream, stopper)?);
        let (space, irqs, losses) = (AddressSpace::default(), card.irqs(), bus_error::losses());
        Ok(Self { channel, space, irqs, terms: None, next_id: Cell::new(0), posted: RefCell::default(), losses })
    }

    /// Serves the commands that are there, a bounded number, and all that arrived during the last step. Returns whether there was one.
    ///
    /// The card moves when it is looked at: behind each read it makes a step, so that one who polls a register sees it change, however many reads wait
    /// already. Not before the read: its client waits for the reply, and may answer no DMA message meanwhile.
    pub(super) fn serve(&mut self, card: &mut Card) -> Result<bool, Closed> {
        self.irqs.take_unmask();
        let mut served = 0;
        while served < COMMANDS_PER_TURN || self.channel.get_mut().deferred() > 0 {
            let Some(message) = self.channel.get_mut().receive()? else { break };
            let looks = message.header.command.get() == command::REGION_READ;
            self.handle(card, message)?;
            served += 1;
            if looks {
                self.step(card)?;
            }
        }
        Ok(served > 0)
    }

    /// Moves the card, unless commands wait or it waits itself for answers to what it wrote.
    pub(super) fn step(&mut self, card: &mut Card) -> Result<bool, Closed> {
        if self.channel.get_mut().deferred() > 0 {
            return Ok(true);
        }
        let Some(terms) = &self.terms else { return Ok(card.step(None, &[], None)) };
        if self.posted.get_mut().wait() {
            return Ok(false);
        }
        self.irqs.release();
        let asking = Asking::new(&self.channel, &self.space, terms, &self.next_id, &self.posted, &self.irqs);
        let busy = card.step(Some(&self.irqs), self.space.windows(), Some(&asking));
        let again = asking.finish()?;
        self.check_memory()?;
        Ok(busy || again)
    }

    /// What the card found while a file's pages were gone were zeros of this process: the client is not served on.
    fn check_memory(&mut self) -> Result<(), Closed> {
        let losses = bus_error::losses();
        if std::mem::replace(&mut self.losses, losses) != losses && self.space.is_lost() {
            let what = "there is no memory in a file that it shares: it was made shorter, or its pages were not reserved and none are left";
            return Err(Closed::Protocol(what.into()));
        }
        Ok(())
    }

    /// Sleeps until there is something to do, or `stop` is readable.
    pub(super) fn sleep(&self, card: &mut Card, stop: std::os::fd::BorrowedFd<'_>) {
        let channel = self.channel.borrow();
        if channel.deferred() == 0 {
            let fds: Vec<_> = [channel.fd(), stop].into_iter().chain(self.irqs.unmask()).collect();
            card.sleep(&fds);
        }
    }

    fn handle(&mut self, card: &mut Card, mut message: Message) -> Result<(), Closed> {
        let header = message.header;
        match header.flags.get() & TYPE_MASK {
            TYPE_COMMAND => {}
            // To a write that was not waited for; or too late, to a read that will be made again.
            TYPE_REPLY if matches!(header.command.get(), command::DMA_READ | command::DMA_WRITE) => {
                self.posted.get_mut().answered(&header);
                return Ok(());
            }
            _ => return Err(Closed::Protocol(format!("a message of type {:#x} (command {})", header.flags, header.command))),
        }
        let reply = self.execute(card, &mut message);
        if let Err(errno) = &reply {
            log::debug!("vfio-user: command {} of {} bytes: {errno}", header.command, header.size);
        }
        if header.flags.get() & NO_REPLY == 0 {
            self.reply(&header, &reply)?;
        }
        match (header.command.get(), reply) {
            (command::VERSION, Err(_)) => Err(Closed::Protocol("no version of the protocol that both know".into())),
            _ if self.terms.is_none() => Err(Closed::Protocol(format!("command {} before the version was agreed on", header.command))),
            _ => Ok(()),
        }
    }

    fn reply(&mut self, to: &Header, reply: &Reply) -> Result<(), Closed> {
        let (flags, error) = match reply {
            Ok(_) => (TYPE_REPLY, 0),
            Err(errno) => (TYPE_REPLY | ERROR, errno.raw_os_error() as u32),
        };
        let header = Header { flags: flags.into(), error: error.into(), ..*to };
        self.channel.get_mut().send(header, &[reply.as_deref().unwrap_or_default()])
    }

    fn execute(&mut self, card: &mut Card, message: &mut Message) -> Reply {
        let (command, payload) = (message.header.command.get(), &message.payload[..]);
        if message.lost_descriptors || !message.takes_descriptors() && !message.descriptors.is_empty() {
            return Err(Errno::INVAL);
        }
        if self.terms.is_none() && command != command::VERSION {
            return Err(Errno::INVAL);
        }
        match command {
            command::VERSION => self.agree(payload),
            command::DMA_MAP => {
                self.space.map(&whole(payload).ok_or(Errno::INVAL)?, &message.descriptors)?;
                Ok(Vec::new())
            }
            command::DMA_UNMAP => {
                // The card does not move now: no access is under way.
                self.space.unmap(&whole(payload).ok_or(Errno::INVAL)?)?;
                Ok(payload.to_vec())
            }
            command::DEVICE_GET_INFO => device_info(payload),
            command::DEVICE_GET_REGION_INFO => region_info(card, payload),
            command::DEVICE_GET_IRQ_INFO => Ok(self.irqs.info(whole(payload).ok_or(Errno::INVAL)?)?.as_bytes().to_vec()),
            command::DEVICE_SET_IRQS => {
                let (set, data) = head(payload).ok_or(Errno::INVAL)?;
                card.set_irqs(&mut self.irqs, &set, data, std::mem::take(&mut message.descriptors))?;
                Ok(Vec::new())
            }
            command::REGION_READ => {
                let access: RegionAccess = whole(payload).ok_or(Errno::INVAL)?;
                let count = check_access(card, &access)?;
                let mut reply = payload.to_vec();
                let head = reply.len();
                reply.resize(head + count, 0);
                card.read(&self.irqs, access.region.get(), access.offset.get(), &mut reply[head..]);
                Ok(reply)
            }
            command::REGION_WRITE => {
                let (access, data): (RegionAccess, _) = head(payload).ok_or(Errno::INVAL)?;
                if check_access(card, &access)? != data.len() {
                    return Err(Errno::INVAL);
                }
                card.write(&self.irqs, access.region.get(), access.offset.get(), data);
                Ok(access.as_bytes().to_vec())
            }
            command::REGION_WRITE_MULTI => {
                let writes = many_writes(card, payload)?;
                for write in &writes {
                    let (access, count) = (&write.access, write.access.count.get() as usize);
                    card.write(&self.irqs, access.region.get(), access.offset.get(), &write.data[..count]);
                }
                Ok((writes.len() as u64).to_le_bytes().to_vec())
            }
            command::DEVICE_RESET if payload.is_empty() => {
                card.reset_for(&self.irqs);
                Ok(Vec::new())
            }
            command::DEVICE_RESET => Err(Errno::INVAL),
            command::DEVICE_GET_REGION_IO_FDS
            | command::DMA_READ
            | command::DMA_WRITE
            | command::DIRTY_PAGES
            | command::DEVICE_FEATURE..=command::MIG_DATA_WRITE => Err(Errno::OPNOTSUPP),
            _ => Err(Errno::NOSYS),
        }
    }

    /// VERSION.
    fn agree(&mut self, payload: &[u8]) -> Reply {
        let (version, data): (Version, _) = head(payload).ok_or(Errno::INVAL)?;
        if version.major.get() != 0 || self.terms.is_some() {
            return Err(Errno::INVAL);
        }
        let proposed = match data.split_last() {
            None => Map::new(),
            Some((0, text)) => match serde_json::from_slice(text) {
                Ok(Value::Object(mut data)) => match data.remove("capabilities") {
                    None => Map::new(),
                    Some(Value::Object(capabilities)) => capabilities,
                    Some(_) => return Err(Errno::INVAL),
                },
                _ => return Err(Errno::INVAL),
            },
            Some(_) => return Err(Errno::INVAL),
        };
        let max_data = match proposed.get("max_data_xfer_size") {
            None => MAX_DATA_BYTES,
            Some(bytes) => bytes.as_u64().filter(|&bytes| bytes > 0).ok_or(Errno::INVAL)?.min(MAX_DATA_BYTES as u64) as usize,
        };
        self.terms = Some(Cell::new(Terms { max_data, layout: Layout::unknown(version.minor.get()) }));
        let mut offered = Map::new();
        offered.insert("max_msg_fds".into(), MAX_DESCRIPTORS.into());
        offered.insert("max_data_xfer_size".into(), MAX_DATA_BYTES.into());
        let further = [("pgsizes", 4096.into()), ("max_dma_maps", MAX_DMA_MAPS.into()), ("write_multiple", true.into())];
        offered.extend(further.into_iter().filter(|(name, _)| proposed.contains_key(*name)).map(|(name, value): (_, Value)| (name.into(), value)));
        let version = Version { major: 0.into(), minor: version.minor.get().min(1).into() };
        let data = json!({ "capabilities": offered }).to_string();
        Ok([version.as_bytes(), data.as_bytes(), &[0]].concat())
    }
}

fn device_info(payload: &[u8]) -> Reply {
    let request: DeviceInfo = whole(payload).ok_or(Errno::INVAL)?;
    let argsz = size_of::<DeviceInfo>() as u32;
    if request.argsz.get() < argsz {
        return Err(Errno::INVAL);
    }
    let flags = DEVICE_RESETTABLE | DEVICE_PCI;
    let info = DeviceInfo { argsz: argsz.into(), flags: flags.into(), num_regions: REGIONS.into(), num_irqs: (IRQ_TYPES as u32).into() };
    Ok(info.as_bytes().to_vec())
}

fn region_info(card: &Card, payload: &[u8]) -> Reply {
    let request: RegionInfo = whole(payload).ok_or(Errno::INVAL)?;
    let argsz = size_of::<RegionInfo>() as u32;
    if request.argsz.get() < argsz || request.index.get() >= REGIONS {
        return Err(Errno::INVAL);
    }
    let size = card.region_bytes(request.index.get());
    let flags = if size > 0 { REGION_READABLE | REGION_WRITABLE } else { 0 };
    let info =
        RegionInfo { argsz: argsz.into(), flags: flags.into(), index: request.index, cap_offset: 0.into(), size: size.into(), offset: 0.into() };
    Ok(info.as_bytes().to_vec())
}

/// The writes of REGION_WRITE_MULTI, each of which can be made.
fn many_writes(card: &Card, payload: &[u8]) -> Result<Vec<OneWrite>, Errno> {
    let (count, mut rest): (U64, _) = head(payload).ok_or(Errno::INVAL)?;
    let mut writes = Vec::new();
    while !rest.is_empty() {
        let (write, behind): (OneWrite, _) = head(rest).ok_or(Errno::INVAL)?;
        if check_access(card, &write.access)? > write.data.len() {
            return Err(Errno::INVAL);
        }
        writes.push(write);
        rest = behind;
    }
    if count.get() == writes.len() as u64 { Ok(writes) } else { Err(Errno::INVAL) }
}

/// The length of an access that lies inside its region.
pub(super) fn check_access(card: &Card, access: &RegionAccess) -> Result<usize, Errno> {
    let (offset, count) = (access.offset.get(), access.count.get());
    let end = offset.checked_add(count.into()).ok_or(Errno::INVAL)?;
    if count == 0 || count as usize > MAX_DATA_BYTES || end > card.region_bytes(access.region.get()) {
        return Err(Errno::INVAL);
    }
    Ok(count as usize)
}
