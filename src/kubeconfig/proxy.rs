//! The proxy on the way to the API server, chosen as kubectl does: `proxy-url` of the kubeconfig, else `HTTPS_PROXY` unless
//! `NO_PROXY` has the server.
//!
//! kube's own choice compares `NO_PROXY` with the host of the proxy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hyper::Uri;
use kube::config::{Kubeconfig, KubeconfigError};

use crate::validate::syntax::is_loopback;

use super::Error;

/// Schemes of the proxies that the client can use.
const SCHEMES: [&str; 3] = ["http", "https", "socks5"];
/// Port of a server whose URL has none.
const HTTPS: u16 = 443;

/// `proxy-url` of the cluster of a context, or of the current context.
pub(super) fn written<'a>(kubeconfig: &'a Kubeconfig, context: Option<&str>) -> Option<&'a str> {
    let name = context.or(kubeconfig.current_context.as_deref())?;
    let context = kubeconfig.contexts.iter().find(|it| it.name == name)?.context.as_ref()?;
    let cluster = kubeconfig.clusters.iter().find(|it| it.name == context.cluster)?.cluster.as_ref()?;
    cluster.proxy_url.as_deref().filter(|url| !url.is_empty())
}

/// The proxy for a server. `variable` reads the environment, which counts for servers with TLS.
///
/// # Errors
/// When the client cannot use it.
pub(super) fn chosen(
    written: Option<&str>,
    variable: impl Fn(&str) -> Option<String>,
    server: &Uri,
) -> Result<Option<Uri>, Error> {
    if let Some(url) = written {
        return parsed("proxy-url of the kubeconfig", url).map(Some);
    }
    let set = |names: [&'static str; 2]| {
        names.into_iter().find_map(|name| Some((name, variable(name).filter(|value| !value.is_empty())?)))
    };
    let Some((name, url)) = set(["HTTPS_PROXY", "https_proxy"]) else { return Ok(None) };
    let exempt = set(["NO_PROXY", "no_proxy"]).map(|(_, hosts)| hosts).unwrap_or_default();
    if server.scheme_str() != Some("https") || is_direct(server, &exempt) {
        return Ok(None);
    }
    parsed(name, &url).map(Some)
}

/// What kube's own choice of a proxy fails for; what else is wrong with a kubeconfig stays that.
pub(super) fn unread(error: KubeconfigError) -> Error {
    match error {
        KubeconfigError::ParseNoProxy(_) => Error::Proxy(
            "NO_PROXY cannot be read: write hosts, addresses and networks, with one comma between each, and none at the \
             end"
            .to_owned(),
        ),
        KubeconfigError::ParseProxyUrl(why) => {
            Error::Proxy(format!("the proxy of proxy-url in the kubeconfig, or else of HTTPS_PROXY, is no URL: {why}"))
        }
        error => error.into(),
    }
}

/// Host and port of a proxy, without credentials.
pub fn shown(proxy: &Uri) -> String {
    let authority = proxy.authority().map_or("", |authority| authority.as_str());
    authority.rsplit('@').next().unwrap_or_default().to_owned()
}

/// A proxy as the client takes it. What is wrong is told without the URL, which may have a password.
fn parsed(place: &str, url: &str) -> Result<Uri, Error> {
    let unusable = |why: &str| Error::Proxy(format!("the proxy of {place} cannot be used: {why}"));
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let scheme = scheme.to_ascii_lowercase();
    // The proxy resolves names either way.
    let scheme = if scheme == "socks5h" { "socks5" } else { scheme.as_str() };
    if !SCHEMES.contains(&scheme) {
        return Err(unusable("its URL begins with none of http://, https:// and socks5://"));
    }
    format!("{scheme}://{rest}").parse::<Uri>().map_err(|error| unusable(&error.to_string()))
}

/// Whether a server is reached without a proxy: it is on this machine, or `NO_PROXY` has it.
fn is_direct(server: &Uri, exempt: &str) -> bool {
    let Some(host) = server.host() else { return false };
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    let ip = host.parse::<IpAddr>().ok();
    let port = server.port_u16().unwrap_or(HTTPS);
    is_loopback(&host) || exempt.to_ascii_lowercase().split(',').any(|entry| covers(entry.trim(), &host, ip, port))
}

/// Whether an entry of `NO_PROXY` has a host: `*`, a network, an address, a domain with those below it, or with `.` or
/// `*.` in front only those below it. Addresses and domains may have a port.
fn covers(entry: &str, host: &str, ip: Option<IpAddr>, port: u16) -> bool {
    if entry == "*" || ip.is_some_and(|ip| is_within(entry, ip)) {
        return true;
    }
    let (name, only) = host_and_port(entry);
    if name.is_empty() || only.is_some_and(|only| only != port.to_string()) {
        return false;
    }
    if ip.is_some() && name.parse::<IpAddr>().ok() == ip {
        return true;
    }
    let below = name.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(name);
    if below.starts_with('.') {
        return host.ends_with(below);
    }
    host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Whether an entry is a network that has an address.
fn is_within(entry: &str, ip: IpAddr) -> bool {
    let Some((address, length)) = entry.split_once('/') else { return false };
    let (Ok(address), Ok(length)) = (address.parse::<IpAddr>(), length.parse::<u32>()) else { return false };
    match (ip, address) {
        (IpAddr::V4(ip), IpAddr::V4(address)) => {
            let network = |it: Ipv4Addr, rest| u32::from(it).checked_shr(rest);
            u32::BITS.checked_sub(length).is_some_and(|rest| network(ip, rest) == network(address, rest))
        }
        (IpAddr::V6(ip), IpAddr::V6(address)) => {
            let network = |it: Ipv6Addr, rest| u128::from(it).checked_shr(rest);
            u128::BITS.checked_sub(length).is_some_and(|rest| network(ip, rest) == network(address, rest))
        }
        _ => false,
    }
}

/// Host and port of an entry. An IPv6 address has a port only in brackets.
fn host_and_port(entry: &str) -> (&str, Option<&str>) {
    let (host, port) = match entry.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (entry, None),
    };
    (host.trim_matches(['[', ']']), port.filter(|port| !port.is_empty()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PROXY: (&str, &str) = ("HTTPS_PROXY", "http://mia:s3cret@proxy.example:3128");

    fn of(written: Option<&str>, variables: &[(&str, &str)], server: &str) -> Result<Option<String>, String> {
        let variable =
            |name: &str| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
        let chosen = chosen(written, variable, &server.parse().unwrap()).map_err(|error| error.to_string())?;
        Ok(chosen.map(|proxy| proxy.to_string().trim_end_matches('/').to_owned()))
    }

    fn is_exempt(entries: &str, server: &str) -> bool {
        of(None, &[PROXY, ("NO_PROXY", entries)], server).unwrap().is_none()
    }

    #[test]
    fn the_kubeconfig_is_asked_before_the_environment() {
        let server = "https://api.example:6443";
        let some = |url: &str| Ok(Some(url.to_owned()));
        let all = ("NO_PROXY", "*");
        assert_eq!(of(Some("socks5://10.0.0.1:1080"), &[PROXY, all], server), some("socks5://10.0.0.1:1080"));
        assert_eq!(of(None, &[PROXY], server), some(PROXY.1));
        assert_eq!(of(None, &[PROXY, all], server), Ok(None));
        assert_eq!(of(None, &[], server), Ok(None));
        let lower = [("HTTPS_PROXY", ""), ("https_proxy", "proxy.example:3128"), ("no_proxy", "example.org")];
        assert_eq!(of(None, &lower, server), some("http://proxy.example:3128"));
        assert_eq!(
            of(None, &[("HTTPS_PROXY", "socks5h://proxy.example:1080")], server),
            some("socks5://proxy.example:1080")
        );
        assert_eq!(of(None, &[PROXY], "http://api.example"), Ok(None), "it is for servers with TLS");
    }

    #[test]
    fn the_proxy_is_that_of_the_context() {
        let cluster =
            |name: &str, proxy: &str| json!({"name": name, "cluster": {"server": "https://x", "proxy-url": proxy}});
        let context = |name: &str, cluster: &str| json!({"name": name, "context": {"cluster": cluster, "user": "x"}});
        let kubeconfig: Kubeconfig = serde_json::from_value(json!({
            "current-context": "a",
            "clusters": [cluster("one", "http://one"), cluster("two", "http://two"), cluster("three", "")],
            "contexts": [context("a", "two"), context("b", "one"), context("c", "three"), context("d", "none")],
        }))
        .unwrap();
        for (named, proxy) in [
            (None, Some("http://two")),
            (Some("b"), Some("http://one")),
            (Some("c"), None),
            (Some("d"), None),
            (Some("e"), None),
        ] {
            assert_eq!(written(&kubeconfig, named), proxy, "{named:?}");
        }
    }

    #[test]
    fn no_proxy_is_about_the_server() {
        for (entries, server) in [
            ("", "https://localhost:6443"),
            ("", "https://127.0.0.7"),
            ("", "https://[::1]:6443"),
            ("*", "https://api.example"),
            ("a.org, API.example ,", "https://api.example:6443"),
            ("example", "https://api.example"),
            (".example", "https://api.example"),
            ("*.example", "https://api.example"),
            ("api.example:6443", "https://API.example:6443"),
            ("api.example:443", "https://api.example"),
            ("10.1.2.3", "https://10.1.2.3:6443"),
            ("10.1.2.3:6443", "https://10.1.2.3:6443"),
            ("a.org,10.0.0.0/8", "https://10.1.2.3"),
            ("0.0.0.0/0", "https://10.1.2.3"),
            ("fd00::/8", "https://[fd12::1]:6443"),
            ("fd12:0::1", "https://[fd12::1]"),
            ("[fd12::1]:6443", "https://[fd12::1]:6443"),
        ] {
            assert!(is_exempt(entries, server), "{entries:?} has {server}");
        }
        for (entries, server) in [
            ("", "https://api.example"),
            (",,", "https://api.example."),
            ("proxy.example", "https://api.example"),
            ("pi.example", "https://api.example"),
            (".api.example", "https://api.example"),
            ("*.api.example", "https://api.example"),
            ("api.example:443", "https://api.example:6443"),
            ("10.1.2.3:443", "https://10.1.2.3:6443"),
            ("10.0.0.0/8", "https://11.1.2.3"),
            ("10.0.0.0/33", "https://10.0.0.0"),
            ("10.0.0.0/8", "https://[fd12::1]"),
            ("fd00::/16", "https://[fd12::1]"),
            ("/var/run/docker.sock", "https://api.example"),
        ] {
            assert!(!is_exempt(entries, server), "{entries:?} has not {server}");
        }
    }

    #[test]
    fn credentials_are_not_told() {
        assert_eq!(shown(&PROXY.1.parse().unwrap()), "proxy.example:3128");
        assert_eq!(shown(&"socks5://[fd12::1]:1080".parse().unwrap()), "[fd12::1]:1080");
        for url in ["ftp://mia:s3cret@proxy.example", "http://mia:s3cret^@proxy.example"] {
            for (written, variables) in [(Some(url), &[][..]), (None, &[("HTTPS_PROXY", url)][..])] {
                let told = of(written, variables, "https://api.example").unwrap_err();
                assert!(told.starts_with("the proxy of ") && !told.contains("s3cret"), "{told}");
            }
        }
    }
}
