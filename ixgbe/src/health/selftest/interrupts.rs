//! Each vector fires when EICS tells it to, and only where EIMS lets it through (7.3.1, 8.2.3.5).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use driver_core::device::{ErrorKind, Flaw, Outcome};
use driver_core::host::{Bar, Interrupt, PciFunction};

use crate::card::Card;
use crate::config::MAX_VECTORS;
use crate::regs::*;
use crate::start::Ixgbe;

/// For how long a message may be on its way, in microseconds: through an IOMMU, a hypervisor and a busy machine.
const LIMIT_US: u64 = 500_000;
/// How often it is looked for.
const EVERY_US: u64 = 200;
/// How long a message that must not come is waited for.
const SILENCE_US: u64 = 20_000;
/// How long a cause that was left behind its mask may take when that opens.
const LEFTOVER_US: u64 = 1_000;

impl<F: PciFunction> Ixgbe<F> {
    pub(super) fn test_interrupts(&mut self) -> Outcome {
        let count = self.vectors();
        if count == 0 {
            return Outcome::Absent { why: "the function has no interrupts: neither MSI-X nor a host that hands them on" };
        }
        let result = self.with_vectors(count, |card, vectors| card.test_vectors(vectors.into_iter().collect()));
        Outcome::of(result.map_err(Flaw::from).and_then(|result| result))
    }
}

impl<B: Bar> Card<B> {
    /// Fires all of them masked, then one after the other.
    fn test_vectors<I: Interrupt>(&self, mut vectors: Vec<I>) -> Result<String, Flaw> {
        // One message a vector; what is sent masks its vector, as for queues (8.2.3.5.18).
        GPIE.write(&self.bar, Gpie::MULTIPLE_MSIX | Gpie::PBA_SUPPORT | Gpie::OCD | Gpie::EIAME);
        EIAM_EX.iter().for_each(|register| register.write(&self.bar, u32::MAX));
        EIAC.write(&self.bar, Eicr::RTXQ);
        let all = u64::MAX >> (64 - vectors.len().clamp(1, 64));
        self.fire_all(all)?;
        self.clock.sleep_us(SILENCE_US);
        if let Some(vector) = fired(&mut vectors)?.first() {
            return Err(Flaw::Stray { vector: *vector, instead_of: None });
        }
        EICR.write(&self.bar, Eicr::from_bits_retain(u32::MAX));
        for vector in 0..vectors.len() as u16 {
            self.test_vector(vector, &mut vectors)?;
        }
        Ok(format!("{} vectors fire, each when it is told to and let through", vectors.len()))
    }

    fn test_vector<I: Interrupt>(&self, vector: u16, vectors: &mut [I]) -> Result<(), Flaw> {
        let (bank, bit) = (u32::from(vector) / 32, 1 << (vector % 32));
        let (mask, unmask, cause) = (EIMC_EX.at(bank)?, EIMS_EX.at(bank)?, EICS_EX.at(bank)?);
        // LEFTOVERS: above 15 nothing clears a cause but its message, which those of before may send now.
        unmask.write(&self.bar, bit);
        self.flush();
        self.clock.sleep_us(LEFTOVER_US);
        fired(vectors)?;
        unmask.write(&self.bar, bit);
        cause.write(&self.bar, bit);
        self.flush();
        let mut waited_us = 0;
        let came = loop {
            let came = fired(vectors)?;
            if !came.is_empty() {
                break came;
            }
            if waited_us >= LIMIT_US {
                return Err(Flaw::Lost { vector, waited_us });
            }
            self.clock.sleep_us(EVERY_US);
            waited_us += EVERY_US;
        };
        mask.write(&self.bar, bit);
        match came.into_iter().find(|other| *other != vector) {
            Some(other) => Err(Flaw::Stray { vector: other, instead_of: Some(vector) }),
            None => Ok(()),
        }
    }

    fn fire_all(&self, vectors: u64) -> Result<(), ErrorKind> {
        EICS_EX.at(0)?.write(&self.bar, vectors as u32);
        EICS_EX.at(1)?.write(&self.bar, (vectors >> 32) as u32);
        self.flush();
        Ok(())
    }
}

/// Which of them fired since the last call.
fn fired<I: Interrupt>(vectors: &mut [I]) -> Result<Vec<u16>, ErrorKind> {
    let mut fired = Vec::new();
    for (vector, interrupt) in (0..MAX_VECTORS).zip(vectors) {
        if interrupt.wait(Some(0))? > 0 {
            fired.push(vector);
        }
    }
    Ok(fired)
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;
    use std::sync::Mutex;

    use driver_core::host::PciError;
    use driver_core::testing::{FakeClock, PlainBar};

    use super::*;
    use crate::id::MODELS;

    /// What a card with a few vectors remembers: which are let through, and which fired.
    type Lines = Arc<Mutex<(u32, u32)>>;

    struct Line(Lines, u32);

    impl Interrupt for Line {
        fn wait(&mut self, _: Option<u64>) -> Result<u64, PciError> {
            let mut lines = self.0.lock().unwrap();
            let fired = lines.1 >> self.1 & 1;
            lines.1 &= !(1 << self.1);
            Ok(fired.into())
        }
    }

    /// A card with eight vectors, whose message for vector `n` goes to `wired(n)`.
    fn test_with(wired: fn(u32) -> u32) -> Result<String, Flaw> {
        let (bar, lines) = (PlainBar::new(BAR_BYTES), Lines::default());
        let state = lines.clone();
        bar.on_write(EIMS_EX.at(0).unwrap().offset(), move |_, value| state.lock().unwrap().0 |= value);
        let state = lines.clone();
        bar.on_write(EIMC_EX.at(0).unwrap().offset(), move |_, value| state.lock().unwrap().0 &= !value);
        let state = lines.clone();
        bar.on_write(EICS_EX.at(0).unwrap().offset(), move |_, value| {
            let mut lines = state.lock().unwrap();
            let let_through = value & lines.0;
            (0..8).filter(|vector| let_through >> vector & 1 != 0).for_each(|vector| lines.1 |= 1 << wired(vector));
        });
        let card = Card::new(bar, Arc::new(FakeClock::new()), &MODELS[0], "test");
        card.test_vectors((0..8).map(|vector| Line(lines.clone(), vector)).collect())
    }

    #[test]
    fn messages_that_go_to_another_vector_are_found() {
        assert!(test_with(|vector| vector).is_ok());
        let flaw = test_with(|vector| if vector == 3 { 4 } else { vector }).unwrap_err();
        assert!(matches!(flaw, Flaw::Stray { vector: 4, instead_of: Some(3) }), "{flaw}");
    }
}
