//! A write that arrives late: it has left whoever sent it, who stands still.

use tokio::sync::watch as signal;

use super::asked::Asked;

/// Where the write is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Way {
    #[default]
    Nothing,
    /// The next write of this resource is the one.
    Awaited(String),
    Sent,
    Arrives,
}

/// The one write that is delayed, if there is one.
#[derive(Default)]
pub(super) struct Late(signal::Sender<Way>);

impl Late {
    pub(super) fn awaits(&self, resource: &str) {
        self.0.send_replace(Way::Awaited(resource.to_owned()));
    }

    pub(super) async fn is_on_its_way(&self) {
        self.reaches(&Way::Sent).await;
    }

    pub(super) fn arrives(&self) {
        self.0.send_replace(Way::Arrives);
    }

    /// Waits if this is the write that is delayed.
    pub(super) async fn passes(&self, asked: &Asked) {
        let is_it = |way: &Way| asked.writes() && *way == Way::Awaited(asked.resource.clone());
        let delayed = self.0.send_if_modified(|way| {
            let delayed = is_it(way);
            if delayed {
                *way = Way::Sent;
            }
            delayed
        });
        if delayed {
            self.reaches(&Way::Arrives).await;
        }
    }

    async fn reaches(&self, wanted: &Way) {
        let mut way = self.0.subscribe();
        // The sender lives as long as this.
        let _reached = way.wait_for(|way| way == wanted).await;
    }
}
