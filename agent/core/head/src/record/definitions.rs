//! Series and their labels.
//!
//! Body: number of ids, then each id (less the one before) with its birth, all this as a part of
//! its own, so that whoever wants ids only stops there; number of strings, strings; number of
//! pairs, name and value of each as places among the strings; for each id the number of its labels
//! and their places among the pairs, sorted by name.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use narthex_catalogue::Catalogue;

use crate::DamagedRecord;
use crate::bytes::{Reader, put_bytes, put_varint};

/// Collects the definitions of one record. Each string is written once, each pair as well.
#[derive(Default)]
pub(crate) struct Definitions {
    ids: Vec<u8>,
    id_count: u64,
    previous: u32,
    strings: Vec<u8>,
    pairs: Vec<u8>,
    labels: Vec<u8>,
    string_places: HashMap<usize, u64, BuildHasherDefault<AddressHasher>>,
    pair_places: HashMap<(usize, usize), u64, BuildHasherDefault<AddressHasher>>,
    scratch: Vec<u64>,
}

impl Definitions {
    /// Adds a series of the catalogue; ids must not descend.
    pub(crate) fn add(&mut self, id: u32, birth: u8, catalogue: &Catalogue) {
        let Some(labels) = catalogue.each_label(id) else {
            return;
        };
        self.scratch.clear();
        for (name, value) in labels {
            let place = self.pair(name, value);
            self.scratch.push(place);
        }
        put_varint(&mut self.ids, u64::from(id.wrapping_sub(self.previous)));
        self.ids.push(birth);
        self.previous = id;
        self.id_count += 1;
        put_varint(&mut self.labels, self.scratch.len() as u64);
        for place in &self.scratch {
            put_varint(&mut self.labels, *place);
        }
    }

    /// The body, and starts anew.
    pub(crate) fn take(&mut self, body: &mut Vec<u8>) {
        let all = std::mem::take(self);
        if all.id_count == 0 {
            return;
        }
        let mut ids = Vec::with_capacity(all.ids.len() + 5);
        put_varint(&mut ids, all.id_count);
        ids.extend_from_slice(&all.ids);
        put_bytes(body, &ids);
        put_varint(body, all.string_places.len() as u64);
        body.extend_from_slice(&all.strings);
        put_varint(body, all.pair_places.len() as u64);
        body.extend_from_slice(&all.pairs);
        body.extend_from_slice(&all.labels);
    }

    /// The catalogue holds each string once and stays as it is until the record is written, so
    /// an address stands for a string.
    fn pair(&mut self, name: &Arc<str>, value: &Arc<str>) -> u64 {
        let key = (address(name), address(value));
        if let Some(place) = self.pair_places.get(&key) {
            return *place;
        }
        let (name, value) = (self.string(name), self.string(value));
        put_varint(&mut self.pairs, name);
        put_varint(&mut self.pairs, value);
        let place = self.pair_places.len() as u64;
        self.pair_places.insert(key, place);
        place
    }

    fn string(&mut self, string: &Arc<str>) -> u64 {
        let next = self.string_places.len() as u64;
        let place = self.string_places.entry(address(string)).or_insert(next);
        if *place == next {
            put_bytes(&mut self.strings, string.as_bytes());
        }
        *place
    }
}

fn address(string: &Arc<str>) -> usize {
    Arc::as_ptr(string).addr()
}

/// Spreads addresses, which nobody outside chooses.
#[derive(Default)]
struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize(usize::from(*byte));
        }
    }

    fn write_usize(&mut self, number: usize) {
        let mixed = (self.0.rotate_left(29) ^ number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed >> 32;
    }
}

/// Calls `read` with each id and its birth.
pub(crate) fn each_id(
    body: &mut Reader<'_>,
    mut read: impl FnMut(u32, u8) -> Result<(), DamagedRecord>,
) -> Result<u64, DamagedRecord> {
    let mut ids = body.part()?;
    let count = ids.count(2)?;
    let mut id = 0u32;
    for _ in 0..count {
        let next = id.checked_add(ids.u32()?);
        id = next.ok_or_else(|| ids.damaged("an id is too large"))?;
        read(id, ids.byte()?)?;
    }
    Ok(count as u64)
}

/// The series of a record.
pub(crate) struct Defined<'a> {
    /// Names and values.
    pub(crate) pairs: Vec<(&'a str, &'a str)>,
    ids: Vec<u32>,
    /// For all series, one after another.
    places: Vec<u32>,
    /// Where the places of each series end.
    ends: Vec<usize>,
}

impl Defined<'_> {
    /// Each id, and which of the pairs are its labels.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &[u32])> {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        let ranges = starts.zip(&self.ends);
        let places = ranges.map(|(start, end)| self.places.get(start..*end).unwrap_or_default());
        self.ids.iter().copied().zip(places)
    }
}

pub(crate) fn read(mut body: Reader<'_>) -> Result<Defined<'_>, DamagedRecord> {
    let mut ids = Vec::new();
    each_id(&mut body, |id, _| {
        ids.push(id);
        Ok(())
    })?;
    let count = body.count(1)?;
    let strings = (0..count).map(|_| body.text());
    let strings: Vec<&str> = strings.collect::<Result<_, _>>()?;
    let count = body.count(2)?;
    let mut pairs = Vec::with_capacity(count);
    for _ in 0..count {
        let mut string = || {
            let place = body.u32()?;
            let string = strings.get(place as usize).copied();
            string.ok_or_else(|| body.damaged("a label names no string"))
        };
        pairs.push((string()?, string()?));
    }
    let (mut places, mut ends) = (Vec::new(), Vec::with_capacity(ids.len()));
    for _ in &ids {
        for _ in 0..body.count(1)? {
            let place = body.u32()?;
            if place as usize >= pairs.len() {
                return Err(body.damaged("a series names no label"));
            }
            places.push(place);
        }
        ends.push(places.len());
    }
    Ok(Defined {
        pairs,
        ids,
        places,
        ends,
    })
}
