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
