//! A virtqueue for commands: one at a time, each with room for what the device answers.

use core::fmt;
use core::mem::ManuallyDrop;

use crate::host::dma::{DmaDomain, Iova};
use crate::ring::error::RingError;
use crate::ring::fault::QueueFault;
use crate::ring::memory::RingMemory;
use crate::ring::packed::PackedQueue;
use crate::ring::split::SplitQueue;
use crate::ring::words::DmaWords;

/// Words of 32 bits for a command and its answer.
const WORDS: u32 = 1024;
/// Those of the answer, at the end.
const ANSWER_WORDS: u32 = 64;
/// What an answer holds before the device wrote it: no answer's first value.
const UNWRITTEN: u32 = u32::MAX;

/// The queue in its layout.
enum Queue {
    Split(SplitQueue),
    Packed(PackedQueue),
}

/// A queue of commands, and the memory of the one that is under way.
///
/// Dropping it leaks its memory, since nothing here knows whether the device still uses it; a driver that has seen the device stop calls [`CommandQueue::release`].
pub struct CommandQueue {
    queue: ManuallyDrop<Queue>,
    words: ManuallyDrop<DmaWords<u32>>,
    /// A command is under way.
    is_busy: bool,
    /// How many bytes of the last answer the device says that it wrote.
    answered_bytes: u32,
}

impl CommandQueue {
    /// The longest command, in bytes.
    pub const MAX_COMMAND_BYTES: usize = (WORDS - ANSWER_WORDS) as usize * 4;
    /// The longest answer, in bytes.
    pub const MAX_ANSWER_BYTES: usize = ANSWER_WORDS as usize * 4;
    /// Descriptors that the queue has at least: a command and its answer have one each.
    pub const MIN_SIZE: u16 = 2;

    /// How many bytes of a [`RingMemory`] it takes beside its queue.
    pub const fn memory_bytes() -> usize {
        DmaWords::<u32>::part_bytes(WORDS)
    }

    /// Over a split queue, with [`CommandQueue::memory_bytes`] of `memory`.
    ///
    /// # Errors
    /// [`RingError::Entries`] of a queue of one descriptor, [`RingError::Memory`].
    pub fn split(memory: &mut RingMemory, queue: SplitQueue) -> Result<Self, RingError> {
        Self::check(queue.size())?;
        Self::over(memory, Queue::Split(queue))
    }

    /// The same over a packed queue.
    ///
    /// # Errors
    /// [`RingError::Entries`] of a queue of one descriptor, [`RingError::Memory`].
    pub fn packed(memory: &mut RingMemory, queue: PackedQueue) -> Result<Self, RingError> {
        Self::check(queue.size())?;
        Self::over(memory, Queue::Packed(queue))
    }

    fn check(size: u16) -> Result<(), RingError> {
        let min = Self::MIN_SIZE.into();
        if size >= Self::MIN_SIZE { Ok(()) } else { Err(RingError::Entries { entries: size.into(), min, max: 1 << 15 }) }
    }

    fn over(memory: &mut RingMemory, queue: Queue) -> Result<Self, RingError> {
        let words = DmaWords::in_part(memory.take(Self::memory_bytes(), 4)?, WORDS)?;
        Ok(Self { queue: ManuallyDrop::new(queue), words: ManuallyDrop::new(words), is_busy: false, answered_bytes: 0 })
    }

    /// The domain that it is mapped in.
    pub fn domain(&self) -> &DmaDomain {
        match &*self.queue {
            Queue::Split(queue) => queue.domain(),
            Queue::Packed(queue) => queue.domain(),
        }
    }

    /// The addresses of the queue's three areas.
    pub fn areas(&self) -> [Iova; 3] {
        match &*self.queue {
            Queue::Split(queue) => queue.areas(),
            Queue::Packed(queue) => queue.areas(),
        }
    }

    /// How many descriptors there are.
    pub fn size(&self) -> u16 {
        match &*self.queue {
            Queue::Split(queue) => queue.size(),
            Queue::Packed(queue) => queue.size(),
        }
    }

    /// Where the next descriptor will be made available, as a notification tells it (2.9).
    pub fn next_available(&self) -> u16 {
        match &*self.queue {
            Queue::Split(queue) => queue.next_available(),
            Queue::Packed(queue) => queue.next_available(),
        }
    }

    /// Whether a command is under way that has no answer yet.
    pub fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Shows the device a command, which is `parts` one behind another, with room for so many bytes of answer. Says whether the device wants to be told; `None` where a command is under
    /// way, or where command or answer is empty or too long.
    pub fn send(&mut self, parts: &[&[u8]], answer_bytes: usize) -> Option<bool> {
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        let fits = (1..=Self::MAX_COMMAND_BYTES).contains(&len) && (1..=Self::MAX_ANSWER_BYTES).contains(&answer_bytes);
        if self.is_busy || !fits {
            return None;
        }
        let mut bytes = parts.iter().flat_map(|part| part.iter().copied());
        for at in 0..len.div_ceil(4) as u32 {
            let word = [(); 4].map(|()| bytes.next().unwrap_or(0));
            self.words.store(at, u32::from_le_bytes(word));
        }
        let answer_at = WORDS - ANSWER_WORDS;
        (answer_at..WORDS).for_each(|at| self.words.store(at, UNWRITTEN));
        let first = self.words.iova();
        let pieces = [(first, len as u32), (first.offset(u64::from(answer_at) * 4), answer_bytes as u32)];
        self.is_busy = true;
        Some(match &mut *self.queue {
            Queue::Split(queue) => queue.send_command(pieces),
            Queue::Packed(queue) => queue.send_command(pieces),
        })
    }

    /// Whether the command under way was answered, and then its answer: as many bytes as `answer` has.
    ///
    /// # Errors
    /// [`QueueFault`]: what the device says makes no sense. The command stays under way.
    pub fn answer(&mut self, answer: &mut [u8]) -> Result<bool, QueueFault> {
        if !self.is_busy {
            return Ok(false);
        }
        let done = match &mut *self.queue {
            Queue::Split(queue) => queue.command_done()?,
            Queue::Packed(queue) => queue.command_done()?,
        };
        if let Some(bytes) = done {
            (self.is_busy, self.answered_bytes) = (false, bytes);
            for (word, at) in answer.chunks_mut(4).zip(WORDS - ANSWER_WORDS..WORDS) {
                word.copy_from_slice(&self.words.load(at).to_le_bytes()[..word.len()]);
            }
        }
        Ok(done.is_some())
    }

    /// How many bytes of the last answer the device says that it wrote: any number, since a device may say nothing of it (the legacy interface's) or lie.
    pub fn answered_bytes(&self) -> u32 {
        self.answered_bytes
    }

    /// Makes the queue what it was when it was new: no command is under way.
    ///
    /// # Safety
    /// The device uses the queue no more, and does not until it is told of it again.
    pub unsafe fn rewind(&mut self) {
        // SAFETY: the caller's.
        unsafe {
            match &mut *self.queue {
                Queue::Split(queue) => queue.rewind(),
                Queue::Packed(queue) => queue.rewind(),
            }
        }
        self.is_busy = false;
    }

    /// Unmaps the queue's memory.
    ///
    /// # Safety
    /// The device has confirmed that it stopped.
    pub unsafe fn release(mut self) {
        // SAFETY: `self` is consumed, and it has no `Drop` of its own.
        unsafe {
            ManuallyDrop::drop(&mut self.queue);
            ManuallyDrop::drop(&mut self.words);
        }
    }
}

impl fmt::Debug for CommandQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CommandQueue({} descriptors{})", self.size(), if self.is_busy { ", busy" } else { "" })
    }
}
