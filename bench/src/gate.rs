//! The webhook that Flagger asks before it raises a weight: it says yes as often as a person wants it to, for each canary.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use serde::Deserialize;
use tokio::{net::TcpListener, task::JoinHandle};

#[derive(Clone, Default)]
struct Answers {
    /// How many raises are wanted by now.
    wanted: Arc<AtomicU32>,
    /// How many were allowed, by canary.
    allowed: Arc<Mutex<HashMap<(String, String), u32>>>,
}

#[derive(Deserialize)]
struct Asked {
    name: String,
    namespace: String,
}

/// A running gate; closed with this value.
pub struct Gate {
    answers: Answers,
    address: String,
    task: JoinHandle<()>,
}

impl Gate {
    /// Serves it at any free port of this machine.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = format!("http://{}/", listener.local_addr()?);
        let answers = Answers::default();
        let router = Router::new().route("/", post(answer)).with_state(answers.clone());
        let task = tokio::spawn(async move {
            let _ended = axum::serve(listener, router).await;
        });
        Ok(Self { answers, address, task })
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Lets each canary be raised so many times in all.
    pub fn allow(&self, raises: u32) {
        self.answers.wanted.store(raises, Ordering::Relaxed);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(answers): State<Answers>, Json(asked): Json<Asked>) -> StatusCode {
    let mut allowed = answers.allowed.lock().unwrap_or_else(PoisonError::into_inner);
    let count = allowed.entry((asked.namespace, asked.name)).or_default();
    if *count >= answers.wanted.load(Ordering::Relaxed) {
        return StatusCode::FORBIDDEN;
    }
    *count += 1;
    StatusCode::OK
}
