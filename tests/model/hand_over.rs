//! What must hold on the way from the plain Service to the mesh and back: who gets requests hands over only when the other
//! is ready to take them, and each of the two learns of it before.

use jiff::Timestamp;
use microservice_operator::{api::Provider, validate::Validated};

use crate::{
    lab::PROPAGATION,
    state::{Runs, State},
};

/// A plan that may change who carries the weights.
pub struct HandOver<'a> {
    pub service: &'a Validated,
    /// Several versions get requests by the plan, so that the Service is to select all.
    pub several: bool,
    pub before: &'a State,
    pub after: &'a State,
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

impl HandOver<'_> {
    pub fn check(&self) -> Result<(), String> {
        self.the_service_widens_last()?;
        self.the_mesh_goes_last()?;
        self.the_service_selects_what_serves()
    }

    fn long(&self, since: Option<Timestamp>) -> bool {
        since.is_some_and(|since| self.after.now.duration_since(since) >= PROPAGATION)
    }

    /// Pods of a version as the operator sees them.
    fn ready(&self, version: &str) -> bool {
        self.before.pods(version).is_some_and(|runs| runs.ready > 0)
    }

    /// To the mesh: it has known the routes for long enough, unless nothing that the Service selects serves anyway.
    fn the_service_widens_last(&self) -> Result<(), String> {
        let (Some(pinned), None) = (&self.before.pin, &self.after.pin) else { return Ok(()) };
        if self.service.provider == Provider::None {
            return Ok(());
        }
        let known = self.before.route.is_some() && self.long(self.before.route_since);
        let serves = self.before.pods(pinned).is_some_and(|runs| !runs.ill(self.after.now));
        ensure(known || !serves, || format!("the Service let go of {pinned} before the mesh had its routes"))
    }

    /// From the mesh: all clients have known what the Service selects for long enough, then the routes go, then the subsets.
    fn the_mesh_goes_last(&self) -> Result<(), String> {
        let (before, after) = (self.before, self.after);
        if before.route.is_some() && after.route.is_none() {
            let narrow = after.pin.is_some() && after.pin == before.pin && self.long(after.pin_since);
            ensure(narrow || self.several, || format!("the routes went while the Service selected {:?}", after.pin))?;
        }
        if !before.subsets.is_empty() && after.subsets.is_empty() {
            let gone = before.route.is_none() && (before.route_gone.is_none() || self.long(before.route_gone));
            ensure(gone, || "the subsets went before the mesh had forgotten the routes".to_owned())?;
        }
        Ok(())
    }

    /// What the Service comes to select serves, if anything does; it is what the mesh gave everything to, or complete.
    fn the_service_selects_what_serves(&self) -> Result<(), String> {
        let Some(pinned) = self.after.pin.as_ref().filter(|_| self.after.pin != self.before.pin) else { return Ok(()) };
        let any = self.after.runs.keys().any(|name| self.ready(name));
        ensure(self.ready(pinned) || !any, || format!("the Service selects {pinned}, which does not serve"))?;
        if self.before.route.is_some() {
            let others = self.after.seen.keys().filter(|name| *name != pinned);
            let other = others.into_iter().find(|name| self.before.in_force(name) > 0);
            return ensure(other.is_none(), || format!("the Service selects {pinned} while requests go to {other:?}"));
        }
        let Some(was) = &self.before.pin else { return Ok(()) };
        let complete =
            self.before.runs.get(pinned).is_some_and(Runs::complete) || self.before.lag.deployments.is_some();
        let failed = self.before.pods(was).is_none_or(|runs| runs.ill(self.after.now));
        ensure(complete || failed, || format!("the Service selects {pinned}, which is not complete"))
    }
}
