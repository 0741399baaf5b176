//! Lines for a person.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

static REPORTS_ON_STDERR: AtomicBool = AtomicBool::new(false);
static FAILED: AtomicBool = AtomicBool::new(false);

/// Has reports go to standard error from now on: standard output is for something else.
pub(crate) fn report_on_stderr() {
    REPORTS_ON_STDERR.store(true, Ordering::Relaxed);
}

/// Whether reports go to standard output.
pub(crate) fn reports_on_stdout() -> bool {
    !REPORTS_ON_STDERR.load(Ordering::Relaxed)
}

/// Prints a line.
pub(crate) fn say(line: impl Display) {
    put(&format!("{line}\n"));
}

/// Prints text of a report. Where nobody reads it any more, there is no reason to stop; what cannot be written otherwise (a full disk) is told, once.
pub(crate) fn put(text: &str) {
    let written = if reports_on_stdout() {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush())
    } else {
        io::stderr().lock().write_all(text.as_bytes())
    };
    if let Err(error) = written
        && error.kind() != ErrorKind::BrokenPipe
        && !FAILED.swap(true, Ordering::Relaxed)
    {
        warn(format_args!("error: cannot write the report: {error}"));
    }
}

/// Whether all that was said could be written, as far as anybody reads.
pub(crate) fn is_written() -> bool {
    !FAILED.load(Ordering::Relaxed)
}

/// Prints a line about what is wrong.
pub(crate) fn warn(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
