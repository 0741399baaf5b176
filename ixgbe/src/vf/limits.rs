//! What a virtual function may be started with.

use driver_core::device::{Caps, Config, ErrorKind};
use driver_core::ether::FrameLimits;

use crate::config::{self, MAX_MTU};
use crate::id::Family;
use crate::vf::requests::Api;

/// What is the physical function's, or what this driver does not let a virtual one do.
const LEFT_OUT: Caps = Caps::FLOW_CONTROL.union(Caps::FLOW_STEERING).union(Caps::RX_COALESCING).union(Caps::HEADER_SPLIT).union(Caps::DOUBLE_VLAN);
/// What a virtual function can do and this driver lets it do.
pub(crate) const DRIVEN: Caps = config::DRIVEN.difference(LEFT_OUT);
/// VF-MTU: the largest MTU of an 82599's function that talks to its physical one by version 1.0.
const MAX_MTU_1_0: u32 = 1504;

pub(crate) const NO_RULES: ErrorKind = ErrorKind::Unsupported {
    what: "rules for received frames: the tables are its physical function's",
    instead: "look at the frames in software, behind `RxQueue::poll`, or have the physical function's driver steer them",
};

/// VF-LENGTH: frames of the port's largest MTU come in whatever the function's own is.
pub(crate) fn incoming() -> FrameLimits {
    FrameLimits::of(MAX_MTU)
}

pub(crate) fn max_mtu(family: Family, api: Api) -> u32 {
    if family == Family::I82599 && api == Api::V1_0 { MAX_MTU_1_0 } else { MAX_MTU }
}

/// That nothing is asked for which is the physical function's.
pub(crate) fn check(config: &Config) -> Result<(), ErrorKind> {
    if !config.wanted_rules().is_empty() || config.wanted_flow_table() != driver_core::device::FlowTable::Off { Err(NO_RULES) } else { Ok(()) }
}
