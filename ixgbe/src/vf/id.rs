//! Which virtual functions there are.

use crate::id::{Family, Media, Model};

const fn function(device: u16, family: Family, name: &'static str) -> Model {
    Model { device, family, media: Media::Shared, name }
}

/// The id table. In configuration space itself a virtual function has no IDs: these are what its physical function's SR-IOV capability says, and hosts show.
pub const MODELS: &[Model] = &[
    function(0x10ed, Family::I82599, "Intel 82599 virtual function"),
    function(0x1515, Family::X540, "Intel X540 virtual function"),
    function(0x1565, Family::X550, "Intel X550 virtual function"),
    function(0x15a8, Family::X550, "Intel X550EM_x virtual function"),
    function(0x15c5, Family::X550, "Intel X550EM_a virtual function"),
];
