//! `kubectl ms get`: the tree, once.

use k8s_openapi::api::core::v1::Pod;

use super::{
    Error, Exit,
    cli::GetArgs,
    cluster::Cluster,
    output::Out,
    tree::tree,
    view::{View, view},
    watch,
};

/// Shows Microservices, or goes on showing them.
///
/// # Errors
/// When they cannot be read.
pub async fn get(cluster: &Cluster, out: Out, args: &GetArgs) -> Result<Exit, Error> {
    let views = views(cluster, args).await?;
    if args.watch {
        return watch::watch(cluster, out, args).await;
    }
    if let Some(format) = out.format {
        match (args.names.as_slice(), views.as_slice()) {
            ([_], [one]) => out.value(format, one)?,
            _ => out.value(format, &views)?,
        }
        return Ok(Exit::Done);
    }
    if views.is_empty() {
        let place = if args.all_namespaces {
            "any namespace".to_owned()
        } else {
            format!("the namespace {}", cluster.namespace)
        };
        eprintln!("there is no Microservice in {place}");
        return Ok(Exit::Done);
    }
    let now = cluster.clock.now();
    let trees: Vec<String> = views.iter().map(|view| tree(view, now, out.paint)).collect();
    out.text(&trees.join("\n"))?;
    Ok(Exit::Done)
}

async fn views(cluster: &Cluster, args: &GetArgs) -> Result<Vec<View>, Error> {
    let microservices = if args.names.is_empty() {
        cluster.microservices(args.all_namespaces).await?
    } else {
        let mut named = Vec::new();
        for name in &args.names {
            named.push(cluster.microservice(name).await?);
        }
        named
    };
    let of = if let [name] = args.names.as_slice() { Some(name.as_str()) } else { None };
    let pods = pods(cluster, args.all_namespaces, of).await?;
    let mut views: Vec<View> = microservices.iter().map(|microservice| view(microservice, &pods)).collect();
    if args.names.is_empty() {
        views.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    }
    Ok(views)
}

/// The pods; none, with a word about it, where somebody may see Microservices but no pods.
pub async fn pods(cluster: &Cluster, all: bool, of: Option<&str>) -> Result<Vec<Pod>, Error> {
    match cluster.pods(all, of).await {
        Err(error @ Error::Forbidden { .. }) => {
            eprintln!("warning: pods are left out: {error}");
            Ok(Vec::new())
        }
        pods => pods,
    }
}
