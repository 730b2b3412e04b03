//! Time windows of rollouts.

use crate::{
    api::MicroserviceSpec,
    validate::{Problem, Validated, window::zone},
};

/// Which time zones there are is more than CEL can say.
pub(super) fn time_zones_exist(spec: &MicroserviceSpec, _: &Validated) -> Vec<Problem> {
    let windows = spec.rollout.iter().flat_map(|policy| &policy.windows).enumerate();
    let named = windows.filter_map(|(index, window)| Some((index, window.time_zone.as_deref()?)));
    named
        .filter(|(_, name)| zone(name).is_none())
        .map(|(index, name)| {
            let message = format!(
                "no time zone has the name {name}: take one of the IANA time zone database, such as Europe/Berlin or UTC"
            );
            Problem::new(format!("spec.rollout.windows[{index}].timeZone"), message)
        })
        .collect()
}
