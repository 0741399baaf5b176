//! Interrupts by MSI-X: one vector a receive queue, and the control vector for the link and all else (4.6.6.2, 7.3.1).

use driver_core::device::ErrorKind;
use driver_core::host::{Bar, VectorPlan};

use crate::card::Card;
use crate::regs::*;

/// EITR.ITR_INTERVAL of the receive vectors, bits 11:3 in units of 2 us at 10 Gbit/s: at most one interrupt in 10 us. A queue that is busy is polled
/// and fires none.
const RX_INTERVAL: u32 = 5 << 3;
/// OTHER-VECTOR: what the control vector tells of.
const OTHER_CAUSES: Eicr = Eicr::LSC;

impl<B: Bar> Card<B> {
    /// 4.6.6.2, "Operating with MSI-X". Receive vectors stay masked until their queues are armed; the control vector is let through at once.
    pub(crate) fn init_interrupts(&self, plan: VectorPlan) -> Result<(), ErrorKind> {
        let bar = &self.bar;
        let control = u32::from(plan.control());
        // "The software driver associates between interrupt causes and MSI-X vectors [...] by programming the IVAR[n] and IVAR_MISC registers"
        for queue in plan.all_rx().step_by(2) {
            let entry = |queue: u16| plan.rx(queue).map_or(0, |vector| IVAR_VALID | u32::from(vector));
            // 8.2.3.5.16: receive queue 2n in bits 7:0 and 2n+1 in bits 23:16; transmit queues, in between, have none.
            IVAR.at(u32::from(queue) / 2)?.write(bar, entry(queue) | entry(queue + 1) << 16);
        }
        // 8.2.3.5.17: the TCP timer in bits 7:0, all else in 15:8.
        IVAR_MISC.write(bar, (IVAR_VALID | control) << 8);
        // "EIAC[n] registers should be set to auto clear for transmit and receive interrupt causes [...]. The EIAC bits that control the other and
        // TCP timer interrupt causes should be set to 0b"
        let receive = plan.all_rx().fold(0, |vectors, vector| vectors | 1u32 << vector);
        EIAC.write(bar, Eicr::from_bits_retain(receive));
        // "Set the auto mask in the EIAM and EIAM[n] registers": a queue's vector is masked when it fires, until `arm` lets it through again.
        EIAM_EX.at(0)?.write(bar, receive);
        // "Set the interrupt throttling in EITR[n] and GPIE"
        for vector in plan.all_rx() {
            EITR.at(vector.into())?.write(bar, RX_INTERVAL | EITR_CNT_WDIS);
        }
        EITR.at(control)?.write(bar, EITR_CNT_WDIS);
        GPIE.modify(bar, |v| v | Gpie::MULTIPLE_MSIX | Gpie::PBA_SUPPORT | Gpie::OCD | Gpie::EIAME);
        // Old causes would fire at once.
        EICR.write(bar, Eicr::from_bits_retain(u32::MAX));
        // "Software enables the required interrupt causes by setting the EIMS[n] registers."
        EIMS.write(bar, OTHER_CAUSES);
        self.flush();
        Ok(())
    }

    /// Takes the other causes that are pending, and lets them through again.
    pub(crate) fn take_other_causes(&self) -> Eicr {
        // With GPIE.OCD set a read clears bits 29:16 and leaves the queues' alone (8.2.3.5.1).
        let causes = EICR.read(&self.bar) - Eicr::RTXQ;
        EIMS.write(&self.bar, OTHER_CAUSES);
        causes
    }
}
