//! The signals that end a process in good order.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

pub(super) struct Termination {
    terminate: Signal,
    interrupt: Signal,
}

impl Termination {
    /// From now on SIGTERM and SIGINT no longer end the process by themselves.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The next of the two.
    pub(super) async fn recv(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
