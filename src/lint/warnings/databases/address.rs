//! Addresses of databases, without credentials and options, so that they can be compared and shown.

use crate::lint::warnings::addresses::is_bare_name;

/// What URLs and keys of a connection string call the host.
const HOST_KEYS: [&str; 6] = ["addr", "address", "data source", "host", "hostaddr", "server"];
/// What they call the database.
const NAME_KEYS: [&str; 4] = ["database", "databasename", "dbname", "initial catalog"];
/// How addresses of files begin, which every pod has of its own.
const FILES: [&str; 4] = ["file:", "jdbc:h2:", "jdbc:sqlite:", "sqlite:"];
/// Hosts that are another one in every pod.
const OWN_HOSTS: [&str; 4] = ["", "127.0.0.1", "[::1]", "localhost"];

/// Where a database is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Address {
    /// Host and database, or the Secret or ConfigMap that names them.
    pub place: String,
    port: Option<u16>,
}

impl Address {
    /// A place that has no port.
    pub fn new(place: impl Into<String>) -> Self {
        Self { place: place.into(), port: None }
    }

    /// Whether both are one database; a port that is not given may be any.
    pub fn is_same(&self, other: &Self) -> bool {
        let unlike = self.port.zip(other.port).is_some_and(|(one, two)| one != two);
        self.place == other.place && !unlike
    }
}

/// The address in a URL or a connection string of a service in that namespace.
pub(super) fn read(text: &str, namespace: &str) -> Option<Address> {
    if FILES.iter().any(|file| text.starts_with(file)) {
        return None;
    }
    let Some((_, rest)) = text.split_once("://") else {
        return if text.contains(';') || has_pairs(text) { of_pairs(text, namespace) } else { of_url(text, namespace) };
    };
    of_url(rest, namespace)
}

/// Whether the text is one of pairs, such as `host=db dbname=orders`.
fn has_pairs(text: &str) -> bool {
    text.split_whitespace().all(|pair| pair.contains('=')) && !text.contains(['@', '?'])
}

/// The address in a connection string of pairs, which `;` or spaces part.
fn of_pairs(text: &str, namespace: &str) -> Option<Address> {
    let host = pair(text, &HOST_KEYS)?;
    // As SQL Server writes it: tcp:db,1433
    let host = host.strip_prefix("tcp:").unwrap_or(host);
    let (host, port) = host.split_once(',').map_or((host, pair(text, &["port"])), |(host, port)| (host, Some(port)));
    of_parts(host, port, pair(text, &NAME_KEYS).unwrap_or_default(), namespace)
}

fn pair<'a>(text: &'a str, keys: &[&str]) -> Option<&'a str> {
    let separators: &[char] = if text.contains([';', '&']) { &[';', '&'] } else { &[' '] };
    text.split(separators)
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| keys.contains(&key.trim().to_ascii_lowercase().as_str()))
        .map(|(_, value)| value.trim())
}

/// The address in a URL without its scheme. What stands before the last `@` are credentials, whatever is in them.
fn of_url(url: &str, namespace: &str) -> Option<Address> {
    let rest = url.rsplit('@').next()?;
    let (place, options) = rest.split_once(['?', '#', ';']).unwrap_or((rest, ""));
    let (authority, path) = place.split_once('/').unwrap_or((place, ""));
    // As Go's client of MySQL writes it: tcp(db:3306)
    let authority = authority.strip_prefix("tcp(").and_then(|host| host.strip_suffix(')')).unwrap_or(authority);
    let path = path.trim_end_matches('/');
    let or_option =
        |part, keys: &[&str]| if str::is_empty(part) { pair(options, keys).unwrap_or_default() } else { part };
    of_parts(or_option(authority, &HOST_KEYS), None, or_option(path, &NAME_KEYS), namespace)
}

/// The address of host, port and database. `None` for hosts that are another one in every pod, and for what other
/// variables say.
pub(super) fn of_parts(host: &str, port: Option<&str>, name: &str, namespace: &str) -> Option<Address> {
    let host = host.trim().to_ascii_lowercase();
    let (host, own) = match host.rsplit_once(':').map(|(host, port)| (host, port.parse())) {
        Some((host, Ok(port))) => (host, Some(port)),
        _ => (host.as_str(), None),
    };
    if OWN_HOSTS.contains(&host) || [host, name].iter().any(|part| part.contains("$(")) {
        return None;
    }
    let host = in_namespace(host, namespace);
    let place = if name.is_empty() { host } else { format!("{host}/{name}") };
    Some(Address { place, port: own.or_else(|| port?.parse().ok()) })
}

/// One host, or several with commas between them, as pods of that namespace find them: Services become
/// `name.namespace`, in whichever form they are written. Other hosts stay as they are, and so does `db.example`, be it
/// of a namespace `example` or of the world: pods ask for the former first, and it is the same in all namespaces.
pub(super) fn in_namespace(hosts: &str, namespace: &str) -> String {
    let of_one = |host: &str| {
        let (name, rest) = host.split_at(host.find(':').unwrap_or(host.len()));
        match *name.split('.').collect::<Vec<&str>>() {
            [service] if is_bare_name(service) => format!("{service}.{namespace}{rest}"),
            [service, of, "svc"] | [service, of, "svc", "cluster", "local"] => format!("{service}.{of}{rest}"),
            _ => host.to_owned(),
        }
    };
    hosts.split(',').map(of_one).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_clients_read() {
        for (text, place, port) in [
            ("postgres://u:p@db.Shop:5432/orders?ssl=1", "db.shop/orders", Some(5432)),
            ("postgres://u:p@ss/w#?rd@db/orders", "db.shop/orders", None),
            ("postgres:///orders?host=db", "db.shop/orders", None),
            ("mongodb+srv://u:p@m.example/x/", "m.example/x", None),
            ("jdbc:sqlserver://db:1433;databaseName=orders;password=p", "db.shop/orders", Some(1433)),
            ("jdbc:oracle:thin:@db:1521:orders", "db.shop:1521:orders", None),
            ("Server=tcp:db,1433;Initial Catalog=orders;Password=p", "db.shop/orders", Some(1433)),
            ("Data Source=db;Database=orders", "db.shop/orders", None),
            ("host=db port=5432 dbname=orders password=p", "db.shop/orders", Some(5432)),
            ("u:p@tcp(db:3306)/orders?parseTime=true", "db.shop/orders", Some(3306)),
            ("db:5432/orders", "db.shop/orders", Some(5432)),
            ("db", "db.shop", None),
        ] {
            assert_eq!(read(text, "shop"), Some(Address { place: place.to_owned(), port }), "{text}");
        }
        for text in [
            "",
            "sqlite:///data/app.db",
            "jdbc:h2:mem:test",
            "postgres://u:p@localhost:5432/orders",
            "mysql://[::1]/orders",
            "postgres://u:p@$(HOST)/orders",
            "password=p user=u",
        ] {
            assert_eq!(read(text, "shop"), None, "{text}");
        }
    }

    #[test]
    fn brings_services_to_one_form_and_leaves_the_world_as_it_is() {
        for (host, place) in [
            ("db", "db.shop"),
            ("db.staging", "db.staging"),
            ("db.staging.svc", "db.staging"),
            ("DB.staging.svc.cluster.local", "db.staging"),
            ("m-0.m.staging.svc.cluster.local", "m-0.m.staging.svc.cluster.local"),
            ("m-0:27017,m-1.staging.svc:27017,m-2", "m-0.shop:27017,m-1.staging:27017,m-2.shop"),
            ("db.example", "db.example"),
            ("db.example.com", "db.example.com"),
            ("10.1.2.3", "10.1.2.3"),
            ("[fd00::1]", "[fd00::1]"),
            ("/cloudsql/a:b:c", "/cloudsql/a:b:c"),
        ] {
            let expected = Some(Address { place: place.to_owned(), port: None });
            assert_eq!(of_parts(host, None, "", "shop"), expected, "{host}");
        }
    }

    #[test]
    fn takes_a_port_that_is_not_given_for_any() {
        let read = |text: &str| read(text, "shop");
        let same = |one: &str, two: &str| read(one).zip(read(two)).is_some_and(|(one, two)| one.is_same(&two));
        assert!(same("db:5432/a", "db/a") && same("db/a", "db:5432/a") && same("db:1/a", "db:1/a"));
        assert!(!same("db:5432/a", "db:5433/a") && !same("db/a", "db/b") && !same("db", "db/b"));
    }
}
