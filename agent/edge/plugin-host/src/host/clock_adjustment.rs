//! How the kernel adjusts the clock, as adjtimex(2) tells it.
//!
//! Keeps true: nothing is adjusted here.

use std::io;

use rtime_clock::adjtime::{Timex, adjtimex};

use crate::bindings::system::ClockState;

pub(super) fn read() -> io::Result<ClockState> {
    // No modes, so nothing is changed.
    let mut clock = Timex::new();
    let state = adjtimex(&mut clock)?;
    let clock = clock.0;
    // The C types differ in size from machine to machine.
    #[allow(
        clippy::useless_conversion,
        reason = "they are the same on this machine"
    )]
    Ok(ClockState {
        state,
        modes: clock.modes,
        offset: clock.offset.into(),
        frequency: clock.freq.into(),
        maximum_error: clock.maxerror.into(),
        estimated_error: clock.esterror.into(),
        status: clock.status.into(),
        constant: clock.constant.into(),
        precision: clock.precision.into(),
        tolerance: clock.tolerance.into(),
        tick: clock.tick.into(),
        pps_frequency: clock.ppsfreq.into(),
        jitter: clock.jitter.into(),
        shift: clock.shift,
        stability: clock.stabil.into(),
        jitter_count: clock.jitcnt.into(),
        calibration_count: clock.calcnt.into(),
        error_count: clock.errcnt.into(),
        stability_count: clock.stbcnt.into(),
        tai_offset: clock.tai,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_has_a_state() {
        let clock = read().unwrap();
        assert!((0..=5).contains(&clock.state), "{}", clock.state);
        assert_eq!(clock.modes, 0);
        assert!(clock.tick > 0);
    }
}
