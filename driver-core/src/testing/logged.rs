//! What is logged.

use std::mem;
use std::string::{String, ToString};
use std::sync::{Mutex, PoisonError};
use std::vec::Vec;

use log::{LevelFilter, Log, Metadata, Record};

/// What is logged as a warning or an error, for the one test of a program that looks at it: a program has one logger.
#[derive(Debug)]
pub struct Warnings(());

struct Lines(Mutex<Vec<String>>);
static LINES: Lines = Lines(Mutex::new(Vec::new()));

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &Record<'_>) {
        self.with(|lines| lines.push(record.args().to_string()));
    }
    fn flush(&self) {}
}

impl Lines {
    fn with<T>(&self, act: impl FnOnce(&mut Vec<String>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Warnings {
    /// From here on.
    ///
    /// # Panics
    /// The program has a logger.
    pub fn keep() -> Self {
        log::set_logger(&LINES).expect("a program has one logger");
        log::set_max_level(LevelFilter::Warn);
        Self(())
    }

    /// Those since the last call, a line each.
    pub fn take(&self) -> Vec<String> {
        LINES.with(mem::take)
    }
}
