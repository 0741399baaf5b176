//! How warm a device is.

use alloc::borrow::Cow;

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
