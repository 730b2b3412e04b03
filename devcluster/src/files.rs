//! Files that are never seen half-written, and that only their owner reads.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process;

use tempfile::NamedTempFile;

/// Writes a whole file, readable by its owner alone, in one step.
pub fn write_atomically(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(content)?;
    file.persist(path)?;
    Ok(())
}

/// Creates a folder, which must not exist yet, for its owner alone.
pub fn create_private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path)
}

/// Removes a folder; that it is gone already is as good. Its name is free at once, before its content is gone.
pub fn remove_dir(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut hidden = OsString::from(format!(".removing-{}-", process::id()));
    hidden.push(name);
    let hidden = parent.join(hidden);
    match fs::rename(path, &hidden).and_then(|()| fs::remove_dir_all(&hidden)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
