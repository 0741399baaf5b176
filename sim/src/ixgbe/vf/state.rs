//! What the physical function's driver remembers of its virtual one.

use std::collections::HashMap;

use super::map::MESSAGE_WORDS;
use super::options::{PfManner, PfOptions};

/// Version 1.0, by its number on the wire.
pub(super) const API_1_0: u32 = 0;
/// VFMAILBOX.PFU.
const PFU: u32 = 1 << 3;

/// Which frames that are for several, or for others, come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Xcast {
    #[default]
    None,
    Multi,
    AllMulti,
    Promiscuous,
}

/// What the physical function's driver remembers of its virtual one.
pub(super) struct Pf {
    pub(super) options: PfOptions,
    pub(super) given: [u8; 6],
    pub(super) address: Option<[u8; 6]>,
    pub(super) further: Vec<[u8; 6]>,
    pub(super) xcast: Xcast,
    pub(super) api: u32,
    pub(super) clear_to_send: bool,
    /// A request that came; when it is read, and when it is answered.
    pub(super) reads_us: Option<u64>,
    pub(super) answer: Option<(u64, [u32; MESSAGE_WORDS], usize)>,
    /// The function acknowledged a message.
    pub(super) heard: bool,
    /// Something is to be said to the function as soon as the mailbox is free, at the latest then.
    pub(super) ping_us: Option<u64>,
    /// The link when it was looked at last.
    pub(super) link: bool,
    /// It is about to be reset; when it is back.
    pub(super) is_doomed: bool,
    pub(super) back_us: Option<u64>,
    /// It was reset, and the function was not since: its queues are off without its doing.
    pub(super) has_forgotten: bool,
    /// Registers of the function that the port has none for.
    pub(super) plain: HashMap<u32, u32>,
    pub(super) vtivar_misc: u32,
}

impl Pf {
    pub(super) fn new(given: [u8; 6], options: PfOptions) -> Self {
        Self {
            options,
            given,
            address: None,
            further: Vec::new(),
            xcast: Xcast::None,
            api: API_1_0,
            clear_to_send: false,
            reads_us: None,
            answer: None,
            heard: false,
            ping_us: None,
            link: false,
            is_doomed: false,
            back_us: None,
            has_forgotten: false,
            plain: HashMap::new(),
            vtivar_misc: 0,
        }
    }

    /// VFMAILBOX.PFU, of a driver that does not let go of the mailbox.
    pub(super) fn hogs(&self) -> u32 {
        if self.options.manner == PfManner::Hogging { PFU } else { 0 }
    }

    pub(super) fn next_event_us(&self) -> Option<u64> {
        [self.reads_us, self.answer.map(|(us, ..)| us), self.ping_us, self.back_us].into_iter().flatten().min()
    }

    pub(super) fn has_api(&self, first: u32) -> bool {
        self.api >= first
    }
}
