//! Which series matchers mean.
//!
//! Matchers that name the values they want are looked up, the shortest list first; the others are
//! tried on the series that are left or on the values of their label, whichever are fewer. A series
//! that lacks a label has the value "" there.

use narthex_model::{MatchOp, Matcher};

use crate::head::Head;
use crate::postings::IdList;

/// Ids of the series that meet all matchers, in no certain order, each once.
pub(crate) fn matching(head: &Head, matchers: &[Matcher]) -> Vec<u32> {
    let (mut lookups, others): (Vec<Lookup<'_>>, Vec<&Matcher>) = split(head, matchers);
    lookups.sort_by_key(Lookup::len);
    let mut lookups = lookups.into_iter();
    let mut ids = match lookups.next() {
        Some(shortest) => shortest.ids(),
        None => head.iter().map(|(id, _)| id).collect(),
    };
    for lookup in lookups {
        ids.retain(|id| lookup.contains(*id));
    }
    for matcher in others {
        if ids.is_empty() {
            break;
        }
        filter(head, matcher, &mut ids);
    }
    ids
}

/// The lists of the values that a matcher names; a series is in one of them at most.
struct Lookup<'a> {
    lists: Vec<&'a IdList>,
}

impl<'a> Lookup<'a> {
    /// Nothing if the matcher does not name its values, or if absence matches too.
    fn of(head: &'a Head, matcher: &Matcher) -> Option<Self> {
        if matcher.matches_empty() {
            return None;
        }
        let list = |value: &str| head.postings().ids(&matcher.name, value);
        let lists = match (matcher.op, matcher.regexp()) {
            (MatchOp::Equal, _) => list(&matcher.value).into_iter().collect(),
            (MatchOp::Regex, Some(regexp)) => {
                let mut values: Vec<&String> = regexp.literals()?.iter().collect();
                values.sort_unstable();
                values.dedup();
                values.into_iter().filter_map(|value| list(value)).collect()
            }
            _ => return None,
        };
        Some(Lookup { lists })
    }

    fn len(&self) -> usize {
        self.lists.iter().map(|list| list.len()).sum()
    }

    fn ids(&self) -> Vec<u32> {
        self.lists.iter().flat_map(|list| list.iter()).collect()
    }

    fn contains(&self, id: u32) -> bool {
        self.lists.iter().any(|list| list.contains(id))
    }
}

fn split<'a, 'm>(head: &'a Head, matchers: &'m [Matcher]) -> (Vec<Lookup<'a>>, Vec<&'m Matcher>) {
    let (mut lookups, mut others) = (Vec::new(), Vec::new());
    for matcher in matchers {
        match Lookup::of(head, matcher) {
            Some(lookup) => lookups.push(lookup),
            None => others.push(matcher),
        }
    }
    (lookups, others)
}

fn filter(head: &Head, matcher: &Matcher, ids: &mut Vec<u32>) {
    let absent_matches = matcher.matches_empty();
    let Some(values) = head.postings().values(&matcher.name) else {
        if !absent_matches {
            ids.clear();
        }
        return;
    };
    if ids.len() <= values.len() {
        let fits = |id: &u32| {
            head.get(*id)
                .is_some_and(|s| matcher.matches_labels(&s.labels))
        };
        return ids.retain(fits);
    }
    // Series without the label are in no list, so what is marked is what differs from them.
    let mut marked = Marks::new(head.id_limit());
    for (value, list) in values {
        if matcher.matches(value) != absent_matches {
            list.iter().for_each(|id| marked.set(id));
        }
    }
    ids.retain(|id| marked.has(*id) != absent_matches);
}

/// A bit for each id.
struct Marks(Vec<u64>);

impl Marks {
    fn new(limit: u32) -> Self {
        Marks(vec![0; limit.div_ceil(64) as usize])
    }

    fn set(&mut self, id: u32) {
        if let Some(word) = self.0.get_mut(id as usize / 64) {
            *word |= 1 << (id % 64);
        }
    }

    fn has(&self, id: u32) -> bool {
        self.0
            .get(id as usize / 64)
            .is_some_and(|word| word >> (id % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use narthex_model::Labels;
    use narthex_model::matcher::all_match;
    use proptest::prelude::*;

    use super::*;

    fn matcher() -> impl Strategy<Value = Matcher> {
        let op = prop_oneof![
            Just(MatchOp::Equal),
            Just(MatchOp::NotEqual),
            Just(MatchOp::Regex),
            Just(MatchOp::NotRegex),
        ];
        let value = prop_oneof![
            "[xyz]?",
            Just("x|y".to_owned()),
            Just("x|x|".to_owned()),
            Just(".*".to_owned()),
            Just(".+".to_owned()),
            Just("[xy].*".to_owned()),
        ];
        ("[abcd]", op, value).prop_map(|(name, op, value)| Matcher::new(name, op, value).unwrap())
    }

    fn label_set() -> impl Strategy<Value = Labels> {
        prop::collection::vec(("[abc]", "[xyz]{0,2}"), 1..4).prop_map(Labels::from_pairs)
    }

    proptest! {
        #[test]
        fn agrees_with_asking_each_series(
            sets in prop::collection::vec(label_set(), 0..60),
            matchers in prop::collection::vec(matcher(), 0..4),
        ) {
            let mut head = Head::default();
            for labels in &sets {
                head.find_or_create(labels);
            }
            let mut found = matching(&head, &matchers);
            found.sort_unstable();
            let asked = head.iter().filter(|(_, s)| all_match(&matchers, &s.labels));
            let expected: Vec<u32> = asked.map(|(id, _)| id).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
