//! How the physical function's driver treats its virtual one.

/// The newest version of the mailbox's interface that there is, as it is negotiated: 1.7.
const NEWEST: u32 = 8;

/// How the physical function's driver is set: as Linux's is for a function that its administrator gave an address and trusts, until told otherwise.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PfOptions {
    /// The newest version of the mailbox's interface that it takes, by its number on the wire: 0 is 1.0, 2 is 1.1, and so on to 8, which is 1.7. As Linux's it
    /// takes neither 1 (2.0) nor 6 (1.5).
    pub newest: u32,
    /// It has an address for the function. Without one it refuses to give any, and the function chooses for itself.
    pub gives_address: bool,
    /// The function may set another address than the one given, and let in what is for others.
    pub trusts: bool,
    /// Its own MTU is above 1500, so that on an 82599 functions which do not say that they know jumbo frames receive nothing (1.0 does not).
    pub has_jumbo: bool,
    /// Queues of the function in each direction: 2 or 4.
    pub queues: u32,
    /// The function may ask how its flows are spread.
    pub tells_rss: bool,
    /// The function's link is enabled.
    pub enables_link: bool,
    /// The function may ask for the port's link (1.6), and VFLINKS is silent: as of an E610, the one port of which Linux's driver tells.
    pub tells_link: bool,
    /// How it answers.
    pub manner: PfManner,
}

impl Default for PfOptions {
    fn default() -> Self {
        Self {
            newest: NEWEST,
            gives_address: true,
            trusts: true,
            has_jumbo: true,
            queues: 4,
            tells_rss: true,
            enables_link: true,
            tells_link: false,
            manner: PfManner::Proper,
        }
    }
}

/// How the physical function's driver answers at the mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PfManner {
    /// As it should.
    #[default]
    Proper,
    /// Not at all: nobody drives the physical function.
    Silent,
    /// It takes messages and answers none.
    Mute,
    /// It keeps the mailbox to itself: the function never owns it.
    Hogging,
    /// Its answers are all ones.
    Ones,
    /// It answers each request as if another had been made.
    Astray,
    /// It refuses everything but a reset.
    Refusing,
    /// What it answers to questions makes no sense: thousands of queues, an address of many.
    Absurd,
}
