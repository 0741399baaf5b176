//! What a start maps in all, against what the first mapping that fails says that it will: one change of the limit on locked memory has to serve.

use std::sync::Arc;

use barewire::driver_core::host::PciFunction;
use barewire::sim::ixgbe::{Ixgbe as IxgbeModel, IxgbeOptions};
use barewire::sim::virtio_net::{VirtioNet as VirtioModel, VirtioNetOptions};
use barewire::sim::wire::peer;
use barewire::sim::{Iommu, Model, SimClock, SimDevice, SimFunction};
use barewire::vfio::start_bytes;
use barewire::{BufPool, Config, PoolConfig};
use barewire::{ixgbe, virtio_net};

/// A card, and the mappings of its domain.
fn card(model: Box<dyn Model>) -> (SimFunction, Arc<SimClock>, Arc<Iommu>) {
    let iommu = Iommu::new();
    let device = SimDevice::new("sim", model, Box::new(peer::pair(1).0), iommu.clone());
    (device.function(), Arc::new(SimClock::new([device.clone()])), iommu)
}

/// The estimate from the buffers, which are mapped first, must hold what the start maps, and not twice as much where that is more than a little.
fn assert_foreseen(what: &str, iommu: &Iommu) {
    let mapped = iommu.mapping_bytes();
    let (all, largest) = (mapped.iter().sum::<u64>(), mapped.iter().copied().max().unwrap());
    let foreseen = start_bytes(largest, 1);
    assert!(all <= foreseen, "{what}: {all} bytes are mapped, {foreseen} were foreseen: {mapped:?}");
    assert!(foreseen <= all + all / 8 + (1 << 20), "{what}: {foreseen} bytes were foreseen, and {all} are mapped");
}

#[test]
fn the_first_mapping_tells_what_the_whole_start_of_an_ixgbe_takes() {
    for (queues, ring) in [(1, 64), (1, 512), (4, 512), (16, 512), (16, 4096)] {
        let (function, clock, iommu) = card(Box::new(IxgbeModel::new(IxgbeOptions::new())));
        let config = Config::new().rx_queues(queues).tx_queues(queues).rx_ring(ring).tx_ring(ring);
        let started = ixgbe::open(function, clock).unwrap().start(&config).unwrap();
        assert_foreseen(&format!("{queues} queues with rings of {ring}"), &iommu);
        drop(started);
    }
}

#[test]
fn the_first_mapping_tells_what_the_whole_start_of_a_virtio_card_takes() {
    for ring in [64, 256, 4096, 32768] {
        let (function, clock, iommu) = card(Box::new(VirtioModel::new(VirtioNetOptions::new().queue_size(ring as u16))));
        let started = virtio_net::open(function, clock).unwrap().start(&Config::new().rx_ring(ring).tx_ring(ring)).unwrap();
        assert_foreseen(&format!("rings of {ring}"), &iommu);
        drop(started);
    }
}

#[test]
fn a_pool_of_the_application_is_the_largest_too() {
    let (function, clock, iommu) = card(Box::new(IxgbeModel::new(IxgbeOptions::new())));
    let pool = BufPool::new(function.dma(), PoolConfig::new(8192)).unwrap();
    let started = ixgbe::open(function, clock).unwrap().start(&Config::new().rx_ring(4096).tx_ring(4096).pool(pool)).unwrap();
    assert_foreseen("a pool of 8192 buffers", &iommu);
    drop(started);
}
