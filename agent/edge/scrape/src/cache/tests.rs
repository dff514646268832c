//! Pages of numbers, and sets of numbers as what they should come to.

use std::collections::BTreeSet;

use super::*;

/// One scrape of a page of numbers, each the series of its whole part: `1` and `1.0` are two
/// spellings of one. Gives what vanished.
fn scrape(cache: &mut SeriesCache, page: &[&str]) -> Vec<u64> {
    cache.begin();
    for spelling in page {
        let series = SeriesRef(spelling.parse::<f64>().unwrap() as u64);
        let key = cache.keys.key(spelling.as_bytes(), 0);
        let at = if key == cache.expected() {
            cache.take_expected()
        } else if let Some(at) = cache.find(key) {
            at
        } else {
            cache.learn(key, series).0
        };
        assert_eq!(cache.series(at), Some(series));
        cache.see(at);
        cache.track(at);
    }
    gone(cache)
}

fn gone(cache: &SeriesCache) -> Vec<u64> {
    let mut gone: Vec<u64> = cache.vanished().map(|series| series.0).collect();
    gone.sort_unstable();
    gone
}

#[test]
fn tells_what_vanished_and_forgets_it() {
    let mut cache = SeriesCache::default();
    for (page, vanished) in [
        (&["1", "2"][..], &[][..]),
        (&["2", "3"], &[1]),
        (&["1", "2", "3"], &[]),
        (&["3", "2"], &[1]),
        (&[], &[2, 3]),
        (&[], &[]),
    ] {
        assert_eq!(scrape(&mut cache, page), vanished, "{page:?}");
        cache.end_success();
        assert_eq!(cache.entries.len(), page.len());
    }
}

#[test]
fn what_is_expected_is_the_page_as_it_last_was() {
    let mut cache = SeriesCache::default();
    for page in [
        &["1", "2", "3", "4"][..],
        &["1", "5", "2", "4", "3"],
        &["4", "4", "1"],
        &["2", "4", "1"],
    ] {
        scrape(&mut cache, page);
        cache.end_success();
        cache.begin();
        let once: BTreeSet<_> = page.iter().collect();
        let mut page: Vec<_> = page.to_vec();
        page.dedup();
        assert_eq!(page.len(), once.len());
        for spelling in page {
            assert_eq!(cache.expected(), cache.keys.key(spelling.as_bytes(), 0));
            cache.take_expected();
        }
        assert_eq!(cache.expected(), Key::NONE);
    }
}

#[test]
fn the_place_is_found_again_after_a_change() {
    let mut cache = SeriesCache::default();
    let names: Vec<String> = (0..100).map(|i| i.to_string()).collect();
    let page: Vec<&str> = names.iter().map(String::as_str).collect();
    scrape(&mut cache, &page);
    cache.end_success();
    for (change, misses) in [
        (vec![], 0),
        // One series more; seven less; one that has moved; one twice.
        (vec![(50, "new")], 1),
        (vec![(50, "drop 7")], 1),
        (vec![(10, "move")], 2),
        (vec![(10, "twice")], 1),
    ] {
        let mut page: Vec<String> = names.clone();
        for (at, what) in change {
            match what {
                "new" => page.insert(at, "1000".to_owned()),
                "drop 7" => drop(page.drain(at..at + 7)),
                "move" => {
                    let last = page.remove(80);
                    page.insert(at, last);
                }
                _ => page.insert(at, "80".to_owned()),
            }
        }
        cache.begin();
        let mut missed = 0;
        for name in &page {
            let key = cache.keys.key(name.as_bytes(), 0);
            if key == cache.expected() {
                cache.take_expected();
            } else {
                missed += 1;
                cache.find(key);
            }
        }
        // What has moved is missed where it is and where it was, and what follows it too.
        assert!(missed <= misses + 2, "{missed} {misses}");
    }
}

#[test]
fn two_spellings_are_one_series() {
    let mut cache = SeriesCache::default();
    let see = |cache: &mut SeriesCache, spelling: &str| {
        let key = cache.keys.key(spelling.as_bytes(), 0);
        let at = cache.find(key);
        let at = at.unwrap_or_else(|| cache.learn(key, SeriesRef(1)).0);
        let again = cache.see(at);
        cache.track(at);
        again
    };
    cache.begin();
    assert!(!see(&mut cache, "1"));
    assert!(see(&mut cache, "1.0"));
    cache.end_success();
    cache.begin();
    assert!(!see(&mut cache, "1.0"));
    assert!(see(&mut cache, "1"));
    cache.end_success();
    // Either spelling keeps it alive; it ends when both are gone.
    for (page, vanished) in [
        (&["1.0"][..], &[][..]),
        (&["1"], &[]),
        (&["1", "1.0"], &[]),
        (&["1.00"], &[]),
        (&[], &[1]),
    ] {
        assert_eq!(scrape(&mut cache, page), vanished, "{page:?}");
        cache.end_success();
    }
}

#[test]
fn a_forgotten_series_is_learned_anew() {
    let mut cache = SeriesCache::default();
    scrape(&mut cache, &["1", "1.0", "2"]);
    cache.end_success();
    cache.begin();
    for at in 0..3 {
        cache.take_expected();
        cache.see(at);
        cache.renew(at, SeriesRef(if at < 2 { 7 } else { 8 }));
        cache.track(at);
    }
    cache.end_success();
    cache.begin();
    // Both spellings have the same series still.
    assert!(!cache.see(0) && cache.see(1) && !cache.see(2));
    let series = [0, 1, 2].map(|at| cache.series(at).unwrap().0);
    assert_eq!(series, [7, 7, 8]);
    // The third turns out to be the same as well.
    cache.renew(2, SeriesRef(7));
    cache.begin();
    assert!(!cache.see(2) && cache.see(0));
}

#[test]
fn a_failing_target_keeps_the_cache_but_does_not_grow_it() {
    let mut cache = SeriesCache::default();
    scrape(&mut cache, &["1", "2"]);
    cache.end_success();
    assert_eq!(scrape(&mut cache, &["2"]), [1]);
    // All are stale now, also the one that was shown.
    cache.begin();
    assert_eq!(gone(&cache), [1, 2]);
    assert!(!cache.end_failure());
    assert!(gone(&cache).is_empty());
    cache.begin();
    assert_eq!(cache.expected(), cache.keys.key(b"1", 0));
    for i in 0..SPARE_ENTRIES as u64 + 3 {
        let key = cache.keys.key(&i.to_le_bytes(), 0);
        cache.learn(key, SeriesRef(100 + i));
    }
    assert!(cache.end_failure());
    assert_eq!(cache.entries.len(), 0);
    cache.begin();
    assert_eq!(cache.find(cache.keys.key(b"1", 0)), None);
}

#[test]
fn series_outlive_the_bytes_that_stood_for_them() {
    let mut cache = SeriesCache::default();
    scrape(&mut cache, &["1", "2", "3"]);
    cache.learn_dropped(cache.keys.key(b"4", 0));
    cache.end_success();
    cache.forget_raw();
    cache.begin();
    assert_eq!(gone(&cache), [1, 2, 3]);
    assert_eq!(cache.find(cache.keys.key(b"1", 0)), None);
    let new = cache.keys.key(b"under other rules", 0);
    assert_eq!(cache.learn(new, SeriesRef(2)), (1, false));
    assert!(cache.learn(cache.keys.key(b"x", 0), SeriesRef(9)).1);
    assert_eq!(cache.find(new), Some(1));
    cache.see(1);
    cache.track(1);
    assert_eq!(gone(&cache), [1, 3]);
}

/// Against the plainest model: sets of series.
#[test]
fn by_chance_it_is_what_sets_would_be() {
    let mut state = 1_u64;
    let mut random = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % below
    };
    let spellings: Vec<String> = (1..40)
        .flat_map(|i| [i.to_string(), format!("{i}.0")])
        .collect();
    let mut cache = SeriesCache::default();
    let mut live = BTreeSet::new();
    let mut page: Vec<&str> = Vec::new();
    for round in 0..2000 {
        for _ in 0..random(4) {
            let at = random(page.len() as u64 + 1) as usize;
            let spelling = &spellings[random(spellings.len() as u64) as usize];
            match random(3) {
                0 => page.insert(at, spelling),
                1 if at < page.len() => drop(page.remove(at)),
                _ if at < page.len() => page.swap(at, 0),
                _ => {}
            }
        }
        let shown: BTreeSet<u64> = page
            .iter()
            .map(|s| s.parse::<f64>().unwrap() as u64)
            .collect();
        let vanished: Vec<u64> = live.difference(&shown).copied().collect();
        let mut found = scrape(&mut cache, &page);
        found.dedup();
        assert_eq!(found, vanished, "round {round}: {page:?}");
        if random(10) == 0 {
            cache.begin();
            let mut all = gone(&cache);
            all.dedup();
            assert_eq!(all, live.iter().copied().collect::<Vec<_>>());
            cache.end_failure();
            live.clear();
        } else {
            cache.end_success();
            live = shown;
        }
        if random(20) == 0 {
            cache.forget_raw();
        }
    }
}
