//! What a command has to say, and how it looks.

use std::fmt::Write;

use barewire::driver_core::device::LinkSpeeds;
use serde_json::Value;

/// What a command found or did.
pub(crate) struct Report {
    /// For a person.
    pub(crate) text: String,
    /// The same for a program.
    pub(crate) json: Value,
    /// Whether all is as it should be: else the exit status is 1.
    pub(crate) good: bool,
}

impl Report {
    pub(crate) fn good(text: String, json: Value) -> Self {
        Self { text, json, good: true }
    }
}

/// Whether there is colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Colour,
}

/// ECMA-48's numbers for colours of the foreground.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Colour {
    Red = 31,
    Green = 32,
    Yellow = 33,
}

impl Style {
    /// Colour on a terminal, unless NO_COLOR is set (no-color.org).
    pub(crate) fn of(is_terminal: bool) -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if is_terminal && !unwanted { Self::Colour } else { Self::Plain }
    }

    pub(crate) fn paint(self, text: &str, colour: Colour) -> String {
        match self {
            Self::Plain => text.into(),
            Self::Colour => format!("\x1b[{}m{text}\x1b[0m", colour as u8),
        }
    }
}

/// Rows below a head, in columns of their widest cell.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).chain([head[column].len()]).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in std::iter::once(head.map(String::from)).chain(rows.iter().cloned()) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A duration on the command line.
pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.0..=86_400.0).contains(seconds));
    seconds.ok_or_else(|| "give a number of seconds from 0 to 86400".into())
}

/// Speeds on the command line.
pub(crate) fn speeds(text: &str) -> Result<LinkSpeeds, String> {
    LinkSpeeds::of(text).ok_or_else(|| "give one of 100M, 1G, 2.5G, 5G and 10G, or several with a + between them".into())
}
