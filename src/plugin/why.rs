//! `kubectl ms why`: what holds a Microservice, and what to do.

use super::{
    Error, Exit,
    cluster::Cluster,
    explain::{explain, told},
    get,
    output::Out,
};

/// Says why.
///
/// # Errors
/// When it cannot be read.
pub async fn why(cluster: &Cluster, out: Out, name: &str) -> Result<Exit, Error> {
    let microservice = cluster.microservice(name).await?;
    let pods = get::pods(cluster, false, Some(name)).await?;
    let events = cluster.events("type=Warning").await?;
    let now = cluster.clock.now();
    let why = explain(&cluster.scope_options(), &microservice, &pods, &events, now);
    match out.format {
        Some(format) => out.value(format, &why)?,
        None => out.text(&told(&why, now, out.paint))?,
    }
    Ok(Exit::Done)
}
