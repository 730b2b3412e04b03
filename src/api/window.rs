//! Time windows: when a rollout may go on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Hours of the week in which a rollout may go on, or may not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// Allow: it goes on in these hours, and in those of other windows that allow it. Deny: it does not, whatever other
    /// windows allow. Default: Allow.
    #[serde(default)]
    pub kind: WindowKind,
    /// Days on which the window begins. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7))]
    pub days: Vec<Day>,
    /// When it begins, as hours and minutes such as `09:00`. Default: 00:00.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 5), pattern(r"^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub from: Option<String>,
    /// When it ends; before `from`, it is on the next day. Default: 24:00.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 5), pattern(r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"))]
    pub to: Option<String>,
    /// Name of the time zone that the hours are of, such as `Europe/Berlin`; changes of the clock are followed.
    /// Default: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
}

/// What a window is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WindowKind {
    /// A rollout goes on in it.
    #[default]
    Allow,
    /// A rollout does not go on in it.
    Deny,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}
