//! `barewire doctor`.

use std::fmt::Write;

use barewire::vfio::PciAddress;
use barewire::vfio::sysfs::Root;
use barewire::vfio::sysfs::doctor::{self, Check, Verdict};
use serde_json::{Value, json};

use crate::output::{Colour, Report, Style};

/// Every check, and what mends what is red or could be better. Only red ones are in the way.
pub(crate) fn doctor(root: &Root, address: Option<PciAddress>, style: Style) -> Report {
    let checks = doctor::doctor(root, address);
    let count = |verdict| checks.iter().filter(|check| check.verdict == verdict).count();
    let (red, warnings) = (count(Verdict::Red), count(Verdict::Warning));
    let mut text = String::new();
    for check in &checks {
        let (word, colour) = word(check.verdict);
        let _ = writeln!(text, "{}  {:16}  {}", style.paint(&format!("{word:7}"), colour), check.name, check.cause);
        if !check.remedy.is_empty() {
            let _ = writeln!(text, "{:7}  {:16}  to mend it: {}", "", "", check.remedy);
        }
    }
    let remarks = match warnings {
        0 => String::new(),
        1 => " (1 warning)".into(),
        warnings => format!(" ({warnings} warnings)"),
    };
    let _ = match (red, address) {
        (0, Some(address)) => writeln!(text, "nothing is in the way of {address}{remarks}"),
        (0, None) => writeln!(text, "nothing is in the way{remarks}; look at one function with: barewire doctor ADDRESS"),
        (red, _) => writeln!(text, "{red} of {} checks red", checks.len()),
    };
    Report { text, json: checks.iter().map(json).collect(), good: red == 0 }
}

fn word(verdict: Verdict) -> (&'static str, Colour) {
    match verdict {
        Verdict::Green => ("green", Colour::Green),
        Verdict::Warning => ("warning", Colour::Yellow),
        Verdict::Red => ("red", Colour::Red),
        // A verdict that a later version of the checks may give is no reason to call anything in the way.
        _ => ("skipped", Colour::Yellow),
    }
}

fn json(check: &Check) -> Value {
    json!({ "name": check.name, "verdict": word(check.verdict).0, "cause": check.cause, "remedy": check.remedy })
}
