//! The folders and files of the repository. The program works on the checkout that contains the current directory.

use std::path::{Path, PathBuf};

use millrace::{Error, Kind, Result};

/// A clone of the repository.
#[derive(Debug, Clone)]
pub struct Checkout {
    root: PathBuf,
}

impl Checkout {
    /// The checkout that contains the current directory, otherwise the one from which this program was built.
    pub fn find() -> Result<Self> {
        let here = std::env::current_dir()
            .map_err(|error| Error::new(Kind::Config, "find the current directory").with_source(error))?;
        let built_from = Path::new(env!("CARGO_MANIFEST_DIR"));
        here.ancestors()
            .chain(built_from.ancestors())
            .find(|folder| {
                folder.join("infra/template.yaml").is_file() && folder.join("Cargo.lock").is_file()
            })
            .map(|root| Checkout { root: root.to_owned() })
            .ok_or_else(|| {
                Error::new(Kind::Config, "this is not a checkout of millrace: change into one first")
            })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder with the SAM template and its configuration.
    pub fn infra(&self) -> PathBuf {
        self.root.join("infra")
    }

    pub fn pipeline(&self) -> PathBuf {
        self.root.join("pipeline")
    }

    /// The binary of a function, which the template deploys.
    pub fn function(&self, name: &str) -> PathBuf {
        self.root.join("target/lambda").join(name).join("bootstrap")
    }

    /// The folder to which the local stack writes.
    pub fn state(&self) -> PathBuf {
        self.root.join(".millrace")
    }

    /// The file with the variables of the running stack.
    pub fn environment(&self) -> PathBuf {
        self.state().join("env")
    }

    /// The Python environment with the local AWS and the deployer.
    pub fn tools(&self) -> PathBuf {
        self.root.join(".tools/venv")
    }

    /// The pinned PostgreSQL servers: a folder for each major version.
    pub fn postgres(&self) -> PathBuf {
        self.root.join(".tools/postgres")
    }

    /// A path relative to the checkout.
    pub fn display<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }
}
