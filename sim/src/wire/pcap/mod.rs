//! Capture files: an input whose frames arrive at the card, an output that records what the card sends, or both.
//!
//! The input's format (pcap with either byte order and resolution, or pcapng) is known by its first bytes, the output's by its ending.
//! Frame check sequences that a capture holds are taken off, since no wire here carries them. Frames that were cut when they were
//! captured (a snapshot length) arrive as they are in the file, and the log says so. Frames of other links than Ethernet are left out and counted.
//! Times in the input are not looked at, whatever their resolution: frames come as fast as the card takes them.
//!
//! pcap-parser reads and pcap-file writes; the comments in `blocks` name what each reading library gets wrong, and what stands around it.

mod blocks;
mod frame;
mod input;
mod output;
mod records;
mod source;

use std::os::fd::BorrowedFd;
use std::path::Path;

use super::{Sent, Wire, WireError};
use input::Input;

pub use output::{Format, Output};

/// A wire between a card and capture files.
///
/// - Lossless: a frame stays in the input file until the card asks for it.
/// - An input that is a pipe (or `-`, standard input) is read as it comes, and has ended when its writer has closed it.
/// - Without an input nothing ever arrives, so that the wire is finished from the start; without an output, frames sent vanish.
/// - A broken input gives all whole frames before the damage, then ends; [`Wire::flush`] reports the damage.
/// - The output is written through a buffer: [`Wire::flush`] and dropping write it out, and so does a second on a card that looks for frames. After a disk error nothing more is written,
///   and [`Wire::flush`] reports it.
#[derive(Debug)]
pub struct Pcap {
    input: Option<Input>,
    output: Option<Output>,
}

impl Pcap {
    /// Opens `input` and makes `output`, whose name ends in `.pcap` or `.pcapng`. An existing output is overwritten.
    ///
    /// Both are locked (advisory), so that no second wire in this or another process writes a file that is in use.
    ///
    /// # Errors
    /// A file that cannot be opened, is no capture, was not taken on Ethernet or is in use; an output with another ending.
    pub fn open(input: Option<&Path>, output: Option<&Path>) -> Result<Self, WireError> {
        // The input first: a wrong input must not cost an existing output its contents.
        let input = input.map(Input::open).transpose()?;
        let create = |file: &Path| Output::create(file, Format::by_name(file)?);
        let output = output.map(create).transpose()?;
        Ok(Self { input, output })
    }

    /// Whole frames taken from the input so far.
    pub fn frames_read(&self) -> u64 {
        self.input.as_ref().map_or(0, Input::taken)
    }

    /// Frames of the input so far that were cut when they were captured.
    pub fn frames_cut(&self) -> u64 {
        self.input.as_ref().map_or(0, Input::cut)
    }

    /// Frames written to the output so far.
    pub fn frames_written(&self) -> u64 {
        self.output.as_ref().map_or(0, Output::written)
    }

    /// The first error so far, of the input where there are two.
    pub fn error(&self) -> Option<&WireError> {
        let input = self.input.as_ref().and_then(Input::error);
        input.or_else(|| self.output.as_ref().and_then(Output::error))
    }
}

impl Wire for Pcap {
    fn send(&mut self, frame: &[u8]) -> Sent {
        if let Some(output) = &mut self.output {
            output.write(frame);
            output.flush_when_due();
        }
        Sent::Taken
    }

    fn receive(&mut self, frame: &mut Vec<u8>) -> bool {
        // A card looks for frames again and again, even where none come.
        if let Some(output) = &mut self.output {
            output.flush_when_due();
        }
        self.input.as_mut().is_some_and(|input| input.take(frame))
    }

    fn is_finished(&self) -> bool {
        self.input.as_ref().is_none_or(Input::is_finished)
    }

    fn is_lossless(&self) -> bool {
        true
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.input.as_ref().and_then(Input::fd)
    }

    fn error(&self) -> Option<WireError> {
        Self::error(self).cloned()
    }

    fn flush(&mut self) -> Result<(), WireError> {
        if let Some(output) = &mut self.output {
            output.flush();
        }
        Wire::error(self).map_or(Ok(()), Err)
    }
}
