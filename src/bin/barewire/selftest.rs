//! `barewire selftest`: what is wrong with a device.

use std::fmt::Write;
use std::time::Duration;

use barewire::Error;
use barewire::driver_core::device::{Flaw, LinkDown, Outcome, SelfTest};
use serde_json::{Value, json};

use crate::output::Report;

/// Tests a device that is opened for it.
pub(crate) fn selftest(spec: &str, wait_seconds: f64) -> Result<Report, Error> {
    let mut device = barewire::open(spec)?;
    let name = device.info().name.clone();
    let result = device.self_test(Duration::from_secs_f64(wait_seconds));
    let violations = device.close();
    let test = result?;
    if !violations.is_empty() {
        return Err(Error::Violations { device: name, violations });
    }
    Ok(report(&name, &test))
}

fn report(device: &str, test: &SelfTest) -> Report {
    let mut text = String::new();
    for (part, outcome) in &test.parts {
        let _ = writeln!(text, "{:10}  {:6}  {outcome}", part.name(), outcome.name());
    }
    let parts: Vec<_> = test
        .parts
        .iter()
        .map(|(part, outcome)| {
            let mut json = json!({ "part": part.name(), "outcome": outcome.name(), "text": outcome.to_string() });
            if let Outcome::Failed(flaw) = outcome {
                json["flaw"] = details(flaw);
            }
            json
        })
        .collect();
    let good = test.is_good();
    Report { text, json: json!({ "device": device, "good": good, "parts": parts }), good }
}

/// A flaw's numbers, for a program.
fn details(flaw: &Flaw) -> Value {
    match flaw {
        Flaw::Register { name, offset, wrote, read, mask } => {
            json!({ "kind": "register", "name": name, "offset": offset, "wrote": wrote, "read": read, "mask": mask })
        }
        Flaw::Checksum(checksum) => json!({ "kind": "checksum", "stored": checksum.stored, "computed": checksum.computed }),
        Flaw::Lost { vector, waited_us } => json!({ "kind": "lost-interrupt", "vector": vector, "waited_us": waited_us }),
        Flaw::Stray { vector, instead_of } => json!({ "kind": "stray-interrupt", "vector": vector, "instead_of": instead_of }),
        Flaw::Missing { frame, len_bytes, came } => json!({ "kind": "missing-frame", "frame": frame, "len_bytes": len_bytes, "came": came }),
        Flaw::Length { frame, sent_bytes, came_bytes } => {
            json!({ "kind": "frame-length", "frame": frame, "sent_bytes": sent_bytes, "came_bytes": came_bytes })
        }
        Flaw::Byte { frame, len_bytes, at, sent, came } => {
            json!({ "kind": "frame-byte", "frame": frame, "len_bytes": len_bytes, "at": at, "sent": sent, "came": came })
        }
        Flaw::NoLink { report, waited_us } => json!({ "kind": "no-link", "waited_us": waited_us, "why": report.why_down.map(LinkDown::name) }),
        Flaw::Unsteady { what } => json!({ "kind": "unsteady", "what": what }),
        Flaw::Failed(error) => json!({ "kind": "error", "error": error.to_string() }),
        _ => json!({ "kind": "other" }),
    }
}
