//! Images made without Docker: a program with the libraries that it needs, as an OCI layout in a tar file.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The image of pods' sandboxes.
pub const PAUSE: &str = "devcluster.test/pause:1";
/// The user that images run as.
pub const USER: u32 = 65532;

/// An image could not be made or loaded.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A file can't be used.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A program said no.
    #[error("`{command}` failed: {message}")]
    Failed {
        /// The command.
        command: String,
        /// What it said.
        message: String,
    },
    /// The content could not be packed.
    #[error("cannot pack an image: {0}")]
    Pack(#[from] io::Error),
}

/// An image of one program.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its references, such as `registry.example/order-service:1.4.2`.
    pub references: Vec<String>,
    /// The program on this machine; at `/<file name>` in the image.
    pub program: PathBuf,
    /// Arguments before those that a pod gives.
    pub arguments: Vec<String>,
    /// Variables as `NAME=value`.
    pub environment: Vec<String>,
}

/// What one tar file is made of, so that programs shared by images are packed once.
struct Layout {
    tar: tar::Builder<Vec<u8>>,
    blobs: Vec<String>,
    manifests: Vec<Value>,
}

/// Packs images into one OCI layout.
pub fn pack(images: &[Image]) -> Result<Vec<u8>, ImageError> {
    let mut layout = Layout { tar: tar::Builder::new(Vec::new()), blobs: Vec::new(), manifests: Vec::new() };
    layout.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let mut layers: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    for image in images {
        if !layers.iter().any(|(program, _)| *program == image.program) {
            layers.push((image.program.clone(), layer(&image.program)?));
        }
        let layer = layers.iter().find(|(program, _)| *program == image.program).map(|(_, layer)| layer.as_slice());
        layout.image(image, layer.unwrap_or_default())?;
    }
    let manifests = layout.manifests.clone();
    let index =
        json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests});
    layout.file("index.json", index.to_string().as_bytes())?;
    Ok(layout.tar.into_inner()?)
}

impl Layout {
    fn file(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        append(&mut self.tar, path, content, 0o644)
    }

    fn blob(&mut self, media_type: &str, content: &[u8]) -> io::Result<Value> {
        let digest = digest(content);
        if !self.blobs.contains(&digest) {
            self.file(&format!("blobs/sha256/{digest}"), content)?;
            self.blobs.push(digest.clone());
        }
        Ok(json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": content.len()}))
    }

    fn image(&mut self, image: &Image, layer: &[u8]) -> io::Result<()> {
        let name = image.program.file_name().unwrap_or_default().to_string_lossy();
        let entrypoint: Vec<String> = [format!("/{name}")].into_iter().chain(image.arguments.clone()).collect();
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {"Entrypoint": entrypoint, "Env": image.environment, "User": USER.to_string(), "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", digest(layer))]},
        });
        let config = self.blob("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes())?;
        let layer = self.blob("application/vnd.oci.image.layer.v1.tar", layer)?;
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [layer]});
        let manifest = self.blob(media_type, manifest.to_string().as_bytes())?;
        for reference in &image.references {
            let mut named = manifest.clone();
            named["annotations"] =
                json!({"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": reference});
            self.manifests.push(named);
        }
        Ok(())
    }
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        "x86_64" => "amd64",
        other => other,
    }
}

fn digest(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn append(tar: &mut tar::Builder<Vec<u8>>, path: &str, content: &[u8], mode: u32) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(u64::try_from(content.len()).unwrap_or(u64::MAX));
    header.set_mode(mode);
    header.set_cksum();
    tar.append_data(&mut header, path, content)
}

/// A file system of the program, the libraries that the dynamic linker loads for it, and an empty `/tmp`.
fn layer(program: &Path) -> Result<Vec<u8>, ImageError> {
    let mut tar = tar::Builder::new(Vec::new());
    let read = |path: &Path| {
        std::fs::read(path).map_err(|source| ImageError::File { action: "read", path: path.to_owned(), source })
    };
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    append(&mut tar, &name, &read(program)?, 0o755)?;
    for library in libraries(program)? {
        let inside = library.display().to_string();
        append(&mut tar, inside.trim_start_matches('/'), &read(&library)?, 0o755)?;
    }
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_mode(0o1777);
    header.set_size(0);
    header.set_cksum();
    tar.append_data(&mut header, "tmp/", io::empty())?;
    append(&mut tar, "etc/passwd", format!("app:x:{USER}:{USER}::/:/\n").as_bytes(), 0o644)?;
    Ok(tar.into_inner()?)
}

/// The libraries of a program, by their paths. A static program has none.
fn libraries(program: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let text = output(Command::new("ldd").arg(program)).or_else(|error| match error {
        ImageError::Failed { message, .. } if message.contains("not a dynamic executable") => Ok(String::new()),
        other => Err(other),
    })?;
    Ok(paths_in(&text))
}

/// `libc.so.6 => /lib/libc.so.6 (0x…)` and `/lib64/ld-linux-x86-64.so.2 (0x…)`.
fn paths_in(ldd: &str) -> Vec<PathBuf> {
    let words = |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from);
    ldd.lines().filter_map(words).collect()
}

fn output(command: &mut Command) -> Result<String, ImageError> {
    let text = format!("{command:?}");
    let failed = |message: String| ImageError::Failed { command: text.clone(), message };
    let output = command.output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(failed(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim().to_owned()))
}

/// Loads a packed layout into the containerd of a node whose mounts the holder has.
pub fn load(holder: i32, layout: &[u8]) -> Result<(), ImageError> {
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--mount=/proc/{holder}/ns/mnt"))
        .args(["--", "ctr", "--address", crate::components::containerd::SOCKET, "--namespace", "k8s.io"])
        .args(["images", "import", "--snapshotter", "overlayfs", "-"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let text = "ctr images import".to_owned();
    let failed = |message: String| ImageError::Failed { command: text.clone(), message };
    let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
    let written = child.stdin.take().map(|mut input| input.write_all(layout));
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    match (output.status.success(), written) {
        (true, Some(Ok(()))) => Ok(()),
        _ => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn libraries_are_the_paths_that_ldd_names() {
        let text = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x2)\n\t/lib64/ld-linux.so.2 (0x3)\n";
        assert_eq!(paths_in(text), [PathBuf::from("/lib/x/libc.so.6"), PathBuf::from("/lib64/ld-linux.so.2")]);
    }

    #[test]
    fn a_layout_names_every_reference_and_packs_a_program_once() {
        let program = PathBuf::from("/bin/true");
        let image = |reference: &str| Image {
            references: vec![reference.into(), format!("{reference}-too")],
            program: program.clone(),
            arguments: vec!["serve".into()],
            environment: vec![format!("IMAGE={reference}")],
        };
        let packed = pack(&[image("a.test/a:1"), image("a.test/a:2")]).unwrap();
        let mut files = std::collections::BTreeMap::new();
        for entry in tar::Archive::new(packed.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            assert!(files.insert(path.clone(), content).is_none(), "{path} is packed twice");
        }
        let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        let names: Vec<_> = index["manifests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["annotations"]["io.containerd.image.name"].clone())
            .collect();
        assert_eq!(names, ["a.test/a:1", "a.test/a:1-too", "a.test/a:2", "a.test/a:2-too"]);
        for (path, content) in files.iter().filter(|(path, _)| path.starts_with("blobs/")) {
            assert_eq!(*path, format!("blobs/sha256/{}", digest(content)));
        }
        assert_eq!(
            files.keys().filter(|path| path.starts_with("blobs/")).count(),
            5,
            "a layer, two configs, two manifests"
        );
    }
}
