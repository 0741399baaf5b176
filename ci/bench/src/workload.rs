//! What is measured: the ways in which programs use a driver.

use clap::{Args, ValueEnum};

/// Which driver.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Driver {
    Ixgbe,
    VirtioNet,
    VirtioPacked,
    /// Received frames tell their hash.
    VirtioNetHash,
    /// The same.
    VirtioPackedHash,
    /// The card fills checksums in, checks those of received frames, and cuts TCP.
    VirtioNetOffloads,
    /// The same.
    VirtioPackedOffloads,
}

/// What the program does with its frames.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// Receive, swap the addresses, transmit: one port.
    Forward,
    /// The same, with the checksum of TCP left to the card.
    ForwardChecksums,
    /// Forward from one port to another of the same domain, each with a pool of its own.
    TwoPools,
    /// The same between two such ports both ways, with one batch.
    BothWays,
    /// Forward 9,014 bytes in buffers of 2,048.
    JumboChain,
    /// Forward 9,014 bytes in one buffer of 10 KiB.
    JumboBuffer,
    /// Send what the card cuts: 65,535 bytes of TCP over IPv4 in buffers of 2,048, made by whoever sends them, as 45 segments.
    LargeChain,
    /// The same in buffers of 16 KiB.
    LargeBuffers,
    /// Receive, and drop all that came: `Batch::clear`.
    Drop,
    /// The same by `Batch::retain`, which looks at each frame.
    DropRetain,
    /// Make frames of 60 bytes, and send them.
    Send,
    /// Forward with a batch for receive and one for transmit; buffers come back by the pool.
    TwoBatches,
    /// Forward by the three stages of the example `pipeline`, which hand a batch from one to the next; in turn, by one thread.
    Pipeline,
    /// A verdict in place: swap the addresses, transmit.
    Hook,
    /// The same out of another port of the same domain, each with a pool of its own.
    HookTwoPools,
    /// Of one port, with a quarter dropped.
    HookQuarter,
    /// The same with 99 of 100 dropped.
    HookDrop,
    /// A verdict in place that hands all up, which is dropped there: `Batch::clear`.
    HookPass,
}

/// Frames as the wire brings them.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) frame_bytes: u32,
    /// As many as a buffer takes.
    pub(crate) buffer_bytes: u32,
    /// Whether each carries a number that hooks decide by.
    pub(crate) is_marked: bool,
}

/// One figure of the table.
#[derive(Clone, Copy, Args)]
pub(crate) struct Row {
    /// Which driver.
    #[arg(long, value_enum, default_value_t = Driver::Ixgbe)]
    pub(crate) driver: Driver,
    /// What the program does.
    #[arg(long, value_enum, default_value_t = Workload::Forward)]
    pub(crate) workload: Workload,
    /// Through queues whose driver is erased, as the facade's ports have them.
    #[arg(long)]
    pub(crate) facade: bool,
    /// Frames in one lap.
    #[arg(long, default_value_t = 32)]
    pub(crate) batch: usize,
    /// Descriptors in each ring.
    #[arg(long, default_value_t = 512)]
    pub(crate) ring: u32,
}

impl Workload {
    pub(crate) fn shape(self) -> Shape {
        match self {
            Self::JumboChain => Shape { frame_bytes: 9014, buffer_bytes: 2048, is_marked: false },
            Self::JumboBuffer => Shape { frame_bytes: 9014, buffer_bytes: 10 * 1024, is_marked: false },
            Self::LargeChain => Shape { frame_bytes: 14 + 65_535, buffer_bytes: 2048, is_marked: false },
            Self::LargeBuffers => Shape { frame_bytes: 14 + 65_535, buffer_bytes: 16 * 1024, is_marked: false },
            _ => Shape { frame_bytes: 60, buffer_bytes: 2048, is_marked: self.is_hook() },
        }
    }

    /// Whether its frames are made apart from what is measured.
    pub(crate) fn is_large(self) -> bool {
        matches!(self, Self::LargeChain | Self::LargeBuffers)
    }

    /// Whether a hook judges frames where they lie.
    pub(crate) fn is_hook(self) -> bool {
        matches!(self, Self::Hook | Self::HookTwoPools | Self::HookQuarter | Self::HookDrop | Self::HookPass)
    }

    /// Which ports the frames come from and go to, the `round`th time in a lap.
    pub(crate) fn way(self, round: usize) -> [usize; 2] {
        if self.ports() == 2 { [round, 1 - round] } else { [0, 0] }
    }

    pub(crate) fn ports(self) -> usize {
        if matches!(self, Self::TwoPools | Self::BothWays | Self::HookTwoPools) { 2 } else { 1 }
    }
}
