//! `devcluster load`.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use devcluster::load::{Load, Protocol};
use jiff::SignedDuration;

use super::{Failure, wait_for};

#[derive(Debug, Args)]
pub(super) struct LoadArguments {
    /// Where connections go, such as a mesh client's proxy.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:15007")]
    connect: SocketAddr,
    /// The host that is asked for, and its port where that is not 80.
    #[arg(long, value_name = "HOST[:PORT]")]
    authority: String,
    /// Requests a second.
    #[arg(long, default_value_t = 100)]
    rate: u32,
    /// For how long to send, such as 500ms, 10s or 1m30s.
    #[arg(long, default_value = "10s")]
    duration: SignedDuration,
    /// How long a request may take.
    #[arg(long, default_value = "15s")]
    timeout: SignedDuration,
    /// How requests are sent.
    #[arg(long, value_enum, default_value_t = ProtocolArgument::Http1)]
    protocol: ProtocolArgument,
    /// The path; `/`, or for gRPC the test service's method by default.
    #[arg(long)]
    path: Option<String>,
    /// A header of every request; may be given several times.
    #[arg(long = "header", value_name = "NAME=VALUE")]
    headers: Vec<String>,
    /// HTTP/1.1 requests name the path alone, as they do to a server that is no proxy.
    #[arg(long)]
    direct: bool,
    /// How the report is printed.
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ProtocolArgument {
    Http1,
    /// A connection a request.
    Http1Close,
    Http2,
    Grpc,
    /// A message a request, on long streams.
    GrpcStream,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    Text,
    Json,
}

pub(super) fn run(arguments: LoadArguments) -> Result<(), Failure> {
    let duration = positive(arguments.duration)?;
    let output = arguments.output;
    let load = load(arguments)?;
    let report = wait_for(async { Ok(load.run_for(duration).await?) })?;
    match output {
        Output::Text => println!("{report}"),
        Output::Json => println!("{:#}", report.to_json()),
    }
    if !report.is_clean() {
        let broken = if report.streams.is_clean() { "" } else { ", and streams were broken" };
        let (failures, skipped) = (report.failures(), report.skipped);
        return Err(format!("{failures} requests failed, {skipped} were not sent{broken}").into());
    }
    Ok(())
}

fn load(arguments: LoadArguments) -> Result<Load, Failure> {
    let protocol = match arguments.protocol {
        ProtocolArgument::Http1 => Protocol::Http1 { keep_alive: true },
        ProtocolArgument::Http1Close => Protocol::Http1 { keep_alive: false },
        ProtocolArgument::Http2 => Protocol::Http2,
        ProtocolArgument::Grpc => Protocol::GrpcUnary,
        ProtocolArgument::GrpcStream => Protocol::GrpcStream,
    };
    let mut load = Load::new(arguments.connect, arguments.authority, protocol);
    load.rate = arguments.rate;
    load.timeout = positive(arguments.timeout)?;
    load.absolute_form = !arguments.direct;
    load.path = arguments.path.unwrap_or(load.path);
    for header in arguments.headers {
        let (name, value) =
            header.split_once('=').ok_or_else(|| format!("`{header}` is no header: write it as NAME=VALUE"))?;
        load.headers.push((name.to_owned(), value.to_owned()));
    }
    Ok(load)
}

fn positive(duration: SignedDuration) -> Result<Duration, Failure> {
    Duration::try_from(duration).map_err(|_| format!("{duration:#} is no time to wait: give one above 0s").into())
}
