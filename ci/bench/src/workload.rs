//! What is measured: the ways in which programs use a driver.

use clap::{Args, ValueEnum};
use driver_core::buf::{BufPool, PoolConfig};
use driver_core::device::Config;
use driver_core::host::DmaDomain;

use crate::lap::{Bench, Lap, Port};
use crate::{host, ixgbe_stub, virtio_stub};

/// Which driver.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Driver {
    Ixgbe,
    VirtioNet,
}

/// What the program does with its frames.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// Receive, swap the addresses, transmit: one port.
    Forward,
    /// The same from one port to another of the same domain, each with a pool of its own.
    TwoPools,
    /// The same between two such ports both ways, with one batch.
    BothWays,
    /// Forward 9,014 bytes in buffers of 2,048.
    JumboChain,
    /// Forward 9,014 bytes in one buffer of 10 KiB.
    JumboBuffer,
    /// Receive, and drop all that came: `Batch::clear`.
    Drop,
    /// The same by `Batch::retain`, which looks at each frame.
    DropRetain,
    /// Make frames of 60 bytes, and send them.
    Send,
    /// Forward with a batch for receive and one for transmit; buffers come back by the pool.
    TwoBatches,
}

/// Frames as the wire brings them.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) frame_bytes: u32,
    /// As many as a buffer takes.
    pub(crate) buffer_bytes: u32,
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
    fn shape(self) -> Shape {
        match self {
            Self::JumboChain => Shape { frame_bytes: 9014, buffer_bytes: 2048 },
            Self::JumboBuffer => Shape { frame_bytes: 9014, buffer_bytes: 10 * 1024 },
            _ => Shape { frame_bytes: 60, buffer_bytes: 2048 },
        }
    }

    /// Which ports the frames come from and go to, the `round`th time in a lap.
    pub(crate) fn way(self, round: usize) -> [usize; 2] {
        if self.ports() == 2 { [round, 1 - round] } else { [0, 0] }
    }

    fn ports(self) -> usize {
        if matches!(self, Self::TwoPools | Self::BothWays) { 2 } else { 1 }
    }
}

impl Row {
    /// A lap of it.
    pub(crate) fn lap(self) -> Box<dyn Lap> {
        let domain = host::domain();
        match self.driver {
            Driver::Ixgbe => self.on(|| ixgbe_stub::port(&domain, &self.config(&domain), self.workload.shape())),
            Driver::VirtioNet => self.on(|| virtio_stub::port(&domain, &self.config(&domain), self.workload.shape())),
        }
    }

    fn on<R, T, C>(self, port: impl Fn() -> Port<R, T, C>) -> Box<dyn Lap>
    where
        R: driver_core::queue::RxQueue + 'static,
        T: driver_core::queue::TxQueue + 'static,
        C: crate::lap::Card + 'static,
    {
        let ports = (0..self.workload.ports()).map(|_| port());
        if self.facade { Box::new(Bench::new(self, ports.map(Port::erased).collect())) } else { Box::new(Bench::new(self, ports.collect())) }
    }

    /// With a pool of its own for each port.
    fn config(self, domain: &DmaDomain) -> Config {
        let Shape { frame_bytes, buffer_bytes } = self.workload.shape();
        let pieces = frame_bytes.div_ceil(buffer_bytes);
        let pool = PoolConfig::new(2 * self.ring + 1024 + 2 * pieces * self.batch as u32).data_bytes(buffer_bytes);
        let pool = BufPool::new(domain, pool).expect("a pool from the heap");
        Config::new().rx_ring(self.ring).tx_ring(self.ring).mtu(if frame_bytes > 1514 { 9000 } else { 1500 }).pool(pool)
    }
}
