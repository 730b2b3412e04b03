//! Whether a watch can still be heard: one that fails again and again leaves its cache as it was, which looks like rest.

use std::time::{Duration, Instant};

/// Errors further apart than this are of different troubles: the longest pause, and the longest that a watch may say nothing and
/// a listing may take, are less together. That a watch was only cut off is no error here.
const APART: Duration = Duration::from_secs(150);
/// For how long a watch may fail.
const PATIENCE: Duration = Duration::from_secs(60);

/// The first and the last error of the present trouble.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hearing(Option<(Instant, Instant)>);

impl Hearing {
    /// Something was heard.
    pub fn heard(&mut self) {
        self.0 = None;
    }

    /// The watch failed at a time.
    pub fn failed(&mut self, at: Instant) {
        let before = self.0.filter(|(_, last)| at.saturating_duration_since(*last) < APART);
        self.0 = Some((before.map_or(at, |(first, _)| first), at));
    }

    /// Whether the watch has failed for too long.
    pub fn is_lost(&self, now: Instant) -> bool {
        self.0.is_some_and(|(first, last)| {
            last.saturating_duration_since(first) >= PATIENCE && now.saturating_duration_since(last) < APART
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_is_lost_once_it_has_failed_for_a_minute() {
        let (start, second) = (Instant::now(), Duration::from_secs);
        let mut hearing = Hearing::default();
        for at in (0..=50).step_by(10) {
            hearing.failed(start + second(at));
            assert!(!hearing.is_lost(start + second(at)), "{at} s");
        }
        hearing.failed(start + second(60));
        assert!(hearing.is_lost(start + second(60)) && hearing.is_lost(start + second(209)));
        assert!(!hearing.is_lost(start + second(210)), "an idle watch says nothing, and would have failed again");
        hearing.failed(start + second(70));
        hearing.heard();
        assert!(!hearing.is_lost(start + second(70)));
        for far in [220, 370, 520] {
            hearing.failed(start + second(far));
            assert!(!hearing.is_lost(start + second(far)), "troubles that pass");
        }
        hearing.failed(start + second(605));
        assert!(
            hearing.is_lost(start + second(605)),
            "a watch that is taken up, and says nothing until it is given up"
        );
    }
}
