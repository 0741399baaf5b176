//! `barewire dump`, `barewire eeprom` and `barewire module` on simulated cards.

mod common;

use common::machine::barewire;
use serde_json::{Value, json};

fn json_of(arguments: &[&str]) -> Value {
    let outcome = barewire(arguments);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome:?}"))
}

#[test]
fn dump_prints_registers_by_name_and_field() {
    let dump = json_of(&["dump", "sim:ixgbe,mac=02:00:00:00:00:42", "--json"]);
    assert_eq!(dump["device"], json!("sim:ixgbe,mac=02:00:00:00:00:42"));
    let registers = dump["registers"].as_array().unwrap();
    let of = |name: &str| registers.iter().find(|register| register["name"] == name).unwrap_or_else(|| panic!("no {name}"));
    assert_eq!(of("RXCTRL"), &json!({ "name": "RXCTRL", "offset": 0x3000, "section": "8.2.3.8.10", "value": 1, "fields": { "RXEN": 1 } }));
    assert_eq!((&of("RAH[0]")["value"], &of("RAH[0]")["fields"]["AV"]), (&json!(0x8000_4200_u32), &json!(1)));
    let text = barewire(&["dump", "sim:ixgbe"]).stdout;
    let line = text.lines().find(|line| line.starts_with("RXCTRL ")).unwrap_or_else(|| panic!("{text}"));
    assert_eq!(line.split_whitespace().collect::<Vec<_>>(), ["RXCTRL", "0x03000", "0x00000001", "RXEN=1"]);
    assert_eq!(text.lines().count(), registers.len());
}

#[test]
fn eeprom_prints_words_and_whether_they_are_right() {
    let eeprom = json_of(&["eeprom", "sim:ixgbe", "--json"]);
    let words = eeprom["words"].as_array().unwrap();
    assert_eq!((words.len(), &words[0x2d], &eeprom["checksum"]["good"]), (2048, &json!(0x10fb), &json!(true)));
    assert_eq!(eeprom["checksum"]["stored"], words[0x3f]);
    for card in ["x540", "x550"] {
        assert_eq!(json_of(&["eeprom", &format!("sim:ixgbe,card={card}"), "--json"])["checksum"]["good"], json!(true), "{card}");
    }
    let corrupt = barewire(&["eeprom", "sim:ixgbe,defect=eeprom"]);
    assert!(corrupt.status == Some(1) && corrupt.stdout.contains(": wrong, "), "{corrupt:?}");
    let text = barewire(&["eeprom", "sim:ixgbe"]).stdout;
    assert!(text.lines().nth(5).unwrap().starts_with("0028  ") && text.contains(" 10fb ") && text.ends_with(": good\n"), "{text}");
    assert_eq!(text.lines().count(), 2048 / 8 + 1);
}

#[test]
fn module_prints_what_sits_in_the_cage() {
    let module = json_of(&["module", "sim:ixgbe", "--json"]);
    assert_eq!((&module["kind"], &module["vendor"], &module["measures"]["millicelsius"]), (&json!("10GBASE-SR"), &json!("Barewire"), &json!(35_000)));
    assert_eq!((module["identity"].as_array().unwrap().len(), &module["checksums_good"]), (256, &json!(true)));
    let text = barewire(&["module", "sim:ixgbe"]).stdout;
    // No cable, no light.
    assert!(text.starts_with("kind            10GBASE-SR\nvendor          Barewire\n"), "{text}");
    assert!(
        text.ends_with(
            "temperature     35.000 C\nsupply          3.300 V\nlaser bias      6.000 mA\npower sent      0.500 mW\npower received  0.000 mW\n"
        ),
        "{text}"
    );
}

#[test]
fn what_a_card_has_not_is_told() {
    for (command, spec, wanted) in [
        ("dump", "sim:virtio-net", "sim:virtio-net: reading its registers: the device does not do a dump of its registers: "),
        ("eeprom", "sim:virtio-net", "sim:virtio-net: reading its EEPROM: the device does not do reads of an EEPROM, which it has not: "),
        ("module", "sim:virtio-net", "sim:virtio-net: reading its module: the device does not do pluggable modules: "),
        ("module", "sim:ixgbe,card=x540", "sim:ixgbe,card=x540: reading its module: the device does not do pluggable modules: "),
    ] {
        let outcome = barewire(&[command, spec]);
        assert_eq!((outcome.status, outcome.stderr.lines().count()), (Some(1), 1), "{outcome:?}");
        assert!(outcome.stderr.starts_with(&format!("error: {wanted}")), "{outcome:?}");
    }
    for command in ["dump", "eeprom", "module"] {
        assert_eq!(barewire(&[command, "sim:ixgbe,tpa=x"]).status, Some(2));
        assert_eq!(barewire(&[command]).status, Some(2));
        let help = barewire(&[command, "--help"]).stdout;
        assert!(help.contains("  card=82599|x540|x550|82599-vf|x540-vf|x550-vf "), "{help}");
    }
}
