//! Texts of labels that several blocks have, kept once: they take less room, and labels with the
//! same texts are compared faster.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

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
