//! How warm a device is.

use alloc::borrow::Cow;
use core::fmt;

/// What one sensor measures: [`NetDevice::temperatures`](crate::device::NetDevice::temperatures).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Temperature {
    /// Where the sensor is.
    pub name: Cow<'static, str>,
    /// What it measures, in thousandths of a degree Celsius.
    pub millicelsius: i32,
    /// Up to where the device is made to work, where it says so.
    pub limit_millicelsius: Option<i32>,
}

impl Temperature {
    /// What a sensor measured.
    pub fn new(name: impl Into<Cow<'static, str>>, millicelsius: i32, limit_millicelsius: Option<i32>) -> Self {
        Self { name: name.into(), millicelsius, limit_millicelsius }
    }

    /// Whether it is above its limit.
    pub fn is_too_high(&self) -> bool {
        self.limit_millicelsius.is_some_and(|limit| self.millicelsius > limit)
    }
}

/// What a device says of itself that no reset by its driver mends: it is told, and nothing is done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Alarm {
    /// It was too hot, and has shut its link down.
    Overheated,
    /// It asks to be announced to its network, since it was moved to another host (virtio, VIRTIO_NET_F_GUEST_ANNOUNCE). The driver has acknowledged that.
    Announce,
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overheated => f.write_str("the device is too hot, and has shut its link down: see to its cooling, then stop it and start it again"),
            Self::Announce => f.write_str("the device was moved to another host: announce its addresses to the network, by gratuitous ARP and unsolicited neighbour advertisements"),
        }
    }
}

/// Alarms of a device, each told once until it is over.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    /// What nobody asked for yet.
    pub(crate) untold: Option<Alarm>,
    /// What was told, and is not over.
    standing: Option<Alarm>,
}

impl Alarms {
    /// The device says so, perhaps not for the first time. Returns whether it is news.
    pub(crate) fn raise(&mut self, alarm: Alarm) -> bool {
        // That one is over as soon as it was told.
        let is_passing = alarm == Alarm::Announce;
        let is_news = is_passing || self.standing != Some(alarm);
        if is_news {
            self.untold = Some(alarm);
            self.standing = if is_passing { self.standing } else { Some(alarm) };
        }
        is_news
    }

    /// The link came up: it is not too hot any more.
    pub(crate) fn link_came_up(&mut self) {
        self.standing = None;
    }
}
