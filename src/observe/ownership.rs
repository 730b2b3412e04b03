//! Whose an object is, as one Microservice sees it. Pure.

use crate::{plan::object::Kind, validate::Identity};

use super::{
    Holder,
    child::{Child, Owner},
};

/// Whether the object is controlled by this very Microservice, not by an earlier one of the same name.
pub fn belongs(child: &Child, identity: &Identity) -> bool {
    matches!(&child.owner, Owner::Microservice { uid, .. } if *uid == identity.uid)
}

/// Whether the object may be taken over.
pub fn adoptable(child: &Child, identity: &Identity) -> bool {
    is_offered(child, identity) && !child.deleting
}

/// Whether the object's annotation hands it to this Microservice. An object has one controller at most.
pub fn is_offered(child: &Child, identity: &Identity) -> bool {
    let offered = child.owner == Owner::Nobody && child.adoptable_by.as_deref() == Some(identity.name.as_str());
    offered && fits(child, identity)
}

/// Whether what cannot be changed of it is as this Microservice needs it.
fn fits(child: &Child, identity: &Identity) -> bool {
    match child.kind {
        Kind::Deployment => child.selects.as_deref() == Some(identity.name.as_str()),
        Kind::Service => !child.headless,
        _ => true,
    }
}

/// Whose it is, if it is not the Microservice's own.
pub(super) fn holder(child: &Child, identity: &Identity) -> Holder {
    match child.owner.controller() {
        Some(controller) => Holder::Controller(controller),
        None if fits(child, identity) => Holder::Nobody,
        None if child.kind == Kind::Service => Holder::Headless,
        None => Holder::OtherPods,
    }
}
