//! The values of one series at every step.
//!
//! Floats only for now; histograms will stand in a slice of their own beside them.

use super::budget::Charge;

/// Which steps have something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bitmap {
    words: Vec<u64>,
    len: usize,
}

impl Bitmap {
    pub(super) fn new(len: usize) -> Self {
        Bitmap {
            words: vec![0; len.div_ceil(64)],
            len,
        }
    }

    pub(super) fn get(&self, at: usize) -> bool {
        self.words
            .get(at / 64)
            .is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    pub(super) fn set(&mut self, at: usize) {
        debug_assert!(at < self.len);
        if let Some(word) = self.words.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
    }

    pub(super) fn clear(&mut self, at: usize) {
        if let Some(word) = self.words.get_mut(at / 64) {
            *word &= !(1 << (at % 64));
        }
    }

    pub(super) fn count(&self) -> usize {
        self.words
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    pub(super) fn intersects(&self, other: &Bitmap) -> bool {
        let mut pairs = self.words.iter().zip(&other.words);
        pairs.any(|(a, b)| a & b != 0)
    }

    pub(super) fn add_all(&mut self, other: &Bitmap) {
        for (word, more) in self.words.iter_mut().zip(&other.words) {
            *word |= more;
        }
    }

    pub(super) fn keep_only(&mut self, other: &Bitmap) {
        for (word, kept) in self.words.iter_mut().zip(&other.words) {
            *word &= kept;
        }
    }

    pub(super) fn remove_all(&mut self, other: &Bitmap) {
        for (word, removed) in self.words.iter_mut().zip(&other.words) {
            *word &= !removed;
        }
    }

    /// The set positions, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(index, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                if rest == 0 {
                    return None;
                }
                let bit = rest.trailing_zeros() as usize;
                rest &= rest - 1;
                Some(index * 64 + bit)
            })
        })
    }
}

/// One value or nothing for each step. Made by `QueryState::column`, which charges it.
#[derive(Debug)]
pub(super) struct Column {
    values: Vec<f64>,
    present: Bitmap,
    /// Given back to the budget when the column goes.
    _charge: Charge,
}

impl Column {
    pub(super) fn new(steps: usize, charge: Charge) -> Self {
        Column {
            values: vec![0.0; steps],
            present: Bitmap::new(steps),
            _charge: charge,
        }
    }

    pub(super) fn steps(&self) -> usize {
        self.values.len()
    }

    pub(super) fn get(&self, step: usize) -> Option<f64> {
        if self.present.get(step) {
            self.values.get(step).copied()
        } else {
            None
        }
    }

    pub(super) fn set(&mut self, step: usize, value: f64) {
        if let Some(slot) = self.values.get_mut(step) {
            *slot = value;
            self.present.set(step);
        }
    }

    pub(super) fn present(&self) -> &Bitmap {
        &self.present
    }

    pub(super) fn present_mut(&mut self) -> &mut Bitmap {
        &mut self.present
    }

    pub(super) fn is_empty(&self) -> bool {
        self.present.is_empty()
    }

    /// The steps that have a value, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        self.present
            .iter()
            .filter_map(|step| Some((step, *self.values.get(step)?)))
    }

    /// Replaces each value; None removes it.
    pub(super) fn map(&mut self, mut f: impl FnMut(usize, f64) -> Option<f64>) {
        for index in 0..self.present.words.len() {
            let Some(mut rest) = self.present.words.get(index).copied() else {
                continue;
            };
            while rest != 0 {
                let step = index * 64 + rest.trailing_zeros() as usize;
                rest &= rest - 1;
                let Some(slot) = self.values.get_mut(step) else {
                    continue;
                };
                match f(step, *slot) {
                    Some(value) => *slot = value,
                    None => self.present.clear(step),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::budget::Budget;

    #[test]
    fn bitmaps() {
        let mut a = Bitmap::new(130);
        for at in [0, 63, 64, 129] {
            a.set(at);
        }
        assert_eq!(a.iter().collect::<Vec<_>>(), [0, 63, 64, 129]);
        let mut b = Bitmap::new(130);
        b.set(64);
        b.set(65);
        assert!(a.intersects(&b));
        let mut kept = a.clone();
        kept.keep_only(&b);
        assert_eq!(kept.iter().collect::<Vec<_>>(), [64]);
        a.remove_all(&b);
        assert_eq!(a.count(), 3);
        assert!(!a.intersects(&b));
    }

    #[test]
    fn columns_map_and_drop_values() {
        let budget = Budget::new(100);
        let mut column = Column::new(70, budget.charge(70).unwrap());
        for step in 0..70 {
            column.set(step, step as f64);
        }
        column.map(|step, value| (step % 2 == 1).then_some(value * 2.0));
        assert_eq!(column.get(68), None);
        assert_eq!(column.get(69), Some(138.0));
        assert_eq!(column.present().count(), 35);
        drop(column);
        assert!(budget.charge(100).is_ok());
    }
}
