//! The herald: tells webhooks of events, without anybody waiting for it. What cannot be told is lost.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{observe::Key, plan::inquiry::Call};

use super::Office;

/// Events of a Microservice that may wait for one webhook.
const WAITING: usize = 32;

/// A Microservice and the name of a webhook that is told of its events, one after the other.
type Line = (Key, String);

/// Takes calls, and makes them in the background.
#[derive(Clone)]
pub struct Herald {
    office: Arc<Office>,
    /// What waits in each line that somebody works at.
    lines: Arc<Mutex<HashMap<Line, VecDeque<Call>>>>,
}

impl Herald {
    pub fn new(office: Arc<Office>) -> Self {
        Self { office, lines: Arc::default() }
    }

    /// Has webhooks told of an event of a Microservice, after those before it. Drops what is too much.
    pub fn tell(&self, key: &Key, calls: Vec<Call>) {
        for call in calls {
            let line = (key.clone(), call.webhook.clone());
            let mut lines = self.lines();
            match lines.get_mut(&line) {
                Some(waiting) if waiting.len() >= WAITING => {
                    self.office.untold(&call, "dropped", &format!("{WAITING} others wait for the webhook"));
                }
                Some(waiting) => waiting.push_back(call),
                None => {
                    lines.insert(line.clone(), VecDeque::from([call]));
                    tokio::spawn(self.clone().work(line));
                }
            }
        }
    }

    async fn work(self, line: Line) {
        while let Some(call) = self.next(&line) {
            self.office.tell(&call).await;
        }
    }

    /// The next call of a line; one without any ends.
    fn next(&self, line: &Line) -> Option<Call> {
        let mut lines = self.lines();
        let next = lines.get_mut(line)?.pop_front();
        if next.is_none() {
            lines.remove(line);
        }
        next
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<Line, VecDeque<Call>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
