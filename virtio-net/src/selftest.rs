//! What of a virtio device can be tested without its help: it has no EEPROM and no loop, and nothing fires a vector but work that was done.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use driver_core::buf::Batch;
use driver_core::device::error::steps;
use driver_core::device::{Config, During, Error, ErrorKind, Flaw, Link, LinkReport, Outcome, SelfTest, TestPart};
use driver_core::host::{Clock, Interrupt, PciFunction, RegSpace};
use driver_core::queue::TxQueue;
use driver_core::reg::Reg;

use crate::card::Card;
use crate::regs::{Features, Status, common, net};
use crate::start::VirtioNet;

/// Each bit both ways, as addresses of rings: multiples of the 16 bytes that a descriptor table wants (2.7).
const ADDRESSES: [u64; 4] = [0x5555_5555_5555_5550, 0xaaaa_aaaa_aaaa_aaa0, 0xffff_ffff_ffff_fff0, 0];
/// How long an interrupt may be on its way, in microseconds.
const LIMIT_US: u64 = 500_000;
const EVERY_US: u64 = 200;
/// How often the link is looked at, in microseconds.
const LINK_EVERY_US: u64 = 10_000;
/// IEEE Std 802's first EtherType for local experiments.
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];
/// The shortest frame without its check sequence, in bytes.
const FRAME_BYTES: usize = 60;
/// Vectors for a queue of each direction and for all else.
const VECTORS: u16 = 3;

impl<F: PciFunction> VirtioNet<F> {
    /// As [`NetDriver::self_test`](driver_core::device::NetDriver::self_test). One frame leaves the device, from itself to itself.
    ///
    /// # Errors
    /// Where the device does not come out of a reset in between.
    pub fn self_test(&mut self, link_us: u64) -> Result<SelfTest, Error> {
        let name = String::from(&*self.info().name);
        let registers = self.card().test_registers();
        self.card().greet().during(&name, steps::TESTING)?;
        let link = self.card().test_link(link_us);
        let interrupts = match link {
            Outcome::Failed(_) => Outcome::Absent { why: "without a link nothing is sent, and only what was sent makes an interrupt" },
            _ => self.test_interrupts(),
        };
        self.card().greet().during(&name, steps::TESTING)?;
        let mut outcomes = [
            Outcome::of(registers),
            Outcome::Absent { why: "a virtio device has no EEPROM" },
            interrupts,
            Outcome::Absent { why: "a virtio device has no loop: what it is given leaves it" },
            link,
        ]
        .into_iter();
        Ok(SelfTest::new(|_: TestPart| outcomes.next().unwrap_or(Outcome::Absent { why: "no such part" })))
    }

    /// A frame to the device itself, which no switch hands on, makes the transmit queue's vector fire.
    fn test_interrupts(&mut self) -> Outcome {
        let config = Config::new().interrupts(true);
        if self.vectors() < VECTORS {
            return Outcome::Absent { why: "the function has no vector for the transmit queue, and no other can be made to fire" };
        }
        let (mac, clock) = (self.info().permanent_mac, self.card().transport.clock.clone());
        let frame: Vec<u8> = mac.0.into_iter().chain(mac.0).chain(ETHERTYPE).chain(core::iter::repeat(0)).take(FRAME_BYTES).collect();
        let result = self.with_transmit_queue(&config, |tx, pool, vector| {
            let Some(mut vector) = vector else { return Ok(None) };
            let mut batch = Batch::new(1);
            let frame = pool.frame_from(&frame).ok().and_then(|frame| batch.push(frame).ok());
            if frame.is_none() {
                return Ok(None);
            }
            tx.arm_for(1);
            // What it does not take makes no interrupt.
            let _ = tx.submit(&mut batch);
            fires(&mut vector, &*clock)
        });
        match result {
            Ok(Ok(None)) => Outcome::Absent { why: "the device gives its transmit queue no vector" },
            Ok(Ok(Some(what))) => Outcome::of(Ok(what)),
            Ok(Err(flaw)) => Outcome::Failed(flaw),
            Err(error) => Outcome::Failed(error.into()),
        }
    }
}

/// Waits for the transmit queue's vector.
fn fires(vector: &mut impl Interrupt, clock: &dyn Clock) -> Result<Option<String>, Flaw> {
    let mut waited_us = 0;
    while vector.wait(Some(0)).map_err(ErrorKind::from)? == 0 {
        if waited_us >= LIMIT_US {
            return Err(Flaw::Lost { vector: 1, waited_us });
        }
        clock.sleep_us(EVERY_US);
        waited_us += EVERY_US;
    }
    Ok(Some("the transmit queue's vector fires for a frame that was sent".into()))
}

impl<F: PciFunction> Card<F> {
    /// What the driver writes is kept (4.1.4.3), and what the device says is said again.
    fn test_registers(&self) -> Result<String, Flaw> {
        self.greet()?;
        let (transport, common) = (&self.transport, &self.transport.common);
        if transport.offered() != transport.offered() {
            return Err(Flaw::Unsteady { what: "what the device offers (device_feature)" });
        }
        let generation = || common::CONFIG_GENERATION.read(common);
        let (before, mac) = (generation(), || net::MAC.iter().map(|byte| byte.read(&transport.device)).collect::<Vec<_>>());
        if self.takes().contains(Features::MAC) && transport.config(|_| mac())? != transport.config(|_| mac())? {
            return Err(Flaw::Unsteady { what: "its address (mac)" });
        }
        if generation() != before {
            return Err(Flaw::Unsteady { what: "config_generation" });
        }
        for value in [1, 0] {
            keeps(common, common::DEVICE_FEATURE_SELECT, value)?;
            keeps(common, common::DRIVER_FEATURE_SELECT, value)?;
        }
        // Queues are set up behind FEATURES_OK (3.1.1).
        transport.accept(self.takes());
        transport.add_status(Status::FEATURES_OK);
        for queue in [net::TRANSMITQ, net::RECEIVEQ] {
            common::QUEUE_SELECT.write(common, queue);
            let read = common::QUEUE_SELECT.read(common);
            if read != queue {
                return Err(differs(common::QUEUE_SELECT.name(), common::QUEUE_SELECT.offset(), queue.into(), read.into()));
            }
            for address in [common::QUEUE_DESC, common::QUEUE_DRIVER, common::QUEUE_DEVICE] {
                ADDRESSES.into_iter().try_for_each(|value| keeps_wide(common, address, value))?;
            }
        }
        Ok(format!("features, address and generation stay, and {} fields of two queues keep {} patterns", 3, ADDRESSES.len()))
    }

    fn test_link(&self, limit_us: u64) -> Outcome {
        if !self.takes().contains(Features::STATUS) {
            return Outcome::Absent { why: "the device does not tell of its link (no VIRTIO_NET_F_STATUS)" };
        }
        let mut waited_us = 0;
        loop {
            match crate::link::link(&self.transport, self.takes()) {
                Ok(link) if link.up => return Outcome::of(Ok(link.to_string())),
                Ok(_) if waited_us >= limit_us => return Outcome::Failed(Flaw::NoLink { report: LinkReport::of(Link::down()), waited_us }),
                Ok(_) => {}
                Err(error) => return Outcome::Failed(error.into()),
            }
            let pause_us = LINK_EVERY_US.min(limit_us - waited_us);
            self.transport.clock.sleep_us(pause_us);
            waited_us += pause_us;
        }
    }
}

fn differs(name: &'static str, offset: u32, wrote: u32, read: u32) -> Flaw {
    Flaw::Register { name: name.into(), offset, wrote, read, mask: u32::MAX }
}

fn keeps(space: &impl RegSpace, register: Reg<u32, driver_core::reg::Rw>, value: u32) -> Result<(), Flaw> {
    register.write(space, value);
    let read = register.read(space);
    if read == value { Ok(()) } else { Err(differs(register.name(), register.offset(), value, read)) }
}

/// A field of 64 bits: what differs is told of the half in which it does.
fn keeps_wide(space: &impl RegSpace, register: Reg<u64, driver_core::reg::Rw>, value: u64) -> Result<(), Flaw> {
    register.write(space, value);
    let read = register.read(space);
    let half = u32::from(read as u32 == value as u32);
    if read == value {
        return Ok(());
    }
    Err(differs(register.name(), register.offset() + 4 * half, (value >> (32 * half)) as u32, (read >> (32 * half)) as u32))
}
