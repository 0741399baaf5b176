//! What only a virtio device can do wrong, said so that the reader knows what to do next. All else is [`driver_core::device::ErrorKind`].

use core::fmt;

use driver_core::device::ErrorKind;
use driver_core::queue::QueueFault;
use driver_core::reg::WaitError;

use crate::regs::Features;

/// A fault of the device or of what makes it. [`Error::hardware`](driver_core::device::Error::hardware) finds it in an error.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HardwareError {
    /// The function has no modern interface.
    NotModern {
        /// What it lacks.
        missing: &'static str,
    },
    /// Memory mapped registers are not what they have to be.
    Mmio {
        /// The register's name.
        register: &'static str,
        /// What it reads.
        read: u32,
        /// What it has to read.
        needed: u32,
    },
    /// A structure is smaller than what it must hold.
    Structure {
        /// Which structure.
        structure: &'static str,
        /// The bytes of it that are there.
        len_bytes: u32,
        /// The bytes needed.
        needed_bytes: u32,
    },
    /// The device took FEATURES_OK back.
    FeaturesRefused {
        /// What the driver accepted.
        accepted: Features,
        /// What the device offers.
        offered: Features,
    },
    /// The configuration changed at every look.
    ConfigUnstable {
        /// How often it was read, and config_generation as last read.
        wait: WaitError,
    },
    /// The device's configuration makes no sense.
    DeviceConfig {
        /// What is wrong.
        what: &'static str,
    },
    /// The device bypasses the IOMMU.
    NoAccessPlatform,
    /// A queue is missing or its size is no power of two.
    Queue {
        /// The queue's number.
        index: u16,
        /// Its size as the device tells it.
        size: u16,
    },
    /// The device did not do what a command of its control queue asked for.
    CommandRefused {
        /// The command's name.
        command: &'static str,
        /// What it answered.
        ack: u8,
    },
    /// The device did not answer a command of its control queue.
    CommandStuck {
        /// The command's name.
        command: &'static str,
        /// How long the wait was, and device_status as last read.
        wait: WaitError,
    },
    /// The device answered a command with what makes no sense.
    CommandFault {
        /// The command's name.
        command: &'static str,
        /// What it did.
        fault: QueueFault,
    },
    /// The control queue takes no command, since an earlier one was not answered.
    ControlQueueStuck {
        /// The command that was not sent.
        command: &'static str,
    },
    /// What the device tells of its statistics is wrong.
    Statistics {
        /// The queue that it was asked about.
        queue: u16,
        /// What is wrong.
        what: &'static str,
    },
    /// A queue is to be notified by 32 bits where only 16 are aligned.
    NotifyAddress {
        /// The queue's number.
        queue: u16,
        /// Where it is notified, in bytes from the BAR's start.
        offset: u32,
    },
    /// A queue's ring was emptied after the device went live without it.
    LateQueue {
        /// The queue's number.
        index: u16,
    },
    /// A queue is enabled behind a reset of its own.
    QueueNotReset {
        /// The queue's number.
        index: u16,
    },
    /// The device did not take an interrupt vector.
    Vector {
        /// What for.
        what: &'static str,
        /// The vector.
        vector: u16,
    },
}

impl fmt::Display for HardwareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotModern { missing } => write!(
                f,
                "it lacks {missing} of virtio 1.0: it speaks the legacy interface alone; configure it as modern (QEMU: disable-legacy=on or disable-modern=off)"
            ),
            Self::Mmio { register: "Version", read: 1, .. } => f.write_str(
                "Version is 1: it speaks the legacy interface alone, which this driver does not drive; configure it as modern (QEMU: -global virtio-mmio.force-legacy=false)",
            ),
            Self::Mmio { register, read, needed } => write!(
                f,
                "{register} reads {read:#x} where a virtio network card has {needed:#x}: another device is at this place, or none"
            ),
            Self::Structure { structure, len_bytes, needed_bytes } => write!(
                f,
                "its {structure} structure has {len_bytes:#x} bytes where {needed_bytes:#x} are needed: the capability list is wrong, or the BAR was mapped in part"
            ),
            Self::FeaturesRefused { accepted, offered } => write!(
                f,
                "the device does not work with features {:#x} ({}) of the {:#x} that it offers: see the hypervisor's log for the one it insists on",
                accepted.bits(),
                accepted.names().join(" "),
                offered.bits()
            ),
            Self::ConfigUnstable { wait } => {
                write!(f, "config_generation changed during each of {} looks at the device configuration: the device is broken", wait.reads)
            }
            Self::DeviceConfig { what } => write!(f, "the device configuration is wrong: {what}; correct it in the hypervisor"),
            Self::NoAccessPlatform => f.write_str(
                "the device does not offer VIRTIO_F_ACCESS_PLATFORM: it takes addresses for physical ones, past the IOMMU, and would write to foreign memory; turn it on in the hypervisor (QEMU: iommu_platform=on, and in a conventional PCI slot, such as those of pcie.0, disable-legacy=on with it)",
            ),
            Self::Queue { index, size } => write!(
                f,
                "queue {index} has {size} descriptors as the device tells, which is no power of two: the device is broken or has no such queue"
            ),
            Self::CommandRefused { command, ack } => write!(f, "the device refuses {command} (ack {ack}): its host may limit what it can be set to"),
            Self::CommandStuck { command, wait } => {
                write!(f, "the device did not answer {command} in {} us: it was told, and its host is stuck; recover or stop it, and see the hypervisor's log", wait.waited_us)
            }
            Self::CommandFault { command, fault } => write!(f, "the device's answer to {command} makes no sense: {fault}"),
            Self::ControlQueueStuck { command } => {
                write!(f, "{command} cannot be sent, since the device has not answered an earlier command: recover the device, or stop and start it")
            }
            Self::Statistics { queue, what } => write!(f, "its statistics of queue {queue} make no sense: {what}; turn VIRTIO_NET_F_DEVICE_STATS off in the device"),
            Self::NotifyAddress { queue, offset } => write!(
                f,
                "queue {queue} is notified at offset {offset:#x}, where 32 bits are not aligned, though the device offers VIRTIO_F_NOTIFICATION_DATA: turn that off in the device"
            ),
            Self::QueueNotReset { index } => {
                write!(f, "queue {index} is still enabled, though the device says that it has reset it: the device is broken; stop it, and report it to who made it")
            }
            Self::LateQueue { index } => write!(f, "queue {index} comes back after its device went live, which takes queues before that alone"),
            Self::Vector { what, vector } => write!(f, "the device does not take vector {vector} for {what}: give it more vectors, or poll"),
        }
    }
}

impl core::error::Error for HardwareError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::ConfigUnstable { wait } | Self::CommandStuck { wait, .. } => Some(wait),
            Self::CommandFault { fault, .. } => Some(fault),
            Self::NotModern { .. }
            | Self::Mmio { .. }
            | Self::Structure { .. }
            | Self::FeaturesRefused { .. }
            | Self::DeviceConfig { .. }
            | Self::NoAccessPlatform
            | Self::Queue { .. }
            | Self::LateQueue { .. }
            | Self::QueueNotReset { .. }
            | Self::CommandRefused { .. }
            | Self::ControlQueueStuck { .. }
            | Self::Statistics { .. }
            | Self::NotifyAddress { .. }
            | Self::Vector { .. } => None,
        }
    }
}

impl From<HardwareError> for ErrorKind {
    fn from(error: HardwareError) -> Self {
        Self::of_hardware(error)
    }
}
