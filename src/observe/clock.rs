//! The time that decisions are made by: the API server's, as its answers tell it, so that all that it dates and all who
//! lead after one another agree. Between two answers it goes on evenly, whatever happens to this machine's clock.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::http::{Response, header::DATE};
use jiff::{SignedDuration, Timestamp, fmt::rfc2822};
use tower::util::MapResponseLayer;

/// Difference between two clocks that is none: an answer tells whole seconds, and takes its time.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(2);
/// An answer tells the second that has begun: half of it has passed, on average.
const HALF: SignedDuration = SignedDuration::from_millis(500);
/// How often it is told that clocks differ: of several API servers each may have another one.
const TOLD_EVERY: Duration = Duration::from_secs(600);
/// Part of the time by which the clock may come nearer to the API server's while it runs. Whatever that does, nothing
/// that takes a time is shortened by more, and time does not run backwards.
const NEARER: i32 = 1000;

/// A clock that follows the API server's. Its copies are one clock.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Mutex<Hand>>);

/// What the clock shows at a moment.
#[derive(Clone, Copy, Debug)]
struct Hand {
    at: Instant,
    shows: Timestamp,
    /// How it stands to the API server's clock; None until that was heard.
    agrees: Option<bool>,
    /// When it was last told that it differs.
    told: Option<Instant>,
}

impl Default for Clock {
    /// Until the API server is heard, it is this machine's clock.
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Hand { at: Instant::now(), shows: Timestamp::now(), agrees: None, told: None })))
    }
}

impl Clock {
    /// The time now.
    pub fn now(&self) -> Timestamp {
        self.hand().read(Instant::now())
    }

    /// A layer of a client, by which the clock hears what time the API server has.
    pub fn layer<B>(&self) -> MapResponseLayer<impl Fn(Response<B>) -> Response<B> + Clone + use<B>> {
        let clock = self.clone();
        MapResponseLayer::new(move |answer: Response<B>| {
            if let Some(date) = date(&answer) {
                clock.hear(date);
            }
            answer
        })
    }

    fn hear(&self, date: Timestamp) {
        let mut hand = self.hand();
        let now = Instant::now();
        let heard = hand.hear(date, now);
        let news = heard.differs_anew(*hand, now);
        *hand = Hand { told: if news { Some(now) } else { hand.told }, ..heard };
        drop(hand);
        if news {
            tracing::warn!(
                api_server = %date,
                shows = %heard.shows,
                "the clock of the API server is not the one that was known until now: \
                 times of rollouts are taken from it at a restart, and neared to it slowly until then"
            );
        }
    }

    fn hand(&self) -> MutexGuard<'_, Hand> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hand {
    fn read(&self, at: Instant) -> Timestamp {
        let passed = SignedDuration::try_from(at.saturating_duration_since(self.at)).unwrap_or_default();
        self.shows.checked_add(passed).unwrap_or(self.shows)
    }

    /// Whether it is to be told that the API server's clock is another one.
    fn differs_anew(&self, before: Self, now: Instant) -> bool {
        let told = before.told.is_some_and(|told| now.saturating_duration_since(told) < TOLD_EVERY);
        self.agrees == Some(false) && before.agrees != Some(false) && !told
    }

    /// The hand after an answer that was dated so: at the first one it is set, later ones are neared.
    fn hear(&self, date: Timestamp, at: Instant) -> Self {
        let shows = self.read(at);
        let Ok(server) = date.checked_add(HALF) else { return *self };
        let ahead = server.duration_since(shows);
        if ahead.abs() <= TOLERANCE {
            return Self { at, shows, agrees: Some(true), ..*self };
        }
        if self.agrees.is_none() {
            return Self { at, shows: server, agrees: Some(true), ..*self };
        }
        let most = shows.duration_since(self.shows) / NEARER;
        let nearer = shows.checked_add(ahead.clamp(-most, most)).unwrap_or(shows);
        Self { at, shows: nearer, agrees: Some(false), ..*self }
    }
}

fn date<B>(answer: &Response<B>) -> Option<Timestamp> {
    let text = answer.headers().get(DATE)?.to_str().ok()?;
    Some(rfc2822::parse(text).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tower::{Layer, ServiceExt, service_fn};

    use super::*;

    const HOUR: SignedDuration = SignedDuration::from_hours(1);

    fn noon() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    fn second(of: u64) -> Duration {
        Duration::from_secs(of)
    }

    fn started() -> Hand {
        Hand { at: Instant::now(), shows: noon(), agrees: None, told: None }
    }

    #[test]
    fn a_machine_that_is_wrong_is_set_right_by_the_first_answer() {
        let hand = started();
        let heard = hand.hear(noon() + HOUR, hand.at + second(1));
        assert_eq!(heard.read(heard.at), noon() + HOUR + HALF);
        let back = hand.hear(noon() - HOUR, hand.at + second(1));
        assert_eq!(back.read(back.at), noon() - HOUR + HALF);
    }

    #[test]
    fn what_agrees_but_for_the_fraction_of_the_second_is_left_alone() {
        let hand = started();
        let heard = hand.hear(noon() + SignedDuration::from_secs(2), hand.at + second(1));
        assert_eq!(heard.read(hand.at + second(2)), noon() + SignedDuration::from_secs(2));
        assert_eq!(heard.agrees, Some(true));
    }

    #[test]
    fn a_jump_of_an_hour_moves_a_step_of_ten_minutes_by_less_than_a_second() {
        for jump in [HOUR, -HOUR] {
            let mut hand = started().hear(noon(), Instant::now());
            let (began, shown) = (hand.at, hand.shows);
            for passed in 1..=600 {
                let before = hand.shows;
                hand =
                    hand.hear(shown + jump + SignedDuration::from_secs(passed), began + second(passed.unsigned_abs()));
                assert!(hand.shows > before, "time runs backwards");
            }
            let error = hand.shows.duration_since(shown) - SignedDuration::from_secs(600);
            assert!(error.abs() <= SignedDuration::from_millis(601), "{error:#}");
            assert_eq!(error.signum(), jump.signum(), "it comes nearer");
            assert_eq!(hand.agrees, Some(false));
        }
    }

    #[test]
    fn one_of_several_api_servers_with_another_time_is_told_of_once_in_a_while() {
        let mut hand = started().hear(noon(), Instant::now());
        let (began, mut told) = (hand.at, Vec::new());
        for passed in 0..1_300_i64 {
            let (at, off) = (began + second(passed.unsigned_abs()), if passed % 2 == 0 { HOUR } else { -HALF });
            let heard = hand.hear(noon() + SignedDuration::from_secs(passed) + off, at);
            let news = heard.differs_anew(hand, at);
            told.extend(news.then_some(passed));
            hand = Hand { told: if news { Some(at) } else { hand.told }, ..heard };
        }
        assert_eq!(told, [0, 600, 1200]);
    }

    #[tokio::test]
    async fn answers_tell_the_time() {
        let clock = Clock::default();
        for date in ["Fri, 01 Jan 2100 12:00:00 GMT", "no date"] {
            let answers = service_fn(move |(): ()| async move {
                Ok::<_, std::convert::Infallible>(Response::builder().header(DATE, date).body(()).unwrap())
            });
            clock.layer().layer(answers).oneshot(()).await.unwrap();
            let told: Timestamp = "2100-01-01T12:00:00Z".parse().unwrap();
            let error = clock.now().duration_since(told);
            assert!(error.as_hours() == 0 && error >= HALF, "{error:#}");
        }
    }
}
