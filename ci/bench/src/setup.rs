//! Ports, pools and programs, as a row of the table has them.

use driver_core::buf::{BufPool, PoolConfig};
use driver_core::device::Config;
use driver_core::host::DmaDomain;
use driver_core::queue::{RxQueue, TxQueue};

use crate::lap::{Bench, Card, Lap, Port};
use crate::workload::{Driver, Row, Shape};
use crate::{host, ixgbe_stub, virtio_stub};

/// A lap of a row.
pub(crate) fn lap(row: Row) -> Box<dyn Lap> {
    let (domain, shape) = (host::domain(), row.workload.shape());
    match row.driver {
        Driver::Ixgbe => on(row, || ixgbe_stub::port(&domain, &config(row, &domain), shape)),
        Driver::VirtioNet => on(row, || virtio_stub::split(&domain, &config(row, &domain), shape)),
        Driver::VirtioPacked => on(row, || virtio_stub::packed(&domain, &config(row, &domain), shape)),
        Driver::VirtioNetHash => on(row, || virtio_stub::split_hash(&domain, &config(row, &domain).rx_hash(true), shape)),
        Driver::VirtioNetOffloads => on(row, || virtio_stub::split_offloads(&domain, &config(row, &domain), shape)),
        Driver::VirtioPackedOffloads => on(row, || virtio_stub::packed_offloads(&domain, &config(row, &domain), shape)),
        Driver::VirtioPackedHash => on(row, || virtio_stub::packed_hash(&domain, &config(row, &domain).rx_hash(true), shape)),
    }
}

fn on<R: RxQueue + 'static, T: TxQueue + 'static, C: Card + 'static>(row: Row, port: impl Fn() -> Port<R, T, C>) -> Box<dyn Lap> {
    let ports = (0..row.workload.ports()).map(|_| port());
    if row.facade { Box::new(Bench::new(row, ports.map(Port::erased).collect())) } else { Box::new(Bench::new(row, ports.collect())) }
}

/// With a pool of its own for each port.
fn config(row: Row, domain: &DmaDomain) -> Config {
    let Shape { frame_bytes, buffer_bytes, .. } = row.workload.shape();
    let pieces = frame_bytes.div_ceil(buffer_bytes);
    let pool = PoolConfig::new(2 * row.ring + 1024 + 2 * pieces * row.batch as u32).data_bytes(buffer_bytes);
    let pool = BufPool::new(domain, pool).expect("a pool from the heap");
    Config::new().rx_ring(row.ring).tx_ring(row.ring).mtu(if frame_bytes > 1514 { 9000 } else { 1500 }).pool(pool)
}
