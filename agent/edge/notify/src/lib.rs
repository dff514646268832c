//! Runs the alert router on the clock and sends its notifications.
