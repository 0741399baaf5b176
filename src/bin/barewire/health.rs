//! `barewire dump`, `barewire eeprom` and `barewire module`: what a started device tells of its inside.

use std::fmt::Write;

use barewire::driver_core::device::Checksum;
use barewire::{Config, Error, Port};
use serde_json::{Map, Value, json};

use crate::output::Report;

/// Words of the EEPROM in a line.
const WORDS_IN_A_LINE: usize = 8;

/// What `look` finds at a device that is started for it, and the device's name.
fn look_at<T>(spec: &str, look: impl FnOnce(&mut Port) -> Result<T, Error>) -> Result<(String, T), Error> {
    let mut port = barewire::open(spec)?.start(&Config::new())?;
    let (name, found) = (port.name().to_owned(), look(&mut port));
    let end = port.finish().check();
    // What it found matters more than how it ended, unless it found nothing.
    let found = found?;
    end?;
    Ok((name, found))
}

/// Registers by name and field.
pub(crate) fn dump(spec: &str) -> Result<Report, Error> {
    let (device, registers) = look_at(spec, |port| Ok(port.control.registers()?))?;
    let width = registers.iter().map(|register| register.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for register in &registers {
        let _ = write!(text, "{:width$}  {:#07x}  {:#010x}", register.name, register.offset, register.value);
        for field in &register.fields {
            let _ = write!(text, "  {}={}", field.name, field.value);
        }
        text.push('\n');
    }
    let json: Vec<_> = registers
        .iter()
        .map(|register| {
            let fields: Map<String, Value> = register.fields.iter().map(|field| (field.name.into(), field.value.into())).collect();
            json!({ "name": register.name, "offset": register.offset, "section": register.section, "value": register.value, "fields": fields })
        })
        .collect();
    Ok(Report::good(text, json!({ "device": device, "registers": json })))
}

/// The EEPROM's words.
pub(crate) fn eeprom(spec: &str) -> Result<Report, Error> {
    let (device, eeprom) = look_at(spec, |port| Ok(port.control.eeprom()?))?;
    Ok(report(&device, &eeprom.words, eeprom.checksum))
}

/// The module in its cage.
pub(crate) fn module(spec: &str) -> Result<Report, Error> {
    let (device, module) = look_at(spec, |port| Ok(port.control.module()?))?;
    let mut lines = vec![
        ("kind", module.kind().to_owned()),
        ("vendor", module.vendor()),
        ("part number", module.part_number()),
        ("serial number", module.serial_number()),
        ("checksums", if module.is_identity_good() { "good" } else { "wrong" }.into()),
    ];
    let thousandths = |value: u32| format!("{}.{:03}", value / 1000, value % 1000);
    if let Some(now) = module.measures() {
        let sign = if now.millicelsius < 0 { "-" } else { "" };
        lines.extend([
            ("temperature", format!("{sign}{} C", thousandths(now.millicelsius.unsigned_abs()))),
            ("supply", format!("{} V", thousandths(now.microvolts / 1000))),
            ("laser bias", format!("{} mA", thousandths(now.bias_microamperes))),
            ("power sent", format!("{} mW", thousandths(now.tx_nanowatts / 1000))),
            ("power received", format!("{} mW", thousandths(now.rx_nanowatts / 1000))),
        ]);
    }
    let text = lines.into_iter().fold(String::new(), |text, (name, value)| text + &format!("{name:14}  {value}\n"));
    let measures = module.measures().map(|now| {
        json!({ "millicelsius": now.millicelsius, "microvolts": now.microvolts, "bias_microamperes": now.bias_microamperes, "tx_nanowatts": now.tx_nanowatts, "rx_nanowatts": now.rx_nanowatts })
    });
    let json = json!({
        "device": device, "kind": module.kind(), "vendor": module.vendor(), "part_number": module.part_number(), "serial_number": module.serial_number(),
        "checksums_good": module.is_identity_good(), "measures": measures, "identity": module.identity, "diagnostics": module.diagnostics,
    });
    Ok(Report { text, json, good: module.is_identity_good() })
}

fn report(device: &str, words: &[u16], checksum: Checksum) -> Report {
    let mut text = String::new();
    for (at, line) in words.chunks(WORDS_IN_A_LINE).enumerate() {
        let _ = write!(text, "{:04x} ", at * WORDS_IN_A_LINE);
        line.iter().for_each(|word| _ = write!(text, " {word:04x}"));
        text.push('\n');
    }
    let _ = match checksum.is_good() {
        true => writeln!(text, "checksum {:04x}: good", checksum.stored),
        false => writeln!(text, "checksum {:04x}: wrong, {:04x} would be right", checksum.stored, checksum.computed),
    };
    let json = json!({ "device": device, "words": words, "checksum": { "stored": checksum.stored, "computed": checksum.computed, "good": checksum.is_good() } });
    Report { text, json, good: checksum.is_good() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_checksum_is_told_with_the_right_one() {
        let report = report("nic", &[1; 10], Checksum { stored: 0xbab0, computed: 0xbaba });
        assert_eq!(report.text, "0000  0001 0001 0001 0001 0001 0001 0001 0001\n0008  0001 0001\nchecksum bab0: wrong, baba would be right\n");
        assert_eq!((report.good, &report.json["checksum"]["good"]), (false, &json!(false)));
    }
}
