//! Registers of the 82599 (datasheet 331520, chapter 8), typed from the datasheet for the model alone.

use Access::{Rc, Ro, Rw, Wo};

/// How a register answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Access {
    /// Not a register: reads zero, and a write is a violation.
    Reserved,
    /// Reads and writes.
    Rw,
    /// A write changes nothing.
    Ro,
    /// A counter: a read clears it (8.2.3.23).
    Rc,
    /// Reads zero.
    Wo,
}

/// One register or an array of them.
pub(super) struct Row {
    pub first: u32,
    pub stride: u32,
    pub count: u32,
    pub name: &'static str,
    pub section: &'static str,
    pub reset: u32,
    pub access: Access,
}

const fn one(first: u32, name: &'static str, section: &'static str, reset: u32, access: Access) -> Row {
    many(first, 4, 1, name, section, reset, access)
}

const fn many(first: u32, stride: u32, count: u32, name: &'static str, section: &'static str, reset: u32, access: Access) -> Row {
    Row { first, stride, count, name, section, reset, access }
}

pub(super) const CTRL: u32 = 0x00000;
pub(super) const CTRL_GIO_DIS: u32 = 1 << 2;
pub(super) const CTRL_LRST: u32 = 1 << 3;
pub(super) const CTRL_RST: u32 = 1 << 26;
pub(super) const STATUS: u32 = 0x00008;
pub(super) const STATUS_LINK_UP: u32 = 1 << 7;
pub(super) const STATUS_GIO_ENABLE: u32 = 1 << 19;
pub(super) const ESDP: u32 = 0x00020;
pub(super) const I2CCTL: u32 = 0x00028;
pub(super) const EEC: u32 = 0x10010;
pub(super) const EEC_PRES: u32 = 1 << 8;
pub(super) const EEC_AUTO_RD: u32 = 1 << 9;
pub(super) const EERD: u32 = 0x10014;
pub(super) const EEWR: u32 = 0x10018;
pub(super) const SWSM: u32 = 0x10140;
pub(super) const FWSM: u32 = 0x10148;
/// The thermal sensor is in use (X540, X550).
pub(super) const FWSM_TS_ENABLED: u32 = 1;
pub(super) const SW_FW_SYNC: u32 = 0x10160;
pub(super) const HICR: u32 = 0x15F00;
pub(super) const FLEX_MNG: u32 = 0x15800;

pub(super) const EICR: u32 = 0x00800;
pub(super) const EICS: u32 = 0x00808;
pub(super) const EIAC: u32 = 0x00810;
pub(super) const EITR_LOW: u32 = 0x00820;
pub(super) const EIMS: u32 = 0x00880;
pub(super) const EIMC: u32 = 0x00888;
pub(super) const EIAM: u32 = 0x00890;
pub(super) const GPIE: u32 = 0x00898;
pub(super) const IVAR: u32 = 0x00900;
pub(super) const IVAR_MISC: u32 = 0x00A00;
pub(super) const PICAUSE: u32 = 0x110B0;
pub(super) const PIENA: u32 = 0x110B8;
pub(super) const EICS_EX: u32 = 0x00A90;
pub(super) const EIMS_EX: u32 = 0x00AA0;
pub(super) const EIMC_EX: u32 = 0x00AB0;
pub(super) const EIAM_EX: u32 = 0x00AD0;
pub(super) const EITR_HIGH: u32 = 0x12300;

pub(super) const RX_QUEUES_LOW: u32 = 0x01000;
pub(super) const RX_QUEUES_HIGH: u32 = 0x0D000;
pub(super) const TX_QUEUES: u32 = 0x06000;
pub(super) const SRRCTL_ALIAS: u32 = 0x02100;
pub(super) const DCA_RXCTRL_ALIAS: u32 = 0x02200;
pub(super) const RQSMR: u32 = 0x02300;
pub(super) const RDRXCTL: u32 = 0x02F00;
pub(super) const RDRXCTL_CRCSTRIP: u32 = 1 << 1;
pub(super) const RDRXCTL_DMAIDONE: u32 = 1 << 3;
pub(super) const QDE: u32 = 0x02F04;
pub(super) const RXCTRL: u32 = 0x03000;
pub(super) const RXCTRL_RXEN: u32 = 1;
pub(super) const RXPBSIZE: u32 = 0x03C00;

pub(super) const FCTTV: u32 = 0x03200;
pub(super) const FCRTL: u32 = 0x03220;
pub(super) const FCRTH: u32 = 0x03260;
pub(super) const FCRTV: u32 = 0x032A0;
pub(super) const FCCFG: u32 = 0x03D00;
pub(super) const TFCS: u32 = 0x0CE00;
pub(super) const MFLCN: u32 = 0x04294;
pub(super) const MFLCN_PMCF: u32 = 1;
pub(super) const MFLCN_DPF: u32 = 1 << 1;
pub(super) const MFLCN_RPFCE: u32 = 1 << 2;
pub(super) const MFLCN_RFCE: u32 = 1 << 3;

pub(super) const TXPBSIZE: u32 = 0x0CC00;

pub(super) const PSRTYPE: u32 = 0x0EA00;
pub(super) const RFCTL: u32 = 0x05008;
pub(super) const RXCSUM: u32 = 0x05000;
pub(super) const RXCSUM_PCSD: u32 = 1 << 13;
pub(super) const FCTRL: u32 = 0x05080;
pub(super) const CTRL_EXT: u32 = 0x00018;
pub(super) const CTRL_EXT_EXTENDED_VLAN: u32 = 1 << 26;
pub(super) const EXVET: u32 = 0x05078;
pub(super) const VLNCTRL: u32 = 0x05088;
pub(super) const MCSTCTRL: u32 = 0x05090;
pub(super) const MTA: u32 = 0x05200;
pub(super) const RAL_ALIAS: u32 = 0x05400;
pub(super) const RAL: u32 = 0x0A200;
pub(super) const VFTA: u32 = 0x0A000;
pub(super) const MRQC: u32 = 0x05818;
pub(super) const RETA: u32 = 0x05C00;
pub(super) const ERETA: u32 = 0x0EE80;
pub(super) const RSSRK: u32 = 0x05C80;

pub(super) const RSSRK_ALIAS: u32 = 0x0EB80;
pub(super) const RETA_ALIAS: u32 = 0x0EB00;
pub(super) const PSRTYPE_ALIAS: u32 = 0x05480;
pub(super) const MRQC_ALIAS: u32 = 0x0EC80;
pub(super) const SAQF: u32 = 0x0E000;
pub(super) const DAQF: u32 = 0x0E200;
pub(super) const SDPQF: u32 = 0x0E400;
pub(super) const FTQF: u32 = 0x0E600;
pub(super) const L34TIMIR: u32 = 0x0E800;
pub(super) const ETQF: u32 = 0x05128;
pub(super) const TSYNCRXCTL: u32 = 0x05188;
pub(super) const RXSTMPL: u32 = 0x051E8;
pub(super) const RXSTMPH: u32 = 0x051A4;
pub(super) const RXMTRL: u32 = 0x05120;
pub(super) const TSYNCTXCTL: u32 = 0x08C00;
pub(super) const TXSTMPL: u32 = 0x08C04;
pub(super) const TXSTMPH: u32 = 0x08C08;
pub(super) const SYSTIML: u32 = 0x08C0C;
pub(super) const SYSTIMH: u32 = 0x08C10;
pub(super) const TIMINCA: u32 = 0x08C14;
pub(super) const TIMADJH: u32 = 0x08C1C;
pub(super) const TSAUXC: u32 = 0x08C20;
/// The X550's clock stands still while this is set.
pub(super) const TSAUXC_DISABLE_SYSTIME: u32 = 1 << 31;
pub(super) const SYSTIMR: u32 = 0x08C58;
pub(super) const TSICR: u32 = 0x08C60;
pub(super) const TSIM: u32 = 0x08C68;
/// Queues are in pools while VT_Ena is set.
pub(super) const PFVTCTL: u32 = 0x051B0;
pub(super) const PFVTCTL_VT_ENA: u32 = 1;
pub(super) const ETQS: u32 = 0x0EC00;
pub(super) const SYNQF: u32 = 0x0EC30;

pub(super) const FDIRCTRL: u32 = 0x0EE00;
pub(super) const FDIRSIPV6: u32 = 0x0EE0C;
pub(super) const FDIRIPSA: u32 = 0x0EE18;
pub(super) const FDIRIPDA: u32 = 0x0EE1C;
pub(super) const FDIRPORT: u32 = 0x0EE20;
pub(super) const FDIRVLAN: u32 = 0x0EE24;
pub(super) const FDIRHASH: u32 = 0x0EE28;
pub(super) const FDIRCMD: u32 = 0x0EE2C;
pub(super) const FDIRFREE: u32 = 0x0EE38;
pub(super) const FDIRDIP4M: u32 = 0x0EE3C;
pub(super) const FDIRSIP4M: u32 = 0x0EE40;
pub(super) const FDIRTCPM: u32 = 0x0EE44;
pub(super) const FDIRUDPM: u32 = 0x0EE48;
pub(super) const FDIRLEN: u32 = 0x0EE4C;
pub(super) const FDIRUSTAT: u32 = 0x0EE50;
pub(super) const FDIRFSTAT: u32 = 0x0EE54;
pub(super) const FDIRMATCH: u32 = 0x0EE58;
pub(super) const FDIRMISS: u32 = 0x0EE5C;
pub(super) const FDIRHKEY: u32 = 0x0EE68;
pub(super) const FDIRSKEY: u32 = 0x0EE6C;
pub(super) const FDIRM: u32 = 0x0EE70;
pub(super) const FDIRIP6M: u32 = 0x0EE74;
pub(super) const FDIRSCTPM: u32 = 0x0EE78;

pub(super) const DMATXCTL: u32 = 0x04A80;
pub(super) const DMATXCTL_TE: u32 = 1;
pub(super) const DMATXCTL_GDV: u32 = 1 << 3;
pub(super) const DTXTCPFLGL: u32 = 0x04A88;
pub(super) const DTXTCPFLGH: u32 = 0x04A8C;
pub(super) const RTTDCS: u32 = 0x04900;
pub(super) const RTTDCS_ARBDIS: u32 = 1 << 6;
pub(super) const MTQC: u32 = 0x08120;
pub(super) const TQSM: u32 = 0x08600;

pub(super) const SECRXCTRL: u32 = 0x08D00;
pub(super) const SECRXCTRL_RX_DIS: u32 = 1 << 1;
pub(super) const SECRXSTAT: u32 = 0x08D04;
pub(super) const SECTXCTRL: u32 = 0x08800;
pub(super) const SECTXCTRL_TX_DIS: u32 = 1 << 1;
pub(super) const SECTXSTAT: u32 = 0x08804;
/// SECRXSTAT and SECTXSTAT: the path is empty; there is no security engine, or it is fused off.
pub(super) const SEC_RDY: u32 = 1;
pub(super) const SEC_OFF: u32 = 1 << 1;
/// SECRXCTRL and SECTXCTRL: the security engine is off.
pub(super) const SEC_DIS: u32 = 1;

pub(super) const HLREG0: u32 = 0x04240;
pub(super) const HLREG0_RXCRCSTRP: u32 = 1 << 1;
pub(super) const HLREG0_JUMBOEN: u32 = 1 << 2;
pub(super) const HLREG0_TXPADEN: u32 = 1 << 10;
pub(super) const HLREG0_LPBK: u32 = 1 << 15;
pub(super) const MSCA: u32 = 0x0425C;
pub(super) const MSRWD: u32 = 0x04260;
pub(super) const MAXFRS: u32 = 0x04268;
pub(super) const AUTOC: u32 = 0x042A0;
pub(super) const AUTOC_RESTART_AN: u32 = 1 << 12;
pub(super) const AUTOC_FLU: u32 = 1;
/// From the X540 on in place of AUTOC.
pub(super) const MACC: u32 = 0x04330;
pub(super) const MACC_FLU: u32 = 1;
pub(super) const LINKS: u32 = 0x042A4;
pub(super) const AUTOC2: u32 = 0x042A8;
/// AUTOC2 bit 30: force the link down.
pub(super) const AUTOC2_FORCE_LINK_DOWN: u32 = 1 << 30;

pub(super) const ANLP1: u32 = 0x042B0;

pub(super) const MPC: u32 = 0x03FA0;
pub(super) const LXONTXC: u32 = 0x03F60;
pub(super) const LXOFFTXC: u32 = 0x03F68;
pub(super) const LXONRXCNT: u32 = 0x041A4;
pub(super) const LXOFFRXCNT: u32 = 0x041A8;
pub(super) const PRC64: u32 = 0x0405C;
pub(super) const PTC64: u32 = 0x040D8;
pub(super) const GPRC: u32 = 0x04074;
pub(super) const BPRC: u32 = 0x04078;
pub(super) const MPRC: u32 = 0x0407C;
pub(super) const GPTC: u32 = 0x04080;
pub(super) const GORCL: u32 = 0x04088;
pub(super) const GOTCL: u32 = 0x04090;
pub(super) const XEC: u32 = 0x04120;
pub(super) const RXNFGPC: u32 = 0x041B0;
pub(super) const RXNFGBCL: u32 = 0x041B4;
pub(super) const RUC: u32 = 0x040A4;
pub(super) const ROC: u32 = 0x040AC;
pub(super) const TORL: u32 = 0x040C0;
pub(super) const TPR: u32 = 0x040D0;
pub(super) const TPT: u32 = 0x040D4;
pub(super) const MPTC: u32 = 0x040F0;
pub(super) const BPTC: u32 = 0x040F4;
pub(super) const RXDGPC: u32 = 0x02F50;
pub(super) const RXDGBCL: u32 = 0x02F54;
pub(super) const RXLPBKPC: u32 = 0x02F68;
pub(super) const TXDGPC: u32 = 0x087A0;
pub(super) const TXDGBCL: u32 = 0x087A4;
pub(super) const QPRC: u32 = 0x01030;
pub(super) const QBRCL: u32 = 0x01034;
pub(super) const QPRDC: u32 = 0x01430;
pub(super) const QPTC: u32 = 0x08680;
pub(super) const QBTCL: u32 = 0x08700;

/// Every register that the model knows: first offset, stride, count, name, section, value after reset, access.
pub(super) static MAP: &[Row] = &[
    one(CTRL, "CTRL", "8.2.3.1.1", 0, Rw),
    one(0x00004, "CTRL", "8.2.3.1.1", 0, Rw),
    one(STATUS, "STATUS", "8.2.3.1.2", STATUS_GIO_ENABLE, Ro),
    one(CTRL_EXT, "CTRL_EXT", "8.2.3.1.3", 0, Rw),
    one(ESDP, "ESDP", "8.2.3.1.4", 0, Rw),
    one(I2CCTL, "I2CCTL", "8.2.3.1.5", 0xA, Rw),
    one(0x00200, "LEDCTL", "8.2.3.1.6", 0x0404_4404, Rw),
    one(EXVET, "EXVET", "8.2.3.1.7", 0x8100_0000, Rw),
    one(0x0004C, "TCPTIMER", "8.2.3.5", 0, Rw),
    one(EEC, "EEC", "8.2.3.2.1", 0x0000_2C10 | EEC_PRES, Rw),
    one(EERD, "EERD", "8.2.3.2.2", 0, Rw),
    one(EEWR, "EEWR", "8.2.3.2.2", 0, Rw),
    one(0x1001C, "FLA", "8.2.3.2.3", 0, Rw),
    many(0x10110, 4, 5, "EEMNGCTL", "8.2.3.2.4", 0, Rw),
    one(0x1013C, "FLOP", "8.2.3.2.7", 0, Rw),
    one(0x10200, "GRC", "8.2.3.2.8", 0, Rw),
    one(0x10210, "SRAMREL", "8.2.3.2.9", 0, Rw),
    one(0x03008, "PFCTOP", "8.2.3.3.1", 0, Rw),
    many(FCTTV, 4, 4, "FCTTV", "8.2.3.3.2", 0, Rw),
    many(FCRTL, 4, 8, "FCRTL", "8.2.3.3.3", 0, Rw),
    many(FCRTH, 4, 8, "FCRTH", "8.2.3.3.4", 0, Rw),
    one(FCRTV, "FCRTV", "8.2.3.3.5", 0, Rw),
    one(TFCS, "TFCS", "8.2.3.3.6", 1, Ro),
    one(FCCFG, "FCCFG", "8.2.3.3.7", 0, Rw),
    one(0x11000, "GCR", "8.2.3.4.1", 0, Rw),
    many(0x11010, 4, 12, "GSCL/GSCN", "8.2.3.4.2", 0, Rw),
    one(0x10150, "FACTPS", "8.2.3.4.8", 0, Ro),
    many(0x11040, 4, 3, "PHYADR/PHYDAT/PHYCTL", "8.2.3.4", 0, Rw),
    one(SWSM, "SWSM", "8.2.3.4.9", 0, Rw),
    one(FWSM, "FWSM", "8.2.3.4.10", 0x0000_8000, Ro),
    one(SW_FW_SYNC, "SW_FW_SYNC", "8.2.3.4.11", 0, Rw),
    one(0x11050, "GCR_EXT", "8.2.3.4.12", 0, Rw),
    one(0x11064, "MREVID", "8.2.3.4.13", 1, Ro),
    one(0x11070, "DCA_ID", "8.2.3.11.3", 0, Ro),
    one(0x11074, "DCA_CTRL", "8.2.3.11.4", 1, Rw),
    many(0x11088, 4, 2, "CIAA/CIAD", "8.2.3.4.15", 0, Rw),
    many(PICAUSE, 4, 4, "PICAUSE/PIENA", "8.2.3.4.14", 0, Rw),
    one(0x11068, "PBACL", "8.2.3.6.5", 0, Rw),
    many(0x110C0, 4, 8, "PBACL", "8.2.3.6.5", 0, Rw),
    one(EICR, "EICR", "8.2.3.5.1", 0, Rw),
    one(EICS, "EICS", "8.2.3.5.2", 0, Wo),
    one(EIMS, "EIMS", "8.2.3.5.3", 0, Rw),
    one(EIMC, "EIMC", "8.2.3.5.4", 0, Wo),
    one(EIAC, "EIAC", "8.2.3.5.5", 0, Rw),
    one(EIAM, "EIAM", "8.2.3.5.6", 0, Rw),
    many(EICS_EX, 4, 2, "EICS_EX", "8.2.3.5.7", 0, Wo),
    many(EIMS_EX, 4, 2, "EIMS_EX", "8.2.3.5.8", 0, Rw),
    many(EIMC_EX, 4, 2, "EIMC_EX", "8.2.3.5.9", 0, Wo),
    many(EIAM_EX, 4, 2, "EIAM_EX", "8.2.3.5.10", 0, Rw),
    one(0x00894, "EITRSEL", "8.2.3.5.11", 0, Rw),
    many(EITR_LOW, 4, 24, "EITR", "8.2.3.5.12", 0, Rw),
    many(EITR_HIGH, 4, 105, "EITR", "8.2.3.5.12", 0, Rw),
    many(L34TIMIR, 4, 128, "L34TIMIR", "8.2.3.5.13", 0, Rw),
    one(0x0EC90, "LLITHRESH", "8.2.3.5.14", 0, Rw),
    one(0x05AC0, "IMIRVP", "8.2.3.5.15", 0, Rw),
    many(IVAR, 4, 64, "IVAR", "8.2.3.5.16", 0, Rw),
    one(IVAR_MISC, "IVAR_MISC", "8.2.3.5.17", 0, Rw),
    one(GPIE, "GPIE", "8.2.3.5.18", 0, Rw),
    one(FCTRL, "FCTRL", "8.2.3.7.1", 0, Rw),
    one(VLNCTRL, "VLNCTRL", "8.2.3.7.2", 0x8100, Rw),
    one(MCSTCTRL, "MCSTCTRL", "8.2.3.7.3", 0, Rw),
    many(PSRTYPE_ALIAS, 4, 16, "PSRTYPE", "8.2.3.7.4", 0, Rw),
    many(PSRTYPE, 4, 64, "PSRTYPE", "8.2.3.7.4", 0, Rw),
    one(RXCSUM, "RXCSUM", "8.2.3.7.5", 0, Rw),
    one(RFCTL, "RFCTL", "8.2.3.7.6", 0, Rw),
    many(MTA, 4, 128, "MTA", "8.2.3.7.7", 0, Rw),
    many(RAL_ALIAS, 4, 32, "RAL/RAH", "8.2.3.7.8", 0, Rw),
    many(RAL, 4, 256, "RAL/RAH", "8.2.3.7.8", 0, Rw),
    many(0x0A600, 4, 256, "MPSAR", "8.2.3.7.10", 0, Rw),
    many(VFTA, 4, 128, "VFTA", "8.2.3.7.11", 0, Rw),
    one(MRQC, "MRQC", "8.2.3.7.12", 0, Rw),
    one(0x0EC70, "RQTC", "8.2.3.7.13", 0, Rw),
    many(RSSRK, 4, 10, "RSSRK", "8.2.3.7.14", 0, Rw),
    many(RETA, 4, 32, "RETA", "8.2.3.7.15", 0, Rw),
    one(MRQC_ALIAS, "MRQC", "8.2.3.7.12", 0, Rw),
    many(RSSRK_ALIAS, 4, 10, "RSSRK", "8.2.3.7.14", 0, Rw),
    many(RETA_ALIAS, 4, 32, "RETA", "8.2.3.7.15", 0, Rw),
    many(ERETA, 4, 96, "ERETA", "8.2.3.7.15 (X550)", 0, Rw),
    many(SAQF, 4, 128, "SAQF", "8.2.3.7.16", 0, Rw),
    many(DAQF, 4, 128, "DAQF", "8.2.3.7.17", 0, Rw),
    many(SDPQF, 4, 128, "SDPQF", "8.2.3.7.18", 0, Rw),
    many(FTQF, 4, 128, "FTQF", "8.2.3.7.19", 0, Rw),
    many(ETQF, 4, 8, "ETQF", "8.2.3.7.21", 0, Rw),
    many(ETQS, 4, 8, "ETQS", "8.2.3.7.22", 0, Rw),
    one(SYNQF, "SYNQF", "8.2.3.7.20", 0, Rw),
    one(0x0507C, "VXLANCTRL", "(X550)", 0, Rw),
    one(0x05084, "ETAG_ETYPE", "(X550)", 0, Rw),
    many(SRRCTL_ALIAS, 4, 16, "SRRCTL", "8.2.3.8.7", 0x402, Rw),
    one(RDRXCTL, "RDRXCTL", "8.2.3.8.8", 0x0010_0000, Rw),
    many(RXPBSIZE, 4, 8, "RXPBSIZE", "8.2.3.8.9", 0, Rw),
    one(RXCTRL, "RXCTRL", "8.2.3.8.10", 0, Rw),
    one(0x03190, "RXMEMWRAP", "8.2.3.8.11", 0, Ro),
    one(0x03028, "RSCDBU", "8.2.3.8.12", 0, Rw),
    one(0x02F20, "RDDCC", "8.2.3.8.14", 0, Rw),
    one(QDE, "QDE", "8.2.3.27.5", 0, Rw),
    one(0x03D04, "DROPEN", "8.2.3.27.5", 0, Rw),
    one(0x08100, "DTXMXSZRQ", "8.2.3.9.1", 0x10, Rw),
    one(DMATXCTL, "DMATXCTL", "8.2.3.9.2", 0x8100_0000, Rw),
    one(DTXTCPFLGL, "DTXTCPFLGL", "8.2.3.9.3", 0x0F76_0FF6, Rw),
    one(DTXTCPFLGH, "DTXTCPFLGH", "8.2.3.9.4", 0x0F7F, Rw),
    many(TXPBSIZE, 4, 8, "TXPBSIZE", "8.2.3.9.13", 0, Rw),
    one(0x0CD10, "MNGTXMAP", "8.2.3.9.14", 0, Rw),
    one(MTQC, "MTQC", "8.2.3.9.15", 0, Rw),
    many(0x04950, 4, 8, "TXPBTHRESH", "8.2.3.9.16", 0x96, Rw),
    one(0x02430, "RTRPCS", "8.2.3.10.1", 0, Rw),
    one(RTTDCS, "RTTDCS", "8.2.3.10.2", 0, Rw),
    one(0x0CD00, "RTTPCS", "8.2.3.10.3", 0, Rw),
    one(0x03020, "RTRUP2TC", "8.2.3.10.4", 0, Rw),
    one(0x0C800, "RTTUP2TC", "8.2.3.10.5", 0, Rw),
    many(0x02140, 4, 16, "RTRPT4C/S", "8.2.3.10.6", 0, Rw),
    many(0x082E0, 4, 4, "TXLLQ", "8.2.3.10.8", 0, Rw),
    many(0x04904, 4, 3, "RTTDQSEL/RTTDT1C/RTTDT1S", "8.2.3.10.13", 0, Rw),
    many(0x04910, 4, 16, "RTTDT2C/S", "8.2.3.10.9", 0, Rw),
    many(0x0CD20, 4, 16, "RTTPT2C/S", "8.2.3.10.11", 0, Rw),
    many(0x04980, 4, 5, "RTTBCNRM/RC/RS/RD/TECC", "8.2.3.10.16", 0, Rw),
    one(0x04A90, "RTTBCNTG", "8.2.3.10.17", 0, Rw),
    many(0x08B00, 4, 6, "RTTBCN", "8.2.3.10.18", 0, Rw),
    many(DCA_RXCTRL_ALIAS, 4, 16, "DCA_RXCTRL", "8.2.3.11.1", 0xB200, Rw),
    one(SECTXCTRL, "SECTXCTRL", "8.2.3.12.1", 1, Rw),
    one(SECTXSTAT, "SECTXSTAT", "8.2.3.12.2", SEC_OFF, Ro),
    one(0x08808, "SECTXBUFFAF", "8.2.3.12.3", 0x250, Rw),
    one(0x08810, "SECTXMINIFG", "8.2.3.12.4", 0x0001_0001, Rw),
    one(SECRXCTRL, "SECRXCTRL", "8.2.3.12.5", 1, Rw),
    one(SECRXSTAT, "SECRXSTAT", "8.2.3.12.6", SEC_OFF, Ro),
    many(0x08900, 4, 6, "IPSTX", "8.2.3.14", 0, Rw),
    many(0x08E00, 4, 13, "IPSRX", "8.2.3.14", 0, Rw),
    many(0x08A00, 4, 20, "LSECTX", "8.2.3.13", 0, Rw),
    many(0x08F00, 4, 33, "LSECRX", "8.2.3.13", 0, Rw),
    many(0x05100, 4, 6, "FCRXCTRL/FCFLT", "8.2.3.20", 0, Rw),
    many(0x02410, 4, 3, "FCPTR/FCBUFF", "8.2.3.20", 0, Rw),
    one(0x02420, "FCDMARW", "8.2.3.20", 0, Rw),
    one(0x051D8, "FCPARAM", "8.2.3.20", 0, Rw),
    many(0x04A94, 4, 2, "TEOFF/TSOFF", "8.2.3.20", 0, Rw),
    many(0x0ED00, 4, 12, "FCRECTL/FCRETA", "8.2.3.20", 0, Rw),
    one(FDIRCTRL, "FDIRCTRL", "8.2.3.21.1", 0, Rw),
    many(FDIRSIPV6, 4, 3, "FDIRSIPV6", "8.2.3.21", 0, Rw),
    one(FDIRIPSA, "FDIRIPSA", "8.2.3.21", 0, Rw),
    one(FDIRIPDA, "FDIRIPDA", "8.2.3.21", 0, Rw),
    one(FDIRPORT, "FDIRPORT", "8.2.3.21", 0, Rw),
    one(FDIRVLAN, "FDIRVLAN", "8.2.3.21", 0, Rw),
    one(FDIRHASH, "FDIRHASH", "8.2.3.21", 0, Rw),
    one(FDIRCMD, "FDIRCMD", "8.2.3.21", 0, Rw),
    one(FDIRFREE, "FDIRFREE", "8.2.3.21", 0, Ro),
    one(FDIRDIP4M, "FDIRDIP4M", "8.2.3.21", 0, Rw),
    one(FDIRSIP4M, "FDIRSIP4M", "8.2.3.21", 0, Rw),
    one(FDIRTCPM, "FDIRTCPM", "8.2.3.21", 0, Rw),
    one(FDIRUDPM, "FDIRUDPM", "8.2.3.21", 0, Rw),
    one(FDIRLEN, "FDIRLEN", "8.2.3.21", 0, Rc),
    one(FDIRUSTAT, "FDIRUSTAT", "8.2.3.21", 0, Rc),
    one(FDIRFSTAT, "FDIRFSTAT", "8.2.3.21", 0, Rc),
    one(FDIRMATCH, "FDIRMATCH", "8.2.3.21", 0, Rc),
    one(FDIRMISS, "FDIRMISS", "8.2.3.21", 0, Rc),
    one(FDIRHKEY, "FDIRHKEY", "8.2.3.21", 0, Rw),
    one(FDIRSKEY, "FDIRSKEY", "8.2.3.21", 0, Rw),
    one(FDIRM, "FDIRM", "8.2.3.21", 0, Rw),
    one(FDIRIP6M, "FDIRIP6M", "8.2.3.21", 0, Rw),
    one(FDIRSCTPM, "FDIRSCTPM", "8.2.3.21 (X550)", 0, Rw),
    many(0x04200, 4, 10, "PCS1G", "8.2.3.22.1", 0, Rw),
    one(HLREG0, "HLREG0", "8.2.3.22.8", 0x0801_2C0B, Rw),
    one(0x04244, "HLREG1", "8.2.3.22.9", 0, Ro),
    one(0x04248, "PAP", "8.2.3.22.10", 0xFFFF, Rw),
    one(MSCA, "MSCA", "8.2.3.22.11", 0, Rw),
    one(MSRWD, "MSRWD", "8.2.3.22.12", 0, Rw),
    one(MAXFRS, "MAXFRS", "8.2.3.22.13", 0x05EE_0000, Rw),
    one(0x04288, "PCSS1", "8.2.3.22.14", 0, Ro),
    one(0x0428C, "PCSS2", "8.2.3.22.15", 0, Ro),
    one(0x04290, "XPCSS", "8.2.3.22.16", 0, Ro),
    one(MFLCN, "MFLCN", "8.2.3.22.34", 0, Rw),
    one(0x04298, "SERDESC", "8.2.3.22.17", 0, Rw),
    one(0x0429C, "MACS", "8.2.3.22.18", 0, Rw),
    // Link mode 3: 10 GbE serial, with the serial interface SFI in AUTOC2, as the EEPROM of an SFP+ card has it.
    one(AUTOC, "AUTOC", "8.2.3.22.19", 0xC09C_6004, Rw),
    one(LINKS, "LINKS", "8.2.3.22.20", 0, Ro),
    one(0x04324, "LINKS2", "8.2.3.22.21", 0, Ro),
    one(AUTOC2, "AUTOC2", "8.2.3.22.22", 0x000A_0000, Rw),
    many(ANLP1, 4, 2, "ANLP1/2", "8.2.3.22.24", 0, Ro),
    one(0x042D0, "MMNGC", "8.2.3.22.26", 0, Rw),
    many(0x042D4, 4, 8, "ANLPNP/KRPCS/FECS", "8.2.3.22.27", 0, Rw),
    one(MACC, "MACC", "8.2.3.22.35 (X540)", 0, Rw),
    one(0x14F00, "CORECTL", "8.2.3.22.33", 0, Rw),
    one(0x14F10, "SMADARCTL", "8.2.3.22.32", 0, Rw),
    one(0x04800, "ATLASCTL", "(82598)", 0, Rw),
    many(0x04000, 4, 3, "CRCERRS/ILLERRC/ERRBC", "8.2.3.23", 0, Rc),
    one(0x04010, "MSPDC", "8.2.3.23", 0, Rc),
    many(MPC, 4, 8, "RXMPC", "8.2.3.23", 0, Rc),
    many(0x03FC0, 4, 8, "RNBC", "8.2.3.23", 0, Rc),
    many(0x04034, 4, 2, "MLFC/MRFC", "8.2.3.23", 0, Rc),
    one(0x04040, "RLEC", "8.2.3.23", 0, Rc),
    many(0x03F00, 4, 16, "PXONTXC/PXOFFTXC", "8.2.3.23", 0, Rc),
    many(0x0CF00, 4, 16, "PXONRXC/PXOFFRXC", "8.2.3.23", 0, Rc),
    one(LXONTXC, "LXONTXC", "8.2.3.23", 0, Rc),
    one(LXOFFTXC, "LXOFFTXC", "8.2.3.23", 0, Rc),
    one(0x0CF60, "LXONRXC", "8.2.3.23", 0, Rc),
    one(0x0CF68, "LXOFFRXC", "8.2.3.23", 0, Rc),
    many(LXONRXCNT, 4, 2, "LXONRXCNT/LXOFFRXCNT", "8.2.3.23", 0, Rc),
    many(0x04140, 4, 16, "PXONRXCNT/PXOFFRXCNT", "8.2.3.23", 0, Rc),
    many(0x03240, 4, 8, "PXON2OFFCNT", "8.2.3.23", 0, Rc),
    many(PRC64, 4, 6, "PRC", "8.2.3.23", 0, Rc),
    many(GPRC, 4, 4, "GPRC/BPRC/MPRC/GPTC", "8.2.3.23", 0, Rc),
    many(GORCL, 4, 4, "GORC/GOTC", "8.2.3.23", 0, Ro),
    many(RXNFGPC, 4, 3, "RXNFGPC/RXNFGBC", "8.2.3.23", 0, Rc),
    many(RUC, 4, 7, "RUC/RFC/ROC/RJC/MNGPRC/MNGPDC", "8.2.3.23", 0, Rc),
    one(0x0CF90, "MNGPTC", "8.2.3.23", 0, Rc),
    many(TORL, 4, 2, "TOR", "8.2.3.23", 0, Ro),
    many(TPR, 4, 2, "TPR/TPT", "8.2.3.23", 0, Rc),
    many(PTC64, 4, 6, "PTC", "8.2.3.23", 0, Rc),
    many(MPTC, 4, 2, "MPTC/BPTC", "8.2.3.23", 0, Rc),
    one(XEC, "XEC", "8.2.3.23", 0, Rc),
    many(RQSMR, 4, 32, "RQSMR", "8.2.3.23", 0, Rw),
    one(0x02F40, "RXDSTATCTRL", "8.2.3.23", 0, Rw),
    many(RXDGPC, 4, 12, "RXDGPC/RXDGBC and others", "8.2.3.23", 0, Rc),
    many(TQSM, 4, 32, "TQSM", "8.2.3.23", 0, Rw),
    many(QPTC, 4, 16, "QPTC", "8.2.3.23", 0, Rc),
    one(0x08780, "SSVPC", "8.2.3.23", 0, Rc),
    many(0x087A0, 4, 3, "TXDGPC/TXDGBC", "8.2.3.23", 0, Rc),
    many(QBTCL, 4, 32, "QBTC", "8.2.3.23", 0, Rc),
    many(0x05118, 4, 1, "FCCRC", "8.2.3.23", 0, Rc),
    one(0x0241C, "FCOERPDC", "8.2.3.23", 0, Rc),
    many(0x02424, 4, 3, "FCLAST/FCOEPRC/FCOEDWRC", "8.2.3.23", 0, Rc),
    many(0x08784, 4, 2, "FCOEPTC/FCOEDWTC", "8.2.3.23", 0, Rc),
    many(0x041C0, 4, 2, "B2OSPC/O2BGPTC", "8.2.3.23 (X540)", 0, Rc),
    one(0x087B0, "O2BSPC", "8.2.3.23 (X540)", 0, Rc),
    one(0x02F90, "B2OGPRC", "8.2.3.23 (X540)", 0, Rc),
    many(0x04180, 4, 8, "BUPRC and others", "8.2.3.23 (X540)", 0, Rc),
    many(0x041E0, 4, 3, "BXOFFRXC and others", "8.2.3.23 (X540)", 0, Rc),
    one(0x05800, "WUC", "8.2.3.24.1", 0, Rw),
    one(0x05808, "WUFC", "8.2.3.24.2", 0, Rw),
    one(0x05810, "WUS", "8.2.3.24.3", 0, Rw),
    one(0x05838, "IPAV", "8.2.3.24.4", 0, Rw),
    many(0x05840, 4, 8, "IP4AT", "8.2.3.24.5", 0, Rw),
    many(0x05880, 4, 4, "IP6AT", "8.2.3.24.6", 0, Rw),
    one(0x05900, "WUPL", "8.2.3.24.7", 0, Ro),
    many(0x05A00, 4, 32, "WUPM", "8.2.3.24.8", 0, Ro),
    many(0x09000, 4, 768, "FHFT", "8.2.3.24.9", 0, Rw),
    many(0x05010, 4, 20, "MAVTV/MFUTP", "8.2.3.25", 0, Rw),
    many(0x05820, 4, 2, "MANC/MFVAL", "8.2.3.25", 0, Rw),
    one(0x05860, "MANC2H", "8.2.3.25", 0, Rw),
    many(0x05890, 4, 12, "MDEF/MIPAF", "8.2.3.25", 0, Rw),
    many(0x05910, 4, 8, "MMAL/MMAH", "8.2.3.25", 0, Rw),
    many(0x05160, 4, 8, "MDEF_EXT", "8.2.3.25", 0, Rw),
    many(0x05190, 4, 4, "METF", "8.2.3.25", 0, Rw),
    one(0x15F14, "LSWFW", "8.2.3.25", 0, Rw),
    one(0x15F5C, "I2CCTL_X550", "(X550)", 0, Rw),
    one(HICR, "HICR", "8.2.3.25", 0, Rw),
    many(0x15F04, 4, 4, "HSMC/FWSTS", "8.2.3.25", 0, Rw),
    many(FLEX_MNG, 4, 448, "FLEX_MNG", "8.2.3.25", 0, Rw),
    one(TSYNCRXCTL, "TSYNCRXCTL", "8.2.3.26.1", 0, Rw),
    one(RXSTMPL, "RXSTMPL", "8.2.3.26.2", 0, Ro),
    many(0x051A0, 4, 3, "RXSATRL/RXSTMPH/RXSATRH", "8.2.3.26.3", 0, Ro),
    one(RXMTRL, "RXMTRL", "8.2.3.26.4", 0, Rw),
    one(TSYNCTXCTL, "TSYNCTXCTL", "8.2.3.26.5", 0, Rw),
    many(TXSTMPL, 4, 2, "TXSTMPL/H", "8.2.3.26", 0, Ro),
    many(SYSTIML, 4, 2, "SYSTIML/H", "8.2.3.26", 0, Rw),
    one(TIMINCA, "TIMINCA", "8.2.3.26", 0, Rw),
    many(0x08C18, 4, 2, "TIMADJL/H", "8.2.3.26", 0, Rw),
    one(TSAUXC, "TSAUXC", "8.2.3.26", 0, Rw),
    many(0x08C24, 4, 6, "TRGTTIM/CLKTIM", "8.2.3.26", 0, Rw),
    many(0x08C3C, 4, 4, "AUXSTMP", "8.2.3.26", 0, Ro),
    one(SYSTIMR, "SYSTIMR", "8.2.3.26 (X550)", 0, Rw),
    one(TSICR, "TSICR", "8.2.3.26 (X550)", 0, Rc),
    one(TSIM, "TSIM", "8.2.3.26 (X550)", 0, Rw),
    one(0x0003C, "TSSDP", "8.2.3.26 (X540)", 0, Rw),
    one(PFVTCTL, "PFVTCTL", "8.2.3.27.1", 0, Rw),
    many(0x04B00, 4, 64, "PFMAILBOX", "8.2.3.27.2", 0, Rw),
    many(0x00710, 4, 8, "PFMBICR/PFMBIMR", "8.2.3.27.3", 0, Rw),
    one(0x00600, "PFVFLRE", "8.2.3.27.4", 0, Ro),
    one(0x001C0, "PFVFLRE", "8.2.3.27.4", 0, Ro),
    many(0x00700, 4, 2, "PFVFLREC", "8.2.3.27.4", 0, Rw),
    many(0x051E0, 4, 2, "PFVFRE", "8.2.3.27.6", 0, Rw),
    many(0x08110, 4, 2, "PFVFTE", "8.2.3.27.7", 0, Rw),
    many(0x08790, 4, 4, "VMECM", "8.2.3.27.8", 0, Rw),
    many(0x050B0, 4, 2, "PFFLPL/H", "8.2.3.27.9", 0, Rw),
    many(0x05180, 4, 2, "PFVMTXSW", "8.2.3.27.10", 0, Rw),
    many(0x0F000, 4, 64, "PFVML2FLT", "8.2.3.27.14", 0, Rw),
    many(0x0F100, 4, 64, "PFVLVF", "8.2.3.27.15", 0, Rw),
    many(0x0F200, 4, 128, "PFVLVFB", "8.2.3.27.16", 0, Rw),
    many(0x0F400, 4, 128, "PFUTA", "8.2.3.27.12", 0, Rw),
    many(0x0F600, 4, 20, "PFMRCTL/PFMRVLAN/PFMRVM", "8.2.3.27.17", 0, Rw),
    many(0x08000, 4, 64, "PFVMVIR", "8.2.3.27.13", 0, Rw),
    many(0x08200, 4, 9, "PFVFSPOOF/PFDTXGSWC", "8.2.3.27.11", 0, Rw),
    many(0x13000, 4, 1024, "PFMBMEM", "8.2.3.27.20", 0, Rw),
];
