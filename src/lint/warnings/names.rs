//! Names that two of the given Microservices share.

use std::collections::BTreeMap;

use crate::{lint::Subject, validate::Problem};

/// The same Microservice twice: the later one replaces the earlier. Generated names are another one each time.
pub(super) fn duplicate_object(subjects: &[Subject]) -> Vec<(usize, Problem)> {
    let mut seen = BTreeMap::new();
    let mut found = Vec::new();
    let named = |(_, subject): &(usize, &Subject)| subject.microservice.metadata.generate_name.is_none();
    for (index, subject) in subjects.iter().enumerate().filter(named) {
        if let Some(earlier) = seen.insert(subject.key(), &subject.origin) {
            let message = format!("{} is also in {earlier}: whichever is applied last stays", subject.object());
            found.push((index, Problem::new("metadata.name", message)));
        }
    }
    found
}

/// Two Microservices whose versions want a Deployment of the same name: the later one gets none.
pub(super) fn name_clash(subjects: &[Subject]) -> Vec<(usize, Problem)> {
    let mut owners: BTreeMap<(&str, String), &Subject> = BTreeMap::new();
    let mut found = Vec::new();
    for (index, subject) in subjects.iter().enumerate() {
        let (namespace, name) = subject.key();
        for version in &subject.resolved.versions {
            let deployment = format!("{name}-{}", version.name);
            match owners.get(&(namespace, deployment.clone())) {
                Some(owner) if owner.key() != subject.key() => {
                    let message = format!(
                        "its Deployment {deployment} is also that of a version of {}: rename one of the two",
                        owner.object()
                    );
                    let by_image = subject.resolved.by_image();
                    let path = if by_image {
                        "metadata.name".to_owned()
                    } else {
                        format!("spec.versions[{}].name", version.name)
                    };
                    found.push((index, Problem::new(path, message)));
                }
                _ => drop(owners.insert((namespace, deployment), subject)),
            }
        }
    }
    found
}
