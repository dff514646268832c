//! Type, help and unit of one target's metrics, as its page's comment lines give them.
//!
//! Kept in the order of the page, like the series: lines that are what they were last time are
//! passed over. The texts are shared between all targets of a manager that give the same.
//!
//! Keeps true: a metric that is gone from the page stays listed for ten scrapes; the store is told
//! once of what is new or has changed.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use narthex_exposition::{Entry, Parser};
use narthex_model::{Metadata, MetricFamily, MetricType};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::cache::{Key, Keys};

const KEPT_SCRAPES: u8 = 10;

/// A target may give as many names as it likes; beyond this they are not kept.
const LIMIT: usize = 100_000;

/// So many blocks from the expected one on are tried: those between may have vanished.
const NEAR: usize = 8;

/// What is said of a metric family. None: nothing.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Family {
    pub(crate) name: Box<str>,
    pub(crate) kind: Option<MetricType>,
    help: Option<Box<str>>,
    pub(crate) unit: Option<Box<str>>,
}

/// The texts of all targets, each once.
#[derive(Default)]
pub(crate) struct Families(Mutex<Shared>);

#[derive(Default)]
struct Shared {
    families: HashSet<Arc<Family>>,
    len_at_last_sweep: usize,
}

pub(crate) struct MetadataCache {
    keys: Keys,
    families: Arc<Families>,
    blocks: Vec<Block>,
    /// Gone from the page, with the number of scrapes since.
    gone: Vec<(Arc<Family>, u8)>,
    /// The block that is expected next.
    cursor: usize,
    /// Where the block is that was taken last: in `shown` if the scrape diverged.
    last: Option<usize>,
    /// What this scrape showed; None as long as it is what `blocks` begins with.
    shown: Option<Vec<Block>>,
}

/// Comment lines of one family that follow each other.
#[derive(Clone)]
struct Block {
    family: Arc<Family>,
    key: Key,
    kind: Option<MetricType>,
    /// The store knows.
    told: bool,
}

impl MetadataCache {
    pub(crate) fn new(families: Arc<Families>) -> Self {
        MetadataCache {
            keys: Keys::default(),
            families,
            blocks: Vec::new(),
            gone: Vec::new(),
            cursor: 0,
            last: None,
            shown: None,
        }
    }

    /// A new scrape begins.
    pub(crate) fn begin(&mut self) {
        self.cursor = 0;
        self.last = None;
        self.shown = None;
    }

    /// Passes over the comment lines that stand next, if they are the expected ones.
    #[inline]
    pub(crate) fn skip(&mut self, parser: &mut Parser<'_>) -> bool {
        let Some(block) = self.blocks.get(self.cursor) else {
            return false;
        };
        let context = u64::from(parser.context().id());
        let is_it = |lines: &[u8]| self.keys.key(lines, context) == block.key;
        let skipped = parser.skip_known(block.key.length(), block.kind, is_it);
        if skipped {
            self.take(self.cursor);
        }
        skipped
    }

    /// Takes up a comment line that was just read, and those after it that are of the same family.
    /// `before` is what had not been read before the line.
    pub(crate) fn read(
        &mut self,
        before: &[u8],
        context: u8,
        line: &Entry<'_>,
        parser: &mut Parser<'_>,
    ) {
        let Some(mut family) = Family::of_line(line) else {
            return;
        };
        let mut ahead = parser.clone();
        while let Some(Ok(line)) = ahead.next() {
            if !family.add(&line) {
                break;
            }
            *parser = ahead.clone();
        }
        let length = before.len().saturating_sub(parser.rest().len());
        let lines = before.get(..length).unwrap_or_default();
        self.see(self.keys.key(lines, u64::from(context)), || family);
    }

    /// Takes up what an exporter says of a family. `scratch` is for use here.
    pub(crate) fn take_family(&mut self, family: &MetricFamily, scratch: &mut Vec<u8>) {
        let metadata = &family.metadata;
        scratch.clear();
        for text in [&family.name, &metadata.help, &metadata.unit] {
            scratch.extend_from_slice(text.as_bytes());
            scratch.push(0xff);
        }
        scratch.push(metadata.kind as u8);
        let key = self.keys.key(scratch, u64::from(u8::MAX));
        self.see(key, || Family {
            name: family.name.as_str().into(),
            kind: Some(metadata.kind),
            help: Some(metadata.help.as_str().into()),
            unit: Some(metadata.unit.as_str().into()),
        });
    }

    /// What the comment lines that were taken up last say.
    pub(crate) fn last(&self) -> Option<&Arc<Family>> {
        let blocks = self.shown.as_ref().unwrap_or(&self.blocks);
        blocks.get(self.last?).map(|block| &block.family)
    }

    /// Ends a good scrape: what it didn't show begins to be forgotten.
    pub(crate) fn end_success(&mut self) {
        for (_, scrapes) in &mut self.gone {
            *scrapes += 1;
        }
        self.gone.retain(|(_, scrapes)| *scrapes <= KEPT_SCRAPES);
        if self.cursor < self.blocks.len() {
            self.diverge();
        }
        let Some(mut shown) = self.shown.take() else {
            return;
        };
        shown.shrink_to_fit();
        let former = std::mem::replace(&mut self.blocks, shown);
        let names: HashSet<&str> = self.blocks.iter().map(|b| &*b.family.name).collect();
        let is_shown = |family: &Family| names.contains(&*family.name);
        self.gone.retain(|(family, _)| !is_shown(family));
        for block in former {
            if !is_shown(&block.family) && self.gone.len() < LIMIT {
                self.gone.push((block.family, 1));
            }
        }
    }

    /// Ends a scrape that failed. What is known stays; of a target that never succeeded, what it
    /// has shown.
    pub(crate) fn end_failure(&mut self) {
        if let Some(shown) = self.shown.take().filter(|_| self.blocks.is_empty()) {
            self.blocks = shown;
        }
    }

    /// What the store has not been told yet, and now is.
    pub(crate) fn tell(&mut self, mut tell: impl FnMut(&str, &Metadata)) {
        if self.blocks.iter().all(|block| block.told) {
            return;
        }
        let untold: HashSet<&str> = {
            let blocks = self.blocks.iter().filter(|block| !block.told);
            blocks.map(|block| &*block.family.name).collect()
        };
        for (name, metadata) in merged(self.blocks.iter().map(|block| &*block.family)) {
            if untold.contains(name) {
                tell(name, &metadata);
            }
        }
        for block in &mut self.blocks {
            block.told = true;
        }
    }

    /// What the store was told is lost.
    pub(crate) fn forget_told(&mut self) {
        for block in &mut self.blocks {
            block.told = false;
        }
    }

    /// Names with what is known of them, sorted.
    pub(crate) fn list(&self) -> Vec<(String, Metadata)> {
        let gone = self.gone.iter().map(|(family, _)| &**family);
        let shown = self.blocks.iter().map(|block| &*block.family);
        merged(gone.chain(shown))
            .into_iter()
            .map(|(name, metadata)| (name.to_owned(), metadata))
            .collect()
    }

    /// Takes up a block that may be known.
    fn see(&mut self, key: Key, family: impl FnOnce() -> Family) {
        let near = self.blocks.iter().skip(self.cursor).take(NEAR);
        let ahead = { near }.position(|block| block.key == key);
        if let Some(ahead) = ahead {
            if ahead > 0 {
                self.diverge();
            }
            self.take(self.cursor + ahead);
            return;
        }
        self.diverge();
        let family = self.families.share(family());
        let shown = self.shown.get_or_insert_default();
        self.last = Some(shown.len());
        if shown.len() < LIMIT {
            shown.push(Block {
                key,
                kind: family.kind,
                family,
                told: false,
            });
        }
    }

    /// The known block at this place stands next.
    fn take(&mut self, at: usize) {
        self.last = Some(at);
        if let Some((shown, block)) = self.shown.as_mut().zip(self.blocks.get(at)) {
            self.last = Some(shown.len());
            shown.push(block.clone());
        }
        self.cursor = at + 1;
    }

    /// From here on the scrape shows something else than the last one.
    fn diverge(&mut self) {
        if self.shown.is_none() {
            let same = self.blocks.get(..self.cursor).unwrap_or_default();
            self.shown = Some(same.to_vec());
        }
    }
}

impl Family {
    /// A number that other types, units and names hardly have.
    pub(crate) fn description(&self) -> u64 {
        let kind = self.kind.map_or(u64::from(u8::MAX), |kind| kind as u64);
        let unit = self.unit.as_deref().unwrap_or_default();
        xxh3_64_with_seed(
            unit.as_bytes(),
            xxh3_64_with_seed(self.name.as_bytes(), kind),
        )
    }

    fn of_line(line: &Entry<'_>) -> Option<Self> {
        let (Entry::Type { name, .. } | Entry::Help { name, .. } | Entry::Unit { name, .. }) = line
        else {
            return None;
        };
        let mut family = Family {
            name: name.as_ref().into(),
            kind: None,
            help: None,
            unit: None,
        };
        family.add(line);
        Some(family)
    }

    /// Takes up a line; false if it is of another family.
    fn add(&mut self, line: &Entry<'_>) -> bool {
        match line {
            Entry::Type { name, kind } if *name == *self.name => self.kind = Some(*kind),
            Entry::Help { name, text } if *name == *self.name => {
                self.help = Some(text.as_ref().into());
            }
            Entry::Unit { name, unit } if *name == *self.name => {
                self.unit = Some(unit.as_ref().into());
            }
            _ => return false,
        }
        true
    }
}

/// By name; of several that say something of the same, the last counts.
fn merged<'a>(families: impl Iterator<Item = &'a Family>) -> BTreeMap<&'a str, Metadata> {
    let mut all: BTreeMap<&str, Metadata> = BTreeMap::new();
    for family in families {
        let metadata = all.entry(&family.name).or_default();
        metadata.kind = family.kind.unwrap_or(metadata.kind);
        if let Some(help) = &family.help {
            metadata.help = help.to_string();
        }
        if let Some(unit) = &family.unit {
            metadata.unit = unit.to_string();
        }
    }
    all
}

impl Families {
    /// The shared form of a text.
    fn share(&self, family: Family) -> Arc<Family> {
        let mut shared = self.lock();
        if let Some(known) = shared.families.get(&family) {
            return known.clone();
        }
        shared.sweep();
        let family = Arc::new(family);
        shared.families.insert(family.clone());
        family
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Forgets what no target gives any more, now and then.
    fn sweep(&mut self) {
        if self.families.len() > 2 * self.len_at_last_sweep + 1000 {
            self.families.retain(|family| Arc::strong_count(family) > 1);
            self.families.shrink_to_fit();
            self.len_at_last_sweep = self.families.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use narthex_exposition::{Format, parse};

    /// One scrape of comment lines; gives how many blocks were passed over, and what the store was
    /// told.
    fn scrape(cache: &mut MetadataCache, page: &str) -> (usize, Vec<String>) {
        let skipped = read(cache, page);
        cache.end_success();
        let mut told = Vec::new();
        cache.tell(|name, metadata| {
            let kind = metadata.kind.as_str();
            told.push(format!("{name} {kind} {} {}", metadata.help, metadata.unit));
        });
        (skipped, told)
    }

    fn read(cache: &mut MetadataCache, page: &str) -> usize {
        cache.begin();
        let mut parser = parse(Format::OpenMetrics, page.as_bytes());
        let mut skipped = 0;
        loop {
            if cache.skip(&mut parser) {
                skipped += 1;
                continue;
            }
            let before = parser.rest();
            let context = parser.context().id();
            match parser.next() {
                None => return skipped,
                Some(line) => cache.read(before, context, &line.unwrap(), &mut parser),
            }
        }
    }

    const A: &str = "# HELP a_s text\n# TYPE a_s counter\n# UNIT a_s s\na_s_total 1\n";
    const B: &str = "# TYPE b gauge\nb 1\n";

    #[test]
    fn known_lines_are_passed_over_and_the_store_hears_of_them_once() {
        let mut cache = MetadataCache::new(Arc::default());
        let page = format!("{A}{B}# EOF\n");
        let told = ["a_s counter text s", "b gauge  "]
            .map(str::to_owned)
            .to_vec();
        assert_eq!(scrape(&mut cache, &page), (0, told.clone()));
        assert_eq!(scrape(&mut cache, &page), (2, Vec::new()));
        cache.forget_told();
        assert_eq!(scrape(&mut cache, &page), (2, told));
        let changed = page.replace("text", "other text");
        let (_, told) = scrape(&mut cache, &changed);
        assert_eq!(told, ["a_s counter other text s"]);
        assert_eq!(scrape(&mut cache, &changed), (2, Vec::new()));
        assert!(scrape(&mut cache, &format!("{B}# EOF\n")).1.is_empty());
        assert_eq!(cache.list().len(), 2);
        let (_, told) = scrape(&mut cache, "# TYPE b gauge\nb 1\n# HELP b late\n# EOF\n");
        assert_eq!(told, ["b gauge late "]);
    }

    #[test]
    fn the_type_of_lines_passed_over_is_known() {
        let mut cache = MetadataCache::new(Arc::default());
        let page = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\n# EOF\n";
        scrape(&mut cache, page);
        cache.begin();
        let mut parser = parse(Format::OpenMetrics, page.as_bytes());
        assert!(cache.skip(&mut parser));
        let Some(Ok(Entry::Series(series))) = parser.next() else {
            panic!("the line after is a series");
        };
        assert!(series.to_labels().unwrap().get("le") == Some("1.0"));
    }

    #[test]
    fn a_line_without_an_end_may_go_on() {
        let mut cache = MetadataCache::new(Arc::default());
        for help in ["a", "a b", "a b c"] {
            cache.begin();
            let page = format!("# HELP x {help}");
            let mut parser = parse(Format::Text, page.as_bytes());
            assert!(!cache.skip(&mut parser));
            let line = parser.next().unwrap().unwrap();
            cache.read(page.as_bytes(), 0, &line, &mut parser);
            cache.end_success();
            assert_eq!(cache.list()[0].1.help, help);
        }
    }

    #[test]
    fn it_is_forgotten_late() {
        let mut cache = MetadataCache::new(Arc::default());
        scrape(&mut cache, &format!("{A}# EOF\n"));
        for _ in 0..KEPT_SCRAPES {
            scrape(&mut cache, "# EOF\n");
            assert_eq!(cache.list()[0].1.unit, "s");
        }
        scrape(&mut cache, "# EOF\n");
        assert!(cache.list().is_empty());
        // What is back says all that is known.
        scrape(&mut cache, &format!("{A}# EOF\n"));
        scrape(&mut cache, "# EOF\n");
        scrape(&mut cache, "# TYPE a_s gauge\n# EOF\n");
        assert_eq!(cache.list()[0].1.help, "");
    }

    #[test]
    fn a_failed_scrape_leaves_what_is_known() {
        let mut cache = MetadataCache::new(Arc::default());
        read(&mut cache, &format!("{A}# EOF\n"));
        cache.end_failure();
        assert_eq!(cache.list().len(), 1);
        read(&mut cache, &format!("{B}# EOF\n"));
        cache.end_failure();
        assert_eq!(cache.list()[0].0, "a_s");
        assert_eq!(scrape(&mut cache, &format!("{A}# EOF\n")).0, 1);
    }

    #[test]
    fn there_is_a_limit() {
        let mut cache = MetadataCache::new(Arc::default());
        let lines = (0..=LIMIT).map(|i| format!("# HELP a{i} x\n"));
        scrape(&mut cache, &(lines.collect::<String>() + "# EOF\n"));
        assert_eq!(cache.list().len(), LIMIT);
    }

    #[test]
    fn equal_texts_are_kept_once_and_not_for_ever() {
        let families = Arc::new(Families::default());
        let mut caches = [0, 1].map(|_| MetadataCache::new(families.clone()));
        for cache in &mut caches {
            scrape(cache, &format!("{A}{B}# EOF\n"));
        }
        let [one, two] = &caches;
        assert!(Arc::ptr_eq(&one.blocks[0].family, &two.blocks[0].family));
        for i in 0..5000 {
            scrape(&mut caches[0], &format!("# HELP a_{i} x\n# EOF\n"));
        }
        assert!(families.lock().families.len() < 2000);
        assert_eq!(scrape(&mut caches[1], &format!("{A}{B}# EOF\n")).0, 2);
    }
}
