//! What of a virtio device can be tested without its help: it has no EEPROM and no loop, and nothing fires a vector but work that was done.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use driver_core::buf::Batch;
use driver_core::device::error::steps;
use driver_core::device::{Config, During, Error, ErrorKind, Flaw, Link, LinkReport, Outcome, SelfTest, TestPart};
use driver_core::host::{Clock, Interrupt, PciFunction};
use driver_core::queue::TxQueue;

use crate::card::Card;
use crate::regs::{Features, net};
use crate::start::VirtioNet;

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
        let (mac, clock) = (self.info().permanent_mac, self.card().transport.clock().clone());
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
        let transport = &*self.transport;
        if transport.offered() != transport.offered() {
            return Err(Flaw::Unsteady { what: "what the device offers (device_feature)" });
        }
        let mac = || transport.config(|device| net::MAC.iter().map(|byte| byte.read(device)).collect::<Vec<_>>());
        let mut looks = 0;
        transport.steady(&mut || looks += 1)?;
        if looks != 1 {
            return Err(Flaw::Unsteady { what: "config_generation" });
        }
        if self.takes().contains(Features::MAC) && mac()? != mac()? {
            return Err(Flaw::Unsteady { what: "its address (mac)" });
        }
        let kept = transport.test_registers(self.takes(), &[net::transmitq(0), net::receiveq(0)])?;
        Ok(format!("features, address and generation stay, and {kept}"))
    }

    fn test_link(&self, limit_us: u64) -> Outcome {
        if !self.takes().contains(Features::STATUS) {
            return Outcome::Absent { why: "the device does not tell of its link (no VIRTIO_NET_F_STATUS)" };
        }
        let mut waited_us = 0;
        loop {
            match crate::link::link(&*self.transport, self.takes()) {
                Ok((link, _)) if link.up => return Outcome::of(Ok(link.to_string())),
                Ok(_) if waited_us >= limit_us => return Outcome::Failed(Flaw::NoLink { report: LinkReport::of(Link::down()), waited_us }),
                Ok(_) => {}
                Err(error) => return Outcome::Failed(error.into()),
            }
            let pause_us = LINK_EVERY_US.min(limit_us - waited_us);
            self.transport.clock().sleep_us(pause_us);
            waited_us += pause_us;
        }
    }
}
