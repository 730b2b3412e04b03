//! `kubectl ms`: the process around [`microservice_operator::plugin`].

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    microservice_operator::plugin::main().await
}
