//! Rules of the form with a single image.

use super::{Placed, first, none, one_of, rule, told, told_at};

/// What the form excludes.
pub(super) fn revisions() -> Vec<Placed> {
    const ANY: &str = "r, true";
    vec![
        rule(
            "spec",
            one_of(&["image", "versions"]),
            "say what runs by exactly one of image and versions: with an image, each change makes a revision that is to \
             have all requests; versions have names and weights of their own",
        ),
        told_at(
            ".spec.image",
            told(
                "",
                "!has(self.spec.image) || size(self.metadata.name) <= 33",
                "names of pods are made from metadata.name and the 12 characters of a revision's name, so with an image \
                 metadata.name may have 33 characters, but %s has %d: shorten it",
                &["self.metadata.name", "size(self.metadata.name)"],
            ),
        ),
        told_at(
            ".routes",
            told(
                "spec",
                format!("!has(self.image) || {}", none("routes", ANY)),
                "route %s sends requests to versions, but with an image there are only revisions, which have no names \
                 before they are made: list versions instead of the image, or remove the route",
                &[&format!("{}.name", first("routes", ANY))],
            ),
        ),
        told_at(
            ".revisionHistoryLimit",
            rule(
                "spec",
                "!has(self.revisionHistoryLimit) || has(self.image)",
                "revisionHistoryLimit is about the revisions of an image: remove it, as versions keep no history",
            ),
        ),
        told_at(
            ".configRevisions",
            rule(
                "spec",
                "!has(self.configRevisions) || has(self.image)",
                "configRevisions is about the revisions of an image: remove it, as the pods of versions use the \
                 ConfigMaps themselves",
            ),
        ),
    ]
}
