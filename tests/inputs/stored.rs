//! What the operator reads back from the cluster, where others may have changed it: a status, and the spec beside it.

use std::fs;

use devcluster::Dice;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{api::apps::v1::ControllerRevision, apimachinery::pkg::runtime::RawExtension};
use microservice_operator::{
    api::{Microservice, Provider, schema::open_api_schema},
    observe::{LiveRoutes, Observed},
    plan::{Plan, Settings, object::Kind, plan, resources, resources::Stamp},
    status::{Outcome, compute, compute::Subject},
    validate::{syntax::printable, validate},
};
use serde_json::Value;

use crate::mutate::{corpus, runs, value};

fn microservices() -> Vec<Value> {
    let mut files: Vec<_> = fs::read_dir(corpus("statuses")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| serde_yaml::from_str(&fs::read_to_string(file).unwrap()).unwrap()).collect()
}

/// Weights of each route of the VirtualServices that are planned.
pub fn sums(plan: &Plan) -> Vec<i64> {
    let routes = plan.objects.iter().filter(|object| object.kind == Kind::VirtualService);
    let lists = routes.flat_map(|object| ["http", "tcp"].map(|kind| object.value["spec"][kind].clone()));
    lists
        .flat_map(|list| list.as_array().cloned().unwrap_or_default())
        .filter_map(|route| {
            let weights = route["route"].as_array()?.iter().map(|to| to["weight"].as_i64().unwrap_or(100));
            Some(weights.sum())
        })
        .collect()
}

/// Whether all numbers are within what the schema allows.
fn bounded(schema: &Value, value: &Value) -> bool {
    let limit = |key: &str| schema[key].as_f64();
    match value {
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or_default();
            limit("minimum").is_none_or(|least| number >= least) && limit("maximum").is_none_or(|most| number <= most)
        }
        Value::Array(items) => items.iter().all(|item| bounded(&schema["items"], item)),
        Value::Object(map) => map.iter().all(|(key, value)| {
            let of_key = schema["properties"].get(key).unwrap_or(&schema["additionalProperties"]);
            bounded(of_key, value)
        }),
        _ => true,
    }
}

#[test]
fn whatever_a_status_says_the_plan_is_a_whole_one() {
    let all = microservices();
    let now: Timestamp = "2027-01-30T12:00:00Z".parse().unwrap();
    let settings = Settings {
        provider: Provider::Istio,
        propagation: SignedDuration::from_secs(5),
        stamp: Stamp { operator_version: "0.0.0".to_owned(), chart: None },
    };
    let schema = open_api_schema().unwrap();
    let (mut read, mut refused) = (0, 0);
    for seed in runs(3_000) {
        let mut dice = Dice::of(("status", seed));
        let mut object = all[dice.below(all.len())].clone();
        value(&mut object["status"], &mut dice);
        let about = format!("CAMPAIGN_SEED={seed}: {}", object["status"]);
        let found = serde_json::from_value::<Microservice>(object.clone()).ok();
        let Some(microservice) = found.filter(|_| bounded(&schema["properties"]["status"], &object["status"])) else {
            // The API server keeps nobody's status that is not of the schema.
            refused += 1;
            continue;
        };
        read += 1;
        let status = microservice.status.clone().unwrap_or_default();
        let service = validate(&microservice, Provider::Istio).unwrap();
        let routes = (dice.below(2) == 0).then(|| LiveRoutes {
            default: service.versions.iter().zip([100, 0, 0]).map(|(it, weight)| (it.name.clone(), weight)).collect(),
            created: now,
            ..LiveRoutes::default()
        });
        let observed = Observed { status: status.clone(), routes, ..Observed::default() };
        let planned = plan(&service, &microservice.spec, &observed, &settings, now);
        assert!(sums(&planned).iter().all(|sum| *sum == 100), "{about}: routes with weights of {:?}", sums(&planned));
        assert!(planned.next.is_none_or(|at| at > now), "{about}: it would look again at {:?}", planned.next);
        let subject = Subject { generation: 1, service: Some(&service), observed: Some(&observed), now };
        let new = compute(&status, subject, &Outcome::Applied { plan: &planned, invalid: None });
        let written: Value = serde_json::to_value(&new).unwrap();
        assert_eq!(
            serde_json::from_value::<microservice_operator::api::MicroserviceStatus>(written).unwrap(),
            new,
            "{about}"
        );
    }
    assert!(read > 100 && refused > 100, "{read} were read, {refused} refused");
}

#[test]
fn whatever_a_revision_keeps_is_a_spec_that_can_be_judged_or_none() {
    let all = microservices();
    let (mut kept, mut none) = (0, 0);
    for seed in runs(3_000) {
        let mut dice = Dice::of(("revision", seed));
        let mut object = all[dice.below(all.len())].clone();
        object["spec"]["copies"] = serde_json::json!({"settings": "settings-0a1b2c3d"});
        value(&mut object["spec"], &mut dice);
        let about = format!("CAMPAIGN_SEED={seed}: {}", object["spec"]);
        let data = RawExtension(object["spec"].clone());
        let copies = resources::kept_copies(&data.0);
        assert!(copies.len() <= 1 || object["spec"]["copies"].is_object(), "{about}: {copies:?}");
        let Some(spec) = resources::restore(&ControllerRevision { data, ..ControllerRevision::default() }) else {
            none += 1;
            continue;
        };
        kept += 1;
        let mut microservice: Microservice = serde_json::from_value(all[0].clone()).unwrap();
        microservice.spec = spec;
        if let Err(problems) = validate(&microservice, Provider::Istio) {
            let told = problems.to_string();
            assert!(!told.is_empty() && printable(&told) == told, "{about}: {told}");
        }
    }
    assert!(kept > 100 && none > 100, "{kept} were kept, {none} were none");
}
