//! Whether a controller's memory stays what it is, however often its services are edited.

use std::time::Duration;

use devcluster::Cluster;

use crate::{
    controllers::{Controller, Service, Stage},
    error::Error,
    filler::Filler,
    gate::Gate,
    ground::{self, Field},
    meter::Meter,
    record::Ground,
    users,
    watch::Watch,
};

/// What is asked for.
pub struct Plan {
    pub services: usize,
    pub edits: usize,
}

/// How often the memory is told.
const TELLINGS: usize = 20;
const LIMIT: Duration = Duration::from_secs(600);

/// Edits all services, round by round, each time all are as they were edited last; tells the memory on the way.
pub async fn run(plan: &Plan) -> Result<(), Error> {
    let controller = Controller::Operator;
    let cluster = ground::start(Ground::Filled, &[controller], false).await?;
    let folder = tempfile::tempdir().map_err(Error::io("make a folder for a log"))?;
    let log = folder.path().join("log");
    let mut soak = Soak::new(&cluster, controller, plan.services, log).await?;
    soak.reach(Stage::Create).await?;
    soak.reach(Stage::Canary).await?;
    let rounds = plan.edits.div_ceil(plan.services);
    println!("edits | memory, KiB");
    for round in 0..=rounds {
        if round % (rounds / TELLINGS).max(1) == 0 || round == rounds {
            println!("{} | {}", round * plan.services, soak.meter.read()?.memory);
        }
        if round < rounds {
            soak.reach(if round % 2 == 0 { Stage::Step } else { Stage::Canary }).await?;
        }
    }
    soak.meter.kill();
    Ok(())
}

struct Soak {
    controller: Controller,
    field: Field,
    meter: Meter,
    gate: Gate,
    resources: Watch,
    _filler: Filler,
}

impl Soak {
    async fn new(
        cluster: &Cluster,
        controller: Controller,
        services: usize,
        log: std::path::PathBuf,
    ) -> Result<Self, Error> {
        let (client, prefix) = (cluster.client(), "soak-");
        Ok(Self {
            controller,
            _filler: Filler::start(&client),
            gate: Gate::start().await.map_err(Error::io("open a port of this machine"))?,
            meter: Meter::start(cluster, controller, log, false)?,
            resources: Watch::start(&client, controller.family().kind(), prefix),
            field: Field::new(client, Ground::Filled, prefix.to_owned(), services).await?,
        })
    }

    async fn reach(&mut self, stage: Stage) -> Result<(), Error> {
        let (controller, gate) = (self.controller, self.gate.address().to_owned());
        let deed = |service: &Service<'_>| controller.family().deed(service, stage, &gate);
        users::act(&self.field.client, &self.field.services, deed).await.all_taken()?;
        let services = self.field.services.len();
        let (done, _) = self.resources.until(services, LIMIT, |it| controller.family().has_reached(it, stage)).await;
        if done < services {
            let why = format!("{done} of {services} after {} s", LIMIT.as_secs());
            return Err(Error::failed("wait for the services", why));
        }
        Ok(())
    }
}
