//! From matchers to series.
//!
//! A matcher that fails on "" asks for series that have one of certain labels; one that takes ""
//! too forbids certain labels, since a series without the label meets it as well. Either way it is
//! a union of lists to keep or to drop.
//!
//! Matchers whose labels can be looked up (equality, and expressions that are a choice of words)
//! come first, block of ids by block. The others need their expression asked about values: about
//! those of the series that are left, or about all values of the label, whichever are fewer.

use narthex_model::{CancelToken, MatchOp, Matcher, Regexp};

use crate::Canceled;
use crate::id_list::IdList;
use crate::id_set::{self, Bits, IdSet, block_of};
use crate::label_index::LabelIndex;
use crate::label_sets::LabelSets;

/// What a search works on.
pub(crate) struct Search<'a> {
    index: &'a LabelIndex,
    sets: &'a LabelSets,
    /// All series.
    live: &'a IdList,
    watch: Watch<'a>,
}

/// A union of lists: series in it are kept, or those outside.
struct Term<'a> {
    lists: Vec<&'a IdList>,
    keep: bool,
}

/// A matcher whose expression has to be asked about values of its label.
struct Scan<'a> {
    matcher: &'a Matcher,
    /// The number of the label's name.
    name: u32,
    /// What the values begin with that the expression fits.
    prefix: String,
}

enum Plan<'a> {
    Everything,
    Nothing,
    Lists(Term<'a>),
    Scan(Scan<'a>),
}

impl<'a> Search<'a> {
    pub(crate) fn new(
        index: &'a LabelIndex,
        sets: &'a LabelSets,
        live: &'a IdList,
        cancel: &'a CancelToken,
    ) -> Self {
        Search {
            index,
            sets,
            live,
            watch: Watch { cancel, steps: 0 },
        }
    }

    /// The series that meet every matcher, ascending.
    pub(crate) fn run(mut self, matchers: &'a [Matcher]) -> Result<Vec<u32>, Canceled> {
        self.watch.look()?;
        let (mut terms, mut scans) = (Vec::new(), Vec::new());
        for matcher in matchers {
            match plan(self.index, matcher) {
                Plan::Everything => {}
                Plan::Nothing => return Ok(Vec::new()),
                Plan::Lists(term) => terms.push(term),
                Plan::Scan(scan) => scans.push(scan),
            }
        }
        scans.sort_by_key(|scan| self.index.labels_of(scan.name).len());
        if !terms.iter().any(|term| term.keep) {
            terms.push(self.first_term(&mut scans)?);
        }
        let mut ids = self.intersect(terms)?;
        for scan in scans {
            self.narrow(&mut ids, &scan)?;
        }
        Ok(ids)
    }

    /// Where to begin if no label can be looked up: the labels of the scan with the fewest values
    /// that keeps series, else all series.
    fn first_term(&mut self, scans: &mut Vec<Scan<'_>>) -> Result<Term<'a>, Canceled> {
        match scans.iter().position(|scan| !scan.matcher.matches_empty()) {
            Some(at) => self.scan_values(&scans.remove(at)),
            None => Ok(Term {
                lists: vec![self.live],
                keep: true,
            }),
        }
    }

    /// Asks a matcher about all values of its label.
    fn scan_values(&mut self, scan: &Scan<'_>) -> Result<Term<'a>, Canceled> {
        let keep = !scan.matcher.matches_empty();
        let mut lists = Vec::new();
        for &label in self.index.labels_of(scan.name) {
            self.watch.step()?;
            if scan.is_met_by(self.index.value(label)) == keep {
                lists.push(self.index.series(label));
            }
        }
        Ok(Term { lists, keep })
    }

    /// The series that are in all terms; one at least keeps.
    fn intersect(&mut self, mut terms: Vec<Term<'a>>) -> Result<Vec<u32>, Canceled> {
        terms.sort_by_key(|term| (!term.keep, term.count()));
        let mut ids = Vec::new();
        let Some((first, rest)) = terms.split_first() else {
            return Ok(ids);
        };
        if let ([list], []) = (first.lists.as_slice(), rest) {
            list.append_to(&mut ids);
            return Ok(ids);
        }
        let keys = first.block_keys();
        let first = self.source(first, &keys)?;
        let rest: Vec<(Source<'_>, bool)> = rest
            .iter()
            .map(|term| Ok((self.source(term, &keys)?, term.keep)))
            .collect::<Result<_, Canceled>>()?;
        let (mut left, mut other) = (id_set::no_bits(), id_set::no_bits());
        for key in keys {
            self.watch.look()?;
            left.fill(0);
            first.add_block_to(key, &mut left);
            for (source, keep) in &rest {
                other.fill(0);
                source.add_block_to(key, &mut other);
                match keep {
                    true => id_set::keep(&mut left, &other),
                    false => id_set::drop_from(&mut left, &other),
                }
                if id_set::is_empty(&left) {
                    break;
                }
            }
            id_set::append_ids(&left, key, &mut ids);
        }
        Ok(ids)
    }

    /// Many lists are united once, not again for each block.
    fn source<'b>(&mut self, term: &'b Term<'a>, keys: &[u16]) -> Result<Source<'b>, Canceled> {
        match term.lists.as_slice() {
            [list] => Ok(Source::List(list)),
            lists => Ok(Source::Set(self.unite(lists, keys)?)),
        }
    }

    fn unite(&mut self, lists: &[&IdList], keys: &[u16]) -> Result<IdSet, Canceled> {
        let mut wanted = vec![false; keys.last().map_or(0, |&key| usize::from(key) + 1)];
        for &key in keys {
            wanted[usize::from(key)] = true;
        }
        let is_wanted = |key: u16| wanted.get(usize::from(key)).is_some_and(|&wanted| wanted);
        let mut set = IdSet::default();
        for list in lists {
            self.watch.step()?;
            list.add_to(&mut set, &is_wanted);
        }
        Ok(set)
    }

    /// Drops the series that do not meet a matcher.
    fn narrow(&mut self, ids: &mut Vec<u32>, scan: &Scan<'_>) -> Result<(), Canceled> {
        if ids.len() < self.index.labels_of(scan.name).len() {
            return self.ask_series(ids, scan);
        }
        let term = self.scan_values(scan)?;
        let mut keys: Vec<u16> = ids.iter().map(|&id| block_of(id)).collect();
        keys.dedup();
        let set = self.unite(&term.lists, &keys)?;
        ids.retain(|&id| set.contains(id) == term.keep);
        Ok(())
    }

    /// Asks a matcher about the value that each series has, about each value once.
    fn ask_series(&mut self, ids: &mut Vec<u32>, scan: &Scan<'_>) -> Result<(), Canceled> {
        let without_label = scan.matcher.matches_empty();
        let mut answers: Vec<Option<bool>> = vec![None; self.index.label_bound()];
        let mut left = Vec::new();
        for &id in ids.iter() {
            self.watch.step()?;
            let labels = self.sets.get(id).iter();
            let mut labels = labels.filter(|&&label| self.index.name_of(label) == scan.name);
            let meets = match labels.next() {
                None => without_label,
                Some(&label) => *answers[label as usize]
                    .get_or_insert_with(|| scan.is_met_by(self.index.value(label))),
            };
            if meets {
                left.push(id);
            }
        }
        *ids = left;
        Ok(())
    }
}

impl Scan<'_> {
    fn is_met_by(&self, value: &str) -> bool {
        if value.starts_with(&self.prefix) {
            self.matcher.matches(value)
        } else {
            self.matcher.op == MatchOp::NotRegex
        }
    }
}

/// A term that can be asked for the ids of one block.
enum Source<'a> {
    List(&'a IdList),
    Set(IdSet),
}

impl Source<'_> {
    fn add_block_to(&self, key: u16, bits: &mut Bits) {
        match self {
            Source::List(list) => list.add_block_to(key, bits),
            Source::Set(set) => {
                if let Some(block) = set.block(key) {
                    id_set::unite(bits, block);
                }
            }
        }
    }
}

impl Term<'_> {
    fn count(&self) -> usize {
        self.lists.iter().map(|list| list.len()).sum()
    }

    fn block_keys(&self) -> Vec<u16> {
        let mut keys = Vec::new();
        for list in &self.lists {
            list.append_block_keys(&mut keys);
        }
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

/// Looks at the token once in a while.
struct Watch<'a> {
    cancel: &'a CancelToken,
    steps: u32,
}

impl Watch<'_> {
    fn step(&mut self) -> Result<(), Canceled> {
        self.steps += 1;
        if self.steps < 2048 {
            return Ok(());
        }
        self.look()
    }

    fn look(&mut self) -> Result<(), Canceled> {
        self.steps = 0;
        self.cancel
            .reason()
            .map_or(Ok(()), |reason| Err(Canceled(reason)))
    }
}

fn plan<'a>(index: &'a LabelIndex, matcher: &'a Matcher) -> Plan<'a> {
    let everything_or_nothing = |everything| match everything {
        true => Plan::Everything,
        false => Plan::Nothing,
    };
    let keep = matches!(matcher.op, MatchOp::Equal | MatchOp::Regex);
    let Some(name) = index.find_name(&matcher.name) else {
        return everything_or_nothing(matcher.matches_empty());
    };
    // What dashboards ask for when all of something is chosen.
    if matcher.regexp().is_some() && &*matcher.value == ".*" {
        return everything_or_nothing(keep);
    }
    let lists = match (matcher.regexp(), &*matcher.value) {
        (None, "") => None,
        (None, value) => Some(look_up(index, &matcher.name, [value])),
        (Some(regexp), _) => regexp
            .literals()
            .filter(|words| words.iter().all(|word| !word.is_empty()))
            .map(|words| look_up(index, &matcher.name, words.iter().map(String::as_str))),
    };
    match lists {
        None => Plan::Scan(Scan {
            matcher,
            name,
            prefix: matcher.regexp().map_or(String::new(), Regexp::prefix),
        }),
        Some(lists) if !lists.is_empty() => Plan::Lists(Term { lists, keep }),
        Some(_) => everything_or_nothing(!keep),
    }
}

fn look_up<'a, 'b>(
    index: &'a LabelIndex,
    name: &str,
    values: impl IntoIterator<Item = &'b str>,
) -> Vec<&'a IdList> {
    let find = |value: &str| index.find(index.hash(name, value), name, value);
    let labels = values.into_iter().filter_map(find);
    labels.map(|label| index.series(label)).collect()
}
