//! Runs rule groups and alert scripts on the clock.
