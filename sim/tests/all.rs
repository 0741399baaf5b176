//! The scenarios of this folder that need no process of their own, in one binary, which is linked once.
//! `cargo test -p barewire-sim --test all ixgbe_ptp::` runs those of one file.

mod captures;
#[path = "common/vfio_user.rs"]
mod client;
mod commands;
mod common;
mod hostile_drivers;
mod ixgbe_double_vlan;
mod ixgbe_eeprom;
mod ixgbe_flow;
mod ixgbe_interrupts;
mod ixgbe_loopback;
mod ixgbe_moderation;
mod ixgbe_offloads;
mod ixgbe_ptp;
mod ixgbe_receive;
mod ixgbe_registers;
mod ixgbe_rsc;
mod ixgbe_statistics;
mod ixgbe_steering;
mod ixgbe_transmit;
mod ixgbe_vf;
mod ixgbe_x550;
mod raw;
mod stepped;
#[path = "common/tcp.rs"]
mod tcp;
mod virtio_commands;
mod virtio_device;
mod virtio_mmio;
mod virtio_packed;
mod virtio_queue_reset;
mod virtio_registers;
mod virtio_split;
mod virtio_stats;
mod virtio_steering;
mod virtio_strict;
mod wire_dgram;
mod wire_pcap;
mod wire_pcap_pipes;
