//! The values of one series at every step.
//!
//! Floats stand in a slice with a bitmap of the steps that have one; histograms, which most series
//! don't have, in a list of their own. A step has a float or a histogram or nothing.

use std::borrow::Cow;
use std::sync::Arc;

use narthex_model::{Histogram, SampleValue};

use super::budget::Charge;
use super::error::QueryError;

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

    fn clear_all(&mut self) {
        self.words.fill(0);
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

/// A value of a column, borrowed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'c> {
    Float(f64),
    Histogram(&'c Arc<Histogram>),
}

impl Value<'_> {
    pub(super) fn type_name(self) -> &'static str {
        match self {
            Value::Float(_) => "float",
            Value::Histogram(_) => "histogram",
        }
    }

    pub(super) fn owned(self) -> SampleValue {
        match self {
            Value::Float(value) => SampleValue::Float(value),
            Value::Histogram(histogram) => SampleValue::Histogram(histogram.clone()),
        }
    }
}

/// One value or nothing for each step. Made by `QueryState::column`, which charges it.
#[derive(Debug)]
pub(super) struct Column {
    values: Vec<f64>,
    floats: Bitmap,
    /// Ascending by step; none of them is in `floats`.
    histograms: Vec<(usize, Arc<Histogram>)>,
    /// Given back to the budget when the column goes.
    charge: Charge,
}

impl Column {
    pub(super) fn new(steps: usize, charge: Charge) -> Self {
        Column {
            values: vec![0.0; steps],
            floats: Bitmap::new(steps),
            histograms: Vec::new(),
            charge,
        }
    }

    /// As it was made; None if it is charged for more than that.
    pub(super) fn emptied(mut self) -> Option<Self> {
        if self.charge.samples() != self.values.len() as u64 {
            return None;
        }
        self.floats.clear_all();
        self.histograms.clear();
        Some(self)
    }

    pub(super) fn steps(&self) -> usize {
        self.values.len()
    }

    /// The same once more, if there is room for it.
    pub(super) fn spare_copy(&self) -> Option<Self> {
        Some(Column {
            charge: self.charge.spare_copy()?,
            values: self.values.clone(),
            floats: self.floats.clone(),
            histograms: self.histograms.clone(),
        })
    }

    pub(super) fn charged_bytes(&self) -> u64 {
        self.charge.bytes()
    }

    /// The float at a step.
    pub(super) fn get(&self, step: usize) -> Option<f64> {
        if self.floats.get(step) {
            self.values.get(step).copied()
        } else {
            None
        }
    }

    pub(super) fn value(&self, step: usize) -> Option<Value<'_>> {
        match self.get(step) {
            Some(value) => Some(Value::Float(value)),
            None => self.histogram(step).map(Value::Histogram),
        }
    }

    pub(super) fn has(&self, step: usize) -> bool {
        self.floats.get(step) || self.histogram(step).is_some()
    }

    pub(super) fn histogram(&self, step: usize) -> Option<&Arc<Histogram>> {
        if self.histograms.is_empty() {
            return None;
        }
        let at = self.place(step).ok()?;
        self.histograms.get(at).map(|(_, histogram)| histogram)
    }

    /// Where the step has no histogram.
    pub(super) fn set(&mut self, step: usize, value: f64) {
        if let Some(slot) = self.values.get_mut(step) {
            *slot = value;
            self.floats.set(step);
        }
    }

    /// Where the step has no float. Charges for what the histogram takes.
    pub(super) fn set_histogram(
        &mut self,
        step: usize,
        histogram: Arc<Histogram>,
    ) -> Result<(), QueryError> {
        if step >= self.values.len() {
            return Ok(());
        }
        self.charge.grow(histogram.size_in_samples())?;
        match self.place(step) {
            Ok(at) => {
                if let Some(known) = self.histograms.get_mut(at) {
                    known.1 = histogram;
                }
            }
            Err(at) => self.histograms.insert(at, (step, histogram)),
        }
        Ok(())
    }

    pub(super) fn set_value(&mut self, step: usize, value: SampleValue) -> Result<(), QueryError> {
        match value {
            SampleValue::Float(value) => {
                self.set(step, value);
                Ok(())
            }
            SampleValue::Histogram(histogram) => self.set_histogram(step, histogram),
        }
    }

    /// The histogram at a step, or where it would have to be.
    fn place(&self, step: usize) -> Result<usize, usize> {
        match self.histograms.last() {
            None => Err(0),
            Some((last, _)) if *last < step => Err(self.histograms.len()),
            _ => self.histograms.binary_search_by_key(&step, |(at, _)| *at),
        }
    }

    /// The steps that have a float.
    pub(super) fn floats(&self) -> &Bitmap {
        &self.floats
    }

    /// The steps that have anything.
    pub(super) fn present(&self) -> Cow<'_, Bitmap> {
        if self.histograms.is_empty() {
            return Cow::Borrowed(&self.floats);
        }
        let mut all = self.floats.clone();
        for (step, _) in &self.histograms {
            all.set(*step);
        }
        Cow::Owned(all)
    }

    pub(super) fn keep_only(&mut self, kept: &Bitmap) {
        self.floats.keep_only(kept);
        self.histograms.retain(|(step, _)| kept.get(*step));
    }

    pub(super) fn remove_all(&mut self, removed: &Bitmap) {
        self.floats.remove_all(removed);
        self.histograms.retain(|(step, _)| !removed.get(*step));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.floats.is_empty() && self.histograms.is_empty()
    }

    pub(super) fn has_histograms(&self) -> bool {
        !self.histograms.is_empty()
    }

    /// Ascending by step.
    pub(super) fn histograms(&self) -> &[(usize, Arc<Histogram>)] {
        &self.histograms
    }

    /// Takes the histograms out.
    pub(super) fn take_histograms(&mut self) -> Vec<(usize, Arc<Histogram>)> {
        std::mem::take(&mut self.histograms)
    }

    pub(super) fn remove_histograms(&mut self) {
        self.histograms.clear();
    }

    pub(super) fn remove_floats(&mut self) {
        self.floats = Bitmap::new(self.values.len());
    }

    /// Keeps the histograms at the steps for which `keep` holds.
    pub(super) fn retain_histograms(&mut self, mut keep: impl FnMut(usize) -> bool) {
        self.histograms.retain(|(step, _)| keep(*step));
    }

    /// Takes over what `other` has.
    pub(super) fn take_over(&mut self, mut other: Column) -> Result<(), QueryError> {
        for (step, value) in other.iter() {
            self.set(step, value);
        }
        for (step, histogram) in other.take_histograms() {
            self.set_histogram(step, histogram)?;
        }
        Ok(())
    }

    /// The steps that have a float, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        self.floats
            .iter()
            .filter_map(|step| Some((step, *self.values.get(step)?)))
    }

    /// Replaces each float; None removes it. Histograms stay.
    pub(super) fn map(&mut self, mut f: impl FnMut(usize, f64) -> Option<f64>) {
        for index in 0..self.floats.words.len() {
            let Some(mut rest) = self.floats.words.get(index).copied() else {
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
                    None => self.floats.clear(step),
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

    #[test]
    fn histograms_stand_beside_floats() {
        let budget = Budget::new(100);
        let mut column = Column::new(4, budget.charge(4).unwrap());
        column.set(1, 1.0);
        let histogram = Arc::new(Histogram::default());
        for step in [3, 0] {
            column.set_histogram(step, histogram.clone()).unwrap();
        }
        let kinds: Vec<_> = (0..4)
            .map(|step| column.value(step).map(Value::type_name))
            .collect();
        assert_eq!(
            kinds,
            [Some("histogram"), Some("float"), None, Some("histogram")]
        );
        assert_eq!(column.present().iter().collect::<Vec<_>>(), [0, 1, 3]);
        assert_eq!(column.iter().count(), 1);
        let mut kept = Bitmap::new(4);
        kept.set(3);
        column.keep_only(&kept);
        assert_eq!(column.present().iter().collect::<Vec<_>>(), [3]);
        // 4 for the floats and 11 for each histogram.
        assert_eq!(budget.peak_samples(), 26);
        drop(column);
        assert!(budget.charge(100).is_ok());
    }
}
