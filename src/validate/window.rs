//! Time windows with defaults applied, and the names of time zones.

use jiff::{
    civil::{Time, Weekday},
    tz::{TimeZone, TimeZoneDatabase},
};

use crate::api::{Day, WindowKind, window::Window as Written};

/// Hours of the week in which a rollout may go on, or may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    pub kind: WindowKind,
    /// Days on which it begins; never empty.
    pub days: Vec<Weekday>,
    pub from: Time,
    /// At or before `from`, it is on the next day.
    pub to: Time,
    pub zone: TimeZone,
}

const ALL: [Day; 7] = [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun];

/// Applies the defaults. A zone that does not exist is UTC here, and refused by the checks.
pub fn window(written: &Written) -> Window {
    let days = if written.days.is_empty() { &ALL[..] } else { &written.days };
    Window {
        kind: written.kind,
        days: days.iter().copied().map(weekday).collect(),
        from: written.from.as_deref().and_then(clock).unwrap_or(Time::midnight()),
        to: written.to.as_deref().and_then(clock).unwrap_or(Time::midnight()),
        zone: written.time_zone.as_deref().and_then(zone).unwrap_or(TimeZone::UTC),
    }
}

/// A time zone by its name, from the database that is built in: what a name means does not depend on the machine.
pub fn zone(name: &str) -> Option<TimeZone> {
    TimeZoneDatabase::bundled().get(name).ok()
}

/// Hours and minutes; the end of a day is the beginning of the next one.
fn clock(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    let hour: i8 = hour.parse().ok()?;
    Time::new(hour % 24, minute.parse().ok()?, 0, 0).ok()
}

fn weekday(day: Day) -> Weekday {
    match day {
        Day::Mon => Weekday::Monday,
        Day::Tue => Weekday::Tuesday,
        Day::Wed => Weekday::Wednesday,
        Day::Thu => Weekday::Thursday,
        Day::Fri => Weekday::Friday,
        Day::Sat => Weekday::Saturday,
        Day::Sun => Weekday::Sunday,
    }
}
