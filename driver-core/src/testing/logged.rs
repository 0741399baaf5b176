//! What is logged.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::string::{String, ToString};
use std::sync::OnceLock;
use std::vec::Vec;

use log::{LevelFilter, Log, Metadata, Record, SetLoggerError};

/// What the test's own thread logs as a warning or an error. A program has one logger, and its tests share it.
#[derive(Debug)]
pub struct Warnings(PhantomData<*const ()>);

std::thread_local! {
    /// The lines of this thread, where somebody wants them.
    static LINES: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

struct Keeper;

impl Log for Keeper {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &Record<'_>) {
        LINES.with_borrow_mut(|lines| {
            if let Some(lines) = lines {
                lines.push(record.args().to_string());
            }
        });
    }
    fn flush(&self) {}
}

impl Warnings {
    /// From here on, until this is dropped.
    ///
    /// # Panics
    /// The program has another logger.
    pub fn keep() -> Self {
        static INSTALLED: OnceLock<Result<(), SetLoggerError>> = OnceLock::new();
        assert!(INSTALLED.get_or_init(|| log::set_logger(&Keeper)).is_ok(), "the program has another logger");
        log::set_max_level(LevelFilter::Warn);
        LINES.set(Some(Vec::new()));
        Self(PhantomData)
    }

    /// Those since the last call, a line each.
    pub fn take(&self) -> Vec<String> {
        LINES.with_borrow_mut(|lines| lines.as_mut().map(core::mem::take).unwrap_or_default())
    }
}

impl Drop for Warnings {
    fn drop(&mut self) {
        LINES.set(None);
    }
}
