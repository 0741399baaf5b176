//! A started device.

use alloc::vec::Vec;

use crate::buf::pool::BufPool;
use crate::device::info::{DeviceInfo, Link, RxMode};
use crate::device::settings::Settings;
use crate::device::stats::Stats;
use crate::ether::MacAddr;
use crate::queue::contract::{RxQueue, TxQueue};

/// A started device: the control handle, and queues that leave it, one per worker.
#[derive(Debug)]
#[non_exhaustive]
pub struct Started<C, R, T> {
    /// Link, filters, statistics, stop.
    pub control: C,
    /// Receive queues, each with its interrupt where [`Config::interrupts`](crate::device::Config::interrupts) asked for them.
    pub rx: Vec<R>,
    /// Transmit queues.
    pub tx: Vec<T>,
    /// The pool that receive buffers come from. Frames to send come from it too: [`BufPool::take`].
    pub pool: BufPool,
}

impl<C, R, T> Started<C, R, T> {
    /// Puts the parts together.
    pub fn new(control: C, rx: Vec<R>, tx: Vec<T>, pool: BufPool) -> Self {
        Self { control, rx, tx, pool }
    }
}

/// The control handle of a started device. Dropping it stops the device.
pub trait NetDevice: Send {
    /// What the driver's own errors are.
    type Error: core::error::Error + Send + Sync + 'static;
    /// The driver's receive queue.
    type Rx: RxQueue;
    /// The driver's transmit queue.
    type Tx: TxQueue;

    /// What the device is and can do.
    fn info(&self) -> &DeviceInfo;
    /// How it is set now: what was configured, and what was set since.
    fn settings(&self) -> &Settings;
    /// The address it has now.
    fn mac(&self) -> MacAddr {
        self.settings().mac()
    }
    /// Gives it another address.
    ///
    /// # Errors
    /// Where `mac` is no unicast address or the device cannot change it.
    fn set_mac(&mut self, mac: MacAddr) -> Result<(), Self::Error>;
    /// The MTU it was started with, in bytes.
    fn mtu(&self) -> u32 {
        self.settings().mtu()
    }
    /// The link as it is now. Changes are counted in `carrier_changes`.
    fn link(&mut self) -> Link;
    /// Sets promiscuous and all-multicast mode.
    ///
    /// # Errors
    /// Where the device cannot.
    fn set_rx_mode(&mut self, mode: RxMode) -> Result<(), Self::Error>;
    /// Replaces the further unicast addresses that it receives.
    ///
    /// # Errors
    /// Where there are more than the device filters, or one is no unicast address.
    fn set_unicast_filters(&mut self, addresses: &[MacAddr]) -> Result<(), Self::Error>;
    /// Replaces the multicast addresses that it receives.
    ///
    /// # Errors
    /// Where one is no multicast address, or there are more than the device filters.
    fn set_multicast_filters(&mut self, addresses: &[MacAddr]) -> Result<(), Self::Error>;
    /// Counters since the start.
    fn stats(&mut self) -> Stats;
    /// Stops the device and takes its queues back; when it returns, the device writes to no memory any more.
    ///
    /// # Errors
    /// Where the device does not confirm that it stopped.
    fn stop(&mut self) -> Result<(), Self::Error>;
}
