//! Where a function has the registers of its queues and of their vectors: a port in its BAR, a virtual function in its own, which is smaller. They mean the same.

use driver_core::reg::{NoSuchRegister, Reg, RegArray, Ro, Rw, Wo};

use super::*;

/// The registers of queues, and those that queues touch besides.
pub(crate) struct Places {
    pub(crate) rdbal: RegArray<u32, Rw>,
    pub(crate) rdbah: RegArray<u32, Rw>,
    pub(crate) rdlen: RegArray<u32, Rw>,
    pub(crate) rdh: RegArray<u32, Rw>,
    pub(crate) rdt: RegArray<u32, Rw>,
    pub(crate) rxdctl: RegArray<Rxdctl, Rw>,
    pub(crate) srrctl: RegArray<Srrctl, Rw>,
    pub(crate) rscctl: RegArray<Rscctl, Rw>,
    pub(crate) dca_rxctrl: RegArray<DcaRxctrl, Rw>,
    pub(crate) tdbal: RegArray<u32, Rw>,
    pub(crate) tdbah: RegArray<u32, Rw>,
    pub(crate) tdlen: RegArray<u32, Rw>,
    pub(crate) tdh: RegArray<u32, Rw>,
    pub(crate) tdt: RegArray<u32, Rw>,
    pub(crate) txdctl: RegArray<Txdctl, Rw>,
    pub(crate) dca_txctrl: RegArray<DcaTxctrl, Rw>,
    /// Causes of vectors; lets vectors through, masks them, raises them: 32 a register.
    pub(crate) eicr: Reg<Eicr, Rw>,
    pub(crate) eims: RegArray<u32, Rw>,
    pub(crate) eimc: RegArray<u32, Wo>,
    pub(crate) eics: RegArray<u32, Wo>,
    pub(crate) ivar: RegArray<u32, Rw>,
    eitr: RegArray<u32, Rw>,
    eitr_from_24: RegArray<u32, Rw>,
    pub(crate) links: Reg<Links, Ro>,
}

impl Places {
    /// The interval of a vector.
    pub(crate) fn eitr(&self, vector: u16) -> Result<Reg<u32, Rw>, NoSuchRegister> {
        match vector.checked_sub(24) {
            Some(behind) => self.eitr_from_24.at(behind.into()),
            None => self.eitr.at(vector.into()),
        }
    }
}

/// Those of a port.
pub(crate) static PORT: Places = Places {
    rdbal: RDBAL,
    rdbah: RDBAH,
    rdlen: RDLEN,
    rdh: RDH,
    rdt: RDT,
    rxdctl: RXDCTL,
    srrctl: SRRCTL,
    rscctl: RSCCTL,
    dca_rxctrl: DCA_RXCTRL,
    tdbal: TDBAL,
    tdbah: TDBAH,
    tdlen: TDLEN,
    tdh: TDH,
    tdt: TDT,
    txdctl: TXDCTL,
    dca_txctrl: DCA_TXCTRL,
    eicr: EICR,
    eims: EIMS_EX,
    eimc: EIMC_EX,
    eics: EICS_EX,
    ivar: IVAR,
    eitr: EITR,
    eitr_from_24: EITR_FROM_24,
    links: LINKS,
};

/// Those of a virtual function.
pub(crate) static FUNCTION: Places = Places {
    rdbal: vf::VFRDBAL,
    rdbah: vf::VFRDBAH,
    rdlen: vf::VFRDLEN,
    rdh: vf::VFRDH,
    rdt: vf::VFRDT,
    rxdctl: vf::VFRXDCTL,
    srrctl: vf::VFSRRCTL,
    rscctl: vf::VFRSCCTL,
    dca_rxctrl: vf::VFDCA_RXCTRL,
    tdbal: vf::VFTDBAL,
    tdbah: vf::VFTDBAH,
    tdlen: vf::VFTDLEN,
    tdh: vf::VFTDH,
    tdt: vf::VFTDT,
    txdctl: vf::VFTXDCTL,
    dca_txctrl: vf::VFDCA_TXCTRL,
    eicr: vf::VTEICR,
    eims: vf::VTEIMS,
    eimc: vf::VTEIMC,
    eics: vf::VTEICS,
    ivar: vf::VTIVAR,
    eitr: vf::VTEITR,
    eitr_from_24: vf::NO_EITR,
    links: vf::VFLINKS,
};
