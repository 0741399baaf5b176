//! The mailbox between a virtual function and its physical one, from the virtual function's side: 16 words that one of them owns at a time, and bits that tell the
//! other (7.10.2).

use super::map::MESSAGE_WORDS;

/// VFMAILBOX: the function sends what it wrote; it has read what was sent; it owns the memory; the physical function does.
const REQ: u32 = 1;
const ACK: u32 = 1 << 1;
const VFU: u32 = 1 << 2;
const PFU: u32 = 1 << 3;
/// The physical function sent something; it has read what was sent. A read clears both.
const PFSTS: u32 = 1 << 4;
const PFACK: u32 = 1 << 5;
/// The physical function is in a reset; it has come out of one. A read clears the latter.
const RSTI: u32 = 1 << 6;
const RSTD: u32 = 1 << 7;
const CLEARED_BY_READ: u32 = PFSTS | PFACK | RSTD;

/// What a write of VFMAILBOX sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) request: bool,
    pub(super) ack: bool,
}

#[derive(Debug, Default)]
pub(super) struct Mailbox {
    pub(super) memory: [u32; MESSAGE_WORDS],
    bits: u32,
    /// The physical function's last message was not acknowledged yet.
    pub(super) is_unread: bool,
}

impl Mailbox {
    pub(super) fn read(&mut self) -> u32 {
        let value = self.bits;
        self.bits &= !CLEARED_BY_READ;
        value
    }

    /// Ownership is taken by a write with VFU, where the physical function has not got it, and given back by any other. What is wrong with the write is returned
    /// beside what it sent.
    pub(super) fn write(&mut self, value: u32) -> (Sent, Option<&'static str>) {
        let owned = self.is_owned();
        if value & VFU == 0 {
            self.bits &= !VFU;
        } else if self.bits & PFU == 0 {
            self.bits |= VFU;
        }
        let sent = Sent { request: value & REQ != 0, ack: value & ACK != 0 };
        self.is_unread &= !sent.ack;
        (sent, (sent.request && !owned).then_some("a request was sent by a function that does not own the mailbox (VFMAILBOX.VFU)"))
    }

    /// The function owns the memory.
    pub(super) fn is_owned(&self) -> bool {
        self.bits & VFU != 0
    }

    /// The function was reset.
    pub(super) fn release(&mut self) {
        self.bits &= !(VFU | PFSTS | PFACK);
        self.is_unread = false;
    }

    /// The physical function has read the request.
    pub(super) fn acknowledge(&mut self) {
        self.bits |= PFACK;
    }

    /// It sends `words`.
    pub(super) fn send(&mut self, words: &[u32]) {
        self.memory[..words.len()].copy_from_slice(words);
        self.bits |= PFSTS;
        self.is_unread = true;
    }

    /// It is in a reset, or comes out of it.
    pub(super) fn resets(&mut self, is_over: bool) {
        self.bits = if is_over { self.bits & !RSTI | RSTD } else { RSTI };
    }
}
