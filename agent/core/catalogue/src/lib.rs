//! Which series there are: labels to ids, matchers to ids.
