//! Several processes share the namespaces among themselves, each with a lease of its own part.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{collections::BTreeSet, num::NonZeroU16, time::Duration};

use devcluster::faults::Proxy;
use microservice_operator::observe::Shard;
use support::{Operator, Space, cluster, condition, current, eventually, run};

/// Namespaces with a service each: enough that each of four parts has some.
const NAMESPACES: usize = 12;

fn service(v1: i32, v2: i32, depends_on: &str) -> String {
    format!(
        "{{ports: [{{name: http, port: 80}}], versions: [{{name: v1, image: 'registry.example/a:1', weight: {v1}}}, \
         {{name: v2, image: 'registry.example/a:2', weight: {v2}}}], \
         dependencies: [{{name: a, namespace: {depends_on}}}]}}"
    )
}

/// An operator, and what it writes.
struct Replica {
    operator: Operator,
    proxy: Proxy,
}

impl Replica {
    async fn start(home: &Space, shards: u16) -> Self {
        let proxy = Proxy::start(home.client.clone(), cluster().scratch()).await.unwrap();
        let shards = shards.to_string();
        let args = ["--lease-namespace", &home.name, "--mesh-propagation", "1s", "--shards", &shards];
        Self { operator: Operator::start(proxy.kubeconfig(), &args), proxy }
    }

    async fn some(home: &Space, shards: u16, count: u16) -> Vec<Self> {
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(Self::start(home, shards).await);
        }
        all
    }

    /// The part that it leads, if any.
    fn shard(&self, of: u16) -> Option<Shard> {
        let text = self.operator.text();
        let line = text.lines().find(|line| line.contains("leading"))?;
        let all = Shard::all(NonZeroU16::new(of).unwrap());
        Some(all.into_iter().find(|shard| line.contains(&shard.to_string())).unwrap_or_else(|| panic!("{line}")))
    }

    /// Namespaces that it wrote in, but for leases.
    fn wrote_in(&self) -> BTreeSet<String> {
        let journal = self.proxy.journal();
        let writes = journal.iter().filter(|entry| entry.is_forwarded_write() && entry.asked.resource != "leases");
        writes.map(|entry| entry.namespace.clone()).collect()
    }

    async fn stands_by(&self) {
        self.operator.becomes_ready().await;
    }
}

/// Waits until each part is led by one of them; the rest stand by.
async fn divided(replicas: &[Replica], shards: u16) {
    let all = eventually(|| async {
        let led: BTreeSet<_> = replicas.iter().filter_map(|it| it.shard(shards)).map(Shard::place).collect();
        (led.len() == usize::from(shards)).then_some(())
    });
    all.await.expect("each part has a leader");
    assert_eq!(replicas.iter().filter_map(|it| it.shard(shards)).count(), usize::from(shards), "no part has two");
}

/// Edits the weights everywhere and waits until they are so.
async fn edit(spaces: &[Space], v1: i32) {
    for (space, next) in spaces.iter().zip(spaces.iter().cycle().skip(1)) {
        space.apply("a", &service(v1, 100 - v1, &next.name)).await;
    }
    for space in spaces {
        space.weights("a", &format!("v1={v1} v2={}", 100 - v1)).await;
        space.ready("a").await;
    }
}

/// Each namespace was written in by the leader of its part, and by nobody else.
fn assert_parted(replicas: &[Replica], shards: u16, spaces: &[Space]) {
    for replica in replicas {
        let part = replica.shard(shards);
        let own = |space: &&Space| part.is_some_and(|part| part.has(&space.name));
        let expected: BTreeSet<_> = spaces.iter().filter(own).map(|space| space.name.clone()).collect();
        assert_eq!(replica.wrote_in(), expected, "{part:?}");
    }
}

#[test]
fn replicas_share_the_namespaces() {
    run(async {
        let home = Space::unwatched(cluster(), "shards").await;
        let mut spaces = Vec::new();
        for number in 0..NAMESPACES {
            let name = format!("part-{number}");
            spaces.push(Space::with_propagation(cluster(), &name, Duration::from_secs(1)).await);
        }
        let two = Replica::some(&home, 2, 3).await;
        divided(&two, 2).await;
        edit(&spaces, 90).await;
        assert_parted(&two, 2, &spaces);
        for space in &spaces {
            let told = |it: &_| current(it) && condition(it, "DependenciesReady") == "True";
            space.until("a", "its dependency in a namespace of another part is ready", told).await;
        }

        // An upgrade to four: the new ones wait until none of the old ones leads.
        let four = Replica::some(&home, 4, 5).await;
        for replica in &four {
            replica.stands_by().await;
        }
        edit(&spaces, 80).await;
        assert!(four.iter().all(|it| it.shard(4).is_none() && it.wrote_in().is_empty()), "they lead beside others");
        for replica in two {
            assert!(replica.operator.terminate().await);
        }
        divided(&four, 4).await;
        for replica in &four {
            replica.stands_by().await;
        }
        assert!(four.iter().all(|it| it.wrote_in().is_empty()), "whoever takes over finds all as it should be");
        edit(&spaces, 70).await;
        assert_parted(&four, 4, &spaces);

        // One dies, and the one that stood by takes its part over.
        let (mut four, mut spare) = four.into_iter().partition::<Vec<_>, _>(|it| it.shard(4).is_some());
        let dead = four.pop().unwrap();
        let part = dead.shard(4);
        dead.operator.kill();
        four.append(&mut spare);
        divided(&four, 4).await;
        assert_eq!(four.last().unwrap().shard(4), part);
        edit(&spaces, 60).await;
        assert_parted(&four, 4, &spaces);
    });
}
