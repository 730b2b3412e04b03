//! Rules of RolloutWebhooks.

use super::{Placed, rule};

pub(in super::super) fn webhook() -> Vec<Placed> {
    vec![
        rule(
            "spec",
            "self.url.matches('^https?://[^/?#@ ]+([/?#][^ ]*)?$')",
            "an address begins with https:// and a host, and has no credentials in it",
        ),
        rule(
            "spec",
            "!self.url.startsWith('http://') || (has(self.allowHttp) && self.allowHttp)",
            "over http:// everybody on the way can answer in the webhook's place: use https://, or set allowHttp",
        ),
        rule(
            "spec",
            "!has(self.timeout) || (duration(self.timeout) >= duration('100ms') && duration(self.timeout) <= \
             duration('60s'))",
            "timeout must be from 100ms to 1m",
        ),
    ]
}
