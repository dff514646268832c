//! Finding series, labels and exemplars.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::sync::Arc;

use narthex_catalogue::Catalogue;
use narthex_model::matcher::all_match;
use narthex_model::{CancelToken, Exemplar, Labels, Matcher};
use narthex_storage::{LabelQuery, SelectQuery, Series, SeriesExemplars, StorageError};

use crate::Head;
use crate::head::Pages;
use crate::page::{page_of, slot_of};
use crate::read::{HeadSeries, Reader};

/// A series that may have samples in a range.
struct Hit {
    id: u32,
    generation: u32,
    times_ms: (i64, i64),
    leads_many: bool,
}

/// So many series of one page are worth touching all of its memory at once.
const MANY: usize = 64;

impl Head {
    /// The matching series that may have samples in the range, sorted by labels.
    pub fn select(
        self: &Arc<Self>,
        query: &SelectQuery<'_>,
    ) -> Result<Vec<Box<dyn Series>>, StorageError> {
        self.select_shown(query, |catalogue, id| catalogue.labels(id))
    }

    /// As [`Head::select`], with the labels of these names alone.
    pub fn select_labels(
        self: &Arc<Self>,
        query: &SelectQuery<'_>,
        names: &[Arc<str>],
    ) -> Result<Vec<Box<dyn Series>>, StorageError> {
        let mut shown = Shown::new(names);
        self.select_shown(query, |catalogue, id| shown.labels(catalogue, id))
    }

    fn select_shown(
        self: &Arc<Self>,
        query: &SelectQuery<'_>,
        mut labels_of: impl FnMut(&Catalogue, u32) -> Option<Labels>,
    ) -> Result<Vec<Box<dyn Series>>, StorageError> {
        if query.start_ms > query.end_ms {
            return Ok(Vec::new());
        }
        let reader = Arc::new(Reader::new(self, query.start_ms, query.end_ms));
        let catalogue = self.catalogue();
        let ids = matching(&catalogue, query.matchers, &query.cancel)?;
        let pages = self.pages();
        let hits = in_range(&pages, &ids, query.start_ms..=query.end_ms);
        let mut ids: Vec<u32> = hits.iter().map(|hit| hit.id).collect();
        catalogue.sort_by_labels(&mut ids);
        let mut series: Vec<Box<dyn Series>> = Vec::with_capacity(hits.len());
        for (count, id) in ids.into_iter().enumerate() {
            let at = hits.binary_search_by_key(&id, |hit| hit.id).ok();
            let Some(hit) = at.and_then(|at| hits.get(at)) else {
                continue;
            };
            if count % 4096 == 0 && query.cancel.reason().is_some() {
                return Err(StorageError::Canceled);
            }
            let labels = labels_of(&catalogue, hit.id);
            let page = pages.get(page_of(hit.id));
            if let (Some(labels), Some(page)) = (labels, page) {
                series.push(Box::new(HeadSeries {
                    labels,
                    id: hit.id,
                    generation: hit.generation,
                    page: page.clone(),
                    reader: reader.clone(),
                    times_ms: hit.times_ms,
                    leads_many: hit.leads_many,
                }));
            }
        }
        Ok(series)
    }

    /// All series that may have samples in the range (both ends inclusive), sorted by labels, each
    /// made when it is asked for: for writing blocks, after which comes [`Head::truncate`].
    pub fn series_sorted(self: &Arc<Self>, start_ms: i64, end_ms: i64) -> SeriesSorted {
        let reader = Arc::new(Reader::new(self, start_ms, end_ms));
        reader.note_written();
        let catalogue = self.catalogue();
        let ids = matching(&catalogue, &[], &CancelToken::default()).unwrap_or_default();
        let pages = self.pages();
        let hits = in_range(&pages, &ids, start_ms..=end_ms);
        let mut ids: Vec<u32> = hits.iter().map(|hit| hit.id).collect();
        catalogue.sort_by_labels(&mut ids);
        drop(catalogue);
        let generation = |id: u32| {
            let at = hits.binary_search_by_key(&id, |hit| hit.id).ok()?;
            hits.get(at).map(|hit| (id, hit.generation))
        };
        let series: Vec<(u32, u32)> = ids.into_iter().filter_map(generation).collect();
        SeriesSorted {
            reader,
            series: series.into_iter(),
        }
    }

    /// Names of the labels of the series that meet the query, sorted.
    pub fn label_names(&self, query: &LabelQuery<'_>) -> Result<Vec<Arc<str>>, StorageError> {
        let catalogue = self.catalogue();
        let ids = self.matching_in_range(&catalogue, query)?;
        Ok(catalogue.label_names(every(&catalogue, &ids)))
    }

    /// Values of one label of the series that meet the query, sorted.
    pub fn label_values(
        &self,
        name: &str,
        query: &LabelQuery<'_>,
    ) -> Result<Vec<Arc<str>>, StorageError> {
        let catalogue = self.catalogue();
        let ids = self.matching_in_range(&catalogue, query)?;
        Ok(catalogue.label_values(name, every(&catalogue, &ids)))
    }

    /// Label sets of the series that meet the query, sorted.
    pub fn series(&self, query: &LabelQuery<'_>) -> Result<Vec<Labels>, StorageError> {
        let catalogue = self.catalogue();
        let mut ids = self.matching_in_range(&catalogue, query)?;
        if query.limit > 0 {
            ids.truncate(query.limit);
        }
        let mut labels = Vec::with_capacity(ids.len());
        for (count, id) in ids.into_iter().enumerate() {
            if count % 4096 == 0 && query.cancel.reason().is_some() {
                return Err(StorageError::Canceled);
            }
            labels.extend(catalogue.labels(id));
        }
        drop(catalogue);
        labels.sort_unstable();
        Ok(labels)
    }

    /// Exemplars of the series that meet any of the matcher sets, sorted by labels.
    pub fn exemplars(
        &self,
        matcher_sets: &[Vec<Matcher>],
        start_ms: i64,
        end_ms: i64,
    ) -> Result<Vec<SeriesExemplars>, StorageError> {
        let exemplars = self.exemplar_ring();
        let mut found: BTreeMap<&Labels, Vec<Exemplar>> = BTreeMap::new();
        for (labels, exemplar) in exemplars.iter() {
            let in_range = (start_ms..=end_ms).contains(&exemplar.timestamp_ms);
            let hit = || matcher_sets.iter().any(|set| all_match(set, labels));
            if in_range && (matcher_sets.is_empty() || hit()) {
                found.entry(labels).or_default().push(exemplar.clone());
            }
        }
        let found = found
            .into_iter()
            .map(|(labels, exemplars)| SeriesExemplars {
                labels: labels.clone(),
                exemplars,
            });
        Ok(found.collect())
    }

    /// The series that meet any of the matcher sets and may have samples in the range, ascending.
    fn matching_in_range(
        &self,
        catalogue: &Catalogue,
        query: &LabelQuery<'_>,
    ) -> Result<Vec<u32>, StorageError> {
        if query.start_ms > query.end_ms {
            return Ok(Vec::new());
        }
        let ids = matching_any(catalogue, query.matcher_sets, &query.cancel)?;
        let hits = in_range(&self.pages(), &ids, query.start_ms..=query.end_ms);
        Ok(hits.into_iter().map(|hit| hit.id).collect())
    }
}

/// Makes label sets of some labels. Many series have the same ones.
struct Shown<'n> {
    names: &'n [Arc<str>],
    /// By the number of a label, whether it has one of the names, as far as somebody asked.
    is_shown: Vec<Option<bool>>,
    known: HashMap<Vec<u32>, Labels>,
    /// The labels of one series.
    numbers: Vec<u32>,
}

impl<'n> Shown<'n> {
    fn new(names: &'n [Arc<str>]) -> Self {
        Shown {
            names,
            is_shown: Vec::new(),
            known: HashMap::new(),
            numbers: Vec::new(),
        }
    }

    fn labels(&mut self, catalogue: &Catalogue, id: u32) -> Option<Labels> {
        self.numbers.clear();
        for &number in catalogue.label_numbers(id)? {
            let place = number as usize;
            if self.is_shown.len() <= place {
                self.is_shown.resize(place + 1, None);
            }
            let is_shown = self.is_shown[place].get_or_insert_with(|| {
                let label = catalogue.label(number);
                label.is_some_and(|label| self.names.contains(&label.name))
            });
            if *is_shown {
                self.numbers.push(number);
            }
        }
        if let Some(known) = self.known.get(&self.numbers) {
            return Some(known.clone());
        }
        let labels = self.numbers.iter();
        let labels = labels.filter_map(|number| catalogue.label(*number));
        let labels = Labels::from_sorted(labels.cloned());
        self.known.insert(self.numbers.clone(), labels.clone());
        Some(labels)
    }
}

/// The series that meet any of the matcher sets, or all if there is none, ascending.
pub(crate) fn matching_any(
    catalogue: &Catalogue,
    matcher_sets: &[Vec<Matcher>],
    cancel: &CancelToken,
) -> Result<Vec<u32>, StorageError> {
    let [first, others @ ..] = matcher_sets else {
        return matching(catalogue, &[], cancel);
    };
    let mut ids = matching(catalogue, first, cancel)?;
    for set in others {
        ids.append(&mut matching(catalogue, set, cancel)?);
    }
    if !others.is_empty() {
        ids.sort_unstable();
        ids.dedup();
    }
    Ok(ids)
}

fn matching(
    catalogue: &Catalogue,
    matchers: &[Matcher],
    cancel: &CancelToken,
) -> Result<Vec<u32>, StorageError> {
    let ids = catalogue.matching(matchers, cancel);
    ids.map_err(|_| StorageError::Canceled)
}

/// `None` if these are all series, which is faster.
fn every<'a>(catalogue: &Catalogue, ids: &'a [u32]) -> Option<&'a [u32]> {
    (ids.len() < catalogue.series_count()).then_some(ids)
}

/// Those of the series, which ascend, that may have samples in the range.
fn in_range(pages: &Pages, ids: &[u32], range_ms: RangeInclusive<i64>) -> Vec<Hit> {
    let mut hits = Vec::with_capacity(ids.len());
    for of_page in ids.chunk_by(|a, b| page_of(*a) == page_of(*b)) {
        let first = of_page.first().copied().unwrap_or_default();
        let Some(page) = pages.get(page_of(first)) else {
            continue;
        };
        let inner = page.lock();
        for (at, &id) in of_page.iter().enumerate() {
            let times = inner.times_ms(slot_of(id));
            let overlap =
                times.filter(|(first, last)| first <= range_ms.end() && last >= range_ms.start());
            if let Some(times_ms) = overlap {
                hits.push(Hit {
                    id,
                    generation: page.generation(slot_of(id)),
                    times_ms,
                    leads_many: at % MANY == 0 && of_page.len() - at >= MANY,
                });
            }
        }
    }
    hits
}

/// Series in the order of their labels, each made when it is asked for.
pub struct SeriesSorted {
    reader: Arc<Reader>,
    /// Ids with their generations.
    series: std::vec::IntoIter<(u32, u32)>,
}

impl SeriesSorted {
    fn series(&self, id: u32, generation: u32) -> Option<HeadSeries> {
        let head = &self.reader.head;
        // While the catalogue is held, no id goes over to another series.
        let catalogue = head.catalogue();
        let labels = catalogue.labels(id)?;
        let page = head.pages().get(page_of(id))?.clone();
        if page.generation(slot_of(id)) != generation {
            return None;
        }
        let times_ms = page.lock().times_ms(slot_of(id))?;
        Some(HeadSeries {
            labels,
            id,
            generation,
            page,
            reader: self.reader.clone(),
            times_ms,
            leads_many: false,
        })
    }
}

impl Iterator for SeriesSorted {
    type Item = Result<Box<dyn Series>, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (id, generation) = self.series.next()?;
            if let Some(series) = self.series(id, generation) {
                return Some(Ok(Box::new(series)));
            }
        }
    }
}
