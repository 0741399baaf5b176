//! The physical function's driver at the other end of the mailbox: what it answers, and what becomes of it in a reset.

use super::function::IxgbeVf;
use super::mailbox::Sent;
use super::map::MESSAGE_WORDS;
use super::options::PfManner;
use super::port::{LONGEST, STANDARD, entry, key};
use super::state::{API_1_0, Xcast};
use crate::ixgbe::regs::EICS;
use crate::slot::Slot;

/// How long the physical function is away when it is reset: the reset itself, and its driver's way up, which takes Linux seconds.
const PF_RESET_US: u64 = 100_000;
/// How long the driver takes to read a message, and to answer it.
const READS_US: u64 = 10;
const ANSWERS_US: u64 = 20;
/// How long an answer stands in the mailbox before something else may be written over it.
const PATIENCE_US: u64 = 10_000;

/// Kinds of messages, in the lower 16 bits of the first word; what follows in its next eight.
const RESET: u32 = 0x01;
const SET_MAC_ADDR: u32 = 0x02;
const SET_MULTICAST: u32 = 0x03;
const SET_VLAN: u32 = 0x04;
const SET_LPE: u32 = 0x05;
const SET_MACVLAN: u32 = 0x06;
const API_NEGOTIATE: u32 = 0x08;
const GET_QUEUES: u32 = 0x09;
const GET_RETA: u32 = 0x0A;
const GET_RSS_KEY: u32 = 0x0B;
const UPDATE_XCAST_MODE: u32 = 0x0C;
const GET_LINK_STATE: u32 = 0x10;
const GET_PF_LINK_STATE: u32 = 0x11;
const FEATURES_NEGOTIATE: u32 = 0x12;
const PF_CONTROL: u32 = 0x100;
const INFO_SHIFT: u32 = 16;
const SUCCESS: u32 = 1 << 31;
const FAILURE: u32 = 1 << 30;
/// The function may send requests.
const CLEAR_TO_SEND: u32 = 1 << 29;

/// Versions by their number on the wire.
const API_1_1: u32 = 2;
const API_1_2: u32 = 3;
const API_1_3: u32 = 4;
const API_1_6: u32 = 7;
const API_1_7: u32 = 8;
/// 2.0 and 1.5: other drivers'.
const OTHERS: [u32; 2] = [1, 6];

/// A speed as messages have it: 100 Mbit/s, 1, 2.5, 5 or 10 Gbit/s.
fn speed_word(mbps: u32) -> u32 {
    match mbps {
        100 => 0x8,
        1_000 => 0x20,
        2_500 => 0x400,
        5_000 => 0x800,
        _ => 0x80,
    }
}

/// Addresses that a function may have beside its own: what Linux leaves of the card's 128, with one function.
const FURTHER: usize = 111;
/// Hashes of multicast addresses in one message.
const HASHES: usize = 30;
/// An address in two words of a message.
fn address_in(words: &[u32]) -> [u8; 6] {
    let ([a, b, c, d], [e, f, ..]) = (words[1].to_le_bytes(), words[2].to_le_bytes());
    [a, b, c, d, e, f]
}

fn is_unicast(address: [u8; 6]) -> bool {
    address[0] & 1 == 0 && address != [0; 6]
}

impl IxgbeVf {
    /// The function wrote to the mailbox's register.
    pub(super) fn hear(&mut self, slot: &Slot<'_>, sent: Sent) {
        if self.pf.back_us.is_some() || self.pf.options.manner == PfManner::Silent {
            return;
        }
        if sent.request {
            self.pf.reads_us = Some(slot.now_us() + READS_US);
            self.pf.answer = None;
        }
        self.pf.heard |= sent.ack;
    }

    /// The function was reset: its filters are gone, and what the driver knew of it.
    pub(super) fn forget_function(&mut self) {
        (self.pf.address, self.pf.api, self.pf.vtivar_misc) = (None, API_1_0, 0);
        self.pf.further.clear();
        self.pf.plain.clear();
        self.forget_filters();
    }

    /// What the physical function's driver does by now. Returns whether it did something.
    pub(super) fn serve(&mut self, slot: &Slot<'_>) -> bool {
        let mut busy = self.follow_reset(slot);
        if self.pf.back_us.is_some() {
            return busy;
        }
        busy |= self.follow_requests(slot);
        if std::mem::take(&mut self.pf.heard) && !self.pf.clear_to_send {
            // A function that has not been reset since should not be reading either.
            self.post(slot, &[FAILURE]);
            busy = true;
        }
        if self.port.link.up != self.pf.link {
            self.pf.link = self.port.link.up;
            self.pf.ping_us = Some(slot.now_us() + PATIENCE_US);
        }
        busy | self.ping(slot)
    }

    /// The reset of the physical function: nothing goes for its virtual function from here on, which is told so; the card forgets all; and later it is back.
    fn follow_reset(&mut self, slot: &Slot<'_>) -> bool {
        if std::mem::take(&mut self.pf.is_doomed) {
            self.pf.clear_to_send = false;
            (self.pf.reads_us, self.pf.answer, self.pf.ping_us, self.pf.heard) = (None, None, None, false);
            let vector = self.mailbox_vector();
            self.mailbox.resets(false);
            self.mailbox.send(&[PF_CONTROL]);
            // The message goes out before the reset that takes its vector.
            self.port.interrupts.write(slot, EICS, vector);
            self.port.interrupts.signal(slot, &mut self.port.msix, &self.port.faults);
            self.port.reset_registers(slot.now_us());
            self.set_up_port();
            self.forget_function();
            (self.pf.back_us, self.pf.has_forgotten) = (Some(slot.now_us() + PF_RESET_US), true);
            return true;
        }
        if self.pf.back_us.is_none_or(|back_us| slot.now_us() < back_us) {
            return false;
        }
        self.pf.back_us = None;
        self.mailbox.resets(true);
        self.raise(slot);
        true
    }

    fn follow_requests(&mut self, slot: &Slot<'_>) -> bool {
        let now_us = slot.now_us();
        if self.pf.reads_us.is_some_and(|reads_us| now_us >= reads_us) {
            if self.mailbox.is_owned() {
                self.pf.reads_us = Some(now_us + READS_US);
                return false;
            }
            self.pf.reads_us = None;
            let request = self.mailbox.memory;
            self.mailbox.acknowledge();
            self.raise(slot);
            if self.pf.options.manner != PfManner::Mute
                && let Some((words, count)) = self.answer(request)
            {
                self.pf.answer = Some((now_us + ANSWERS_US, words, count));
            }
            return true;
        }
        match self.pf.answer {
            Some((answers_us, words, count)) if now_us >= answers_us => {
                self.pf.answer = None;
                self.post(slot, &words[..count]);
                true
            }
            _ => false,
        }
    }

    /// Tells the function something as soon as nobody waits for anything in the mailbox.
    fn ping(&mut self, slot: &Slot<'_>) -> bool {
        let Some(latest_us) = self.pf.ping_us else { return false };
        let is_free = !self.mailbox.is_owned() && self.pf.reads_us.is_none() && self.pf.answer.is_none();
        if !is_free || self.mailbox.is_unread && slot.now_us() < latest_us {
            // Nothing is lost: the link stands in VFLINKS.
            self.pf.ping_us = Some(latest_us.max(slot.now_us() + 1));
            return false;
        }
        self.pf.ping_us = None;
        self.post(slot, &[PF_CONTROL | if self.pf.clear_to_send { CLEAR_TO_SEND } else { 0 }]);
        true
    }

    fn post(&mut self, slot: &Slot<'_>, words: &[u32]) {
        match self.pf.options.manner {
            PfManner::Silent | PfManner::Mute => return,
            PfManner::Ones => self.mailbox.send(&[u32::MAX; MESSAGE_WORDS]),
            _ => self.mailbox.send(words),
        }
        self.raise(slot);
    }

    fn raise(&mut self, slot: &Slot<'_>) {
        let vector = self.mailbox_vector();
        self.port.interrupts.write(slot, EICS, vector);
    }

    /// The answer to a request, and its length; `None`: it is an answer itself.
    fn answer(&mut self, mut words: [u32; MESSAGE_WORDS]) -> Option<([u32; MESSAGE_WORDS], usize)> {
        if words[0] & (SUCCESS | FAILURE) != 0 {
            return None;
        }
        let manner = self.pf.options.manner;
        if words[0] == RESET {
            return Some((self.answer_reset(), 4));
        }
        if !self.pf.clear_to_send {
            words[0] |= FAILURE;
            return Some((words, 1));
        }
        let agrees = manner != PfManner::Refusing && self.obey(&mut words);
        words[0] |= CLEAR_TO_SEND | if agrees { SUCCESS } else { FAILURE };
        if manner == PfManner::Astray {
            words[0] ^= 0x3;
        }
        if manner == PfManner::Absurd {
            words[1..].fill(0xFFFF);
        }
        Some((words, MESSAGE_WORDS))
    }

    fn answer_reset(&mut self) -> [u32; MESSAGE_WORDS] {
        self.forget_function();
        self.pf.clear_to_send = true;
        let mut words = [0; MESSAGE_WORDS];
        words[0] = RESET | FAILURE;
        if self.pf.options.gives_address {
            let [a, b, c, d, e, f] = self.pf.given;
            self.pf.address = Some(self.pf.given);
            words[..3].copy_from_slice(&[RESET | SUCCESS, u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, 0, 0])]);
        }
        if self.pf.options.manner == PfManner::Absurd {
            words[..3].copy_from_slice(&[RESET | SUCCESS, u32::MAX, u32::MAX]);
        }
        self.set_addresses();
        let on = self.pf.options.enables_link;
        // On an 82599 whose port knows jumbo frames a function receives as soon as it says that it knows them too.
        let legacy = self.port.is_82599() && self.pf.options.has_jumbo;
        self.let_through(on && !legacy, on);
        words
    }

    /// Does what is asked for, and writes what is asked into `words`.
    fn obey(&mut self, words: &mut [u32; MESSAGE_WORDS]) -> bool {
        let info = words[0] >> INFO_SHIFT & 0xFF;
        match words[0] & 0xFFFF {
            SET_MAC_ADDR => self.obey_address(address_in(words)),
            SET_MACVLAN => self.obey_further(info, address_in(words)),
            SET_MULTICAST => {
                let hashes: Vec<u32> = words[1..].iter().flat_map(|word| [word & 0xFFFF, word >> 16]).take((info as usize).min(HASHES)).collect();
                self.set_multicast(&hashes);
                self.set_xcast(self.pf.xcast.max(Xcast::Multi));
                true
            }
            SET_VLAN => {
                let id = words[1] & 0xFFF;
                // Frames without a tag come in whatever is asked.
                if id != 0 || info != 0 {
                    self.set_vlan(id, info != 0);
                }
                true
            }
            SET_LPE => self.obey_length(words[1]),
            API_NEGOTIATE => {
                let takes = words[1] <= self.pf.options.newest && !OTHERS.contains(&words[1]);
                if takes {
                    self.pf.api = words[1];
                }
                takes
            }
            GET_QUEUES if self.pf.has_api(API_1_1) => {
                words[1..5].copy_from_slice(&[self.pf.options.queues, self.pf.options.queues, 0, 0]);
                true
            }
            GET_RETA if self.pf.has_api(API_1_2) && self.pf.options.tells_rss => {
                for (word, value) in (0..8).zip(&mut words[1..]) {
                    *value = (0..16).fold(0, |bits, at| bits | entry(16 * word + at) << (2 * at));
                }
                true
            }
            GET_RSS_KEY if self.pf.has_api(API_1_2) && self.pf.options.tells_rss => {
                words[1..11].copy_from_slice(&key());
                true
            }
            UPDATE_XCAST_MODE if self.pf.has_api(API_1_2) => self.obey_xcast(words),
            GET_LINK_STATE if self.pf.has_api(API_1_2) => {
                words[1] = self.pf.options.enables_link.into();
                true
            }
            GET_PF_LINK_STATE if self.pf.has_api(API_1_6) && self.pf.options.tells_link => {
                let is_absurd = self.pf.options.manner == PfManner::Absurd;
                let told = [self.port.speed_mbps().map_or(0, speed_word), self.port.link.up.into()];
                words[1..3].copy_from_slice(&if is_absurd { [u32::MAX; 2] } else { told });
                true
            }
            FEATURES_NEGOTIATE if self.pf.has_api(API_1_7) => {
                // None of them is modelled.
                words[1] = 0;
                true
            }
            _ => false,
        }
    }

    fn obey_address(&mut self, address: [u8; 6]) -> bool {
        let is_set = self.pf.options.gives_address && !self.pf.options.trusts && address != self.pf.given;
        if !is_unicast(address) || is_set {
            return false;
        }
        self.pf.address = Some(address);
        self.set_addresses();
        true
    }

    /// Index 0 clears the list, 1 begins it anew, others go on.
    fn obey_further(&mut self, index: u32, address: [u8; 6]) -> bool {
        let is_denied = self.pf.options.gives_address && !self.pf.options.trusts;
        if index > 0 && (is_denied || !is_unicast(address)) {
            return false;
        }
        if index <= 1 {
            self.pf.further.clear();
        }
        let fits = self.pf.further.len() < FURTHER;
        if index > 0 && fits {
            self.pf.further.push(address);
        }
        self.set_addresses();
        index == 0 || fits
    }

    /// The longest frame, with its check sequence. An 82599 has no way to keep a port's jumbo frames from one function, so that its driver lets those receive that
    /// know them, or has none.
    fn obey_length(&mut self, with_fcs: u32) -> bool {
        if with_fcs > LONGEST {
            return false;
        }
        if self.port.is_82599() {
            let jumbo = self.pf.options.has_jumbo;
            let fits = jumbo && self.pf.has_api(API_1_1) || !jumbo && with_fcs <= STANDARD;
            self.let_through(fits && self.pf.options.enables_link, self.pf.options.enables_link);
            if !fits {
                return false;
            }
        }
        self.allow_length(with_fcs);
        true
    }

    /// The answer has the mode that is in force.
    fn obey_xcast(&mut self, words: &mut [u32; MESSAGE_WORDS]) -> bool {
        let wanted = match words[1] {
            0 => Xcast::None,
            1 => Xcast::Multi,
            2 => Xcast::AllMulti,
            3 if self.pf.has_api(API_1_3) => Xcast::Promiscuous,
            _ => return false,
        };
        let mode = if self.pf.options.trusts { wanted } else { wanted.min(Xcast::Multi) };
        // An 82599's pool has no such mode.
        if mode == Xcast::Promiscuous && self.port.is_82599() {
            return false;
        }
        self.set_xcast(mode);
        words[1] = mode as u32;
        true
    }
}
