//! What a request to an API server is about.

use http::{Method, Uri};

/// A request, as far as its method and address tell.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Asked {
    /// What it does.
    pub verb: Verb,
    /// The resource in the plural, such as `deployments`, with its subresource, such as `deployments/scale`. For what is no
    /// resource, such as `/version`: the path.
    pub resource: String,
    /// The object; empty for those of a whole kind. A list may be of one object by its name, too.
    pub name: String,
}

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Reads one object.
    Get,
    /// Reads those of a kind.
    List,
    /// Follows those of a kind.
    Watch,
    /// POST.
    Create,
    /// PUT.
    Update,
    /// PATCH.
    Patch,
    /// DELETE.
    Delete,
}

/// Selects one object by its name.
const BY_NAME: &str = "fieldSelector=metadata.name%3D";

impl Asked {
    /// Reads a request's method and address.
    pub fn of(method: &Method, uri: &Uri) -> Self {
        let parts: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
        let below = match parts.as_slice() {
            ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
            _ => &[],
        };
        let object = match below {
            ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
            all => all,
        };
        let (resource, name) = match object {
            [] => (uri.path().to_owned(), ""),
            [kind] => ((*kind).to_owned(), ""),
            [kind, name] => ((*kind).to_owned(), *name),
            [kind, name, further @ ..] => (format!("{kind}/{}", further.join("/")), *name),
        };
        let named = uri.query().into_iter().flat_map(|query| query.split('&')).find_map(|it| it.strip_prefix(BY_NAME));
        let watches = uri.query().is_some_and(|query| query.split('&').any(|it| it == "watch=true" || it == "watch=1"));
        let verb = match *method {
            Method::POST => Verb::Create,
            Method::PUT => Verb::Update,
            Method::PATCH => Verb::Patch,
            Method::DELETE => Verb::Delete,
            _ if watches => Verb::Watch,
            _ if name.is_empty() && !object.is_empty() => Verb::List,
            _ => Verb::Get,
        };
        Self { verb, resource, name: named.unwrap_or(name).to_owned() }
    }

    /// Whether it changes something. Questions that are asked by a POST do not.
    pub fn writes(&self) -> bool {
        let asks = self.resource.ends_with("reviews");
        !asks && !matches!(self.verb, Verb::Get | Verb::List | Verb::Watch)
    }
}

/// The namespace that an address is in; empty for none.
pub fn namespace_of(uri: &Uri) -> String {
    let mut parts = uri.path().split('/').skip_while(|part| *part != "namespaces").skip(1);
    parts.next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &Method, uri: &str) -> (Verb, String, String) {
        let Asked { verb, resource, name } = Asked::of(method, &uri.parse().unwrap());
        (verb, resource, name)
    }

    #[test]
    fn requests_are_told_apart() {
        let cases = [
            (Method::GET, "/api/v1/namespaces/a/pods?limit=5", Verb::List, "pods", ""),
            (Method::GET, "/api/v1/pods?fieldSelector=metadata.name%3Db", Verb::List, "pods", "b"),
            (Method::GET, "/api/v1/pods?fieldSelector=metadata.name%21%3Db", Verb::List, "pods", ""),
            (Method::GET, "/api/v1/pods?watch=true&resourceVersion=1", Verb::Watch, "pods", ""),
            (Method::GET, "/api/v1/namespaces/a", Verb::Get, "namespaces", "a"),
            (Method::GET, "/apis/apps/v1/namespaces/a/deployments/b", Verb::Get, "deployments", "b"),
            (Method::PATCH, "/apis/apps/v1/namespaces/a/deployments/b/scale", Verb::Patch, "deployments/scale", "b"),
            (Method::POST, "/api/v1/namespaces/a/events", Verb::Create, "events", ""),
            (Method::PUT, "/api/v1/namespaces/a/services/b", Verb::Update, "services", "b"),
            (Method::DELETE, "/api/v1/namespaces/a/services/b", Verb::Delete, "services", "b"),
            (Method::GET, "/version", Verb::Get, "/version", ""),
            (Method::GET, "/apis/apps/v1", Verb::Get, "/apis/apps/v1", ""),
        ];
        for (method, uri, verb, resource, name) in cases {
            assert_eq!(asked(&method, uri), (verb, resource.to_owned(), name.to_owned()), "{method} {uri}");
        }
    }

    #[test]
    fn a_request_is_in_the_namespace_of_its_address() {
        for (uri, namespace) in [
            ("/api/v1/namespaces/a/pods?limit=5", "a"),
            ("/apis/apps/v1/namespaces/a/deployments/b", "a"),
            ("/api/v1/pods?watch=true", ""),
            ("/version", ""),
        ] {
            assert_eq!(namespace_of(&uri.parse().unwrap()), namespace, "{uri}");
        }
    }

    #[test]
    fn a_question_that_is_posted_is_no_write() {
        let asked = |uri: &str| Asked::of(&Method::POST, &uri.parse().unwrap());
        assert!(!asked("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews").writes());
        assert!(asked("/api/v1/namespaces/a/events").writes());
    }
}
