//! A catalogue as bytes, and back.
//!
//! All numbers are little-endian `u32`s unless told otherwise, in arrays:
//!
//! - eight bytes that tell the format, then its version;
//! - how many names, labels, series ids and labels of all series together there are;
//! - per name, ascending by text: the length of the text; how many labels have the name;
//! - per label, by name: the length of its value;
//! - per series id: how many labels it has (`u16`), 0 for an id that is not in use;
//! - the labels of all series, in order of the ids, as places in the list of labels;
//! - the texts of the names, then those of the values.
//!
//! Hashes are not among it (they are keyed anew in each catalogue), nor are the lists of series:
//! to build them again is as fast as to read them, and they cannot contradict the sets.

use std::io;

use crate::label_sets::MAX_ID;
use crate::set_table::{self, SetTable};
use crate::{Catalogue, ImportError, set_hash};

const MAGIC: &[u8; 8] = b"NXCATLOG";
const VERSION: u32 = 1;

pub(crate) fn export(catalogue: &Catalogue, out: &mut dyn io::Write) -> io::Result<()> {
    let (index, sets) = (&catalogue.index, &catalogue.sets);
    let mut names: Vec<u32> = index.names().collect();
    names.sort_unstable_by(|&a, &b| index.name(a).cmp(index.name(b)));
    let labels: Vec<u32> = names
        .iter()
        .flat_map(|&name| index.labels_of(name).iter().copied())
        .collect();
    let mut places = vec![0; index.label_bound()];
    for (place, &label) in (0u32..).zip(&labels) {
        places[label as usize] = place;
    }
    let total: usize = (0..sets.bound()).map(|id| sets.get(id).len()).sum();

    out.write_all(MAGIC)?;
    let counts = [VERSION, names.len() as u32, labels.len() as u32];
    write_numbers(out, counts.into_iter())?;
    write_numbers(out, [sets.bound(), total as u32].into_iter())?;
    let lengths = names.iter().map(|&name| index.name(name).len() as u32);
    write_numbers(out, lengths)?;
    let counts = names.iter().map(|&name| index.labels_of(name).len() as u32);
    write_numbers(out, counts)?;
    write_numbers(out, labels.iter().map(|&l| index.value(l).len() as u32))?;
    for id in 0..sets.bound() {
        out.write_all(&(sets.get(id).len() as u16).to_le_bytes())?;
    }
    for id in 0..sets.bound() {
        let labels = sets.get(id).iter();
        write_numbers(out, labels.map(|&label| places[label as usize]))?;
    }
    for &name in &names {
        out.write_all(index.name(name).as_bytes())?;
    }
    for &label in &labels {
        out.write_all(index.value(label).as_bytes())?;
    }
    Ok(())
}

pub(crate) fn import(bytes: &[u8]) -> Result<Catalogue, ImportError> {
    let mut rest = Reader { rest: bytes };
    if rest.bytes(MAGIC.len())? != MAGIC {
        return Err(damaged("it does not begin as one"));
    }
    let version = rest.number()?;
    if version != VERSION {
        return Err(ImportError::Version(version));
    }
    let (name_count, label_count) = (rest.number()?, rest.number()?);
    let (id_count, total) = (rest.number()?, rest.number()?);
    if id_count > MAX_ID + 1 {
        return Err(damaged("there are too many series"));
    }
    let name_lengths = rest.numbers(name_count)?;
    let label_counts = rest.numbers(name_count)?;
    let value_lengths = rest.numbers(label_count)?;
    let set_lengths = rest.bytes(id_count as usize * size_of::<u16>())?;
    let labels = rest.numbers(total)?;
    let names = rest.texts(name_lengths)?;
    let values = rest.texts(value_lengths)?;
    if !rest.rest.is_empty() {
        return Err(damaged("bytes follow its end"));
    }
    let mut catalogue = Catalogue::default();
    add_labels(&mut catalogue, names, label_counts, values)?;
    add_series(&mut catalogue, set_lengths, labels)?;
    if !catalogue.index.all_have_series() {
        return Err(damaged("no series has one of the labels"));
    }
    Ok(catalogue)
}

/// In a new catalogue names and labels get the numbers that are their places here.
fn add_labels<'a>(
    catalogue: &mut Catalogue,
    names: impl ExactSizeIterator<Item = Result<&'a str, ImportError>>,
    label_counts: impl Iterator<Item = u32>,
    mut values: impl ExactSizeIterator<Item = Result<&'a str, ImportError>>,
) -> Result<(), ImportError> {
    let index = &mut catalogue.index;
    index.reserve(values.len(), names.len());
    let mut before: Option<&str> = None;
    for (name, count) in names.zip(label_counts) {
        let name = name?;
        if before >= Some(name) || count == 0 {
            return Err(damaged("the names are not sorted, or one has no label"));
        }
        before = Some(name);
        let number = index.add_name(name.into());
        for _ in 0..count {
            let value = values.next().ok_or(damaged("there are too few labels"))??;
            if value.is_empty() || !index.add_bare(number, value.into()) {
                return Err(damaged("a value is empty or comes twice"));
            }
        }
    }
    match values.next() {
        None => Ok(()),
        Some(_) => Err(damaged("there are too many labels")),
    }
}

fn add_series(
    catalogue: &mut Catalogue,
    set_lengths: &[u8],
    mut labels: impl ExactSizeIterator<Item = u32>,
) -> Result<(), ImportError> {
    let (lengths, _) = set_lengths.as_chunks();
    let lengths = lengths.iter().map(|&bytes| u16::from_le_bytes(bytes));
    catalogue.sets.reserve(lengths.len(), labels.len());
    let mut entries = Vec::with_capacity(lengths.len());
    let mut set = Vec::new();
    for (id, length) in (0..).zip(lengths).filter(|(_, length)| *length > 0) {
        set.clear();
        set.extend(labels.by_ref().take(usize::from(length)));
        if set.len() < usize::from(length) || !is_sound(catalogue, &set) {
            return Err(damaged("a label set is not sorted by name, or too short"));
        }
        let hashes = set.iter().map(|&label| catalogue.index.hash_of(label));
        entries.push(set_table::entry(set_hash(hashes), id));
        for &label in &set {
            catalogue.index.add_series(label, id);
        }
        catalogue.sets.insert(id, set.iter().copied());
        catalogue.live.insert(id);
    }
    catalogue.table = SetTable::build(entries);
    check_all_differ(catalogue)?;
    match labels.next() {
        None => Ok(()),
        Some(_) => Err(damaged("labels follow the last series")),
    }
}

fn check_all_differ(catalogue: &Catalogue) -> Result<(), ImportError> {
    let mut all_differ = true;
    let sets = &catalogue.sets;
    catalogue
        .table
        .each_pair_of_same_hash(|a, b| all_differ &= sets.get(a) != sets.get(b));
    match all_differ {
        true => Ok(()),
        false => Err(damaged("two series have the same labels")),
    }
}

/// Whether these are labels of ascending names.
fn is_sound(catalogue: &Catalogue, set: &[u32]) -> bool {
    let bound = catalogue.index.label_bound();
    let mut before = None;
    set.iter().all(|&label| {
        if label as usize >= bound {
            return false;
        }
        let name = Some(catalogue.index.name_of(label));
        let ascends = before < name;
        before = name;
        ascends
    })
}

/// Takes the arrays off the beginning of the bytes.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], ImportError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(damaged("it ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u32, ImportError> {
        let mut numbers = self.numbers(1)?;
        numbers.next().ok_or(damaged("it ends too early"))
    }

    fn numbers(
        &mut self,
        count: u32,
    ) -> Result<impl ExactSizeIterator<Item = u32> + Clone + use<'a>, ImportError> {
        let (numbers, _) = self.bytes(count as usize * size_of::<u32>())?.as_chunks();
        Ok(numbers.iter().map(|&bytes| u32::from_le_bytes(bytes)))
    }

    fn texts<L>(
        &mut self,
        lengths: L,
    ) -> Result<impl ExactSizeIterator<Item = Result<&'a str, ImportError>> + use<'a, L>, ImportError>
    where
        L: ExactSizeIterator<Item = u32> + Clone,
    {
        let total: u64 = lengths.clone().map(u64::from).sum();
        let total = usize::try_from(total).map_err(|_| damaged("its texts are too long"))?;
        let text = str::from_utf8(self.bytes(total)?).map_err(|_| damaged("a text is no UTF-8"))?;
        let mut end = 0;
        Ok(lengths.map(move |length| {
            let start = end;
            end += length as usize;
            text.get(start..end).ok_or(damaged("a text is no UTF-8"))
        }))
    }
}

fn damaged(what: &'static str) -> ImportError {
    ImportError::Damaged(what)
}

fn write_numbers(
    out: &mut dyn io::Write,
    mut numbers: impl Iterator<Item = u32>,
) -> io::Result<()> {
    numbers.try_for_each(|number| out.write_all(&number.to_le_bytes()))
}

#[cfg(test)]
mod tests {
    use narthex_model::{CancelToken, Labels};
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Catalogue {
        let mut catalogue = Catalogue::default();
        for id in 0..40 {
            let instance = format!("host-{}", id / 8);
            let labels = [("__name__", "up"), ("instance", &instance), ("le", "é")];
            let code = (id % 8).to_string();
            let labels = labels.into_iter().chain([("code", code.as_str())]);
            catalogue.insert(id, &Labels::from_pairs(labels)).unwrap();
        }
        catalogue.remove(&[3, 9, 39]);
        catalogue
    }

    fn bytes_of(catalogue: &Catalogue) -> Vec<u8> {
        let mut bytes = Vec::new();
        catalogue.export(&mut bytes).unwrap();
        bytes
    }

    fn series_of(catalogue: &Catalogue) -> Vec<(u32, Labels)> {
        let ids = catalogue.matching(&[], &CancelToken::default()).unwrap();
        let series = ids
            .into_iter()
            .map(|id| (id, catalogue.labels(id).unwrap()));
        series.collect()
    }

    #[test]
    fn comes_back_as_it_was() {
        for catalogue in [sample(), Catalogue::default()] {
            let bytes = bytes_of(&catalogue);
            let back = catalogue_from(&bytes);
            assert_eq!(series_of(&back), series_of(&catalogue));
            assert_eq!(bytes_of(&back), bytes);
        }
    }

    fn catalogue_from(bytes: &[u8]) -> Catalogue {
        Catalogue::import(bytes).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_shorter_or_longer_one_is_refused() {
        let mut bytes = bytes_of(&sample());
        for end in 0..bytes.len() {
            assert!(Catalogue::import(&bytes[..end]).is_err(), "{end} bytes");
        }
        bytes.push(0);
        assert!(Catalogue::import(&bytes).is_err());
        bytes[8] = 9;
        let error = Catalogue::import(&bytes).err();
        assert_eq!(error, Some(ImportError::Version(9)));
    }

    /// What was taken for a catalogue must behave like one.
    fn use_it(mut catalogue: Catalogue) {
        let series = series_of(&catalogue);
        assert_eq!(series.len(), catalogue.series_count());
        for (id, labels) in &series {
            assert_eq!(catalogue.find(labels), Some(*id));
            assert!(labels.as_slice().is_sorted_by(|a, b| a.name < b.name));
        }
        let mut ids: Vec<u32> = series.iter().map(|(id, _)| *id).collect();
        catalogue.sort_by_labels(&mut ids);
        catalogue.remove(&ids);
        assert_eq!(
            (catalogue.series_count(), catalogue.sizes().label_pairs),
            (0, 0)
        );
    }

    #[test]
    fn any_changed_byte_gives_an_error_or_a_sound_catalogue() {
        let bytes = bytes_of(&sample());
        for at in 0..bytes.len() {
            for change in [1, 0x80, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] ^= change;
                if let Ok(catalogue) = Catalogue::import(&bytes) {
                    use_it(catalogue);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_damage_gives_an_error_or_a_sound_catalogue(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)
        ) {
            let mut bytes = bytes_of(&sample());
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if let Ok(catalogue) = Catalogue::import(&bytes) {
                use_it(catalogue);
            }
        }
    }
}
