//! `cargo xtask bindings`: do programs in C, Python, Node and on the Rust SDK reach a ring of `kern`?
//!
//! Each binding is a workspace of its own, so that `kern` is built without them. The Python package
//! is built as its users build it and tested with every generation of the SDK it says it supports; so
//! is the Node package, by its own tests.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::build::{self, Profile};

/// Bindings in Rust, each tested by `cargo test`.
const CRATES: [&str; 2] = ["bindings/c", "bindings/rmcp"];
/// The Python package.
const PYTHON: &str = "python/kernmantle";
/// Generations of the official Python SDK.
const SDKS: [&str; 2] = ["mcp==1.30.0", "mcp==2.3.0"];
/// The Node package.
const NODE: &str = "bindings/node";
const PYTEST: &str = "pytest==8.4.2";

/// Tests the bindings of the rings.
#[derive(clap::Args, Debug, Default)]
pub(crate) struct BindingsArgs {
    /// The kern binary; without it, it is built
    #[arg(long, value_name = "PATH")]
    kern: Option<PathBuf>,
}

/// Builds and tests every binding.
///
/// # Errors
/// At the first that cannot be built or fails.
pub(crate) fn run(root: &Path, args: &BindingsArgs) -> Result<(), String> {
    if !cfg!(target_os = "linux") {
        println!("bindings: rings are there on Linux only");
        return Ok(());
    }
    for folder in CRATES {
        println!("bindings: {folder}");
        let manifest = root.join(folder).join("Cargo.toml");
        perform(Command::new("cargo").args(["test", "--manifest-path"]).arg(manifest))?;
    }
    let kern = build::kern(root, args.kern.as_deref(), Profile::Debug)?;
    let home = home(root);
    let wheels = wheels(root)?;
    for sdk in SDKS {
        println!("bindings: {PYTHON} with {sdk}");
        let python = venv(&home.join(sdk), &[sdk, PYTEST])?;
        let install = ["-m", "pip", "install", "--quiet", "--no-deps", "--force-reinstall"];
        let from = ["--no-index", "--find-links"];
        perform(Command::new(&python).args(install).args(from).arg(&wheels).arg("kernmantle"))?;
        let tests = root.join(PYTHON).join("tests");
        perform(Command::new(&python).args(["-m", "pytest", "-q"]).arg(tests).env("KERN", &kern))?;
    }
    node(root, &kern)
}

/// Tests the Node package with both generations of the official SDK, which its lock file names.
fn node(root: &Path, kern: &Path) -> Result<(), String> {
    if Command::new("npm").arg("--version").output().is_err() {
        println!("bindings: {NODE} is left out: there is no npm");
        return Ok(());
    }
    println!("bindings: {NODE}");
    let library = c_library(root)?.join("libkernmantle.so");
    let npm = || {
        let mut npm = Command::new("npm");
        npm.current_dir(root.join(NODE));
        npm
    };
    // What koffi's script would build lies in its package already.
    perform(npm().args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]))?;
    perform(npm().arg("test").env("KERN", kern).env("KERNMANTLE_LIBRARY", library))
}

/// Where bindings are built.
fn home(root: &Path) -> PathBuf {
    root.join("target").join("bindings")
}

/// Builds the wheel of the Python package; the folder it is in.
///
/// # Errors
/// When it cannot be built.
pub(crate) fn wheels(root: &Path) -> Result<PathBuf, String> {
    println!("bindings: the wheel of {PYTHON}");
    let wheels = home(root).join("wheels");
    let builder = venv(&home(root).join("builder"), &[])?;
    let wheel = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"].map(OsStr::new);
    perform(Command::new(builder).args(wheel).args([wheels.as_path(), &root.join(PYTHON)]))?;
    Ok(wheels)
}

/// Builds the C library for users; the folder it is in.
///
/// # Errors
/// When it cannot be built.
pub(crate) fn c_library(root: &Path) -> Result<PathBuf, String> {
    let target = home(root).join("c");
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--quiet", "--release", "--target-dir"]).arg(&target);
    perform(cargo.arg("--manifest-path").arg(root.join("bindings/c/Cargo.toml")))?;
    Ok(target.join("release"))
}

/// A virtual environment with `packages`; its interpreter.
fn venv(place: &Path, packages: &[&str]) -> Result<PathBuf, String> {
    let python = place.join("bin").join("python");
    if !python.is_file() {
        perform(Command::new("python3").args(["-m", "venv"]).arg(place))?;
    }
    if !packages.is_empty() {
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        perform(Command::new(&python).args(install).args(packages))?;
    }
    Ok(python)
}

/// Runs a command.
///
/// # Errors
/// When it cannot be run or fails.
pub(crate) fn perform(command: &mut Command) -> Result<(), String> {
    let shown = format!("{command:?}");
    let status = command.status().map_err(|error| format!("cannot run {shown}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{shown} failed")) }
}
