//! The clock and time stamps (7.9, 8.2.3.26).

use driver_core::reg::{Reg, Ro, Rw};
use driver_core::reg_flags;

/// Which received frames are stamped.
pub const TSYNCRXCTL: Reg<Tsyncrxctl, Rw> = Reg::new(0x0_5188, "TSYNCRXCTL", "8.2.3.26.1");
/// The stamp of a received frame, low.
pub const RXSTMPL: Reg<u32, Ro> = Reg::new(0x0_51e8, "RXSTMPL", "8.2.3.26.2");
/// High. Reading it makes room for the next.
pub const RXSTMPH: Reg<u32, Ro> = Reg::new(0x0_51a4, "RXSTMPH", "8.2.3.26.3");
/// Which PTP messages: version 1's control field, version 2's type, and UDP's port in the upper half.
pub const RXMTRL: Reg<u32, Rw> = Reg::new(0x0_5120, "RXMTRL", "8.2.3.26.6");
/// Whether sent frames are stamped.
pub const TSYNCTXCTL: Reg<Tsynctxctl, Rw> = Reg::new(0x0_8c00, "TSYNCTXCTL", "8.2.3.26.7");
/// The stamp of a sent frame, low.
pub const TXSTMPL: Reg<u32, Ro> = Reg::new(0x0_8c04, "TXSTMPL", "8.2.3.26.8");
/// High. Reading it makes room for the next.
pub const TXSTMPH: Reg<u32, Ro> = Reg::new(0x0_8c08, "TXSTMPH", "8.2.3.26.9");
/// The clock, low; of the X550 nanoseconds. Reading it holds the upper half.
pub const SYSTIML: Reg<u32, Rw> = Reg::new(0x0_8c0c, "SYSTIML", "8.2.3.26.10");
/// The clock, high; of the X550 seconds.
pub const SYSTIMH: Reg<u32, Rw> = Reg::new(0x0_8c10, "SYSTIMH", "8.2.3.26.11");
/// X550: 2^-32 ns. Reading it holds the others.
pub const SYSTIMR: Reg<u32, Rw> = Reg::new(0x0_8c58, "SYSTIMR", "8.2.3.26 (X550)");
/// How fast the clock runs.
pub const TIMINCA: Reg<u32, Rw> = Reg::new(0x0_8c14, "TIMINCA", "8.2.3.26.12");
/// Auxiliary control; of the X550 the clock's switch as well.
pub const TSAUXC: Reg<Tsauxc, Rw> = Reg::new(0x0_8c20, "TSAUXC", "8.2.3.26.15");

/// TIMINCA of the 82599: where the cycles are from increment to increment.
pub const TIMINCA_PERIOD_SHIFT: u32 = 24;
/// TIMINCA of the X550: the increment is taken off.
pub const TIMINCA_SIGN: u32 = 1 << 31;
/// RXMTRL: where the port is.
pub const RXMTRL_PORT_SHIFT: u32 = 16;
/// ETQF: frames of this type may be stamped.
pub const ETQF_1588: u32 = 1 << 30;

reg_flags! {
    /// Bits of [`TSYNCRXCTL`].
    pub struct Tsyncrxctl {
        /// There is a stamp in the registers.
        const RXTT = 1 << 0;
        /// Type 100b: every frame (X550).
        const TYPE_ALL = 4 << 1;
        /// Type 101b: version 2's event messages.
        const TYPE_EVENT_V2 = 5 << 1;
        /// Stamps are made.
        const EN = 1 << 4;
        /// X550: stamps go behind untagged frames in memory.
        const TSIP_UT_EN = 1 << 23;
        /// X550: and behind tagged ones, by priority.
        const TSIP_UP_EN = 0xff << 24;
    }
}
reg_flags! {
    /// Bits of [`TSYNCTXCTL`].
    pub struct Tsynctxctl {
        /// There is a stamp in the registers.
        const TXTT = 1 << 0;
        /// Stamps are made.
        const EN = 1 << 4;
    }
}
reg_flags! {
    /// Bits of [`TSAUXC`].
    pub struct Tsauxc {
        /// X550: the clock stands still.
        const DISABLE_SYSTIME = 1 << 31;
    }
}
