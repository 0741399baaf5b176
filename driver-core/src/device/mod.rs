//! The control side of a network device: how it is configured, what it is, what it counted, what can go wrong with it.

pub mod config;
pub(crate) mod contract;
pub mod error;
pub(crate) mod info;
pub(crate) mod stats;

pub use config::{Config, ConfigError, Offloads, RssConfig, RxConfig, TxConfig};
pub use contract::{NetDevice, Started};
pub use error::{Bug, During, Error, ErrorKind, StartError};
pub use info::{DeviceInfo, Link, RxMode};
pub use stats::Stats;
