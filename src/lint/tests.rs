use serde_json::{Value, json};

use super::*;

mod databases;
mod references;
mod refused;
mod traffic;

const GOOD: &str = r#"
  health: {path: /health}
  ports: [{name: http, port: 80}]
  resources: {requests: {cpu: 100m, memory: 64Mi}}
  versions: [{name: v1, image: "registry.example/a:1"}]
"#;

fn manifest(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: microservice-operator.dev/v1alpha1\nkind: Microservice\nmetadata: {{name: {name}}}\nspec:\n{spec}\n"
    )
}

fn report(text: &str) -> Report {
    let input = input::read(&["-".into()], &mut text.as_bytes());
    let defaults = Defaults { namespace: "shop".to_owned(), provider: Provider::Istio };
    CHECKER.with(|checker| lint(&input, checker, &defaults))
}

thread_local! {
    static CHECKER: Checker = Checker::new().unwrap();
}

/// `object path [rule] message` of everything found.
fn found(text: &str) -> Vec<String> {
    let line = |it: &Finding| format!("{} {} [{}] {}", it.object, it.path, it.rule, it.message);
    report(text).findings.iter().map(line).collect()
}

fn only(text: &str) -> String {
    let found = found(text);
    assert_eq!(found.len(), 1, "{found:#?}");
    found[0].clone()
}

/// Both a good manifest with one more setting.
fn with(name: &str, setting: &str) -> String {
    manifest(name, &format!("{GOOD}  {setting}"))
}

#[test]
fn says_nothing_of_what_is_good() {
    assert_eq!(found(&with("a", "")), Vec::<String>::new());
}

#[test]
fn warns_of_bare_pods() {
    let found = found(&manifest(
        "a",
        "  ports: [{name: http, port: 80}]\n  versions:\n  - {name: v1, image: a, weight: 100}\n  - {name: v2, image: 'h:5000/a:latest', replicas: 0, weight: 0, health: {path: /}}",
    ));
    assert_eq!(
        found,
        [
            "shop/a spec.health [no-probe] in version v1: nothing tells when a pod can answer requests: add health",
            "shop/a spec.versions[v1].image [latest-tag] a has no tag, which means :latest: name the tag or digest to run",
            "shop/a spec.versions[v2].image [latest-tag] h:5000/a:latest moves: name the tag or digest to run",
            "shop/a spec.resources [no-resources] nothing says how much CPU and memory it needs: add requests, and a limit of memory",
        ]
    );
}

#[test]
fn warns_of_weight_without_pods() {
    let two = GOOD.replace(
        "versions: [{name: v1, image: \"registry.example/a:1\"}]",
        "versions: [{name: v1, image: 'a:1', weight: 90}, {name: v2, image: 'a:2', weight: 10, replicas: 0}]",
    );
    let text = only(&manifest("a", &two));
    assert!(text.starts_with("shop/a spec.versions[v2].replicas [no-pods] v2 is to have 10 %"), "{text}");
}

#[test]
fn warns_of_outlier_detection_that_ejects_nothing() {
    let outlier = |more: &str| format!("traffic: {{circuitBreaker: {{outlierDetection: {{interval: 30s{more}}}}}}}");
    let replicas = |count: i32, more: &str| with("a", &format!("replicas: {count}\n  {}", outlier(more)));
    let text = only(&replicas(3, ""));
    assert!(
        text.ends_with(
            "10 % (the default) is less than one pod, so none is ever ejected: v1 has 3 pods; set it to 34 or more"
        ),
        "{text}"
    );
    let text = only(&replicas(1, ""));
    assert!(text.ends_with("while it is the only one: raise replicas, or remove outlierDetection"), "{text}");
    assert!(only(&replicas(4, ", maxEjectionPercent: 24")).contains("24 % is less than one pod"));
    let beside_one = |count: i32| {
        let second = format!("{{name: v2, image: 'a:2', replicas: {count}, weight: 0}}");
        let versions = format!("{{name: v1, image: 'a:1', replicas: 1, weight: 100}}, {second}");
        replicas(1, "").replace("{name: v1, image: \"registry.example/a:1\"}", &versions)
    };
    let text = only(&beside_one(5));
    assert!(text.ends_with("v2 has 5 pods; set it to 20 or more"), "{text}");
    assert!(only(&beside_one(1)).contains("v1 has 1 pod, v2 has 1 pod; "));
    for enough in [replicas(10, ""), replicas(3, ", maxEjectionPercent: 34"), replicas(0, ""), beside_one(10)] {
        assert_eq!(found(&enough), Vec::<String>::new());
    }
}

#[test]
fn warns_of_mesh_settings_without_a_mesh() {
    let text = only(&with("a", "traffic: {provider: None, timeout: 3s}"));
    assert!(text.starts_with("shop/a spec.traffic [needs-mesh]"), "{text}");
    let text = only(&with("a", "traffic: {provider: None}\n  rollout: {steps: [{weight: 5}]}"));
    assert!(text.starts_with("shop/a spec.rollout [needs-mesh] steps are carried out by a mesh"), "{text}");
}

#[test]
fn warns_of_policies_that_guard_less_than_they_seem_to() {
    let metrics = "metrics: [{name: success-rate, kind: SuccessRate, min: 99}]";
    let analysis = |steps: &str| with("a", &format!("rollout: {{analysis: {{{metrics}}}, steps: [{steps}]}}"));
    for steps in ["", "{pause: {}}", "{weight: 100}", "{match: [{method: {exact: GET}}]}, {pause: {}}"] {
        let text = only(&analysis(steps));
        assert!(text.starts_with("shop/a spec.rollout.analysis [unmeasured-rollout] no step gives"), "{text}");
    }
    assert_eq!(found(&analysis("{weight: 5}")), Vec::<String>::new());
    let surge = |steps: &str| with("a", &format!("rollout: {{maxSurge: 1, steps: [{steps}]}}"));
    for (steps, index) in [("{mirror: {percent: 50}}", 0), ("{weight: 5}, {match: [{method: {exact: GET}}]}", 1)] {
        let text = only(&surge(steps));
        let at = format!("shop/a spec.rollout.steps[{index}] [surge-without-scale] with maxSurge");
        assert!(text.starts_with(&at), "{text}");
    }
    for fine in
        ["{weight: 5}", "{scale: {percent: 25}}, {mirror: {percent: 50}}", "{weight: 5}, {mirror: {percent: 0}}"]
    {
        assert_eq!(found(&surge(fine)), Vec::<String>::new(), "{fine}");
    }
}

#[test]
fn warns_of_steps_that_end_connections() {
    let of = |steps: &str, provider: &str| {
        let spec = with("a", &format!("rollout: {{steps: [{steps}]}}\n  traffic: {{provider: {provider}}}"));
        spec.replace("{name: http, port: 80}", "{name: http, port: 80}, {name: events, port: 7000, protocol: TCP}")
    };
    let many = "{weight: 5}, {weight: 25}, {pause: {}}, {weight: 50}";
    let text = only(&of(many, "Istio"));
    assert!(text.starts_with("shop/a spec.rollout.steps [tcp-steps] each change of the weights ends all"), "{text}");
    assert!(text.contains("port events (TCP)") && text.contains("at most 2 steps with a weight (there are 3)"));
    for few in ["{pause: {}}", "{weight: 5}", "{weight: 5}, {weight: 50}, {pause: {}}, {weight: 100}"] {
        assert_eq!(found(&of(few, "Istio")), Vec::<String>::new(), "{few}");
    }
    assert!(found(&of(many, "None")).iter().all(|line| !line.contains("tcp-steps")));
}

#[test]
fn warns_of_routes_that_are_never_reached() {
    let routes = |first: &str, second: &str| {
        with(
            "a",
            &format!(
                "routes: [{{name: one, match: [{first}], version: v1}}, {{name: two, match: [{second}], version: v1}}]"
            ),
        )
    };
    for (first, second) in [
        ("{path: {prefix: /}}", "{path: {exact: /a}}"),
        ("{path: {prefix: /}}", "{method: {exact: GET}}"),
        ("{path: {prefix: /a}}", "{path: {prefix: /ab}, method: {exact: GET}}"),
        ("{headers: {a: {exact: x}}}", "{headers: {a: {exact: x}, b: {prefix: why}}, port: 80}"),
        ("{path: {exact: /a}}, {path: {exact: /b}}", "{path: {exact: /b}}, {path: {exact: /a}}"),
    ] {
        let text = only(&routes(first, second));
        assert!(text.starts_with("shop/a spec.routes[two] [unreachable-route] route one before it takes"), "{text}");
    }
    for (first, second) in [
        ("{path: {exact: /a}}", "{path: {prefix: /a}}"),
        ("{path: {prefix: /a}, port: 80}", "{path: {prefix: /a}}"),
        ("{headers: {a: {exact: x}}}", "{headers: {a: {exact: z}}}"),
        ("{path: {regex: /a.*}}", "{path: {exact: /ab}}"),
    ] {
        assert_eq!(found(&routes(first, second)), Vec::<String>::new(), "{first} {second}");
    }
}

#[test]
fn names_the_circle_of_dependencies() {
    let needs = |name: &str, others: &str| with(name, &format!("dependencies: [{others}]"));
    let text = [
        needs("c", "{name: a}"),
        needs("b", "{name: c}, {name: elsewhere}"),
        needs("a", "{name: b}"),
        needs("x", "{name: a}"),
    ];
    let text = only(&text.concat());
    assert!(
        text.starts_with(
            "shop/a spec.dependencies[b] [dependency-cycle] a → b → c → a depend on one another in a circle"
        ),
        "{text}"
    );
    let across = [
        needs("p", "{name: q, namespace: other}"),
        needs("q", "{name: p, namespace: shop}").replace("name: q}", "name: q, namespace: other}"),
    ];
    let text = only(&across.concat());
    assert!(text.contains("other/q → shop/p → other/q"), "{text}");
}

#[test]
fn compares_dependencies_with_the_services() {
    let users = with("users", "");
    let mismatch = |dependency: &str| only(&format!("{users}{}", with("a", &format!("dependencies: [{dependency}]"))));
    assert!(mismatch("{name: users, port: 8080}").ends_with("users has no port 8080: it has 80 (HTTP)"));
    assert!(
        mismatch("{name: users, protocol: GRPC}").ends_with("port 80 of users speaks HTTP: write that as the protocol")
    );
    assert_eq!(
        found(&format!("{users}{}", with("a", "dependencies: [{name: users, protocol: HTTP2}]"))),
        Vec::<String>::new()
    );
}

#[test]
fn warns_of_addresses_that_are_written_out() {
    let users = with("users", "");
    let text = only(&format!(
        "{users}{}",
        with("a", "env: [{name: USERS, value: 'http://users/api'}, {name: SELF, value: 'http://a'}]")
    ));
    assert!(text.starts_with("shop/a spec.env[USERS] [hard-coded-url] the address of users is written out"), "{text}");
}

#[test]
fn takes_no_host_of_the_world_for_the_service_that_it_begins_with() {
    let stripe = with("stripe", "");
    let calls = |url: &str| format!("{stripe}{}", with("a", &format!("env: [{{name: API, value: '{url}'}}]")));
    assert_eq!(found(&calls("https://stripe.com/v1")), Vec::<String>::new());
    assert!(only(&calls("https://stripe.shop/v1")).contains("[hard-coded-url] the address of stripe.shop is"));
}

#[test]
fn warns_of_names_used_twice() {
    let text = only(&format!("{}{}", with("a", ""), with("a", "")));
    assert!(text.contains("[duplicate-object] shop/a is also in <stdin>:2: "), "{text}");
    let one = with("a-b", "");
    let two = with("a", "").replace("name: v1", "name: b-v1");
    let text = only(&format!("{one}{two}"));
    assert!(text.contains("[name-clash] its Deployment a-b-v1 is also that of a version of shop/a-b"), "{text}");
}

fn arguments(more: &[&str]) -> LintArgs {
    #[derive(Debug, clap::Parser)]
    struct Command {
        #[command(flatten)]
        args: LintArgs,
    }
    let arguments = ["lint", "-f", "-"].iter().chain(more);
    <Command as clap::Parser>::try_parse_from(arguments).unwrap().args
}

fn run_on(text: &str, more: &[&str]) -> (Outcome, String) {
    let mut out = Vec::new();
    let outcome = run(&arguments(more), &mut text.as_bytes(), &mut out).unwrap();
    (outcome, String::from_utf8(out).unwrap())
}

#[test]
fn ends_with_a_code_for_scripts() {
    let warned = with("a", "env: [{name: B, value: 'http://b'}]");
    let refused = with("a", "replica: 3");
    for (text, more, outcome) in [
        (with("a", ""), &[][..], Outcome::Clean),
        (warned.clone(), &[], Outcome::Clean),
        (warned, &["--strict"], Outcome::Findings),
        (refused, &["-o", "json"], Outcome::Findings),
        ("a: {".to_owned(), &[], Outcome::Unreadable),
        ("apiVersion: v1\nkind: Secret\n".to_owned(), &[], Outcome::Unreadable),
    ] {
        assert_eq!(run_on(&text, more).0, outcome, "{text}");
    }
}

/// Takes a few bytes, as `head` does.
struct Head(usize);

impl Write for Head {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn ends_as_ever_when_nobody_reads_on() {
    for output in ["text", "json"] {
        for (text, outcome) in [(with("a", ""), Outcome::Clean), (with("a", "replica: 3"), Outcome::Findings)] {
            let ended = run(&arguments(&["-o", output]), &mut text.as_bytes(), &mut Head(10));
            assert_eq!(ended.unwrap(), outcome, "{output}");
        }
    }
}

#[test]
fn counts_what_was_checked() {
    let webhook = "---\napiVersion: microservice-operator.dev/v1alpha1\nkind: RolloutWebhook\nmetadata: {name: b}\n\
                   spec: {url: 'https://b.example'}\n";
    let others = "---\napiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: c}\n";
    for (text, summary) in [
        (with("a", ""), "1 Microservice checked: 0 errors, 0 warnings\n"),
        (format!("{}{webhook}", with("a", "")), "2 manifests checked: 0 errors, 0 warnings\n"),
        (others.to_owned(), "no Microservice found in the given files (1 manifest of other kinds passed over)\n"),
    ] {
        assert_eq!(run_on(&text, &["--color", "never"]).1, summary);
    }
}

#[test]
fn writes_text_and_json() {
    let text = format!("{}---\napiVersion: v1\nkind: Secret\n", with("a", "replica: 3"));
    let (_, shown) = run_on(&text, &["--color", "never"]);
    assert_eq!(
        shown,
        "error: <stdin>:2 default/a spec.replica: unknown field \"spec.replica\": did you mean replicas? [refused]\n\
         1 Microservice checked: 1 error, 0 warnings (1 manifest of other kinds passed over)\n"
    );
    assert!(run_on(&text, &["--color", "always"]).1.starts_with("\u{1b}[1;31merror\u{1b}[0m"));
    let (_, json) = run_on(&text, &["-o", "json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["errors"], &json["passedOver"], &json["findings"][0]["rule"]),
        (&json!(1), &json!(1), &json!("refused"))
    );
    let place = ["file", "document", "line"].map(|field| json["findings"][0][field].clone());
    assert_eq!(place, [json!("<stdin>"), json!(1), json!(2)]);
}
