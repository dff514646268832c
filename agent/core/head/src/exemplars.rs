//! Exemplars: a ring of so many for all series, the newest of each series known.

use std::collections::{HashMap, VecDeque};

use narthex_model::{Exemplar, Labels};

/// The oldest goes when there is no more room.
#[derive(Debug, Default)]
pub(crate) struct Exemplars {
    limit: usize,
    ring: VecDeque<(u64, Exemplar)>,
    by_labels: HashMap<Labels, u64>,
    series: HashMap<u64, OfSeries>,
    next: u64,
}

#[derive(Debug)]
struct OfSeries {
    labels: Labels,
    count: usize,
    newest: Exemplar,
}

/// How an exemplar fits what is kept of its series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExemplarFit {
    Newer,
    /// It is the newest, again.
    Known,
    OutOfOrder,
    /// None are kept.
    Off,
}

impl Exemplars {
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        while self.ring.len() > limit {
            self.drop_oldest();
        }
        self.ring.shrink_to(limit);
    }

    pub(crate) fn fit(&self, labels: &Labels, exemplar: &Exemplar) -> ExemplarFit {
        if self.limit == 0 {
            return ExemplarFit::Off;
        }
        let number = self.by_labels.get(labels);
        let Some(series) = number.and_then(|number| self.series.get(number)) else {
            return ExemplarFit::Newer;
        };
        let newest = &series.newest;
        let same = newest.timestamp_ms == exemplar.timestamp_ms
            && newest.value.to_bits() == exemplar.value.to_bits()
            && newest.labels == exemplar.labels;
        if same {
            ExemplarFit::Known
        } else if exemplar.timestamp_ms > newest.timestamp_ms {
            ExemplarFit::Newer
        } else {
            ExemplarFit::OutOfOrder
        }
    }

    /// Keeps an exemplar if it is newer than the series' others.
    pub(crate) fn add(&mut self, labels: &Labels, exemplar: &Exemplar) -> ExemplarFit {
        let fit = self.fit(labels, exemplar);
        if fit != ExemplarFit::Newer {
            return fit;
        }
        if self.ring.len() >= self.limit {
            self.drop_oldest();
        }
        let next = self.next;
        let number = *self.by_labels.entry(labels.clone()).or_insert(next);
        let series = self.series.entry(number).or_insert_with(|| OfSeries {
            labels: labels.clone(),
            count: 0,
            newest: exemplar.clone(),
        });
        series.count += 1;
        series.newest = exemplar.clone();
        self.next += u64::from(number == next);
        self.ring.push_back((number, exemplar.clone()));
        fit
    }

    /// Exemplars in the order they came, with the labels of their series.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Labels, &Exemplar)> {
        let all = self.ring.iter();
        all.filter_map(|(number, exemplar)| Some((&self.series.get(number)?.labels, exemplar)))
    }

    pub(crate) fn len(&self) -> usize {
        self.ring.len()
    }

    pub(crate) fn series_count(&self) -> usize {
        self.series.len()
    }

    fn drop_oldest(&mut self) {
        let Some((number, _)) = self.ring.pop_front() else {
            return;
        };
        let Some(series) = self.series.get_mut(&number) else {
            return;
        };
        series.count -= 1;
        if series.count == 0
            && let Some(series) = self.series.remove(&number)
        {
            self.by_labels.remove(&series.labels);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exemplar(timestamp_ms: i64, value: f64) -> Exemplar {
        Exemplar {
            labels: Labels::from_pairs([("trace", "1")]),
            value,
            timestamp_ms,
        }
    }

    #[test]
    fn the_oldest_go_and_older_ones_are_passed_over() {
        let mut exemplars = Exemplars::default();
        let (a, b) = (
            Labels::from_pairs([("a", "1")]),
            Labels::from_pairs([("b", "1")]),
        );
        assert_eq!(exemplars.add(&a, &exemplar(1, 1.0)), ExemplarFit::Off);
        exemplars.set_limit(3);
        for (labels, time, value, expected) in [
            (&a, 5, 1.0, ExemplarFit::Newer),
            (&a, 5, 1.0, ExemplarFit::Known),
            (&a, 5, 2.0, ExemplarFit::OutOfOrder),
            (&a, 4, 2.0, ExemplarFit::OutOfOrder),
            (&b, 4, 2.0, ExemplarFit::Newer),
            (&b, 6, 2.0, ExemplarFit::Newer),
            (&b, 7, 2.0, ExemplarFit::Newer),
            (&a, 1, 1.0, ExemplarFit::Newer),
        ] {
            assert_eq!(exemplars.add(labels, &exemplar(time, value)), expected);
        }
        let kept = exemplars
            .iter()
            .map(|(labels, e)| (labels == &a, e.timestamp_ms));
        assert_eq!(
            kept.collect::<Vec<_>>(),
            [(false, 6), (false, 7), (true, 1)]
        );
        exemplars.set_limit(1);
        assert_eq!((exemplars.len(), exemplars.series_count()), (1, 1));
    }
}
