//! Configurations that the card cannot be started with: each a clear error, the card given back as it was.

use crate::common::{Card, Liar, refused};
use driver_core::buf::PoolConfig;
use driver_core::device::Config;
use driver_core::queue::GateConfig;
use ixgbe::{ConfigError, Error, ErrorKind};

fn error_of(config: &Config) -> Error {
    let card = Card::new();
    let (error, device) = refused(card.open().unwrap().start(config));
    // The card is none the worse for it.
    drop(device.start(&Config::new()).unwrap());
    card.assert_no_violations();
    error
}

#[test]
fn numbers_of_queues() {
    for asked in [0, 65] {
        let error = error_of(&Config::new().rx_queues(asked));
        assert_eq!(error.to_string(), format!("sim:ixgbe: starting: {asked} receive queues asked for: take 1 to 64"));
        let error = error_of(&Config::new().tx_queues(asked));
        assert_eq!(error.to_string(), format!("sim:ixgbe: starting: {asked} transmit queues asked for: take 1 to 64"));
    }
}

#[test]
fn ring_sizes() {
    for asked in [0, 32, 500, 513, 8192] {
        let error = error_of(&Config::new().rx_ring(asked));
        assert_eq!(
            error.to_string(),
            format!("sim:ixgbe: starting: a receive ring of {asked} descriptors asked for: take a power of two from 64 to 4096")
        );
        let error = error_of(&Config::new().tx_ring(asked));
        assert_eq!(
            error.to_string(),
            format!("sim:ixgbe: starting: a transmit ring of {asked} descriptors asked for: take a power of two from 64 to 4096")
        );
    }
}

#[test]
fn mtus() {
    for asked in [0, 67, 9711, u32::MAX] {
        let error = error_of(&Config::new().mtu(asked));
        assert_eq!(error.to_string(), format!("sim:ixgbe: starting: an MTU of {asked} bytes asked for: take 68 to 9710"));
    }
}

#[test]
fn thresholds() {
    let error = error_of(&Config::new().gate(GateConfig::default().stop_below(40).wake_at(40)));
    assert_eq!(error.to_string(), "sim:ixgbe: starting: transmit gate: wake_at (40) must be larger than stop_below (40)");
    let error = error_of(&Config::new().tx_ring(64).gate(GateConfig::default().stop_below(8).wake_at(64)));
    assert!(matches!(error.kind(), ErrorKind::Config(ConfigError::Gate(_))));
}

#[test]
fn a_pool_of_another_domain() {
    let other = Card::new();
    let error = error_of(&Config::new().pool(other.pool(PoolConfig::new(1024))));
    assert!(matches!(error.kind(), ErrorKind::Config(ConfigError::PoolDomain)), "{error}");
}

#[test]
fn a_pool_of_small_or_few_buffers() {
    let card = Card::new();
    let device = card.open().unwrap();
    let small = card.pool(PoolConfig::new(1024).data_bytes(512));
    let (error, device) = refused(device.start(&Config::new().pool(small)));
    assert!(matches!(error.kind(), ErrorKind::Config(ConfigError::PoolSteps { buffer_bytes: 512 })), "{error}");
    let few = card.pool(PoolConfig::new(512));
    let (error, device) = refused(device.start(&Config::new().pool(few)));
    assert!(matches!(error.kind(), ErrorKind::Config(ConfigError::PoolCount { buffers: 512, needed: 608 })), "{error}");
    // Enough buffers, but somebody else holds them.
    let held = card.pool(PoolConfig::new(608));
    let kept: Vec<_> = (0..96).map(|_| held.take().unwrap()).collect();
    let (error, _) = refused(device.start(&Config::new().pool(held.clone())));
    assert!(matches!(error.kind(), ErrorKind::Config(ConfigError::PoolCount { buffers: 512, needed: 513 })), "{error}");
    drop(kept);
    assert_eq!(held.available(), 608);
    card.assert_no_violations();
}

#[test]
fn too_few_interrupt_vectors() {
    let (card, liar) = (Card::new(), Liar::default());
    liar.lies().vectors = Some(4);
    let device = ixgbe::open(card.lying(&liar), card.clock.clone()).unwrap();
    let (error, device) = refused(device.start(&Config::new().rx_queues(5).interrupts(true)));
    assert!(matches!(error.kind(), ErrorKind::Config(ConfigError::Vectors { available: 4, needed: 5 })), "{error}");
    drop(device.start(&Config::new().rx_queues(4).interrupts(true)).unwrap());
    card.assert_no_violations();
}
