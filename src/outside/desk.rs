//! The desk: which inquiries of which Microservice are under way or answered.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::task::AbortHandle;

use crate::{
    observe::Key,
    plan::inquiry::{Inquiry, Reply},
};

use super::Office;

/// Told when a reply of a Microservice is in.
type Replied = dyn Fn(&Key) + Send + Sync;
/// By Microservice and id of the inquiry.
type Books = HashMap<Key, BTreeMap<String, Entry>>;

/// Takes inquiries, asks in the background, and keeps the replies for the next plan.
pub struct Desk {
    office: Arc<Office>,
    shared: Arc<Shared>,
}

struct Shared {
    books: Mutex<Books>,
    replied: Box<Replied>,
}

enum Entry {
    Asking(Asking),
    Answered(Reply),
}

/// An inquiry under way; it ends with this.
struct Asking(AbortHandle);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Desk {
    /// A desk that tells `replied` of every reply.
    pub fn new(office: Arc<Office>, replied: impl Fn(&Key) + Send + Sync + 'static) -> Self {
        let shared = Shared { books: Mutex::default(), replied: Box::new(replied) };
        Self { office, shared: Arc::new(shared) }
    }

    /// The replies of a Microservice that its plans still ask for, by id.
    pub fn replies(&self, key: &Key) -> Vec<Reply> {
        let books = self.shared.books();
        let entries = books.get(key).into_iter().flat_map(BTreeMap::values);
        let answered = |entry: &Entry| match entry {
            Entry::Answered(reply) => Some(reply.clone()),
            Entry::Asking(_) => None,
        };
        entries.filter_map(answered).collect()
    }

    /// Asks what is new among the inquiries, and forgets what is no longer among them.
    pub fn ask(&self, key: &Key, inquiries: Vec<Inquiry>) {
        let mut books = self.shared.books();
        if inquiries.is_empty() {
            books.remove(key);
            return;
        }
        let entries = books.entry(key.clone()).or_default();
        entries.retain(|id, _| inquiries.iter().any(|inquiry| inquiry.id == *id));
        for inquiry in inquiries {
            if !entries.contains_key(&inquiry.id) {
                let id = inquiry.id.clone();
                entries.insert(id, Entry::Asking(self.start(key.clone(), inquiry)));
            }
        }
    }

    /// Forgets a Microservice that is gone.
    pub fn forget(&self, key: &Key) {
        self.shared.books().remove(key);
    }

    fn start(&self, key: Key, inquiry: Inquiry) -> Asking {
        let (office, shared) = (self.office.clone(), self.shared.clone());
        let task = tokio::spawn(async move {
            let reply = office.answer(&inquiry).await;
            if shared.note(&key, reply) {
                (shared.replied)(&key);
            }
        });
        Asking(task.abort_handle())
    }
}

impl Shared {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a reply that is still asked for, and answers whether it is.
    fn note(&self, key: &Key, reply: Reply) -> bool {
        let this = tokio::task::id();
        let mut books = self.books();
        let entry = books.get_mut(key).and_then(|entries| entries.get_mut(&reply.id));
        match entry {
            // Another task may ask the same anew, after this one's inquiry was forgotten.
            Some(entry @ Entry::Asking(_)) if entry.is_of(this) => {
                *entry = Entry::Answered(reply);
                true
            }
            _ => false,
        }
    }
}

impl Entry {
    fn is_of(&self, task: tokio::task::Id) -> bool {
        matches!(self, Self::Asking(asking) if asking.0.id() == task)
    }
}
