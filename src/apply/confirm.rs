//! Whether the Microservice is still the one that was decided on. Each kind has a watch of its own, and that of Microservices
//! may be the last to tell: of a deletion, after children that went with it, which would be made anew for nobody; or of an
//! edit, to a process that has just begun, after the children that its predecessor has brought where that wants them.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use kube::{Api, Client};

use crate::{api::Microservice, observe::Key, validate::Identity};

use super::Error;

/// The states of Microservices that the API server has confirmed to this process.
#[derive(Default)]
pub struct Confirmed {
    generations: Mutex<HashMap<Key, (String, i64)>>,
}

impl Confirmed {
    /// Asks the API server: `anew` before something is made or deleted, else before the first write for a state of the
    /// spec; once for all that is written in a row, as `asked` tells. The first time, nothing may have been written to it
    /// since the version that was `seen`: what a predecessor has done since is in the status, and nobody waits for it to
    /// be seen.
    ///
    /// # Errors
    /// The Microservice is another one by now, or that cannot be seen.
    pub async fn confirm(
        &self,
        client: &Client,
        (identity, seen): (&Identity, &str),
        anew: bool,
        asked: &mut bool,
    ) -> Result<(), Error> {
        let of = Key::new(&identity.namespace, &identity.name);
        let state = (identity.uid.clone(), identity.generation);
        let known = self.known(&of);
        if *asked || (!anew && known.as_ref() == Some(&state)) {
            return Ok(());
        }
        let first = known.is_none_or(|(uid, _)| uid != state.0);
        // A list waits until the API server's cache has caught up, for 100 ms at times: <https://kep.k8s.io/2340>.
        let api: Api<Microservice> = Api::namespaced(client.clone(), &identity.namespace);
        let found = api.get_metadata_opt(&identity.name).await;
        let same = found.map_err(|source| Error::Unconfirmed(Box::new(source)))?.is_some_and(|found| {
            let found = found.metadata;
            let stays = found.deletion_timestamp.is_none();
            let newest = !first || found.resource_version.as_deref() == Some(seen);
            stays && newest && found.uid.as_ref() == Some(&state.0) && found.generation == Some(state.1)
        });
        if !same {
            return Err(Error::Overtaken);
        }
        *asked = true;
        self.generations.lock().unwrap_or_else(PoisonError::into_inner).insert(of, state);
        Ok(())
    }

    /// Forgets a Microservice that is gone.
    pub fn forget(&self, of: &Key) {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner).remove(of);
    }

    fn known(&self, of: &Key) -> Option<(String, i64)> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner).get(of).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use serde_json::{Value, json};

    use super::*;
    use crate::stub;

    /// An API server with this Microservice, which counts what it is asked.
    fn serving(found: Option<Value>) -> (Client, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        let client = stub::client(move |request| {
            counted.fetch_add(1, Ordering::SeqCst);
            assert!(request.uri().path().ends_with("/namespaces/shop/microservices/a"), "{}", request.uri());
            found.clone().map_or_else(|| stub::refusal(404, "NotFound"), |found| (200, found))
        });
        (client, count)
    }

    fn item(uid: &str, generation: i64, version: &str) -> Value {
        json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {
            "name": "a", "namespace": "shop", "uid": uid, "generation": generation, "resourceVersion": version}})
    }

    fn identity() -> Identity {
        Identity { namespace: "shop".into(), name: "a".into(), uid: "1".into(), generation: 3, ..Identity::default() }
    }

    #[tokio::test]
    async fn nothing_is_written_for_what_is_gone_or_has_changed() {
        let mut leaving = item("1", 3, "7");
        leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let others = [item("2", 3, "7"), item("1", 4, "7"), item("1", 3, "8"), leaving].map(Some);
        for found in others.into_iter().chain([None]) {
            let (client, _) = serving(found.clone());
            let refused = Confirmed::default().confirm(&client, (&identity(), "7"), true, &mut false).await;
            assert!(matches!(refused, Err(Error::Overtaken)), "{found:?}: {refused:?}");
        }
    }

    #[tokio::test]
    async fn a_state_is_confirmed_once_and_anew_each_time_that_something_is_made_or_deleted() {
        let (client, count) = serving(Some(item("1", 3, "7")));
        let confirmed = Confirmed::default();
        let ask = async |seen: &str, anew: bool, asked: &mut bool| {
            confirmed.confirm(&client, (&identity(), seen), anew, asked).await.unwrap();
            count.load(Ordering::SeqCst)
        };
        assert_eq!(ask("7", false, &mut false).await, 1, "the first write");
        assert_eq!(ask("6", false, &mut false).await, 1, "a further one");
        let mut asked = false;
        assert_eq!(ask("6", true, &mut asked).await, 2, "own writes are waited for elsewhere");
        assert_eq!(ask("6", true, &mut asked).await, 2, "in the same row");
        confirmed.forget(&Key::new("shop", "a"));
        assert_eq!(ask("7", false, &mut false).await, 3);
    }
}
