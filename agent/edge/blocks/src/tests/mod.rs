//! Tests of the crate as a whole.

mod common;
mod crash;
mod damage;
pub(crate) mod disk;
mod interchange;
mod measure;
mod merging;
mod model;
mod old_blocks;
mod planning;
mod retaining;
mod starts;
mod together;
mod values;
mod writing;
