//! Keys, certificates and tokens of one cluster.

use std::io;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

use crate::files;

/// Credentials could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A certificate was refused.
    #[error("cannot make the cluster's {what}: {source}")]
    Certificate {
        /// Which.
        what: &'static str,
        /// Why not.
        source: rcgen::Error,
    },
    /// No randomness.
    #[error("cannot make a secret: the system gives no random numbers: {0}")]
    Random(#[source] getrandom::Error),
    /// A file was not written.
    #[error("cannot write {}: {source}; check that the state folder is writable", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The files of a cluster's credentials, below its folder.
#[derive(Debug, Clone)]
pub struct Pki {
    folder: PathBuf,
}

impl Pki {
    /// The paths below a cluster's folder.
    pub fn below(cluster: &Path) -> Self {
        Self { folder: cluster.join("pki") }
    }

    /// The certificate of the authority that signed everything else.
    pub fn ca_certificate(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// The authority's key, with which the cluster signs certificate requests.
    pub fn ca_key(&self) -> PathBuf {
        self.folder.join("ca.key")
    }

    /// The API server's certificate.
    pub fn server_certificate(&self) -> PathBuf {
        self.folder.join("apiserver.crt")
    }

    /// The API server's key.
    pub fn server_key(&self) -> PathBuf {
        self.folder.join("apiserver.key")
    }

    /// The certificate by which the API server is known to the kubelet.
    pub fn kubelet_client_certificate(&self) -> PathBuf {
        self.folder.join("kubelet-client.crt")
    }

    /// Its key.
    pub fn kubelet_client_key(&self) -> PathBuf {
        self.folder.join("kubelet-client.key")
    }

    /// The key that signs service account tokens.
    pub fn service_account_key(&self) -> PathBuf {
        self.folder.join("service-accounts.key")
    }

    /// The public half of it, by which they are checked.
    pub fn service_account_public_key(&self) -> PathBuf {
        self.folder.join("service-accounts.pub")
    }

    /// The API server's list of static tokens.
    pub fn token_file(&self) -> PathBuf {
        self.folder.join("tokens.csv")
    }

    /// Makes all of it anew.
    pub fn create(&self, users: &[User]) -> Result<(), PkiError> {
        self.write_folder()?;
        let certificate = |what| move |source| PkiError::Certificate { what, source };

        let ca_key = KeyPair::generate().map_err(certificate("authority's key"))?;
        let ca_params = authority().map_err(certificate("authority"))?;
        let ca = ca_params.self_signed(&ca_key).map_err(certificate("authority"))?;
        self.write(&self.ca_certificate(), ca.pem())?;
        self.write(&self.ca_key(), ca_key.serialize_pem())?;

        let server_key = KeyPair::generate().map_err(certificate("API server key"))?;
        let issuer = Issuer::new(ca_params, ca_key);
        let server = server()
            .and_then(|params| params.signed_by(&server_key, &issuer))
            .map_err(certificate("API server certificate"))?;
        self.write(&self.server_certificate(), server.pem())?;
        self.write(&self.server_key(), server_key.serialize_pem())?;

        let client_key = KeyPair::generate().map_err(certificate("kubelet client key"))?;
        let client = client()
            .and_then(|params| params.signed_by(&client_key, &issuer))
            .map_err(certificate("kubelet client certificate"))?;
        self.write(&self.kubelet_client_certificate(), client.pem())?;
        self.write(&self.kubelet_client_key(), client_key.serialize_pem())?;

        let account_key = KeyPair::generate().map_err(certificate("service account key"))?;
        self.write(&self.service_account_key(), account_key.serialize_pem())?;
        self.write(&self.service_account_public_key(), account_key.public_key_pem())?;
        self.write(&self.token_file(), users.iter().map(User::csv_line).collect())
    }

    fn write_folder(&self) -> Result<(), PkiError> {
        files::create_private_dir(&self.folder).map_err(|source| PkiError::Write { path: self.folder.clone(), source })
    }

    fn write(&self, path: &Path, content: String) -> Result<(), PkiError> {
        files::write_atomically(path, content.as_bytes())
            .map_err(|source| PkiError::Write { path: path.to_owned(), source })
    }
}

fn authority() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "devcluster");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    Ok(params)
}

fn client() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

/// The names under which the API server is reached: from this machine, and from pods.
const SERVER_NAMES: [&str; 6] =
    ["127.0.0.1", "localhost", "10.96.0.1", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];

fn server() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(SERVER_NAMES.map(str::to_owned))?;
    params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

/// A user with a static token.
#[derive(Debug, Clone)]
pub struct User {
    /// The user's name, as the audit log shows it.
    pub name: String,
    /// The user's groups.
    pub groups: Vec<String>,
    /// The secret.
    pub token: String,
}

impl User {
    /// A user with a token of its own.
    pub fn new(name: impl Into<String>, groups: &[&str]) -> Result<Self, PkiError> {
        let groups = groups.iter().map(|&group| group.to_owned()).collect();
        Ok(Self { name: name.into(), groups, token: random_token()? })
    }

    fn csv_line(&self) -> String {
        format!("{},{},{},\"{}\"\n", self.token, self.name, self.name, self.groups.join(","))
    }
}

fn random_token() -> Result<String, PkiError> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(PkiError::Random)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_line_is_what_the_api_server_reads() {
        let user = User { name: "eve".into(), groups: vec!["a".into(), "b".into()], token: "secret".into() };
        assert_eq!(user.csv_line(), "secret,eve,eve,\"a,b\"\n");
    }

    #[test]
    fn credentials_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let cluster = tempfile::tempdir().unwrap();
        let pki = Pki::below(cluster.path());
        pki.create(&[User::new("admin", &[]).unwrap()]).unwrap();
        for path in [pki.ca_key(), pki.server_key(), pki.service_account_key(), pki.token_file()] {
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0, "{}", path.display());
        }
    }
}
