//! Lines for a person.

use std::fmt::Display;
use std::io::Write;

/// Prints a line. Where nobody reads it any more, there is no reason to stop.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Prints a line about what is wrong.
pub(crate) fn warn(line: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
