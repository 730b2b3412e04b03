//! The commands, as far as they print and exit.

use std::{
    error::Error,
    io::Write,
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jiff::SignedDuration;
use microservice_operator::{
    api,
    cli::{RenderArgs, RunArgs},
    input,
    lint::{self, LintArgs},
    offline,
    plan::{Settings, resources::Stamp},
    render,
    runtime::{self, RunOptions},
    telemetry,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

type Outcome = Result<ExitCode, Box<dyn Error>>;

/// Runs the operator.
pub async fn run(args: RunArgs) -> Outcome {
    telemetry::logs::init(args.log_format, &args.log_level)?;
    let namespace = args.lease_namespace.or_else(|| std::env::var("POD_NAMESPACE").ok());
    let namespace = namespace.unwrap_or_else(|| "default".to_owned());
    let home = std::env::var("POD_NAMESPACE").unwrap_or_else(|_| namespace.clone());
    if args.shards.get() > 1 && !args.leader_election {
        return Err("--shards needs leader election: without it, every process serves all namespaces".into());
    }
    let identity = identity();
    let election = args.leader_election.then(|| runtime::Election {
        namespace,
        name: args.lease_name,
        shards: args.shards,
        identity: identity.clone(),
    });
    let options = RunOptions {
        namespaces: args.namespaces,
        provider: args.provider,
        mesh_propagation: args.mesh_propagation,
        concurrency: args.concurrency,
        election,
        home,
        analysis_providers: args.analysis_providers,
        listen: args.listen,
        identity,
        operator_version: args.operator_version,
        chart: args.chart,
    };
    // On a worker: the thread that waits here is none, and each event would have to wake it beside the workers.
    tokio::spawn(runtime::run(options)).await??;
    Ok(ExitCode::SUCCESS)
}

/// The pod's name, or this machine's with the process id and the time, so that no two processes share it.
fn identity() -> String {
    let host = std::env::var("POD_NAME").or_else(|_| std::env::var("HOSTNAME"));
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    format!("{}-{}-{started:x}", host.unwrap_or_else(|_| "local".to_owned()), std::process::id())
}

/// Prints the CustomResourceDefinitions, or the one of that plural name.
pub fn crd(only: Option<&str>) -> Outcome {
    let crds = api::crds()?;
    let chosen: Vec<_> = crds.iter().filter(|(name, _)| only.is_none_or(|only| only == name)).collect();
    if chosen.is_empty() {
        let names = crds.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(format!("no definition is named {:?}: there are {names}", only.unwrap_or_default()).into());
    }
    let mut text = String::new();
    for (index, (_, crd)) in chosen.into_iter().enumerate() {
        let separator = if index == 0 { "" } else { "---\n" };
        text.push_str(&format!("{separator}{}", serde_yaml::to_string(crd)?));
    }
    print(&text)
}

/// Prints, for as long as somebody reads.
fn print(text: &str) -> Outcome {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Prints the objects of the given Microservices, one document each.
pub fn render(args: &RenderArgs) -> Outcome {
    let input = input::read(&args.files, &mut std::io::stdin());
    if !input.errors.is_empty() {
        input.errors.iter().for_each(|error| eprintln!("error: {error}"));
        return Ok(ExitCode::from(2));
    }
    if input.documents.iter().all(|document| offline::is_of_cluster(&document.value)) {
        let others = match input.passed_over {
            0 => String::new(),
            others => format!(" ({others} of other kinds passed over)"),
        };
        eprintln!("error: no Microservice found in the given files{others}");
        return Ok(ExitCode::from(2));
    }
    let settings = Settings {
        provider: args.provider,
        propagation: SignedDuration::from_secs(5),
        stamp: Stamp { operator_version: env!("CARGO_PKG_VERSION").to_owned(), chart: None },
    };
    match render::render_documents(&input.documents, &args.namespace, &settings) {
        Ok(objects) => {
            let mut text = String::new();
            for object in objects {
                text.push_str(&format!("---\n{}", serde_yaml::to_string(&object)?));
            }
            print(&text)
        }
        Err(error) => {
            error.to_string().lines().for_each(|line| eprintln!("error: {line}"));
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Checks manifests.
pub fn lint(args: &LintArgs) -> Outcome {
    let outcome = lint::run(args, &mut std::io::stdin(), &mut std::io::stdout().lock())?;
    Ok(outcome.into())
}

/// Asks an HTTP endpoint, for `helm test`: succeeds when it answers 200.
pub async fn healthz(url: &str) -> Outcome {
    let (host, path) =
        url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).ok_or("write http://HOST:PORT/PATH")?;
    let ask = async {
        let mut stream = TcpStream::connect(host).await?;
        stream
            .write_all(format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())
            .await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(Duration::from_secs(10), ask).await.map_err(|_| "no answer within 10 s")??;
    let status = answer.lines().next().unwrap_or_default();
    println!("{url}: {status}");
    Ok(if status.contains(" 200 ") { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
