//! Why a device cannot be started as it is asked to.

use core::fmt;

use crate::buf::pool::{PoolConfig, PoolError};
use crate::device::link::LinkSpeeds;
use crate::device::mac_pools::MacPools;
use crate::device::rss::RssError;
use crate::queue::gate::GateError;

/// A configuration that the device cannot be started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A number of queues.
    Queues {
        /// `receive` or `transmit`.
        direction: &'static str,
        /// How many.
        asked: u16,
        /// The most there are.
        max: u16,
    },
    /// A ring size.
    Ring {
        /// `receive` or `transmit`.
        direction: &'static str,
        /// How many descriptors.
        asked: u32,
        /// Smallest.
        min: u32,
        /// Largest.
        max: u32,
    },
    /// The MTU.
    Mtu {
        /// In bytes.
        asked: u32,
        /// Smallest.
        min: u32,
        /// Largest.
        max: u32,
    },
    /// The gate's thresholds.
    Gate(GateError),
    /// The pool that the configuration asks for cannot be made.
    Pool(PoolConfig),
    /// The pool lies in memory that the device does not reach.
    PoolDomain,
    /// The pool's buffers are not of a size that the device can be told.
    PoolSteps {
        /// Their size in bytes.
        buffer_bytes: u32,
    },
    /// The pool's buffers are smaller than a frame, and the device does not spread frames over several.
    PoolBuffers {
        /// Their size in bytes.
        buffer_bytes: u32,
        /// What is needed.
        min_bytes: u32,
    },
    /// The pool's buffers have no room for the device's header.
    PoolHeadroom {
        /// Their headroom in bytes.
        headroom_bytes: u32,
        /// What is needed.
        min_bytes: u32,
    },
    /// The pool has too few buffers for the queues.
    PoolCount {
        /// Buffers it has.
        buffers: u32,
        /// Buffers needed.
        needed: u32,
    },
    /// The EtherType of an outer VLAN tag.
    OuterVlan {
        /// It.
        asked: u16,
    },
    /// The redirection table of receive side scaling.
    Rss(RssError),
    /// How far apart interrupts are.
    Moderation {
        /// In microseconds.
        asked_us: u32,
        /// The most that the device counts.
        max_us: u32,
    },
    /// The function has too few interrupt vectors.
    Vectors {
        /// Vectors it has.
        available: u16,
        /// Vectors needed.
        needed: u16,
    },
    /// Queues with addresses of their own.
    MacPools {
        /// How many.
        asked: u16,
        /// Queues that are left for all other frames.
        spread: u16,
        /// What goes together, the fewest pools first.
        has: &'static [MacPools],
    },
    /// Queues with addresses of their own, and something that the device does not do beside them.
    BesideMacPools {
        /// What it is, and how to go without.
        what: &'static str,
    },
    /// The speeds to be offered.
    LinkSpeeds {
        /// Those that were asked for.
        asked: LinkSpeeds,
        /// Those that the device can offer.
        has: LinkSpeeds,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queues { direction, asked, max } => write!(f, "{asked} {direction} queues asked for: take 1 to {max}"),
            Self::Ring { direction, asked, min, max } => {
                write!(f, "a {direction} ring of {asked} descriptors asked for: take a power of two from {min} to {max}")
            }
            Self::Mtu { asked, min, max } => write!(f, "an MTU of {asked} bytes asked for: take {min} to {max}"),
            Self::Gate(error) => write!(f, "transmit gate: {error}"),
            Self::Pool(config) => PoolError::Config(*config).fmt(f),
            Self::PoolDomain => f.write_str("the pool's memory is not mapped for this device: make the pool in the device's own DMA domain"),
            Self::PoolSteps { buffer_bytes } => {
                write!(f, "the pool's buffers hold {buffer_bytes} bytes: the card takes 1024 to 16384, in steps of 1024")
            }
            Self::PoolBuffers { buffer_bytes, min_bytes } => {
                write!(
                    f,
                    "the pool's buffers hold {buffer_bytes} bytes and this device needs {min_bytes} for its MTU: make them larger or the MTU smaller"
                )
            }
            Self::PoolHeadroom { headroom_bytes, min_bytes } => {
                write!(f, "the pool's buffers have {headroom_bytes} bytes of headroom: the device's header needs {min_bytes}")
            }
            Self::PoolCount { buffers, needed } => write!(f, "the pool has {buffers} buffers, the queues need {needed}: make it larger"),
            Self::OuterVlan { asked } => {
                write!(f, "an outer VLAN tag of EtherType {asked:#06x} asked for, which names no tag: take 0x88a8 (IEEE 802.1ad), 0x8100 or 0x9100")
            }
            Self::Rss(error) => error.fmt(f),
            Self::Moderation { asked_us, max_us } => {
                write!(f, "interrupts {asked_us} us apart asked for: take 0 to {max_us}, or `Moderation::Adaptive`")
            }
            Self::MacPools { asked, spread, has } => {
                write!(f, "{asked} receive queues with addresses of their own asked for, and {spread} for all other frames: ")?;
                match has {
                    [] => f.write_str("this device has no such queues: start it without, and look at the address in software"),
                    [first, rest @ ..] => {
                        write!(f, "it can have {first}")?;
                        rest.iter().try_for_each(|way| write!(f, ", or {way}"))
                    }
                }
            }
            Self::BesideMacPools { what } => write!(f, "beside receive queues with addresses of their own the device has no {what}"),
            Self::LinkSpeeds { asked, has } => write!(f, "{asked} asked for as speeds to offer, and the device has {has}: take some of these"),
            Self::Vectors { available, needed } => {
                write!(f, "interrupts need {needed} vectors (one a receive queue), the function has {available}: ")?;
                // One queue is the least.
                match *available {
                    0 => f.write_str("start it without interrupts, and poll"),
                    queues => write!(f, "use at most {queues} receive queues, or start it without interrupts, and poll"),
                }
            }
        }
    }
}
impl core::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn fewer_queues_are_advised_where_there_can_be_fewer() {
        let text = |available, needed| ConfigError::Vectors { available, needed }.to_string();
        assert!(text(3, 5).ends_with("the function has 3: use at most 3 receive queues, or start it without interrupts, and poll"));
        assert!(text(0, 1).ends_with("the function has 0: start it without interrupts, and poll"));
    }

    #[test]
    fn queues_that_do_not_go_together_are_told_what_does() {
        static HAS: [MacPools; 2] = [MacPools { pools: 15, spread: 4 }, MacPools { pools: 31, spread: 2 }];
        let text = |has| ConfigError::MacPools { asked: 20, spread: 3, has }.to_string();
        assert!(text(&HAS).ends_with("and 3 for all other frames: it can have up to 15 beside 1 to 4 others, or up to 31 beside 1 to 2 others"));
        assert!(text(&[]).contains("this device has no such queues: start it without"));
        assert_eq!(
            [(15, 4), (16, 3), (31, 2), (32, 1), (1, 0)].map(|(pools, spread)| HAS.iter().any(|way| way.has(pools, spread))),
            [true, false, true, false, false]
        );
    }
}
