//! Texts of labels that several blocks have, kept once: they take less room, and two labels are
//! compared by where their texts are.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use narthex_model::Labels;

/// Handed to all who read for one task.
pub(crate) type SharedTexts = Rc<RefCell<Texts>>;

#[derive(Default)]
pub(crate) struct Texts(HashSet<Arc<str>>);

impl Texts {
    pub(crate) fn shared(self) -> SharedTexts {
        Rc::new(RefCell::new(self))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn get(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return known.clone();
        }
        let new: Arc<str> = text.into();
        self.0.insert(new.clone());
        new
    }
}

/// As `Labels: Ord`, but does not look at texts that are one and the same.
pub(crate) fn compare(a: &Labels, b: &Labels) -> Ordering {
    let text = |a: &Arc<str>, b: &Arc<str>| match Arc::ptr_eq(a, b) {
        true => Ordering::Equal,
        false => a.cmp(b),
    };
    for (a, b) in a.iter().zip(b.iter()) {
        match text(&a.name, &b.name).then_with(|| text(&a.value, &b.value)) {
            Ordering::Equal => {}
            different => return different,
        }
    }
    a.len().cmp(&b.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels() -> impl Strategy<Value = Vec<(String, String)>> {
        proptest::collection::vec(("[ab]{1,2}", "[ab]{1,2}"), 0..4)
    }

    proptest! {
        #[test]
        fn compares_as_labels_do(a in labels(), b in labels()) {
            let mut texts = Texts::default();
            let mut shared = |pairs: &[(String, String)]| {
                Labels::from_pairs(pairs.iter().map(|(n, v)| (texts.get(n), texts.get(v))))
            };
            let (a, b) = (shared(&a), shared(&b));
            prop_assert_eq!(compare(&a, &b), a.cmp(&b));
            let own = Labels::from_pairs(b.iter().map(|l| (&*l.name, &*l.value)));
            prop_assert_eq!(compare(&a, &own), a.cmp(&own));
        }
    }
}
