//! What is refused, and with which words.

use super::*;

#[test]
fn tells_errors_with_their_place() {
    let text = format!("{}{}", with("a", ""), manifest("b", "  versions: []\n  hostNetwork: true"));
    let report = report(&text);
    let place: Vec<_> =
        report.findings.iter().map(|it| (it.severity, it.origin.to_string(), it.path.as_str())).collect();
    let at = |path| (Severity::Error, "<stdin>:13".to_owned(), path);
    assert_eq!(place, [at("spec.versions"), at("spec.hostNetwork")]);
    assert!(report.findings.iter().all(|it| it.rule == "refused"));
}

#[test]
fn tells_broken_rules_beside_unknown_fields() {
    let spec = "  replica: 3\n  versions: [{name: v1, image: 'a:1', weight: 50, wait: 1}, {name: v2, image: 'a:2', weight: 40}]";
    let report = report(&manifest("a", spec));
    let errors = report.findings.iter().filter(|it| it.severity == Severity::Error);
    let messages: Vec<_> = errors.map(|it| it.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "unknown field \"spec.replica\": did you mean replicas?",
            "unknown field \"spec.versions[0].wait\"",
            "the weights of the versions must sum to 100, but [\"v1=50\", \"v2=40\"] sum to 90",
        ]
    );
}

#[test]
fn tells_names_that_are_reserved() {
    assert_eq!(
        only(&with("a", "expose: {host: a.example}")),
        "shop/a spec.expose [refused] unknown field \"spec.expose\": the name is reserved for a later release"
    );
    assert_eq!(
        only(
            &with("a", "podAnnotations: {data: x}\n  health: {path: /, data: x}")
                .replace("  health: {path: /health}\n", "")
        ),
        "shop/a spec.health.data [refused] unknown field \"spec.health.data\""
    );
}

#[test]
fn tells_of_a_missing_name_in_clear_words() {
    let required = "shop/unnamed metadata.name [refused] Required value: name or generateName is required";
    let good = with("a", "");
    for metadata in ["metadata: {}", "metadata:", "", "metadata: {name: ''}", "metadata: {name: null, namespace: null}"]
    {
        assert_eq!(found(&good.replace("metadata: {name: a}", metadata)), [required], "{metadata}");
    }
    assert_eq!(
        found(&good.replace("{name: a}", "[a]")),
        ["shop/unnamed metadata [refused] Invalid value: a list: must be of type object: a mapping with a name"]
    );
    assert_eq!(
        found(&good.replace("{name: a}", "{name: 5}")),
        [
            "shop/unnamed metadata.name [refused] Invalid value: 5: must be of type string: write lower-case letters, digits and -, beginning with a letter and \
         not ending with -"
        ]
    );
}

#[test]
fn takes_generated_names() {
    let generated = |spec: &str| with("a", spec).replace("{name: a}", "{generateName: a-}");
    assert_eq!(found(&generated("").repeat(2)), Vec::<String>::new());
    let long = with("a", "").replace("{name: a}", &format!("{{generateName: {}-}}", "a".repeat(40)));
    let text = only(&long);
    assert!(text.contains("metadata.name [refused] Too long: may not be more than 43 bytes"), "{text}");
    let text = only(&generated("replica: 1"));
    assert!(text.starts_with("shop/a-xxxxx spec.replica"), "{text}");
}

#[test]
fn tells_kinds_and_versions_that_are_not_known() {
    let known = "this group has Microservice, MicroserviceList, MicroserviceAction, AnalysisProvider, RolloutWebhook in microservice-operator.dev/v1alpha1";
    let good = with("a", "");
    assert_eq!(
        only(&good.replace("kind: Microservice", "kind: Microservise")),
        format!("shop/a kind [refused] Microservise is not known: {known}: did you mean Microservice?")
    );
    assert_eq!(
        only("apiVersion: microservice-operator.dev/v1alpha1\nkind: Gateway\nmetadata: {name: a}\nspec: {x: 1}\n"),
        format!("shop/a kind [refused] Gateway is not known: {known}")
    );
    assert_eq!(
        only(&good.replace("dev/v1alpha1", "dev/v1")),
        "shop/a apiVersion [refused] microservice-operator.dev/v1 is not known: write microservice-operator.dev/v1alpha1"
    );
}

#[test]
fn tells_groups_that_were_meant_to_be_this_one() {
    let good = with("a", "");
    let wanted = "is not known: write microservice-operator.dev/v1alpha1";
    for group in ["microservice-operator.io/v1alpha1", "microservices-operator.dev/v1", "apps/v1", "v1"] {
        let text = only(&good.replace("microservice-operator.dev/v1alpha1", group));
        assert_eq!(text, format!("shop/a apiVersion [refused] {group} {wanted}"));
    }
    let other = "microservice-operator.io/v1alpha1";
    for (kind, place) in [("RolloutWebhook", "a"), ("AnalysisProvider", "a"), ("MicroserviceAction", "shop/a")] {
        let manifest = format!("apiVersion: {other}\nkind: {kind}\nmetadata: {{name: a}}\nspec: {{}}\n");
        let told = format!("{place} apiVersion [refused] {other} {wanted}");
        assert!(found(&manifest).contains(&told), "{:?}", found(&manifest));
    }
    let list = format!("apiVersion: {other}\nkind: MicroserviceList\nitems: []\n");
    assert_eq!(only(&list), format!("shop/unnamed apiVersion [refused] {other} {wanted}"));
    for others in
        ["apps/v1\nkind: Deployment", "argoproj.io/v1alpha1\nkind: Rollout", "x.io/v1\nkind: AnalysisProvider"]
    {
        let input = input::read(&["-".into()], &mut format!("apiVersion: {others}\n").as_bytes());
        assert_eq!((input.documents.len(), input.passed_over), (0, 1), "{others}");
    }
}

/// What is refused of a rollout of two versions.
fn of_rollout(rollout: &str) -> Vec<String> {
    let versions = "  versions: [{name: v1, image: 'a:1', weight: 0}, {name: v2, image: 'a:2', weight: 100}]";
    let report = report(&manifest("a", &format!("{versions}\n  rollout: {rollout}")));
    let errors = report.findings.iter().filter(|it| it.severity == Severity::Error);
    errors.map(|it| format!("{} {}", it.path.trim_start_matches("spec.rollout."), it.message)).collect()
}

#[test]
fn says_how_times_are_written() {
    let duration = "write whole numbers with a unit, such as 500ms, 3s or 1m30s";
    assert_eq!(
        of_rollout("{steps: [{pause: {duration: 10}}]}"),
        [format!("steps[0].pause.duration Invalid value: 10: must be of type string: {duration}")]
    );
    let hours = "write hours and minutes of two digits each, such as 09:00";
    let found = of_rollout("{steps: [{weight: 5}], windows: [{from: '9:00', to: '25:00'}, {from: 540}]}");
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found.iter().all(|it| it.ends_with(hours)), "{found:?}");
}

#[test]
fn says_how_parts_of_requests_are_written() {
    let exact = |value: &str| of_rollout(&["{steps: [{match: [{headers: {x-beta: {exact: ", value, "}}}]}]}"].concat());
    let place = "steps[0].match[0].headers.x-beta.exact Invalid value:";
    for value in ["1", "true"] {
        assert_eq!(exact(value), [format!("{place} {value}: must be of type string: put it in quotes")]);
    }
    assert_eq!(exact("[a]"), [format!("{place} a list: must be of type string")]);
    assert_eq!(exact("''"), [format!("{place} \"\": should be at least 1 chars long")]);
    let found = exact("\"a\\nb\"");
    assert!(matches!(&found[..], [one] if one.ends_with("so it could never match")), "{found:?}");
}

#[test]
fn says_how_points_in_time_are_written() {
    for (time, told) in [("2027", "2027"), ("tomorrow", "\"tomorrow\""), ("2027-01-31", "\"2027-01-31\"")] {
        let text = only(&with("a", &format!("restartedAt: {time}")));
        assert!(text.starts_with(&format!("shop/a spec.restartedAt [refused] Invalid value: {told}: ")), "{text}");
        assert!(text.ends_with(": write a time as 2027-01-31T12:00:00Z"), "{text}");
    }
}

#[test]
fn says_what_other_controllers_fields_are_here() {
    let unknown = |path: &str, advice: &str| format!("{path} unknown field \"spec.rollout.{path}\": {advice}");
    let found = of_rollout(
        "{progressDeadlineSeconds: 600, canary: {}, steps: [{setWeight: 5}, {setCanaryScale: {weight: 5}}], analysis: \
         {threshold: 5, metrics: [{name: a, kind: SuccessRate, thresholdRange: {min: 99}, setWeight: 1}]}}",
    );
    for expected in [
        unknown("progressDeadlineSeconds", "did you mean progressDeadline?"),
        unknown("canary", "what it has stands in spec.rollout itself"),
        unknown("steps[0].setWeight", "did you mean weight?"),
        unknown("steps[1].setCanaryScale", "did you mean scale?"),
        unknown("analysis.threshold", "did you mean failureLimit?"),
        unknown("analysis.metrics[0].thresholdRange", "give the metric min, max or baseline"),
        "analysis.metrics[0].setWeight unknown field \"spec.rollout.analysis.metrics[0].setWeight\"".to_owned(),
    ] {
        assert!(found.contains(&expected), "{expected}: {found:#?}");
    }
}

/// What looks like a line of its own, or steers a terminal or the log of a pipeline, is part of somebody's manifest.
#[test]
fn no_manifest_forges_what_is_told() {
    let report = report(&manifest("a", "  \"bad\\n::error::x\\e[2J\": 1\n  versions: [{name: v1, image: a}]"));
    let mut text = Vec::new();
    report.write_text(&mut text, false).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains(r"bad\n::error::x\u{1b}[2J"), "{text}");
    assert!(!text.contains('\u{1b}') && text.lines().all(|line| !line.starts_with("::")), "{text}");
}

#[test]
fn a_webhook_has_a_name_that_rollouts_can_give() {
    let hook = |name: &str| {
        report(&format!(
            "apiVersion: microservice-operator.dev/v1alpha1\nkind: RolloutWebhook\nmetadata: {{name: {name}}}\n\
             spec: {{url: 'https://hooks.example/gate'}}\n"
        ))
    };
    assert_eq!(hook("my-hook").errors(), 0, "{:?}", hook("my-hook").findings);
    for name in ["My_Hook", &"a".repeat(64)] {
        let found = hook(name).findings;
        assert!(matches!(&found[..], [one] if one.path == "metadata.name"), "{found:?}");
    }
}
