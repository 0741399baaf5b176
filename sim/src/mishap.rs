//! What happens to cards in the field.

/// What a person lets happen to a simulated card, to see what a driver and its program make of it. A reset mends all of them but [`Mishap::Vanish`].
///
/// None of them goes beyond what a driver can see and has to bear: a card that vanished moves nothing, and what a lying card says of a buffer is never true of any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mishap {
    /// Transmission stands still.
    Hang,
    /// The card says that it needs a reset (DEVICE_NEEDS_RESET, virtio 1.3, 2.1.2). Intel's cards have no such word.
    NeedsReset,
    /// What it says of received frames makes no sense: a length beyond every buffer, or a buffer that there is not.
    Lie,
    /// It is off its bus: registers and configuration space read all ones, for good.
    Vanish,
    /// A memory of the card has an error that it cannot correct, and says so; it sends nothing any more (82599: EICR.ECC).
    MemoryError,
    /// An access of the card over its bus was aborted, and it says so; it sends nothing any more (82599: EICR's PCI exception).
    BusError,
    /// Its PHY is too hot and shuts down, and it says so (X540, X550: EICR.TS). It has cooled down when it is reset.
    Overheat,
    /// The physical function of a virtual one is reset by its driver: its functions are told by their mailboxes, and have to be reset too.
    PfReset,
    /// The guest of the card has moved to another host: the card asks its driver to announce itself (VIRTIO_NET_S_ANNOUNCE, virtio 1.3, 5.1.6.5.4).
    Moved,
}

impl Mishap {
    /// All of them, with the words for them.
    pub const ALL: [(&str, Self); 9] = [
        ("hang", Self::Hang),
        ("needs-reset", Self::NeedsReset),
        ("lie", Self::Lie),
        ("vanish", Self::Vanish),
        ("memory-error", Self::MemoryError),
        ("bus-error", Self::BusError),
        ("overheat", Self::Overheat),
        ("pf-reset", Self::PfReset),
        ("moved", Self::Moved),
    ];

    /// The mishap of that word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == word).map(|&(_, mishap)| mishap)
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|&&(_, known)| known == self).map_or("", |(word, _)| word)
    }
}
