//! Databases that two services share.

use super::*;

/// Findings about two services, `a` and `b`, with a setting each.
fn pair(one: &str, two: &str) -> Vec<String> {
    found(&format!("{}{}", with("a", one), with("b", two)))
}

/// The same, with `b` in another namespace.
fn apart(one: &str, two: &str) -> Vec<String> {
    let elsewhere = with("b", two).replace("name: b}", "name: b, namespace: other}");
    found(&format!("{}{elsewhere}", with("a", one)))
}

/// Settings of a container that say where its database is.
fn env(variables: &str) -> String {
    format!("env: [{variables}]")
}

#[test]
fn warns_of_shared_databases() {
    let pair = |one: &str, two: &str| pair(&env(one), &env(two));
    for (one, two) in [
        (
            "{name: DATABASE_URL, value: 'postgres://u:p@db.shop:5432/orders?ssl=1'}",
            "{name: ORDERS_DB_URL, value: 'postgresql://db.shop:5432/orders'}",
        ),
        ("{name: MONGODB_URI, value: 'mongodb://m/x'}", "{name: MONGO_URL, value: 'mongodb://m/x'}"),
        (
            "{name: DB_HOST, value: db}, {name: DB_NAME, value: orders}",
            "{name: POSTGRES_HOST, value: db}, {name: POSTGRES_DB, value: orders}",
        ),
        (
            "{name: PGHOST, value: db}, {name: PGDATABASE, value: o}",
            "{name: MYSQL_HOST, value: db}, {name: MYSQL_DATABASE, value: o}",
        ),
        (
            "{name: DATABASE_URL, valueFrom: {secretKeyRef: {name: s, key: url}}}",
            "{name: DB_DSN, valueFrom: {secretKeyRef: {name: s, key: url}}}",
        ),
    ] {
        let found = pair(one, two);
        assert!(
            found.len() == 1 && found[0].contains("[shared-database]") && found[0].contains("of shop/a:"),
            "{found:?}"
        );
        assert!(!found[0].contains("u:p"), "credentials in {found:?}");
    }
    for (one, two) in [
        ("{name: DATABASE_URL, value: 'postgres://db/orders'}", "{name: DATABASE_URL, value: 'postgres://db/users'}"),
        (
            "{name: DB_HOST, value: db}, {name: DB_NAME, value: a}",
            "{name: DB_HOST, value: db}, {name: DB_NAME, value: b}",
        ),
        ("{name: LOG_URL, value: 'x://y'}", "{name: LOG_URL, value: 'x://y'}"),
    ] {
        assert_eq!(pair(one, two), Vec::<String>::new());
    }
}

#[test]
fn warns_of_databases_that_only_a_host_names() {
    for (one, two) in [
        ("{name: DB_HOST, value: db}", "{name: DB_HOST, value: db}"),
        ("{name: DB_HOST, value: db}, {name: DB_PORT, value: '5432'}", "{name: DATABASE_URL, value: 'postgres://db'}"),
        (
            "{name: DB_HOST, value: db}, {name: DB_USERNAME, value: app}",
            "{name: PGHOST, value: db}, {name: PGUSER, value: app}",
        ),
        (
            "{name: DB_HOST, valueFrom: {secretKeyRef: {name: s, key: host}}}",
            "{name: MYSQL_HOST, valueFrom: {secretKeyRef: {name: s, key: host}}}",
        ),
        (
            "{name: DB_HOST, valueFrom: {secretKeyRef: {name: s, key: h}}}, {name: DB_NAME, valueFrom: {secretKeyRef: {name: s, key: base}}}",
            "{name: PGHOST, valueFrom: {secretKeyRef: {name: s, key: h}}}, {name: PGDATABASE, valueFrom: {secretKeyRef: {name: s, key: base}}}",
        ),
        (
            "{name: DB_HOST, value: db}, {name: DB_NAME, valueFrom: {configMapKeyRef: {name: c, key: base}}}",
            "{name: DB_HOST, value: db}, {name: DB_NAME, valueFrom: {configMapKeyRef: {name: c, key: base}}}",
        ),
    ] {
        let found = pair(&env(one), &env(two));
        assert!(found.len() == 1 && found[0].contains("[shared-database]"), "{one} {two}: {found:?}");
    }
}

#[test]
fn warns_of_databases_from_one_secret() {
    for (source, told) in [
        ("{secretRef: {name: orders-db}}", "all of Secret shop/orders-db"),
        ("{prefix: X_, configMapRef: {name: postgres.settings}}", "all of ConfigMap shop/postgres.settings"),
    ] {
        let from = format!("envFrom: [{{secretRef: {{name: own}}}}, {source}]");
        let found = pair(&from, &from.replace("X_", "Y_"));
        assert_eq!(found.len(), 1, "{found:?}");
        let start = format!("shop/b spec.envFrom [shared-database] {told} is also the database of shop/a:");
        assert!(found[0].starts_with(&start), "{found:?}");
    }
    let from = |name: &str| format!("envFrom: [{{secretRef: {{name: {name}}}}}]");
    for (one, two) in [("orders-db", "users-db"), ("common", "common"), ("adbc", "adbc")] {
        assert_eq!(pair(&from(one), &from(two)), Vec::<String>::new());
    }
    assert_eq!(apart(&from("db"), &from("db")), Vec::<String>::new());
}

#[test]
fn takes_services_of_one_name_in_two_namespaces_for_different() {
    let url = |host: &str| env(&format!("{{name: DATABASE_URL, value: 'postgres://u:p@{host}/x'}}"));
    for alike in [
        url("db"),
        url("m-0:5432,m-1:5432"),
        env("{name: DB_HOST, value: db}, {name: DB_NAME, value: x}"),
        env("{name: DB_DSN, value: 'host=db dbname=x'}"),
    ] {
        assert_eq!(apart(&alike, &alike), Vec::<String>::new());
    }
    for (one, two) in [
        ("db", "db.shop"),
        ("db.other.svc", "db"),
        ("db.data.svc.cluster.local", "db.data"),
        ("db.example.com", "db.example.com"),
    ] {
        let found = apart(&url(one), &url(two));
        assert!(found.len() == 1 && found[0].contains("[shared-database]"), "{one} {two}: {found:?}");
    }
}

#[test]
fn takes_all_forms_of_the_address_of_a_service_for_one() {
    let url = |host: &str| env(&format!("{{name: DATABASE_URL, value: 'postgres://u:p@{host}:5432/x'}}"));
    let entry = "{name: DB_NAME, valueFrom: {configMapKeyRef: {name: c, key: base}}}";
    let host = |host: &str| env(&format!("{{name: DB_HOST, value: {host}}}, {entry}"));
    for form in ["db", "db.shop", "db.shop.svc", "db.shop.svc.cluster.local"] {
        let found = pair(&url("db"), &url(form));
        let told = "shop/b spec.env[DATABASE_URL] [shared-database] db.shop/x is also the database of shop/a:";
        assert!(found.len() == 1 && found[0].starts_with(told), "{found:?}");
        assert_eq!(pair(&host(form), &host("db")).len(), 1, "{form}");
    }
    assert_eq!(pair(&url("db"), &url("db.other")), Vec::<String>::new());
}

#[test]
fn takes_different_databases_on_one_host_for_different() {
    for (one, two) in [
        (
            "{name: DB_HOST, value: db}, {name: DATABASE_NAME, value: a}",
            "{name: DB_HOST, value: db}, {name: DATABASE_NAME, value: b}",
        ),
        ("{name: DB_HOST, value: db}", "{name: DB_HOST, value: db}, {name: DB_NAME, value: b}"),
        (
            "{name: DB_HOST, value: db}, {name: DB_USERNAME, value: app}, {name: DB_NAME, value: a}",
            "{name: DB_HOST, value: db}, {name: DB_USERNAME, value: app}, {name: DB_NAME, value: b}",
        ),
        ("{name: PGHOST, value: db}, {name: PGUSER, value: a}", "{name: PGHOST, value: db}, {name: PGUSER, value: b}"),
        (
            "{name: DB_HOST, value: db}, {name: DB_PORT, value: '5432'}",
            "{name: DB_HOST, value: db}, {name: DB_PORT, value: '5433'}",
        ),
        ("{name: DB_HOST, value: localhost}", "{name: DB_HOST, value: localhost}"),
        ("{name: DB_HOST, value: $(HOST)}", "{name: DB_HOST, value: $(HOST)}"),
        (
            "{name: DB_HOST, valueFrom: {secretKeyRef: {name: s, key: host}}}, {name: DB_NAME, value: a}",
            "{name: DB_HOST, valueFrom: {secretKeyRef: {name: s, key: host}}}, {name: DB_NAME, value: b}",
        ),
        (
            "{name: DB_PASSWORD, valueFrom: {secretKeyRef: {name: s, key: p}}}",
            "{name: DB_PASSWORD, valueFrom: {secretKeyRef: {name: s, key: p}}}",
        ),
        (
            "{name: DB_CONNECTION_STRING, value: 'Server=db;Database=a'}",
            "{name: DB_CONNECTION_STRING, value: 'Server=db;Database=b'}",
        ),
        (
            "{name: DATABASE_URL, value: 'sqlite:///data/app.db'}",
            "{name: DATABASE_URL, value: 'sqlite:///data/app.db'}",
        ),
    ] {
        assert_eq!(pair(&env(one), &env(two)), Vec::<String>::new());
    }
    let named_elsewhere =
        |secret: &str| format!("env: [{{name: DB_HOST, value: db}}]\n  envFrom: [{{secretRef: {{name: {secret}}}}}]");
    assert_eq!(pair(&named_elsewhere("one"), &named_elsewhere("two")), Vec::<String>::new());
}
