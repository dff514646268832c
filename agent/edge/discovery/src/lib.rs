//! Running discoverers and the merging of their target groups.
