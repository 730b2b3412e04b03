fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("{}", serde_json::to_string(&microservice_operator::api::crd()?)?);
    Ok(())
}
