//! Time windows: whether a rollout may go on now, and when that changes. Pure.

use jiff::{SignedDuration, Timestamp, ToSpan, civil::DateTime, tz::TimeZone};

use crate::{api::WindowKind, validate::Window};

/// How far to look ahead. Windows are weekly, and a change of the clock may take one of them out once.
const AHEAD: SignedDuration = SignedDuration::from_hours(14 * 24);
/// Days in whose windows to look: all that begin before that.
const DAYS_AHEAD: i32 = 15;
/// A window that is still open began at most on the day before; where the clock is changed, on the one before that.
const DAYS_BACK: i32 = -2;

/// What the windows say of a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hours {
    /// A rollout may go on until then; None for as far as is looked ahead.
    Open { until: Option<Timestamp> },
    /// It may not.
    Closed { opens: Option<Opening> },
}

/// When a rollout may go on again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    pub at: Timestamp,
    /// The zone of the window that makes it so.
    pub zone: TimeZone,
}

impl Opening {
    /// `Mon 2026-11-30 09:00 (Europe/Berlin)`.
    pub fn in_words(&self) -> String {
        let local = self.at.to_zoned(self.zone.clone());
        let name = self.zone.iana_name().unwrap_or("UTC");
        format!("{} ({name})", local.strftime("%a %Y-%m-%d %H:%M"))
    }
}

/// What the windows say of now.
pub fn hours(windows: &[Window], now: Timestamp) -> Hours {
    let times = Times::of(windows, now);
    let changes = times.spans.iter().flat_map(|span| [(span.begin, span), (span.end, span)]);
    let mut later: Vec<(Timestamp, &Span)> =
        changes.filter(|(at, _)| *at > now && at.duration_since(now) <= AHEAD).collect();
    later.sort_by_key(|(at, _)| *at);
    if times.open(now) {
        let closes = later.into_iter().map(|(at, _)| at).find(|at| !times.open(*at));
        return Hours::Open { until: closes };
    }
    let opens = later.into_iter().find(|(at, _)| times.open(*at));
    Hours::Closed { opens: opens.map(|(at, span)| Opening { at, zone: span.zone.clone() }) }
}

/// One time that a window is open.
struct Span {
    kind: WindowKind,
    /// Included.
    begin: Timestamp,
    /// Excluded.
    end: Timestamp,
    zone: TimeZone,
}

struct Times {
    spans: Vec<Span>,
    /// Without a window that allows, all is allowed.
    listed: bool,
}

impl Times {
    fn of(windows: &[Window], now: Timestamp) -> Self {
        let listed = windows.iter().any(|window| window.kind == WindowKind::Allow);
        Self { spans: windows.iter().flat_map(|window| spans(window, now)).collect(), listed }
    }

    fn open(&self, at: Timestamp) -> bool {
        let within = |kind| self.spans.iter().any(|span| span.kind == kind && span.begin <= at && at < span.end);
        !within(WindowKind::Deny) && (!self.listed || within(WindowKind::Allow))
    }
}

/// When the window is open around now. One that a change of the clock leaves no time is left out.
fn spans(window: &Window, now: Timestamp) -> impl Iterator<Item = Span> + '_ {
    let today = now.to_zoned(window.zone.clone()).date();
    (DAYS_BACK..=DAYS_AHEAD).filter_map(move |offset| {
        let date = today.checked_add(offset.days()).ok()?;
        let last = if window.to <= window.from { date.tomorrow().ok()? } else { date };
        let begin = moment(&window.zone, date.to_datetime(window.from))?;
        let end = moment(&window.zone, last.to_datetime(window.to))?;
        let opens = window.days.contains(&date.weekday()) && end.duration_since(begin) > SignedDuration::ZERO;
        opens.then(|| Span { kind: window.kind, begin, end, zone: window.zone.clone() })
    })
}

/// A time that the clock skips is as much later as it skips; of one that it shows twice, the first is meant.
fn moment(zone: &TimeZone, at: DateTime) -> Option<Timestamp> {
    zone.to_ambiguous_timestamp(at).compatible().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::window::Window as Written, validate::window::window};

    fn windows(yaml: &str) -> Vec<Window> {
        let written: Vec<Written> = serde_yaml::from_str(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
        written.iter().map(window).collect()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn opens(yaml: &str, now: &str) -> Option<String> {
        match hours(&windows(yaml), at(now)) {
            Hours::Open { .. } => None,
            Hours::Closed { opens } => Some(opens.map_or("never".to_owned(), |opening| opening.in_words())),
        }
    }

    fn closes(yaml: &str, now: &str) -> Option<Timestamp> {
        match hours(&windows(yaml), at(now)) {
            Hours::Open { until } => until,
            Hours::Closed { .. } => panic!("closed at {now}"),
        }
    }

    const OFFICE: &str = "[{days: [Mon, Tue, Wed, Thu, Fri], from: '09:00', to: '17:00', timeZone: Europe/Berlin}]";

    #[test]
    fn office_hours_open_and_close() {
        // 2026-11-24 is a Tuesday; Berlin is one hour ahead of UTC.
        assert_eq!(opens(OFFICE, "2026-11-24T08:00:00Z"), None);
        assert_eq!(closes(OFFICE, "2026-11-24T08:00:00Z"), Some(at("2026-11-24T16:00:00Z")));
        assert_eq!(opens(OFFICE, "2026-11-24T07:59:59Z").as_deref(), Some("Tue 2026-11-24 09:00 (Europe/Berlin)"));
        assert_eq!(opens(OFFICE, "2026-11-24T16:00:00Z").as_deref(), Some("Wed 2026-11-25 09:00 (Europe/Berlin)"));
        assert_eq!(opens(OFFICE, "2026-11-27T16:00:00Z").as_deref(), Some("Mon 2026-11-30 09:00 (Europe/Berlin)"));
    }

    #[test]
    fn hours_follow_the_clock_over_both_changes() {
        // Summer time began on Sunday, 2026-03-29, and ended on Sunday, 2026-10-25.
        for (now, opening) in [
            ("2026-03-27T20:00:00Z", "2026-03-30T07:00:00Z"),
            ("2026-03-26T20:00:00Z", "2026-03-27T08:00:00Z"),
            ("2026-10-23T20:00:00Z", "2026-10-26T08:00:00Z"),
            ("2026-10-22T20:00:00Z", "2026-10-23T07:00:00Z"),
        ] {
            let Hours::Closed { opens: Some(found) } = hours(&windows(OFFICE), at(now)) else {
                panic!("open at {now}")
            };
            assert_eq!(found.at, at(opening), "after {now}");
        }
    }

    #[test]
    fn a_time_that_the_clock_skips_begins_after_it_and_one_that_it_repeats_begins_once() {
        let skipped = "[{from: '02:30', to: '04:00', timeZone: Europe/Berlin}]";
        assert_eq!(opens(skipped, "2026-03-29T00:59:59Z").as_deref(), Some("Sun 2026-03-29 03:30 (Europe/Berlin)"));
        assert_eq!(closes(skipped, "2026-03-29T01:30:00Z"), Some(at("2026-03-29T02:00:00Z")));
        let gone = "[{from: '02:00', to: '03:00', timeZone: Europe/Berlin}]";
        assert_eq!(opens(gone, "2026-03-28T12:00:00Z").as_deref(), Some("Mon 2026-03-30 02:00 (Europe/Berlin)"));
        let repeated = "[{from: '02:30', to: '04:00', timeZone: Europe/Berlin}]";
        assert_eq!(opens(repeated, "2026-10-25T00:29:59Z").as_deref(), Some("Sun 2026-10-25 02:30 (Europe/Berlin)"));
        assert_eq!(closes(repeated, "2026-10-25T00:30:00Z"), Some(at("2026-10-25T03:00:00Z")));
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
        let night = "[{days: [Fri], from: '22:00', to: '04:00'}]";
        assert_eq!(opens(night, "2026-11-27T21:59:00Z").as_deref(), Some("Fri 2026-11-27 22:00 (UTC)"));
        assert_eq!(closes(night, "2026-11-28T03:59:59Z"), Some(at("2026-11-28T04:00:00Z")));
        assert_eq!(opens(night, "2026-11-28T23:00:00Z").as_deref(), Some("Fri 2026-12-04 22:00 (UTC)"));
    }

    #[test]
    fn whole_days_need_no_hours_and_follow_each_other_without_a_gap() {
        let days = "[{days: [Sat, Sun], timeZone: America/New_York}]";
        assert_eq!(opens(days, "2026-11-27T12:00:00Z").as_deref(), Some("Sat 2026-11-28 00:00 (America/New_York)"));
        assert_eq!(closes(days, "2026-11-28T12:00:00Z"), Some(at("2026-11-30T05:00:00Z")));
    }

    #[test]
    fn what_is_denied_is_closed_whatever_is_allowed() {
        let friday = "[{kind: Deny, days: [Fri], from: '15:00'}]";
        assert_eq!(closes(friday, "2026-11-27T14:00:00Z"), Some(at("2026-11-27T15:00:00Z")));
        assert_eq!(opens(friday, "2026-11-27T15:00:00Z").as_deref(), Some("Sat 2026-11-28 00:00 (UTC)"));
        let both = "[{days: [Thu, Fri], from: '09:00', to: '17:00'}, {kind: Deny, days: [Fri], from: '15:00'}]";
        assert_eq!(closes(both, "2026-11-27T10:00:00Z"), Some(at("2026-11-27T15:00:00Z")));
        assert_eq!(opens(both, "2026-11-27T16:00:00Z").as_deref(), Some("Thu 2026-12-03 09:00 (UTC)"));
    }

    #[test]
    fn windows_that_never_open_say_so_and_none_are_always_open() {
        assert_eq!(opens("[{kind: Deny}]", "2026-11-27T15:00:00Z").as_deref(), Some("never"));
        assert_eq!(hours(&[], at("2026-11-27T15:00:00Z")), Hours::Open { until: None });
        assert_eq!(closes("[{}]", "2026-11-27T15:00:00Z"), None, "every day from 00:00 to 24:00 is always");
    }
}
