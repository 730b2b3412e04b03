//! Which files a path stands for.

use std::{
    io,
    path::{Path, PathBuf},
};

const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// The file itself, or the manifests below a directory in the order of their names.
///
/// Hidden files and directories are left out, and so are directories that are symbolic links, which could form a loop.
pub(super) fn below(path: &Path) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let metadata = std::fs::metadata(path).map_err(|error| (path.to_owned(), error))?;
    if !metadata.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    walk(path, &mut files)?;
    Ok(files)
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) -> Result<(), (PathBuf, io::Error)> {
    let failed = |error| (directory.to_owned(), error);
    let mut entries = std::fs::read_dir(directory).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries.iter().filter(|entry| !entry.file_name().to_string_lossy().starts_with('.')) {
        let path = entry.path();
        if entry.file_type().map_err(failed)?.is_dir() {
            walk(&path, files)?;
        } else if path.extension().is_some_and(|extension| EXTENSIONS.iter().any(|known| extension == *known)) {
            files.push(path);
        }
    }
    Ok(())
}
