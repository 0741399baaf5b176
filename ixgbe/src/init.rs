//! Initialisation in the datasheet's order (4.6.3), for DCB off, and virtualisation off (4.6.11.3.4) or, with pools, on (4.6.11.3.3). Queues are in [`queues`](crate::queues).

use driver_core::device::{ErrorKind, Settings};
use driver_core::ether::{FCS_BYTES, STANDARD_MTU};
use driver_core::host::Bar;

use crate::card::Card;
use crate::config::standard_limits;
use crate::filter::memory_kb;
use crate::id::Family;
use crate::layout::Layout;
use crate::regs::*;

/// NO-LIMITS: how long the receive path may take to empty before it is turned on or off. The drivers in the field wait 40 ms.
const SECRX_US: u64 = 100_000;
/// Transmit packet buffer 0 has all 160 KB (4.6.11.3.4: "`TXPBSIZE[0].SIZE=0xA0`").
const TXPB_KB: u32 = 0xa0;
/// TXPBTHRESH: what stays free for one frame of the largest size, in KB.
const TX_FRAME_KB: u32 = 10;

impl<B: Bar> Card<B> {
    /// Size of the packet buffer for frames in KB: the whole, but for what flow director takes.
    fn rx_buffer_kb(&self, settings: &Settings) -> u32 {
        self.model.rx_packet_buffer_kb() - memory_kb(settings.flow_table())
    }

    /// The same of a card that was set up, as it says itself.
    pub(crate) fn rx_buffer_now_kb(&self) -> Result<u32, ErrorKind> {
        Ok(RXPBSIZE.at(0)?.read(&self.bar) >> PBSIZE_KB_SHIFT)
    }

    /// 4.6.3.2, general configuration. NO-PAUSE: no flow control unless it is asked for.
    pub(crate) fn init_general(&self, settings: &Settings) -> Result<(), ErrorKind> {
        self.set_flow_control(settings.flow_control(), self.rx_buffer_kb(settings))?;
        // "Set bit 16 of the CTRL_EXT register" (4.6.7).
        CTRL_EXT.modify(&self.bar, |v| {
            let mut v = v | CtrlExt::NS_DIS;
            v.set(CtrlExt::EXTENDED_VLAN, settings.double_vlan().is_some());
            v
        });
        if let Some(outer) = settings.double_vlan() {
            self.init_outer_tags(outer);
        }
        Ok(())
    }

    /// 7.4.5: what names an outer tag, of which CTRL_EXT and DMATXCTL tell. QINQ-ORDER: neither direction is on yet.
    fn init_outer_tags(&self, outer: u16) {
        EXVET.write(&self.bar, u32::from(outer) << EXVET_VET_EXT_SHIFT);
        if self.model.family == Family::X550 {
            PFVTCTL.modify(&self.bar, |v| v - Pfvtctl::POOLING_MODE);
        }
    }

    /// 4.6.7, what comes before the queues.
    pub(crate) fn init_receive(&self, settings: &Settings) -> Result<(), ErrorKind> {
        let bar = &self.bar;
        // "RXCTRL.RXEN [...] should be done only after all other settings are done"
        RXCTRL.modify(bar, |v| v - Rxctrl::RXEN);
        // RXCSUM: PCSD puts the hash into the write-back; the checksum status comes in any case (CHECKSUM-STATUS).
        RXCSUM.modify(bar, |v| v | Rxcsum::PCSD);
        self.init_whole(settings)?;
        // "RDRXCTL.CRCStrip and HLREG0.RXCRCSTRP must be set to the same value. At the same time the RDRXCTL.RSCFRSTSIZE should be set to 0x0 as
        // opposed to its hardware default." RSC-BITS: the table of RDRXCTL asks for the other two.
        RDRXCTL.modify(bar, |v| (v - Rdrxctl::RSCFRSTSIZE) | Rdrxctl::CRCSTRIP | Rdrxctl::RSCACKC | Rdrxctl::FCOE_WRFIX);
        // PB-1-7: 4.6.11.3.4, "RXPBSIZE[0].SIZE=0x200, RXPBSIZE[1-7].SIZE=0x0" (0x180 on X540 and X550)
        for (index, register) in RXPBSIZE.iter().enumerate() {
            register.write(bar, if index == 0 { self.rx_buffer_kb(settings) << PBSIZE_KB_SHIFT } else { 0 });
        }
        self.init_rss(settings);
        self.init_frame_size(settings.mtu());
        Ok(())
    }

    /// 4.6.7: "Enable jumbo reception by setting HLREG0.JUMBOEN [...] Set the MAXFRS.MFS to expected max packet size."
    fn init_frame_size(&self, mtu: u32) {
        let jumbo = mtu > STANDARD_MTU;
        HLREG0.modify(&self.bar, |v| {
            // Transmit: "Program the HLREG0 register according to the required MAC behavior" (4.6.8): check sequence and padding.
            let mut v = (v | Hlreg0::RXCRCSTRP | Hlreg0::TXCRCEN | Hlreg0::TXPADEN | Hlreg0::RXLNGTHERREN) - Hlreg0::LPBK;
            v.set(Hlreg0::JUMBOEN, jumbo);
            v
        });
        // MFS-VLAN, 8.2.3.22.13: from destination address to check sequence; VLAN headers come on top by themselves.
        let mfs = standard_limits(mtu).untagged_bytes() + FCS_BYTES as u32;
        MAXFRS.modify(&self.bar, |v| v & 0xffff | mfs << 16);
    }

    /// 4.6.8, what comes before the queues.
    pub(crate) fn init_transmit(&self, tx_queues: u16, layout: Layout) {
        let bar = &self.bar;
        // "Set RTTDCS.ARBDIS to 1b."
        RTTDCS.modify(bar, |v| v | Rttdcs::ARBDIS);
        // "Program DTXMXSZRQ, TXPBSIZE, TXPBTHRESH, MTQC, and MNGTXMAP, according to the DCB and virtualization modes" (4.6.11.3.4)
        DTXMXSZRQ.write(bar, DTXMXSZRQ_1MB);
        for (index, register) in TXPBSIZE.iter().enumerate() {
            register.write(bar, if index == 0 { TXPB_KB << PBSIZE_KB_SHIFT } else { 0 });
        }
        for (index, register) in TXPBTHRESH.iter().enumerate() {
            register.write(bar, if index == 0 { TXPB_KB - TX_FRAME_KB } else { 0 });
        }
        MTQC.write(bar, layout.mtqc());
        // "Clear RTTDT1C register, per each queue, via setting RTTDQSEL first"; and no rate limits. TABLES-UNREAD: for the queues that are used.
        for queue in 0..tx_queues {
            RTTDQSEL.write(bar, queue.into());
            RTTDT1C.write(bar, 0);
            RTTBCNRC.write(bar, 0);
        }
        // "Clear RTTDCS.ARBDIS to 0b"
        RTTDCS.modify(bar, |v| v - Rttdcs::ARBDIS);
    }

    /// 4.6.8: "Enable transmit path by setting DMATXCTL.TE. This step should be executed only for the first enabled transmit queue".
    pub(crate) fn enable_transmit(&self, settings: &Settings) {
        DMATXCTL.modify(&self.bar, |v| {
            let mut v = v | Dmatxctl::TE;
            v.set(Dmatxctl::GDV, settings.double_vlan().is_some());
            v
        });
    }

    /// 4.6.7: "Enable the receive path by setting RXCTRL.RXEN. This should be done only after all other settings are done".
    pub(crate) fn enable_receive(&self) -> Result<(), ErrorKind> {
        let bar = &self.bar;
        // "Halt the receive data path by setting SECRXCTRL.RX_DIS bit."
        SECRXCTRL.modify(bar, |v| v | Secrxctrl::RX_DIS);
        // "Wait for the data paths to be emptied by HW. Poll the SECRXSTAT.SECRX_RDY bit until it is asserted by HW."
        self.wait(SECRXSTAT, "the receive path to empty (SECRX_RDY)", SECRX_US, |v| v.contains(Secrxstat::SECRX_RDY))?;
        // "Set RXCTRL.RXEN"
        RXCTRL.modify(bar, |v| v | Rxctrl::RXEN);
        // "Clear the SECRXCTRL.SECRX_DIS bits to enable receive data path". RX-DIS: the bit that was set above.
        SECRXCTRL.modify(bar, |v| v - Secrxctrl::RX_DIS);
        self.flush();
        Ok(())
    }
}
