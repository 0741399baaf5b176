//! The mailbox between a virtual function and its physical one (7.10.2): 16 words that one of them owns at a time, and bits that tell the other.

use core::convert::Infallible;
use core::ops::ControlFlow;

use driver_core::device::ErrorKind;
use driver_core::host::Bar;
use driver_core::reg::{Pace, look_until};

use crate::card::Card;
use crate::error::HardwareError;
use crate::regs::vf::{VFMAILBOX, VFMAILBOX_WRITE, VFMBMEM, Vfmailbox};

/// Words of a message.
pub(crate) const WORDS: usize = 16;
/// A message.
pub(crate) type Message = [u32; WORDS];

/// NO-LIMITS: how long the physical function may own the memory, and how long it may take to read a message and to answer it. Its driver does so in an interrupt's
/// work, and Linux waits a second.
const OWN_US: u64 = 100_000;
const ANSWER_US: u64 = 1_000_000;

/// Bits that a read of VFMAILBOX clears.
const ONCE: Vfmailbox = Vfmailbox::PFSTS.union(Vfmailbox::PFACK).union(Vfmailbox::RSTD);

/// The kind of a message, and what an answer says of it.
pub(crate) const KIND: u32 = 0xffff;
pub(crate) const INFO_SHIFT: u32 = 16;
const SUCCESS: u32 = 1 << 31;
const FAILURE: u32 = 1 << 30;
/// The physical function takes requests.
const CLEAR_TO_SEND: u32 = 1 << 29;
/// What the physical function says unasked: its link has changed, or it goes away.
const CONTROL: u32 = 0x0100;
/// The one request that is answered without CLEAR_TO_SEND.
pub(crate) const RESET: u32 = 0x01;

/// What a physical function answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Granted(Message),
    Refused(Message),
}

/// The virtual function's end.
#[derive(Debug)]
pub(crate) struct Mailbox {
    /// Bits that were read, and so cleared, before somebody asked for them.
    seen: Vfmailbox,
    /// The physical function was reset, or takes no requests for another reason, since the last handshake.
    is_lost: bool,
}

impl Mailbox {
    pub(crate) const fn new() -> Self {
        Self { seen: Vfmailbox::empty(), is_lost: false }
    }

    /// The bits as they are, with those that were seen before.
    fn status(&mut self, bar: &impl Bar) -> Vfmailbox {
        let now = VFMAILBOX.read_and_clear(bar);
        if now.bits() != u32::MAX {
            self.seen |= now & ONCE;
        }
        now | self.seen
    }

    /// Whether the physical function was reset since the last handshake, as far as was seen.
    pub(crate) const fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Waits for `bit`, and forgets it. A reset of the physical function ends the wait.
    fn wait(&mut self, card: &Card<impl Bar>, bit: Vfmailbox, what: &'static str) -> Result<(), ErrorKind> {
        let told = look_until(VFMAILBOX, what, &*card.clock, Pace::within(ANSWER_US), || {
            let status = self.status(&card.bar);
            match () {
                () if status.bits() == u32::MAX => Ok(ControlFlow::Continue(status)),
                () if status.contains(bit) => Ok(ControlFlow::Break(())),
                () if status.contains(Vfmailbox::RSTI) => Err(HardwareError::PhysicalReset),
                () => Ok(ControlFlow::Continue(status)),
            }
        });
        match told {
            Err(reset) => {
                self.is_lost = true;
                Err(reset.into())
            }
            Ok(Err(wait)) if wait.is_all_ones() => Err(wait.into()),
            Ok(Err(wait)) => Err(HardwareError::NoPhysicalDriver { wait }.into()),
            Ok(Ok(())) => {
                self.seen -= bit;
                Ok(())
            }
        }
    }

    /// Takes the memory.
    fn own(&mut self, card: &Card<impl Bar>) -> Result<(), ErrorKind> {
        let Ok(owned) = look_until(VFMAILBOX, "the mailbox to be this function's (VFU)", &*card.clock, Pace::within(OWN_US), || {
            VFMAILBOX_WRITE.write(&card.bar, Vfmailbox::VFU);
            let status = self.status(&card.bar);
            let is_owned = status.contains(Vfmailbox::VFU) && status.bits() != u32::MAX;
            Ok::<_, Infallible>(if is_owned { ControlFlow::Break(()) } else { ControlFlow::Continue(status) })
        });
        match owned {
            Ok(()) => Ok(()),
            Err(wait) if wait.is_all_ones() => Err(wait.into()),
            Err(wait) => Err(HardwareError::NoPhysicalDriver { wait }.into()),
        }
    }

    fn read(&mut self, card: &Card<impl Bar>) -> Result<Message, ErrorKind> {
        self.own(card)?;
        let mut message = [0; WORDS];
        for (word, register) in message.iter_mut().zip(VFMBMEM.iter()) {
            *word = register.read(&card.bar);
        }
        // It is read, and the memory is nobody's.
        VFMAILBOX_WRITE.write(&card.bar, Vfmailbox::ACK);
        Ok(message)
    }

    /// Sends a request and returns what is answered. `name`: what is asked for, for errors.
    ///
    /// # Errors
    /// Nobody answers, or not to what was asked; or the physical function was reset.
    pub(crate) fn ask(&mut self, card: &Card<impl Bar>, name: &'static str, request: &[u32]) -> Result<Answer, ErrorKind> {
        self.own(card)?;
        // What stood there is written over.
        self.seen -= Vfmailbox::PFSTS | Vfmailbox::PFACK;
        for (word, register) in request.iter().zip(VFMBMEM.iter()) {
            register.write(&card.bar, *word);
        }
        VFMAILBOX_WRITE.write(&card.bar, Vfmailbox::REQ);
        self.wait(card, Vfmailbox::PFACK, "the physical function to read a request (PFACK)")?;
        let kind = request.first().map_or(0, |word| word & KIND);
        // One message that it sends by itself may come before the answer.
        for _ in 0..2 {
            self.wait(card, Vfmailbox::PFSTS, "the physical function to answer a request (PFSTS)")?;
            let answer = self.read(card)?;
            let [first, ..] = answer;
            if first & !CLEAR_TO_SEND == CONTROL && kind != CONTROL {
                continue;
            }
            return self.judge(name, kind, answer);
        }
        Err(HardwareError::Answer { request: name, answer: CONTROL }.into())
    }

    fn judge(&mut self, name: &'static str, kind: u32, answer: Message) -> Result<Answer, ErrorKind> {
        let [first, ..] = answer;
        let verdict = first & (SUCCESS | FAILURE);
        if first == FAILURE || kind != RESET && verdict == FAILURE && first & CLEAR_TO_SEND == 0 {
            self.is_lost = true;
            return Err(HardwareError::PhysicalReset.into());
        }
        match verdict {
            SUCCESS if first & KIND == kind => Ok(Answer::Granted(answer)),
            FAILURE if first & KIND == kind => Ok(Answer::Refused(answer)),
            _ => Err(HardwareError::Answer { request: name, answer: first }.into()),
        }
    }

    /// Waits until the physical function is in no reset, and forgets what was said before.
    pub(crate) fn begin(&mut self, card: &Card<impl Bar>, limit_us: u64) -> Result<(), ErrorKind> {
        let Ok(out) =
            look_until(VFMAILBOX, "the physical function to come out of its reset (RSTI clear)", &*card.clock, Pace::within(limit_us), || {
                let now = VFMAILBOX.read_and_clear(&card.bar);
                let is_in_reset = now.contains(Vfmailbox::RSTI);
                Ok::<_, Infallible>(if is_in_reset { ControlFlow::Continue(now) } else { ControlFlow::Break(()) })
            });
        match out {
            Ok(()) => {
                *self = Self::new();
                Ok(())
            }
            Err(wait) if wait.is_all_ones() => Err(wait.into()),
            Err(wait) => Err(HardwareError::NoPhysicalDriver { wait }.into()),
        }
    }

    /// Whether the physical function was reset since the last handshake: what it says unasked is read, and heard.
    pub(crate) fn look(&mut self, card: &Card<impl Bar>) -> Result<bool, ErrorKind> {
        let status = self.status(&card.bar);
        if status.bits() == u32::MAX {
            return Ok(false);
        }
        self.is_lost |= status.intersects(Vfmailbox::RSTI | Vfmailbox::RSTD);
        if status.contains(Vfmailbox::PFSTS) && !self.is_lost {
            self.seen -= Vfmailbox::PFSTS;
            let [first, ..] = self.read(card)?;
            self.is_lost |= first & CLEAR_TO_SEND == 0;
        }
        Ok(self.is_lost)
    }
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;

    use driver_core::testing::{FakeClock, PlainBar};

    use super::*;
    use crate::regs::vf::VF_BAR_BYTES;
    use crate::vf::id::MODELS;

    /// A function whose mailbox says `bits`, with `message` in it, and is its own whenever it wants it.
    fn function(bits: Vfmailbox, message: u32) -> Card<PlainBar> {
        let bar = PlainBar::new(VF_BAR_BYTES);
        bar.set(VFMBMEM.at(0).unwrap().offset(), message);
        bar.set(VFMAILBOX.offset(), bits.bits());
        Card::new(bar, Arc::new(FakeClock::new()), &MODELS[0], "test")
    }

    /// One of them may be missed: a reset that is over says RSTD, one whose RSTD somebody else has read left its message.
    #[test]
    fn each_sign_of_a_reset_is_enough() {
        let looks = |bits: Vfmailbox, message: u32| Mailbox::new().look(&function(bits, message)).unwrap();
        assert!(looks(Vfmailbox::RSTI, CONTROL | CLEAR_TO_SEND));
        assert!(looks(Vfmailbox::RSTD, CONTROL | CLEAR_TO_SEND));
        assert!(looks(Vfmailbox::PFSTS, CONTROL));
        assert!(looks(Vfmailbox::PFSTS, FAILURE));
        assert!(!looks(Vfmailbox::PFSTS, CONTROL | CLEAR_TO_SEND));
        assert!(!looks(Vfmailbox::empty(), 0), "what stands there is old");
    }

    #[test]
    fn a_message_that_was_read_is_acknowledged() {
        let card = function(Vfmailbox::PFSTS, CONTROL | CLEAR_TO_SEND);
        assert!(!Mailbox::new().look(&card).unwrap());
        assert_eq!(card.bar.writes_to(VFMAILBOX.offset()), [Vfmailbox::VFU.bits(), Vfmailbox::ACK.bits()]);
    }

    /// A read that asks for one bit must not lose another.
    #[test]
    fn bits_that_a_read_cleared_are_kept() {
        let card = function(Vfmailbox::PFSTS | Vfmailbox::PFACK, 0);
        let mut mailbox = Mailbox::new();
        mailbox.wait(&card, Vfmailbox::PFACK, "a test").unwrap();
        card.bar.set(VFMAILBOX.offset(), 0);
        mailbox.wait(&card, Vfmailbox::PFSTS, "a test").unwrap();
        assert!(mailbox.wait(&card, Vfmailbox::PFACK, "a test").is_err());
    }
}
