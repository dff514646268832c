//! What the store tells of its cardinality.

use narthex_model::METRIC_NAME;
use narthex_storage::{CardinalityStat, HeadStats, StoreStatus, TsdbStats};

use crate::db::Db;
use crate::head::Head;
use crate::postings::IdList;

impl StoreStatus for Db {
    fn stats(&self, limit: usize) -> TsdbStats {
        stats(&self.head(), limit)
    }
}

fn stats(head: &Head, limit: usize) -> TsdbStats {
    let names = || head.postings().iter();
    let pairs = || names().flat_map(|(name, values)| values.iter().map(move |v| (name, v)));
    let (min_time_ms, max_time_ms) = head.times_ms().unwrap_or((i64::MAX, i64::MIN));
    let metric_names = head.postings().values(METRIC_NAME).into_iter().flatten();
    let text_bytes = |(value, ids): (&std::sync::Arc<str>, &IdList)| value.len() * ids.len();
    TsdbStats {
        head: HeadStats {
            series: head.series_count() as u64,
            label_pairs: pairs().count() as u64,
            chunks: head.chunk_count() as u64,
            min_time_ms,
            max_time_ms,
        },
        series_count_by_metric_name: largest(
            limit,
            metric_names.map(|(value, ids)| (ids.len(), &**value)),
            str::to_owned,
        ),
        label_value_count_by_label_name: largest(
            limit,
            names().map(|(name, values)| (values.len(), &**name)),
            str::to_owned,
        ),
        memory_bytes_by_label_name: largest(
            limit,
            names().map(|(name, values)| (values.iter().map(text_bytes).sum(), &**name)),
            str::to_owned,
        ),
        series_count_by_label_pair: largest(
            limit,
            pairs().map(|(name, (value, ids))| (ids.len(), (&**name, &**value))),
            |(name, value)| format!("{name}={value}"),
        ),
    }
}

/// The largest entries, largest first, those of one size by name. Only they get a text.
fn largest<K: Ord>(
    limit: usize,
    entries: impl Iterator<Item = (usize, K)>,
    text: impl Fn(K) -> String,
) -> Vec<CardinalityStat> {
    let mut entries: Vec<(usize, K)> = entries.collect();
    let order = |a: &(usize, K), b: &(usize, K)| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1));
    if limit > 0 && limit < entries.len() {
        entries.select_nth_unstable_by(limit - 1, order);
    }
    entries.truncate(limit);
    entries.sort_unstable_by(order);
    let stat = |(value, key)| CardinalityStat {
        name: text(key),
        value: value as u64,
    };
    entries.into_iter().map(stat).collect()
}

#[cfg(test)]
mod tests {
    use narthex_model::Labels;

    use super::*;

    fn pairs(stats: &[CardinalityStat]) -> Vec<(&str, u64)> {
        stats.iter().map(|stat| (&*stat.name, stat.value)).collect()
    }

    #[test]
    fn counts() {
        let mut head = Head::default();
        for (name, instance) in [("up", "a"), ("up", "bb"), ("x", "a"), ("y", "a")] {
            let labels = Labels::from_pairs([("__name__", name), ("instance", instance)]);
            let (id, _) = head.find_or_create(&labels);
            head.append(id, 5, 1.0).unwrap();
        }
        let all = stats(&head, 2);
        assert_eq!(
            all.head,
            HeadStats {
                series: 4,
                label_pairs: 5,
                chunks: 4,
                min_time_ms: 5,
                max_time_ms: 5
            }
        );
        assert_eq!(
            pairs(&all.series_count_by_metric_name),
            [("up", 2), ("x", 1)]
        );
        assert_eq!(
            pairs(&all.label_value_count_by_label_name),
            [("__name__", 3), ("instance", 2)]
        );
        assert_eq!(
            pairs(&all.memory_bytes_by_label_name),
            [("__name__", 6), ("instance", 5)]
        );
        assert_eq!(
            pairs(&all.series_count_by_label_pair),
            [("instance=a", 3), ("__name__=up", 2)]
        );
        assert_eq!(stats(&head, 0).series_count_by_label_pair, []);
    }

    #[test]
    fn an_empty_head_has_no_times() {
        let head = stats(&Head::default(), 10).head;
        assert_eq!((head.min_time_ms, head.max_time_ms), (i64::MAX, i64::MIN));
    }
}
