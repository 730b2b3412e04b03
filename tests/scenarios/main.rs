//! How weights, subsets, sizes and the status move, step by step, in a world made of data.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod adoption;
mod analysis;
mod back;
mod caches;
mod configuration;
mod disturbances;
mod each_step;
mod gates;
mod lanes;
mod losses;
mod mesh;
mod orders;
mod others;
mod parking;
mod pods;
mod read;
mod refused;
mod relapses;
mod revisions;
mod rollouts;
mod scaling;
mod sizes;
mod stuck;
mod surge;
mod upgrades;
mod webhooks;
mod weights;
mod world;

use world::World;

fn two(v1: i32, v2: i32) -> String {
    format!(
        "{{ports: [{{name: http, port: 80, targetPort: 3000}}], replicas: 3, versions: [\
         {{name: v1, image: 'x:1', weight: {v1}}}, {{name: v2, image: 'x:2', weight: {v2}, replicas: 1}}]}}"
    )
}

fn one(version: &str) -> String {
    format!("{{ports: [{{name: http, port: 80}}], replicas: 3, versions: [{{name: {version}, image: 'x:1'}}]}}")
}

/// A service that has long been at 90/10.
fn running() -> World {
    let mut world = World::new(&two(90, 10));
    world.settle();
    world.pass(5);
    assert_eq!(world.routed(), "v1=90 v2=10");
    world
}
