//! Initialisation in the specification's order (3.1.1, 4.1.5.1): features, and the vector of configuration changes. Queues are in [`queues`](crate::queues).

use alloc::boxed::Box;

use driver_core::buf::BufPool;
use driver_core::device::{Config, DeviceState, ErrorKind, Offloads, Settings};
use driver_core::ether::FrameLimits;
use driver_core::host::{Interrupt, PciFunction, VectorPlan, Vectors};

use crate::card::Card;
use crate::error::HardwareError;
use crate::large;
use crate::regs::{Features, Status, net};
use crate::segment;

impl<F: PciFunction> Card<F> {
    /// Steps 4 to 6: accept features, set FEATURES_OK, "Re-read device status to ensure the FEATURES_OK bit is still set".
    pub(crate) fn negotiate(&self, pool: &BufPool, settings: &Settings, config: &Config) -> Result<Features, ErrorKind> {
        let (mut features, offloads) = (self.takes(), settings.offloads());
        let switches =
            [(Offloads::RX_CHECKSUM, Features::GUEST_CSUM), (Offloads::TX_CHECKSUM, Features::CSUM), (Offloads::RX_SCATTER, Features::MRG_RXBUF)];
        for (_, feature) in switches.into_iter().filter(|&(offload, _)| !offloads.contains(offload)) {
            features.remove(feature);
        }
        if !offloads.contains(Offloads::TX_SEGMENTATION) {
            features -= segment::CUTS;
        }
        if !config.wants_packed_queues() {
            features.remove(Features::RING_PACKED);
        }
        if !config.wants_in_order() {
            features.remove(Features::IN_ORDER);
        }
        if !config.wants_rx_hash() {
            features.remove(Features::HASH_REPORT);
        }
        // With it, no tag comes in that was not added (5.1.6.5.3.1).
        if settings.vlans().is_none() {
            features.remove(Features::CTRL_VLAN);
        }
        features = features.with_what_they_require();
        let room_bytes = u64::from(settings.rx().ring_len().min(self.queue_size(net::receiveq(0))?.into())) * u64::from(pool.data_bytes());
        features = (features - large::ALL) | large::guest_offloads(self.transport.name(), features, settings, room_bytes);
        // 5.1.4.2: with VIRTIO_NET_F_MTU the driver "MUST supply enough receive buffers to receive at least one receive packet of size mtu".
        let limits = FrameLimits::of(self.device_mtu.unwrap_or(0));
        if !features.contains(Features::MRG_RXBUF) && pool.data_bytes() < limits.tagged_bytes() {
            features.remove(Features::MTU);
        }
        self.agree(features)?;
        Ok(features)
    }

    /// Accepts these features, and sees that the device does too.
    pub(crate) fn agree(&self, features: Features) -> Result<(), ErrorKind> {
        self.transport.accept(features);
        self.transport.add_status(Status::FEATURES_OK);
        if self.transport.status().contains(Status::FEATURES_OK) {
            return Ok(());
        }
        Err(HardwareError::FeaturesRefused { accepted: features, offered: self.offered }.into())
    }

    /// Step 8: "Set the DRIVER_OK status bit. At this point the device is “live”."
    pub(crate) fn go_live(&self) -> Result<(), ErrorKind> {
        self.transport.add_status(Status::DRIVER_OK);
        match self.look() {
            Some(fault) => Err(ErrorKind::NotRunning(DeviceState::of_device(fault))),
            None => Ok(()),
        }
    }

    /// Turns the vectors on and gives the control vector to configuration changes (4.1.5.1.2).
    pub(crate) fn set_up_vectors(&self, plan: Option<VectorPlan>) -> Result<Vectors<Box<dyn Interrupt>>, ErrorKind> {
        let Some(plan) = plan else {
            self.transport.set_config_vector(None);
            return Ok(Vectors::default());
        };
        let vectors = self.function.lock().enable_interrupts(plan.count())?.map(|vector| self.transport.interrupt(vector));
        let vector = plan.control();
        if !self.transport.set_config_vector(Some(vector)) {
            return Err(HardwareError::Vector { what: "configuration changes", vector }.into());
        }
        Ok(vectors)
    }
}
