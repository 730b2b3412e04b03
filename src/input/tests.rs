use std::fs;

use super::*;

fn from_stdin(text: &str) -> Input {
    read(&["-".into()], &mut text.as_bytes())
}

const ONE: &str = "apiVersion: microservice-operator.dev/v1alpha1\nkind: Microservice\nmetadata: {name: a}\n";

#[test]
fn keeps_microservices_and_passes_over_the_rest() {
    let input = from_stdin(&format!("{ONE}---\n---\napiVersion: v1\nkind: Secret\n---\n{ONE}"));
    let origins: Vec<_> = input.documents.iter().map(|document| document.origin.to_string()).collect();
    assert_eq!(origins, ["<stdin>:1", "<stdin>:9"]);
    assert_eq!((input.passed_over, input.errors.len()), (1, 0));
}

#[test]
fn takes_lists_apart() {
    let list = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Service}\n\
                - {apiVersion: microservice-operator.dev/v1alpha1, kind: Microservice}\n";
    let input = from_stdin(list);
    assert_eq!(input.documents[0].origin.to_string(), "<stdin>:1[2]");
    assert_eq!(input.passed_over, 1);
}

#[test]
fn reads_json_and_what_yaml_1_1_means() {
    let input = from_stdin(
        r#"{"apiVersion": "microservice-operator.dev/v1alpha1", "kind": "Microservice", "spec": {"a": "yes"}}"#,
    );
    assert_eq!(input.documents[0].value["spec"]["a"], "yes");
    let input = from_stdin(&format!("{ONE}spec: {{mode: 0644, on: yes, text: 'yes'}}\n"));
    assert_eq!(input.documents[0].value["spec"]["mode"], 0o644);
}

#[test]
fn a_text_that_reads_as_a_number_beyond_all_is_told() {
    let input = from_stdin(&format!("{ONE}spec:\n  env: [{{name: COMMIT, value: 12e4567}}]\n"));
    let errors: Vec<_> = input.errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors, ["<stdin>:5: not valid YAML: 12e4567 reads as a number beyond all: put it in quotes"]);
    let input = from_stdin(&format!("{ONE}spec:\n  env: [{{name: COMMIT, value: '12e4567'}}]\n"));
    assert_eq!(input.documents[0].value["spec"]["env"][0]["value"], "12e4567");
}

#[test]
fn one_bad_document_hides_no_other() {
    let input = from_stdin(&format!("{ONE}---\nkind: Microservice\nkind: Twice\n---\n- a list\n---\n{ONE}"));
    assert_eq!(input.documents.len(), 2);
    let errors: Vec<_> = input.errors.iter().map(ToString::to_string).collect();
    assert!(errors[0].starts_with("<stdin>:6: not valid YAML: "), "{errors:?}");
    assert_eq!(errors[1], "<stdin>:8: not a manifest: a mapping with apiVersion and kind is expected");
}

#[test]
fn what_others_manifests_have_is_theirs() {
    let foreign = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  labels: {app: a, app: b}\n";
    let odd = "apiVersion: example.com/v1\nkind: Odd\nspec:\n  size: .nan\n  ? [a, b]\n  : c\n";
    let input = from_stdin(&format!("{ONE}---\n{foreign}---\n{odd}---\n{ONE}"));
    let errors: Vec<_> = input.errors.iter().map(ToString::to_string).collect();
    assert_eq!((input.documents.len(), input.passed_over, errors), (2, 2, vec![]));
    let input =
        from_stdin(&format!("{foreign}---\n{ONE}spec: {{a: 1, a: 2}}\n---\napiVersion: v1\nkind: List\nkind: List\n"));
    let errors: Vec<_> = input.errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors[0], "<stdin>:9: not valid YAML: duplicate mapping key: a");
    assert_eq!((input.passed_over, errors.len()), (1, 2), "{errors:?}");
}

#[test]
fn walks_directories_in_order_without_hidden_files() {
    let root = std::env::temp_dir().join(format!("input-{}", std::process::id()));
    fs::create_dir_all(root.join("sub")).unwrap();
    for file in ["b.yaml", "a.json", "sub/c.yml", ".hidden.yaml", "notes.txt"] {
        fs::write(root.join(file), ONE).unwrap();
    }
    let input = read(&[root.clone(), root.join("absent.yaml")], &mut io::empty());
    let files: Vec<_> = input.documents.iter().map(|document| document.origin.file.clone()).collect();
    let expected = ["a.json", "b.yaml", "sub/c.yml"].map(|file| root.join(file).display().to_string());
    assert_eq!(files, expected);
    assert!(matches!(&input.errors[..], [InputError { fault: Fault::Unreadable(_), .. }]), "{:?}", input.errors);
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn aliases_cannot_blow_up() {
    let mut bomb = String::from("apiVersion: v1\nkind: A\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let alias = format!("*a{}", level - 1);
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", [alias.as_str(); 10].join(", ")));
    }
    assert_eq!(from_stdin(&bomb).errors.len(), 1);
}

#[test]
fn tells_the_line_where_a_document_begins() {
    let text = format!(
        "# of the shop\n\n{ONE}---\n\n# nothing\n---\n\n# note\n{ONE}--- # a list\n{{apiVersion: v1, kind: List, items: [{{apiVersion: microservice-operator.dev/v1alpha1, kind: Microservice}}]}}\n"
    );
    let input = from_stdin(&text);
    let origins: Vec<_> = input.documents.iter().map(|document| document.origin.to_string()).collect();
    assert_eq!(origins, ["<stdin>:3", "<stdin>:12", "<stdin>:16[1]"]);
    let numbers: Vec<_> = input.documents.iter().map(|document| document.origin.document).collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(Origin { line: None, ..input.documents[1].origin.clone() }.to_string(), "<stdin>#2");
}
