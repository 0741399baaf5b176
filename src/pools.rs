//! Which ports share a pool: those of one host that were given none, as far as its buffers serve them.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use driver_core::buf::{BufPool, PoolConfig, PoolError};
use driver_core::device::{Config, DeviceInfo};
use driver_core::host::DmaDomain;

/// What a driver would make for a device of its own.
pub(crate) type OwnPool = fn(&DeviceInfo, &Config) -> PoolConfig;

/// Every card of this family can be told of buffers in steps of this (82599 datasheet, 8.2.3.8.7: SRRCTL.BSIZEPACKET counts KB).
const DATA_STEP_BYTES: u32 = 1024;

/// What the devices of one host know of one another's buffers.
#[derive(Clone, Default)]
pub(crate) struct Pools(Arc<Mutex<Book>>);

#[derive(Default)]
struct Book {
    domain: Option<DmaDomain>,
    /// Devices that are open and not started.
    waiting: Vec<(u64, Need)>,
    /// The number of the next device.
    next: u64,
    /// What the application made for all of them.
    made: Option<BufPool>,
    /// What was made for those that are started with no other.
    common: Option<Common>,
}

/// What a device would make for itself.
struct Need {
    info: DeviceInfo,
    own_pool: OwnPool,
}

/// A pool that ports share. It goes with the last of them.
struct Common {
    pool: BufPool,
    /// Buffers that ports were promised.
    promised: u32,
    ports: u32,
}

impl Pools {
    /// Lists a device that was opened in `domain`.
    pub(crate) fn add(&self, domain: &DmaDomain, info: &DeviceInfo, own_pool: OwnPool) -> Place {
        let mut book = self.lock();
        book.domain.get_or_insert_with(|| domain.clone());
        let number = book.next;
        book.next += 1;
        book.waiting.push((number, Need { info: info.clone(), own_pool }));
        Place { pools: self.clone(), number }
    }

    /// Makes a pool for all devices that are started from here on. `None`: no device is open whose domain it could be in.
    pub(crate) fn make(&self, config: PoolConfig) -> Option<Result<BufPool, PoolError>> {
        let mut book = self.lock();
        let made = BufPool::new(book.domain.as_ref()?, config);
        let before = made.as_ref().ok().and_then(|pool| book.made.replace(pool.clone()));
        // Its memory may be unmapped now, which takes time.
        drop(book);
        drop(before);
        Some(made)
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let book = self.lock();
        write!(f, "Pools({} devices wait, {} ports share)", book.waiting.len(), book.common.as_ref().map_or(0, |common| common.ports))
    }
}

/// A device's place among those of its host, until it is started or closed.
pub(crate) struct Place {
    pools: Pools,
    number: u64,
}

impl Place {
    /// The configuration to start the device with: `config`, and where it has no pool the one that the device is to share, if there is any. With it what
    /// the port holds of that pool until its end.
    pub(crate) fn config(self, config: &Config) -> (Config, Option<Share>) {
        let mut book = self.pools.lock();
        let Some(need) = book.leave(self.number) else { return (config.clone(), None) };
        if config.given_pool().is_some() {
            return (config.clone(), None);
        }
        if let Some(pool) = &book.made {
            return (config.clone().pool(pool.clone()), None);
        }
        let own = need.of(config);
        if book.common.is_none() {
            book.make_common(config, own);
        }
        let Some(common) = book.common.as_mut() else { return (config.clone(), None) };
        let name = &need.info.name;
        if let Err(why) = common.serves(own) {
            log::info!("{name}: makes a pool of its own: {why}");
            return (config.clone(), None);
        }
        common.promised += own.buffers;
        common.ports += 1;
        log::info!("{name}: shares a pool of {} buffers of {} bytes with the devices of its host", common.pool.len(), common.pool.data_bytes());
        let config = config.clone().pool(common.pool.clone());
        drop(book);
        (config, Some(Share { pools: self.pools.clone(), buffers: own.buffers }))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pools.lock().leave(self.number);
    }
}

impl Book {
    fn leave(&mut self, number: u64) -> Option<Need> {
        let at = self.waiting.iter().position(|(waiting, _)| *waiting == number)?;
        Some(self.waiting.swap_remove(at).1)
    }

    /// Makes the pool for a device that needs `own`, and for all that are not started yet, as if they were started alike. Where none waits there is none, and
    /// where the memory cannot be had each makes one of its own.
    fn make_common(&mut self, config: &Config, own: PoolConfig) {
        let Some(domain) = self.domain.as_ref().filter(|_| !self.waiting.is_empty()) else { return };
        let all = self.waiting.iter().map(|(_, need)| need.of(config)).fold(own, |all, one| {
            PoolConfig::new(all.buffers.saturating_add(one.buffers))
                .data_bytes(all.data_bytes.max(one.data_bytes))
                .headroom_bytes(all.headroom_bytes.max(one.headroom_bytes))
        });
        match BufPool::new(domain, all.data_bytes(all.data_bytes.next_multiple_of(DATA_STEP_BYTES))) {
            Ok(pool) => self.common = Some(Common { pool, promised: 0, ports: 0 }),
            Err(error) => log::info!("no pool for all devices of the host: {error}"),
        }
    }
}

impl Need {
    /// The pool that the device would make where it is started with `config`, as far as it can be.
    fn of(&self, config: &Config) -> PoolConfig {
        let (info, rx, tx) = (&self.info, config.rx_config(), config.tx_config());
        let ring = |len: u32| len.clamp(*info.ring_limits.start(), *info.ring_limits.end());
        let queues = config.clone().rx_queues(rx.queue_count().min(info.max_rx_queues)).tx_queues(tx.queue_count().min(info.max_tx_queues));
        let config = queues.rx_ring(ring(rx.ring_len())).tx_ring(ring(tx.ring_len()));
        let mtu = config.mtu_bytes().map(|mtu| mtu.min(info.max_mtu));
        (self.own_pool)(info, &mtu.map_or(config.clone(), |mtu| config.mtu(mtu)))
    }
}

impl Common {
    /// Whether a device that would make `own` does as well with this one.
    fn serves(&self, own: PoolConfig) -> Result<(), String> {
        let (pool, PoolConfig { buffers, data_bytes, headroom_bytes, .. }) = (&self.pool, own);
        if pool.data_bytes() < data_bytes || pool.headroom_bytes() < headroom_bytes {
            let (have, room) = (pool.data_bytes(), pool.headroom_bytes());
            return Err(format!(
                "it needs buffers of {data_bytes} bytes with {headroom_bytes} of headroom, and those of its host's pool have {have} with {room}"
            ));
        }
        // What was promised to others is theirs; what is out beyond that, an application keeps.
        let left = (pool.len() - self.promised).min(pool.available());
        if left < buffers {
            return Err(format!("it needs {buffers} buffers, and its host's pool has {left} left: open all devices before the first is started"));
        }
        Ok(())
    }
}

/// What a port holds of the common pool.
pub(crate) struct Share {
    pools: Pools,
    buffers: u32,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut book = self.pools.lock();
        let Some(common) = &mut book.common else { return };
        common.promised -= self.buffers;
        common.ports -= 1;
        let last = if common.ports == 0 { book.common.take() } else { None };
        // Its memory may be unmapped now, which takes time.
        drop(book);
        drop(last);
    }
}

#[cfg(all(test, feature = "sim", feature = "ixgbe", feature = "virtio-net"))]
mod tests {
    use driver_core::device::{Caps, NetDriver};
    use driver_core::ether::MacAddr;
    use sim::{Iommu, SimFunction};

    use super::*;

    fn info(name: &str, ring_limit: u32, used_caps: Caps) -> DeviceInfo {
        let mut info = DeviceInfo::new(name, "", "", MacAddr([2, 0, 0, 0, 0, 1]));
        (info.ring_limits, info.used_caps, info.max_mtu) = (8..=ring_limit, used_caps, 9700);
        info
    }

    const IXGBE: OwnPool = ixgbe::Ixgbe::<SimFunction>::pool_config;
    const VIRTIO: OwnPool = virtio_net::VirtioNet::<SimFunction>::pool_config;

    /// The pool that each of these devices is started with, in order; `None`: one of its own.
    fn pools<const DEVICES: usize>(devices: [(DeviceInfo, OwnPool); DEVICES], config: &Config) -> [Option<BufPool>; DEVICES] {
        let (pools, iommu) = (Pools::default(), Iommu::new());
        let places = devices.map(|(info, own_pool)| pools.add(&iommu.domain(), &info, own_pool));
        let shares = places.map(|place| place.config(config));
        assert!(format!("{pools:?}").starts_with("Pools(0 devices wait, "));
        shares.map(|(config, _share)| config.given_pool().cloned())
    }

    /// A virtio device that does not spread frames needs buffers of any size, a card some of whole KB.
    #[test]
    fn buffers_are_as_large_as_the_largest_and_of_a_size_that_every_card_takes() {
        let config = Config::new().mtu(9000);
        for turned in [false, true] {
            let mut devices = [(info("v", 4096, Caps::empty()), VIRTIO), (info("i", 4096, Caps::RX_SCATTER), IXGBE)];
            if turned {
                devices.reverse();
            }
            let [Some(one), Some(other)] = pools(devices, &config) else { panic!("they share") };
            assert_eq!((one.is_same(&other), one.data_bytes(), one.headroom_bytes()), (true, 9216, 128));
        }
    }

    /// Rings are as long as they can be, and nobody waits for buffers that no ring will hold.
    #[test]
    fn a_device_with_short_rings_has_its_share_whoever_is_first() {
        for [first, second] in [[256, 4096], [4096, 256], [256, 256]] {
            let devices = [(info("v", first, Caps::RX_SCATTER), VIRTIO), (info("w", second, Caps::RX_SCATTER), VIRTIO)];
            let [Some(one), Some(other)] = pools(devices, &Config::new().rx_ring(1024).tx_ring(1024)) else { panic!("they share") };
            let rings = [first, second].map(|ring| 2 * ring.min(1024));
            assert_eq!((one.is_same(&other), one.len()), (true, rings[0] + rings[1] + 2 * 1024));
        }
    }

    #[test]
    fn a_device_alone_and_one_that_was_given_a_pool_share_nothing() {
        assert!(matches!(pools([(info("v", 256, Caps::empty()), VIRTIO)], &Config::new()), [None]));
        let given = BufPool::new(&Iommu::new().domain(), PoolConfig::new(64)).unwrap();
        let devices = [(info("v", 256, Caps::empty()), VIRTIO), (info("w", 256, Caps::empty()), VIRTIO)];
        let shared = pools(devices, &Config::new().pool(given.clone()));
        assert!(shared.iter().flatten().filter(|pool| pool.is_same(&given)).count() == 2);
    }

    /// A pool beyond all memory: each device says by itself what it cannot have.
    #[test]
    fn where_there_is_no_memory_for_all_each_is_on_its_own() {
        let endless: OwnPool = |_, _| PoolConfig::new(u32::MAX).data_bytes(16384);
        let devices = [(info("v", 256, Caps::empty()), endless), (info("w", 256, Caps::empty()), endless)];
        assert!(matches!(pools(devices, &Config::new()), [None, None]));
    }
}
