//! Flow control by pause frames: 3.7.7, 4.6.3.2.

use driver_core::device::{ErrorKind, FlowControl};
use driver_core::host::Bar;

use crate::card::Card;
use crate::regs::*;

/// 4.6.3.2: "Typically, `FCRTH[n]` default value should be equal to `RXPBSIZE[n]`-0x6000." What is above takes what the far end still sends: two frames of the largest size,
/// and what is on the way.
const FCRTH_BELOW_BYTES: u32 = 0x6000;
/// FCTTV: how long the far end is to wait, in quanta of 512 bit times. The longest: XON ends it.
const PAUSE_QUANTA: u32 = 0xffff;
/// FCRTV-SHADOW: XOFF is repeated when half of that is over.
const REFRESH_QUANTA: u32 = PAUSE_QUANTA / 2;
/// FCCFG.TFCE, 01b in bits 4:3: pause frames of the whole link (8.2.3.3.7).
const TFCE_LINK: u32 = 1 << 3;
/// FCRTH.FCEN: the mark sends XOFF.
const FCEN: u32 = 1 << 31;
/// FCRTL.XONE: the mark sends XON.
const XONE: u32 = 1 << 31;

impl<B: Bar> Card<B> {
    /// Sets which pause frames are obeyed and sent; while the card runs as well (FC-LIVE). `buffer_kb`: RXPBSIZE 0, of which flow director may have taken a part.
    pub(crate) fn set_flow_control(&self, flow_control: FlowControl, buffer_kb: u32) -> Result<(), ErrorKind> {
        let bar = &self.bar;
        // FCRTH-BYTES: the field holds bytes, in steps of 32.
        let high = buffer_kb * 1024 - FCRTH_BELOW_BYTES;
        if flow_control.contains(FlowControl::SEND) {
            FCTTV.at(0)?.write(bar, PAUSE_QUANTA);
            FCRTV.write(bar, REFRESH_QUANTA);
            // XON-HALF
            FCRTL.at(0)?.write(bar, (high / 2).next_multiple_of(32) | XONE);
            FCRTH.at(0)?.write(bar, high | FCEN);
            FCCFG.write(bar, TFCE_LINK);
        } else {
            FCCFG.write(bar, 0);
            // "If flow control is not enabled, these registers should be written with 0x0."
            for register in FCTTV.iter().chain(FCRTL.iter()) {
                register.write(bar, 0);
            }
            FCRTV.write(bar, 0);
            // "FCRTH[n].RTH fields must be set by default regardless if flow control is enabled or not."
            FCRTH.at(0)?.write(bar, high);
        }
        MFLCN.modify(bar, |v| {
            let mut v = (v - Mflcn::RPFCE) | Mflcn::DPF;
            v.set(Mflcn::RFCE, flow_control.contains(FlowControl::OBEY));
            v
        });
        Ok(())
    }
}
