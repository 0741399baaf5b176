//! The control side of a network device: how it is configured, what it is, how far it is, what it counted, what can go wrong with it.

pub(crate) mod accounts;
pub(crate) mod caps;
pub mod config;
pub(crate) mod contract;
pub mod control;
pub(crate) mod dump;
pub(crate) mod eeprom;
pub mod error;
pub(crate) mod info;
pub(crate) mod moderation;
pub(crate) mod module;
pub(crate) mod offloads;
pub(crate) mod rss;
pub(crate) mod settings;
pub(crate) mod state;
pub(crate) mod stats;
pub(crate) mod xstats;

pub use crate::queue::core::State;
pub use accounts::{Accounts, Imbalance};
pub use caps::Caps;
pub use config::{Config, ConfigError, RxConfig, TxConfig};
pub use contract::{NetDevice, NetDriver, Started};
pub use dump::{FieldValue, RegisterValue};
pub use eeprom::{Checksum, Eeprom};
pub use error::{Bug, During, Error, ErrorKind, StartError};
pub use info::{DeviceInfo, Link, RxMode};
pub use moderation::{Moderation, Pace};
pub use module::{Diagnostics, Module};
pub use offloads::Offloads;
pub use rss::{RSS_KEY_BYTES, RssConfig, RssError, RssLimits};
pub use settings::Settings;
pub use state::{DeviceState, Shared};
pub use stats::Stats;
pub use xstats::XStat;
