//! Opening, negotiating and starting, and what a device may do wrong meanwhile.

use super::rig::{Rig, numbered, small, start_error, without};
use driver_core::buf::{BufPool, PoolConfig};
use driver_core::device::NetDevice;
use driver_core::ether::MacAddr;
use driver_core::host::DmaDomain;
use driver_core::queue::RxQueue;
use driver_core::testing::Liar;
use sim::virtio_net::VirtioNetOptions as Options;
use virtio_net::{ConfigError, ErrorKind, Features, HardwareError};

#[test]
fn open_reports_what_the_device_is_and_offers() {
    let rig = Rig::new();
    let device = rig.open().unwrap();
    let info = device.info();
    assert_eq!((info.driver, info.permanent_mac, info.max_mtu), ("virtio-net", MacAddr([0x02, 0, 0, 0x1a, 0xf4, 0x41]), 9000));
    assert_eq!(info.ring_limits, 8..=256);
    assert!(["MAC", "MRG_RXBUF", "EVENT_IDX", "VERSION_1", "ACCESS_PLATFORM"].iter().all(|name| info.features.iter().any(|f| f == name)), "{info:?}");
    assert_eq!(info.unused_features, ["CTRL_RX_EXTRA"]);
    rig.assert_clean();
}

/// Those of `features` that a card of one pair offers by itself, which cuts nothing, without the filter of VLANs, large frames and reports of hashes, for which nobody asked.
fn taken_of(features: Features) -> Features {
    let cuts = Features::HOST_TSO4 | Features::HOST_TSO6 | Features::HOST_ECN | Features::HOST_USO | Features::GUEST_HDRLEN;
    let large = Features::GUEST_TSO4 | Features::GUEST_TSO6 | Features::GUEST_ECN | Features::GUEST_USO4 | Features::GUEST_USO6;
    let moderation = Features::NOTF_COAL | Features::VQ_NOTF_COAL;
    features - Features::MQ - Features::RSS - Features::HASH_REPORT - moderation - Features::CTRL_VLAN - cuts - large
}

#[test]
fn packed_queues_are_left_alone_where_they_are_not_wanted() {
    let mut rig = Rig::with(Options::new().with(taken_of(Features::USED).bits()));
    let mut parts = rig.parts(&super::rig::any().packed_queues(false));
    assert_eq!(rig.model(|m| m.negotiated()), taken_of(Features::USED.difference(Features::RING_PACKED)).bits());
    assert!(!parts.control.info().features.iter().any(|name| name == "RING_PACKED"));
    parts.send(&[super::rig::numbered(1, 60)]);
    rig.run_us(20);
    assert_eq!(rig.arrived().len(), 1);
    drop(parts);
    rig.assert_clean();
}

#[test]
fn start_follows_the_order_of_the_specification_and_drop_resets() {
    let rig = Rig::with(Options::new().with(taken_of(Features::USED).bits()));
    let started = rig.start(&super::rig::any());
    // ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK.
    assert_eq!(rig.model(|m| m.status()), 1 | 2 | 8 | 4);
    let taken = taken_of(if super::rig::is_packed() { Features::USED } else { Features::USED.difference(Features::RING_PACKED) });
    assert_eq!(rig.model(|m| m.negotiated()), taken.bits());
    assert_eq!(started.control.kernel().features(), taken);
    drop(started);
    assert_eq!(rig.model(|m| m.status()), 0);
    rig.assert_clean();
}

/// Over vfio-user each access is a message to the server and back.
#[test]
fn opening_and_starting_take_few_accesses() {
    let (rig, liar) = (Rig::new(), Liar::default());
    let started = virtio_net::open(liar.over(rig.device.function()), rig.clock.clone()).unwrap().start(&super::rig::any()).unwrap();
    let (reads, writes) = liar.lies().accesses;
    println!("{reads} reads and {writes} writes");
    // Three queues, and three commands of the control queue, for each of which the status is looked at.
    assert!(reads + writes <= 110, "{reads} reads and {writes} writes");
    drop(started);
    rig.assert_clean();
}

#[test]
fn a_transitional_device_is_driven_by_its_modern_interface() {
    let rig = Rig::with(Options::new().device(0x1000));
    let _started = rig.start(&super::rig::any());
    rig.assert_clean();
}

#[test]
fn a_legacy_device_and_a_foreign_card_are_refused_by_name() {
    let legacy = Rig::with(without(Features::VERSION_1));
    assert!(matches!(legacy.open().unwrap_err().hardware(), Some(HardwareError::NotModern { missing: "VIRTIO_F_VERSION_1", .. })));
    let block_device = Rig::with(Options::new().device(0x1042));
    assert!(matches!(block_device.open().unwrap_err().kind(), ErrorKind::UnknownId { .. }));
    let hidden = Rig::with(Options::new().has_bar(false).has_window(false));
    assert!(matches!(hidden.open().unwrap_err().kind(), ErrorKind::Pci(_)));
}

#[test]
fn every_path_to_the_registers_works() {
    // The window; addresses of notification that are not aligned to four bytes; one for both queues.
    let window = Options::new().has_bar(false);
    let odd = Options::new().notify_off_multiplier(2);
    let same = Options::new().notify_off_multiplier(0).has_window(false);
    for options in [window, odd, same] {
        let mut rig = Rig::with(options);
        let mut parts = rig.parts(&small());
        let frame = numbered(7, 100);
        parts.send([&frame]);
        rig.send(&frame);
        rig.run_us(100);
        assert_eq!(rig.arrived(), std::slice::from_ref(&frame));
        assert_eq!(parts.receive(), [frame]);
        drop(parts);
        rig.assert_clean();
    }
}

#[test]
fn refused_features_are_an_error_that_says_which_were_asked_for() {
    let rig = Rig::new();
    rig.faults(|faults| faults.refuse_features = true);
    let error = start_error(rig.open().unwrap(), &super::rig::any());
    assert!(matches!(error.error().hardware(), Some(HardwareError::FeaturesRefused { .. })), "{error}");
    assert!(error.to_string().contains("MRG_RXBUF"));
    // The device comes back, and can be started when it has changed its mind.
    let (_, device) = error.into_parts();
    rig.faults(|faults| faults.refuse_features = false);
    let _started = device.start(&super::rig::any()).unwrap();
    rig.assert_clean();
}

#[test]
fn a_device_without_features_still_works() {
    let all = Features::USED | Features::CTRL_RX_EXTRA;
    let all = all - Features::VERSION_1 - Features::ACCESS_PLATFORM;
    let mut rig = Rig::with(without(all));
    let device = rig.open().unwrap();
    let mac = device.info().permanent_mac;
    assert!(mac.is_valid_unicast() && mac.0[0] & 2 != 0, "a made-up address is a local one");
    let mut started = device.start(&small()).unwrap();
    assert!(started.control.link().up);
    rig.send(&numbered(1, 60));
    rig.run_us(50);
    let mut batch = driver_core::buf::Batch::new(4);
    assert_eq!(started.rx[0].poll(&mut batch, 4), 1);
    rig.assert_clean();
}

#[test]
fn a_reset_that_never_ends_is_a_timeout() {
    let rig = Rig::new();
    rig.faults(|faults| faults.reset_stuck = true);
    let error = rig.open().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Wait(_)));
    assert!(error.to_string().contains("device_status"), "{error}");
}

#[test]
fn an_address_that_changes_while_it_is_read_is_read_again() {
    let rig = Rig::new();
    rig.faults(|faults| faults.mac_changes = 3);
    let device = rig.open().unwrap();
    assert_eq!(device.info().permanent_mac.0, rig.model(|m| m.mac()));
    assert_eq!(rig.faults(|faults| faults.mac_changes), 0);
    let restless = Rig::new();
    restless.faults(|faults| faults.restless = true);
    assert!(matches!(restless.open().unwrap_err().hardware(), Some(HardwareError::ConfigUnstable { .. })));
    rig.assert_clean();
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused() {
    let group = Rig::with(Options::new().mac([1, 0, 0, 0, 0, 1]));
    assert!(matches!(group.open().unwrap_err().hardware(), Some(HardwareError::DeviceConfig { what: "mac is no unicast address", .. })));
    let tiny = Rig::with(Options::new().mtu(60));
    assert!(matches!(tiny.open().unwrap_err().hardware(), Some(HardwareError::DeviceConfig { what: "mtu is below 68", .. })));
    for size in [0, 3, 0x8001] {
        let rig = Rig::new();
        rig.faults(|faults| faults.queue_size = Some(size));
        assert!(matches!(rig.open().unwrap_err().hardware(), Some(HardwareError::Queue { index: 0, .. })), "{size}");
    }
}

#[test]
fn the_devices_mtu_is_the_limit() {
    let rig = Rig::with(Options::new().mtu(1400));
    let error = start_error(rig.open().unwrap(), &super::rig::any().mtu(1500));
    assert!(matches!(error.error().kind(), ErrorKind::Config(ConfigError::Mtu { asked: 1500, min: 68, max: 1400 })), "{error}");
    // Who asks for none gets what the device allows.
    let started = error.into_parts().1.start(&super::rig::any()).unwrap();
    assert_eq!(started.control.mtu(), 1400);
}

#[test]
fn without_merged_buffers_a_buffer_holds_a_whole_frame() {
    let rig = Rig::with(without(Features::MRG_RXBUF));
    let small_buffers = BufPool::new(&rig.domain(), PoolConfig::new(1024)).unwrap();
    let config = super::rig::any().mtu(4000).pool(small_buffers);
    let error = start_error(rig.open().unwrap(), &config);
    assert!(matches!(error.error().kind(), ErrorKind::Config(ConfigError::PoolBuffers { buffer_bytes: 2048, min_bytes: 4018 })), "{error}");
    // A pool of the device's own is made large enough.
    let started = error.into_parts().1.start(&super::rig::any().mtu(4000)).unwrap();
    assert!(started.pool.data_bytes() >= 4018);
    // Such buffers could not take a frame of the device's MTU, so the driver does not promise to.
    assert!(!started.control.kernel().features().contains(Features::MTU));
    drop(started);
    rig.assert_clean();
}

#[test]
fn pools_that_cannot_serve_are_refused() {
    let (rig, other) = (Rig::new(), Rig::new());
    let start = |pool| start_error(rig.open().unwrap(), &small().pool(pool)).into_parts().0;
    let no_headroom = PoolConfig::new(512).headroom_bytes(0);
    let pool = |domain: DmaDomain, config| BufPool::new(&domain, config).unwrap();
    assert!(matches!(start(pool(rig.domain(), no_headroom)).kind(), ErrorKind::Config(ConfigError::PoolHeadroom { .. })));
    assert!(matches!(start(pool(other.domain(), PoolConfig::new(512))).kind(), ErrorKind::Config(ConfigError::PoolDomain)));
    let few = pool(rig.domain(), PoolConfig::new(20));
    assert!(matches!(start(few.clone()).kind(), ErrorKind::Config(ConfigError::PoolCount { buffers: 20, needed: 64 })));
    assert_eq!(few.available(), 20, "a start that failed keeps no buffer");
    assert_eq!(rig.model(|m| m.counters().enabled), 0, "no queue is enabled whose memory a failed start frees");
    drop(rig.start(&super::rig::any()));
    assert_eq!(rig.model(|m| m.counters().enabled), 3);
    rig.assert_clean();
}

#[test]
fn a_device_past_the_iommu_is_refused_unless_addresses_are_physical() {
    let rig = Rig::with(without(Features::ACCESS_PLATFORM));
    let error = start_error(rig.open().unwrap(), &super::rig::any());
    assert!(matches!(error.error().hardware(), Some(HardwareError::NoAccessPlatform)));
    // QEMU refuses the first without the second where the device would be a transitional one: in a conventional slot.
    assert!(error.to_string().contains("iommu_platform=on") && error.to_string().contains("disable-legacy=on"), "{error}");
    let mut device = error.into_parts().1;
    // SAFETY: the simulated card uses the IOMMU all the same.
    unsafe { device.assume_physical_addresses() };
    let _started = device.start(&super::rig::any()).unwrap();
}

#[test]
fn rings_are_as_long_as_asked_for_and_the_device_allows() {
    let rig = Rig::with(Options::new().queue_size(128));
    let started = rig.start(&super::rig::any().rx_ring(512).tx_ring(64));
    assert!(format!("{:?}", started.rx[0]).contains("128 descriptors"), "{:?}", started.rx[0]);
    assert!(format!("{:?}", started.tx[0]).contains("64 descriptors"), "{:?}", started.tx[0]);
    let settings = started.control.settings();
    assert_eq!((settings.rx().ring_len(), settings.tx().ring_len()), (128, 64));
    for rx_ring in [0, 4, 100, 65536] {
        let rig = Rig::new();
        let error = start_error(rig.open().unwrap(), &super::rig::any().rx_ring(rx_ring));
        assert!(matches!(error.error().kind(), ErrorKind::Config(ConfigError::Ring { direction: "receive", .. })), "{rx_ring}");
    }
    drop(started);
    rig.assert_clean();
}

#[test]
fn vectors_that_the_device_does_not_take_are_an_error() {
    for (vector, what) in [(0, "the receive queue"), (2, "configuration changes")] {
        let rig = Rig::new();
        rig.faults(|faults| faults.refuse_vector = Some(vector));
        let error = start_error(rig.open().unwrap(), &super::rig::any().interrupts(true));
        assert_eq!(error.error().hardware(), Some(&HardwareError::Vector { what, vector }));
        assert_eq!((error.error().function(), error.error().step()), ("sim:virtio-net", "starting"));
        drop(error);
        rig.assert_clean();
    }
}
